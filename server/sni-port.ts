import { createServer, type Server, type Socket } from 'node:net';
import { boundConnections } from './connections.ts';
import type { HttpApp } from './http.ts';
import type { ConnectionLimits } from './limits.ts';
import { type ListenAt, listenAt } from './listening.ts';
import type { Log } from './log.ts';
import type { Peers } from './proxy.ts';
import { type Hello, readHello } from './server-name.ts';

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
  /** For a name that is none of these; null: such a client is sent away. */
  others?: HttpApp | null;
  /** Where a CA looks whether a name is ours. */
  challenges?: { isFor(hello: Hello): boolean; take(socket: Socket): void } | null;
  limits: ConnectionLimits;
  /** Whose connections are those of many. */
  isProxy: Peers['isProxy'];
  log: Log;
}

/** Of the first message of TLS; browsers send 2 KB at the most. */
const mostHello = 16 * 1024;

export function openSharedPort({ byName, unnamed, others = null, challenges = null, limits, isProxy, log }: SharedPortParts): SharedPort {
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
      const hello = readHello(read);
      if (hello === 'more' && read.length <= mostHello) return;
      socket.removeListener('readable', look);
      if (hello === 'more' || hello === 'other') return refuse('it is no TLS');
      const isChallenge = challenges?.isFor(hello) === true;
      const to = hello.name === null ? unnamed : (byName.get(hello.name) ?? others);
      if (!to && !isChallenge) return refuse('no listener has this name');
      forget();
      // TLS reads what was read here first, then goes on with the socket.
      socket.unshift(read);
      if (isChallenge) challenges.take(socket);
      else to?.server.emit('connection', socket);
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
