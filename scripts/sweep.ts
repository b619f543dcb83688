import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { sweepPower } from '../test/power/sweep.ts';
import { type Course, describeCourse, runCourse } from '../test/sweep/course.ts';
import { type Point, pointText, readPoint } from '../test/sweep/dying.ts';
import { sweepKills } from '../test/sweep/kills.ts';
import { addRows, asJson, type Row, tableOf, totalsOf } from '../test/sweep/result.ts';
import { type Scenario, scenarios } from '../test/sweep/scenarios.ts';
import { endBySignals, endWithParent, type Part, runParts, type Said } from '../test/sweep/shards.ts';
import { hasStrace, sweepSyscalls } from '../test/sweep/syscalls.ts';
import { closeAll } from '../test/together.ts';

/*
 * Never lose a key, shown: the agent dies at every effect of every kind of run, again while it recovers, at system calls of
 * the shipped bundle, and by power cuts; after each death the Mac goes on, and both sides must end with one key that opens
 * the disk.
 */

const pairsOfSample = 60;
/** So that the system calls take some minutes. */
const everyOfSample = 12;
/** Each of them lists only its own scenarios; the long ones are the first. */
const powerProcesses = 16;
const help = `npm run sweep                    every part, about 20 minutes on two idle processors: each single death of each row, and samples of the
                                 rest; a table; exit 0 only where nothing was lost, in doubt, or otherwise wrong
npm run sweep -- --quick         a sample of the kills and power cuts, seconds instead of many minutes
npm run sweep -- --kills         in process: before and after every effect, and again while the next run recovers
npm run sweep -- --power         in process: what was not fsynced is gone
npm run sweep -- --syscalls      the shipped bundle as a process, SIGKILL at system calls (needs strace; seconds each)

  --only NAME      only this row (again for more); ${scenarios.length} rows of kills, see --list
  --point P        with one --only: this course alone, told in full; 85b dies before effect 85, 85a after it,
                   85b+12a a second time in the next run; none: nobody dies
  --sample N       of each row N deaths and N pairs of them
  --seed N         another sample (default 1)
  --all-pairs      of each row every pair of deaths and of power cuts, where otherwise each has a sample of ${pairsOfSample}, and
                   every power cut for every reason, where otherwise only “ordered” has them all: hours
  --every N        of the system calls that matter every N-th (default ${everyOfSample}; 1: each of them)
  --workers N      processes at a time (default: as many as the machine has processors, at most 4)
  --json           the last line is one JSON object
  --list           the names of the rows
`;
/** Of one row in a quick sweep. */
const quick = { first: 2, second: 1 } as const;
/** Of one row; the others are likely to say the same. */
const mostTold = 8;

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean' },
    kills: { type: 'boolean' },
    power: { type: 'boolean' },
    syscalls: { type: 'boolean' },
    only: { type: 'string', multiple: true },
    point: { type: 'string' },
    sample: { type: 'string' },
    seed: { type: 'string', default: '1' },
    'all-pairs': { type: 'boolean' },
    every: { type: 'string', default: String(everyOfSample) },
    workers: { type: 'string', default: String(Math.max(1, Math.min(4, cpus().length))) },
    shard: { type: 'string' },
    json: { type: 'boolean' },
    list: { type: 'boolean' },
    help: { type: 'boolean', short: 'h' },
  },
});

const wrong = (words: string): number => {
  process.stderr.write(`sweep: error: ${words}\nsweep: fix: npm run sweep -- --help\n`);
  return 64;
};

const wholeNumber = (text: string, least: number): number | null => (/^\d{1,9}$/.test(text) && Number(text) >= least ? Number(text) : null);

process.exitCode = await sweep();

async function sweep(): Promise<number> {
  if (values.help || values.list) {
    process.stdout.write(values.help ? help : scenarios.map(({ name }) => `${name}\n`).join(''));
    return 0;
  }
  const [seed, every, workers] = [wholeNumber(values.seed, 0), wholeNumber(values.every, 1), wholeNumber(values.workers, 1)];
  if (seed === null || every === null || workers === null || (values.sample !== undefined && wholeNumber(values.sample, 1) === null))
    return wrong('--seed, --sample, --every and --workers take whole numbers');
  const unknown = (values.only ?? []).find((name) => !scenarios.some((one) => one.name === name));
  if (unknown !== undefined) return wrong(`there is no row “${unknown}” (--list names them)`);
  const chosen = values.only ? scenarios.filter(({ name }) => values.only?.includes(name)) : scenarios;
  if (values.shard !== undefined) return beOnePart(chosen, seed, values.shard);
  if (values.point !== undefined) return tellOne(chosen, values.point);
  return sweepAll(chosen, { seed, every, workers });
}

// ——— one process of many

async function beOnePart(chosen: readonly Scenario[], seed: number, shard: string): Promise<number> {
  const [index = 0, of = 1] = shard.split('/').map(Number);
  const say = (said: Said): void => void process.send?.(said);
  const end = endWithParent();
  if (values.power) {
    const [quick, allPairs] = [values.quick === true, values['all-pairs'] === true];
    say({ rows: await sweepPower({ quick, allPairs, seed, shard: { index, of }, progress: (done, all) => say({ done, all }) }) });
    end();
    return 0;
  }
  const rows: Row[] = [];
  try {
    for (const [at, scenario] of chosen.entries()) {
      const progress = (done: number, all: number): void => say({ done: at * all + done, all: chosen.length * all });
      rows.push(await sweepKills(scenario, { ...countsOf(of), seed, shard: { index, of }, progress }));
    }
  } finally {
    await closeAll();
  }
  say({ rows });
  end();
  return 0;
}

function countsOf(of: number): { first: number | null; second: number | null } {
  if (values.sample !== undefined) return { first: Number(values.sample), second: Number(values.sample) };
  if (values.quick) return quick;
  return { first: null, second: values['all-pairs'] ? null : Math.ceil(pairsOfSample / of) };
}

/** In so many parts that all processors are busy until the end: a sample takes its rows in turn, a full sweep each row in four. */
function partsOf(chosen: readonly Scenario[], seed: number, workers: number): Part[] {
  const same = [
    '--seed',
    String(seed),
    ...(values.quick ? ['--quick'] : []),
    ...(values.sample ? ['--sample', values.sample] : []),
    ...(values['all-pairs'] ? ['--all-pairs'] : []),
  ];
  const part = (names: readonly string[], shard: string): Part => ({
    name: names.join(', '),
    args: [...names.flatMap((name) => ['--only', name]), '--shard', shard, ...same],
  });
  const names = chosen.map(({ name }) => name);
  if (!values.quick && values.sample === undefined) return names.flatMap((name) => [0, 1, 2, 3].map((index) => part([name], `${index}/4`)));
  const parts = Math.min(names.length, values.quick ? workers : workers * 3);
  return Array.from({ length: parts }, (_, index) =>
    part(
      names.filter((_name, at) => at % parts === index),
      '0/1',
    ),
  );
}

function powerParts(seed: number, workers: number): Part[] {
  const parts = values.quick ? workers : powerProcesses;
  const same = ['--seed', String(seed), ...(values.quick ? ['--quick'] : []), ...(values['all-pairs'] ? ['--all-pairs'] : [])];
  return Array.from({ length: parts }, (_, index) => ({
    name: `power cuts, part ${index + 1} of ${parts}`,
    args: ['--power', '--shard', `${index}/${parts}`, ...same],
  }));
}

// ——— one course

async function tellOne(chosen: readonly Scenario[], text: string): Promise<number> {
  const scenario = chosen[0];
  const points = text === 'none' ? [] : text.split('+').map(readPoint);
  if (!scenario || chosen.length !== 1) return wrong('--point needs one --only');
  if (points.some((point) => point === null)) return wrong(`“${text}” is no point such as 85b, 85a or 85b+12a`);
  let course: Course;
  try {
    course = await runCourse(scenario, points as Point[]);
  } finally {
    await closeAll();
  }
  course.runs.forEach((run, number) => {
    process.stdout.write(`run ${number + 1}${run.died ? `, which died at ${pointText(points[number] as Point)}` : ''}:\n`);
    run.effects.forEach((effect, at) => {
      process.stdout.write(`  ${String(at).padStart(3)} ${effect.changes ? '*' : ' '} ${effect.name}\n`);
    });
  });
  process.stdout.write(`what each run said:\n${course.told.map((line) => `  ${line}\n`).join('')}${describeCourse(scenario, course)}\n`);
  return course.verdict === 'well' ? 0 : 1;
}

// ——— everything

/** One line that is written over again, on a terminal; a line now and then where stderr is a file. */
function progressOf(name: string): (done: number, all: number) => void {
  const began = Date.now();
  let last = 0;
  return (done, all) => {
    const pause = process.stderr.isTTY ? 200 : 30_000;
    if (Date.now() - last < pause) return;
    last = Date.now();
    const seconds = Math.round((Date.now() - began) / 1000);
    process.stderr.write(process.stderr.isTTY ? `\r${name}: ${done} of ${all}, ${seconds} s \x1b[K` : `${name}: ${done} of ${all}, ${seconds} s\n`);
  };
}

/** As the rows are listed, whichever process was first. */
function inOrder(rows: readonly Row[]): Row[] {
  const place = (row: Row): number => scenarios.findIndex(({ name }) => name === row.name);
  return rows.toSorted((one, other) => place(one) - place(other));
}

async function sweepAll(chosen: readonly Scenario[], { seed, every, workers }: { seed: number; every: number; workers: number }): Promise<number> {
  endBySignals();
  const began = Date.now();
  const parts = { kills: values.kills === true, power: values.power === true, syscalls: values.syscalls === true };
  // Chosen by none, or by naming rows of the kills.
  const all = !parts.kills && !parts.power && !parts.syscalls && !values.only;
  const script = fileURLToPath(import.meta.url);
  const rows: Row[] = [];
  if (all || parts.kills || (values.only && !parts.syscalls && !parts.power))
    rows.push(...inOrder(addRows(await runParts(script, partsOf(chosen, seed, workers), workers, progressOf('kills')))));
  if (all || parts.power) rows.push(...addRows(await runParts(script, powerParts(seed, workers), workers, progressOf('power cuts'))));
  let syscalls: Row[] | null = null;
  const wantsSyscalls = parts.syscalls || (all && !values.quick);
  if (wantsSyscalls && !(await hasStrace()))
    process.stderr.write('\nsweep: SKIPPED: system calls, because this machine has no strace (Debian: apt-get install strace)\n');
  else if (wantsSyscalls) {
    syscalls = await sweepSyscalls({ every, seed, workers, progress: progressOf('system calls') });
    rows.push(...syscalls);
  } else process.stderr.write('\nsweep: not asked for: system calls (--syscalls)\n');
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');

  const totals = totalsOf(rows);
  const screen = values.json ? process.stderr : process.stdout;
  const seconds = Math.round((Date.now() - began) / 1000);
  screen.write(`${tableOf(rows)}\n`);
  for (const row of rows) {
    const courses = [...(row.told ?? []), ...row.bad];
    for (const words of courses.slice(0, mostTold)) screen.write(`\n${words}\n`);
    if (courses.length > mostTold) screen.write(`\n${row.name}: and ${courses.length - mostTold} more\n`);
  }
  const good = totals.points > 0 && totals.lost === 0 && totals.doubtful === 0 && totals.bad === 0;
  if (totals.allowedLost > 0)
    screen.write(
      `\n${totals.allowedLost} lost where it is allowed: a power cut before fdesetup's output was on the disk, without our escrow payload, and said by both sides\n`,
    );
  screen.write(`\n${totals.points} courses in ${seconds} s (seed ${seed}): ${good ? 'no key was lost' : 'NOT as it must be'}\n`);
  if (values.json) process.stdout.write(`${asJson(rows, { syscalls: syscalls && totalsOf(syscalls).points, seed, seconds })}\n`);
  return good ? 0 : 1;
}
