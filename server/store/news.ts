import { question } from './asked.ts';

/** Entries of the audit that are read at once: whoever has missed more is told that anything may be new. */
const mostRead = 5000;

const lastOf = question((db) => db.selectFrom('audit').select('seq').orderBy('seq', 'desc').limit(1));
const after = question((db, seq: number) => db.selectFrom('audit').select(['seq', 'mac_id', 'act']).where('seq', '>', seq).orderBy('seq').limit(mostRead));

type Db = Parameters<typeof lastOf>[0];

export const lastEntryOf = async (db: Db): Promise<number> => (await lastOf(db))[0]?.seq ?? 0;

/** What was done after this entry, in order; null where it is too much to be read. */
export async function doneAfter(db: Db, seq: number): Promise<{ seq: number; mac_id: string | null; act: string }[] | null> {
  const rows = await after(db, seq);
  return rows.length < mostRead ? rows : null;
}
