import { Problem } from '../protocol/problems.ts';

const day = 24 * 60 * 60 * 1000;
const spans: Record<string, number> = { h: 60 * 60 * 1000, d: day, w: 7 * day };

/** `30d`, `12h`, `2w` before now, or an ISO date or time. */
export function timeOf(text: string, now: number): string {
  const span = /^(\d{1,4})([hdw])$/.exec(text);
  const at = span ? now - Number(span[1]) * (spans[span[2] ?? ''] ?? day) : Date.parse(text);
  if (Number.isNaN(at)) throw new Problem('USAGE', `${text} is no time: write 30d, 12h, 2w, 2026-11-01 or 2026-11-01T08:00:00Z`);
  return new Date(at).toISOString();
}

export const listOf = (text: string, before: string[] = []): string[] => [...before, ...text.split(',').filter((part) => part !== '')];

export function wholeNumber(least: number, most: number): (text: string) => number {
  return (text) => {
    const number = Number(text);
    if (!/^\d+$/.test(text) || number < least || number > most) throw new Problem('USAGE', `${text} is no whole number from ${least} to ${most}`);
    return number;
  };
}

const times = ['seenBefore', 'seenAfter', 'provedBefore'] as const;
const others = [
  'custody',
  'problem',
  'tag',
  'user',
  'macos',
  'macosBefore',
  'model',
  'fileVault',
  'mode',
  'order',
  'state',
  'disclosed',
  'keyOlderThanDays',
] as const;

/** As the API takes it. `words`: what serial number, name, user or model begin with. */
export function filterOf(options: Readonly<Record<string, unknown>>, words: readonly string[], now: number): Record<string, unknown> {
  const filter: Record<string, unknown> = {};
  if (words.length > 0) filter['q'] = words.join(' ');
  for (const name of others) if (options[name] !== undefined) filter[name] = options[name];
  for (const name of times) if (typeof options[name] === 'string') filter[name] = timeOf(options[name], now);
  return filter;
}
