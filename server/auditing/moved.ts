import type { AuditRow } from '../audit.ts';
import type { Broken, Finding, Gap } from './finding.ts';

/** Numbers of one gap that are tried. */
const mostOfGap = 100;

/** Broken records that are whole under another number: that of a missing one, or of another broken one with which they were exchanged. */
export function findMoved(
  broken: readonly Broken[],
  gaps: readonly Gap[],
  fits: (row: AuditRow, change: Partial<AuditRow>) => boolean,
): { moved: AuditRow; to: number; finding: Finding }[] {
  const missing = gaps.flatMap(({ from, to }) => Array.from({ length: Math.min(to - from + 1, mostOfGap) }, (_, index) => from + index));
  const numbers = [...new Set([...missing, ...broken.map(({ row }) => row.seq)])];
  return broken.flatMap(({ row, finding }) => {
    const to = numbers.find((seq) => seq !== row.seq && fits(row, { seq }));
    return to === undefined ? [] : [{ moved: row, to, finding }];
  });
}
