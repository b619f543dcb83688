import { createHash } from 'node:crypto';
import { RecoveryKey } from '../../protocol/recovery-key.ts';
import { acceptKey } from '../accept-key.ts';
import { raise } from '../alarms.ts';
import { audit } from '../audit.ts';
import { bring } from '../brought/bring.ts';
import { lookAtEnvelope } from '../brought/envelopes.ts';
import { recordSource } from '../brought/sources.ts';
import { markCopyFresh } from '../brought/tasks.ts';
import { type CustodyParts, day, hour } from '../custody-parts.ts';
import { lastFacts } from '../custody-state.ts';
import type { Tx } from '../parts.ts';
import { broughtBlocksAmong, broughtWithKey, noteBroughtBlocks } from '../store/brought.ts';
import { envelopeOfMac, envelopesOfRecord, type KeyRecord, keyBlocksAmong, recordsOfVolume, recordWithKey } from '../store/keys.ts';
import { type Mac, noteForeignFile } from '../store/macs.ts';
import { deviceById, isKeyOfAnother, type MdmDevice } from '../store/mdm.ts';
import { openRotationOf } from '../store/rotations.ts';
import { type Standing, saidOf, standingOf } from './device.ts';
import type { Because } from './fates.ts';

/** The envelope of a SecurityInfo, with what was found in it before anything was written. */
export type LookedKey =
  | { kind: 'none' }
  | { kind: 'not-an-envelope' }
  | { kind: 'foreign'; envelopeId: string; recipient: string | null }
  | {
      kind: 'ours';
      envelope: { bytes: Buffer; recipient: string; blocks: string[] };
      envelopeId: string;
      opened: RecoveryKey | 'unreadable' | 'no-opener' | Because;
    };

/** As many of a device in a day, and no further one is opened. */
const mostUnreadable = 3;
/** An old envelope that was on its way while the key was replaced is no disagreement. */
const onItsWay = hour;

export async function lookAtKey(parts: CustodyParts, deviceId: string, bytes: Buffer | null): Promise<LookedKey> {
  if (bytes === null) return { kind: 'none' };
  const looked = lookAtEnvelope(bytes, parts.certificates);
  const envelopeId = createHash('sha256').update(bytes).digest('hex');
  if (looked.kind === 'unreadable') return { kind: 'not-an-envelope' };
  if (looked.kind === 'foreign') return { kind: 'foreign', envelopeId, recipient: looked.recipient };
  const envelope = { bytes, recipient: looked.recipient, blocks: looked.blocks };
  const { db } = parts.store;
  const device = await deviceById(db, deviceId);
  const since = parts.clock.now() - day;
  if (device && (saidOf(device).unreadable ?? []).filter((at) => at > since).length >= mostUnreadable)
    return { kind: 'ours', envelope, envelopeId, opened: 'too-many-unreadable' };
  const blocks = await keyBlocksAmong(db, looked.blocks);
  // Whether it is another Mac's is said below, in the act; here it only keeps it from being opened.
  const seen = [...blocks, ...(await broughtBlocksAmong(db, looked.blocks))];
  if (seen.some((block) => block.envelope_id !== envelopeId)) return { kind: 'ours', envelope, envelopeId, opened: 'block-seen-before' };
  return { kind: 'ours', envelope, envelopeId, opened: parts.canOpen ? await parts.openBytes(bytes) : 'no-opener' };
}

/**
 * Whether nobody has brought this envelope before: whoever has bytes of ours, of a backup or a folder that somebody left with,
 * could show them as its own, and be sent what is in them.
 */
export const isFirstToShow = async (tx: Tx, { envelope }: Extract<LookedKey, { kind: 'ours' }>): Promise<boolean> =>
  (await keyBlocksAmong(tx, envelope.blocks)).length === 0 && (await broughtBlocksAmong(tx, envelope.blocks)).length === 0;

export interface KeySaid {
  device: MdmDevice;
  source: 'nanomdm' | 'micromdm';
  /** By the MDM's clock. */
  saidAt: number;
  looked: LookedKey;
}

/** What the key in a SecurityInfo is to us: a second witness of one that is here, another one, or none of ours. */
export async function takeKey(parts: CustodyParts, tx: Tx, at: number, said: KeySaid): Promise<Because> {
  const { looked, device } = said;
  if (looked.kind === 'none') return 'no-key';
  if (looked.kind === 'not-an-envelope') return 'not-an-envelope';
  const standing = await standingOf(tx, device);
  if (looked.kind === 'foreign') return noteForeign(tx, at, standing.mac, looked);
  if (standing.serial === null) return 'serial-unknown';
  const macId = standing.mac?.id ?? null;
  const blocks = await keyBlocksAmong(tx, looked.envelope.blocks);
  // Of what others brought, and no Mac has yet, the serial number says whose it is.
  const brought = blocks.length > 0 ? [] : await broughtBlocksAmong(tx, looked.envelope.blocks);
  if (blocks.some((block) => block.mac_id !== macId) || brought.some((block) => block.serial !== standing.serial?.toUpperCase())) {
    await raise(parts, tx, at, macId, 'ENVELOPE_REUSED', `envelope ${looked.envelopeId}, by the MDM as ${standing.serial}`);
    return 'of-another-mac';
  }
  if (standing.clash !== null && !standing.isAlarm) await raise(parts, tx, at, macId, 'MDM_TWO_MACHINES', standing.clash);
  const { opened } = looked;
  if (opened instanceof RecoveryKey) {
    const because = await takeOpened(parts, tx, at, said, standing, looked.envelopeId, opened, looked.envelope);
    // Of what is not kept the bytes are about all the same: nobody else shall be the first to show them.
    if (blocks.length === 0 && notKept.includes(because))
      await noteBroughtBlocks(
        tx,
        looked.envelope.blocks.map((digest) => ({ digest, serial: standing.serial?.toUpperCase() ?? '', envelope_id: looked.envelopeId })),
      );
    return because;
  }
  if (opened === 'unreadable') {
    await audit(tx, {
      at,
      actor: said.source,
      act: 'mdm.key-unreadable',
      macId,
      details: { deviceId: device.id, serial: standing.serial, envelopeId: looked.envelopeId },
    });
    return 'unreadable';
  }
  if (opened !== 'no-opener') return opened;
  if (macId !== null && (await envelopeOfMac(tx, macId, looked.envelopeId))) return 'same-envelope';
  return bringIt(parts, tx, at, said, standing, null, looked.envelope);
}

const notKept: readonly Because[] = ['same-key', 'older-key', 'key-known', 'key-refused'];

/** K0. */
async function noteForeign(tx: Tx, at: number, mac: Mac | null, { envelopeId, recipient }: { envelopeId: string; recipient: string | null }): Promise<Because> {
  if (mac && (await noteForeignFile(tx, mac.id, envelopeId, recipient, at)))
    await audit(tx, { at, actor: 'mdm', act: 'key.foreign', macId: mac.id, details: { envelopeId, recipient } });
  return 'sealed-to-somebody-else';
}

type Envelope = Extract<LookedKey, { kind: 'ours' }>['envelope'];

async function takeOpened(
  parts: CustodyParts,
  tx: Tx,
  at: number,
  said: KeySaid,
  standing: Standing,
  envelopeId: string,
  key: RecoveryKey,
  envelope: Envelope,
): Promise<Because> {
  const fingerprint = key.fingerprint(parts.secrets.fingerprint);
  const { mac, serial } = standing;
  const volume = mac?.present_volume ?? null;
  const same = mac && volume !== null ? await recordWithKey(tx, mac.id, volume, fingerprint) : undefined;
  if (mac && same && same.unverified === 0) return witness(parts, tx, at, said, mac, same, envelopeId, envelope, key);
  if (!same && !(await broughtWithKey(tx, serial ?? '', fingerprint)) && (await isKeyOfAnother(tx, fingerprint, serial ?? ''))) {
    await raise(parts, tx, at, mac?.id ?? null, 'ENVELOPE_REUSED', `the key in envelope ${envelopeId}, by the MDM as ${serial}, is one of another Mac`);
    return 'of-another-mac';
  }
  const held = mac && volume !== null ? (await recordsOfVolume(tx, mac.id, volume)).find(({ state }) => state === 'held') : undefined;
  // A rotation that is under way makes macOS write another envelope: the agent brings the same key in a moment. And where the
  // MDM is the one that replaces keys, another one is what it does.
  const isExpected = mac !== null && (lastFacts(mac)?.rotator === 'mdm' || (await openRotationOf(tx, mac.id)) !== undefined);
  if (mac && held && held.refuted_at === null && !same && !isExpected)
    await raise(parts, tx, at, mac.id, 'WITNESS_DIFFERS', `the MDM shows another key than record ${held.id}, in envelope ${envelopeId}`);
  return bringIt(parts, tx, at, said, standing, key, envelope);
}

/** K2: what the Mac gave the MDM is what is here. One envelope of the MDM's is kept of each key, however often it shows it. */
async function witness(
  parts: CustodyParts,
  tx: Tx,
  at: number,
  said: KeySaid,
  mac: Mac,
  record: KeyRecord,
  envelopeId: string,
  envelope: Envelope,
  key: RecoveryKey,
): Promise<Because> {
  const { source, saidAt } = said;
  if (record.state === 'superseded' || record.state === 'destroyed') {
    if (saidAt > record.state_at + onItsWay && !(await openRotationOf(tx, mac.id)))
      await raise(parts, tx, at, mac.id, 'WITNESS_DIFFERS', `the MDM shows record ${record.id}, which was superseded`);
    return 'older-key';
  }
  if (record.state === 'held') await markCopyFresh(tx, at, mac.id, source);
  if (await envelopeOfMac(tx, mac.id, envelopeId)) return 'same-envelope';
  const own = recordSource(source);
  if ((await envelopesOfRecord(tx, record.id)).some((one) => one.source === own)) return 'same-key';
  await acceptKey(parts, tx, at, {
    macId: mac.id,
    hardwareUuid: mac.hardware_uuid,
    volume: record.volume,
    enrolmentId: null,
    envelopeId,
    ...envelope,
    source: own,
    rotationId: null,
    validated: 'unknown',
    madeAt: saidAt,
    found: key,
  });
  await audit(tx, {
    at,
    actor: source,
    act: 'mdm.witness',
    macId: mac.id,
    details: { envelopeId, recordId: record.id, deviceId: said.device.id, state: record.state },
  });
  return 'same-key';
}

async function bringIt(
  parts: CustodyParts,
  tx: Tx,
  at: number,
  said: KeySaid,
  standing: Standing,
  key: RecoveryKey | null,
  envelope: Envelope,
): Promise<Because> {
  const { fate } = await bring(parts, tx, at, {
    serial: standing.serial ?? '',
    key,
    envelope,
    source: said.source,
    trust: standing.clash === null ? 'mdm' : 'none',
    runId: null,
    madeAt: said.saidAt,
    actor: said.source,
    deviceId: said.device.id,
  });
  return `key-${fate}`;
}
