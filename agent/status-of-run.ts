import type { Facts } from '../protocol/messages.ts';
import { sayMode } from '../protocol/mode.ts';
import { isProblemCode } from '../protocol/problems.ts';
import type { Finished } from './check-in.ts';
import type { Versions } from './observe.ts';
import { changedByOthers } from './others.ts';
import type { PublicStatus } from './status.ts';

/**
 * What a run leaves for everybody to read. Null where nothing is known of its machine, now and before. What only the backend knows
 * stays as it was when the backend was not reached; `lastAnswerAt` says how old that is.
 */
export function statusOf(finished: Finished, versions: Versions, now: number, before: PublicStatus | null): PublicStatus | null {
  const { standing, journal, read, reply, observed, backend } = finished;
  // A journal that may not be touched: what was known stays, and why the run ended is said.
  if (!standing || !journal)
    return before && { ...before, at: new Date(now).toISOString(), lastRun: { did: finished.did, code: finished.code }, problems: finished.problems };
  const { clock, rotation, identity } = journal.value;
  const facts = observed?.facts ?? null;
  const sameMac = before !== null && before.serial === standing.serial;
  const waiting = reply && !rotation && reply.debts[0] ? { because: reply.debts[0].because, state: 'waiting' as const, says: finished.did } : null;
  return {
    version: 1,
    agentVersion: versions.agent,
    at: new Date(now).toISOString(),
    lastRun: { did: finished.did, code: finished.code },
    lastAnswerAt: reply ? new Date(now).toISOString() : clock ? new Date(clock.serverTime).toISOString() : null,
    server: read?.settings?.serverUrl ?? null,
    serial: standing.serial,
    macosVersion: standing.macosVersion,
    macosBuild: standing.macosBuild,
    fileVault: facts?.fileVault ?? { state: 'unknown', hasRecoveryKey: 'unknown' },
    custody: reply ? { state: reply.custody, because: reply.because } : sameMac ? before.custody : null,
    keys: reply ? (reply.answers ?? []) : ((sameMac ? before.keys : null) ?? []),
    rotation: rotation ? { because: rotation.because, state: rotation.state, says: finished.did } : waiting,
    hold: reply ? (reply.hold ? { since: reply.hold.since, until: reply.hold.until } : null) : sameMac ? before.hold : null,
    escrow: {
      payload: facts?.escrow.payload ?? 'unknown',
      owner: read?.settings?.escrowOwner ?? 'auto',
      rotator: read?.settings?.rotator ?? 'sparekey',
      says: facts ? sayMode(facts) : 'nothing is known about it yet',
    },
    identity: backend
      ? { way: backend.way, notAfter: backend.notAfter, enrolmentId: reply?.enrolmentId ?? backend.enrolmentId }
      : identity
        ? { way: identity.way, notAfter: identity.notAfter, enrolmentId: identity.enrolmentId }
        : null,
    custodyMode: { mode: facts?.custodyMode ?? 'server', because: observed?.custodyBecause ?? 'nothing is known about this Mac yet' },
    settings: {
      managed: read?.state === 'managed',
      unmanagedSince: read?.unmanagedSince ?? null,
      problems: (read?.problems ?? []).map(({ name, says }) => ({ name, says })),
    },
    capability: facts?.capability ?? 'unknown',
    adoption: facts ? adoptionOf(facts) : (sameMac && before.adoption) || null,
    changedByOthers: changedByOthers(journal.value, clock ? clock.serverTime : now) ?? null,
    problems: finished.problems,
    ...(sameMac && before.jobSaw ? { jobSaw: before.jobSaw } : {}),
  };
}

const adoptionOf = ({ adoption }: Facts): NonNullable<PublicStatus['adoption']> | null =>
  adoption && isProblemCode(adoption.code) ? { ...adoption, code: adoption.code } : null;
