import type { Server } from 'node:net';
import { Problem } from '../protocol/problems.ts';

/** Where a listener is: an address of its own, or a socket that systemd has opened. Host null: every address of the machine. */
export type ListenAt = { port: number; host: string | null } | { fd: number };

/** Connections that the kernel keeps until their turn comes: some seconds of handshakes, half of what an agent gives to one. */
export const backlog = 2048;

/** Listens there; the port. */
export async function listenAt(server: Server, at: ListenAt): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    const options = 'fd' in at ? { fd: at.fd } : { port: at.port, backlog, ...(at.host === null ? {} : { host: at.host }) };
    server.listen(options, () => {
      server.removeListener('error', reject);
      resolve();
    });
  }).catch((error: NodeJS.ErrnoException) => {
    const where = 'fd' in at ? `the socket that systemd opened (descriptor ${at.fd})` : `port ${at.port}`;
    if (error.code === 'EADDRINUSE') throw new Problem('PORT_IN_USE', 'fd' in at ? where : String(at.port), { cause: error });
    const because = error.code === 'EACCES' ? `${where} is for root alone: have systemd open it (docs/operating.md)` : `${where} (${error.code ?? 'unknown'})`;
    throw new Problem('SERVER_SETTINGS_INVALID', `listen: the backend cannot listen there: ${because}`, { cause: error });
  });
  const address = server.address();
  return typeof address === 'object' && address ? address.port : 'port' in at ? at.port : 0;
}
