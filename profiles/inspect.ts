/* What is installed on a Mac beside what was built: missing, older, changed, not ours. Names of keys are said, never values. */
import { type InstalledPayload, type InstalledProfile, ownKeys } from './installed.ts';
import { payloadsOf, textOf, typeOf, types } from './lint-parts.ts';
import { variablesIn } from './mdms.ts';
import { agentDomain, onlyIfNeeded } from './payloads.ts';
import type { ProfileFile } from './read-profile.ts';
import { type Dictionary, isDictionary } from './schema-check.ts';

type State =
  | 'as-built'
  | 'missing'
  /** The same profile with another UUID and other contents. */
  | 'older'
  /** The UUID that was built, and other contents: nobody built that. */
  | 'changed'
  /** For one user in place of the whole Mac. */
  | 'for-a-user'
  /** In the set for the day that it is needed, and not installed. */
  | 'not-needed';

export interface Compared {
  file: string;
  identifier: string;
  state: State;
  /** The identifier that it has on the Mac, where that is another one: some MDMs give their own. */
  installedAs: string | null;
  /** Payload and key of each difference. */
  differs: string[];
}

export interface Stranger {
  identifier: string;
  displayName: string;
  organisation: string;
  user: string | null;
  is: 'second-escrow' | 'foreign-escrow' | 'foreign';
  /** The payloads that concern FileVault, keys or the agent. */
  payloads: string[];
}

export interface Inspection {
  profiles: Compared[];
  strangers: Stranger[];
  drift: boolean;
}

export function inspect(built: readonly ProfileFile[], installed: readonly InstalledProfile[]): Inspection {
  const taken = new Set<InstalledProfile>();
  // Where the Mac and a user have the same one, the Mac's counts.
  const inOrder = installed.toSorted((a, b) => Number(a.user !== null) - Number(b.user !== null));
  // One identifier may be built for several Macs, each with its own identity: the one that fits best counts.
  const profiles = [...Map.groupBy(built, ({ profile }) => textOf(profile['PayloadIdentifier'])).values()].flatMap((alternatives) => {
    const compared = alternatives.map((each) => compare(each, inOrder)).sort((a, b) => rank.indexOf(a.compared.state) - rank.indexOf(b.compared.state));
    const best = compared[0];
    if (best?.found) taken.add(best.found);
    return best === undefined ? [] : [best.compared];
  });
  const oursHasEscrow = [...taken].some((profile) => profile.payloads.some(({ type }) => type === types.escrow));
  const strangers = installed.filter((profile) => !taken.has(profile)).flatMap((profile) => strangerOf(profile, oursHasEscrow));
  const drift = strangers.length > 0 || profiles.some(({ state }) => state !== 'as-built' && state !== 'not-needed');
  return { profiles, strangers, drift };
}

const rank: readonly State[] = ['as-built', 'for-a-user', 'changed', 'older', 'not-needed', 'missing'];

function compare(file: ProfileFile, installed: readonly InstalledProfile[]): { compared: Compared; found: InstalledProfile | null } {
  const identifier = textOf(file.profile['PayloadIdentifier']);
  const found = find(file, identifier, installed);
  const answer = (state: State, differs: string[] = []): { compared: Compared; found: InstalledProfile | null } => ({
    compared: { file: file.file, identifier, state, installedAs: found !== null && found.identifier !== identifier ? found.identifier : null, differs },
    found,
  });
  if (found === null) return answer(file.file.split('/').includes(onlyIfNeeded) ? 'not-needed' : 'missing');
  const differs = differences(payloadsOf(file), found.payloads);
  if (differs.length > 0) return answer(found.uuid === textOf(file.profile['PayloadUUID']).toUpperCase() ? 'changed' : 'older', differs);
  return answer(found.user === null ? 'as-built' : 'for-a-user');
}

const typesOf = (payloads: readonly { type: string }[]): string =>
  payloads
    .map(({ type }) => type)
    .sort()
    .join();

/** By identifier; otherwise the same payloads under the same name, or with the same contents: some MDMs give identifiers of their own. */
function find(file: ProfileFile, identifier: string, installed: readonly InstalledProfile[]): InstalledProfile | null {
  const same = installed.find((profile) => profile.identifier === identifier);
  if (same !== undefined) return same;
  const payloads = payloadsOf(file);
  const alike = installed.filter((profile) => typesOf(profile.payloads) === typesOf(payloads.map((payload) => ({ type: typeOf(payload) }))));
  return (
    alike.find((profile) => profile.displayName === file.profile['PayloadDisplayName']) ??
    alike.find((profile) => profile.payloads.some(({ own }) => Object.keys(own).length > 0) && differences(payloads, profile.payloads).length === 0) ??
    null
  );
}

/** Secrets that macOS need not show, and a reference whose target is compared itself. */
const notCompared: Record<string, readonly string[]> = {
  [types.scep]: ['Challenge'],
  'com.apple.security.pkcs12': ['Password', 'PayloadContent'],
  [types.escrow]: ['EncryptCertPayloadUUID'],
};

function differences(built: readonly Dictionary[], installed: readonly InstalledPayload[]): string[] {
  const left = [...installed];
  const found = built.flatMap((payload) => {
    const type = typeOf(payload);
    const uuid = textOf(payload['PayloadUUID']).toUpperCase();
    const there = left.find((each) => each.type === type && each.uuid === uuid) ?? left.find((each) => each.type === type);
    if (there === undefined) return [`${type}: is not there`];
    left.splice(left.indexOf(there), 1);
    return differencesOf(type, ownKeys(payload), there.own);
  });
  return [...found, ...left.map(({ type }) => `${type}: was not built`)];
}

function differencesOf(type: string, built: Dictionary, there: Dictionary): string[] {
  // Contents that macOS does not show say nothing.
  if (Object.keys(there).length === 0) return [];
  const names = [...new Set([...Object.keys(built), ...Object.keys(there)])].filter((name) => !notCompared[type]?.includes(name));
  return names.flatMap((name) => {
    if (!(name in there)) return [`${type}: ${name} is not there`];
    if (!(name in built)) return [`${type}: ${name} was not built`];
    return equal(built[name], there[name]) ? [] : [`${type}: ${name} is another`];
  });
}

/** Whether a value is the one that was built; a variable of the MDM stands for whatever it was filled with. */
function equal(built: unknown, there: unknown): boolean {
  if (built instanceof Uint8Array) return there instanceof Uint8Array && Buffer.from(built).equals(Buffer.from(there));
  if (Array.isArray(built)) return Array.isArray(there) && built.length === there.length && built.every((each, at) => equal(each, there[at]));
  if (isDictionary(built)) {
    if (!isDictionary(there)) return false;
    const names = new Set([...Object.keys(built), ...Object.keys(there)]);
    return [...names].every((name) => equal(built[name], there[name]));
  }
  if (typeof built === 'string' && typeof there === 'string') return built === there || filledIn(built, there);
  return built === there;
}

/** The fixed parts of a text with variables, in their order; no pattern is made of what others wrote. */
function filledIn(built: string, there: string): boolean {
  const variables = variablesIn(built);
  if (variables.length === 0) return false;
  const fixed: string[] = [];
  let rest = built;
  for (const variable of variables) {
    const at = rest.indexOf(variable);
    fixed.push(rest.slice(0, at));
    rest = rest.slice(at + variable.length);
  }
  const [first = '', ...middle] = fixed;
  if (!there.startsWith(first) || !there.endsWith(rest) || there.length < first.length + rest.length) return false;
  let at = first.length;
  for (const part of middle) {
    const next = there.indexOf(part, at);
    if (next < 0) return false;
    at = next + part.length;
  }
  return at <= there.length - rest.length;
}

function strangerOf(profile: InstalledProfile, oursHasEscrow: boolean): Stranger[] {
  const payloads = profile.payloads.filter(concerns).map(({ type }) => type);
  if (payloads.length === 0) return [];
  const escrows = payloads.includes(types.escrow);
  return [
    {
      identifier: profile.identifier,
      displayName: profile.displayName,
      organisation: profile.organisation,
      user: profile.user,
      is: escrows ? (oursHasEscrow ? 'second-escrow' : 'foreign-escrow') : 'foreign',
      payloads: [...new Set(payloads)],
    },
  ];
}

const fileVaultOptions = ['dontAllowFDEDisable', 'dontAllowFDEEnable', 'DestroyFVKeyOnStandby'];

/** Whether a payload of somebody else has to do with FileVault, its keys, or our agent. */
function concerns({ type, own }: InstalledPayload): boolean {
  if (type === types.escrow || type === types.redirect || type === types.fileVault || type === agentDomain) return true;
  if (type === types.options) return fileVaultOptions.some((key) => key in own);
  if (type === types.preferences) return agentDomain in own;
  return false;
}
