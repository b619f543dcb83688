import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';
import { Problem } from '../protocol/problems.ts';
import { readNext } from './descriptors.ts';

export interface PassphraseSource {
  passphraseFile?: string | undefined;
  passphraseFd?: number | undefined;
}

/** Shorter ones are refused when one is chosen: the encrypted key will lie in backups and safes for twenty years. */
export const shortestPassphrase = 12;
const mostBytes = 4096;

/** The bytes are wiped; the text that is made of them cannot be. */
function firstLine(bytes: Buffer): string {
  const line = bytes.toString('utf8').replace(/\r?\n$/, '');
  bytes.fill(0);
  return line;
}

function fromFile(path: string): string {
  let handle: number;
  try {
    handle = openSync(path, 'r');
  } catch (error) {
    throw new Problem('PASSPHRASE_MISSING', `${path} cannot be opened (${(error as NodeJS.ErrnoException).code ?? 'unknown'})`);
  }
  try {
    const facts = fstatSync(handle);
    // A pipe (`<(pass show sparekey)`) has no mode that says anything.
    if (facts.isFile() && (facts.mode & 0o077) !== 0) throw new Problem('FILE_TOO_OPEN', path);
    return firstLine(readFileSync(handle));
  } finally {
    closeSync(handle);
  }
}

function fromDescriptor(fd: number): string {
  const chunks: Buffer[] = [];
  const chunk = Buffer.alloc(mostBytes);
  try {
    for (let total = 0; total < mostBytes; ) {
      const count = readNext(fd, chunk);
      if (count === 0) break;
      chunks.push(Buffer.from(chunk.subarray(0, count)));
      total += count;
    }
  } catch (error) {
    throw new Problem('PASSPHRASE_MISSING', `descriptor ${fd} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown'})`);
  }
  const whole = Buffer.concat(chunks);
  for (const part of [chunk, ...chunks]) part.fill(0);
  return firstLine(whole);
}

/** Asks at the terminal without showing what is typed. */
async function ask(question: string): Promise<string> {
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  process.stderr.write(question);
  const lines = createInterface({ input: process.stdin, output: silent, terminal: true });
  try {
    return await new Promise<string>((resolve, reject) => {
      lines.once('SIGINT', () => reject(new Problem('PASSPHRASE_MISSING')));
      lines.once('close', () => reject(new Problem('PASSPHRASE_MISSING')));
      lines.question('', resolve);
    });
  } finally {
    lines.removeAllListeners('close');
    lines.close();
    process.stderr.write('\n');
  }
}

function given(source: PassphraseSource): string | null {
  if (source.passphraseFile !== undefined && source.passphraseFd !== undefined) throw new Problem('USAGE', 'give the passphrase in one way, not in two');
  if (source.passphraseFile !== undefined) return fromFile(source.passphraseFile);
  if (source.passphraseFd !== undefined) return fromDescriptor(source.passphraseFd);
  return null;
}

/** The passphrase of the escrow key; never by argument or environment, where other users could see it. */
export async function readPassphrase(source: PassphraseSource): Promise<string> {
  const passphrase = given(source) ?? (process.stdin.isTTY ? await ask('Passphrase of the escrow key: ') : null);
  if (!passphrase) throw new Problem('PASSPHRASE_MISSING');
  return passphrase;
}

/** Of another key than the escrow key: that to which a backup was encrypted. */
export async function readPassphraseOfKey(source: PassphraseSource): Promise<string> {
  const passphrase = given(source) ?? (process.stdin.isTTY ? await ask('Passphrase of the backup’s own key (--key): ') : null);
  if (!passphrase) throw new Problem('PASSPHRASE_MISSING', 'of the key that --key names: --key-passphrase-file, --key-passphrase-fd');
  return passphrase;
}

/** A passphrase that is chosen now: asked for twice at a terminal. */
export async function choosePassphrase(source: PassphraseSource): Promise<string> {
  let passphrase = given(source);
  if (passphrase === null && process.stdin.isTTY) {
    passphrase = await ask('Choose a passphrase for the escrow key: ');
    if (passphrase !== (await ask('The same again: '))) throw new Problem('USAGE', 'the two passphrases differ');
  }
  if (!passphrase) throw new Problem('PASSPHRASE_MISSING');
  if (passphrase.length < shortestPassphrase) throw new Problem('USAGE', `the passphrase needs at least ${shortestPassphrase} characters`);
  return passphrase;
}
