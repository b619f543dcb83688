import { createHash, randomBytes } from 'node:crypto';

/** Without signs that are mistaken for one another: it is read from a screen or a telephone. */
const codeSigns = 'ABCDEFGHJKMNPQRSTUVWXYZ23456789';

/** Four groups of five signs: 99 bits. */
export function makeCode(): string {
  const signs: string[] = [];
  while (signs.length < 20) {
    // 248 = 8 × 31: what is above would make the first signs likelier.
    for (const byte of randomBytes(32)) if (byte < 248 && signs.length < 20) signs.push(codeSigns[byte % codeSigns.length] ?? '');
  }
  return [0, 5, 10, 15].map((from) => signs.slice(from, from + 5).join('')).join('-');
}

/** As it is stored, however it was typed. */
export const codeDigest = (code: string): string =>
  createHash('sha256')
    .update(code.toUpperCase().replace(/[^A-Z0-9]/g, ''))
    .digest('hex');
