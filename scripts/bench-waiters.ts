import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, createSecureContext, type TLSSocket } from 'node:tls';
import { parseArgs } from 'node:util';
import { protocolHeader, protocolVersion } from '../protocol/messages.ts';
import { folderPaths } from '../server/data-folder.ts';
import { silentLog } from '../server/log.ts';
import { type Serving, serve } from '../server/serve.ts';
import { type BenchMac, makeGround, passphrase, quietCheckIn } from './bench-macs.ts';
import { machine, median } from './bench-rows.ts';

/*
 * `npm run bench:waiters`: what it costs to keep the answers of 5,000 Macs. Real TLS connections on loopback. Backend and Macs are
 * in one process here, so each connection is counted twice: what both cost together is the bound that is printed, and what the same
 * connections cost without a wait is taken off beside it.
 */

const { values } = parseArgs({ options: { json: { type: 'boolean', default: false }, waiters: { type: 'string', default: '5000' } } });
const howMany = Number(values.waiters);
if (!Number.isSafeInteger(howMany) || howMany < 1) throw new TypeError('--waiters is a whole number from 1');

/** Two descriptors for each connection, and some for everything else. */
const needed = 2 * howMany + 256;
const limit = openFilesLimit();
if (limit < needed) {
  process.stderr.write(`bench:waiters: ${needed} open files are needed and ${limit} are allowed: \`ulimit -n ${needed}\` first, or fewer with --waiters\n`);
  process.exitCode = 78;
} else await main();

/** Node raises the soft limit to the hard one when it starts. Where the kernel does not say (macOS), it is found out by trying. */
function openFilesLimit(): number {
  try {
    const said = /Max open files\s+(\S+)/.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
    return said === undefined || said === 'unlimited' ? Number.POSITIVE_INFINITY : Number(said);
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'sparekey-waiters-'));
  let serving: Serving | null = null;
  const open: TLSSocket[] = [];
  try {
    const ground = await makeGround(folder, Math.min(howMany, 100));
    const file = folderPaths(ground.dir).settings;
    const settings = JSON.parse(readFileSync(file, 'utf8'));
    const limits = { connections: Math.ceil(howMany * 1.25) + 100, connectionsPerAddress: howMany + 100, waiters: howMany, checkIns: 200 };
    writeFileSync(file, JSON.stringify({ ...settings, keys: { ...settings.keys, waitSeconds: 55, spreadSeconds: 0 }, limits }));
    const much = { perMinute: 1e9, burst: 1e9 };
    serving = await serve({ dir: ground.dir, passphrase, log: silentLog, rates: { 'check-in': much, refused: much } });
    const contexts = ground.macs.map(({ cert, key }) => createSecureContext({ cert, key, ca: ground.ca }));
    const macOf = (at: number): BenchMac => ground.macs[at % ground.macs.length] as BenchMac;

    const begun = await memory();
    const heap = process.memoryUsage().heapUsed;
    for (let at = 0; at < howMany; at += 100)
      open.push(...(await Promise.all(Array.from({ length: Math.min(100, howMany - at) }, (_, n) => dial(ground.port, contexts[(at + n) % contexts.length])))));
    // Connected, asked once, and idle.
    for (let at = 0; at < howMany; at += 100) await Promise.all(open.slice(at, at + 100).map((socket, n) => answered(socket, post(macOf(at + n), 0))));
    const idle = await memory();
    const asked = performance.now();
    const answers: number[] = [];
    for (let at = 0; at < howMany; at += 100) {
      for (const [n, socket] of open.slice(at, at + 100).entries()) {
        socket.once('data', () => answers.push(performance.now()));
        socket.write(post(macOf(at + n), 55));
      }
      while (serving.waiting() < Math.min(at + 100, howMany) && performance.now() - asked < 40_000) await new Promise((resolve) => setTimeout(resolve, 5));
    }
    const waiting = serving.waiting();
    const waited = await memory();
    if (waiting < howMany)
      throw new Error(`only ${waiting} of ${howMany} wait: the machine is too slow for so many within 55 s, or busy; fewer with --waiters`);
    const [one] = ground.macs;
    const ordered = performance.now();
    const before = answers.length;
    await serving.backend.custody.orderRotation({ macId: one?.macId ?? '', actor: 'a benchmark', reason: 'a benchmark' });
    while (answers.length === before && performance.now() - ordered < 10_000) await new Promise((resolve) => setTimeout(resolve, 1));
    const woken = (answers[before] ?? Number.NaN) - ordered;
    const all = performance.now();
    await serving.stop();
    const row = {
      waiters: waiting,
      bytesPerWaiter: Math.round((waited - idle) / Math.max(1, waiting)),
      bytesPerConnectionBothEnds: Math.round((idle - begun) / howMany),
      residentBytes: waited,
      wokenMs: Math.round(woken * 10) / 10,
      stoppedMs: Math.round(performance.now() - all),
      heapBytes: process.memoryUsage().heapUsed - heap,
    };
    if (values.json) process.stdout.write(`${JSON.stringify({ machine: machine(), row })}\n`);
    else
      process.stdout.write(
        [
          machine(),
          `${row.waiters} Macs wait, each on its own TLS connection`,
          `a wait on a connection that is there: ${(row.bytesPerWaiter / 1024).toFixed(1)} KiB of resident memory`,
          `the connection itself, both ends in this process: ${(row.bytesPerConnectionBothEnds / 1024).toFixed(1)} KiB; all together ${(row.residentBytes / 1_048_576).toFixed(0)} MiB resident`,
          `an order wakes its Mac in ${row.wokenMs} ms (from the call, commit included, to the first byte of the answer); a stop answers all in ${row.stoppedMs} ms`,
          '',
        ].join('\n'),
      );
  } finally {
    for (const socket of open) socket.destroy();
    await serving?.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Resident bytes when nothing is left to collect: the median of some looks. */
async function memory(): Promise<number> {
  const looks: number[] = [];
  for (let look = 0; look < 5; look += 1) {
    globalThis.gc?.();
    await new Promise((resolve) => setTimeout(resolve, 100));
    looks.push(process.memoryUsage.rss());
  }
  return median(looks);
}

function dial(port: number, secureContext: ReturnType<typeof createSecureContext> | undefined): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', ...(secureContext ? { secureContext } : {}) }, () => {
      socket.on('error', () => {});
      resolve(socket);
    });
    socket.once('error', reject);
  });
}

function post(mac: BenchMac, wait: number): string {
  const body = quietCheckIn(mac);
  const prefer = wait > 0 ? `prefer: wait=${wait}\r\n` : '';
  return `POST /v1/check-in HTTP/1.1\r\nhost: 127.0.0.1\r\n${protocolHeader}: ${protocolVersion}\r\n${prefer}content-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
}

function answered(socket: TLSSocket, text: string): Promise<void> {
  return new Promise((resolve) => {
    socket.once('data', () => resolve());
    socket.write(text);
  });
}
