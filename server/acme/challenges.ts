import { generateKeyPairSync } from 'node:crypto';
import type { Socket } from 'node:net';
import { createSecureContext, createServer, type SecureContext } from 'node:tls';
import { makeChallengeCertificate, pem } from '../certificates.ts';
import type { Log } from '../log.ts';
import type { Hello } from '../server-name.ts';

/** RFC 8737: whoever speaks this is a CA that looks whether a name is ours. */
const protocol = 'acme-tls/1';

/** What a CA is shown while it looks. On the same port as everybody: the first message of TLS says who it is. */
export function createChallenges(log: Log, now: () => number) {
  const shown = new Map<string, SecureContext>();
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' });
  const server = createServer({
    ALPNProtocols: [protocol],
    handshakeTimeout: 10_000,
    SNICallback: (name, done) => {
      const context = shown.get(name.toLowerCase());
      done(context ? null : new Error('nothing is shown for this name'), context);
    },
  });
  // The handshake is all there is to see. Whoever does not hang up then is not waited for.
  server.on('secureConnection', (socket) => socket.destroySoon());
  server.on('tlsClientError', (_error, socket) => socket.destroy());

  return {
    isFor: ({ name, protocols }: Hello): boolean => protocols.includes(protocol) && name !== null && shown.has(name),
    take(socket: Socket): void {
      log.info('acme-looked', { address: socket.remoteAddress ?? '' });
      socket.on('error', () => socket.destroy());
      server.emit('connection', socket);
    },
    show(name: string, digest: Buffer): void {
      const cert = pem('CERTIFICATE', makeChallengeCertificate({ privateKey, name, digest, at: new Date(now()) }));
      shown.set(name, createSecureContext({ key, cert }));
    },
    hide: (name: string): void => void shown.delete(name),
  };
}
export type Challenges = ReturnType<typeof createChallenges>;
