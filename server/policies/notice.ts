import { randomUUID } from 'node:crypto';
import { sameName } from '../assignments.ts';
import { type AuditLine, entriesAfter } from '../audit.ts';
import { type CustodyParts, day } from '../custody-parts.ts';
import type { Tx } from '../parts.ts';
import { claimsOf, macsClaimedFor } from '../store/assignments.ts';
import { type KeyAge, keysSince, lastAuditSeq, noteAutomatic } from '../store/automatic-rotations.ts';
import { recordsOfVolume } from '../store/keys.ts';
import { macById } from '../store/macs.ts';
import { readMemory, writeMemory } from '../store/upkeep.ts';
import { choosePolicy, type Policy, policiesInForce, policyFor } from './policy.ts';
import { dueByAge, type RotationPolicy, type rotationEvents } from './rotation-policy.ts';

/*
 * What policies have replaced without anybody asking: first it is noticed, once, and written down; then it is placed, when the
 * quiet hours and the rate of the policy allow it.
 */

/** Macs whose keys' age is looked at in one round: a fleet of a hundred thousand is gone through in ten minutes. */
const agesInRound = 5000;
const noticedInAct = 200;

/** A policy and its rules where it is the one of a Mac and age is a reason. */
interface ByAge {
  policy: Policy;
  rules: RotationPolicy;
}

export const tagsIn = (row: Pick<KeyAge, 'tags'>): string[] => row.tags.split(',').filter((tag) => tag !== '');

/** When the key of this Mac is due by the policies, and by which. */
export function dueUnder(policies: readonly Policy[], row: KeyAge): (ByAge & { at: number }) | null {
  const { policy, rules } = choosePolicy(policies, tagsIn(row), 'rotation');
  const at = policy?.agedSince == null ? null : dueByAge(rules, policy.agedSince, { macId: row.mac_id, from: row.key_at });
  return policy && at !== null ? { policy, rules, at } : null;
}

/** No key that is younger can be due by any of them. */
function youngestDue(policies: readonly Policy[]): number | null {
  const least = policies.flatMap(({ rules: { rotation } }) =>
    rotation?.everyDays == null ? [] : [rotation.everyDays - Math.min(rotation.spreadDays ?? Math.ceil(rotation.everyDays / 4), rotation.everyDays - 1)],
  );
  return least.length === 0 ? null : Math.min(...least) * day;
}

/** Goes on where the last round ended; begins anew at the end of the fleet. */
export async function noticeAges(parts: CustodyParts, round: { after: string }): Promise<void> {
  const { db } = parts.store;
  const now = parts.clock.now();
  const policies = await policiesInForce(db);
  const youngest = youngestDue(policies);
  if (youngest === null) return;
  const rows = await keysSince(db, { before: now - youngest, free: true, scope: null, after: round.after, limit: agesInRound });
  round.after = rows.length < agesInRound ? '' : (rows.at(-1)?.mac_id ?? '');
  const due = rows.flatMap((row) => {
    const found = dueUnder(policies, row);
    return found && found.at <= now ? [{ macId: row.mac_id, ...found }] : [];
  });
  for (let from = 0; from < due.length; from += noticedInAct)
    await parts.act(async (tx, at) => {
      for (const { macId, policy, rules } of due.slice(from, from + noticedInAct)) {
        const mac = await macById(tx, macId);
        const held = mac?.present_volume ? (await recordsOfVolume(tx, macId, mac.present_volume)).find(({ state }) => state === 'held') : undefined;
        // As it is now: the list of the fleet may be a second behind.
        const now = held && policy.agedSince !== null ? dueByAge(rules, policy.agedSince, { macId, from: held.received_at }) : null;
        if (held && now !== null && now <= at)
          await note(tx, at, macId, policy, { because: 'aged', about: held.id, words: `its key is to be in use for ${rules.everyDays} days at most` });
      }
    });
}

interface Cause {
  because: 'aged' | (typeof rotationEvents)[number];
  about: string;
  words: string;
}

const note = (tx: Tx, at: number, macId: string, policy: Policy, cause: Cause): Promise<boolean> =>
  noteAutomatic(tx, { id: randomUUID(), mac_id: macId, policy_id: policy.id, ...cause, noticed_at: at, state: 'waiting', state_at: at, state_because: null });

const followed = ['account.disabled', 'assignment.ended', 'mac.standing'];
const eventsInAct = 500;
const passOver = 1000;
/** How far the audit was followed. */
const cursorName = 'policy-events';

/** True where there may be more. What happened before this was first asked is no event any more. */
export async function noticeEvents(parts: CustodyParts): Promise<boolean> {
  const { db } = parts.store;
  const known = await readMemory(db, cursorName);
  // Where nothing has happened nothing is written, until there is much to pass over.
  if (known !== null && (await lastAuditSeq(db)) - Number(known) < passOver && (await entriesAfter(db, Number(known), followed, 1)).length === 0) return false;
  return parts.act(async (tx, at) => {
    const before = await readMemory(tx, cursorName);
    const last = await lastAuditSeq(tx);
    const entries = before === null ? [] : await entriesAfter(tx, Number(before), followed, eventsInAct);
    for (const entry of entries)
      for (const { macId, because, words } of await meaningOf(tx, entry)) {
        const { policy, rules } = await policyFor(tx, macId, 'rotation');
        if (policy && rules.onEvents.includes(because)) await note(tx, at, macId, policy, { because, about: String(entry.seq), words });
      }
    const isAll = entries.length < eventsInAct;
    const reached = isAll ? last : (entries.at(-1)?.seq ?? last);
    if (String(reached) !== before) await writeMemory(tx, cursorName, String(reached));
    return !isAll;
  });
}

interface Meaning {
  macId: string;
  because: (typeof rotationEvents)[number];
  words: string;
}

async function meaningOf(tx: Tx, { act, macId, details }: AuditLine): Promise<Meaning[]> {
  if (act === 'account.disabled') {
    const name = String(details['name']);
    const macs = await macsClaimedFor(tx, sameName(name));
    return macs.map((id) => ({ macId: id, because: 'user-left', words: `the account of ${name} was disabled` }));
  }
  if (macId === null) return [];
  if (act === 'mac.standing') {
    const was = details['was'] as { state?: string } | undefined;
    return details['state'] === 'lost' && was?.state !== 'lost' ? [{ macId, because: 'mac-lost', words: 'it was marked as lost' }] : [];
  }
  // The list has another word of the same person where only their account on the Mac is another.
  const name = String(details['userName']);
  if (details['because'] !== 'another list' || (await claimsOf(tx, macId)).some((claim) => claim.user_name === name)) return [];
  return [{ macId, because: 'user-left', words: `${name} is not in the list of its users any more` }];
}
