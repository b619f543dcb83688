import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { Password } from './password.ts';
import { passwordDoor, paths } from './paths.ts';
import type { Disk } from './world.ts';

/*
 * Through this the command line gives the job a password: a Unix socket in the state folder, which root alone can
 * enter, for one request and one connection. Nothing is asked for before the job could go on with the answer.
 */

/** Whoever can be asked for a password, one after the other. */
export interface Asker {
  /** Whether somebody is there to be asked; until then nothing is begun. */
  ready(): Promise<boolean>;
  /** Null where there is no answer, or none in time: then nobody is asked again. `left`: how many may be wrong, this one with them. */
  ask(left: number, before: 'first' | 'wrong'): Promise<Password | null>;
  close(): void;
}

/** What the job says, a line of JSON each; the answer is one line, the password and nothing else. */
export interface Asked {
  user: string;
  left: number;
  before: 'first' | 'wrong';
  organisation: string | null;
  words: string | null;
  contact: string | null;
}

/** Milliseconds. The backend's word that the change may begin holds for a minute and is asked for again; an open rotation is in doubt after five. */
export const typingTime = 75_000;
const connectTime = 15_000;
export const mostAnswerBytes = 4096;

/** Bytes of a socket's path: macOS takes 104 with the closing zero. A name in the working directory is never longer. */
export function inFolder<T>(folder: string, act: () => T): T {
  const before = workingFolder();
  process.chdir(folder);
  try {
    return act();
  } finally {
    try {
      process.chdir(before);
    } catch {
      // A folder that root may not enter again, such as one of a network.
      process.chdir('/');
    }
  }
}

function workingFolder(): string {
  try {
    return process.cwd();
  } catch {
    // It was removed behind the caller's back.
    return '/';
  }
}

export async function openDoor(root: string, disk: Disk, requestId: string, facts: Omit<Asked, 'left' | 'before'>): Promise<Asker> {
  const path = passwordDoor(requestId);
  if (disk.facts(path)) disk.remove(path);
  const server = createServer();
  server.maxConnections = 1;
  const visitor = firstVisitor(server);
  try {
    await listen(server, root, path);
    const made = disk.facts(path);
    if (!made || made.mode & 0o077 || made.uid !== process.geteuid?.()) throw new Error('the socket is not as it was made');
  } catch (cause) {
    closeDoor(server, disk, path);
    throw cause;
  }
  let socket: Socket | null | 'nobody yet' = 'nobody yet';
  let lines: LineReader | null = null;
  let closed = false;
  const ready = async (): Promise<boolean> => {
    if (socket === 'nobody yet') {
      socket = await visitor;
      // One connection: whoever comes later finds no door.
      closeDoor(server, disk, path);
      lines = socket && readLines(socket);
    }
    return socket !== null && !socket.destroyed && !closed;
  };
  return {
    ready,
    async ask(left, before) {
      if (!(await ready()) || !socket || socket === 'nobody yet' || !lines) return null;
      socket.write(`${JSON.stringify({ ...facts, left, before } satisfies Asked)}\n`);
      const line = await lines.next(typingTime);
      return line && Password.take(line);
    },
    close() {
      closed = true;
      closeDoor(server, disk, path);
      // A connection that is left open would keep this process, and with it the next run, for as long as its other side likes.
      visitor.then((one) => one?.destroy());
    },
  };
}

function firstVisitor(server: Server): Promise<Socket | null> {
  return new Promise((resolve) => {
    let isTaken = false;
    const timer = setTimeout(() => {
      isTaken = true;
      resolve(null);
    }, connectTime);
    server.on('connection', (socket) => {
      clearTimeout(timer);
      // Whoever goes away in the middle has given no password.
      socket.on('error', () => {});
      if (isTaken) socket.destroy();
      isTaken = true;
      resolve(socket);
    });
    server.once('close', () => {
      clearTimeout(timer);
      resolve(null);
    });
  });
}

function listen(server: Server, root: string, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.once('listening', resolve);
    // libuv binds before this returns, so mode and folder are these.
    const before = process.umask(0o177);
    try {
      inFolder(join(root, paths.state), () => server.listen({ path: path.slice(paths.state.length + 1) }));
    } finally {
      process.umask(before);
    }
  });
}

function closeDoor(server: Server, disk: Disk, path: string): void {
  if (server.listening) server.close();
  if (disk.facts(path)) disk.remove(path);
}

export interface LineReader {
  /** The bytes of the next line, without its end; null where the other side has gone, says too much, or nothing in time. */
  next(milliseconds: number): Promise<Buffer | null>;
}

/** What is read is wiped as it is given out; the bytes of a line are the caller's. `lastIsLine`: what stands before the end is a line without its end too. */
export function readLines(socket: Socket, lastIsLine = false): LineReader {
  let held: Buffer = Buffer.alloc(0);
  let ended = false;
  let wake: () => void = () => {};
  socket.on('data', (chunk: Buffer) => {
    const before = held;
    if (before.length + chunk.length > mostAnswerBytes) ended = true;
    else held = Buffer.concat([before, chunk]);
    if (!ended) before.fill(0);
    chunk.fill(0);
    wake();
  });
  for (const end of ['end', 'close', 'error'] as const)
    socket.on(end, () => {
      ended = true;
      wake();
    });
  const take = (): Buffer | null => {
    const found = held.indexOf(10);
    const at = found < 0 && lastIsLine && ended ? held.length : found;
    if (at < 0 || (found < 0 && at === 0)) return null;
    const line = Buffer.from(held.subarray(0, at));
    held.fill(0, 0, at);
    held = held.subarray(at + 1);
    return line;
  };
  return {
    next: (milliseconds) =>
      new Promise((resolve) => {
        const timer = setTimeout(() => done(null), milliseconds);
        // Whoever waits has the other side open, or something else to do: this alone keeps no process.
        timer.unref();
        const done = (line: Buffer | null): void => {
          clearTimeout(timer);
          wake = () => {};
          if (line === null) held.fill(0);
          resolve(line);
        };
        wake = () => {
          const line = take();
          if (line !== null || ended) done(line);
        };
        wake();
      }),
  };
}
