import { parseArgs } from 'node:util';
import { closeCourses, courseOf, randomCourse, shrink, takeCourse, wordOf } from '../test/portal-courses.ts';

/*
 * Random courses through the portal: people, admins, the Mac, time and a backend that dies, in any order; after each step
 * everything is checked that has to be true of keys, holds, episodes, mails and the audit. What is found is made shorter.
 */

const help = `npm run portal:courses [-- --seed N] [--minutes M] [--quick] [--course WORD] [--json]

  --seed N        which courses (default: a new one each time, which is said)
  --minutes M     how long (default 5)
  --quick         twenty courses, however long they take
  --course WORD   this one course, as it was printed
  --json          the last line is one JSON object
`;
const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    minutes: { type: 'string', default: '5' },
    quick: { type: 'boolean' },
    course: { type: 'string' },
    json: { type: 'boolean' },
    help: { type: 'boolean', short: 'h' },
  },
});
if (values.help) {
  process.stdout.write(help);
  process.exit(0);
}
const [seed, minutes] = [Number(values.seed), Number(values.minutes)];
if (!Number.isInteger(seed) || !(minutes > 0 && minutes <= 24 * 60)) {
  process.stderr.write('portal:courses: error: --seed must be a whole number, --minutes a number from 0 to 1440\n');
  process.exit(64);
}
const say = (line: string): void => void process.stdout.write(`${line}\n`);
const progress = (line: string): void => void (process.stderr.isTTY && process.stderr.write(`\r\x1b[K${line}`));

const one = values.course === undefined ? null : courseOf(values.course);
if (values.course !== undefined && !one) {
  process.stderr.write('portal:courses: error: that is no course; its word is a list of act.number with commas\n');
  process.exit(64);
}
const began = performance.now();
const seconds = (): number => Math.round((performance.now() - began) / 1000);
const result = { seed, courses: 0, steps: 0, keysSeen: 0, broken: 0, seconds: 0 };
if (one) {
  const taken = await takeCourse(one);
  say(taken.wrong.length === 0 ? `${taken.steps} steps, ${taken.keysSeen} keys shown, nothing wrong` : taken.wrong.join('\n'));
  Object.assign(result, { courses: 1, steps: taken.steps, keysSeen: taken.keysSeen, broken: taken.wrong.length === 0 ? 0 : 1 });
} else {
  say(`seed ${seed}`);
  const until = began + minutes * 60_000;
  for (let at = 0; values.quick ? at < 20 : performance.now() < until; at++) {
    const course = randomCourse(`${seed}/${at}`);
    const taken = await takeCourse(course);
    result.courses += 1;
    result.steps += taken.steps;
    result.keysSeen += taken.keysSeen;
    if (taken.wrong.length > 0) {
      result.broken += 1;
      progress('');
      say(taken.wrong.join('\n'));
      const short = await shrink(course.slice(0, taken.steps), performance.now() + 60_000);
      say(`  npm run portal:courses -- --course ${wordOf(short)}\n`);
    }
    progress(`${result.courses} courses, ${result.broken} broken, ${seconds()} s`);
  }
  progress('');
  say(`${result.courses} courses with ${result.steps} steps and ${result.keysSeen} keys shown in ${seconds()} s, ${result.broken} broken`);
}
await closeCourses();
result.seconds = seconds();
if (values.json) say(JSON.stringify(result));
process.exit(result.broken === 0 ? 0 : 1);
