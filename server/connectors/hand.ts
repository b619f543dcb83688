import { Problem } from '../../protocol/problems.ts';
import { audit } from '../audit.ts';
import { whoseSerial } from '../brought/settle.ts';
import { onlyByMdm } from '../brought/tasks.ts';
import { type CustodyParts, day, hour } from '../custody-parts.ts';
import { lastFacts } from '../custody-state.ts';
import { presentHold } from '../holds.ts';
import type { Tx } from '../parts.ts';
import { waitsInRing } from '../rings/move.ts';
import { broughtFor } from '../store/brought.ts';
import { type ConnectorMac, connectorMacFor, updateConnectorMac } from '../store/connectors.ts';
import { macById } from '../store/macs.ts';
import { openRotationOf } from '../store/rotations.ts';
import { oldCopies, openTasks, type Task } from '../store/tasks.ts';
import { type Asked, type KeySource, Pause } from './source.ts';

/* What a product is asked to do, where its API has a call for it: to fetch a key anew, and to have one replaced. */

/** An MDM that has not seen the Mac since is asked once more. */
const askAgain = 7 * day;
const rotateAgain = 2 * day;
/** Each time round, so that a fleet's worth does not go out at once. */
const mostAtOnce = 20;

/** C6: the copies that grew old when we replaced a key. Throws where the product does not answer. */
export async function refreshCopies(parts: CustodyParts, source: KeySource): Promise<number> {
  if (!source.refresh) return 0;
  const { db } = parts.store;
  const now = parts.clock.now();
  let done = 0;
  for (const copy of await oldCopies(db)) {
    const mac = await macById(db, copy.mac_id);
    // Under our own payload the product's copy stays the old one.
    const isTheirs = mac !== undefined && lastFacts(mac)?.escrow.payload !== 'ours';
    const row = isTheirs ? await connectorMacFor(db, source.name, mac.serial) : undefined;
    if (!row || (row.refresh_asked_at !== null && row.refresh_asked_at >= Math.max(copy.old_since, now - askAgain))) continue;
    await refreshOne(parts, source, row, { actor: 'server', because: 'its copy of the key is an old one' });
    done += 1;
    if (done >= mostAtOnce) break;
  }
  return done;
}

async function refreshOne(parts: CustodyParts, source: KeySource, row: ConnectorMac, { actor, because }: { actor: string; because: string }): Promise<Asked> {
  const { device_id: deviceId, serial } = row;
  const { name } = source;
  const answer = source.refresh
    ? await source.refresh(deviceId)
    : { kind: 'refused' as const, because: 'no call for it is documented: `sparekey-server events --act mdm.copy-old` tells scripts of it' };
  await parts.act(async (tx, at) => {
    await updateConnectorMac(tx, row, { refresh_asked_at: at });
    const { mac } = await whoseSerial(tx, serial);
    const details = { connector: name, deviceId, serial, because, as: answer.kind, ...(answer.kind === 'refused' ? { refused: answer.because } : {}) };
    await audit(tx, { at, actor, act: 'mdm.refresh-asked', macId: mac?.id ?? null, details });
  });
  parts.log.info('connector-asked', { connector: name, what: 'refresh', deviceId, as: answer.kind });
  return answer;
}

/** Keys that were shown, and that only the MDM can replace. Where it has no call for it, the task stays for a person. */
export async function rotateShown(parts: CustodyParts, source: KeySource): Promise<number> {
  if (!source.rotate) return 0;
  let done = 0;
  for (const task of await openTasks(parts.store.db)) {
    const row = await connectorMacFor(parts.store.db, source.name, task.serial);
    if (!row || !(await markAsked(parts, source, task, row))) continue;
    const { device_id: deviceId, serial } = row;
    const answer = await source.rotate(deviceId);
    parts.log.info('connector-asked', { connector: source.name, what: 'rotate', deviceId, as: answer.kind });
    if (answer.kind === 'refused')
      await parts.act((tx, at) =>
        audit(tx, {
          at,
          actor: 'server',
          act: 'mdm.rotation-ended',
          macId: task.mac_id,
          details: { connector: source.name, deviceId, serial, taskId: task.id, state: 'failed', error: answer.because },
        }),
      );
    done += 1;
    if (done >= mostAtOnce) break;
  }
  return done;
}

/** It says that it was asked before it is: whatever happens on the way, nothing is asked twice. */
function markAsked(parts: CustodyParts, { name }: KeySource, task: Task, row: ConnectorMac): Promise<boolean> {
  const { device_id: deviceId, serial, rotate_asked_at: before } = row;
  return parts.act(async (tx, at) => {
    if (before !== null && before >= Math.max(task.opened_at, at - rotateAgain)) return false;
    if ((await whyNotNow(parts, tx, at, serial)) !== null) return false;
    await updateConnectorMac(tx, row, { rotate_asked_at: at });
    await audit(tx, { at, actor: 'server', act: 'mdm.rotation-asked', macId: task.mac_id, details: { connector: name, deviceId, serial, taskId: task.id } });
    return true;
  });
}

/** Somebody may be typing the key (rules 4.1), or somebody else replaces it. */
async function whyNotNow(parts: CustodyParts, tx: Tx, at: number, serial: string): Promise<string | null> {
  const { mac } = await whoseSerial(tx, serial);
  if (mac) {
    const facts = lastFacts(mac);
    if (facts && onlyByMdm(facts) === null) return 'its own agent replaces its key';
    if ((await openRotationOf(tx, mac.id)) !== undefined) return 'its agent is replacing the key';
    const ring = await waitsInRing(tx, mac.id);
    if (ring !== null) return ring;
    if (mac.present_volume !== null && (await presentHold(parts, tx, at, mac.id, mac.present_volume))) return 'somebody may be typing the key';
  }
  // Nobody tells us when the user of a Mac without agent is back in.
  const since = at - parts.settings.holdDeadlineHours * hour;
  const shown = (await broughtFor(tx, serial)).some(({ disclosed_at: shownAt }) => shownAt !== null && shownAt > since);
  return shown && !mac ? 'somebody may be typing the key' : null;
}

/** By serial number, for a person who asks. */
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
    const asked = await refreshOne(parts, source, row, { actor: wish.actor, because: wish.reason }).catch((error: unknown): never => {
      throw error instanceof Pause ? new Problem('NEIGHBOUR_FAILED', error.message) : error;
    });
    done.push({ connector: source.name, deviceId: row.device_id, asked });
  }
  if (done.length === 0) throw new Problem('MAC_UNKNOWN', `no connector has listed ${serial}: \`sparekey-server connectors run NAME\` lists anew`);
  return done;
}
