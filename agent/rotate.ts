import type { CheckInReply, OpenDebt, RotationReason, Validation } from '../protocol/messages.ts';
import { isProblemCode, Problem } from '../protocol/problems.ts';
import type { RecoveryKey } from '../protocol/recovery-key.ts';
import { forgetTries } from './adoption-note.ts';
import { chooseAuthority } from './authority.ts';
import { asOfOld, deliver, withReceipt } from './deliver.ts';
import { unreadableCertificate } from './escrow-file.ts';
import { intendRotation } from './intend.ts';
import { type JournalRotation, type Kept, withCurrent } from './journal.ts';
import { forgetOldItems, itemBefore, keyItem, putItem, removeRefutedItems } from './key-items.ts';
import { readChangeFailure, startChange, takeChangeOutput } from './mac/fdesetup.ts';
import { keepAwake } from './mac/system.ts';
import { errorFile, outputFile, paths } from './paths.ts';
import { noteOldRefused, noteProof, presentMoment } from './prove.ts';
import { countChange, giveBack, lookNow, noteFailure, reckonedNow, spendTry, tryKey } from './refusals.ts';
import type { Run } from './run-of-agent.ts';
import { askForGrant } from './unlock.ts';

/*
 * Replaces a recovery key without losing it. fdesetup chooses the new key, so there is a moment when only its output knows
 * it; everything here is about that moment. The order of writes, and what a run that dies leaves behind:
 *
 *    1 journal `intended`          2 server: begin           3 the old key answers true    4 item with the old key
 *    5 output files                6 journal `changing`      7 fdesetup, in its own session, into those files
 *    8 sync, read the new key      9 item with the new key  10 sealed; journal `sealed`   11 the new key is validated
 *   12 output files go            13 delivered: receipt     14 journal: current           15 old item goes
 *
 * Until 6 nothing has happened (R1). From 7 on the output file, then the envelope, holds the new key (R2, R10); resolve.ts
 * goes on from wherever this stopped. Neither stdout nor stderr is ever a pipe: a dead reader's pipe would kill fdesetup
 * after the change and before its answer is out.
 */

export type Outcome =
  | { done: true; because: RotationReason }
  | { done: false; because: string }
  /** The new key is safe in the journal or the output file; a later run goes on. */
  | { done: 'later'; because: string };

/** Longest wait for fdesetup; after it the agent leaves it alone, and a later run looks for it. */
const changeSeconds = 10 * 60;
/** The server's word that a change may begin is good for so long. */
const beginSeconds = 60;

export async function rotate(run: Run, reply: CheckInReply, because: RotationReason, debts: readonly OpenDebt[]): Promise<Outcome> {
  await loadEverything(run);
  const authority = await chooseAuthority(run, reply);
  if ('none' in authority) return { done: false, because: authority.none };

  const rotation = intendRotation(run, { because, authorizedBy: authority.by, oldItem: authority.item, oldRecordId: authority.recordId }); // 1

  let old: RecoveryKey;
  try {
    old = await begin(run, rotation, debts, authority.key); // 2
  } catch (cause) {
    return endUnchanged(run, rotation, cause instanceof Problem ? cause : new Problem('AGENT_BUG', undefined, { cause }));
  }
  const begunAt = run.uptime();
  const valid = await tryKey(run, old); // 3
  if (valid !== 'true') {
    if (valid !== 'false') return endUnchanged(run, rotation, new Problem('CHANGE_FAILED', 'macOS could not be asked about the old key'));
    noteOldRefused(run, reply, rotation.oldRecordId);
    return endUnchanged(run, rotation, new Problem('KEY_NOT_ON_MAC', 'the key that should authorize the change does not open this Mac'));
  }
  if (run.stopping()) return endUnchanged(run, rotation, new Problem('CHANGE_FAILED', 'the agent was told to stop before the change'));
  if (run.facts.custodyMode === 'keychain' && authority.by === 'grant') {
    const item = itemBefore(run, rotation.id);
    if (await run.keys.write(item, old)) run.journal.write({ rotation: { ...rotation, oldItem: item } }); // 4
  }
  await keepAwake(run.runner); // until the receipt: it ends with this process
  if (run.uptime() - begunAt > beginSeconds)
    return endUnchanged(run, rotation, new Problem('CHANGE_FAILED', 'the Mac was too slow: the word of the backend is a minute old'));
  return change(run, { ...(run.journal.value.rotation ?? rotation) }, old);
}

/** Every module that the rotation needs is loaded, and a trial sealing succeeds, before anything is begun (gate 4). */
export async function loadEverything(run: Run): Promise<void> {
  const { sealKey } = await import('../protocol/envelope.ts');
  await import('../protocol/grant.ts');
  const { RecoveryKey } = await import('../protocol/recovery-key.ts');
  const trial = RecoveryKey.parse('AAAA-BBBB-CCCC-DDDD-EEEE-FFFF');
  try {
    if (trial) sealKey(trial, run.escrowCertificate);
  } catch (cause) {
    throw new Problem('SETTINGS_INVALID', unreadableCertificate, { cause });
  }
}

async function begin(run: Run, rotation: JournalRotation, debts: readonly OpenDebt[], key: RecoveryKey | null): Promise<RecoveryKey> {
  const { certificateDigest } = await import('../protocol/envelope.ts');
  const asked = key ? null : await askForGrant(run, { purpose: 'rotate', recordId: rotation.oldRecordId ?? '', forId: rotation.id });
  const begun = await run.ask.begin({
    id: rotation.id,
    because: rotation.because,
    debtIds: debts.map((debt) => debt.id),
    hardwareUuid: run.facts.hardwareUuid,
    volume: run.facts.volume,
    boot: run.facts.boot,
    recipient: certificateDigest(run.escrowCertificate),
    escrowPayload: run.facts.escrow.payload,
    grant: asked?.request ?? null,
  });
  run.log('rotation-begun', { rotationId: rotation.id });
  if (key) return key;
  if (!asked || !begun.grant) throw new Problem('GRANT_REFUSED');
  return asked.open(begun.grant.jwe);
}

/** Ends a rotation without a new key: files and the item that was made for it go, the server hears of it at the next check-in. */
export async function endUnchanged(
  run: Run,
  rotation: JournalRotation,
  problem: Problem | null,
  detail: string = problem?.code ?? 'interrupted',
): Promise<Outcome> {
  removeOutputs(run, rotation.id);
  if (run.facts.custodyMode === 'keychain' && rotation.authorizedBy === 'grant') await run.keys.remove(itemBefore(run, rotation.id));
  await removeRefutedItems(run, run.journal.value.rotation?.refuted ?? []);
  const { outbox, previous, endings } = run.journal.value;
  const refused = (one: Kept): boolean => one.rotationId === rotation.id && one.source === 'rotation';
  run.journal.write({
    rotation: null,
    outbox: outbox.filter((one) => !refused(one)),
    previous: [...previous, ...outbox.filter(refused)],
    ownEscrowChangeDue: false,
    endings: [...endings, { rotationId: rotation.id, as: 'not-changed', detail }],
  });
  if (problem) run.problems.push({ code: problem.code, ...(problem.detail ? { detail: problem.detail } : {}) });
  run.log('rotation-not-changed', { rotationId: rotation.id, because: detail });
  const words = problem ? problem.message : 'it was interrupted before the key was changed';
  return { done: false, because: words };
}

export function removeOutputs(run: Run, rotationId: string): void {
  for (const file of [outputFile(rotationId), errorFile(rotationId)]) if (run.disk.facts(file)) run.disk.remove(file);
}

async function change(run: Run, rotation: JournalRotation, old: RecoveryKey): Promise<Outcome> {
  const files = { out: outputFile(rotation.id), err: errorFile(rotation.id) };
  run.disk.makeFolder(paths.outputs, 0o700);
  run.disk.createEmpty(files.out); // 5
  run.disk.createEmpty(files.err);
  const changing: JournalRotation = { ...rotation, state: 'changing', changingUptime: run.uptime() };
  const tried = spendTry(run, { rotation: changing, ownEscrowChangeDue: true, ...countChange(run) }); // 6
  const started = await startChange(run.runner, { key: old }, files); // 7
  const ended = await started.ended(changeSeconds);
  if (ended === 'still-running') return noteFailure(run, 'fdesetup is still at it');

  run.disk.sync(files.out); // 8
  const output = takeChangeOutput(run.disk.read(files.out, 1024 * 1024));
  if (!output) return changeFailed(run, changing, old, ended.code, files.err, tried);
  // Cut off: it counts for nothing until macOS says `true` to it, and resolve.ts asks.
  if (!output.whole) return { done: 'later', because: 'what macOS wrote of the new key is cut off' };
  run.journal.write({ ...giveBack(run.journal.value, tried), capability: { build: run.facts.macosBuild, state: 'works' } });
  return keepNewKey(run, changing, output.key);
}

/** fdesetup gave no key. A refusal is about the way, where the old key is still good; anything else is for resolve.ts, which asks about the likeliest key first. */
async function changeFailed(run: Run, rotation: JournalRotation, old: RecoveryKey, code: number | null, errorPath: string, tried: string): Promise<Outcome> {
  const failure = readChangeFailure(code, (run.disk.read(errorPath, 1024 * 1024) ?? Buffer.alloc(0)).toString('utf8'));
  run.log('change-failed', { rotationId: rotation.id, exit: code ?? 'signal', failure });
  const isWay = failure === 'refused' && (await tryKey(run, old)) === 'true';
  const what = failure === 'refused' ? 'macOS refused the key' : 'macOS gave no new key';
  if (!isWay) return noteFailure(run, `${what}, and it is not known yet whether the old one still opens this Mac`);
  // Learned for this build of macOS: the key itself does not authorize its change.
  run.journal.write({ ...giveBack(run.journal.value, tried), capability: { build: run.facts.macosBuild, state: 'refused' }, ownEscrowChangeDue: false });
  return endUnchanged(run, rotation, new Problem('UNLOCK_REFUSED', `fdesetup ${code ?? 'was ended by a signal'}`));
}

/**
 * Steps 9 to 15, from the moment at which the new key is in our hands. Also where an interrupted rotation goes on (R2, R3).
 * `known` is macOS's answer for the new key, where it was asked already.
 */
export async function keepNewKey(run: Run, rotation: JournalRotation, key: RecoveryKey, known?: Validation): Promise<Outcome> {
  const { certificateDigest, sealKey } = await import('../protocol/envelope.ts');
  const item = keyItem(run, rotation.id);
  const kept = run.facts.custodyMode === 'keychain' && (await (known === 'true' ? putItem(run, item, key) : run.keys.write(item, key))); // 9
  const envelope = sealKey(key, run.escrowCertificate);
  const sealed: Kept = {
    envelopeId: certificateDigest(envelope),
    envelope: envelope.toString('base64'),
    source: 'rotation',
    volume: run.facts.volume,
    madeAt: new Date(run.now()).toISOString(),
    validated: known ?? 'unknown',
    ...(known === 'true' ? { answered: presentMoment(run) } : {}),
    rotationId: rotation.id,
    recordId: null,
    held: false,
  };
  const outboxWith = (one: Kept): Kept[] => [
    ...run.journal.value.outbox.filter((other) => other.rotationId !== rotation.id || other.source !== 'rotation'),
    one,
  ];
  let journaled = true;
  try {
    run.journal.write({ rotation: { ...rotation, state: 'sealed' }, outbox: outboxWith(sealed) }); // 10
  } catch (cause) {
    // A full disk must not stop it: from here it goes on from memory, and the output file stays as the witness.
    journaled = false;
    run.problems.push({ code: 'JOURNAL_NOT_WRITTEN' });
    run.log('journal-not-written', { rotationId: rotation.id, because: isProblemCode((cause as Problem).code) ? (cause as Problem).code : 'unknown' });
  }
  if (run.stopping()) return { done: 'later', because: 'the agent was told to stop; the sealed key is delivered by the next run' };
  const answer = known ?? asValidation(await tryKeyIfWritable(run, key, journaled)); // 11
  const checked: Kept = { ...sealed, validated: answer, ...(answer === 'true' && !known ? { answered: presentMoment(run) } : {}) };
  if (journaled && answer !== sealed.validated) {
    // A first `false` of the new key is the first of the two that refute it (K8).
    const looks = answer === 'false' && run.settled ? { ...rotation.looks, new: lookNow(run) } : rotation.looks;
    run.journal.write({ outbox: outboxWith(checked), rotation: { ...rotation, state: 'sealed', looks } });
  }
  const onMac = kept && (await readsBack(run, item, key));
  if (journaled && (onMac || (answer === 'true' && run.facts.escrow.payload === 'ours'))) removeOutputs(run, rotation.id); // 12
  return deliverNewKey(run, run.journal.value.rotation?.state === 'sealed' ? run.journal.value.rotation : { ...rotation, state: 'sealed' }, checked); // 13
}

const asValidation = (answer: Validation | 'no-budget'): Validation => (answer === 'no-budget' ? 'unknown' : answer);

/** The budget is in the journal; where that cannot be written, nothing is tried. */
const tryKeyIfWritable = async (run: Run, key: RecoveryKey, writable: boolean): Promise<Validation | 'no-budget'> =>
  writable ? tryKey(run, key) : 'no-budget';

async function readsBack(run: Run, item: string, key: RecoveryKey): Promise<boolean> {
  const read = await run.keys.read(item);
  return typeof read === 'object' && read.there.equals(key);
}

/** Steps 13 to 15. Repeating them gives the same receipt. */
export async function deliverNewKey(run: Run, rotation: JournalRotation, kept: Kept, isOld = false): Promise<Outcome> {
  const receipt = await deliver(run, isOld ? asOfOld(kept) : kept, rotation.id);
  if (receipt.readable === 'no') {
    run.problems.push({ code: 'DELIVERY_QUARANTINED', detail: 'readable: no' });
    return { done: 'later', because: 'the backend cannot read the new key; it is kept on this Mac' };
  }
  const delivered = withReceipt(kept, receipt);
  if (receipt.state === 'held' && kept.validated === 'true') {
    finish(run, rotation, delivered);
    await forgetOldItems(run, rotation.id, delivered.envelopeId);
    removeOutputs(run, rotation.id);
    return { done: true, because: rotation.because };
  }
  // Delivered before, and what macOS said is known there: a proof that is due, or another key since, decides it now.
  const told = kept.recordId !== null && !run.journal.value.proofs.some((proof) => proof.envelopeId === kept.envelopeId);
  if (kept.validated === 'true' && told) return concludeUnproved(run, rotation, delivered);
  // Sealed by an earlier run, or of a rotation that is not open there: macOS's answer, told with its moment, makes it held (K7).
  if (kept.validated === 'true') noteProof(run, kept.envelopeId, null, 'true', kept.answered);
  // Both keys stay where they are until macOS has said `true` to one of them.
  run.journal.write({ rotation, outbox: [...run.journal.value.outbox.filter((one) => one.envelopeId !== kept.envelopeId), delivered] });
  if (kept.validated !== 'true') return { done: 'later', because: 'the new key is delivered, and macOS has not confirmed it yet' };
  return { done: 'later', because: 'the new key is delivered, and the backend takes it for the valid one at the next check-in' };
}

/** Nothing more can be found out by this rotation. The sealed key is at the server and stays here; the server's proofs decide. */
export function concludeUnproved(run: Run, rotation: JournalRotation, kept: Kept): Outcome {
  const detail = 'its key is delivered and not proved';
  run.journal.write({
    ...withCurrent(run.journal.value, kept),
    rotation: null,
    endings: [...run.journal.value.endings, { rotationId: rotation.id, as: 'not-known', detail }],
  });
  run.log('rotation-resolved', { rotationId: rotation.id, as: 'not-known', because: detail });
  return { done: false, because: 'the new key is delivered; whether it is the valid one is for a proof to tell' };
}

/** Step 14: one write. */
export function finish(run: Run, rotation: JournalRotation, kept: Kept): void {
  const journal = run.journal.value;
  // Before the journal, so that a run that dies here comes back to it.
  if (rotation.authorizedBy === 'password') forgetTries(run, reckonedNow(run));
  run.journal.write({
    ...withCurrent(journal, kept),
    rotation: null,
    debts: journal.debts.filter((debt) => !debt.confirmed),
    doubts: [],
    session: journal.session && rotation.because === 'used' ? { ...journal.session, usedChanged: true } : journal.session,
    exhausted: false,
    pace: { ...journal.pace, failed: null, proofDue: null },
  });
  run.log('rotation-done', { rotationId: rotation.id, because: rotation.because, envelopeId: kept.envelopeId });
}
