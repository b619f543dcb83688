import { watch } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { paths } from '../agent/paths.ts';
import type { FakeMac } from '../test/fake-mac/fake-mac.ts';
import { type BenchOptions, quantile, type Row } from './bench-rows.ts';
import { openStage, type Stage } from './stage.ts';

/** The agent believes macOS's file when two looks at it, so far apart, see the same. Milliseconds. */
const settling = 2000;

/**
 * From the moment at which macOS has made a key and written its file to the receipt on the Mac. The job is started by its watch
 * path, as launchd does it, which itself may wait up to ten seconds where the job ran a moment ago; that is not in it.
 */
export async function safetyRows({ quick, folder, say }: BenchOptions): Promise<Row[]> {
  const keys = quick ? 3 : 21;
  const stage = await openStage(folder, { settleSeconds: 1, killSeconds: 0, offlineCopy: false });
  process.once('exit', stage.endNow);
  try {
    const times: number[] = [];
    let mac: FakeMac | null = null;
    for (let at = 0; at < keys; at += 1) {
      say(`time to safety: key ${at + 1} of ${keys}`);
      // Somebody else may change the key of one Mac so often before that is an alarm of its own.
      if (mac === null || at % 3 === 0) mac = await newMac(stage, at);
      times.push(await timeKey(stage, mac));
    }
    const [p50, p95] = [quantile(times, 0.5), quantile(times, 0.95)];
    const words = (what: string, ms: number): string =>
      `${what} of ${keys} keys: ${ms.toFixed(0)} ms to the receipt; the two looks at the file are ${settling} ms apart`;
    return [
      { name: 'time-to-safety-p50', ratio: p50 / settling, aim: 1.5, better: 'less', words: words('p50', p50) },
      { name: 'time-to-safety-p95', ratio: p95 / settling, aim: 2, better: 'less', words: words('p95', p95) },
    ];
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

function received(stage: Stage): number {
  const database = stage.openDatabase();
  try {
    return Number(database.prepare('select count(*) as n from envelope').get()?.['n']);
  } finally {
    database.close();
  }
}

async function timeKey(stage: Stage, mac: FakeMac): Promise<number> {
  const before = received(stage);
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
  const ended = await stage.runJob(mac);
  const took = performance.now() - changed;
  if (ended.code !== 0 || received(stage) <= before) throw new Error(`the key did not come to the backend (${ended.code}): ${ended.stderr} ${join(mac.root)}`);
  return took;
}
