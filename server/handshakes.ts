import type { Server, Socket } from 'node:net';
import { type ConnectionLimits, networkOf } from './limits.ts';

/*
 * A check-in costs little, its handshake much. Connections wait for theirs in the kernel's line (listening.ts), which costs
 * nothing: libuv takes one of them in each turn, so that whoever is connected already is answered in between. What is bounded
 * here are handshakes that were begun and do not end: slow networks, and those who hold connections for nothing.
 */

/** The same for a connection and for the TLS on it. */
const nameOf = ({ remoteAddress, remotePort }: Socket): string => `${remoteAddress} ${remotePort}`;

interface HandshakeBounds {
  most: number;
  /** Of one network, so that two addresses cannot take them all. */
  mostOfOne: number;
  /** All Macs stand behind its address: counting says nothing of them. */
  isProxy(address: string | undefined): boolean;
  onRefused(because: string): void;
}

/** A quarter, unless the settings let one address have every connection: a balancer has. */
export const handshakesOfOne = ({
  handshakes,
  connections,
  connectionsPerAddress,
}: Pick<ConnectionLimits, 'handshakes' | 'connections' | 'connectionsPerAddress'>) =>
  connectionsPerAddress >= connections ? handshakes : Math.ceil(handshakes / 4);

/** Before the TLS server gets a connection. Listeners that were added before come first. Returns how many are under way. */
export function boundHandshakes(server: Server, { most, mostOfOne, isProxy, onRefused }: HandshakeBounds): () => number {
  const [begin] = server.listeners('connection') as ((socket: Socket) => void)[];
  if (!begin) throw new TypeError('this server does no handshakes');
  server.removeListener('connection', begin);
  const underWay = new Map<string, { socket: Socket; network: string | null }>();
  const ofNetwork = new Map<string, number>();
  const end = (name: string, socket?: Socket): void => {
    const one = underWay.get(name);
    if (!one || (socket && one.socket !== socket)) return;
    underWay.delete(name);
    if (one.network === null) return;
    const left = (ofNetwork.get(one.network) ?? 1) - 1;
    if (left > 0) ofNetwork.set(one.network, left);
    else ofNetwork.delete(one.network);
  };
  server.on('connection', (socket: Socket) => {
    if (socket.destroyed) return;
    const network = isProxy(socket.remoteAddress) ? null : networkOf(socket.remoteAddress ?? '');
    const because = underWay.size >= most ? 'too many' : network !== null && (ofNetwork.get(network) ?? 0) >= mostOfOne ? 'too many of one network' : null;
    if (because !== null) {
      onRefused(because);
      // A reset instead of a goodbye: nothing of it stays here.
      return void socket.resetAndDestroy();
    }
    const name = nameOf(socket);
    end(name);
    underWay.set(name, { socket, network });
    if (network !== null) ofNetwork.set(network, (ofNetwork.get(network) ?? 0) + 1);
    socket.once('close', () => end(name, socket));
    begin.call(server, socket);
  });
  server.on('secureConnection', (socket: Socket) => end(nameOf(socket)));
  return () => underWay.size;
}
