import { Problem } from '../protocol/problems.ts';
import { broughtWhere } from '../server/approvals/disclose-brought.ts';
import { needsOf } from '../server/approvals/disclosure-policy.ts';
import { disclosureRules } from '../server/approvals/rules.ts';
import { isBroughtSource, productOf } from '../server/brought/sources.ts';
import { recordNamed } from '../server/fleet/in-scope.ts';
import { scopeOf } from '../server/permissions.ts';
import { type Mac, macById } from '../server/store/macs.ts';
import { spendForm } from '../web/form-token.ts';
import { type Html, html } from '../web/html.ts';
import { keyDisplay } from '../web/key-display.ts';
import { keyShownWords } from '../web/key-shown-words.ts';
import { macToType } from '../web/mac-facts.ts';
import { stillSignedIn } from '../web/sessions.ts';
import type { Answer, Page } from '../web/visit.ts';
import { broughtPath, toBrought } from './brought-page.ts';
import { clock, evidenceParts, instructions } from './evidence-parts.ts';
import { perform } from './operation.ts';
import { askDisclosure, listDisclosures } from './operations/disclosures.ts';
import { evidenceOf } from './operations/evidence.ts';
import { deviceKey } from './operations/key-reply.ts';
import { problemBox } from './people-parts.ts';
import type { ConsoleSite, ConsoleVisit } from './visit.ts';

/*
 * The one page of the console that shows a key: the display of the portal, and beside it what is known. A key is in the answer to
 * one POST, and nowhere else. What may be done is for the operation to say; this page only asks it.
 */

export const keyPagePath = (macId: string): string => `/devices/${macId}/key`;

/** What whoever asks has written, to stand in the form again. */
interface Written {
  reason: string;
  ticket: string;
  requestId: string;
  refused: readonly string[];
  recordId: string;
  /** What others agreed to may be of another volume than the one that the Mac started from last. */
  volume: string;
}
const writtenIn = ({ form }: ConsoleVisit): Written => ({
  reason: form['reason'] ?? '',
  ticket: form['ticket'] ?? '',
  requestId: form['requestId'] ?? '',
  refused: (form['refused'] ?? '').split(' ').filter((id) => id !== ''),
  recordId: form['recordId'] ?? '',
  volume: form['volume'] ?? '',
});
const hidden = (fields: Record<string, string>): Html =>
  html`${Object.entries(fields).map(([name, value]) => (value === '' ? null : html`<input type="hidden" name="${name}" value="${value}">`))}`;

async function theMac({ site }: ConsoleSite, visit: ConsoleVisit): Promise<Mac> {
  const scope = scopeOf(visit.admin, 'key.disclose');
  if (scope === false) throw new Problem('NOT_ALLOWED', 'key.disclose');
  const recordId = visit.form['recordId'] ?? visit.query['record'] ?? '';
  const id = await recordNamed(site.ground.backend, scope, visit.params['id'] ?? '', recordId === '' ? {} : { recordId });
  const mac = await macById(site.ground.backend.store.db, id);
  if (!mac) throw new Problem('MAC_UNKNOWN');
  return mac;
}

const nameOf = (mac: Mac): string => {
  const { name, modelName } = macToType(mac);
  return `${name?.trim() || (modelName ?? 'the Mac')}, ${mac.serial}`;
};

/** Before the key: what it needs, what is known, and the forms. */
async function beforePage(site: ConsoleSite, visit: ConsoleVisit, mac: Mac, problem: Problem | null = null): Promise<Page> {
  const { backend } = site.site.ground;
  const rules = await disclosureRules(backend.store.db, mac.id, { at: visit.at, personId: visit.admin.personId });
  const recordId = visit.form['recordId'] ?? visit.query['record'] ?? '';
  const history = recordId !== '';
  const needs = needsOf(rules, history);
  const isSecond = needs === 'second-person';
  const own = (await visit.perform(listDisclosures, { open: true, limit: 200 })).items.filter((one) => one.isMine && one.device.id === mac.id);
  const ready = own.find((one) => one.state === 'approved' && (one.recordId ?? '') === recordId);
  const waiting = own.find((one) => one.state === 'waiting' && (one.recordId ?? '') === recordId);
  const brought = history ? null : await broughtWhere(backend, mac.id);
  const isNext = brought === 'first' || (brought === 'after' && problem?.code === 'KEY_UNKNOWN');
  const action = keyPagePath(mac.id);
  const { reason, ticket } = writtenIn(visit);
  const fields = html`<label for="reason">Reason</label><p class="hint" id="reason-hint">The person of this Mac, and the auditors, read it.</p>
<input id="reason" name="reason" required maxlength="500" autocomplete="off" aria-describedby="reason-hint" value="${reason || (ready?.reason ?? '')}">
<label for="ticket">Ticket</label><input id="ticket" name="ticket" maxlength="120" autocomplete="off" value="${ticket || (ready?.ticket ?? '')}">`;
  const glass =
    isSecond && !ready && rules.breakGlass
      ? html`<details><summary>Break glass: somebody cannot wait</summary><p>You are shown the key at once. Another admin looks at it within ${rules.reviewHours} hours, and your reason is read out to them.</p>
<form method="post" action="${action}">${visit.token(action, true)}${hidden({ recordId, glass: 'yes' })}<label for="glass-reason">Why nobody can be waited for</label><input id="glass-reason" name="reason" required maxlength="500" autocomplete="off"><button class="danger">Break glass and show the key</button></form></details>`
      : null;
  const show = html`<form method="post" action="${action}">${visit.token(action, true)}${hidden({ recordId, requestId: ready?.id ?? '', volume: ready?.volume ?? '' })}${fields}
<button aria-describedby="show-what">Show the key</button><p class="soft" id="show-what">For five minutes, on this page only. It is recorded, its person hears of it, and the Mac replaces the key.</p></form>`;
  const askPath = `${action}/ask`;
  const ask = html`<form method="post" action="${askPath}">${visit.token(askPath)}${hidden({ recordId })}${fields}
<button>Ask others to agree</button><p class="soft">${rules.quorum === 1 ? 'One other person has' : `${rules.quorum} others have`} to agree. The agreement is good for ${rules.grantMinutes} minutes.</p></form>`;
  return {
    title: `Recovery key of ${mac.serial}`,
    status: problem ? problem.kind.status : 200,
    scripts: ['times'],
    body: html`<h1>Recovery key of ${nameOf(mac)}</h1>
${problemBox(problem)}
${visit.query['gone'] !== undefined && html`<p class="note" role="status">The key is hidden again. To see it once more, ask for it once more.</p>`}
${history && html`<p class="note">This is a key that was replaced. It opens this Mac's older backups and clones, not the Mac itself.</p>`}
${ready && html`<p class="note">Others agreed. You may be shown the key until ${clock(ready.grantedUntil ?? ready.expiresAt, visit.at)}.</p>`}
${waiting && html`<p class="note">You asked for it; it waits until ${clock(waiting.expiresAt, visit.at)}. <a href="/disclosures/${waiting.id}">Your request</a></p>`}
${isNext && toBrought(visit, { ...writtenIn(visit), device: mac.id }, brought === 'first')}
${isSecond && !ready ? (waiting ? null : ask) : show}
${glass}
${evidenceParts(await evidenceOf(backend, mac.id), visit.at)}
${instructions(mac)}
<p class="ways"><a href="/fleet/${mac.id}">The Mac</a>${brought !== null && html` <a href="${broughtPath(mac.id)}">A key that others brought</a>`}</p>`,
  };
}

/** It was refused: another form of the same act, with what is refused by now. */
const refusedForm = (visit: ConsoleVisit, action: string, written: Written, recordId: string): Html =>
  html`<form method="post" action="${action}">${visit.token(action, true)}${hidden({
    reason: written.reason,
    ticket: written.ticket,
    requestId: written.requestId,
    volume: written.volume,
    refused: [...new Set([...written.refused, recordId])].join(' '),
  })}<button class="second">It was refused: show the next key</button></form>`;

async function showKey(site: ConsoleSite, visit: ConsoleVisit): Promise<Answer> {
  const { ground } = site.site;
  const { backend, log } = ground;
  const mac = await theMac(site, visit);
  const action = keyPagePath(mac.id);
  const written = writtenIn(visit);
  const input = {
    id: mac.id,
    reason: written.reason,
    ...(written.ticket === '' ? {} : { ticket: written.ticket }),
    ...(written.requestId === '' ? {} : { requestId: written.requestId }),
    ...(written.recordId === '' ? {} : { recordId: written.recordId, history: true }),
    ...(written.volume === '' ? {} : { volume: written.volume }),
    breakGlass: visit.form['glass'] === 'yes',
    refused: written.refused,
  };
  const acting = { admin: visit.admin, backend, log, at: visit.at, requestId: visit.requestId };
  try {
    const shown = await perform(
      deviceKey,
      {
        ...acting,
        before: async (tx, at) => {
          await spendForm(tx, visit, at);
          await stillSignedIn(ground, tx, visit, at, 'fresh');
        },
      },
      input,
    );
    const it = keyShownWords.en;
    const gone = `${action}?gone=1`;
    const source = shown.unprovedFrom;
    return {
      title: `Recovery key of ${mac.serial}`,
      scripts: ['key', 'times'],
      refresh: { seconds: Math.max(1, Math.floor((Date.parse(shown.hideAt) - backend.clock.now()) / 1000)), to: gone },
      body: html`${keyDisplay(visit, {
        groups: shown.recoveryKey.split('-'),
        mac: macToType(mac),
        secondsLeft: Math.max(1, Math.floor((Date.parse(shown.hideAt) - backend.clock.now()) / 1000)),
        place: null,
        notes: [
          ...(shown.replacedAt === null ? [] : [`This key was replaced on ${new Date(shown.replacedAt).toISOString().slice(0, 10)}.`]),
          ...(shown.rotationOpen ? [it.rotationOpen] : shown.custody === 'doubtful' && source === null ? [it.doubtful] : []),
          ...(source !== null && isBroughtSource(source) ? [it.unprovedFrom(productOf(source))] : []),
          ...(shown.reviewBy === null ? [] : ['You broke the glass: somebody else looks at it, and reads your reason.']),
        ],
        way: null,
        copied: false,
        gone,
        goneWords: 'The key is hidden again',
        againWords: 'Back',
        hide: { action: `${action}/hide`, fields: null },
        refused: refusedForm(visit, action, written, shown.recordId),
        moreTime: null,
      })}
${evidenceParts(await evidenceOf(backend, mac.id), visit.at)}
${instructions(mac, true)}`,
    };
  } catch (error) {
    if (!(error instanceof Problem) || error.code === 'SIGNED_OUT' || error.kind.status >= 500) throw error;
    if (error.code === 'FORM_SPENT') return { to: `${action}?gone=1` };
    return beforePage(site, visit, mac, error);
  }
}

export function addKeyPage(admins: ConsoleSite): void {
  const fresh = { permission: 'key.disclose', fresh: true } as const;
  admins.page(keyPagePath(':id'), 'key.disclose', async (visit) => beforePage(admins, visit, await theMac(admins, visit)));
  admins.act(keyPagePath(':id'), fresh, (visit) => showKey(admins, visit));
  admins.act(`${keyPagePath(':id')}/hide`, 'key.disclose', async (visit) => ({ to: `${keyPagePath((await theMac(admins, visit)).id)}?gone=1` }));
  admins.act(`${keyPagePath(':id')}/ask`, 'key.disclose', async (visit) => {
    const mac = await theMac(admins, visit);
    const { reason, ticket, recordId } = writtenIn(visit);
    const asked = { id: mac.id, reason, ...(ticket === '' ? {} : { ticket }), ...(recordId === '' ? {} : { recordId, history: true }) };
    try {
      const { id } = await visit.perform(askDisclosure, asked);
      return { to: `/disclosures/${id}` };
    } catch (error) {
      if (!(error instanceof Problem) || error.kind.status >= 500) throw error;
      return beforePage(admins, visit, mac, error);
    }
  });
}
