import { isOfIdentity } from '../alarms.ts';
import { keepingRules } from '../approvals/rules.ts';
import { whose } from '../assignments.ts';
import type { CustodyParts } from '../custody-parts.ts';
import { fleetLines } from '../custody-report.ts';
import type { Tx } from '../parts.ts';
import { fleetRows } from '../store/fleet.ts';
import { aroundMacs, groupsOfNames, keepGroupTags } from '../store/fleet-around.ts';
import { macsToShow, markUnlisted, replaceShown, type Shown, shownOf, unmark } from '../store/fleet-projection.ts';
import { readMemory, writeMemory } from '../store/upkeep.ts';
import { showMac } from './show-mac.ts';

/** A group may be called anything; a tag is one line without the comma that stands between tags. */
const groupTag = (group: string): string => `group:${group.replaceAll(/[,\p{C}]/gu, ' ').trim()}`;

/**
 * Makes the rows of lists anew for Macs that were marked, or that time has changed; how many. What is marked while this runs
 * is made at the next turn: mark and row go in one transaction.
 */
export async function refreshFleet(parts: CustodyParts, most: number): Promise<number> {
  if ((await macsToShow(parts.store.db, parts.clock.now(), 1)).length === 0) return 0;
  return parts.act(async (tx, at) => {
    const macIds = await macsToShow(tx, at, most);
    if (macIds.length > 0) await refreshMacs(parts, tx, at, macIds);
    return macIds.length;
  });
}

/** Nobody did it: what the tags of before say of showing the key goes on for its time. */
async function changeGroupTags(tx: Tx, at: number, macId: string, has: readonly string[], wanted: readonly string[]): Promise<void> {
  if (has.length === wanted.length && has.every((tag) => wanted.includes(tag))) return;
  await keepingRules(tx, at, [macId], { actor: 'server', personId: null }, () => keepGroupTags(tx, macId, has, wanted));
}

async function refreshMacs(parts: CustodyParts, tx: Tx, at: number, macIds: readonly string[]): Promise<void> {
  const around = await aroundMacs(tx, macIds);
  const before = await shownOf(tx, macIds);
  const all = await fleetRows(tx, macIds);
  const lines = new Map((await fleetLines(parts, tx, around.macs, all)).map((one) => [one.mac.id, one]));
  const owners = new Map(around.macs.map((mac) => [mac.id, whose(around.claims(mac.id))]));
  const groups = await groupsOfNames(
    tx,
    [...owners.values()].flatMap((owner) => (owner.kind === 'one' ? [owner.userName] : [])),
  );
  const after = new Map<string, Shown | null>(macIds.map((macId) => [macId, null]));
  for (const mac of around.macs) {
    const line = lines.get(mac.id);
    if (mac.merged_into !== null) {
      const groupTags = around.tags(mac.id).filter((tag) => tag.source === 'group');
      await changeGroupTags(
        tx,
        at,
        mac.id,
        groupTags.map(({ tag }) => tag),
        [],
      );
      continue;
    }
    if (!line) continue;
    const owner = owners.get(mac.id) ?? { kind: 'nobody' };
    const tags = around.tags(mac.id);
    const byHand = tags.filter((tag) => tag.source !== 'group').map(({ tag }) => tag);
    const ofGroups = [...new Set((owner.kind === 'one' ? (groups.get(owner.userName) ?? []) : []).map(groupTag))].filter((tag) => !byHand.includes(tag));
    await changeGroupTags(
      tx,
      at,
      mac.id,
      tags.filter((tag) => tag.source === 'group').map(({ tag }) => tag),
      ofGroups,
    );
    after.set(
      mac.id,
      showMac(at, {
        ...line,
        owner,
        tags: [...byHand, ...ofGroups].toSorted(),
        standing: around.standing(mac.id)[0],
        orders: around.orders(mac.id),
        refusals: around.refusals(mac.id),
        olderSerials: around.olderSerials(mac.id),
        mutedUntil: around.mutedUntil,
        heardAt: around.heardAt(mac.serial),
        alarms: all.alarms(mac.id).map((alarm) => ({ ...alarm, isIdentity: isOfIdentity(alarm) })),
        needsBefore: before(mac.id).needs,
      }),
    );
  }
  await replaceShown(tx, before, after);
  await unmark(tx, macIds);
}

const filled = 'fleet:filled';
const batch = 500;

/** Before lists are read for the first time after an upgrade, or a restore: the row of every Mac. Says how far it is. */
async function fillFleet(parts: CustodyParts): Promise<void> {
  if ((await readMemory(parts.store.db, filled)) !== null) return;
  await parts.act((tx) => markUnlisted(tx));
  let done = 0;
  for (;;) {
    const some = await refreshFleet(parts, batch);
    done += some;
    if (some > 0) parts.log.info('fleet-filling', { macs: done });
    if (some < batch) break;
    // Macs that check in meanwhile are answered in between.
    await new Promise(setImmediate);
  }
  await parts.act((tx, at) => writeMemory(tx, filled, String(at)));
}

/** Backends whose Macs were all looked for since they were started. */
const looked = new WeakSet<CustodyParts>();

/** Before a question: whoever has just done something sees it. More than these are made within seconds by themselves. */
export async function fleetIsFresh(parts: CustodyParts): Promise<void> {
  await fillFleet(parts);
  if (!looked.has(parts)) {
    // What went around the backend, such as rows that were put back by hand, is listed with the next start.
    looked.add(parts);
    await parts.act((tx) => markUnlisted(tx));
  }
  await refreshFleet(parts, 200);
}
