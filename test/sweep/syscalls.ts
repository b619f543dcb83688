import { spawnSync } from 'node:child_process';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import type { Journal } from '../../agent/journal.ts';
import { paths } from '../../agent/paths.ts';
import type { PublicStatus } from '../../agent/status.ts';
import { openEnvelope } from '../../protocol/envelope.ts';
import { openStage, type Stage } from '../../scripts/stage.ts';
import type { FakeMac } from '../fake-mac/fake-mac.ts';
import { jobLabel, runJob } from '../fake-mac/launchd.ts';
import { leftOver } from './course.ts';
import { chooser } from './random.ts';
import { addRows, emptyRow, type Row } from './result.ts';
import { quickFolder } from './shards.ts';

/*
 * The shipped bundle as launchd's job, killed as it enters a system call, while it replaces a key: strace delivers SIGKILL
 * to the agent alone. It follows no child: macOS's fdesetup has a session of its own and outlives the agent. The fake
 * launchd then does to the job's process group what its property list says, and starts the job again.
 */

export interface SyscallOptions {
  /** Of the calls that can matter, every n-th of each kind. */
  every: number;
  seed: number;
  workers: number;
  progress(done: number, all: number): void;
}

/** What the agent does to its Mac and to the backend, as Linux calls it; a kind that never comes has no row. */
const kinds = [
  'openat',
  'write',
  'pwrite64',
  'writev',
  'fsync',
  'rename',
  'unlink',
  'unlinkat',
  'mkdir',
  'link',
  'chmod',
  'fchmod',
  'connect',
  'sendto',
  'sendmsg',
  'clone',
  'clone3',
  'vfork',
  'close',
] as const;

export const hasStrace = async (): Promise<boolean> => spawnSync('strace', ['-V'], { stdio: 'ignore' }).status === 0;

interface Death {
  kind: string;
  /** The n-th such call of the run. */
  nth: number;
}

const settleSeconds = 1;
/** Runs until the Mac must be at rest; fdesetup takes a second at most. */
const mostRuns = 20;

export async function sweepSyscalls(options: SyscallOptions): Promise<Row[]> {
  const folder = mkdtempSync(join(quickFolder(), `sweep-${process.pid}-`));
  const stage = await openStage(join(folder, 'stage'), { settleSeconds, killSeconds: 0, offlineCopy: false });
  const macs = new Set<FakeMac>();
  // A signal ends this process at once, and what it started would go on: sessions of their own are no part of its group.
  const endNow = (): void => {
    for (const mac of macs) mac.dispose();
    stage.endNow();
    rmSync(folder, { recursive: true, force: true });
  };
  process.once('exit', endNow);
  try {
    let made = 0;
    const newMac = (): Promise<Swept> => sweptMac(stage, ++made, macs);
    const deaths = choose(await callsOfOneRun(await newMac(), folder), options);
    const rows: Row[] = [];
    let done = 0;
    const work = async (): Promise<void> => {
      for (let at = done++; at < deaths.length; at = done++) {
        options.progress(at, deaths.length);
        const death = deaths[at];
        if (!death) continue;
        const swept = await newMac();
        rows.push(await courseOf(stage, swept, death, at));
        macs.delete(swept.mac);
      }
    };
    await Promise.all(Array.from({ length: options.workers }, work));
    return addRows(rows.toSorted((one, other) => one.name.localeCompare(other.name)));
  } finally {
    process.removeListener('exit', endNow);
    await stage.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

// ——— a Mac whose next run replaces the key

interface Swept {
  mac: FakeMac;
  serial: string;
  before: string | null;
  /** Its property list. */
  job: string;
}

async function sweptMac(stage: Stage, number: number, macs: Set<FakeMac>): Promise<Swept> {
  const serial = `C02SWEEP${String(number).padStart(4, '0')}`;
  const mac = stage.newMac(`mac-${number}`, { user: 'ada', serial, escrow: 'ours' });
  macs.add(mac);
  await runJob(mac.root, jobLabel, false);
  const ordered = await stage.server('rotate', serial, '--reason', 'a sweep', '--json');
  if (ordered.code !== 0) throw new Error(`the order was refused: ${ordered.stderr}`);
  await wait(settleSeconds * 1000 + 300);
  return { mac, serial, before: mac.recoveryKey, job: readFileSync(mac.path(paths.job), 'utf8') };
}

/** The job as the package installed it, with strace before its program. */
function writeJob({ mac, job }: Pick<Swept, 'mac' | 'job'>, strace: readonly string[], abandons = true): void {
  const program = strace.map((one) => `<string>${one}</string>`).join('');
  const traced = job.replace(/(<key>ProgramArguments<\/key>\s*<array>)/, `$1${program}`);
  writeFileSync(mac.path(paths.job), abandons ? traced : traced.replace(/(<key>AbandonProcessGroup<\/key>\s*)<true\/>/, '$1<false/>'));
}

/** -DDD: strace is no child of the job's, and in no group of its. */
const tracer = (...args: string[]): string[] => ['/usr/bin/env', 'strace', '-DDD', '-qq', ...args];

// ——— which calls there are

/** Every call of an undisturbed run that comes after the first look at the agent's own folder, with its number among those of its kind. */
async function callsOfOneRun(swept: Swept, folder: string): Promise<Death[]> {
  const { mac, before } = swept;
  const file = join(folder, 'calls');
  writeJob(swept, tracer('-y', '-o', file, '-e', `trace=${kinds.join(',')}`));
  const code = await runJob(mac.root, jobLabel, false);
  if (code !== 0 || mac.recoveryKey === before) throw new Error(`the undisturbed run under strace replaced no key (it ended with ${code}: ${wordsOf(mac)})`);
  await wait(200);
  const counts = new Map<string, number>();
  const calls: Death[] = [];
  let begun = false;
  for (const line of readFileSync(file, 'utf8').split('\n')) {
    const kind = /^(\w+)\(/.exec(line)?.[1];
    if (!kind) continue;
    const nth = (counts.get(kind) ?? 0) + 1;
    counts.set(kind, nth);
    begun ||= line.includes(paths.state);
    if (begun && canMatter(kind, line, mac.root)) calls.push({ kind, nth });
  }
  mac.dispose();
  return calls;
}

/** The process's own wake-ups (eventfd), and files that are only read, are the same moment as the call after them. */
function canMatter(kind: string, line: string, root: string): boolean {
  if (line.includes('eventfd') || line.includes('/dev/null')) return false;
  if (kind === 'openat') return /O_CREAT/.test(line) && line.includes(root);
  if (kind === 'close') return line.includes(paths.state);
  return true;
}

function choose(calls: readonly Death[], { every, seed }: SyscallOptions): Death[] {
  const choice = chooser(`system calls ${seed}`);
  return [...new Set(calls.map(({ kind }) => kind))].flatMap((kind) => {
    const own = calls.filter((one) => one.kind === kind);
    return choice.some(own, Math.ceil(own.length / every));
  });
}

// ——— one course

async function courseOf(stage: Stage, swept: Swept, { kind, nth }: Death, number: number): Promise<Row> {
  const row = emptyRow(`syscalls: ${kind}`);
  const began = performance.now();
  const { mac } = swept;
  const say = (words: string): string => `syscalls: ${kind}, killed at the ${nth}th: ${words}`;
  try {
    // As it is shipped, and as launchd does it to a job that says nothing of its group: fdesetup must outlive both.
    writeJob(swept, tracer('-o', '/dev/null', '-e', `trace=${kind}`, '-e', `inject=${kind}:signal=KILL:when=${nth}`), number % 2 === 0);
    const code = await runJob(mac.root, jobLabel, false);
    writeJob(swept, []);
    // Another run has a few calls more or less: this one came to its end, and shows nothing.
    if (code !== 128 + 9) return row;
    row.points = 1;
    let runs = 0;
    while (runs < mostRuns && (runs === 0 || !isOver(mac))) {
      if (runs > 0) await wait(200);
      await runJob(mac.root, jobLabel, false);
      runs++;
    }
    const judged = await judge(stage, swept);
    if (judged.lost) row.lost = 1;
    else if (!isOver(mac) || judged.custody !== 'held') row.doubtful = 1;
    else row.bad.push(...[...judged.wrong, ...leftOver(mac, false)].map(say));
    if (row.lost || row.doubtful)
      row.told = [say(`${row.lost ? 'lost' : 'doubtful'}; custody is ${judged.custody} after ${runs} runs; the last one: ${wordsOf(mac)}`)];
    row.runs[runs] = 1;
    return row;
  } catch (cause) {
    row.points = 1;
    row.bad.push(say(`the course itself failed: ${(cause as Error).message}`));
    return row;
  } finally {
    row.seconds = (performance.now() - began) / 1000;
    mac.dispose();
    rmSync(mac.root, { recursive: true, force: true });
  }
}

function wordsOf(mac: FakeMac): string {
  try {
    const { lastRun } = JSON.parse(readFileSync(mac.path(paths.status), 'utf8')) as PublicStatus;
    return `${lastRun.did} ${lastRun.code ?? ''}`;
  } catch {
    return 'no status';
  }
}

function isOver(mac: FakeMac): boolean {
  try {
    const { rotation, outbox, proofs, endings, notKnown } = JSON.parse(readFileSync(mac.path(paths.journal), 'utf8')) as Journal;
    return !rotation && !notKnown && outbox.length === 0 && proofs.length === 0 && endings.length === 0;
  } catch {
    return false;
  }
}

async function judge(stage: Stage, { mac, serial, before }: Swept): Promise<{ lost: boolean; custody: string; wrong: string[] }> {
  const status = JSON.parse((await stage.server('status', serial, '--json')).stdout) as { custody?: { state: string } };
  const database = stage.openDatabase();
  try {
    const rows = database
      .prepare(
        'select e.bytes as bytes, k.state as state from envelope e join key_record k on k.id = e.record_id join mac m on m.id = e.mac_id where m.serial = ? and e.bytes is not null',
      )
      .all(serial) as { bytes: Uint8Array; state: string }[];
    const debts = database.prepare('select d.id from debt d join mac m on m.id = d.mac_id where m.serial = ? and d.closed_at is null').all(serial);
    const opened = rows.map(({ bytes, state }) => ({ state, key: openStored(stage, bytes) }));
    const right = opened.filter(({ key }) => key !== null && mac.unlocksWith(key));
    const changed = mac.recoveryKey !== before;
    return {
      lost: right.length === 0,
      custody: status.custody?.state ?? 'not said',
      wrong: [
        ...(right.some(({ state }) => state === 'held') ? [] : ['the held key does not open the disk']),
        ...(debts.length === 0 && !changed ? ['nothing is owed any more, and the key was never replaced'] : []),
        ...mac.state.leaks,
      ],
    };
  } finally {
    database.close();
  }
}

function openStored(stage: Stage, bytes: Uint8Array): string | null {
  const key = createPrivateKey({ key: readFileSync(stage.escrowKeyFile, 'utf8'), passphrase: readFileSync(stage.passphraseFile, 'utf8').trim() });
  const certificate = new X509Certificate(readFileSync(stage.escrowCertificateFile)).raw;
  const opened = openEnvelope(bytes, key, certificate);
  return typeof opened === 'object' ? opened.reveal() : null;
}
