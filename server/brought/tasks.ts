import { randomUUID } from 'node:crypto';
import type { Facts } from '../../protocol/messages.ts';
import { Problem } from '../../protocol/problems.ts';
import { raise, settle } from '../alarms.ts';
import { audit } from '../audit.ts';
import { type CustodyParts, day } from '../custody-parts.ts';
import type { Tx } from '../parts.ts';
import type { KeyRecord } from '../store/keys.ts';
import { macById } from '../store/macs.ts';
import { insertTask, keepCopy, mdmCopyOf, openTaskFor, overdueTasks, type Task, taskById, updateTask } from '../store/tasks.ts';
import { isKnownMac } from './serial.ts';
import type { BroughtTrust } from './sources.ts';

/*
 * What only a person can do: where the MDM alone replaces keys, or no agent is on the Mac, a key that was shown stays valid
 * until somebody has it replaced there. And since when the MDM's own copy of a key is an old one (C6).
 */

/** Why the agent cannot replace the key of this Mac, or null where it can. `null` facts: no agent was ever heard of. */
export function onlyByMdm(facts: Pick<Facts, 'rotator' | 'escrowOwner' | 'escrow'> | null): string | null {
  if (facts === null) return 'no agent is on this Mac';
  if (facts.rotator === 'mdm') return 'the settings say that the MDM replaces the keys';
  if (facts.escrow.payload === 'foreign' && facts.escrowOwner !== 'mdm') return 'the escrow payload is somebody else’s, and its keys are not ours to replace';
  return null;
}

/** One at a time for a serial number: whoever is shown the key twice is owed one replacement. */
export async function openTask(
  parts: Pick<CustodyParts, 'taskDays'>,
  tx: Tx,
  at: number,
  task: { serial: string; macId: string | null; because: string },
): Promise<Task> {
  const open = await openTaskFor(tx, task.serial);
  if (open) return nameMac(tx, at, open, task.macId);
  const row: Task = {
    id: randomUUID(),
    serial: task.serial,
    mac_id: task.macId,
    kind: 'rotate',
    because: task.because,
    opened_at: at,
    due_at: at + parts.taskDays * day,
    closed_at: null,
    closed_by: null,
    closed_because: null,
  };
  await insertTask(tx, row);
  const { id, serial, because, due_at: dueAt } = row;
  await audit(tx, { at, actor: 'server', act: 'task.opened', macId: row.mac_id, details: { taskId: id, serial, kind: row.kind, because, dueAt } });
  return row;
}

/** A task is of the Mac that is beyond doubt the one of that number: whoever only claims it keeps it for no other key than its own, and ends none. */
async function nameMac(tx: Tx, at: number, open: Task, macId: string | null): Promise<Task> {
  if (macId === open.mac_id) return open;
  const isKnown = async (id: string | null): Promise<boolean> => {
    const mac = id === null ? undefined : await macById(tx, id);
    return mac !== undefined && (await isKnownMac(tx, mac));
  };
  const named = (await isKnown(macId)) ? macId : (await isKnown(open.mac_id)) ? open.mac_id : null;
  if (named === open.mac_id) return open;
  await settle(tx, at, open.mac_id, 'MDM_TASK_OVERDUE', overdueWords(open), named === null ? 'its Mac is in doubt' : `its Mac is ${named}`);
  await updateTask(tx, open.id, { mac_id: named });
  return { ...open, mac_id: named };
}

/** The open task of this very Mac; of one that nobody had heard of, its Mac is who has that number by more than its own word. */
async function taskOf(tx: Tx, macId: string): Promise<Task | undefined> {
  const mac = await macById(tx, macId);
  const open = mac && (await openTaskFor(tx, mac.serial));
  if (!open || open.mac_id === macId) return open;
  return open.mac_id === null && (await isKnownMac(tx, mac)) ? open : undefined;
}

const overdueWords = (task: Task): string => `task ${task.id} for ${task.serial}`;

async function close(tx: Tx, at: number, task: Task, by: string, because: string): Promise<void> {
  await updateTask(tx, task.id, { closed_at: at, closed_by: by, closed_because: because });
  await settle(tx, at, task.mac_id, 'MDM_TASK_OVERDUE', overdueWords(task), because);
  await audit(tx, { at, actor: by, act: 'task.closed', macId: task.mac_id, details: { taskId: task.id, serial: task.serial, because } });
}

/** K3 or K7 of a key that nobody was shown: the one that was shown is dead. */
export async function closeTasksByProof(tx: Tx, at: number, record: KeyRecord): Promise<void> {
  const open = record.disclosed_at === null ? await taskOf(tx, record.mac_id) : undefined;
  if (open) await close(tx, at, open, 'server', `macOS said true to another key, record ${record.id}`);
}

/** Somebody else changed the key at `changedAt`, by the Mac's word: that is what was asked for. */
export async function closeTasksByChange(tx: Tx, at: number, macId: string, changedAt: number): Promise<void> {
  const open = await taskOf(tx, macId);
  if (open && changedAt > open.opened_at) await close(tx, at, open, 'server', 'somebody else has replaced the key since');
}

/** For a Mac without agent nothing is proved: what the MDM itself says, or what its source dates after the task, is what there is. */
export async function closeTasksByNewKey(tx: Tx, at: number, brought: { serial: string; trust: BroughtTrust; madeAt: number | null }): Promise<void> {
  const open = await openTaskFor(tx, brought.serial);
  if (!open || open.mac_id !== null) return;
  const isNewer = brought.trust === 'mdm' || brought.trust === 'device' || (brought.trust === 'admin' && (brought.madeAt ?? 0) > open.opened_at);
  if (isNewer) await close(tx, at, open, 'server', 'another key of this Mac was brought since');
}

export async function closeTaskByPerson(parts: CustodyParts, closing: { taskId: string; actor: string; reason: string }): Promise<void> {
  const { taskId, actor, reason } = closing;
  if (reason.trim() === '') throw new Problem('REASON_MISSING');
  await parts.act(async (tx, at) => {
    const task = await taskById(tx, taskId);
    if (!task) throw new Problem('NOT_FOUND', `there is no task ${taskId}`);
    if (task.closed_at === null) await close(tx, at, task, actor, reason);
  });
}

/** Nobody did it in its time. */
export async function alarmOverdueTasks(parts: CustodyParts, tx: Tx, at: number): Promise<void> {
  for (const task of await overdueTasks(tx, at)) await raise(parts, tx, at, task.mac_id, 'MDM_TASK_OVERDUE', overdueWords(task));
}

/** C6: we replaced the key under the MDM's payload. */
export async function markCopyOld(tx: Tx, at: number, macId: string, rotation: { id: string; begunAt: number }): Promise<void> {
  const because = `rotation ${rotation.id}`;
  await keepCopy(tx, { mac_id: macId, old_since: rotation.begunAt, because, refreshed_at: null, refreshed_by: null });
  await audit(tx, { at, actor: 'server', act: 'mdm.copy-old', macId, details: { rotationId: rotation.id, since: rotation.begunAt } });
}

/** The MDM was seen to have the key that is held. */
export async function markCopyFresh(tx: Tx, at: number, macId: string, by: string): Promise<void> {
  const copy = await mdmCopyOf(tx, macId);
  if (!copy || copy.refreshed_at !== null) return;
  await keepCopy(tx, { ...copy, refreshed_at: at, refreshed_by: by });
  await audit(tx, { at, actor: 'server', act: 'mdm.copy-fresh', macId, details: { oldSince: copy.old_since, by } });
}
