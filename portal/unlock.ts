import { type Html, html } from '../web/html.ts';
import { picture } from '../web/pictures.ts';
import { firstTries } from '../web/steps/first.ts';
import { locks, type TryFirst, tries, type WrongLock } from '../web/steps/locks.ts';
import { macLanguageOf, nameOf, type PageLanguage } from '../web/steps/quotes.ts';
import { chipOf, isScreen, macosOf, type ScreenId, screenOf, screensOf } from '../web/steps/screens.ts';
import { quotesIn, written } from '../web/steps/sentences.ts';
import { isWay, type Sentence, type Step, stepsOf, type WayId } from '../web/steps/steps.ts';
import { ago } from '../web/times.ts';
import { layoutName } from '../web/typing/layout-name.ts';
import { layoutOf } from '../web/typing/layouts.ts';
import { unlockWords } from '../web/unlock-words.ts';
import type { Page, SignedIn, Site } from '../web/visit.ts';
import { say } from '../web/words.ts';
import { cardFor, theirMac } from './mac-parts.ts';
import type { OwnMac } from './own-mac.ts';

/*
 * Before the key: bring the Mac to the field for it, or find out that it is not the key that is missing. All state is in the
 * address, so that back, forward, a second tab and a reload are always right. Nothing here is changed, and no key is shown.
 */

export function addUnlock(site: Site): void {
  site.page('/macs/:mac/unlock', 'person', (visit) => answer(site, visit));
}

interface Asked {
  site: Site;
  visit: SignedIn;
  mac: OwnMac;
  words: (typeof unlockWords)[PageLanguage];
  /** Of the page: these words are there in two languages. */
  language: PageLanguage;
}

async function answer(site: Site, visit: SignedIn): Promise<Page> {
  const mac = await theirMac(site.ground, visit);
  const { words, language } = say(unlockWords, visit.language);
  const asked: Asked = { site, visit, mac, words, language: language === 'nl' ? 'nl' : 'en' };
  const page = await bodyOf(asked);
  return {
    title: page.title,
    body: html`${page.body}
<p class="others"><a class="button quiet" href="/macs/${mac.macId}/key">${words.skip}</a></p>`,
    language: asked.language,
    scripts: ['times'],
  };
}

type Body = { title: string; body: Html };

/** An address that means nothing is the first page: nobody who is locked out is shown a mistake here. */
async function bodyOf(asked: Asked): Promise<Body> {
  const { shows = '', step = '1', look, still } = asked.visit.query;
  const chip = chipOf(asked.mac.isAppleSilicon);
  if (isWay(shows) && (!isScreen(shows) || screenOf(shows).chips.includes(chip))) {
    if (still !== undefined) return callPage(asked, shows);
    const steps = stepsOf(shows, chip, macosOf(asked.mac.macosVersion));
    const at = /^\d{1,2}$/.test(step) ? Math.min(Math.max(Number(step), 1), steps.length) : 1;
    return stepPage(asked, shows, steps, at);
  }
  if (isScreen(shows) && screensOf(chip).includes(shows)) {
    if (isTryFirst(shows)) return still !== undefined ? callPage(asked, shows) : tryFirstPage(asked, shows);
    if (isWrongLock(shows)) return wrongLockPage(asked, shows);
  }
  return look === undefined && shows === '' ? firstPage(asked) : lookPage(asked);
}

const isWrongLock = (id: ScreenId): id is WrongLock => Object.hasOwn(locks, id);
const isTryFirst = (id: ScreenId): id is TryFirst => Object.hasOwn(tries, id);

const to = ({ mac }: Asked, query: Record<string, string> = {}): string => {
  const search = new URLSearchParams(query).toString();
  return `/macs/${mac.macId}/unlock${search === '' ? '' : `?${search}`}`;
};

/** What the login window should show at its top right, in the Mac's language where its word for it is known. */
function layoutWords({ mac, words, language }: Asked): Html | string {
  const layout = layoutOf(mac.keyboardLayout);
  if (layout === null) return words.layoutUnknown;
  const name = layoutName(layout, mac.macLanguage, language);
  return words.layoutShould(name.isOnScreen ? html`<strong lang="${name.language}">“${name.text}”</strong>` : html`<strong>${name.text}</strong>`);
}

function firstPage(asked: Asked): Body {
  const { mac, visit, words, language } = asked;
  const changed = mac.passwordChangedAt === null ? null : words.changed(ago(mac.passwordChangedAt, visit.at, language));
  const body = html`<h1>${words.first}</h1>
<p>${words.firstMeans}</p>
<ol class="steps">
<li><strong>${words.previous}</strong><p>${inWords(asked, firstTries.previous)} ${changed}</p></li>
<li><strong>${words.capsLock}</strong><p>${inWords(asked, firstTries.capsLock)}</p></li>
<li><strong>${words.layout}</strong><p>${layoutWords(asked)}</p></li>
</ol>
<div class="note"><h2>${words.stopGuessing}</h2><p>${inWords(asked, firstTries.stopGuessing)}</p></div>
<p class="row"><a class="button" href="${to(asked, { look: '1' })}">${words.stillLocked}</a>
<a class="button second" href="/macs/${mac.macId}">${words.itWorked}</a></p>`;
  return { title: words.first, body };
}

function lookPage(asked: Asked): Body {
  const { mac, words } = asked;
  const choice = (id: ScreenId): Html => html`<li><a href="${to(asked, { shows: id })}">${picture(id, words.drawn[id])}
<span><strong>${words.number(screenOf(id).number)}</strong> ${words.shows[id]}</span></a></li>`;
  const body = html`<h1>${words.look}</h1>
<p>${words.lookMeans}</p>
<ul class="pictures plain">${screensOf(chipOf(mac.isAppleSilicon)).map(choice)}</ul>
<p class="row"><a class="button second" href="${to(asked)}">${words.back}</a></p>`;
  return { title: words.look, body };
}

/** The picture that was chosen, small, so that it is seen at once whether it is the right one. */
const chosen = ({ words }: Asked, id: ScreenId): Html =>
  html`<p class="chosen">${picture(id, words.drawn[id])} <span>${words.number(screenOf(id).number)}: ${words.shows[id]}</span></p>`;

const inWords = ({ mac, language }: Asked, one: Sentence): Html => written(one, macLanguageOf(mac.macLanguage), language);

function sentence(asked: Asked, one: Sentence): Html {
  const { words } = asked;
  const text = inWords(asked, one);
  if (one.is === 'harmless') return html`<div class="note"><p><strong>${words.sounds}.</strong> ${text}</p></div>`;
  if (one.is === 'stop') return html`<div class="note"><p><strong>${words.stop}.</strong> ${text}</p></div>`;
  return html`<p${one.is === 'note' && html` class="soft"`}>${text}</p>`;
}

/** In which language the Mac is quoted, where it is quoted and that is not the page's. */
function quotedIn({ mac, words, language }: Asked, step: Step): Html | null {
  if (step.sentences.every((one) => quotesIn(one.text[language]).length === 0)) return null;
  const speaks = macLanguageOf(mac.macLanguage);
  if (speaks === language) return null;
  return html`<p class="soft">${speaks === null ? words.macUnknown : words.macSpeaks(nameOf(speaks, language))}</p>`;
}

function stepPage(asked: Asked, way: WayId, steps: readonly Step[], at: number): Body {
  const { mac, words, language } = asked;
  const step = steps[at - 1];
  if (step === undefined) return lookPage(asked);
  const title = step.title[language];
  const { instead } = step;
  const body = html`<p class="step-of soft">${words.step(at, steps.length)}</p>
<h1>${title}</h1>
${at === 1 && isScreen(way) ? chosen(asked, way) : null}
${step.sentences.map((one) => sentence(asked, one))}
${quotedIn(asked, step)}
${at === steps.length ? html`<p>${words.getKeyMeans}</p>` : null}
<p class="row">${
    at === steps.length
      ? html`<a class="button" href="/macs/${mac.macId}/key?from=${way}">${words.getKey}</a>`
      : html`<a class="button" href="${to(asked, { shows: way, step: String(at + 1) })}">${words.next}</a>`
  }
<a class="button second" href="${at === 1 ? to(asked, { look: '1' }) : to(asked, { shows: way, step: String(at - 1) })}">${words.back}</a></p>
<ul class="plain others">${instead === undefined ? null : html`<li><a class="button quiet" href="${to(asked, { shows: instead.way })}">${instead.text[language]}</a></li>`}
<li><a class="button quiet" href="${to(asked, { look: '1' })}">${words.otherScreen}</a></li>
<li><a class="button quiet" href="${to(asked, { shows: way, still: '1' })}">${words.notWorking}</a></li></ul>
<details class="others"><summary>${words.hints}</summary><p>${words.voiceOver}</p><p>${words.keyboard}</p></details>
<p class="soft small">${words.notSeen}</p>`;
  return { title, body };
}

/** Whom to call, with the number of the picture beside the code. */
const card = ({ site, visit, mac }: Asked, id: ScreenId): Promise<Html> => cardFor(site.ground, visit, mac, `/unlock, picture ${screenOf(id).number}, ${id}`);

async function wrongLockPage(asked: Asked, id: WrongLock): Promise<Body> {
  const { words } = asked;
  const [is, means] = locks[id];
  const body = html`<h1>${words.wrongLock}</h1>
${chosen(asked, id)}
<p><strong>${inWords(asked, is)}</strong></p>
<p>${inWords(asked, means)}</p>
<p>${words.noKeyFor}</p>
${await card(asked, id)}
<p>${words.callMeans}</p>
<p class="row"><a class="button second" href="${to(asked, { look: '1' })}">${words.otherScreen}</a></p>`;
  return { title: words.wrongLock, body };
}

function tryFirstPage(asked: Asked, id: TryFirst): Body {
  const { words } = asked;
  const { is, tries: acts } = tries[id];
  const body = html`<h1>${words.tryFirst}</h1>
${chosen(asked, id)}
<p><strong>${inWords(asked, is)}</strong></p>
<ol class="steps">${acts.map((one) => html`<li>${inWords(asked, one)}</li>`)}</ol>
<p class="row"><a class="button" href="${to(asked, { look: '1' })}">${words.otherScreen}</a>
<a class="button second" href="${to(asked, { shows: id, still: '1' })}">${words.stillThere}</a></p>`;
  return { title: words.tryFirst, body };
}

async function callPage(asked: Asked, from: ScreenId | WayId): Promise<Body> {
  const { words } = asked;
  const id: ScreenId = from === 'no-question-mark' ? 'password-field' : from;
  const body = html`<h1>${words.callNow}</h1>
${chosen(asked, id)}
<p>${words.callMeans}</p>
${await card(asked, id)}
<p class="row"><a class="button second" href="${to(asked, { shows: from })}">${words.back}</a></p>`;
  return { title: words.callNow, body };
}
