import { audit } from '../audit.ts';
import { type CustodyParts, hour } from '../custody-parts.ts';
import { oweRotation } from '../debts.ts';
import { standingOf } from '../mac-standing.ts';
import { orderOnceIn } from '../orders.ts';
import type { Tx } from '../parts.ts';
import { type AutomaticRotation, automaticInTurn, forgetAutomatic, placedSince, policiesWaiting, updateAutomatic } from '../store/automatic-rotations.ts';
import { openDebtsOf } from '../store/debts.ts';
import { type KeyRecord, recordsOfVolume } from '../store/keys.ts';
import { macById } from '../store/macs.ts';
import { type Policy, policyFor } from './policy.ts';
import { isQuiet } from './quiet-hours.ts';
import { dueByAge, type RotationPolicy } from './rotation-policy.ts';

const inAct = 200;

/** Places what policies have noticed, as far as their quiet hours and rates allow it now. */
export async function placeAutomatic(parts: CustodyParts): Promise<void> {
  let placed = 0;
  for (const policyId of await policiesWaiting(parts.store.db)) placed += await placeOf(parts, policyId);
  if (placed > 0) parts.log.info('rotations-automatic', { placed });
}

/** One act for one policy a round. What its hours or its rate keep back stays where it is, in turn. */
async function placeOf(parts: CustodyParts, policyId: string): Promise<number> {
  return parts.act(async (tx, at) => {
    let placed = 0;
    const rates = new Map<string, number>();
    for (const row of await automaticInTurn(tx, policyId, inAct)) {
      const { policy, rules } = await policyFor(tx, row.mac_id, 'rotation');
      const dropped = policy ? await noMore(tx, row, rules) : 'no policy asks for it any more';
      if (!policy || dropped !== null) await drop(tx, at, row, dropped ?? '');
      else if (policy.id !== policyId) await updateAutomatic(tx, row.id, { policy_id: policy.id });
      else {
        if (isQuiet(rules.quietHours, at)) break;
        const left = rates.get(policy.id) ?? rules.perHour - (await placedSince(tx, policy.id, at - hour));
        if (left <= 0) break;
        if (await place(parts, tx, at, row, { policy, rules })) {
          rates.set(policy.id, left - 1);
          placed += 1;
        }
      }
    }
    return placed;
  });
}

/** Why it is to be done no more, or null. */
async function noMore(tx: Tx, row: AutomaticRotation, rules: RotationPolicy): Promise<string | null> {
  const isAsked = row.because === 'aged' ? rules.everyDays !== null : rules.onEvents.includes(row.because);
  if (!isAsked) return 'no policy asks for it any more';
  return (await standingOf(tx, row.mac_id)).state === 'retired' ? 'the Mac has left' : null;
}

/** A key may come to be due again, an event happens once. */
async function drop(tx: Tx, at: number, row: AutomaticRotation, because: string): Promise<void> {
  if (row.because === 'aged') await forgetAutomatic(tx, row.id);
  else await updateAutomatic(tx, row.id, { state: 'dropped', state_at: at, state_because: because });
}

function isDue({ agedSince }: Policy, rules: RotationPolicy, { mac_id: macId, received_at: from }: KeyRecord, at: number): boolean {
  const due = agedSince === null ? null : dueByAge(rules, agedSince, { macId, from });
  return due !== null && due <= at;
}

async function place(
  parts: CustodyParts,
  tx: Tx,
  at: number,
  row: AutomaticRotation,
  { policy, rules }: { policy: Policy; rules: RotationPolicy },
): Promise<boolean> {
  const mac = await macById(tx, row.mac_id);
  const volume = mac?.present_volume ?? null;
  const held = volume === null ? undefined : (await recordsOfVolume(tx, row.mac_id, volume)).find(({ state }) => state === 'held');
  if (!mac || volume === null) {
    await drop(tx, at, row, 'the Mac has never checked in');
    return false;
  }
  if (row.because === 'aged') {
    // Another key since, one that is not due any more, or one that is replaced anyway.
    if (held?.id !== row.about || !isDue(policy, rules, held, at) || (await openDebtsOf(tx, mac.id, volume)).length > 0) {
      await forgetAutomatic(tx, row.id);
      return false;
    }
    await owe(tx, at, row, policy, { volume, held });
  } else {
    const reason = `policy ${policy.name}: ${row.words}`;
    await orderOnceIn(parts, tx, at, { macId: mac.id, actor: 'server', reason, withoutLogin: false, overrideHold: false });
  }
  await updateAutomatic(tx, row.id, { state: 'placed', state_at: at });
  await audit(tx, {
    at,
    actor: 'server',
    act: 'policy.applied',
    macId: mac.id,
    details: { policyId: policy.id, policy: policy.name, version: policy.version, because: row.because, words: row.words },
  });
  return true;
}

const owe = (tx: Tx, at: number, row: AutomaticRotation, policy: Policy, { volume, held }: { volume: string; held: KeyRecord }): Promise<void> =>
  oweRotation(tx, at, {
    id: row.id,
    macId: row.mac_id,
    volume,
    because: 'aged',
    recordId: held.id,
    actor: 'server',
    reason: `policy ${policy.name}: ${row.words}`,
  });
