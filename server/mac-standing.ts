import type { Kysely } from 'kysely';
import { Problem } from '../protocol/problems.ts';
import { audit } from './audit.ts';
import type { Tx } from './parts.ts';
import { keepStanding, standingRow } from './store/mac-standing.ts';
import { macById } from './store/macs.ts';
import type { Tables } from './tables.ts';

/** What an admin has said of a Mac. */
export interface Standing {
  ownership: 'organisation' | 'personal';
  state: 'in-use' | 'lost' | 'retired';
  /** It has a local admin that the organisation manages, whose password the service desk has. */
  localAdmin: boolean;
  /** Null where nobody has said anything: the organisation's, in use. */
  set: { at: number; by: string; because: string } | null;
}

export async function standingOf(db: Kysely<Tables>, macId: string): Promise<Standing> {
  const row = await standingRow(db, macId);
  if (!row) return { ownership: 'organisation', state: 'in-use', localAdmin: false, set: null };
  const { ownership, state, local_admin: localAdmin, set_at: at, set_by: by, because } = row;
  return { ownership, state, localAdmin: localAdmin === 1, set: { at, by, because } };
}

/** What is not said stays as it was. */
export type StandingChange = Partial<Pick<Standing, 'ownership' | 'state' | 'localAdmin'>>;

export async function setStanding(tx: Tx, at: number, said: { macId: string; actor: string; reason: string; change: StandingChange }): Promise<Standing> {
  const { macId, actor, reason, change } = said;
  if (reason.trim() === '') throw new Problem('REASON_MISSING');
  if (!(await macById(tx, macId))) throw new Problem('MAC_UNKNOWN');
  const before = await standingOf(tx, macId);
  const { ownership, state, localAdmin } = { ...before, ...change };
  await keepStanding(tx, { mac_id: macId, ownership, state, local_admin: localAdmin ? 1 : 0, set_at: at, set_by: actor, because: reason });
  const was = { ownership: before.ownership, state: before.state, localAdmin: before.localAdmin };
  await audit(tx, { at, actor, act: 'mac.standing', macId, details: { ownership, state, localAdmin, was, reason } });
  return { ownership, state, localAdmin, set: { at, by: actor, because: reason } };
}
