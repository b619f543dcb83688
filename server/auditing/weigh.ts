import type { KeyObject } from 'node:crypto';
import { type Checkpoint, digestOfCheckpoint, judgeCheckpoint, noCheckpoint } from './checkpoint.ts';
import type { Finding } from './finding.ts';

export interface Weighed {
  /** Signed by a key of the list; the oldest first, each once. */
  good: Checkpoint[];
  findings: Finding[];
}

/** Checkpoints from wherever they were kept: who signed them, and whether they are all there. `where` is said in findings. */
export function weigh(sources: readonly { where: string; checkpoints: readonly Checkpoint[] }[], keys: ReadonlyMap<string, KeyObject>): Weighed {
  const findings: Finding[] = [];
  const say = (kind: Finding['kind'], { seq }: Checkpoint, says: string) => findings.push({ kind, from: seq, to: seq, act: null, says });
  const found = new Map<string, Checkpoint>();
  for (const { where, checkpoints } of sources) {
    for (const one of checkpoints) {
      const judged = judgeCheckpoint(one, keys);
      if (judged === 'good') found.set(`${one.number} ${digestOfCheckpoint(one)}`, one);
      else
        say(
          'checkpoint',
          one,
          `checkpoint ${one.number} ${where} is ${judged === 'forged' ? 'forged: its signature is not that of its key' : 'signed by a key that is none of this audit'}`,
        );
    }
  }
  const good = [...found.values()].toSorted((a, b) => a.number - b.number || a.at - b.at);
  let before: Checkpoint | null = null;
  for (const one of good) {
    if (before && one.number === before.number)
      say('restarted', one, `there are two checkpoints ${one.number}, both signed: the audit went on from an older copy of itself`);
    else if (before && one.number !== before.number + 1) say('checkpoint', one, `checkpoint(s) ${before.number + 1} to ${one.number - 1} are missing`);
    else if (before ? one.previous !== digestOfCheckpoint(before) : one.number === 1 && one.previous !== noCheckpoint)
      say('restarted', one, `checkpoint ${one.number} does not follow from the one before: the audit went on from an older copy of itself`);
    before = one;
  }
  return { good, findings };
}

/** What one place has and another lacks. */
export function missingIn(where: string, there: readonly Checkpoint[], good: readonly Checkpoint[]): Finding[] {
  const known = new Set(there.map(({ number }) => number));
  return good
    .filter(({ number }) => !known.has(number))
    .map(({ number, seq }) => ({ kind: 'checkpoint', from: seq, to: seq, act: null, says: `checkpoint ${number} is missing ${where}` }));
}
