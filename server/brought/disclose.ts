import { Problem } from '../../protocol/problems.ts';
import type { RecoveryKey } from '../../protocol/recovery-key.ts';
import { raise } from '../alarms.ts';
import { audit } from '../audit.ts';
import type { CustodyParts } from '../custody-parts.ts';
import { rowsOf } from '../custody-state.ts';
import type { Tx } from '../parts.ts';
import { type BroughtRow, broughtFor, updateBrought } from '../store/brought.ts';
import { macsWithSerial } from '../store/macs.ts';
import { isBroughtWhole } from './row.ts';
import { broughtShown } from './shown.ts';
import { isUnverified } from './sources.ts';
import { openTask } from './tasks.ts';

export interface BroughtDisclosing {
  serial: string;
  actor: string;
  reason: string;
  /** Ids of brought keys that were shown and did not open the Mac. */
  refused?: readonly string[];
}

export interface BroughtDisclosed {
  key: RecoveryKey;
  keyId: string;
  source: string;
  /** When its source says that it was escrowed, milliseconds. */
  madeAt: number | null;
  broughtAt: number;
  /** How many more there are if this one is refused. */
  others: number;
  /** Until when somebody has to have it replaced. */
  dueAt: number;
}

/**
 * Shows a key that others had and of which nothing here was ever proved: of a Mac without agent, or one that waits to be
 * confirmed. As for any disclosure (rules 8.1) the audit is written first; nobody but the MDM can replace it, so a task is
 * opened for whoever works there.
 */
export async function discloseBrought(parts: CustodyParts, disclosing: BroughtDisclosing): Promise<BroughtDisclosed> {
  const { actor, reason, refused = [] } = disclosing;
  if (reason.trim() === '') throw new Problem('REASON_MISSING');
  const serial = disclosing.serial.trim().toUpperCase();
  const shown = await parts.act(async (tx, at) => {
    const macs = await macsWithSerial(tx, serial);
    const mac = macs.find((one) => one.serial_proved === 1) ?? macs[0];
    const all = await showable(tx, serial);
    const open = all.filter(({ id }) => !refused.includes(id));
    const [row] = open;
    if (!row) throw new Problem('KEY_UNKNOWN', all.length > 0 ? 'every key that was brought for it was refused' : await whyNone(tx, serial));
    if (mac && (await rowsOf(tx, mac)).living.length > 0) throw new Problem('KEY_UNKNOWN', 'this Mac has keys of its own: they are asked for first');
    await updateBrought(tx, row.id, { disclosed_at: at });
    const details = { keyId: row.id, serial, source: row.source, state: row.state, reason, refused };
    await audit(tx, { at, actor, act: broughtShown, macId: mac?.id ?? null, details });
    const task = await openTask(parts, tx, at, { serial, macId: mac?.id ?? null, because: 'its key was shown, and no agent of this Mac can replace it' });
    return { row, macId: mac?.id ?? null, dueAt: task.due_at, others: open.length - 1 };
  });
  const { row, macId, dueAt, others } = shown;
  const key = await openBrought(parts, row, macId);
  if (typeof key === 'string') {
    await parts.act((tx, at) => audit(tx, { at, actor, act: 'brought.not-shown', macId, details: { keyId: row.id, serial, because: key } }));
    throw new Problem(key === 'no-opener' ? 'CANNOT_OPEN' : key === 'tampered' ? 'ROW_TAMPERED' : 'KEY_UNKNOWN', `brought key ${row.id}`);
  }
  parts.log.info('key-disclosed', { macId, keyId: row.id });
  return { key, keyId: row.id, source: row.source, madeAt: row.made_at, broughtAt: row.brought_at, others, dueAt };
}

/** Somebody answers for it, and the Mac has not refused it. */
const showable = async (tx: Tx, serial: string): Promise<BroughtRow[]> =>
  (await broughtFor(tx, serial)).filter(({ bytes, trust, state }) => bytes !== null && !isUnverified(trust) && state !== 'refuted');

async function whyNone(tx: Tx, serial: string): Promise<string> {
  const rows = await broughtFor(tx, serial);
  if (rows.some(({ trust }) => isUnverified(trust))) return 'a key was brought without a device identity: it is shown once the Mac itself has proved it';
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
