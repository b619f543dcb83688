import type { Kysely } from 'kysely';
import { Problem } from '../../protocol/problems.ts';
import { audit } from '../audit.ts';
import { type CustodyParts, day } from '../custody-parts.ts';
import type { Tx } from '../parts.ts';
import { type BroughtRow, broughtById, broughtFor, strangersKeys, strangersKeysBefore, updateBrought } from '../store/brought.ts';
import { recordsOfMac } from '../store/keys.ts';
import { macsWithSerial } from '../store/macs.ts';
import type { Tables } from '../tables.ts';
import { settleSerial } from './settle.ts';
import { type BroughtTrust, isUnverified } from './sources.ts';
import { type Fate, foresee, stays, type TakenBack, takeBack, takeInActs } from './withdraw.ts';

/*
 * Keys for which nobody answers: whoever reaches the address, or knows the header that all Macs have, may have made them up.
 * Without this they would lie here for ever, and keep the Mac's own from being kept when three of them wait.
 */

export interface Clearing {
  /** Of one serial number; null: of all. */
  serial: string | null;
  trust: Extract<BroughtTrust, 'header' | 'none'> | null;
  actor: string;
  reason: string;
  /** Says what would go, and takes nothing. */
  dryRun?: boolean;
}

/** Takes away what strangers brought and no Mac has said `true` to. */
export async function clearStrangers(parts: CustodyParts, { serial, trust, actor, reason, dryRun = false }: Clearing): Promise<TakenBack> {
  if (reason.trim() === '') throw new Problem('REASON_MISSING');
  const { db } = parts.store;
  const names = await strangersKeys(db, { serial, trust });
  // Somebody may answer for one of them since they were looked up.
  const isMeant = (row: BroughtRow): boolean => isUnverified(row.trust) && (trust === null || row.trust === trust);
  const fateOf = async (tx: Kysely<Tables>, at: number, row: BroughtRow): Promise<Fate> =>
    !isMeant(row) ? null : (await stays(tx, at, row)) ? 'stays' : 'goes';
  if (dryRun) return foresee(parts, names, (row) => fateOf(db, parts.clock.now(), row));
  const done = await takeInActs(parts, names, async (tx, at, row) => {
    const fate = await fateOf(tx, at, row);
    if (fate === 'goes') await takeBack(tx, at, row, { actor, reason, runId: null });
    return fate;
  });
  await parts.act((tx, at) => audit(tx, { at, actor, act: 'brought.cleared', details: { serial, trust, reason, ...done } }));
  return done;
}

/** In one turn: more than this would keep the Macs waiting. */
const mostAtOnce = 200;

/** What lay here for so long without becoming anybody's, and without being heard again. The only key of a serial number stays: nothing else may open that Mac. */
export async function expireStrangers(parts: CustodyParts, tx: Tx, at: number): Promise<void> {
  const by = { actor: 'server', reason: `nobody answered for it within ${parts.strangerDays} days`, runId: null };
  for (const { id } of await strangersKeysBefore(tx, at - parts.strangerDays * day, mostAtOnce)) {
    const row = await broughtById(tx, id);
    if (!row) continue;
    // Looked at again when as many days are over.
    if (row.state === 'known' || (await stays(tx, at, row)) || (await isOnlyKey(tx, row))) await updateBrought(tx, id, { counts_from: at });
    else {
      await takeBack(tx, at, row, by);
      // What waited behind it is asked about now.
      await settleSerial(parts, tx, at, row.serial);
    }
  }
}

/** One that the Mac has refused is none; of those that are nobody's word the one that was heard last is the likeliest. */
async function isOnlyKey(tx: Tx, row: BroughtRow): Promise<boolean> {
  if (row.state === 'refuted' || row.bytes === null) return false;
  const others = (await broughtFor(tx, row.serial)).filter(({ id, state, bytes }) => id !== row.id && state !== 'refuted' && bytes !== null);
  if (others.some((other) => !isUnverified(other.trust) || isHeardAfter(other, row))) return false;
  for (const mac of await macsWithSerial(tx, row.serial))
    if ((await recordsOfMac(tx, mac.id)).some((record) => record.state === 'held' && record.id !== row.record_id)) return false;
  return true;
}

const isHeardAfter = (other: BroughtRow, row: BroughtRow): boolean =>
  other.counts_from > row.counts_from || (other.counts_from === row.counts_from && other.id > row.id);
