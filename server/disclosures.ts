import { randomUUID } from 'node:crypto';
import type { CustodyState } from '../protocol/messages.ts';
import { Problem } from '../protocol/problems.ts';
import type { RecoveryKey } from '../protocol/recovery-key.ts';
import { audit } from './audit.ts';
import { type BroughtSource, isBroughtRecord, sourceOfRecord } from './brought/sources.ts';
import { onlyByMdm, openTask } from './brought/tasks.ts';
import { type CustodyParts, sameCase } from './custody-parts.ts';
import { counts, custodyNow, lastFacts } from './custody-state.ts';
import { oweRotation } from './debts.ts';
import { presentHold } from './holds.ts';
import type { Tx } from './parts.ts';
import { updateBroughtOfRecord } from './store/brought.ts';
import { insertDisclosure, markNotShown } from './store/disclosures.ts';
import { type KeyRecord, recordsOfVolume, recordsWithBytes, updateRecord } from './store/keys.ts';
import { type Mac, macById } from './store/macs.ts';
import { openRotationOf } from './store/rotations.ts';

export interface Disclosing {
  macId: string;
  actor: string;
  reason: string;
  /** The Mac's user for whom it is shown, by the name of the account: whose return ends the hold. */
  person?: string;
  /** Another volume than the one that the Mac started from last. */
  volume?: string;
  /** Records that this person says were refused. It counts for the timeline and for what is offered next, and proves nothing. */
  refused?: readonly string[];
  /** Only this record, where it is one of those that may be offered now. */
  recordId?: string;
  /** `recordId` is a key that was replaced, which is not offered otherwise. */
  history?: true;
  /**
   * More of the same transaction, before anything of this view is written: what it throws refuses the disclosure, and what
   * it writes stands or falls with it. Here a form's token is spent, and whoever asks is checked again.
   */
  before?: (tx: Tx, at: number) => Promise<void>;
  /** More of the same transaction, when this view is written. */
  after?: (tx: Tx, at: number, view: DisclosureWritten) => Promise<void>;
}

export interface DisclosureWritten {
  disclosureId: string;
  recordId: string;
  volume: string;
}

export interface Disclosed {
  key: RecoveryKey;
  recordId: string;
  disclosureId: string;
  volume: string;
  /** Server time of the disclosure, milliseconds. */
  at: number;
  custody: CustodyState;
  /** The key may just have been replaced. */
  rotationOpen: boolean;
  /** How many more keys could be offered if this one is refused. */
  others: number;
  /** Others had it, and nobody has asked this Mac about it yet. */
  unprovedFrom: BroughtSource | null;
}

/**
 * In doubt the candidates, newest first, then the held key; and after all of them were refused the newest superseded
 * one. What others brought is a guess: it comes after the held key, unless that one was refuted, or the key was changed since.
 */
function offered(all: readonly KeyRecord[], withBytes: ReadonlySet<string>, refused: readonly string[], changedAt: number | null): KeyRecord[] {
  const records = all.filter(({ id }) => withBytes.has(id));
  const open = (state: KeyRecord['state']) => records.filter((record) => record.state === state && counts(record) && !refused.includes(record.id));
  const isOld = (held: KeyRecord) => held.refuted_at !== null || (held.proved_at !== null && held.proved_at < (changedAt ?? 0));
  const brought = open('candidate').filter((record) => isBroughtRecord(record.source));
  const own = open('candidate').filter((record) => !isBroughtRecord(record.source));
  const held = open('held');
  const living = held.some(isOld) ? [...own, ...brought, ...held] : [...own, ...held, ...brought];
  const wasRefused = all.some((record) => (record.state === 'held' || record.state === 'candidate') && refused.includes(record.id));
  const newest = records
    .filter((record) => record.state === 'superseded' && counts(record) && (record.opened === 1 || record.fingerprint === null))
    // A guess that the Mac refused is none any more.
    .filter((record) => !(isBroughtRecord(record.source) && record.refuted_at !== null))
    .toSorted((a, b) => b.state_at - a.state_at || b.received_at - a.received_at)
    .slice(0, 1)
    // Once that one was refused too there is no next: whoever goes through the history makes the Mac wait for hours.
    .filter((record) => !refused.includes(record.id));
  return living.length === 0 && wasRefused ? newest : living;
}

/** What is known of the view is stored first, durably; only then the envelope is opened. */
export async function disclose(parts: CustodyParts, disclosing: Disclosing): Promise<Disclosed> {
  const { macId, actor, reason, person, volume: wanted, refused = [] } = disclosing;
  if (reason.trim() === '') throw new Problem('REASON_MISSING');
  const shown = await parts.act(async (tx, at) => {
    await disclosing.before?.(tx, at);
    const mac = await macById(tx, macId);
    if (!mac) throw new Problem('MAC_UNKNOWN');
    const volume = wanted === undefined ? mac.present_volume : sameCase(wanted);
    const records = volume === null ? [] : await recordsOfVolume(tx, macId, volume);
    const withBytes = volume === null ? new Set<string>() : await recordsWithBytes(tx, macId, volume);
    const open = disclosing.history
      ? records.filter(({ id, state }) => id === disclosing.recordId && state === 'superseded' && withBytes.has(id))
      : offered(records, withBytes, refused, volume === mac.present_volume ? mac.escrow_changed_at : null);
    const record = disclosing.recordId === undefined ? open[0] : open.find(({ id }) => id === disclosing.recordId);
    if (!record) throw new Problem('KEY_UNKNOWN', wanted === undefined ? (await custodyNow(parts, tx, mac, at)).because : 'none of that volume');
    const disclosureId = await write(parts, tx, at, mac, record, { actor, reason, person: person ?? null, refused });
    await disclosing.after?.(tx, at, { disclosureId, recordId: record.id, volume: record.volume });
    const custody = await custodyNow(parts, tx, mac, at);
    const rotationOpen = (await openRotationOf(tx, macId)) !== undefined;
    const unprovedFrom = record.proved_at === null ? sourceOfRecord(record.source) : null;
    return { recordId: record.id, disclosureId, volume: record.volume, at, custody: custody.state, rotationOpen, others: open.length - 1, unprovedFrom };
  });

  const key = await parts.openRecord(shown.recordId);
  if (typeof key === 'string') {
    await parts.act(async (tx, at) => {
      await markNotShown(tx, shown.disclosureId);
      await audit(tx, { at, actor, act: 'key.not-shown', macId, details: { disclosureId: shown.disclosureId, recordId: shown.recordId, because: key } });
    });
    throw new Problem(key === 'no-opener' ? 'CANNOT_OPEN' : key === 'tampered' ? 'ROW_TAMPERED' : 'KEY_UNKNOWN', `record ${shown.recordId}`);
  }
  parts.log.info('key-disclosed', { macId, recordId: shown.recordId });
  return { key, ...shown };
}

async function write(
  parts: CustodyParts,
  tx: Tx,
  at: number,
  mac: Mac,
  record: KeyRecord,
  view: { actor: string; reason: string; person: string | null; refused: readonly string[] },
): Promise<string> {
  const id = randomUUID();
  const { volume } = record;
  const { actor, reason, person, refused } = view;
  // Ends an episode whose time is over: this view begins another.
  await presentHold(parts, tx, at, mac.id, volume);
  await insertDisclosure(tx, {
    id,
    mac_id: mac.id,
    volume,
    record_id: record.id,
    actor,
    person,
    reason,
    at,
    shown: 1,
    hold_ended_at: null,
    hold_ended_because: null,
  });
  await updateRecord(tx, record.id, { disclosed_at: at });
  await audit(tx, {
    at,
    actor,
    act: 'key.disclosed',
    macId: mac.id,
    details: { disclosureId: id, recordId: record.id, volume, state: record.state, reason, person, refused },
  });
  await oweRotation(tx, at, { id, macId: mac.id, volume, because: 'disclosed', recordId: record.id, actor: 'server' });
  await updateBroughtOfRecord(tx, record.id, { disclosed_at: at, maybe_shown_at: null });
  const notOurs = onlyByMdm(lastFacts(mac));
  if (notOurs !== null) await openTask(parts, tx, at, { serial: mac.serial, macId: mac.id, because: `its key was shown, and ${notOurs}` });
  return id;
}
