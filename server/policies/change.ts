import { randomUUID } from 'node:crypto';
import { Problem } from '../../protocol/problems.ts';
import { audit } from '../audit.ts';
import type { CustodyParts } from '../custody-parts.ts';
import type { Tx } from '../parts.ts';
import type { Scope } from '../permissions.ts';
import { insertPolicyVersion, keepPolicy, policyById, policyRows } from '../store/policies.ts';
import { type Policy, type PolicyRules, policyOf } from './policy.ts';

export interface PolicyChange {
  /** Null: another policy. */
  id: string | null;
  /** As it was read; whoever changes what somebody else has changed meanwhile is refused. */
  version: number | null;
  name: string;
  rank: number;
  tags: readonly string[] | null;
  rules: PolicyRules;
  actor: string;
  scope: Scope;
  reason: string;
  /** A token that stands for a program. */
  service: boolean;
}

/** Programs decide nothing about who is shown a key: a token of one could let itself in. */
function refuseProgram(isProgram: boolean, ...rules: (PolicyRules | null)[]): void {
  if (isProgram && rules.some((one) => one?.disclosure !== undefined))
    throw new Problem('NOT_ALLOWED', 'what people are shown is decided by people, and not by a token that stands for a program');
}

/** Whoever may edit policies for some tags may neither make nor touch one that is for others too. */
const mayTouch = (scope: Scope, tags: readonly string[] | null): boolean => scope === null || (tags?.every((tag) => scope.includes(tag)) ?? false);

/** Of two policies for one Mac the lower rank counts: whoever may edit for some tags does not undo what others say of disclosures there. */
function refuseRank(scope: Scope, rank: number, rows: readonly Parameters<typeof policyOf>[0][]): void {
  const ofOthers = rows.map(policyOf).filter(({ tags, rules }) => rules.disclosure !== undefined && !mayTouch(scope, tags));
  const highest = Math.max(0, ...ofOthers.map((one) => one.rank));
  if (rank <= highest) throw new Problem('NOT_ALLOWED', `rank: above ${highest}, for what a policy that is not yours says of disclosures counts first`);
}

export async function putPolicy(parts: CustodyParts, change: PolicyChange): Promise<Policy> {
  const { actor, scope, reason, name, rank, rules } = change;
  if (reason.trim() === '') throw new Problem('REASON_MISSING');
  const tags = change.tags === null ? null : [...new Set(change.tags)].toSorted();
  if (!mayTouch(scope, tags)) throw new Problem('NOT_ALLOWED', 'a policy for Macs that are not yours');
  return parts.act(async (tx, at) => {
    const before = change.id === null ? null : await inForce(tx, change.id, scope);
    refuseProgram(change.service, rules, before && policyOf(before).rules);
    if (before && change.version !== null && before.version !== change.version) throw new Problem('POLICY_CHANGED', `it is version ${before.version} now`);
    const inForceNow = await policyRows(tx);
    if (rules.disclosure) refuseRank(scope, rank, inForceNow);
    const taken = inForceNow.find((row) => row.id !== before?.id && (row.name === name || row.rank === rank));
    if (taken)
      throw new Problem(
        'POLICY_TAKEN',
        taken.name === name ? `the name ${name}` : `rank ${rank} is ${mayTouch(scope, policyOf(taken).tags) ? taken.name : 'another one’s'}`,
      );
    const row = {
      id: before?.id ?? randomUUID(),
      name,
      rank,
      tags: tags === null ? null : JSON.stringify(tags),
      rules: JSON.stringify(rules),
      version: (before?.version ?? 0) + 1,
      created_at: before?.created_at ?? at,
      created_by: before?.created_by ?? actor,
      changed_at: at,
      changed_by: actor,
      aged_since: agedSince(before && policyOf(before), { tags, rules }, at),
      ended_at: null,
    };
    await keepPolicy(tx, row);
    await insertPolicyVersion(tx, { policy_id: row.id, version: row.version, at, actor, reason, name, rank, tags: row.tags, rules: row.rules });
    const was = before && { name: before.name, rank: before.rank, tags: policyOf(before).tags, rules: policyOf(before).rules };
    await audit(tx, {
      at,
      actor,
      act: before ? 'policy.changed' : 'policy.made',
      details: { policyId: row.id, version: row.version, name, rank, tags, rules, was, reason },
    });
    return policyOf(row);
  });
}

/** Whoever changes for whom or how often it holds begins anew: those that this makes due at once are spread again. */
export function agedSince(before: Policy | null, { tags, rules }: Pick<Policy, 'tags' | 'rules'>, at: number): number | null {
  const now = rules.rotation;
  if (!now || now.everyDays === null) return null;
  const was = before?.rules.rotation;
  const isSame = was?.everyDays === now.everyDays && was.spreadDays === now.spreadDays && JSON.stringify(before?.tags) === JSON.stringify(tags);
  return isSame ? (before?.agedSince ?? at) : at;
}

async function inForce(tx: Tx, id: string, scope: Scope) {
  const row = await policyById(tx, id);
  if (!row || row.ended_at !== null) throw new Problem('NOT_FOUND', 'no such policy');
  if (!mayTouch(scope, policyOf(row).tags)) throw new Problem('NOT_ALLOWED', 'a policy for Macs that are not yours');
  return row;
}

export async function endPolicy(parts: CustodyParts, ending: { id: string; actor: string; scope: Scope; reason: string; service: boolean }): Promise<void> {
  const { id, actor, scope, reason, service } = ending;
  if (reason.trim() === '') throw new Problem('REASON_MISSING');
  await parts.act(async (tx, at) => {
    const row = await inForce(tx, id, scope);
    refuseProgram(service, policyOf(row).rules);
    const version = row.version + 1;
    await keepPolicy(tx, { ...row, version, changed_at: at, changed_by: actor, ended_at: at });
    await insertPolicyVersion(tx, { policy_id: id, version, at, actor, reason, name: row.name, rank: row.rank, tags: row.tags, rules: null });
    await audit(tx, { at, actor, act: 'policy.ended', details: { policyId: id, version, name: row.name, reason } });
  });
}

/** Which policies somebody sees: those that may be for Macs of theirs. */
export const seesPolicy = (scope: Scope, tags: readonly string[] | null): boolean => scope === null || tags === null || tags.some((tag) => scope.includes(tag));
