import { emptyRow, type Row } from '../sweep/result.ts';
import { closeAll, closeMacs } from '../together.ts';
import { type Given, listEffects, listRecovery, type Point, runCourse, type Scenario } from './course.ts';
import { justSetUp, type Keeping, macWith, type Payload, type Reason, reasons } from './scenarios.ts';
import { randomFrom, type Survivors, type VolatileOptions } from './volatile.ts';

/*
 * The power goes before each effect of a rotation, for each reason to rotate, with and without our escrow payload; and once
 * more in the run that comes after. Without our payload, or where macOS's escrow file reaches the disk late, one loss is
 * possible: fdesetup has changed the key and its output is not synced. Those rows say `allowedLost`; in them a lost key
 * counts as `lost` only where both sides said so and named what a person can do. Everything else is `bad`.
 */

interface PowerOptions {
  quick: boolean;
  seed: number;
  /** Every pair of cuts, and every cut for every reason, where otherwise only `ordered` has them all, and the rest a sample. */
  allPairs?: boolean;
  progress(done: number, all: number): void;
  /** A fault to find. */
  lies?: NonNullable<VolatileOptions['lies']>;
  /** Of each scenario only so many courses. */
  most?: number;
  /** Only the rows whose names match. */
  only?: RegExp;
  /** One of several processes that share the scenarios. */
  shard?: { index: number; of: number };
  /** Told at once what must not be. */
  found?(what: string): void;
}

interface Part {
  row: string;
  what: string;
  scenario: Scenario;
  /** `every`: each effect. `differing`: those before which the disk, the Mac or the backend is another than before the one before. */
  points: 'differing' | 'every' | 'in fdesetup';
  seeds: number;
  /** Another reason for the same writes: a sample of it will do. */
  isLike?: boolean;
  twice?: boolean;
}

const allowed = ' (allowedLost)';
const kinds: [Payload, Keeping][] = [
  ['our', 'server'],
  ['our', 'keychain'],
  ['foreign', 'keychain'],
  ['foreign', 'server'],
];
const quickKinds: typeof kinds = [
  ['our', 'server'],
  ['foreign', 'keychain'],
];

const owing = (payload: Payload, keeping: Keeping, reason: Reason, before: (it: Given) => void = () => undefined, disk?: VolatileOptions): Scenario => ({
  async prepare() {
    const it = await macWith(payload, keeping);
    await reasons[reason](it);
    before(it);
    return it;
  },
  ...(disk ? { disk } : {}),
});

function partsOf(options: PowerOptions): Part[] {
  const lies = options.lies ? { lies: options.lies } : {};
  const parts: Part[] = [];
  for (const [payload, keeping] of options.quick ? quickKinds : kinds) {
    const suffix = payload === 'foreign' ? allowed : '';
    const of = `${payload} payload, ${keeping} custody`;
    for (const reason of Object.keys(reasons) as Reason[]) {
      const scenario = owing(payload, keeping, reason, undefined, lies);
      const isFirst = reason === 'ordered';
      if (options.quick && !isFirst) continue;
      parts.push({
        row: `power cut, ${of}${suffix}`,
        what: reason,
        scenario,
        points: isFirst ? 'every' : 'differing',
        seeds: isFirst ? 2 : 1,
        isLike: !isFirst,
      });
    }
    for (const [quirk, what] of [
      ['changeSecondsBefore', 'before it has changed the key'],
      ['changeSecondsAfter', 'after it has changed the key and before it says so'],
    ] as const) {
      if (options.quick) continue;
      const scenario = owing(payload, keeping, 'ordered', (it) => it.mac.setQuirk(quirk, 60), lies);
      parts.push({ row: `power cut during fdesetup, ${of}${suffix}`, what, scenario, points: 'in fdesetup', seeds: 2 });
    }
    if (!options.quick && (payload === 'foreign') === (keeping === 'keychain'))
      parts.push({
        row: `two power cuts, ${of}${suffix}`,
        what: 'ordered',
        scenario: owing(payload, keeping, 'ordered', undefined, lies),
        points: 'differing',
        seeds: 1,
        twice: true,
      });
  }
  const late = owing('our', 'server', 'ordered', undefined, { escrowFile: 'late', ...lies });
  if (!options.quick)
    parts.push({ row: `power cut, our payload, server custody, escrow file late${allowed}`, what: 'ordered', scenario: late, points: 'differing', seeds: 2 });
  parts.push({
    row: 'power cut, escrow on enrolment',
    what: 'the first run',
    scenario: { prepare: justSetUp, disk: lies },
    points: options.quick ? 'differing' : 'every',
    seeds: 2,
  });
  return parts.filter((part) => options.only?.test(part.row) ?? true);
}

interface Course {
  part: Part;
  point: Point;
}

const survivorsOf = (loose: boolean, seeds: number, random: () => number): Survivors[] =>
  loose ? ['none', ...(seeds > 1 ? ['all' as const] : []), ...Array.from({ length: seeds }, () => ({ seed: Math.floor(random() * 2 ** 32) }))] : ['none'];

/** In the quick form: what is around the change, or where there is none, two points at which something can be lost; and one by the seed. */
const quickly = (points: { at: number; name: string; loose: boolean }[], random: () => number): typeof points => {
  const around = points.findIndex((point) => point.name === 'fdesetup ends');
  const loose = points.filter((point) => point.loose);
  const chosen = around >= 0 ? points.slice(around, around + 2) : [loose[Math.floor(loose.length / 3)], loose.at(-1)];
  return [...new Set([...chosen, points[Math.floor(random() * points.length)]])].filter((point) => point !== undefined);
};

async function coursesOf(part: Part, options: PowerOptions, random: () => number): Promise<Course[]> {
  const it = await part.scenario.prepare();
  const { effects, points: differing } = await listEffects(it, part.scenario.disk ?? {});
  closeMacs();
  const isLoose = (at: number): boolean => differing.findLast((point) => point.at <= at)?.loose ?? false;
  const every = [...effects, 'the end of the run'].map((name, at) => ({ at, name, loose: isLoose(at) }));
  const all = part.points === 'every' && !options.quick ? every : differing.filter(({ name }) => part.points !== 'in fdesetup' || name === 'fdesetup ends');
  const chosen = options.quick && part.points !== 'in fdesetup' ? quickly(all, random) : all;
  let courses: Course[] = [];
  const firsts: Omit<Point, 'again'>[] = [];
  for (const { at, loose } of chosen) {
    const survivors = survivorsOf(loose, part.seeds, random);
    if (!part.twice)
      for (const one of options.quick ? [survivors[0] ?? 'none', ...survivors.slice(-1)].slice(0, survivors.length) : survivors)
        courses.push({ part, point: { at, survivors: one } });
    else if (at >= firstOfChange(differing)) firsts.push({ at, survivors: survivors.at(-1) ?? 'none' });
  }
  if (part.isLike && !options.allPairs) courses = someOf(courses, coursesOfSample, random);
  for (const first of options.allPairs ? firsts : someOf(firsts, firstsOfSample, random))
    courses.push(...(await againOf(part, first, options.allPairs ? null : secondsOfSample, random)));
  return options.most === undefined ? courses : someOf(courses, options.most, random);
}

/** Of a reason that is like another. */
const coursesOfSample = 30;
/** Of two cuts: so many first ones, and of each so many second ones. */
const [firstsOfSample, secondsOfSample] = [15, 4];

/** So many of them, in their order. */
function someOf<T>(all: readonly T[], count: number, random: () => number): T[] {
  const drawn = all.map((one, at) => ({ one, at, by: random() })).sort((one, other) => one.by - other.by);
  return drawn
    .slice(0, count)
    .sort((one, other) => one.at - other.at)
    .map(({ one }) => one);
}

/** Two cuts begin where the change does: before it, the run after the first cut is like any other. */
const firstOfChange = (points: { at: number; name: string }[]): number => points.find((point) => point.name.startsWith('start fdesetup'))?.at ?? 0;

async function againOf(part: Part, first: Omit<Point, 'again'>, most: number | null, random: () => number): Promise<Course[]> {
  const points = await listRecovery(part.scenario, first);
  return someOf(points, most ?? points.length, random).map(({ at, loose }) => ({
    part,
    point: { ...first, again: { at, survivors: loose ? { seed: Math.floor(random() * 2 ** 32) } : 'none' } },
  }));
}

const say = (point: Omit<Point, 'again'>): string =>
  `${String(point.at)}/${typeof point.survivors === 'object' ? `seed ${point.survivors.seed}` : point.survivors}`;

export async function sweepPower(options: PowerOptions): Promise<Row[]> {
  const chosen: Course[] = [];
  const rows = new Map<string, Row>();
  const { index: mine, of } = options.shard ?? { index: 0, of: 1 };
  for (const [number, part] of partsOf(options).entries()) {
    if (number % of !== mine) continue;
    rows.set(part.row, rows.get(part.row) ?? emptyRow(part.row));
    // The same seed chooses the same courses, however many processes share them.
    chosen.push(...(await coursesOf(part, options, randomFrom(options.seed * 1000 + number))));
  }
  for (const [index, { part, point }] of chosen.entries()) {
    options.progress(index, chosen.length);
    const row = rows.get(part.row);
    if (!row) continue;
    const began = performance.now();
    const ended = await runCourse(part.scenario, point);
    row.seconds += (performance.now() - began) / 1000;
    row.points += 1;
    row.runs[ended.runs] = (row.runs[ended.runs] ?? 0) + 1;
    if (ended.end === 'lost') row.lost += 1;
    if (ended.end === 'doubtful') row.doubtful += 1;
    const bad = [...ended.bad, ...(ended.end === 'lost' && !part.row.endsWith(allowed) ? ['lost where nothing may be'] : [])];
    const where = `${part.what}, cut ${say(point)}${point.again ? ` and ${say(point.again)}` : ''} (before ${ended.cutBefore})`;
    for (const one of bad) {
      row.bad.push(`${where}: ${one}`);
      options.found?.(`${part.row}: ${where}: ${one}`);
    }
  }
  options.progress(chosen.length, chosen.length);
  await closeAll();
  return [...rows.values()];
}
