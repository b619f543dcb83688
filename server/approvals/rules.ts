import type { Kysely } from 'kysely';
import { policyFor } from '../policies/policy.ts';
import type { Tables } from '../tables.ts';
import { type DisclosurePolicy, plainDisclosure } from './disclosure-policy.ts';

/** What the policies say of disclosing the key of this Mac now. */
export const disclosureRules = async (db: Kysely<Tables>, macId: string): Promise<DisclosurePolicy> =>
  (await policyFor(db, macId, 'disclosure')).rules ?? plainDisclosure;
