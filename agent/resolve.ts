import { randomUUID } from 'node:crypto';
import type { CheckInReply } from '../protocol/messages.ts';
import type { RecoveryKey } from '../protocol/recovery-key.ts';
import { ask, askNewKey, askOldKey, askRecord, noteValid, readOutput } from './asking.ts';
import { deliver, noteReceipt, withReceipt } from './deliver.ts';
import type { JournalRotation, Kept } from './journal.ts';
import { forgetOldItems, hasStrayItem, keepOnly, keyItem, keyItems, removeRefutedItems } from './key-items.ts';
import { changeIsRunning } from './mac/fdesetup.ts';
import { outputFile, paths } from './paths.ts';
import { knownRecords, noteProof, presentMoment } from './prove.ts';
import { lookNow } from './refusals.ts';
import { concludeUnproved, deliverNewKey, endUnchanged, finish, keepNewKey, type Outcome, removeOutputs } from './rotate.ts';
import type { Run } from './run-of-agent.ts';

/*
 * After an interruption, before anything else: find out which key is valid by asking macOS, one key at a time, the likeliest
 * first, within the budget of wrong keys (the row is named at each branch). Nothing is forgotten on the way:
 * an answer of `unknown` keeps everything for the next run. `O` is the key in fdesetup's output file.
 */

const stuckSeconds = 30 * 60;
/** mdmclient writes its escrow file after fdesetup: its absence means something only after this. */
const escrowFileSeconds = 60;

const later = (because: string): Outcome => ({ done: 'later', because });

/** Null where there is nothing to resolve. `reply` is null before the backend was asked: then only what needs no server is done. */
export async function resolve(run: Run, reply: CheckInReply | null): Promise<Outcome | null> {
  const rotation = run.journal.value.rotation ?? (await findLeftOver(run, reply));
  if (!rotation) return null;
  if (rotation.state === 'intended') return endUnchanged(run, rotation, null); // R1
  if (rotation.state === 'sealed') return reply ? resolveSealed(run, reply, rotation) : later('the sealed key is delivered as soon as the backend is reached'); // R10
  const running = await changeIsRunning(run.runner);
  if (running !== 'no') return waitForChange(run, rotation); // R0
  const output = readOutput(run, rotation);
  if (output) return resolveWithOutput(run, reply, rotation, output);
  return reply ? resolveWithoutOutput(run, reply, rotation) : later('the backend is asked first');
}

/** Whether the key of the open rotation is proved and delivered, and only the receipt is to come: going on tries no key. */
export const awaitsReceipt = (run: Run): boolean => {
  const { rotation, outbox } = run.journal.value;
  return rotation?.state === 'sealed' && outbox.some((one) => isKeyOf(rotation, one) && one.validated === 'true' && one.recordId !== null);
};

const isKeyOf = (rotation: JournalRotation, one: Kept): boolean => one.rotationId === rotation.id && one.source === 'rotation';

function waitForChange(run: Run, rotation: JournalRotation): Outcome {
  const since = rotation.boot === run.facts.boot && rotation.changingUptime !== null ? run.uptime() - rotation.changingUptime : 0;
  if (since > stuckSeconds) run.problems.push({ code: 'CHANGE_STUCK' });
  return later('fdesetup is still changing the key');
}

/** R11: an output file, or keychain items, that no journal knows; or a rotation that only the server remembers. */
async function findLeftOver(run: Run, reply: CheckInReply | null): Promise<JournalRotation | null> {
  const id = leftOutput(run) ?? reply?.rotation?.id ?? ((await hasStrayItem(run)) ? randomUUID() : null);
  if (!id) return null;
  const rotation: JournalRotation = {
    id,
    because: 'interrupted',
    state: 'changing',
    boot: run.facts.boot,
    authorizedBy: 'grant',
    oldItem: null,
    oldRecordId: reply?.held?.recordId ?? null,
    enrolmentId: null,
    outputFile: outputFile(id),
    escrowIdBefore: run.journal.value.current?.source === 'escrow-file' ? run.journal.value.current.envelopeId : null,
    changingUptime: run.uptime(),
    looks: {},
    refuted: [],
  };
  run.log('rotation-found', { rotationId: id });
  run.journal.write({ rotation });
  return rotation;
}

/** The rotation of an output file that nobody knows. What a run that died after step 14 left is only cleaned up. */
function leftOutput(run: Run): string | null {
  const { current } = run.journal.value;
  for (const name of run.disk.list(paths.outputs)) {
    const id = name.replace(/\.(out|err)$/, '');
    const isDone = current?.rotationId === id && current.held && current.validated === 'true';
    if (name.endsWith('.out') && !isDone) return id;
    // Without its .out an .err tells nothing.
    if (isDone || (name.endsWith('.err') && !run.disk.facts(outputFile(id)))) removeOutputs(run, id);
  }
  return null;
}

function stayUnresolved(run: Run, because: string): Outcome {
  const rotation = run.journal.value.rotation;
  if (rotation && rotation.state !== 'unresolved') run.journal.write({ rotation: { ...rotation, state: 'unresolved' } });
  run.problems.push({ code: 'CHANGE_UNRESOLVED' });
  run.log('rotation-unresolved', { because });
  return later(because);
}

// ——— with a key in the output file

async function resolveWithOutput(
  run: Run,
  reply: CheckInReply | null,
  rotation: JournalRotation,
  output: { key: RecoveryKey; whole: boolean },
): Promise<Outcome> {
  run.disk.sync(rotation.outputFile); // 8: the run that started fdesetup may have died before
  const answer = await ask(run, 'new', output.key);
  if (answer === 'true') return keepNewKey(run, rotation, output.key, 'true'); // R2
  if (answer === 'unknown' && output.whole) return keepNewKey(run, rotation, output.key, 'unknown'); // R3
  if (!reply) return later('the backend is asked first');
  if (answer === 'unknown') return stayUnresolved(run, 'macOS could not be asked about the new key');
  if (output.whole) await deliverRefused(run, rotation, output.key);
  // Refuted, it counts for no output any more (R5, then R6 to R9).
  if (answer === 'refuted') return resolveWithoutOutput(run, reply, rotation);
  if ((await askOldKey(run, reply, rotation)) === 'true') return endUnchanged(run, rotation, null, 'the old key is still valid'); // R4
  return stayUnresolved(run, 'macOS refused the new key, and the old one is not confirmed'); // R5
}

/** A key that macOS refused is delivered all the same: the server keeps it as a candidate, and nothing is lost if macOS was wrong. */
async function deliverRefused(run: Run, rotation: JournalRotation, key: RecoveryKey): Promise<void> {
  const { outbox } = run.journal.value;
  if (run.journal.value.rotation?.refusedIsDelivered) return;
  const { sealKey, certificateDigest } = await import('../protocol/envelope.ts');
  const waiting = outbox.find((one) => isKeyOf(rotation, one));
  const kept: Kept = waiting ?? { ...sealedFor(run, rotation, sealKey(key, run.escrowCertificate), certificateDigest), validated: 'false' };
  if (!waiting) run.journal.write({ outbox: [...outbox, kept] });
  const receipt = await deliver(run, kept, rotation.id);
  const after = run.journal.value;
  run.journal.write({
    outbox: after.outbox.filter((one) => one.envelopeId !== kept.envelopeId),
    previous: [...after.previous, withReceipt(kept, receipt)],
    rotation: after.rotation && { ...after.rotation, refusedIsDelivered: true },
  });
}

function sealedFor(run: Run, rotation: JournalRotation, envelope: Buffer, digest: (bytes: Uint8Array) => string): Omit<Kept, 'validated'> {
  const madeAt = new Date(run.now()).toISOString();
  const { volume } = run.facts;
  return {
    envelopeId: digest(envelope),
    envelope: envelope.toString('base64'),
    source: 'rotation',
    volume,
    madeAt,
    rotationId: rotation.id,
    recordId: null,
    held: false,
  };
}

// ——— a sealed key (R10)

async function resolveSealed(run: Run, reply: CheckInReply, rotation: JournalRotation): Promise<Outcome> {
  const { outbox, current } = run.journal.value;
  const kept = outbox.find((one) => isKeyOf(rotation, one)) ?? (current && isKeyOf(rotation, current) ? current : null);
  if (!kept) return resolveLikeChanging(run, reply, rotation);
  if (kept.validated === 'true') return deliverNewKey(run, rotation, kept, true);
  const receipt = await deliver(run, kept, rotation.id);
  if (receipt.readable === 'no') {
    run.problems.push({ code: 'DELIVERY_QUARANTINED', detail: 'readable: no' });
    return later('the backend cannot read the new key; it is kept on this Mac');
  }
  const delivered = withReceipt(kept, receipt);
  // Proved in the meantime, and ended there: only this side did not hear of it.
  if (receipt.state === 'held' && reply.rotation?.id !== rotation.id) return finished(run, rotation, delivered);
  if (kept.recordId !== receipt.recordId)
    run.journal.write({ outbox: [...run.journal.value.outbox.filter((one) => one.envelopeId !== kept.envelopeId), delivered] });
  const answer = await askNewKey(run, reply, rotation, receipt.recordId);
  if (answer === 'true') {
    // The same envelope again would be the same answer; the proof is what makes it held (K7). Until it is, everything stays.
    const proved: Kept = { ...delivered, validated: 'true', answered: presentMoment(run) };
    noteProof(run, kept.envelopeId, null, 'true', proved.answered);
    run.journal.write({ outbox: [...run.journal.value.outbox.filter((one) => one.envelopeId !== kept.envelopeId), proved] });
    return later('the new key is valid, and the backend hears of it at the next check-in');
  }
  if (answer === 'nobody') return concludeUnproved(run, rotation, delivered);
  if (answer === 'unknown') return later('the new key is delivered, and macOS has not confirmed it yet'); // R3
  if (answer === 'refuted') {
    const refused = run.journal.value.outbox.filter((one) => one.envelopeId !== kept.envelopeId);
    run.journal.write({ outbox: refused, previous: [...run.journal.value.previous, { ...delivered, validated: 'false' }] });
    return resolveLikeChanging(run, reply, rotation);
  }
  const old = await askOldKey(run, reply, rotation);
  if (old === 'true') return endUnchanged(run, rotation, null, 'the old key is still valid'); // R4
  run.problems.push({ code: 'CHANGE_UNRESOLVED' });
  // Stays `sealed`: the envelope is in the outbox, which is more than an output file.
  return later('macOS refused the new key, and the old one is not confirmed');
}

async function finished(run: Run, rotation: JournalRotation, kept: Kept): Promise<Outcome> {
  finish(run, rotation, kept);
  await forgetOldItems(run, rotation.id, kept.envelopeId);
  removeOutputs(run, rotation.id);
  return { done: true, because: rotation.because };
}

function resolveLikeChanging(run: Run, reply: CheckInReply, rotation: JournalRotation): Promise<Outcome> {
  run.journal.write({ rotation: { ...(run.journal.value.rotation ?? rotation), state: 'unresolved' } });
  return resolveWithoutOutput(run, reply, run.journal.value.rotation ?? rotation);
}

// ——— without a key in the output file

/** E: macOS's escrow file differs from the one before the change, and is ours. */
const witness = (run: Run, rotation: JournalRotation): Kept | null => {
  const seen = run.journal.value.escrowSeen;
  if (!seen?.ours || seen.digest === rotation.escrowIdBefore) return null;
  const { outbox, current, previous } = run.journal.value;
  return [...outbox, ...(current ? [current] : []), ...previous].find((one) => one.envelopeId === seen.digest) ?? null;
};

async function resolveWithoutOutput(run: Run, reply: CheckInReply, rotation: JournalRotation): Promise<Outcome> {
  const hasOld = rotation.authorizedBy !== 'password' && (rotation.oldItem !== null || rotation.oldRecordId !== null || reply.held !== null);
  const byItem = (await askItems(run, reply, rotation, 'likely')) ?? (hasOld ? null : await askItems(run, reply, rotation, 'stray'));
  if (byItem) return byItem;
  const file = witness(run, rotation);
  const byFile = file && (await askWitness(run, reply, rotation, file)); // R8, R12
  if (byFile && byFile !== 'no-witness') return byFile;
  const settling = rotation.boot === run.facts.boot && rotation.changingUptime !== null && run.uptime() - rotation.changingUptime < escrowFileSeconds;
  if (rotation.authorizedBy === 'password') {
    // There is no old key to ask about: what the file holds is all that can be found out.
    if ((file && byFile !== 'no-witness') || settling) return stayUnresolved(run, 'the escrow file is not confirmed yet');
    return endNotKnown(run, rotation, 'no output and no escrow file'); // R12
  }
  if (!hasOld) {
    // Found without a journal, where the backend holds no key either: it was by a password, or its key was never more than a candidate.
    if ((file && byFile !== 'no-witness') || settling) return stayUnresolved(run, 'the escrow file is not confirmed yet');
    return knownRecords(reply).length > 0 ? askRecords(run, reply, rotation) : endNotGiven(run, rotation, 'no output, and no key to ask about'); // R11, R12
  }
  const old = await askOldKey(run, reply, rotation);
  if (old === 'true') return endUnchanged(run, rotation, null, 'the old key is still valid'); // R6
  if (old === 'false') return stayUnresolved(run, 'macOS refused the old key once; a second look follows');
  const byStray = await askItems(run, reply, rotation, 'stray');
  if (byStray) return byStray;
  // A restored backend may have forgotten the rotation, and another enrolment is given no key for it: proofs will find out.
  if (old === 'nobody') return endNotGiven(run, rotation);
  if (old === 'unknown') return stayUnresolved(run, 'it is not known whether the old key is still valid'); // R7
  if (settling) return stayUnresolved(run, 'macOS may still write its escrow file');
  return askRecords(run, reply, rotation); // R9
}

/**
 * R11: every key item on the Mac is asked about: this rotation's own and the kept one first, since the keychain keeps no order;
 * stray ones after the old key, as each would cost a try while that one is valid. One that answers `true` counts as O.
 */
async function askItems(run: Run, reply: CheckInReply, rotation: JournalRotation, which: 'likely' | 'stray'): Promise<Outcome | null> {
  const items = await keyItems(run);
  if (items === 'cannot-tell') return null;
  const own = keyItem(run, rotation.id);
  const { keptItem } = run.journal.value;
  const asked = items.filter((item) => item !== rotation.oldItem && (item === own || item === keptItem?.account) === (which === 'likely'));
  for (const item of asked.toSorted((one, other) => Number(other === own) - Number(one === own))) {
    const read = await run.keys.read(item);
    if (typeof read !== 'object' || (await ask(run, item, read.there)) !== 'true') continue;
    const record = keptItem?.account === item ? knownRecords(reply).find((one) => one.envelopeIds.includes(keptItem.envelopeId)) : undefined;
    if (!record) return keepNewKey(run, rotation, read.there, 'true');
    await noteValid(run, reply, record.recordId, read.there);
    return endUnchanged(run, rotation, null, 'the key that this Mac keeps is still valid'); // R6
  }
  return null;
}

/** `no-witness`: the file tells nothing of this rotation, or it never will. Null: not yet. */
async function askWitness(run: Run, reply: CheckInReply, rotation: JournalRotation, file: Kept): Promise<Outcome | 'no-witness' | null> {
  if (run.journal.value.rotation?.refuted.includes('witness')) return 'no-witness';
  const tied: Kept = { ...file, rotationId: rotation.id };
  const receipt = await deliver(run, tied, rotation.id);
  // The file is of the old key: it is no witness of a change. Where a password authorized it there may be none, and the file's own key is held by now.
  const old = rotation.oldRecordId ?? (rotation.authorizedBy === 'password' ? null : reply.held?.recordId);
  if (receipt.recordId === old) {
    noteReceipt(run, file, receipt);
    return 'no-witness';
  }
  const { answer, key } = await askRecord(run, reply, rotation, 'witness', receipt.recordId);
  if (answer === 'true' && key) {
    noteProof(run, file.envelopeId, null, 'true');
    finish(run, rotation, withReceipt(tied, receipt, 'true'));
    await keepOnly(run, key, keyItem(run, rotation.id), file.envelopeId);
    if (run.facts.custodyMode === 'server') await forgetOldItems(run, rotation.id, file.envelopeId);
    removeOutputs(run, rotation.id);
    return { done: true, because: rotation.because };
  }
  noteReceipt(run, tied, receipt);
  return answer === 'refuted' || answer === 'nobody' ? 'no-witness' : null;
}

/** R9: every `held` and `candidate` record is asked about before the key is called lost. */
async function askRecords(run: Run, reply: CheckInReply, rotation: JournalRotation): Promise<Outcome> {
  const records = knownRecords(reply);
  for (const record of records.filter((one) => one.recordId !== rotation.oldRecordId)) {
    const { answer, key } = await askRecord(run, reply, rotation, recordName(run, rotation, record), record.recordId);
    if (answer === 'true' && key) {
      await noteValid(run, reply, record.recordId, key);
      return endUnchanged(run, rotation, null, 'another known key is valid');
    }
    if (answer === 'nobody') return endNotGiven(run, rotation);
    if (answer !== 'refuted') return stayUnresolved(run, 'not every known key has been refused for certain');
  }
  const unasked = await itemsNotRefuted(run);
  if (unasked) return stayUnresolved(run, unasked);
  removeOutputs(run, rotation.id);
  await removeRefutedItems(run, run.journal.value.rotation?.refuted ?? []);
  // What was refuted here authorizes nothing afterwards either.
  const ids = new Set([...records.map((one) => one.recordId), ...(rotation.oldRecordId ? [rotation.oldRecordId] : [])]);
  run.journal.write({
    rotation: null,
    exhausted: true,
    doubts: [...ids].map((recordId) => ({ recordId, first: lookNow(run), refuted: true })),
    endings: [...run.journal.value.endings, { rotationId: rotation.id, as: 'exhausted', detail: 'every known key was refused' }],
  });
  run.problems.push({ code: 'KEY_EXHAUSTED' });
  run.log('exhausted', { rotationId: rotation.id });
  return { done: false, because: 'no known recovery key opens this Mac any more' };
}

/** Why the keys of the keychain cannot be given up yet, or null. */
async function itemsNotRefuted(run: Run): Promise<string | null> {
  const items = await keyItems(run);
  if (items === 'cannot-tell') return run.facts.custodyMode === 'keychain' ? 'the keychain cannot be opened' : null;
  const { refuted = [], oldItem = null } = run.journal.value.rotation ?? {};
  return items.every((item) => item === oldItem || refuted.includes(item)) ? null : 'not every key of the keychain has been refused for certain';
}

/** There is no key to ask about, or the backend gives none for it; what lies in the keychain has its second look first. */
async function endNotGiven(run: Run, rotation: JournalRotation, detail = 'the backend gives no key for this rotation'): Promise<Outcome> {
  const unasked = await itemsNotRefuted(run);
  if (unasked) return stayUnresolved(run, unasked);
  await removeRefutedItems(run, run.journal.value.rotation?.refuted ?? []);
  return endNotKnown(run, rotation, detail);
}

function recordName(run: Run, rotation: JournalRotation, record: { recordId: string; envelopeIds: string[] }): string {
  const { outbox, previous, escrowSeen } = run.journal.value;
  if (escrowSeen && record.envelopeIds.includes(escrowSeen.digest)) return 'witness';
  const ours = [...outbox, ...previous].find((one) => one.rotationId === rotation.id && record.envelopeIds.includes(one.envelopeId));
  return ours ? 'new' : record.recordId;
}

function endNotKnown(run: Run, rotation: JournalRotation, detail: string): Outcome {
  removeOutputs(run, rotation.id);
  const { id, because } = rotation;
  run.journal.write({
    rotation: null,
    notKnown: { id, because },
    endings: [...run.journal.value.endings, { rotationId: id, as: 'not-known', detail }],
  });
  run.log('rotation-resolved', { rotationId: rotation.id, as: 'not-known', because: detail });
  return { done: false, because: `it is not known whether the key was changed: ${detail}` };
}
