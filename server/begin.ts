import { type BeginReply, type BeginRequest, oldestForBegin } from '../protocol/messages.ts';
import { Problem } from '../protocol/problems.ts';
import { stopsTheMac } from './alarms.ts';
import { audit } from './audit.ts';
import { movedAway } from './check-in-alarms.ts';
import { type CustodyParts, day, isoTime, minute, sameCase } from './custody-parts.ts';
import { type AllowedGrant, allowGrant, repeatedGrant, sealAllowed } from './grants.ts';
import { presentHold } from './holds.ts';
import { expireOrders } from './orders.ts';
import type { Caller, Tx } from './parts.ts';
import { delayOf } from './policies/delay.ts';
import { waitsInRing } from './rings/move.ts';
import { openAlarmsOf } from './store/alarms.ts';
import { openDebtsOf } from './store/debts.ts';
import { rotationOnItsWay } from './store/mdm.ts';
import { countBegins, insertRotation, openRotationOf, type Rotation, rotationById } from './store/rotations.ts';
import { enrolmentForCustody } from './store/sessions.ts';

const beginsPerDay = 3;
/** A Mac that is here fetches a command of its MDM within minutes. One that has not done so by then finds another key than the command has, and refuses it. */
const mdmAtWork = day;
const askAgain = 10 * minute;

interface Begun {
  rotation: Pick<Rotation, 'id' | 'begun_at'>;
  grant: AllowedGrant | null;
}

/** The server says that a key may be replaced now, and remembers it before the Mac does anything. A grant is given whole with it, or nothing is begun. */
export async function begin(parts: CustodyParts, caller: Caller, request: BeginRequest): Promise<BeginReply> {
  if (caller.standing !== 'active') throw new Problem('ENROLMENT_REVOKED');
  if (caller.protocol < oldestForBegin) throw new Problem('PROTOCOL_TOO_OLD');
  if (sameCase(request.hardwareUuid) !== sameCase(caller.hardwareUuid)) throw await movedAway(parts, caller, request.hardwareUuid, 'a begin');
  const outcome = await parts.act(async (tx, at): Promise<Begun | Problem> => {
    const before = await rotationById(tx, caller.macId, request.id);
    if (before) return again(parts, tx, at, caller, request, before);
    await expireOrders(tx, at);
    return (await refusal(parts, tx, at, caller, request)) ?? beginNow(parts, tx, at, caller, request);
  });
  if (outcome instanceof Problem) throw outcome;
  parts.log.info('rotation-begun', { macId: caller.macId, rotationId: outcome.rotation.id, because: request.because, requestId: caller.requestId });
  return {
    rotationId: outcome.rotation.id,
    begunAt: isoTime(outcome.rotation.begun_at),
    grant: outcome.grant ? await sealAllowed(parts, caller, outcome.grant) : null,
  };
}

/** The same id again: the same answer, counted once. A grant that was not asked for at first may still be. */
async function again(parts: CustodyParts, tx: Tx, at: number, caller: Caller, request: BeginRequest, rotation: Rotation): Promise<Begun | Problem> {
  if (rotation.state !== 'begun') return new Problem('ROTATION_NOT_OWED', 'this rotation has ended');
  if (rotation.enrolment_id !== caller.enrolmentId) return new Problem('ROTATION_OPEN', rotation.id);
  // Its first answer may be long past, and whoever asks again has not changed the key yet: a hold or an alarm of since then counts.
  const stopped = await stoppedNow(parts, tx, at, caller, rotation.volume);
  if (stopped) return stopped;
  if (!request.grant) return { rotation, grant: null };
  if (request.grant.purpose !== 'rotate') return new Problem('GRANT_REFUSED', 'begin gives a key to rotate with, and no other');
  const grant = (await repeatedGrant(parts, tx, at, caller, request.grant)) ?? (await allowGrant(parts, tx, at, caller, request.grant, rotation));
  return grant instanceof Problem ? grant : { rotation, grant };
}

async function stoppedNow(parts: CustodyParts, tx: Tx, at: number, caller: Caller, volume: string): Promise<Problem | null> {
  if ((await enrolmentForCustody(tx, caller.enrolmentId))?.status !== 'active') return new Problem('ENROLMENT_REVOKED');
  const alarm = stopsTheMac(await openAlarmsOf(tx, caller.macId));
  if (alarm) return new Problem('ROTATION_ALARM', alarm.code);
  const waits = await waitsInRing(tx, caller.macId);
  if (waits !== null) return new Problem('ROTATION_RING', waits);
  const byMdm = await rotationOnItsWay(tx, { id: caller.macId, hardwareUuid: sameCase(caller.hardwareUuid) }, at - mdmAtWork);
  if (byMdm) {
    const left = (byMdm.sent_at ?? at) + mdmAtWork - at;
    return new Problem('ROTATION_BY_MDM', `command ${byMdm.uuid}`, { retryAfterSeconds: Math.ceil(Math.min(left, askAgain) / 1000) });
  }
  const hold = await presentHold(parts, tx, at, caller.macId, volume);
  return hold && new Problem('ROTATION_WAIT', hold.because, { retryAfterSeconds: Math.ceil((hold.until - at) / 1000) });
}

async function refusal(parts: CustodyParts, tx: Tx, at: number, caller: Caller, request: BeginRequest): Promise<Problem | null> {
  const volume = sameCase(request.volume);
  const open = await openRotationOf(tx, caller.macId);
  if (open) return new Problem('ROTATION_OPEN', open.id);
  const stopped = await stoppedNow(parts, tx, at, caller, volume);
  if (stopped) return stopped;
  if (!parts.certificates.some((certificate) => certificate.digest === request.recipient)) return new Problem('RECIPIENT_NOT_ACCEPTED');
  const owed = await openDebtsOf(tx, caller.macId, volume);
  if (!owed.some((debt) => request.debtIds.includes(debt.id))) return new Problem('ROTATION_NOT_OWED');
  const delay = await delayOf(tx, at, caller.macId, owed);
  if (delay) return new Problem('ROTATION_WAIT', delay.because, { retryAfterSeconds: Math.ceil((delay.until - at) / 1000) });
  if ((await countBegins(tx, caller.macId, at - day)) >= beginsPerDay) return new Problem('ROTATION_LIMIT');
  return null;
}

async function beginNow(parts: CustodyParts, tx: Tx, at: number, caller: Caller, request: BeginRequest): Promise<Begun | Problem> {
  const { id, because, recipient, escrowPayload } = request;
  const rotation = { id, volume: sameCase(request.volume), begun_at: at };
  if (request.grant && request.grant.purpose !== 'rotate') return new Problem('GRANT_REFUSED', 'begin gives a key to rotate with, and no other');
  const grant = request.grant ? await allowGrant(parts, tx, at, caller, request.grant, rotation) : null;
  if (grant instanceof Problem) return grant;
  await insertRotation(tx, {
    ...rotation,
    mac_id: caller.macId,
    enrolment_id: caller.enrolmentId,
    because,
    boot: sameCase(request.boot),
    // C9: whose payload it happened under.
    escrow_payload: escrowPayload,
    recipient,
    state: 'begun',
    ended_at: null,
    ended_because: null,
  });
  await audit(tx, {
    at,
    actor: 'mac',
    act: 'rotation.begun',
    macId: caller.macId,
    details: { rotationId: id, because, volume: rotation.volume, recipient, escrowPayload, debtIds: request.debtIds, grantId: grant?.grantId ?? null },
  });
  return { rotation, grant };
}
