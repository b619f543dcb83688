import type { MdmName } from './mdms.ts';
import type { ProfileFile } from './read-profile.ts';
import { type Dictionary, isDictionary } from './schema-check.ts';

export interface Finding {
  rule: string;
  file: string;
  /** The payload and its key, or null where the whole profile is meant. */
  where: string | null;
  says: string;
  fix: string;
  /** A mistake is refused by macOS or loses keys; a note is something that the admin who uploads the file has to know. */
  is: 'mistake' | 'note';
}

export interface LintContext {
  now: Date;
  /** Who installs the profiles; null: nobody has said. */
  mdm: MdmName | null;
  /** The oldest macOS that gets them, or null. */
  macos: string | null;
  /** All files are what one Mac gets, and all that it gets. */
  oneMac?: boolean;
}

export type Found = Omit<Finding, 'rule' | 'fix'> & { fix?: string };

/** A rule looks at what one Mac gets together. */
export interface Rule {
  demands: string;
  because: string;
  /** What a person does, where a finding has no better word. */
  fix: string;
  look(set: readonly ProfileFile[], context: LintContext): Found[];
}

export const types = {
  escrow: 'com.apple.security.FDERecoveryKeyEscrow',
  redirect: 'com.apple.security.FDERecoveryRedirect',
  fileVault: 'com.apple.MCX.FileVault2',
  options: 'com.apple.MCX',
  pkcs1: 'com.apple.security.pkcs1',
  scep: 'com.apple.security.scep',
  acme: 'com.apple.security.acme',
  privacy: 'com.apple.TCC.configuration-profile-policy',
  preferences: 'com.apple.ManagedClient.preferences',
  loginItems: 'com.apple.servicemanagement',
} as const;

export const payloadsOf = ({ profile }: ProfileFile): Dictionary[] =>
  Array.isArray(profile['PayloadContent']) ? profile['PayloadContent'].filter(isDictionary) : [];
/** A value that is a text, or nothing. */
export const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');
export const typeOf = (payload: Dictionary): string => textOf(payload['PayloadType']) || 'without a type';
/** As macOS and the agent compare them: without regard to case. */
export const uuidIn = (payload: Dictionary, key = 'PayloadUUID'): string => textOf(payload[key]).toUpperCase();
/** The payload whose certificate the escrow payload seals to, in the same profile. */
export const certificateOf = (file: ProfileFile, escrow: Dictionary): Dictionary | undefined => {
  const named = uuidIn(escrow, 'EncryptCertPayloadUUID');
  return payloadsOf(file).find((payload) => named !== '' && uuidIn(payload) === named);
};
export const ofType = (file: ProfileFile, type: string): Dictionary[] => payloadsOf(file).filter((payload) => typeOf(payload) === type);
export const allOf = (set: readonly ProfileFile[], type: string): { file: ProfileFile; payload: Dictionary }[] =>
  set.flatMap((file) => ofType(file, type).map((payload) => ({ file, payload })));

export const mistake = ({ file }: ProfileFile, where: string | null, says: string, fix?: string): Found => ({
  file,
  where,
  says,
  is: 'mistake',
  ...(fix === undefined ? {} : { fix }),
});
export const note = ({ file }: ProfileFile, where: string | null, says: string, fix?: string): Found => ({
  file,
  where,
  says,
  is: 'note',
  ...(fix === undefined ? {} : { fix }),
});

/** A rule that looks at one payload at a time; null where it holds. */
export const eachPayload =
  (type: string, judge: (payload: Dictionary, file: ProfileFile, context: LintContext) => { key?: string; says: string; fix?: string } | null): Rule['look'] =>
  (set, context) =>
    allOf(set, type).flatMap(({ file, payload }) => {
      const found = judge(payload, file, context);
      return found === null ? [] : [mistake(file, found.key === undefined ? type : `${type} ${found.key}`, found.says, found.fix)];
    });
