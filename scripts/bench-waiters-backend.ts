import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { type FolderPaths, folderPaths } from '../server/data-folder.ts';
import { silentLog } from '../server/log.ts';
import { serve } from '../server/serve.ts';
import { passphrase } from './bench-macs.ts';
import { answerPeer } from './bench-peer.ts';
import { median } from './bench-rows.ts';

/*
 * The backend of `scripts/bench-waiters.ts`, in a process of its own: its memory is of nobody else. Started with `--expose-gc`. `bare` is
 * the least that can wait: a Node HTTPS server with the same certificates, which reads a message to its end and does not answer.
 */

export type Wish = { what: 'port' } | { what: 'memory' } | { what: 'waiting' } | { what: 'order'; macId: string } | { what: 'stop' };

/** Bytes, when nothing is left to collect. `resident` has in it what TLS keeps outside of JavaScript. */
export interface Memory {
  resident: number;
  heap: number;
  buffers: number;
}

/** A wait is 55 s at the most; by this clock it lasts twenty times as long, so that on a slow machine too all wait at once. */
const wall = performance.now.bind(performance);
performance.now = () => wall() / 20;

const [dir = '', bare] = process.argv.slice(2);
const serving = bare === undefined ? await serve({ dir, passphrase, log: silentLog }) : await serveBare(folderPaths(dir));

async function serveBare(paths: FolderPaths) {
  let waiting = 0;
  const [cert, key, ca] = [paths.tls.certificate, paths.tls.key, paths.agentCa.certificate].map((file) => readFileSync(file));
  const server = createServer(
    { minVersion: 'TLSv1.3', requestCert: true, rejectUnauthorized: false, ALPNProtocols: ['http/1.1'], cert, key, ca, keepAliveTimeout: 30_000 },
    (request, reply) => {
      request.resume();
      request.once('end', () => {
        waiting += 1;
      });
      reply.once('close', () => {
        waiting -= 1;
      });
    },
  );
  await new Promise<void>((resolve) => {
    server.listen({ port: 0, host: '127.0.0.1', backlog: 2048 }, resolve);
  });
  const stop = async (): Promise<void> => {
    server.closeAllConnections();
    server.close();
  };
  const address = server.address();
  return { port: typeof address === 'object' && address ? address.port : 0, waiting: () => waiting, stop, backend: null };
}

async function memory(): Promise<Memory> {
  const looks: NodeJS.MemoryUsage[] = [];
  for (let look = 0; look < 5; look += 1) {
    globalThis.gc?.();
    await sleep(100);
    looks.push(process.memoryUsage());
  }
  return { resident: median(looks.map(({ rss }) => rss)), heap: median(looks.map((one) => one.heapUsed)), buffers: median(looks.map((one) => one.external)) };
}

answerPeer(
  async (wish: Wish) => {
    if (wish.what === 'port') return serving.port;
    if (wish.what === 'memory') return memory();
    if (wish.what === 'waiting') return serving.waiting();
    const at = performance.timeOrigin + wall();
    if (wish.what === 'order') await serving.backend?.custody.orderRotation({ macId: wish.macId, actor: 'a benchmark', reason: 'a benchmark' });
    else await serving.stop();
    return at;
  },
  () => serving.stop(),
);
