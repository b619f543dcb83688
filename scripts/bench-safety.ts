import { createHash } from 'node:crypto';
import { readFileSync, watch } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { paths } from '../agent/paths.ts';
import type { FakeMac } from '../test/fake-mac/fake-mac.ts';
import { type BenchOptions, quantile, type Row } from './bench-rows.ts';
import { openStage, type Stage } from './stage.ts';

/** The agent believes macOS's file when two looks at it, so far apart, see the same. Milliseconds. */
const settling = 2000;
/** Between two looks into the Mac's journal, for the receipt. Milliseconds. */
const look = 5;

/**
 * From the moment at which macOS has made a key and written its file to the receipt in the Mac's journal. The job is started by its watch
 * path, as launchd does it, which itself may wait up to ten seconds where the job ran a moment ago; that is not in it.
 */
export async function safetyRows({ quick, folder, say }: BenchOptions): Promise<Row[]> {
  const keys = quick ? 3 : 21;
  const stage = await openStage(folder, { settleSeconds: 1, killSeconds: 0, offlineCopy: false });
  process.once('exit', stage.endNow);
  try {
    const times: { receipt: number; ended: number }[] = [];
    let mac: FakeMac | null = null;
    for (let at = 0; at < keys; at += 1) {
      say(`time to safety: key ${at + 1} of ${keys}`);
      // Somebody else may change the key of one Mac so often before that is an alarm of its own.
      if (mac === null || at % 3 === 0) mac = await newMac(stage, at);
      times.push(await timeKey(stage, mac));
    }
    return (
      [
        ['p50', 0.5, 1.5],
        ['p95', 0.95, 2],
      ] as const
    ).map(([name, share, aim]) => {
      const of = (what: 'receipt' | 'ended') =>
        quantile(
          times.map((one) => one[what]),
          share,
        );
      const words = `${keys} keys: ${of('receipt').toFixed(0)} ms to the receipt, ${settling} of them between two looks at the file; the run ended after ${of('ended').toFixed(0)} ms`;
      return { name: `time-to-safety-${name}`, ratio: of('receipt') / settling, aim, better: 'less', words };
    });
  } finally {
    await stage.stop();
  }
}

async function newMac(stage: Stage, at: number): Promise<FakeMac> {
  const mac = stage.newMac(`mac${at}`, { user: 'ada', serial: `C02SAFE${String(at).padStart(5, '0')}`, escrow: 'ours' });
  for (let runs = 0; runs < 3; runs += 1) {
    const ended = await stage.runJob(mac);
    if (ended.code !== 0) throw new Error(`the Mac could not enrol: ${ended.stderr}`);
    await wait(500);
  }
  return mac;
}

/** Whether the Mac has the receipt of this envelope: only then its journal says by which record it is known. */
function hasReceipt(mac: FakeMac, envelopeId: string): boolean {
  const { current } = JSON.parse(readFileSync(mac.path(paths.journal), 'utf8')) as { current: { envelopeId: string; recordId: string | null } | null };
  return current?.envelopeId === envelopeId && current.recordId !== null;
}

async function timeKey(stage: Stage, mac: FakeMac): Promise<{ receipt: number; ended: number }> {
  const file = mac.path(paths.escrowFile);
  let changed = 0;
  const woken = new Promise<void>((resolve) => {
    const watcher = watch(dirname(file), (_kind, name) => {
      if (changed === 0 || name !== basename(file)) return;
      watcher.close();
      resolve();
    });
  });
  changed = performance.now();
  mac.mdmRotates();
  // The very end of that: until then nobody has made the key.
  changed = performance.now();
  await woken;
  const envelopeId = createHash('sha256').update(readFileSync(file)).digest('hex');
  let receipt = 0;
  const running = stage.runJob(mac).then((ended) => ({ ...ended, took: performance.now() - changed }));
  let isOver = false;
  void running.finally(() => {
    isOver = true;
  });
  while (receipt === 0 && !isOver) {
    await wait(look);
    if (hasReceipt(mac, envelopeId)) receipt = performance.now() - changed;
  }
  const { code, stderr, took } = await running;
  if (code !== 0 || !hasReceipt(mac, envelopeId)) throw new Error(`the key did not come to the backend (${code}): ${stderr} ${join(mac.root)}`);
  return { receipt: receipt || took, ended: took };
}
