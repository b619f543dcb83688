import { type Kysely, sql } from 'kysely';
import type { Tx } from '../parts.ts';
import type { Tables } from '../tables.ts';
import { changeOf, firstOf, question } from './asked.ts';

type Db = Kysely<Tables>;
export type Session = Tables['session'];
type Enrolment = Tables['enrolment'];

export const sessionOf = firstOf((db, enrolmentId: string, boot: string) =>
  db.selectFrom('session').selectAll().where('enrolment_id', '=', enrolmentId).where('boot', '=', boot),
);

export const latestSessionOf = firstOf((db, enrolmentId: string) =>
  db.selectFrom('session').selectAll().where('enrolment_id', '=', enrolmentId).orderBy('last_seen_at', 'desc').orderBy('first_seen_at', 'desc').limit(1),
);

/** A Mac that makes up boot sessions fills no table. */
export async function forgetOldSessions(tx: Tx, enrolmentId: string, keep: number): Promise<void> {
  await tx
    .deleteFrom('session')
    .where('enrolment_id', '=', enrolmentId)
    .where('boot', 'not in', (e) => e.selectFrom('session').select('boot').where('enrolment_id', '=', enrolmentId).orderBy('last_seen_at', 'desc').limit(keep))
    .execute();
}

export const activeEnrolmentsOf = question((db, macId: string) =>
  db.selectFrom('enrolment').selectAll().where('mac_id', '=', macId).where('status', '=', 'active').orderBy('created_at'),
);

export const enrolmentForCustody = firstOf((db, id: string) => db.selectFrom('enrolment').selectAll().where('id', '=', id));

export const enrolmentsToReplace = (db: Db, at: number): Promise<Enrolment[]> =>
  db.selectFrom('enrolment').selectAll().where('status', '=', 'active').where('replaced_after', '<=', at).execute();

/** By a certificate that proves the serial, not confirmed, and every other enrolment of the Mac has been replaced. */
export const enrolmentsToConfirm = (db: Db): Promise<Enrolment[]> =>
  db
    .selectFrom('enrolment')
    .innerJoin('mac', 'mac.id', 'enrolment.mac_id')
    .selectAll('enrolment')
    .where('mac.serial_proved', '=', 1)
    .where('enrolment.status', '=', 'active')
    // As it stands in the index.
    .where(sql<boolean>`enrolment.confirmed = 0`)
    .where('enrolment.way', '<>', 'ticket')
    .where((e) =>
      e.not(
        e.exists(
          e
            .selectFrom('enrolment as other')
            .select('other.id')
            .whereRef('other.mac_id', '=', 'enrolment.mac_id')
            .whereRef('other.id', '<>', 'enrolment.id')
            .where('other.status', '<>', 'replaced'),
        ),
      ),
    )
    .execute();

export async function updateEnrolment(
  tx: Tx,
  id: string,
  values: Partial<Pick<Enrolment, 'last_seen_at' | 'replaced_after' | 'confirmed' | 'status' | 'status_because' | 'status_at'>>,
): Promise<void> {
  await changeEnrolment(tx, values, id);
}
const changeEnrolment = changeOf((db, values: Partial<Enrolment>, id: string) => db.updateTable('enrolment').set(values).where('id', '=', id));
