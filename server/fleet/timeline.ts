import type { Kysely } from 'kysely';
import { z } from 'zod';
import { isoTime } from '../custody-parts.ts';
import { auditBelow, type Below, proofsBelow, sessionsBelow } from '../store/fleet-timeline.ts';
import type { Tables } from '../tables.ts';
import { tell, timelineKinds } from './timeline-words.ts';

type Db = Kysely<Tables>;

/** One line of what happened to a Mac. */
export const timelineEntry = z.strictObject({
  id: z.string(),
  at: z.iso.datetime(),
  kind: z.enum(timelineKinds),
  says: z.string().describe('one sentence'),
  actor: z.string().nullable().describe('who did it: a person, `mac`, or `server`'),
  act: z.string().nullable().describe('as the audit names it; null for what is no act'),
  audit: z.int().nullable().describe('the number of its record in the audit'),
  details: z.record(z.string(), z.unknown()).describe('ids, reasons and dates; never a key'),
});
export type TimelineEntry = z.infer<typeof timelineEntry>;

/** In this order they stand where they are of one time. */
const sources = ['audit', 'proof', 'session'] as const;
type Source = (typeof sources)[number];
export const timelineCursor = z.strictObject({ at: z.number(), from: z.enum(sources), key: z.union([z.string().max(128), z.number()]) });
type Cursor = z.infer<typeof timelineCursor>;

/** What was owed closes with the key that was owed, which is told. */
const untold = ['debt.closed'];

interface Found {
  at: number;
  from: Source;
  key: string | number;
  entry: TimelineEntry;
}

function below(source: Source, cursor: Cursor | null): Below | null {
  if (!cursor) return null;
  if (source === cursor.from) return { at: cursor.at, key: cursor.key };
  return sources.indexOf(source) < sources.indexOf(cursor.from) ? { at: cursor.at, key: null, strictly: true } : { at: cursor.at, key: null };
}

const answers: Readonly<Record<string, string>> = {
  false: 'macOS said that the key does not open this Mac',
  unknown: 'The key could not be checked',
};

/** A page of the one timeline of a machine, of all its records, newest first. */
export async function timelineOf(
  db: Db,
  macIds: readonly string[],
  { after, limit }: { after: Cursor | null; limit: number },
): Promise<{ items: TimelineEntry[]; next: Cursor | null }> {
  const most = limit + 1;
  const found: Found[] = [];
  for (const row of await auditBelow(db, macIds, untold, below('audit', after), most)) {
    const details = JSON.parse(row.details) as Record<string, unknown>;
    const entry = {
      id: `audit-${row.seq}`,
      at: isoTime(row.at),
      ...tell(row.act, details, row.actor),
      actor: row.actor,
      act: row.act,
      audit: row.seq,
      details,
    };
    found.push({ at: row.at, from: 'audit', key: row.seq, entry });
  }
  for (const row of await proofsBelow(db, macIds, below('proof', after), most)) {
    const details = { recordId: row.record_id, answer: row.answer, settled: row.settled === 1, boot: row.boot };
    const says = `${answers[row.answer] ?? row.answer}${row.answer === 'false' && row.settled === 0 ? ', while nobody was signed in: that proves nothing' : ''}.`;
    const entry = { id: `proof-${row.id}`, at: isoTime(row.at), kind: 'proof' as const, says, actor: 'mac', act: null, audit: null, details };
    found.push({ at: row.at, from: 'proof', key: row.id, entry });
  }
  for (const row of await sessionsBelow(db, macIds, below('session', after), most)) {
    const details = { boot: row.boot, enrolmentId: row.enrolment_id, bootedAt: isoTime(row.booted_at), lastSeenAt: isoTime(row.last_seen_at) };
    const says = `Started on ${isoTime(row.booted_at)}, and checked in until ${isoTime(row.last_seen_at)}.`;
    const entry = { id: `session-${row.boot}`, at: isoTime(row.first_seen_at), kind: 'check-in' as const, says, actor: 'mac', act: null, audit: null, details };
    found.push({ at: row.first_seen_at, from: 'session', key: row.boot, entry });
  }
  found.sort((one, other) => other.at - one.at || sources.indexOf(one.from) - sources.indexOf(other.from) || (one.key < other.key ? 1 : -1));
  const page = found.slice(0, limit);
  const last = page.at(-1);
  return {
    items: page.map(({ entry }) => entry),
    next: found.length > limit && last ? { at: last.at, from: last.from, key: last.key } : null,
  };
}
