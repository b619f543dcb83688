import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { folderPaths } from '../server/data-folder.ts';
import { readEscrowCertificates } from '../server/escrow-keys.ts';
import { spreadOf } from '../server/under-load.ts';
import { sealedDelivery } from '../test/device-calls.ts';
import { type Cost, measureRound } from './bench-check-ins.ts';
import { makeGround, quietCheckIn } from './bench-macs.ts';
import { startPeer } from './bench-peer.ts';
import { machine } from './bench-rows.ts';
import { type Costs, type Course, type HerdResult, runHerd } from './herd-model.ts';

/*
 * `npm run herd`: what becomes of 100,000 Macs that come at once. What a request costs is measured first, in a few seconds and
 * against the real backend on loopback; then the fleet goes through its courses in virtual time (herd-model.ts).
 */

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    macs: { type: 'string', default: '100000' },
    backends: { type: 'string', default: '1' },
  },
});
const macs = Number(values.macs);
const backends = Number(values.backends);
if (!Number.isSafeInteger(macs) || macs < 1 || !Number.isSafeInteger(backends) || backends < 1)
  throw new TypeError('--macs and --backends are whole numbers from 1');
const say = (text: string): void => void process.stderr.write(`${text}\n`);

/** Milliseconds of one thread, by what it was busy with: a handshake with the least answer, a check-in, a delivery. */
async function measure(folder: string): Promise<Costs> {
  const ground = await makeGround(folder, 64);
  const [certificate] = readEscrowCertificates(folderPaths(ground.dir).escrow);
  if (!certificate) throw new Error('no escrow certificate');
  const [backend, bare, client] = await Promise.all([startPeer('bench-backend.ts', [ground.dir]), startPeer('bench-bare.ts'), startPeer('bench-client.ts')]);
  try {
    const barePort = await bare.ask<number>({ tls: ground.tls });
    await client.ask({ macs: ground.macs });
    const checkIns = ground.macs.map((mac, at) => ({ mac: at, method: 'POST', path: '/v1/check-in', body: quietCheckIn(mac) }));
    const round = { ca: ground.ca, atOnce: 64, milliseconds: 1000, sends: checkIns };
    // The first of each warms it up.
    const twice = async (act: () => Promise<Cost>): Promise<number> => {
      await act();
      return (await act()).busyMs;
    };
    const handshake = await twice(() => measureRound(bare, client, { ...round, port: barePort, fresh: true }));
    const whole = await twice(() => measureRound(backend, client, { ...round, port: ground.port, fresh: true }));
    const sealed = ground.macs.map((mac) => sealedDelivery(certificate.der, mac, { source: 'agent', validated: 'true' }));
    const sends = sealed.map(({ id, request }, at) => ({ mac: at, method: 'PUT', path: `/v1/keys/${id}`, body: JSON.stringify(request) }));
    const delivery = await measureRound(backend, client, { port: ground.port, ca: ground.ca, fresh: false, atOnce: 64, sends });
    return { handshake, checkIn: Math.max(0.05, whole - handshake), delivery: delivery.busyMs };
  } finally {
    await Promise.all([client.end(), backend.end(), bare.end()]);
  }
}

const folder = mkdtempSync(join(tmpdir(), 'sparekey-herd-'));
let costs: Costs;
try {
  say('what a request costs is measured');
  costs = await measure(folder);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
const own = spreadOf(60, macs);
const courses: [Course, number][] = [
  ['all at 09:00', 0],
  ['all at 09:00', 60],
  ['all at 09:00', own],
  ['after 4 hours without a backend', own],
  ['after a restore', own],
];
const rows: HerdResult[] = [];
for (const [course, spreadSeconds] of courses) {
  say(`${macs} Macs, ${course}, spread over ${spreadSeconds} s`);
  rows.push(await runHerd({ course, macs, costs, spreadSeconds, checkInMinutes: 15, backends }));
}
if (values.json) process.stdout.write(`${JSON.stringify({ macs, backends, machine: machine(), costs, rows })}\n`);
else process.stdout.write(table());

function table(): string {
  const time = (seconds: number | null): string => (seconds === null ? 'not in 1 h' : `${Math.round(seconds)} s`);
  const titles = ['course', 'spread', 'peak', 'told to come later', 'no answer', '99 of 100 heard', 'all heard', 'used keys delivered'];
  const cells = rows.map((row) => [
    row.course,
    `${row.spreadSeconds} s`,
    `${row.peakPerSecond}/s`,
    String(row.shed),
    String(row.refused),
    time(row.mostHeard),
    time(row.allHeard),
    time(row.urgentDone),
  ]);
  const widths = titles.map((title, at) => Math.max(title.length, ...cells.map((row) => (row[at] ?? '').length)));
  const line = (row: readonly string[]): string => row.map((cell, at) => (at === 0 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0))).join('  ');
  const { handshake, checkIn, delivery } = costs;
  const each = (ms: number): string => `${ms.toFixed(2)} ms`;
  return [
    machine(),
    `measured: a handshake ${each(handshake)}, a check-in after it ${each(checkIn)}, a delivery ${each(delivery)} of one thread: ${Math.round(1000 / (handshake + checkIn))} check-ins/s`,
    `${macs} Macs, ${backends} backend${backends === 1 ? '' : 's'}; one Mac in 500 has a used key to report; virtual time`,
    line(titles),
    ...cells.map(line),
    '',
  ].join('\n');
}
