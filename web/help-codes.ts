import { randomInt } from 'node:crypto';
import { Problem } from '../protocol/problems.ts';
import type { Tx } from '../server/parts.ts';
import { insertHelpCode } from '../server/store/help-codes.ts';
import type { Visit } from './visit.ts';

/** Signs that are told apart when they are read out, and when they are read: no B D E G P T, no 0 O, 1 I L, 5 S, 8. */
const signs = '234679ACFHJKMNRVWXY';
const pick = (count: number, from: string): string => Array.from({ length: count }, () => from[randomInt(from.length)]).join('');

/** Such as `7F3A-29`: six million of them, each kept for a week; it says nothing to anybody but the service desk. */
const newHelpCode = (): string => `${pick(4, signs)}-${pick(2, '2345679')}`;

/** Keeps what somebody met under a code that they can read out. `page`: a path, or the code of a problem. */
export async function helpCode(
  tx: Tx,
  { page, visit, macId = null, at }: { page: string; visit: Pick<Visit, 'network' | 'language' | 'session'>; macId?: string | null; at: number },
): Promise<string> {
  const { network, language } = visit;
  const person_id = visit.session?.person.id ?? null;
  for (let tries = 0; tries < 10; tries++) {
    const code = newHelpCode();
    if (await insertHelpCode(tx, { code, page: page.slice(0, 200), mac_id: macId, person_id, network, language, created_at: at })) return code;
  }
  throw new Problem('SERVER_BUG', 'no help code is free');
}
