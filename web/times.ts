import { type Html, html } from './html.ts';
import type { Language } from './words.ts';

/*
 * Times as people say them. The backend does not know in which zone somebody is: it writes its own and names it, and a script
 * (browser/times.ts) puts the reader's in its place by the `datetime`.
 */

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;

const shapes = {
  /** 14:02 */
  clock: { hour: '2-digit', minute: '2-digit' },
  /** 21 November 14:02 */
  moment: { day: 'numeric', month: 'long', hour: '2-digit', minute: '2-digit' },
  /** 21 November 2026 */
  date: { day: 'numeric', month: 'long', year: 'numeric' },
} as const satisfies Record<string, Intl.DateTimeFormatOptions>;
type TimeShape = keyof typeof shapes;

/** British order for English: day before month, and 24 hours, as everybody in Europe reads it. */
const tag = (language: Language): string => (language === 'en' ? 'en-GB' : language);

const written = (at: number, language: Language, options: Intl.DateTimeFormatOptions): string => new Intl.DateTimeFormat(tag(language), options).format(at);

const exactly = (at: number, language: Language): string => written(at, language, { dateStyle: 'long', timeStyle: 'long' });

/** `14:02`, or with its day where that is not today. */
export function clockTime(at: number, now: number, language: Language): Html {
  const shape: TimeShape = calendarDays(at, now) === 0 ? 'clock' : 'moment';
  return timeElement(at, language, shape, written(at, language, { ...shapes[shape], timeZoneName: 'short' }));
}

/** *3 minutes ago*, *yesterday*, *12 days ago*; from half a year on the date. */
export function ago(at: number, now: number, language: Language): Html {
  const past = now - at;
  const since = new Intl.RelativeTimeFormat(tag(language), { numeric: 'auto' });
  const days = calendarDays(at, now);
  const text =
    past < minute
      ? justNow[language]
      : past < hour
        ? since.format(-Math.floor(past / minute), 'minute')
        : days === 0 || past < 6 * hour
          ? since.format(-Math.floor(past / hour), 'hour')
          : days < 60
            ? since.format(-Math.max(1, days), 'day')
            : days < 180
              ? since.format(-Math.round(days / 30), 'month')
              : written(at, language, shapes.date);
  return timeElement(at, language, null, text);
}

/** *21 November 2026*, for what has no hour. */
export const dateOf = (at: number, language: Language): Html => timeElement(at, language, 'date', written(at, language, shapes.date));

/** *March*, with its year where that is another: for what was long ago. */
export function monthOf(at: number, now: number, language: Language): Html {
  const sameYear = new Date(at).getFullYear() === new Date(now).getFullYear();
  return timeElement(at, language, null, written(at, language, sameYear ? { month: 'long' } : { month: 'long', year: 'numeric' }));
}

const justNow: Record<Language, string> = { en: 'just now', nl: 'zojuist', de: 'gerade eben', fr: 'à l’instant' };

const timeElement = (at: number, language: Language, shape: TimeShape | null, text: string): Html =>
  html`<time datetime="${new Date(at).toISOString()}" title="${exactly(at, language)}"${shape && html` data-shape="${shape}"`}>${text}</time>`;

function calendarDays(at: number, now: number): number {
  const midnight = (time: number) => new Date(time).setHours(0, 0, 0, 0);
  return Math.round((midnight(now) - midnight(at)) / day);
}
