import type { Kysely } from 'kysely';
import { z } from 'zod';
import { type DisclosurePolicy, disclosurePolicy, plainDisclosure } from '../approvals/disclosure-policy.ts';
import { tagsOf } from '../fleet/in-scope.ts';
import { type PolicyRow, policyRows } from '../store/policies.ts';
import type { Tables } from '../tables.ts';
import { plainRotation, type RotationPolicy, rotationPolicy } from './rotation-policy.ts';

/** What a policy may say: of each section everything or nothing. */
export const policyRules = z.strictObject({
  rotation: rotationPolicy.optional(),
  disclosure: disclosurePolicy.optional(),
});
export type PolicyRules = z.infer<typeof policyRules>;

export interface Sections {
  rotation: RotationPolicy;
  disclosure: DisclosurePolicy;
}
type Section = keyof Sections;

/** What holds where no policy says anything. */
export const builtInRules: Sections = { rotation: plainRotation, disclosure: plainDisclosure };

export interface Policy {
  id: string;
  name: string;
  rank: number;
  /** Null: all Macs. */
  tags: readonly string[] | null;
  rules: PolicyRules;
  agedSince: number | null;
  version: number;
}

export const policyOf = (row: PolicyRow): Policy => ({
  id: row.id,
  name: row.name,
  rank: row.rank,
  tags: row.tags === null ? null : (JSON.parse(row.tags) as string[]),
  rules: policyRules.parse(JSON.parse(row.rules)),
  agedSince: row.aged_since,
  version: row.version,
});

export interface PolicyFound<S extends Section> {
  /** Null: the built-in rules. */
  policy: Policy | null;
  rules: Sections[S];
}

const isFor = ({ tags }: Pick<Policy, 'tags'>, tagsOfMac: readonly string[]): boolean => tags === null || tags.some((tag) => tagsOfMac.includes(tag));

/** Of the policies that a Mac has a tag of, the first that says something of the section. `policies` in order of rank. */
export function choosePolicy<S extends Section>(policies: readonly Policy[], tagsOfMac: readonly string[], section: S): PolicyFound<S> {
  const policy = policies.find((one) => one.rules[section] !== undefined && isFor(one, tagsOfMac));
  return { policy: policy ?? null, rules: (policy?.rules[section] ?? builtInRules[section]) as Sections[S] };
}

export const policiesInForce = async (db: Kysely<Tables>): Promise<Policy[]> => (await policyRows(db)).map(policyOf);

/** What holds for one Mac now. */
export async function policyFor<S extends Section>(db: Kysely<Tables>, macId: string, section: S): Promise<PolicyFound<S>> {
  const policies = await policiesInForce(db);
  const isTagged = policies.some(({ rules, tags }) => rules[section] !== undefined && tags !== null);
  return choosePolicy(policies, isTagged ? await tagsOf(db, macId) : [], section);
}
