import type { CheckInReply, CheckInRequest, Facts } from '../protocol/messages.ts';
import { modeOf } from '../protocol/mode.ts';
import { Problem } from '../protocol/problems.ts';
import { settle, stops } from './alarms.ts';
import { takeWordOfProfile } from './assignments.ts';
import { audit } from './audit.ts';
import { mayTakeBrought, settleBrought } from './brought/settle.ts';
import { isBroughtRecord } from './brought/sources.ts';
import { movedAway, watchEnrolments, watchForeignChanges, watchOtherMacs, watchSessions } from './check-in-alarms.ts';
import { takeReports } from './check-in-reports.ts';
import { type CustodyParts, day, isoTime, minute, sameCase } from './custody-parts.ts';
import { counts, custodyNow, isFileOurs, lastFacts } from './custody-state.ts';
import { noteCheckIn } from './fleet/noting.ts';
import { endIfBackIn, presentHold } from './holds.ts';
import { makeNonce } from './nonce.ts';
import { expireOrders } from './orders.ts';
import type { Caller, Tx } from './parts.ts';
import { delayOf } from './policies/delay.ts';
import { orderProof, orderScheduledProof } from './proofs.ts';
import { answersOf, nameHeld, nameKey } from './replies.ts';
import { settleRing, waitsInRing } from './rings/move.ts';
import { openAlarmsOf } from './store/alarms.ts';
import { broughtEnvelopesAmong } from './store/brought.ts';
import { type Debt, openDebtsOf, orderById } from './store/debts.ts';
import { envelopesAmong, envelopesOfRecord, isOnVolume, onlyBroughtAmong, recordsOfVolume } from './store/keys.ts';
import { foreignAmong, type Mac, macById, noteForeignFile, updateMac } from './store/macs.ts';
import { openProofOrdersOf, triesSince } from './store/proofs.ts';
import { endRotation, openRotationOf, rotationDoneSince } from './store/rotations.ts';
import { forgetOldSessions, keepSession, type Session, sessionOf, updateEnrolment } from './store/sessions.ts';
import { buildName, readMemory, writeMemory } from './store/upkeep.ts';
import { waitsAsSaid, waitsToKeep } from './waits.ts';

/** After it the agent replaces nothing before a proof (gate 5). */
const longSilence = 30 * day;
/** Named in an answer, newest first: what one machine makes up must not make the answer too large for another. */
const mostCandidates = 32;
/** Boot sessions that are remembered of one enrolment. */
const sessionsKept = 64;

/** The server's answer to a check-in: what the Mac said is stored and the answer read in one act. */
export async function checkIn(parts: CustodyParts, caller: Caller, request: CheckInRequest): Promise<CheckInReply> {
  if (caller.standing !== 'active') throw new Problem('ENROLMENT_REVOKED');
  if (sameCase(request.facts.hardwareUuid) !== sameCase(caller.hardwareUuid)) throw await movedAway(parts, caller, request.facts.hardwareUuid, 'a check-in');
  const reply = await parts.act(async (tx, at) => {
    const mac = await macById(tx, caller.macId);
    if (!mac) throw new Problem('MAC_UNKNOWN');
    const facts: Facts = { ...request.facts, volume: sameCase(request.facts.volume), boot: sameCase(request.facts.boot) };

    await watchSessions(parts, tx, at, caller, facts.boot);
    const session = await rememberSession(tx, at, caller, facts);
    await watchEnrolments(parts, tx, at, caller);
    await updateEnrolment(tx, caller.enrolmentId, { last_seen_at: at });
    await rememberFacts(parts, tx, at, mac, facts, request);
    const present = (await macById(tx, mac.id)) ?? mac;
    await watchOtherMacs(parts, tx, at, present);
    await watchForeignChanges(parts, tx, at, mac, facts);

    await leaveOtherVolume(tx, at, present);
    await takeWordOfProfile(tx, at, caller, facts);
    await endIfBackIn(tx, at, mac.id, facts.volume, { ...facts, sessionStart: session.session_start });
    const confirmed = await takeReports(parts, tx, at, { mac: present, caller, facts, session, request });
    await rememberBuild(tx, facts);
    await expireOrders(tx, at);
    await orderDueProofs(parts, tx, at, mac, facts, present.escrow_changed_at);
    await settleBrought(parts, tx, at, mac.id);
    await settleRing(parts, tx, at, mac.id, facts);
    await noteCheckIn(parts, tx, at, mac, facts, request);
    return answer(parts, tx, at, caller, facts.volume, request.offers, confirmed);
  });
  parts.log.info('check-in', { macId: caller.macId, custody: reply.custody, mode: modeOf(request.facts), requestId: caller.requestId });
  return reply;
}

/** Reckoned by uptime alone; of several reckonings of one boot session the earliest holds, so that sleep never moves it past a disclosure. */
async function rememberSession(tx: Tx, at: number, caller: Caller, facts: Facts): Promise<Session> {
  const before = await sessionOf(tx, caller.enrolmentId, facts.boot);
  const bootedAt = Math.floor(at - facts.uptimeSeconds * 1000);
  const start = Math.floor(at - Math.max(0, facts.uptimeSeconds - facts.firstRunUptimeSeconds) * 1000);
  const session = {
    enrolment_id: caller.enrolmentId,
    boot: facts.boot,
    booted_at: Math.min(bootedAt, before?.booted_at ?? bootedAt),
    session_start: Math.min(start, before?.session_start ?? start),
    first_seen_at: before?.first_seen_at ?? at,
    last_seen_at: at,
  };
  await keepSession(tx, session);
  if (!before) await forgetOldSessions(tx, caller.enrolmentId, sessionsKept);
  return session;
}

async function rememberFacts(parts: CustodyParts, tx: Tx, at: number, mac: Mac, facts: Facts, request: CheckInRequest): Promise<void> {
  const { file } = facts.escrow;
  const before = lastFacts(mac);
  const changed = mac.last_seen_at !== null && file !== null && file.digest !== (before?.escrow.file?.digest ?? null);
  // Our own rotation makes macOS write a new file: then that is why, and the key was proved with it. While it is open on
  // both sides, whichever key answers `true` at its end answers after that file.
  const open = changed ? await openRotationOf(tx, mac.id) : undefined;
  const own = open && open.id === request.rotation?.id ? open : undefined;
  const explained = changed && mac.last_seen_at !== null ? (own ?? (await rotationDoneSince(tx, mac.id, mac.last_seen_at))) : undefined;
  await updateMac(tx, mac.id, {
    last_seen_at: at,
    present_volume: facts.volume,
    facts: JSON.stringify(facts),
    agent_rotation: request.rotation ? JSON.stringify(request.rotation) : null,
    waits: waitsToKeep(mac, request.problems, at),
    ...(changed ? { escrow_changed_at: explained ? explained.begun_at : at } : {}),
  });
  if (file && !isFileOurs(parts, file) && (await noteForeignFile(tx, mac.id, file.digest, file.recipient, at)))
    await audit(tx, { at, actor: 'mac', act: 'key.foreign', macId: mac.id, details: { envelopeId: file.digest, recipient: file.recipient } });
}

/** The Mac started from another volume: what is open on the one before can only be found out there. Nothing is lost by that: its key would come as a candidate. */
async function leaveOtherVolume(tx: Tx, at: number, mac: Mac): Promise<void> {
  const open = await openRotationOf(tx, mac.id);
  if (!open || open.volume === mac.present_volume) return;
  await endRotation(tx, mac.id, open.id, 'not-known', 'the Mac started from another volume', at);
  await settle(tx, at, mac.id, 'ROTATION_SILENT', `rotation ${open.id}`, 'the Mac started from another volume');
  await audit(tx, { at, actor: 'server', act: 'rotation.ended', macId: mac.id, details: { rotationId: open.id, as: 'not-known', because: 'another volume' } });
}

/** On schedule, and when something changed that an old answer says nothing about. `mac` is as it was before. */
async function orderDueProofs(parts: CustodyParts, tx: Tx, at: number, mac: Mac, facts: Facts, fileChangedAt: number | null): Promise<void> {
  const held = (await recordsOfVolume(tx, mac.id, facts.volume)).find((record) => record.state === 'held');
  if (!held || held.refuted_at !== null) return;
  const before = lastFacts(mac);
  const file = facts.escrow.file?.digest ?? null;
  const isWitness = file !== null && (await envelopesOfRecord(tx, held.id)).some((envelope) => envelope.id === file);
  const fileChanged = before !== null && file !== null && file !== (before.escrow.file?.digest ?? null) && !isWitness;
  // What puts custody in doubt until a `true` comes is asked about now, not when the schedule has it.
  const isUnexplained =
    file !== null &&
    fileChangedAt !== null &&
    (held.proved_at ?? 0) < fileChangedAt &&
    !(await isOnVolume(tx, mac.id, facts.volume, file)) &&
    (await openRotationOf(tx, mac.id)) === undefined;
  const provedSince = mac.last_seen_at !== null && (held.proved_at ?? 0) >= mac.last_seen_at;
  const because =
    before && before.macosBuild !== facts.macosBuild
      ? 'another build of macOS'
      : before && ['off', 'encrypting', 'decrypting'].includes(before.fileVault.state) && facts.fileVault.state === 'on'
        ? 'FileVault is on again'
        : before && before.volume !== facts.volume
          ? 'another volume'
          : (fileChanged && !provedSince) || isUnexplained
            ? 'another escrow file'
            : isOtherPayload(before, facts)
              ? 'another escrow payload'
              : mac.last_seen_at !== null && at - mac.last_seen_at > longSilence
                ? 'it was silent for more than 30 days'
                : null;
  if (because) await orderProof(parts, tx, at, held, because);
  else await orderScheduledProof(parts, tx, at, held);
}

/** An MDM migration takes the payload away and brings another, or the same: either may have changed the key (G1). One that could not be looked at is no other. */
const isOtherPayload = (before: Facts | null, { escrow }: Facts): boolean =>
  before !== null &&
  before.escrow.payload !== 'unknown' &&
  (escrow.payload === 'ours' || escrow.payload === 'foreign') &&
  (before.escrow.payload !== escrow.payload || before.escrow.location !== escrow.location);

const parseBuild = (facts: string | null): string => (facts ? (JSON.parse(facts) as Facts).macosBuild : '');

/**
 * What one Mac has learned of its build of macOS, Macs without the setting `pilot` wait for. A Mac that lies makes others
 * try; a build that refuses then costs each of them one try, and the old key stays valid.
 */
async function rememberBuild(tx: Tx, { capability, macosBuild }: Facts): Promise<void> {
  if (capability !== 'works' || !/^\d{2}[A-Z]\d{1,6}[a-z]?$/.test(macosBuild)) return;
  if ((await readMemory(tx, buildName(macosBuild))) === null) await writeMemory(tx, buildName(macosBuild), 'works');
}

async function answer(
  parts: CustodyParts,
  tx: Tx,
  at: number,
  { macId, enrolmentId, confirmed: confirmedCaller }: Caller,
  volume: string,
  offers: readonly string[],
  confirmed: CheckInReply['confirmed'],
): Promise<CheckInReply> {
  const mac = await macById(tx, macId);
  if (!mac) throw new Error('a Mac that has just checked in is not there');
  const known = new Set([...(await envelopesAmong(tx, macId, offers)), ...(await foreignAmong(tx, macId, offers))]);
  if (confirmedCaller) for (const { id } of await onlyBroughtAmong(tx, macId, offers, volume)) known.delete(id);
  // Others brought them for its serial number: they are its own when it is beyond doubt that it is that Mac.
  const brought = await broughtEnvelopesAmong(tx, offers);
  if (brought.length > 0 && !(await mayTakeBrought(tx, { macId, serial: mac.serial, confirmed: confirmedCaller }))) for (const id of brought) known.add(id);
  const custody = await custodyNow(parts, tx, mac, at);
  const hold = await presentHold(parts, tx, at, macId, volume);
  const rotation = await openRotationOf(tx, macId);
  const records = await recordsOfVolume(tx, macId, volume);
  const proofOrders = await proofOrdersFor(tx, at, mac, records);
  const waits = await waitsInRing(tx, macId);
  const debts = await openDebtsOf(tx, macId, volume);
  // Of what is paid nothing waits any more.
  if (debts.length === 0 && mac.waits !== null) await updateMac(tx, macId, { waits: null });
  const delay = await delayOf(tx, at, macId, debts);
  const later = [...proofOrders.later, ...(delay ? [delay.until] : [])];
  return {
    serverTime: isoTime(at),
    macId,
    enrolmentId,
    custody: custody.state,
    because: custody.because,
    wanted: [...new Set(offers)].filter((id) => !known.has(id)),
    held: await nameHeld(tx, macId, volume),
    candidates: await Promise.all(
      records
        .filter((record) => record.state === 'candidate' && counts(record))
        .slice(0, mostCandidates)
        .map((record) => nameKey(tx, record)),
    ),
    confirmed,
    // What waits for our payload, or for its policy, is not told: it would be refused.
    debts: waits === null && delay === null ? await debtsFor(tx, debts) : [],
    withheld: waits ?? delay?.because ?? null,
    waits: debts.length === 0 ? null : waitsAsSaid(mac),
    hold: hold && { since: isoTime(hold.since), until: isoTime(hold.until), because: hold.because },
    proofOrders: proofOrders.due,
    answers: await answersOf(tx, records),
    tries: (await triesSince(tx, macId, at - 7 * day)).map(isoTime),
    recipients: parts.certificates.map((certificate) => certificate.digest),
    rotation: rotation ? { id: rotation.id, begunAt: isoTime(rotation.begun_at) } : null,
    grantNonce: makeNonce(parts.secrets.nonce, 'grant', at, macId),
    alarms: (await openAlarmsOf(tx, macId)).filter(stops).map((alarm) => alarm.code),
    buildWorks: (await readMemory(tx, buildName(parseBuild(mac.facts)))) !== null,
    nextCheckInSeconds: Math.max(1, Math.ceil(Math.min(parts.settings.checkInMinutes * minute, ...later.map((time) => time - at)) / 1000)),
    spreadSeconds: parts.settings.spreadSeconds,
    ...(parts.settings.waitSeconds > 0 ? { waitSeconds: parts.settings.waitSeconds } : {}),
  };
}

async function debtsFor(tx: Tx, open: readonly Debt[]): Promise<CheckInReply['debts']> {
  const debts: CheckInReply['debts'] = [];
  for (const debt of open) {
    const order = debt.order_id === null ? undefined : await orderById(tx, debt.order_id);
    debts.push({
      id: debt.id,
      because: debt.because as CheckInReply['debts'][number]['because'],
      since: isoTime(debt.opened_at),
      orderId: debt.order_id,
      withoutLogin: order?.without_login === 1,
    });
  }
  return debts;
}

/** Those that are due, and when the others will be: the Mac comes back for them. */
async function proofOrdersFor(
  tx: Tx,
  at: number,
  { id: macId, escrow_changed_at: changedAt }: Mac,
  records: Awaited<ReturnType<typeof recordsOfVolume>>,
): Promise<{ due: CheckInReply['proofOrders']; later: number[] }> {
  const due: CheckInReply['proofOrders'] = [];
  const later: number[] = [];
  for (const order of await openProofOrdersOf(tx, macId)) {
    const record = records.find((one) => one.id === order.record_id && (one.state === 'held' || one.state === 'candidate'));
    if (!record) continue;
    if (order.not_before > at) {
      later.push(order.not_before);
      continue;
    }
    const { recordId, envelopeIds } = await nameKey(tx, record);
    due.push({ id: order.id, recordId, envelopeIds });
  }
  // macOS writes its file when it makes a key: since then a key that others brought is likelier than one that was proved before.
  const isBrought = due.some(({ recordId }) =>
    records.some((one) => one.id === recordId && one.state === 'candidate' && one.unverified === 0 && isBroughtRecord(one.source)),
  );
  const old = records.find((one) => one.state === 'held' && (one.proved_at ?? 0) < (changedAt ?? 0))?.id;
  // What strangers say comes last: each wrong key costs a try, and each that is given costs the day.
  const unverified = new Set(records.filter((one) => one.unverified === 1).map(({ id }) => id));
  const rank = ({ recordId }: { recordId: string }) => (unverified.has(recordId) ? 2 : isBrought && recordId === old ? 1 : 0);
  return { due: due.toSorted((one, other) => rank(one) - rank(other)), later };
}
