import { createHash } from 'node:crypto';
import { sql } from 'kysely';
import type { Store, Tx } from './parts.ts';
import type { Tables } from './tables.ts';

export interface AuditEntry {
  at: number;
  /** A person by name, `mac` for the Mac itself, `server` for what time brought about. */
  actor: string;
  /** What was done, as `subject.verb`. */
  act: string;
  macId?: string | null;
  /** Ids, reasons and dates; never a key. */
  details: Record<string, unknown>;
}

type Row = Tables['audit'];

/** One text for one value: keys sorted, no spaces, so that the chain can be checked by other programs. */
export function canonicalJson(value: unknown): string {
  if (value === undefined) return 'null';
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  if ('toJSON' in value && typeof value.toJSON === 'function') return canonicalJson(value.toJSON());
  const entries = Object.entries(value)
    .filter(([, part]) => part !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([name, part]) => `${JSON.stringify(name)}:${canonicalJson(part)}`).join(',')}}`;
}

const beginning = '0'.repeat(64);

function hashOf(row: Omit<Row, 'hash'>): string {
  const { seq, at, actor, act, mac_id: macId, details, previous } = row;
  return createHash('sha256').update(canonicalJson({ seq, at, actor, act, macId, details, previous })).digest('hex');
}

/** Writes one entry in the act's own transaction: if it cannot be written, the act does not happen. */
export async function audit(tx: Tx, entry: AuditEntry): Promise<void> {
  const before = await tx.selectFrom('audit').select(['seq', 'hash']).orderBy('seq', 'desc').limit(1).executeTakeFirst();
  const row = {
    seq: (before?.seq ?? 0) + 1,
    at: entry.at,
    actor: entry.actor,
    act: entry.act,
    mac_id: entry.macId ?? null,
    details: canonicalJson(entry.details),
    previous: before?.hash ?? beginning,
  };
  await tx
    .insertInto('audit')
    .values({ ...row, hash: hashOf(row) })
    .execute();
}

/** Whether this was done before about this Mac, to what has this id. */
export async function wasDone(tx: Tx, macId: string, act: string, id: string): Promise<boolean> {
  const rows = tx.selectFrom('audit').select('seq').where('mac_id', '=', macId).where('act', '=', act);
  return (await rows.where('details', 'like', `%${JSON.stringify(id)}%`).executeTakeFirst()) !== undefined;
}

export interface AuditLine {
  seq: number;
  at: number;
  actor: string;
  act: string;
  macId: string | null;
  details: Record<string, unknown>;
}

const lineOf = ({ seq, at, actor, act, mac_id: macId, details }: Row): AuditLine => ({
  seq,
  at,
  actor,
  act,
  macId,
  details: JSON.parse(details) as Record<string, unknown>,
});

/** The act by which a key that has no record yet is shown. */
export const broughtShown = 'brought.disclosed';

/** By whom this brought key was shown, oldest first. The act stands in the words of the index `audit_brought_shown`. */
export async function viewsOfBrought(db: Store['db'] | Tx, keyId: string): Promise<AuditLine[]> {
  const rows = db
    .selectFrom('audit')
    .selectAll()
    .where(sql<boolean>`act = ${sql.lit(broughtShown)}`);
  return (
    await rows
      .where('details', 'like', `%${JSON.stringify(keyId)}%`)
      .orderBy('seq')
      .execute()
  ).map(lineOf);
}

/** What came after an entry, oldest first: for whoever follows what happens here. */
export async function entriesAfter(db: Store['db'], seq: number, acts: readonly string[], most: number): Promise<AuditLine[]> {
  const rows = db.selectFrom('audit').selectAll().where('seq', '>', seq);
  const wanted = acts.length > 0 ? rows.where('act', 'in', acts) : rows;
  return (await wanted.orderBy('seq').limit(most).execute()).map(lineOf);
}

export interface AuditVerdict {
  rows: number;
  ok: boolean;
  /** The first entry that does not follow from those before it. */
  brokenAt?: number;
}

const pageRows = 1000;

/** Walks the whole chain. An end that was cut off cannot be seen from inside: compare `rows` with what was known before. */
export async function verifyAudit(store: Store): Promise<AuditVerdict> {
  let rows = 0;
  let previous = beginning;
  for (;;) {
    const page = await store.db.selectFrom('audit').selectAll().where('seq', '>', rows).orderBy('seq').limit(pageRows).execute();
    for (const row of page) {
      if (row.seq !== rows + 1 || row.previous !== previous || row.hash !== hashOf(row)) return { rows, ok: false, brokenAt: rows + 1 };
      rows = row.seq;
      previous = row.hash;
    }
    if (page.length < pageRows) {
      // Entries that were moved to numbers below the first are no part of the chain either.
      const { total } = await store.db
        .selectFrom('audit')
        .select((e) => e.fn.countAll<number>().as('total'))
        .where('seq', '<=', rows)
        .executeTakeFirstOrThrow();
      return total === rows ? { rows, ok: true } : { rows, ok: false, brokenAt: 0 };
    }
  }
}
