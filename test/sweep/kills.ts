import { type Course, describeCourse, type Fault, runCourse } from './course.ts';
import { type Effect, type Point, pointText } from './dying.ts';
import { chooser } from './random.ts';
import { emptyRow, type Row } from './result.ts';
import type { Scenario } from './scenarios.ts';

/*
 * Every moment between two effects of a run is one point of death: it is after the one and before the other. The second
 * deaths, in the run that recovers, come only where something has changed since the last one: dying before a question is
 * dying before the next change.
 */

export interface KillOptions {
  /** So many deaths of the first run, by the seed; null: every one. */
  first: number | null;
  /** So many pairs with a death of the run that recovers; null: every one. */
  second: number | null;
  seed: number;
  /** Of the first deaths, every n-th beginning with the i-th. */
  shard?: { index: number; of: number };
  /** Only deaths before effects of which this is true. */
  where?(effect: Effect, at: number, all: readonly Effect[]): boolean;
  fault?: Fault;
  /** Called before each course. */
  progress?(done: number, all: number): void;
  /** Every course, when it is over. */
  each?(course: Course): void;
}

/** Temp files are removed by whoever writes next, and read by nobody: to the second death they are all one. */
const matters = ({ changes, name }: Effect): boolean => changes && !/^(create|write) .*\.new$/.test(name);

const before = (at: number): Point => ({ at, when: 'before' });
/** Before each effect that passes, and after the last of all. */
const pointsOf = (effects: readonly Effect[], which: NonNullable<KillOptions['where']>): Point[] => [
  ...effects.flatMap((effect, at) => (which(effect, at, effects) ? [before(at)] : [])),
  { at: effects.length - 1, when: 'after' },
];

export async function sweepKills(scenario: Scenario, options: KillOptions): Promise<Row> {
  const row = emptyRow(scenario.name);
  const began = performance.now();
  const choose = chooser(`${scenario.name} ${options.seed}`);
  const { index = 0, of = 1 } = options.shard ?? {};
  const course = async (points: readonly Point[]): Promise<Course | null> => {
    try {
      const one = await runCourse(scenario, points, options.fault ?? null);
      options.each?.(one);
      // Nobody died: such a course shows nothing, and one that ends badly all the more.
      if (one.verdict !== 'well' || points.length === 0 || one.runs.some(({ died }) => died)) note(row, scenario, one);
      return one;
    } catch (cause) {
      row.points++;
      row.bad.push(`${scenario.name} --point ${points.map(pointText).join('+') || 'none'}: the course itself failed: ${(cause as Error).stack ?? cause}`);
      return null;
    }
  };
  const undisturbed = await course([]);
  // It is no point of death; what was bad in it stays.
  row.points = 0;
  row.runs = [];
  // Where the run itself does not end well, every death in it says the same.
  if (undisturbed?.verdict !== 'well') {
    if (undisturbed) row.bad = [describeCourse(scenario, undisturbed)];
    return { ...row, lost: 0, doubtful: 0, told: [], seconds: secondsSince(began) };
  }
  const effects = undisturbed.runs[0]?.effects ?? [];
  const every = pointsOf(effects, options.where ?? (() => true)).filter((_, at) => at % of === index);
  const firsts = options.first === null ? every : choose.some(every, options.first);
  const twice = new Set(pointsOf(effects, matters).map(pointText));
  const pairs: Point[][] = [];
  let done = 0;
  const all = (): number => firsts.length + Math.min(pairs.length, options.second ?? pairs.length);
  for (const first of firsts) {
    options.progress?.(done++, all());
    const one = await course([first]);
    // In a sample any first death will do; otherwise those that leave something else behind.
    if (!one || (options.first === null && !twice.has(pointText(first)))) continue;
    pairs.push(...pointsOf(one.recovery, matters).map((second) => [first, second]));
  }
  const chosen = options.second === null ? pairs : choose.some(pairs, options.second);
  for (const pair of chosen) {
    options.progress?.(done++, firsts.length + chosen.length);
    await course(pair);
  }
  return { ...row, seconds: secondsSince(began) };
}

const secondsSince = (began: number): number => (performance.now() - began) / 1000;

function note(row: Row, scenario: Scenario, course: Course): void {
  row.points++;
  if (course.verdict === 'lost') row.lost++;
  if (course.verdict === 'doubtful') row.doubtful++;
  if (course.verdict === 'lost' || course.verdict === 'doubtful') row.told = [...(row.told ?? []), describeCourse(scenario, course)];
  if (course.verdict === 'bad') row.bad.push(describeCourse(scenario, course));
  else row.runs[course.recovered] = (row.runs[course.recovered] ?? 0) + 1;
}
