import { randomUUID } from 'node:crypto';
import type { CheckInReply, Validation } from '../protocol/messages.ts';
import type { RecoveryKey } from '../protocol/recovery-key.ts';
import { countForeignChange, isCounted } from './escrow-file.ts';
import { type Journal, type Moment, withCurrent } from './journal.ts';
import { keepOnly, keyItem } from './key-items.ts';
import { isSecondLook, lookNow, reckonedNow, tryKey } from './refusals.ts';
import type { Run } from './run-of-agent.ts';
import { askForGrant } from './unlock.ts';

/** Puts an answer of macOS into the journal, from which it is reported until the server has confirmed it. */
export function noteProof(run: Run, envelopeId: string, orderId: string | null, answer: Validation, at: Moment = presentMoment(run)): void {
  const journal = run.journal.value;
  const proof = { id: randomUUID(), envelopeId, orderId, answer, settled: run.settled, ...at };
  const current = journal.current && answer === 'true' && journal.current.envelopeId === envelopeId ? { ...journal.current, validated: answer } : null;
  run.journal.write({ proofs: [...journal.proofs, proof].slice(-16), ...(current ? withCurrent(journal, current) : {}) });
}

export const presentMoment = (run: Run): Moment => ({ boot: run.facts.boot, uptimeSeconds: run.uptime() });

/** R13: macOS refused the key of this record, and no change of ours explains it. Twice, as K8 has it, and it is refuted. */
export function noteRefused(run: Run, recordId: string): void {
  if (!run.settled) return;
  const { doubts } = run.journal.value;
  const before = doubts.find((one) => one.recordId === recordId);
  if (before && (before.refuted || !isSecondLook(run, before.first))) return;
  const doubt = before ? { ...before, refuted: true } : { recordId, first: lookNow(run), refuted: false };
  run.journal.write({ doubts: [...doubts.filter((one) => one !== before), doubt] });
}

/** Step 3, R13: the backend hears that the key for a change was refused, and it is not asked for again day after day. */
export function noteOldRefused(run: Run, reply: Known, recordId: string | null): void {
  const record = knownRecords(reply).find((one) => one.recordId === recordId);
  const envelopeId = record?.envelopeIds[0];
  if (!record || !envelopeId) return;
  noteProof(run, envelopeId, null, 'false');
  noteRefused(run, record.recordId);
  if (record.recordId === reply.held?.recordId) noteForeignChange(run, record.recordId);
}

export function noteAccepted(run: Run, recordId: string): void {
  const { doubts } = run.journal.value;
  if (doubts.some((one) => one.recordId === recordId)) run.journal.write({ doubts: doubts.filter((one) => one.recordId !== recordId) });
}

type Known = Pick<CheckInReply, 'held' | 'candidates'>;
export const knownRecords = (reply: Known): CheckInReply['candidates'] => [...(reply.held ? [reply.held] : []), ...reply.candidates];

export const isRefuted = (journal: Readonly<Journal>, recordId: string): boolean => journal.doubts.some((one) => one.recordId === recordId && one.refuted);

/**
 * R13, then R9: without a rotation too the key is lost when each `held` and `candidate` record is refuted, and the key that
 * this Mac keeps is one of them. A key that came since ends it.
 */
export function noteExhausted(run: Run, reply: Known): void {
  const journal = run.journal.value;
  const known = knownRecords(reply);
  if (journal.rotation || journal.outbox.length > 0 || known.length === 0) return;
  const itemIsKnown = journal.keptItem === null || known.some((one) => one.envelopeIds.includes(journal.keptItem?.envelopeId ?? ''));
  const exhausted = itemIsKnown && known.every((one) => isRefuted(journal, one.recordId));
  if (exhausted && !run.problems.some((one) => one.code === 'KEY_EXHAUSTED')) run.problems.push({ code: 'KEY_EXHAUSTED' });
  if (exhausted === journal.exhausted) return;
  run.journal.write({ exhausted });
  if (exhausted) run.log('exhausted', {});
}

/** Asks macOS whether the key that the server holds opens this Mac: *this Mac could have been opened today*. */
export async function prove(run: Run, order: { orderId: string; recordId: string; envelopeIds: readonly string[] }, reply: CheckInReply): Promise<Validation> {
  const envelopeId = order.envelopeIds[0];
  if (!envelopeId) return 'unknown';
  const kept = await keptKey(run, order.envelopeIds);
  const key = kept ?? (await granted(run, order));
  const answer = await tryKey(run, key);
  if (answer === 'no-budget') return 'unknown';
  const aboutCurrent = order.envelopeIds.find((id) => id === run.journal.value.current?.envelopeId) ?? envelopeId;
  noteProof(run, aboutCurrent, order.orderId, answer);
  if (answer === 'true') {
    noteAccepted(run, order.recordId);
    // A key that came by grant and answered `true` is kept where the Mac keeps its key.
    if (!kept) await keepOnly(run, key, keyItem(run, aboutCurrent), aboutCurrent);
  }
  if (answer === 'false') noteRefused(run, order.recordId);
  if (answer === 'false' && reply.held?.recordId === order.recordId) noteForeignChange(run, order.recordId);
  return answer;
}

/** With custody `keychain`, the Mac may have the key itself. */
async function keptKey(run: Run, envelopeIds: readonly string[]): Promise<RecoveryKey | null> {
  const { keptItem } = run.journal.value;
  if (run.facts.custodyMode !== 'keychain' || !keptItem || !envelopeIds.includes(keptItem.envelopeId)) return null;
  const read = await run.keys.read(keptItem.account);
  return typeof read === 'object' ? read.there : null;
}

async function granted(run: Run, order: { orderId: string; recordId: string }): Promise<RecoveryKey> {
  const asked = await askForGrant(run, { purpose: 'prove', recordId: order.recordId, forId: order.orderId });
  return asked.open(await run.ask.grant(asked.request));
}

/**
 * R13, C2: the held key is refuted, and no rotation of ours has changed anything, so somebody else did. One `false` is none
 * (K8): macOS may be wrong once. What an escrow file told since the last `true` is that change.
 */
function noteForeignChange(run: Run, recordId: string): void {
  const journal = run.journal.value;
  const { rotation, previous, notKnown } = journal;
  // A backend that was restored may hold a key that has a successor here; and a rotation of ours may have changed it unseen.
  if (notKnown || previous.some((one) => one.recordId === recordId)) return;
  if (!isRefuted(journal, recordId) || (rotation && rotation.state !== 'intended') || isCounted(journal)) return;
  run.journal.write({ ...countForeignChange(journal, reckonedNow(run)), refusalFile: 'awaited' });
  run.log('key-changed-by-other', {});
}
