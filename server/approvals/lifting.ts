import { Problem } from '../../protocol/problems.ts';
import { audit } from '../audit.ts';
import type { Tx } from '../parts.ts';
import type { Admin } from '../permissions.ts';
import { liftRulesKept, type RulesKept } from '../store/weaker-disclosure.ts';
import { isSamePerson, stillMay, whoActs } from './admin-now.ts';
import { heldOn } from './rules.ts';

/** A second person agrees to what somebody did with the tags or the user of a Mac: what they said before holds no more. Returns how many. */
export async function liftRules(tx: Tx, at: number, admin: Admin, { macIds, words }: { macIds: readonly string[]; words: string }): Promise<number> {
  const { personId } = whoActs(admin);
  if (admin.service) throw new Problem('NOT_ALLOWED', 'a program agrees to nothing');
  if (words.trim() === '') throw new Problem('REASON_MISSING');
  const rows = new Map<string, RulesKept>();
  for (const macId of macIds) {
    await stillMay(tx, at, admin, 'policy.agree', macId);
    for (const { row } of await heldOn(tx, macId, at)) rows.set(row.id, row);
  }
  if (rows.size === 0) throw new Problem('NOT_FOUND', 'nothing waits for a second person here');
  // All or none: of one that they did themselves, what nobody did beside it may be what came of it.
  for (const row of rows.values()) if (row.person_id !== null && (await isSamePerson(tx, personId, row.person_id))) throw new Problem('OWN_REQUEST', row.actor);
  await liftRulesKept(tx, [...rows.keys()], { lifted_at: at, lifted_by: admin.name });
  const [macId = ''] = macIds;
  const kept = [...rows.values()].map((row) => ({ by: row.actor, at: row.at, tags: JSON.parse(row.tags) as string[] }));
  await audit(tx, { at, actor: admin.name, act: 'mac.rules-agreed', macId, details: { kept, words: words.trim() } });
  return rows.size;
}
