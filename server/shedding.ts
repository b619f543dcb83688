import type { Counters } from './metrics.ts';

/*
 * What a backend does that is asked for more than it can: it says so at once, before a byte of the body is read or the database
 * is asked, and tells each when to come again. Quiet check-ins go first; whoever brings a key or reports a used one goes last.
 */

/** `urgent`: rotations, grants, and check-ins that say so. `delivery`: a key, brought by whoever shows a certificate of ours. */
export type Kind = 'check-in' | 'enrolment' | 'urgent' | 'delivery';

export interface Shedding {
  /**
   * Called for each request. Seconds after which it may come again, or how to say that it has ended. `isKnown`: whether it shows a
   * certificate of ours; whoever has none takes no place in the line, so that nobody can make it longer for the Macs.
   */
  enter(kind: Kind, isKnown?: () => boolean): { leave(): void } | { retryAfterSeconds: number };
  /** How many were told to come later, since the start. */
  shed(): number;
  underWay(): Readonly<Record<Kind, number>>;
  close(): void;
}

export interface SheddingOptions {
  /** Quiet check-ins that may be under way; of the other kinds a half and four times as many. Deliveries are bounded by connections alone. */
  checkIns: number;
  counters?: Counters;
  /** Milliseconds by which the process is late. */
  late?: () => number;
  now?: () => number;
  random?: () => number;
}

/** Milliseconds. Later than this the process does not come to what it has. */
const tooLate = 1000;
/** Seconds after which one that was sent away comes again: at the least, and at the most. */
const soonest = 5;
const latest = 30 * 60;
/** Seconds over which those without a certificate spread, at the end of the line. */
const widthOfOthers = 300;
/** Milliseconds over which it is counted how many were answered. */
const counted = 5000;
/** A second, before anything is known. */
const leastRate = 20;

/** How late timers come: the event loop's delay as whoever asks now meets it. */
function measureLateness(): { late(): number; close(): void } {
  const every = 100;
  const now = (): number => Number(process.hrtime.bigint() / 1_000_000n);
  let due = now() + every;
  const timer = setInterval(() => {
    due = now() + every;
  }, every).unref();
  return { late: () => Math.max(0, now() - due), close: () => clearInterval(timer) };
}

export function createShedding({ checkIns, counters, late, now = () => performance.now(), random = Math.random }: SheddingOptions): Shedding {
  const bounds: Record<Kind, number> = { 'check-in': checkIns, enrolment: Math.ceil(checkIns / 2), urgent: 4 * checkIns, delivery: Number.POSITIVE_INFINITY };
  const underWay: Record<Kind, number> = { 'check-in': 0, enrolment: 0, urgent: 0, delivery: 0 };
  const goesOn = (kind: Kind): boolean => kind === 'urgent' || kind === 'delivery';
  const lateness = late ? null : measureLateness();
  const lateNow = late ?? (() => lateness?.late() ?? 0);
  let shed = 0;
  /** When the next one that is sent away may come: each has a place of its own in the time that comes. */
  let next = 0;
  let answered = { since: now(), n: 0, rate: leastRate };

  function noteAnswer(): void {
    answered.n += 1;
    const at = now();
    if (at - answered.since < counted) return;
    answered = { since: at, n: 0, rate: Math.max(leastRate, (answered.n * 1000) / (at - answered.since)) };
  }

  /** A fifth of what can be answered is left to those that come by themselves. */
  function appointment(): number {
    const at = now() / 1000;
    const present = (answered.n * 1000) / Math.max(1000, now() - answered.since);
    next = Math.min(Math.max(next, at + soonest) + 1.25 / Math.max(answered.rate, present), at + latest);
    return Math.max(1, Math.round((next - at) * (0.75 + random() / 2)));
  }

  /** The same for whoever may be anybody: it comes after those that stand there, and is not among them. */
  const afterTheLine = (): number => Math.round(Math.min(latest, Math.max(soonest, next - now() / 1000)) + random() * widthOfOthers);

  return {
    enter(kind, isKnown = () => true) {
      const because = underWay[kind] >= bounds[kind] ? 'too many' : !goesOn(kind) && lateNow() > tooLate ? 'late' : null;
      if (because !== null) {
        shed += 1;
        counters?.add('shed', { kind, because });
        // What is urgent has a back-off of its own, and a short one.
        return { retryAfterSeconds: goesOn(kind) ? 1 + Math.floor(random() * soonest) : isKnown() ? appointment() : afterTheLine() };
      }
      underWay[kind] += 1;
      let left = false;
      return {
        leave() {
          if (left) return;
          left = true;
          underWay[kind] -= 1;
          noteAnswer();
        },
      };
    },
    shed: () => shed,
    underWay: () => underWay,
    close: () => lateness?.close(),
  };
}
