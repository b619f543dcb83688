import type { Kysely } from 'kysely';
import { acceptKey } from '../accept-key.ts';
import { raise } from '../alarms.ts';
import { audit } from '../audit.ts';
import { type CustodyParts, day } from '../custody-parts.ts';
import { isFileOurs as isOurs, lastFacts } from '../custody-state.ts';
import type { Tx } from '../parts.ts';
import { type BroughtRow, broughtFor, countUnverifiedRecords, isBroughtForMac, updateBrought } from '../store/brought.ts';
import { disownEnvelope, type EnvelopeRow, envelopeOfMac, isOnVolume, type KeyRecord, recordById, recordsOfVolume, updateRecord } from '../store/keys.ts';
import { type Mac, macById, macsWithSerial, updateMac } from '../store/macs.ts';
import { activeEnrolmentsOf } from '../store/sessions.ts';
import type { Tables } from '../tables.ts';
import { whoseBlocks } from './blocks.ts';
import { blocksOf } from './envelopes.ts';
import { type Place, type Placed, placeOf } from './place.ts';
import { isBroughtWhole } from './row.ts';
import { isKnownMac } from './serial.ts';
import { oweForShown } from './shown.ts';
import { isBroughtRecord, isUnverified, recordSource } from './sources.ts';
import { isAskedElsewhere, isGuess, isLeftBehind } from './volumes.ts';

/** A stranger's word costs a Mac one proof in this time: two wrong keys of the five that a week allows. */
const strangerEvery = 7 * day;

export type Whose = { mac: Mac; because: null } | { mac: Mac | null; because: string };

/**
 * The Mac that a serial number means. One that its certificate proves is beyond doubt; a claimed one takes no key that others
 * had until an admin has confirmed its enrolment: otherwise whoever claims a serial number is given that Mac's key to prove.
 */
export async function whoseSerial(tx: Kysely<Tables>, serial: string): Promise<Whose> {
  const claiming: Mac[] = [];
  // One that was revoked, or was set up anew, claims nothing any more: it keeps no key from the Mac that is left.
  for (const one of await macsWithSerial(tx, serial)) if ((await activeEnrolmentsOf(tx, one.id)).length > 0) claiming.push(one);
  const proved = claiming.find((one) => one.serial_proved === 1);
  const confirmed: Mac[] = [];
  for (const one of claiming) if (await isKnownMac(tx, one)) confirmed.push(one);
  // Whoever merely claims it takes nothing from the one that an admin has confirmed; of two of those nobody knows which it is.
  const [mac, ...more] = proved ? [proved] : confirmed.length > 0 ? confirmed : claiming;
  if (!mac) return { mac: null, because: 'no Mac with this serial number is enrolled' };
  if (mac.serial_proved === 0) {
    if (more.length > 0) return { mac: null, because: 'more than one Mac says that it has this serial number' };
    if (confirmed.length === 0) return { mac, because: 'its Mac only claims this serial number: an admin confirms its enrolment first' };
  }
  return mac.present_volume === null ? { mac, because: 'its Mac has not checked in yet' } : { mac, because: null };
}

/** Whether what others brought for its serial number may be this Mac's own by its own delivery. */
export async function mayTakeBrought(db: Kysely<Tables>, who: { macId: string; serial: string; confirmed: boolean }): Promise<boolean> {
  return who.confirmed && (await whoseSerial(db, who.serial.trim().toUpperCase())).mac?.id === who.macId;
}

/**
 * After anything that may have changed what becomes of them: finds the place of each key that others had for this Mac, the
 * likeliest first. Nothing is done where nothing was brought.
 */
export async function settleBrought(parts: CustodyParts, tx: Tx, at: number, macId: string): Promise<void> {
  const mac = (await isBroughtForMac(tx, macId)) ? await macById(tx, macId) : undefined;
  if (mac) await settleSerial(parts, tx, at, mac.serial);
}

export async function settleSerial(parts: CustodyParts, tx: Tx, at: number, serial: string): Promise<void> {
  const rows = await broughtFor(tx, serial);
  if (rows.length === 0) return;
  const { mac, because } = await whoseSerial(tx, serial);
  const elsewhere = new Set<string>();
  for (const row of rows) {
    if (mac && because === null && (await isAskedElsewhere(tx, mac, row))) elsewhere.add(row.id);
    else if (row.state === 'offered') await followRecord(tx, at, row);
  }
  for (const row of rows.filter(({ id, state }) => elsewhere.has(id) || state === 'waiting' || state === 'aside')) {
    if (!mac || because !== null) await change(tx, at, row, { state: 'waiting', because: because ?? '' }, null, null);
    else await settleOne(parts, tx, at, mac, row, elsewhere.has(row.id));
  }
}

/** One that was asked about on another volume stays as it is while nothing would be asked about it here. */
async function settleOne(parts: CustodyParts, tx: Tx, at: number, mac: Mac, row: BroughtRow, isElsewhere: boolean): Promise<void> {
  const records = await recordsOfVolume(tx, mac.id, mac.present_volume ?? '');
  const found = records.find((record) => !isOther(record, row) && record.state !== 'quarantined');
  const same = found && (await isLeftBehind(tx, found)) ? undefined : found;
  const placed = placeOf(await placeNow(parts, tx, at, mac, row, records, same));
  if (placed.state === 'offered') return offer(parts, tx, at, mac, row);
  if (!same || (placed.state !== 'known' && placed.state !== 'refuted')) {
    if (!isElsewhere) await change(tx, at, row, placed, mac.id, row.record_id);
    return;
  }
  // One more witness of the key that is here; a stranger's word is none.
  const here = await envelopeOfMac(tx, mac.id, row.envelope_id);
  if (!isUnverified(row.trust) && (!here || isEmpty(here))) await store(parts, tx, at, mac, row);
  await change(tx, at, row, placed, mac.id, same.id);
  await oweForShown(tx, at, mac, row, same.id);
}

/** What came of the proof that was due. */
async function followRecord(tx: Tx, at: number, row: BroughtRow): Promise<void> {
  const record = row.record_id === null ? undefined : await recordById(tx, row.record_id);
  if (!record || record.state === 'candidate') return;
  const isHeld = record.state === 'held' ? (record.proved_at === null ? 'the Mac itself delivered this key' : provedWords) : null;
  const because = record.refuted_at !== null ? refutedWords : (isHeld ?? 'another key of this Mac took its place');
  await change(tx, at, row, { state: record.refuted_at === null ? 'known' : 'refuted', because }, record.mac_id, record.id);
}

const refutedWords = 'the Mac answered twice that this key does not open it';
const provedWords = 'macOS said true to it';

async function change(tx: Tx, at: number, row: BroughtRow, placed: Placed, macId: string | null, recordId: string | null): Promise<void> {
  const { state, because } = placed;
  if (row.state === state && row.state_because === because && row.mac_id === macId && row.record_id === recordId) return;
  await updateBrought(tx, row.id, {
    state,
    state_because: because,
    mac_id: macId,
    record_id: recordId,
    ...(row.state === state ? {} : { state_at: at }),
  });
  if (row.state === state) return;
  await audit(tx, {
    at,
    actor: 'server',
    act: 'brought.settled',
    macId,
    details: { keyId: row.id, serial: row.serial, was: row.state, state, because, recordId },
  });
}

const isOther = (record: KeyRecord, row: BroughtRow): boolean => record.fingerprint === null || record.fingerprint !== row.fingerprint;

async function placeNow(
  parts: CustodyParts,
  tx: Tx,
  at: number,
  mac: Mac,
  row: BroughtRow,
  records: readonly KeyRecord[],
  same: KeyRecord | undefined,
): Promise<Place> {
  const held = records.find((record) => record.state === 'held');
  const proofs = records.filter((record) => isOther(record, row) && (record.proved_at ?? 0) > row.brought_at).map((record) => record.proved_at ?? 0);
  const asked = records.filter((record) => record.state === 'candidate' && isBroughtRecord(record.source) && isOther(record, row));
  return {
    unopened: row.fingerprint === null,
    unverified: isUnverified(row.trust),
    same: same ? { state: same.state, refuted: same.refuted_at !== null } : null,
    held: !held ? 'none' : held.refuted_at !== null ? 'refuted' : held.proved_at !== null ? 'proved' : 'unproved',
    changedSince: (held?.proved_at ?? 0) < (mac.escrow_changed_at ?? 0) && !isFileOurs(parts, mac) && !(await isFileHere(tx, mac)),
    exhausted: isExhausted(mac, records),
    otherProvedAt: proofs.length > 0 ? Math.max(...proofs) : null,
    anotherAsked: asked.some((record) => isUnverified(row.trust) || record.unverified === 0),
    strangerAsked: isUnverified(row.trust) && (await countUnverifiedRecords(tx, mac.id, at - strangerEvery)) > 0,
  };
}

/** What macOS sealed at its last change of the key was delivered. */
export async function isFileHere(db: Kysely<Tables>, mac: Mac): Promise<boolean> {
  const digest = lastFacts(mac)?.escrow.file?.digest;
  return digest !== undefined && (await isOnVolume(db, mac.id, mac.present_volume, digest));
}

/** What macOS sealed at its last change of the key is ours: the Mac delivers it, and it is asked about before what others had (C1). */
function isFileOurs(parts: CustodyParts, mac: Mac): boolean {
  const file = lastFacts(mac)?.escrow.file ?? null;
  return file !== null && isOurs(parts, file);
}

export function isExhausted(mac: Mac, records: readonly KeyRecord[]): boolean {
  const { exhausted_at: at, exhausted_volume: volume, present_volume: present } = mac;
  return at !== null && volume === present && !records.some((record) => record.received_at > at || (record.proved_at ?? 0) > at);
}

/** A row that is not as it was written, or an envelope that another Mac has, becomes no record. */
async function blocksToStore(parts: CustodyParts, tx: Tx, at: number, mac: Mac, row: BroughtRow): Promise<{ blocks: string[] } | { because: string }> {
  if (!isBroughtWhole(parts.secrets, row)) {
    await raise(parts, tx, at, mac.id, 'ROW_TAMPERED', `brought key ${row.id}`);
    return { because: 'its row is not as it was written' };
  }
  if (row.bytes === null) return { because: 'its envelope is not here any more' };
  const blocks = blocksOf(row.bytes);
  const whose = await whoseBlocks(tx, { envelopeId: row.envelope_id, blocks }, { macId: mac.id, serial: row.serial });
  return whose === 'anothers' ? { because: 'its sealed block came in another envelope' } : { blocks };
}

/** It becomes a record of its Mac: K6, and K2 where the key is there already. */
async function offer(parts: CustodyParts, tx: Tx, at: number, mac: Mac, row: BroughtRow): Promise<void> {
  const recordId = await store(parts, tx, at, mac, row);
  if (recordId === null) return;
  // R9 was said in this very act, and what the Mac is offered for it comes after it.
  if (mac.exhausted_at === at) await updateMac(tx, mac.id, { exhausted_at: at - 1 });
  const isHere = (await recordById(tx, recordId))?.volume === mac.present_volume;
  const said = { state: 'known', because: 'it is the key of another volume of this Mac' } as const;
  await change(tx, at, row, isHere ? { state: 'offered', because: 'its Mac is asked about it' } : said, mac.id, recordId);
  await oweForShown(tx, at, mac, row, recordId);
}

/** K9 took its bytes, and others bring them again. What the Mac itself delivered is its own. */
const isEmpty = (envelope: EnvelopeRow): boolean => envelope.bytes === null && envelope.enrolment_id === null;

async function store(parts: CustodyParts, tx: Tx, at: number, mac: Mac, row: BroughtRow): Promise<string | null> {
  const looked = await blocksToStore(parts, tx, at, mac, row);
  if ('because' in looked || row.bytes === null || row.fingerprint === null || mac.present_volume === null) {
    await change(
      tx,
      at,
      row,
      { state: 'waiting', because: 'because' in looked ? looked.because : 'nobody has opened its envelope yet' },
      mac.id,
      row.record_id,
    );
    return null;
  }
  const here = await envelopeOfMac(tx, mac.id, row.envelope_id);
  const before = here && (await recordById(tx, here.record_id));
  const isQuarantined = before?.state === 'quarantined';
  if (here && before && !isQuarantined && !isEmpty(here) && (before.volume === mac.present_volume || before.proved_at !== null || !(await isGuess(tx, before))))
    return before.id;
  // It was delivered when nobody answered for it; now somebody does, and what was delivered before gives no right to it.
  if (isQuarantined) await disownEnvelope(tx, mac.id, row.envelope_id);
  const { rule, recordId } = await acceptKey(parts, tx, at, {
    macId: mac.id,
    hardwareUuid: mac.hardware_uuid,
    volume: mac.present_volume,
    enrolmentId: null,
    envelopeId: row.envelope_id,
    bytes: row.bytes,
    recipient: row.recipient,
    blocks: looked.blocks,
    source: recordSource(row.source),
    rotationId: null,
    validated: 'unknown',
    madeAt: row.made_at ?? row.brought_at,
    found: { kind: 'opened', fingerprint: row.fingerprint },
    unverified: isUnverified(row.trust),
  });
  // A stranger brought it first, and somebody answers for it now.
  if (rule === 'K2' && !isUnverified(row.trust)) await updateRecord(tx, recordId, { unverified: 0 });
  await audit(tx, {
    at,
    actor: row.brought_by,
    act: 'key.stored',
    macId: mac.id,
    details: { envelopeId: row.envelope_id, recordId, rule, source: recordSource(row.source), volume: mac.present_volume, keyId: row.id },
  });
  return recordId;
}
