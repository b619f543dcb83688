import type { CheckInReply, Facts } from '../protocol/messages.ts';
import { stops } from './alarms.ts';
import { mayTakeBrought } from './brought/settle.ts';
import { isBroughtRecord } from './brought/sources.ts';
import { type CustodyParts, day, isoTime, minute } from './custody-parts.ts';
import { type CustodyRows, counts, custodyFrom, isLiving, unresolvedOf } from './custody-state.ts';
import { presentHold } from './holds.ts';
import { makeNonce } from './nonce.ts';
import type { Caller, Tx } from './parts.ts';
import { delayOf } from './policies/delay.ts';
import { answersOf, type KeyNamed, namerOf } from './replies.ts';
import { waitsInRing } from './rings/move.ts';
import { openAlarmsOf } from './store/alarms.ts';
import { broughtEnvelopesAmong } from './store/brought.ts';
import { type Debt, openDebtsOf, orderById } from './store/debts.ts';
import { envelopesAmong, isOnVolume, type KeyRecord, onlyBroughtAmong, ownEnvelopesAmong, recordsOfVolume } from './store/keys.ts';
import type { MacNow } from './store/mac-now.ts';
import { foreignAmong, type Mac, updateMac } from './store/macs.ts';
import { openProofOrdersOf, triesSince } from './store/proofs.ts';
import { openRotationOf } from './store/rotations.ts';
import { waitsAsSaid } from './waits.ts';

/** Named in an answer, newest first: what one machine makes up must not make the answer too large for another. */
const mostCandidates = 32;
/** For how long the tries of a Mac are told: it may make five in this time. */
export const triesFor = 7 * day;

interface Answering {
  caller: Caller;
  facts: Facts;
  /** As all of the check-in has left it. */
  now: MacNow;
  offers: readonly string[];
  confirmed: CheckInReply['confirmed'];
}

export async function answer(parts: CustodyParts, tx: Tx, at: number, { caller, facts, now, offers, confirmed }: Answering): Promise<CheckInReply> {
  const { macId, enrolmentId } = caller;
  const { mac, open } = now;
  const { volume } = facts;
  const wanted = await wantedOf(tx, caller, now, offers, volume);
  const records = await livingRecords(tx, now, volume);
  const rotation = open.rotation ? await openRotationOf(tx, macId) : undefined;
  const alarms = open.alarms ? await openAlarmsOf(tx, macId) : [];
  const custody = custodyFrom(parts, mac, await custodyRows(tx, { now, facts, records, rotation, alarms }), at);
  const hold = open.shown ? await presentHold(parts, tx, at, macId, volume) : null;
  const nameKey = namerOf(tx, now.held);
  const proofOrders = open.proofOrders ? await proofOrdersFor(tx, at, mac, records, nameKey) : { due: [], later: [] };
  const waits = open.ring ? await waitsInRing(tx, macId) : null;
  const debts = open.debts ? await openDebtsOf(tx, macId, volume) : [];
  // Of what is paid nothing waits any more.
  if (debts.length === 0 && mac.waits !== null) await updateMac(tx, macId, { waits: null });
  const delay = await delayOf(tx, at, macId, debts);
  const later = [...proofOrders.later, ...(delay ? [delay.until] : []), ...(hold && debts.length > 0 ? [hold.until] : [])];
  return {
    serverTime: isoTime(at),
    macId,
    enrolmentId,
    custody: custody.state,
    because: custody.because,
    wanted,
    held: now.held && (await nameKey(now.held.record)),
    candidates: await Promise.all(
      records
        .filter((record) => record.state === 'candidate' && counts(record))
        .slice(0, mostCandidates)
        .map(nameKey),
    ),
    confirmed,
    // What waits for our payload, or for its policy, is not told: it would be refused.
    debts: waits === null && delay === null ? await debtsFor(tx, debts) : [],
    withheld: waits ?? delay?.because ?? null,
    waits: debts.length === 0 ? null : waitsAsSaid(mac),
    hold: hold && { since: isoTime(hold.since), until: isoTime(hold.until), because: hold.because },
    proofOrders: proofOrders.due,
    answers: await answersOf(tx, records, now.held),
    tries: open.tries ? (await triesSince(tx, macId, at - triesFor)).map(isoTime) : [],
    recipients: parts.certificates.map((certificate) => certificate.digest),
    rotation: rotation ? { id: rotation.id, begunAt: isoTime(rotation.begun_at) } : null,
    grantNonce: makeNonce(parts.secrets.nonce, 'grant', at, macId),
    alarms: alarms.filter(stops).map((alarm) => alarm.code),
    buildWorks: now.build !== null,
    nextCheckInSeconds: Math.max(1, Math.ceil(Math.min(parts.settings.checkInMinutes * minute, ...later.map((time) => time - at)) / 1000)),
    spreadSeconds: parts.settings.spreadSeconds,
    ...(parts.settings.waitSeconds > 0 ? { waitSeconds: parts.settings.waitSeconds } : {}),
  };
}

/** Of the volume, newest first: those that may be the valid key. */
async function livingRecords(tx: Tx, { mac, held, open }: MacNow, volume: string): Promise<KeyRecord[]> {
  if (open.candidates) return (await recordsOfVolume(tx, mac.id, volume)).filter(isLiving);
  return held ? [held.record] : [];
}

async function custodyRows(
  tx: Tx,
  {
    now,
    facts,
    records,
    rotation,
    alarms,
  }: { now: MacNow; facts: Facts; records: readonly KeyRecord[]; rotation: CustodyRows['open']; alarms: CustodyRows['alarms'] },
): Promise<CustodyRows> {
  const { mac, held } = now;
  const living = records.filter(counts);
  const heldEnvelopes = living.some((record) => record.id === held?.record.id) ? (held?.envelopes ?? []) : [];
  return { living, heldEnvelopes, open: rotation, unresolved: await unresolvedOf(tx, mac), delivered: await isFileHere(tx, now, facts), alarms };
}

/** Whether macOS's escrow file has come; not asked where it has not changed. */
async function isFileHere(tx: Tx, { mac, held }: MacNow, { escrow, volume }: Facts): Promise<boolean> {
  const file = escrow.file?.digest;
  if (file === undefined || mac.escrow_changed_at === null) return false;
  return (held?.envelopes.some(({ id, mac_id: macId }) => id === file && macId === mac.id) ?? false) || (await isOnVolume(tx, mac.id, volume, file));
}

/** Those of its offers that are neither here by its own delivery, nor somebody else's, nor what others brought for a Mac that it may not be. */
async function wantedOf(tx: Tx, { macId, confirmed }: Caller, { mac, held }: MacNow, offered: readonly string[], volume: string): Promise<string[]> {
  const isHeld = (id: string): boolean =>
    held?.envelopes.some((envelope) => envelope.id === id && envelope.mac_id === macId && envelope.enrolment_id !== null) ?? false;
  const unsure = [...new Set(offered)].filter((id) => !isHeld(id));
  const own = await ownEnvelopesAmong(tx, macId, unsure);
  const offers = unsure.filter((id) => !own.has(id));
  if (offers.length === 0) return [];
  const known = new Set([...(await envelopesAmong(tx, macId, offers)), ...(await foreignAmong(tx, macId, offers))]);
  if (confirmed) for (const { id } of await onlyBroughtAmong(tx, macId, offers, volume)) known.delete(id);
  // Others brought them for its serial number: they are its own when it is beyond doubt that it is that Mac.
  const brought = await broughtEnvelopesAmong(tx, offers);
  if (brought.length > 0 && !(await mayTakeBrought(tx, { macId, serial: mac.serial, confirmed }))) for (const id of brought) known.add(id);
  return offers.filter((id) => !known.has(id));
}

async function debtsFor(tx: Tx, open: readonly Debt[]): Promise<CheckInReply['debts']> {
  const debts: CheckInReply['debts'] = [];
  for (const debt of open) {
    const order = debt.order_id === null ? undefined : await orderById(tx, debt.order_id);
    debts.push({
      id: debt.id,
      because: debt.because as CheckInReply['debts'][number]['because'],
      since: isoTime(debt.opened_at),
      orderId: debt.order_id,
      withoutLogin: order?.without_login === 1,
    });
  }
  return debts;
}

/** Those that are due, and when the others will be: the Mac comes back for them. */
async function proofOrdersFor(
  tx: Tx,
  at: number,
  { id: macId, escrow_changed_at: changedAt }: Mac,
  records: readonly KeyRecord[],
  nameKey: (record: KeyRecord) => Promise<KeyNamed>,
): Promise<{ due: CheckInReply['proofOrders']; later: number[] }> {
  const due: CheckInReply['proofOrders'] = [];
  const later: number[] = [];
  for (const order of await openProofOrdersOf(tx, macId)) {
    const record = records.find((one) => one.id === order.record_id && (one.state === 'held' || one.state === 'candidate'));
    if (!record) continue;
    if (order.not_before > at) {
      later.push(order.not_before);
      continue;
    }
    const { recordId, envelopeIds } = await nameKey(record);
    due.push({ id: order.id, recordId, envelopeIds });
  }
  // macOS writes its file when it makes a key: since then a key that others brought is likelier than one that was proved before.
  const isBrought = due.some(({ recordId }) =>
    records.some((one) => one.id === recordId && one.state === 'candidate' && one.unverified === 0 && isBroughtRecord(one.source)),
  );
  const old = records.find((one) => one.state === 'held' && (one.proved_at ?? 0) < (changedAt ?? 0))?.id;
  // What strangers say comes last: each wrong key costs a try, and each that is given costs the day.
  const unverified = new Set(records.filter((one) => one.unverified === 1).map(({ id }) => id));
  const rank = ({ recordId }: { recordId: string }) => (unverified.has(recordId) ? 2 : isBrought && recordId === old ? 1 : 0);
  return { due: due.toSorted((one, other) => rank(one) - rank(other)), later };
}
