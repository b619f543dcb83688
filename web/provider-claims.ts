import { readUserName, sameName } from '../server/assignments.ts';
import type { Provider } from '../server/people-settings.ts';

/** Who somebody is, as their provider has said it just now. */
export interface SaidByProvider {
  subject: string;
  userName: string;
  displayName: string;
  email: string | null;
  /** Null: it could not say. */
  groups: readonly string[] | null;
  /** Since they signed in there. */
  provedSecondsAgo: number;
}

const mostGroups = 500;
const text = (value: unknown, most: number): string | null => {
  const tidy = typeof value === 'string' ? value.replace(/\p{C}/gu, '').trim() : '';
  return tidy === '' || tidy.length > most ? null : tidy;
};

/**
 * A name by which Macs are somebody's. Nothing is taken out of it to make it one: to their provider `ada` with a sign that
 * nobody sees, or with one that only looks like a letter and becomes it in lower case (the Kelvin sign, to `k`), is somebody
 * else, and here it would be Ada.
 */
function nameOf(value: unknown): string | null {
  if (typeof value !== 'string' || /\p{C}/u.test(value)) return null;
  const becomesAscii = (sign: string): boolean => sign > '\u007f' && sameName(sign) !== '' && [...sameName(sign)].every((one) => one <= '\u007f');
  return [...value.trim()].some(becomesAscii) ? null : readUserName(value);
}

/** As it is named in the settings, sign for sign; what has to be changed for it is no group of theirs. */
const groupOf = (value: unknown): string[] => (typeof value === 'string' && value.length <= 256 ? [value] : []);

/**
 * Entra ID leaves the groups out where somebody is in more than 200 and says where they may be asked for; that needs rights
 * that Sparekey does not ask for. Others give one group as a text of its own.
 */
function groupsOf(claims: Record<string, unknown>, claim: string): string[] | null {
  const given = claims[claim];
  if (given === undefined) {
    const elsewhere = claims['_claim_names'];
    return claims['hasgroups'] !== undefined || (typeof elsewhere === 'object' && elsewhere !== null && claim in elsewhere) ? null : [];
  }
  const list = Array.isArray(given) ? given : [given];
  return list.length > mostGroups ? null : list.flatMap(groupOf);
}

/** Checks nothing but forms: the token has been checked. An e-mail address that the provider has not verified is nobody's name. */
export function claimsOf(claims: Record<string, unknown>, provider: Pick<Provider, 'userNameClaim' | 'groupsClaim'>) {
  const verified = claims['email_verified'] !== false && claims['email_verified'] !== 'false';
  const email = verified ? nameOf(claims['email']) : null;
  const userName = provider.userNameClaim === 'email' ? email : nameOf(claims[provider.userNameClaim]);
  return {
    subject: String(claims['sub']),
    userName,
    displayName: text(claims['name'], 128) ?? userName ?? '',
    email,
    groups: groupsOf(claims, provider.groupsClaim),
  };
}
