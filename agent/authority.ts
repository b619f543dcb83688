import type { CheckInReply } from '../protocol/messages.ts';
import type { RecoveryKey } from '../protocol/recovery-key.ts';
import { keyItems, removeRefutedItems } from './key-items.ts';
import { isRefuted, knownRecords, noteAccepted, noteRefused } from './prove.ts';
import { isSecondLook, tryKey } from './refusals.ts';
import type { Run } from './run-of-agent.ts';

export type Authority = { by: 'keychain' | 'grant'; key: RecoveryKey | null; item: string | null; recordId: string | null };

/** Gate 6: a key in the keychain that answers `true`; else a grant; else nothing. */
export async function chooseAuthority(run: Run, reply: CheckInReply): Promise<Authority | { none: string }> {
  if (run.facts.custodyMode === 'keychain') {
    const probe = `probe:${run.facts.hardwareUuid}`;
    if (await run.keys.roundTrip(probe)) {
      const kept = await firstValidItem(run);
      if (kept) return { by: 'keychain', key: kept.key, item: kept.item, recordId: recordOfItem(run, reply, kept.item) };
    } else {
      // Custody is the backend's for this run: the new key is kept there, and what lies in the keychain stays as it is.
      run.problems.push({ code: 'KEYCHAIN_LOCKED', detail: 'it does not keep what is put into it, so this Mac keeps no key for now' });
      run.facts = { ...run.facts, custodyMode: 'server' };
    }
  }
  // The likeliest first: what macOS's own escrow file holds is what macOS made last, whoever had it made.
  const newest = run.journal.value.escrowSeen?.digest;
  const known = knownRecords(reply).filter((one) => !isRefuted(run.journal.value, one.recordId));
  const record = known.find((one) => newest !== undefined && one.envelopeIds.includes(newest)) ?? known[0];
  if (!record) {
    run.problems.push({ code: 'KEY_NOT_ON_MAC' });
    return { none: 'neither this Mac nor the backend has a key that could authorize the change' };
  }
  return { by: 'grant', key: null, item: null, recordId: record.recordId };
}

/** The server's record of the kept key; null where the item is another. */
function recordOfItem(run: Run, reply: CheckInReply, item: string): string | null {
  const { keptItem } = run.journal.value;
  if (keptItem?.account !== item) return null;
  return knownRecords(reply).find((one) => one.envelopeIds.includes(keptItem.envelopeId))?.recordId ?? null;
}

/** The kept one first; never a sweep through the history. */
async function firstValidItem(run: Run): Promise<{ key: RecoveryKey; item: string } | null> {
  const items = await keyItems(run);
  if (items === 'cannot-tell') return null;
  const kept = run.journal.value.keptItem?.account;
  const likeliest = [...items.filter((item) => item === kept), ...items.filter((item) => item !== kept)];
  for (const item of likeliest.slice(0, 2)) {
    const read = await run.keys.read(item);
    const doubt = run.journal.value.doubts.find((one) => one.recordId === item);
    if (typeof read !== 'object' || (doubt && !isSecondLook(run, doubt.first))) continue;
    const answer = await tryKey(run, read.there);
    if (answer === 'true') {
      noteAccepted(run, item);
      return { key: read.there, item };
    }
    // Dead, it would be tried before each rotation: what macOS refused twice goes.
    if (answer === 'false') noteRefused(run, item);
    if (isRefuted(run.journal.value, item)) await removeRefutedItems(run, [item]);
  }
  return null;
}
