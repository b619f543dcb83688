import { createHash } from 'node:crypto';
import type { ExportEntry } from '../formats/entry.ts';
import type { Export } from '../formats/export.ts';
import { mostPerAct } from './bringing.ts';

/** What is said of a line: what became of its key, or why there was nothing to take. */
export interface LineFate {
  line: number;
  serial: string | null;
  fate: string;
  because: string;
  /** Of the brought key. */
  keyId: string | null;
}

export const fateWithout = (line: number, serial: string | null, fate: string, because: string): LineFate => ({ line, serial, fate, because, keyId: null });

export const isTaken = (fate: string): boolean => ['offered', 'waiting', 'aside', 'known'].includes(fate);
/** A person has to look at these lines. */
export const needsPerson = (fate: string): boolean => ['refused', 'unsure', 'foreign'].includes(fate);

/** These bytes, whatever their file is called. */
export function digestOf(what: Export): string {
  const hash = createHash('sha256');
  // Of a folder the names say whose each is.
  for (const { name, bytes, inFolder } of what.files) hash.update(createHash('sha256').update(bytes).digest()).update(inFolder ? `${name}\n` : '\n');
  return hash.digest('hex');
}

export interface Plan {
  /** Each with its key, those of one Mac together and newest first: what is asked about first is the likeliest. */
  keys: ExportEntry[];
  /** What is known without looking further. */
  settled: LineFate[];
}

/** The order in which lines are taken, and those that say the same as another. It is the same in each run of the same file. */
export function planOf(what: Export, fingerprint: (entry: ExportEntry) => string): Plan {
  const settled: LineFate[] = [];
  const bySerial = new Map<string, ExportEntry[]>();
  for (const entry of what.entries) {
    const { line, serial, trouble } = entry;
    if (trouble) settled.push(fateWithout(line, serial, trouble.fate, trouble.because));
    else if (serial !== null) {
      const known = bySerial.get(serial);
      if (known) known.push(entry);
      else bySerial.set(serial, [entry]);
    }
  }
  const keys: ExportEntry[] = [];
  for (const [serial, entries] of bySerial) {
    const first = new Map<string, number>();
    // Without a date nothing says that a line is newer: those come last, in the order of the file.
    for (const entry of entries.toSorted((a, b) => (b.madeAt ?? 0) - (a.madeAt ?? 0) || a.line - b.line)) {
      const print = fingerprint(entry);
      const same = first.get(print);
      if (same === undefined) {
        first.set(print, entry.line);
        keys.push(entry);
      } else settled.push(fateWithout(entry.line, serial, 'repeated', `the same key as in line ${same}`));
    }
  }
  return { keys, settled };
}

/** Acts of some lines each; those of one Mac stay together, so that the newest of them is seen first. */
export function batchesOf(keys: readonly ExportEntry[], size: number): ExportEntry[][] {
  const batches: ExportEntry[][] = [];
  let batch: ExportEntry[] = [];
  for (const [at, entry] of keys.entries()) {
    const goesOn = keys[at - 1]?.serial === entry.serial && batch.length < mostPerAct;
    if (batch.length >= size && !goesOn) {
      batches.push(batch);
      batch = [];
    }
    batch.push(entry);
  }
  return batch.length > 0 ? [...batches, batch] : batches;
}
