// One run of the agent from its beginning to its end (agent/check-in.ts): observe, ask, deliver, resolve, decide, act.
import * as backend from './backend.ts';
import { mayChange } from './journal.ts';
import { askGrant, itemKey, keepOnly, noteAccepted, noteExhausted, noteRefused } from './keys.ts';
import { awaitsReceipt, resolve } from './resolve.ts';
import { noteForeignChange, type Outcome, rotate } from './rotation.ts';
import {
  checkIn,
  deliverWanted,
  isSecond,
  mayTryNow,
  noteProof,
  noticeEscrowFile,
  Offline,
  openRun,
  type Run,
  reckoned,
  type Steps,
  tryKey,
  type World,
} from './run.ts';
import { day, type Key } from './state.ts';

/** What launchd starts. A run that cannot reach the backend ends; the next one goes on. */
export function* runAgent(world: World, id: number): Steps<void> {
  const run = yield* openRun(world, id);
  try {
    yield* wholeRun(run);
  } catch (cause) {
    if (!(cause instanceof Offline) && !(cause instanceof backend.Refused)) throw cause;
  }
}

function* wholeRun(run: Run): Steps<void> {
  if (run.journal.enrolment === null) {
    if (run.world.state.mac.offline) throw new Offline('enrol');
    run.journal = { ...run.journal, enrolment: run.enrolment };
  }
  let early: Outcome = 'nothing';
  try {
    early = yield* resolve(run, null);
  } catch (cause) {
    if (!(cause instanceof Offline)) throw cause;
  }
  let reply = yield* checkIn(run);
  if (yield* deliverWanted(run, reply)) reply = yield* checkIn(run);
  const resolved = yield* resolve(run, reply);
  if (resolved !== 'nothing' || early !== 'nothing') reply = yield* checkIn(run);
  if (awaitsReceipt(run)) {
    yield* resolve(run, reply);
    reply = yield* checkIn(run);
  }
  yield* noteExhausted(run, reply);
  const wasExhausted = run.journal.exhausted;
  if (!(yield* act(run, reply))) return;
  if (run.journal.rotation) yield* resolveAtOnce(run);
  reply = run.reply ?? reply;
  if (run.rotated) yield* noticeEscrowFile(run);
  reply = yield* checkIn(run);
  if (yield* deliverWanted(run, reply)) reply = yield* checkIn(run);
  yield* noteExhausted(run, reply);
  if (run.journal.exhausted !== wasExhausted) yield* checkIn(run);
}

function* resolveAtOnce(run: Run): Steps<void> {
  yield* noticeEscrowFile(run);
  let resolved = yield* resolve(run, yield* checkIn(run));
  if (awaitsReceipt(run)) {
    const again = yield* resolve(run, yield* checkIn(run));
    if (again !== 'nothing') resolved = again;
  }
  if (resolved !== 'nothing') run.rotated = resolved === 'done';
}

interface ProofOrder {
  id: string;
  record: string;
  envelopes: readonly string[];
}

/** The whole policy (decide.ts), and the act. True where something was done. */
function* act(run: Run, reply: backend.Reply): Steps<boolean> {
  const { journal } = run;
  run.rotated = false;
  if (journal.rotation || reply.hold) return false;
  if (reply.debts.length === 0) return yield* proveIfDue(run, reply);
  const lasting = whyNeverHere(run, reply);
  if (lasting || journal.exhausted) {
    const proof = proofDue(run, reply);
    if (proof) return yield* prove(run, reply, proof);
  }
  if (journal.outbox.length > 0 || !mayTryNow(run) || !mayChange(run.journal, reckoned(run)) || lasting || reply.rotation !== null) return false;
  // It asks for help.
  if (journal.exhausted) return true;
  // After a month of silence a proof comes first.
  const proofFirst = !journal.proofRefused && journal.lastProof !== null && journal.lastProof <= reckoned(run) - 30 * day;
  if (proofFirst) return yield* proveIfDue(run, reply);
  run.rotated = (yield* rotate(run, reply, reply.debts[0]?.because ?? '')) === 'done';
  return true;
}

/** Gate 5: whose Mac it is to rotate. */
function whyNeverHere(run: Run, reply: backend.Reply): boolean {
  const { escrowSeen, foreignChanges } = run.journal;
  const { payload } = run.world.state.configuration;
  if (foreignChanges.filter((at) => at > reckoned(run) - 14 * day).length >= 2) return true;
  if (payload === 'none') return run.world.state.configuration.authority !== 'password';
  return escrowSeen !== null && escrowSeen.ours !== (payload === 'ours') && !isFirstUnderOurs(run, reply);
}

/** Decision 28: an order is the first change under our payload, as long as nobody was seen to change the key. */
const isFirstUnderOurs = (run: Run, reply: backend.Reply): boolean =>
  run.world.state.configuration.payload === 'ours' && run.journal.foreignChanges.length === 0 && reply.debts.some(({ because }) => because === 'ordered');

function proofDue(run: Run, reply: backend.Reply): ProofOrder | null {
  if (!run.settled || !mayTryNow(run)) return null;
  const { current, doubts, escrowSeen } = run.journal;
  const due = reply.proofOrders.filter((order) => {
    const doubt = doubts.find((one) => one.record === order.record);
    return !doubt || (!doubt.refuted && isSecond(run, doubt.first));
  });
  const isNewest = (order: ProofOrder): number => Number(order.envelopes.includes(current?.envelope.id ?? ''));
  const sorted = due.toSorted((one, other) => isNewest(other) - isNewest(one));
  return sorted.find((order) => escrowSeen && order.envelopes.includes(escrowSeen.id)) ?? sorted[0] ?? null;
}

function* proveIfDue(run: Run, reply: backend.Reply): Steps<boolean> {
  const order = proofDue(run, reply);
  return order ? yield* prove(run, reply, order) : false;
}

/** *This Mac could have been opened today.* */
function* prove(run: Run, reply: backend.Reply, order: ProofOrder): Steps<boolean> {
  const envelope = order.envelopes[0];
  if (envelope === undefined) return true;
  const { keptItem } = run.journal;
  const kept = run.custody === 'keychain' && keptItem && order.envelopes.includes(keptItem.envelope) ? itemKey(run, keptItem.name) : undefined;
  let key: Key;
  try {
    key = kept ?? (yield* askGrant(run, { purpose: 'prove', forId: order.id, record: order.record }));
  } catch (cause) {
    if (!(cause instanceof backend.Refused)) throw cause;
    if (cause.code === 'GRANT_REFUSED') run.journal = { ...run.journal, proofRefused: true };
    return false;
  }
  const answer = yield* tryKey(run, key);
  if (answer === 'no-budget') return true;
  const about = order.envelopes.find((id) => id === run.journal.current?.envelope.id) ?? envelope;
  yield* noteProof(run, about, order.id, answer);
  if (answer === 'true') {
    yield* noteAccepted(run, order.record);
    if (kept === undefined) yield* keepOnly(run, key, `item ${about}`, about);
  }
  if (answer === 'false') {
    yield* noteRefused(run, order.record);
    if (reply.held?.id === order.record) yield* noteForeignChange(run, order.record);
  }
  return true;
}
