import type { Kysely } from 'kysely';
import type { Facts } from '../../protocol/messages.ts';
import { raise, settle } from '../alarms.ts';
import { audit } from '../audit.ts';
import { type CustodyParts, day, hour, isoTime } from '../custody-parts.ts';
import { custodyNow, isFileOurs } from '../custody-state.ts';
import { orderRotationIn } from '../orders.ts';
import type { Tx } from '../parts.ts';
import { orderProof } from '../proofs.ts';
import { orderById } from '../store/debts.ts';
import { envelopesOfRecord, type KeyRecord, recordsOfVolume } from '../store/keys.ts';
import { type Mac, macById } from '../store/macs.ts';
import { macsOfRing, macsStandingStill, openRingOf, openStates, type Ring, type RingMac, updateRing, updateRingMac } from '../store/rings.ts';
import { rotationsOf } from '../store/rotations.ts';
import { buildName, readMemory } from '../store/upkeep.ts';
import type { Tables } from '../tables.ts';
import { macosMakesTheKey, settingsDisagree } from './judge.ts';

/*
 * A Mac on its way from the MDM's payload to ours. We change no profile (C4): the MDM admin does, and this watches. Until our
 * payload is seen nothing is replaced; afterwards what moved it is macOS's own word: a key that is sealed to us and answered `true`.
 */

/** macOS 26 writes its new escrow file within seconds; where it made none, the key has to be replaced by an order. */
const macosTakes = hour;

/** Why nothing is replaced on this Mac now, or null: it waits for its payload. */
export async function waitsInRing(tx: Tx, macId: string): Promise<string | null> {
  const found = await openRingOf(tx, macId);
  if (found?.ring.state !== 'moving' || found.mac.state !== 'waiting') return null;
  return `ring ${found.ring.name}: ${found.mac.because}`;
}

const waitingWords: Record<Facts['escrow']['payload'], string> = {
  ours: 'its payload is ours',
  foreign: 'its payload is still somebody else’s: the MDM admin takes that profile away and installs ours',
  none: 'it has no escrow payload, so new keys would go nowhere: the MDM admin installs ours',
  several: 'it has more than one escrow payload: the MDM admin takes theirs away',
  unknown: 'whose escrow payload it has could not be read at its last check-in',
};

/** At each check-in, after what the Mac reported was taken. */
export async function settleRing(parts: CustodyParts, tx: Tx, at: number, macId: string, facts: Facts): Promise<void> {
  const found = await openRingOf(tx, macId);
  if (found?.ring.state !== 'moving') return;
  const { ring } = found;
  const { payload } = facts.escrow;
  let { mac } = found;
  if (mac.state === 'waiting') {
    if (payload !== 'ours') return say(tx, mac, waitingWords[payload]);
    mac = await become(tx, at, ring, mac, 'proving', 'its payload is ours');
  } else if (payload !== 'ours' && payload !== 'unknown') {
    await become(tx, at, ring, mac, 'waiting', waitingWords[payload]);
    return;
  }
  if (payload === 'unknown') return say(tx, mac, waitingWords.unknown);
  const present = await macById(tx, macId);
  if (present) await prove(parts, tx, at, ring, mac, present, facts);
}

async function say(tx: Tx, mac: RingMac, because: string): Promise<void> {
  if (mac.because !== because) await updateRingMac(tx, mac, { because });
}

/** `state` with its audit; `state_at` is since when. */
export async function become(tx: Tx, at: number, ring: Ring, mac: RingMac, state: RingMac['state'], because: string, actor = 'server'): Promise<RingMac> {
  const values = { state, state_at: at, because };
  await updateRingMac(tx, mac, values);
  await settle(tx, at, mac.mac_id, 'RING_STUCK', stuckWords(ring.name, mac), `it is ${state}: ${because}`);
  await audit(tx, { at, actor, act: `ring.${state}`, macId: mac.mac_id, details: { ring: ring.name, was: mac.state, because } });
  return { ...mac, ...values };
}

const stuckWords = (ring: string, { state, state_at: since }: Pick<RingMac, 'state' | 'state_at'>): string => `ring ${ring}: ${state} since ${isoTime(since)}`;

/** Somebody has to do something at the MDM, or at the Mac: nobody waits for ever for what was begun. */
export async function alarmStuckRings(parts: CustodyParts, tx: Tx, at: number): Promise<void> {
  for (const mac of await macsStandingStill(tx, at - parts.ringDays * day)) await raise(parts, tx, at, mac.mac_id, 'RING_STUCK', stuckWords(mac.name, mac));
}

/** A ring that every Mac was taken out of was not rolled back by anybody: nothing of it went on, and nothing is to be undone at the MDM. */
export const stateOfRing = (ring: Pick<Ring, 'state'>, macs: readonly Pick<RingMac, 'state'>[]): Ring['state'] | 'dropped' =>
  ring.state === 'rolled-back' && macs.length > 0 && macs.every(({ state }) => state === 'left') ? 'dropped' : ring.state;

/** The ring is done when no Mac of it is on its way any more. */
export async function endIfDone(tx: Tx, at: number, ring: Ring): Promise<void> {
  const macs = await macsOfRing(tx, ring.id);
  if (ring.state !== 'moving' || macs.some(({ state }) => openStates.includes(state))) return;
  const moved = macs.filter(({ state }) => state === 'moved').length;
  const ended = { ...ring, state: moved > 0 ? ('moved' as const) : ('rolled-back' as const) };
  await updateRing(tx, ring.id, { state: ended.state, ended_at: at });
  await audit(tx, { at, actor: 'server', act: 'ring.ended', details: { ring: ring.name, as: stateOfRing(ended, macs), moved, left: macs.length - moved } });
}

async function prove(parts: CustodyParts, tx: Tx, at: number, ring: Ring, row: RingMac, mac: Mac, facts: Facts): Promise<void> {
  const disagree = settingsDisagree(facts);
  if (disagree !== null) return say(tx, row, disagree);
  const records = await recordsOfVolume(tx, mac.id, facts.volume);
  const held = records.find((record) => record.state === 'held');
  const { file } = facts.escrow;
  const fileOurs = file !== null && isFileOurs(parts, file);
  const rotation = (await rotationsOf(tx, mac.id, 1)).find((one) => one.begun_at >= row.state_at && one.escrow_payload === 'ours');
  const provedSince = held !== undefined && (held.proved_at ?? 0) >= row.state_at;
  const isSealedToUs = held !== undefined && fileOurs && (await isWitness(tx, held, file.digest));
  const custody = await custodyNow(parts, tx, mac, at);

  if (provedSince && isSealedToUs && custody.state === 'held') {
    await become(tx, at, ring, row, 'moved', `macOS sealed its key to us and said true to it on ${isoTime(held.proved_at ?? at)}`);
    return endIfDone(tx, at, ring);
  }
  if (rotation?.state === 'begun') return say(tx, row, `its key is being replaced since ${isoTime(rotation.begun_at)}`);
  if (fileOurs && !isSealedToUs) return say(tx, row, await sayNewKey(parts, tx, records, file.digest));
  if (!held) return say(tx, row, 'no key of it is held here: import its present key, or have its user run `sudo sparekey adopt`');
  if (held.refuted_at !== null)
    return say(tx, row, 'the Mac answered twice that the held key does not open it: import its present key, or have its user run `sudo sparekey adopt`');
  if (!provedSince) {
    await orderProof(parts, tx, at, held, 'another escrow payload');
    return say(tx, row, `the held key is asked about: ${sayAsking(parts)}`);
  }
  if (fileOurs) return say(tx, row, `custody is ${custody.state}: ${custody.because}`);
  if (rotation?.state === 'done') return say(tx, row, 'its key was replaced, and macOS has not sealed the new one to us: is our payload whole?');
  if (macosMakesTheKey(facts) && at - row.state_at < macosTakes) return say(tx, row, 'macOS is given an hour to make a key for our payload');
  await orderOnce(parts, tx, at, ring, row);
  const waits = await whyOrderWaits(tx, facts);
  await say(tx, row, `the held key is valid under our payload; its one replacement is ordered${waits === null ? '' : `, but ${waits}`}`);
}

/** What the Mac's own gates will say to the order, as far as it is known here. */
export async function whyOrderWaits(tx: Kysely<Tables>, facts: Facts): Promise<string | null> {
  if ((facts.foreignChanges?.times.length ?? 0) >= 2) return 'somebody else changed its key twice in 14 days: part the two rotators';
  if (facts.capability === 'refused') return 'its build of macOS does not take the key itself as authority: have its user run `sudo sparekey adopt`';
  if (facts.capability === 'unknown' && (await readMemory(tx, buildName(facts.macosBuild))) === null)
    return `no Mac has replaced its key on build ${facts.macosBuild} yet: it waits unless this Mac is a pilot`;
  return null;
}

const isWitness = async (tx: Tx, held: KeyRecord, digest: string): Promise<boolean> =>
  (await envelopesOfRecord(tx, held.id)).some((envelope) => envelope.id === digest);

/** Whoever runs the backend sealed waits for a passphrase, and not for a login. A Mac that keeps its key itself can answer all the same. */
const sayAsking = (parts: CustodyParts): string =>
  parts.canOpen ? 'somebody has to be logged in' : 'somebody has to be logged in, and this backend is sealed: it gives no Mac a key to ask about';

/** macOS has sealed a key to us: where is it? */
async function sayNewKey(parts: CustodyParts, tx: Tx, records: readonly KeyRecord[], digest: string): Promise<string> {
  for (const record of records) {
    if (!(await isWitness(tx, record, digest))) continue;
    return record.state === 'candidate' ? `its new key is here and is asked about: ${sayAsking(parts)}` : `its new key is here, and ${record.state}`;
  }
  return 'macOS has sealed a key to us, and it has not come yet';
}

/** One order, and another only where nobody could carry it out in its time. Under our payload the old key authorises its own end. */
async function orderOnce(parts: CustodyParts, tx: Tx, at: number, ring: Ring, row: RingMac): Promise<void> {
  const before = row.order_id === null ? undefined : await orderById(tx, row.order_id);
  if (before?.state !== 'waiting') {
    const order = { actor: ring.created_by, reason: `ring ${ring.name}: ${ring.reason}`, withoutLogin: false, overrideHold: false };
    const { orderId } = await orderRotationIn(parts, tx, at, { macId: row.mac_id, ...order });
    await updateRingMac(tx, row, { order_id: orderId });
  }
}
