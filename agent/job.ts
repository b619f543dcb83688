import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { sayMode } from '../protocol/mode.ts';
import { problems as problemTable } from '../protocol/problems.ts';
import { connect } from './backend.ts';
import type { Booted } from './boot-note.ts';
import { checkIn, type Finished, type World } from './check-in.ts';
import { realDisk } from './disk.ts';
import { type JobSaw, lookFromJob, onlyLooks } from './doctor-job.ts';
import { type Lock, takeLock } from './lock.ts';
import { type Log, openLog } from './log.ts';
import { realRunner } from './mac/run.ts';
import { argumentsOfAll, readBoot } from './mac/system.ts';
import type { Versions } from './observe.ts';
import { paths } from './paths.ts';
import { endQuiet, sayQuietUntil } from './quiet.ts';
import { answer, forgetOldAnswers, makeFolders, removeLeftDoors, sayProgress, type Taken, takeRequests } from './requests.ts';
import { keptKeys, openSecrets } from './secrets.ts';
import { readStatus, writeStatus } from './status.ts';
import { statusOf } from './status-of-run.ts';
import type { Disk, Runner } from './world.ts';

/*
 * What launchd runs. One at a time; requests are moved out of the queue before anything else, because launchd starts the
 * job again for as long as the queue is not empty.
 */

export interface JobOptions {
  version: string;
  /** For tests in process; the shipped agent leaves them alone. */
  world?: Partial<World>;
  pid?: number;
}

/** Resolves with the exit status: 0, or as in the problem table. */
export async function runJob(root: string, options: JobOptions): Promise<number> {
  const disk = options.world?.disk ?? realDisk(root);
  const runner = options.world?.runner ?? realRunner(root);
  const now = options.world?.now ?? Date.now;
  makeFolders(disk);
  // Without it the run fails below, in words and with its requests answered.
  const booted = await readBoot(runner, now()).catch(() => null);
  const me = { pid: options.pid ?? process.pid, boot: booted?.boot ?? 'unknown' };
  const lock = takeLock(root, me) ?? (await takeFromOther(root, runner, me));
  if (!lock) {
    process.stderr.write(`sparekey: ${problemTable.ALREADY_RUNNING.title}\n`);
    return problemTable.ALREADY_RUNNING.exit;
  }
  const stop = watchForStop();
  const log = options.world?.log ?? openLog(root, 'info');
  try {
    return await oneRun(root, options, { disk, runner, now, log, stopping: stop.seen, booted });
  } finally {
    stop.end();
    lock.release();
    await log.close();
  }
}

/**
 * A run that died left its lock, and within the same boot session its pid may be another program's by now. Only where `ps`
 * says so for certain: a process that does not show its arguments may be ours.
 */
async function takeFromOther(root: string, runner: Runner, me: { pid: number; boot: string }): Promise<Lock | null> {
  const lines = (await argumentsOfAll(runner)).split('\n');
  const isOurs = (pid: number): boolean => {
    const args = lines.map((line) => /^\s*(\d+)\s+(.*)$/.exec(line)).find((found) => Number(found?.[1]) === pid)?.[2];
    return args === undefined || /sparekey|^\(/.test(args);
  };
  return takeLock(root, me, isOurs);
}

interface Parts {
  disk: Disk;
  runner: Runner;
  now(): number;
  log: Log;
  stopping(): boolean;
  booted: Booted | null;
}

/** `asked`: requests of the run before, which ended because there is something new for them. */
async function oneRun(root: string, options: JobOptions, parts: Parts, asked: readonly Taken[] = []): Promise<number> {
  const { disk, log } = parts;
  const { taken: come, refused } = takeRequests(disk);
  const taken = [...asked, ...come];
  for (const id of refused) log('request-refused', { id });
  for (const one of come) log('request-taken', { id: one.id, kind: one.kind });
  endQuiet(disk);
  forgetOldAnswers(disk, parts.now());
  removeLeftDoors(disk);
  const versions = readVersions(root, options.version);
  const secrets = options.world?.secrets ?? openSecrets();
  const world: World = {
    root,
    secrets,
    keys: keptKeys(secrets),
    versions,
    monotonic: () => performance.now() / 1000,
    random: Math.random,
    wait: (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds)),
    progress: (says) => sayProgress(disk, taken, says),
    connect,
    staying: (finished) => report(root, world, finished, [], null),
    openDoor: async (...args) => (await import('./password-door.ts')).openDoor(...args),
    ...parts,
    ...options.world,
  };
  const finished = await checkIn(world, taken);
  const saw = taken.some(({ kind }) => kind === 'look') ? await lookFromJob(world, finished) : null;
  // With everything observed anew: what was seen before the wait is old.
  if (finished.news && !world.stopping()) return oneRun(root, options, { ...parts, booted: null }, taken);
  report(root, world, finished, taken, saw);
  // R0: fdesetup is still at it, and the next run looks again.
  const waits = finished.journal?.value.rotation?.state === 'changing' ? 75 : 0;
  return finished.code ? problemTable[finished.code].exit : waits;
}

/** Status for everybody, answers for whoever asked, and until when nothing has to be done. */
function report(root: string, world: World, finished: Finished, taken: readonly Taken[], saw: JobSaw | null): void {
  const before = readStatus(world.disk);
  const now = statusOf(finished, world.versions, world.now(), before);
  // A run for doctor alone hides nothing: how the last one ended is what doctor came for.
  const status =
    now && before && onlyLooks(taken) ? { ...now, at: before.at, lastRun: before.lastRun, rotation: before.rotation, problems: before.problems } : now;
  if (status) writeStatus(world.disk, saw ? { ...status, jobSaw: saw } : status);
  for (const one of taken) answer(world.disk, one, answerTo(one, finished));
  if (finished.code !== null || finished.quietSeconds === null || !finished.journal) return;
  sayQuietUntil(root, world.disk, world.versions.agent, world.now(), finished.quietSeconds, finished.journal.value.escrowSeen);
}

function answerTo(request: Taken, finished: Finished): { exit: number; says: string; fix: string | null; code: string | null } {
  if (finished.code) {
    const { exit, fix } = problemTable[finished.code];
    return { exit, says: finished.did, fix, code: finished.code };
  }
  if (request.kind === 'adopt') return answerToAdopt(finished);
  if (request.kind === 'check-in' || request.kind === 'look')
    return { exit: 0, says: [finished.did, ...(finished.observed ? [sayMode(finished.observed.facts)] : [])].join('; '), fix: null, code: null };
  if (finished.rotated) return { exit: 0, says: 'the recovery key was replaced, and the new one is in safe keeping', fix: null, code: null };
  const problem = finished.decision?.do === 'ask for help' ? finished.decision.code : (finished.problems.at(-1)?.code ?? null);
  return {
    exit: problem ? problemTable[problem].exit : 75,
    says: `the recovery key was not replaced yet: ${finished.did}`,
    fix: problem ? problemTable[problem].fix : 'nothing: it is owed now, and happens as soon as it is safe',
    code: problem,
  };
}

function answerToAdopt({ adopted, rotated, did }: Finished): ReturnType<typeof answerTo> {
  if (rotated) return { exit: 0, says: 'macOS made a new recovery key, and it is in safe keeping', fix: null, code: null };
  if (adopted?.needed === false) return { exit: 0, says: adopted.says, fix: null, code: null };
  const code = adopted ? adopted.code : 'ADOPTION_NOT_NOW';
  const says = adopted?.says ?? `no password was asked for: ${did}`;
  if (code) return { exit: problemTable[code].exit, says, fix: problemTable[code].fix, code };
  return { exit: 75, says, fix: 'nothing: the next runs of the job bring it to its end; look with `sparekey status`', code: null };
}

/** The package says what it is made of. Without its word the runtime counts as unsigned, for trying out only. */
function readVersions(root: string, agent: string): Versions {
  try {
    const file = join(root, paths.build);
    const build = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as { signed?: unknown }) : {};
    return { agent, runtime: process.version, runtimeSigned: build.signed === true };
  } catch {
    return { agent, runtime: process.version, runtimeSigned: false };
  }
}

/** SIGTERM comes at shutdown and at an upgrade: what is begun is finished, nothing new begins. */
function watchForStop(): { seen: () => boolean; end: () => void } {
  let seen = false;
  const note = () => {
    seen = true;
  };
  process.on('SIGTERM', note);
  process.on('SIGINT', note);
  return {
    seen: () => seen,
    end: () => {
      process.off('SIGTERM', note);
      process.off('SIGINT', note);
    },
  };
}
