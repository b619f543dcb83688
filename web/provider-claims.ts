import type { Provider } from '../server/people-settings.ts';

/** Who somebody is, as their provider has said it just now. */
export interface SaidByProvider {
  subject: string;
  userName: string;
  displayName: string;
  email: string | null;
  groups: readonly string[];
  /** Since they signed in there. */
  provedSecondsAgo: number;
}

const mostGroups = 500;
const text = (value: unknown, most: number): string | null => {
  const tidy = typeof value === 'string' ? value.replace(/\p{C}/gu, '').trim() : '';
  return tidy === '' || tidy.length > most ? null : tidy;
};

/**
 * Entra ID leaves the groups out where somebody is in more than 200 and says where they may be asked for; that needs rights
 * that Sparekey does not ask for. Others give one group as a text of its own.
 */
function groupsOf(claims: Record<string, unknown>, claim: string): string[] | 'too-many' {
  const given = claims[claim];
  if (given === undefined) {
    const elsewhere = claims['_claim_names'];
    return claims['hasgroups'] !== undefined || (typeof elsewhere === 'object' && elsewhere !== null && claim in elsewhere) ? 'too-many' : [];
  }
  const list = Array.isArray(given) ? given : [given];
  return list.length > mostGroups ? 'too-many' : list.flatMap((group) => text(group, 256) ?? []);
}

/** Checks nothing but forms: the token has been checked. An e-mail address that the provider has not verified is nobody's name. */
export function claimsOf(claims: Record<string, unknown>, provider: Pick<Provider, 'userNameClaim' | 'groupsClaim'>) {
  const verified = claims['email_verified'] !== false && claims['email_verified'] !== 'false';
  const email = verified ? (text(claims['email'], 256)?.toLowerCase() ?? null) : null;
  const userName = provider.userNameClaim === 'email' ? email : (text(claims[provider.userNameClaim], 256)?.toLowerCase() ?? null);
  return {
    subject: String(claims['sub']),
    userName,
    displayName: text(claims['name'], 128) ?? userName ?? '',
    email,
    groups: groupsOf(claims, provider.groupsClaim),
  };
}
