import { Problem } from '../protocol/problems.ts';
import { audit } from '../server/audit.ts';
import type { Tx } from '../server/parts.ts';
import { insertEmergencyView } from '../server/store/emergencies.ts';
import { spendForm } from '../web/form-token.ts';
import { helpCode } from '../web/help-codes.ts';
import { queueMail } from '../web/mail-queue.ts';
import { stillSignedIn } from '../web/sessions.ts';
import type { Answer, SignedIn, Site } from '../web/visit.ts';
import { delayOf, laterInMail } from './episode-facts.ts';
import { checkLimits, type EpisodeNow, episodeNow, hideKey, moreTime, type ViewWanted, type ViewWritten, writeView } from './episodes.ts';
import { elsewhere, isCode, noteRefusal, present, saidInstead } from './key-answers.ts';
import { gonePage, keyBefore } from './key-before.ts';
import { gonePath, keyPath, type Shown, shownPage, wayOf } from './key-shown.ts';
import { keyWords } from './key-words.ts';
import { theirMac } from './mac-parts.ts';
import { checkAgain, type OwnMac } from './own-mac.ts';
import { reasonOf } from './reason.ts';

/*
 * The one page of the sites that shows a key. A key is in the answer to one POST, and nowhere else: no GET gives
 * it, no address names it, and what the browser keeps of the answer leads to a form that has been spent.
 */

export interface KeyWanted {
  because: ViewWanted['because'];
  /** For the audit, beside what its person wrote. */
  reason: string;
  /** *It was refused*: the key that was shown last, noted in the transaction that shows another. */
  refuses?: boolean;
}

const placeOf = (visit: SignedIn): number | null => (/^[1-6]$/.test(visit.form['place'] ?? '') ? Number(visit.form['place']) : null);

/** The record to go on with, and those not to be offered any more. */
function choose(now: EpisodeNow | null, because: KeyWanted['because']): { recordId?: string; refused: readonly string[] } {
  if (!now) return { refused: [] };
  if (because === 'other-key') return { refused: [...new Set([...now.refused, now.last.record_id])] };
  // Whoever looks again looks at the same key, also at one that was refused: they may have mistyped it.
  return { recordId: now.last.record_id, refused: now.refused.filter((id) => id !== now.last.record_id) };
}

/** Shows a key, or says in words why not. Throws `KEY_UNKNOWN` where *other-key* finds no further one. */
export async function showKey(site: Site, visit: SignedIn, mac: OwnMac, wanted: KeyWanted): Promise<Answer> {
  const { ground } = site;
  const { person, id: sessionId } = visit.session;
  const { macId } = mac;
  const now = await present(site, visit, macId);
  const { recordId, refused } = choose(now, wanted.because);
  let view: ViewWritten | null = null;
  let emergencyId: string | null = null;

  const before = async (tx: Tx, at: number): Promise<void> => {
    await spendForm(tx, visit, at);
    const now = await stillSignedIn(ground, tx, visit, at, wanted.because === 'more-time' ? 'person' : 'fresh');
    const present = await episodeNow(tx, macId, person.id);
    if (wanted.because === 'more-time' && moreTime(present, sessionId, at) !== 'yes') throw new Problem('VIEW_ENDED');
    ({ emergencyId } = await checkAgain(ground, tx, now, macId, at, wanted.because === 'more-time' ? 'more-time' : 'view'));
    // Counted, and never refused: nobody is stopped in the middle of typing (WCAG 2.2.1).
    if (wanted.because !== 'more-time')
      await checkLimits(tx, at, ground.settings, { personId: person.id, network: visit.network, inEmergency: emergencyId !== null });
    if (wanted.refuses && present) await noteRefusal(site, tx, at, visit, present);
  };
  const after = async (tx: Tx, at: number, disclosed: Parameters<typeof writeView>[2]): Promise<void> => {
    const code = (): Promise<string> => helpCode(tx, { page: keyPath(macId), visit, macId, at });
    view = await writeView(tx, at, disclosed, { macId, personId: person.id, sessionId, network: visit.network, because: wanted.because, code });
    if (emergencyId !== null) {
      await insertEmergencyView(tx, { disclosure_id: disclosed.disclosureId, emergency_id: emergencyId, mac_id: macId, person_id: person.id, at });
      await audit(tx, { at, actor: person.userName, act: 'emergency.view', macId, details: { emergencyId, disclosureId: disclosed.disclosureId } });
    }
    if (view.view.because !== 'first') return;
    const { id: episodeId, code: shownCode } = view.episode;
    const later = laterInMail(await delayOf(tx, macId, disclosed.volume, at));
    const details = { macId, browser: visit.browser, shownAt: at, code: shownCode, ...later };
    await queueMail(tx, { kind: 'key-shown', personId: person.id, episodeId, details, at, language: visit.language });
  };
  const disclose = (which: { recordId?: string }) =>
    ground.backend.custody.disclose({
      macId,
      actor: person.userName,
      reason: wanted.reason,
      refused,
      ...(mac.account === null ? {} : { person: mac.account }),
      ...which,
      before,
      after,
    });

  try {
    // The key that was looked at may have been replaced since: then the one of now, and the page says so.
    const disclosed = await disclose(recordId === undefined ? {} : { recordId }).catch((error: unknown) => {
      if (recordId !== undefined && view === null && isCode(error, 'KEY_UNKNOWN')) return disclose({});
      throw error;
    });
    const it = view as ViewWritten | null;
    if (it === null) throw new Problem('SERVER_BUG', 'a view that was not written');
    const isSame = now === null || disclosed.recordId === now.last.record_id;
    const notes: Shown['notes'] = [
      ...(isSame ? [] : wanted.because === 'other-key' ? (['otherKey'] as const) : (['changedKey'] as const)),
      ...(disclosed.rotationOpen
        ? (['rotationOpen'] as const)
        : disclosed.custody === 'doubtful' && disclosed.unprovedFrom === null
          ? (['doubtful'] as const)
          : []),
    ];
    return shownPage(visit, {
      groups: disclosed.key.reveal().split('-'),
      mac,
      episode: it.episode,
      view: it.view,
      secondsLeft: Math.max(1, Math.floor((it.view.ends_at - ground.backend.clock.now()) / 1000)),
      place: isSame ? placeOf(visit) : null,
      notes,
      unprovedFrom: disclosed.unprovedFrom,
      way: wayOf(visit.form['from']),
      copied: visit.form['copied'] === 'yes',
      mayHaveMoreTime: moreTime(await present(site, visit, macId), sessionId, it.view.shown_at) === 'yes',
    });
  } catch (error) {
    if (wanted.because === 'other-key' && view === null && isCode(error, 'KEY_UNKNOWN')) throw error;
    return saidInstead(site, visit, mac, error, view !== null);
  }
}

/** *Get recovery key* and *Show again*: the first view of an episode, or one more of it. */
async function getKey(site: Site, visit: SignedIn): Promise<Answer> {
  const mac = await theirMac(site.ground, visit);
  const now = await present(site, visit, mac.macId);
  const reason = reasonOf(visit.form['reason']);
  if (!now && reason === '' && site.ground.settings.selfService.reason === 'required')
    return elsewhere(mac) ?? keyBefore(site, visit, mac, keyWords[visit.language].reasonMissing);
  const how = now ? 'self-service, shown again' : 'self-service';
  return elsewhere(mac) ?? showKey(site, visit, mac, { because: 'again', reason: reason === '' ? how : `${how}: ${reason}` });
}

export function addKeyPages(site: Site): void {
  site.page(keyPath(':mac'), 'person', async (visit) => {
    const mac = await theirMac(site.ground, visit);
    if (visit.query['gone'] !== undefined && mac.goesOn.may) return gonePage(site, visit, mac);
    return elsewhere(mac) ?? keyBefore(site, visit, mac);
  });
  site.act(keyPath(':mac'), 'fresh', (visit) => getKey(site, visit));
  site.act(`${keyPath(':mac')}/again`, 'fresh', (visit) => getKey(site, visit));
  // No fresh sign-in: the chain of views is bounded by itself, and somebody in mid-typing must not be sent away (WCAG 2.2.1).
  site.act(`${keyPath(':mac')}/more-time`, 'person', async (visit) => {
    const mac = await theirMac(site.ground, visit);
    const to = mac.goesOn.may ? null : elsewhere(mac);
    return to ?? showKey(site, visit, mac, { because: 'more-time', reason: 'self-service, more time' });
  });
  site.act(`${keyPath(':mac')}/hide`, 'person', async (visit) => {
    const { macId } = await theirMac(site.ground, visit);
    const { id: personId, userName: actor } = visit.session.person;
    await hideKey(site.ground.backend, { macId, personId, actor });
    return { to: gonePath(macId, wayOf(visit.form['from'])) };
  });
}
