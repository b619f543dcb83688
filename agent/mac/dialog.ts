// A dialog in the session of the user at the screen, which asks for the password. Nothing secret is in what it is started
// with; the answer comes on standard output. osascript runs as root within the user's session (launchctl asuser), so that no
// process of the user stands between the dialog and us; scripts of other projects do the same on real Macs.

import { dirname } from 'node:path';
import { Password } from '../password.ts';
import type { Disk, Ran, Runner } from '../world.ts';

export interface DialogWords {
  title: string;
  text: string;
}

/** `none`: no dialog could be shown, or it said nothing that is understood. */
export type DialogAnswer = Password | 'cancelled' | 'timed-out' | 'none';

const launchctl = '/bin/launchctl';
const swiftDialog = '/usr/local/bin/dialog';
/** What must be root's alone before root starts it: in `/usr/local/bin` anybody's package manager may write. */
const app = '/Library/Application Support/Dialog/Dialog.app';
const swiftDialogPlaces = ['/usr/local', '/usr/local/bin', '/Library/Application Support', dirname(app), app, `${app}/Contents`, `${app}/Contents/MacOS`];
const mostAnswer = 16 * 1024;
/** How much longer than the dialog its process may take. */
const graceSeconds = 20;

export async function askInDialog(runner: Runner, disk: Disk, uid: number, words: DialogWords, seconds: number): Promise<DialogAnswer> {
  if (hasSwiftDialog(disk)) {
    const answer = await bySwiftDialog(runner, uid, words, seconds);
    if (answer !== 'none') return answer;
  }
  return byOsascript(runner, uid, words, seconds);
}

function hasSwiftDialog(disk: Disk): boolean {
  const owner = disk.facts('/')?.uid;
  // A link would lead past the folders that are looked at.
  if (!disk.facts(swiftDialog)?.regular) return false;
  return [...swiftDialogPlaces, swiftDialog].every((path) => {
    const facts = disk.facts(path);
    return facts !== null && facts.uid === owner && (facts.mode & 0o022) === 0;
  });
}

// ——— osascript

/** A text of AppleScript. Its only signs with a meaning are the backslash and the quotation mark; lines are joined by `return`. */
export function appleScriptText(text: string): string {
  const lines = text.split(/\r\n|[\n\r\u2028\u2029]/).map((line) => line.replace(/[\p{Cc}\p{Cf}]/gu, ' ').replace(/[\\"]/g, '\\$&'));
  return lines.map((line) => `"${line}"`).join(' & return & ');
}

const script = ({ title, text }: DialogWords, seconds: number): string => `try
	set answered to display dialog (${appleScriptText(text)}) with title (${appleScriptText(title)}) default answer "" with hidden answer buttons {"Not now", "Continue"} default button "Continue" cancel button "Not now" giving up after ${seconds}
on error number -128
	return "cancelled"
end try
if gave up of answered then return "timed-out"
return "answer:" & text returned of answered
`;

async function byOsascript(runner: Runner, uid: number, words: DialogWords, seconds: number): Promise<DialogAnswer> {
  const ran = await runner.run({
    program: launchctl,
    args: ['asuser', String(uid), '/usr/bin/osascript', '-'],
    input: script(words, seconds),
    timeoutSeconds: seconds + graceSeconds,
    outputLimit: mostAnswer,
  });
  return wiped(ran, () => {
    if (ran.failed === 'timeout') return 'timed-out';
    if (ran.code !== 0) return 'none';
    const line = withoutEnd(ran.stdout);
    if (line.equals(Buffer.from('cancelled'))) return 'cancelled';
    if (line.equals(Buffer.from('timed-out'))) return 'timed-out';
    const begin = Buffer.from('answer:');
    if (!line.subarray(0, begin.length).equals(begin)) return 'none';
    // Nothing was typed: a press of the button, and no password.
    return Password.take(Buffer.from(line.subarray(begin.length))) ?? 'cancelled';
  });
}

function withoutEnd(bytes: Buffer): Buffer {
  let end = bytes.length;
  if (bytes[end - 1] === 10) end -= 1;
  if (bytes[end - 1] === 13) end -= 1;
  return bytes.subarray(0, end);
}

// ——— swiftDialog

const field = 'Password';
/** From its documents: 0 first button, 2 second, 10 ended by the keyboard, 20 time is up. */
const swiftCancelled = new Set([2, 5, 10]);
const swiftTimedOut = 20;

async function bySwiftDialog(runner: Runner, uid: number, { title, text }: DialogWords, seconds: number): Promise<DialogAnswer> {
  const shown = {
    title,
    message: text,
    button1text: 'Continue',
    button2text: 'Not now',
    textfield: [{ title: field, secure: true, required: true }],
    timer: seconds,
    hidetimerbar: true,
  };
  const ran = await runner.run({
    program: launchctl,
    args: ['asuser', String(uid), swiftDialog, '--json', '--jsonstring', JSON.stringify(shown)],
    timeoutSeconds: seconds + graceSeconds,
    outputLimit: mostAnswer,
  });
  return wiped(ran, () => {
    if (ran.failed === 'timeout' || ran.code === swiftTimedOut) return 'timed-out';
    if (ran.code !== null && swiftCancelled.has(ran.code)) return 'cancelled';
    if (ran.code !== 0) return 'none';
    const typed = readField(ran.stdout);
    return typed === null ? 'none' : (Password.take(Buffer.from(typed)) ?? 'cancelled');
  });
}

/** The field's text in the JSON that it prints, which may have other lines before it. */
function readField(bytes: Buffer): string | null {
  try {
    const text = bytes.toString('utf8');
    const value = (JSON.parse(text.slice(text.indexOf('{'), text.lastIndexOf('}') + 1)) as Record<string, unknown>)[field];
    return typeof value === 'string' ? value : null;
  } catch {
    return null;
  }
}

function wiped(ran: Ran, read: () => DialogAnswer): DialogAnswer {
  try {
    return read();
  } finally {
    ran.stdout.fill(0);
    ran.stderr.fill(0);
  }
}
