import { Problem } from '../../protocol/problems.ts';
import { audit, viewsOfBrought } from '../audit.ts';
import type { Backend } from '../backend.ts';
import { type BroughtDisclosed, broughtBeside } from '../brought/disclose.ts';
import { isKnownMac } from '../brought/serial.ts';
import { isOnlyMaybeShown } from '../brought/shown.ts';
import { macInScope } from '../fleet/in-scope.ts';
import type { Tx } from '../parts.ts';
import type { Admin, Scope } from '../permissions.ts';
import { choosePolicy, policiesInForce } from '../policies/policy.ts';
import { broughtFor } from '../store/brought.ts';
import type { DisclosureRequest } from '../store/disclosure-requests.ts';
import { updateRequest } from '../store/disclosure-requests.ts';
import { recordsShownSince } from '../store/disclosures.ts';
import { macById } from '../store/macs.ts';
import { stillMay, stillMayAtAll, whoActs } from './admin-now.ts';
import { episodeTime, tellUnusual, viewsInHour, viewTime } from './disclose.ts';
import { type DisclosurePolicy, isReason } from './disclosure-policy.ts';
import { grantedRequest } from './requests.ts';
import { disclosureRules } from './rules.ts';

/*
 * A key that only others had, shown to an admin: by the rules of the Mac that has its serial number. Where no Mac has it yet there
 * are no tags, so it is for whoever is shown the keys of all Macs, by the rules for Macs without tags, and nobody can be asked to agree.
 */

interface DiscloseBroughtToAdmin {
  /** As whoever asks says it: a serial number, or the id of a Mac. */
  named: string;
  reason: string;
  ticket: string | null;
  requestId: string | null;
  /** Ids of brought keys, and of the Mac's own, that the Mac refused, by the word of whoever asks. */
  refused: readonly string[];
}

interface BroughtDisclosedToAdmin extends BroughtDisclosed {
  serial: string;
  macId: string | null;
  /** Until when a page may show it, server time. */
  endsAt: number;
}

type Parts = Pick<Backend, 'store' | 'clock' | 'custody' | 'log'>;

/** Whose keys are meant. What lies outside a scope is unknown, whether a key was brought for it or not. */
async function broughtNamed(parts: Pick<Backend, 'store'>, scope: Scope, named: string): Promise<{ serial: string; macId: string | null }> {
  const { db } = parts.store;
  const found = await macInScope(parts, scope, named).catch((error: unknown) => {
    if (error instanceof Problem && error.code === 'MAC_UNKNOWN' && scope === null) return null;
    throw error;
  });
  if (found === null) {
    const serial = named.trim().toUpperCase();
    if ((await broughtFor(db, serial)).length === 0) throw new Problem('MAC_UNKNOWN', named);
    return { serial, macId: null };
  }
  const mac = await macById(db, found.id);
  // Whoever enrols with a number that is not proved must not come by its tags to the keys of the Mac that has it.
  if (!mac || !(await isKnownMac(db, mac)))
    throw new Problem('KEY_UNKNOWN', 'this Mac only claims its serial number: confirm its enrolment, or `sparekey-server show` at the machine');
  return { serial: mac.serial, macId: mac.id };
}

/** Whether keys of others come before what this Mac has here, after it, or not at all. */
export const broughtWhere = async (parts: Pick<Backend, 'store'>, macId: string): Promise<'first' | 'after' | null> => {
  const { db } = parts.store;
  const mac = await macById(db, macId);
  return mac && (await isKnownMac(db, mac)) ? broughtBeside(db, mac.serial) : null;
};

async function rulesFor(tx: Tx, at: number, admin: Admin, macId: string | null): Promise<DisclosurePolicy> {
  const { personId } = whoActs(admin);
  if (macId !== null) {
    await stillMay(tx, at, admin, 'key.disclose', macId);
    return disclosureRules(tx, macId, { at, personId });
  }
  if ((await stillMayAtAll(tx, at, admin, 'key.disclose')) !== null) throw new Problem('MAC_UNKNOWN');
  return choosePolicy(await policiesInForce(tx), [], 'disclosure').rules;
}

async function check(tx: Tx, at: number, admin: Admin, wanted: DiscloseBroughtToAdmin, macId: string | null): Promise<DisclosureRequest | null> {
  const { personId } = whoActs(admin);
  const rules = await rulesFor(tx, at, admin, macId);
  if (admin.service && rules.service === 'never') throw new Problem('NOT_ALLOWED', 'the policy of this Mac shows no key to a token that stands for a program');
  if (!isReason(rules.needs, wanted.reason)) throw new Problem('REASON_MISSING', rules.needs === 'none' ? 'say why' : 'say why, in ten signs or more');
  const isSecond = rules.needs === 'second-person';
  if (isSecond && macId === null)
    throw new Problem('APPROVAL_NEEDED', 'no Mac has this serial number yet, so nobody can be asked; `sparekey-server show` at the machine shows it');
  if (isSecond && wanted.requestId === null) throw new Problem('APPROVAL_NEEDED', 'break glass is for keys that this Mac itself has delivered');
  const which = { macId: macId ?? '', reason: wanted.reason, ticket: wanted.ticket, volume: null, recordId: null, history: false };
  const request =
    wanted.requestId === null ? null : await grantedRequest(tx, at, admin, { ...which, requestId: wanted.requestId, quorum: isSecond ? rules.quorum : 1 });
  if ((await viewsInHour(tx, at, personId)) >= rules.viewsPerHour) throw new Problem('VIEWS_LIMIT', 'admin');
  return request;
}

/** What nobody was shown, nobody can have tried. */
async function trulyRefused({ store, clock }: Parts, serial: string, macId: string | null, refused: readonly string[]): Promise<string[]> {
  const since = clock.now() - episodeTime;
  const own = macId === null ? [] : await recordsShownSince(store.db, macId, since);
  const brought = (await broughtFor(store.db, serial)).filter((row) => (row.disclosed_at ?? 0) > since && !isOnlyMaybeShown(row)).map(({ id }) => id);
  return refused.filter((id) => own.includes(id) || brought.includes(id));
}

/** Audited, and by the same rules as a key of a Mac's own; what it was is one transaction with whether it may be. */
export async function discloseBroughtToAdmin(
  parts: Parts,
  admin: Admin,
  scope: Scope,
  wanted: DiscloseBroughtToAdmin,
  more: { before?: (tx: Tx, at: number) => Promise<void>; after?: (tx: Tx, at: number, view: { keyId: string; macId: string | null }) => Promise<void> } = {},
): Promise<BroughtDisclosedToAdmin> {
  const { personId } = whoActs(admin);
  const { serial, macId } = await broughtNamed(parts, scope, wanted.named);
  const reason = wanted.ticket === null ? wanted.reason.trim() : `${wanted.reason.trim()} (${wanted.ticket})`;
  const refused = await trulyRefused(parts, serial, macId, wanted.refused);
  let request: DisclosureRequest | null = null;
  try {
    const shown = await parts.custody.discloseBrought({
      serial,
      actor: admin.name,
      reason,
      refused,
      more: { personId, tokenId: admin.tokenId, requestId: wanted.requestId },
      async before(tx, at) {
        await more.before?.(tx, at);
        request = await check(tx, at, admin, wanted, macId);
      },
      async after(tx, at, view) {
        // Another Mac has come to have this number for certain since it was asked whose it is, or two of them have.
        if (view.macId !== macId) throw new Problem('MAC_AMBIGUOUS', [view.macId, macId].filter((id) => id !== null).join(', '));
        if (request) {
          const under = (await viewsOfBrought(tx, view.keyId)).filter(({ details }) => details['requestId'] === request?.id);
          if (request.once === 1 && under.length > 1) throw new Problem('REQUEST_ENDED', 'it was used: this key was shown under it once');
          if (request.used_at === null) await updateRequest(tx, request.id, { used_at: at });
          await audit(tx, { at, actor: admin.name, act: 'disclosure.used', macId, details: { keyId: view.keyId, requestId: request.id } });
        }
        await more.after?.(tx, at, view);
      },
    });
    return { ...shown, serial, macId, endsAt: shown.at + viewTime };
  } catch (error) {
    if (error instanceof Problem && error.code === 'VIEWS_LIMIT') await tellUnusual(parts, admin, macId);
    throw error;
  }
}
