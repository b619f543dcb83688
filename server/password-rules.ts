/** Why a password is not taken; null: it is. Length and nothing common, no rules of composition (NIST SP 800-63B 5.1.1.2). */
export type PasswordFault = 'too-short' | 'too-long' | 'names' | 'common' | 'plain';

export const leastPassword = 12;
const mostPassword = 256;

/** What people begin with when they are asked for twelve signs, in the languages of the sites. */
const beginnings = [
  'administrator|changeme|correcthorsebatterystaple|filevault|football|geheim|hallo|hello|iloveyou|ichliebedich|jetaime|letmein|login|macbook',
  'macintosh|monkey|motdepasse|passe|passphrase|passw0rd|password|passwort|p@ssw0rd|p@ssword|princess|recovery|secret|sommer|sparekey|starwars',
  'summer|sunshine|superman|temporary|trustno1|wachtwoord|welcome|welkom|willkommen|bienvenue|winter|zomer',
]
  .join('|')
  .split('|');
/** Rows of keyboards and of signs, both ways. */
const rows = ['abcdefghijklmnopqrstuvwxyz', '01234567890123456789', 'qwertyuiopasdfghjklzxcvbnm', 'qwertzuiopasdfghjklyxcvbnm', 'azertyuiopqsdfghjklmwxcvbn'];
const runs = rows.flatMap((row) => [row, [...row].toReversed().join('')]);

/** Signs that a guess does not get for nothing: what goes on along a row, or repeats, counts once. */
function surprises(text: string): number {
  let count = 0;
  const signs = [...text];
  for (const [at, sign] of signs.entries()) {
    const before = signs[at - 1] ?? '';
    if (sign === before || (before !== '' && runs.some((row) => row.includes(before + sign)))) continue;
    count += 1;
  }
  return count;
}

const bare = (text: string): string => text.toLowerCase().replace(/[^\p{L}\p{N}]/gu, '');

export function passwordFault(password: string, names: { userName: string; displayName: string; organisation: string }): PasswordFault | null {
  const { length } = [...password];
  if (length < leastPassword) return 'too-short';
  if (length > mostPassword) return 'too-long';
  const text = password.toLowerCase();
  if (new Set(text).size < 5) return 'plain';
  let rest = bare(text);
  for (const name of [names.userName, ...names.userName.split(/[@.]/), ...names.displayName.split(' '), names.organisation, ...names.organisation.split(' ')]) {
    const word = bare(name);
    if (word.length >= 3) rest = rest.replaceAll(word, '');
  }
  if (rest !== bare(text) && [...rest].length < 8) return 'names';
  let uncommon = text;
  for (const word of beginnings) uncommon = uncommon.replaceAll(word, '');
  if (uncommon !== text && [...uncommon].length < 8) return 'common';
  return surprises(uncommon) < 5 ? 'plain' : null;
}
