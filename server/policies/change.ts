import { randomUUID } from 'node:crypto';
import { Problem } from '../../protocol/problems.ts';
import { audit } from '../audit.ts';
import type { CustodyParts } from '../custody-parts.ts';
import type { Tx } from '../parts.ts';
import type { Scope } from '../permissions.ts';
import { insertPolicyVersion, keepPolicy, type PolicyRow, policyById, policyRows } from '../store/policies.ts';
import { type Policy, type PolicyRules, policyOf } from './policy.ts';
import { type Applying, propose, weakerBy } from './proposals.ts';

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
  /** Null: at the machine itself. */
  personId: string | null;
  scope: Scope;
  reason: string;
  /** A token that stands for a program. */
  service: boolean;
}

/** What came of it: done, or the proposal that waits for a second person. */
export interface PolicyDone {
  policy: Policy;
  proposalId: string | null;
}

/** Programs decide nothing about who is shown a key: a token of one could let itself in. */
function refuseProgram(isProgram: boolean, ...rules: (PolicyRules | null)[]): void {
  if (isProgram && rules.some((one) => one?.disclosure !== undefined))
    throw new Problem('NOT_ALLOWED', 'what people are shown is decided by people, and not by a token that stands for a program');
}

/** Whoever may edit policies for some tags may neither make nor touch one that is for others too. */
export const mayTouch = (scope: Scope, tags: readonly string[] | null): boolean => scope === null || (tags?.every((tag) => scope.includes(tag)) ?? false);

/** Of two policies for one Mac the lower rank counts: whoever may edit for some tags does not undo what others say of disclosures there. */
function refuseRank(scope: Scope, rank: number, rows: readonly Parameters<typeof policyOf>[0][]): void {
  const ofOthers = rows.map(policyOf).filter(({ tags, rules }) => rules.disclosure !== undefined && !mayTouch(scope, tags));
  const highest = Math.max(0, ...ofOthers.map((one) => one.rank));
  if (rank <= highest) throw new Problem('NOT_ALLOWED', `rank: above ${highest}, for what a policy that is not yours says of disclosures counts first`);
}

/** A policy as it would be, for whom it is asked. */
type Wanted = Pick<PolicyChange, 'id' | 'version' | 'name' | 'rank' | 'tags' | 'rules' | 'scope' | 'service'>;

/** The row as it would be, or why it cannot. */
async function drafted(tx: Tx, { id, version, name, rank, tags, rules, scope, service }: Wanted): Promise<{ before: PolicyRow | null; inForce: PolicyRow[] }> {
  if (!mayTouch(scope, tags)) throw new Problem('NOT_ALLOWED', 'a policy for Macs that are not yours');
  const before = id === null ? null : await inForce(tx, id, scope);
  refuseProgram(service, rules, before && policyOf(before).rules);
  if (before && version !== null && before.version !== version) throw new Problem('POLICY_CHANGED', `it is version ${before.version} now`);
  const rows = await policyRows(tx);
  if (rules.disclosure) refuseRank(scope, rank, rows);
  const taken = rows.find((row) => row.id !== before?.id && (row.name === name || row.rank === rank));
  if (taken)
    throw new Problem(
      'POLICY_TAKEN',
      taken.name === name ? `the name ${name}` : `rank ${rank} is ${mayTouch(scope, policyOf(taken).tags) ? taken.name : 'another one’s'}`,
    );
  return { before, inForce: rows };
}

export async function putPolicy(parts: CustodyParts, change: PolicyChange): Promise<PolicyDone> {
  if (change.reason.trim() === '') throw new Problem('REASON_MISSING');
  const tags = change.tags === null ? null : [...new Set(change.tags)].toSorted();
  return parts.act(async (tx, at) => {
    const { before, inForce: rows } = await drafted(tx, { ...change, tags });
    const id = before?.id ?? randomUUID();
    const { name, rank, rules, actor, personId, reason } = change;
    const weaker = weakerBy(rows, { id, rank, tags, rules });
    const draft = { id, version: before?.version ?? 0, name, rank, tags, rules };
    if (weaker.length === 0 || personId === null) return { policy: await write(tx, at, before, draft, { actor, by: actor, reason }), proposalId: null };
    const proposalId = await propose(tx, at, { ...draft, weaker, actor, personId, reason });
    return { policy: { ...draft, agedSince: before?.aged_since ?? null }, proposalId };
  });
}

interface Draft {
  id: string;
  version: number;
  name: string;
  rank: number;
  tags: readonly string[] | null;
  rules: PolicyRules;
}

/** `by`: who stands beside the version; of one that two wanted, both. */
async function write(
  tx: Tx,
  at: number,
  before: PolicyRow | null,
  { id, name, rank, tags: given, rules }: Draft,
  { actor, by, reason, ...more }: { actor: string; by: string; reason: string; proposalId?: string },
): Promise<Policy> {
  const tags = given === null ? null : [...given];
  const row = {
    id,
    name,
    rank,
    tags: tags === null ? null : JSON.stringify(tags),
    rules: JSON.stringify(rules),
    version: (before?.version ?? 0) + 1,
    created_at: before?.created_at ?? at,
    created_by: before?.created_by ?? by,
    changed_at: at,
    changed_by: by,
    aged_since: agedSince(before && policyOf(before), { tags, rules }, at),
    ended_at: null,
  };
  await keepPolicy(tx, row);
  await insertPolicyVersion(tx, { policy_id: id, version: row.version, at, actor: by, reason, name, rank, tags: row.tags, rules: row.rules });
  const was = before && { name: before.name, rank: before.rank, tags: policyOf(before).tags, rules: policyOf(before).rules };
  await audit(tx, {
    at,
    actor,
    act: before ? 'policy.changed' : 'policy.made',
    details: { policyId: id, version: row.version, name, rank, tags, rules, was, reason, ...more },
  });
  return policyOf(row);
}

/** What two people wanted: the one with this scope, as it was proposed. Whatever stood in its way then is asked again. */
export async function applyProposal(
  tx: Tx,
  at: number,
  { policyId, version, name, rank, tags, rules, reason, scope, proposalId, actor, by }: Applying,
): Promise<void> {
  if (rules === null) {
    const row = await inForce(tx, policyId, scope);
    if (row.version !== version) throw new Problem('POLICY_CHANGED', `it is version ${row.version} now`);
    return end(tx, at, row, { actor, by, reason, proposalId });
  }
  const wanted = { id: version === 0 ? null : policyId, version, name, rank, tags, rules, scope, service: false };
  const { before } = await drafted(tx, wanted);
  await write(tx, at, before, { ...wanted, id: policyId }, { actor, by, reason, proposalId });
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

export interface PolicyEnding {
  id: string;
  actor: string;
  personId: string | null;
  scope: Scope;
  reason: string;
  service: boolean;
}

/** Ends it, or says by which proposal that waits for a second person. */
export async function endPolicy(parts: CustodyParts, { id, actor, personId, scope, reason, service }: PolicyEnding): Promise<string | null> {
  if (reason.trim() === '') throw new Problem('REASON_MISSING');
  return parts.act(async (tx, at) => {
    const row = await inForce(tx, id, scope);
    const policy = policyOf(row);
    refuseProgram(service, policy.rules);
    const weaker = weakerBy(await policyRows(tx), { ...policy, rules: {} });
    if (weaker.length > 0 && personId !== null) return propose(tx, at, { ...policy, rules: null, weaker, actor, personId, reason });
    await end(tx, at, row, { actor, by: actor, reason });
    return null;
  });
}

async function end(
  tx: Tx,
  at: number,
  row: PolicyRow,
  { actor, by, reason, ...more }: { actor: string; by: string; reason: string; proposalId?: string },
): Promise<void> {
  const version = row.version + 1;
  await keepPolicy(tx, { ...row, version, changed_at: at, changed_by: by, ended_at: at });
  await insertPolicyVersion(tx, { policy_id: row.id, version, at, actor: by, reason, name: row.name, rank: row.rank, tags: row.tags, rules: null });
  await audit(tx, { at, actor, act: 'policy.ended', details: { policyId: row.id, version, name: row.name, reason, ...more } });
}

/** Which policies somebody sees: those that may be for Macs of theirs. */
export const seesPolicy = (scope: Scope, tags: readonly string[] | null): boolean => scope === null || tags === null || tags.some((tag) => scope.includes(tag));
