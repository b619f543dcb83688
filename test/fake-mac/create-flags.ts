// `fake-mac create`: its options, turned into what the organisation gives the new Mac.
import { X509Certificate } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { attribute } from './certificates.ts';
import { FakeMac, identityFiles } from './fake-mac.ts';
import { defaultBundle, defaultJob } from './install.ts';
import { NotOnThisMac, type Pair, type Setting, type Settings } from './state.ts';

export interface CreateFlags {
  filevault: string;
  escrowProfile: string;
  escrowCertificate?: string;
  server?: string;
  trust?: string;
  custody?: string;
  settleSeconds?: string;
  checkInMinutes?: string;
  ticket?: string;
  deviceCa?: string;
  identityFiles?: boolean;
  set?: string[];
  serial?: string;
  user: string;
  macos: string;
  seed?: string;
  bundle?: string;
  agent: boolean;
}

const readText = (file: string): string => {
  if (!existsSync(file)) throw new NotOnThisMac(`there is no file ${file}`);
  return readFileSync(file, 'utf8');
};

export const parseSettings = (pairs: readonly string[]): Settings =>
  Object.fromEntries(
    pairs.map((pair) => {
      const at = pair.indexOf('=');
      if (at < 1) throw new NotOnThisMac(`a setting is written KEY=VALUE, not ${pair}`);
      const text = pair.slice(at + 1);
      try {
        return [pair.slice(0, at), JSON.parse(text) as Setting];
      } catch {
        return [pair.slice(0, at), text];
      }
    }),
  );

const oneOf = <T extends string>(option: string, value: string, words: readonly T[]): T => {
  const word = words.find((one) => one === value);
  if (word === undefined) throw new NotOnThisMac(`${option} is one of ${words.join(', ')}, not ${value}`);
  return word;
};

const certificatesIn = (text: string): string[] => text.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----\n?/g) ?? [];

const readCa = (folder: string): Pair => ({ certificate: readText(join(folder, 'ca.pem')), key: readText(join(folder, 'ca.key')) });

const settingsOf = (flags: CreateFlags, escrowCertificate: string | undefined, ca: Pair | null): Settings => ({
  ...(flags.server === undefined ? {} : { serverUrl: flags.server }),
  ...(escrowCertificate === undefined ? {} : { escrowCertificate }),
  ...(flags.trust === undefined ? {} : { trustedCertificates: certificatesIn(readText(flags.trust)) }),
  ...(flags.custody === undefined ? {} : { custody: flags.custody }),
  ...(flags.settleSeconds === undefined ? {} : { settleSeconds: Number(flags.settleSeconds) }),
  ...(flags.checkInMinutes === undefined ? {} : { checkInMinutes: Number(flags.checkInMinutes) }),
  ...(flags.ticket === undefined ? {} : { enrolmentTicket: readText(flags.ticket).trim() }),
  ...(ca && !flags.identityFiles ? { identityIssuer: attribute(new X509Certificate(ca.certificate).subject, 'CN') ?? '' } : {}),
  ...(ca && flags.identityFiles ? { identityCertificateFile: identityFiles.certificate, identityKeyFile: identityFiles.key } : {}),
  ...parseSettings(flags.set ?? []),
});

export const createFromFlags = (dir: string, flags: CreateFlags): FakeMac => {
  const bundle = resolve(flags.bundle ?? defaultBundle);
  if (flags.agent && !existsSync(bundle))
    throw new NotOnThisMac(`the agent's bundle ${bundle} is not there; \`npm run -s sparekey -- version\` builds it, --no-agent goes without`);
  const escrowCertificate = flags.escrowCertificate === undefined ? undefined : readText(flags.escrowCertificate);
  const escrowProfile = oneOf('--escrow-profile', flags.escrowProfile, ['ours', 'foreign', 'none']);
  if (escrowProfile === 'ours' && escrowCertificate === undefined) throw new NotOnThisMac('--escrow-profile ours needs --escrow-certificate FILE');
  if (flags.identityFiles && flags.deviceCa === undefined) throw new NotOnThisMac('--identity-files needs --device-ca DIR');
  const ca = flags.deviceCa === undefined ? null : readCa(flags.deviceCa);
  const settings = settingsOf(flags, escrowCertificate, ca);
  return FakeMac.create({
    root: dir,
    folder: true,
    fileVault: oneOf('--filevault', flags.filevault, ['on', 'off']),
    escrowProfile,
    ...(escrowCertificate === undefined ? {} : { escrowCertificate }),
    ...(Object.keys(settings).length ? { settings } : {}),
    ...(flags.serial === undefined ? {} : { serial: flags.serial }),
    ...(flags.seed === undefined ? {} : { seed: flags.seed }),
    user: flags.user,
    macosVersion: flags.macos,
    ...(ca ? { deviceCa: ca, identity: flags.identityFiles ? ('files' as const) : ('keychain' as const) } : {}),
    ...(flags.agent ? { agent: { bundle, job: existsSync(defaultJob) ? defaultJob : null } } : {}),
  });
};
