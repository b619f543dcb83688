import type { Kysely } from 'kysely';
import { isExhausted, isFileHere, whoseSerial } from '../brought/settle.ts';
import { day, hour } from '../custody-parts.ts';
import { lastFacts } from '../custody-state.ts';
import { broughtFor } from '../store/brought.ts';
import type { ConnectorMac } from '../store/connectors.ts';
import { recordsOfVolume } from '../store/keys.ts';
import { mdmCopyOf, openTaskFor } from '../store/tasks.ts';
import type { Tables } from '../tables.ts';

/** What is known here of a Mac that a product lists. Times are the server's, milliseconds. */
export interface Situation {
  held: 'none' | 'unproved' | 'proved' | 'refuted';
  /** Its escrow payload is ours: what the product has is older than ours. */
  payloadOurs: boolean;
  /** A key that others had is here, and nothing has refuted it. */
  hasBrought: boolean;
  /** The last of: somebody else's change of the key, R9, a refuted key of this product, a replacement that the product was asked for. */
  happenedAt: number | null;
  /** C6: since when the product's copy is an old one. */
  copyOldSince: number | null;
  read: { at: number; answer: NonNullable<ConnectorMac['answer']> } | null;
}

export type Need =
  /** 0 is read first. */
  { read: true; order: number } | { read: false; because: 'proved' | 'ours' | 'not-due' };

/** Less than a day, so that a daily run does not come too early for half of them. */
const daily = 20 * hour;
const weekly = 7 * day - 4 * hour;
/** A product takes some time to fetch a key from a Mac that is online. */
const afterAsking = hour;

/** Each reading is a view in the product's audit: only what may tell something new. The first row that fits. */
export function needOf(it: Situation, now: number): Need {
  const { read, happenedAt } = it;
  const readAt = read?.answer === 'failed' ? null : (read?.at ?? null);
  const due = (at: number, order: number): Need => (now >= at ? { read: true, order } : { read: false, because: 'not-due' });
  if (it.payloadOurs && (it.held === 'proved' || it.held === 'unproved')) return { read: false, because: 'ours' };
  if (happenedAt !== null) return readAt === null || readAt < happenedAt ? due(happenedAt, 0) : due(readAt + daily, 0);
  if (it.held === 'proved') {
    if (it.copyOldSince === null) return { read: false, because: 'proved' };
    const again = now - it.copyOldSince < weekly ? daily : weekly;
    return due(Math.max(it.copyOldSince + afterAsking, readAt === null ? 0 : readAt + again), 3);
  }
  if (readAt === null) return due(0, it.hasBrought ? 2 : 1);
  return due(readAt + (it.hasBrought || read?.answer === 'key' ? weekly : daily), 2);
}

export async function situationOf(db: Kysely<Tables>, row: ConnectorMac): Promise<Situation> {
  const { serial } = row;
  const brought = await broughtFor(db, serial);
  const { mac, because } = await whoseSerial(db, serial);
  const ours = mac && because === null ? mac : null;
  const records = ours ? await recordsOfVolume(db, ours.id, ours.present_volume ?? '') : [];
  const held = records.find(({ state }) => state === 'held');
  const changed =
    ours?.escrow_changed_at != null && (held?.proved_at ?? 0) < ours.escrow_changed_at && !(await isFileHere(db, ours)) ? ours.escrow_changed_at : null;
  const copy = ours ? await mdmCopyOf(db, ours.id) : undefined;
  const asked = row.rotate_asked_at !== null && (await openTaskFor(db, serial)) ? row.rotate_asked_at + afterAsking : null;
  const isProved = held !== undefined && held.refuted_at === null && held.proved_at !== null;
  // What was refuted, or asked for, before a key was proved is over.
  const since = (times: readonly (number | null)[]): number[] => times.filter((one) => one !== null).filter((one) => !isProved || one > (held.proved_at ?? 0));
  const happened = [
    ...(changed === null ? [] : [changed]),
    ...(ours && isExhausted(ours, records) && ours.exhausted_at !== null ? [ours.exhausted_at] : []),
    ...since([...brought.filter(({ state, source }) => state === 'refuted' && source === row.connector).map((one) => one.state_at), asked]),
  ];
  return {
    held: !held ? 'none' : held.refuted_at !== null ? 'refuted' : held.proved_at !== null ? 'proved' : 'unproved',
    payloadOurs: ours ? lastFacts(ours)?.escrow.payload === 'ours' : false,
    hasBrought: brought.some(({ state }) => state !== 'refuted'),
    happenedAt: happened.length === 0 ? null : Math.max(...happened),
    copyOldSince: copy && copy.refreshed_at === null ? copy.old_since : null,
    read: row.read_at === null || row.answer === null ? null : { at: row.read_at, answer: row.answer },
  };
}
