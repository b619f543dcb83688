import { z } from 'zod';
import { Problem } from '../../protocol/problems.ts';
import { deviceLoginsOf } from '../../server/admins/device-login.ts';
import { grantsInWords } from '../../server/admins/grants.ts';
import { endToken } from '../../server/admins/tokens.ts';
import { permissions } from '../../server/permissions.ts';
import { tokenById } from '../../server/store/api-tokens.ts';
import { personById } from '../../server/store/people.ts';
import { type AnyOpenOperation, openOperation } from '../open-operation.ts';
import { type AnyOperation, operation } from '../operation.ts';

const time = z.iso.datetime();
const iso = (at: number): string => new Date(at).toISOString();

export const me = operation({
  name: 'me.show',
  method: 'GET',
  path: '/v1/me',
  says: 'Says who is asking, and what they may.',
  permission: 'signed-in',
  input: z.strictObject({}),
  output: z.strictObject({
    kind: z.enum(['person', 'token', 'operator']),
    name: z.string().describe('As the audit names them.'),
    userName: z.string().nullable(),
    displayName: z.string().nullable(),
    fresh: z.boolean().describe('Whether they proved who they are a short time ago: some acts ask for it.'),
    may: z.array(
      z.strictObject({
        permission: z.enum(Object.keys(permissions) as [keyof typeof permissions, ...(keyof typeof permissions)[]]),
        says: z.string(),
        tags: z.array(z.string()).nullable().describe('For Macs with one of these tags; null for all.'),
      }),
    ),
    token: z.strictObject({ id: z.string(), name: z.string(), kind: z.enum(['personal', 'service', 'login']), expiresAt: time }).nullable(),
  }),
  async run({ admin, backend }) {
    const person = admin.personId === null ? null : await personById(backend.store.db, admin.personId);
    const token = admin.tokenId === null ? null : await tokenById(backend.store.db, admin.tokenId);
    return {
      kind: admin.kind,
      name: admin.name,
      userName: person?.user_name ?? null,
      displayName: person?.display_name ?? null,
      fresh: admin.fresh,
      may: grantsInWords(admin).map(({ permission, says, scope }) => ({ permission, says, tags: scope })),
      token: token && { id: token.id, name: token.name, kind: token.kind, expiresAt: iso(token.expires_at) },
    };
  },
});

const endOwnToken = operation({
  name: 'me.endToken',
  method: 'DELETE',
  path: '/v1/me/token',
  says: 'Ends the token with which this is asked: what a program does that signs out.',
  permission: 'signed-in',
  input: z.strictObject({}),
  output: z.strictObject({ ended: z.literal(true) }),
  async run({ admin, backend }) {
    if (admin.tokenId === null) throw new Problem('NOT_FOUND', 'this was not asked with a token');
    await endToken(backend, admin, admin.tokenId);
    return { ended: true as const };
  },
});

export const sessionOperations: readonly AnyOperation[] = [me, endOwnToken];

export const loginBegin = openOperation({
  name: 'login.begin',
  method: 'POST',
  path: '/v1/login/begin',
  says: 'Asks to be let in by a person: they type `userCode` at `verificationUrl`, and the program asks `login.poll` meanwhile.',
  input: z.strictObject({ machine: z.string().max(200).describe('What the machine is called: it is shown to the person, and believed by nobody.') }),
  output: z.strictObject({
    deviceCode: z.string().describe('For `login.poll`. Shown to nobody.'),
    userCode: z.string().describe('Eight letters, for the person to type.'),
    verificationUrl: z.url(),
    intervalSeconds: z.int().describe('Between two questions.'),
    expiresAt: time,
  }),
  async run({ backend, url, network }, { machine }) {
    const { deviceCode, userCode, intervalSeconds, expiresAt } = await deviceLoginsOf(backend).begin({ machine, network });
    return { deviceCode, userCode, verificationUrl: `${url}/login/confirm`, intervalSeconds, expiresAt: iso(expiresAt) };
  },
});

export const loginPoll = openOperation({
  name: 'login.poll',
  method: 'POST',
  path: '/v1/login/poll',
  says: 'Asks whether the person has confirmed it; then the token comes, this once.',
  input: z.strictObject({ deviceCode: z.string().regex(/^[\w-]{43}$/, 'is no code of `login.begin`') }),
  output: z.union([
    z.strictObject({ state: z.literal('waiting') }),
    z.strictObject({
      state: z.literal('done'),
      token: z.string().describe('Shown this once.'),
      tokenId: z.string(),
      userName: z.string(),
      expiresAt: time,
    }),
  ]),
  async run({ backend, network }, { deviceCode }) {
    const said = await deviceLoginsOf(backend).poll(deviceCode, network);
    if (said === 'waiting') return { state: 'waiting' as const };
    return { state: 'done' as const, token: said.token, tokenId: said.id, userName: said.userName, expiresAt: iso(said.expiresAt) };
  },
});

/** Asked without a token. */
export const openOperations: readonly AnyOpenOperation[] = [loginBegin, loginPoll];
