import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { paths } from '../agent/paths.ts';
import type { FakeMac } from '../test/fake-mac/fake-mac.ts';
import { bundle, openStage } from './stage.ts';

/*
 * What a Mac pays for the agent: wall time and peak memory of its commonest runs, as ratios to `node -e 0` in the same run.
 * Each case is the bundle that ships, as a process of its own, against a fake Mac's folder and a real backend on loopback.
 * The rounds are interleaved, so that a busy moment falls on all of them alike; the median counts.
 */

const help = `npm run bench:agent [-- --rounds N] [--json]

  --rounds N   how often each case is run (default 15)
  --json       the last line is one JSON object
`;
const { values } = parseArgs({ options: { rounds: { type: 'string', default: '15' }, json: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } } });
if (values.help) {
  process.stdout.write(help);
  process.exit(0);
}
const rounds = Number(values.rounds);
if (!Number.isInteger(rounds) || rounds < 3 || rounds > 200) {
  process.stderr.write('bench:agent: error: --rounds must be a whole number from 3 to 200\n');
  process.exit(64);
}

type Name = 'baseline' | 'version' | 'status' | 'quietWakeUp' | 'quietCheckIn' | 'rotation';

interface Case {
  args: string[];
  env: NodeJS.ProcessEnv;
  before?: () => void | Promise<void>;
  /** Whether the run was what this case is named for. */
  was?: () => boolean;
}

const aims: Partial<Record<Name, number>> = { quietWakeUp: 2, quietCheckIn: 4 };
/** The agent believes macOS's escrow file when two looks at it, so far apart, see the same. Once in each rotation; milliseconds. */
const settling = 2000;
/** The backend takes 30 check-ins of a Mac at once and then makes it wait, which would be measured, too. */
const checkInsOfOneMac = 15;
const memoryRounds = Math.min(rounds - 2, 5);
/** Without one for so long, a wake-up would be a check-in on a slow machine: the agent's own interval here is five minutes. */
const mostQuietMs = 120_000;

/** A process of its own, which says itself what it used: that is measured in runs apart. The commands that it starts are not in it. */
async function run(name: Name, one: Case, withMemory: boolean, folder: string): Promise<{ milliseconds: number; peakMiB: number; processorMs: number }> {
  for (let tries = 1; ; tries += 1)
    try {
      return await runOnce(name, one, withMemory, folder);
    } catch (error) {
      // On a busy machine a proof or the end of a wait may fall into any run.
      if (tries === 3) throw error;
    }
}

async function runOnce(name: Name, one: Case, withMemory: boolean, folder: string): Promise<{ milliseconds: number; peakMiB: number; processorMs: number }> {
  await one.before?.();
  const note = join(folder, 'peak');
  const hook = join(folder, 'peak.cjs');
  const args = withMemory ? ['--require', hook, ...one.args] : one.args;
  return new Promise((resolve, reject) => {
    const began = process.hrtime.bigint();
    const child = spawn(process.execPath, args, { env: { ...one.env, PEAK_NOTE: note }, stdio: ['ignore', 'ignore', 'pipe'] });
    const said: Buffer[] = [];
    child.stderr.on('data', (chunk: Buffer) => said.push(chunk));
    child.on('error', reject);
    child.on('exit', (code) => {
      const milliseconds = Number(process.hrtime.bigint() - began) / 1e6;
      if (code !== 0) return reject(new Error(`${name} ended with ${code}: ${Buffer.concat(said)}`));
      if (one.was?.() === false) return reject(new Error(`${name} had something to do`));
      const [kibibytes = 0, microseconds = 0] = withMemory ? (JSON.parse(readNote(note)) as number[]) : [];
      resolve({ milliseconds, peakMiB: kibibytes / 1024, processorMs: microseconds / 1000 });
    });
  });
}

const readNote = (file: string): string => {
  const text = readFileSync(file, 'utf8');
  rmSync(file, { force: true });
  return text;
};

const median = (numbers: number[]): number => {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? (sorted[middle] ?? 0) : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
};

const folder = mkdtempSync(join(tmpdir(), 'sparekey-bench-'));
const stage = await openStage(folder, { settleSeconds: 1, killSeconds: 0, offlineCopy: false });
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => process.exit(1));
process.once('exit', stage.endNow);
try {
  // Resource use is read where the process knows it best: by itself, at its end. Kilobytes.
  writeFileSync(
    join(folder, 'peak.cjs'),
    "process.on('exit',()=>require('node:fs').writeFileSync(process.env.PEAK_NOTE,JSON.stringify([process.resourceUsage().maxRSS,process.cpuUsage().user+process.cpuUsage().system])));",
  );
  const macs = Array.from({ length: Math.ceil((rounds + memoryRounds) / checkInsOfOneMac) }, (_, at) =>
    stage.newMac(`mac${at}`, { user: 'ada', serial: `C02BENCH${String(at).padStart(4, '0')}`, escrow: 'ours' }),
  );
  for (const mac of macs) await untilQuiet(mac);
  // The backend gives out a Mac's key once a day: each of them is enrolled, and then has the one rotation.
  const rotating = Array.from({ length: rounds + memoryRounds }, (_, at) =>
    stage.newMac(`rotating${at}`, { user: 'ada', serial: `C02ROTAT${String(at).padStart(4, '0')}`, escrow: 'ours' }),
  );
  for (const mac of rotating) await enrol(mac);
  await wait(1000 * stage.settleSeconds + 500);
  const results = await measure(macs.map(casesFor), rotating.map(casesFor));
  print(results);
} finally {
  await stage.stop();
  rmSync(folder, { recursive: true, force: true });
}

async function enrol(mac: FakeMac): Promise<void> {
  const ended = await stage.runJob(mac);
  if (ended.code !== 0) throw new Error(`the Mac could not enrol: ${ended.stderr}`);
}

/** A Mac at rest: enrolled, its key delivered and, once its user counts as settled, proved. The agent says so by its note. */
async function untilQuiet(mac: FakeMac): Promise<void> {
  for (let runs = 0; runs < 10; runs++) {
    await enrol(mac);
    if (existsSync(mac.path(paths.quiet))) return;
    await wait(1000);
  }
  throw new Error('after ten runs there still is something to do on this Mac');
}

function casesFor(mac: FakeMac): Record<Name, Case> {
  const person = { PATH: '/usr/bin:/bin:/usr/sbin:/sbin' };
  const job = { ...person, XPC_SERVICE_NAME: 'io.sparekey.agent' };
  const installed = mac.path('/Library/Sparekey/lib/sparekey.mjs');
  const root = ['--root', mac.root];
  const note = mac.path(paths.quiet);
  const noted = () => (existsSync(note) ? statSync(note).mtimeMs : null);
  let before: number | null = null;
  let key: string | null = null;
  return {
    baseline: { args: ['-e', '0'], env: person },
    version: { args: [installed, 'version'], env: person },
    status: { args: [installed, 'status', '--json', ...root], env: person },
    quietWakeUp: {
      args: [installed, 'check-in', ...root],
      env: job,
      before: async () => {
        if ((noted() ?? 0) < Date.now() - mostQuietMs) await enrol(mac);
        before = noted();
      },
      was: () => before !== null && noted() === before,
    },
    // Without the note of the last run, the same job asks its Mac and the backend everything.
    quietCheckIn: { args: [installed, 'check-in', ...root], env: job, before: () => rmSync(note, { force: true }), was: () => noted() !== null },
    // Ordered, begun, changed, sealed, validated, delivered: in one run of the job.
    rotation: {
      args: [installed, 'check-in', ...root],
      env: job,
      before: async () => {
        rmSync(note, { force: true });
        key = mac.recoveryKey;
        const ordered = await stage.server('rotate', mac.state.serial, '--reason', 'a benchmark');
        if (ordered.code !== 0) throw new Error(ordered.stderr);
      },
      was: () => mac.recoveryKey !== key,
    },
  };
}

type Results = Record<Name, { milliseconds: number; peakMiB: number; processorMs: number }>;

async function measure(macs: Record<Name, Case>[], rotating: Record<Name, Case>[]): Promise<Results> {
  const names = Object.keys(macs[0] ?? {}) as Name[];
  const taken = new Map(names.map((name) => [name, { milliseconds: [] as number[], peakMiB: [] as number[], processorMs: [] as number[] }]));
  const all = rounds + memoryRounds;
  for (let round = 0; round < all; round++) {
    process.stderr.write(`\rround ${round + 1} of ${all}`);
    const withMemory = round >= rounds;
    for (const name of names) {
      const its = name === 'rotation' ? rotating[round]?.[name] : macs[Math.floor(round / checkInsOfOneMac)]?.[name];
      if (!its) throw new Error('too few Macs');
      const { milliseconds, peakMiB, processorMs } = await run(name, its, withMemory, folder);
      if (withMemory) {
        taken.get(name)?.peakMiB.push(peakMiB);
        taken.get(name)?.processorMs.push(processorMs);
      } else taken.get(name)?.milliseconds.push(milliseconds);
    }
  }
  process.stderr.write('\n');
  return Object.fromEntries(
    [...taken].map(([name, { milliseconds, peakMiB, processorMs }]) => [
      name,
      { milliseconds: median(milliseconds), peakMiB: median(peakMiB), processorMs: median(processorMs) },
    ]),
  ) as Results;
}

function print(results: Results): void {
  const { baseline } = results;
  process.stdout.write(`${rounds} rounds, median; node ${process.version}, ${cpus()[0]?.model ?? 'unknown processor'}; bundle ${bundle.split('/').at(-1)}\n\n`);
  process.stdout.write('case             wall ms   ratio   processor   peak MiB   aim\n');
  const round = (value: number, digits: number) => Number(value.toFixed(digits));
  const worked = (name: string, milliseconds: number): number => milliseconds - (name === 'rotation' ? settling : 0);
  for (const [name, { milliseconds, peakMiB, processorMs }] of Object.entries(results)) {
    const ratio = worked(name, milliseconds) / baseline.milliseconds;
    const aim = aims[name as Name];
    process.stdout.write(
      `${name.padEnd(15)} ${milliseconds.toFixed(1).padStart(8)} ${ratio.toFixed(2).padStart(7)} ${(processorMs / baseline.processorMs).toFixed(2).padStart(11)} ${peakMiB.toFixed(1).padStart(10)}   ${aim ? `≤ ${aim}${ratio <= aim ? '' : ' missed'}` : ''}\n`,
    );
  }
  process.stdout.write(`\nThe ratio of a rotation is without the ${settling} ms between the agent's two looks at macOS's escrow file.\n`);
  if (!values.json) return;
  const json = Object.fromEntries(
    Object.entries(results)
      .filter(([name]) => name !== 'baseline')
      .map(([name, { milliseconds, peakMiB, processorMs }]) => [
        name,
        {
          wallMs: round(milliseconds, 1),
          wallRatio: round(worked(name, milliseconds) / baseline.milliseconds, 2),
          processorMs: round(processorMs, 1),
          processorRatio: round(processorMs / baseline.processorMs, 2),
          peakMiB: round(peakMiB, 1),
        },
      ]),
  );
  process.stdout.write(`${JSON.stringify(json)}\n`);
}
