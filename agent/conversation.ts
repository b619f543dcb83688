import { randomUUID } from 'node:crypto';
import type { CheckInReply, CheckInRequest } from '../protocol/messages.ts';
import { Problem, type ProblemCode } from '../protocol/problems.ts';
import { waitsCodes } from '../protocol/waits.ts';
import type { Standing } from './boot-note.ts';
import type { Finished, World } from './check-in.ts';
import { afterAnswer, keepComing, readComing, urgencyOf } from './coming.ts';
import { everyEnvelope } from './deliver.ts';
import { type Journal, type JournalFile, withCurrent, withSureTime } from './journal.ts';
import type { Observed } from './observe.ts';
import { changedByOthers, lookForSuspects, noteProfiles } from './others.ts';
import { paceAtAnswer } from './pace.ts';
import { knownRecords } from './prove.ts';
import { reckonedNow } from './refusals.ts';
import type { Run } from './run-of-agent.ts';
import type { Settings } from './settings-table.ts';

/*
 * What a run says to the backend, and what the answer changes here. A run checks in as often as it has something new to say:
 * what the backend confirms goes from the journal, and nothing else does.
 */

/** With any of these the identity is of no use any more, and the same run enrols anew. */
const enrolAnew: readonly ProblemCode[] = ['CERTIFICATE_UNKNOWN', 'CERTIFICATE_REPLACED', 'CERTIFICATE_EXPIRED', 'IDENTITY_MOVED'];

export interface Opening {
  standing: Standing;
  journal: JournalFile;
  settings: Settings;
  managed: boolean;
  observed: Observed;
  uptime: () => number;
  finished: Finished;
}

/** `again` checks in once more; `waitSeconds`: the backend may keep its answer for so long, until there is something new, or until `signal`. */
export type OpenRun = Run & { again(waitSeconds?: number, signal?: AbortSignal): Promise<CheckInReply>; reply: CheckInReply | null };

export async function openRun(world: World, it: Opening): Promise<OpenRun> {
  const { standing, journal, settings, managed, observed, uptime, finished } = it;
  let backend = await world.connect(world, { settings, managed, journal, standing, anew: null });
  finished.backend = backend;
  let nonce: string | null = null;
  const again = async (waitSeconds = 0, signal?: AbortSignal): Promise<CheckInReply> => {
    await lookForSuspects(run);
    const request = reportOf(run);
    const how = { urgent: urgencyOf(journal.value, false) === 'now', waitSeconds, ...(signal ? { signal } : {}) };
    let reply: CheckInReply;
    try {
      reply = await run.ask.checkIn(request, how);
    } catch (cause) {
      if (!(cause instanceof Problem) || !enrolAnew.includes(cause.code) || backend.anew) throw cause;
      world.log('identity-set-aside', { because: cause.code });
      backend.close();
      backend = await world.connect(world, { settings, managed, journal, standing, anew: cause.code });
      finished.backend = backend;
      run.ask = backend.ask;
      run.sign = backend.sign;
      reply = await run.ask.checkIn(request, how);
    }
    await backend.confirm();
    nonce = reply.grantNonce;
    run.reply = reply;
    run.enrolmentId = reply.enrolmentId;
    finished.reply = reply;
    noteReply(run, reply);
    const coming = readComing(world.disk);
    keepComing(world.disk, coming, afterAnswer(coming, world.now(), reply.spreadSeconds));
    return reply;
  };
  const run: OpenRun = {
    id: randomUUID(),
    runner: world.runner,
    disk: world.disk,
    keys: world.keys,
    ask: backend.ask,
    enrolmentId: backend.enrolmentId ?? '',
    sign: backend.sign,
    async takeNonce() {
      const taken = nonce ?? (await again()).grantNonce;
      nonce = null;
      return taken;
    },
    journal,
    settings,
    escrowCertificate: settings.escrowCertificate,
    facts: observed.facts,
    settled: observed.settled,
    log: world.log,
    now: world.now,
    uptime,
    wait: world.wait,
    stopping: world.stopping,
    refused: [],
    problems: finished.problems,
    again,
    reply: null,
  };
  return run;
}

/** The open rotation, or one that ended here without an answer: custody is in doubt until there is one. */
function rotationOf({ rotation, notKnown }: Readonly<Journal>): CheckInRequest['rotation'] {
  if (rotation) return { id: rotation.id, state: rotation.state, because: rotation.because };
  return notKnown && { ...notKnown, state: 'unresolved' };
}

const mostOffers = 12;
/** As many as one check-in may carry; the rest is told by the next. */
const mostReported = { debts: 16, endings: 8 } as const;

/** What the journal holds, and macOS's escrow file as it lies there, which may have been delivered long ago and forgotten by a restored backend. */
function offersOf(run: Run): string[] {
  const kept = everyEnvelope(run).map((one) => one.envelopeId);
  const { escrowSeen } = run.journal.value;
  const file = escrowSeen?.ours && !kept.includes(escrowSeen.digest) ? [escrowSeen.digest] : [];
  return [...kept.slice(0, mostOffers - file.length), ...file];
}

/** What the backend is told: facts, what could be delivered, and everything that it has not confirmed yet. */
function reportOf(run: Run): CheckInRequest {
  const journal = run.journal.value;
  const foreignChanges = changedByOthers(journal, reckonedNow(run));
  return {
    facts: { ...run.facts, uptimeSeconds: run.uptime(), ...(foreignChanges ? { foreignChanges } : {}) },
    offers: offersOf(run),
    debts: journal.debts
      .filter((debt) => !debt.confirmed)
      .slice(0, mostReported.debts)
      .map(({ confirmed: _, ...debt }) => debt),
    proofs: journal.proofs,
    endings: journal.endings.slice(0, mostReported.endings),
    rotation: rotationOf(journal),
    exhausted: journal.exhausted,
    problems: [
      ...(run.waits ? [{ code: run.waits.lasting ? waitsCodes.lasting : waitsCodes.passing, detail: run.waits.says }] : []),
      ...run.problems.slice(0, 15).map((one) => ({ code: one.code, ...(one.detail ? { detail: one.detail.slice(0, 256) } : {}) })),
    ],
  };
}

/** What the answer changes in the journal: confirmed reports go, closed debts go, and custody is what the answer says. */
function noteReply(run: Run, reply: CheckInReply): void {
  const journal = run.journal.value;
  const open = new Set(reply.debts.map((debt) => debt.id));
  const current = journal.current && { ...journal.current, held: reply.held?.envelopeIds.includes(journal.current.envelopeId) ?? false };
  const known = knownRecords(reply).map((record) => record.recordId);
  const now = Date.parse(reply.serverTime);
  const sure = withSureTime(journal, now);
  const next: Partial<Journal> = {
    ...sure,
    // No answer has reached this journal yet, so the one before it is gone, and with it how many keys were tried: the backend
    // remembers those that it knows of (gate 3), among them what this check-in told, and those that a damaged one was taken for.
    ...(journal.clock === null
      ? {
          refusals: [
            ...sure.refusals.slice(journal.proofs.filter((proof) => proof.answer !== 'true').length),
            ...(reply.tries ?? [])
              .slice(sure.refusals.filter((one) => one.id.startsWith('lost-')).length)
              .map((at, n) => ({ id: `told-${n}`, at: Date.parse(at), settled: true })),
          ],
        }
      : {}),
    pace: paceAtAnswer(journal.pace, run.facts.macosBuild, now, journal.clock?.serverTime ?? null),
    ...noteProfiles(journal, run.facts, reply),
    doubts: sure.doubts.filter((doubt) => known.includes(doubt.recordId) || doubt.recordId.startsWith('recovery-key:')),
    clock: { serverTime: now, boot: run.facts.boot, uptime: run.uptime() },
    debts: journal.debts
      .map((debt) => (reply.confirmed.debts.includes(debt.id) ? { ...debt, confirmed: true } : debt))
      .filter((debt) => !debt.confirmed || open.has(debt.id)),
    proofs: journal.proofs.filter((proof) => !reply.confirmed.proofs.includes(proof.id)),
    endings: journal.endings.filter((ending) => !reply.confirmed.endings.includes(ending.rotationId)),
    ...(current ? withCurrent(journal, current) : {}),
    ...lookAgain(run, reply),
  };
  run.journal.write(next);
}

/** An escrow file that was delivered and is wanted again: the next run takes it for one that it has not seen, as that of the rotation that it came from. */
function lookAgain(run: Run, reply: CheckInReply): Partial<Journal> {
  const { escrowSeen } = run.journal.value;
  const isGone = escrowSeen !== null && reply.wanted.includes(escrowSeen.digest) && !everyEnvelope(run).some((one) => one.envelopeId === escrowSeen.digest);
  return isGone ? { escrowSeen: null, ownEscrowChangeDue: true } : {};
}
