import type { Kysely, Selectable } from 'kysely';
import type { Tx } from '../parts.ts';
import type { Tables } from '../tables.ts';

type Db = Kysely<Tables>;
export type TokenRow = Selectable<Tables['api_token']>;
export type TokenAndMaker = TokenRow & { user_name: string; maker_disabled_at: number | null };
export type LoginRow = Selectable<Tables['device_login']>;

export const tokenByDigest = async (db: Db, digest: string): Promise<TokenRow | null> =>
  (await db.selectFrom('api_token').selectAll().where('digest', '=', digest).executeTakeFirst()) ?? null;

export const tokenById = async (db: Db, id: string): Promise<TokenRow | null> =>
  (await db.selectFrom('api_token').selectAll().where('id', '=', id).executeTakeFirst()) ?? null;

const withMaker = (db: Db) =>
  db
    .selectFrom('api_token')
    .innerJoin('person', 'person.id', 'api_token.person_id')
    .selectAll('api_token')
    .select(['person.user_name', 'person.disabled_at as maker_disabled_at']);

/** Those of one person that can still be used, newest first. */
export const openTokensOf = (db: Db, personId: string, at: number): Promise<TokenAndMaker[]> =>
  withMaker(db)
    .where('person_id', '=', personId)
    .where('ended_at', 'is', null)
    .where('expires_at', '>', at)
    .orderBy('api_token.created_at', 'desc')
    .orderBy('api_token.id')
    .execute();

/** Of everybody, newest first; `all`: those that are over too. */
export function tokensOfEverybody(db: Db, given: { at: number; all: boolean; after: { createdAt: number; id: string } | null; limit: number }) {
  const { at, all, after, limit } = given;
  const wanted = all ? withMaker(db) : withMaker(db).where('ended_at', 'is', null).where('expires_at', '>', at);
  const rest = after
    ? wanted.where((e) =>
        e.or([e('api_token.created_at', '<', after.createdAt), e.and([e('api_token.created_at', '=', after.createdAt), e('api_token.id', '>', after.id)])]),
      )
    : wanted;
  return rest.orderBy('api_token.created_at', 'desc').orderBy('api_token.id').limit(limit).execute();
}

export const insertToken = async (tx: Tx, row: TokenRow): Promise<void> => void (await tx.insertInto('api_token').values(row).execute());

/** Each write waits for the disk: once a minute is exact enough. */
export const tokenUsed = async (tx: Tx, id: string, at: number, network: string | null): Promise<void> =>
  void (await tx.updateTable('api_token').set({ last_used_at: at, last_network: network }).where('id', '=', id).execute());

/** False where it has ended before. */
export async function endApiToken(tx: Tx, id: string, by: string, at: number): Promise<boolean> {
  const done = await tx.updateTable('api_token').set({ ended_at: at, ended_by: by }).where('id', '=', id).where('ended_at', 'is', null).executeTakeFirst();
  return done.numUpdatedRows > 0n;
}

/** Of everybody, for `restore`: one may have been ended since. How many there were. */
export async function endAllApiTokens(tx: Tx, by: string, at: number): Promise<number> {
  await tx.deleteFrom('device_login').execute();
  const done = await tx.updateTable('api_token').set({ ended_at: at, ended_by: by }).where('ended_at', 'is', null).executeTakeFirst();
  return Number(done.numUpdatedRows);
}

/** What programs were let in with by this person, and what waits to be fetched. */
export async function endLoginsOf(tx: Tx, personId: string, because: string, at: number): Promise<void> {
  const ended = { ended_at: at, ended_by: because };
  await tx.updateTable('api_token').set(ended).where('person_id', '=', personId).where('kind', '=', 'login').where('ended_at', 'is', null).execute();
  await tx.updateTable('device_login').set({ state: 'refused' }).where('person_id', '=', personId).where('state', '=', 'confirmed').execute();
}

/** When somebody has used a token last; null: never. */
export async function lastTokenUse(db: Db, personIds: readonly string[]): Promise<Map<string, number>> {
  if (personIds.length === 0) return new Map();
  const rows = await db
    .selectFrom('api_token')
    .select(({ fn }) => ['person_id', fn.max('last_used_at').as('last')])
    .where('person_id', 'in', personIds)
    .groupBy('person_id')
    .execute();
  return new Map(rows.flatMap(({ person_id: id, last }) => (last === null ? [] : [[id, last] as const])));
}

/** Whoever begins one takes away those that are over. */
export async function insertLogin(tx: Tx, row: LoginRow): Promise<void> {
  await tx.deleteFrom('device_login').where('expires_at', '<=', row.created_at).execute();
  await tx.insertInto('device_login').values(row).execute();
}

/** So that no more than so many wait. */
export async function forgetOldestLogins(tx: Tx, most: number): Promise<void> {
  const waiting = tx.selectFrom('device_login').where('state', '=', 'waiting');
  const { count } = await waiting.select((e) => e.fn.countAll<number>().as('count')).executeTakeFirstOrThrow();
  if (count <= most) return;
  const oldest = await waiting
    .select('id')
    .orderBy('created_at')
    .orderBy('id')
    .limit(count - most)
    .execute();
  await tx
    .deleteFrom('device_login')
    .where(
      'id',
      'in',
      oldest.map(({ id }) => id),
    )
    .execute();
}

/** All that this person has made or was let in with, whatever kind. How many there were. */
export async function endApiTokensOf(tx: Tx, personId: string, by: string, at: number): Promise<number> {
  const done = await tx
    .updateTable('api_token')
    .set({ ended_at: at, ended_by: by })
    .where('person_id', '=', personId)
    .where('ended_at', 'is', null)
    .executeTakeFirst();
  return Number(done.numUpdatedRows);
}

export const loginBy = async (db: Db, by: 'device_digest' | 'user_digest', digest: string): Promise<LoginRow | null> =>
  (await db.selectFrom('device_login').selectAll().where(by, '=', digest).executeTakeFirst()) ?? null;

export const updateLogin = async (tx: Tx, id: string, changes: Partial<LoginRow>): Promise<void> =>
  void (await tx.updateTable('device_login').set(changes).where('id', '=', id).execute());
