// What a setting is, and the kinds of values that several of them have.
import { readTicket } from '../protocol/enrolment.ts';
import { RecoveryKey } from '../protocol/recovery-key.ts';

/** What a value in the profile means, or in words what is wrong with it (it follows the setting's name). `but`: usable, with something to say. */
type Reading<T> = { value: T; but?: string } | { wrong: string; value?: T };

export interface Setting<T> {
  unit: string;
  range: string;
  /** As the documents write it. */
  default: string;
  meaning: string;
  /** Without it there is nothing to do. */
  essential?: true;
  /** Never kept in a file of ours, never repeated in words. */
  secret?: true;
  /** Differs from Mac to Mac: no part of the digest, by which Macs with the same settings are known. */
  ofThisMac?: true;
  initial: T | undefined;
  /** What counts in place of a wrong value, where that is not the default: the careful one. */
  careful?: T;
  read(value: unknown): Reading<T>;
}

export const describe = (value: unknown): string => {
  // In the wrong place it is still a secret.
  if (typeof value === 'string' && (readTicket(value) || RecoveryKey.findIn(value.toUpperCase()))) return 'a secret';
  if (typeof value === 'string') return value.length > 60 ? 'a long text' : `“${value.replace(/[^\x20-\x7E\u00A0-\uFFFD]/g, '?')}”`;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  return value instanceof Uint8Array ? 'data' : Array.isArray(value) ? 'a list' : value instanceof Date ? 'a date' : 'a dictionary';
};

export function wholeNumber(
  unit: string,
  least: number,
  most: number,
  initial: number,
  meaning: string,
  warnUnder?: { number: number; but: string },
): Setting<number> {
  return {
    unit,
    range: `${least}–${most}`,
    default: String(initial),
    meaning,
    initial,
    read(value) {
      if (typeof value !== 'number' || !Number.isInteger(value) || value < least || value > most) {
        return { wrong: `is ${describe(value)}; it must be a whole number of ${unit} from ${least} to ${most}` };
      }
      return warnUnder && value < warnUnder.number ? { value, but: warnUnder.but } : { value };
    },
  };
}

export function oneOf<T extends string>(words: readonly T[], initial: T, meaning: string, careful: T = initial): Setting<T> {
  return {
    unit: 'word',
    range: words.join(', '),
    default: initial,
    meaning,
    initial,
    careful,
    read: (value) => {
      const word = words.find((one) => one === value);
      return word === undefined ? { wrong: `is ${describe(value)}; it must be one of ${words.join(', ')}` } : { value: word };
    },
  };
}

export function filePath(meaning: string): Setting<string | null> {
  return {
    unit: 'path',
    range: 'absolute',
    default: 'none',
    meaning,
    initial: null,
    read: (value) =>
      typeof value === 'string' && /^\/[^\0]{1,1000}$/.test(value) && !value.split('/').includes('..')
        ? { value }
        : { wrong: `is ${describe(value)}; it must be the absolute path of a file` },
  };
}

export function name(meaning: string): Setting<string | null> {
  return {
    unit: 'text',
    range: '1–256 characters',
    default: 'none',
    meaning,
    initial: null,
    read: (value) =>
      typeof value === 'string' && /^[^\0\r\n]{1,256}$/.test(value) ? { value } : { wrong: `is ${describe(value)}; it must be a text of 1 to 256 characters` },
  };
}

export function words(most: number, meaning: string): Setting<string | null> {
  return {
    unit: 'text',
    range: `1–${most} characters`,
    default: 'none',
    meaning,
    initial: null,
    read: (value) =>
      typeof value === 'string' && value.trim() !== '' && value.length <= most && !/[^\P{Cc}\n]/u.test(value)
        ? { value: value.trim() }
        : { wrong: `is ${describe(value)}; it must be a text of 1 to ${most} characters` },
  };
}
