import type { Answer, CheckInReply, Facts, OpenDebt, RotationReason } from '../protocol/messages.ts';
import { notOurs } from '../protocol/mode.ts';
import type { ProblemCode } from '../protocol/problems.ts';

/*
 * The whole policy, as one pure function: what is true now, in; one thing to do and why, out. The order of the questions is
 * the order of precedence. Reasons are words for people; nothing depends on them.
 */

/** What is true now. */
export interface Situation {
  facts: Facts;
  settled: boolean;
  /** The server's answer of this run, or null when it could not be asked. */
  reply: Pick<CheckInReply, 'debts' | 'hold' | 'proofOrders' | 'recipients' | 'rotation' | 'alarms' | 'held' | 'candidates' | 'buildWorks' | 'withheld'> | null;
  /** SHA-256 of the managed escrow certificate. */
  recipient: string;
  rotationOpen: boolean;
  /** R9: no known key opens this Mac. */
  exhausted: boolean;
  outboxEmpty: boolean;
  /** A key may be tried now (gate 3). */
  mayTry: boolean;
  /** `used` has changed the key in this boot session already. */
  usedChanged: boolean;
  /** Reckoned server time, and the foreign changes by the same clock. */
  now: number;
  foreignChanges: readonly number[];
  capability: 'unknown' | 'works' | 'refused';
  /** Setting: this Mac may be the first of its build to try. */
  pilot: boolean;
  /** Fewer changes than a day allows, for all reasons together. */
  mayChange: boolean;
  /** When a change that failed may be tried again, by reckoned server time; null: now. */
  retryAt: number | null;
  /** The last key that answered `true` did so on this build of macOS, and after the last long silence. */
  provedOnThisBuild: boolean;
  /** An earlier build of macOS is known, or the Mac was silent for 30 days. */
  proofFirst: boolean;
  /** When the escrow payload became another one, by reckoned server time; null: it is the one that was first seen (G1). */
  payloadChangedAt: number | null;
  /** No key has answered `true` since then. */
  payloadUnproved: boolean;
  changeRunning: Answer;
  updateBeingPrepared: Answer;
  freeBytes: number;
  /** Days until the agent's certificate ends. */
  certificateDays: number;
  stopping: boolean;
}

export type Decision =
  | { do: 'nothing'; because: string; lasting?: true }
  | { do: 'rotate'; because: RotationReason; debts: OpenDebt[] }
  | { do: 'prove'; orderId: string; recordId: string; envelopeIds: readonly string[]; because: string }
  | { do: 'ask for help'; code: ProblemCode; because: string };

const hour = 60 * 60 * 1000;
const day = 24 * hour;
const precedence: readonly RotationReason[] = ['interrupted', 'disclosed', 'used', 'ordered', 'granted', 'doubtful', 'never-escrowed', 'aged'];
/** Reasons that nobody asked for: these wait for a week after a change by somebody else (C2). */
const scheduled: readonly RotationReason[] = ['aged', 'never-escrowed', 'doubtful'];
const leastFreeBytes = 64 * 1024 * 1024;

const nothing = (because: string): Decision => ({ do: 'nothing', because });

export function decide(it: Situation): Decision {
  if (it.reply === null) return nothing('the backend was not reached');
  if (it.rotationOpen) return nothing('an earlier rotation is not resolved yet');
  if (it.reply.hold) return nothing(`the key was shown and its person may be typing it (${it.reply.hold.because})`);
  const owed = it.reply.debts.filter((debt) => !(debt.because === 'used' && it.usedChanged));
  const decision = owed.length > 0 ? decideRotation(it, it.reply, owed) : decideProof(it, it.reply, []);
  return decision ?? nothing(it.reply.withheld ?? 'nothing is owed');
}

function busy(it: Situation): string | null {
  const { facts } = it;
  if (facts.fileVault.state !== 'on') return `FileVault is ${facts.fileVault.state}`;
  if (facts.consoleUser === '_mbsetupuser') return 'Setup Assistant is running';
  if (facts.darkWake === 'yes') return 'the Mac is in dark wake';
  if (it.updateBeingPrepared === 'yes') return 'a macOS update is being prepared';
  if (it.changeRunning !== 'no')
    return it.changeRunning === 'yes' ? 'a change of the recovery key is running' : 'it is not known whether a change of the recovery key is running';
  if (it.stopping) return 'the agent was told to stop';
  return null;
}

const power = ({ source, percent }: Facts['power']): string | null => {
  if (source === 'mains') return null;
  if (source === 'battery')
    return percent !== null && percent >= 20 ? null : `the battery is at ${percent ?? 'an unknown number of'} percent, and the Mac is not connected to power`;
  return 'it is not known whether the Mac is connected to power';
};

/** Gate 2. What macOS does not say counts as the worse of the two. */
function session(it: Situation, because: RotationReason, debts: readonly OpenDebt[]): string | null {
  if (it.settled) return null;
  const waiting = 'nobody has been logged in long enough yet';
  if (because === 'used') return waiting;
  if (it.facts.usingRecoveryKey === 'no' && it.facts.unlockedBy === 'user') return null;
  if (debts.some((debt) => debt.withoutLogin)) return it.facts.uptimeSeconds >= 60 * 60 ? null : 'the Mac has been up for less than an hour';
  return waiting;
}

/**
 * Up to macOS 15 a payload that comes makes no key: macOS's file stays sealed to the one before until the first change under
 * ours. Only an order is that change, and only where nobody has changed the key since our payload came, or since this Mac is watched.
 */
function isFirstUnderOurs(it: Situation, owed: readonly OpenDebt[]): boolean {
  const { facts } = it;
  const since = it.payloadChangedAt ?? Number.NEGATIVE_INFINITY;
  const { file } = facts.escrow;
  if (!file || file.ours || notOurs({ ...facts, escrow: { ...facts.escrow, file: null } }) !== null) return false;
  return owed.some((debt) => debt.because === 'ordered') && !it.foreignChanges.some((at) => at > since);
}

/** Gate 5 and C2: why it is not for this agent to replace the key, for days. */
function lastingReason(it: Situation, reply: NonNullable<Situation['reply']>, because: RotationReason, owed: readonly OpenDebt[]): string | null {
  const recent = it.foreignChanges.filter((at) => at > it.now - 14 * day);
  return (
    (isFirstUnderOurs(it, owed) ? null : notOurs(it.facts)) ??
    (recent.length >= 2 ? 'somebody else changed the key twice in 14 days: two rotators' : null) ??
    (scheduled.includes(because) && recent.some((at) => at > it.now - 7 * day) ? 'somebody else changed the key within 7 days' : null) ??
    (reply.recipients.includes(it.recipient) ? null : 'the backend does not accept the escrow certificate of the settings') ??
    (it.capability === 'unknown' && !it.pilot && !reply.buildWorks
      ? 'no Mac of this fleet has replaced its key on this build of macOS yet, and this one is no pilot'
      : null)
  );
}

/** What keeps a change by a user's password back: gates 1, 2, 4 and 5, without what is about the key as authority and about its proof. */
export function whyNotByPassword(it: Situation, reply: NonNullable<Situation['reply']>): { power: string | null; other: string | null } {
  const recent = it.foreignChanges.filter((at) => at > it.now - 14 * day);
  const other =
    (it.rotationOpen || reply.rotation ? 'an earlier replacement of the key is not resolved yet' : null) ??
    reply.withheld ??
    (reply.hold ? `the key was shown and its person may be typing it (${reply.hold.because})` : null) ??
    busy(it) ??
    (it.outboxEmpty ? null : 'a sealed key is still to be delivered') ??
    (it.certificateDays < 7 ? 'the certificate of this Mac ends within a week' : null) ??
    session(it, 'ordered', reply.debts) ??
    (it.freeBytes < leastFreeBytes ? 'there is less than 64 MB of free space' : null) ??
    (it.mayChange ? null : 'the key was changed as often as is safe in a day') ??
    (recent.length >= 2 ? 'somebody else changed the key twice in 14 days: two rotators' : null) ??
    (reply.recipients.includes(it.recipient) ? null : 'the backend does not accept the escrow certificate of the settings') ??
    (reply.alarms.length > 0 ? `an alarm stops it: ${reply.alarms.join(', ')}` : null);
  return { power: power(it.facts.power), other };
}

function decideRotation(it: Situation, reply: NonNullable<Situation['reply']>, owed: OpenDebt[]): Decision {
  const because = precedence.find((reason) => owed.some((debt) => debt.because === reason));
  if (!because) return nothing('nothing is owed');
  // What does not pass by itself keeps no proof back; what does may have the one grant of the day.
  const lasting = lastingReason(it, reply, because, owed);
  const isFarOff = it.retryAt !== null && it.retryAt - it.now > day;
  const proof = lasting === null && !isFarOff && !it.exhausted && it.capability !== 'refused' ? null : decideProof(it, reply, owed);
  if (proof?.do === 'prove') return proof;
  const notNow =
    busy(it) ??
    power(it.facts.power) ??
    (it.outboxEmpty ? null : 'a sealed key is still to be delivered') ??
    (it.certificateDays < 7 ? 'the certificate of this Mac ends within a week' : null) ??
    session(it, because, owed) ??
    (it.mayTry ? null : 'as many keys were tried as is safe for now') ??
    (it.mayChange ? null : 'the key was changed as often as is safe in a day') ??
    (it.retryAt === null ? null : `the last change of the key failed, and it is not tried again before ${new Date(it.retryAt).toISOString()}`) ??
    (it.freeBytes < leastFreeBytes ? 'there is less than 64 MB of free space' : null) ??
    lasting ??
    (it.payloadChangedAt !== null && it.now - it.payloadChangedAt < hour ? 'the escrow payload has been another one for less than an hour' : null) ??
    (reply.alarms.length > 0 ? `an alarm stops it: ${reply.alarms.join(', ')}` : null) ??
    (reply.rotation ? 'the backend has an open rotation of this Mac' : null);
  if (notNow !== null) return notNow === lasting ? { do: 'nothing', because: notNow, lasting: true } : nothing(notNow);
  if (it.exhausted) return { do: 'ask for help', code: 'KEY_EXHAUSTED', because: 'no known recovery key opens this Mac any more' };
  // Nobody has a key: only a password can make one, and no key is tried for it.
  if (because === 'never-escrowed' && !reply.held && reply.candidates.length === 0 && it.facts.custodyMode === 'server')
    return { do: 'ask for help', code: 'ADOPTION_NEEDED', because: 'nobody has a recovery key of this Mac' };
  if (it.capability === 'refused')
    return { do: 'ask for help', code: 'UNLOCK_REFUSED', because: 'this build of macOS does not take the key itself as authority' };
  if (it.proofFirst && !it.provedOnThisBuild) return decideProof(it, reply, owed) ?? nothing('a new build of macOS, or a long silence: a proof comes first');
  // An MDM migration may have brought another key with its payload: what the backend wants proved is proved first.
  return (it.payloadUnproved ? decideProof(it, reply, owed) : null) ?? { do: 'rotate', because, debts: owed };
}

/**
 * A proof needs a settled session: outside one `false` says nothing, and would cost a try. Where nobody ever logs in, and an
 * admin said so in an order, a proof that has to come first would keep that order back for ever: `true` says the same there.
 */
function decideProof(it: Situation, reply: NonNullable<Situation['reply']>, owed: readonly OpenDebt[]): Decision | null {
  // The likeliest key first: what macOS's own escrow file holds is what macOS made last.
  const newest = it.facts.escrow.file?.digest;
  const order = reply.proofOrders.find((one) => newest !== undefined && one.envelopeIds.includes(newest)) ?? reply.proofOrders[0];
  if (!order) return null;
  // Without managed settings the backend gives no key; a Mac that keeps its own can ask about that.
  const notGiven = it.facts.settings.managed || it.facts.custodyMode === 'keychain' ? null : 'the settings are not managed any more';
  const notNow = notGiven ?? busy(it) ?? (it.settled ? null : sessionOfProof(it, owed)) ?? (it.mayTry ? null : 'as many keys were tried as is safe for now');
  if (notNow !== null) return nothing(`a proof is due, but ${notNow}`);
  return { do: 'prove', orderId: order.id, recordId: order.recordId, envelopeIds: order.envelopeIds, because: 'a proof is due' };
}

const sessionOfProof = (it: Situation, owed: readonly OpenDebt[]): string | null =>
  owed.some((debt) => debt.withoutLogin) && it.facts.uptimeSeconds >= 60 * 60 ? null : 'nobody has been logged in long enough yet';
