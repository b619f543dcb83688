import { createCipheriv, createDecipheriv, randomBytes, timingSafeEqual } from 'node:crypto';
import { ticketProof, writeTicket } from '../protocol/enrolment.ts';
import { Problem } from '../protocol/problems.ts';
import { audit } from './audit.ts';
import type { ServerClock } from './clock.ts';
import type { ServerSecrets, Store, Tx } from './parts.ts';
import { macsWithSerial } from './store/macs.ts';
import { addTicket, allowSerial, bindTicket, endTicket, ticketById, ticketSerial, ticketsWithUse } from './store/tickets.ts';

const day = 24 * 60 * 60 * 1000;

/** The ticket lies sealed in the database (AES-256-GCM, bound to its id): the HMAC proof needs it in plain, a stolen database does not give it. */
function seal(key: Buffer, id: string, secret: Buffer): Buffer {
  const iv = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', key, iv).setAAD(Buffer.from(id));
  return Buffer.concat([iv, cipher.update(secret), cipher.final(), cipher.getAuthTag()]);
}

function unseal(key: Buffer, id: string, sealed: Uint8Array): Buffer {
  const bytes = Buffer.from(sealed);
  try {
    const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, 12)).setAAD(Buffer.from(id)).setAuthTag(bytes.subarray(-16));
    return Buffer.concat([decipher.update(bytes.subarray(12, -16)), decipher.final()]);
  } catch {
    throw new Problem('ROW_TAMPERED', `enrolment ticket ${id}`);
  }
}

export const tidySerial = (serial: string): string => serial.trim().toUpperCase();

export interface TicketUse {
  ticketId: string;
  /** The HMAC that was sent, base64. */
  mac: string;
  statement: string;
  serial: string;
  hardwareUuid: string;
  /** The active enrolment that goes on, its continuation checked; its own ticket may have expired long ago. */
  continues: { ticketId: string | null } | null;
  at: number;
}

/** Checks a proof by ticket and binds the ticket to serial and hardware, in the transaction of the enrolment. */
export async function useTicket(tx: Tx, secrets: ServerSecrets, use: TicketUse): Promise<void> {
  const ticket = await ticketById(tx, use.ticketId);
  const expected = ticket ? Buffer.from(ticketProof(unseal(secrets.ticket, ticket.id, ticket.sealed), use.statement)) : randomBytes(44);
  const given = Buffer.from(use.mac);
  if (!ticket || given.length !== expected.length || !timingSafeEqual(given, expected)) throw new Problem('TICKET_REFUSED', 'it is not known here');
  // The life of a ticket bounds first uses. Going on rests on the identity key; the ticket is only "as good as the first proof".
  if (use.continues?.ticketId === ticket.id) return;
  if (ticket.ended_at !== null) throw new Problem('TICKET_REFUSED', 'it was ended by an admin');
  if (ticket.expires_at <= use.at) throw new Problem('TICKET_REFUSED', 'it has expired');
  if (use.continues) return;
  const entry = await ticketSerial(tx, ticket.id, use.serial);
  const allow = `an admin may let it in with \`sparekey-server ticket allow ${ticket.id} ${use.serial} --reason "…"\``;
  if (!entry) throw new Problem('TICKET_REFUSED', `serial ${use.serial} is not in its inventory; ${allow}`);
  if (entry.allowed_at === null) {
    if (entry.used_at !== null) throw new Problem('TICKET_REFUSED', `serial ${use.serial} has used it; ${allow}`);
    if ((await macsWithSerial(tx, use.serial)).length > 0) throw new Problem('TICKET_REFUSED', `serial ${use.serial} was enrolled before; ${allow}`);
  }
  await bindTicket(tx, ticket.id, use.serial, use.hardwareUuid, use.at);
}

/** The acts of an operator on tickets, each audited. */
export function createTickets({ store, clock, secrets }: { store: Store; clock: ServerClock; secrets: ServerSecrets }) {
  const known = async (tx: Tx, id: string) => {
    const ticket = await ticketById(tx, id);
    if (!ticket) throw new Problem('NOT_FOUND', `ticket ${id}`);
    return ticket;
  };
  return {
    /** The ticket in plain is returned here and never again. */
    async make(given: { serials: readonly string[]; days: number; actor: string }): Promise<{ id: string; ticket: string; expiresAt: number }> {
      // Hex: an id that begins with a dash would be an option on a command line.
      const id = randomBytes(6).toString('hex');
      const secret = randomBytes(32);
      const serials = [...new Set(given.serials.map(tidySerial))];
      const bad = serials.find((serial) => !/^[A-Z0-9]{4,32}$/.test(serial));
      if (bad !== undefined) throw new Problem('USAGE', `"${bad.slice(0, 40)}" is no serial number`);
      const expiresAt = await store.write(async (tx) => {
        const at = await clock.persist(tx);
        const expires = at + given.days * day;
        await addTicket(
          tx,
          { id, sealed: seal(secrets.ticket, id, secret), created_at: at, created_by: given.actor, expires_at: expires, ended_at: null },
          serials,
        );
        await audit(tx, { at, actor: given.actor, act: 'ticket.made', details: { ticketId: id, serials: serials.length, days: given.days } });
        return expires;
      });
      return { id, ticket: writeTicket({ id, secret }), expiresAt };
    },

    async list() {
      const at = clock.now();
      return (await ticketsWithUse(store.db)).map((ticket) => ({
        id: ticket.id,
        createdAt: ticket.created_at,
        createdBy: ticket.created_by,
        expiresAt: ticket.expires_at,
        state: ticket.ended_at !== null ? ('ended' as const) : ticket.expires_at <= at ? ('expired' as const) : ('usable' as const),
        serials: ticket.serials,
        used: ticket.used,
      }));
    },

    end: (id: string, actor: string): Promise<void> =>
      store.write(async (tx) => {
        const at = await clock.persist(tx);
        await known(tx, id);
        await endTicket(tx, id, at);
        await audit(tx, { at, actor, act: 'ticket.ended', details: { ticketId: id } });
      }),

    /** An admin's click: this serial may enrol with the ticket once, or once more. */
    allow: (given: { id: string; serial: string; actor: string; reason: string }): Promise<void> =>
      store.write(async (tx) => {
        const at = await clock.persist(tx);
        const ticket = await known(tx, given.id);
        if (ticket.ended_at !== null || ticket.expires_at <= at) throw new Problem('TICKET_REFUSED', 'it has ended or expired');
        await allowSerial(tx, given.id, tidySerial(given.serial), at);
        await audit(tx, {
          at,
          actor: given.actor,
          act: 'ticket.allowed',
          details: { ticketId: given.id, serial: tidySerial(given.serial), reason: given.reason },
        });
      }),
  };
}
