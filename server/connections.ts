import type { Server, Socket } from 'node:net';
import { type ConnectionLimits, networkOf } from './limits.ts';
import type { Log } from './log.ts';

interface Bounds {
  limits: ConnectionLimits;
  log: Log;
  /** All people and Macs stand behind its address: counting says nothing of them. */
  isProxy(address: string | undefined): boolean;
  /** Where nobody else may connect: what is told of whoever did. */
  onlyProxies: ((address: string) => void) | null;
}

/** Counts connections before their handshake: whoever holds too many is cut off without any work for us. */
export function boundConnections(server: Server, { limits, log, isProxy, onlyProxies }: Bounds): void {
  const perAddress = new Map<string, number>();
  server.maxConnections = limits.connections;
  server.on('drop', () => log.warn('connection-refused', { because: 'too many connections' }));
  server.on('connection', (socket: Socket) => {
    if (isProxy(socket.remoteAddress)) return;
    const address = networkOf(socket.remoteAddress ?? '');
    if (onlyProxies) {
      log.warn('connection-refused', { because: 'it is none of the proxies', address });
      socket.destroy();
      return onlyProxies(address);
    }
    const count = (perAddress.get(address) ?? 0) + 1;
    if (count > limits.connectionsPerAddress) {
      log.warn('connection-refused', { because: 'too many connections of one address', address });
      return void socket.destroy();
    }
    perAddress.set(address, count);
    socket.once('close', () => {
      const left = (perAddress.get(address) ?? 1) - 1;
      if (left > 0) perAddress.set(address, left);
      else perAddress.delete(address);
    });
  });
}
