import { createServer } from 'node:https';
import type { BenchGround } from './bench-macs.ts';
import { answerPeer, usageNow } from './bench-peer.ts';

/*
 * The least that a server can do for a Mac: TLS 1.3 with its certificate asked for, the message read to its end, and 200. What
 * comes in over its channel is the certificates of the backend that it is measured beside.
 */

const server = createServer(
  { minVersion: 'TLSv1.3', requestCert: true, rejectUnauthorized: false, ALPNProtocols: ['http/1.1'], keepAliveTimeout: 30_000 },
  (request, reply) => {
    request.resume();
    request.on('end', () => reply.writeHead(200, { 'content-type': 'application/json', 'content-length': 2 }).end('{}'));
  },
);
server.on('tlsClientError', (_error, socket) => socket.destroy());
await new Promise<void>((resolve) => {
  server.listen(0, '127.0.0.1', resolve);
});

answerPeer(
  ({ tls }: { tls?: BenchGround['tls'] }) => {
    if (!tls) return usageNow();
    server.setSecureContext({ cert: tls.certificate, key: tls.key, ca: tls.clientCas, minVersion: 'TLSv1.3' });
    const at = server.address();
    return typeof at === 'object' && at ? at.port : 0;
  },
  () => {
    server.closeAllConnections();
    server.close();
  },
);
