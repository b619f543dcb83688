import type { Kysely, Selectable } from 'kysely';
import type { Tx } from '../parts.ts';
import type { Tables } from '../tables.ts';

type Db = Kysely<Tables>;
export type RoleRow = Selectable<Tables['role_given']>;

/** What a person has been given, by name or with one of these groups. */
export async function openRolesOf(db: Db, personId: string, groups: readonly string[]): Promise<RoleRow[]> {
  return db
    .selectFrom('role_given')
    .selectAll()
    .where('ended_at', 'is', null)
    .where((e) =>
      e.or([
        e.and([e('subject_kind', '=', 'person'), e('subject', '=', personId)]),
        ...(groups.length > 0
          ? [
              e.and([
                e('subject_kind', '=', 'group'),
                e('subject', 'in', groups),
                // What another provider calls the same is another group.
                e.or([e('provider', 'is', null), e('provider', '=', e.selectFrom('person').select('person.provider').where('person.id', '=', personId))]),
              ]),
            ]
          : []),
      ]),
    )
    .orderBy('created_at')
    .execute();
}

export const openRoles = (db: Db): Promise<RoleRow[]> =>
  db.selectFrom('role_given').selectAll().where('ended_at', 'is', null).orderBy('created_at').orderBy('id').execute();

export const roleById = async (db: Db, id: string): Promise<RoleRow | null> =>
  (await db.selectFrom('role_given').selectAll().where('id', '=', id).executeTakeFirst()) ?? null;

export const insertRole = async (tx: Tx, row: RoleRow): Promise<void> => void (await tx.insertInto('role_given').values(row).execute());

/** False where it has ended before. */
export async function endRole(tx: Tx, id: string, ended: { ended_at: number; ended_by: string; ended_because: string }): Promise<boolean> {
  const done = await tx.updateTable('role_given').set(ended).where('id', '=', id).where('ended_at', 'is', null).executeTakeFirst();
  return done.numUpdatedRows > 0n;
}

/** What was taken since then, for `restore`. */
export const rolesTakenSince = (db: Db, since: number) =>
  db.selectFrom('role_given').select(['id', 'ended_because as because', 'ended_at as at']).where('ended_at', '>=', since).execute();

/** When the first role was given; null: none ever was. */
export const firstRoleAt = async (db: Db): Promise<number | null> =>
  (
    await db
      .selectFrom('role_given')
      .select((e) => e.fn.min('created_at').as('first'))
      .executeTakeFirst()
  )?.first ?? null;
