import { Problem } from '../../protocol/problems.ts';
import { raise } from '../alarms.ts';
import { audit, countBroughtViews } from '../audit.ts';
import type { Backend } from '../backend.ts';
import { hour, minute } from '../custody-parts.ts';
import type { Disclosed, DisclosureWritten } from '../disclosures.ts';
import type { Tx } from '../parts.ts';
import type { Admin } from '../permissions.ts';
import {
  adminViewsOf,
  countAdminViews,
  type DisclosureRequest,
  insertAdminView,
  insertReview,
  refuseAdminView,
  updateRequest,
  viewsUnder,
  wasDeclined,
} from '../store/disclosure-requests.ts';
import { recordsShownSince } from '../store/disclosures.ts';
import { countReleasesSince } from '../store/releases.ts';
import { stillMay, whoActs } from './admin-now.ts';
import { type DisclosurePolicy, isReason, needsOf } from './disclosure-policy.ts';
import { grantedRequest } from './requests.ts';
import { disclosureRules } from './rules.ts';

/** For so long a page shows a key. */
export const viewTime = 5 * minute;
/** For so long what an admin said of a key counts for what they are shown next. */
export const episodeTime = 24 * hour;

export interface DiscloseToAdmin {
  macId: string;
  reason: string;
  ticket: string | null;
  volume: string | null;
  /** Only this record; of the history where `history`. */
  recordId: string | null;
  history: boolean;
  /** Null: none is needed, or break glass. */
  requestId: string | null;
  breakGlass: boolean;
  /** Records that the Mac refused, by the word of whoever asks. */
  refused: readonly string[];
}

export interface DisclosedToAdmin extends Disclosed {
  /** Until when a page may show it, server time. */
  endsAt: number;
  /** By when somebody else looks at it; null where nobody has to. */
  reviewBy: number | null;
}

type Parts = Pick<Backend, 'store' | 'clock' | 'custody' | 'log'>;

/** Keys that an admin was shown in the hour before, of Macs, and of those that others had brought; and codes of the desk, each of which shows one. */
export const viewsInHour = async (tx: Tx, at: number, personId: string): Promise<number> =>
  (await countAdminViews(tx, personId, at - hour)) + (await countBroughtViews(tx, personId, at - hour)) + (await countReleasesSince(tx, personId, at - hour));

/** Why this admin may not have this key now, or what lets them. In the transaction of the disclosure. */
async function check(
  tx: Tx,
  at: number,
  admin: Admin,
  wanted: DiscloseToAdmin,
): Promise<{ rules: DisclosurePolicy; request: DisclosureRequest | null; isGlass: boolean }> {
  const { personId } = whoActs(admin);
  await stillMay(tx, at, admin, wanted.history ? 'key.history' : 'key.disclose', wanted.macId);
  const rules = await disclosureRules(tx, wanted.macId, { at, personId });
  if (admin.service && rules.service === 'never') throw new Problem('NOT_ALLOWED', 'the policy of this Mac shows no key to a token that stands for a program');
  if (wanted.history && wanted.recordId === null) throw new Problem('MESSAGE_INVALID', 'recordId: say which of the keys that were replaced');
  const needs = needsOf(rules, wanted.history);
  if (!isReason(needs, wanted.reason)) throw new Problem('REASON_MISSING', needs === 'none' ? 'say why' : 'say why, in ten signs or more');
  const isSecond = needs === 'second-person';
  const isGlass = isSecond && wanted.breakGlass && wanted.requestId === null;
  if (wanted.breakGlass && !isGlass) throw new Problem('MESSAGE_INVALID', 'breakGlass: nobody has to agree here, or somebody did: ask without it');
  if (isGlass && (!rules.breakGlass || admin.service)) throw new Problem('APPROVAL_NEEDED', 'the policy of this Mac has no break glass');
  if (isSecond && !isGlass && wanted.requestId === null) throw new Problem('APPROVAL_NEEDED');
  const request =
    wanted.requestId === null ? null : await grantedRequest(tx, at, admin, { ...wanted, requestId: wanted.requestId, quorum: isSecond ? rules.quorum : 1 });
  if ((await viewsInHour(tx, at, personId)) >= rules.viewsPerHour) throw new Problem('VIEWS_LIMIT', 'admin');
  return { rules, request, isGlass };
}

/** Said once of each: evidence for the timeline, and for what comes next. */
async function noteRefused(parts: Parts, tx: Tx, at: number, admin: Admin, { macId, refused }: DiscloseToAdmin): Promise<void> {
  const { personId } = whoActs(admin);
  for (const view of await adminViewsOf(tx, macId, personId, at - episodeTime)) {
    if (view.refused_at !== null || !refused.includes(view.record_id)) continue;
    await refuseAdminView(tx, view.disclosure_id, at);
    await parts.custody.noteRefusal(tx, at, { macId, episode: null, recordId: view.record_id, actor: admin.name });
  }
}

/**
 * The one way in which an admin is shown a key. Whether they may, what was agreed, and that it is used up, is one transaction with the
 * disclosure itself; only then the envelope is opened. `more`: what else belongs into it, such as the form that was sent, and the mail to
 * the Mac's person.
 */
export async function discloseToAdmin(
  parts: Parts,
  admin: Admin,
  wanted: DiscloseToAdmin,
  more: { before?: (tx: Tx, at: number) => Promise<void>; after?: (tx: Tx, at: number, disclosureId: string) => Promise<void> } = {},
): Promise<DisclosedToAdmin> {
  const { personId } = whoActs(admin);
  const { macId } = wanted;
  const said = wanted.ticket === null ? wanted.reason.trim() : `${wanted.reason.trim()} (${wanted.ticket})`;
  // What nobody was shown, nobody can have tried: by naming keys unseen one would come to those of the history.
  const seen = await recordsShownSince(parts.store.db, macId, parts.clock.now() - episodeTime);
  const refused = wanted.refused.filter((recordId) => seen.includes(recordId));
  // Whoever looks at it afterwards has to know that somebody said no before.
  const declined = wanted.breakGlass && (await wasDeclined(parts.store.db, macId, personId, parts.clock.now() - episodeTime));
  let now: Awaited<ReturnType<typeof check>> | null = null;
  let reviewBy: number | null = null;

  const after = async (tx: Tx, at: number, { disclosureId, recordId }: DisclosureWritten): Promise<void> => {
    if (!now) throw new Problem('SERVER_BUG', 'a disclosure that nobody checked');
    const { rules, request, isGlass } = now;
    if (request) {
      // Once means: once each key. What the Mac refused is followed by the next one under the same agreement.
      if (request.once === 1 && (await viewsUnder(tx, request.id)).some((view) => view.record_id === recordId))
        throw new Problem('REQUEST_ENDED', 'it was used: this key was shown under it once');
      if (request.used_at === null) await updateRequest(tx, request.id, { used_at: at });
    }
    await insertAdminView(tx, {
      disclosure_id: disclosureId,
      mac_id: macId,
      record_id: recordId,
      person_id: personId,
      token_id: admin.tokenId,
      request_id: request?.id ?? null,
      break_glass: isGlass ? 1 : 0,
      history: wanted.history ? 1 : 0,
      shown_at: at,
      ends_at: at + viewTime,
      refused_at: null,
    });
    if (request || isGlass)
      await audit(tx, {
        at,
        actor: admin.name,
        act: isGlass ? 'disclosure.glass' : 'disclosure.used',
        macId,
        details: { disclosureId, requestId: request?.id ?? null, ...(isGlass ? { declined } : {}) },
      });
    if (isGlass) {
      reviewBy = at + rules.reviewHours * hour;
      const review = { state: 'waiting', told_at: null, decided_at: null, decided_by: null, words: null } as const;
      await insertReview(tx, { disclosure_id: disclosureId, mac_id: macId, person_id: personId, due_at: reviewBy, ...review });
    }
    await more.after?.(tx, at, disclosureId);
  };

  try {
    const disclosed = await parts.custody.disclose({
      macId,
      actor: admin.name,
      reason: wanted.breakGlass ? `break glass${declined ? ', after others declined it' : ''}: ${said}` : said,
      refused,
      ...(wanted.volume === null ? {} : { volume: wanted.volume }),
      ...(wanted.recordId === null ? {} : { recordId: wanted.recordId }),
      ...(wanted.history ? { history: true } : {}),
      before: async (tx, at) => {
        await more.before?.(tx, at);
        now = await check(tx, at, admin, wanted);
        await noteRefused(parts, tx, at, admin, wanted);
      },
      after,
    });
    return { ...disclosed, endsAt: disclosed.at + viewTime, reviewBy };
  } catch (error) {
    if (error instanceof Problem && error.code === 'VIEWS_LIMIT') await tellUnusual(parts, admin, macId);
    // There is no next one; that the last one was refused is noted all the same.
    if (error instanceof Problem && error.code === 'KEY_UNKNOWN' && wanted.refused.length > 0)
      await parts.store.write(async (tx) => {
        const at = await parts.clock.persist(tx);
        await more.before?.(tx, at);
        await stillMay(tx, at, admin, 'key.disclose', macId);
        await noteRefused(parts, tx, at, admin, wanted);
      });
    throw error;
  }
}

/** The disclosure was refused and nothing of it is stored; that somebody came up against the limit is. Once a day for each. Null: a serial number that no Mac has. */
export async function tellUnusual(parts: Parts, admin: Admin, macId: string | null): Promise<void> {
  await parts.store.write(async (tx) => {
    const at = await parts.clock.persist(tx);
    const most = macId === null ? 'the policies allow' : (await disclosureRules(tx, macId, { at, personId: admin.personId })).viewsPerHour;
    const words = `more than ${most} in an hour by the admin ${admin.name}, ${new Date(at).toISOString().slice(0, 10)}`;
    await raise(parts, tx, at, macId, 'VIEWS_UNUSUAL', words);
  });
}
