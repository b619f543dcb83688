import {
  type CipherGCM,
  constants,
  createCipheriv,
  createDecipheriv,
  createPublicKey,
  type KeyObject,
  privateDecrypt,
  publicEncrypt,
  randomBytes,
} from 'node:crypto';
import { closeSync, fstatSync, fsyncSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { integer, nothing, octets, oid, sequence, set, tagged } from '../protocol/asn1.ts';
import { readCertificate } from '../protocol/certificate.ts';
import { oids } from '../protocol/envelope-structure.ts';
import { Problem } from '../protocol/problems.ts';

/**
 * A file sealed to a certificate: the same CMS as an envelope of a key (AuthEnvelopedData, AES-256-GCM, RSA-OAEP with SHA-256), in
 * one piece and as a stream, so that `openssl cms -decrypt` opens a backup without us.
 */
export interface UnsealKey {
  /** DER. */
  certificate: Buffer;
  privateKey: KeyObject;
}

const chunkBytes = 1024 * 1024;
const tagBytes = 16;
/** What AES-GCM takes under one nonce. */
export const mostSealedBytes = 2 ** 36 - 32;
/** The bytes before the content: some 600. */
const mostHead = 8 * 1024;

/** Tag and length, for what is too long to be held in memory. */
function open(tag: number, length: number): Buffer {
  const bytes = Buffer.alloc(6);
  bytes.writeUIntBE(length, 0, 6);
  const short = bytes.subarray(bytes.findIndex((byte) => byte !== 0));
  return length < 128 ? Buffer.from([tag, length]) : Buffer.concat([Buffer.from([tag, 0x80 | short.length]), short]);
}

function writeAll(handle: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) done += writeSync(handle, bytes, done);
}

/** Runs what is in `from`, from here to there, through a cipher into `to`. */
function pour(cipher: Pick<CipherGCM, 'update'>, from: number, to: number, start: number, bytes: number): void {
  const chunk = Buffer.alloc(chunkBytes);
  for (let done = 0; done < bytes; ) {
    const count = readSync(from, chunk, 0, Math.min(chunk.length, bytes - done), start + done);
    if (count === 0) throw new Problem('BACKUP_INVALID', 'it is cut short');
    writeAll(to, cipher.update(chunk.subarray(0, count)));
    done += count;
  }
}

/** All that lies before `bytes` of content: from the inside out, each element with the length of what it holds. */
function headOf(certificateDer: Buffer, { block, nonce, bytes }: { block: Buffer; nonce: Buffer; bytes: number }): Buffer {
  const certificate = readCertificate(certificateDer);
  const sha256 = sequence(oid(oids.sha256), nothing());
  const oaep = sequence(oid(oids.rsaesOaep), sequence(tagged(0, sha256), tagged(1, sequence(oid(oids.mgf1), sha256))));
  const recipient = sequence(integer(0), sequence(certificate.issuer, certificate.serialDer), oaep, octets(block));
  const contents = [oid(oids.data), sequence(oid(oids.aes256Gcm), sequence(octets(nonce), integer(tagBytes))), open(0x80, bytes)];
  const body = [integer(0), set(recipient), open(0x30, sizeOf(contents) + bytes), ...contents];
  const bodyBytes = sizeOf(body) + bytes + tagBytes + 2;
  const inner = open(0x30, bodyBytes);
  const outer = open(0xa0, inner.length + bodyBytes);
  const type = oid(oids.authEnveloped);
  return Buffer.concat([open(0x30, type.length + outer.length + inner.length + bodyBytes), type, outer, inner, ...body]);
}

export function sealFile(from: string, to: string, certificateDer: Buffer): void {
  const certificate = readCertificate(certificateDer);
  const key = createPublicKey({ key: certificate.publicKey, format: 'der', type: 'spki' });
  if (key.asymmetricKeyType !== 'rsa') throw new Problem('USAGE', 'a backup is encrypted to a certificate with an RSA key');
  const contentKey = randomBytes(32);
  const nonce = randomBytes(12);
  const [source, target] = [openSync(from, 'r'), openSync(to, 'wx', 0o600)];
  try {
    const bytes = fstatSync(source).size;
    if (bytes > mostSealedBytes)
      throw new Problem('BACKUP_FAILED', `it has ${Math.ceil(bytes / 2 ** 30)} GiB, and 64 can be encrypted as one file: make it without --encrypt-to`);
    const block = publicEncrypt({ key, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' }, contentKey);
    writeAll(target, headOf(certificateDer, { block, nonce, bytes }));
    const cipher = createCipheriv('aes-256-gcm', contentKey, nonce);
    pour(cipher, source, target, 0, bytes);
    writeAll(target, cipher.final());
    writeAll(target, octets(cipher.getAuthTag()));
    fsyncSync(target);
  } catch (error) {
    rmSync(to, { force: true });
    throw error;
  } finally {
    contentKey.fill(0);
    closeSync(source);
    closeSync(target);
  }
}

const sizeOf = (parts: readonly Uint8Array[]): number => parts.reduce((sum, { length }) => sum + length, 0);

/** Whether it begins as CMS does; an archive begins with the name of a file. */
export function isSealed(file: string): boolean {
  const head = Buffer.alloc(1);
  let handle: number;
  try {
    handle = openSync(file, 'r');
  } catch (error) {
    throw new Problem('BACKUP_INVALID', `${file} cannot be opened (${(error as NodeJS.ErrnoException).code ?? 'unknown'})`);
  }
  try {
    return readSync(handle, head, 0, 1, 0) === 1 && head[0] === 0x30;
  } finally {
    closeSync(handle);
  }
}

/** Opens it into a new private file, which is there only when all of it is authentic. */
export function unsealFile(from: string, to: string, keys: readonly UnsealKey[]): void {
  const invalid = (why: string) => new Problem('BACKUP_INVALID', why);
  const source = openSync(from, 'r');
  const target = openSync(to, 'wx', 0o600);
  let whole = false;
  let contentKey: Buffer | null = null;
  try {
    const size = fstatSync(source).size;
    const head = Buffer.alloc(Math.min(mostHead, size));
    readSync(source, head, 0, head.length, 0);
    const { recipients, nonce, at, bytes } = readHead(head, invalid);
    if (at + bytes + tagBytes + 2 !== size) throw invalid('it is cut short, or something follows it');
    const ours = keys.flatMap((key) =>
      recipients.filter(({ issuerSerial }) => issuerSerial.equals(issuerSerialOf(key.certificate))).map(({ block }) => ({ key, block })),
    );
    const [first] = ours;
    if (!first)
      throw invalid('it is encrypted to another certificate: name the key that opens it with --escrow-key, or with --key that of a certificate of its own');
    if (!headOf(first.key.certificate, { block: first.block, nonce, bytes }).equals(head.subarray(0, at))) throw invalid('it is no backup of ours');
    try {
      contentKey = privateDecrypt({ key: first.key.privateKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' }, first.block);
    } catch {
      throw invalid('it does not open with this key');
    }
    const tail = Buffer.alloc(tagBytes + 2);
    readSync(source, tail, 0, tail.length, at + bytes);
    if (tail[0] !== 4 || tail[1] !== tagBytes) throw invalid('it is no backup of ours');
    const decipher = createDecipheriv('aes-256-gcm', contentKey, nonce, { authTagLength: tagBytes });
    decipher.setAuthTag(tail.subarray(2));
    pour(decipher, source, target, at, bytes);
    try {
      decipher.final();
    } catch {
      throw invalid('it was changed, or is damaged');
    }
    whole = true;
  } finally {
    contentKey?.fill(0);
    closeSync(source);
    closeSync(target);
    if (!whole) rmSync(to, { force: true });
  }
}

function issuerSerialOf(certificateDer: Buffer): Buffer {
  const { issuer, serialDer } = readCertificate(certificateDer);
  return sequence(issuer, serialDer);
}

/** What lies before the content, as `sealFile` writes it and nothing else. */
function readHead(head: Buffer, invalid: (why: string) => Problem) {
  let at = 0;
  const enter = (tag: number): { from: number; length: number } => {
    const first = head[at + 1] ?? 0x80;
    const count = first < 0x80 ? 0 : first & 0x7f;
    if (head[at] !== tag || (first >= 0x80 && (count < 1 || count > 6)) || at + 2 + count > head.length) throw invalid('it is no backup of ours');
    const length = count === 0 ? first : head.readUIntBE(at + 2, count);
    at += 2 + count;
    return { from: at, length };
  };
  const take = (tag: number): Buffer => {
    const began = at;
    const { from, length } = enter(tag);
    if (from + length > head.length) throw invalid('it is no backup of ours');
    at = from + length;
    return head.subarray(began, at);
  };
  const bare = (): Buffer => {
    const began = at;
    const { from, length } = enter(0x04);
    at = from + length;
    return at > began ? head.subarray(from, at) : head.subarray(0, 0);
  };
  const expect = (tag: number, bytes: Buffer): void => {
    if (!take(tag).equals(bytes)) throw invalid('it is no backup of ours');
  };
  enter(0x30);
  expect(0x06, oid(oids.authEnveloped));
  enter(0xa0);
  enter(0x30);
  expect(0x02, integer(0));
  const all = enter(0x31);
  const recipients: { issuerSerial: Buffer; block: Buffer }[] = [];
  const end = all.from + all.length;
  while (at < end) {
    const one = enter(0x30);
    expect(0x02, integer(0));
    const issuerSerial = take(0x30);
    take(0x30);
    recipients.push({ issuerSerial, block: bare() });
    if (at !== one.from + one.length) throw invalid('it is no backup of ours');
  }
  enter(0x30);
  expect(0x06, oid(oids.data));
  enter(0x30);
  expect(0x06, oid(oids.aes256Gcm));
  enter(0x30);
  const nonce = bare();
  expect(0x02, integer(tagBytes));
  const { from, length } = enter(0x80);
  return { recipients, nonce, at: from, bytes: length };
}
