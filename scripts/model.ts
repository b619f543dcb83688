import { parseArgs } from 'node:util';
import { compare } from '../test/model/compare.ts';
import { describeCourse, take } from '../test/model/course.ts';
import { anyPair, configurations, count, courseOf, driven, nameOf, nothingCounted, pairs, randomFrom, singles, wordOf } from '../test/model/explore.ts';
import { findBreach, weakenedRules } from '../test/model/weakened.ts';
import { closeAll } from '../test/together.ts';

/*
 * The rules of custody, rotation and delivery as a model, run through everything that can happen at any moment; and the
 * real agent with the real backend taken through the same courses. Where the two disagree, one of them is wrong.
 */

const help = `npm run model [-- --pairs] [--drive] [--quick] [--minutes N] [--seed N] [--only WORD] [--json]

  without options   every event at every tick of every kind of Mac, through the model; then each rule left out in turn
  --pairs           every pair of events as well
  --drive           the real agent and backend, too: every single event, then pairs by chance until the time is over
  --quick           a sample of each
  --minutes N       how long --drive goes on (default 10)
  --seed N          which pairs (default: a new one each time, which is said)
  --only WORD       the one course of this name, through both; or the kinds of Mac whose names begin so
  --json            the last line is one JSON object
`;
const { values } = parseArgs({
  options: {
    pairs: { type: 'boolean' },
    drive: { type: 'boolean' },
    quick: { type: 'boolean' },
    minutes: { type: 'string', default: '10' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    only: { type: 'string', default: '' },
    json: { type: 'boolean' },
    help: { type: 'boolean', short: 'h' },
  },
});
if (values.help) {
  process.stdout.write(help);
  process.exit(0);
}
const [minutes, seed] = [Number(values.minutes), Number(values.seed)];
if (!(minutes > 0 && minutes <= 24 * 60) || !Number.isInteger(seed)) {
  process.stderr.write('model: error: --minutes must be a number from 0 to 1440, --seed a whole number\n');
  process.exit(64);
}
const say = (line: string): void => void process.stdout.write(`${line}\n`);
const progress = (line: string): void => void (process.stderr.isTTY && process.stderr.write(`\r\x1b[K${line}`));

const one = courseOf(values.only);
if (values.only.includes('@')) {
  if (!one) {
    process.stderr.write(`model: error: there is no course ${values.only}\n`);
    process.exit(64);
  }
  const { broken, ticks } = take(one);
  say(describeCourse(one, ticks));
  for (const { invariant, at } of broken) say(`  the model breaks: ${invariant}, at ${at}`);
  const again = await compare(one);
  say(again.differences.length === 0 ? '  model and product agree' : again.report);
  await closeAll();
  process.exit(broken.length + again.differences.length === 0 ? 0 : 1);
}

const kinds = configurations.filter((configuration) => nameOf(configuration).startsWith(values.only) && (!values.quick || configuration.because === 'ordered'));
const result = { courses: 0, lost: 0, broken: 0, weakened: 0, unnoticed: 0, driven: 0, disagreements: 0, seed };
const began = performance.now();
const seconds = (): string => `${((performance.now() - began) / 1000).toFixed(0)} s`;

say(`${'kind of Mac'.padEnd(44)} courses   lost where a rule says so   broken`);
for (const kind of kinds) {
  const counted = nothingCounted();
  for (const all of values.pairs ? [singles, pairs] : [singles])
    for (const course of all(kind)) {
      count(course, counted);
      if (counted.courses % 1000 === 0) progress(`${nameOf(kind)}: ${counted.courses} courses, ${seconds()}`);
    }
  progress('');
  say(`${nameOf(kind).padEnd(44)} ${String(counted.courses).padStart(7)} ${String(counted.lost).padStart(27)} ${String(counted.broken.length).padStart(8)}`);
  for (const { course, taken } of counted.broken.slice(0, 3)) say(`  ${wordOf(course)}: ${taken.broken[0]?.invariant}, at ${taken.broken[0]?.at}`);
  result.courses += counted.courses;
  result.lost += counted.lost;
  result.broken += counted.broken.length;
}
say(`${result.courses} courses through the model in ${seconds()}`);

if (values.only === '') {
  say(`\n${'without the rule'.padEnd(44)} breaks`);
  for (const weakened of weakenedRules) {
    progress(`without "${weakened.rule}", ${seconds()}`);
    const breach = findBreach(weakened);
    progress('');
    result.weakened += 1;
    if (!breach) result.unnoticed += 1;
    say(`${weakened.rule.padEnd(44)} ${breach ? `${breach.broken.invariant}, after ${breach.courses} courses: ${wordOf(breach.course)}` : 'NOTHING'}`);
  }
}

if (values.drive) {
  say(`\nthe product, too (seed ${seed}):`);
  const until = performance.now() + minutes * 60_000;
  const random = randomFrom(seed);
  const those = driven.filter((kind) => kinds.includes(kind));
  const check = async (course: Parameters<typeof compare>[0]): Promise<void> => {
    const compared = await compare(course);
    result.driven += 1;
    if (compared.differences.length > 0) {
      result.disagreements += 1;
      progress('');
      say(compared.report);
    }
    progress(`${result.driven} courses, ${result.disagreements} disagreements, ${seconds()}`);
  };
  if (!values.quick)
    for (const kind of those)
      for (const course of singles(kind)) {
        if (performance.now() > until) break;
        await check(course);
      }
  for (let sampled = 0; performance.now() < until && (!values.quick || sampled < 20); sampled++) await check(anyPair(those, random));
  progress('');
  say(`${result.driven} courses through the product in ${seconds()}, ${result.disagreements} disagreements`);
  await closeAll();
}

if (values.json) say(JSON.stringify(result));
process.exit(result.broken + result.unnoticed + result.disagreements === 0 ? 0 : 1);
