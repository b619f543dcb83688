import { Problem } from '../../protocol/problems.ts';
import { stopsTheMac } from '../alarms.ts';
import { audit } from '../audit.ts';
import { whoseSerial } from '../brought/settle.ts';
import { onlyByMdm } from '../brought/tasks.ts';
import { type CustodyParts, day, hour, minute } from '../custody-parts.ts';
import { lastFacts } from '../custody-state.ts';
import { deadlineHours, presentHold } from '../holds.ts';
import { longerEachTime, Unreached } from '../outbound.ts';
import type { Tx } from '../parts.ts';
import { waitsInRing } from '../rings/move.ts';
import { openAlarmsOf } from '../store/alarms.ts';
import { broughtFor } from '../store/brought.ts';
import { type ConnectorMac, connectorMacFor, updateConnectorMac } from '../store/connectors.ts';
import { type Mac, macById, macsWithSerial } from '../store/macs.ts';
import { openRotationOf } from '../store/rotations.ts';
import { activeEnrolmentsOf } from '../store/sessions.ts';
import { oldCopies, openTasks, type Task, taskById } from '../store/tasks.ts';
import { type Asked, type KeySource, Pause } from './source.ts';

/* What a product is asked to do, where its API has a call for it: to fetch a key anew, and to have one replaced. */

/** An MDM that has not seen the Mac since is asked once more. */
const askAgain = 7 * day;
const rotateAgain = 2 * day;
/** Each time round, so that a fleet's worth does not go out at once. */
const mostAtOnce = 20;
/** One after another: then it is the product, and not some Macs. */
const mostFailed = 3;
/** One Mac at which it fails is left alone for this long, and twice as long each further time. */
const firstBackOff = 10 * minute;
const mostBackOff = day;

/** One round of asking a product. */
export interface Round {
  chance: () => number;
  failedInARow: number;
  /** It answered about one Mac at least. */
  answered: boolean;
}
export const newRound = (chance: () => number): Round => ({ chance, failedInARow: 0, answered: false });

/** C6: the copies that grew old when we replaced a key. Throws `Pause` where the product does not answer. */
export async function refreshCopies(parts: CustodyParts, source: KeySource, round: Round): Promise<void> {
  const { refresh } = source;
  if (!refresh) return;
  const { db } = parts.store;
  const now = parts.clock.now();
  let done = 0;
  for (const copy of await oldCopies(db)) {
    const mac = await macById(db, copy.mac_id);
    // Under our own payload the product's copy stays the old one.
    const isTheirs = mac !== undefined && lastFacts(mac)?.escrow.payload !== 'ours';
    const row = isTheirs ? await connectorMacFor(db, source.name, mac.serial) : undefined;
    if (!row || (row.refresh_next_at ?? 0) > now) continue;
    if (row.refresh_asked_at !== null && row.refresh_asked_at >= Math.max(copy.old_since, now - askAgain)) continue;
    // Before it is asked: whatever happens on the way, the others have their turn before it is asked again.
    await parts.act((tx, at) => updateConnectorMac(tx, row, { refresh_next_at: at + firstBackOff }));
    await askFor(row, refresh, round, (asked) =>
      noteRefresh(parts, source, row, asked, { actor: 'server', because: 'its copy of the key is an old one', round }),
    );
    done += 1;
    if (done >= mostAtOnce) break;
  }
}

/** A question about one Mac, and what came of it. Only what is about the product as a whole is thrown on, once that is noted. */
async function askFor(row: ConnectorMac, call: (id: string) => Promise<Asked>, round: Round, note: (asked: Asked) => Promise<void>): Promise<Asked> {
  let asked: Asked;
  try {
    asked = await call(row.device_id);
  } catch (error) {
    asked = wentWrong(error);
    await note(asked);
    if (!(error instanceof Problem) || error.code !== 'NEIGHBOUR_FAILED') throw error;
    round.failedInARow += 1;
    if (round.failedInARow >= mostFailed) throw new Pause(`${asked.because}; so it was for ${mostFailed} Macs one after another`, null);
    return asked;
  }
  Object.assign(round, { failedInARow: 0, answered: true });
  await note(asked);
  return asked;
}

function wentWrong(error: unknown): Exclude<Asked, { kind: 'asked' }> {
  if (error instanceof Pause) return { kind: error.unsure ? 'unsure' : 'not-sent', because: error.message };
  if (!(error instanceof Problem)) return { kind: 'unsure', because: 'a bug: look at the log' };
  const because = error.detail ?? error.code;
  return { kind: error.code === 'NEIGHBOUR_FAILED' && !(error instanceof Unreached) ? 'unsure' : 'not-sent', because };
}

/** When this Mac is asked for again after `failed` failures in a row. */
const later = (at: number, failed: number, { chance }: Round): number => Math.round(at + longerEachTime(firstBackOff, failed - 1, mostBackOff, chance));

interface RefreshWish {
  actor: string;
  because: string;
  /** Null: a person asks, once. */
  round: Round | null;
}

/** To fetch a key twice does no harm: what may or may not have been asked is asked again. */
function noteRefresh(parts: CustodyParts, { name }: KeySource, row: ConnectorMac, asked: Asked, { actor, because, round }: RefreshWish): Promise<void> {
  const { device_id: deviceId, serial } = row;
  const isOver = asked.kind === 'asked' || asked.kind === 'refused';
  parts.log.info('connector-asked', { connector: name, what: 'refresh', deviceId, as: asked.kind });
  return parts.act(async (tx, at) => {
    const failed = row.refresh_failed + 1;
    if (isOver) await updateConnectorMac(tx, row, { refresh_asked_at: at, refresh_failed: 0, refresh_next_at: null });
    else if (round) await updateConnectorMac(tx, row, { refresh_failed: failed, refresh_next_at: later(at, failed, round) });
    if (asked.kind === 'not-sent') return;
    const { mac } = await whoseSerial(tx, serial);
    const details = { connector: name, deviceId, serial, because, as: asked.kind, ...(asked.kind === 'asked' ? {} : { [asked.kind]: asked.because }) };
    await audit(tx, { at, actor, act: 'mdm.refresh-asked', macId: mac?.id ?? null, details });
  });
}

/** Keys that were shown, and that only the MDM can replace. Where it has no call for it, the task stays for a person. */
export async function rotateShown(parts: CustodyParts, source: KeySource, round: Round): Promise<void> {
  const { rotate } = source;
  if (!rotate) return;
  let done = 0;
  for (const task of await openTasks(parts.store.db)) {
    const row = await markAsked(parts, source, task);
    if (!row) continue;
    await askFor(row, rotate, round, (asked) => noteRotation(parts, source, task, row, asked, round));
    done += 1;
    if (done >= mostAtOnce) break;
  }
}

/**
 * It says that it was asked before it is: whatever happens on the way, and however many backends there are, nothing is asked
 * twice. The row as it was before, or null where nothing is to be asked.
 */
function markAsked(parts: CustodyParts, { name }: KeySource, { id: taskId }: Task): Promise<ConnectorMac | null> {
  return parts.act(async (tx, at) => {
    const task = await taskById(tx, taskId);
    const row = task && task.closed_at === null ? await connectorMacFor(tx, name, task.serial) : undefined;
    if (!task || !row) return null;
    const { device_id: deviceId, serial, rotate_asked_at: before } = row;
    if ((row.rotate_next_at ?? 0) > at || (before !== null && before >= Math.max(task.opened_at, at - rotateAgain))) return null;
    const { mac } = await whoseSerial(tx, serial);
    if ((await whyNotNow(parts, tx, at, serial)) !== null) return null;
    await updateConnectorMac(tx, row, { rotate_asked_at: at });
    // C9: whose payload it happens under, by the Mac's last word.
    const escrowPayload = (mac && lastFacts(mac)?.escrow.payload) ?? 'unknown';
    const details = { connector: name, deviceId, serial, taskId: task.id, escrowPayload };
    await audit(tx, { at, actor: 'server', act: 'mdm.rotation-asked', macId: task.mac_id, details });
    return row;
  });
}

/** Where nothing was done the mark goes: no key is looked for there that was never made. What may have been done is not asked for again so soon. */
async function noteRotation(parts: CustodyParts, { name }: KeySource, task: Task, row: ConnectorMac, asked: Asked, round: Round): Promise<void> {
  const { device_id: deviceId, serial, rotate_asked_at: before } = row;
  parts.log.info('connector-asked', { connector: name, what: 'rotate', deviceId, as: asked.kind });
  await parts.act(async (tx, at) => {
    const failed = row.rotate_failed + 1;
    if (asked.kind === 'refused') await updateConnectorMac(tx, row, { rotate_asked_at: before, rotate_failed: 0, rotate_next_at: at + rotateAgain });
    else if (asked.kind === 'not-sent')
      await updateConnectorMac(tx, row, { rotate_asked_at: before, rotate_failed: failed, rotate_next_at: later(at, failed, round) });
    else await updateConnectorMac(tx, row, { rotate_failed: 0, rotate_next_at: null });
    if (asked.kind === 'asked') return;
    const state = asked.kind === 'refused' ? 'failed' : asked.kind;
    const details = { connector: name, deviceId, serial, taskId: task.id, state, error: asked.because };
    await audit(tx, { at, actor: 'server', act: 'mdm.rotation-ended', macId: task.mac_id, details });
  });
}

/** Somebody may be typing the key, or somebody else replaces it. */
async function whyNotNow(parts: CustodyParts, tx: Tx, at: number, serial: string): Promise<string | null> {
  const { mac, because } = await whoseSerial(tx, serial);
  // The product knows one of them, and nobody here knows which: it is a person's.
  if (!mac && (await claiming(tx, serial)).length > 1) return because;
  if (mac) {
    const alarms = await openAlarmsOf(tx, mac.id);
    const alarm = stopsTheMac(alarms) ?? alarms.find(({ code }) => code === 'TWO_ROTATORS');
    if (alarm) return `the alarm ${alarm.code} is open`;
    const facts = lastFacts(mac);
    if (facts && onlyByMdm(facts) === null) return 'its own agent replaces its key';
    if ((await openRotationOf(tx, mac.id)) !== undefined) return 'its agent is replacing the key';
    const ring = await waitsInRing(tx, mac.id);
    if (ring !== null) return ring;
    if (mac.present_volume !== null && (await presentHold(parts, tx, at, mac.id, mac.present_volume))) return 'somebody may be typing the key';
  }
  // Of what was shown before it was the record of a Mac, nobody tells us when its person is back in.
  const since = at - deadlineHours(parts, mac ?? undefined) * hour;
  const shown = (await broughtFor(tx, serial)).some(
    ({ disclosed_at: shownAt, record_id: recordId }) => shownAt !== null && shownAt > since && (because !== null || recordId === null),
  );
  return shown ? 'somebody may be typing the key' : null;
}

async function claiming(tx: Tx, serial: string): Promise<Mac[]> {
  const active: Mac[] = [];
  for (const mac of await macsWithSerial(tx, serial)) if ((await activeEnrolmentsOf(tx, mac.id)).length > 0) active.push(mac);
  return active;
}

const noCall: Exclude<Asked, { kind: 'asked' }> = {
  kind: 'refused',
  because: 'no call for it is documented: `sparekey-server events --act mdm.copy-old` tells scripts of it',
};

/** By serial number, for a person who asks. One product that does not answer keeps no other from being asked. */
export async function refreshNamed(
  parts: CustodyParts,
  sources: readonly KeySource[],
  wish: { serial: string; actor: string; reason: string },
): Promise<{ connector: string; deviceId: string; asked: Asked }[]> {
  const serial = wish.serial.trim().toUpperCase();
  const done: { connector: string; deviceId: string; asked: Asked }[] = [];
  for (const source of sources) {
    const row = await connectorMacFor(parts.store.db, source.name, serial);
    if (!row) continue;
    const asked = source.refresh ? await source.refresh(row.device_id).catch(wentWrong) : noCall;
    await noteRefresh(parts, source, row, asked, { actor: wish.actor, because: wish.reason, round: null });
    done.push({ connector: source.name, deviceId: row.device_id, asked });
  }
  const failed = done.flatMap(({ asked }) => (asked.kind === 'not-sent' || asked.kind === 'unsure' ? [asked.because] : []));
  if (failed.length > 0 && failed.length === done.length) throw new Problem('NEIGHBOUR_FAILED', failed.join('; '));
  if (done.length === 0) throw new Problem('MAC_UNKNOWN', `no connector has listed ${serial}: \`sparekey-server connectors run NAME\` lists anew`);
  return done;
}
