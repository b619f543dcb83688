import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { build } from 'plist';
import { Problem } from '../protocol/problems.ts';
import { lint } from './lint.ts';
import type { Finding } from './lint-parts.ts';
import { agentSettingsIn, textsIn } from './lint-sparekey-rules.ts';
import { mdms, variablesIn } from './mdms.ts';
import { escrowFingerprint, makeProfiles } from './payloads.ts';
import type { ProfileFile } from './read-profile.ts';
import { type LoadOptions, loadSettings } from './settings.ts';
import { readSigner, type Signer, signProfile } from './signed.ts';

export interface BuildOptions extends LoadOptions {
  settings: string;
  out: string;
  /** Certificate, key and the file with its passphrase. */
  signing?: { certificate: string; key: string; passphraseFile?: string | undefined } | undefined;
  macos?: string | undefined;
}

export interface Built {
  written: string[];
  findings: Finding[];
  /** What a person has to know before the profiles are uploaded. */
  remarks: string[];
  /** SHA-256 of the certificate to which new keys will be sealed. */
  escrowCertificate: string;
}

export const xmlOf = ({ profile }: Pick<ProfileFile, 'profile'>): string => build(profile as Parameters<typeof build>[0]);

function signerOf({ certificate, key, passphraseFile }: NonNullable<BuildOptions['signing']>): Signer {
  const read = (path: string): Buffer => {
    try {
      return readFileSync(path);
    } catch (error) {
      throw new Problem('PROFILE_SETTINGS_INVALID', `${path} cannot be read (${(error as NodeJS.ErrnoException).code})`);
    }
  };
  const passphrase = passphraseFile === undefined ? undefined : (read(passphraseFile).toString('utf8').split('\n', 1)[0] ?? '');
  return readSigner(read(certificate).toString('utf8'), read(key), passphrase);
}

const variablesOf = (file: ProfileFile): string[] => {
  const all = new Set(Object.values(mdms).flatMap(({ variables }) => Object.values(variables)));
  return [...new Set(textsIn(file.profile['PayloadContent']).flatMap(variablesIn))].filter((each) => all.has(each));
};

/** Makes, looks at what it made, and writes; a mistake is a reason to write nothing. */
export function buildProfiles(options: BuildOptions, now: Date): Built {
  const settings = loadSettings(options.settings, options);
  const signer = options.signing === undefined ? null : signerOf(options.signing);
  const files = makeProfiles(settings);
  const findings = lint(files, { now, mdm: settings.mdm, macos: options.macos ?? null });
  const remarks = settings.mdm === null ? [] : [...mdms[settings.mdm].remarks];
  if (settings.teamIdentifier === undefined && settings.mdm !== 'none')
    remarks.push('teamIdentifier is not set: the Login Items profile allows any job of our label, and a privacy profile is not made');
  if (files.some((file) => agentSettingsIn(file).some((each) => 'enrolmentTicket' in each)))
    remarks.push('the settings hold an enrolment ticket: every local user of these Macs can read it until it is used up or expires');
  if (settings.pkcs12Identities.length > 0)
    remarks.push('each profile in identities/ holds a private key and its password: send it to that one Mac, and keep no copy');
  const rendered: { path: string; bytes: Uint8Array }[] = [];
  if (!findings.some(({ is }) => is === 'mistake')) {
    for (const file of files) {
      const variables = variablesOf(file);
      const asIs = signer !== null && variables.length > 0;
      if (asIs) remarks.push(`${file.file} is not signed: a signed profile cannot be changed, and the MDM has to fill in ${variables.join(', ')}`);
      const xml = Buffer.from(xmlOf(file));
      rendered.push({ path: join(options.out, file.file), bytes: signer === null || asIs ? xml : signProfile(xml, signer) });
    }
    // Only when all of them could be made: half a set would be uploaded.
    for (const { path, bytes } of rendered) writeSecret(path, bytes);
  }
  const written = rendered.map(({ path }) => path);
  if (written.length > 0) {
    remarks.push(...leftOver(options.out, written).map((path) => `${path} was there before and is not of this set; upload it no more`));
  }
  return { written, findings, remarks, escrowCertificate: escrowFingerprint(settings) };
}

/**
 * The settings may hold an enrolment ticket, the identity a challenge or a private key: nobody else reads it, whatever was there
 * before, and a link does not lead it elsewhere.
 */
function writeSecret(path: string, bytes: Uint8Array): void {
  mkdirSync(dirname(path), { recursive: true });
  const next = `${path}.${process.pid}.new`;
  rmSync(next, { force: true });
  try {
    writeFileSync(next, bytes, { mode: 0o600, flag: 'wx' });
    renameSync(next, path);
  } finally {
    rmSync(next, { force: true });
  }
}

function leftOver(out: string, written: readonly string[]): string[] {
  return readdirSync(out, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.mobileconfig'))
    .map((entry) => join(out, relative(out, join(entry.parentPath, entry.name))))
    .filter((path) => !written.includes(path))
    .sort();
}
