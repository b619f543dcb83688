import type { CheckInReply } from '../protocol/messages.ts';
import { Problem } from '../protocol/problems.ts';
import type { RecoveryKey } from '../protocol/recovery-key.ts';
import { deliver, noteReceipt, withReceipt } from './deliver.ts';
import type { JournalRotation, Kept } from './journal.ts';
import { changeIsRunning, readChangeOutput } from './mac/fdesetup.ts';
import { outputFile, paths } from './paths.ts';
import { noteProof } from './prove.ts';
import { mayTry, reckonedNow, tryKey } from './refusals.ts';
import { deliverNewKey, endUnchanged, finish, forgetOldItems, keepNewKey, type Outcome, removeOutputs } from './rotate.ts';
import type { Run } from './run-of-agent.ts';
import { askForGrant, keyItem, keyItems } from './unlock.ts';

/*
 * After an interruption, before anything else: find out which key is valid by asking macOS, one key at a time, the likeliest
 * first, within the budget of wrong keys (rules 4.4; the row is named at each branch). Nothing is forgotten on the way:
 * an answer of `unknown` keeps everything for the next run. `O` is the key in fdesetup's output file.
 */

const stuckSeconds = 30 * 60;
/** mdmclient writes its escrow file after fdesetup: its absence means something only after this. */
const escrowFileSeconds = 60;
const secondLookMilliseconds = 10 * 60 * 1000;

const later = (because: string): Outcome => ({ done: 'later', because });

/** Null where there is nothing to resolve. `reply` is null before the backend was asked: then only what needs no server is done. */
export async function resolve(run: Run, reply: CheckInReply | null): Promise<Outcome | null> {
  const rotation = run.journal.value.rotation ?? (await findLeftOver(run, reply));
  if (!rotation) return null;
  if (rotation.state === 'intended') return endUnchanged(run, rotation, null); // R1
  if (rotation.state === 'sealed') return reply ? resolveSealed(run, reply, rotation) : later('the sealed key is delivered as soon as the backend is reached'); // R10
  const running = await changeIsRunning(run.runner);
  if (running !== 'no') return waitForChange(run, rotation); // R0
  const output = readChangeOutput(run.disk.read(rotation.outputFile, 1024 * 1024) ?? Buffer.alloc(0));
  return output ? resolveWithOutput(run, reply, rotation, output) : resolveWithoutOutput(run, reply, rotation);
}

function waitForChange(run: Run, rotation: JournalRotation): Outcome {
  const since = rotation.boot === run.facts.boot && rotation.changingUptime !== null ? run.uptime() - rotation.changingUptime : 0;
  if (since > stuckSeconds) run.problems.push({ code: 'CHANGE_STUCK' });
  return later('fdesetup is still changing the key');
}

/** R11: an output file, or keychain items, that no journal knows; or a rotation that only the server remembers. */
async function findLeftOver(run: Run, reply: CheckInReply | null): Promise<JournalRotation | null> {
  const id =
    run.disk
      .list(paths.outputs)
      .find((name) => name.endsWith('.out'))
      ?.slice(0, -'.out'.length) ??
    reply?.rotation?.id ??
    (await itemLeftOver(run));
  if (!id) return null;
  const rotation: JournalRotation = {
    id,
    because: 'interrupted',
    state: 'changing',
    boot: run.facts.boot,
    authorizedBy: 'grant',
    oldItem: null,
    oldRecordId: reply?.held?.recordId ?? null,
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

/** With custody `keychain`, the items of a finished rotation are exactly one. */
async function itemLeftOver(run: Run): Promise<string | null> {
  if (run.facts.custodyMode !== 'keychain') return null;
  const items = await keyItems(run);
  if (items === 'cannot-tell') return null;
  const { current } = run.journal.value;
  const expected = current ? keyItem(run, current.rotationId ?? current.envelopeId) : null;
  const stray = items.find((item) => item !== expected);
  return stray ? (stray.split(':').at(-1) ?? null) : null;
}

// ——— asking about one key

type Answered = 'true' | 'unknown' | 'false' | 'refuted';

/** `false` counts only in a settled session, and refutes only the second time (K8). */
async function ask(run: Run, name: string, key: RecoveryKey): Promise<Answered> {
  const rotation = run.journal.value.rotation;
  if (rotation?.refuted.includes(name)) return 'refuted';
  const answer = await tryKey(run, key);
  if (answer === 'true') return 'true';
  if (answer !== 'false' || !run.settled || !rotation) return 'unknown';
  const now = reckonedNow(run);
  const first = rotation.looks[name];
  if (first && first.runId !== run.id && now - first.at >= secondLookMilliseconds) {
    run.journal.write({ rotation: { ...rotation, refuted: [...rotation.refuted, name] } });
    return 'refuted';
  }
  run.journal.write({ rotation: { ...rotation, looks: { ...rotation.looks, [name]: first ?? { at: now, runId: run.id } } } });
  return 'false';
}

/** The key of a server's record, for this run only; null where the server does not give it now, or where it could not be tried anyway. */
async function keyByGrant(run: Run, rotation: JournalRotation, recordId: string): Promise<RecoveryKey | null> {
  if (!mayTry(run.journal.value, reckonedNow(run), run.settled)) return null;
  try {
    const asked = await askForGrant(run, { purpose: 'resolve', recordId, forId: rotation.id });
    return await asked.open(await run.ask.grant(asked.request));
  } catch (cause) {
    if (!(cause instanceof Problem)) throw cause;
    run.problems.push({ code: cause.code, ...(cause.detail ? { detail: cause.detail } : {}) });
    return null;
  }
}

/** The old key: from the keychain, else by a `resolve` grant. `refuted` needs no key. */
async function askOldKey(run: Run, reply: CheckInReply | null, rotation: JournalRotation): Promise<Answered> {
  if (run.journal.value.rotation?.refuted.includes('old')) return 'refuted';
  if (rotation.oldItem) {
    const read = await run.keys.read(rotation.oldItem);
    if (typeof read === 'object') return ask(run, 'old', read.there);
  }
  const recordId = rotation.oldRecordId ?? reply?.held?.recordId;
  if (!reply || !recordId) return 'unknown';
  const key = await keyByGrant(run, rotation, recordId);
  return key ? ask(run, 'old', key) : 'unknown';
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
  const answer = await ask(run, 'new', output.key);
  if (answer === 'true') return keepNewKey(run, rotation, output.key, 'true'); // R2
  if (answer === 'unknown')
    return output.whole ? keepNewKey(run, rotation, output.key, 'unknown') : stayUnresolved(run, 'macOS could not be asked about the new key'); // R3
  const old = await askOldKey(run, reply, rotation);
  if (output.whole) await deliverRefused(run, rotation, output.key);
  if (old === 'true') return endUnchanged(run, rotation, null, 'the old key is still valid'); // R4
  if (answer === 'refuted' && old === 'refuted') return resolveWithoutOutput(run, reply, rotation); // R5 → R8, R9
  return stayUnresolved(run, 'macOS refused the new key, and the old one is not confirmed'); // R5
}

/** A key that macOS refused is delivered all the same: the server keeps it as a candidate, and nothing is lost if macOS was wrong. */
async function deliverRefused(run: Run, rotation: JournalRotation, key: RecoveryKey): Promise<void> {
  const journal = run.journal.value;
  if ([...journal.outbox, ...journal.previous].some((one) => one.rotationId === rotation.id && one.validated === 'false')) return;
  const { sealKey, certificateDigest } = await import('../protocol/envelope.ts');
  const envelope = sealKey(key, run.escrowCertificate);
  const kept: Kept = {
    envelopeId: certificateDigest(envelope),
    envelope: envelope.toString('base64'),
    source: 'rotation',
    volume: run.facts.volume,
    madeAt: new Date(run.now()).toISOString(),
    validated: 'false',
    rotationId: rotation.id,
    recordId: null,
    held: false,
  };
  run.journal.write({ outbox: [...journal.outbox, kept] });
  const receipt = await deliver(run, kept, rotation.id);
  const after = run.journal.value;
  run.journal.write({ outbox: after.outbox.filter((one) => one.envelopeId !== kept.envelopeId), previous: [...after.previous, withReceipt(kept, receipt)] });
}

// ——— a sealed key (R10)

async function resolveSealed(run: Run, reply: CheckInReply, rotation: JournalRotation): Promise<Outcome> {
  const ours = (one: Kept): boolean => one.rotationId === rotation.id && one.source === 'rotation';
  const { outbox, current } = run.journal.value;
  const kept = outbox.find((one) => ours(one) && one.validated !== 'false') ?? (current && ours(current) ? current : null);
  if (!kept) return resolveLikeChanging(run, reply, rotation);
  if (kept.validated === 'true') return deliverNewKey(run, rotation, kept);
  const receipt = await deliver(run, kept, rotation.id);
  // Proved in the meantime, and ended there: only this side did not hear of it.
  if (receipt.state === 'held' && reply.rotation?.id !== rotation.id) return finished(run, rotation, withReceipt(kept, receipt));
  const key = await newKey(run, rotation, receipt.recordId);
  const answer: Answered = key ? await ask(run, 'new', key) : 'unknown';
  if (answer === 'true') {
    // The same envelope again would be the same answer; the proof is what makes it held (K7).
    noteProof(run, kept.envelopeId, null, 'true');
    return finished(run, rotation, withReceipt(kept, receipt, 'true'));
  }
  if (answer === 'unknown') return later('the new key is delivered, and macOS has not confirmed it yet'); // R3
  const old = await askOldKey(run, reply, rotation);
  if (old === 'true') {
    const outbox = run.journal.value.outbox.filter((one) => one.envelopeId !== kept.envelopeId);
    run.journal.write({ outbox, previous: [...run.journal.value.previous, withReceipt(kept, receipt, 'false')] });
    return endUnchanged(run, rotation, null, 'the old key is still valid'); // R4
  }
  if (answer === 'refuted' && old === 'refuted') return resolveLikeChanging(run, reply, rotation);
  return stayUnresolvedSealed(run);
}

async function finished(run: Run, rotation: JournalRotation, kept: Kept): Promise<Outcome> {
  finish(run, rotation, kept);
  await forgetOldItems(run, rotation);
  removeOutputs(run, rotation.id);
  return { done: true, because: rotation.because };
}

function resolveLikeChanging(run: Run, reply: CheckInReply, rotation: JournalRotation): Promise<Outcome> {
  run.journal.write({ rotation: { ...rotation, state: 'unresolved' } });
  return resolveWithoutOutput(run, reply, run.journal.value.rotation ?? rotation);
}

/** Stays `sealed`: the envelope is in the outbox, which is more than an output file. */
function stayUnresolvedSealed(run: Run): Outcome {
  run.problems.push({ code: 'CHANGE_UNRESOLVED' });
  return later('macOS refused the new key, and the old one is not confirmed');
}

/** The new key in plain: from the output file or the keychain while they last, else by a `resolve` grant. */
async function newKey(run: Run, rotation: JournalRotation, recordId: string): Promise<RecoveryKey | null> {
  const output = readChangeOutput(run.disk.read(rotation.outputFile, 1024 * 1024) ?? Buffer.alloc(0));
  if (output?.whole) return output.key;
  if (run.facts.custodyMode === 'keychain') {
    const read = await run.keys.read(keyItem(run, rotation.id));
    if (typeof read === 'object') return read.there;
  }
  return keyByGrant(run, rotation, recordId);
}

// ——— without a key in the output file

/** E: macOS's escrow file differs from the one before the change, and is ours. */
const witness = (run: Run, rotation: JournalRotation): Kept | null => {
  const seen = run.journal.value.escrowSeen;
  if (!seen?.ours || seen.digest === rotation.escrowIdBefore) return null;
  const { outbox, current, previous } = run.journal.value;
  return [...outbox, ...(current ? [current] : []), ...previous].find((one) => one.envelopeId === seen.digest) ?? null;
};

async function resolveWithoutOutput(run: Run, reply: CheckInReply | null, rotation: JournalRotation): Promise<Outcome> {
  const byItem = await askItems(run, rotation);
  if (byItem) return byItem;
  const file = witness(run, rotation);
  if (file && reply) {
    const byFile = await askWitness(run, reply, rotation, file); // R8, R12
    if (byFile) return byFile;
  }
  if (rotation.authorizedBy === 'password') {
    return file ? stayUnresolved(run, 'the escrow file is not confirmed yet') : endNotKnown(run, rotation, 'no output and no escrow file'); // R12
  }
  const old = await askOldKey(run, reply, rotation);
  if (old === 'true') return endUnchanged(run, rotation, null, 'the old key is still valid'); // R6
  // A restored backend may have forgotten the rotation: it gives no key for it, and its proof orders will find out.
  if (old === 'unknown' && reply && reply.rotation?.id !== rotation.id) return endNotKnown(run, rotation, 'the backend does not know this rotation');
  if (old === 'unknown') return stayUnresolved(run, 'it is not known whether the old key is still valid'); // R7
  if (old === 'false') return stayUnresolved(run, 'macOS refused the old key once; a second look follows');
  const settling = rotation.boot === run.facts.boot && rotation.changingUptime !== null && run.uptime() - rotation.changingUptime < escrowFileSeconds;
  if (settling || !reply) return stayUnresolved(run, 'macOS may still write its escrow file');
  return askRecords(run, reply, rotation); // R9
}

/** R11: every key item on the Mac is asked about; one that answers `true` counts as O. */
async function askItems(run: Run, rotation: JournalRotation): Promise<Outcome | null> {
  if (run.facts.custodyMode !== 'keychain') return null;
  const items = await keyItems(run);
  if (items === 'cannot-tell') return stayUnresolved(run, 'the keychain cannot be opened');
  for (const item of items.filter((one) => one !== rotation.oldItem)) {
    const read = await run.keys.read(item);
    if (typeof read !== 'object') continue;
    if ((await ask(run, item, read.there)) !== 'true') continue;
    const { id } = rotation;
    return keepNewKey(run, { ...rotation, id }, read.there, 'true');
  }
  return null;
}

async function askWitness(run: Run, reply: CheckInReply, rotation: JournalRotation, file: Kept): Promise<Outcome | null> {
  if (run.journal.value.rotation?.refuted.includes('witness')) return null;
  const receipt = await deliver(run, { ...file, rotationId: rotation.id }, rotation.id);
  // The file is of the old key: it is no witness of a change.
  if (receipt.recordId === (rotation.oldRecordId ?? reply.held?.recordId)) {
    noteReceipt(run, file, receipt);
    return null;
  }
  const key = await keyByGrant(run, rotation, receipt.recordId);
  const answer: Answered = key ? await ask(run, 'witness', key) : 'unknown';
  if (answer === 'true') {
    noteProof(run, file.envelopeId, null, 'true');
    return finished(run, rotation, withReceipt(file, receipt, 'true'));
  }
  noteReceipt(run, { ...file, rotationId: rotation.id }, receipt);
  return null;
}

/** R9: every `held` and `candidate` record is asked about before the key is called lost. */
async function askRecords(run: Run, reply: CheckInReply, rotation: JournalRotation): Promise<Outcome> {
  const records = [...(reply.held ? [reply.held] : []), ...reply.candidates].filter((one) => one.recordId !== rotation.oldRecordId);
  for (const record of records) {
    const known = run.journal.value.rotation?.refuted ?? [];
    const name = recordName(run, rotation, record);
    if (known.includes(name)) continue;
    const key = await keyByGrant(run, rotation, record.recordId);
    const answer: Answered = key ? await ask(run, name, key) : 'unknown';
    if (answer === 'true') {
      const envelopeId = record.envelopeIds[0];
      if (envelopeId) noteProof(run, envelopeId, null, 'true');
      return endUnchanged(run, rotation, null, 'another known key is valid');
    }
    if (answer !== 'refuted') return stayUnresolved(run, 'not every known key has been refused for certain');
  }
  removeOutputs(run, rotation.id);
  run.journal.write({
    rotation: null,
    exhausted: true,
    endings: [...run.journal.value.endings, { rotationId: rotation.id, as: 'exhausted', detail: 'every known key was refused' }],
  });
  run.problems.push({ code: 'KEY_EXHAUSTED' });
  run.log('exhausted', { rotationId: rotation.id });
  return { done: false, because: 'no known recovery key opens this Mac any more' };
}

function recordName(run: Run, rotation: JournalRotation, record: { recordId: string; envelopeIds: string[] }): string {
  const { outbox, previous, escrowSeen } = run.journal.value;
  if (escrowSeen && record.envelopeIds.includes(escrowSeen.digest)) return 'witness';
  const ours = [...outbox, ...previous].find((one) => one.rotationId === rotation.id && record.envelopeIds.includes(one.envelopeId));
  return ours ? 'new' : record.recordId;
}

function endNotKnown(run: Run, rotation: JournalRotation, detail: string): Outcome {
  removeOutputs(run, rotation.id);
  run.journal.write({ rotation: null, endings: [...run.journal.value.endings, { rotationId: rotation.id, as: 'not-known', detail }] });
  run.log('rotation-resolved', { rotationId: rotation.id, as: 'not-known', because: detail });
  return { done: false, because: `it is not known whether the key was changed: ${detail}` };
}
