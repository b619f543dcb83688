import type { DeviceLine } from '../server/fleet/list.ts';
import { type Html, html } from '../web/html.ts';
import { ago } from '../web/times.ts';

/* What the pages about Macs have in common. */

const day = 24 * 60 * 60 * 1000;

const grouped = new Intl.NumberFormat('en-GB');
/** 12,345 */
export const number = (count: number): string => grouped.format(count);
export const macsInWords = (count: number): string => (count === 1 ? '1 Mac' : `${number(count)} Macs`);
/** The address of a Mac's page. */
export const devicePath = (id: string): string => `/fleet/${encodeURIComponent(id)}`;

/** Begin and end of an identifier say more than its middle; the whole of it is there for whoever points at it or listens. */
export function middle(text: string, most: number): Html {
  const signs = [...text];
  // A name may be written from right to left, or try to turn around what stands beside it.
  if (signs.length <= most) return html`<bdi>${text}</bdi>`;
  const end = Math.floor((most - 1) / 3);
  const short = `${signs.slice(0, most - 1 - end).join('')}…${signs.slice(-end).join('')}`;
  return html`<span title="${text}"><bdi aria-hidden="true">${short}</bdi><bdi class="hidden-words">${text}</bdi></span>`;
}

export const since = (time: string | null, now: number, otherwise: Html | string = 'never'): Html | string =>
  time === null ? otherwise : ago(Date.parse(time), now, 'en');

const moment = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'long', hour: '2-digit', minute: '2-digit', timeZoneName: 'short' });
const exactly = new Intl.DateTimeFormat('en-GB', { dateStyle: 'long', timeStyle: 'long' });
const minute = 60_000;
const hour = 60 * minute;

/** In a column of many, one under the other: *5 min*, *2 h*, *23 d*; exact for whoever points at it. */
export function age(time: string, now: number): Html {
  const at = Date.parse(time);
  const past = Math.max(0, now - at);
  const text = past < hour ? `${Math.floor(past / minute)} min` : past < 2 * day ? `${Math.floor(past / hour)} h` : `${number(Math.floor(past / day))} d`;
  return html`<time datetime="${new Date(at).toISOString()}" title="${exactly.format(at)}">${text}</time>`;
}

/** Sentences of the backend name times and commands as programs write them; here people read them, in a time of their own. */
export function inWords(text: string, whose: 'theirs' | 'ours' = 'theirs'): Html {
  const parts = text.split(/(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,3})?Z|`[^`]+`)/);
  const said = (part: string): Html => {
    if (part.startsWith('`')) return html`<code>${part.slice(1, -1)}</code>`;
    const at = Date.parse(part);
    return html`<time datetime="${part}"${whose === 'theirs' && html` data-shape="moment"`}>${moment.format(at)}</time>`;
  };
  return html`${parts.map((part, at) => (at % 2 === 1 ? said(part) : part))}`;
}

/** Said in words; the colour says it once more. */
export const custodyWords: Readonly<Record<DeviceLine['custody'], { says: string; class: string }>> = {
  held: { says: 'held', class: 'state-good' },
  doubtful: { says: 'doubtful', class: 'state-late' },
  lost: { says: 'lost', class: 'state-bad' },
  none: { says: 'none', class: 'state-bad' },
  foreign: { says: 'foreign', class: 'state-bad' },
};

export const modeWords: Readonly<Record<string, string>> = {
  M0: 'observed: keys are not replaced here',
  M1: 'our payload, we replace',
  M2: 'the MDM’s payload, we replace',
  M3: 'the MDM’s payload, it replaces',
  M4: 'our payload, the MDM replaces',
};

export const orderWords = { waiting: 'ordered', owed: 'owed', replacing: 'being replaced' } as const;

/** Of a headline. */
export const headline = (text: string): string => sentence(text).replace(/\.$/, '');

export const sentence = (text: string): string => {
  const said = `${text.slice(0, 1).toUpperCase()}${text.slice(1)}`;
  return /[.!?]$/.test(said) ? said : `${said}.`;
};
