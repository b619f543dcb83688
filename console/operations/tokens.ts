import { z } from 'zod';
import { roleName, scopeTags } from '../../server/admins/grants.ts';
import { tokenSaid } from '../../server/admins/review.ts';
import { forEverybody } from '../../server/admins/roles.ts';
import { endToken, makeToken, tokenDays } from '../../server/admins/tokens.ts';
import { openTokensOf, tokensOfEverybody } from '../../server/store/api-tokens.ts';
import { makeCursor, pageInput, pageOf, readCursor } from '../cursor.ts';
import { type AnyOperation, operation } from '../operation.ts';

const time = z.iso.datetime();
const iso = (at: number): string => new Date(at).toISOString();
const isoOrNull = (at: number | null): string | null => (at === null ? null : iso(at));

const tokenRole = z.strictObject({
  role: roleName,
  tags: scopeTags.nullable().describe('For Macs with one of these tags; null for all that whoever makes it has the role for.'),
});

const token = z.strictObject({
  id: z.string(),
  name: z.string(),
  kind: z.enum(['personal', 'service', 'login']).describe('login: of the command line.'),
  maker: z.string().describe('Whose it is: it never may more than they do.'),
  roles: z
    .array(z.strictObject({ role: roleName, tags: z.array(z.string()).nullable() }))
    .nullable()
    .describe('null: all that its maker may, but making tokens.'),
  powerless: z.boolean().describe('Its maker may nothing of it at the moment, or is disabled.'),
  madeAt: time,
  expiresAt: time,
  lastUsedAt: time.nullable().describe('Exact to a minute.'),
  lastNetwork: z.string().nullable(),
  endedAt: time.nullable(),
  endedBy: z.string().nullable(),
});

type Said = Awaited<ReturnType<typeof tokenSaid>>;
export const tokenOut = ({ roles, madeAt, expiresAt, lastUsedAt, endedAt, ...said }: Said): z.infer<typeof token> => ({
  ...said,
  roles: roles?.map(({ role, scope }) => ({ role, tags: scope === null ? null : [...scope] })) ?? null,
  madeAt: iso(madeAt),
  expiresAt: iso(expiresAt),
  lastUsedAt: isoOrNull(lastUsedAt),
  endedAt: isoOrNull(endedAt),
});
export const tokenSchema = token;

export const ownTokens = operation({
  name: 'tokens.list',
  method: 'GET',
  path: '/v1/tokens',
  says: 'Lists one’s own tokens that can be used.',
  permission: 'signed-in',
  input: z.strictObject({}),
  output: z.strictObject({ items: z.array(token) }),
  async run({ admin, backend, at }) {
    const { db } = backend.store;
    const rows = admin.personId === null ? [] : await openTokensOf(db, admin.personId, at);
    return { items: await Promise.all(rows.map(async (row) => tokenOut(await tokenSaid(db, at, row)))) };
  },
});

export const everybodysTokens = operation({
  name: 'tokens.everybody',
  method: 'GET',
  path: '/v1/people/tokens',
  says: 'Lists the tokens of everybody.',
  permission: 'people.read',
  input: z.strictObject({ ...pageInput, ended: z.boolean().default(false).describe('Those too that are over.') }),
  output: pageOf(token),
  async run({ admin, backend, at }, { cursor, limit, ended }) {
    forEverybody(admin, 'people.read');
    const { db } = backend.store;
    const after = readCursor(z.strictObject({ createdAt: z.number(), id: z.string() }), cursor);
    const rows = await tokensOfEverybody(db, { at, all: ended, after, limit: limit + 1 });
    const page = rows.slice(0, limit);
    const last = rows.length > limit ? page.at(-1) : undefined;
    return {
      items: await Promise.all(page.map(async (row) => tokenOut(await tokenSaid(db, at, row)))),
      next: last ? makeCursor({ createdAt: last.created_at, id: last.id }) : null,
    };
  },
});

export const newToken = operation({
  name: 'tokens.make',
  method: 'POST',
  path: '/v1/tokens',
  says: 'Makes a token with roles that one has; it is shown this once.',
  permission: 'token.own',
  fresh: true,
  shownOnce: true,
  input: z.strictObject({
    name: z
      .string()
      .trim()
      .regex(/^[\p{L}\p{N}][\p{L}\p{N} ._@/-]{0,63}$/u, 'has 1 to 64 letters, digits, spaces and . _ @ / -')
      .describe('As the audit names it.'),
    roles: z.array(tokenRole).min(1).max(10),
    service: z.boolean().default(false).describe('It stands for a program: it is shown no key unless a policy says so.'),
    days: z
      .int()
      .min(1)
      .max(tokenDays.service.most)
      .optional()
      .describe(
        `How long it is good. A service token: ${tokenDays.service.usual} days, ${tokenDays.service.most} at most; others: ${tokenDays.personal.usual}, ${tokenDays.personal.most} at most.`,
      ),
  }),
  output: z.strictObject({ id: z.string(), token: z.string().describe('Shown this once.'), expiresAt: time }),
  async run({ admin, backend }, { name, roles, service, days }) {
    const made = await makeToken(backend, admin, { name, roles: roles.map(({ role, tags }) => ({ role, scope: tags })), service, days: days ?? null });
    return { id: made.id, token: made.token, expiresAt: iso(made.expiresAt) };
  },
});

export const tokenEnded = operation({
  name: 'tokens.end',
  method: 'DELETE',
  path: '/v1/tokens/{id}',
  says: 'Ends a token of one’s own, or of anybody with the permission people.edit.',
  permission: 'signed-in',
  input: z.strictObject({ id: z.string().max(64) }),
  output: z.strictObject({ id: z.string(), ended: z.literal(true) }),
  async run({ admin, backend }, { id }) {
    await endToken(backend, admin, id);
    return { id, ended: true as const };
  },
});

export const tokenOperations: readonly AnyOperation[] = [ownTokens, everybodysTokens, newToken, tokenEnded];
