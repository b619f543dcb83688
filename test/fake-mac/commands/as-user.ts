// launchctl asuser UID PROGRAM …: a program in the session of the user at the screen, and the two that ask people something.
// Modelled from scripts and documents, because nobody has published the whole: that asuser fails where that user has no
// session, its words; the answers of `display dialog` (`gave up`, error -128 of its cancel button, -1713 where no dialog can
// come); swiftDialog's JSON and exit statuses 0, 2, 10, 20, which are from its documents.
import type { MacState } from '../state.ts';
import { type Asked, complains, hasNo, type Outcome, onTheMac, type Steps, says } from './outcome.ts';

const garbage = (): Outcome => says(Buffer.from([0xff, 0x00, 0x1b, ...Buffer.from('{"Password": }\n')]));

export const asUser = (asked: Asked, args: readonly string[], stdin: Buffer): Outcome | Steps => {
  const [uid = '', path = '', ...rest] = args;
  const user = asked.state.users.find((one) => String(one.uid) === uid);
  if (!user || asked.state.console.user !== user.name) return complains(1, `Could not switch to audit session 0x${uid}: 1: Operation not permitted`);
  const program = onTheMac(asked.root, path);
  noteLeaks(asked, [...rest, stdin.toString('utf8')]);
  if (program === '/usr/bin/osascript' && rest.join(' ') === '-') return osascript(asked, user.uid, stdin.toString('utf8'));
  if (program === '/usr/local/bin/dialog' && rest[0] === '--json' && rest[1] === '--jsonstring') return swiftDialog(asked, user.uid, rest[2] ?? '');
  return hasNo('/bin/launchctl', ['asuser', ...args]);
};

/** A password that goes to a dialog, and not the other way. */
const noteLeaks = (asked: Asked, texts: readonly string[]): void => {
  if (!asked.state.users.some(({ password }) => texts.some((text) => text.includes(password)))) return;
  asked.change((state) => state.leaks.push('a dialog with a secret in what it shows'));
};

const nextAct = (asked: Asked, by: 'osascript' | 'swiftDialog', uid: number, text: string): string =>
  asked.change((state: MacState) => {
    state.dialogs.shown.push({ by, uid, text });
    return state.dialogs.next.shift() ?? 'time-out';
  });

function* osascript(asked: Asked, uid: number, script: string): Steps {
  const seconds = Number(/giving up after (\d+)/.exec(script)?.[1]);
  if (!/display dialog \("/.test(script) || !script.includes('with hidden answer') || !seconds)
    return complains(1, '0:0: syntax error: A unknown token can’t go here. (-2740)');
  const act = nextAct(asked, 'osascript', uid, script);
  if (act === 'hang') yield Number.POSITIVE_INFINITY;
  if (act === 'time-out') {
    yield seconds;
    return says('timed-out\n');
  }
  if (act === 'cancel') return says('cancelled\n');
  if (act === 'garbage') return garbage();
  return act.startsWith('type:') ? says(`answer:${act.slice(5)}\n`) : complains(1, '35:120: execution error: No user interaction allowed. (-1713)');
}

function* swiftDialog(asked: Asked, uid: number, json: string): Steps {
  const { timer = 0, textfield = [] } = JSON.parse(json) as { timer?: number; textfield?: { title: string; secure?: boolean }[] };
  const act = nextAct(asked, 'swiftDialog', uid, json);
  if (act === 'hang') yield Number.POSITIVE_INFINITY;
  if (act === 'time-out') {
    yield timer;
    return says('', 20);
  }
  if (act === 'cancel') return says('', 2);
  if (act === 'garbage') return garbage();
  return act.startsWith('type:') && textfield[0]?.secure
    ? says(`{\n  "${textfield[0].title}" : ${JSON.stringify(act.slice(5))}\n}\n`)
    : complains(1, 'ERROR: dialog could not start');
}
