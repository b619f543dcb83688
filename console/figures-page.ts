import type { FirstPage } from '../server/fleet/figures.ts';
import type { Trends } from '../server/fleet/trends.ts';
import { scopeOf } from '../server/permissions.ts';
import { type Html, html } from '../web/html.ts';
import { macsInWords, number, sentence } from './fleet-parts.ts';
import { figuresFirst, figuresTrends } from './operations/figures.ts';
import { plot } from './plots.ts';
import type { ConsoleSite } from './visit.ts';

/* How the fleet went: four questions, each a picture that is called by its answer. */

const dayWords = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', timeZone: 'UTC' });
const shortDay = (name: string): string => dayWords.format(Date.parse(name));
const percent = (part: number, of: number): string => `${(Math.floor((part / of) * 1000) / 10).toString()} %`;

/** As people say how long something took. */
function tookInWords(minutes: number): string {
  if (minutes < 90) return Math.round(minutes) === 1 ? '1 minute' : `${Math.round(minutes)} minutes`;
  const hours = minutes / 60;
  return hours < 48 ? `${Math.round(hours)} hours` : `${Math.round(hours / 24)} days`;
}

function custody({ days }: Trends): Html {
  const [first, last] = [days[0], days.at(-1)];
  const all = (day: Trends['days'][number]): number => day.held + day.doubtful + day.lost + day.none + day.foreign;
  const title =
    first === undefined || last === undefined || all(last) === 0
      ? 'How many Macs have a key here'
      : `A key of ${percent(last.held, all(last))} of all Macs is held${days.length > 1 && all(first) > 0 ? `; on ${shortDay(first.day)} it was ${percent(first.held, all(first))}` : ''}`;
  return plot({
    id: 'custody',
    title,
    says: 'Macs in all, Macs with a held key, and Macs whose key was proved within 30 days, for each day.',
    head: 'Day',
    unit: 'Macs',
    kind: 'lines',
    labels: days.map(({ day }) => shortDay(day)),
    series: [
      { name: 'held', values: days.map(({ held }) => held) },
      { name: 'proved', values: days.map(({ proved }) => proved) },
      { name: 'all', values: days.map(all) },
    ],
  });
}

function ages({ keyAges }: Trends): Html {
  const all = keyAges.reduce((sum, { macs }) => sum + macs, 0);
  const old = keyAges.filter(({ fromDays }) => fromDays >= 365).reduce((sum, { macs }) => sum + macs, 0);
  const label = (fromDays: number, toDays: number | null): string => (toDays === null ? `${fromDays}+` : `${fromDays}–${toDays}`);
  return plot({
    id: 'ages',
    title:
      all === 0
        ? 'How old the held keys are'
        : old === 0
          ? 'No held key is older than a year'
          : `${number(old)} of ${number(all)} held keys ${old === 1 ? 'is' : 'are'} older than a year`,
    says: 'Macs by the age of their held key in days.',
    head: 'Days',
    unit: 'Macs, by days since their key came here',
    kind: 'bars',
    labels: keyAges.map(({ fromDays, toDays }) => label(fromDays, toDays)),
    series: [{ name: 'Macs', values: all === 0 ? keyAges.map(() => null) : keyAges.map(({ macs }) => macs) }],
  });
}

function lag({ lag: weeks }: Trends): Html {
  const last = weeks.findLast(({ p50Minutes }) => p50Minutes !== null);
  // In hours where minutes would be large numbers.
  const inHours = weeks.some(({ p95Minutes }) => (p95Minutes ?? 0) > 300);
  const value = (minutes: number | null): number | null => (minutes === null ? null : inHours ? Math.round(minutes / 6) / 10 : minutes);
  return plot({
    id: 'lag',
    title:
      last === undefined || last.p50Minutes === null
        ? 'How long ordered replacements take'
        : `Half of all ordered replacements are done within ${tookInWords(last.p50Minutes)}${last.p95Minutes === null ? '' : `, 95 of 100 within ${tookInWords(last.p95Minutes)}`}`,
    says: `${last === undefined ? 'No order was carried out yet.' : `In the week from ${shortDay(last.week)}.`} The time from an order to the new key, for each week: within which half of them, and 95 of 100, were done.`,
    head: 'Week from',
    unit: `${inHours ? 'Hours' : 'Minutes'} from the order to the new key, by week${last === undefined ? '' : `; the title is of the week from ${shortDay(last.week)}`}`,
    kind: 'lines',
    labels: weeks.map(({ week }) => shortDay(week)),
    series: [
      { name: 'half', values: weeks.map(({ p50Minutes }) => value(p50Minutes)) },
      { name: '95 %', values: weeks.map(({ p95Minutes }) => value(p95Minutes)) },
    ],
  });
}

function exposure({ exposure: weeks }: Trends, first: FirstPage): Html {
  // The last one is not over.
  const last = weeks.at(-2);
  const spots = first.exposure.blindSpots;
  return html`${plot({
    id: 'exposure',
    title:
      last === undefined
        ? 'For how long shown keys are out'
        : last.hours === 0
          ? 'No shown key was out last week'
          : `Shown keys were out for ${number(last.hours)} hours last week`,
    says: 'Hours for which keys that were shown had not been replaced, together, for each week; the last week is not over.',
    head: 'Week from',
    unit: 'Hours together, by week; the last week is not over',
    kind: 'bars',
    labels: weeks.map(({ week }) => shortDay(week)),
    series: [{ name: 'hours', values: weeks.map(({ hours }) => hours) }],
  })}<section class="plotted"><h2>What this does not see</h2>${blindSpots(spots)}</section>`;
}

export const blindSpots = (spots: FirstPage['exposure']['blindSpots']): Html =>
  html`<ul>${spots.map(({ says, macs }) => html`<li>${sentence(says)}${macs === null ? null : ` ${macsInWords(macs)}.`}</li>`)}</ul>`;

export function addFiguresPage({ page }: ConsoleSite): void {
  page('/figures', 'fleet.read', async (visit) => {
    const trends = await visit.perform(figuresTrends, {});
    const first = await visit.perform(figuresFirst, { limit: 1 });
    return {
      title: 'Figures',
      body: html`<h1>The last twelve weeks</h1>
${trends.days.length === 0 ? html`<p class="soft">${scopeOf(visit.admin, 'fleet.read') === null ? 'Custody from day to day is drawn from the first whole day on.' : 'Custody from day to day is kept as sums of the whole fleet, which cannot be divided into tags. You see a part of the fleet: the other three are of that part.'}</p>` : null}
<div class="plots">${trends.days.length === 0 ? null : custody(trends)}${lag(trends)}${ages(trends)}${exposure(trends, first)}</div>`,
    };
  });
}
