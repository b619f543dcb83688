import { createHash } from 'node:crypto';

export interface Chooser {
  /** A whole number from 0 to `below` − 1. */
  number(below: number): number;
  /** So many of them, in their order; all where there are no more. */
  some<T>(all: readonly T[], count: number): T[];
}

/** The same seed makes the same choices on every machine. */
export function chooser(seed: string): Chooser {
  let drawn = 0;
  const number = (below: number): number => {
    const bytes = createHash('sha256').update(`${seed}\0${drawn++}`).digest();
    return Number(bytes.readBigUInt64BE() % BigInt(Math.max(1, below)));
  };
  return {
    number,
    some(all, count) {
      const left = all.map((_, at) => at);
      const taken = Array.from({ length: Math.min(count, all.length) }, () => left.splice(number(left.length), 1)[0] ?? 0);
      return taken.sort((one, other) => one - other).map((at) => all[at] as (typeof all)[number]);
    },
  };
}
