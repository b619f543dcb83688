import { z } from 'zod';
import { Problem } from '../../protocol/problems.ts';
import { isOwnName } from '../../server/approvals/admin-now.ts';
import { disclosureRules, keepRulesOfUser } from '../../server/approvals/rules.ts';
import { assign, readAccount, readUserName, unassign, whose } from '../../server/assignments.ts';
import { isoTime } from '../../server/custody-parts.ts';
import { macInScope } from '../../server/fleet/in-scope.ts';
import { setStanding, standingOf } from '../../server/mac-standing.ts';
import type { Tx } from '../../server/parts.ts';
import { claimsOf } from '../../server/store/assignments.ts';
import { tellFormer } from '../../web/admin-mails.ts';
import { type Acting, type AnyOperation, operation } from '../operation.ts';

const whichMac = z.string().min(1).max(128).describe('the id of a Mac, or its serial number');
const reason = z.string().trim().min(1).max(500).describe('it goes into the audit, and whose Mac it is can read it');
const users = z.strictObject({ users: z.array(z.string()).describe('whose Mac it is now; two where an admin has to decide') });

/** One act about one Mac within the scope; the Mac is looked at in the same transaction. */
async function inOneAct<T>({ backend, scope, before }: Acting, id: string, work: (tx: Tx, at: number, macId: string) => Promise<T>): Promise<T> {
  return backend.store.write(async (tx) => {
    const at = await backend.clock.persist(tx);
    await before?.(tx, at);
    return work(tx, at, (await macInScope(tx, scope, id)).id);
  });
}

async function usersOf(tx: Tx, macId: string): Promise<{ users: string[] }> {
  const owner = whose(await claimsOf(tx, macId));
  return { users: owner.kind === 'one' ? [owner.userName] : owner.kind === 'two-claims' ? [...owner.userNames] : [] };
}

/** Whose Mac it was hears of it: whom it is given to can see its key. */
async function told(tx: Tx, at: number, macId: string, before: readonly string[], by: string): Promise<{ users: string[] }> {
  const now = await usersOf(tx, macId);
  for (const name of before) if (!now.users.includes(name)) await tellFormer(tx, at, { macId, userName: name, by });
  return now;
}

/**
 * Whoever has a Mac is shown its key on the portal: that is for somebody else to say, and for a program only where the policy of
 * the Mac shows it keys as well.
 */
async function mayName(tx: Tx, at: number, macId: string, userName: string, { personId, service }: Acting['admin']): Promise<void> {
  if (personId !== null && (await isOwnName(tx, personId, userName))) throw new Problem('OWN_REQUEST', 'somebody else says whose Mac it is');
  if (service && (await disclosureRules(tx, macId, { at, personId })).service === 'never')
    throw new Problem('NOT_ALLOWED', 'whose Mac it is, is said by people, and not by a token that stands for a program');
}

export const deviceAssign = operation({
  name: 'devices.assign',
  method: 'POST',
  path: '/v1/devices/{id}/assign',
  says: 'Says whose Mac it is; nobody says so of themselves.',
  permission: 'device.edit',
  fresh: true,
  input: z.strictObject({
    id: whichMac,
    userName: z.string().trim().min(1).max(256).describe('as the sign-in provider says it'),
    account: z.string().trim().min(1).max(255).nullable().default(null).describe('the short name of their account on the Mac'),
    reason,
  }),
  output: users,
  async run(acting, { id, userName, account, reason: because }) {
    const name = readUserName(userName);
    const short = account === null ? null : readAccount(account);
    if (name === null) throw new Problem('MESSAGE_INVALID', 'userName: is none');
    if (account !== null && short === null) throw new Problem('MESSAGE_INVALID', 'account: is none');
    const { name: actor } = acting.admin;
    return inOneAct(acting, id, async (tx, at, macId) => {
      const { personId } = acting.admin;
      await mayName(tx, at, macId, name, acting.admin);
      const { users: before } = await usersOf(tx, macId);
      await keepRulesOfUser(tx, at, macId, { actor, personId });
      await assign(tx, at, { macId, userName: name, account: short, actor, reason: because });
      return told(tx, at, macId, before, actor);
    });
  },
});

export const deviceUnassign = operation({
  name: 'devices.unassign',
  method: 'POST',
  path: '/v1/devices/{id}/unassign',
  says: 'Says that it is not this person’s Mac any more, or nobody’s.',
  permission: 'device.edit',
  input: z.strictObject({ id: whichMac, userName: z.string().trim().min(1).max(256).nullable().default(null).describe('null: whoever it is said of'), reason }),
  output: users,
  async run(acting, { id, userName, reason: because }) {
    const name = userName === null ? null : readUserName(userName);
    if (userName !== null && name === null) throw new Problem('MESSAGE_INVALID', 'userName: is none');
    return inOneAct(acting, id, async (tx, at, macId) => {
      const { users: before } = await usersOf(tx, macId);
      await keepRulesOfUser(tx, at, macId, { actor: acting.admin.name, personId: acting.admin.personId });
      await unassign(tx, at, { macId, userName: name, actor: acting.admin.name, reason: because });
      const [now, ...others] = (await usersOf(tx, macId)).users;
      // What a list says counts again where nobody says otherwise.
      if (now !== undefined && others.length === 0 && before.join() !== now) await mayName(tx, at, macId, now, acting.admin);
      return told(tx, at, macId, before, acting.admin.name);
    });
  },
});

const standing = {
  ownership: z.enum(['organisation', 'personal']),
  state: z.enum(['in-use', 'lost', 'retired']),
  localAdmin: z.boolean().describe('it has a local admin that the organisation manages'),
};

/** What is lost, retired or its user’s own is shown to nobody on the portal, and has no codes of the desk: people end that, as they judge alarms. */
async function refuseOpening(
  tx: Tx,
  at: number,
  macId: string,
  { personId }: Acting['admin'],
  said: { ownership?: string | undefined; state?: string | undefined },
) {
  const was = await standingOf(tx, macId);
  const opens = (said.state === 'in-use' && was.state !== 'in-use') || (said.ownership === 'organisation' && was.ownership === 'personal');
  if (opens && (await disclosureRules(tx, macId, { at, personId })).service === 'never')
    throw new Problem('NOT_ALLOWED', 'that a Mac is in use again is said by people, and not by a token that stands for a program');
}

export const deviceStanding = operation({
  name: 'devices.standing',
  method: 'POST',
  path: '/v1/devices/{id}/standing',
  says: 'Says of a Mac that it is lost, retired or in use, and whose it is; what is left out stays as it is.',
  permission: 'device.edit',
  input: z.strictObject({
    id: whichMac,
    ownership: standing.ownership.optional(),
    state: standing.state.optional(),
    localAdmin: standing.localAdmin.optional(),
    reason,
  }),
  output: z.strictObject({ ...standing, at: z.iso.datetime() }),
  run: (acting, { id, ownership, state, localAdmin, reason: because }) =>
    inOneAct(acting, id, async (tx, at, macId) => {
      if (acting.admin.service) await refuseOpening(tx, at, macId, acting.admin, { ownership, state });
      const change = { ...(ownership ? { ownership } : {}), ...(state ? { state } : {}), ...(localAdmin === undefined ? {} : { localAdmin }) };
      const said = await setStanding(tx, at, { macId, actor: acting.admin.name, reason: because, change });
      return { ownership: said.ownership, state: said.state, localAdmin: said.localAdmin, at: isoTime(at) };
    }),
});

export const deviceEditOperations: readonly AnyOperation[] = [deviceAssign, deviceUnassign, deviceStanding];
