import { EventEmitter } from 'node:events';
import { existsSync, lstatSync, mkdirSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import type { ReadStream } from 'node:tty';
import { describe, expect, test } from '@jest/globals';
import { realDisk } from '../agent/disk.ts';
import { checkInput, passwordVisits } from '../agent/give-password.ts';
import { askInDialog } from '../agent/mac/dialog.ts';
import { realRunner } from '../agent/mac/run.ts';
import { inFolder, openDoor } from '../agent/password-door.ts';
import { passwordDoor, paths } from '../agent/paths.ts';
import { makeFolders, removeLeftDoors } from '../agent/requests.ts';
import { FakeMac } from './fake-mac/fake-mac.ts';
import { scratch } from './scratch.ts';
import { until } from './waiting.ts';

/*
 * The way of a password from a terminal to the job: what is shown, what is not, and who can come in.
 */

const facts = { user: 'ada', organisation: 'Example IT', words: null, contact: 'extension 4711' };

/** A terminal: what is typed comes byte by byte, and nothing is echoed once it is raw. */
class Terminal extends EventEmitter {
  isTTY = true;
  raw: boolean[] = [];
  setRawMode(raw: boolean): void {
    this.raw.push(raw);
  }
  pause(): void {}
  resume(): void {}
  type(...bytes: (string | number)[]): void {
    for (const one of bytes) this.emit('data', typeof one === 'number' ? Buffer.from([one]) : Buffer.from(one));
  }
}

async function given() {
  const root = join(scratch(), 'a-folder-with-a-long-name-so-that-the-path-of-a-socket-in-it-is-longer-than-any-system-takes');
  mkdirSync(root);
  const disk = realDisk(root);
  makeFolders(disk);
  const door = await openDoor(root, disk, 'one', facts);
  return { root, disk, door, path: passwordDoor('one') };
}

const soon = async (isSo: () => boolean): Promise<void> => {
  await until(isSo);
  expect(isSo()).toBe(true);
};

describe('the door', () => {
  test('is a socket of mode 0600 in the folder that root alone enters; it goes with its first visitor, and nobody else gets in', async () => {
    const { root, disk, door, path } = await given();
    const stats = lstatSync(join(root, path));
    expect([stats.isSocket(), stats.mode & 0o777, lstatSync(join(root, paths.state)).mode & 0o777]).toEqual([true, 0o600, 0o700]);
    const visitor = inFolder(join(root, paths.state), () => connect({ path: 'one.password' }));
    const said: string[] = [];
    visitor.on('data', (data) => said.push(String(data)));
    const answer = door.ask(3, 'first');
    await soon(() => said.length > 0);
    expect(JSON.parse(said.join(''))).toEqual({ ...facts, left: 3, before: 'first' });
    expect(disk.facts(path)).toBeNull();
    visitor.write('geheim\n');
    expect((await answer)?.reveal()).toBe('geheim');
    door.close();
    await soon(() => visitor.destroyed);
  });

  test.each([
    ['says nothing and goes', (socket: { end(): void }) => socket.end()],
    ['says too much', (socket: { write(text: string): void }) => socket.write('x'.repeat(5000))],
    ['says what is no password', (socket: { write(text: string): void }) => socket.write('\u0007\n')],
  ])('whoever %s has given none', async (_name, act) => {
    const { root, door } = await given();
    const visitor = inFolder(join(root, paths.state), () => connect({ path: 'one.password' }));
    visitor.on('error', () => {});
    const answer = door.ask(3, 'first');
    act(visitor as never);
    expect(await answer).toBeNull();
    door.close();
    visitor.destroy();
  });

  test('whoever came in and was never asked is sent away when the door closes', async () => {
    const { root, door } = await given();
    const visitor = inFolder(join(root, paths.state), () => connect({ path: 'one.password' }));
    visitor.on('error', () => {});
    expect(await door.ready()).toBe(true);
    door.close();
    visitor.resume();
    await soon(() => visitor.closed);
    expect(await door.ready()).toBe(false);
  });

  test('closed without a visitor, and left by a run that died, it is gone', async () => {
    const { root, disk, door, path } = await given();
    door.close();
    expect(existsSync(join(root, path))).toBe(false);
    expect(await door.ask(3, 'first')).toBeNull();
    writeFileSync(join(root, passwordDoor('left')), '');
    removeLeftDoors(disk);
    expect(existsSync(join(root, passwordDoor('left')))).toBe(false);
  });
});

describe('the terminal', () => {
  function visiting(root: string, terminal: Terminal) {
    const shown: string[] = [];
    const visits = passwordVisits({ root, disk: realDisk(root), input: terminal as unknown as ReadStream, err: (text) => shown.push(text), fromStdin: false });
    visits.look('one');
    return { shown, visits };
  }

  test('says who asks, for what, what will happen and where to ask whether it is genuine; shows nothing of what is typed', async () => {
    const { root, door } = await given();
    const terminal = new Terminal();
    const { shown, visits } = visiting(root, terminal);
    const first = door.ask(3, 'first');
    await soon(() => shown.at(-1) === 'Password of ada: ');
    for (const words of ['Example IT asks', 'ada unlocks this Mac', 'new recovery key', 'kept nowhere', 'Is this genuine? extension 4711'])
      expect(shown.join('')).toContain(words);
    // A wrong start wiped by Ctrl-U, and an umlaut of two bytes taken back.
    terminal.type('falsch', 21, 'gehü', 127, 'eim', 13);
    expect((await first)?.reveal()).toBe('geheim');
    const second = door.ask(2, 'wrong');
    await soon(() => shown.at(-1) === 'Password of ada: ' && shown.join('').includes('2 more tries'));
    terminal.type(3);
    expect(await second).toBeNull();
    expect(shown.join('')).not.toMatch(/geheim|falsch/);
    expect(terminal.raw).toEqual([true, false, true, false]);
    visits.end();
    door.close();
  });

  test('the question ends when the job goes: what is typed afterwards is read by nobody, and no process waits for it', async () => {
    const { root, door } = await given();
    const terminal = new Terminal();
    const { shown, visits } = visiting(root, terminal);
    const answer = door.ask(3, 'first');
    await soon(() => shown.at(-1) === 'Password of ada: ');
    terminal.type('geh');
    door.close();
    expect(await answer).toBeNull();
    await soon(() => !visits.busy());
    expect([terminal.raw, terminal.listenerCount('data')]).toEqual([[true, false], 0]);
    visits.end();
  });

  test('`--password-stdin` at a terminal shows nothing either', async () => {
    const { root, door } = await given();
    const terminal = new Terminal();
    const visits = passwordVisits({ root, disk: realDisk(root), input: terminal as unknown as ReadStream, err: () => {}, fromStdin: true });
    visits.look('one');
    const answer = door.ask(3, 'first');
    await soon(() => terminal.raw.length > 0);
    terminal.type('geheim', 13);
    expect([(await answer)?.reveal(), terminal.raw]).toEqual(['geheim', [true, false]]);
    door.close();
    visits.end();
  });

  test.each([
    ['a last line without its end', 'falsch\ngeheim'],
    ['lines of another system', 'falsch\r\ngeheim\r\n'],
  ])('stdin: %s', async (_name, text) => {
    const { root, door } = await given();
    const input = new PassThrough();
    const visits = passwordVisits({ root, disk: realDisk(root), input: input as unknown as ReadStream, err: () => {}, fromStdin: true });
    input.end(text);
    visits.look('one');
    expect((await door.ask(3, 'first'))?.reveal()).toBe('falsch');
    expect((await door.ask(2, 'wrong'))?.reveal()).toBe('geheim');
    expect(await door.ask(1, 'wrong')).toBeNull();
    door.close();
    visits.end();
  });

  test('stdin that is no terminal is refused, unless it is said that the password comes from there', () => {
    const input = Object.assign(new Terminal(), { isTTY: false }) as unknown as ReadStream;
    expect(() => checkInput({ input, fromStdin: false })).toThrow(/--password-stdin/);
    expect(() => checkInput({ input, fromStdin: true })).not.toThrow();
  });
});

test('what a command wrote is wiped, but for what the caller was given', async () => {
  const chunks: Uint8Array[] = [];
  const { concat } = Buffer;
  Buffer.concat = (list, length) => {
    chunks.push(...list);
    return concat(list, length);
  };
  try {
    const { stdout } = await realRunner('/').run({ program: '/bin/cat', args: [], input: 'answer:geheim' });
    expect(stdout.toString()).toBe('answer:geheim');
    expect(chunks.some((chunk) => chunk.length === 13)).toBe(true);
    expect(chunks.every((chunk) => chunk.every((byte) => byte === 0))).toBe(true);
  } finally {
    Buffer.concat = concat;
  }
});

test('the other door of the fake Mac asks in the same dialogs', async () => {
  const mac = FakeMac.create({ root: join(scratch(), 'mac'), folder: true, seed: 'dialog' });
  try {
    mac.answerDialogs('type:geheim', 'cancel');
    const ask = () => askInDialog(realRunner(mac.root), realDisk(mac.root), 501, { title: 'Example IT', text: 'a "test"' }, 75);
    const answer = await ask();
    expect(typeof answer === 'object' && answer.reveal()).toBe('geheim');
    expect(await ask()).toBe('cancelled');
    expect(mac.state.dialogs.shown).toHaveLength(2);
  } finally {
    mac.dispose();
  }
});
