import { createHash, randomBytes } from 'node:crypto';

/**
 * `spk_`, 32 random bytes, and six signs that follow from what is before them: scanners of code know one by its look, and one
 * that was typed or cut wrongly is refused without a question to the database.
 */
const tokenPattern = /^spk_[\w-]{49}$/;

const checkOf = (text: string): string => createHash('sha256').update(`sparekey token\0${text}`).digest('base64url').slice(0, 6);

export function newToken(): string {
  const text = `spk_${randomBytes(32).toString('base64url')}`;
  return `${text}${checkOf(text)}`;
}

/** As it is stored, or null for what cannot be a token of ours. */
export function tokenDigest(token: string): string | null {
  if (!tokenPattern.test(token) || checkOf(token.slice(0, -6)) !== token.slice(-6)) return null;
  return createHash('sha256').update(token).digest('hex');
}
