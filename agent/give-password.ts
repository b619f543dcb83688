import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import type { ReadStream } from 'node:tty';
import { Problem } from '../protocol/problems.ts';
import { type Asked, inFolder, mostAnswerBytes, readLines, typingTime } from './password-door.ts';
import { passwordDoor, paths } from './paths.ts';
import type { Disk } from './world.ts';

/*
 * The command line's side of `sparekey adopt`: says what the job asks for, reads the password without showing it, and hands it
 * to the job. It is in no argument, no environment and no file.
 */

export interface PasswordGiver {
  root: string;
  disk: Disk;
  input: ReadStream;
  err(text: string): void;
  /** `--password-stdin`: one line of stdin is one try. */
  fromStdin: boolean;
}

export interface PasswordVisits {
  look(requestId: string): void;
  /** Somebody may be typing: nothing else is written to the terminal. */
  busy(): boolean;
  end(): void;
}

/** Refused before anything is asked of the job. */
export function checkInput({ input, fromStdin }: Pick<PasswordGiver, 'input' | 'fromStdin'>): void {
  if (fromStdin || input.isTTY) return;
  throw new Problem('USAGE', 'stdin is no terminal: run it at one, or give the password by --password-stdin');
}

/** For `askTheJob`: called while the job is waited for, and goes to its door as soon as that is there. */
export function passwordVisits(giver: PasswordGiver): PasswordVisits {
  let visiting = false;
  let socket: Socket | null = null;
  // At a terminal nothing is shown, whatever was asked for.
  const stdin = giver.fromStdin && !giver.input.isTTY ? readStdin(giver.input) : null;
  return {
    busy: () => visiting,
    look(requestId) {
      if (visiting || !giver.disk.facts(passwordDoor(requestId))) return;
      visiting = true;
      const gone = new AbortController();
      socket = inFolder(join(giver.root, paths.state), () => connect({ path: passwordDoor(requestId).slice(paths.state.length + 1) }));
      // The job has given up, or has an answer: whatever is typed from now on is for nobody.
      socket.on('close', () => gone.abort());
      visit(giver, socket, stdin, gone.signal)
        .catch(() => {})
        .finally(() => {
          socket?.destroy();
          visiting = false;
        });
    },
    end() {
      socket?.destroy();
      if (giver.input.isTTY) giver.input.setRawMode(false);
      giver.input.pause();
    },
  };
}

type Lines = () => Promise<Buffer | null>;

async function visit(giver: PasswordGiver, socket: Socket, stdin: Lines | null, gone: AbortSignal): Promise<void> {
  socket.on('error', () => {});
  const lines = readLines(socket);
  for (;;) {
    const line = await lines.next(4 * typingTime);
    if (line === null) return;
    const asked = JSON.parse(line.toString('utf8')) as Asked;
    giver.err(sayWhy(asked));
    const password = await (stdin ? stdin() : typed(giver, `Password of ${asked.user}: `, gone));
    if (gone.aborted) password?.fill(0);
    if (password === null || gone.aborted) return;
    const answer = Buffer.concat([password, Buffer.from('\n')]);
    password.fill(0);
    await new Promise<void>((done) => socket.write(answer, () => done()));
    answer.fill(0);
  }
}

/** Who asks for what, what will happen, and where to find out whether it is so. */
function sayWhy({ user, left, before, organisation, words, contact }: Asked): string {
  if (before === 'wrong') return `sparekey: macOS did not take that password; ${left === 1 ? 'one more try' : `${left} more tries`}\n`;
  return [
    `${organisation ?? 'Your organisation'} asks for the password with which ${user} unlocks this Mac.`,
    words ?? 'Nobody has a recovery key of this Mac yet, so nobody could help if that password were forgotten.',
    'macOS makes a new recovery key with it, and the key goes into safe keeping. The password is given to macOS once, and kept nowhere.',
    `Is this genuine? ${contact ?? 'Ask your IT department before you type anything.'}`,
    '',
  ].join('\n');
}

/** One line of stdin after the other, bounded; null at its end. The last one may have no end, and one of another system's file ends in CR LF. */
function readStdin(input: ReadStream): Lines {
  const reader = readLines(input as unknown as Socket, true);
  return async () => {
    const line = await reader.next(typingTime);
    return line?.at(-1) === 13 ? line.subarray(0, -1) : line;
  };
}

const interrupt = 3;
const endOfInput = 4;
const wipeLine = 21;

/** Asks at the terminal; what is typed is shown nowhere. Null for Ctrl-C, Ctrl-D, for nothing in time, and where nobody waits for it any more. */
function typed({ input, err }: PasswordGiver, question: string, gone: AbortSignal): Promise<Buffer | null> {
  return new Promise((resolve) => {
    const held = Buffer.alloc(mostAnswerBytes);
    let length = 0;
    const done = (typed: boolean): void => {
      clearTimeout(timer);
      gone.removeEventListener('abort', leave);
      input.off('data', read);
      input.setRawMode(false);
      input.pause();
      err('\n');
      const line = typed && length > 0 ? Buffer.from(held.subarray(0, length)) : null;
      held.fill(0);
      resolve(line);
    };
    const leave = (): void => done(false);
    const timer = setTimeout(leave, typingTime);
    gone.addEventListener('abort', leave);
    const take = (byte: number): 'typed' | 'left' | null => {
      if (byte === 13 || byte === 10) return 'typed';
      if (byte === interrupt || byte === endOfInput) return 'left';
      if (byte === wipeLine) length = 0;
      else if (byte === 127 || byte === 8) length = beforeLast(held, length);
      else if (byte >= 32 && length < held.length) held[length++] = byte;
      return null;
    };
    const read = (chunk: Buffer): void => {
      let end: ReturnType<typeof take> = null;
      for (const byte of chunk) {
        end = take(byte);
        if (end) break;
      }
      chunk.fill(0);
      if (end) done(end === 'typed');
    };
    // First of all, so that nothing that follows the question is shown.
    input.setRawMode(true);
    err(question);
    input.on('data', read);
    input.resume();
  });
}

/** Without its last character, which in UTF-8 may be several bytes. */
function beforeLast(bytes: Buffer, length: number): number {
  let at = Math.max(0, length - 1);
  while (at > 0 && ((bytes[at] ?? 0) & 0xc0) === 0x80) at -= 1;
  return at;
}
