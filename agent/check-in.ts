import { randomUUID } from 'node:crypto';
import type { CheckInReply, CheckInRequest } from '../protocol/messages.ts';
import { Problem, type ProblemCode } from '../protocol/problems.ts';
import type { Backend } from './backend.ts';
import { readStanding, type Standing } from './boot-note.ts';
import { type Decision, decide, type Situation } from './decide.ts';
import { deliverWanted, everyEnvelope } from './deliver.ts';
import { noticeEscrowFile, withEscrowFile } from './escrow-file.ts';
import { type Journal, type JournalFile, openJournal, reckonServerTime, withCurrent } from './journal.ts';
import type { Log } from './log.ts';
import { changeIsRunning } from './mac/fdesetup.ts';
import { updateBeingPrepared } from './mac/system.ts';
import { type Observed, observe, type Versions } from './observe.ts';
import { paths } from './paths.ts';
import { prove } from './prove.ts';
import { mayTry, reckonedNow } from './refusals.ts';
import type { Taken } from './requests.ts';
import { resolve } from './resolve.ts';
import { type Outcome, rotate } from './rotate.ts';
import type { Run } from './run-of-agent.ts';
import { keepLastGood, readSettings, type SettingsRead, settingsProblem } from './settings.ts';
import type { Settings } from './settings-table.ts';
import type { Disk, KeptKeys, Runner, Secrets } from './world.ts';

/*
 * One run of the agent: observe, ask, decide, act, report. launchd calls it and it ends; what must survive is the journal.
 * What an earlier run left unfinished comes before anything new.
 */

/** Through these alone a run touches its Mac and the backend. */
export interface World {
  root: string;
  runner: Runner;
  disk: Disk;
  secrets: Secrets;
  keys: KeptKeys;
  log: Log;
  versions: Versions;
  /** The Mac's clock, milliseconds. */
  now(): number;
  /** Seconds that only go forward. */
  monotonic(): number;
  wait(milliseconds: number): Promise<void>;
  stopping(): boolean;
  /** Says to whoever waits what is being done. */
  progress(says: string): void;
  /** The backend as this Mac: identity loaded, enrolled or renewed first. */
  connect(world: World, parts: Connecting): Promise<Backend>;
}

export interface Connecting {
  settings: Settings;
  /** Whether the settings are managed now: without that nobody enrols anew. */
  managed: boolean;
  journal: JournalFile;
  standing: Standing;
  /** The identity that was used is of no use any more: set it aside and enrol anew. */
  anew: ProblemCode | null;
}

/** What came of it, for the status file, the command line and the next wake-up. */
export interface Finished {
  did: string;
  code: ProblemCode | null;
  /** The key was replaced in this run. */
  rotated: boolean;
  /** Seconds after which the next full run is due; null: at the next wake-up, whatever it is for. */
  quietSeconds: number | null;
  observed: Observed | null;
  standing: Standing | null;
  journal: JournalFile | null;
  read: SettingsRead | null;
  reply: CheckInReply | null;
  backend: Backend | null;
  decision: Decision | null;
  problems: Run['problems'];
}

/** With any of these the identity is of no use any more, and the same run enrols anew. */
const enrolAnew: readonly ProblemCode[] = ['CERTIFICATE_UNKNOWN', 'CERTIFICATE_REPLACED', 'CERTIFICATE_EXPIRED', 'IDENTITY_MOVED'];

export async function checkIn(world: World, requests: readonly Taken[]): Promise<Finished> {
  const finished: Finished = {
    did: '',
    code: null,
    rotated: false,
    quietSeconds: null,
    observed: null,
    standing: null,
    journal: null,
    read: null,
    reply: null,
    backend: null,
    decision: null,
    problems: [],
  };
  try {
    await inOrder(world, requests, finished);
  } catch (cause) {
    const problem = cause instanceof Problem ? cause : new Problem('AGENT_BUG', whereOf(cause), { cause });
    finished.did = problem.message;
    finished.code = problem.code;
    finished.problems.push({ code: problem.code, ...(problem.detail ? { detail: problem.detail.slice(0, 256) } : {}) });
    world.log(problem.kind.exit === 69 ? 'offline' : 'run-failed', { code: problem.code, detail: problem.detail });
  }
  finished.backend?.close();
  return finished;
}

/** The kind of an unforeseen error and its place in the code: never its message, which could hold anything. */
const whereOf = (cause: unknown): string => {
  const { name, stack } = cause instanceof Error ? cause : { name: typeof cause, stack: '' };
  return `${name} at ${/[\w.-]+:\d+:\d+/.exec(stack ?? '')?.[0] ?? 'an unknown place'}`;
};

async function inOrder(world: World, requests: readonly Taken[], finished: Finished): Promise<void> {
  const standing = await readStanding(world.runner, world.disk, world.now());
  finished.standing = standing;
  const startedAt = world.monotonic();
  const uptime = () => standing.uptimeSeconds + (world.monotonic() - startedAt);
  const journal = openOwnJournal(world, standing, finished);
  const read = await readSettings(world.runner, world.disk, world.now());
  finished.read = read;
  const wrong = settingsProblem(read);
  if (wrong || !read.settings) throw wrong ?? new Problem('SETTINGS_MISSING');
  const { settings } = read;
  keepLastGood(world.disk, read);

  await lookAtEscrowFile(world, journal, standing, settings, uptime, finished);
  const way = journal.value.identity
    ? journal.value.identity.way
    : settings.identityCertificateFile || settings.identityPkcs12File
      ? 'files'
      : settings.enrolmentTicket
        ? 'ticket'
        : 'profile';
  const observed = await observe(world, standing, journal.value, { ...read, settings }, world.versions, way);
  finished.observed = observed;
  writeSession(journal, observed, requests);
  if (observed.facts.darkWake === 'yes') {
    finished.did = 'asleep';
    finished.quietSeconds = null;
    world.log('asleep');
    return;
  }

  world.progress('asking the backend');
  const run = await openRun(world, { standing, journal, settings, managed: read.state === 'managed', observed, uptime, finished });
  const early = await unlessOffline(finished, () => resolve(run, null));
  await run.again();
  await finishRun(world, run, finished, early);
}

/** What is set aside stays on the disk under another name; nothing of another machine is used. */
function openOwnJournal(world: World, standing: Standing, finished: Finished): JournalFile {
  const stamp = String(world.now());
  const journal = openJournal(world.disk, standing, standing.volume, stamp);
  finished.journal = journal;
  if (journal.opened === 'other-machine-set-aside') {
    for (const name of world.disk.list(paths.outputs)) world.disk.rename(`${paths.outputs}/${name}`, `${paths.state}/${name}.other-mac-${stamp}`);
    finished.problems.push({ code: 'MOVED_FROM_OTHER_MAC' });
    world.log('moved-from-other-mac');
  } else if (journal.opened === 'unreadable-set-aside') {
    finished.problems.push({ code: 'JOURNAL_UNREADABLE' });
    world.log('journal-set-aside', { because: journal.opened });
  } else if (journal.opened === 'other-volume-set-aside') {
    world.log('journal-set-aside', { because: journal.opened });
  }
  return journal;
}

async function lookAtEscrowFile(
  world: World,
  journal: JournalFile,
  standing: Standing,
  settings: Settings,
  uptime: () => number,
  finished: Finished,
): Promise<void> {
  const noticed = await noticeEscrowFile(world, journal.value, settings.escrowCertificate);
  if (noticed.found === 'unreadable') {
    finished.problems.push({ code: 'ESCROW_FILE_UNREADABLE' });
    world.log('escrow-file-unreadable');
  }
  if (noticed.found === 'foreign' && !journal.value.foreignReported.includes(noticed.seen.digest)) {
    finished.problems.push({ code: 'ESCROW_FILE_FOREIGN' });
    world.log('escrow-file-foreign', { digest: noticed.seen.digest, recipient: noticed.seen.recipient });
  }
  const now = reckonServerTime(journal.value, standing.boot, uptime()) ?? world.now();
  const change = withEscrowFile(journal.value, noticed, now);
  const foreign =
    noticed.found === 'foreign'
      ? { foreignReported: [...journal.value.foreignReported.filter((one) => one !== noticed.seen.digest), noticed.seen.digest].slice(-20) }
      : {};
  if (Object.keys(change).length > 0) journal.write({ ...change, ...foreign });
  if (noticed.found === 'ours' && noticed.kept) world.log('escrow-file-seen', { envelopeId: noticed.kept.envelopeId });
}

/** Writes only what changed: a run in which nothing happened writes nothing. */
function writeSession(journal: JournalFile, observed: Observed, requests: readonly Taken[]): void {
  const asked = requests
    .filter((one) => one.kind === 'rotate' && !journal.value.debts.some((debt) => debt.id === one.id))
    .map((one) => ({
      id: one.id,
      because: 'ordered' as const,
      envelopeId: journal.value.current?.envelopeId ?? null,
      boot: observed.facts.boot,
      confirmed: false,
      ...(one.reason ? { reason: one.reason } : {}),
    }));
  const debts = [...observed.debts, ...asked];
  const same = JSON.stringify([journal.value.session, journal.value.debts]) === JSON.stringify([observed.session, debts]);
  if (!same) journal.write({ session: observed.session, debts });
}

interface Opening {
  standing: Standing;
  journal: JournalFile;
  settings: Settings;
  managed: boolean;
  observed: Observed;
  uptime: () => number;
  finished: Finished;
}

type OpenRun = Run & { again(): Promise<CheckInReply>; reply: CheckInReply | null };

async function openRun(world: World, it: Opening): Promise<OpenRun> {
  const { standing, journal, settings, managed, observed, uptime, finished } = it;
  let backend = await world.connect(world, { settings, managed, journal, standing, anew: null });
  finished.backend = backend;
  let nonce: string | null = null;
  const again = async (): Promise<CheckInReply> => {
    const request = reportOf(run);
    let reply: CheckInReply;
    try {
      reply = await run.ask.checkIn(request);
    } catch (cause) {
      if (!(cause instanceof Problem) || !enrolAnew.includes(cause.code) || backend.anew) throw cause;
      world.log('identity-set-aside', { because: cause.code });
      backend.close();
      backend = await world.connect(world, { settings, managed, journal, standing, anew: cause.code });
      finished.backend = backend;
      run.ask = backend.ask;
      run.sign = backend.sign;
      reply = await run.ask.checkIn(request);
    }
    await backend.confirm();
    nonce = reply.grantNonce;
    run.reply = reply;
    run.enrolmentId = reply.enrolmentId;
    finished.reply = reply;
    noteReply(run, reply);
    return reply;
  };
  const run: OpenRun = {
    id: randomUUID(),
    runner: world.runner,
    disk: world.disk,
    keys: world.keys,
    ask: backend.ask,
    enrolmentId: backend.enrolmentId ?? '',
    sign: backend.sign,
    async takeNonce() {
      const taken = nonce ?? (await again()).grantNonce;
      nonce = null;
      return taken;
    },
    journal,
    settings,
    escrowCertificate: settings.escrowCertificate,
    facts: observed.facts,
    settled: observed.settled,
    log: world.log,
    now: world.now,
    uptime,
    wait: world.wait,
    stopping: world.stopping,
    problems: finished.problems,
    again,
    reply: null,
  };
  return run;
}

/** What the backend is told: facts, what could be delivered, and everything that it has not confirmed yet. */
function reportOf(run: Run): CheckInRequest {
  const journal = run.journal.value;
  return {
    facts: { ...run.facts, uptimeSeconds: run.uptime() },
    offers: everyEnvelope(run)
      .slice(0, 12)
      .map((one) => one.envelopeId),
    debts: journal.debts.filter((debt) => !debt.confirmed).map(({ confirmed: _, ...debt }) => debt),
    proofs: journal.proofs,
    endings: journal.endings,
    rotation: journal.rotation ? { id: journal.rotation.id, state: journal.rotation.state, because: journal.rotation.because } : null,
    exhausted: journal.exhausted,
    problems: run.problems.slice(0, 16).map((one) => ({ code: one.code, ...(one.detail ? { detail: one.detail.slice(0, 256) } : {}) })),
  };
}

/** What the answer changes in the journal: confirmed reports go, closed debts go, and custody is what the answer says. */
function noteReply(run: Run, reply: CheckInReply): void {
  const journal = run.journal.value;
  const open = new Set(reply.debts.map((debt) => debt.id));
  const current = journal.current && { ...journal.current, held: reply.held?.envelopeIds.includes(journal.current.envelopeId) ?? false };
  const next: Partial<Journal> = {
    clock: { serverTime: Date.parse(reply.serverTime), boot: run.facts.boot, uptime: run.uptime() },
    debts: journal.debts
      .map((debt) => (reply.confirmed.debts.includes(debt.id) ? { ...debt, confirmed: true } : debt))
      .filter((debt) => !debt.confirmed || open.has(debt.id)),
    proofs: journal.proofs.filter((proof) => !reply.confirmed.proofs.includes(proof.id)),
    endings: journal.endings.filter((ending) => !reply.confirmed.endings.includes(ending.rotationId)),
    ...(current ? withCurrent(journal, current) : {}),
  };
  run.journal.write(next);
}

async function unlessOffline(finished: Finished, act: () => Promise<Outcome | null>): Promise<Outcome | null> {
  try {
    return await act();
  } catch (cause) {
    // Before the backend was asked, what needs it waits; everything else is a real failure.
    if (!(cause instanceof Problem) || cause.kind.exit !== 69) throw cause;
    finished.problems.push({ code: cause.code });
    return null;
  }
}

async function finishRun(world: World, run: OpenRun, finished: Finished, early: Outcome | null): Promise<void> {
  let reply = run.reply as CheckInReply;
  let delivered = await deliverWanted(run, reply);
  if (delivered) reply = await run.again();
  const resolved = (await resolve(run, reply)) ?? early;
  if (resolved) {
    delivered = true;
    reply = await run.again();
  }
  const decision = decide(await situationOf(world, run, reply, finished));
  finished.decision = decision;
  const outcome = await act(world, run, reply, decision);
  if (outcome.acted) {
    // fdesetup gave no key, or macOS could not be asked: what can be found out now is found out now.
    if (run.journal.value.rotation) await resolveAtOnce(world, run, finished, outcome);
    // macOS writes its own envelope of a new key a moment after fdesetup: a second witness, best delivered at once.
    if (outcome.rotated) await noticeWitness(world, run, finished);
    reply = await run.again();
    if (await deliverWanted(run, reply)) reply = await run.again();
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
  finished.quietSeconds = quietSeconds(run, reply);
  if (outcome.acted || delivered) world.log('checked-in', { custody: reply.custody, did: finished.did });
  else world.log('nothing-to-do', { custody: reply.custody });
}

const nothingBut = (decision: Decision): string => (decision.do === 'nothing' ? `nothing, because ${decision.because}` : decision.because);

async function situationOf(world: World, run: Run, reply: CheckInReply, finished: Finished): Promise<Situation> {
  const journal = run.journal.value;
  const owed = reply.debts.length > 0 || reply.proofOrders.length > 0;
  const { certificateDigest } = await import('../protocol/envelope.ts');
  const now = reckonedNow(run);
  const build = run.facts.macosBuild;
  const month = 30 * 24 * 60 * 60 * 1000;
  return {
    facts: run.facts,
    settled: run.settled,
    reply,
    recipient: certificateDigest(run.escrowCertificate),
    rotationOpen: journal.rotation !== null,
    outboxEmpty: journal.outbox.length === 0,
    mayTry: mayTry(journal, now, run.settled),
    usedChanged: journal.session?.usedChanged ?? false,
    now,
    foreignChanges: journal.foreignChanges,
    capability: run.facts.capability,
    provedOnThisBuild: journal.lastProof?.build === build && journal.lastProof.at > now - month,
    proofFirst:
      (journal.capability !== null && journal.capability.build !== build) ||
      (journal.lastProof !== null && (journal.lastProof.build !== build || journal.lastProof.at <= now - month)),
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
  const resolved = await resolve(run, await run.again());
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
function quietSeconds(run: Run, reply: CheckInReply): number | null {
  const { rotation, outbox, proofs, endings, debts } = run.journal.value;
  if (rotation || outbox.length > 0 || proofs.length > 0 || endings.length > 0 || debts.some((debt) => !debt.confirmed)) return null;
  if (reply.debts.length > 0 || reply.proofOrders.length > 0) return null;
  return Math.min(reply.nextCheckInSeconds, run.settings.checkInMinutes * 60);
}
