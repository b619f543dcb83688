// The managed preferences of the domain io.sparekey.agent → checked values. A value that is not managed counts for nothing.
import { createHash } from 'node:crypto';
import { Problem } from '../protocol/problems.ts';
import { asDictionary, readPlistFile } from './mac/plist.ts';
import { paths } from './paths.ts';
import { describe, type Setting } from './setting-kinds.ts';
import { type Settings, settingsTable } from './settings-table.ts';
import type { Disk, Runner } from './world.ts';

export type { Settings } from './settings-table.ts';

/** Preferences that anybody with admin rights can write: read only to say that they are ignored. */
const unmanagedFile = '/Library/Preferences/io.sparekey.agent.plist';
const lastGoodBytes = 512 * 1024;

/** One thing to say about the settings: `wrong` is a mistake, `warning` is not. `says` goes on from the name. */
export interface SettingsProblem {
  name: string;
  says: string;
  kind: 'wrong' | 'warning';
}

export interface SettingsRead {
  /** Null where an essential one is missing or wrong, or where there are none. */
  settings: Settings | null;
  /** `unmanaged`: the profile is gone and these are the last good ones; then nothing is rotated and nobody is asked for anything. */
  state: 'managed' | 'unmanaged' | 'missing';
  /** ISO 8601. */
  unmanagedSince: string | null;
  problems: SettingsProblem[];
  /** SHA-256 of what the profile says, without secrets: two Macs with the same settings have the same. */
  digest: string;
  /** What `keepLastGood` writes: values as in the profile, without secrets. */
  toKeep: Record<string, unknown>;
}

const names = Object.keys(settingsTable) as (keyof Settings)[];
/** Names that are no settings, said of one file: whatever stands in it, the status stays small. */
const mostNamed = 50;
const shortName = (name: string): string => name.slice(0, 64);

export async function readSettings(runner: Runner, disk: Disk, now: number): Promise<SettingsRead> {
  const managed = await readManaged(runner, disk);
  const ignored = await unmanagedProblems(runner, disk);
  if (typeof managed === 'object') {
    const read = interpret(managed);
    return { ...read, problems: [...read.problems, ...ignored], state: 'managed', unmanagedSince: null };
  }
  const unreadable: SettingsProblem[] = managed === 'unreadable' ? [{ name: 'the managed settings', says: 'cannot be read', kind: 'wrong' }] : [];
  const last = readLastGood(disk);
  const read = interpret(last?.values ?? {});
  if (!last || !read.settings) return { ...interpret({}), settings: null, problems: [...unreadable, ...ignored], state: 'missing', unmanagedSince: null };
  return {
    ...read,
    problems: [...unreadable, ...read.problems, ...ignored],
    state: 'unmanaged',
    unmanagedSince: last.unmanagedSince ?? new Date(now).toISOString(),
  };
}

/** What stands in the way of acting on these settings, or null. */
export function settingsProblem(read: SettingsRead): Problem | null {
  if (read.settings) return null;
  const wrong = read.problems.filter((one) => one.kind === 'wrong').map((one) => `${one.name} ${one.says}`);
  if (read.state === 'managed') return new Problem('SETTINGS_INVALID', wrong.join('; '));
  return wrong.length > 0 ? new Problem('SETTINGS_UNREADABLE') : new Problem('SETTINGS_MISSING');
}

/**
 * Keeps good settings for the day on which the profile vanishes (an MDM migration takes all profiles away for a while),
 * and since when it has been away. Writes only what changed.
 */
export function keepLastGood(disk: Disk, read: SettingsRead): void {
  if (!read.settings || read.state === 'missing') return;
  const text = `${JSON.stringify({ version: 1, unmanagedSince: read.unmanagedSince, values: read.toKeep }, null, 1)}\n`;
  if (readBytes(disk, paths.lastGoodSettings, lastGoodBytes)?.toString('utf8') !== text) disk.replace(paths.lastGoodSettings, text);
}

async function readManaged(runner: Runner, disk: Disk): Promise<Record<string, unknown> | 'absent' | 'unreadable'> {
  try {
    if (!disk.facts(paths.settings)) return 'absent';
  } catch {
    return 'unreadable';
  }
  const values = asDictionary(await readPlistFile(runner, paths.settings));
  if (!values) return 'unreadable';
  return Object.keys(values).length === 0 ? 'absent' : values;
}

async function unmanagedProblems(runner: Runner, disk: Disk): Promise<SettingsProblem[]> {
  try {
    if (!disk.facts(unmanagedFile)) return [];
  } catch {
    return [];
  }
  const found = Object.keys(asDictionary(await readPlistFile(runner, unmanagedFile)) ?? {});
  return found
    .slice(0, mostNamed)
    .map((name) => ({ name: shortName(name), says: `is set in ${unmanagedFile}, which is not managed: it is ignored`, kind: 'warning' }));
}

function interpret(values: Record<string, unknown>): Pick<SettingsRead, 'settings' | 'problems' | 'digest' | 'toKeep'> {
  const problems: SettingsProblem[] = [];
  const read: Partial<Record<keyof Settings, unknown>> = {};
  for (const name of names) read[name] = readOne(name, settingsTable[name] as Setting<unknown>, values[name], problems);
  // macOS puts those of `Payload…` into the file itself.
  const unknown = Object.keys(values).filter((name) => !name.startsWith('Payload') && !Object.hasOwn(settingsTable, name));
  for (const name of unknown.slice(0, mostNamed)) {
    const meant = names.find((one) => one.toLowerCase() === name.toLowerCase());
    problems.push({ name: shortName(name), says: `is not a setting${meant ? `; is \`${meant}\` meant?` : ': it is ignored'}`, kind: 'warning' });
  }
  const complete = names.every((name) => read[name] !== undefined);
  const settings = complete ? (read as unknown as Settings) : null;
  if (settings) problems.push(...together(settings));
  const toKeep = Object.fromEntries(
    names.filter((name) => values[name] !== undefined && !settingsTable[name].secret).map((name) => [name, toJson(values[name])]),
  );
  return {
    settings,
    problems,
    toKeep,
    digest: createHash('sha256')
      .update(
        JSON.stringify(
          Object.entries(toKeep)
            .filter(([name]) => !settingsTable[name as keyof Settings].ofThisMac)
            .sort(),
        ),
      )
      .digest('hex'),
  };
}

function readOne(name: string, setting: Setting<unknown>, value: unknown, problems: SettingsProblem[]): unknown {
  if (value === undefined) {
    if (setting.essential) problems.push({ name, says: 'is missing', kind: 'wrong' });
    return setting.initial;
  }
  const reading = setting.read(value);
  if (!('wrong' in reading)) {
    if (reading.but) problems.push({ name, says: reading.but, kind: 'warning' });
    return reading.value;
  }
  const instead = reading.value ?? setting.careful ?? setting.initial;
  const counts = typeof instead === 'string' || typeof instead === 'number' || typeof instead === 'boolean' ? `; ${describe(instead)} counts instead` : '';
  problems.push({ name, says: `${reading.wrong}${counts}`, kind: 'wrong' });
  return instead;
}

/** What is only wrong beside another setting. */
function together(settings: Settings): SettingsProblem[] {
  const problems: SettingsProblem[] = [];
  const { identityCertificateFile: certificate, identityKeyFile: key, identityPkcs12File: pkcs12, identityPkcs12PasswordFile: password } = settings;
  if (certificate && !key) problems.push({ name: 'identityKeyFile', says: 'is missing, and identityCertificateFile needs it', kind: 'wrong' });
  if (key && !certificate) problems.push({ name: 'identityCertificateFile', says: 'is missing, and identityKeyFile needs it', kind: 'wrong' });
  if (pkcs12 && (certificate || key))
    problems.push({ name: 'identityPkcs12File', says: 'is ignored: identityCertificateFile and identityKeyFile are set', kind: 'warning' });
  if (password && !pkcs12) problems.push({ name: 'identityPkcs12PasswordFile', says: 'is ignored: identityPkcs12File is not set', kind: 'warning' });
  const files = Boolean(certificate || key || pkcs12);
  const profile = Boolean(settings.identityIssuer || settings.identitySubject);
  if (files && profile) problems.push({ name: 'identityIssuer', says: 'and identitySubject are ignored: the identity comes from files', kind: 'warning' });
  if (settings.enrolmentTicket && (files || profile))
    problems.push({ name: 'enrolmentTicket', says: 'is ignored: there is a better identity in the settings', kind: 'warning' });
  const unsaid = (['organisation', 'adoptWords', 'adoptContact'] as const).filter((name) => settings[name] === null);
  if (settings.adoptByPrompt && unsaid.length > 0)
    problems.push({ name: 'adoptByPrompt', says: `has no effect: ${unsaid.join(', ')} must be set beside it, so nobody is asked`, kind: 'wrong' });
  return problems;
}

/** A value of a property list as JSON can hold it; data keeps its kind. */
function toJson(value: unknown): unknown {
  if (value instanceof Uint8Array) return { data: Buffer.from(value).toString('base64') };
  if (Array.isArray(value)) return value.map(toJson);
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? value : null;
}

function fromJson(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(fromJson);
  const data = asDictionary(value)?.['data'];
  return typeof data === 'string' ? Buffer.from(data, 'base64') : value;
}

function readLastGood(disk: Disk): { values: Record<string, unknown>; unmanagedSince: string | null } | null {
  const bytes = readBytes(disk, paths.lastGoodSettings, lastGoodBytes);
  try {
    const file = asDictionary(bytes && JSON.parse(bytes.toString('utf8')));
    const values = file?.['version'] === 1 ? asDictionary(file['values']) : null;
    if (!file || !values) return null;
    const since = file['unmanagedSince'];
    return {
      values: Object.fromEntries(Object.entries(values).map(([name, value]) => [name, fromJson(value)])),
      unmanagedSince: typeof since === 'string' ? since : null,
    };
  } catch {
    return null;
  }
}

/** Null also where it is not ours, too large or not readable: then there are no last good settings. */
function readBytes(disk: Disk, path: string, most: number): Buffer | null {
  try {
    return disk.read(path, most);
  } catch {
    return null;
  }
}
