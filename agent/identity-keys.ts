// The private keys of this Mac's own identities: write-once items `identity:<hardwareUuid>:<n>`, or files of that name
// where the keychain fails. The hardware is part of the name, so that a moved disk brings no usable key.
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { Problem } from '../protocol/problems.ts';
import { paths } from './paths.ts';
import type { Disk, Secrets } from './world.ts';

export interface KeyPlace {
  keyAccount: string | null;
  keyFile: string | null;
}
export interface OwnKey extends KeyPlace {
  privateKey: KeyObject;
}

const mostBytes = 16 * 1024;
const accountOf = (hardwareUuid: string, number: number): string => `identity:${hardwareUuid}:${number}`;
const fileOf = (hardwareUuid: string, number: number): string => `${paths.state}/identity-${hardwareUuid}-${number}.key`;
const numberOf = (place: string | null): number => Number(/[:-](\d{1,9})(?:\.key)?$/.exec(place ?? '')?.[1] ?? 0);

/**
 * A new P-256 key, kept where it will stay. One that an interrupted enrolment left behind is taken up again instead: to
 * the backend the same key is the same enrolment.
 */
export async function makeKey(disk: Disk, secrets: Secrets, hardwareUuid: string, present: KeyPlace | null): Promise<OwnKey> {
  const places = [...((await accountsOf(secrets, hardwareUuid)) ?? []), ...filesOf(disk, hardwareUuid), present?.keyAccount ?? null, present?.keyFile ?? null];
  const newest = Math.max(0, ...places.map(numberOf));
  if (newest > numberOf(present?.keyAccount ?? present?.keyFile ?? null)) {
    const left = await leftover(disk, secrets, hardwareUuid, newest);
    if (left) return left;
  }
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const pem = privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
  const keyAccount = accountOf(hardwareUuid, newest + 1);
  if (await secrets.write(keyAccount, pem)) return { privateKey, keyAccount, keyFile: null };
  const keyFile = fileOf(hardwareUuid, newest + 1);
  disk.replace(keyFile, pem, 0o600);
  return { privateKey, keyAccount: null, keyFile };
}

async function leftover(disk: Disk, secrets: Secrets, hardwareUuid: string, number: number): Promise<OwnKey | null> {
  const keyFile = fileOf(hardwareUuid, number);
  const keyAccount = accountOf(hardwareUuid, number);
  const inKeychain = await secrets.read(keyAccount);
  const pem = typeof inKeychain === 'object' ? inKeychain.there : disk.read(keyFile, mostBytes)?.toString('utf8');
  try {
    const privateKey = createPrivateKey(pem ?? '');
    if (createPublicKey(privateKey).asymmetricKeyDetails?.namedCurve !== 'prime256v1') return null;
    return typeof inKeychain === 'object' ? { privateKey, keyAccount, keyFile: null } : { privateKey, keyAccount: null, keyFile };
  } catch {
    return null;
  }
}

/** Null where the key is certainly gone; throws where that cannot be told. */
export async function readKey(disk: Disk, secrets: Secrets, { keyAccount, keyFile }: KeyPlace): Promise<string | null> {
  if (keyFile) return disk.read(keyFile, mostBytes)?.toString('utf8') ?? null;
  const found = keyAccount ? await secrets.read(keyAccount) : 'not-there';
  if (found === 'cannot-tell') throw new Problem('KEYCHAIN_LOCKED', 'the identity key cannot be read');
  return found === 'not-there' ? null : found.there;
}

/** Deletes every identity key of this Mac but the one at `keep`. */
export async function forgetOtherKeys(disk: Disk, secrets: Secrets, hardwareUuid: string, keep: KeyPlace): Promise<void> {
  for (const account of (await accountsOf(secrets, hardwareUuid)) ?? []) if (account !== keep.keyAccount) await secrets.remove(account);
  for (const file of filesOf(disk, hardwareUuid)) if (file !== keep.keyFile) disk.remove(file);
}

/** Null where the keychain does not say. */
async function accountsOf(secrets: Secrets, hardwareUuid: string): Promise<string[] | null> {
  const listed = await secrets.list();
  return listed === 'cannot-tell' ? null : listed.filter((account) => account.startsWith(`identity:${hardwareUuid}:`));
}

const filesOf = (disk: Disk, hardwareUuid: string): string[] =>
  disk
    .list(paths.state)
    .filter((name) => name.startsWith(`identity-${hardwareUuid}-`) && name.endsWith('.key'))
    .map((name) => `${paths.state}/${name}`);
