import type { Kysely, Selectable } from 'kysely';
import type { Tx } from '../parts.ts';
import type { Tables } from '../tables.ts';

type Db = Kysely<Tables>;
export type TicketRow = Selectable<Tables['ticket']>;
export type TicketSerialRow = Selectable<Tables['ticket_serial']>;

export async function addTicket(tx: Tx, ticket: TicketRow, serials: readonly string[]): Promise<void> {
  await tx.insertInto('ticket').values(ticket).execute();
  // SQLite takes 32,766 values in one statement; an inventory may be longer.
  for (let at = 0; at < serials.length; at += 1000) {
    const rows = serials.slice(at, at + 1000).map((serial) => ({ ticket_id: ticket.id, serial, used_at: null, hardware_uuid: null, allowed_at: null }));
    await tx.insertInto('ticket_serial').values(rows).execute();
  }
}

export const ticketById = async (db: Db, id: string): Promise<TicketRow | null> =>
  (await db.selectFrom('ticket').selectAll().where('id', '=', id).executeTakeFirst()) ?? null;

export const ticketSerial = async (db: Db, ticketId: string, serial: string): Promise<TicketSerialRow | null> =>
  (await db.selectFrom('ticket_serial').selectAll().where('ticket_id', '=', ticketId).where('serial', '=', serial).executeTakeFirst()) ?? null;

/** Bound at first use: from now on this serial of the ticket belongs to this hardware. */
export async function bindTicket(tx: Tx, ticketId: string, serial: string, hardwareUuid: string, at: number): Promise<void> {
  await tx
    .updateTable('ticket_serial')
    .set({ used_at: at, hardware_uuid: hardwareUuid, allowed_at: null })
    .where('ticket_id', '=', ticketId)
    .where('serial', '=', serial)
    .execute();
}

/** An admin's click: this serial may use the ticket once, or once more. */
export async function allowSerial(tx: Tx, ticketId: string, serial: string, at: number): Promise<void> {
  await tx
    .insertInto('ticket_serial')
    .values({ ticket_id: ticketId, serial, used_at: null, hardware_uuid: null, allowed_at: at })
    .onConflict((c) => c.columns(['ticket_id', 'serial']).doUpdateSet({ allowed_at: at }))
    .execute();
}

export async function endTicket(tx: Tx, id: string, at: number): Promise<void> {
  await tx.updateTable('ticket').set({ ended_at: at }).where('id', '=', id).where('ended_at', 'is', null).execute();
}

/** All tickets with how many of their serials have enrolled. */
export async function ticketsWithUse(db: Db) {
  const counted = await db
    .selectFrom('ticket_serial')
    .select(({ fn }) => ['ticket_id', fn.countAll<number>().as('serials'), fn.count<number>('used_at').as('used')])
    .groupBy('ticket_id')
    .execute();
  const tickets = await db.selectFrom('ticket').select(['id', 'created_at', 'created_by', 'expires_at', 'ended_at']).orderBy('created_at').execute();
  return tickets.map((ticket) => {
    const use = counted.find((row) => row.ticket_id === ticket.id);
    return { ...ticket, serials: use?.serials ?? 0, used: use?.used ?? 0 };
  });
}
