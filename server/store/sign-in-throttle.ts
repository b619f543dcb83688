import type { Selectable } from 'kysely';
import type { Tx } from '../parts.ts';
import type { Tables } from '../tables.ts';

export type ThrottleRow = Selectable<Tables['sign_in_throttle']>;

export const throttleRows = (tx: Tx, keys: readonly string[]): Promise<ThrottleRow[]> =>
  tx.selectFrom('sign_in_throttle').selectAll().where('key', 'in', keys).execute();

export const putThrottleRow = async (tx: Tx, row: ThrottleRow): Promise<void> =>
  void (await tx
    .insertInto('sign_in_throttle')
    .values(row)
    .onConflict((c) => c.column('key').doUpdateSet({ failures: row.failures, last_at: row.last_at, wait_until: row.wait_until }))
    .execute());

export const dropThrottleRow = async (tx: Tx, key: string): Promise<void> => void (await tx.deleteFrom('sign_in_throttle').where('key', '=', key).execute());

export const forgetThrottleRows = async (tx: Tx, before: number): Promise<void> =>
  void (await tx.deleteFrom('sign_in_throttle').where('last_at', '<', before).execute());
