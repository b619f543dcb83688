import { randomUUID } from 'node:crypto';
import { afterAnswer, afterRefusal, type Coming, heldBack, nextCheckIn, placeOf, spreadWait, type Urgency } from '../agent/coming.ts';
import { Passing, patientRetries, retry, usualRetries } from '../agent/retry.ts';
import { Problem } from '../protocol/problems.ts';
import { connectionLimits } from '../server/limits.ts';
import { backlog } from '../server/listening.ts';
import { createShedding } from '../server/shedding.ts';

/*
 * A fleet in virtual time: the agent's own functions decide when a Mac comes, waits and gives up; the backend's own decide whom
 * it sends away. Only what a request costs is given from outside: figures that were measured. One thread, as the backend is.
 */

export interface Costs {
  /** Milliseconds of the backend's one thread: a handshake, a check-in on an open connection, a delivery. */
  handshake: number;
  checkIn: number;
  delivery: number;
}

export type Course = 'all at 09:00' | 'after 4 hours without a backend' | 'after a restore';

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
  /** Connections in the busiest second. */
  peakPerSecond: number;
  /** Told to come later, and refused before their handshake. */
  shed: number;
  refused: number;
  /** Seconds until all were heard, until 99 of 100 were, and until every used key was reported and its successor delivered; null: not in an hour. */
  allHeard: number | null;
  mostHeard: number | null;
  urgentDone: number | null;
}

/** launchd's StartInterval. */
const interval = 900;
/** Seconds after which what has not come by then is not waited for. */
const longest = 3600;
/** Check-ins of one commit. */
const together = 32;
/** One Mac in so many has a used key to report. */
const oneUrgentIn = 500;
/** The kernel's line is full: a connection is asked for again after so many seconds, and given up by the agent after ten. */
const askedAgain = [1, 3, 7];
const givenUp = 10;

interface Asked {
  requests: ('check-in' | 'delivery')[];
  urgent: boolean;
  done(outcome: 'answered' | 'no answer' | { retryAfterSeconds: number }): void;
  since: number;
}

/** When things happen: a heap would be quicker, buckets of a tenth of a second are simpler. */
function createTime() {
  const buckets = new Map<number, (() => void)[]>();
  let tick = 0;
  return {
    now: () => tick / 10,
    at(seconds: number, act: () => void) {
      const when = Math.max(tick + 1, Math.ceil(seconds * 10));
      const bucket = buckets.get(when) ?? [];
      if (bucket.length === 0) buckets.set(when, bucket);
      bucket.push(act);
    },
    /** Acts of the next tenth of a second. */
    next() {
      tick += 1;
      const acts = buckets.get(tick) ?? [];
      buckets.delete(tick);
      for (const act of acts) act();
    },
  };
}

/** One backend: the kernel's line, one handshake in a turn, and what is admitted after it; all in one thread. */
function createBackend(costs: Costs, { now, at }: ReturnType<typeof createTime>, random: () => number, isUp: () => boolean) {
  const line: Asked[] = [];
  let head = 0;
  let debt = 0;
  const shedding = createShedding({ checkIns: connectionLimits.checkIns, now: () => now() * 1000, late: () => 0, random });
  const counts = { shed: 0, refused: 0 };
  const waiting: { asked: Asked; leave(): void }[] = [];
  const flush = (): void => {
    for (const { asked, leave } of waiting.splice(0)) {
      leave();
      asked.done('answered');
    }
  };
  return {
    counts,
    close: () => shedding.close(),
    connect(asked: Asked, tried = 0) {
      // Nothing listens there: it is known at once.
      if (!isUp()) return asked.done('no answer');
      if (line.length - head < backlog) return void line.push(asked);
      const again = askedAgain[tried];
      if (again !== undefined) return at(asked.since + again, () => this.connect(asked, tried + 1));
      counts.refused += 1;
      at(asked.since + givenUp, () => asked.done('no answer'));
    },
    /** A tenth of a second of its thread. */
    work() {
      let left = 100 - debt;
      while (left > 0 && head < line.length) {
        const asked = line[head] as Asked;
        head += 1;
        left -= costs.handshake;
        // It has given up meanwhile, which is seen when its handshake is begun.
        if (now() - asked.since > givenUp) {
          counts.refused += 1;
          asked.done('no answer');
          continue;
        }
        const entered = shedding.enter(asked.urgent ? 'urgent' : 'check-in');
        if ('retryAfterSeconds' in entered) {
          counts.shed += 1;
          asked.done(entered);
          continue;
        }
        for (const request of asked.requests) left -= request === 'delivery' ? costs.delivery : costs.checkIn;
        waiting.push({ asked, leave: entered.leave });
        // The database answers them together, as one act.
        if (waiting.length >= together) flush();
      }
      flush();
      debt = Math.max(0, -left);
      if (head > 4096) {
        line.splice(0, head);
        head = 0;
      }
    },
  };
}

export async function runHerd(options: HerdOptions): Promise<HerdResult> {
  const { course, macs, costs, spreadSeconds, checkInMinutes, backends: howMany = 1, random = Math.random } = options;
  const time = createTime();
  // What comes before is half an hour of an outage that had lasted longer: a Mac that reaches nobody remembers nothing of it.
  const opens = course === 'after 4 hours without a backend' ? 1800 : 0;
  const backends = Array.from({ length: howMany }, () => createBackend(costs, time, random, () => time.now() >= opens));
  const heard: number[] = [];
  let urgentLeft = 0;
  let urgentDone: number | null = null;
  const perSecond = new Map<number, number>();

  const connect = (asked: Omit<Asked, 'done' | 'since'>): Promise<void> =>
    new Promise((resolve, reject) => {
      const second = Math.floor(time.now());
      if (second >= opens) perSecond.set(second, (perSecond.get(second) ?? 0) + 1);
      backends[Math.floor(random() * howMany)]?.connect({
        ...asked,
        since: time.now(),
        done(outcome) {
          if (outcome === 'answered') return resolve();
          reject(new Passing(outcome === 'no answer' ? new Problem('SERVER_UNREACHABLE', outcome) : new Problem('SERVER_BUSY', undefined, outcome)));
        },
      });
    });

  function startMac(): void {
    const place = placeOf(randomUUID());
    let urgency: Urgency = random() < 1 / oneUrgentIn ? 'now' : 'usual';
    if (urgency === 'now') urgentLeft += 1;
    let coming: Coming = { at: 0, until: 0, spreadSeconds };
    let quietUntil = 0;
    let owed = course === 'after a restore';
    let isHeard = false;

    async function oneRun(): Promise<void> {
      const patient = urgency === 'now' ? patientRetries : {};
      const wait = (milliseconds: number) => new Promise<void>((resolve) => time.at(time.now() + milliseconds / 1000, resolve));
      await wait(spreadWait(coming, urgency, place, random()) * 1000);
      const requests: Asked['requests'] = owed || urgency === 'now' ? ['check-in', 'delivery', 'check-in'] : ['check-in'];
      try {
        await retry(() => connect({ requests, urgent: urgency === 'now' }), { ...usualRetries, ...patient, wait, random });
      } catch (cause) {
        const after = cause instanceof Problem ? cause.retryAfterSeconds : undefined;
        if (after !== undefined) coming = afterRefusal(coming, time.now() * 1000, after, random());
        return;
      }
      coming = afterAnswer(coming, time.now() * 1000, spreadSeconds);
      quietUntil = time.now() + nextCheckIn(checkInMinutes * 60, place, random());
      owed = false;
      if (urgency === 'now') {
        urgency = 'usual';
        urgentLeft -= 1;
        if (urgentLeft === 0) urgentDone = time.now() - opens;
      }
      if (!isHeard) heard.push(time.now() - opens);
      isHeard = true;
    }

    /** launchd's interval goes on while a run waits; what it would start then is missed. */
    let running = false;
    const wake = (): void => {
      time.at(time.now() + interval, wake);
      if (running || time.now() < quietUntil || heldBack(coming, urgency, time.now() * 1000) > 0) return;
      running = true;
      void oneRun().finally(() => {
        running = false;
      });
    };
    time.at(course === 'all at 09:00' ? 0 : random() * interval, wake);
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
    peakPerSecond: Math.max(0, ...perSecond.values()),
    shed: sum('shed'),
    refused: sum('refused'),
    allHeard: heard.length === macs ? (heard.at(-1) ?? null) : null,
    mostHeard: heard[Math.ceil(macs * 0.99) - 1] ?? null,
    urgentDone,
  };
}
