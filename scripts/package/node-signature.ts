import { createHash, X509Certificate } from 'node:crypto';
import { closeSync, mkdtempSync, openSync, readFileSync, readSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Slice } from './macho.ts';
import { run } from './run.ts';

/*
 * Whether a program is the one that the Node.js project signed, for a version that nobody has pinned yet: each page of it has
 * the digest that the signature lists, and the list is signed by a certificate of theirs, up to Apple's root. codesign does
 * that on macOS; here it is done by the description of the form, with openssl for the certificates.
 */

const team = 'HX7739G8FX';
/** Apple Root CA, as Apple publishes it. */
const appleRoot = 'B0:B1:73:0E:CB:C7:FF:45:05:14:2C:49:F1:29:5E:6E:DA:6B:CA:ED:7E:2C:68:C5:BE:91:B5:A1:10:01:F0:24';

/** What the project calls the program; it signs others too. */
const identifier = 'node';

/** Null: it is that version of it. Otherwise what is wrong. */
export async function notNodes(file: string, slice: Slice, version: string): Promise<string | null> {
  if (slice.signature?.team !== team) return `it is signed by ${slice.signature?.team || 'nobody'}, not by the Node.js Foundation (${team})`;
  if (slice.signature.identifier !== identifier) return `it is ${slice.signature.identifier || 'without a name'}, and not ${identifier}`;
  const fd = openSync(file, 'r');
  try {
    const at = (offset: number, length: number): Buffer => {
      const bytes = Buffer.alloc(length);
      readSync(fd, bytes, 0, length, slice.offset + offset);
      return bytes;
    };
    const blob = at(slice.signed.at, slice.signed.bytes);
    const parts = Array.from({ length: blob.readUInt32BE(8) }, (_, n) => {
      const start = blob.readUInt32BE(16 + 8 * n);
      return blob.subarray(start, start + blob.readUInt32BE(start + 4));
    });
    // Digests of kind 2: SHA-256.
    const directory = parts.find((part) => part.readUInt32BE() === 0xfade0c02 && part.readUInt8(37) === 2);
    const cms = parts.find((part) => part.readUInt32BE() === 0xfade0b01)?.subarray(8);
    if (!directory || !cms) return 'its signature has a form of its own';
    const { wrong, saysVersion } = wrongPages(directory, slice.signed.at, at, version);
    if (wrong > 0) return `${wrong} of its pages are not what was signed`;
    // An older one with holes that are known is signed as well.
    return saysVersion ? await notSigned(directory, cms) : `nothing in it says v${version}: it is another version`;
  } finally {
    closeSync(fd);
  }
}

function wrongPages(
  directory: Buffer,
  signatureAt: number,
  at: (offset: number, length: number) => Buffer,
  version: string,
): { wrong: number; saysVersion: boolean } {
  const [hashes, count, limit] = [16, 28, 32].map((offset) => directory.readUInt32BE(offset)) as [number, number, number];
  const page = 2 ** directory.readUInt8(39);
  // All of it up to the signature, or somebody could have put something behind the last page.
  if (limit !== signatureAt || count !== Math.ceil(limit / page)) return { wrong: count, saysVersion: false };
  const pagesAtOnce = 1024;
  let wrong = 0;
  // As the program has it, a text with its end: v26.1.0 is not v26.1.01.
  const words = Buffer.from(`v${version}\0`);
  let before: Buffer = Buffer.alloc(0);
  let saysVersion = false;
  for (let first = 0; first < count; first += pagesAtOnce) {
    const bytes = at(first * page, Math.min(pagesAtOnce * page, limit - first * page));
    // It may lie across two readings.
    saysVersion ||= Buffer.concat([before, bytes.subarray(0, words.length)]).includes(words) || bytes.includes(words);
    before = bytes.subarray(-words.length);
    for (let n = 0; n * page < bytes.length; n++) {
      const is = createHash('sha256')
        .update(bytes.subarray(n * page, (n + 1) * page))
        .digest();
      const should = directory.subarray(hashes + 32 * (first + n), hashes + 32 * (first + n + 1));
      if (!is.equals(should)) wrong++;
    }
  }
  return { wrong, saysVersion };
}

/** By openssl: the times of the certificates are not looked at, since a time stamp outlives them, and Apple has critical extensions of its own. */
async function notSigned(directory: Buffer, cms: Buffer): Promise<string | null> {
  const folder = mkdtempSync(join(tmpdir(), 'sparekey-signature-'));
  const name = (one: string): string => join(folder, one);
  try {
    writeFileSync(name('cms'), cms);
    writeFileSync(name('directory'), directory);
    const listed = await run('openssl', ['pkcs7', '-inform', 'DER', '-in', name('cms'), '-print_certs']);
    if (listed.missing) return 'there is no openssl here to look at its signature';
    const pems = listed.stdout.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g) ?? [];
    const root = pems.find((pem) => new X509Certificate(pem).fingerprint256 === appleRoot);
    if (root === undefined) return 'its signature does not lead to Apple';
    writeFileSync(name('root'), root);
    const args = ['-inform', 'DER', '-in', name('cms'), '-content', name('directory'), '-binary', '-CAfile', name('root'), '-signer', name('signer')];
    const verified = await run('openssl', ['cms', '-verify', ...args, '-purpose', 'any', '-no_check_time', '-ignore_critical', '-out', '/dev/null']);
    if (verified.code !== 0) return `its signature is not right: ${verified.stderr.trim().split('\n')[0]}`;
    const signer = new X509Certificate(readFileSync(name('signer'))).subject;
    return signer.split('\n').includes(`OU=${team}`) ? null : `it is signed by ${signer.replaceAll('\n', ', ')}`;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
