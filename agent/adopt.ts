import { randomUUID } from 'node:crypto';
import type { CheckInReply } from '../protocol/messages.ts';
import { Problem, type ProblemCode } from '../protocol/problems.ts';
import { mayAsk, noteState, type Obstacle, promptWords, triesSpent } from './adoption.ts';
import {
  type AdoptionNote,
  forgetPassword,
  mayPrompt,
  mostTries,
  nobodyHasTheKey,
  readAdoption,
  spendPassword,
  triesLeft,
  writeAdoption,
} from './adoption-note.ts';
import type { World } from './check-in.ts';
import type { OpenRun } from './conversation.ts';
import type { Situation } from './decide.ts';
import { intendRotation } from './intend.ts';
import type { JournalRotation } from './journal.ts';
import type { Account } from './mac/accounts.ts';
import { hasRecoveryKey, readChangeFailure, startChange, takeChangeOutput } from './mac/fdesetup.ts';
import { keepAwake } from './mac/system.ts';
import type { Password } from './password.ts';
import type { Asker } from './password-door.ts';
import { errorFile, outputFile, paths } from './paths.ts';
import { countChange, reckonedNow } from './refusals.ts';
import type { Taken } from './requests.ts';
import { endUnchanged, keepNewKey, loadEverything, type Outcome, removeOutputs } from './rotate.ts';
import type { Run } from './run-of-agent.ts';

/*
 * A new key by a user's password, for a Mac whose key nobody has (gate 6). The order of writes is that of rotate.ts
 * without its steps 3 and 4: there is no old key. Everything is checked, somebody is there to be asked, and the backend has
 * accepted the change, before a password is asked for. One `begin` serves up to three passwords; macOS's exit 11 means *that was not it*, and the
 * rotation goes back to `intended`, from which a run that dies has changed nothing (R1).
 */

export interface Adopted {
  /** In words, for whoever asked. */
  says: string;
  code: ProblemCode | null;
  /** Nothing was needed, so that nothing was done is no failure. */
  needed: boolean;
}

export interface Adopting {
  world: World;
  run: OpenRun;
  reply: CheckInReply;
  situation: Situation;
  /** Null: nobody asked on this Mac, and the user at the screen may be asked, where the settings say so. */
  request: Taken | null;
}

export interface AdoptOutcome {
  acted: boolean;
  rotated: boolean;
  did: string | null;
  adopted: Adopted | null;
}

const hour = 60 * 60 * 1000;
const changeSeconds = 10 * 60;
/** Seconds of uptime after which the backend is asked again whether the change may begin; its word is good for 60. */
const beginSeconds = 45;

const nothing: AdoptOutcome = { acted: false, rotated: false, did: null, adopted: null };
const isObstacle = (found: Account | Obstacle): found is Obstacle => 'code' in found;
const inWords = ({ code, detail }: Obstacle): string => new Problem(code, detail ?? undefined).message;

export async function adopt(it: Adopting): Promise<AdoptOutcome> {
  const { run, reply, situation, request } = it;
  const now = reckonedNow(run);
  const note = readAdoption(run.disk, run.facts.hardwareUuid, now);
  const outcome = request ? await adoptAsAsked(it, note, request) : await adoptByPrompt(it, note, now);
  if (outcome.rotated) {
    // Rotated or on its way to be: told at once, and the next run tells it again if this one dies.
    return outcome;
  }
  const changed = run.journal.value.rotation === null && (await noteState(run, outcome.acted ? await run.again() : reply, situation, latest(run), now));
  return { ...outcome, acted: outcome.acted || changed };
}

const latest = (run: Run): AdoptionNote => readAdoption(run.disk, run.facts.hardwareUuid, reckonedNow(run));

async function adoptAsAsked(it: Adopting, note: AdoptionNote, request: Taken): Promise<AdoptOutcome> {
  const { world, run, reply, situation } = it;
  if (reply.custody === 'held' && reply.debts.length === 0 && !run.journal.value.exhausted)
    return { ...nothing, adopted: { says: `no password is needed: ${reply.because}`, code: null, needed: false } };
  const found = await mayAsk(run, reply, situation, note, request.user ?? null, reckonedNow(run));
  if (isObstacle(found)) return stopped(run, found);
  return withAsker(it, found, await world.openDoor(world.root, run.disk, request.id, { user: found.name, ...wordsOf(run) }));
}

const wordsOf = ({ settings }: Run) => ({ organisation: settings.organisation, words: settings.adoptWords, contact: settings.adoptContact });

/** A week passes between two dialogs, whatever came of the first: a dialog that comes again and again is clicked away, or believed. */
async function adoptByPrompt(it: Adopting, note: AdoptionNote, now: number): Promise<AdoptOutcome> {
  const { run, reply, situation } = it;
  const words = promptWords(run);
  if (!words) return nothing;
  const isThere = run.settled && run.facts.settledUser === run.facts.consoleUser && run.facts.darkWake === 'no';
  if (!isThere || !nobodyHasTheKey(run, reply) || !mayPrompt(note, now) || triesLeft(note, now) < mostTries) return nothing;
  const found = await mayAsk(run, reply, situation, note, run.facts.settledUser, now);
  if (isObstacle(found) || found.uid === null) return nothing;
  if (!isCalm(run, situation, now)) return nothing;
  const { dialogAsker } = await import('./adopt-dialog.ts');
  const notePrompt = () => writeAdoption(run.disk, { ...latest(run), promptedAt: reckonedNow(run) });
  return withAsker(it, found, dialogAsker(run, found.uid, found.name, words, notePrompt));
}

/** Nobody is disturbed while macOS itself may be about to bring a key: a payload that is new, or an escrow file that is not read yet; nor where somebody else makes keys. */
function isCalm(run: Run, { payloadChangedAt, foreignChanges }: Situation, now: number): boolean {
  const file = run.disk.facts(paths.escrowFile);
  const { escrowSeen } = run.journal.value;
  const isRead = file === null || (escrowSeen !== null && escrowSeen.size === file.size && escrowSeen.modifiedMs === file.modifiedMs);
  return isRead && (payloadChangedAt === null || now - payloadChangedAt >= hour) && !foreignChanges.some((at) => at > now - 7 * 24 * hour);
}

function stopped(run: Run, { code, detail }: Obstacle): AdoptOutcome {
  run.problems.push({ code, ...(detail ? { detail } : {}) });
  const says = inWords({ code, detail });
  return { acted: false, rotated: false, did: says, adopted: { says, code, needed: true } };
}

async function withAsker(it: Adopting, user: Account, asker: Asker): Promise<AdoptOutcome> {
  const { world, run } = it;
  const before = run.problems.length;
  try {
    await loadEverything(run);
    await keychainOrServer(run);
    world.progress('waiting for the password');
    // Whoever asked may have gone long ago: then nothing is begun, and none of the begins of the day is spent.
    if (!(await asker.ready())) return it.request ? stopped(run, { code: 'PASSWORD_NOT_GIVEN', detail: 'nobody waits for it any more' }) : nothing;
    const { rotation, debtIds } = await intend(run, it.reply);
    await begin(run, rotation, debtIds);
    const outcome = await tryPasswords(it, rotation, debtIds, user, asker);
    return said(run, outcome, before);
  } catch (cause) {
    const open = run.journal.value.rotation;
    if (open?.state !== 'intended' || !(cause instanceof Problem)) throw cause;
    return said(run, await endUnchanged(run, open, cause), before);
  } finally {
    asker.close();
  }
}

/** What came of it, with the code of what stood in the way, which the ending has noted. */
function said(run: Run, outcome: Outcome, before: number): AdoptOutcome {
  const did = outcome.done === true ? 'replaced the recovery key, by the password of a user' : outcome.because;
  const code = outcome.done === false ? (run.problems.slice(before).at(-1)?.code ?? 'CHANGE_FAILED') : null;
  return { acted: true, rotated: outcome.done === true, did, adopted: { says: did, code, needed: true } };
}

/** Gate 4: a keychain that does not keep what is put into it keeps no key of this rotation. */
async function keychainOrServer(run: Run): Promise<void> {
  if (run.facts.custodyMode !== 'keychain' || (await run.keys.roundTrip(`probe:${run.facts.hardwareUuid}`))) return;
  run.problems.push({ code: 'KEYCHAIN_LOCKED' });
  run.facts = { ...run.facts, custodyMode: 'server' };
}

/** Step 1. What is owed for a key that nobody has is owed from now on; the backend begins nothing for which nothing is owed. */
async function intend(run: OpenRun, reply: CheckInReply): Promise<{ rotation: JournalRotation; debtIds: string[] }> {
  let debts = reply.debts;
  if (debts.length === 0) {
    const knows = reply.held !== null || reply.candidates.length > 0;
    const debt = { id: randomUUID(), envelopeId: run.journal.value.current?.envelopeId ?? null, boot: run.facts.boot, confirmed: false };
    const because = knows ? { because: 'ordered' as const, reason: 'a password is given on this Mac' } : { because: 'never-escrowed' as const };
    run.journal.write({ debts: [...run.journal.value.debts, { ...debt, ...because }] });
    debts = (await run.again()).debts;
  }
  const because = debts[0]?.because ?? 'never-escrowed';
  const rotation = intendRotation(run, { because, authorizedBy: 'password', oldItem: null, oldRecordId: reply.held?.recordId ?? null });
  return { rotation, debtIds: debts.slice(0, 16).map((debt) => debt.id) };
}

/** Step 2. The same id again is the same rotation, counted once. */
async function begin(run: Run, rotation: JournalRotation, debtIds: string[]): Promise<void> {
  const { certificateDigest } = await import('../protocol/envelope.ts');
  const { hardwareUuid, volume, boot, escrow } = run.facts;
  const recipient = certificateDigest(run.escrowCertificate);
  await run.ask.begin({
    id: rotation.id,
    because: rotation.because,
    debtIds,
    hardwareUuid,
    volume,
    boot,
    recipient,
    escrowPayload: escrow.payload,
    grant: null,
  });
  run.log('rotation-begun', { rotationId: rotation.id });
}

async function tryPasswords({ world, run }: Adopting, rotation: JournalRotation, debtIds: string[], user: Account, asker: Asker): Promise<Outcome> {
  let begunAt = run.uptime();
  await keepAwake(run.runner);
  for (let wrong = 0; ; wrong += 1) {
    const note = latest(run);
    const left = triesLeft(note, reckonedNow(run));
    if (left === 0) return endUnchanged(run, rotation, problemOf(triesSpent(note)));
    const password = await asker.ask(left, wrong === 0 ? 'first' : 'wrong');
    if (!password) return endUnchanged(run, rotation, wrong === 0 ? new Problem('PASSWORD_NOT_GIVEN') : wrongPassword(user, left));
    try {
      if (run.stopping()) return endUnchanged(run, rotation, new Problem('ADOPTION_NOT_NOW', 'the agent was told to stop'));
      if (run.uptime() - begunAt > beginSeconds) {
        await begin(run, rotation, debtIds);
        begunAt = run.uptime();
      }
      world.progress('replacing the recovery key');
      const outcome = await change(run, rotation, user.name, password, wrong === 0);
      if (outcome !== 'wrong') return outcome;
    } finally {
      password.wipe();
    }
    run.log('password-wrong', { left: left - 1 });
  }
}

const problemOf = ({ code, detail }: Obstacle): Problem => new Problem(code, detail ?? undefined);
const wrongPassword = (user: Account, left: number): Problem =>
  new Problem(user.isMobile ? 'PASSWORD_NOT_SYNCED' : 'PASSWORD_WRONG', `${left} of ${mostTries} tries are left today`);

/** Steps 5 to 8. `wrong`: macOS did not take the password, so nothing has changed. */
async function change(run: Run, rotation: JournalRotation, user: string, password: Password, isFirst: boolean): Promise<Outcome | 'wrong'> {
  const files = { out: outputFile(rotation.id), err: errorFile(rotation.id) };
  writeAdoption(run.disk, spendPassword(latest(run), reckonedNow(run)));
  run.disk.makeFolder(paths.outputs, 0o700);
  run.disk.createEmpty(files.out); // 5
  run.disk.createEmpty(files.err);
  const changing: JournalRotation = { ...rotation, state: 'changing', changingUptime: run.uptime() };
  run.journal.write({ rotation: changing, ownEscrowChangeDue: true, ...(isFirst ? countChange(run) : {}) }); // 6
  const started = await startChange(run.runner, { user, password }, files); // 7
  password.wipe();
  const ended = await started.ended(changeSeconds);
  if (ended === 'still-running') return { done: 'later', because: 'fdesetup is still at it' };

  run.disk.sync(files.out); // 8
  const output = takeChangeOutput(run.disk.read(files.out, 1024 * 1024));
  if (!output) return failed(run, rotation, ended.code, files.err);
  // Cut off: it counts for nothing until macOS says `true` to it, and resolve.ts asks.
  if (!output.whole) return { done: 'later', because: 'what macOS wrote of the new key is cut off' };
  return keepNewKey(run, changing, output.key);
}

async function failed(run: Run, rotation: JournalRotation, code: number | null, errorPath: string): Promise<Outcome | 'wrong'> {
  const words = (run.disk.read(errorPath, 1024 * 1024) ?? Buffer.alloc(0)).toString('utf8');
  const failure = readChangeFailure(code, words);
  run.log('change-failed', { rotationId: rotation.id, exit: code ?? 'signal', failure });
  // 99 is macOS's word for much else: only with the words of a refusal is it one.
  const isRefusal = failure === 'refused' && (code === 11 || /could not be authent|unable to unlock or authent/i.test(words));
  if (failure === 'busy') {
    writeAdoption(run.disk, forgetPassword(latest(run)));
    return endUnchanged(run, rotation, new Problem('FILEVAULT_BUSY', `fdesetup ${code}`));
  }
  // Old systems removed the key when the password was wrong: whoever sees that has not kept the old one. Where there was none, none is missing.
  const isGone = run.facts.fileVault.hasRecoveryKey !== 'no' && (await hasRecoveryKey(run.runner)) === 'no';
  if (!isRefusal || isGone) return { done: 'later', because: 'macOS gave no new key, and it is not known whether it made one' };
  // Then the files: without them, and still `changing`, a run that dies here would leave it in doubt.
  run.journal.write({ rotation, ownEscrowChangeDue: false });
  removeOutputs(run, rotation.id);
  return 'wrong';
}
