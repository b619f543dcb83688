import { type Kysely, sql } from 'kysely';
import type { Tables } from '../tables.ts';

type Db = Kysely<Tables>;

function byMac<Row extends { mac_id: string | null }>(rows: readonly Row[]): (macId: string) => Row[] {
  const groups = new Map<string | null, Row[]>();
  for (const row of rows) {
    const group = groups.get(row.mac_id);
    if (group) group.push(row);
    else groups.set(row.mac_id, [row]);
  }
  return (macId) => groups.get(macId) ?? [];
}

/** What custody is computed from, for all Macs at once or for these: a dozen questions for each would take seconds for a fleet of thousands. */
export async function fleetRows(db: Db, macIds: readonly string[] | null = null) {
  const some = macIds !== null;
  const ids = macIds ?? [];
  const records = await db
    .selectFrom('key_record')
    .selectAll()
    .where('state', 'in', ['held', 'candidate'])
    .where('unverified', '=', 0)
    .$if(some, (query) => query.where('mac_id', 'in', ids))
    .orderBy('received_at', 'desc')
    .orderBy('id')
    .execute();
  const heldEnvelopes = await db
    .selectFrom('envelope')
    .innerJoin('key_record', 'key_record.id', 'envelope.record_id')
    .selectAll('envelope')
    .where('key_record.state', '=', 'held')
    .$if(some, (query) => query.where('key_record.mac_id', 'in', ids))
    .execute();
  const envelopeIds = await db
    .selectFrom('envelope')
    .innerJoin('mac', 'mac.id', 'envelope.mac_id')
    .innerJoin('key_record', 'key_record.id', 'envelope.record_id')
    .select(['envelope.mac_id', 'envelope.id'])
    .whereRef('key_record.volume', '=', 'mac.present_volume')
    .where('mac.escrow_changed_at', 'is not', null)
    .$if(some, (query) => query.where('mac.id', 'in', ids))
    .execute();
  const rotations = await db
    .selectFrom('rotation')
    .selectAll()
    // As it stands in the index.
    .where(sql<boolean>`state = 'begun'`)
    .$if(some, (query) => query.where('mac_id', 'in', ids))
    .execute();
  const alarms = await db
    .selectFrom('alarm')
    .selectAll()
    .where('judged_at', 'is', null)
    .$if(some, (query) => query.where('mac_id', 'in', ids))
    .orderBy('opened_at')
    .orderBy('id')
    .execute();
  const debts = await db
    .selectFrom('debt')
    .selectAll()
    .where('closed_at', 'is', null)
    .$if(some, (query) => query.where('mac_id', 'in', ids))
    .orderBy('opened_at')
    .orderBy('id')
    .execute();
  const shown = await db
    .selectFrom('disclosure')
    .selectAll()
    .where('shown', '=', 1)
    .where('hold_ended_at', 'is', null)
    .$if(some, (query) => query.where('mac_id', 'in', ids))
    .orderBy('at')
    .orderBy('id')
    .execute();
  return {
    records: byMac(records),
    heldEnvelopes: byMac(heldEnvelopes),
    envelopeIds: byMac(envelopeIds),
    rotations: byMac(rotations),
    alarms: byMac(alarms),
    debts: byMac(debts),
    /** Disclosures whose hold has not ended in the records. */
    shown: byMac(shown),
  };
}
