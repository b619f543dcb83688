import { readFileSync, statSync } from 'node:fs';
import { Problem } from '../protocol/problems.ts';

export interface Logo {
  type: 'image/svg+xml' | 'image/png' | 'image/webp';
  bytes: Buffer;
}

/** A page weighs 30 KB with everything in it. */
export const mostLogoBytes = 16 * 1024;

const startsWith = (bytes: Buffer, signs: readonly number[], at = 0): boolean => signs.every((sign, index) => bytes[at + index] === sign);
const png = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

/** What is in an SVG that is more than a picture; it is served in a sandbox besides. */
const moreThanPicture =
  /<!DOCTYPE|<!ENTITY|<\?xml-stylesheet|<[a-z0-9]*:?(script|foreignObject|iframe|object|embed|set|animate|handler)\b|\son[a-z]+\s*=|javascript:/i;
/** Whatever it would fetch: an address that is not a part of itself. */
const fromElsewhere = /\b(?:href|src)\s*=\s*(?!["']?#)|@import|url\(\s*(?!["']?#)/i;

/** What these bytes are, by the bytes themselves; or a sentence on why they are no logo. */
export function logoOf(bytes: Buffer): Logo | string {
  if (bytes.length > mostLogoBytes) return `has ${bytes.length} bytes; at most ${mostLogoBytes} are shown`;
  if (startsWith(bytes, png)) return { type: 'image/png', bytes };
  if (bytes.toString('latin1', 0, 4) === 'RIFF' && bytes.toString('latin1', 8, 12) === 'WEBP') return { type: 'image/webp', bytes };
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return 'is no SVG, PNG or WebP';
  }
  if (!/^\s*(<\?xml[^>]*\?>\s*)?(<!--[\s\S]*?-->\s*)*<svg[\s>]/.test(text)) return 'is no SVG, PNG or WebP';
  if (moreThanPicture.test(text)) return 'is an SVG with more in it than a picture: scripts, events, entities or foreign content';
  if (fromElsewhere.test(text)) return 'is an SVG that takes something from elsewhere';
  return { type: 'image/svg+xml', bytes };
}

/** The organisation's logo; throws what is wrong with the file, without its content. */
export function readLogo(file: string): Logo {
  let bytes: Buffer;
  try {
    if (!statSync(file).isFile()) throw Object.assign(new Error(), { code: 'no file' });
    bytes = readFileSync(file);
  } catch (error) {
    throw new Problem('SERVER_SETTINGS_INVALID', `people.brand.logoFile: ${file} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown'})`);
  }
  const logo = logoOf(bytes);
  if (typeof logo === 'string') throw new Problem('SERVER_SETTINGS_INVALID', `people.brand.logoFile: ${file} ${logo}`);
  return logo;
}
