// FileVault, as /usr/bin/fdesetup tells it. Words come from recorded output of real Macs where there is any; whatever is
// not among them is `unknown`, never the likelier of two answers.
import type { Answer, Validation } from '../../protocol/messages.ts';
import { Problem } from '../../protocol/problems.ts';
import { RecoveryKey } from '../../protocol/recovery-key.ts';
import type { Password } from '../password.ts';
import type { Ran, Runner, Started } from '../world.ts';
import { readKeyPlist } from './key-plist.ts';

const program = '/usr/bin/fdesetup';

export interface FileVault {
  state: 'on' | 'off' | 'encrypting' | 'decrypting' | 'unknown';
  /** 0 to 100, while it is encrypting or decrypting and says so. */
  percent?: number;
  /** The user at whose next logout or login FileVault is turned on. */
  deferredFor?: string;
  /** What it waits for: a restart to finish or to begin, mains power to go on, or the logout of `deferredFor`. Nothing is replaced meanwhile. */
  waitingFor?: 'restart' | 'power' | 'logout';
  /** macOS's own words, where they are not plainly on or off. */
  words?: string;
}

const settled: Record<string, FileVault> = {
  'FileVault is On.': { state: 'on' },
  'FileVault is Off.': { state: 'off' },
  'FileVault is Off, but will be enabled after the next restart.': { state: 'off', waitingFor: 'restart' },
  'FileVault is Off, but needs to be restarted to finish.': { state: 'off', waitingFor: 'restart' },
  // Neither plainly on nor off: nobody has seen what holds until that restart.
  'FileVault is On, but needs to be restarted to finish.': { state: 'unknown', waitingFor: 'restart' },
};
const harmless = /^(?:FileVault master keychain appears to be installed\.|Volume is APFS\. \(FileVault (?:Enabled|Disabled)\))$/;

export async function readFileVault(runner: Runner): Promise<FileVault> {
  const ran = await runner.run({ program, args: ['status'], outputLimit: 64 * 1024 });
  return ran.code === 0 ? readStatus(ran.stdout.toString('utf8')) : { state: 'unknown', words: quote(wordsOf(ran)) };
}

function readStatus(text: string): FileVault {
  const lines = text.split('\n').map((line) => line.trim());
  const [first = '', ...rest] = lines.filter((line) => line !== '');
  const unknown: FileVault = { state: 'unknown', words: quote(first) };
  const known = Object.hasOwn(settled, first) ? settled[first] : undefined;
  const status: FileVault = known ? { ...known, ...(known.waitingFor ? { words: quote(first) } : {}) } : { ...unknown };
  for (const line of known ? rest : lines.filter((one) => one !== '')) {
    const progress = /^(Encryption|Decryption) in progress: (?:Percent completed = ([0-9]{1,3}(?:[.,][0-9]+)?)|(Pending))$/.exec(line);
    const deferred = /^Deferred enablement appears to be active for user '([^']{1,255})'\.$/.exec(line);
    if (progress) {
      const percent = progress[2] === undefined ? undefined : Number(progress[2].replace(',', '.'));
      if (percent !== undefined && percent > 100) return { state: 'unknown', words: quote(line) };
      status.state = progress[1] === 'Encryption' ? 'encrypting' : 'decrypting';
      status.words = quote(line);
      if (percent !== undefined) status.percent = percent;
      if (progress[3]) status.waitingFor = 'power';
    } else if (deferred?.[1]) {
      status.deferredFor = deferred[1];
      if (status.state === 'off') status.waitingFor ??= 'logout';
    } else if (!harmless.test(line)) {
      return { state: 'unknown', words: quote(line) };
    }
  }
  return status;
}

const wordsOf = (ran: Ran): string =>
  ran.failed ?? [ran.stderr, ran.stdout].map((bytes) => bytes.toString('utf8').trim()).find((text) => text !== '') ?? `exit ${ran.code}`;

/** macOS's words for a report: one line, short, and never with a key in it. */
function quote(words: string): string {
  // Before anything is cut off: most of a key is as bad as a whole one.
  if (RecoveryKey.findIn(words.toUpperCase())) return '[recovery key]';
  const line =
    words
      .split('\n', 1)[0]
      ?.replace(/[^\x20-\x7E\u00A0-\uFFFD]/g, ' ')
      .trim()
      .slice(0, 200) ?? '';
  return line;
}

/** `true` or `false` and nothing else; the exit status is no part of it (`isactive` has 1 for `false`, `validaterecovery` may). */
function plainAnswer(ran: Ran): 'true' | 'false' | null {
  const text = ran.stdout.toString('utf8').replace(/\r?\n$/, '');
  return ran.code !== null && (text === 'true' || text === 'false') ? text : null;
}

/**
 * Whether the volume has a personal recovery key. The manual page: `false` "may also be returned if any error occurs, or
 * if FileVault is not yet fully enabled". So a `false` is a `no` only where FileVault is plainly on, nothing was
 * complained about, and a second asking says the same.
 */
export async function hasRecoveryKey(runner: Runner, fileVault?: FileVault): Promise<Answer> {
  const ask = () => runner.run({ program, args: ['haspersonalrecoverykey'] });
  const first = await ask();
  if (plainAnswer(first) === 'true') return 'yes';
  if (!isQuietFalse(first)) return 'unknown';
  const state = fileVault ?? (await readFileVault(runner));
  if (state.state !== 'on' || state.waitingFor) return 'unknown';
  return isQuietFalse(await ask()) ? 'no' : 'unknown';
}

const isQuietFalse = (ran: Ran): boolean => plainAnswer(ran) === 'false' && (ran.code === 0 || ran.code === 1) && ran.stderr.length === 0;

/** Whether this boot's disk was unlocked with the recovery key. A hint: it stays `true` until the next boot, and some systems cannot say. */
export async function usingRecoveryKey(runner: Runner): Promise<Answer> {
  const ran = await runner.run({ program, args: ['usingrecoverykey'] });
  const said = ran.stderr.length === 0 ? plainAnswer(ran) : null;
  return said === 'true' ? 'yes' : said === 'false' ? 'no' : 'unknown';
}

/** Whether `key` opens this Mac. Wrong keys are counted by the Secure Enclave: whoever calls this keeps the budget. */
export async function validate(runner: Runner, key: RecoveryKey): Promise<Validation> {
  const ran = await runner.run({ program, args: ['validaterecovery', '-inputplist'], input: credentialPlist({ key }), timeoutSeconds: 60 });
  return plainAnswer(ran) ?? 'unknown';
}

export type Credential = { key: RecoveryKey } | { user: string; password: Password };

/** Replaces the key at once: from here on the old one is dead and only fdesetup's output knows the new one. */
export function startChange(runner: Runner, credential: Credential, files: { out: string; err: string }): Promise<Started> {
  return runner.start({
    program,
    args: ['changerecovery', '-personal', '-outputplist', '-inputplist'],
    input: credentialPlist(credential),
    stdoutFile: files.out,
    stderrFile: files.err,
  });
}

function credentialPlist(credential: Credential): string {
  const pairs =
    'key' in credential
      ? [['Password', credential.key.reveal()]]
      : [
          ['Username', credential.user],
          ['Password', credential.password.reveal()],
        ];
  const body = pairs.map(([name, value]) => `\t<key>${name}</key>\n\t<string>${escapeXml(value ?? '')}</string>\n`).join('');
  return `<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">\n<plist version="1.0">\n<dict>\n${body}</dict>\n</plist>\n`;
}

function escapeXml(text: string): string {
  // XML has no way to write these, so macOS would read another password than was typed.
  if (/[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/u.test(text))
    throw new Problem('REQUEST_INVALID', 'the password has a character that no property list can hold');
  return text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;').replace(/\r/g, '&#13;');
}

/** Bytes. Apple's plist has less than 1 KiB. */
const mostOutput = 64 * 1024;

/**
 * The new key in what `changerecovery -outputplist` wrote: the value of `RecoveryKey` and nothing else. Where the plist is
 * cut off or strange, a key-shaped text in it, `whole: false`: it counts for nothing until macOS says `true` to it.
 */
export function readChangeOutput(bytes: Buffer): { key: RecoveryKey; whole: boolean } | null {
  const text = bytes.subarray(0, mostOutput).toString('utf8');
  const named = bytes.length <= mostOutput ? readKeyPlist(text) : null;
  const key = named === null ? null : RecoveryKey.parse(named);
  if (key) return { key, whole: true };
  // The likeliest place first: behind the name, then anywhere.
  const behindName = text.indexOf('<key>RecoveryKey</key>');
  const found = (behindName >= 0 ? RecoveryKey.findIn(text.slice(behindName)) : null) ?? RecoveryKey.findIn(text);
  return found ? { key: found, whole: false } : null;
}

/** The same, of bytes that were read for this alone: afterwards they are gone. */
export function takeChangeOutput(bytes: Buffer | null): ReturnType<typeof readChangeOutput> {
  try {
    return bytes && readChangeOutput(bytes);
  } finally {
    bytes?.fill(0);
  }
}

/** Exit statuses from the manual page; 11 and 99 have been seen for a credential that macOS did not take. */
export function readChangeFailure(code: number | null, stderr: string): 'refused' | 'busy' | 'unsupported' | 'other' {
  if (code === 11 || code === 99 || /could not be authenticated|Unable to unlock or authenticate/i.test(stderr)) return 'refused';
  if (code === 2 || code === 28) return 'busy';
  const unsupported = code === 13 || code === 14 || code === 33 || code === 34 || code === 36;
  return unsupported || /not supported/i.test(stderr) ? 'unsupported' : 'other';
}

/**
 * Of root, who alone can change a key: any user can call a process so, and would hold every replacement up.
 * Word by word: any user can start a process with a megabyte of arguments, over which a pattern would go back and forth for minutes.
 */
function isChange(line: string): boolean {
  const [, uid, ...words] = line.trim().split(/\s+/);
  if (uid !== '0') return false;
  const at = words.findIndex((word) => word === 'fdesetup' || word.endsWith('/fdesetup'));
  return at >= 0 && words.includes('changerecovery', at + 1);
}

/** Whether any `fdesetup changerecovery` runs, whoever started it. A process that does not show its arguments is `unknown`. */
export async function changeIsRunning(runner: Runner): Promise<Answer> {
  const ran = await runner.run({ program: '/bin/ps', args: ['-axww', '-o', 'pid=,uid=,args='], outputLimit: 8 * 1024 * 1024 });
  const lines =
    ran.code === 0
      ? ran.stdout
          .toString('utf8')
          .split('\n')
          .filter((line) => line.trim() !== '')
      : [];
  if (lines.length === 0) return 'unknown';
  if (lines.some(isChange)) return 'yes';
  return lines.some((line) => /^\s*\d+\s+0\s+\(fdesetup\)\s*$/.test(line)) ? 'unknown' : 'no';
}
