import { type Html, html } from '../web/html.ts';
import { ago, monthOf } from '../web/times.ts';
import type { Answer, Page, SignedIn, Site } from '../web/visit.ts';
import { contactCard } from './contact-card.ts';
import { moreTime } from './episodes.ts';
import { elsewhere, present } from './key-answers.ts';
import { keptFields, keyPath, moreTimeForm, refusedPath, wayField, wayOf } from './key-shown.ts';
import { keyStateOf } from './key-state.ts';
import { keyStateWords } from './key-state-words.ts';
import { keyWords } from './key-words.ts';
import { keyFactsOf, nameOf } from './mac-parts.ts';
import type { OwnMac } from './own-mac.ts';
import { mostReason } from './reason.ts';

const minute = 60_000;

/** Where it may not be shown at all, nobody comes here. */
function stateOf(mac: OwnMac, visit: SignedIn): Html {
  const state = keyStateOf(keyFactsOf(mac), visit.at);
  return keyStateWords[visit.language](state, (at) => (state.is === 'checked-long-ago' ? monthOf : ago)(at, visit.at, visit.language));
}

/** Signing in again first, where the last time was too long ago for a key. */
function signInAgain(site: Site, visit: SignedIn, macId: string): Html {
  const words = keyWords[visit.language];
  const way = wayOf(visit.query['from']);
  const then = encodeURIComponent(`${keyPath(macId)}${way === null ? '' : `?from=${way}`}`);
  return html`<p>${words.signInAgainWhat(site.ground.settings.signIn.freshMinutes)}</p>
<p><a class="button" href="/sign-in?again=1&amp;then=${then}">${words.signInAgain}</a></p>`;
}

function reasonField(site: Site, visit: SignedIn, wrong: string | null): Html | null {
  const { reason } = site.ground.settings.selfService;
  const words = keyWords[visit.language];
  if (reason === 'none') return null;
  return html`<label for="reason">${words.reason}</label>
${reason === 'optional' && html`<p class="hint" id="reason-hint">${words.reasonOptional}</p>`}
${wrong && html`<p class="wrong" id="reason-wrong">${wrong}</p>`}
<input id="reason" name="reason" maxlength="${mostReason}" autocomplete="off"${reason === 'required' ? html` required` : html` aria-describedby="reason-hint"`}${wrong && html` aria-invalid="true" aria-describedby="reason-wrong"`}>`;
}

/** Before the key: what is known of it, what will happen, and the button. */
export async function keyBefore(site: Site, visit: SignedIn, mac: OwnMac, wrong: string | null = null): Promise<Page> {
  const words = keyWords[visit.language];
  const now = await present(site, visit, mac.macId);
  const action = keyPath(mac.macId);
  const title = words.title(nameOf(mac, visit.language));
  const form = html`<form method="post" action="${action}">${visit.token(action, true)}${wayField(wayOf(visit.query['from'] ?? visit.form['from']))}
${now ? null : reasonField(site, visit, wrong)}
<button aria-describedby="get-what">${words.get}</button><p class="soft" id="get-what">${words.getWhat}</p></form>`;
  return {
    title,
    ...(wrong === null ? {} : { status: 422 }),
    body: html`<h1>${title}</h1>
${visit.query['gone'] !== undefined && html`<p class="note">${words.gone}</p>`}
<p class="key-state">${stateOf(mac, visit)}</p>
<p>${words.before} <a href="/macs/${mac.macId}/unlock">${words.steps}</a></p>
${visit.session.fresh ? form : signInAgain(site, visit, mac.macId)}`,
  };
}

/**
 * Where the page of a key leads when its time is over, and whoever goes back to it. Where an approval has ended by now, only
 * for the next five minutes of whoever is in the middle of typing.
 */
export async function gonePage(site: Site, visit: SignedIn, mac: OwnMac): Promise<Answer> {
  const { settings, backend } = site.ground;
  const { person, id: sessionId, fresh, freshAt } = visit.session;
  const words = keyWords[visit.language];
  const { clipboard } = visit.query;
  const now = await present(site, visit, mac.macId);
  if (!now) return keyBefore(site, visit, mac);
  const more = moreTime(now, sessionId, backend.clock.now());
  const away = elsewhere(mac);
  if (away && more !== 'yes') return away;
  const way = wayOf(visit.query['from']);
  const kept = { place: visit.query['place'], copied: clipboard === 'kept', way };
  const action = `${keyPath(mac.macId)}/again`;
  const minutesLeft = Math.max(1, Math.floor((freshAt + settings.signIn.freshMinutes * minute - visit.at) / minute));
  return {
    title: words.gone,
    ...(clipboard === 'kept' ? { scripts: ['clipboard'] } : {}),
    body: html`<h1>${words.gone}</h1>
<p>${words.goneWhat}</p>
${visit.query['ended'] !== undefined && html`<p class="note">${words.ended}</p>`}
${clipboard === 'cleared' && html`<p class="note">${words.cleared}</p>`}
${clipboard === 'kept' && html`<p class="note clipboard" role="status" data-cleared="${words.cleared}">${words.notCleared}</p>`}
${more === 'used-up' && html`<p class="note">${words.moreTimeUsedUp}</p>`}
${more === 'yes' && moreTimeForm(visit, mac.macId, now.episode.more_time === 1, kept)}
${
  away
    ? null
    : fresh
      ? html`<form method="post" action="${action}">${visit.token(action, true)}${keptFields(kept)}<button aria-describedby="again-what"${more === 'yes' && html` class="second"`}>${words.again}</button><p class="soft" id="again-what">${words.againWhat(minutesLeft)}</p></form>`
      : signInAgain(site, visit, mac.macId)
}
<p><a class="button second" href="${refusedPath(mac.macId, way)}">${words.refused}</a></p>
${contactCard(settings, person, { serialEnd: mac.serialEnd, code: now.episode.code }, visit.language)}
<p class="ways"><a href="/macs/${mac.macId}">${words.toMac}</a></p>`,
  };
}
