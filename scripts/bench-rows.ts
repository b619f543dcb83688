import { fdatasyncSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';

/** One line of the table: how it stands to the baseline that was measured beside it, in the same run. */
export interface Row {
  name: string;
  ratio: number;
  aim: number;
  /** Whether more is better (a share of the baseline), or less (a multiple of it). */
  better: 'more' | 'less';
  /** What was measured, in its own units. */
  words: string;
}

export interface ToldRow {
  name: string;
  /** Null where it could not be measured here. */
  ratio: number | null;
  aim: number | null;
  met: boolean;
  why?: string;
}

/** A part that could not be measured on this machine, and why. */
export interface Unmeasured {
  name: string;
  why: string;
}

const hundredths = (value: number): number => Math.round(value * 100) / 100;
const isMet = ({ ratio, aim, better }: Row): boolean => (better === 'more' ? ratio >= aim : ratio <= aim);

/** What `--json` ends with. Whether an aim is met is decided before anything is rounded. */
export const told = (rows: readonly (Row | Unmeasured)[]): ToldRow[] =>
  rows.map((row) =>
    'why' in row
      ? { name: row.name, ratio: null, aim: null, met: false, why: row.why }
      : { name: row.name, ratio: hundredths(row.ratio), aim: row.aim, met: isMet(row) },
  );

export function table(rows: readonly (Row | Unmeasured)[]): string {
  const widest = Math.max(4, ...rows.map(({ name }) => name.length));
  const lines = rows.map((row) => {
    if ('why' in row) return `${row.name.padEnd(widest)}       -          missed  not measured: ${row.why}\n`;
    const aim = `${row.better === 'more' ? '≥' : '≤'} ${row.aim}`;
    return `${row.name.padEnd(widest)}  ${row.ratio.toFixed(2).padStart(6)}  ${aim.padEnd(6)}  ${isMet(row) ? 'met   ' : 'missed'}  ${row.words}\n`;
  });
  return `${'row'.padEnd(widest)}   ratio  aim\n${lines.join('')}`;
}

export const median = (numbers: readonly number[]): number => quantile(numbers, 0.5);

/** Between the two nearest, as most programs reckon it. */
export function quantile(numbers: readonly number[], share: number): number {
  const sorted = numbers.toSorted((one, other) => one - other);
  const at = (sorted.length - 1) * share;
  const [low, high] = [sorted[Math.floor(at)] ?? 0, sorted[Math.ceil(at)] ?? 0];
  return low + (high - low) * (at - Math.floor(at));
}

/** Milliseconds that 8 KiB take to reach the disk under this folder: what every durable act waits for. */
function syncMilliseconds(folder: string): number {
  const inside = mkdtempSync(join(folder, 'sparekey-sync-'));
  try {
    const file = openSync(join(inside, 'file'), 'w');
    const times = Array.from({ length: 21 }, () => {
      const began = performance.now();
      writeSync(file, Buffer.alloc(8192));
      fdatasyncSync(file);
      return performance.now() - began;
    });
    return median(times);
  } finally {
    rmSync(inside, { recursive: true, force: true });
  }
}

/** On what it was measured: a ratio says little without it. */
export function machine(): string {
  const load = loadavg()
    .map((one) => one.toFixed(1))
    .join(' ');
  return `${cpus()[0]?.model ?? 'unknown processor'}, ${cpus().length} cores, load ${load}; ${process.platform}, node ${process.version}; 8 KiB reach the disk of ${tmpdir()} in ${syncMilliseconds(tmpdir()).toFixed(2)} ms`;
}

export type Say = (progress: string) => void;

export interface BenchOptions {
  quick: boolean;
  /** Macs of the largest fleet. */
  growth: number;
  /** A folder in which fleets stay, and are used again. */
  fleets?: string | undefined;
  /** A folder of its own, removed at the end. */
  folder: string;
  say: Say;
}
