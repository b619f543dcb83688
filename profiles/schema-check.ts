import type { KeyFact, Keys, Shape } from './apple-schema.ts';

/** A property list's dictionary: strings, numbers, booleans, bytes, dates, arrays and dictionaries. */
export type Dictionary = { [key: string]: unknown };

export const isDictionary = (value: unknown): value is Dictionary =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array) && !(value instanceof Date);

/** One thing that the schema has against a dictionary; `key` is the way to it, such as `Rules[0].RuleType`. */
export interface Misfit {
  key: string;
  is: 'wrong' | 'loose' | 'missing' | 'unknown' | 'not on a Mac' | 'newer';
  says: string;
}

const words: Record<string, string> = {
  string: 'a string',
  boolean: 'true or false',
  data: 'data (base64)',
  date: 'a date',
  integer: 'a whole number',
  real: 'a number',
  texts: 'a string or an array of strings',
};

function fits(shape: Extract<Shape, string>, value: unknown): boolean {
  switch (shape) {
    case 'any':
      return true;
    case 'string':
    case 'boolean':
      return typeof value === shape;
    case 'data':
      return value instanceof Uint8Array;
    case 'date':
      return value instanceof Date;
    case 'integer':
      return Number.isInteger(value);
    case 'real':
      return typeof value === 'number';
    case 'texts':
      return typeof value === 'string' || (Array.isArray(value) && value.every((each) => typeof each === 'string'));
  }
}

/** What a value has against a shape. `macos`: the oldest one that has to take it. */
function judge(shape: Shape, value: unknown, key: string, macos: string | null): Misfit[] {
  const wrong = (says: string): Misfit[] => [{ key, is: 'wrong', says }];
  // Widely used profiles have it so (microsoft/mdatp-xplat, fulldisk.mobileconfig).
  if (shape === 'boolean' && (value === 0 || value === 1))
    return [{ key, is: 'loose', says: `is the number ${value}, where Apple’s schema has ${value === 1}` }];
  if (typeof shape === 'string') return fits(shape, value) ? [] : wrong(`must be ${words[shape]}`);
  if ('oneOf' in shape)
    return shape.oneOf.some((allowed) => allowed === value) ? [] : wrong(`must be ${shape.oneOf.length > 1 ? 'one of ' : ''}${shape.oneOf.join(', ')}`);
  if ('integers' in shape) {
    const [least, most] = shape.integers;
    return Number.isInteger(value) && Number(value) >= least && Number(value) <= most ? [] : wrong(`must be a whole number from ${least} to ${most}`);
  }
  if ('list' in shape) {
    if (!Array.isArray(value)) return wrong('must be an array');
    if (shape.exactly !== undefined && value.length !== shape.exactly) return wrong(`must have ${shape.exactly} entries`);
    return value.flatMap((each, at) => judge(shape.list, each, `${key}[${at}]`, macos));
  }
  if (!isDictionary(value)) return wrong('must be a dictionary');
  if ('each' in shape) return Object.entries(value).flatMap(([name, each]) => judge(shape.each, each, `${key}.${name}`, macos));
  return judgeKeys(shape.keys, value, `${key}.`, macos);
}

export function judgeKeys(keys: Keys, dictionary: Dictionary, before: string, macos: string | null): Misfit[] {
  const present = Object.entries(dictionary).flatMap(([name, value]): Misfit[] => {
    const fact: KeyFact | undefined = Object.hasOwn(keys, name) ? keys[name] : undefined;
    const key = `${before}${name}`;
    if (fact === undefined) return [{ key, is: 'unknown', says: 'is not in Apple’s schema' }];
    if (fact.notOnMac) return [{ key, is: 'not on a Mac', says: 'means nothing on a Mac' }];
    const newer: Misfit[] =
      macos !== null && fact.since !== undefined && isOlder(macos, fact.since) ? [{ key, is: 'newer', says: `is known from macOS ${fact.since} on` }] : [];
    return [...newer, ...judge(fact.is, value, key, macos)];
  });
  const missing = Object.entries(keys)
    .filter(([name, fact]) => fact.required && !Object.hasOwn(dictionary, name))
    .map(([name]): Misfit => ({ key: `${before}${name}`, is: 'missing', says: 'is missing' }));
  return [...present, ...missing];
}

/** Whether one macOS version is older than another: `13` is older than `13.0.1`, and not than `13.0`. */
export function isOlder(one: string, other: string): boolean {
  const [a, b] = [one, other].map((version) => version.split('.').map(Number));
  for (let at = 0; at < 3; at++) if ((a?.[at] ?? 0) !== (b?.[at] ?? 0)) return (a?.[at] ?? 0) < (b?.[at] ?? 0);
  return false;
}
