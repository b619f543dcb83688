import { randomUUID } from 'node:crypto';
import type { Kysely } from 'kysely';
import { day } from '../custody-parts.ts';
import type { Tx } from '../parts.ts';
import { choosePolicy, type Policy, policiesInForce } from '../policies/policy.ts';
import { tagsOf } from '../store/fleet-scope.ts';
import { macById } from '../store/macs.ts';
import { forgetRulesKept, insertRulesKept, type RulesKept, rulesKeptOf } from '../store/weaker-disclosure.ts';
import type { Tables } from '../tables.ts';
import { isSamePerson } from './admin-now.ts';
import type { DisclosurePolicy } from './disclosure-policy.ts';
import { asksTwo, needsTwoToBecome, strictest } from './weaker.ts';

/*
 * What holds for disclosing the key of a Mac: the one place where it is asked. Tags and users of Macs are changed by one person;
 * where that brings a Mac under weaker rules than such as ask for two people, those of before hold on beside the new ones, for
 * everybody for a day, and for whoever did it until somebody else agrees. Policies are made weaker by two (server/policies/proposals.ts).
 */

const keptTime = day;

type Db = Kysely<Tables>;

/** For whom: the person who acts; null where none is meant. */
export interface Asking {
  at: number;
  personId: string | null;
}

const rulesWith = (policies: readonly Policy[], tags: readonly string[]): DisclosurePolicy => choosePolicy(policies, tags, 'disclosure').rules;
const tagsIn = (row: RulesKept): string[] => JSON.parse(row.tags) as string[];

/** What was kept of before and says more than the rules of now; `until` null: it binds whoever did it, and nobody else. */
export interface HeldOn {
  row: RulesKept;
  until: number | null;
}

async function keptOf(db: Db, macId: string): Promise<RulesKept[]> {
  const into = (await macById(db, macId))?.merged_into;
  return rulesKeptOf(db, into ? [macId, into] : [macId]);
}

/** Those changes of this Mac whose rules of before are stricter than those that it has now. */
export async function heldOn(db: Db, macId: string, at: number): Promise<HeldOn[]> {
  const kept = await keptOf(db, macId);
  if (kept.length === 0) return [];
  const policies = await policiesInForce(db);
  const now = rulesWith(policies, await tagsOf(db, macId));
  return kept.flatMap((row) => {
    const isDay = at - row.at < keptTime;
    const isStricter = needsTwoToBecome(now, rulesWith(policies, tagsIn(row)));
    return isStricter && (isDay || row.person_id !== null) ? [{ row, until: isDay ? row.at + keptTime : null }] : [];
  });
}

/** What the policies say of disclosing the key of this Mac to somebody. */
export async function disclosureRules(db: Db, macId: string, { at, personId }: Asking): Promise<DisclosurePolicy> {
  const policies = await policiesInForce(db);
  const rules = rulesWith(policies, await tagsOf(db, macId));
  const also: DisclosurePolicy[] = [];
  for (const row of await keptOf(db, macId)) {
    const before = rulesWith(policies, tagsIn(row));
    if (!asksTwo(before)) continue;
    const binds = at - row.at < keptTime || (personId !== null && row.person_id !== null && (await isSamePerson(db, personId, row.person_id)));
    if (binds) also.push(before);
  }
  return strictest([rules, ...also]);
}

interface By {
  actor: string;
  personId: string | null;
}

async function keep(tx: Tx, at: number, macId: string, tags: readonly string[], { actor, personId }: By): Promise<void> {
  await forgetRulesKept(tx, macId, at - keptTime);
  const row = { id: randomUUID(), mac_id: macId, at, actor, person_id: personId, tags: JSON.stringify(tags), lifted_at: null, lifted_by: null };
  await insertRulesKept(tx, row);
}

/** Around whatever changes the tags of a Mac; `macIds`: of all records of that machine. */
export async function keepingRules<T>(tx: Tx, at: number, macIds: readonly string[], by: By, change: () => Promise<T>): Promise<T> {
  const before = new Map<string, string[]>();
  for (const macId of macIds) before.set(macId, await tagsOf(tx, macId));
  const done = await change();
  const policies = await policiesInForce(tx);
  for (const [macId, tags] of before) {
    if (needsTwoToBecome(rulesWith(policies, await tagsOf(tx, macId)), rulesWith(policies, tags))) await keep(tx, at, macId, tags, by);
  }
  return done;
}

/** Whoever gives a Mac to somebody else changes its tags too, though a moment later: those of the groups of its user. */
export async function keepRulesOfUser(tx: Tx, at: number, macId: string, by: By): Promise<void> {
  const tags = await tagsOf(tx, macId);
  if (asksTwo(rulesWith(await policiesInForce(tx), tags))) await keep(tx, at, macId, tags, by);
}
