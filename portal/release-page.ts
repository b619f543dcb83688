import { Problem } from '../protocol/problems.ts';
import { actorOf, endRelease, stillHeld } from '../server/approvals/releases.ts';
import { audit } from '../server/audit.ts';
import { productOf } from '../server/brought/sources.ts';
import type { DisclosureWritten } from '../server/disclosures.ts';
import type { Tx } from '../server/parts.ts';
import { insertReleaseView, type Release, updateRelease, updateReleaseView } from '../server/store/releases.ts';
import { tellOwner } from '../web/admin-mails.ts';
import { spendForm } from '../web/form-token.ts';
import { html } from '../web/html.ts';
import { keyDisplay } from '../web/key-display.ts';
import { keyShownWords } from '../web/key-shown-words.ts';
import type { Answer, Site, Visit } from '../web/visit.ts';
import { viewTime } from './episodes.ts';
import { isCode } from './key-answers.ts';
import { keyWords } from './key-words.ts';
import { nameOf } from './mac-parts.ts';
import { refusedWords } from './refused-words.ts';
import {
  beforePage,
  deskPage,
  gonePage,
  gonePath,
  type Held,
  heldBy,
  kept,
  keyPath,
  moreTimeForm,
  overPage,
  refusedPage,
  refusedPath,
  releaseCookie,
  releasePath,
} from './release-parts.ts';
import { chosenRecord, mayTryAnotherOf, moreTimeOf, type ReleaseNow, releaseNow } from './release-views.ts';
import { releaseWords } from './release-words.ts';

/*
 * The page of the key for a browser in which a code of the desk was typed: the same as for somebody who is signed in, bound to
 * that one Mac, that browser and that hour. No key is in any answer but to one POST.
 */

/** Beyond as many somebody else has the browser. */
const mostViews = 40;

type Because = 'again' | 'more-time' | 'other-key';

async function writeView(tx: Tx, at: number, release: Release, { disclosureId, recordId }: DisclosureWritten, because: Because): Promise<{ isFirst: boolean }> {
  const { last } = await releaseNow(tx, release);
  const shownAt = last ? Math.max(at, last.shown_at + 1) : at;
  const view = { disclosure_id: disclosureId, release_id: release.id, record_id: recordId, shown_at: shownAt, ends_at: at + viewTime };
  await insertReleaseView(tx, { ...view, because: last ? because : 'first', hidden_at: null, refused_at: null });
  if (because === 'more-time') await updateRelease(tx, release.id, { more_time: 1 });
  const details = { releaseId: release.id, disclosureId, personName: release.person_name };
  await audit(tx, { at, actor: actorOf(release), act: 'release.view', macId: release.mac_id, details });
  return { isFirst: last === null };
}

async function noteRefused({ ground }: Site, tx: Tx, at: number, { release, last }: ReleaseNow): Promise<void> {
  if (!last || last.refused_at !== null) return;
  await updateReleaseView(tx, last.disclosure_id, { refused_at: at });
  await ground.backend.custody.noteRefusal(tx, at, { macId: release.mac_id, episode: null, recordId: last.record_id, actor: actorOf(release) });
}

/** Shows a key, or says in words why not. Throws `KEY_UNKNOWN` where *other-key* finds no further one. */
async function showKey(site: Site, visit: Visit, held: Held, because: Because, refuses = false): Promise<Answer> {
  const { backend } = site.ground;
  const { release, mac } = held;
  const { recordId, refused } = chosenRecord(held, because === 'other-key');
  let isWritten = false;
  const disclose = (which: { recordId?: string }) =>
    backend.custody.disclose({
      macId: release.mac_id,
      actor: actorOf(release),
      reason: `code of the desk for ${release.person_name}: ${release.verified}`,
      refused,
      ...which,
      before: async (tx, at) => {
        await spendForm(tx, visit, at);
        const still = await releaseNow(tx, await stillHeld(tx, at, release.id));
        if (because === 'more-time' && moreTimeOf(still, at) !== 'yes') throw new Problem('VIEW_ENDED');
        if (still.views.length >= mostViews) throw new Problem('VIEWS_LIMIT', 'release');
        if (refuses) await noteRefused(site, tx, at, still);
      },
      after: async (tx, at, written) => {
        const { isFirst } = await writeView(tx, at, release, written, because);
        if (isFirst) await tellOwner(tx, at, { macId: release.mac_id, disclosureId: written.disclosureId, by: release.made_by, personId: null });
        isWritten = true;
      },
    });
  try {
    const disclosed = await disclose(recordId === undefined ? {} : { recordId }).catch((error: unknown) => {
      // The key that was looked at may have been replaced since: then the one of now, and the page says so.
      if (recordId !== undefined && !isWritten && isCode(error, 'KEY_UNKNOWN')) return disclose({});
      throw error;
    });
    const it = keyShownWords[visit.language];
    const words = keyWords[visit.language];
    const isSame = !held.last || disclosed.recordId === held.last.record_id;
    const notes = [
      ...(isSame ? [] : [because === 'other-key' ? it.otherKey : it.changedKey]),
      ...(disclosed.rotationOpen ? [it.rotationOpen] : disclosed.custody === 'doubtful' && disclosed.unprovedFrom === null ? [it.doubtful] : []),
      ...(disclosed.unprovedFrom === null ? [] : [it.unprovedFrom(productOf(disclosed.unprovedFrom))]),
    ];
    const isAsked = because === 'more-time' || release.more_time === 1;
    const place = isSame && /^[1-6]$/.test(visit.form['place'] ?? '') ? Number(visit.form['place']) : null;
    const copied = visit.form['copied'] === 'yes';
    const secondsLeft = Math.max(1, Math.floor((disclosed.at + viewTime - backend.clock.now()) / 1000));
    const mayGoOn = moreTimeOf(await releaseNow(backend.store.db, release), disclosed.at) === 'yes';
    return {
      title: words.title(nameOf(mac, visit.language)),
      scripts: ['key'],
      refresh: { seconds: secondsLeft, to: gonePath },
      body: keyDisplay(visit, {
        groups: disclosed.key.reveal().split('-'),
        mac,
        secondsLeft,
        place,
        notes,
        way: null,
        copied,
        gone: gonePath,
        goneWords: words.gone,
        againWords: words.again,
        hide: { action: `${keyPath}/hide`, fields: null },
        refused: html`<a class="button second" href="${refusedPath}">${words.refused}</a>`,
        moreTime: mayGoOn ? { form: moreTimeForm(visit, isAsked, kept(undefined, copied)), isAsked } : null,
      }),
    };
  } catch (error) {
    if (because === 'other-key' && !isWritten && isCode(error, 'KEY_UNKNOWN')) throw error;
    return saidInstead(site, visit, held, error, isWritten);
  }
}

function saidInstead(site: Site, visit: Visit, held: Held, error: unknown, isWritten: boolean): Answer {
  if (!(error instanceof Problem)) throw error;
  const words = keyWords[visit.language];
  if (isWritten && ['CANNOT_OPEN', 'ROW_TAMPERED', 'KEY_UNKNOWN'].includes(error.code))
    return deskPage(site, visit, held, { title: words.notOpened, what: words.notOpenedWhat, status: 503 });
  if (error.code === 'FORM_SPENT') return { to: gonePath };
  if (error.code === 'VIEW_ENDED') return { to: `${gonePath}&ended=1` };
  if (error.code === 'NOT_SHOWN') return overPage(site, visit);
  if (error.code === 'VIEWS_LIMIT') return deskPage(site, visit, held, { title: words.limit, what: words.limitOfPerson(mostViews), status: 429 });
  if (error.code === 'KEY_UNKNOWN') return deskPage(site, visit, held, { title: words.noKey, what: words.noKeyWhat, status: 409 });
  throw error;
}

async function refuse(site: Site, visit: Visit, held: Held): Promise<Answer> {
  if (!held.last) return { to: keyPath };
  if (visit.form['next'] !== 'other') return showKey(site, visit, held, 'again', true);
  try {
    if (mayTryAnotherOf(held)) return await showKey(site, visit, held, 'other-key', true);
  } catch (error) {
    if (!isCode(error, 'KEY_UNKNOWN')) throw error;
  }
  const { store, clock } = site.ground.backend;
  const words = refusedWords[visit.language];
  try {
    await store.write(async (tx) => {
      const at = await clock.persist(tx);
      await spendForm(tx, visit, at);
      await noteRefused(site, tx, at, await releaseNow(tx, await stillHeld(tx, at, held.release.id)));
    });
  } catch (error) {
    if (!isCode(error, 'FORM_SPENT')) return saidInstead(site, visit, held, error, false);
  }
  const now = await releaseNow(store.db, held.release);
  const keys = new Set(now.views.map((view) => view.record_id)).size;
  return deskPage(site, visit, held, { title: words.stop, what: `${words.stopWhat} ${words.whatWasTried(keys, now.refusals)}`, status: 200 });
}

/** *Hide now*, and *I am in*: what still runs ends. */
async function hide(site: Site, held: Held, isDone: boolean): Promise<void> {
  const { store, clock } = site.ground.backend;
  await store.write(async (tx) => {
    const at = await clock.persist(tx);
    const { last } = await releaseNow(tx, held.release);
    if (last && last.hidden_at === null && last.ends_at > at) {
      await updateReleaseView(tx, last.disclosure_id, { hidden_at: at });
      const details = { releaseId: held.release.id, disclosureId: last.disclosure_id };
      await audit(tx, { at, actor: actorOf(held.release), act: 'key.hidden', macId: held.release.mac_id, details });
    }
    if (isDone) await endRelease(tx, at, held.release);
  });
}

export function addReleaseKey(site: Site): void {
  const withHeld =
    (answer: (visit: Visit, held: Held) => Promise<Answer> | Answer) =>
    async (visit: Visit): Promise<Answer> => {
      const held = await heldBy(site, visit);
      return held ? answer(visit, held) : overPage(site, visit);
    };
  site.page(
    keyPath,
    'nobody',
    withHeld((visit, held) => (visit.query['gone'] !== undefined && held.last ? gonePage(site, visit, held) : beforePage(visit, held))),
  );
  site.page(refusedPath, 'nobody', withHeld(refusedPage));
  site.act(
    keyPath,
    'nobody',
    withHeld((visit, held) => showKey(site, visit, held, 'again')),
  );
  site.act(
    `${keyPath}/again`,
    'nobody',
    withHeld((visit, held) => showKey(site, visit, held, 'again')),
  );
  site.act(
    `${keyPath}/more-time`,
    'nobody',
    withHeld((visit, held) => showKey(site, visit, held, 'more-time')),
  );
  site.act(
    refusedPath,
    'nobody',
    withHeld((visit, held) => refuse(site, visit, held)),
  );
  site.act(
    `${keyPath}/hide`,
    'nobody',
    withHeld(async (_, held) => {
      await hide(site, held, false);
      return { to: gonePath };
    }),
  );
  site.act(
    `${releasePath}/done`,
    'nobody',
    withHeld(async (visit, held) => {
      await hide(site, held, true);
      const words = releaseWords[visit.language];
      return { title: words.isDone, cookies: [{ name: releaseCookie, value: null }], body: html`<h1>${words.isDone}</h1><p>${words.isDoneWhat}</p>` };
    }),
  );
}
