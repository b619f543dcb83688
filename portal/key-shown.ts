import { type BroughtSource, productOf } from '../server/brought/sources.ts';
import type { Episode, KeyView } from '../server/store/episodes.ts';
import { type Html, html } from '../web/html.ts';
import { keyDisplay } from '../web/key-display.ts';
import { keyShownWords } from '../web/key-shown-words.ts';
import { isWay, type WayId } from '../web/steps/steps.ts';
import type { Page, SignedIn } from '../web/visit.ts';
import { keyWords } from './key-words.ts';
import { nameOf } from './mac-parts.ts';
import type { OwnMac } from './own-mac.ts';

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

/** What is kept from one view to the next; it says nothing of the key. */
export interface Kept {
  place?: string | undefined;
  copied?: boolean;
  /** The way by which they came to the field, of web/steps. */
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

/** The page itself; the key stands in it as on any site. */
export function shownPage(visit: SignedIn, shown: Shown): Page {
  const { groups, mac, episode, secondsLeft, place, notes, unprovedFrom, mayHaveMoreTime, way, copied } = shown;
  const { language } = visit;
  const words = keyWords[language];
  const it = keyShownWords[language];
  const gone = gonePath(mac.macId, way);
  const isAsked = episode.more_time === 1;
  return {
    title: words.title(nameOf(mac, language)),
    scripts: ['key'],
    refresh: { seconds: secondsLeft, to: gone },
    body: keyDisplay(visit, {
      groups,
      mac,
      secondsLeft,
      place,
      notes: [...notes.map((note) => it[note]), ...(unprovedFrom === null ? [] : [it.unprovedFrom(productOf(unprovedFrom))])],
      way,
      copied,
      gone,
      goneWords: words.gone,
      againWords: words.again,
      hide: { action: `${keyPath(mac.macId)}/hide`, fields: wayField(way) },
      refused: html`<a class="button second" href="${refusedPath(mac.macId, way)}">${words.refused}</a>`,
      moreTime: mayHaveMoreTime ? { form: moreTimeForm(visit, mac.macId, isAsked, { way, copied }), isAsked } : null,
    }),
  };
}
