import { Problem } from '../protocol/problems.ts';
import { isBroughtSource, sourceNames } from '../server/brought/sources.ts';
import { macById } from '../server/store/macs.ts';
import { spendForm } from '../web/form-token.ts';
import { type Html, html } from '../web/html.ts';
import { keyDisplay } from '../web/key-display.ts';
import { type MacToType, macToType } from '../web/mac-facts.ts';
import { stillSignedIn } from '../web/sessions.ts';
import type { Answer, Page } from '../web/visit.ts';
import { clock, instructions } from './evidence-parts.ts';
import { perform } from './operation.ts';
import { listDisclosures } from './operations/disclosures.ts';
import { broughtKey } from './operations/key-reply.ts';
import { orProblem, problemBox } from './people-parts.ts';
import type { ConsoleSite, ConsoleVisit } from './visit.ts';

/*
 * A key that only others had. It may be any key of any day: that nobody has proved it is said before it, beside it, and in the
 * button. What may be done is for the operation to say; this page only asks it.
 */

const path = '/disclosures/brought';
/** Of a Mac, or of a serial number that no Mac has yet. */
export const broughtPath = (named: string): string => `${path}?device=${encodeURIComponent(named)}`;

/** As plain words, for notes. */
const dayWords = new Intl.DateTimeFormat('en-GB', { dateStyle: 'long' });
const day = (time: string): string => dayWords.format(Date.parse(time));

interface Wish {
  device: string;
  reason: string;
  ticket: string;
  requestId: string;
  refused: readonly string[];
}
const wishOf = ({ form, query }: ConsoleVisit): Wish => ({
  device: (form['device'] ?? query['device'] ?? '').trim(),
  reason: form['reason'] ?? '',
  ticket: form['ticket'] ?? '',
  requestId: form['requestId'] ?? '',
  refused: (form['refused'] ?? '').split(' ').filter((id) => id !== ''),
});

const fields = (wish: Omit<Wish, 'refused'>, refused: readonly string[], names: readonly (keyof Wish)[]): Html =>
  html`${names.map((name) => {
    const value = name === 'refused' ? refused.join(' ') : wish[name];
    return value === '' ? null : html`<input type="hidden" name="${name}" value="${value}">`;
  })}`;

/** The way here from the page of a Mac's own keys, with what was written and refused there. */
export const toBrought = (visit: ConsoleVisit, wish: Wish, isFirst: boolean): Html =>
  html`<section class="deadline"><h2>A key that others brought</h2><p>${isFirst ? 'No key of this Mac’s own is here that could open it.' : 'Where each key above was refused:'} Another system had one for its serial number. <strong>It was never proved:</strong> nobody knows whether it opens this Mac.</p>
<form method="post" action="${path}/form">${visit.token(`${path}/form`)}${fields(wish, wish.refused, ['device', 'reason', 'ticket', 'requestId', 'refused'])}<button class="second">Go on to the key that others brought</button></form></section>`;

const unproved = html`<p class="deadline"><strong>A key that others brought was never proved.</strong> It may be of another day, or of another Mac. Try the Mac’s own keys first, and stop when the Mac begins to make its person wait.</p>`;

async function formPage(visit: ConsoleVisit, problem: Problem | null = null): Promise<Page> {
  const wish = wishOf(visit);
  const asked = (await visit.perform(listDisclosures, { open: true, limit: 200 })).items;
  const ready = asked.find(
    (one) => one.isMine && one.state === 'approved' && (one.device.id === wish.device || one.device.serial === wish.device.toUpperCase()),
  );
  return {
    title: 'A key that others brought',
    status: problem ? problem.kind.status : 200,
    scripts: ['times'],
    body: html`<h1>A key that others brought</h1>
${problemBox(problem)}
${visit.query['gone'] !== undefined && html`<p class="note" role="status">The key is hidden again. To see it once more, ask for it once more.</p>`}
${unproved}
${ready && html`<p class="note">Others agreed. You may be shown the key until ${clock(ready.grantedUntil ?? ready.expiresAt, visit.at)}.</p>`}
<form method="post" action="${path}">${visit.token(path, true)}${fields({ ...wish, requestId: wish.requestId || (ready?.id ?? '') }, wish.refused, ['requestId', 'refused'])}
<label for="device">Serial number of the Mac</label><p class="hint" id="device-hint">Also of one that has not enrolled here, if you may be shown the keys of all Macs.</p><input id="device" name="device" required maxlength="64" autocomplete="off" autocapitalize="characters" spellcheck="false" aria-describedby="device-hint" value="${wish.device}">
<label for="reason">Reason</label><p class="hint" id="reason-hint">The person of this Mac, and the auditors, read it.</p><input id="reason" name="reason" required maxlength="500" autocomplete="off" aria-describedby="reason-hint" value="${wish.reason || (ready?.reason ?? '')}">
<label for="ticket">Ticket</label><input id="ticket" name="ticket" maxlength="120" autocomplete="off" value="${wish.ticket || (ready?.ticket ?? '')}">
<button aria-describedby="show-what">Show the key that was never proved</button><p class="soft" id="show-what">For five minutes, on this page only. It is recorded, and somebody has to have it replaced.</p></form>
<p class="ways"><a href="/disclosures">Disclosures</a></p>`,
  };
}

/** Of a Mac that never was here nothing is known; its keyboard neither. */
const unknownMac: MacToType = {
  macId: '',
  serialEnd: '',
  name: null,
  modelName: null,
  isAppleSilicon: null,
  macosVersion: null,
  keyboardLayout: null,
  macLanguage: null,
};

async function showKey(admins: ConsoleSite, visit: ConsoleVisit): Promise<Answer> {
  const { ground } = admins.site;
  const { backend, log } = ground;
  const wish = wishOf(visit);
  const { device, reason, ticket, requestId, refused } = wish;
  const input = { id: device, reason, refused, ...(ticket === '' ? {} : { ticket }), ...(requestId === '' ? {} : { requestId }) };
  const acting = { admin: visit.admin, backend, log, at: visit.at, requestId: visit.requestId };
  const shown = await orProblem(
    perform(
      broughtKey,
      {
        ...acting,
        before: async (tx, at) => {
          await spendForm(tx, visit, at);
          await stillSignedIn(ground, tx, visit, at, 'fresh');
        },
      },
      input,
    ),
  );
  const gone = `${broughtPath(device)}&gone=1`;
  if (shown instanceof Problem) return shown.code === 'FORM_SPENT' ? { to: gone } : formPage(visit, shown);
  const row = shown.deviceId === null ? undefined : await macById(backend.store.db, shown.deviceId);
  const secondsLeft = Math.max(1, Math.floor((Date.parse(shown.hideAt) - backend.clock.now()) / 1000));
  const from = isBroughtSource(shown.source) ? sourceNames[shown.source] : shown.source;
  const made = shown.madeAt === null ? '' : `, which says that it was made on ${day(shown.madeAt)}`;
  return {
    title: `Recovery key for ${shown.serial}, never proved`,
    scripts: ['key', 'times'],
    refresh: { seconds: secondsLeft, to: gone },
    body: html`<p class="deadline lead"><strong>Never proved.</strong> Nobody knows whether this key opens ${shown.serial}.</p>
${keyDisplay(visit, {
  groups: shown.recoveryKey.split('-'),
  mac: row ? macToType(row) : unknownMac,
  secondsLeft,
  place: null,
  notes: [
    `It came from ${from} on ${day(shown.broughtAt)}${made}.`,
    shown.replaceUntil === null
      ? 'Its replacement is owed once the Mac has said true to it.'
      : `Nobody here can replace it: have the MDM do that until ${day(shown.replaceUntil)}.`,
  ],
  way: null,
  copied: false,
  gone,
  goneWords: 'The key is hidden again',
  againWords: 'Back',
  hide: { action: `${path}/hide`, fields: html`<input type="hidden" name="device" value="${device}">` },
  refused:
    shown.others === 0
      ? html`<p class="soft">It is the last one that was brought.</p>`
      : html`<form method="post" action="${path}">${visit.token(path, true)}${fields(wish, [...refused, shown.broughtKeyId], ['device', 'reason', 'ticket', 'requestId', 'refused'])}<button class="second">It was refused: show the next key</button></form>`,
  moreTime: null,
})}
${row ? instructions(row, true) : null}`,
  };
}

export function addBroughtPage(admins: ConsoleSite): void {
  admins.page(path, 'key.disclose', (visit) => formPage(visit));
  admins.act(`${path}/form`, 'key.disclose', async (visit) => formPage(visit));
  admins.act(path, { permission: 'key.disclose', fresh: true }, (visit) => showKey(admins, visit));
  admins.act(`${path}/hide`, 'key.disclose', async (visit) => ({ to: `${broughtPath(wishOf(visit).device)}&gone=1` }));
}
