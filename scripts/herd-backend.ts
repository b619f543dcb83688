import { connectionLimits } from '../server/limits.ts';
import { backlog } from '../server/listening.ts';
import { createShedding } from '../server/shedding.ts';

/* A backend in virtual time: the kernel's line, one handshake in a turn, what is admitted after it; one thread, and its own decisions. */

export interface Costs {
  /** Milliseconds of the backend's one thread: a handshake, a check-in on an open connection, a delivery. */
  handshake: number;
  checkIn: number;
  delivery: number;
}

/** Check-ins of one commit. */
const together = 32;
/** The kernel's line is full: a connection is asked for again after so many seconds, and given up by the agent after ten. */
const askedAgain = [1, 3, 7];
const givenUp = 10;

export interface Asked {
  requests: ('check-in' | 'delivery')[];
  urgent: boolean;
  done(outcome: 'answered' | 'no answer' | { retryAfterSeconds: number }): void;
  since: number;
}

/** When things happen: a heap would be quicker, buckets of a tenth of a second are simpler. */
export function createTime() {
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
export type Time = ReturnType<typeof createTime>;

export function createBackend(costs: Costs, { now, at }: Time, random: () => number, isUp: () => boolean) {
  const line: Asked[] = [];
  let head = 0;
  let debt = 0;
  const shedding = createShedding({ checkIns: connectionLimits.checkIns, now: () => now() * 1000, late: () => 0, random });
  const counts = { shed: 0, refused: 0, peakQueue: 0 };
  const waiting: { asked: Asked; leave(): void }[] = [];
  /** Those whose connection the kernel has dropped, and who ask for it again. */
  let outside = 0;
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
      counts.peakQueue = Math.max(counts.peakQueue, line.length - head + outside + 1);
      if (line.length - head < backlog) return void line.push(asked);
      const again = askedAgain[tried];
      outside += 1;
      if (again !== undefined)
        return at(asked.since + again, () => {
          outside -= 1;
          this.connect(asked, tried + 1);
        });
      counts.refused += 1;
      at(asked.since + givenUp, () => {
        outside -= 1;
        asked.done('no answer');
      });
    },
    /** A tenth of a second of its thread. */
    work() {
      if (!isUp()) {
        for (const asked of line.splice(0).slice(head)) asked.done('no answer');
        head = 0;
        return;
      }
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
