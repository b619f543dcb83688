import { setTimeout as sleep } from 'node:timers/promises';
import { type Chance, chanceOf } from '../server-sweep/chance.ts';
import { type Ledger, newLedger } from '../server-sweep/receipts.ts';
import { SimulatedMac } from '../server-sweep/simulated-mac.ts';
import type { Pair } from './pair.ts';

/** Milliseconds, for a machine that does other things besides. */
const patience = 120_000;

export async function until(what: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
  const latest = performance.now() + patience;
  while (!(await isSo())) {
    if (performance.now() > latest) throw new Error(`waited in vain until ${what}`);
    await sleep(10);
  }
}

/** So many answers are given and no more, however long a start takes on a busy machine. */
export interface Pace {
  ledger: Ledger;
  mayAsk(): boolean;
  /** Lets so many more be given, and waits for them. */
  more(answers: number): Promise<void>;
  /** The same, without waiting. */
  allow(answers: number): void;
  /** Until a Mac was told one of these by the backend that `isIt`: then, and before anything else happens, `act`. */
  when(told: readonly string[], isIt: () => boolean, act: () => void): Promise<void>;
  isStopping(): boolean;
  /** From now on each course comes to its end. */
  stop(): void;
}

export function newPace(): Pace {
  const ledger = newLedger();
  let allowed = 0;
  let stopping = false;
  return {
    ledger,
    mayAsk: () => ledger.answers < allowed,
    async more(answers) {
      allowed = ledger.answers + answers;
      await until(`${answers} more answers were given`, () => ledger.answers >= allowed);
    },
    allow(answers) {
      allowed += answers;
    },
    async when(told, isIt, act) {
      let isDone = false;
      allowed = Number.POSITIVE_INFINITY;
      ledger.told = (what) => {
        if (isDone || !told.includes(what) || !isIt()) return;
        isDone = true;
        act();
        allowed = ledger.answers;
      };
      await until(`somebody was told: ${told.join()}`, () => isDone);
      delete ledger.told;
    },
    isStopping: () => stopping,
    stop() {
      stopping = true;
      allowed = Number.POSITIVE_INFINITY;
    },
  };
}

/** So many Macs at one time, one after the other, until the pace is stopped. */
export function startMacs(pair: Pair, { ledger, isStopping }: Pace, clients: number, seed: number): { macs: SimulatedMac[]; done: Promise<unknown> } {
  const macs: SimulatedMac[] = [];
  const slot = async (own: Chance): Promise<void> => {
    while (!isStopping()) {
      const mac = new SimulatedMac(pair.reached, ledger, own);
      macs.push(mac);
      await mac.live(isStopping);
    }
  };
  const done = Promise.all(Array.from({ length: clients }, (_, at) => slot(chanceOf(seed * 1000 + at))));
  // A fault in a client shows where it is waited for, and must not end the process before.
  done.catch(() => undefined);
  return { macs, done };
}
