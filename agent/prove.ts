import { randomUUID } from 'node:crypto';
import type { CheckInReply, Validation } from '../protocol/messages.ts';
import type { RecoveryKey } from '../protocol/recovery-key.ts';
import { withCurrent } from './journal.ts';
import { reckonedNow, tryKey } from './refusals.ts';
import type { Run } from './run-of-agent.ts';
import { askForGrant, keyItem } from './unlock.ts';

const day = 24 * 60 * 60 * 1000;

/** Puts an answer of macOS into the journal, from which it is reported until the server has confirmed it. */
export function noteProof(run: Run, envelopeId: string, orderId: string | null, answer: Validation): void {
  const journal = run.journal.value;
  const proof = { id: randomUUID(), envelopeId, orderId, answer, settled: run.settled, boot: run.facts.boot, uptimeSeconds: run.uptime() };
  const current = journal.current && answer === 'true' && journal.current.envelopeId === envelopeId ? { ...journal.current, validated: answer } : null;
  run.journal.write({ proofs: [...journal.proofs, proof].slice(-16), ...(current ? withCurrent(journal, current) : {}) });
}

/** Asks macOS whether the key that the server holds opens this Mac: *this Mac could have been opened today*. */
export async function prove(run: Run, order: { orderId: string; recordId: string; envelopeIds: readonly string[] }, reply: CheckInReply): Promise<Validation> {
  const envelopeId = order.envelopeIds[0];
  if (!envelopeId) return 'unknown';
  const kept = await keptKey(run, order.envelopeIds);
  const key = kept ?? (await granted(run, order));
  const answer = await tryKey(run, key);
  if (answer === 'no-budget') return 'unknown';
  if (!kept && answer === 'true' && run.facts.custodyMode === 'keychain') await keep(run, key, order.envelopeIds);
  const aboutCurrent = order.envelopeIds.find((id) => id === run.journal.value.current?.envelopeId) ?? envelopeId;
  noteProof(run, aboutCurrent, order.orderId, answer);
  if (answer === 'false' && run.settled && reply.held?.recordId === order.recordId) noteForeignChange(run);
  return answer;
}

/** With custody `keychain`, the Mac has the key of its current envelope itself. */
async function keptKey(run: Run, envelopeIds: readonly string[]): Promise<RecoveryKey | null> {
  const { current } = run.journal.value;
  if (run.facts.custodyMode !== 'keychain' || !current || !envelopeIds.includes(current.envelopeId)) return null;
  const read = await run.keys.read(keyItem(run, current.rotationId ?? current.envelopeId));
  return typeof read === 'object' ? read.there : null;
}

async function granted(run: Run, order: { orderId: string; recordId: string }): Promise<RecoveryKey> {
  const asked = await askForGrant(run, { purpose: 'prove', recordId: order.recordId, forId: order.orderId });
  return asked.open(await run.ask.grant(asked.request));
}

/** A key that came by grant and answered `true` is kept where the Mac keeps its key (rules 4.3). */
async function keep(run: Run, key: RecoveryKey, envelopeIds: readonly string[]): Promise<void> {
  const { current } = run.journal.value;
  if (!current || !envelopeIds.includes(current.envelopeId)) return;
  await run.keys.write(keyItem(run, current.rotationId ?? current.envelopeId), key);
}

/** R13, C2: the held key is refused, and no rotation of ours is open, so somebody else changed it. */
function noteForeignChange(run: Run): void {
  const now = reckonedNow(run);
  const { foreignChanges, rotation } = run.journal.value;
  if (rotation || foreignChanges.some((at) => at > now - day)) return;
  run.journal.write({ foreignChanges: [...foreignChanges, now].slice(-20) });
  run.log('key-changed-by-other', {});
}
