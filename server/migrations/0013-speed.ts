import { type Kysely, sql } from 'kysely';

/**
 * Indexes for what is asked all day. The backend's own round looks every half minute for enrolments that are to be replaced or
 * confirmed, for rotations that are silent and for grants that were not closed: a handful of rows, for which whole tables
 * were read. And an index of states made every check-in read all rotations of the fleet that were open, or done, for one Mac's.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`create index enrolment_leaving on enrolment (replaced_after) where replaced_after is not null`.execute(db);
  await sql`create index enrolment_unconfirmed on enrolment (mac_id) where confirmed = 0`.execute(db);
  await sql`create index debt_granted on debt (opened_at) where because = 'granted' and closed_at is null`.execute(db);
  // A proof that is ordered is put between those that are due about then.
  await sql`create index proof_order_due on proof_order (not_before) where ended_at is null`.execute(db);
  await sql`create index rotation_begun on rotation (begun_at) where state = 'begun'`.execute(db);
  await db.schema.dropIndex('rotation_state').execute();
}
