import { spendForm } from '../web/form-token.ts';
import { type Html, html } from '../web/html.ts';
import type { MacToType } from '../web/mac-facts.ts';
import { layoutName } from '../web/typing/layout-name.ts';
import { layoutOf } from '../web/typing/layouts.ts';
import type { Answer, Page, SignedIn, Site } from '../web/visit.ts';
import type { Language } from '../web/words.ts';
import { type EpisodeNow, mayTryAnother } from './episodes.ts';
import { desk, elsewhere, isCode, noteRefusal, present, saidInstead } from './key-answers.ts';
import { showKey } from './key-page.ts';
import { keyPath, refusedPath, wayField, wayOf } from './key-shown.ts';
import { keyWords } from './key-words.ts';
import { theirMac } from './mac-parts.ts';
import type { OwnMac } from './own-mac.ts';
import { refusedWords } from './refused-words.ts';

/*
 * It was refused: what to check, a second try with the same key, then the next one, then the service desk. Never a sweep
 * through the history: each wrong try makes the Mac wait longer, and after a few it waits for hours.
 */

/** What to check before the same key is typed once more. */
export function checksBefore(mac: MacToType, language: Language): Html {
  const words = refusedWords[language];
  const layout = layoutOf(mac.keyboardLayout);
  const checks = [
    words.wait,
    words.layout(layout ? layoutName(layout, mac.macLanguage, language).text : null),
    words.asShown,
    words.lookAlikes,
    words.caps,
    words.twice,
  ];
  return html`<ol class="checks">${checks.map((check) => html`<li>${check}</li>`)}</ol>`;
}

function checkList(visit: SignedIn, mac: OwnMac, now: EpisodeNow): Page {
  const { language } = visit;
  const words = refusedWords[language];
  const action = refusedPath(mac.macId);
  const isSignedIn = visit.session.fresh;
  return {
    title: words.title,
    body: html`<h1>${words.title}</h1>
<p>${words.first}</p>
${checksBefore(mac, language)}
${!isSignedIn && html`<p class="note">${keyWords[language].signInFirst}</p>`}
<form method="post" action="${action}">${visit.token(action, true)}${wayField(wayOf(visit.query['from']))}
<button name="next" value="same" aria-describedby="again-what">${words.tryAgain}</button><p class="soft" id="again-what">${words.tryAgainWhat}</p>
<h2>${words.tried}</h2><p>${mayTryAnother(now) ? words.triedWhat : words.stopWhat}</p>
<button name="next" value="other" class="second">${mayTryAnother(now) ? words.another : words.toDesk}</button></form>
<p class="ways"><a href="/macs/${mac.macId}">${keyWords[language].toMac}</a></p>`,
  };
}

/** No further key: what was tried, whom to call, and the code by which they find it. */
async function atTheDesk(site: Site, visit: SignedIn, mac: OwnMac): Promise<Page> {
  const words = refusedWords[visit.language];
  const now = await present(site, visit, mac.macId);
  const keys = new Set(now?.views.map(({ record_id }) => record_id)).size;
  return desk(site, visit, mac, {
    title: words.stop,
    what: words.stopWhat,
    more: html`<p>${words.whatWasTried(keys, now?.refusals ?? 0)}</p>
<p>${words.desk}</p>
`,
  });
}

async function refuse(site: Site, visit: SignedIn): Promise<Answer> {
  const mac = await theirMac(site.ground, visit);
  const to = elsewhere(mac);
  if (to) return to;
  const now = await present(site, visit, mac.macId);
  if (!now) return { to: keyPath(mac.macId) };
  if (visit.form['next'] !== 'other')
    return showKey(site, visit, mac, { because: 'again', reason: 'self-service, it was refused once: a second try', refuses: true });
  try {
    if (mayTryAnother(now)) return await showKey(site, visit, mac, { because: 'other-key', reason: 'self-service, the key before was refused', refuses: true });
  } catch (error) {
    if (!isCode(error, 'KEY_UNKNOWN')) throw error;
  }
  return sayOnly(site, visit, mac);
}

/** There is nothing more to show; that the last key was refused is noted all the same. */
async function sayOnly(site: Site, visit: SignedIn, mac: OwnMac): Promise<Answer> {
  const { store, clock } = site.ground.backend;
  try {
    await store.write(async (tx) => {
      const at = await clock.persist(tx);
      await spendForm(tx, visit, at);
      const now = await present(site, visit, mac.macId, tx);
      if (now) await noteRefusal(site, tx, at, visit, now);
    });
  } catch (error) {
    return isCode(error, 'FORM_SPENT') ? atTheDesk(site, visit, mac) : saidInstead(site, visit, mac, error, false);
  }
  return atTheDesk(site, visit, mac);
}

export function addRefused(site: Site): void {
  site.page(refusedPath(':mac'), 'person', async (visit) => {
    const mac = await theirMac(site.ground, visit);
    const now = await present(site, visit, mac.macId);
    if (now) return checkList(visit, mac, now);
    const words = refusedWords[visit.language];
    return {
      title: words.title,
      body: html`<h1>${words.title}</h1>
<p>${words.notShown}</p>
<p><a class="button" href="${keyPath(mac.macId)}">${words.toKey}</a></p>`,
    };
  });
  site.act(refusedPath(':mac'), 'fresh', (visit) => refuse(site, visit));
}
