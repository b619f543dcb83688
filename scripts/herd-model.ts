import { randomUUID } from 'node:crypto';
import { afterAnswer, afterRefusal, type Coming, heldBack, nextCheckIn, placeOf, spreadWait, type Urgency } from '../agent/coming.ts';
import { Passing, patientRetries, retry, usualRetries } from '../agent/retry.ts';
import { Problem } from '../protocol/problems.ts';
import { type Asked, type Costs, createBackend, createTime } from './herd-backend.ts';

/*
 * A fleet in virtual time: the agent's own functions decide when a Mac comes, waits and gives up; the backend's own decide whom
 * it sends away (herd-backend.ts). Only what a request costs is given from outside: figures that were measured.
 */

export type Course = 'all at 09:00' | 'after 4 hours without a backend' | 'after a restore' | 'one of the backends is lost';

export interface HerdOptions {
  course: Course;
  macs: number;
  costs: Costs;
  /** What the backend answers: `keys.spreadSeconds`, `keys.checkInMinutes`. */
  spreadSeconds: number;
  checkInMinutes: number;
  /** Backends behind a balancer that gives each its share. */
  backends?: number;
  random?: () => number;
}

export interface HerdResult {
  course: Course;
  spreadSeconds: number;
  backends: number;
  /** Connections in the busiest second. */
  peakPerSecond: number;
  /** Connections that waited for one backend at once: in the kernel's line, and dropped from it. */
  peakQueue: number;
  /** Told to come later, and refused before their handshake. */
  shed: number;
  refused: number;
  /** Seconds until all were heard, until 99 of 100 were, and until every used key was reported and its successor delivered; null: not in an hour. */
  allHeard: number | null;
  mostHeard: number | null;
  urgentDone: number | null;
  /** Seconds: of a used key, from the first run that knew of it; null: one was not delivered. */
  longestUsed: number | null;
}

/** launchd's StartInterval. */
const interval = 900;
/** Seconds after which what has not come by then is not waited for. */
const longest = 3600;
/** One Mac in so many has a used key to report. */
const oneUrgentIn = 500;
/** Seconds until a balancer has seen that a backend is gone. */
const balancerSees = 5;

const failed = (outcome: 'no answer' | { retryAfterSeconds: number }): Passing =>
  new Passing(outcome === 'no answer' ? new Problem('SERVER_UNREACHABLE', outcome) : new Problem('SERVER_BUSY', undefined, outcome));

export async function runHerd(options: HerdOptions): Promise<HerdResult> {
  const { course, macs, costs, spreadSeconds, checkInMinutes, backends: howMany = 1, random = Math.random } = options;
  const time = createTime();
  const loses = course === 'one of the backends is lost';
  // What comes before is half an hour: of an outage that had lasted longer, of which a Mac that reaches nobody remembers nothing, or of usual days.
  const opens = loses || course === 'after 4 hours without a backend' ? 1800 : 0;
  const isUp = (at: number): boolean => (loses ? at > 0 || time.now() < opens : time.now() >= opens);
  const backends = Array.from({ length: howMany }, (_, at) => createBackend(costs, time, random, () => isUp(at)));
  const chosen = (): number => {
    const first = loses && howMany > 1 && time.now() >= opens + balancerSees ? 1 : 0;
    return first + Math.floor(random() * (howMany - first));
  };
  const heard: number[] = [];
  let urgentLeft = 0;
  let urgentDone: number | null = null;
  let longestUsed = 0;
  const perSecond = new Map<number, number>();

  const connect = (asked: Omit<Asked, 'done' | 'since'>): Promise<void> =>
    new Promise((resolve, reject) => {
      const second = Math.floor(time.now());
      if (second >= opens) perSecond.set(second, (perSecond.get(second) ?? 0) + 1);
      backends[chosen()]?.connect({ ...asked, since: time.now(), done: (outcome) => (outcome === 'answered' ? resolve() : reject(failed(outcome))) });
    });

  function startMac(): void {
    const place = placeOf(randomUUID());
    const hasUsed = random() < 1 / oneUrgentIn;
    let urgency: Urgency = hasUsed && !loses ? 'now' : 'usual';
    if (hasUsed) urgentLeft += 1;
    let knownSince: number | null = null;
    let coming: Coming = { at: 0, until: 0, spreadSeconds };
    let quietUntil = 0;
    let owed = course === 'after a restore';
    let isHeard = false;

    async function oneRun(): Promise<void> {
      const patient = urgency === 'now' ? patientRetries : {};
      const wasUsed = urgency === 'now';
      if (wasUsed) knownSince ??= Math.max(opens, time.now());
      const wait = (milliseconds: number) => new Promise<void>((resolve) => time.at(time.now() + milliseconds / 1000, resolve));
      await wait(spreadWait(coming, urgency, place, random()) * 1000);
      const requests: Asked['requests'] = owed || wasUsed ? ['check-in', 'delivery', 'check-in'] : ['check-in'];
      try {
        await retry(() => connect({ requests, urgent: wasUsed }), { ...usualRetries, ...patient, wait, random });
      } catch (cause) {
        const after = cause instanceof Problem ? cause.retryAfterSeconds : undefined;
        if (after !== undefined) coming = afterRefusal(coming, time.now() * 1000, after, random());
        return;
      }
      coming = afterAnswer(coming, time.now() * 1000, spreadSeconds);
      quietUntil = time.now() + nextCheckIn(checkInMinutes * 60, place, random());
      owed = false;
      if (wasUsed) {
        urgency = 'usual';
        urgentLeft -= 1;
        longestUsed = Math.max(longestUsed, time.now() - (knownSince ?? 0));
        if (urgentLeft === 0) urgentDone = time.now() - opens;
      }
      if (isHeard || time.now() < opens) return;
      heard.push(time.now() - opens);
      isHeard = true;
    }

    /** launchd's interval goes on while a run waits; what it would start then is missed. */
    let running = false;
    const start = (): void => {
      if (running || (urgency !== 'now' && time.now() < quietUntil) || heldBack(coming, urgency, time.now() * 1000) > 0) return;
      running = true;
      void oneRun().finally(() => {
        running = false;
      });
    };
    const wake = (): void => {
      time.at(time.now() + interval, wake);
      start();
    };
    time.at(course === 'all at 09:00' ? 0 : random() * interval, wake);
    // Somebody uses a key just when the backend goes: the Mac starts, and its job with it.
    if (hasUsed && loses)
      time.at(opens + random() * 2 * balancerSees, () => {
        urgency = 'now';
        start();
      });
  }

  for (let n = 0; n < macs; n += 1) startMac();
  while (time.now() < opens + longest && (heard.length < macs || urgentLeft > 0)) {
    time.next();
    // What was begun goes on as far as it can before the next tenth of a second.
    await new Promise((resolve) => setImmediate(resolve));
    for (const backend of backends) backend.work();
  }
  for (const backend of backends) backend.close();
  const sum = (of: 'shed' | 'refused'): number => backends.reduce((all, { counts }) => all + counts[of], 0);
  return {
    course,
    spreadSeconds,
    backends: howMany,
    peakPerSecond: Math.max(0, ...perSecond.values()),
    peakQueue: Math.max(...backends.map(({ counts }) => counts.peakQueue)),
    shed: sum('shed'),
    refused: sum('refused'),
    allHeard: heard.length === macs ? (heard.at(-1) ?? null) : null,
    mostHeard: heard[Math.ceil(macs * 0.99) - 1] ?? null,
    urgentDone,
    longestUsed: urgentLeft === 0 ? longestUsed : null,
  };
}

/** One run of each Mac, all in the same moment and without a spread: what can be done in earnest too (herd-real.ts). */
export interface OneRun {
  /** Seconds from that moment to each answer, in order. */
  answered: number[];
  /** Connections that were told to come later, or that had no answer at all. */
  shed: number;
  refused: number;
  /** Macs that leave it to their next run. */
  later: number;
}

export async function predictOneRun({ macs, costs, random = Math.random }: Pick<HerdOptions, 'macs' | 'costs' | 'random'>): Promise<OneRun> {
  const time = createTime();
  const backend = createBackend(costs, time, random, () => true);
  const answered: number[] = [];
  let left = macs;
  let later = 0;
  const wait = (milliseconds: number) => new Promise<void>((resolve) => time.at(time.now() + milliseconds / 1000, resolve));
  const connect = (): Promise<void> =>
    new Promise((resolve, reject) =>
      backend.connect({
        requests: ['check-in'],
        urgent: false,
        since: time.now(),
        done: (outcome) => (outcome === 'answered' ? resolve() : reject(failed(outcome))),
      }),
    );
  for (let n = 0; n < macs; n += 1)
    void retry(connect, { ...usualRetries, wait, random })
      .then(
        () => void answered.push(time.now()),
        () => {
          later += 1;
        },
      )
      .finally(() => {
        left -= 1;
      });
  while (left > 0) {
    time.next();
    await new Promise((resolve) => setImmediate(resolve));
    backend.work();
    await new Promise((resolve) => setImmediate(resolve));
  }
  backend.close();
  return { answered, shed: backend.counts.shed, refused: backend.counts.refused, later };
}
