import type { Server, Socket } from 'node:net';

/*
 * A check-in costs little, its handshake much. Connections wait for theirs in the kernel's line (listening.ts), which costs
 * nothing: libuv takes one of them in each turn, so that whoever is connected already is answered in between. What is bounded
 * here are handshakes that were begun and do not end: slow networks, and those who hold connections for nothing.
 */

const nameOf = ({ remoteAddress, remotePort, localPort }: Socket): string => `${remoteAddress} ${remotePort} ${localPort}`;

/** Before the TLS server gets a connection. Listeners that were added before come first. Returns how many are under way. */
export function boundHandshakes(server: Server, most: number, onRefused: (because: string) => void): () => number {
  const [begin] = server.listeners('connection') as ((socket: Socket) => void)[];
  if (!begin) throw new TypeError('this server does no handshakes');
  server.removeListener('connection', begin);
  const underWay = new Map<string, Socket>();
  server.on('connection', (socket: Socket) => {
    if (socket.destroyed) return;
    if (underWay.size >= most) {
      onRefused('too many');
      // A reset instead of a goodbye: nothing of it stays here.
      return void socket.resetAndDestroy();
    }
    const name = nameOf(socket);
    underWay.set(name, socket);
    socket.once('close', () => {
      if (underWay.get(name) === socket) underWay.delete(name);
    });
    begin.call(server, socket);
  });
  server.on('secureConnection', (socket: Socket) => underWay.delete(nameOf(socket)));
  return () => underWay.size;
}
