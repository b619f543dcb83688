/*
 * How often a key is replaced, whatever asks for it, and when a change that failed is tried again. Kept in the journal,
 * written before fdesetup runs, in the server's time as the Mac reckons it: no clock of the Mac gives anything back.
 */

const day = 24 * 60 * 60 * 1000;

/** As many changes of the key as the backend begins in a day; one that was restored may have forgotten its own count. */
const changesPerDay = 3;
/**
 * After the first change that failed, the second, and so on; the last of them from then on. A day at least: each costs one
 * of the two tries of a day, and the other one finds out which key is valid.
 */
const waits = [day, 2 * day, 4 * day, 7 * day] as const;
/** After it nothing is replaced before a proof (gate 5). */
const longSilence = 30 * day;
/** The orders of a fleet are spread over hours; what has not come after so many days does not come because of it. */
const longestForOrder = 7 * day;

/** `unsure`: reckoned in a boot session in which no server has answered yet; it counts as just now until one has. */
export interface Stamp {
  at: number;
  unsure?: true;
}

export interface Pace {
  /** Changes that were begun in the last 24 hours. */
  changes: Stamp[];
  /** Changes in a row that gave no key, on one build of macOS. */
  failed: (Stamp & { build: string; times: number }) | null;
  /** macOS's build at the last answer of the backend. */
  build: string | null;
  /** Why no key is replaced before one has answered `true`. */
  proofDue: 'build' | 'silence' | null;
  /** Since when, by the backend's time; not in the journal of an older agent. */
  proofDueSince?: number | null;
}

export const freshPace: Pace = { changes: [], failed: null, build: null, proofDue: null };

const since = (stamp: Stamp, now: number): number => (stamp.unsure ? 0 : now - stamp.at);

export const mayChange = (pace: Pace, now: number): boolean => pace.changes.filter((one) => since(one, now) < day).length < changesPerDay;

/** When a change may be tried again after one that failed, or null where it may be now. A new build of macOS may have mended it. */
export function nextTry({ failed }: Pace, build: string, now: number): number | null {
  if (failed === null || failed.build !== build) return null;
  const wait = waits[Math.min(failed.times, waits.length) - 1] ?? day;
  const left = wait - since(failed, now);
  return left > 0 ? now + left : null;
}

export const withChange = (pace: Pace, stamp: Stamp): Pace => ({ ...pace, changes: [...pace.changes, stamp].slice(-2 * changesPerDay) });

export const withFailure = (pace: Pace, build: string, stamp: Stamp): Pace => ({
  ...pace,
  failed: { ...stamp, build, times: pace.failed?.build === build ? pace.failed.times + 1 : 1 },
});

/**
 * A proof is due here, and the backend asks for none: it heard this Mac meanwhile, and its answer was lost. After a week
 * the change's own first step has to do, in which the old key answers `true` before anything is changed.
 */
export const noOrderComes = ({ proofDue, proofDueSince }: Pace, isOrdered: boolean, now: number): boolean =>
  proofDue !== null && !isOrdered && proofDueSince != null && now - proofDueSince >= longestForOrder;

/** The backend has answered: the time is sure now, and so is how long the Mac was silent, and since which build. */
export function paceAtAnswer(pace: Pace, build: string, now: number, heardBefore: number | null): Pace {
  const sure = <T extends Stamp>({ unsure, ...one }: T): T => ({ ...one, at: unsure ? now : Math.min(one.at, now) }) as unknown as T;
  const silent = heardBefore !== null && now - heardBefore > longSilence;
  const updated = pace.build !== null && pace.build !== build;
  const proofDue = silent ? 'silence' : updated ? 'build' : pace.proofDue;
  return {
    changes: pace.changes.map(sure).filter((one) => since(one, now) < day),
    failed: pace.failed && sure(pace.failed),
    build,
    proofDue,
    proofDueSince: proofDue === null ? null : pace.proofDue === null ? now : Math.min(pace.proofDueSince ?? now, now),
  };
}
