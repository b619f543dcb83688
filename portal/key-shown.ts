import { type BroughtSource, productOf } from '../server/brought/sources.ts';
import type { Episode, KeyView } from '../server/store/episodes.ts';
import { type Html, html } from '../web/html.ts';
import type { Page, SignedIn } from '../web/visit.ts';
import { keyShownWords } from './key-shown-words.ts';
import { keyWords } from './key-words.ts';
import { nameOf } from './mac-parts.ts';
import type { OwnMac } from './own-mac.ts';
import { onYourMac } from './steps/after-key.ts';
import { isWay, type WayId } from './steps/steps.ts';
import { layoutName } from './typing/layout-name.ts';
import { layoutOf } from './typing/layouts.ts';
import { lookAlikes } from './typing/look-alikes.ts';
import { otherKeys, pressesFor } from './typing/presses.ts';
import { spell } from './typing/spelling.ts';

/** The key as it stands on the page, for as long as one answer is written. */
export interface Shown {
  /** Six of four signs. */
  groups: readonly string[];
  mac: OwnMac;
  episode: Episode;
  view: KeyView;
  /** Until its end by the server's clock. */
  secondsLeft: number;
  /** The group at which its person was, 1 to 6; null: they see all of them. */
  place: number | null;
  /** What has to be known of this key before it is typed. */
  notes: readonly ('rotationOpen' | 'doubtful' | 'otherKey' | 'changedKey')[];
  /** Others had it, and nobody has asked the Mac about it yet. */
  unprovedFrom: BroughtSource | null;
  mayHaveMoreTime: boolean;
  way: WayId | null;
  /** An earlier page of these views put the key into the clipboard: the last one takes it out. */
  copied: boolean;
}

export const keyPath = (macId: string): string => `/macs/${macId}/key`;
export const gonePath = (macId: string, way: WayId | null = null): string => `${keyPath(macId)}?gone=1${way === null ? '' : `&from=${way}`}`;
export const refusedPath = (macId: string, way: WayId | null = null): string => `/macs/${macId}/refused${way === null ? '' : `?from=${way}`}`;

const list = (items: readonly string[], of: string): Html | null =>
  items.length === 0 ? null : html`<ul class="${of}">${items.map((item) => html`<li>${item}</li>`)}</ul>`;

/** What is kept from one view to the next; it says nothing of the key. */
export interface Kept {
  place?: string | undefined;
  copied?: boolean;
  /** The way by which they came to the field, of portal/steps. */
  way: WayId | null;
}
export const wayField = (way: WayId | null): Html | null => (way === null ? null : html`<input type="hidden" name="from" value="${way}">`);
export const wayOf = (text: string | undefined): WayId | null => (text !== undefined && isWay(text) ? text : null);

/** For the forms that show the key once more. The script writes where its person is, and whether they copied. */
export const keptFields = ({ place = '', copied = false, way }: Kept): Html =>
  html`<input type="hidden" name="place" value="${place}"><input type="hidden" name="copied" value="${copied ? 'yes' : ''}">${wayField(way)}`;

export function moreTimeForm(visit: SignedIn, macId: string, asked: boolean, kept: Kept): Html {
  const words = keyWords[visit.language];
  const action = `${keyPath(macId)}/more-time`;
  return html`<form method="post" action="${action}" class="more-time">${visit.token(action, true)}${keptFields(kept)}
<button aria-describedby="more-time-what"${asked ? null : html` class="second"`}>${asked ? words.fiveMore : words.moreTime}</button><p class="soft" id="more-time-what">${asked ? words.fiveMoreWhat : words.moreTimeWhat}</p></form>`;
}

function tile(group: string, at: number, visit: SignedIn, presses: readonly string[]): Html {
  const it = keyShownWords[visit.language];
  const digits = [...group].filter((sign) => /\d/.test(sign));
  const spoken = spell(group, visit.language).map(({ sign, word }) => (/\d/.test(sign) ? `${it.digit} ${word}` : `${sign} ${word}`));
  return html`<li class="tile">
<h2 tabindex="-1">${it.group(at + 1)}</h2>
<p class="signs" aria-hidden="true">${[...group].map((sign) => (/\d/.test(sign) ? html`<b class="digit">${sign}</b>` : html`<span>${sign}</span>`))}</p>
<p class="hidden-words spoken">${spoken.join(', ')}.</p>
<p class="digits" aria-hidden="true">${digits.length === 0 ? it.noDigits : it.digits(digits.join(', '))}</p>
${list(presses, 'presses')}</li>
`;
}

function hints(groups: readonly string[], mac: OwnMac, visit: SignedIn): Html {
  const { language } = visit;
  const it = keyShownWords[language];
  const key = groups.join('-');
  const layout = layoutOf(mac.keyboardLayout);
  const alike = lookAlikes(key, language);
  const others = layout ? otherKeys(layout, key, language).filter(({ presses }) => presses.length > 0) : [];
  return html`<section class="hints secret"><p>${it.asShown}</p>
${alike.length > 0 && html`<h2>${it.lookAlikes}</h2>${list(alike, 'alike')}`}
${layout ? html`<p>${it.layout(layoutName(layout, mac.macLanguage, language).text)}</p>${list(pressesFor(layout, key, language), 'presses')}` : html`<p>${it.layoutUnknown}</p>`}
${others.map(({ keys, presses }) => html`<details><summary>${it.otherKeys(keys)}</summary>${list(presses, 'presses')}</details>`)}</section>`;
}

/** Without a script all six tiles and a page that goes by itself; the script takes what is hidden here and adds the rest. */
export function shownPage(visit: SignedIn, shown: Shown): Page {
  const { groups, mac, episode, secondsLeft, place, notes, unprovedFrom, mayHaveMoreTime, way, copied } = shown;
  const { language } = visit;
  const words = keyWords[language];
  const it = keyShownWords[language];
  const layout = layoutOf(mac.keyboardLayout);
  const key = keyPath(mac.macId);
  // What the countdown says and shows, so that the script has no words of its own.
  const [minutes, seconds] = [
    [5, 4, 3, 2, 1],
    [50, 40, 30, 20, 10],
  ];
  const left = [...minutes.map((m) => [m * 60, it.amount(m, 'minute')]), ...seconds.map((s) => [s, it.amount(s, 'second')])];
  const action = `${key}/hide`;
  const gone = gonePath(mac.macId, way);
  return {
    title: words.title(nameOf(mac, language)),
    scripts: ['key'],
    refresh: { seconds: secondsLeft, to: gone },
    body: html`<h1>${it.shown}</h1>
${notes.map((note) => html`<p class="note">${it[note]}</p>`)}${unprovedFrom !== null && html`<p class="note">${it.unprovedFrom(productOf(unprovedFrom))}</p>`}
<div class="time"><p class="for-five">${it.shownWhat}</p><p class="left" aria-hidden="true" hidden></p><p class="hidden-words said" aria-live="polite"></p>
${mayHaveMoreTime && episode.more_time === 1 && moreTimeForm(visit, mac.macId, true, { way, copied })}</div>
<section id="key" class="no-print secret" data-mac="${mac.macId}" data-seconds="${secondsLeft}" data-gone="${gone}" data-place="${place}" data-copied="${copied ? 'yes' : ''}" data-left="${JSON.stringify(left.map(([at, amount]) => [at, it.remains(String(amount))]))}">
<ol class="tiles">${groups.map((group, at) => tile(group, at, visit, layout ? pressesFor(layout, at < 5 ? `${group}-` : group, language) : []))}</ol>
<div class="turn" hidden><button type="button" class="back second">${it.back}</button><button type="button" class="next">${it.next}</button></div>
<div class="tools" hidden>
<button type="button" class="second one" data-other="${it.all}">${it.oneByOne}</button>
<button type="button" class="second read" data-other="${it.stop}">${it.read}</button>
<button type="button" class="second copy" data-done="${it.copied}" data-failed="${it.notCopied}">${it.copy}</button>
<p class="soft headphones">${it.headphones}</p><p class="copied" role="status"></p></div>
</section>
<div class="gone" hidden><h2 tabindex="-1">${words.gone}</h2><p><a class="button" href="${gone}">${words.again}</a></p></div>
<div class="row after-key"><form method="post" action="${action}" class="hide">${visit.token(action)}${wayField(way)}<button class="second">${it.hide}</button></form>
<a class="button second" href="${refusedPath(mac.macId, way)}">${words.refused}</a></div>
${mayHaveMoreTime && episode.more_time === 0 && moreTimeForm(visit, mac.macId, false, { way, copied })}
<h2>${it.onTheMac}</h2>
${onYourMac(mac, way, language)}
${hints(groups, mac, visit)}`,
  };
}
