import type { FileVault } from './mac/fdesetup.ts';
import type { PublicStatus } from './status.ts';

/*
 * How the Mac's recovery key stands, in one sentence: the most urgent of what is true. Words for people; nothing depends on
 * them. All times are the Mac's own.
 */

export const day = 24 * 60 * 60 * 1000;
/** The backend is asked at least once a day; an answer that is older says how things stood then. */
const oldAnswer = day;

/** How times are written, apart from everything else so that a test has them in its own zone. */
export interface Clock {
  /** `3 minutes ago (14:02)`; a time to come is `in 3 hours (18:05)`. */
  when(at: number, now: number): string;
}

const twoDigits = (number: number): string => String(number).padStart(2, '0');
const exactly = (at: number, now: number): string => {
  const [one, other] = [new Date(at), new Date(now)];
  const time = `${twoDigits(one.getHours())}:${twoDigits(one.getMinutes())}`;
  return one.toDateString() === other.toDateString() ? time : `${one.getFullYear()}-${twoDigits(one.getMonth() + 1)}-${twoDigits(one.getDate())} ${time}`;
};

function span(milliseconds: number): string {
  const minutes = Math.round(milliseconds / 60_000);
  const count = (number: number, unit: string): string => `${number} ${unit}${number === 1 ? '' : 's'}`;
  if (minutes < 60) return count(minutes, 'minute');
  return minutes < 48 * 60 ? count(Math.round(minutes / 60), 'hour') : count(Math.floor(milliseconds / day), 'day');
}

export function relative(at: number, now: number): string {
  if (Math.abs(now - at) < 60_000) return 'just now';
  return at < now ? `${span(now - at)} ago` : `in ${span(at - now)}`;
}

export const localClock: Clock = {
  when: (at, now) => (Number.isFinite(at) ? `${relative(at, now)} (${exactly(at, now)})` : 'at an unknown time'),
};

/** How long something is still valid. */
export function wordsOfDays(until: number, now: number): string {
  const days = Math.floor((until - now) / day);
  if (!Number.isFinite(days)) return 'for an unknown time';
  return until <= now ? `until ${relative(until, now)}: it has expired` : days === 0 ? 'for less than a day' : `for ${days} ${days === 1 ? 'day' : 'days'}`;
}

export function sayStatus(fileVault: FileVault, status: PublicStatus | null, now: number, clock: Clock = localClock): string {
  return `${[sayFileVault(fileVault, status, now, clock), ...qualifiers(status, now, clock)].join('; ')}.`;
}

function sayFileVault(fileVault: FileVault, status: PublicStatus | null, now: number, clock: Clock): string {
  const done = fileVault.percent === undefined ? '' : ` (${fileVault.percent} % done)`;
  const waits = fileVault.waitingFor ? ` and waits for ${fileVault.waitingFor === 'power' ? 'mains power' : 'a restart'}` : '';
  switch (fileVault.state) {
    case 'off':
      if (fileVault.deferredFor) return `FileVault is off; it is to be turned on when ${fileVault.deferredFor} logs out`;
      return waits ? `FileVault is off${waits}` : 'FileVault is off, so there is no recovery key to keep';
    case 'decrypting':
      return `FileVault is being turned off${done}${waits}`;
    case 'encrypting':
      return `FileVault is being turned on${done}${waits}; ${lowerFirst(sayKey(status, now, clock))}`;
    case 'unknown': {
      const words = fileVault.words ? ` (it said: ${fileVault.words})` : '';
      return status === null
        ? `Nothing is known yet: macOS does not say how FileVault stands${words}, and the agent has not run`
        : `macOS does not say how FileVault stands${words}; when last seen, ${lowerFirst(sayKey(status, now, clock))}`;
    }
    case 'on':
      return waits || status === null ? `FileVault is on${waits}; ${lowerFirst(sayKey(status, now, clock))}` : sayKey(status, now, clock);
  }
}

const lowerFirst = (text: string): string => (/^(?:FileVault|Sparekey)/.test(text) ? text : text.charAt(0).toLowerCase() + text.slice(1));

function sayKey(status: PublicStatus | null, now: number, clock: Clock): string {
  if (status === null) return 'The agent has not run yet, so nothing is known about the recovery key';
  const { custody, rotation, hold } = status;
  if (rotation && rotation.state === 'unresolved')
    return 'A replacement of the recovery key was interrupted, and it is being found out which key opens this Mac';
  if (rotation && rotation.state !== 'waiting') return 'The recovery key of this Mac is being replaced';
  if (custody === null) return 'The backend has not said yet whether it holds the recovery key of this Mac';
  switch (custody.state) {
    case 'lost':
      return `No known recovery key opens this Mac any more: ${custody.because}`;
    case 'doubtful':
      return `It is in doubt which recovery key opens this Mac: ${custody.because}`;
    case 'none':
      return `Nobody holds the recovery key of this Mac: ${custody.because}`;
    case 'foreign':
      return 'Somebody else keeps the recovery key of this Mac, and Sparekey only watches';
    case 'held': {
      const held = `The recovery key of this Mac is in safe keeping: ${custody.because}`;
      if (hold)
        return `${held}; it was shown ${clock.when(Date.parse(hold.since), now)} and will be replaced when its person is back in, at the latest ${clock.when(Date.parse(hold.until), now)}`;
      return rotation ? `${held}; it is to be replaced (${rotation.because})` : held;
    }
  }
}

/** What makes the rest of the sentence older or weaker than it sounds. */
function qualifiers(status: PublicStatus | null, now: number, clock: Clock): string[] {
  if (status === null) return [];
  const { lastAnswerAt, settings, lastRun } = status;
  const answered = lastAnswerAt === null ? null : Date.parse(lastAnswerAt);
  return [
    ...(answered !== null && now - answered > oldAnswer ? [`the backend has not answered for ${span(now - answered)}`] : []),
    ...(settings.unmanagedSince ? [`the settings are not managed since ${clock.when(Date.parse(settings.unmanagedSince), now)}, so nothing is replaced`] : []),
    ...(lastRun.did === 'asleep' ? ['the Mac was asleep at the last run'] : []),
  ];
}
