// Every event at every tick of every kind of Mac: singly, and in pairs.
import { type Course, type CourseEvent, type Passed, type Taken, take } from './course.ts';
import { type EventKind, eventKinds, mayComeAt } from './events.ts';
import { keepersOf } from './invariants.ts';
import type { Configuration } from './state.ts';

/** Kinds of Mac that there are: where no payload is ours, only a key in the keychain or a password authorizes a change. */
export const configurations: readonly Configuration[] = (['ordered', 'disclosed'] as const).flatMap((because) =>
  (['prompt', 'late', 'never'] as const).flatMap((file): Configuration[] => [
    { custody: 'server', payload: 'ours', authority: 'grant', file, because },
    { custody: 'keychain', payload: 'ours', authority: 'keychain', file, because },
    { custody: 'keychain', payload: 'foreign', authority: 'keychain', file, because },
    { custody: 'server', payload: 'ours', authority: 'password', file, because },
    { custody: 'server', payload: 'none', authority: 'password', file, because },
  ]),
);
/** What drive.ts can make of a Mac: with a password somebody has to be asked. */
export const driven = configurations.filter((one) => one.authority !== 'password');
export const nameOf = ({ custody, payload, authority, file, because }: Configuration): string => `${custody}/${payload}/${authority}/${file}/${because}`;

function* eventsIn(ticks: readonly Passed[], from: number): Generator<CourseEvent> {
  for (let tick = from; tick < ticks.length; tick++) for (const does of eventKinds) if (mayComeAt(does, ticks[tick]?.at ?? '')) yield { tick, does };
}

/** With nothing, then with each event at each tick. */
export function* singles(configuration: Configuration): Generator<Course> {
  yield { configuration, events: [] };
  for (const event of eventsIn(take({ configuration, events: [] }).ticks, 0)) yield { configuration, events: [event] };
}

/** After each event, each other at each later tick of the course that the first one makes. */
export function* pairs(configuration: Configuration): Generator<Course> {
  for (const first of eventsIn(take({ configuration, events: [] }).ticks, 0))
    for (const second of eventsIn(take({ configuration, events: [first] }).ticks, first.tick + 1)) yield { configuration, events: [first, second] };
}

/** One pair by chance; `random` gives numbers from 0 to 1. */
export function anyPair(configurations: readonly Configuration[], random: () => number): Course {
  const pick = <T>(of: readonly T[]): T | undefined => of[Math.floor(random() * of.length)];
  const configuration = pick(configurations);
  if (!configuration) throw new Error('there is no kind of Mac to choose from');
  const first = pick([...eventsIn(take({ configuration, events: [] }).ticks, 0)]);
  if (!first) return { configuration, events: [] };
  const second = pick([...eventsIn(take({ configuration, events: [first] }).ticks, first.tick + 1)]);
  return { configuration, events: second ? [first, second] : [first] };
}

/** mulberry32: the same numbers for the same seed. */
export function randomFrom(seed: number): () => number {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), a | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

export interface Counted {
  courses: number;
  /** Nobody has the key at the end, in a window that a rule names. */
  lost: number;
  ticks: number;
  broken: { course: Course; taken: Taken }[];
}
export const nothingCounted = (): Counted => ({ courses: 0, lost: 0, ticks: 0, broken: [] });

export function count(course: Course, into: Counted): Taken {
  const taken = take(course);
  into.courses += 1;
  into.ticks += taken.ticks.length;
  if (keepersOf(taken.end).length === 0) into.lost += 1;
  if (taken.broken.length > 0) into.broken.push({ course, taken });
  return taken;
}

const eventWords: Record<EventKind, string> = {
  kill: 'kill',
  'power cut, what was not synced survives': 'cut',
  'power cut, what was not synced is gone': 'cut-unsynced',
  'kill, and the journal is gone': 'journal-gone',
  'kill, and the journal is damaged': 'journal-damaged',
  'kill, and the budget of wrong keys is spent': 'budget-spent',
  'key changed by somebody else, file for us': 'changed-ours',
  'key changed by somebody else, file for them': 'changed-theirs',
  'key changed by somebody else, no file': 'changed-unseen',
  'escrow file of an older key': 'stale-file',
  'macOS does not say': 'silent',
  'macOS says false once': 'false-once',
  'fdesetup dies': 'fdesetup-dies',
  'kill, and fdesetup takes its time': 'fdesetup-slow',
  'backend restored': 'restored',
  'answer lost': 'answer-lost',
  'network away': 'offline',
};

/** A course as one word, by which it can be asked for again: `server/ours/grant/prompt/ordered@13:kill,20:restored`. */
export const wordOf = ({ configuration, events }: Course): string =>
  `${nameOf(configuration)}@${events.map(({ tick, does }) => `${tick}:${eventWords[does]}`).join(',')}`;

export function courseOf(word: string): Course | null {
  const [name = '', said = ''] = word.split('@');
  const configuration = configurations.find((one) => nameOf(one) === name);
  if (!configuration) return null;
  const events: CourseEvent[] = [];
  for (const one of said.split(',').filter((part) => part !== '')) {
    const [tick = '', word = ''] = one.split(':');
    const does = eventKinds.find((kind) => eventWords[kind] === word);
    if (!does || !/^\d+$/.test(tick)) return null;
    events.push({ tick: Number(tick), does });
  }
  return { configuration, events };
}
