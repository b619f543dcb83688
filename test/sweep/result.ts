// What a sweep comes to: one row for each reason or part, one table of them all, and the counts that a program reads.

/** One line of the table. A course that was lost or in doubt counts there and in `points`, never twice. */
export interface Row {
  name: string;
  /** Courses that were run: one for each point of death (or for each pair of them). */
  points: number;
  /** No key that the backend stores opens the disk. */
  lost: number;
  /** Custody was not `held` within the bound of runs. */
  doubtful: number;
  /** Anything else that must not be, in words, with how to repeat it. */
  bad: string[];
  /** runs[i]: courses that needed i runs after the (last) death. */
  runs: number[];
  /** How long its courses took, one after the other; the processes add theirs. */
  seconds: number;
  /** The lost and the doubtful courses, in words, with how to repeat them. */
  told?: string[];
}

export const emptyRow = (name: string): Row => ({ name, points: 0, lost: 0, doubtful: 0, bad: [], runs: [], seconds: 0 });

/** `more` into `row`, whatever its name. */
function addTo(row: Row, more: Row): void {
  row.points += more.points;
  row.lost += more.lost;
  row.doubtful += more.doubtful;
  row.bad.push(...more.bad);
  row.seconds += more.seconds;
  if (more.told) row.told = [...(row.told ?? []), ...more.told];
  more.runs.forEach((count, runs) => {
    row.runs[runs] = (row.runs[runs] ?? 0) + (count ?? 0);
  });
}

/** Rows of one name become one, in the order in which the names first appear: the shards of a sweep. */
export function addRows(rows: readonly Row[]): Row[] {
  const byName = new Map<string, Row>();
  for (const row of rows) {
    const sum = byName.get(row.name) ?? emptyRow(row.name);
    byName.set(row.name, sum);
    addTo(sum, row);
  }
  return [...byName.values()];
}

/**
 * Where nobody but fdesetup's output knew the new key when the power went, a loss is allowed, as long as both sides say so:
 * such rows count theirs apart.
 */
const allowsLoss = ({ name }: Row): boolean => name.includes('(allowedLost)');

interface Totals {
  points: number;
  lost: number;
  allowedLost: number;
  doubtful: number;
  bad: number;
}

export const totalsOf = (rows: readonly Row[]): Totals => ({
  points: rows.reduce((sum, row) => sum + row.points, 0),
  lost: rows.reduce((sum, row) => sum + (allowsLoss(row) ? 0 : row.lost), 0),
  allowedLost: rows.reduce((sum, row) => sum + (allowsLoss(row) ? row.lost : 0), 0),
  doubtful: rows.reduce((sum, row) => sum + row.doubtful, 0),
  bad: rows.reduce((sum, row) => sum + row.bad.length, 0),
});

/** The last line of `--json`. */
export const asJson = (rows: readonly Row[], more: Record<string, unknown> = {}): string =>
  JSON.stringify({
    ...totalsOf(rows),
    byReason: Object.fromEntries(
      rows.map((row) => [
        row.name,
        {
          points: row.points,
          lost: row.lost,
          doubtful: row.doubtful,
          bad: row.bad.length,
          runs: Array.from(row.runs, (count) => count ?? 0),
          seconds: Math.round(row.seconds),
        },
      ]),
    ),
    ...more,
  });

/** Most runs that any course of the row needed. */
const mostRuns = (row: Row): number => row.runs.findLastIndex((count) => (count ?? 0) > 0);

/** `1: 40, 2: 3`: forty courses were over after one run, three after two. */
const histogram = (row: Row): string => row.runs.flatMap((count, runs) => (count ? [`${runs}: ${count}`] : [])).join(', ') || '-';

export function tableOf(rows: readonly Row[]): string {
  const total = emptyRow('all');
  for (const row of rows) addTo(total, allowsLoss(row) ? { ...row, lost: 0 } : row);
  const lines = [
    ['reason', 'points', 'lost', 'doubtful', 'bad', 'seconds', 'most runs', 'runs to recover'],
    ...[...rows, ...(rows.length > 1 ? [total] : [])].map((row) => [
      row.name,
      String(row.points),
      String(row.lost),
      String(row.doubtful),
      String(row.bad.length),
      String(Math.round(row.seconds)),
      String(Math.max(0, mostRuns(row))),
      histogram(row),
    ]),
  ];
  const widths = lines[0]?.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0))) ?? [];
  const last = widths.length - 1;
  const cell = (text: string, column: number): string =>
    column === 0 || column === last ? text.padEnd(widths[column] ?? 0) : text.padStart(widths[column] ?? 0);
  return lines.map((line) => line.map(cell).join('  ').trimEnd()).join('\n');
}
