import { z } from 'zod';
import { asTag } from '../../server/admins/grants.ts';
import type { PolicyInForce } from '../../server/policies/policies.ts';
import { type Policy, policyRules } from '../../server/policies/policy.ts';
import { makeCursor, pageInput, pageOf, readCursor } from '../cursor.ts';
import { type AnyOperation, operation } from '../operation.ts';
import { iso, reason } from './orders.ts';

const time = z.iso.datetime();
const which = z.string().min(1).max(64);
const name = z
  .string()
  .trim()
  .min(1)
  .max(100)
  .regex(/^[^\p{C}]+$/u);
const rank = z.int().min(1).max(9999).describe('of the policies that a Mac has a tag of and that say something of a section, the lowest counts');
const tags = z.array(z.string().trim().min(1).max(300).overwrite(asTag)).min(1).max(50).nullable().describe('for Macs that have one of them; null: for all');

const policy = z.strictObject({
  id: z.string(),
  name,
  rank,
  tags: z.array(z.string()).nullable(),
  rules: policyRules,
  version: z.int(),
  agedSince: time.nullable().describe('since when it replaces keys by their age as it does now'),
});
const listed = z.strictObject({ ...policy.shape, changedAt: time, changedBy: z.string() });

const policyOut = ({ tags: of, agedSince, ...rest }: Policy): z.infer<typeof policy> => ({
  id: rest.id,
  name: rest.name,
  rank: rest.rank,
  tags: of === null ? null : [...of],
  rules: rest.rules,
  version: rest.version,
  agedSince: agedSince === null ? null : iso(agedSince),
});
const listedOut = (one: PolicyInForce): z.infer<typeof listed> => ({ ...policyOut(one), changedAt: iso(one.changedAt), changedBy: one.changedBy });

export const listPolicies = operation({
  name: 'policies.list',
  method: 'GET',
  path: '/v1/policies',
  says: 'Lists the policies in force, in order of rank; what none says something of is as the built-in rules have it.',
  permission: 'policy.read',
  input: z.strictObject({}),
  output: z.strictObject({ items: z.array(listed), builtIn: policyRules.describe('where no policy says anything') }),
  async run({ backend, scope }) {
    const { policies } = backend.custody;
    return { items: (await policies.list(scope)).map(listedOut), builtIn: policies.builtIn };
  },
});

const draft = {
  rank,
  tags,
  rules: policyRules.describe('a section that is left out is not this policy’s matter'),
};

const waitsAs = z.string().nullable().describe('it waits for a second person under this id, and everything is as it was; null: it is done');

export const putPolicy = operation({
  name: 'policies.put',
  method: 'PUT',
  path: '/v1/policies/{id}',
  says: 'Makes a policy (id `new`), or changes one. What shows keys more easily than rules that ask for a second person is a proposal: nothing changes before somebody else agrees.',
  permission: 'policy.edit',
  fresh: true,
  input: z.strictObject({
    id: which.describe('of the policy; `new` for another one'),
    version: z
      .int()
      .nullable()
      .default(null)
      .describe('as it was read: whoever changes what somebody else has changed meanwhile is refused; null: whatever it is'),
    name,
    ...draft,
    reason,
  }),
  output: z.strictObject({ ...policy.shape, proposal: waitsAs }),
  async run({ admin, backend, scope }, { id, ...change }) {
    const by = { actor: admin.name, personId: admin.personId, scope, service: admin.service };
    const { policy: made, proposalId } = await backend.custody.policies.put({ ...change, id: id === 'new' ? null : id, ...by });
    return { ...policyOut(made), proposal: proposalId };
  },
});

export const endPolicy = operation({
  name: 'policies.end',
  method: 'POST',
  path: '/v1/policies/{id}/end',
  says: 'Ends a policy: from then on the next one counts for its Macs, or the built-in rules. A proposal, as with a change, where keys would be shown more easily.',
  permission: 'policy.edit',
  fresh: true,
  input: z.strictObject({ id: which, reason }),
  output: z.strictObject({ id: z.string(), ended: z.boolean(), proposal: waitsAs }),
  async run({ admin, backend, scope }, { id, reason: why }) {
    const proposal = await backend.custody.policies.end({
      id,
      actor: admin.name,
      personId: admin.personId,
      scope,
      reason: why,
      service: admin.service,
    });
    return { id, ended: proposal === null, proposal };
  },
});

const counted = z.int().min(0);

export const dryRunPolicy = operation({
  name: 'policies.dryRun',
  method: 'POST',
  path: '/v1/policies/dry-run',
  says: 'Says which keys would be replaced by their age in the next 30 days if a policy were so. Changes nothing.',
  permission: 'policy.read',
  changesNothing: true,
  input: z.strictObject({ id: which.nullable().default(null).describe('the policy that it would take the place of; null: another one'), ...draft }),
  output: z.strictObject({
    covered: counted.describe('Macs for which it is what counts about replacing keys'),
    count: counted.describe('Macs whose key would be replaced in these days'),
    firstAt: time.nullable(),
    lastAt: time.nullable(),
    words: z.string(),
    first: z.array(z.strictObject({ serial: z.string(), macId: z.string(), at: time, keySince: time })).describe('the first 50 of them'),
    days: z.array(z.strictObject({ from: time, count: counted, present: counted.describe('by the policies as they are, for all Macs') })),
    presentCount: counted,
  }),
  run: ({ backend, scope }, input) => backend.custody.policies.dryRun(scope, input),
});

const historyCursor = z.strictObject({ at: z.int(), id: z.string(), version: z.int() });

export const policyHistory = operation({
  name: 'policies.history',
  method: 'GET',
  path: '/v1/policies/history',
  says: 'Lists every policy as it stood, newest first.',
  permission: 'policy.read',
  input: z.strictObject({ policyId: which.optional(), ...pageInput }),
  output: pageOf(
    z.strictObject({
      policyId: z.string(),
      version: z.int(),
      at: time,
      actor: z.string(),
      reason: z.string(),
      name: z.string(),
      rank: z.int(),
      tags: z.array(z.string()).nullable(),
      rules: policyRules.nullable().describe('null: it ended'),
    }),
  ),
  async run({ backend, scope }, { policyId, cursor, limit }) {
    const { items, last } = await backend.custody.policies.history(scope, { policyId, before: readCursor(historyCursor, cursor), limit });
    return { items: items.map(({ at, ...one }) => ({ ...one, at: iso(at) })), next: last && makeCursor(last) };
  },
});

export const policyOperations: readonly AnyOperation[] = [listPolicies, putPolicy, endPolicy, dryRunPolicy, policyHistory];
