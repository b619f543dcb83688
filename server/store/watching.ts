import type { Kysely } from 'kysely';
import type { Tables } from '../tables.ts';

type Db = Kysely<Tables>;

export interface Counted {
  value: string;
  n: number;
}

/** Figures that whoever watches the backend reads: each asked of an index or of a table that is small. */
export const alarmsByCode = (db: Db): Promise<Counted[]> =>
  db
    .selectFrom('alarm')
    .select((e) => ['code as value', e.fn.countAll<number>().as('n')])
    .where('judged_at', 'is', null)
    .groupBy('code')
    .execute();

export const macsByCustody = (db: Db): Promise<Counted[]> => db.selectFrom('fleet_count').select(['value', 'n']).where('dimension', '=', 'custody').execute();

export const rotationsByEnd = (db: Db): Promise<Counted[]> =>
  db
    .selectFrom('rotation')
    .select((e) => ['state as value', e.fn.countAll<number>().as('n')])
    .where('state', '<>', 'begun')
    .groupBy('state')
    .execute();

/** Keys that were shown and are not replaced: how many, and the milliseconds that they have been out, together. */
export async function exposure(db: Db, at: number): Promise<{ keys: number; milliseconds: number }> {
  const { n, since } = await db
    .selectFrom('fleet_row')
    .select((e) => [e.fn.countAll<number>().as('n'), e.fn.sum<number | null>('disclosed_at').as('since')])
    .where('disclosed_at', '>', 0)
    .executeTakeFirstOrThrow();
  return { keys: n, milliseconds: Math.max(0, n * at - (since ?? 0)) };
}

export async function waitingMails(db: Db): Promise<number> {
  const { n } = await db
    .selectFrom('mail')
    .select((e) => e.fn.countAll<number>().as('n'))
    .where('sent_at', 'is', null)
    .where('given_up_at', 'is', null)
    .executeTakeFirstOrThrow();
  return n;
}

/** By webhook: how many entries of the audit it has not been told yet. */
export async function waitingForWebhooks(db: Db): Promise<Counted[]> {
  const last = await db.selectFrom('audit').select('seq').orderBy('seq', 'desc').limit(1).executeTakeFirst();
  const states = await db.selectFrom('webhook_state').select(['name', 'after_seq']).execute();
  return states.map(({ name, after_seq }) => ({ value: name, n: Math.max(0, (last?.seq ?? 0) - after_seq) }));
}

/** Answers where the database does. */
export const askAnything = async (db: Db): Promise<unknown> => db.selectFrom('memory').select('name').limit(1).execute();
