import type { RecoveryKey } from '../protocol/recovery-key.ts';
import { tryKey } from './refusals.ts';
import type { Run } from './run-of-agent.ts';

/*
 * Recovery keys in the keychain. An item is written once and read back, then the journal points to it, then the others go.
 * None is removed before another is known to be the valid one.
 */

export const keyItem = (run: Run, name: string): string => `recovery-key:${run.facts.hardwareUuid}:${name}`;

/** The items of recovery keys on this hardware. */
export async function keyItems(run: Run): Promise<string[] | 'cannot-tell'> {
  const all = await run.keys.list();
  return all === 'cannot-tell' ? all : all.filter((account) => account.startsWith(keyItem(run, '')));
}

/** Writes `key`, to which macOS has said `true`, under this name. What stood there is of another key, so a dead one. */
export async function putItem(run: Run, account: string, key: RecoveryKey): Promise<boolean> {
  const before = await run.keys.read(account);
  if (before === 'cannot-tell') return false;
  if (typeof before === 'object' && !before.there.equals(key) && !(await run.keys.remove(account))) return false;
  return run.keys.write(account, key);
}

/** `key` has just answered `true`: with custody `keychain` its item is the only one from now on. */
export async function keepOnly(run: Run, key: RecoveryKey, account: string, envelopeId: string): Promise<void> {
  if (run.facts.custodyMode !== 'keychain' || !(await putItem(run, account, key))) return;
  await keepOnlyItem(run, account, envelopeId);
}

/** The item is there and its key is valid: the journal points to it, and the others go. */
async function keepOnlyItem(run: Run, account: string, envelopeId: string): Promise<void> {
  const { keptItem } = run.journal.value;
  if (keptItem?.account !== account || keptItem.envelopeId !== envelopeId) run.journal.write({ keptItem: { account, envelopeId } });
  await removeItems(run, (item) => item !== account);
}

async function removeItems(run: Run, which: (item: string) => boolean): Promise<void> {
  const items = await keyItems(run);
  if (items !== 'cannot-tell') for (const item of items.filter(which)) await run.keys.remove(item);
}

/** Step 15: every item but the new key's. With custody `server` there is no item of it, and none of the old ones stays. */
export async function forgetOldItems(run: Run, rotationId: string, envelopeId: string): Promise<void> {
  const account = keyItem(run, rotationId);
  if (run.facts.custodyMode === 'keychain') {
    const read = await run.keys.read(account);
    if (typeof read === 'object') await keepOnlyItem(run, account, envelopeId);
    // The keychain failed when the key was new: it is on this Mac nowhere, and what is here is dead.
    if (read !== 'not-there') return;
  }
  await removeItems(run, () => true);
  if (run.journal.value.keptItem) run.journal.write({ keptItem: null });
}

/** The item of step 4: the old key, for as long as its rotation is open. */
export const itemBefore = (run: Run, rotationId: string): string => keyItem(run, `before-${rotationId}`);

/** Whether an item is there that no finished rotation accounts for. Where the kept key answers `true`, the others are dead, and go. */
export async function hasStrayItem(run: Run): Promise<boolean> {
  if (run.facts.custodyMode !== 'keychain') return false;
  const items = await keyItems(run);
  if (items === 'cannot-tell' || items.length === 0) return false;
  if (items.every((item) => item === run.journal.value.keptItem?.account) && !isOfEarlierKey(run)) return false;
  const keptItem = itemToKeep(run, items);
  const kept = keptItem ? await run.keys.read(keptItem.account) : 'not-there';
  if (kept === 'cannot-tell') return false;
  // Outside a settled session a `false` would say nothing, and cost a try.
  if (kept === 'not-there' || !keptItem || !run.settled) return run.settled;
  const answer = await tryKey(run, kept.there);
  const { current } = run.journal.value;
  const isEarlier = isOfEarlierKey(run) && keptItem.account === run.journal.value.keptItem?.account;
  // The valid key is the one that a finished rotation made: from now on the item says so.
  if (answer === 'true') await keepOnlyItem(run, keptItem.account, isEarlier && current ? current.envelopeId : keptItem.envelopeId);
  if (answer === 'false' && isEarlier && items.length === 1) {
    // Step 15, which nobody came to: its successor is held and answered `true`.
    if (await run.keys.remove(keptItem.account)) run.journal.write({ keptItem: null });
    return false;
  }
  // Whether a stray one is the valid key matters only where the kept one is not.
  return answer === 'false';
}

/** A rotation has ended whose key is in no item, because the keychain failed then: the kept one may be of the key before it. */
function isOfEarlierKey(run: Run): boolean {
  const { keptItem, current } = run.journal.value;
  if (!keptItem || !current?.held || current.validated !== 'true' || current.rotationId === null) return false;
  return keptItem.envelopeId !== current.envelopeId && keptItem.account !== keyItem(run, current.rotationId);
}

/** The item of the journal; but step 14 may have been this Mac's last: then its rotation's item is there, and not yet in the journal. */
function itemToKeep(run: Run, items: readonly string[]): { account: string; envelopeId: string } | null {
  const { keptItem, current } = run.journal.value;
  const done = current?.held && current.validated === 'true' ? current.rotationId : null;
  const ofCurrent = current && done ? { account: keyItem(run, done), envelopeId: current.envelopeId } : null;
  return [ofCurrent, keptItem].find((one) => one && items.includes(one.account)) ?? null;
}

/** Items whose keys macOS refused twice (K8) go when their rotation ends: they would be found again in every run. */
export async function removeRefutedItems(run: Run, refuted: readonly string[]): Promise<void> {
  const items = refuted.filter((name) => name.startsWith(keyItem(run, '')));
  for (const item of items) await run.keys.remove(item);
  if (items.includes(run.journal.value.keptItem?.account ?? '')) run.journal.write({ keptItem: null });
}
