import { randomInt } from 'node:crypto';
import { Problem } from '../protocol/problems.ts';
import type { Tx } from '../server/parts.ts';
import type { SitesGround } from '../server/serve.ts';
import { helpCodeSince, insertHelpCode } from '../server/store/help-codes.ts';
import type { Visit } from './visit.ts';

/** Signs that are told apart when they are read out, and when they are read: no B D E G P T, no 0 O, 1 I L, 5 S, 8. */
const signs = '234679ACFHJKMNRVWXY';
const pick = (count: number, from: string): string => Array.from({ length: count }, () => from[randomInt(from.length)]).join('');

/** Such as `7F3A-29`: six million of them, each kept for a week; it says nothing to anybody but the service desk. */
const newHelpCode = (): string => `${pick(4, signs)}-${pick(2, '2345679')}`;

const mostPage = 200;
/** For so long a page that is looked at again has the same code: one more row for each look would fill the disk. */
const sameMs = 60 * 60 * 1000;

/** The code on a page that anybody may ask for as often as they like. */
export async function helpCodeOf(
  { backend }: Pick<SitesGround, 'backend'>,
  visit: Pick<Visit, 'network' | 'language' | 'session' | 'at'>,
  { page, macId = null }: { page: string; macId?: string | null },
): Promise<string> {
  const { store, clock } = backend;
  const personId = visit.session?.person.id;
  const met = personId === undefined ? null : { page: page.slice(0, mostPage), macId, personId, since: visit.at - sameMs };
  const kept = met && (await helpCodeSince(store.db, met));
  if (kept) return kept;
  // Within the act it is looked for again: many may ask at once.
  return store.write(async (tx) => (met && (await helpCodeSince(tx, met))) ?? helpCode(tx, { page, visit, macId, at: await clock.persist(tx) }));
}

/** Keeps what somebody met under a code that they can read out. `page`: a path, or the code of a problem. */
export async function helpCode(
  tx: Tx,
  { page, visit, macId = null, at }: { page: string; visit: Pick<Visit, 'network' | 'language' | 'session'>; macId?: string | null; at: number },
): Promise<string> {
  const { network, language } = visit;
  const person_id = visit.session?.person.id ?? null;
  for (let tries = 0; tries < 10; tries++) {
    const code = newHelpCode();
    if (await insertHelpCode(tx, { code, page: page.slice(0, mostPage), mac_id: macId, person_id, network, language, created_at: at })) return code;
  }
  throw new Problem('SERVER_BUG', 'no help code is free');
}
