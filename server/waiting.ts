import type { CheckInReply } from '../protocol/messages.ts';
import type { Wakening } from './wakening.ts';

/*
 * Macs whose answer is kept until there is something new. Each costs its open connection and one entry here: no connection of
 * the database, no transaction, no timer of its own. What it is then told it asks for again, so that nothing stale is ever sent.
 */

/** `news`: something was written for this Mac. `stopping`: the backend ends. */
type Woken = 'news' | 'time' | 'stopping';

/** Taken before the database is asked, so that nothing falls between the question and the waiting. */
interface Seat {
  wait(seconds: number): Promise<Woken>;
  leave(): void;
}

export interface Waiting {
  /** Null where all seats are taken, or where the backend ends. */
  sit(macId: string): Seat | null;
  /** Those whose answer is kept now. */
  count(): number;
  /** All are answered at once, and nobody sits down any more. */
  stop(): void;
}

interface Sitting {
  woken: Woken | null;
  until: number;
  /** What it is told then. */
  atEnd: Woken;
  tell: ((woken: Woken) => void) | null;
}

/** Milliseconds between two looks at whose time is over. */
const lookEvery = 250;
/** Of those that are all told to ask again: as many to a second, by chance, so that they do not come at once. */
const perSecond = 200;

export function createWaiting({ wakening, most }: { wakening: Wakening; most: number }): Waiting {
  const seats = new Map<string, Set<Sitting>>();
  let count = 0;
  let kept = 0;
  let stopped = false;
  let clock: NodeJS.Timeout | null = null;

  function end(one: Sitting, woken: Woken): void {
    one.woken ??= woken;
    if (one.tell === null) return;
    kept -= 1;
    one.tell(one.woken);
    one.tell = null;
  }
  const all = (): Sitting[] => [...seats.values()].flatMap((macs) => [...macs]);
  const look = (): void => {
    const at = performance.now();
    for (const macs of seats.values()) for (const one of macs) if (one.until <= at) end(one, one.atEnd);
  };
  function tellAll(): void {
    const span = (1000 * count) / perSecond;
    const at = performance.now();
    for (const one of all()) {
      // Of whoever sits and does not wait yet it is not known what it has read.
      if (one.tell === null || span < lookEvery) end(one, 'news');
      else Object.assign(one, { until: Math.min(one.until, at + Math.random() * span), atEnd: 'news' });
    }
  }
  const unhear = wakening.hear((macId) => {
    if (macId === null) return tellAll();
    for (const one of seats.get(macId) ?? []) end(one, 'news');
  });

  return {
    sit(macId) {
      if (stopped || count >= most) return null;
      const one: Sitting = { woken: null, until: Number.POSITIVE_INFINITY, atEnd: 'time', tell: null };
      const macs = seats.get(macId) ?? new Set();
      seats.set(macId, macs.add(one));
      count += 1;
      clock ??= setInterval(look, lookEvery).unref();
      const leave = (): void => {
        if (!macs.delete(one)) return;
        count -= 1;
        if (macs.size === 0 && seats.get(macId) === macs) seats.delete(macId);
        if (count === 0 && clock) {
          clearInterval(clock);
          clock = null;
        }
        // The request went away: whoever still waits for it goes on.
        end(one, 'time');
      };
      return {
        leave,
        wait: (seconds) =>
          new Promise<Woken>((resolve) => {
            if (one.woken !== null) return resolve(one.woken);
            one.until = performance.now() + seconds * 1000;
            one.tell = resolve;
            kept += 1;
          }),
      };
    },
    count: () => kept,
    stop() {
      stopped = true;
      unhear();
      for (const one of all()) end(one, 'stopping');
    },
  };
}

/** `Prefer: wait=…` (RFC 7240): seconds that the client would wait; 0 where it does not say. */
export const waitAsked = (prefer: string | string[] | undefined): number =>
  Number(/(?:^|[,;\s])wait=(\d{1,4})(?:$|[,;\s])/.exec(Array.isArray(prefer) ? prefer.join(',') : (prefer ?? ''))?.[1] ?? 0);

/** Nothing in it that the Mac could act on, as long as a hold is on too: otherwise it has its answer now. */
export const hasNothing = ({ debts, hold, proofOrders, wanted, rotation }: CheckInReply): boolean =>
  (debts.length === 0 || hold !== null) && proofOrders.length === 0 && wanted.length === 0 && rotation === null;
