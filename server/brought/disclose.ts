import type { Kysely } from 'kysely';
import { Problem } from '../../protocol/problems.ts';
import type { RecoveryKey } from '../../protocol/recovery-key.ts';
import { raise } from '../alarms.ts';
import { audit, broughtShown } from '../audit.ts';
import type { CustodyParts } from '../custody-parts.ts';
import { lastFacts, rowsOf } from '../custody-state.ts';
import type { Tx } from '../parts.ts';
import { type BroughtRow, broughtFor, updateBrought } from '../store/brought.ts';
import { type Mac, macsWithSerial } from '../store/macs.ts';
import type { Tables } from '../tables.ts';
import { isBroughtWhole } from './row.ts';
import { isKnownMac } from './serial.ts';
import { isUnverified } from './sources.ts';
import { onlyByMdm, openTask } from './tasks.ts';

export interface BroughtDisclosing {
  serial: string;
  actor: string;
  reason: string;
  /** Ids of brought keys, and of the Mac's own, that were shown and did not open the Mac. */
  refused?: readonly string[];
  /** More of what the audit keeps beside it. */
  more?: Readonly<Record<string, unknown>>;
  /** More of the same transaction, before anything of this view is written: what it throws refuses it. */
  before?: (tx: Tx, at: number) => Promise<void>;
  /** More of the same transaction, when it is written; `macId`: the Mac that has this number by more than its own word. */
  after?: (tx: Tx, at: number, view: { keyId: string; macId: string | null }) => Promise<void>;
}

export interface BroughtDisclosed {
  key: RecoveryKey;
  keyId: string;
  /** Server time of the disclosure, milliseconds. */
  at: number;
  source: string;
  /** When its source says that it was escrowed, milliseconds. */
  madeAt: number | null;
  broughtAt: number;
  /** How many more there are if this one is refused. */
  others: number;
  /** Until when somebody has to have it replaced at the MDM; null where the Mac's agent replaces it once it has said `true` to it. */
  dueAt: number | null;
  /** Macs that only claim this serial number, and have keys of their own: whoever means one of them names it by its id. */
  claimers: string[];
}

/**
 * Shows a key that others had and of which nothing here was ever proved: of a Mac without agent, one that waits to be confirmed,
 * or one all of whose own keys were refused. As for any disclosure the audit is written first; where nobody but the MDM
 * can replace it, a task is opened for whoever works there.
 */
export async function discloseBrought(parts: CustodyParts, disclosing: BroughtDisclosing): Promise<BroughtDisclosed> {
  const { actor, reason, refused = [] } = disclosing;
  if (reason.trim() === '') throw new Problem('REASON_MISSING');
  const serial = disclosing.serial.trim().toUpperCase();
  const shown = await parts.act(async (tx, at) => {
    await disclosing.before?.(tx, at);
    const { mac, living, claimers } = await macsOf(tx, serial);
    const all = (await showable(tx, serial)).filter(({ state }) => living.length === 0 || state === 'waiting' || state === 'aside');
    const open = all.filter(({ id }) => !refused.includes(id));
    const [row] = open;
    if (!row) throw new Problem('KEY_UNKNOWN', all.length > 0 ? 'every key that was brought for it was refused' : await whyNone(tx, serial));
    if (living.some((id) => !refused.includes(id))) throw new Problem('KEY_UNKNOWN', 'this Mac has keys of its own: they are asked for first');
    await updateBrought(tx, row.id, { disclosed_at: at, maybe_shown_at: null });
    const details = { keyId: row.id, serial, source: row.source, state: row.state, reason, refused, ...disclosing.more };
    await audit(tx, { at, actor, act: broughtShown, macId: mac?.id ?? null, details });
    // Without a key of its own here there is nothing that its agent could replace it with, whatever its settings say.
    const notOurs = living.length === 0 ? 'no agent of this Mac can replace it' : onlyByMdm(mac && lastFacts(mac));
    const because = `its key was shown, and ${notOurs}`;
    const task = notOurs === null ? null : await openTask(parts, tx, at, { serial, macId: mac?.id ?? null, because });
    await disclosing.after?.(tx, at, { keyId: row.id, macId: mac?.id ?? null });
    return { row, at, macId: mac?.id ?? null, dueAt: task?.due_at ?? null, others: open.length - 1, claimers };
  });
  const { row, at, macId, dueAt, others, claimers } = shown;
  const key = await openBrought(parts, row, macId);
  if (typeof key === 'string') {
    await parts.act((tx, at) => audit(tx, { at, actor, act: 'brought.not-shown', macId, details: { keyId: row.id, serial, because: key } }));
    throw new Problem(key === 'no-opener' ? 'CANNOT_OPEN' : key === 'tampered' ? 'ROW_TAMPERED' : 'KEY_UNKNOWN', `brought key ${row.id}`);
  }
  parts.log.info('key-disclosed', { macId, keyId: row.id });
  return { key, keyId: row.id, at, source: row.source, madeAt: row.made_at, broughtAt: row.brought_at, others, dueAt, claimers };
}

interface MacsOfSerial {
  /** The one that has this number by more than its own word. */
  mac: Mac | null;
  /** Its own keys: they are asked for first. */
  living: string[];
  claimers: string[];
}

/** A Mac that only says that it has this number keeps nobody from the key that others had for it. */
async function macsOf(db: Kysely<Tables>, serial: string): Promise<MacsOfSerial> {
  const found: MacsOfSerial = { mac: null, living: [], claimers: [] };
  const macs = await macsWithSerial(db, serial);
  for (const mac of macs.toSorted((one, other) => other.serial_proved - one.serial_proved)) {
    const own = (await rowsOf(db, mac)).living.map(({ id }) => id);
    if (await isKnownMac(db, mac)) {
      found.mac ??= mac;
      found.living.push(...own);
    } else if (own.length > 0) found.claimers.push(mac.id);
  }
  return found;
}

/** For a serial number as a person says it: whether what others brought for it comes before, or after, what a Mac of it has here. */
export async function broughtBeside(db: Kysely<Tables>, serial: string): Promise<'first' | 'after' | null> {
  const rows = await showable(db, serial);
  const { living } = await macsOf(db, serial);
  if (living.length === 0) return rows.length > 0 ? 'first' : null;
  return rows.some(({ state }) => state === 'waiting' || state === 'aside') ? 'after' : null;
}

/** Somebody answers for it, and the Mac has not refused it. */
const showable = async (tx: Kysely<Tables>, serial: string): Promise<BroughtRow[]> =>
  (await broughtFor(tx, serial)).filter(({ bytes, trust, state }) => bytes !== null && !isUnverified(trust) && state !== 'refuted');

async function whyNone(tx: Tx, serial: string): Promise<string> {
  const rows = await broughtFor(tx, serial);
  if (rows.some(({ trust }) => isUnverified(trust))) return 'a key was brought without a device identity: it is shown once the Mac itself has proved it';
  if (rows.some(({ state }) => state !== 'refuted')) return 'what was brought for it is among the Mac’s own keys by now, and is shown as one of those';
  return rows.length > 0 ? 'the Mac refused every key that was brought for it' : 'no key was brought for it';
}

/** A row that is not as it was written is not opened. */
export async function openBrought(parts: CustodyParts, row: BroughtRow, macId: string | null): Promise<RecoveryKey | 'tampered' | 'no-opener' | 'unreadable'> {
  const opened = row.bytes !== null && isBroughtWhole(parts.secrets, row) ? await parts.openBytes(row.bytes) : 'tampered';
  const isRight = typeof opened === 'object' && (row.fingerprint === null || opened.fingerprint(parts.secrets.fingerprint) === row.fingerprint);
  if (opened !== 'tampered' && (typeof opened === 'string' || isRight)) return opened;
  await parts.act((tx, at) => raise(parts, tx, at, macId, 'ROW_TAMPERED', `brought key ${row.id}`));
  return 'tampered';
}
