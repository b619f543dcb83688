import { verifyAudit } from '../server/audit.ts';
import { type Act, acts, someDays } from './portal-course-acts.ts';
import { settled, wrongNow } from './portal-course-checks.ts';
import { closeCourses, openWorld } from './portal-course-world.ts';
import { chooser } from './sweep/random.ts';

/*
 * Random courses over the whole portal: real site, real backend, real agent, a fake Mac. A course is a row of acts with a
 * number each; its word says it exactly, so that what was found once is found again, and made shorter.
 */

export interface Step {
  act: string;
  n: number;
}

/** How often each is chosen; what is not named here, once. */
const weights: Record<string, number> = {
  getKey: 10,
  again: 5,
  moreTime: 4,
  pass: 9,
  checkIn: 5,
  settle: 4,
  refusedOther: 4,
  refusedSame: 2,
  usesKey: 4,
  backIn: 3,
  rounds: 5,
  toOwner: 5,
  inUse: 3,
  policyOn: 2,
  approve: 4,
  ask: 2,
  askAndApprove: 5,
  judgeAlarms: 3,
  oldForm: 4,
  notMe: 2,
  hide: 2,
  order: 2,
};
const lot = Object.keys(acts).flatMap((act) => Array.from({ length: weights[act] ?? 1 }, () => act));

export function randomCourse(seed: string, length = 40): Step[] {
  const random = chooser(seed);
  const steps = Array.from({ length }, () => ({ act: lot[random.number(lot.length)] as string, n: random.number(1024) }));
  // Half of them where a key has to be asked for: seldom by chance alone.
  const policy = random.number(2) === 0 ? [{ act: 'policy', n: 2 }] : [];
  return [{ act: 'toOwner', n: 1 }, ...policy, ...steps];
}

export const wordOf = (steps: readonly Step[]): string => steps.map(({ act, n }) => `${act}.${n}`).join(',');

/** Null where it says no course. */
export function courseOf(word: string): Step[] | null {
  const steps = word.split(',').map((one) => {
    const [, act = '', n = ''] = /^([a-zA-Z]+)\.(\d+)$/.exec(one) ?? [];
    return { act, n: Number(n) };
  });
  return steps.every(({ act }) => Object.hasOwn(acts, act)) ? steps : null;
}

export interface Taken {
  /** How many steps were taken. */
  steps: number;
  /** What was wrong after the last of them; nothing: the whole course was taken. */
  wrong: string[];
  keysSeen: number;
}

/** `on`: afterwards the Mac is used for some days, and all has to be well again. */
export async function takeCourse(steps: readonly Step[], on = true): Promise<Taken> {
  const world = await openWorld();
  try {
    let taken = 0;
    for (const { act, n } of steps) {
      taken += 1;
      // Nothing happens in the same millisecond as something else, but what an act does at once.
      world.pass(1);
      await (acts[act] as Act)(world, n).catch(
        (error: unknown) => void world.wrong.push(`${act}: ${error instanceof Error ? (error.stack ?? error.message) : error}`),
      );
      world.note();
      const wrong = await wrongNow(world);
      if (wrong.length > 0) return { steps: taken, wrong: wrong.map((one) => `after ${act}.${n}: ${one}`), keysSeen: world.seen.length };
    }
    if (on) await someDays(world);
    const late = [...(await wrongNow(world)), ...(on ? await settled(world) : [])];
    if (late.length > 0) return { steps: taken, wrong: late.map((one) => `at the end: ${one}`), keysSeen: world.seen.length };
    const chain = await verifyAudit(world.store);
    return { steps: taken, wrong: chain.ok ? [] : [`the audit breaks at ${chain.brokenAt}`], keysSeen: world.seen.length };
  } finally {
    await world.close();
  }
}

/** The shortest row of these steps that is still wrong, found by leaving out. */
export async function shrink(steps: readonly Step[], until: number): Promise<Step[]> {
  let best = [...steps];
  for (let size = Math.max(1, best.length >> 1); size >= 1; size = size === 1 ? 0 : size >> 1) {
    for (let at = 0; at < best.length && performance.now() < until; ) {
      const fewer = [...best.slice(0, at), ...best.slice(at + size)];
      const { wrong, steps: taken } = await takeCourse(fewer);
      if (wrong.length > 0) best = fewer.slice(0, taken);
      else at += size;
    }
  }
  return best;
}

export { closeCourses };
