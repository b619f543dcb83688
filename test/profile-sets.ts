import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build, parse } from 'plist';
import { makeProfiles } from '../profiles/payloads.ts';
import type { ProfileFile } from '../profiles/read-profile.ts';
import type { Dictionary } from '../profiles/schema-check.ts';
import { type LoadOptions, loadSettings } from '../profiles/settings.ts';
import { makePair } from './fake-mac/certificates.ts';
import type { Pair } from './fake-mac/state.ts';

/** The settings of one organisation, in a folder that goes with `remove`. */
export interface Desk {
  folder: string;
  escrow: Pair;
  at(name: string): string;
  /** The path of a settings file that is good but for the changes. */
  settings(changes?: object): string;
  make(changes?: object, options?: LoadOptions): ProfileFile[];
  remove(): void;
}

export const good = {
  organisation: 'Example',
  identifier: 'org.example.sparekey',
  serverUrl: 'https://keys.example.org:8443',
  escrowCertificate: 'escrow.pem',
};
const found = { identityIssuer: 'Example Device CA' };
export const ways: Record<string, object> = {
  'no identity': {},
  SCEP: { identity: { scep: { url: 'https://ca.example.org/scep' } }, agent: found },
  ACME: { identity: { acme: { directoryUrl: 'https://ca.example.org/acme' } }, agent: found },
  'PKCS #12': { identity: { pkcs12: { folder: 'identities' } }, agent: found },
  ticket: { identity: { ticket: { file: 'ticket.txt' } } },
};
export const ticket = `desk.${'A'.repeat(43)}`;

export function desk(): Desk {
  const folder = mkdtempSync(join(tmpdir(), 'sparekey-profiles-'));
  const at = (name: string): string => join(folder, name);
  const escrow = makePair({ subject: { CN: 'escrow' }, kind: 'escrow', days: 14_600 });
  writeFileSync(at('escrow.pem'), escrow.certificate);
  writeFileSync(at('escrow.key'), escrow.key);
  writeFileSync(at('ca.pem'), makePair({ subject: { CN: 'ca' }, kind: 'ca', keyType: 'ec', days: 365 }).certificate);
  writeFileSync(at('ticket.txt'), `${ticket}\n`);
  let files = 0;
  const settings = (changes: object = {}): string => {
    files += 1;
    const file = at(`settings-${files}.json`);
    writeFileSync(file, JSON.stringify({ ...good, ...changes }));
    return file;
  };
  return {
    folder,
    escrow,
    at,
    settings,
    make: (changes = {}, options = {}) => makeProfiles(loadSettings(settings(changes), options)),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

export const payloads = (file: ProfileFile | undefined): Dictionary[] => (file?.profile['PayloadContent'] ?? []) as Dictionary[];
export const named = (files: readonly ProfileFile[], name: string): ProfileFile | undefined => files.find(({ file }) => file.endsWith(`${name}.mobileconfig`));
export const payloadOf = (files: readonly ProfileFile[], type: string): Dictionary | undefined =>
  files.flatMap(payloads).find((payload) => payload['PayloadType'] === type);
export const xml = (profile: Dictionary): string => build(profile as Parameters<typeof build>[0]);
export const fromXml = (text: string): Dictionary => parse(text) as Dictionary;
/** The escrow payload and its certificate go out of their profile. */
export function withoutEscrow(files: readonly ProfileFile[]): void {
  const gone = ['com.apple.security.FDERecoveryKeyEscrow', 'com.apple.security.pkcs1'];
  for (const file of files) file.profile['PayloadContent'] = payloads(file).filter((one) => !gone.includes(String(one['PayloadType'])));
}
