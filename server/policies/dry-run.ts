import { type CustodyParts, day, hour, isoTime } from '../custody-parts.ts';
import type { Scope } from '../permissions.ts';
import { type KeyAge, keysSince } from '../store/automatic-rotations.ts';
import { agedSince } from './change.ts';
import { dueUnder, tagsIn } from './notice.ts';
import { choosePolicy, type Policy, type PolicyRules, policiesInForce } from './policy.ts';
import { nextOpen } from './quiet-hours.ts';
import type { RotationPolicy } from './rotation-policy.ts';

/** What would be replaced by age in the next days if a policy were as in a draft. Nothing is written. */
export interface DryRun {
  /** Macs whose keys are here and ours to replace, and for which the draft is what counts about replacing them. */
  covered: number;
  /** Of them, those whose key it replaces in the days that were looked at. */
  count: number;
  firstAt: string | null;
  lastAt: string | null;
  /** As people say it: `412 Macs would have their keys replaced in the next 30 days`. */
  words: string;
  /** The first of them, in turn. */
  first: { serial: string; macId: string; at: string; keySince: string }[];
  /** Each day from now on, by the draft; `present`: by the policies as they are. */
  days: { from: string; count: number; present: number }[];
  /** By the policies as they are, for all Macs. */
  presentCount: number;
}

export interface Draft {
  /** The policy that it would take the place of; null: another one. */
  id: string | null;
  rank: number;
  tags: readonly string[] | null;
  rules: PolicyRules;
}

const daysAhead = 30;
const batch = 5000;
const named = 50;

interface Due {
  row: KeyAge;
  at: number;
  rules: RotationPolicy;
}
type Placed = Due & { placedAt: number };

/** In the order in which they are noticed, as many in an hour as the policy allows, and not in its quiet hours: as it is done. Up to `until`. */
function schedule(due: readonly Due[], until: number): Placed[] {
  const sorted = due.toSorted((one, other) => one.at - other.at || (one.row.mac_id < other.row.mac_id ? -1 : 1));
  const placed: Placed[] = [];
  for (const [index, one] of sorted.entries()) {
    const { perHour, quietHours } = one.rules;
    // Not before the one that came so many before it has been out for an hour.
    const free = index >= perHour ? (placed[index - perHour]?.placedAt ?? 0) + hour : 0;
    const placedAt = nextOpen(quietHours, Math.max(one.at, free, placed[index - 1]?.placedAt ?? 0));
    // None comes before the one before it: the rest is farther ahead than anybody asks.
    if (placedAt >= until) break;
    placed.push({ ...one, placedAt });
  }
  return placed;
}

/** What is due in time by these policies, of each of them. */
function collect(policies: readonly Policy[], now: number, until: number) {
  const found = new Map<string, Due[]>();
  return {
    look(row: KeyAge): void {
      const due = dueUnder(policies, row);
      if (!due || due.at >= until) return;
      const list = found.get(due.policy.id) ?? [];
      list.push({ row, at: Math.max(due.at, now), rules: due.rules });
      found.set(due.policy.id, list);
    },
    placed: (policyId?: string): Placed[] => [...found].filter(([id]) => policyId === undefined || id === policyId).flatMap(([, due]) => schedule(due, until)),
  };
}

function perDay(now: number, placed: readonly Placed[]): number[] {
  const counts = new Array<number>(daysAhead).fill(0);
  for (const { placedAt } of placed) {
    const index = Math.floor((placedAt - now) / day);
    counts[index] = (counts[index] ?? 0) + 1;
  }
  return counts;
}

export async function dryRun(parts: CustodyParts, scope: Scope, draft: Draft): Promise<DryRun> {
  const { db } = parts.store;
  const now = parts.clock.now();
  const until = now + daysAhead * day;
  const present = await policiesInForce(db);
  const before = present.find(({ id }) => id === draft.id) ?? null;
  const drafted: Policy = { ...draft, id: draft.id ?? 'draft', name: 'draft', version: 0, agedSince: agedSince(before, draft, now) };
  const wanted = [...present.filter(({ id }) => id !== draft.id), drafted].toSorted((one, other) => one.rank - other.rank);
  const [would, is] = [collect(wanted, now, until), collect(present, now, until)];
  let covered = 0;
  for (let after = ''; ; ) {
    const rows = await keysSince(db, { before: until, free: false, scope, after, limit: batch });
    for (const row of rows) {
      if (choosePolicy(wanted, tagsIn(row), 'rotation').policy === drafted) covered += 1;
      if (row.order_state !== '') continue;
      would.look(row);
      is.look(row);
    }
    if (rows.length < batch) break;
    after = rows.at(-1)?.mac_id ?? '';
    // Macs that check in meanwhile are answered in between.
    await new Promise(setImmediate);
  }
  const [mine, theirs] = [would.placed(drafted.id), is.placed()];
  const [first, last] = [mine[0], mine.at(-1)];
  const [draftDays, presentDays] = [perDay(now, mine), perDay(now, theirs)];
  return {
    covered,
    count: mine.length,
    firstAt: first ? isoTime(first.placedAt) : null,
    lastAt: last ? isoTime(last.placedAt) : null,
    words: sayDryRun(mine.length, covered),
    first: mine.slice(0, named).map(({ row, placedAt }) => ({ serial: row.serial, macId: row.mac_id, at: isoTime(placedAt), keySince: isoTime(row.key_at) })),
    days: draftDays.map((count, index) => ({ from: isoTime(now + index * day), count, present: presentDays[index] ?? 0 })),
    presentCount: theirs.length,
  };
}

function sayDryRun(count: number, covered: number): string {
  const of = `of the ${covered} that it is for`;
  if (count === 0) return `no Mac ${of} would have its key replaced by age in the next ${daysAhead} days`;
  return `${count === 1 ? '1 Mac' : `${count} Macs`} ${of} would have ${count === 1 ? 'its key' : 'their keys'} replaced by age in the next ${daysAhead} days`;
}
