import { randomUUID } from 'node:crypto';
import { Problem } from '../../protocol/problems.ts';
import { audit } from '../audit.ts';
import type { Backend } from '../backend.ts';
import type { Tx } from '../parts.ts';
import { type Admin, type RoleGiven, scopeOf } from '../permissions.ts';
import { endApiToken, insertToken, openTokensOf, type TokenRow, tokenById } from '../store/api-tokens.ts';
import { beyond, neverOfTokens, sayScope } from './grants.ts';
import { stillMay } from './roles.ts';
import { newToken, tokenDigest } from './token-form.ts';

type Parts = Pick<Backend, 'store' | 'clock'>;

const day = 24 * 60 * 60 * 1000;
/** Every token ends. Days: at most, and where nothing is said. */
export const tokenDays = { service: { most: 400, usual: 30 }, personal: { most: 30, usual: 7 } } as const;
/** Of the command line: a working day. */
const loginHours = 12;

export interface TokenToMake {
  name: string;
  roles: readonly RoleGiven[];
  service: boolean;
  days: number | null;
}

export interface MadeToken {
  id: string;
  /** In plain: here and never again. */
  token: string;
  expiresAt: number;
}

async function store(
  tx: Tx,
  row: Omit<TokenRow, 'id' | 'digest' | 'last_used_at' | 'last_network' | 'ended_at' | 'ended_by'>,
  userName: string,
  details: object,
) {
  const token = newToken();
  const id = randomUUID();
  await insertToken(tx, { ...row, id, digest: tokenDigest(token) ?? '', last_used_at: null, last_network: null, ended_at: null, ended_by: null });
  const { name, kind, created_at: at, expires_at: expiresAt } = row;
  const roles = row.grants === null ? null : (JSON.parse(row.grants) as unknown);
  await audit(tx, { at, actor: userName, act: 'token.made', details: { tokenId: id, personId: row.person_id, name, kind, roles, expiresAt, ...details } });
  return { id, token, expiresAt };
}

/** A token of a person, with no more than they have. Roles that it is made with become less with what they may; never more. */
export async function makeToken({ store: { write }, clock }: Parts, admin: Admin, { name, roles, service, days }: TokenToMake): Promise<MadeToken> {
  const { personId } = admin;
  if (personId === null || admin.kind !== 'person') throw new Problem('NOT_ALLOWED', 'token.own');
  const { most, usual } = service ? tokenDays.service : tokenDays.personal;
  if ((days ?? usual) > most) throw new Problem('ROLE_INVALID', `${service ? 'a service token' : 'a token of a person'} is good for ${most} days at most`);
  return write(async (tx) => {
    const at = await clock.persist(tx);
    await stillMay(tx, admin, 'token.own', at);
    for (const role of roles) {
      // Without tags: for whichever Macs its maker has the role, now and later.
      const [more] = beyond(admin.grants, role, neverOfTokens).filter((one) => role.scope !== null || scopeOf(admin, one) === false);
      if (more !== undefined) throw new Problem('GRANT_TOO_WIDE', `${role.role}: ${more}, for ${sayScope(role.scope)}`);
    }
    if ((await openTokensOf(tx, personId, at)).some((one) => one.name === name)) throw new Problem('TOKEN_NAME_TAKEN', name);
    const kind = service ? 'service' : 'personal';
    const row = {
      name,
      person_id: personId,
      kind,
      grants: JSON.stringify(roles),
      fresh_at: null,
      created_at: at,
      expires_at: at + (days ?? usual) * day,
    } as const;
    return store(tx, row, admin.name, {});
  });
}

/** In the act that lets a program in: all that its person may, but making tokens. */
export const makeLoginToken = (
  tx: Tx,
  at: number,
  given: { person: { id: string; userName: string }; machine: string; freshAt: number; network: string },
): Promise<MadeToken> => {
  const { person, machine, freshAt, network } = given;
  const row = { person_id: person.id, kind: 'login', grants: null, fresh_at: freshAt, created_at: at, expires_at: at + loginHours * 3_600_000 } as const;
  // One word: what a program says of itself does not end in another person's name.
  const where = machine.replace(/[^\p{L}\p{N}._-]+/gu, '-');
  return store(tx, { ...row, name: `sparekeyctl at ${where}` }, person.userName, { network, machine });
};

/** One’s own, or by whoever may end those of others. What there is of others nobody else learns. */
export async function endToken({ store: { write }, clock }: Parts, admin: Admin, id: string): Promise<TokenRow> {
  const ofOthers = scopeOf(admin, 'people.edit') === null;
  return write(async (tx) => {
    const at = await clock.persist(tx);
    const row = await tokenById(tx, id);
    // The command line makes none, but takes away: a laptop may be all that somebody has at hand.
    const byLogin = admin.tokenId !== null && (await tokenById(tx, admin.tokenId))?.kind === 'login';
    const own = row !== null && row.person_id === admin.personId && (row.id === admin.tokenId || byLogin || scopeOf(admin, 'token.own') !== false);
    if (!row || !(own || ofOthers)) throw new Problem('NOT_FOUND', `there is no token ${id}`);
    if (await endApiToken(tx, id, admin.name, at))
      await audit(tx, { at, actor: admin.name, act: 'token.ended', details: { tokenId: id, personId: row.person_id, name: row.name, kind: row.kind } });
    return row;
  });
}
