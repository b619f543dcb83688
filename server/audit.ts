import { createHash } from 'node:crypto';
import { type Insertable, sql } from 'kysely';
import { RecoveryKey } from '../protocol/recovery-key.ts';
import { askingNow } from './auditing/asking.ts';
import type { Store, Tx } from './parts.ts';
import { changeOf, firstOf } from './store/asked.ts';
import { markDirty } from './store/fleet-dirty.ts';
import type { Tables } from './tables.ts';
import { noteNews } from './wakening.ts';

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

export type AuditRow = Tables['audit'];
type Row = AuditRow;

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

/** What the first record follows. */
export const beginning = '0'.repeat(64);

/** What came later is in the hash only where it is set: records of before are checked as they were written. */
export function hashOf(row: Omit<Row, 'hash' | 'request_id' | 'network' | 'token_id'> & Partial<Row>): string {
  const { seq, at, actor, act, mac_id: macId, details, previous } = row;
  const [requestId, network, tokenId] = [row.request_id ?? undefined, row.network ?? undefined, row.token_id ?? undefined];
  return createHash('sha256').update(canonicalJson({ seq, at, actor, act, macId, details, previous, requestId, network, tokenId })).digest('hex');
}

/** A record as other programs read it: as it lies in the table, and with what was set only. */
export interface AuditRecord {
  seq: number;
  at: number;
  actor: string;
  act: string;
  macId: string | null;
  requestId?: string;
  network?: string;
  tokenId?: string;
  /** What was hashed is the canonical text of it. */
  details?: unknown;
  /** In its place where the text in the table is another than the canonical one: somebody has changed it. */
  detailsText?: string;
  previous: string;
  hash: string;
}

function readDetails(text: string): Pick<AuditRecord, 'details' | 'detailsText'> {
  try {
    const details: unknown = JSON.parse(text);
    if (canonicalJson(details) === text) return { details };
  } catch {
    // It is said as it is.
  }
  return { detailsText: text };
}

export const recordOf = (row: Row): AuditRecord => ({
  seq: row.seq,
  at: row.at,
  actor: row.actor,
  act: row.act,
  macId: row.mac_id,
  ...(row.request_id === null ? {} : { requestId: row.request_id }),
  ...(row.network === null ? {} : { network: row.network }),
  ...(row.token_id === null ? {} : { tokenId: row.token_id }),
  ...readDetails(row.details),
  previous: row.previous,
  hash: row.hash,
});

const lastEntry = firstOf((db) => db.selectFrom('audit').select(['seq', 'hash']).orderBy('seq', 'desc').limit(1));
const addEntry = changeOf((db, row: Insertable<Row>) => db.insertInto('audit').values(row));
/** The last one of an act that has written some: nobody else writes any before its end. */
const lastOfAct = new WeakMap<Tx, Pick<Row, 'seq' | 'hash'>>();

/** Writes one entry in the act's own transaction: if it cannot be written, the act does not happen. */
export async function audit(tx: Tx, entry: AuditEntry): Promise<void> {
  const before = lastOfAct.get(tx) ?? (await lastEntry(tx));
  const { requestId, network, tokenId } = askingNow();
  const row = {
    seq: (before?.seq ?? 0) + 1,
    at: entry.at,
    actor: entry.actor,
    act: entry.act,
    mac_id: entry.macId ?? null,
    // What is written here stays. Words are looked through before, where they come in; this is the last door.
    details: RecoveryKey.cutFrom(canonicalJson(entry.details)),
    previous: before?.hash ?? beginning,
    ...(requestId == null ? {} : { request_id: requestId }),
    ...(network == null ? {} : { network }),
    ...(tokenId == null ? {} : { token_id: tokenId }),
  };
  const hash = hashOf(row);
  await addEntry(tx, { ...row, hash });
  lastOfAct.set(tx, { seq: row.seq, hash });
  // Whatever is done to a Mac may change what lists say of it.
  if (row.mac_id !== null) await markDirty(tx, row.mac_id);
  noteNews(tx, row.mac_id, row.act);
}

/** By whom this was done before about this Mac, to what has this id. */
export async function doneBy(tx: Tx, macId: string, act: string, id: string): Promise<string[]> {
  const rows = tx.selectFrom('audit').select('actor').distinct().where('mac_id', '=', macId).where('act', '=', act);
  return (await rows.where('details', 'like', `%${JSON.stringify(id)}%`).execute()).map(({ actor }) => actor);
}

/** Whether this was done before about this Mac, to what has this id. */
export const wasDone = async (tx: Tx, macId: string, act: string, id: string): Promise<boolean> => (await doneBy(tx, macId, act, id)).length > 0;

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

/** How many keys that others had brought this admin was shown since then: what limits count beside the Macs' own keys. */
export async function countBroughtViews(tx: Tx, personId: string, since: number): Promise<number> {
  const row = await tx
    .selectFrom('audit')
    .select((e) => e.fn.countAll<number>().as('count'))
    .where(sql<boolean>`act = ${sql.lit(broughtShown)}`)
    .where('at', '>', since)
    .where('details', 'like', `%${JSON.stringify(personId)}%`)
    .executeTakeFirstOrThrow();
  return row.count;
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

/** Where the table begins: after the records that were taken out, or at the very first. */
async function baseOf(store: Store): Promise<{ seq: number; hash: string }> {
  const taken = store.db.selectFrom('audit_checkpoint').select(['seq', 'hash']).where('kind', '=', 'retained');
  return (await taken.orderBy('seq', 'desc').limit(1).executeTakeFirst()) ?? { seq: 0, hash: beginning };
}

/**
 * Walks the whole chain, to its first fault. `server/auditing/verify.ts` says what was done to it, and compares with the
 * checkpoints: from inside, an end that was cut off cannot be seen.
 */
export async function verifyAudit(store: Store): Promise<AuditVerdict> {
  const base = await baseOf(store);
  let last = base;
  let rows = 0;
  for (;;) {
    const page = await store.db.selectFrom('audit').selectAll().where('seq', '>', last.seq).orderBy('seq').limit(pageRows).execute();
    for (const row of page) {
      if (row.seq !== last.seq + 1 || row.previous !== last.hash || row.hash !== hashOf(row)) return { rows, ok: false, brokenAt: last.seq + 1 };
      rows += 1;
      last = row;
    }
    if (page.length < pageRows) {
      // Entries that were moved to numbers below the first are no part of the chain either.
      const { total } = await store.db
        .selectFrom('audit')
        .select((e) => e.fn.countAll<number>().as('total'))
        .where('seq', '<=', base.seq)
        .executeTakeFirstOrThrow();
      return total === 0 ? { rows, ok: true } : { rows, ok: false, brokenAt: base.seq };
    }
  }
}
