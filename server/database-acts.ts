import { AsyncLocalStorage } from 'node:async_hooks';
import { setTimeout as sleep, setImmediate as soon } from 'node:timers/promises';
import type { Tx } from './parts.ts';

/*
 * What a commit costs is its way to the disk, whatever is in it. So acts that wait at the same time go into one transaction, one
 * after another, each in a savepoint of its own: each reads what those before it have written, and one that fails takes
 * back its own writes alone. Nobody is told anything, not even of a failure, which may follow from what another has written,
 * before the commit is on the disk; if that fails, all of them have failed. What a database does in its own way is in
 * sqlite-transaction.ts and postgres-transaction.ts.
 */

/** Milliseconds that a commit is put off for others to come along. */
const mostRest = 25;
/** The share of a millisecond that a process has to have had nothing to do in, for a commit to be worth it alone. */
const idleShare = 0.5;
interface Asked {
  act: (tx: Tx) => Promise<unknown>;
  until: number;
  resolve: (value: unknown) => void;
  reject: (error: unknown) => void;
}

export interface Acts {
  write<T>(act: (tx: Tx) => Promise<T>): Promise<T>;
  /** When all that was asked has been done. */
  idle(): Promise<void>;
}

/** An open transaction, whose turn has come. */
export interface Turn {
  /** For the next act, a Tx of its own: what is remembered with it is of this act alone. One that is `alone` needs no savepoint. */
  next(alone: boolean): Promise<Tx>;
  /** The act has come to its end. Throws where it cannot be kept. */
  keep(): Promise<void>;
  /** The act has failed, and whatever it has begun is over: what it wrote is gone, and nothing else. Throws where the transaction itself is gone. */
  takeBack(because: unknown): Promise<void>;
}

export interface ActsOptions {
  /** How long an act waits for the lock of another process, and is tried again. */
  busyMilliseconds: number;
  /** Acts in one commit; milliseconds after which no further one is begun: the first is not to wait for ever for the last, nor another process. */
  most: { acts: number; milliseconds: number };
  /** Milliseconds between two tries; with chance in it, so that those that wait do not come together. */
  pauses: readonly number[];
  /** Transactions under way: while one commits, the next one waits for its turn already. */
  lanes: number;
  /** Whether a commit is put off while the process has other work: where it holds up the process itself. */
  gathers: boolean;
  /** `work` in a transaction whose turn has come before `until` (`performance.now()`), and its commit. */
  transaction<T>(until: number, work: (turn: Turn) => Promise<T>): Promise<T>;
  /** Nothing of it is stored, and it may be otherwise the next time: such as that another process has the lock. */
  mayRepeat(error: unknown): boolean;
  /** What an act is told whose time is over before its turn. Absent: it goes on waiting for the acts of this process. */
  refusal?: () => Error;
}

export function createActs({ busyMilliseconds, most, pauses, lanes, gathers, transaction, mayRepeat, refusal }: ActsOptions): Acts {
  const waiting: Asked[] = [];
  const working = new Set<Promise<void>>();
  /** Whether a lane waits for its turn, or takes acts. */
  let isOpen = false;
  /** How long the last commit took, what was in it, and when it was done. */
  let last = { took: 0, acts: 0, at: 0 };
  /** That have failed one after another. */
  let tries = 0;

  /** One lane at a time waits for its turn and takes acts; while it commits, the next one may. */
  function start(): void {
    if (isOpen || working.size >= lanes || waiting.length === 0) return;
    isOpen = true;
    let mine = true;
    const leave = (): void => {
      if (!mine) return;
      mine = isOpen = false;
      start();
    };
    const lane = together(leave).finally(() => {
      working.delete(lane);
      leave();
      start();
    });
    working.add(lane);
  }

  /**
   * Where many come, a slow disk gets no more than half of the time: what arrives while it rests is in the next commit. And as long as
   * the process has other work, such as the handshakes of those who come next, that is done first: nobody is answered later by it
   * than by a commit of his own before each of them.
   */
  async function gather(): Promise<void> {
    const rested = last.at + Math.min(last.took, mostRest);
    const until = performance.now() + mostRest;
    for (let now = performance.now(); now < until && waiting.length < most.acts; now = performance.now()) {
      const idle = performance.nodeTiming.idleTime;
      await sleep(1);
      const after = performance.now();
      if (after >= rested && performance.nodeTiming.idleTime - idle > (after - now) * idleShare) return;
    }
  }

  /** Some of those that wait, in one transaction; `leave` where it takes no more of them. */
  async function together(leave: () => void): Promise<void> {
    // Whatever has arrived by now is heard first, and goes along. Somebody who writes alone waits for nobody.
    await (gathers && last.acts + waiting.length > 2 ? gather() : soon());
    const taken: Asked[] = [];
    let carriedOutAt = 0;
    try {
      const ends = await transaction(waiting[0]?.until ?? 0, async (turn) => {
        const alone = waiting.length === 1;
        const began = performance.now();
        const done: (() => void)[] = [];
        do {
          const asked = waiting.shift();
          if (!asked) break;
          taken.push(asked);
          done.push(await one(turn, asked, alone));
        } while (!alone && taken.length < most.acts && performance.now() - began < most.milliseconds);
        carriedOutAt = performance.now();
        leave();
        return done;
      });
      const at = performance.now();
      last = { took: at - carriedOutAt, acts: taken.length, at };
      tries = 0;
      for (const end of ends) end();
    } catch (error) {
      await fail(error, taken);
    }
  }

  async function one(turn: Turn, asked: Asked, alone: boolean): Promise<() => void> {
    const tx = await turn.next(alone);
    try {
      const value = await asked.act(tx);
      await turn.keep();
      return () => asked.resolve(value);
    } catch (error) {
      if (alone) throw error;
      await turn.takeBack(error);
      return mayRepeat(error) && performance.now() < asked.until ? () => void waiting.unshift(asked) : () => asked.reject(error);
    }
  }

  /** Nothing of those that were taken is stored, or it is not known. */
  async function fail(error: unknown, taken: readonly Asked[]): Promise<void> {
    if (!mayRepeat(error)) {
      for (const { reject } of taken.length > 0 ? taken : waiting.splice(0, 1)) reject(error);
      return;
    }
    waiting.unshift(...taken);
    const now = performance.now();
    for (const asked of waiting.splice(0)) {
      if (asked.until > now) waiting.push(asked);
      else asked.reject(error);
    }
    tries += 1;
    if (waiting.length > 0) await sleep((pauses[Math.min(tries, pauses.length) - 1] ?? 0) * (1 + Math.random()));
  }

  return {
    write<T>(act: (tx: Tx) => Promise<T>): Promise<T> {
      // Whose request it is goes with the act, and not with whoever came first.
      const inContext = AsyncLocalStorage.snapshot();
      return new Promise<T>((resolve, reject) => {
        const asked: Asked = {
          act: (tx) => inContext(() => act(tx)),
          until: performance.now() + busyMilliseconds,
          resolve: resolve as Asked['resolve'],
          reject,
        };
        if (refusal) giveUp(asked, refusal);
        waiting.push(asked);
        start();
      });
    },
    async idle() {
      while (working.size > 0) await Promise.all(working);
    },
  };

  function giveUp(asked: Asked, refuse: () => Error): void {
    const timer = setTimeout(() => {
      const at = waiting.indexOf(asked);
      if (at >= 0) asked.reject(waiting.splice(at, 1) && refuse());
    }, busyMilliseconds);
    for (const end of ['resolve', 'reject'] as const) {
      const tell = asked[end];
      asked[end] = (how) => {
        clearTimeout(timer);
        tell(how);
      };
    }
  }
}
