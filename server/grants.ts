import { createHash, randomUUID } from 'node:crypto';
import { sealGrant, verifyGrantSignature } from '../protocol/grant.ts';
import type { GrantRequest } from '../protocol/messages.ts';
import { Problem } from '../protocol/problems.ts';
import { raise, stopsTheMac } from './alarms.ts';
import { audit } from './audit.ts';
import { type CustodyParts, day, hour, minute, sameCase } from './custody-parts.ts';
import { counts, isLiving, lastFacts } from './custody-state.ts';
import { oweRotation } from './debts.ts';
import { presentHold } from './holds.ts';
import { readNonce } from './nonce.ts';
import type { Caller, Tx } from './parts.ts';
import { byAdmin } from './proofs.ts';
import { openAlarmsOf, openFleetAlarms } from './store/alarms.ts';
import { openDebtsOf } from './store/debts.ts';
import { spendNonce } from './store/enrolments.ts';
import { countGrants, type GrantGiven, grantsOf, insertGrant } from './store/grants.ts';
import { type KeyRecord, recordById } from './store/keys.ts';
import { type Mac, macById } from './store/macs.ts';
import { proofOrderById, provedByBringing } from './store/proofs.ts';
import { type Rotation, rotationById } from './store/rotations.ts';
import { enrolmentForCustody } from './store/sessions.ts';

/** The same request again within this is the same grant. */
const repeatWithin = 5 * minute;
/** A profile certificate that has run out since longer than this stands for a Mac that left its MDM. */
const profileGrace = 30 * day;
const mostResolves = 2;

/** A grant that was decided, audited and stored; only now its key may be opened. */
export interface AllowedGrant {
  grantId: string;
  recordId: string;
  request: GrantRequest;
}

const refused = (detail: string): Problem => new Problem('GRANT_REFUSED', detail);
const notVerified = 'this key came without a device identity, and has to be proved first';
const keyDigestOf = (request: GrantRequest): string => createHash('sha256').update(`${request.publicKey.x} ${request.publicKey.y}`).digest('hex');

/** The grant that this very request was given before, if it is a repeat. */
export async function repeatedGrant(parts: CustodyParts, tx: Tx, at: number, caller: Caller, request: GrantRequest): Promise<AllowedGrant | Problem | null> {
  const before = (await grantsOf(tx, caller.macId, at - repeatWithin)).find(
    (grant) =>
      grant.enrolment_id === caller.enrolmentId &&
      grant.key_digest === keyDigestOf(request) &&
      grant.purpose === request.purpose &&
      grant.for_id === request.forId &&
      grant.record_id === request.recordId &&
      grant.boot === sameCase(request.boot),
  );
  if (!before || request.enrolmentId !== caller.enrolmentId || !verifyGrantSignature(request, caller.publicKey)) return null;
  // Nobody may have had the first answer, and the world has gone on since.
  const mac = await macById(tx, caller.macId);
  const record = await recordById(tx, before.record_id);
  if (!mac || !record || !isLiving(record)) return refused('there is no such key to give');
  if (!counts(record) && request.purpose !== 'prove') return refused(notVerified);
  const problem = (await isStillActive(tx, caller)) ?? (await mustWait(parts, tx, at, mac, record, request));
  if (problem) return problem;
  await audit(tx, { at, actor: 'mac', act: 'grant.repeated', macId: caller.macId, details: { grantId: before.id } });
  return { grantId: before.id, recordId: before.record_id, request };
}

/**
 * Whether it may be given, then audit, mark and debt. A refusal is a value, because what it raises must be stored.
 * `rotation` is the one that a `rotate` grant is for; it is being begun in the same act.
 */
export async function allowGrant(
  parts: CustodyParts,
  tx: Tx,
  at: number,
  caller: Caller,
  request: GrantRequest,
  rotation: { id: string; volume: string } | null,
): Promise<AllowedGrant | Problem> {
  const mac = await macById(tx, caller.macId);
  const record = await recordById(tx, request.recordId);
  if (!mac) return refused('this Mac is not known');
  if (!record || record.mac_id !== mac.id || !isLiving(record)) return refused('there is no such key to give');
  if (!counts(record) && request.purpose !== 'prove') return refused(notVerified);
  const problem =
    mayAsk(parts, at, caller, request, mac, record) ??
    (await isStillActive(tx, caller)) ??
    (await mayHave(tx, caller, record)) ??
    (await mustWait(parts, tx, at, mac, record, request)) ??
    (await isForSomething(parts, tx, at, caller, request, mac, record, rotation)) ??
    (await isWithinLimits(parts, tx, at, mac, record, request));
  if (problem) return problem;

  const expires = readNonce(parts.secrets.nonce, 'grant', request.grantNonce, at, mac.id);
  if (expires === null) return new Problem('NONCE_REFUSED');
  if (!(await spendNonce(tx, createHash('sha256').update(request.grantNonce).digest('hex'), expires))) return new Problem('NONCE_REFUSED');
  const grantId = randomUUID();
  const { purpose, forId, recordId } = request;
  const boot = sameCase(request.boot);
  await insertGrant(tx, {
    id: grantId,
    mac_id: mac.id,
    enrolment_id: caller.enrolmentId,
    purpose,
    for_id: forId,
    record_id: recordId,
    boot,
    key_digest: keyDigestOf(request),
    at,
  });
  await audit(tx, {
    at,
    actor: 'mac',
    act: 'grant.given',
    macId: mac.id,
    details: { grantId, purpose, forId, recordId, enrolmentId: caller.enrolmentId, boot, key: keyDigestOf(request) },
  });
  await oweRotation(tx, at, { id: grantId, macId: mac.id, volume: record.volume, because: 'granted', recordId, actor: 'server' });
  return { grantId, recordId, request };
}

/** Opens and seals: after the commit, never before. */
export async function sealAllowed(parts: CustodyParts, caller: Caller, allowed: AllowedGrant): Promise<{ jwe: string }> {
  const opened = await parts.openRecord(allowed.recordId);
  if (typeof opened === 'string') {
    await parts.act((tx, at) =>
      audit(tx, { at, actor: 'server', act: 'grant.not-given', macId: caller.macId, details: { grantId: allowed.grantId, because: opened } }),
    );
    throw opened === 'no-opener' ? new Problem('CANNOT_OPEN') : refused('its key could not be opened');
  }
  parts.log.info('grant-given', { macId: caller.macId, grantId: allowed.grantId, purpose: allowed.request.purpose, requestId: caller.requestId });
  return { jwe: await sealGrant(opened, allowed.request) };
}

/** Who asks, by what is proved and by the Mac's own word of itself. */
function mayAsk(parts: CustodyParts, at: number, caller: Caller, request: GrantRequest, mac: Mac, record: KeyRecord): Problem | null {
  const facts = lastFacts(mac);
  // What nobody has looked into yet is not looked into by a grant: its refusal would tell what is inside.
  if (!parts.canOpen || record.opened === 0) return new Problem('CANNOT_OPEN');
  if (caller.standing !== 'active') return new Problem('ENROLMENT_REVOKED');
  if (request.enrolmentId !== caller.enrolmentId || !verifyGrantSignature(request, caller.publicKey))
    return refused('the request is not signed by this enrolment');
  if (caller.profileNotAfter !== null && caller.profileNotAfter < at - profileGrace)
    return refused('the certificate of its profile ran out more than 30 days ago');
  if (!facts?.settings.managed) return refused('its settings are not managed');
  if (!facts.runtimeSigned) return refused('its runtime is not signed');
  if (sameCase(request.boot) !== facts.boot) return refused('it is for another boot session than the last check-in');
  return record.volume === mac.present_volume ? null : refused('the key is of another volume than the present one');
}

/** Asked in the act itself: an admin's command may have ended the enrolment since the guard looked. */
async function isStillActive(tx: Tx, caller: Caller): Promise<Problem | null> {
  return (await enrolmentForCustody(tx, caller.enrolmentId))?.status === 'active' ? null : new Problem('ENROLMENT_REVOKED');
}

async function mayHave(tx: Tx, caller: Caller, record: KeyRecord): Promise<Problem | null> {
  if (caller.confirmed || record.enrolment_id === caller.enrolmentId || (await provedByBringing(tx, record.id, caller.enrolmentId))) return null;
  return refused('an admin has to confirm this enrolment first: it has neither delivered nor proved this key itself');
}

async function mustWait(parts: CustodyParts, tx: Tx, at: number, mac: Mac, record: KeyRecord, request: GrantRequest): Promise<Problem | null> {
  const alarm = stopsTheMac(await openAlarmsOf(tx, mac.id));
  if (alarm) return new Problem('ROTATION_ALARM', alarm.code);
  if (request.purpose === 'resolve') return null;
  const hold = await presentHold(parts, tx, at, mac.id, record.volume);
  return hold ? new Problem('ROTATION_WAIT', hold.because) : null;
}

async function isForSomething(
  parts: CustodyParts,
  tx: Tx,
  at: number,
  caller: Caller,
  request: GrantRequest,
  mac: Mac,
  record: KeyRecord,
  rotation: { id: string; volume: string } | null,
): Promise<Problem | null> {
  const debts = await openDebtsOf(tx, mac.id, record.volume);
  const mode = parts.settings.grants === 'automatic' && caller.way === 'ticket' ? 'ordered-only' : parts.settings.grants;
  if (mode === 'never') return refused('the operator gives no keys to Macs');
  const ordered = debts.some((debt) => debt.because === 'ordered');
  if (request.purpose === 'prove') {
    const order = await proofOrderById(tx, mac.id, request.forId);
    if (!order || order.ended_at !== null || order.record_id !== record.id || order.not_before > at) return refused('no proof of this key was asked for');
    return mode === 'ordered-only' && order.because !== byAdmin ? refused('only what an admin ordered is granted to this Mac') : null;
  }
  if (mode === 'ordered-only' && !ordered) return refused('only what an admin ordered is granted to this Mac');
  if (request.purpose === 'rotate') {
    if (!rotation || rotation.id !== request.forId || rotation.volume !== record.volume) return refused('it is for another rotation');
    return debts.length > 0 ? null : new Problem('ROTATION_NOT_OWED');
  }
  const begun: Rotation | undefined = await rotationById(tx, mac.id, request.forId);
  const may = begun?.state === 'begun' && begun.enrolment_id === caller.enrolmentId && begun.volume === record.volume;
  return may ? null : refused('this enrolment has no such rotation open');
}

const reasonOf = (grant: Pick<GrantGiven, 'purpose' | 'for_id'>): string => `${grant.purpose === 'prove' ? 'prove' : 'rotation'} ${grant.for_id}`;

async function isWithinLimits(parts: CustodyParts, tx: Tx, at: number, mac: Mac, record: KeyRecord, request: GrantRequest): Promise<Problem | null> {
  const today = await grantsOf(tx, mac.id, at - day);
  const reason = reasonOf({ purpose: request.purpose, for_id: request.forId });
  if (today.some((grant) => reasonOf(grant) !== reason)) return new Problem('GRANT_LIMIT');
  // A first `false` is followed by its second look (K8), ten minutes later and not days: one proof, hence one reason.
  const looks = record.first_false_at !== null && record.refuted_at === null ? 2 : 1;
  const most = request.purpose === 'resolve' ? mostResolves : request.purpose === 'prove' ? looks : 1;
  if (today.filter((grant) => grant.purpose === request.purpose).length >= most) return new Problem('GRANT_LIMIT');
  if (request.purpose === 'resolve') return null;
  const stopped = (await openFleetAlarms(tx)).some((alarm) => alarm.code === 'GRANTS_STOPPED');
  if (!stopped && (await countGrants(tx, at - hour)) < parts.settings.grantsPerHour) return null;
  if (!stopped) await raise(parts, tx, at, null, 'GRANTS_STOPPED', `${parts.settings.grantsPerHour} in one hour until ${new Date(at).toISOString()}`);
  return new Problem('GRANT_LIMIT', 'too many Macs ask for their keys');
}

/** `POST /v1/grants`: `resolve` and `prove`; `rotate` comes only with `begin`. */
export async function grant(parts: CustodyParts, caller: Caller, request: GrantRequest): Promise<{ jwe: string }> {
  if (request.purpose === 'rotate') throw new Problem('GRANT_REFUSED', 'a key to rotate with comes with begin only');
  if (caller.standing !== 'active') throw new Problem('ENROLMENT_REVOKED');
  const outcome = await parts.act(async (tx, at) => (await repeatedGrant(parts, tx, at, caller, request)) ?? allowGrant(parts, tx, at, caller, request, null));
  if (outcome instanceof Problem) {
    parts.log.warn('grant-refused', { macId: caller.macId, code: outcome.code, detail: outcome.detail, requestId: caller.requestId });
    throw outcome;
  }
  return sealAllowed(parts, caller, outcome);
}
