import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, createSecureContext, type TLSSocket } from 'node:tls';
import { parseArgs } from 'node:util';
import { protocolHeader, protocolVersion } from '../protocol/messages.ts';
import { folderPaths } from '../server/data-folder.ts';
import { type BenchGround, type BenchMac, makeGround, quietCheckIn } from './bench-macs.ts';
import { startPeer } from './bench-peer.ts';
import { machine, median, quantile } from './bench-rows.ts';
import type { Memory, Wish } from './bench-waiters-backend.ts';

/*
 * `npm run bench:waiters`: what it costs a backend to keep the answers of 5,000 Macs, each with a certificate and a TLS connection
 * of its own, on loopback. The backend is a process of its own, and its memory is what is counted. Where the machine is too slow for so many, what it reached is said.
 */

const { values } = parseArgs({ options: { json: { type: 'boolean', default: false }, waiters: { type: 'string', default: '5000' } } });
const howMany = Number(values.waiters);
if (!Number.isSafeInteger(howMany) || howMany < 1) throw new TypeError('--waiters is a whole number from 1');

/** Seconds until what has not come to wait by then is left out. */
const mostSeconds = 900;
/** Macs that are on their way at once: the others are not connected yet, and so not too slow. */
const atOnce = 64;
/** Orders that are placed, each for one that waits. */
const orders = 20;
/** One descriptor for each connection, in each of the two processes, and some for everything else. */
const needed = howMany + 256;
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

interface Waiter {
  mac: BenchMac;
  leave(): void;
}

function say(text: string): void {
  process.stderr.write(`bench:waiters: ${text}\n`);
}

/** A server in a process of its own, and as many that wait at it as can be had; its memory before them and with them. */
async function gather(ground: BenchGround, bare: string[], onAnswer: (mac: BenchMac) => void) {
  const backend = await startPeer('bench-waiters-backend.ts', [ground.dir, ...bare], ['--expose-gc']);
  const ask = <T>(wish: Wish): Promise<T> => backend.ask<T>(wish);
  const port = await ask<number>({ what: 'port' });
  const waiters: Waiter[] = [];
  // What a process loads with its first requests is no cost of a waiter.
  const first = ground.macs.slice(0, Math.min(50, howMany)).map((mac) => come(ground, port, mac, () => undefined));
  while ((await ask<number>({ what: 'waiting' })) < first.length) await sleep(50);
  for (const one of first) one.leave();
  while ((await ask<number>({ what: 'waiting' })) > 0) await sleep(50);
  const before = await ask<Memory>({ what: 'memory' });
  const began = performance.now();
  say('they come to wait');
  let waiting = 0;
  while (waiting < howMany && performance.now() - began < mostSeconds * 1000) {
    for (const mac of ground.macs.slice(waiters.length, waiting + atOnce)) waiters.push({ mac, leave: come(ground, port, mac, () => onAnswer(mac)).leave });
    await sleep(20);
    waiting = await ask<number>({ what: 'waiting' });
  }
  const seconds = (performance.now() - began) / 1000;
  say(`${waiting} wait after ${seconds.toFixed(0)} s`);
  if (waiting === 0) throw new Error('none waits');
  const with_ = await ask<Memory>({ what: 'memory' });
  const leave = (): void => {
    for (const one of waiters) one.leave();
  };
  return { backend, ask, waiters, before, with_, waiting, seconds, leave };
}

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'sparekey-waiters-'));
  /** When the answer came that a Mac was given, by its id: milliseconds of the wall. */
  const answeredAt = new Map<string, number>();
  try {
    say(`${howMany} Macs are enrolled`);
    const ground = await makeGround(folder, howMany);
    const file = folderPaths(ground.dir).settings;
    const settings = JSON.parse(readFileSync(file, 'utf8'));
    const limits = { connections: Math.ceil(howMany * 1.25) + 100, connectionsPerAddress: Math.ceil(howMany * 1.25) + 100, waiters: howMany };
    writeFileSync(file, JSON.stringify({ ...settings, keys: { ...settings.keys, waitSeconds: 55, spreadSeconds: 0 }, limits }));
    const { backend, ask, waiters, before, with_, waiting, seconds, leave } = await gather(ground, [], ({ macId }) =>
      answeredAt.set(macId, performance.timeOrigin + performance.now()),
    );
    try {
      const woken: number[] = [];
      for (const { mac } of waiters.slice(-orders)) {
        answeredAt.delete(mac.macId);
        const at = await ask<number>({ what: 'order', macId: mac.macId });
        for (const until = performance.now() + 60_000; !answeredAt.has(mac.macId) && performance.now() < until; ) await sleep(1);
        woken.push((answeredAt.get(mac.macId) ?? Number.NaN) - at);
      }
      const left = await ask<number>({ what: 'waiting' });
      answeredAt.clear();
      const stoppedAt = await ask<number>({ what: 'stop' });
      const lastAnswer = Math.max(...answeredAt.values());
      leave();
      say('the same number at a bare server');
      const bare = await gather(ground, ['bare'], () => undefined);
      bare.leave();
      await bare.backend.end();
      const row = {
        asked: howMany,
        waiters: waiting,
        seconds,
        bytesPerWaiter: Math.round((with_.resident - before.resident) / waiting),
        bytesPerBareWaiter: Math.round((bare.with_.resident - bare.before.resident) / bare.waiting),
        heapPerWaiter: Math.round((with_.heap - before.heap) / waiting),
        buffersPerWaiter: Math.round((with_.buffers - before.buffers) / waiting),
        residentBytes: with_.resident,
        wokenMs: median(woken),
        wokenMs95: quantile(woken, 0.95),
        answeredAtStop: answeredAt.size,
        waitingAtStop: left,
        stoppedMs: lastAnswer - stoppedAt,
      };
      const kib = (bytes: number): string => `${(bytes / 1024).toFixed(1)} KiB`;
      if (values.json) process.stdout.write(`${JSON.stringify({ machine: machine(), row })}\n`);
      else
        process.stdout.write(
          [
            machine(),
            `${row.waiters} of ${howMany} Macs wait, each with its own certificate and TLS connection; they came in ${seconds.toFixed(0)} s`,
            `each costs the backend ${kib(row.bytesPerWaiter)} of resident memory (${kib(row.heapPerWaiter)} of it JavaScript's heap, ${kib(row.buffersPerWaiter)} its buffers, the rest TLS), a bare Node server ${kib(row.bytesPerBareWaiter)}: ${(row.bytesPerWaiter / row.bytesPerBareWaiter).toFixed(2)} times; ${(row.residentBytes / 1_048_576).toFixed(0)} MiB in all`,
            `an order wakes its Mac in ${row.wokenMs.toFixed(1)} ms, 19 of 20 in ${row.wokenMs95.toFixed(1)} ms (from the call, its commit included, to the answer at the Mac)`,
            `a stop answers ${row.answeredAtStop} of the ${row.waitingAtStop} that wait within ${row.stoppedMs.toFixed(0)} ms`,
            '',
          ].join('\n'),
        );
    } finally {
      leave();
      await backend.end();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Connected, with its certificate, and waiting. Whoever is sent away, as by a busy backend, comes again; whoever is answered is told of it, and stays. */
function come(ground: BenchGround, port: number, mac: BenchMac, onAnswer: () => void): { leave(): void } {
  const { cert, key } = mac;
  let socket: TLSSocket;
  let gone = false;
  const dial = (): void => {
    if (gone) return;
    let isAnswered = false;
    socket = connect({ port, host: '127.0.0.1', secureContext: createSecureContext({ cert, key, ca: ground.ca, minVersion: 'TLSv1.3' }) });
    socket.on('error', () => undefined);
    socket.once('secureConnect', () => socket.write(post(mac, 55)));
    socket.on('data', (chunk: Buffer) => {
      // Headers and body of an answer come in one piece: it is smaller than one record of TLS.
      isAnswered = true;
      if (chunk.toString('latin1', 0, 12) === 'HTTP/1.1 200' || chunk.includes('SERVER_STOPPING')) onAnswer();
      else isAnswered = false;
    });
    socket.once('close', () => !isAnswered && setTimeout(dial, 1000 + Math.random() * 1000));
  };
  dial();
  return {
    leave() {
      gone = true;
      socket.destroy();
    },
  };
}

function post(mac: BenchMac, wait: number): string {
  const body = quietCheckIn(mac);
  const prefer = `prefer: wait=${wait}\r\n`;
  return `POST /v1/check-in HTTP/1.1\r\nhost: 127.0.0.1\r\n${protocolHeader}: ${protocolVersion}\r\n${prefer}content-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
}
