import { createHash, randomUUID } from 'node:crypto';
import { sealerFor } from '../../protocol/envelope.ts';
import { Problem } from '../../protocol/problems.ts';
import { audit } from '../audit.ts';
import type { CustodyParts } from '../custody-parts.ts';
import type { EscrowCertificate, Tx } from '../parts.ts';
import { type BroughtRow, broughtById, broughtFor, broughtWithEnvelope, broughtWithKey, insertBrought, updateBrought } from '../store/brought.ts';
import { recordById, recordWithKey, updateRecord } from '../store/keys.ts';
import { macsWithSerial } from '../store/macs.ts';
import { type Bringing, type Brought, mostPerAct } from './bringing.ts';
import { broughtMac } from './row.ts';
import { settleSerial, whoseSerial } from './settle.ts';
import { type BroughtTrust, isBroughtRecord, isUnverified, mdmSources, recordSource, sourceNames } from './sources.ts';
import { closeTasksByNewKey, markCopyFresh } from './tasks.ts';

/** The weightier word counts for a key that came twice. */
const weight: readonly BroughtTrust[] = ['none', 'header', 'device', 'mdm', 'admin'];

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
    parts.log.info('keys-brought', { source: bringing[0]?.source ?? null, ...counts });
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
  if (before) return again(parts, tx, at, before, bringing, fingerprint);
  const waiting = (await broughtFor(tx, serial)).filter(({ state, trust }) => (state === 'waiting' || state === 'aside') && trust === bringing.trust);
  if (waiting.length >= mostWaiting[bringing.trust]) {
    const because = `${waiting.length} keys of this kind wait for this serial number already`;
    await audit(tx, { at, actor: bringing.actor, act: 'brought.refused', details: { serial, source: bringing.source, trust: bringing.trust, because } });
    return refused(because);
  }
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
    state: 'waiting',
    state_at: at,
    state_because: 'it has just come',
    mac_id: null,
    record_id: null,
    disclosed_at: null,
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
  await closeTasksByNewKey(tx, at, { serial, trust, madeAt });
  return row;
}

interface Sealed {
  bytes: Uint8Array;
  id: string;
  recipient: string;
}

function seal(parts: CustodyParts, { key, envelope }: Bringing): Sealed | null {
  const named = (bytes: Uint8Array, recipient: string): Sealed => ({ bytes, recipient, id: createHash('sha256').update(bytes).digest('hex') });
  if (envelope) {
    // The caller has looked whose it is; what names none of our certificates would be a key that nobody here can ever open.
    if (!parts.certificates.some(({ digest }) => digest === envelope.recipient)) throw new Problem('FOREIGN_RECIPIENT');
    return named(envelope.bytes, envelope.recipient);
  }
  const [newest] = parts.certificates;
  if (!key || !newest) return null;
  const sealer = sealers.get(newest) ?? sealerFor(newest.der);
  sealers.set(newest, sealer);
  return named(sealer(key), newest.digest);
}

/** The certificates of a backend are read once. */
const sealers = new WeakMap<EscrowCertificate, ReturnType<typeof sealerFor>>();

/** The same key for the same serial number: nothing is stored twice; a weightier word makes it count for more. */
async function again(
  parts: CustodyParts,
  tx: Tx,
  at: number,
  before: BroughtRow,
  { trust, source, runId, madeAt, actor }: Bringing,
  fingerprint: string | null,
): Promise<BroughtRow | Brought> {
  const isWeightier = weight.indexOf(trust) > weight.indexOf(before.trust);
  const newer = madeAt !== null && madeAt > (before.made_at ?? 0) ? { made_at: madeAt } : {};
  if (isWeightier || (before.fingerprint === null && fingerprint !== null)) {
    const names = { ...before, ...(isWeightier ? { trust, source } : {}), fingerprint: before.fingerprint ?? fingerprint };
    const now = { trust: names.trust, source: names.source, fingerprint: names.fingerprint, row_mac: broughtMac(parts.secrets, names) };
    await updateBrought(tx, before.id, { ...now, ...newer, ...(isWeightier ? { run_id: runId, brought_by: actor } : {}) });
    await audit(tx, {
      at,
      actor,
      act: 'brought.again',
      macId: before.mac_id,
      details: { keyId: before.id, serial: before.serial, source, trust, was: before.trust, runId },
    });
    if (isWeightier) await vouch(tx, before, { trust, source });
    return { ...before, ...now };
  }
  if (newer.made_at !== undefined) await updateBrought(tx, before.id, newer);
  return { fate: 'known', keyId: before.id, macId: before.mac_id, because: `it was brought before: ${before.state_because}` };
}

/** A stranger brought it first, and now somebody answers for it: its record counts from now on. */
async function vouch(tx: Tx, { record_id: recordId }: BroughtRow, { trust, source }: Pick<Bringing, 'trust' | 'source'>): Promise<void> {
  const record = recordId === null ? undefined : await recordById(tx, recordId);
  if (!record || !isBroughtRecord(record.source)) return;
  await updateRecord(tx, record.id, { source: recordSource(source), ...(isUnverified(trust) ? {} : { unverified: 0 }) });
}

async function fateOf(tx: Tx, id: string): Promise<Brought> {
  const row = await broughtById(tx, id);
  if (!row) throw new Error('a brought key that was just stored is not there');
  const fate = row.state === 'refuted' || row.state === 'withdrawn' ? 'known' : row.state;
  return { fate, keyId: row.id, macId: row.mac_id, because: row.state_because };
}
