import { Problem } from '../../protocol/problems.ts';
import { type CustodyParts, day } from '../custody-parts.ts';
import { lastFacts } from '../custody-state.ts';
import type { Tx } from '../parts.ts';
import { openAlarmsOf } from '../store/alarms.ts';
import { openDebtsOf } from '../store/debts.ts';
import type { Mac } from '../store/macs.ts';
import { commandsOf, devicesWithSerial, type MdmCommand, macsThatRefuse } from '../store/mdm.ts';
import { openTasks } from '../store/tasks.ts';
import { requestRotation } from './commands.ts';
import { standingOf } from './device.ts';
import type { MdmSettings } from './take-event.ts';

/** How many Macs are looked at in a round of those whose agent cannot replace their key; the next round goes on behind them. */
const mostInRound = 200;
/** For one key that was shown, by ourselves: then it is a person's task. */
const mostTries = 2;

const forTask = 'task ';
/** Whether a command that nobody ordered is for a key that was shown. */
export const isForTask = ({ because }: Pick<MdmCommand, 'because'>): boolean => because.startsWith(forTask);

/** Keys that are owed a replacement which only the MDM can do. */
export async function rotateDue(parts: CustodyParts, settings: MdmSettings, round: { after: string }): Promise<void> {
  if (!settings.canAsk || !settings.canRotate) return;
  for (const task of await openTasks(parts.store.db))
    await each(parts, task.serial, () => tryRotation(parts, task.serial, task.opened_at, `${forTask}${task.id}: ${task.because}`, true));
  const macs = await macsThatRefuse(parts.store.db, round.after, mostInRound);
  // Where it was the last of them the next round begins anew.
  round.after = macs.length < mostInRound ? '' : (macs.at(-1)?.id ?? '');
  const why = 'its build of macOS refuses the key, so its agent cannot replace it';
  for (const { serial } of macs) await each(parts, serial, () => tryRotation(parts, serial, parts.clock.now() - 30 * day, why, false));
}

/** One that goes wrong does not keep the others waiting. */
async function each(parts: CustodyParts, serial: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    const code = error instanceof Problem ? error.code : error instanceof Error ? error.name : 'unknown';
    parts.log.error('mdm-command', { serial, kind: 'rotate', as: `failed: ${code}` });
  }
}

/** Debts that only time has brought about wait as long after somebody else changed the key, as the agent's own do. */
const waitsForOthers = 7 * day;
const byTime: readonly string[] = ['aged', 'never-escrowed', 'doubtful'];

/** C2: where two replace keys nobody does; and a change by somebody else is no reason to replace one because its time has come. */
export async function twoWouldFight(tx: Tx, at: number, mac: Mac, isShown: boolean): Promise<boolean> {
  if ((await openAlarmsOf(tx, mac.id)).some(({ code }) => code === 'TWO_ROTATORS')) return true;
  if (isShown) return false;
  const changed = Date.parse(lastFacts(mac)?.foreignChanges?.times.at(-1) ?? '') || 0;
  const debts = mac.present_volume === null ? [] : await openDebtsOf(tx, mac.id, mac.present_volume);
  return changed > at - waitsForOthers && debts.every(({ because }) => byTime.includes(because));
}

async function tryRotation(parts: CustodyParts, serial: string, since: number, reason: string, isShown: boolean): Promise<void> {
  await parts.act(async (tx, at) => {
    const [device, ...more] = await devicesWithSerial(tx, serial);
    if (!device || more.length > 0) return;
    const tried = await commandsOf(tx, device.id, 'rotate', since);
    if (tried.length >= mostTries || tried.some(({ state, created_at: created }) => !['failed', 'done'].includes(state) || at - created < day)) return;
    const { mac } = await standingOf(tx, device);
    if (mac && (await twoWouldFight(tx, at, mac, isShown))) return;
    try {
      await requestRotation(parts, tx, at, device, { actor: 'server', reason });
    } catch (error) {
      // Why not is said where somebody asks for it; the task stays.
      if (!(error instanceof Problem) || error.code !== 'MDM_ROTATION_REFUSED') throw error;
    }
  });
}
