import { createServer, type Server, type Socket } from 'node:net';
import { boundConnections } from './connections.ts';
import type { HttpApp } from './http.ts';
import type { ConnectionLimits } from './limits.ts';
import { type ListenAt, listenAt } from './listening.ts';
import type { Log } from './log.ts';
import type { Peers } from './proxy.ts';
import { readServerName } from './server-name.ts';

/** The Macs' listener and the people's under two names on one port. Each does its own TLS: only Macs are asked for a certificate. */
export interface SharedPort {
  listen(at: ListenAt): Promise<number>;
  /** No new connections. Those that are open belong to the listeners. */
  stop(): Promise<void>;
}

interface SharedPortParts {
  /** By host name, in small letters. */
  byName: ReadonlyMap<string, HttpApp>;
  /** For a client that names nobody, as one does that was given an address instead of a name. */
  unnamed: HttpApp;
  limits: ConnectionLimits;
  /** Whose connections are those of many. */
  isProxy: Peers['isProxy'];
  log: Log;
}

/** Of the first message of TLS; browsers send 2 KB at the most. */
const mostHello = 16 * 1024;

export function openSharedPort({ byName, unnamed, limits, isProxy, log }: SharedPortParts): SharedPort {
  const waiting = new Set<Socket>();
  const server: Server = createServer((socket) => {
    waiting.add(socket);
    let read = Buffer.alloc(0);
    const refuse = (because: string) => {
      log.info('connection-refused', { because });
      socket.destroy();
    };
    const late = setTimeout(() => refuse('no TLS in time'), limits.handshakeSeconds * 1000);
    const forget = () => {
      clearTimeout(late);
      waiting.delete(socket);
    };
    const look = () => {
      for (let chunk = socket.read() as Buffer | null; chunk !== null; chunk = socket.read() as Buffer | null) read = Buffer.concat([read, chunk]);
      const name = readServerName(read);
      if (name === 'more' && read.length <= mostHello) return;
      socket.removeListener('readable', look);
      if (name === 'more' || name === 'other') return refuse('it is no TLS');
      const to = name === null ? unnamed : byName.get(name);
      if (!to) return refuse('no listener has this name');
      forget();
      // TLS reads what was read here first, then goes on with the socket.
      socket.unshift(read);
      to.server.emit('connection', socket);
    };
    socket.on('readable', look);
    socket.once('error', () => socket.destroy());
    socket.once('close', forget);
  });
  boundConnections(server, { limits, log, isProxy, onlyProxies: null });
  return {
    listen: (at) => listenAt(server, at),
    async stop() {
      for (const socket of waiting) socket.destroy();
      // Ends when the last connection has: the listeners see to that.
      server.close();
    },
  };
}
