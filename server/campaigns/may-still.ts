import { presentGrants } from '../admins/admin.ts';
import { grantsOfToken, neverOfLogins, neverOfTokens, readTokenRoles } from '../admins/grants.ts';
import type { Tx } from '../parts.ts';
import { type Admin, type Scope, scopeOf } from '../permissions.ts';
import { tokenById } from '../store/api-tokens.ts';
import type { Campaign } from '../store/campaigns.ts';

/**
 * For which Macs whoever started a campaign may still do this; `false` for none. It goes on for days: a token that
 * has come to its end by time does not end it, one that was taken away does.
 */
export async function scopeStill(
  tx: Tx,
  at: number,
  { by_kind: kind, by_person: personId, by_token: tokenId }: Campaign,
  permission: 'rotation.order' | 'rotation.override',
): Promise<Scope | false> {
  if (kind === 'operator') return null;
  const person = personId === null ? null : await presentGrants(tx, personId, at);
  if (!person) return false;
  if (kind === 'person') return scopeOf(person, permission);
  const token = tokenId === null ? null : await tokenById(tx, tokenId);
  if (!token) return false;
  // One of the command line ends whenever its person signs out there.
  if (token.ended_at !== null && token.kind !== 'login') return false;
  const grants = grantsOfToken(person.grants, readTokenRoles(token.grants), token.kind === 'login' ? neverOfLogins : neverOfTokens);
  return scopeOf({ grants }, permission);
}

/** Whoever answers for it from now on. */
export const answerer = ({ kind, personId, tokenId }: Admin): Pick<Campaign, 'by_kind' | 'by_person' | 'by_token'> => ({
  by_kind: kind,
  by_person: personId,
  by_token: tokenId,
});

/** By name: whoever started it, or somebody else who has it go on. */
export const answering = ({ created_by: startedBy, state, state_by: by }: Campaign): string => (state === 'running' && by !== 'server' ? by : startedBy);
