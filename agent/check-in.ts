import type { CheckInReply } from '../protocol/messages.ts';
import { Problem, type ProblemCode } from '../protocol/problems.ts';
import { finishRun } from './acting.ts';
import type { Adopted } from './adopt.ts';
import { readAdoption, withAdoption } from './adoption-note.ts';
import type { Backend } from './backend.ts';
import { type Booted, readStanding, type Standing } from './boot-note.ts';
import { openRun } from './conversation.ts';
import type { Decision } from './decide.ts';
import { onlyLooks } from './doctor-job.ts';
import { noticeEscrowFile, withEscrowFile } from './escrow-file.ts';
import { type JournalFile, openJournal, readOnlyJournal, reckonServerTime } from './journal.ts';
import type { Log } from './log.ts';
import { excludeFromBackups } from './mac/system.ts';
import { type Observed, observe, type Versions } from './observe.ts';
import { isGivenUp } from './others.ts';
import type { Asked, Asker } from './password-door.ts';
import { paths } from './paths.ts';
import type { Taken } from './requests.ts';
import { resolve } from './resolve.ts';
import type { Outcome } from './rotate.ts';
import type { Run } from './run-of-agent.ts';
import { keepLastGood, readSettings, type SettingsRead, settingsProblem } from './settings.ts';
import type { Settings } from './settings-table.ts';
import { noteRefusal, staysAway } from './staying-away.ts';
import { waitForNews } from './waiting.ts';
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
  /** The boot session, as it was asked for the lock. */
  booted: Booted | null;
  /** The Mac's clock, milliseconds. */
  now(): number;
  /** Seconds that only go forward. */
  monotonic(): number;
  wait(milliseconds: number): Promise<void>;
  /** 0 to 1. */
  random(): number;
  stopping(): boolean;
  /** The run is done, and the job stays only for what may come: what it did is said now. */
  staying(finished: Finished): void;
  /** Says to whoever waits what is being done. */
  progress(says: string): void;
  /** Where the command line brings a password to. */
  openDoor(root: string, disk: Disk, requestId: string, facts: Omit<Asked, 'left' | 'before'>): Promise<Asker>;
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
  /** The backend has something new for this Mac: a run from the beginning is due at once. */
  news: boolean;
  /** Seconds after which the next full run is due; null: at the next wake-up, whatever it is for. */
  quietSeconds: number | null;
  observed: Observed | null;
  standing: Standing | null;
  journal: JournalFile | null;
  read: SettingsRead | null;
  reply: CheckInReply | null;
  backend: Backend | null;
  decision: Decision | null;
  /** What came of asking for a password; null where nobody was to be asked. */
  adopted: Adopted | null;
  problems: Run['problems'];
}

export async function checkIn(world: World, requests: readonly Taken[]): Promise<Finished> {
  const finished: Finished = {
    did: '',
    code: null,
    rotated: false,
    news: false,
    quietSeconds: null,
    observed: null,
    standing: null,
    journal: null,
    read: null,
    reply: null,
    backend: null,
    decision: null,
    adopted: null,
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
    noteRefusal(world, problem);
  }
  finished.backend?.close();
  return finished;
}

/** The kind of an unforeseen error and its place in the code: never its message, which could hold anything. */
const whereOf = (cause: unknown): string => {
  const { name, stack } = cause instanceof Error ? cause : { name: typeof cause, stack: '' };
  return `${name} at ${/[\w.-]+:\d+:\d+/.exec(stack ?? '')?.[0] ?? 'an unknown place'}`;
};

async function inOrder(world: World, requests: readonly Taken[], finished: Finished, waited = false): Promise<void> {
  // What was read before the wait says less uptime than there is.
  const standing = await readStanding(world.runner, world.disk, world.now(), waited ? null : world.booted);
  finished.standing = standing;
  const startedAt = world.monotonic();
  const uptime = () => standing.uptimeSeconds + (world.monotonic() - startedAt);
  // Once in a boot session: the folder may be new, and what was set once may have been undone.
  if (standing.isFirst && !(await excludeFromBackups(world.runner, paths.state))) world.log('not-excluded-from-backups');
  const journal = await openOwnJournal(world, standing, finished).catch((cause: unknown) => tellTooNew(world, standing, uptime, finished, cause));
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
  const reckoned = reckonServerTime(journal.value, standing.boot, uptime()) ?? world.now();
  observed.facts = withAdoption(observed.facts, readAdoption(world.disk, standing.hardwareUuid, reckoned).state);
  finished.observed = observed;
  writeSession(journal, observed, requests);
  if (observed.facts.darkWake === 'yes') {
    finished.did = 'asleep';
    finished.quietSeconds = null;
    world.log('asleep');
    return;
  }

  const heardAt = reckonServerTime(journal.value, standing.boot, uptime());
  if (requests.length === 0 && isGivenUp(journal.value, read.state === 'managed', heardAt, settings.quietAfterDays)) {
    finished.did = `nothing, because the settings have not been managed for ${settings.quietAfterDays} days: the backend is asked again when they are`;
    finished.quietSeconds = settings.checkInMinutes * 60;
    world.log('nothing-to-do', { because: 'given up' });
    return;
  }

  const stays = await staysAway(world, { hardwareUuid: standing.hardwareUuid, journal: journal.value, requests, finished, waited });
  if (stays === 'yes') return;
  if (stays === 'later') {
    finished.problems.splice(0);
    return inOrder(world, requests, finished, true);
  }
  world.progress('asking the backend');
  const run = await openRun(world, { standing, journal, settings, managed: read.state === 'managed', observed, uptime, finished });
  if (onlyLooks(requests) && !journal.value.rotation) {
    await run.again();
    finished.did = 'looked for doctor, and did nothing';
    return;
  }
  const early = await unlessOffline(finished, () => resolve(run, null));
  await run.again();
  await finishRun(world, run, finished, early, requests);
  finished.news = await waitForNews(world, run, finished, requests);
}

/** What is set aside stays on the disk under another name; nothing of another machine is used. */
async function openOwnJournal(world: World, standing: Standing, finished: Finished): Promise<JournalFile> {
  const stamp = String(world.now());
  const journal = openJournal(world.disk, standing, standing.volume, stamp);
  finished.journal = journal;
  if (journal.opened === 'other-machine-set-aside') {
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

/** A journal of a newer agent stays as it is. With its identity this one checks in and says so, and does nothing else. */
async function tellTooNew(world: World, standing: Standing, uptime: () => number, finished: Finished, cause: unknown): Promise<never> {
  if (!(cause instanceof Problem) || cause.code !== 'JOURNAL_TOO_NEW') throw cause;
  const journal = readOnlyJournal(world.disk, standing, standing.volume);
  const read = await readSettings(world.runner, world.disk, world.now());
  finished.read = read;
  if (!journal || !read.settings) throw cause;
  const { settings } = read;
  const observed = await observe(world, standing, journal.value, { ...read, settings }, world.versions, journal.value.identity?.way ?? 'files');
  finished.observed = observed;
  finished.problems.push({ code: cause.code, ...(cause.detail ? { detail: cause.detail } : {}) });
  // Not managed: what is no identity of ours is no reason to enrol anew.
  const run = await openRun(world, { standing, journal, settings, managed: false, observed, uptime, finished });
  await run.again();
  throw cause;
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
  if (noticed.found === 'refused') {
    finished.problems.push({ code: 'ESCROW_FILE_REFUSED', detail: noticed.code });
    world.log('escrow-file-refused', { because: noticed.code });
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
  // Asked for again before the backend has heard of it, it is owed once.
  const waiting = observed.debts.some((debt) => debt.because === 'ordered' && !debt.confirmed);
  const asked = requests
    .filter((one) => one.kind === 'rotate' && !waiting && !journal.value.debts.some((debt) => debt.id === one.id))
    .slice(0, 1)
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
