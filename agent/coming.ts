import { createHash } from 'node:crypto';
import type { Journal } from './journal.ts';
import { paths } from './paths.ts';
import type { Disk } from './world.ts';

/*
 * When this Mac comes to the backend, so that a fleet does not come at once: each has a place of its own (from its hardware
 * UUID) and a little chance, and whoever was told to come later does. What the backend said lies in a note beside the journal,
 * by the Mac's clock, and outlives the run and the boot. It only ever delays a question, and never for long.
 */

/** `now`: a key that only this Mac has, a report of a used one, or somebody who waits. `soon`: a replacement that is owed. */
export type Urgency = 'now' | 'soon' | 'usual';

/** Seconds for which a `Retry-After` holds a run back at the most. What is `now` has a back-off within its run instead. */
export const mostHeldBack: Readonly<Record<Urgency, number>> = { now: 0, soon: 15 * 60, usual: 4 * 60 * 60 };
/** Seconds over which a fleet may be asked to spread: longer would be a process that stays. */
const mostSpread = 600;
/** The same, for those that a backend under load has sent away; its next answer says what it wants itself. */
const wideSpread = 300;
/** A check-in comes up to a tenth earlier than said, never later. */
const early = 0.1;

export interface Coming {
  /** Milliseconds of the Mac's clock: when it was written, and until when the backend is left alone. */
  at: number;
  until: number;
  /** As the backend said last. */
  spreadSeconds: number;
}

const none: Coming = { at: 0, until: 0, spreadSeconds: 0 };

/** 0 to 1, the same for a Mac in each run, and spread evenly over a fleet. */
export const placeOf = (hardwareUuid: string): number => createHash('sha256').update(hardwareUuid.toUpperCase()).digest().readUInt32BE(0) / 2 ** 32;

/** A place with a fifth of chance in it: two Macs that met once do not meet always. */
const withChance = (place: number, random: number): number => (place + random / 5) % 1;

/** Seconds that a run waits before it asks. */
export const spreadWait = ({ spreadSeconds }: Coming, urgency: Urgency, place: number, random: number): number =>
  urgency === 'now' ? 0 : Math.floor(Math.min(spreadSeconds, mostSpread) * withChance(place, random));

/** Seconds until the next check-in of a Mac that owes nothing. */
export const nextCheckIn = (seconds: number, place: number, random: number): number => Math.ceil(seconds * (1 - early * withChance(place, random)));

export function urgencyOf({ rotation, outbox, debts }: Readonly<Pick<Journal, 'rotation' | 'outbox' | 'debts'>>, isAsked: boolean): Urgency {
  if (isAsked || rotation !== null || outbox.length > 0 || debts.some((debt) => !debt.confirmed)) return 'now';
  return debts.some((debt) => debt.because !== 'never-escrowed') ? 'soon' : 'usual';
}

/** Seconds for which the backend is still left alone. A clock that went backwards makes the note void. */
export function heldBack(coming: Coming, urgency: Urgency, now: number): number {
  const end = Math.min(coming.until, coming.at + mostHeldBack[urgency] * 1000);
  return now < coming.at || now >= end ? 0 : Math.ceil((end - now) / 1000);
}

/** Told to come later: at least that, and a quarter more by chance. */
export const afterRefusal = (before: Coming, now: number, retryAfterSeconds: number, random: number): Coming => ({
  // The next one of all that were sent away with this one: launchd wakes them together, so they spread wider.
  spreadSeconds: Math.max(before.spreadSeconds, wideSpread),
  at: now,
  until: now + Math.ceil(Math.min(retryAfterSeconds * (1 + random / 4), mostHeldBack.usual)) * 1000,
});

/** An older backend says nothing of a spread. */
export const afterAnswer = (before: Coming, now: number, spreadSeconds: number | undefined): Coming =>
  before.until === 0 && before.spreadSeconds === (spreadSeconds ?? 0) ? before : { at: now, until: 0, spreadSeconds: spreadSeconds ?? 0 };

const isNumber = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value) && value >= 0;

/** What cannot be read holds nothing back. */
export function readComing(disk: Disk): Coming {
  try {
    const { at, until, spreadSeconds } = JSON.parse(disk.read(paths.coming, 1024)?.toString('utf8') ?? '{}') as Partial<Coming>;
    return isNumber(at) && isNumber(until) && isNumber(spreadSeconds) ? { at, until, spreadSeconds } : none;
  } catch {
    return none;
  }
}

/** Written only when it changed. It is no part of custody: where it cannot be written the run goes on. */
export function keepComing(disk: Disk, before: Coming, now: Coming): void {
  if (now === before) return;
  try {
    disk.replace(paths.coming, JSON.stringify(now), 0o600);
  } catch {
    // The disk is full or read-only, which the journal says in words.
  }
}
