import { setTimeout as sleep } from 'node:timers/promises';
import type { Kysely } from 'kysely';
import { Problem } from '../../protocol/problems.ts';
import { audit } from '../audit.ts';
import { type CustodyParts, day } from '../custody-parts.ts';
import type { Tx } from '../parts.ts';
import { type BroughtName, type BroughtRow, broughtById, broughtOfRun, otherRunWith, updateBrought } from '../store/brought.ts';
import { debtById } from '../store/debts.ts';
import { grantsOf } from '../store/grants.ts';
import { markWithdrawn } from '../store/imports.ts';
import { envelopesOfRecord, type KeyRecord, recordById, removeEnvelopes, updateRecord } from '../store/keys.ts';
import { endProofOrders } from '../store/proofs.ts';
import type { Tables } from '../tables.ts';
import { isWeightier, vouch } from './again.ts';
import { broughtMac, isBroughtWhole, raiseTampered } from './row.ts';
import { settleSerial } from './settle.ts';
import { isOnlyMaybeShown } from './shown.ts';
import { type BroughtSource, type BroughtTrust, isBroughtRecord, isBroughtSource } from './sources.ts';

export interface Withdrawal {
  runId: string;
  actor: string;
  reason: string;
  /** Says what would go, and takes nothing. */
  dryRun?: boolean;
}

export interface TakenBack {
  withdrawn: number;
  kept: number;
}

/** Keys in one act: as short as this it keeps no Mac waiting. */
const mostAtOnce = 200;
/** Milliseconds between two acts: whoever waits for the database is let in. */
const pauseMilliseconds = 30;

/** `goes` and `stays` as they are counted; null: it went meanwhile, by somebody else. */
export type Fate = 'goes' | 'stays' | null;

/** One by one, and without an act: what it says is what would be. */
export async function foresee(parts: CustodyParts, names: readonly BroughtName[], fateOf: (row: BroughtRow) => Promise<Fate>): Promise<TakenBack> {
  const done = { withdrawn: 0, kept: 0 };
  for (const { id } of names) count(done, await fateOfOne(parts.store.db, id, fateOf));
  return done;
}

/** In acts of a few each; those of one serial number are next to each other, and what waited behind them is asked about when the last of them is gone. */
export async function takeInActs(
  parts: CustodyParts,
  names: readonly BroughtName[],
  take: (tx: Tx, at: number, row: BroughtRow) => Promise<Fate>,
): Promise<TakenBack> {
  const done = { withdrawn: 0, kept: 0 };
  for (let from = 0; from < names.length; from += mostAtOnce) {
    if (from > 0) await sleep(pauseMilliseconds);
    const some = names.slice(from, from + mostAtOnce);
    const fates = await parts.act(async (tx, at) => {
      const taken: Fate[] = [];
      for (const [index, { id, serial }] of some.entries()) {
        taken.push(await fateOfOne(tx, id, (row) => take(tx, at, row)));
        if (names[from + index + 1]?.serial !== serial) await settleSerial(parts, tx, at, serial);
      }
      return taken;
    });
    // Counted once, however often the act was done.
    for (const fate of fates) count(done, fate);
  }
  return done;
}

async function fateOfOne(db: Kysely<Tables>, id: string, fateOf: (row: BroughtRow) => Promise<Fate>): Promise<Fate> {
  const row = await broughtById(db, id);
  return row && row.state !== 'withdrawn' ? fateOf(row) : null;
}

function count(done: TakenBack, fate: Fate): void {
  if (fate === 'goes') done.withdrawn += 1;
  if (fate === 'stays') done.kept += 1;
}

/**
 * Takes back what a run brought, as if it had never come. A key that macOS has said `true` to stays: it is this Mac's,
 * whoever brought it. So does one that another run brought as well, and one that a person was shown.
 */
export async function withdrawRun(parts: CustodyParts, { runId, actor, reason, dryRun = false }: Withdrawal): Promise<TakenBack> {
  if (reason.trim() === '') throw new Problem('REASON_MISSING');
  const { db } = parts.store;
  if (dryRun) return foresee(parts, await broughtOfRun(db, runId), async (row) => ((await whyStays(parts, db, row, runId)) === null ? 'goes' : 'stays'));
  // Marked first: from then on nothing of it is brought any more. Whatever it is cut after is taken the next time.
  await parts.act(async (tx, at) => {
    await markWithdrawn(tx, runId, at);
    await audit(tx, { at, actor, act: 'import.withdrawing', details: { runId, reason } });
  });
  const done = await takeInActs(parts, await broughtOfRun(db, runId), (tx, at, row) => withdraw(parts, tx, at, row, { runId, actor, reason }));
  await parts.act((tx, at) => audit(tx, { at, actor, act: 'import.withdrawn', details: { runId, reason, ...done } }));
  return done;
}

/** Whose it is from now on: another run's, the Mac's, or that of somebody who brought it without a run. Null: nobody else's. */
type Stays = { because: 'run'; runId: string } | { because: 'mac' | 'tampered' } | { because: 'also'; source: BroughtSource; trust: BroughtTrust };

async function whyStays(parts: CustodyParts, db: Kysely<Tables>, row: BroughtRow, runId: string): Promise<Stays | null> {
  if (row.run_id !== runId) return { because: 'mac' };
  const other = await otherRunWith(db, row.id, runId);
  if (other !== null) return { because: 'run', runId: other };
  if (await stays(db, parts.clock.now(), row)) return { because: 'mac' };
  const { also_source: source, also_trust: trust } = row;
  if (trust === null || source === null || !isBroughtSource(source) || isWeightier(trust, row.trust)) return null;
  return isBroughtWhole(parts.secrets, row) ? { because: 'also', source, trust } : { because: 'tampered' };
}

async function withdraw(parts: CustodyParts, tx: Tx, at: number, row: BroughtRow, { runId, actor, reason }: Withdrawal): Promise<Fate> {
  const why = await whyStays(parts, tx, row, runId);
  if (why === null) {
    await takeBack(tx, at, row, { actor, reason, runId });
    return 'goes';
  }
  if (why.because === 'run') await updateBrought(tx, row.id, { run_id: why.runId });
  if (why.because === 'tampered') await raiseTampered(parts, tx, at, row);
  if (why.because === 'also') {
    // From now on it is only theirs.
    const left = { ...row, source: why.source, trust: why.trust, made_at: row.also_made_at, run_id: null, brought_by: row.also_by ?? row.brought_by };
    const { source, trust, made_at, run_id, brought_by } = left;
    await updateBrought(tx, row.id, { source, trust, made_at, run_id, brought_by, row_mac: broughtMac(parts.secrets, left) });
    await vouch(tx, row, { source: why.source, trust });
    const details = { keyId: row.id, serial: row.serial, recordId: row.record_id, runId, staysBy: source, trust };
    await audit(tx, { at, actor, act: 'brought.withdrawn', macId: row.mac_id, details });
  }
  return 'stays';
}

/** Proved, held, shown, or just being asked about: it is the Mac's, whoever brought it. */
export async function stays(db: Kysely<Tables>, at: number, row: BroughtRow): Promise<boolean> {
  if (row.disclosed_at !== null && !isOnlyMaybeShown(row)) return true;
  const record = row.record_id === null ? undefined : await recordById(db, row.record_id);
  return record !== undefined && (record.state === 'held' || record.proved_at !== null || (await isBeingAsked(db, at, record)));
}

/** As if it had never been brought; whose its sealed block is stays noted. */
export async function takeBack(
  tx: Tx,
  at: number,
  row: BroughtRow,
  { actor, reason, runId }: { actor: string; reason: string; runId: string | null },
): Promise<void> {
  const record = row.record_id === null ? undefined : await recordById(tx, row.record_id);
  if (record && record.state !== 'destroyed' && (await isOfImport(tx, record, row))) {
    // Without its fingerprint it is no key that was here before: brought again, or delivered, it is a new one.
    await updateRecord(tx, record.id, { state: 'destroyed', state_at: at, state_because: `withdrawn: ${reason}`, fingerprint: null });
    await removeEnvelopes(tx, record.mac_id, record.id);
    await endProofOrders(tx, record.id, at);
  }
  await updateBrought(tx, row.id, { state: 'withdrawn', state_at: at, state_because: reason, bytes: null });
  await audit(tx, { at, actor, act: 'brought.withdrawn', macId: row.mac_id, details: { keyId: row.id, serial: row.serial, recordId: row.record_id, runId } });
}

/** The Mac was given it today and has not said what macOS answered: it may be the valid one. */
const isBeingAsked = async (db: Kysely<Tables>, at: number, record: KeyRecord): Promise<boolean> => {
  for (const grant of await grantsOf(db, record.mac_id, at - day)) {
    // The key that was given, and not the record: an import goes with its Mac to another volume.
    const given = grant.record_id === record.id ? record : await recordById(db, grant.record_id);
    const isIt = given?.id === record.id || (record.fingerprint !== null && given?.fingerprint === record.fingerprint);
    if (isIt && (await debtById(db, record.mac_id, grant.id))?.closed_at === null) return true;
  }
  return false;
};

/** Only what the import made goes with it: what the Mac itself delivered stays, also when it is the same bytes, and so does what was shown or is kept on purpose. */
const isOfImport = async (tx: Tx, record: KeyRecord, row: BroughtRow): Promise<boolean> =>
  isBroughtRecord(record.source) &&
  record.enrolment_id === null &&
  (record.disclosed_at === null || record.disclosed_at === row.maybe_shown_at) &&
  record.legal_hold === 0 &&
  (await envelopesOfRecord(tx, record.id)).every((envelope) => envelope.id === row.envelope_id && envelope.enrolment_id === null);
