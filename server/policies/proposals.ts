import { randomUUID } from 'node:crypto';
import { Problem } from '../../protocol/problems.ts';
import { presentGrants } from '../admins/admin.ts';
import { isSamePerson, stillMayAtAll, whoActs } from '../approvals/admin-now.ts';
import { plainDisclosure } from '../approvals/disclosure-policy.ts';
import { type Saying, whereWeaker } from '../approvals/weaker.ts';
import { audit } from '../audit.ts';
import { day } from '../custody-parts.ts';
import type { Tx } from '../parts.ts';
import { type Admin, type Scope, scopeOf } from '../permissions.ts';
import { type PolicyRow, policyById, policyRows } from '../store/policies.ts';
import { insertProposal, type ProposalRow, proposalById, proposalRows, updateProposal } from '../store/weaker-disclosure.ts';
import { type Policy, type PolicyRules, policyOf, policyRules } from './policy.ts';

/*
 * A change of policies by which keys would be shown more easily than by rules that ask for a second person is a proposal. It holds
 * when somebody else agrees; until then everything is as it was.
 */

/** Who has not been found in that time asks anew. */
const proposalTime = 14 * day;
/** Nobody buries one that waits under others. */
const mostWaiting = 20;

const sayings = (policies: readonly Pick<Policy, 'rank' | 'tags' | 'rules'>[]): Saying[] =>
  policies
    .toSorted((one, other) => one.rank - other.rank)
    .flatMap(({ tags, rules }) => (rules.disclosure === undefined ? [] : [{ tags, rules: rules.disclosure }]));

/** What would be weaker if this policy were so, of what asks for a second person now. */
export function weakerBy(rows: readonly PolicyRow[], draft: Pick<Policy, 'id' | 'rank' | 'tags' | 'rules'>): string[] {
  const inForce = rows.map(policyOf);
  return whereWeaker(sayings(inForce), sayings([...inForce.filter(({ id }) => id !== draft.id), draft]), plainDisclosure);
}

interface Proposing {
  id: string;
  version: number;
  name: string;
  rank: number;
  tags: readonly string[] | null;
  rules: PolicyRules | null;
  weaker: readonly string[];
  actor: string;
  personId: string;
  reason: string;
}

export async function propose(
  tx: Tx,
  at: number,
  { id: policyId, version, name, rank, tags, rules, weaker, actor, personId, reason }: Proposing,
): Promise<string> {
  const waiting = (await proposalRows(tx, true)).filter((one) => one.expires_at > at);
  if (waiting.length >= mostWaiting) throw new Problem('REQUESTS_LIMIT', 'so many changes of policies wait for a second person already');
  const row: ProposalRow = {
    id: randomUUID(),
    policy_id: policyId,
    version,
    name,
    rank,
    tags: tags === null ? null : JSON.stringify(tags),
    rules: rules === null ? null : JSON.stringify(rules),
    reason,
    weaker: JSON.stringify(weaker),
    proposed_by: actor,
    person_id: personId,
    proposed_at: at,
    expires_at: at + proposalTime,
    state: 'waiting',
    decided_at: null,
    decided_by: null,
    words: null,
  };
  await insertProposal(tx, row);
  const details = { proposalId: row.id, policyId, version, name, rank, tags, rules, weaker, reason, until: row.expires_at };
  await audit(tx, { at, actor, act: 'policy.proposed', details });
  return row.id;
}

/** As it stands: one that nobody decided in its time is over by the clock alone. */
export const proposalState = (row: ProposalRow, at: number): ProposalRow['state'] | 'expired' =>
  row.state === 'waiting' && row.expires_at <= at ? 'expired' : row.state;

export const tagsOfProposal = ({ tags }: Pick<ProposalRow, 'tags'>): string[] | null => (tags === null ? null : (JSON.parse(tags) as string[]));
export const rulesOfProposal = ({ rules }: Pick<ProposalRow, 'rules'>): PolicyRules | null => (rules === null ? null : policyRules.parse(JSON.parse(rules)));

export interface Deciding {
  id: string;
  words: string;
}

/** One that waits, and for all of whose Macs this admin may agree; that there is any other they are not told. */
async function waiting(tx: Tx, at: number, admin: Admin, { id, words }: Deciding, mayTouch: (scope: Scope, tags: readonly string[] | null) => boolean) {
  const { personId } = whoActs(admin);
  const scope = await stillMayAtAll(tx, at, admin, 'policy.agree');
  const row = await proposalById(tx, id);
  const present = row && (await policyById(tx, row.policy_id));
  if (!row || !mayTouch(scope, tagsOfProposal(row)) || (present && !mayTouch(scope, policyOf(present).tags)))
    throw new Problem('NOT_FOUND', 'no such proposal');
  if (admin.service) throw new Problem('NOT_ALLOWED', 'a program agrees to nothing');
  if (words.trim() === '') throw new Problem('REASON_MISSING', 'say why: whoever proposed it reads it');
  const state = proposalState(row, at);
  if (state !== 'waiting') throw new Problem('REQUEST_ENDED', `it is ${state}`);
  return { row, personId };
}

export interface Applying {
  policyId: string;
  /** As it was when it was proposed; 0: there was none. */
  version: number;
  name: string;
  rank: number;
  tags: readonly string[] | null;
  /** Null: it ends. */
  rules: PolicyRules | null;
  reason: string;
  /** Of whoever proposed it. */
  scope: Scope;
  proposalId: string;
  actor: string;
  by: string;
}

/** How a change is made, and for whom somebody may make one: of server/policies/change.ts, which proposes. */
interface Changing {
  mayTouch(scope: Scope, tags: readonly string[] | null): boolean;
  apply(tx: Tx, at: number, change: Applying): Promise<void>;
}

/** A second person agrees: from now on it holds. Whoever proposed it has to be somebody who may still make such a change. */
export async function agreeProposal(tx: Tx, at: number, admin: Admin, deciding: Deciding, { mayTouch, apply }: Changing): Promise<ProposalRow> {
  const { row, personId } = await waiting(tx, at, admin, deciding, mayTouch);
  if (await isSamePerson(tx, personId, row.person_id)) throw new Problem('OWN_REQUEST', row.proposed_by);
  const proposer = await presentGrants(tx, row.person_id, at);
  const scope = proposer ? scopeOf(proposer, 'policy.edit') : false;
  if (scope === false) throw new Problem('NOT_ALLOWED', 'whoever proposed it may not change policies any more');
  const words = deciding.words.trim();
  const { id: proposalId, policy_id: policyId, version, name, rank, reason } = row;
  const [tags, rules] = [tagsOfProposal(row), rulesOfProposal(row)];
  // Other policies may ask for more by now than they did when it was said what would be weaker.
  const said = JSON.parse(row.weaker) as string[];
  const more = weakerBy(await policyRows(tx), { id: policyId, rank, tags, rules: rules ?? {} }).filter((one) => !said.includes(one));
  if (more.length > 0) throw new Problem('POLICY_CHANGED', `by now it would make weaker as well: ${more.join(', ')}`);
  const change = { state: 'agreed', decided_at: at, decided_by: admin.name, words } as const;
  await updateProposal(tx, row.id, change);
  await audit(tx, { at, actor: admin.name, act: 'policy.agreed', details: { proposalId, policyId, proposedBy: row.proposed_by, words } });
  const by = `${row.proposed_by} and ${admin.name}`;
  await apply(tx, at, {
    policyId,
    version,
    name,
    rank,
    tags,
    rules,
    reason,
    scope,
    proposalId,
    actor: admin.name,
    by,
  });
  return { ...row, ...change };
}

/** By anybody who could agree, and by whoever proposed it. */
export async function declineProposal(tx: Tx, at: number, admin: Admin, deciding: Deciding, { mayTouch }: Pick<Changing, 'mayTouch'>): Promise<ProposalRow> {
  const { row, personId } = await waiting(tx, at, admin, deciding, mayTouch);
  const state = personId === row.person_id ? 'withdrawn' : 'declined';
  const change = { state, decided_at: at, decided_by: admin.name, words: deciding.words.trim() } as const;
  await updateProposal(tx, row.id, change);
  const details = { proposalId: row.id, policyId: row.policy_id, proposedBy: row.proposed_by, words: change.words };
  await audit(tx, { at, actor: admin.name, act: `policy.${state}`, details });
  return { ...row, ...change };
}
