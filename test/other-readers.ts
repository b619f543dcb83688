import { spawnSync } from 'node:child_process';
import { test } from '@jest/globals';

/*
 * Programs that read packages and have nothing to do with us. Debian: apt install libarchive-tools 7zip cpio; macOS has
 * bsdtar and cpio. Without them a test is skipped, and its name says so; in CI it fails.
 */

const { PATH = '', CI } = process.env;
const environment = { PATH: `${PATH}:/opt/homebrew/bin:/usr/local/bin:/usr/bin:/bin`, LC_ALL: 'C', TZ: 'UTC' };

const reader = (names: readonly string[], args: readonly string[]): string | null =>
  names.find((name) => spawnSync(name, args, { env: environment, timeout: 60_000 }).status === 0) ?? null;

const found = {
  bsdtar: reader(['bsdtar'], ['--version']),
  '7z': reader(['7z', '7zz'], ['i']),
  cpio: reader(['cpio'], ['--version']),
  cksum: reader(['cksum'], ['/dev/null']),
  xmllint: reader(['xmllint'], ['--version']),
  shellcheck: reader(['shellcheck'], ['--version']),
} as const;
type Reader = keyof typeof found;

export function testWith(readers: readonly Reader[], name: string, body: () => void | Promise<void>): void {
  const missing = readers.filter((one) => found[one] === null);
  if (missing.length === 0) test(name, body);
  else if (CI) test(name, () => Promise.reject(new Error(`not on this machine: ${missing.join(', ')}`)));
  else test.skip(`${name} [skipped: not on this machine: ${missing.join(', ')}]`, body);
}

/** Its standard output. Throws with its words where it fails. */
export function readWith(name: Reader, args: readonly string[], input: string | Buffer = ''): string {
  const { status, stdout, stderr } = spawnSync(found[name] ?? name, args, { input, env: environment, encoding: 'utf8', timeout: 60_000, maxBuffer: 1 << 26 });
  if (status !== 0) throw new Error(`${name} ${args.join(' ')}: ${status}: ${stderr}${stdout}`);
  return stdout;
}
