import { Problem } from '../protocol/problems.ts';
import { askForKey, type KeyRequest, presentRequest, withdrawRequest } from '../server/key-requests.ts';
import type { Tx } from '../server/parts.ts';
import { spendForm } from '../web/form-token.ts';
import { type Html, html } from '../web/html.ts';
import { queueMail } from '../web/mail-queue.ts';
import { stillSignedIn } from '../web/sessions.ts';
import { ago, clockTime } from '../web/times.ts';
import type { Answer, Page, Person, SignedIn, Site } from '../web/visit.ts';
import { say } from '../web/words.ts';
import { contactCard, contactOf } from './contact-card.ts';
import { cardFor, nameOf, theirMac } from './mac-parts.ts';
import { type OwnMac, ownMac } from './own-mac.ts';
import { mostReason, reasonOf } from './reason.ts';
import { requestsWords } from './requests-words.ts';

/** Where self-service is with approval: to ask for a key, and to see what became of it. */
export function addRequests(site: Site): void {
  site.page('/macs/:mac/request', 'person', async (visit) => {
    const mac = await theirMac(site.ground, visit);
    return elsewhere(mac) ?? page(site, visit, mac);
  });
  site.act('/macs/:mac/request', 'person', (visit) => answer(site, visit));
}

const pathOf = (mac: OwnMac): string => `/macs/${mac.macId}/request`;

/** Where nothing has to be asked, or asking is of no use: the page of the Mac says which. */
function elsewhere(mac: OwnMac): Answer | null {
  return mac.asksFirst && mac.decision.may !== 'not' ? null : { to: `/macs/${mac.macId}` };
}

async function answer(site: Site, visit: SignedIn): Promise<Answer> {
  const { store, clock } = site.ground.backend;
  const mac = await theirMac(site.ground, visit);
  const other = elsewhere(mac);
  if (other) return other;
  const { macId } = mac;
  const { id: personId, userName: actor } = visit.session.person;
  const isWithdrawn = visit.form['withdraw'] !== undefined;
  const reason = reasonOf(visit.form['reason']);
  if (!isWithdrawn && reason === '') return page(site, visit, mac, { wrong: true });
  const { approvalHours: hours } = site.ground.settings.selfService;
  try {
    await store.write(async (tx) => {
      const at = await clock.persist(tx);
      await spendForm(tx, visit, at);
      // The world may have gone on since the page was asked.
      const person = await stillSignedIn(site.ground, tx, visit, at, 'person');
      const still = await ownMac(site.ground, person, macId, at, tx);
      if (!still || (still.decision.may === 'not' && !isWithdrawn)) throw new Problem('NOT_SHOWN', still ? 'not to be asked for' : 'not theirs');
      if (isWithdrawn) return withdrawRequest(tx, at, { macId, personId, actor });
      const before = await presentRequest(tx, macId, personId, at);
      const request = await askForKey(tx, at, { macId, personId, actor, reason, hours });
      if (request.id !== before?.id) await tellDesk(site, tx, at, person, macId, request);
    });
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    // Pressed twice, asked once.
    if (error.code === 'FORM_SPENT') return { to: pathOf(mac) };
    if (error.code === 'NOT_SHOWN') return { to: `/macs/${macId}` };
    if (error.code !== 'REQUESTS_LIMIT') throw error;
    return { ...(await page(site, visit, mac, { tooMany: true })), status: error.kind.status };
  }
  return { to: pathOf(mac) };
}

async function page(site: Site, visit: SignedIn, mac: OwnMac, met: { wrong?: true; tooMany?: true } = {}): Promise<Page> {
  const { words, language } = say(requestsWords, visit.language);
  const { person } = visit.session;
  const request = await presentRequest(site.ground.backend.store.db, mac.macId, person.id, visit.at);
  const title = words.title(nameOf(mac, language));
  const isWaiting = request?.state === 'waiting';
  const body = html`<h1>${title}</h1>
${
  met.tooMany
    ? html`<p><strong>${words.tooMany}</strong></p>${await cardFor(site.ground, visit, mac, 'requests')}`
    : isWaiting
      ? waiting(site, visit, mac, request)
      : request?.state === 'approved'
        ? approved(visit, mac, request)
        : await form(site, visit, mac, request, met.wrong === true)
}
<p class="ways"><a href="/macs/${mac.macId}">${words.back}</a></p>`;
  // While it waits, the page looks by itself whether there is an answer.
  return { title, body, language, scripts: isWaiting ? ['times', 'look-again'] : ['times'], ...(met.wrong ? { status: 422 } : {}) };
}

/** Whoever decides hears of it by mail, where the settings name an address; the page asks its person to call in any case. */
async function tellDesk({ ground }: Site, tx: Tx, at: number, person: Person, macId: string, { code, expiresAt }: KeyRequest): Promise<void> {
  const contact = contactOf(ground.settings, person);
  if (contact?.email === undefined) return;
  const details = { macId, personName: person.displayName, code, untilAt: expiresAt };
  await queueMail(tx, { kind: 'key-request', address: contact.email, language: contact.language, episodeId: null, details, at });
}

/** A button that does something once, with what it does it to. */
const button = (visit: SignedIn, mac: OwnMac, fields: Html): Html => html`<form method="post" action="${pathOf(mac)}">${visit.token(pathOf(mac), true)}
${fields}</form>`;

async function form(site: Site, visit: SignedIn, mac: OwnMac, before: KeyRequest | null, wrong: boolean): Promise<Html> {
  const { words } = say(requestsWords, visit.language);
  const { approvalHours } = site.ground.settings.selfService;
  const isRefused = before?.state === 'refused';
  const over = before && before.state !== 'waiting' && before.state !== 'approved' && before.state !== 'refused' ? words.over[before.state] : null;
  return html`${
    isRefused &&
    html`<p><strong>${words.refused.says}</strong></p>
${before.words !== null && html`<p>${words.refused.why}</p><blockquote>${before.words}</blockquote>`}
<p>${words.refused.fix}</p>
${await cardFor(site.ground, visit, mac, 'requests, refused')}`
  }
${over && html`<p>${over}</p>`}
<p>${words.how} ${words.goodFor(approvalHours)}</p>
${button(
  visit,
  mac,
  html`<label for="reason">${words.reason}</label>
<p class="what" id="reason-hint">${words.reasonHint}</p>
${wrong && html`<p class="wrong" id="reason-wrong">${words.reasonMissing}</p>`}
<input id="reason" name="reason" maxlength="${mostReason}" autocomplete="off" required aria-describedby="reason-hint${wrong ? ' reason-wrong' : ''}"${wrong && html` aria-invalid="true"`}>
<button>${before ? words.askAgain : words.ask}</button>`,
)}`;
}

function waiting({ ground }: Site, visit: SignedIn, mac: OwnMac, request: KeyRequest): Html {
  const { words, language } = say(requestsWords, visit.language);
  const { person } = visit.session;
  const { waiting: it } = words;
  return html`<div data-look-again aria-live="polite">
<p><strong>${it.says}</strong> ${it.means}</p>
<p>${it.asked(ago(request.createdAt, visit.at, language))} ${it.until(clockTime(request.expiresAt, visit.at, language))}</p>
</div>
<p><a class="button" href="${pathOf(mac)}">${it.lookAgain}</a></p>
<p>${words.yourReason}</p><blockquote>${request.reason}</blockquote>
<p>${it.fix}</p>
${contactCard(ground.settings, person, { serialEnd: mac.serialEnd, code: request.code }, language)}
${button(visit, mac, html`<input type="hidden" name="withdraw" value="yes"><button class="quiet">${words.withdraw}</button>`)}`;
}

function approved(visit: SignedIn, mac: OwnMac, request: KeyRequest): Html {
  const { words, language } = say(requestsWords, visit.language);
  const { approved: it } = words;
  return html`<p><strong>${it.says}</strong> ${it.means(clockTime(request.expiresAt, visit.at, language))}</p>
<p><a class="button" href="/macs/${mac.macId}/unlock">${it.goOn}</a></p>
<p class="ways"><a href="/macs/${mac.macId}/key">${it.skip}</a></p>`;
}
