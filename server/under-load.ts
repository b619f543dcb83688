import type { Backend } from './backend.ts';
import { connectionLimits } from './limits.ts';
import { type Counters, countAnswers } from './metrics.ts';
import type { Rounds } from './rounds.ts';
import { createShedding, type Shedding } from './shedding.ts';
import { tellOfShedding } from './shedding-alarm.ts';
import { countMacs } from './store/macs.ts';
import { createWaiting, type Waiting } from './waiting.ts';

/** Half of what one processor answers, each with its handshake, or somewhat more; docs/scaling.md has the figures. */
const checkInsPerSecond = 100;
/** Of all connections: whoever brings a key finds one, however many wait for news. */
const mostWaiting = 0.8;
/** Longer no Mac waits for its place: it is a process that does nothing. */
const mostSpread = 600;

/** `least` from the settings; 0: none. */
export const spreadOf = (least: number, macs: number): number => (least === 0 ? 0 : Math.min(mostSpread, Math.max(least, Math.ceil(macs / checkInsPerSecond))));

/** What the Macs' listener does about too many at once, and about those whose answer is kept. */
export interface UnderLoad {
  shedding: Shedding;
  waiting: { waiting: Waiting; mostSeconds: number };
  /** What the listener tells. */
  listener: { onAnswer: ReturnType<typeof countAnswers>; onHandshakeRefused: (because: string) => void };
  /** Seconds over which the fleet spreads: what the settings say, and more for a fleet that is larger than that. */
  spreadSeconds(): number;
  /** Those whose answer is kept have it at once: the end of the listener would else wait for them. */
  end(): void;
}

export function watchLoad(backend: Backend, counters: Counters, { every }: Pick<Rounds, 'every'>): UnderLoad {
  const limits = { ...connectionLimits, ...backend.settings.limits };
  const shedding = createShedding({ checkIns: limits.checkIns, counters });
  const waiting = createWaiting({ wakening: backend.wakening, most: Math.min(limits.waiters, Math.floor(limits.connections * mostWaiting)) });
  const spread = backend.settings.keys.spreadSeconds;
  let macs = 0;
  every(10 * 60_000, 'fleet-size', async () => {
    macs = await countMacs(backend.store.db);
  });
  every(60_000, 'shedding', tellOfShedding(backend, shedding));
  counters.gauge('waiters', () => waiting.count());
  return {
    shedding,
    waiting: { waiting, mostSeconds: backend.settings.keys.waitSeconds },
    listener: { onAnswer: countAnswers(counters, 'macs'), onHandshakeRefused: (because) => counters.add('shed', { kind: 'handshake', because }) },
    spreadSeconds: () => spreadOf(spread, macs),
    end() {
      waiting.stop();
      shedding.close();
    },
  };
}
