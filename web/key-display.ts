import { type Html, html } from './html.ts';
import { keyShownWords } from './key-shown-words.ts';
import type { MacToType } from './mac-facts.ts';
import { onYourMac } from './steps/after-key.ts';
import type { WayId } from './steps/steps.ts';
import { layoutName } from './typing/layout-name.ts';
import { layoutOf } from './typing/layouts.ts';
import { lookAlikes } from './typing/look-alikes.ts';
import { otherKeys, pressesFor } from './typing/presses.ts';
import { spell } from './typing/spelling.ts';
import type { Visit } from './visit.ts';

/*
 * A key on a page, for whoever types it into a Mac: the same on each site, so that who helps sees what the other one sees.
 */

export interface KeyDisplay {
  /** Six of four signs. */
  groups: readonly string[];
  mac: MacToType;
  /** Until its end by the server's clock. */
  secondsLeft: number;
  /** The group at which its person was, 1 to 6; null: they see all of them. */
  place: number | null;
  /** What has to be known of this key before it is typed. */
  notes: readonly string[];
  way: WayId | null;
  /** An earlier page of these views put the key into the clipboard: the last one takes it out. */
  copied: boolean;
  /** Where the page leads when its time is over: a path with a query. */
  gone: string;
  /** What stands there instead. */
  goneWords: string;
  againWords: string;
  /** The form's path and its hidden fields. */
  hide: { action: string; fields: Html | null };
  /** *It was refused*: a link, or a form. */
  refused: Html;
  /** The next five minutes, before the end: above the key where they were asked for before. */
  moreTime: { form: Html; isAsked: boolean } | null;
}

type Speaking = Pick<Visit, 'language' | 'token'>;

const list = (items: readonly string[], of: string): Html | null =>
  items.length === 0 ? null : html`<ul class="${of}">${items.map((item) => html`<li>${item}</li>`)}</ul>`;

function tile(group: string, at: number, visit: Speaking, presses: readonly string[]): Html {
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

function hints(groups: readonly string[], mac: MacToType, visit: Speaking): Html {
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
export function keyDisplay(visit: Speaking, display: KeyDisplay): Html {
  const { groups, mac, secondsLeft, place, notes, way, copied, gone, hide, moreTime } = display;
  const { language } = visit;
  const it = keyShownWords[language];
  const layout = layoutOf(mac.keyboardLayout);
  // What the countdown says and shows, so that the script has no words of its own.
  const [minutes, seconds] = [
    [5, 4, 3, 2, 1],
    [50, 40, 30, 20, 10],
  ];
  const left = [...minutes.map((m) => [m * 60, it.amount(m, 'minute')]), ...seconds.map((s) => [s, it.amount(s, 'second')])];
  return html`<h1>${it.shown}</h1>
${notes.map((note) => html`<p class="note">${note}</p>`)}
<div class="time"><p class="for-five">${it.shownWhat}</p><p class="left" aria-hidden="true" hidden></p><p class="hidden-words said" aria-live="polite"></p>
${moreTime?.isAsked === true && moreTime.form}</div>
<section id="key" class="no-print secret" data-mac="${mac.macId}" data-seconds="${secondsLeft}" data-gone="${gone}" data-place="${place}" data-copied="${copied ? 'yes' : ''}" data-left="${JSON.stringify(left.map(([at, amount]) => [at, it.remains(String(amount))]))}">
<ol class="tiles">${groups.map((group, at) => tile(group, at, visit, layout ? pressesFor(layout, at < 5 ? `${group}-` : group, language) : []))}</ol>
<div class="turn" hidden><button type="button" class="back second">${it.back}</button><button type="button" class="next">${it.next}</button></div>
<div class="tools" hidden>
<button type="button" class="second one" data-other="${it.all}">${it.oneByOne}</button>
<button type="button" class="second read" data-other="${it.stop}">${it.read}</button>
<button type="button" class="second copy" data-done="${it.copied}" data-failed="${it.notCopied}">${it.copy}</button>
<p class="soft headphones">${it.headphones}</p><p class="copied" role="status"></p></div>
</section>
<div class="gone" hidden><h2 tabindex="-1">${display.goneWords}</h2><p><a class="button" href="${gone}">${display.againWords}</a></p></div>
<div class="row after-key"><form method="post" action="${hide.action}" class="hide">${visit.token(hide.action)}${hide.fields}<button class="second">${it.hide}</button></form>
${display.refused}</div>
${moreTime?.isAsked === false && moreTime.form}
<h2>${it.onTheMac}</h2>
${onYourMac(mac, way, language)}
${hints(groups, mac, visit)}`;
}
