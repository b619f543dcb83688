import { type Kysely, sql } from 'kysely';
import type { Tx } from '../parts.ts';
import type { Tables } from '../tables.ts';
import { firstOf } from './asked.ts';

type Db = Kysely<Tables>;
export type Ring = Tables['ring'];
export type RingMac = Tables['ring_mac'];

/** States in which a Mac belongs to one ring and to no other. */
export const openStates: readonly RingMac['state'][] = ['planned', 'waiting', 'proving'];

export const ringNamed = (db: Db, name: string): Promise<Ring | undefined> => db.selectFrom('ring').selectAll().where('name', '=', name).executeTakeFirst();

/** Oldest first. */
export const allRings = (db: Db): Promise<Ring[]> => db.selectFrom('ring').selectAll().orderBy('created_at').orderBy('name').execute();

export interface RingMember extends RingMac {
  serial: string;
}

export const macsOfRing = (db: Db, ringId: string): Promise<RingMember[]> =>
  db
    .selectFrom('ring_mac')
    .innerJoin('mac', 'mac.id', 'ring_mac.mac_id')
    .selectAll('ring_mac')
    .select('mac.serial')
    .where('ring_mac.ring_id', '=', ringId)
    .orderBy('mac.serial')
    .orderBy('mac.id')
    .execute();

/** The ring that a Mac is in now, planned or on its way. */
export async function openRingOf(db: Db, macId: string): Promise<{ ring: Ring; mac: RingMac } | undefined> {
  const mac = await openRingMacOf(db, macId);
  const ring = mac && (await db.selectFrom('ring').selectAll().where('id', '=', mac.ring_id).executeTakeFirst());
  return mac && ring ? { ring, mac } : undefined;
}

/** The states as they stand in the index: SQLite takes it for no others. Every check-in asks this. */
const openRingMacOf = firstOf((db, macId: string) =>
  db.selectFrom('ring_mac').selectAll().where('mac_id', '=', macId).where(sql<boolean>`state in ('planned', 'waiting', 'proving')`),
);

export async function insertRing(tx: Tx, ring: Ring): Promise<void> {
  await tx.insertInto('ring').values(ring).execute();
}

export async function updateRing(tx: Tx, id: string, values: Partial<Omit<Ring, 'id'>>): Promise<void> {
  await tx.updateTable('ring').set(values).where('id', '=', id).execute();
}

export async function insertRingMac(tx: Tx, mac: RingMac): Promise<void> {
  const { ring_id: _, mac_id: __, ...values } = mac;
  await tx
    .insertInto('ring_mac')
    .values(mac)
    // Named again after it was taken out.
    .onConflict((c) => c.columns(['ring_id', 'mac_id']).doUpdateSet(values))
    .execute();
}

export async function updateRingMac(tx: Tx, { ring_id: ringId, mac_id: macId }: RingMac, values: Partial<RingMac>): Promise<void> {
  await tx.updateTable('ring_mac').set(values).where('ring_id', '=', ringId).where('mac_id', '=', macId).execute();
}

/** On their way, and in the same state since then or for longer. */
export const macsStandingStill = (db: Db, since: number): Promise<(RingMac & { name: string })[]> =>
  db
    .selectFrom('ring_mac')
    .innerJoin('ring', 'ring.id', 'ring_mac.ring_id')
    .selectAll('ring_mac')
    .select('ring.name')
    .where('ring.state', '=', 'moving')
    // In the words of the index.
    .where(sql<boolean>`ring_mac.state in ('waiting', 'proving')`)
    .where('ring_mac.state_at', '<=', since)
    .orderBy('ring_mac.state_at')
    .orderBy('ring_mac.mac_id')
    .execute();

/** Of a ring that has not begun: it is planned anew. One that was taken out is kept, with why. */
export async function forgetRingMacs(tx: Tx, ringId: string): Promise<void> {
  await tx.deleteFrom('ring_mac').where('ring_id', '=', ringId).where('state', '=', 'planned').execute();
}

/** Rings on their way, and how many of their Macs are in each state. */
export const countMovingRings = (db: Db): Promise<{ name: string; state: RingMac['state']; macs: number }[]> =>
  db
    .selectFrom('ring')
    .innerJoin('ring_mac', 'ring_mac.ring_id', 'ring.id')
    .select((e) => ['ring.name', 'ring_mac.state', e.fn.countAll<number>().as('macs')])
    .where('ring.state', '=', 'moving')
    .groupBy(['ring.name', 'ring_mac.state'])
    .orderBy('ring.name')
    .execute();
