import type { Kysely } from 'kysely';
import type { Tx } from '../parts.ts';
import type { Tables } from '../tables.ts';

type Db = Kysely<Tables>;

/** The record, and what had been joined to it before, are told under the other from now on. */
export async function joinRecords(tx: Tx, from: string, into: string): Promise<void> {
  await tx
    .updateTable('mac')
    .set({ merged_into: into })
    .where((e) => e.or([e('id', '=', from), e('merged_into', '=', from)]))
    .execute();
}

export const waitingOrdersOf = (db: Db, macId: string): Promise<Tables['rotation_order'][]> =>
  db.selectFrom('rotation_order').selectAll().where('mac_id', '=', macId).where('state', '=', 'waiting').orderBy('created_at').execute();

/** How much of each kind is kept under a record. */
export async function keptUnder(db: Db, macId: string) {
  const count = async (table: 'key_record' | 'enrolment' | 'disclosure' | 'rotation') =>
    (
      await db
        .selectFrom(table)
        .select((e) => e.fn.countAll<number>().as('n'))
        .where('mac_id', '=', macId)
        .executeTakeFirstOrThrow()
    ).n;
  return {
    keys: await count('key_record'),
    enrolments: await count('enrolment'),
    disclosures: await count('disclosure'),
    replacements: await count('rotation'),
  };
}
