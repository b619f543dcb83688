import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { test } from '@jest/globals';

/**
 * The openssl command, as a witness for our formats. LibreSSL, which macOS has under the same name, knows no
 * AuthEnvelopedData; Homebrew's or Debian's OpenSSL ≥ 3.0 does.
 */
const { PATH = '', CI } = process.env;
const environment = { PATH: `${PATH}:/opt/homebrew/opt/openssl@3/bin:/usr/local/opt/openssl@3/bin:/usr/bin`, LC_ALL: 'C' };

function findOpenssl(): { command: string; version: string } | null {
  for (const folder of environment.PATH.split(':').filter((each) => each.startsWith('/'))) {
    const command = join(folder, 'openssl');
    const { status, stdout } = spawnSync(command, ['version'], { encoding: 'utf8', timeout: 60_000, env: environment });
    const version = /^OpenSSL (\d+\.\d+\.\d+)/.exec(stdout ?? '')?.[1];
    if (status === 0 && version && Number.parseInt(version, 10) >= 3) return { command, version };
  }
  return null;
}

const foundOpenssl = findOpenssl();
const missing = 'OpenSSL 3.0 or newer is not here as a command `openssl` (Debian: apt install openssl; macOS: brew install openssl@3)';

/** A test that needs the openssl command. Without it: skipped, and its name says why; in CI it fails. */
export const testWithOpenssl: (name: string, body: () => void | Promise<void>, timeoutMs?: number) => void = foundOpenssl
  ? test
  : CI
    ? (name) => test(name, () => Promise.reject(new Error(missing)))
    : (name, body) => test.skip(`${name} [skipped: ${missing}]`, body);

/** openssl wants files: these lie in a folder of their own, which is where the command runs, until it has ended. */
export type Files = Record<string, string | Uint8Array>;

export interface Answer {
  code: number | null;
  stdout: Buffer;
  stderr: string;
  /** A file that the command wrote. */
  written(name: string): Buffer;
}

export function tryOpenssl(args: readonly string[], files: Files = {}, input: string | Uint8Array = ''): Answer {
  if (!foundOpenssl) throw new Error(missing);
  const folder = mkdtempSync(join(tmpdir(), 'sparekey-openssl-'));
  try {
    for (const [name, bytes] of Object.entries(files)) writeFileSync(join(folder, basename(name)), bytes, { mode: 0o600 });
    const { status, stdout, stderr } = spawnSync(foundOpenssl.command, args, { cwd: folder, input, timeout: 60_000, env: environment });
    const outputs = new Map(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name))]));
    return { code: status, stdout, stderr: stderr.toString(), written: (name) => outputs.get(name) ?? Buffer.alloc(0) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Its standard output. Throws with its words where it fails. */
export function openssl(args: readonly string[], files: Files = {}, input: string | Uint8Array = ''): Buffer {
  const { code, stdout, stderr } = tryOpenssl(args, files, input);
  if (code !== 0) throw new Error(`openssl ${args.join(' ')}: ${code}: ${stderr}`);
  return stdout;
}
