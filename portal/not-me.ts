import { Problem } from '../protocol/problems.ts';
import { audit } from '../server/audit.ts';
import { episodeById } from '../server/store/episodes.ts';
import { spendForm } from '../web/form-token.ts';
import { helpCode } from '../web/help-codes.ts';
import { html } from '../web/html.ts';
import { queueMail } from '../web/mail-queue.ts';
import { endSessionsOf, sessionCookieOf } from '../web/sessions.ts';
import { clockTime } from '../web/times.ts';
import type { Page, SignedIn, Site } from '../web/visit.ts';
import { say } from '../web/words.ts';
import { contactCard, contactOf } from './contact-card.ts';
import { delayOf, laterInMail } from './episode-facts.ts';
import type { Delay } from './episode-state.ts';
import { type Look, looksOf } from './looked.ts';
import { lookedWords } from './looked-words.ts';
import { certainMac, laterInWords, nameOf, stillCertain } from './mac-parts.ts';
import type { OwnMac } from './own-mac.ts';

/**
 * *This was not me*: somebody else was shown the key, most likely with this person's account. It asks for no fresh sign-in:
 * it takes away and gives nothing.
 */
export function addNotMe(site: Site): void {
  site.page('/macs/:mac/not-me', 'person', (visit) => confirm(site, visit));
  site.act('/macs/:mac/not-me', 'person', (visit) => said(site, visit));
}

type ByPerson = Exclude<Look, { by: 'the-mac' }>;

async function meant({ ground }: Site, visit: SignedIn, id: string | undefined): Promise<{ mac: OwnMac; look: ByPerson }> {
  const mac = await certainMac(ground, visit);
  const look = (await looksOf(ground, mac.macId, visit.session.person.id)).find((one) => one.id === id);
  if (!look || look.by === 'the-mac' || !look.shown) throw new Problem('NOT_FOUND', 'no such view of a key of this Mac');
  return { mac, look };
}

async function confirm(site: Site, visit: SignedIn): Promise<Page> {
  const { words, language } = say(lookedWords, visit.language);
  const { mac, look } = await meant(site, visit, visit.query['view']);
  const name = nameOf(mac, language);
  const act = `/macs/${mac.macId}/not-me`;
  const title = words.confirm.title(name);
  const { signedOut, soon, waitsForNobody, alarm, noMore } = words.confirm.steps;
  const delay = await delayOf(site.ground.backend.store.db, mac.macId, null, visit.at);
  const steps = [signedOut, html`${laterInWords(delay, visit) ?? soon} ${waitsForNobody}`, alarm, noMore];
  const body = html`<h1>${title}</h1>
<p>${words.confirm.what(clockTime(look.at, visit.at, language), look.by === 'you' ? null : look.name)}</p>
<p>${words.confirm.willHappen}</p>
<ul>${steps.map((step) => html`<li>${step}</li>`)}</ul>
<p>${words.confirm.sure}</p>
<form method="post" action="${act}">${visit.token(act, true)}<input type="hidden" name="view" value="${look.id}">
<button class="danger">${words.confirm.button(name)}</button></form>
<p class="ways"><a href="/macs/${mac.macId}/looked">${words.confirm.stop}</a></p>`;
  return { title, body, language, scripts: ['times'] };
}

async function said(site: Site, visit: SignedIn): Promise<Page> {
  const { ground } = site;
  const { person } = visit.session;
  const { words, language } = say(lookedWords, visit.language);
  const { mac, look } = await meant(site, visit, visit.form['view']);
  const { macId } = mac;
  let code = '';
  let delay: Delay | null = null;
  const done = await ground.backend.custody.notMe({
    macId,
    personId: person.id,
    actor: person.userName,
    disclosureId: look.id,
    before: async (tx, at) => {
      await spendForm(tx, visit, at);
      await stillCertain(ground, tx, visit, at);
    },
    // Either all of it has happened or nothing has.
    after: async (tx, at, { episodeId, shownAt, saidBefore }) => {
      const sessions = await endSessionsOf(tx, person.id, 'not-me', at);
      await audit(tx, { at, actor: person.userName, act: 'session.all-ended', macId, details: { personId: person.id, because: 'not-me', sessions } });
      code = await helpCode(tx, { page: 'not-me', visit, macId, at });
      const episode = episodeId === null ? undefined : await episodeById(tx, episodeId);
      delay = await delayOf(tx, macId, episode?.volume ?? null, at);
      const details = { macId, shownAt, saidAt: at, personName: person.displayName, code, ...laterInMail(delay) };
      // Else whoever says it over and over fills two mailboxes.
      if (saidBefore) return;
      await queueMail(tx, { kind: 'not-me', personId: person.id, episodeId, details, at, language: visit.language });
      const contact = contactOf(ground.settings, person);
      await queueMail(tx, { kind: 'not-me-desk', address: contact?.email, language: contact?.language, episodeId, details, at });
    },
  });
  // What follows is shown to somebody who is signed out.
  Object.assign(visit, { session: null });
  const { title, ordered, keepIt, replaced, signedOut, desk, noMore, password, now, signIn } = words.done;
  const body = html`<h1>${title}</h1>
<ul>
<li>${done.key === 'ordered' ? html`${laterInWords(delay, visit) ?? ordered} ${keepIt}` : replaced}</li>
<li>${signedOut}</li>
<li>${desk}</li>
<li>${noMore}</li>
</ul>
<p><strong>${password}</strong></p>
<p>${now}</p>
${contactCard(ground.settings, person, { serialEnd: mac.serialEnd, code }, language)}
<p class="ways"><a href="/sign-in">${signIn}</a></p>`;
  return { title, body, language, cookies: [{ name: sessionCookieOf('portal'), value: null }] };
}
