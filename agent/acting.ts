import type { CheckInReply } from '../protocol/messages.ts';
import { Problem, problems } from '../protocol/problems.ts';
import { nobodyHasTheKey } from './adoption-note.ts';
import type { Finished, World } from './check-in.ts';
import { nextCheckIn, placeOf } from './coming.ts';
import type { OpenRun } from './conversation.ts';
import { type Decision, decide, type Situation } from './decide.ts';
import { deliverWanted } from './deliver.ts';
import { noticeEscrowFile, withEscrowFile } from './escrow-file.ts';
import { changeIsRunning } from './mac/fdesetup.ts';
import { updateBeingPrepared } from './mac/system.ts';
import { mayChange, nextTry, noOrderComes } from './pace.ts';
import { paths } from './paths.ts';
import { noteExhausted, prove } from './prove.ts';
import { isSecondLook, mayTry, reckonedNow } from './refusals.ts';
import type { Taken } from './requests.ts';
import { awaitsReceipt, resolve } from './resolve.ts';
import { type Outcome, rotate } from './rotate.ts';
import type { Run } from './run-of-agent.ts';

/*
 * A run after the backend has answered: deliver what it wants, end what was interrupted, decide, act, and say what came of it.
 */

export async function finishRun(world: World, run: OpenRun, finished: Finished, early: Outcome | null, requests: readonly Taken[]): Promise<void> {
  let reply = run.reply as CheckInReply;
  let delivered = await deliverWanted(run, reply);
  if (delivered) reply = await run.again();
  let resolved = (await resolve(run, reply)) ?? early;
  if (resolved) {
    delivered = true;
    // Told to stop: what is safe on this Mac is delivered by the next run.
    if (!world.stopping()) reply = await run.again();
  }
  // The backend has just taken macOS's answer: now the receipt says `held`, and nothing has to be tried for it.
  if (awaitsReceipt(run) && !world.stopping()) {
    resolved = (await resolve(run, reply)) ?? resolved;
    reply = await run.again();
  }
  noteExhausted(run, reply);
  const decisionBy = await situationOf(world, run, reply, finished);
  const decision = decide(decisionBy);
  finished.decision = decision;
  let outcome = await act(world, run, reply, decision);
  const request = requests.find((one) => one.kind === 'adopt') ?? null;
  const mayAdopt = request !== null || nobodyHasTheKey(run, reply) || run.facts.adoption !== undefined;
  if (mayAdopt && !outcome.rotated && run.journal.value.rotation === null && !world.stopping()) {
    const { adopt } = await import('./adopt.ts');
    if (outcome.acted) reply = await run.again();
    const adopted = await adopt({ world, run, reply, request, situation: await situationOf(world, run, reply, finished, true) });
    finished.adopted = adopted.adopted;
    outcome = { acted: outcome.acted || adopted.acted, rotated: adopted.rotated, did: adopted.did ?? outcome.did };
    if (finished.observed) finished.observed.facts = run.facts;
  }
  if (outcome.acted && !world.stopping()) {
    // fdesetup gave no key, or macOS could not be asked: what can be found out now is found out now.
    if (run.journal.value.rotation) await resolveAtOnce(world, run, finished, outcome);
    // macOS writes its own envelope of a new key a moment after fdesetup: a second witness, best delivered at once.
    if (outcome.rotated) await noticeWitness(world, run, finished);
    reply = await run.again();
    if (await deliverWanted(run, reply)) reply = await run.again();
    noteExhausted(run, reply);
    if (run.journal.value.exhausted !== decisionBy.exhausted) reply = await run.again();
  }
  finished.rotated = outcome.rotated || resolved?.done === true;
  finished.did =
    outcome.did ??
    (resolved && resolved.done !== true
      ? resolved.because
      : resolved
        ? 'an interrupted rotation was brought to its end'
        : delivered
          ? 'delivered what the backend wanted'
          : nothingBut(decision));
  finished.quietSeconds = quietSeconds(world, run, reply);
  if (!finished.rotated && !world.stopping()) await tellWhy(run, reply, decision, finished.did);
  if (outcome.acted || delivered) world.log('checked-in', { custody: reply.custody, did: finished.did });
  else world.log('nothing-to-do', { custody: reply.custody });
}

/**
 * Why what is owed is not done yet: whoever ordered it reads it in the console. Only where the backend asks for it, and knows it
 * otherwise; a hold, and a rotation that is under way, it sees by itself.
 */
async function tellWhy(run: OpenRun, reply: CheckInReply, decision: Decision, did: string): Promise<void> {
  if (reply.waits === undefined || reply.debts.length === 0 || reply.hold || run.journal.value.rotation) return;
  const needsPerson = run.problems.some(({ code }) => problems[code].retry === 'after-help');
  const lasting = decision.do === 'nothing' ? decision.lasting === true : decision.do === 'ask for help' || needsPerson;
  const says = (decision.do === 'nothing' ? decision.because : did).slice(0, 256);
  if (says === reply.waits) return;
  run.waits = { says, lasting };
  try {
    await run.again();
  } catch (cause) {
    // What was done is done, and the next run says it.
    if (!(cause instanceof Problem) || cause.kind.exit === 70) throw cause;
  }
}

const nothingBut = (decision: Decision): string => (decision.do === 'nothing' ? `nothing, because ${decision.because}` : decision.because);

async function situationOf(world: World, run: Run, reply: CheckInReply, finished: Finished, adopting = false): Promise<Situation> {
  const journal = run.journal.value;
  const isNewest = (order: { envelopeIds: readonly string[] }): boolean => order.envelopeIds.includes(journal.current?.envelopeId ?? '');
  const owed = adopting || reply.debts.length > 0 || reply.proofOrders.length > 0;
  const { certificateDigest } = await import('../protocol/envelope.ts');
  const now = reckonedNow(run);
  const build = run.facts.macosBuild;
  // A second look that would come too early tells nothing, and a refuted key is not asked about again.
  const isDue = (recordId: string): boolean => {
    const doubt = journal.doubts.find((one) => one.recordId === recordId);
    return !doubt || (!doubt.refuted && isSecondLook(run, doubt.first));
  };
  return {
    facts: run.facts,
    settled: run.settled,
    reply: {
      ...reply,
      // The newest key first: after a restore the backend may take an older one for the held key.
      proofOrders: reply.proofOrders.filter((order) => isDue(order.recordId)).toSorted((one, other) => Number(isNewest(other)) - Number(isNewest(one))),
    },
    exhausted: journal.exhausted,
    recipient: certificateDigest(run.escrowCertificate),
    rotationOpen: journal.rotation !== null,
    outboxEmpty: journal.outbox.length === 0,
    mayTry: mayTry(journal, now, run.settled),
    usedChanged: journal.session?.usedChanged ?? false,
    now,
    foreignChanges: journal.foreignChanges,
    capability: run.facts.capability,
    pilot: run.settings.pilot,
    mayChange: mayChange(journal.pace, now),
    retryAt: nextTry(journal.pace, build, now),
    provedOnThisBuild: journal.lastProof?.build === build && journal.pace.proofDue === null,
    proofFirst:
      journal.proofRefusedFor !== build &&
      !noOrderComes(journal.pace, reply.proofOrders.length > 0, now) &&
      (journal.pace.proofDue !== null ||
        (journal.capability !== null && journal.capability.build !== build) ||
        (journal.lastProof !== null && journal.lastProof.build !== build)),
    payloadChangedAt: journal.payload?.since ?? null,
    payloadUnproved: journal.proofRefusedFor !== build && (journal.lastProof?.at ?? 0) < (journal.payload?.since ?? 0),
    // Asked only where something is owed: a quiet run starts no command for it.
    changeRunning: owed ? await changeIsRunning(run.runner) : 'no',
    updateBeingPrepared: owed ? await updateBeingPrepared(run.runner, run.disk) : 'no',
    freeBytes: owed ? run.disk.freeBytes(paths.state) : Number.MAX_SAFE_INTEGER,
    certificateDays: finished.backend ? (Date.parse(finished.backend.notAfter) - now) / (24 * 60 * 60 * 1000) : 0,
    stopping: world.stopping(),
  };
}

async function act(world: World, run: Run, reply: CheckInReply, decision: Decision): Promise<{ acted: boolean; rotated: boolean; did: string | null }> {
  if (decision.do === 'nothing') return { acted: false, rotated: false, did: null };
  if (decision.do === 'ask for help') {
    run.problems.push({ code: decision.code, detail: decision.because });
    world.log('needs-help', { code: decision.code });
    return { acted: true, rotated: false, did: decision.because };
  }
  if (decision.do === 'prove') {
    world.progress('asking macOS whether the key opens this Mac');
    try {
      const answer = await prove(run, decision, reply);
      return { acted: true, rotated: false, did: `asked macOS whether the held key opens this Mac: ${answer}` };
    } catch (cause) {
      if (!(cause instanceof Problem) || cause.kind.exit === 69 || cause.kind.exit === 70) throw cause;
      run.problems.push({ code: cause.code, ...(cause.detail ? { detail: cause.detail } : {}) });
      // Such a Mac is given its key for what an admin ordered and for nothing else: step 3 of that rotation is its proof.
      if (cause.code === 'GRANT_REFUSED' && run.facts.settings.managed) run.journal.write({ proofRefusedFor: run.facts.macosBuild });
      return { acted: false, rotated: false, did: `a proof is due, but ${cause.message}` };
    }
  }
  world.progress('replacing the recovery key');
  const outcome = await rotate(run, reply, decision.because, decision.debts);
  const did = outcome.done === true ? `replaced the recovery key, because ${decision.because}` : outcome.because;
  return { acted: true, rotated: outcome.done === true, did };
}

async function resolveAtOnce(world: World, run: OpenRun, finished: Finished, outcome: { rotated: boolean; did: string | null }): Promise<void> {
  if (run.stopping()) return;
  await noticeWitness(world, run, finished);
  let resolved = await resolve(run, await run.again());
  if (awaitsReceipt(run)) resolved = (await resolve(run, await run.again())) ?? resolved;
  if (!resolved) return;
  outcome.rotated = resolved.done === true;
  outcome.did = resolved.done === true ? 'replaced the recovery key, which macOS did not report' : resolved.because;
}

async function noticeWitness(world: World, run: Run, finished: Finished): Promise<void> {
  const noticed = await noticeEscrowFile(world, run.journal.value, run.escrowCertificate);
  const change = withEscrowFile(run.journal.value, noticed, reckonedNow(run));
  if (Object.keys(change).length > 0) run.journal.write(change);
  const seen = run.journal.value.escrowSeen;
  run.facts = { ...run.facts, escrow: { ...run.facts.escrow, file: seen ? { digest: seen.digest, recipient: seen.recipient, ours: seen.ours } : null } };
  if (finished.observed) finished.observed.facts = run.facts;
}

/** Quiet only when nothing is owed: what waits for a login or for the end of a hold is looked at in every wake-up. */
function quietSeconds(world: World, run: Run, reply: CheckInReply): number | null {
  const { rotation, outbox, proofs, endings, debts } = run.journal.value;
  if (rotation || outbox.length > 0 || proofs.length > 0 || endings.length > 0 || debts.some((debt) => !debt.confirmed)) return null;
  // For a key that nobody has a person has to come: no wake-up brings that nearer.
  if (reply.debts.some((debt) => debt.because !== 'never-escrowed') || reply.proofOrders.length > 0) return null;
  return nextCheckIn(Math.min(reply.nextCheckInSeconds, run.settings.checkInMinutes * 60), placeOf(run.facts.hardwareUuid), world.random());
}
