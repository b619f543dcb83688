import { randomUUID } from 'node:crypto';
import type { CheckInReply, CheckInRequest } from '../protocol/messages.ts';
import { Problem, type ProblemCode } from '../protocol/problems.ts';
import type { Standing } from './boot-note.ts';
import type { Finished, World } from './check-in.ts';
import { everyEnvelope } from './deliver.ts';
import { type Journal, type JournalFile, withCurrent, withSureTime } from './journal.ts';
import type { Observed } from './observe.ts';
import { knownRecords } from './prove.ts';
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

export type OpenRun = Run & { again(): Promise<CheckInReply>; reply: CheckInReply | null };

export async function openRun(world: World, it: Opening): Promise<OpenRun> {
  const { standing, journal, settings, managed, observed, uptime, finished } = it;
  let backend = await world.connect(world, { settings, managed, journal, standing, anew: null });
  finished.backend = backend;
  let nonce: string | null = null;
  const again = async (): Promise<CheckInReply> => {
    const request = reportOf(run);
    let reply: CheckInReply;
    try {
      reply = await run.ask.checkIn(request);
    } catch (cause) {
      if (!(cause instanceof Problem) || !enrolAnew.includes(cause.code) || backend.anew) throw cause;
      world.log('identity-set-aside', { because: cause.code });
      backend.close();
      backend = await world.connect(world, { settings, managed, journal, standing, anew: cause.code });
      finished.backend = backend;
      run.ask = backend.ask;
      run.sign = backend.sign;
      reply = await run.ask.checkIn(request);
    }
    await backend.confirm();
    nonce = reply.grantNonce;
    run.reply = reply;
    run.enrolmentId = reply.enrolmentId;
    finished.reply = reply;
    noteReply(run, reply);
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

/** As many as one check-in may carry; the rest is told by the next. */
const mostReported = { debts: 16, endings: 8 } as const;

/** What the backend is told: facts, what could be delivered, and everything that it has not confirmed yet. */
function reportOf(run: Run): CheckInRequest {
  const journal = run.journal.value;
  return {
    facts: { ...run.facts, uptimeSeconds: run.uptime() },
    offers: everyEnvelope(run)
      .slice(0, 12)
      .map((one) => one.envelopeId),
    debts: journal.debts
      .filter((debt) => !debt.confirmed)
      .slice(0, mostReported.debts)
      .map(({ confirmed: _, ...debt }) => debt),
    proofs: journal.proofs,
    endings: journal.endings.slice(0, mostReported.endings),
    rotation: rotationOf(journal),
    exhausted: journal.exhausted,
    problems: run.problems.slice(0, 16).map((one) => ({ code: one.code, ...(one.detail ? { detail: one.detail.slice(0, 256) } : {}) })),
  };
}

/** What the answer changes in the journal: confirmed reports go, closed debts go, and custody is what the answer says. */
function noteReply(run: Run, reply: CheckInReply): void {
  const journal = run.journal.value;
  const open = new Set(reply.debts.map((debt) => debt.id));
  const current = journal.current && { ...journal.current, held: reply.held?.envelopeIds.includes(journal.current.envelopeId) ?? false };
  const known = knownRecords(reply).map((record) => record.recordId);
  const sure = withSureTime(journal, Date.parse(reply.serverTime));
  const next: Partial<Journal> = {
    ...sure,
    doubts: sure.doubts.filter((doubt) => known.includes(doubt.recordId) || doubt.recordId.startsWith('recovery-key:')),
    clock: { serverTime: Date.parse(reply.serverTime), boot: run.facts.boot, uptime: run.uptime() },
    debts: journal.debts
      .map((debt) => (reply.confirmed.debts.includes(debt.id) ? { ...debt, confirmed: true } : debt))
      .filter((debt) => !debt.confirmed || open.has(debt.id)),
    proofs: journal.proofs.filter((proof) => !reply.confirmed.proofs.includes(proof.id)),
    endings: journal.endings.filter((ending) => !reply.confirmed.endings.includes(ending.rotationId)),
    ...(current ? withCurrent(journal, current) : {}),
  };
  run.journal.write(next);
}
