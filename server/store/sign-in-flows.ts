import type { Kysely, Selectable } from 'kysely';
import type { Tx } from '../parts.ts';
import type { Tables } from '../tables.ts';

export type SignInFlow = Selectable<Tables['sign_in_flow']>;

/** Whoever begins one takes away what nobody came back for. */
export async function beginFlow(tx: Tx, flow: SignInFlow): Promise<void> {
  await tx.deleteFrom('sign_in_flow').where('expires_at', '<=', flow.created_at).execute();
  await tx.insertInto('sign_in_flow').values(flow).execute();
}

/** Those that nobody came back for. */
export async function forgetFlows(tx: Tx, at: number): Promise<void> {
  await tx.deleteFrom('sign_in_flow').where('expires_at', '<=', at).execute();
}

export const isFlow = async (db: Kysely<Tables>, digest: string): Promise<boolean> =>
  (await db.selectFrom('sign_in_flow').select('digest').where('digest', '=', digest).executeTakeFirst()) !== undefined;

export const forgetAllFlows = async (tx: Tx): Promise<void> => void (await tx.deleteFrom('sign_in_flow').execute());

/** Once: whoever comes back with the same answer finds nothing. */
export async function spendFlow(tx: Tx, digest: string, kind: SignInFlow['kind'], at: number): Promise<SignInFlow | null> {
  const flow = await tx.deleteFrom('sign_in_flow').where('digest', '=', digest).where('kind', '=', kind).returningAll().executeTakeFirst();
  return flow && flow.expires_at > at ? flow : null;
}
