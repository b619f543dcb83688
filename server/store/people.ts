import { type Kysely, type Selectable, sql, type Updateable } from 'kysely';
import type { Tx } from '../parts.ts';
import type { Tables } from '../tables.ts';

type Db = Kysely<Tables>;
export type PersonRow = Selectable<Tables['person']>;
export type LocalAccountRow = Selectable<Tables['local_account']>;
/** A person, with what belongs to their local account where they have one. */
export type KnownPerson = PersonRow & { emergency: number | null };

const withAccount = (db: Db) =>
  db.selectFrom('person').leftJoin('local_account', 'local_account.person_id', 'person.id').selectAll('person').select('local_account.emergency');

export const personById = async (db: Db, id: string): Promise<KnownPerson | null> => (await withAccount(db).where('id', '=', id).executeTakeFirst()) ?? null;

export const personOfSubject = async (db: Db, provider: string, subject: string): Promise<KnownPerson | null> =>
  (await withAccount(db).where('provider', '=', provider).where('subject', '=', subject).executeTakeFirst()) ?? null;

/** Others whom this provider has given the same name, before it gave it to this one. */
export const othersNamed = (db: Db, provider: string, userName: string, personId: string): Promise<KnownPerson[]> =>
  withAccount(db).where('provider', '=', provider).where('user_name', '=', userName).where('id', '!=', personId).where('confirmed_at', '>', 0).execute();

export const peopleNamed = (db: Db, userName: string): Promise<KnownPerson[]> =>
  withAccount(db).where('user_name', '=', userName).orderBy('created_at').execute();

export const insertPerson = async (tx: Tx, person: PersonRow): Promise<void> => void (await tx.insertInto('person').values(person).execute());

export const updatePerson = async (tx: Tx, id: string, changes: Updateable<Tables['person']>): Promise<void> =>
  void (await tx.updateTable('person').set(changes).where('id', '=', id).execute());

/** The local account of a name, with its person. */
export const accountNamed = async (db: Db, name: string): Promise<(PersonRow & LocalAccountRow) | null> =>
  (await db
    .selectFrom('person')
    .innerJoin('local_account', 'local_account.person_id', 'person.id')
    .selectAll('person')
    .selectAll('local_account')
    .where('provider', '=', 'local')
    .where('subject', '=', name)
    .executeTakeFirst()) ?? null;

export const accountOf = async (db: Db, personId: string): Promise<LocalAccountRow | null> =>
  (await db.selectFrom('local_account').selectAll().where('person_id', '=', personId).executeTakeFirst()) ?? null;

export const insertAccount = async (tx: Tx, account: LocalAccountRow): Promise<void> => void (await tx.insertInto('local_account').values(account).execute());

export const updateAccount = async (tx: Tx, personId: string, changes: Updateable<Tables['local_account']>): Promise<void> =>
  void (await tx.updateTable('local_account').set(changes).where('person_id', '=', personId).execute());

/** Codes that nobody has used, as far as is known here. */
export const forgetSetUpCodes = async (tx: Tx): Promise<void> =>
  void (await tx.updateTable('local_account').set({ setup_digest: null, setup_expires_at: null }).execute());

/** Whom an admin has switched off since then, for `restore`. */
export const disabledSince = (db: Db, since: number) =>
  db.selectFrom('person').select(['id', 'disabled_because as because', 'disabled_at as at']).where('disabled_at', '>=', since).execute();

/** The accounts for the day when nobody else can sign in, that can be used. */
export const emergencyPeople = (db: Db): Promise<KnownPerson[]> =>
  withAccount(db).where('emergency', '=', 1).where('disabled_at', 'is', null).orderBy('user_name').execute();

/** Everybody, with how many passkeys they have. */
export async function everybody(db: Db) {
  const counts = await db
    .selectFrom('passkey')
    .select(({ fn }) => ['person_id', fn.countAll<number>().as('passkeys')])
    .groupBy('person_id')
    .execute();
  const passkeys = new Map(counts.map((row) => [row.person_id, row.passkeys]));
  const people = await db
    .selectFrom('person')
    .leftJoin('local_account', 'local_account.person_id', 'person.id')
    .selectAll('person')
    .select(['local_account.emergency', 'local_account.password_at', 'local_account.setup_expires_at'])
    .orderBy('user_name')
    .execute();
  return people.map((person) => ({ ...person, passkeys: passkeys.get(person.id) ?? 0 }));
}

const likeText = (text: string): string => text.replace(/[\\%_]/g, (sign) => `\\${sign}`);
/** Searched as text: whether it is so is for the reader of the row to say. */
const inGroup = (group: string) => sql<boolean>`person.groups like ${`%${likeText(JSON.stringify(group))}%`} escape '\\'`;

/** Those whom their provider may last have said to be in one of these groups. */
export const peopleInGroups = async (db: Db, groups: readonly string[]): Promise<KnownPerson[]> =>
  groups.length === 0
    ? []
    : withAccount(db)
        .where((e) => e.or(groups.map(inGroup)))
        .orderBy('user_name')
        .orderBy('id')
        .execute();

interface PeopleWanted {
  /** Part of a name or an address. */
  q: string | null;
  /** Only these, and those who may be in these groups; null: everybody. */
  among: { ids: readonly string[]; groups: readonly string[] } | null;
  after: { userName: string; id: string } | null;
  limit: number;
}

/** By name, with how they sign in. */
export function peoplePage(db: Db, { q, among, after, limit }: PeopleWanted) {
  let rows = withAccount(db).select('local_account.password_at');
  if (q !== null) {
    const text = `%${likeText(q)}%`;
    rows = rows.where((e) =>
      e.or(['user_name', 'display_name', 'email'].map((column) => sql<boolean>`lower(${sql.ref(`person.${column}`)}) like ${text.toLowerCase()} escape '\\'`)),
    );
  }
  if (among !== null)
    rows = rows.where((e) => e.or([...(among.ids.length > 0 ? [e('person.id', 'in', among.ids)] : []), ...among.groups.map(inGroup), sql<boolean>`1 = 0`]));
  if (after !== null)
    rows = rows.where((e) => e.or([e('user_name', '>', after.userName), e.and([e('user_name', '=', after.userName), e('person.id', '>', after.id)])]));
  return rows.orderBy('user_name').orderBy('person.id').limit(limit).execute();
}
