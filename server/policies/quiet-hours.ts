import { z } from 'zod';

/*
 * Hours in which nothing is begun, by the clock on the wall of one time zone. An instant is quiet where that clock says so, so an
 * hour that a change of the clocks leaves out is not waited for, and one that comes twice is quiet both times.
 */

const minute = 60_000;
const dayMinutes = 24 * 60;
const weekdays = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] as const;
type Weekday = (typeof weekdays)[number];

const isZone = (name: string): boolean => {
  try {
    new Intl.DateTimeFormat('en-GB', { timeZone: name });
    return !/^[+-]/.test(name);
  } catch {
    return false;
  }
};

const clock = z
  .string()
  .regex(/^([01]\d|2[0-3]):[0-5]\d$|^24:00$/, 'a time of day, such as 08:30')
  .describe('HH:MM on the wall');

const timeZone = z.string().max(64).refine(isZone, 'a time zone of the IANA list, such as Europe/Amsterdam').describe('IANA time zone');

export interface QuietHours {
  timeZone: string;
  hours: { days: Weekday[]; from: string; to: string }[];
}

export const quietHours: z.ZodType<QuietHours, QuietHours> = z
  .strictObject({
    timeZone,
    hours: z
      .array(
        z.strictObject({
          days: z.array(z.enum(weekdays)).min(1).max(7).describe('days on which it begins'),
          from: clock,
          to: clock.describe('HH:MM on the wall; before `from`: on the next day'),
        }),
      )
      .min(1)
      .max(21),
  })
  .refine(({ hours }) => hours.every(({ from, to }) => from !== to && from !== '24:00'), 'hours that end when they begin')
  .refine(({ hours }) => !isAlways(hours), 'the whole week is quiet, so nothing would ever begin')
  .describe('when nothing is begun');
const minutesOf = (time: string): number => Number(time.slice(0, 2)) * 60 + Number(time.slice(3));

/** As minutes of a week that begins on Monday; `to` may lie in the week after. */
function spans(hours: QuietHours['hours']): { from: number; to: number }[] {
  return hours.flatMap(({ days, from, to }) =>
    days.map((day) => {
      const start = weekdays.indexOf(day) * dayMinutes;
      const [begin, end] = [minutesOf(from), minutesOf(to)];
      return { from: start + begin, to: start + end + (end <= begin ? dayMinutes : 0) };
    }),
  );
}

const weekMinutes = 7 * dayMinutes;

const covers = (hours: QuietHours['hours'], at: number): boolean =>
  spans(hours).some(({ from, to }) => (at >= from && at < to) || (at + weekMinutes >= from && at + weekMinutes < to));

/** Every span ends at the beginning of another one, all around the week. */
const isAlways = (hours: QuietHours['hours']): boolean => spans(hours).every(({ to }) => covers(hours, to % weekMinutes));

const formats = new Map<string, Intl.DateTimeFormat>();

function formatOf(zone: string): Intl.DateTimeFormat {
  const known = formats.get(zone);
  if (known) return known;
  const made = new Intl.DateTimeFormat('en-GB', { timeZone: zone, weekday: 'short', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
  formats.set(zone, made);
  return made;
}

/** Minutes since Monday 00:00 on the wall. */
function onTheWall(zone: string, at: number): number {
  let [day, hours, minutes] = ['', 0, 0];
  for (const { type, value } of formatOf(zone).formatToParts(at)) {
    if (type === 'weekday') day = value.toLowerCase();
    else if (type === 'hour') hours = Number(value);
    else if (type === 'minute') minutes = Number(value);
  }
  return weekdays.indexOf(day as Weekday) * dayMinutes + hours * 60 + minutes;
}

export const isQuiet = (quiet: QuietHours | null, at: number): boolean => quiet !== null && covers(quiet.hours, onTheWall(quiet.timeZone, at));

/** The first instant from `at` on that is quiet, or is not. Null where there is none: always open. */
function nextThat(quiet: QuietHours, at: number, wanted: boolean): number | null {
  const { timeZone: zone, hours } = quiet;
  const edges = spans(hours).flatMap(({ from, to }) => [from % weekMinutes, to % weekMinutes]);
  const until = at + 9 * dayMinutes * minute;
  let now = at;
  while (now < until) {
    const wall = onTheWall(zone, now);
    if (covers(hours, wall) === wanted) return now;
    const ahead = Math.min(...edges.map((edge) => (edge - wall + weekMinutes) % weekMinutes || weekMinutes));
    const start = Math.floor(now / minute) * minute;
    // Where the clocks change on the way, the edge is nearer or farther than the wall says: quarter by quarter. No zone changes by less.
    const isStraight = (wall + ahead) % weekMinutes === onTheWall(zone, start + ahead * minute);
    now = start + (isStraight && ahead <= dayMinutes / 4 ? ahead : Math.min(ahead, 15)) * minute;
  }
  return null;
}

/** The first instant from `at` on at which something may begin. */
export const nextOpen = (quiet: QuietHours | null, at: number): number => (quiet === null ? at : (nextThat(quiet, at, false) ?? at));
/** The first instant from `at` on at which nothing may begin, or null where that never comes. */
export const nextQuiet = (quiet: QuietHours | null, at: number): number | null => (quiet === null ? null : nextThat(quiet, at, true));

/** No later than can be written down. */
const written = (at: number): number => Math.min(Math.round(at), Date.UTC(9999, 11, 31));

/** Farther ahead it is reckoned from what these weeks were: day by day a fleet at a minute a day would keep the backend busy for minutes. */
const exactWeeks = 8;

/** When the last of so many has begun, one each `gap` milliseconds of open time; the first at once. */
export function lastOf(quiet: QuietHours | null, from: number, count: number, gap: number): number {
  const begun = nextOpen(quiet, from);
  const all = Math.max(0, count - 1) * gap;
  let at = begun;
  let left = all;
  while (quiet !== null) {
    const closes = nextQuiet(quiet, at);
    if (closes === null || closes - at > left) break;
    left -= closes - at;
    at = nextOpen(quiet, closes);
    if (at - begun > exactWeeks * weekMinutes * minute) return written(at + left * ((at - begun) / (all - left)));
  }
  return written(at + left);
}
