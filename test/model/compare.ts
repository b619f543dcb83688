// Takes one course through the model and through the product, and says where they disagree.
import { abstractOf, difference } from './abstraction.ts';
import { type Course, describeCourse, take } from './course.ts';
import { drive } from './drive.ts';
import { wordOf } from './explore.ts';

export interface Compared {
  course: Course;
  /** Empty where they agree. */
  differences: string[];
  /** The course in words, both ends, and the command that takes it again. */
  report: string;
}

/** `model` gives the model's end; another than `take` is for a test of this comparison itself. */
export async function compare(course: Course, model: typeof take = take): Promise<Compared> {
  const taken = model(course);
  const { product, missed, ticks } = await drive(course, taken);
  const differences = [...difference(abstractOf(taken.end), product), ...missed.map((one) => `the product never came to: ${one}`)];
  const line = (of: readonly { run: number; at: string }[]): string => of.map(({ run, at }) => `${run}:${at}`).join(', ');
  const [ours, theirs] = [line(taken.ticks.filter(({ at }) => !at.startsWith('mac '))), line(ticks)];
  if (ours !== theirs) differences.push(`the order of effects:\n    model   ${ours}\n    product ${theirs}`);
  const report = [
    describeCourse(course, taken.ticks),
    ...differences.map((one) => `  ${one}`),
    `  model:   ${JSON.stringify(abstractOf(taken.end))}`,
    `  product: ${JSON.stringify(product)}`,
    `  again:   npm run model -- --only '${wordOf(course)}'`,
  ].join('\n');
  return { course, differences, report };
}
