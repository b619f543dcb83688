import { z } from 'zod';
import { isSamePerson } from '../../server/approvals/admin-now.ts';
import { liftRules } from '../../server/approvals/lifting.ts';
import { macInScope } from '../../server/fleet/in-scope.ts';
import { scopeOf } from '../../server/permissions.ts';
import { policyRules } from '../../server/policies/policy.ts';
import { proposalState, rulesOfProposal, tagsOfProposal } from '../../server/policies/proposals.ts';
import type { ProposalRow } from '../../server/store/weaker-disclosure.ts';
import { type Acting, type AnyOperation, operation } from '../operation.ts';
import { write } from './disclosures.ts';
import { iso } from './orders.ts';

/* What one person alone does not make weaker: a second one agrees, or does not. */

const time = z.iso.datetime();
const words = z.string().trim().min(1).max(500).describe('why: whoever proposed it, and the auditors, read it');

const proposalOut = z.strictObject({
  id: z.string(),
  policyId: z.string(),
  state: z.enum(['waiting', 'agreed', 'declined', 'withdrawn', 'restored', 'expired']),
  name: z.string(),
  rank: z.int(),
  tags: z.array(z.string()).nullable(),
  rules: policyRules.nullable().describe('as the policy would be; null: it would end'),
  isNew: z.boolean(),
  weaker: z.array(z.string()).describe('what would show keys more easily than now, for some Macs'),
  reason: z.string(),
  proposedBy: z.string(),
  isMine: z.boolean(),
  mayDecide: z.boolean().describe('it waits for somebody like whoever asks now'),
  proposedAt: time,
  expiresAt: time,
  decidedBy: z.string().nullable(),
  decidedAt: time.nullable(),
  words: z.string().nullable(),
});
export type ProposalOut = z.infer<typeof proposalOut>;

async function sayProposal({ backend, admin, at }: Pick<Acting, 'backend' | 'admin' | 'at'>, row: ProposalRow): Promise<ProposalOut> {
  const isMine = admin.personId !== null && (await isSamePerson(backend.store.db, admin.personId, row.person_id));
  const state = proposalState(row, at);
  const tags = tagsOfProposal(row);
  const scope = scopeOf(admin, 'policy.agree');
  const isTheirs = scope === null || (scope !== false && tags !== null && tags.every((tag) => scope.includes(tag)));
  return {
    id: row.id,
    policyId: row.policy_id,
    state,
    name: row.name,
    rank: row.rank,
    tags,
    rules: rulesOfProposal(row),
    isNew: row.version === 0,
    weaker: JSON.parse(row.weaker) as string[],
    reason: row.reason,
    proposedBy: row.proposed_by,
    isMine,
    mayDecide: state === 'waiting' && isTheirs && !isMine && !admin.service,
    proposedAt: iso(row.proposed_at),
    expiresAt: iso(row.expires_at),
    decidedBy: row.decided_by,
    decidedAt: row.decided_at === null ? null : iso(row.decided_at),
    words: row.words,
  };
}

export const listProposals = operation({
  name: 'policies.proposals',
  method: 'GET',
  path: '/v1/policies/proposals',
  says: 'Lists changes of policies that wait for a second person, and what became of the last ones; newest first.',
  permission: 'policy.read',
  input: z.strictObject({ open: z.boolean().default(false).describe('only those that wait') }),
  output: z.strictObject({ items: z.array(proposalOut) }),
  async run(acting, { open }) {
    const rows = await acting.backend.custody.policies.proposals(acting.scope, open);
    const items = await Promise.all(rows.map((row) => sayProposal(acting, row)));
    return { items: open ? items.filter(({ state }) => state === 'waiting') : items };
  },
});

const which = z.string().min(1).max(64);

export const agreeToPolicy = operation({
  name: 'policies.agree',
  method: 'POST',
  path: '/v1/policies/proposals/{id}/agree',
  says: 'Agrees, as a second person, to a change of a policy that shows keys more easily: from then on it holds.',
  permission: 'policy.agree',
  fresh: true,
  input: z.strictObject({ id: which, words }),
  output: proposalOut,
  run: async (acting, deciding) => sayProposal(acting, await acting.backend.custody.policies.agree(acting.admin, deciding, acting.before)),
});

export const declinePolicy = operation({
  name: 'policies.decline',
  method: 'POST',
  path: '/v1/policies/proposals/{id}/decline',
  says: 'Declines a change of a policy that waits for a second person, or takes one’s own back; one is enough.',
  permission: 'policy.agree',
  input: z.strictObject({ id: which, words }),
  output: proposalOut,
  run: async (acting, deciding) => sayProposal(acting, await acting.backend.custody.policies.decline(acting.admin, deciding, acting.before)),
});

export const agreeToTags = operation({
  name: 'devices.agree-rules',
  method: 'POST',
  path: '/v1/devices/{id}/rules/agree',
  says: 'Agrees, as a second person, that what a Mac’s tags or user of before said of showing its key holds no more.',
  permission: 'policy.agree',
  fresh: true,
  input: z.strictObject({ id: z.string().min(1).max(128).describe('the id of a Mac, or its serial number'), words }),
  output: z.strictObject({ serial: z.string(), lifted: z.int().describe('changes that were agreed to') }),
  async run(acting, { id, words: said }) {
    return write(acting, async (tx, at) => {
      const mac = await macInScope(tx, acting.scope, id);
      return { serial: mac.serial, lifted: await liftRules(tx, at, acting.admin, { macIds: mac.ids, words: said }) };
    });
  },
});

export const weakerDisclosureOperations: readonly AnyOperation[] = [listProposals, agreeToPolicy, declinePolicy, agreeToTags];
