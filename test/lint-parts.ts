import type { Finding, LintContext } from '../profiles/lint-parts.ts';
import type { ProfileFile } from '../profiles/read-profile.ts';
import { type Desk, ways } from './profile-sets.ts';

/* What the tests of `profiles lint` have in common: its day, the types of payloads, and a set that it has nothing against. */

export const now = new Date('2026-12-01T00:00:00Z');
export const context = (changes: Partial<LintContext> = {}): LintContext => ({ now, mdm: 'jamf', macos: null, ...changes });
export const types = {
  escrow: 'com.apple.security.FDERecoveryKeyEscrow',
  fileVault: 'com.apple.MCX.FileVault2',
  options: 'com.apple.MCX',
  pkcs1: 'com.apple.security.pkcs1',
  scep: 'com.apple.security.scep',
  acme: 'com.apple.security.acme',
  items: 'com.apple.servicemanagement',
  privacy: 'com.apple.TCC.configuration-profile-policy',
  agent: 'io.sparekey.agent',
};

/** A set of every kind of payload that we make, for Jamf Pro. */
export const cleanSet = (it: Desk, way = 'SCEP', changes: object = {}): ProfileFile[] =>
  structuredClone(it.make({ ...ways[way], teamIdentifier: 'ABCDE12345', portal: 'https://mac.example.org', mdm: 'jamf', ...changes }));
export const short = ({ rule, is, where, says }: Finding): string => `${rule} ${is}: ${where ?? ''} ${says}`;
