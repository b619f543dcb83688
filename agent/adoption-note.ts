import type { CheckInReply, Facts } from '../protocol/messages.ts';
import { notOurs } from '../protocol/mode.ts';
import { isProblemCode, Problem, type ProblemCode } from '../protocol/problems.ts';
import { paths } from './paths.ts';
import type { Run } from './run-of-agent.ts';
import type { Disk } from './world.ts';

/*
 * What must outlive the journal when people are asked for a password: how many were wrong, and when a dialog last came. Where
 * this cannot be read, both count as just now, so that a damaged file asks nobody. Times are the backend's, as reckoned here.
 */

const hour = 60 * 60 * 1000;
const mostBytes = 4096;
export const mostTries = 3;
const triesKept = 24 * hour;
const betweenPrompts = 7 * 24 * hour;

export interface AdoptionNote {
  hardwareUuid: string;
  /** When macOS was given a password that it has not taken. */
  wrong: number[];
  promptedAt: number | null;
  /** Why nobody has the key of this Mac, and since when. */
  state: { code: ProblemCode; detail: string | null; since: number } | null;
}

export function readAdoption(disk: Disk, hardwareUuid: string, now: number): AdoptionNote {
  const none: AdoptionNote = { hardwareUuid, wrong: [], promptedAt: null, state: null };
  const bytes = readBytes(disk);
  if (bytes === null) return none;
  const found = bytes === 'damaged' ? null : parse(bytes);
  if (found === null) return { ...none, wrong: Array.from({ length: mostTries }, () => now), promptedAt: now };
  if (found.hardwareUuid !== hardwareUuid) return none;
  // A backend that was restored may be earlier than what it said before.
  const past = (at: number): number => Math.min(at, now);
  return { ...found, wrong: found.wrong.map(past), promptedAt: found.promptedAt === null ? null : past(found.promptedAt) };
}

export function writeAdoption(disk: Disk, note: AdoptionNote): void {
  disk.replace(paths.adoption, JSON.stringify({ version: 1, ...note }), 0o600);
}

function readBytes(disk: Disk): Buffer | 'damaged' | null {
  try {
    return disk.read(paths.adoption, mostBytes);
  } catch (cause) {
    // Another user's, or of another mode: not believed, and written anew. It holds no delivery up.
    if (cause instanceof Problem || ['EFBIG', 'ELOOP'].includes((cause as NodeJS.ErrnoException).code ?? '')) return 'damaged';
    throw cause;
  }
}

function parse(bytes: Buffer): AdoptionNote | null {
  try {
    const it = JSON.parse(bytes.toString('utf8')) as { version?: unknown } & { [Name in keyof AdoptionNote]?: unknown };
    const isTime = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value);
    const state = it.state as Partial<NonNullable<AdoptionNote['state']>> | null;
    const stateFits = state === null || (isProblemCode(state?.code) && isTime(state.since) && (state.detail === null || typeof state.detail === 'string'));
    const fits = it.version === 1 && typeof it.hardwareUuid === 'string' && Array.isArray(it.wrong) && it.wrong.every(isTime) && it.wrong.length <= 100;
    if (!fits || !stateFits || !(it.promptedAt === null || isTime(it.promptedAt))) return null;
    return { hardwareUuid: it.hardwareUuid as string, wrong: it.wrong as number[], promptedAt: it.promptedAt, state: state as AdoptionNote['state'] };
  } catch {
    return null;
  }
}

const recent = (note: AdoptionNote, now: number): number[] => note.wrong.filter((at) => at > now - triesKept);

export const triesLeft = (note: AdoptionNote, now: number): number => Math.max(0, mostTries - recent(note, now).length);
/** When the next password may be tried, where none may be now. */
export const nextTryAt = (note: AdoptionNote): number => Math.max(...note.wrong) + triesKept;
/** Counted before macOS sees it: a run that dies has counted it. */
export const spendPassword = (note: AdoptionNote, now: number): AdoptionNote => ({ ...note, wrong: [...recent(note, now), now] });
/** macOS never looked at the last one. */
export const forgetPassword = (note: AdoptionNote): AdoptionNote => ({ ...note, wrong: note.wrong.slice(0, -1) });
/** A password has made a key: none is counted any more, and nothing is to be told. */
export function forgetTries(run: Run, now: number): void {
  writeAdoption(run.disk, { ...readAdoption(run.disk, run.facts.hardwareUuid, now), wrong: [], state: null });
  // What this very run still tells the backend, and leaves for everybody on the Mac, is of after it.
  run.facts = withAdoption(run.facts, null);
}

export const mayPrompt = (note: AdoptionNote, now: number): boolean => note.promptedAt === null || now - note.promptedAt >= betweenPrompts;

/** The key is in nobody's custody, and nothing is under way that could change that. */
export function nobodyHasTheKey(run: Run, reply: Pick<CheckInReply, 'custody'>): boolean {
  const { rotation, outbox, exhausted } = run.journal.value;
  if (rotation || outbox.length > 0) return false;
  return exhausted || reply.custody === 'none' || reply.custody === 'lost' || (reply.custody === 'foreign' && notOurs(run.facts) === null);
}

/** As it is told to the backend. */
export function withAdoption(facts: Facts, state: AdoptionNote['state']): Facts {
  const { adoption: _, ...rest } = facts;
  return state ? { ...rest, adoption: { ...state, since: new Date(state.since).toISOString() } } : rest;
}
