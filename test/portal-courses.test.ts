import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { closeCourses, courseOf, randomCourse, type Step, takeCourse, wordOf } from './portal-courses.ts';
import { portalMutations } from './portal-mutations.ts';

/*
 * A few courses through the whole portal, after each step of which everything is checked (test/portal-course-checks.ts).
 * `npm run portal:courses` takes thousands; what it found stands here as it was shrunk.
 */

afterAll(closeCourses);

const steps = (word: string): readonly Step[] => {
  const course = courseOf(word);
  if (!course) throw new TypeError(`no course: ${word}`);
  return course;
};
/** `keys`: how often one was shown, so that no course passes for nothing having happened. */
const course = (name: string, keys: number, word: string): [string, number, string] => [name, keys, word];

describe('a course', () => {
  test.each([
    course('a form shows a key once, however often it is sent', 1, 'toOwner.1,twice.0,oldForm.0,oldForm.8'),
    course('no key is replaced during the hold, and the next one is there after it', 1, 'toOwner.1,settle.0,getKey.0,settle.0,backIn.0,settle.0,rounds.0'),
    course(
      'not me ends every session, ends the hold, orders, and no key is shown until it was judged',
      2,
      'toOwner.1,getKey.0,notMe.0,getKey.0,judgeAlarms.0,getKey.0',
    ),
    course('an approval is for one time of being locked out', 1, 'toOwner.1,policy.2,ask.0,approve.1,getKey.0,backIn.0,getKey.0'),
    course('an approval is not spent by a key that did not open', 1, 'toOwner.1,policy.2,ask.0,approve.1,openerAway.0,getKey.0'),
    course('more time is not given long after the end of a view', 1, 'toOwner.1,getKey.0,pass.5,moreTime.0'),
    course('beyond the limit of a person nothing is shown', 12, `toOwner.1,getKey.0,${Array.from({ length: 12 }, () => 'again.0').join()}`),
    course(
      'a Mac goes to somebody else, and with it whatever its first person could see',
      2,
      'toOwner.1,getKey.0,toAnother.0,look.0,again.0,oldForm.0,look.6,getKey.6',
    ),
    course(
      'a backend that dies between the commit and the opening has shown nobody anything, and owes all the same',
      1,
      'toOwner.1,diesBeforeOpening.0,getKey.0,backIn.0,settle.0',
    ),
  ])('%s', async (_name, keys, word) => {
    expect(await takeCourse(steps(word), false)).toMatchObject({ wrong: [], keysSeen: keys });
  });

  test('by chance', async () => {
    const taken = await takeCourse(randomCourse('always this one', 12));
    expect(taken.wrong).toEqual([]);
  });

  test('is its word', () => {
    const random = randomCourse('1/0');
    expect(courseOf(wordOf(random))).toEqual(random);
    expect(courseOf('getKey.1,nothing.2')).toBeNull();
    expect(randomCourse('1/0')).toEqual(random);
    expect(randomCourse('1/1')).not.toEqual(random);
  });
});

test.each(portalMutations)('what is planted is there to be planted: $breaks', ({ file, from, to, test: shownBy }) => {
  const read = (path: string): string => readFileSync(join(import.meta.dirname, '..', path), 'utf8');
  expect(read(file).split(from)).toHaveLength(2);
  expect(to).not.toBe(from);
  expect(read(shownBy.file)).toContain(`'${shownBy.name}'`);
});
