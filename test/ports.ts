import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

const isFree = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const probe = createServer();
    probe.on('error', () => resolve(false));
    // On every address, as a backend listens.
    probe.listen(port, () => probe.close(() => resolve(true)));
  });

/**
 * A port that nobody uses now. Not one that the system gives: it would give the same one to an outgoing connection before
 * our server listens there. Those begin at 32768 on Linux and at 49152 on macOS.
 */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < 100; tries++) {
    const port = randomInt(12_000, 32_000);
    if (await isFree(port)) return port;
  }
  throw new Error('no port is free');
}
