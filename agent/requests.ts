import { Problem } from '../protocol/problems.ts';
import { paths } from './paths.ts';
import type { Disk } from './world.ts';

/*
 * How the command line asks the job: a file in the queue, then a kick. The job moves a request out of the queue
 * before it acts on it, because launchd starts the job again for as long as the queue is not empty. The third time that a
 * run dies on a request, the request goes to `failed`.
 */

const mostBytes = 4096;
const mostTries = 3;

export interface Request {
  id: string;
  /** `look`: doctor asks what only the job can tell; nothing is acted on. */
  kind: 'check-in' | 'rotate' | 'adopt' | 'look';
  /** Why, in the words of whoever asked; `rotate` only. */
  reason: string | null;
  /** Whose password it is to be; `adopt` only, and never the password itself. */
  user?: string;
}

/** What the command line prints. `exit` as in the problem table; 0 when done. */
export interface Result {
  id: string;
  exit: number;
  says: string;
  fix: string | null;
  code: string | null;
}

export interface Taken extends Request {
  file: string;
}

const nameOf = /^([A-Za-z0-9-]{1,64})\.(\d)\.json$/;

export function makeFolders(disk: Disk): void {
  for (const folder of [paths.state, paths.queue, paths.taken, paths.failed, paths.results, paths.outputs]) disk.makeFolder(folder, 0o700);
  disk.makeFolder(paths.public, 0o755);
}

export function ask(disk: Disk, request: Request): void {
  disk.replace(`${paths.state}/${request.id}.request`, JSON.stringify(request), 0o600);
  disk.rename(`${paths.state}/${request.id}.request`, `${paths.queue}/${request.id}.json`);
}

/** Somebody asked while this run was under way. */
export const queueHasMore = (disk: Disk): boolean => disk.list(paths.queue).length > 0;

export const queueIsEmpty = (disk: Disk): boolean => disk.list(paths.queue).length === 0 && disk.list(paths.taken).length === 0;

/** Moves every request out of the queue, and gives those that can be acted on. What is left of a run that died counts as one more try. */
export function takeRequests(disk: Disk): { taken: Taken[]; refused: string[] } {
  const refused: string[] = [];
  const taken: Taken[] = [];
  // launchd counts what is half written too: left there, it would start the job for ever.
  const moved = disk.list(paths.queue, 'unfinished too').map((name) => {
    const id = /^([A-Za-z0-9-]{1,64})\.json$/.exec(name)?.[1];
    if (!id) {
      disk.rename(`${paths.queue}/${name}`, `${paths.failed}/${name}`);
      refused.push(name);
      return null;
    }
    const to = `${id}.1.json`;
    disk.rename(`${paths.queue}/${name}`, `${paths.taken}/${to}`);
    return to;
  });
  for (const name of disk.list(paths.taken)) {
    const [, id, tries] = nameOf.exec(name) ?? [];
    const again = moved.includes(name) ? Number(tries) : Number(tries) + 1;
    const request = id ? readRequest(disk, `${paths.taken}/${name}`, id) : null;
    if (!id || !request || again > mostTries) {
      disk.rename(`${paths.taken}/${name}`, `${paths.failed}/${name}`);
      refused.push(id ?? name);
      continue;
    }
    const file = `${paths.taken}/${id}.${again}.json`;
    if (file !== `${paths.taken}/${name}`) disk.rename(`${paths.taken}/${name}`, file);
    taken.push({ ...request, file });
  }
  return { taken, refused };
}

const kinds: readonly Request['kind'][] = ['check-in', 'rotate', 'adopt', 'look'];
const isShort = (value: unknown): value is string => typeof value === 'string' && value.length <= 256;

function readRequest(disk: Disk, file: string, id: string): Request | null {
  try {
    const it = JSON.parse((disk.read(file, mostBytes) ?? Buffer.alloc(0)).toString('utf8')) as Partial<Request>;
    const known =
      it.id === id &&
      kinds.some((kind) => kind === it.kind) &&
      (it.reason === null || isShort(it.reason)) &&
      (it.user === undefined || (it.kind === 'adopt' && isShort(it.user)));
    return known ? { id, kind: it.kind as Request['kind'], reason: it.reason as string | null, ...(it.user === undefined ? {} : { user: it.user }) } : null;
  } catch {
    return null;
  }
}

/** The answer first, then the request goes: a run that dies between repeats the answer, never loses the question. */
export function answer(disk: Disk, taken: Taken, result: Omit<Result, 'id'>): void {
  disk.replace(`${paths.results}/${taken.id}.json`, JSON.stringify({ id: taken.id, ...result }), 0o600);
  disk.remove(taken.file);
}

/** Reads an answer and removes it; null while there is none. */
export function readAnswer(disk: Disk, id: string): Result | null {
  const file = `${paths.results}/${id}.json`;
  const bytes = readSmall(disk, file);
  if (!bytes) return null;
  disk.remove(file);
  if (disk.facts(`${paths.results}/${id}.progress`)) disk.remove(`${paths.results}/${id}.progress`);
  const read = readResult(bytes);
  if (!read) throw new Problem('JOB_NO_ANSWER', 'what it wrote cannot be read');
  return read;
}

function readResult(bytes: Buffer): Result | null {
  try {
    const it = JSON.parse(bytes.toString('utf8')) as Partial<Result> | null;
    return it && Number.isInteger(it.exit) && typeof it.says === 'string' ? ({ fix: null, code: null, ...it } as Result) : null;
  } catch {
    return null;
  }
}

/** Milliseconds. Whoever asked has given up long before. */
const answersKept = 24 * 60 * 60 * 1000;

/** Answers and progress that nobody fetched. `now` is the Mac's clock, as the times of its files are. */
export function forgetOldAnswers(disk: Disk, now: number): void {
  for (const name of disk.list(paths.results)) {
    const modified = disk.facts(`${paths.results}/${name}`)?.modifiedMs ?? now;
    if (now - modified > answersKept) disk.remove(`${paths.results}/${name}`);
  }
}

/** The doors for passwords that a run left behind when it died: nobody listens at them. */
export function removeLeftDoors(disk: Disk): void {
  for (const name of disk.list(paths.state).filter((one) => one.endsWith('.password'))) disk.remove(`${paths.state}/${name}`);
}

/** Said by the job while it works, for whoever waits. */
export function sayProgress(disk: Disk, requests: readonly Taken[], says: string): void {
  for (const one of requests) disk.replace(`${paths.results}/${one.id}.progress`, says, 0o600);
}

export function readProgress(disk: Disk, id: string): string | null {
  return readSmall(disk, `${paths.results}/${id}.progress`)?.toString('utf8') ?? null;
}

/** What is too large was not written by us: it says nothing. */
function readSmall(disk: Disk, file: string): Buffer | null {
  try {
    return disk.read(file, mostBytes);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EFBIG') return Buffer.alloc(0);
    throw cause;
  }
}
