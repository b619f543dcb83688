import type { CheckInReply } from '../protocol/messages.ts';
import { Problem } from '../protocol/problems.ts';
import type { RecoveryKey } from '../protocol/recovery-key.ts';
import type { JournalRotation } from './journal.ts';
import { keepOnly, keyItem } from './key-items.ts';
import { takeChangeOutput } from './mac/fdesetup.ts';
import { knownRecords, noteAccepted, noteProof } from './prove.ts';
import { isSecondLook, lookNow, mayTry, reckonedNow, tryKey } from './refusals.ts';
import type { Run } from './run-of-agent.ts';
import { askForGrant } from './unlock.ts';

/*
 * One key of an open rotation at a time: where it comes from (output file, keychain, grant), what macOS says of it, and
 * what that answer is worth. By name, so that two answers about one key are told from answers about two (K8).
 */

export const readOutput = (run: Run, rotation: JournalRotation) => takeChangeOutput(run.disk.read(rotation.outputFile, 1024 * 1024));

/** `nobody`: the key is not on this Mac, and the backend will not give it for this rotation, now or later. */
export type Answered = 'true' | 'unknown' | 'false' | 'refuted' | 'nobody';

/** `false` counts only in a settled session, and refutes only the second time (K8). */
export async function ask(run: Run, name: string, key: RecoveryKey): Promise<Answered> {
  const before = run.journal.value.rotation;
  if (before?.refuted.includes(name)) return 'refuted';
  const first = before?.looks[name];
  if (first && !isSecondLook(run, first)) return 'false';
  const answer = await tryKey(run, key);
  if (answer === 'true') return 'true';
  const rotation = run.journal.value.rotation;
  // Refused once, it stays refused once until a second look or a `true` says otherwise.
  if (answer !== 'false' || !run.settled || !rotation) return first ? 'false' : 'unknown';
  if (first) {
    run.journal.write({ rotation: { ...rotation, refuted: [...rotation.refuted, name] } });
    return 'refuted';
  }
  run.journal.write({ rotation: { ...rotation, looks: { ...rotation.looks, [name]: lookNow(run) } } });
  return 'false';
}

/** Whether the backend gives keys to resolve this rotation at all: it must know it as open, and as this enrolment's. */
const mayBeGranted = (run: Run, reply: CheckInReply, rotation: JournalRotation): boolean =>
  reply.rotation?.id === rotation.id && (rotation.enrolmentId === null || rotation.enrolmentId === run.enrolmentId);

/** The key of a server's record, for this run only; null where the server does not give it now, or where it could not be tried anyway. */
async function keyByGrant(run: Run, reply: CheckInReply, rotation: JournalRotation, name: string, recordId: string): Promise<RecoveryKey | 'nobody' | null> {
  if (!mayBeGranted(run, reply, rotation)) return 'nobody';
  const first = run.journal.value.rotation?.looks[name];
  // No grant for a key that would not be tried.
  if (!mayTry(run.journal.value, reckonedNow(run), run.settled) || (first && !isSecondLook(run, first))) return null;
  try {
    const asked = await askForGrant(run, { purpose: 'resolve', recordId, forId: rotation.id });
    return await asked.open(await run.ask.grant(asked.request));
  } catch (cause) {
    if (!(cause instanceof Problem)) throw cause;
    run.problems.push({ code: cause.code, ...(cause.detail ? { detail: cause.detail } : {}) });
    // Found without a journal, it may be another enrolment's: then it is refused for ever.
    return cause.code === 'GRANT_REFUSED' && rotation.enrolmentId === null && run.facts.settings.managed ? 'nobody' : null;
  }
}

/** The key of a record: given by the backend, then asked about. */
export async function askRecord(
  run: Run,
  reply: CheckInReply,
  rotation: JournalRotation,
  name: string,
  recordId: string,
): Promise<{ answer: Answered; key: RecoveryKey | null }> {
  const known = run.journal.value.rotation;
  if (known?.refuted.includes(name)) return { answer: 'refuted', key: null };
  const key = await keyByGrant(run, reply, rotation, name, recordId);
  if (key === 'nobody') return { answer: 'nobody', key: null };
  if (key === null) return { answer: known?.looks[name] ? 'false' : 'unknown', key: null };
  return { answer: await ask(run, name, key), key };
}

/** macOS said `true` to a known key: the backend hears of it as a proof (K7), and with custody `keychain` it is the one that is kept. */
export async function noteValid(run: Run, reply: CheckInReply, recordId: string, key: RecoveryKey): Promise<void> {
  noteAccepted(run, recordId);
  const { current } = run.journal.value;
  const named = knownRecords(reply).find((one) => one.recordId === recordId)?.envelopeIds ?? [];
  const envelopeId = named.find((one) => one === current?.envelopeId) ?? named[0];
  if (!envelopeId) return;
  noteProof(run, envelopeId, null, 'true');
  await keepOnly(run, key, keyItem(run, envelopeId), envelopeId);
}

/** The old key: from the keychain, else by a `resolve` grant. `refuted` needs no key. */
export async function askOldKey(run: Run, reply: CheckInReply, rotation: JournalRotation): Promise<Answered> {
  if (run.journal.value.rotation?.refuted.includes('old')) return 'refuted';
  const recordId = rotation.oldRecordId ?? reply.held?.recordId;
  if (rotation.oldItem) {
    const read = await run.keys.read(rotation.oldItem);
    if (typeof read === 'object') {
      const answer = await ask(run, 'old', read.there);
      if (answer === 'true' && rotation.oldRecordId) await noteValid(run, reply, rotation.oldRecordId, read.there);
      return answer;
    }
  }
  if (!recordId) return 'unknown';
  const { answer, key } = await askRecord(run, reply, rotation, 'old', recordId);
  if (answer === 'true' && key) await noteValid(run, reply, recordId, key);
  return answer;
}

/** The new key in plain: from the output file or the keychain while they last, else by a `resolve` grant. */
export async function askNewKey(run: Run, reply: CheckInReply, rotation: JournalRotation, recordId: string): Promise<Answered> {
  const output = readOutput(run, rotation);
  if (output?.whole) return ask(run, 'new', output.key);
  const read = run.facts.custodyMode === 'keychain' ? await run.keys.read(keyItem(run, rotation.id)) : 'not-there';
  if (typeof read === 'object') return ask(run, 'new', read.there);
  return (await askRecord(run, reply, rotation, 'new', recordId)).answer;
}
