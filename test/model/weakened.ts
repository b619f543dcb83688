// The model without one of its rules. Each of these has to break an invariant: otherwise the rule would be for nothing, or
// the invariant blind.
import { type Course, take } from './course.ts';
import { configurations, singles } from './explore.ts';
import type { Broken, Invariant } from './invariants.ts';
import type { Configuration } from './state.ts';

export interface Weakened {
  /** The rule that is left out, by the name under which the model asks for it. */
  readonly rule: string;
  /** What is done instead. */
  readonly instead: string;
  readonly breaks: Invariant;
  /** Where it shows. */
  readonly on: Partial<Configuration>;
}

export const weakenedRules: readonly Weakened[] = [
  {
    rule: '1: the intent is journaled',
    instead: 'fdesetup is started without a word in the journal',
    breaks: 'one change counts once',
    on: { file: 'prompt' },
  },
  { rule: '2: begin is asked', instead: 'the key is changed without asking the backend', breaks: 'the server knows first', on: { custody: 'keychain' } },
  { rule: '8: the output is synced', instead: 'the output is read and not synced', breaks: 'nothing is lost', on: { file: 'never' } },
  { rule: '12: the output stays until the key is sealed', instead: 'the output goes as soon as it was read', breaks: 'nothing is lost', on: { file: 'never' } },
  {
    rule: 'the envelope stays after its receipt',
    instead: 'the journal forgets a key that has a receipt',
    breaks: 'nothing is lost',
    on: { file: 'never' },
  },
  { rule: 'what is wanted is delivered', instead: 'an envelope with a receipt is never delivered again', breaks: 'found again', on: { file: 'never' } },
  { rule: 'arrival order decides nothing', instead: 'the newest delivery is the held key', breaks: 'held is true', on: { payload: 'none' } },
  {
    rule: 'a witness changes no state',
    instead: 'a second envelope of an old key makes it a candidate again',
    breaks: 'found again',
    on: { custody: 'keychain' },
  },
  { rule: 'K8: one false refutes nothing', instead: 'one false answer refutes a key', breaks: 'found again', on: { custody: 'keychain', file: 'late' } },
  { rule: 'the budget of wrong keys', instead: 'keys are tried as often as one likes', breaks: 'the budget of wrong keys', on: { file: 'prompt' } },
  { rule: 'the hold', instead: 'a key is replaced while it may be typed', breaks: 'nobody types a dying key', on: { because: 'disclosed' } },
  {
    rule: 'E: the escrow file is waited for',
    instead: 'a missing escrow file counts at once',
    breaks: 'one change counts once',
    on: { file: 'late', authority: 'password' },
  },
  { rule: 'R0: a change that runs is waited for', instead: 'what fdesetup is doing is not waited for', breaks: 'held is true', on: { file: 'never' } },
  { rule: 'R9: exhausted is said', instead: 'a key that nobody has ends as not-changed', breaks: 'lost is said', on: { file: 'never' } },
  { rule: '0017: not known is doubtful', instead: 'custody is what it was before', breaks: 'held is true', on: { authority: 'password', file: 'never' } },
];

/** The first course in which it breaks something, and what. */
export function findBreach(weakened: Weakened): { course: Course; broken: Broken; courses: number } | null {
  const without = new Set([weakened.rule]);
  const fits = (one: Configuration): boolean => Object.entries(weakened.on).every(([name, value]) => one[name as keyof Configuration] === value);
  let courses = 0;
  for (const configuration of configurations.filter(fits)) {
    for (const course of singles(configuration)) {
      courses += 1;
      const broken = take(course, without).broken.find((one) => one.invariant === weakened.breaks);
      if (broken) return { course, broken, courses };
    }
  }
  return null;
}
