import { createHash, randomUUID } from 'node:crypto';
import { sealerWithBlock } from '../../protocol/envelope.ts';
import { Problem } from '../../protocol/problems.ts';
import { afterAct } from '../after-act.ts';
import { audit } from '../audit.ts';
import type { CustodyParts } from '../custody-parts.ts';
import type { EscrowCertificate, Tx } from '../parts.ts';
import { type BroughtRow, broughtById, broughtFor, broughtWithEnvelope, broughtWithKey, insertBrought, updateBrought } from '../store/brought.ts';
import { recordWithKey } from '../store/keys.ts';
import { macsWithSerial } from '../store/macs.ts';
import { alsoOf, sayAgain } from './again.ts';
import { claimBlocks } from './blocks.ts';
import { type Bringing, type Brought, mostPerAct } from './bringing.ts';
import { closeTasksByBrought } from './new-key.ts';
import { refill } from './refill.ts';
import { broughtMac, isBroughtWhole, raiseTampered } from './row.ts';
import { settleSerial, whoseSerial } from './settle.ts';
import { type BroughtTrust, isUnverified, mdmSources, sourceNames } from './sources.ts';
import { markCopyFresh } from './tasks.ts';

/** Of one serial number that nobody has proved or refuted: what a program makes up must not fill the disk. */
const mostWaiting: Record<BroughtTrust, number> = { none: 3, header: 3, device: 16, mdm: 32, admin: 64 };

/** As serial numbers of Macs are written: no spaces, and no more than the Macs themselves may say. */
const serialForm = /^[A-Z0-9][A-Z0-9-]{0,63}$/;

const refused = (because: string, macId: string | null = null): Brought => ({ fate: 'refused', keyId: null, macId, because });

/** Stores keys that others had, in one act: each is audited, and what became of it is said in its own words. */
export async function bringAll(parts: CustodyParts, bringing: readonly Bringing[]): Promise<Brought[]> {
  if (bringing.length > mostPerAct) throw new RangeError(`more than ${mostPerAct} keys in one act`);
  const opened: Bringing[] = [];
  for (const one of bringing) opened.push(await openIfCan(parts, one));
  return parts.act(async (tx, at) => {
    const kept: (Brought | BroughtRow)[] = [];
    for (const one of opened) kept.push(await keep(parts, tx, at, one));
    const serials = new Set(kept.flatMap((one) => ('serial' in one ? [one.serial] : [])));
    for (const serial of serials) await settleSerial(parts, tx, at, serial);
    for (const one of opened) await noteCopy(parts, tx, at, one);
    const all: Brought[] = [];
    for (const one of kept) all.push('serial' in one ? await fateOf(tx, one.id) : one);
    const counts = { brought: all.length, refused: all.filter(({ fate }) => fate === 'refused').length };
    afterAct(tx, () => parts.log.info('keys-brought', { source: bringing[0]?.source ?? null, ...counts }));
    return all;
  });
}

/** One of them, in somebody else's act. */
export async function bring(parts: CustodyParts, tx: Tx, at: number, bringing: Bringing): Promise<Brought> {
  const kept = await keep(parts, tx, at, bringing);
  if ('serial' in kept) await settleSerial(parts, tx, at, kept.serial);
  await noteCopy(parts, tx, at, bringing);
  return 'serial' in kept ? fateOf(tx, kept.id) : kept;
}

/** C6: what the MDM gave out is the key that is held: its copy is none of old any more. */
async function noteCopy(parts: CustodyParts, tx: Tx, at: number, { serial, key, source, trust }: Bringing): Promise<void> {
  if (!key || isUnverified(trust) || !mdmSources.includes(source)) return;
  const { mac } = await whoseSerial(tx, serial.trim().toUpperCase());
  if (!mac || mac.present_volume === null) return;
  const same = await recordWithKey(tx, mac.id, mac.present_volume, key.fingerprint(parts.secrets.fingerprint));
  if (same?.state === 'held') await markCopyFresh(tx, at, mac.id, sourceNames[source]);
}

/** Opening takes time, and nobody waits for it in an act. Who answers nothing now is asked again later. */
async function openIfCan(parts: CustodyParts, one: Bringing): Promise<Bringing> {
  if (one.key || !one.envelope || !parts.canOpen) return one;
  const opened = await parts.openBytes(one.envelope.bytes);
  return typeof opened === 'string' ? one : { ...one, key: opened };
}

/** The row that was made, or what was said instead. */
async function keep(parts: CustodyParts, tx: Tx, at: number, bringing: Bringing): Promise<BroughtRow | Brought> {
  const serial = bringing.serial.trim().toUpperCase();
  if (!serialForm.test(serial)) return refused('it names no serial number of a Mac');
  const fingerprint = bringing.key?.fingerprint(parts.secrets.fingerprint) ?? null;
  const sealed = seal(parts, bringing);
  if (!sealed) return refused('there is neither a key nor an envelope');
  const twins = bringing.envelope ? await broughtWithEnvelope(tx, sealed.id) : [];
  if (twins.some((twin) => twin.serial !== serial)) return refused('the same envelope was brought for another serial number');
  const before = (fingerprint === null ? undefined : await broughtWithKey(tx, serial, fingerprint)) ?? twins[0];
  const claim = () => claimBlocks(tx, { envelopeId: sealed.id, blocks: sealed.blocks, isNew: !bringing.envelope }, serial, bringing.trust);
  if (before && !isBroughtWhole(parts.secrets, before)) {
    await raiseTampered(parts, tx, at, before);
    return refused('what was brought of it before is not as it was written: look at the alarm', before.mac_id);
  }
  if (before?.bytes === null) {
    const taken = await claim();
    if (taken !== null) return refused(taken);
    const full = await refill(parts, tx, at, before, sealed, bringing.actor);
    return (await sayAgain(parts, tx, at, full, bringing, fingerprint)) ?? full;
  }
  if (before) {
    const known: Brought = { fate: 'known', keyId: before.id, macId: before.mac_id, because: `it was brought before: ${before.state_because}` };
    return (await sayAgain(parts, tx, at, before, bringing, fingerprint)) ?? known;
  }
  const room = await roomFor(tx, serial, bringing);
  if (typeof room === 'string') {
    await audit(tx, { at, actor: bringing.actor, act: 'brought.refused', details: { serial, source: bringing.source, trust: bringing.trust, because: room } });
    return refused(room);
  }
  const taken = await claim();
  if (taken !== null) return refused(taken);
  // Only for one that is kept.
  if (room.goes) await pushOut(tx, at, room.goes);
  const { source, trust, runId, madeAt, actor } = bringing;
  const names = { id: randomUUID(), serial, envelope_id: sealed.id, recipient: sealed.recipient, fingerprint, source, trust };
  const row: BroughtRow = {
    ...names,
    bytes: sealed.bytes,
    row_mac: broughtMac(parts.secrets, names),
    run_id: runId,
    made_at: madeAt,
    brought_at: at,
    brought_by: actor,
    device_id: bringing.deviceId ?? null,
    state: 'waiting',
    state_at: at,
    state_because: 'it has just come',
    mac_id: null,
    record_id: null,
    disclosed_at: null,
    maybe_shown_at: null,
    counts_from: at,
    ...alsoOf(bringing),
  };
  await insertBrought(tx, row);
  const [mac] = await macsWithSerial(tx, serial);
  await audit(tx, {
    at,
    actor,
    act: 'brought.stored',
    macId: mac?.id ?? null,
    details: { keyId: row.id, serial, source, trust, runId, madeAt, envelopeId: sealed.id, opened: fingerprint !== null },
  });
  await closeTasksByBrought(tx, at, row, true);
  return row;
}

/**
 * Where as many wait as may: of what an MDM, a Mac or an admin says the oldest goes, because what came last is the likeliest.
 * What is nobody's word pushes nothing out; a device of the MDM only what it alone has said, because it may say any serial number.
 * Says why there is no room, or which one goes.
 */
async function roomFor(tx: Tx, serial: string, { trust, madeAt, ours, deviceId }: Bringing): Promise<string | { goes: BroughtRow | null }> {
  const waiting = (await broughtFor(tx, serial)).filter(
    (row) => (row.state === 'waiting' || row.state === 'aside') && row.trust === trust && (isUnverified(trust) || row.device_id === (deviceId ?? null)),
  );
  if (waiting.length < mostWaiting[trust]) return { goes: null };
  const full = `${waiting.length} keys of this kind wait for this serial number already`;
  if (isUnverified(trust)) return full;
  // One that a person was shown is remembered.
  const oldest = waiting.findLast((row) => row.disclosed_at === null);
  if (oldest && !ours && (madeAt ?? 0) < (oldest.made_at ?? 0)) return `${full}, and all of them are newer`;
  return { goes: oldest ?? null };
}

async function pushOut(tx: Tx, at: number, oldest: BroughtRow): Promise<void> {
  const because = 'newer keys of this kind came for this serial number';
  await updateBrought(tx, oldest.id, { state: 'withdrawn', state_at: at, state_because: because, bytes: null });
  const details = { keyId: oldest.id, serial: oldest.serial, was: oldest.state, state: 'withdrawn', because };
  await audit(tx, { at, actor: 'server', act: 'brought.settled', macId: oldest.mac_id, details });
}

interface Sealed {
  bytes: Uint8Array;
  id: string;
  recipient: string;
  /** SHA-256 of each encryptedKey block. */
  blocks: readonly string[];
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

function seal(parts: CustodyParts, { key, envelope }: Bringing): Sealed | null {
  if (envelope) {
    const { bytes, recipient, blocks } = envelope;
    // The caller has looked whose it is; what names none of our certificates would be a key that nobody here can ever open.
    if (!parts.certificates.some(({ digest }) => digest === recipient)) throw new Problem('FOREIGN_RECIPIENT');
    return { bytes, recipient, blocks, id: sha256(bytes) };
  }
  const [newest] = parts.certificates;
  if (!key || !newest) return null;
  const sealer = sealers.get(newest) ?? sealerWithBlock(newest.der);
  sealers.set(newest, sealer);
  const { bytes, block } = sealer(key);
  return { bytes, recipient: newest.digest, blocks: [sha256(block)], id: sha256(bytes) };
}

/** The certificates of a backend are read once. */
const sealers = new WeakMap<EscrowCertificate, ReturnType<typeof sealerWithBlock>>();

async function fateOf(tx: Tx, id: string): Promise<Brought> {
  const row = await broughtById(tx, id);
  if (!row) throw new Error('a brought key that was just stored is not there');
  const fate = row.state === 'refuted' || row.state === 'withdrawn' ? 'known' : row.state;
  return { fate, keyId: row.id, macId: row.mac_id, because: row.state_because };
}
