import { heldRelease } from '../server/approvals/releases.ts';
import { macById } from '../server/store/macs.ts';
import { type Html, html } from '../web/html.ts';
import { type MacToType, macToType } from '../web/mac-facts.ts';
import type { Page, Site, Visit } from '../web/visit.ts';
import { contactCard } from './contact-card.ts';
import { keyWords } from './key-words.ts';
import { nameOf } from './mac-parts.ts';
import { checksBefore } from './refused.ts';
import { refusedWords } from './refused-words.ts';
import { mayTryAnotherOf, moreTimeOf, type ReleaseNow, releaseNow } from './release-views.ts';
import { releaseWords } from './release-words.ts';

/* What stands before and after the key in a browser with a code of the desk. No key is here. */

export const releaseCookie = 'release';
export const releasePath = '/release';
export const keyPath = `${releasePath}/key`;
export const refusedPath = `${releasePath}/refused`;
export const gonePath = `${keyPath}?gone=1`;
export interface Held extends ReleaseNow {
  mac: MacToType;
  serial: string;
}

export async function heldBy({ ground }: Site, visit: Visit): Promise<Held | null> {
  const { db } = ground.backend.store;
  const release = await heldRelease(db, visit.at, visit.cookies[releaseCookie]);
  const mac = release && (await macById(db, release.mac_id));
  return release && mac ? { ...(await releaseNow(db, release)), mac: macToType(mac), serial: mac.serial } : null;
}

export function overPage({ ground }: Site, visit: Visit, status = 403): Page {
  const words = releaseWords[visit.language];
  return {
    title: words.over,
    status,
    cookies: [{ name: releaseCookie, value: null }],
    body: html`<h1>${words.over}</h1><p>${words.overWhat}</p>
<p><a class="button" href="${releasePath}">${words.toCode}</a></p>${contactCard(ground.settings, null, {}, visit.language)}`,
  };
}

const form = (visit: Visit, action: string, inside: Html): Html => html`<form method="post" action="${action}">${visit.token(action, true)}${inside}</form>`;

export const kept = (place: string | undefined, copied: boolean): Html =>
  html`<input type="hidden" name="place" value="${place ?? ''}"><input type="hidden" name="copied" value="${copied ? 'yes' : ''}">`;

export function moreTimeForm(visit: Visit, isAsked: boolean, hidden: Html): Html {
  const words = keyWords[visit.language];
  const action = `${keyPath}/more-time`;
  return html`<form method="post" action="${action}" class="more-time">${visit.token(action, true)}${hidden}
<button aria-describedby="more-time-what"${isAsked ? null : html` class="second"`}>${isAsked ? words.fiveMore : words.moreTime}</button><p class="soft" id="more-time-what">${isAsked ? words.fiveMoreWhat : words.moreTimeWhat}</p></form>`;
}

const doneForm = (visit: Visit): Html => {
  const words = releaseWords[visit.language];
  return form(
    visit,
    `${releasePath}/done`,
    html`<button class="second" aria-describedby="done-what">${words.done}</button><p class="soft" id="done-what">${words.doneWhat}</p>`,
  );
};

export function beforePage(visit: Visit, { mac }: Held): Page {
  const { language } = visit;
  const words = releaseWords[language];
  const title = words.forMac(nameOf(mac, language), mac.serialEnd);
  return {
    title,
    body: html`<h1>${title}</h1>
<p class="note">${words.notThis}</p>
<p>${words.before}</p>
${form(visit, keyPath, html`<button aria-describedby="get-what">${keyWords[language].get}</button><p class="soft" id="get-what">${keyWords[language].getWhat}</p>`)}`,
  };
}

export function gonePage({ ground }: Site, visit: Visit, held: Held): Page {
  const { clipboard, place, ended } = visit.query;
  const words = keyWords[visit.language];
  const more = moreTimeOf(held, ground.backend.clock.now());
  const hidden = kept(place, clipboard === 'kept');
  return {
    title: words.gone,
    ...(clipboard === 'kept' ? { scripts: ['clipboard'] } : {}),
    body: html`<h1>${words.gone}</h1><p>${words.goneWhat}</p>
${ended !== undefined && html`<p class="note">${words.ended}</p>`}
${clipboard === 'cleared' && html`<p class="note">${words.cleared}</p>`}
${clipboard === 'kept' && html`<p class="note clipboard" role="status" data-cleared="${words.cleared}">${words.notCleared}</p>`}
${more === 'used-up' && html`<p class="note">${words.moreTimeUsedUp}</p>`}
${more === 'yes' && moreTimeForm(visit, held.release.more_time === 1, hidden)}
${form(visit, `${keyPath}/again`, html`${hidden}<button${more === 'yes' && html` class="second"`}>${words.again}</button>`)}
<p><a class="button second" href="${refusedPath}">${words.refused}</a></p>
${doneForm(visit)}
${contactCard(ground.settings, null, { serialEnd: held.mac.serialEnd }, visit.language)}`,
  };
}

export function deskPage({ ground }: Site, visit: Visit, { mac }: Held, said: { title: string; what: string; status: number }): Page {
  return {
    title: said.title,
    status: said.status,
    body: html`<h1>${said.title}</h1><p>${said.what}</p><p>${releaseWords[visit.language].desk}</p>
${contactCard(ground.settings, null, { serialEnd: mac.serialEnd }, visit.language)}`,
  };
}

export function refusedPage(visit: Visit, held: Held): Page {
  const words = refusedWords[visit.language];
  if (!held.last)
    return {
      title: words.title,
      body: html`<h1>${words.title}</h1><p>${releaseWords[visit.language].notShown}</p><p><a class="button" href="${keyPath}">${words.toKey}</a></p>`,
    };
  const more = mayTryAnotherOf(held);
  return {
    title: words.title,
    body: html`<h1>${words.title}</h1><p>${words.first}</p>
${checksBefore(held.mac, visit.language)}
${form(
  visit,
  refusedPath,
  html`<button name="next" value="same" aria-describedby="again-what">${words.tryAgain}</button><p class="soft" id="again-what">${words.tryAgainWhat}</p>
<h2>${words.tried}</h2><p>${more ? words.triedWhat : words.stopWhat}</p>
<button name="next" value="other" class="second">${more ? words.another : words.toDesk}</button>`,
)}`,
  };
}
