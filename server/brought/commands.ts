import { setTimeout as sleep } from 'node:timers/promises';
import { type AuditLine, entriesAfter } from '../audit.ts';
import type { Backend } from '../backend.ts';
import { type CommandResult, oneLine, printable, table, when } from '../command.ts';
import { type BroughtFilter, type BroughtRow, countBrought } from '../store/brought.ts';
import { allMacs } from '../store/macs.ts';
import { allTasks, oldCopies, openTasks } from '../store/tasks.ts';
import type { Clearing } from './clear.ts';
import { type BroughtLine, broughtList } from './lines.ts';

const states: readonly BroughtRow['state'][] = ['waiting', 'aside', 'offered', 'known', 'refuted', 'withdrawn'];
export const isBroughtState = (text: string): text is BroughtRow['state'] => (states as readonly string[]).includes(text);

export async function brought(backend: Backend, filter: { [name in keyof BroughtFilter]: BroughtFilter[name] | undefined }): Promise<CommandResult> {
  const { serial, state } = filter;
  const keys = await broughtList(backend.store.db, { ...(serial === undefined ? {} : { serial }), ...(state === undefined ? {} : { state }) });
  const rows = keys.map((key) => [key.serial, stateOf(key), key.source, key.trust, key.madeAt ?? '–', key.broughtAt, key.because, key.keyId]);
  const text = keys.length === 0 ? 'no key was brought by others' : table(['serial', 'state', 'source', 'by', 'made', 'brought', 'because', 'id'], rows);
  return { json: { keys }, text };
}

/** `confirm` throws where a person does not want it. */
export async function clearBrought(
  backend: Backend,
  { confirm, ...clearing }: Clearing & { confirm: (question: string) => Promise<void> },
): Promise<CommandResult> {
  const would = await backend.custody.clearStrangers({ ...clearing, dryRun: true });
  if (would.withdrawn === 0) return { json: { cleared: 0, kept: would.kept }, text: `there is nothing to clear${stay(would.kept)}` };
  await confirm(`${would.withdrawn} key(s) for which nobody answers go${would.kept > 0 ? `, and ${would.kept} stay` : ''}.`);
  const { withdrawn, kept } = await backend.custody.clearStrangers(clearing);
  return { json: { cleared: withdrawn, kept }, text: `${withdrawn} key(s) cleared${stay(kept)}` };
}

const stay = (kept: number): string => (kept > 0 ? `; ${kept} stay: their Macs have proved them, or are asked about them now` : '');

const stateOf = ({ state, provedAt }: BroughtLine): string => (provedAt !== null && state !== 'refuted' ? `${state}, proved` : state);

/** For `status`: a line where there is something to say. */
export async function sayBrought(
  backend: Backend,
): Promise<{ counts: Awaited<ReturnType<typeof countBrought>>; tasks: number; oldCopies: number; lines: string[] }> {
  const { db } = backend.store;
  const counts = await countBrought(db);
  const tasks = await openTasks(db);
  const copies = (await oldCopies(db)).length;
  const counted = states.filter((state) => (counts.states[state] ?? 0) > 0).map((state) => `${counts.states[state]} ${state}`);
  const overdue = tasks.filter((task) => task.due_at <= backend.clock.now()).length;
  const lines = [
    ...(counted.length > 0 ? [`keys that others brought: ${counted.join(', ')}; ${counts.proved} proved (sparekey-server brought)`] : []),
    ...(tasks.length > 0
      ? [`${tasks.length} shown key(s) that only the MDM can replace${overdue > 0 ? `, ${overdue} overdue` : ''} (sparekey-server tasks)`]
      : []),
    ...(copies > 0 ? [`${copies} Mac(s) whose MDM has an old copy of the key (sparekey-server tasks)`] : []),
  ];
  return { counts, tasks: tasks.length, oldCopies: copies, lines };
}

export async function taskList(backend: Backend, all: boolean): Promise<CommandResult> {
  const { db } = backend.store;
  const now = backend.clock.now();
  const tasks = (all ? await allTasks(db) : await openTasks(db)).map((task) => ({
    id: task.id,
    serial: task.serial,
    macId: task.mac_id,
    kind: task.kind,
    because: task.because,
    openedAt: when(task.opened_at),
    dueAt: when(task.due_at),
    overdue: task.closed_at === null && task.due_at <= now,
    closedAt: task.closed_at === null ? null : when(task.closed_at),
    closedBy: task.closed_by,
    closedBecause: task.closed_because,
  }));
  const serials = new Map((await allMacs(db)).map((mac) => [mac.id, mac.serial]));
  const copies = (await oldCopies(db)).map((copy) => ({ macId: copy.mac_id, serial: serials.get(copy.mac_id) ?? null, oldSince: when(copy.old_since) }));
  const rows = tasks.map((task) => [
    task.serial,
    task.closedAt ? `done ${task.closedAt}` : task.overdue ? 'OVERDUE' : 'open',
    task.dueAt,
    task.because,
    task.id,
  ]);
  const text = [
    tasks.length === 0 ? 'there is no task' : table(['serial', 'state', 'due', 'because', 'id'], rows),
    ...(copies.length > 0
      ? [
          '',
          table(
            ['the MDM’s copy is old', 'since'],
            copies.map(({ serial, macId, oldSince }) => [serial ?? macId, oldSince]),
          ),
        ]
      : []),
  ].join('\n');
  return { json: { tasks, oldCopies: copies }, text };
}

export async function closeTask(backend: Backend, closing: { taskId: string; actor: string; reason: string }): Promise<CommandResult> {
  await backend.custody.closeTask(closing);
  return { json: { taskId: closing.taskId, closed: true }, text: `task ${closing.taskId} is done` };
}

interface EventsWanted {
  since: number;
  acts: readonly string[];
  most: number;
  json: boolean;
}

async function eventLines(backend: Backend, { since, acts, most, json }: EventsWanted): Promise<{ lines: string[]; last: number }> {
  const found = await entriesAfter(backend.store.db, since, acts, most);
  const serials = found.some(({ macId }) => macId !== null)
    ? new Map((await allMacs(backend.store.db)).map((mac) => [mac.id, mac.serial]))
    : new Map<string, string>();
  const told = (line: AuditLine) => ({ ...line, at: when(line.at), serial: line.macId === null ? null : (serials.get(line.macId) ?? null) });
  const lines = found.map(told).map((line) => {
    if (json) return printable(JSON.stringify(line));
    return oneLine(`${line.seq} ${line.at} ${line.act} ${line.serial ?? '–'} by ${line.actor}: ${JSON.stringify(line.details)}`);
  });
  return { lines, last: found.at(-1)?.seq ?? since };
}

export async function events(backend: Backend, wanted: EventsWanted): Promise<CommandResult> {
  const { lines } = await eventLines(backend, wanted);
  return { json: null, text: lines.join('\n') };
}

/** Milliseconds. */
const lookEvery = 2000;

/** Until it is stopped from outside. Each line leaves when its act is stored; a script goes on after the last number that it has. */
export async function followEvents(
  backend: Backend,
  wanted: EventsWanted,
  write: (lines: string) => void = (lines) => void process.stdout.write(lines),
  goOn: () => Promise<boolean> = () => sleep(lookEvery, true),
): Promise<CommandResult> {
  let since = wanted.since;
  for (;;) {
    const { lines, last } = await eventLines(backend, { ...wanted, since });
    if (lines.length > 0) write(`${lines.join('\n')}\n`);
    since = last;
    if (!(await goOn())) return { json: null, text: '' };
  }
}
