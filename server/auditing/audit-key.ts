import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign, verify } from 'node:crypto';
import { existsSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { z } from 'zod';
import { Problem } from '../../protocol/problems.ts';
import { canonicalJson } from '../audit.ts';
import type { FolderPaths } from '../data-folder.ts';
import { makePrivateFolder, readPrivate, replacePrivate, writePrivate } from '../private-files.ts';

/**
 * The Ed25519 key pairs of the audit. The private key of the present one lies outside the database: whoever can write there
 * alone can sign nothing. Every public key that there ever was is kept, in one list in which each follows from the one before.
 */
const digest = z.string().regex(/^[0-9a-f]{64}$/);
const signature = z.base64();

/** A key in the list: it signs the whole list up to itself, and the key before it signs that it follows. */
const listed = z.strictObject({
  format: z.literal('sparekey audit key 1'),
  /** 1, 2, 3 … */
  number: z.int().min(1),
  /** SHA-256 of the public key (SubjectPublicKeyInfo, DER). */
  keyId: digest,
  /** PEM. */
  publicKey: z.string().max(1000),
  /** When it was made, server milliseconds. */
  at: z.int(),
  /** SHA-256 of the canonical text of the entry before, with its signatures; null for the first. */
  previous: digest.nullable(),
  /** By this key, over the canonical text of all above. */
  signature,
  /** By the key before it, over the same text; null for the first. */
  signatureBefore: signature.nullable(),
});
export type ListedKey = z.infer<typeof listed>;
export const listedKeys = z.array(listed).min(1).max(1000);

export interface AuditKey {
  keyId: string;
  privateKey: KeyObject;
  /** All of them, the oldest first; the last is the present one. */
  keys: readonly ListedKey[];
}

const sha256 = (text: string | Buffer): string => createHash('sha256').update(text).digest('hex');
export const digestOfCanonical = (value: unknown): string => sha256(canonicalJson(value));

export const keyIdOf = (key: KeyObject): string => sha256(key.export({ type: 'spki', format: 'der' }));

export const signText = (key: KeyObject, text: string): string => sign(null, Buffer.from(text), key).toString('base64');
export const isSignedBy = (publicKey: KeyObject, text: string, given: string): boolean => {
  try {
    return verify(null, Buffer.from(text), publicKey, Buffer.from(given, 'base64'));
  } catch {
    return false;
  }
};

/** A public key in PEM; anything else is refused. */
export function readPublicKey(pem: string): KeyObject | null {
  try {
    const key = createPublicKey(pem);
    return key.asymmetricKeyType === 'ed25519' ? key : null;
  } catch {
    return null;
  }
}

export const filesOfAuditKey = ({ auditKeys }: FolderPaths) => ({
  folder: auditKeys,
  present: join(auditKeys, 'present.key.pem'),
  /** Of a change of keys that has not ended. */
  next: join(auditKeys, 'next.key.pem'),
  list: join(auditKeys, 'keys.json'),
});

function textOf({ signature: _own, signatureBefore: _before, ...said }: ListedKey): string {
  return canonicalJson(said);
}

function entryFor(privateKey: KeyObject, at: number, before: { last: ListedKey; key: KeyObject } | null): ListedKey {
  const publicKey = createPublicKey(privateKey);
  const said = {
    format: 'sparekey audit key 1' as const,
    number: (before?.last.number ?? 0) + 1,
    keyId: keyIdOf(publicKey),
    publicKey: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    at,
    previous: before ? digestOfCanonical(before.last) : null,
  };
  const text = canonicalJson(said);
  return { ...said, signature: signText(privateKey, text), signatureBefore: before ? signText(before.key, text) : null };
}

const pemOf = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' }).toString();
const listText = (keys: readonly ListedKey[]): string => `${JSON.stringify(keys, null, 2)}\n`;

/** The first key pair of a data folder; files that are there stay. */
export function makeAuditKey(paths: FolderPaths, at: number): AuditKey {
  const files = filesOfAuditKey(paths);
  if (!existsSync(files.folder)) makePrivateFolder(files.folder);
  // The key first: what is without a list is a beginning that was cut off, and made anew.
  if (!existsSync(files.present)) writePrivate(files.present, pemOf(generateKeyPairSync('ed25519').privateKey));
  const privateKey = createPrivateKey(readPrivate(files.present));
  const keys = [entryFor(privateKey, at, null)];
  replacePrivate(files.list, listText(keys));
  return { keyId: keyIdOf(createPublicKey(privateKey)), privateKey, keys };
}

export const hasAuditKey = (paths: FolderPaths): boolean => existsSync(filesOfAuditKey(paths).list);

const damaged = (path: string) => new Problem('SERVER_SETTINGS_INVALID', `${basename(dirname(path))}/${basename(path)} is damaged: take it from a backup`);

export function readAuditKey(paths: FolderPaths): AuditKey {
  const files = filesOfAuditKey(paths);
  const keys = readList(files.list);
  const last = keys.at(-1);
  // A change of keys is done when the list names the new one.
  if (existsSync(files.next)) {
    if (last && keyIdIn(files.next) === last.keyId) renameSync(files.next, files.present);
    else rmSync(files.next);
  }
  const privateKey = privateKeyIn(files.present);
  const keyId = keyIdOf(createPublicKey(privateKey));
  if (keyId !== last?.keyId || !trustedKeys(keys, null)) throw damaged(files.list);
  return { keyId, privateKey, keys };
}

function readList(path: string): ListedKey[] {
  try {
    return listedKeys.parse(JSON.parse(readPrivate(path).toString('utf8')));
  } catch (error) {
    if (error instanceof Problem) throw error;
    throw damaged(path);
  }
}

function privateKeyIn(path: string): KeyObject {
  const bytes = readPrivate(path);
  try {
    return createPrivateKey(bytes);
  } catch {
    throw damaged(path);
  }
}
const keyIdIn = (path: string): string => keyIdOf(createPublicKey(privateKeyIn(path)));

/** Another key pair from here on. The private key of before is gone; its public key stays, and is signed over. */
export function replaceAuditKey(paths: FolderPaths, at: number): AuditKey {
  const files = filesOfAuditKey(paths);
  const { privateKey: before, keys } = readAuditKey(paths);
  const last = keys.at(-1);
  if (!last) throw damaged(files.list);
  const privateKey = generateKeyPairSync('ed25519').privateKey;
  writePrivate(files.next, pemOf(privateKey));
  const all = [...keys, entryFor(privateKey, at, { last, key: before })];
  replacePrivate(files.list, listText(all));
  return readAuditKey(paths);
}

/**
 * The public keys of a list, by id. Null where the list does not hold together. With a key that the reader knows from
 * elsewhere: null also where that is none of them. Each later key is signed by the one before, and signs all before itself.
 */
export function trustedKeys(keys: readonly ListedKey[], known: KeyObject | null): Map<string, KeyObject> | null {
  const found = new Map<string, KeyObject>();
  let before: { entry: ListedKey; key: KeyObject } | null = null;
  for (const [index, entry] of keys.entries()) {
    const key = readPublicKey(entry.publicKey);
    if (!key || keyIdOf(key) !== entry.keyId || entry.number !== index + 1 || !isSignedBy(key, textOf(entry), entry.signature)) return null;
    if (entry.previous !== (before ? digestOfCanonical(before.entry) : null)) return null;
    if (before && !isSignedBy(before.key, textOf(entry), entry.signatureBefore ?? '')) return null;
    found.set(entry.keyId, key);
    before = { entry, key };
  }
  return known === null || found.has(keyIdOf(known)) ? found : null;
}
