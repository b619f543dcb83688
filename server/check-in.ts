import type { CheckInReply, CheckInRequest, Facts } from '../protocol/messages.ts';
import { modeOf } from '../protocol/mode.ts';
import { Problem } from '../protocol/problems.ts';
import { settle } from './alarms.ts';
import { takeWordOfProfile } from './assignments.ts';
import { audit } from './audit.ts';
import { settleBrought } from './brought/settle.ts';
import { movedAway, watchEnrolments, watchForeignChanges, watchOtherMacs, watchSessions } from './check-in-alarms.ts';
import { answer, triesFor } from './check-in-answer.ts';
import { hasReports, takeReports } from './check-in-reports.ts';
import { type CustodyParts, day, sameCase } from './custody-parts.ts';
import { isFileOurs, lastFacts } from './custody-state.ts';
import { noteCheckIn } from './fleet/noting.ts';
import { endIfBackIn } from './holds.ts';
import { expireOrders } from './orders.ts';
import type { Caller, Tx } from './parts.ts';
import { orderProof, orderScheduledProof } from './proofs.ts';
import { settleRing } from './rings/move.ts';
import { isOnVolume } from './store/keys.ts';
import { keepCheckIn, type MacNow, macNow } from './store/mac-now.ts';
import { type Mac, noteForeignFile } from './store/macs.ts';
import { endRotation, openRotationOf, rotationDoneSince } from './store/rotations.ts';
import { forgetOldSessions, type Session } from './store/sessions.ts';
import { buildName, writeMemory } from './store/upkeep.ts';
import { waitsToKeep } from './waits.ts';

/** After it the agent replaces nothing before a proof (gate 5). */
const longSilence = 30 * day;
/** Boot sessions that are remembered of one enrolment. */
const sessionsKept = 64;

/**
 * The server's answer to a check-in: what the Mac said is stored and the answer read in one act. Of a Mac on which nothing is the
 * matter little is read, and written are the mark of the clock, its session, enrolment and Mac, and its row of lists (`memory`,
 * `session`, `enrolment`, `mac`, `fleet_row`; where lists are to say something else of it, `mac_dirty`; of a file that is somebody
 * else's, `foreign_file`): nothing of any other Mac, and nothing of the audit but for what is news.
 */
export async function checkIn(parts: CustodyParts, caller: Caller, request: CheckInRequest): Promise<CheckInReply> {
  if (caller.standing !== 'active') throw new Problem('ENROLMENT_REVOKED');
  if (sameCase(request.facts.hardwareUuid) !== sameCase(caller.hardwareUuid)) throw await movedAway(parts, caller, request.facts.hardwareUuid, 'a check-in');
  const act = hasReports(request) ? parts.act : <T>(work: (tx: Tx, at: number) => Promise<T>) => parts.actFor(caller, work);
  const reply = await act(async (tx, at) => {
    const facts: Facts = { ...request.facts, volume: sameCase(request.facts.volume), boot: sameCase(request.facts.boot) };
    const look = () => lookAt(tx, at, caller, facts);
    const found = await look();
    const before = found.mac;
    const heard: Heard = { before, factsBefore: lastFacts(before), facts, open: found.open };

    if (found.open.laterSession) await watchSessions(parts, tx, at, caller, facts.boot);
    if (found.open.otherEnrolments) await watchEnrolments(parts, tx, at, caller);
    const { present, session } = await remember(parts, tx, at, caller, heard, request, found.session);
    if (found.open.macsLike) await watchOtherMacs(parts, tx, at, present);
    await watchForeignChanges(parts, tx, at, before, facts);

    if (found.open.rotation) await leaveOtherVolume(tx, at, present);
    await takeWordOfProfile(tx, at, caller, facts, found.word);
    if (found.open.shown) await endIfBackIn(tx, at, before.id, facts.volume, { ...facts, sessionStart: session.session_start });
    const confirmed = await takeReports(parts, tx, at, { mac: present, caller, facts, session, request });
    const build = await rememberBuild(tx, facts, found.build);
    // Its own may be one as soon as its rotation has ended.
    if (found.open.ordersToExpire || found.open.rotation) await expireOrders(tx, at);
    // What was read before is what is so, unless one of these had something to do.
    const { laterSession, otherEnrolments, macsLike, rotation, shown, ordersToExpire } = found.open;
    const isStirred = laterSession || otherEnrolments || macsLike || rotation || shown || ordersToExpire;
    const now = isStirred || facts.foreignChanges || hasReports(request) ? await look() : { ...found, mac: present, build };

    const isOrdered = await orderDueProofs(parts, tx, at, heard, present.escrow_changed_at, now);
    if (now.open.brought) await settleBrought(parts, tx, at, before.id);
    if (now.open.ring) await settleRing(parts, tx, at, before.id, facts);
    await noteCheckIn(parts, tx, at, { before, facts, request, isListed: found.open.listed });
    const isMoved = isOrdered || now.open.brought || now.open.ring || before.merged_into !== null;
    return answer(parts, tx, at, { caller, facts, now: isMoved ? await look() : now, offers: request.offers, confirmed });
  });
  parts.log.info('check-in', { macId: caller.macId, custody: reply.custody, mode: modeOf(request.facts), requestId: caller.requestId });
  return reply;
}

async function lookAt(tx: Tx, at: number, { macId, enrolmentId }: Caller, { boot, volume, macosBuild }: Facts): Promise<MacNow> {
  const found = await macNow(tx, { macId, enrolmentId, boot, volume, build: buildName(macosBuild), at, triesSince: at - triesFor });
  if (!found) throw new Problem('MAC_UNKNOWN');
  return found;
}

/** What a Mac says, and what was known of it before. */
interface Heard {
  before: Mac;
  factsBefore: Facts | null;
  facts: Facts;
  open: MacNow['open'];
}

/** Reckoned by uptime alone; of several reckonings of one boot session the earliest holds, so that sleep never moves it past a disclosure. */
function sessionNow(at: number, { enrolmentId }: Caller, facts: Facts, before: Session | undefined): Session {
  const bootedAt = Math.floor(at - facts.uptimeSeconds * 1000);
  const start = Math.floor(at - Math.max(0, facts.uptimeSeconds - facts.firstRunUptimeSeconds) * 1000);
  return {
    enrolment_id: enrolmentId,
    boot: facts.boot,
    booted_at: Math.min(bootedAt, before?.booted_at ?? bootedAt),
    session_start: Math.min(start, before?.session_start ?? start),
    first_seen_at: before?.first_seen_at ?? at,
    last_seen_at: at,
  };
}

async function remember(
  parts: CustodyParts,
  tx: Tx,
  at: number,
  caller: Caller,
  { before, factsBefore, facts, open }: Heard,
  request: CheckInRequest,
  known: Session | undefined,
): Promise<{ present: Mac; session: Session }> {
  const session = sessionNow(at, caller, facts, known);
  const { file } = facts.escrow;
  const changed = before.last_seen_at !== null && file !== null && file.digest !== (factsBefore?.escrow.file?.digest ?? null);
  const changedAt = changed ? await changedSince(tx, at, before, open, request) : before.escrow_changed_at;
  const present: Mac = {
    ...before,
    last_seen_at: at,
    present_volume: facts.volume,
    facts: JSON.stringify(facts),
    agent_rotation: request.rotation ? JSON.stringify(request.rotation) : null,
    waits: waitsToKeep(before, request.problems, at),
    escrow_changed_at: changedAt,
  };
  await keepCheckIn(tx, present, session);
  if (!known) await forgetOldSessions(tx, caller.enrolmentId, sessionsKept);
  if (file && !isFileOurs(parts, file) && (await noteForeignFile(tx, before.id, file.digest, file.recipient, at)))
    await audit(tx, { at, actor: 'mac', act: 'key.foreign', macId: before.id, details: { envelopeId: file.digest, recipient: file.recipient } });
  return { present, session };
}

/**
 * macOS wrote another escrow file: since when, for custody. Our own rotation makes it write one: then that is why, and the key was
 * proved with it. While it is open on both sides, whichever key answers `true` at its end answers after that file.
 */
async function changedSince(tx: Tx, at: number, { id, last_seen_at: seenAt }: Mac, open: MacNow['open'], request: CheckInRequest): Promise<number> {
  const rotation = open.rotation ? await openRotationOf(tx, id) : undefined;
  const own = rotation && rotation.id === request.rotation?.id ? rotation : undefined;
  const explained = own ?? (seenAt === null ? undefined : await rotationDoneSince(tx, id, seenAt));
  return explained ? explained.begun_at : at;
}

/** The Mac started from another volume: what is open on the one before can only be found out there. Nothing is lost by that: its key would come as a candidate. */
async function leaveOtherVolume(tx: Tx, at: number, mac: Mac): Promise<void> {
  const open = await openRotationOf(tx, mac.id);
  if (!open || open.volume === mac.present_volume) return;
  await endRotation(tx, mac.id, open.id, 'not-known', 'the Mac started from another volume', at);
  await settle(tx, at, mac.id, 'ROTATION_SILENT', `rotation ${open.id}`, 'the Mac started from another volume');
  await audit(tx, { at, actor: 'server', act: 'rotation.ended', macId: mac.id, details: { rotationId: open.id, as: 'not-known', because: 'another volume' } });
}

/** On schedule, and when something changed that an old answer says nothing about; whether one was ordered. */
async function orderDueProofs(
  parts: CustodyParts,
  tx: Tx,
  at: number,
  { before: mac, factsBefore: before, facts }: Heard,
  fileChangedAt: number | null,
  { held: found, open }: MacNow,
): Promise<boolean> {
  if (!found || found.record.refuted_at !== null) return false;
  const { record: held, envelopes } = found;
  const file = facts.escrow.file?.digest ?? null;
  const isWitness = file !== null && envelopes.some((envelope) => envelope.id === file);
  const fileChanged = before !== null && file !== null && file !== (before.escrow.file?.digest ?? null) && !isWitness;
  // What puts custody in doubt until a `true` comes is asked about now, not when the schedule has it.
  const isUnexplained =
    file !== null && fileChangedAt !== null && (held.proved_at ?? 0) < fileChangedAt && !(await isOnVolume(tx, mac.id, facts.volume, file)) && !open.rotation;
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
  if (!because) return orderScheduledProof(parts, tx, at, held);
  await orderProof(parts, tx, at, held, because);
  return true;
}

/** An MDM migration takes the payload away and brings another, or the same: either may have changed the key (G1). One that could not be looked at is no other. */
const isOtherPayload = (before: Facts | null, { escrow }: Facts): boolean =>
  before !== null &&
  before.escrow.payload !== 'unknown' &&
  (escrow.payload === 'ours' || escrow.payload === 'foreign') &&
  (before.escrow.payload !== escrow.payload || before.escrow.location !== escrow.location);

/**
 * What one Mac has learned of its build of macOS, Macs without the setting `pilot` wait for. A Mac that lies makes others
 * try; a build that refuses then costs each of them one try, and the old key stays valid.
 */
async function rememberBuild(tx: Tx, { capability, macosBuild }: Facts, known: string | null): Promise<string | null> {
  if (known !== null || capability !== 'works' || !/^\d{2}[A-Z]\d{1,6}[a-z]?$/.test(macosBuild)) return known;
  await writeMemory(tx, buildName(macosBuild), 'works');
  return 'works';
}
