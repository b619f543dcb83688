import { Problem } from '../../protocol/problems.ts';
import { RecoveryKey } from '../../protocol/recovery-key.ts';
import type { BroughtSource } from '../brought/sources.ts';

export const roles = ['serial', 'key', 'date', 'kind', 'institutional'] as const;
export type Role = (typeof roles)[number];
/** Which column is what: its name as it stands in the first line, or its number, the first being 1. */
export type Mapping = Partial<Record<Role, string>>;

/** Sources that can be imported from a file. */
export const fileSources = ['csv', 'intune', 'jamf', 'fleet', 'kandji', 'zentral', 'crypt-server', 'mdm-cms'] as const satisfies readonly BroughtSource[];
export type FileSource = (typeof fileSources)[number];

/** Upper and lower case, spaces, dashes and underlines are no difference. */
const bare = (name: string): string => name.toLowerCase().replace(/[^\p{L}\p{N}]/gu, '');

/** Names that say the same in every product. */
const always: Record<Role, readonly string[]> = {
  serial: [
    'serial',
    'serialnumber',
    'serialno',
    'serialnr',
    'deviceserial',
    'deviceserialnumber',
    'hardwareserial',
    'hardwareserialnumber',
    'computerserial',
    'computerserialnumber',
    'hostserial',
    'macserial',
  ],
  // `key` alone is what Kandji's own script calls it.
  key: [
    'key',
    'recoverykey',
    'filevaultkey',
    'filevaultrecoverykey',
    'filevault2recoverykey',
    'filevault2individualrecoverykey',
    'filevaultpersonalrecoverykey',
    'personalrecoverykey',
    'individualrecoverykey',
    'diskencryptionkey',
    'diskencryptionrecoverykey',
    'encryptionkey',
    'filevaultprk',
    'prk',
    'fdepersonalrecoverykeycms',
    'personalrecoverykeycms',
    'cms',
    'envelope',
  ],
  date: ['dateescrowed', 'escrowedat', 'escrowdate', 'escrowed', 'keyescrowedat', 'keydate', 'keyupdatedat', 'recoverykeydate', 'encryptionkeyupdatedat'],
  kind: ['secrettype', 'keytype', 'recoverykeytype'],
  institutional: ['institutionalrecoverykey', 'filevaultinstitutionalrecoverykey', 'institutionalkey', 'irk'],
};

/**
 * What is added for one product, where the name says nothing by itself. Which page each comes from stands in docs/coexistence.md.
 * `secret` is Crypt-Server's field, `value` that of Microsoft Graph's reply.
 */
const ofProduct: Partial<Record<FileSource, Partial<Record<Role, readonly string[]>>>> = {
  csv: { date: ['date'] },
  intune: { key: ['value'] },
  'crypt-server': { key: ['secret', 'recoverypassword'] },
};

/** By what a first line gives its product away. */
const marks: readonly (readonly [FileSource, readonly string[]])[] = [
  ['jamf', ['jamfproidnumber']],
  ['jamf', ['jamfproid']],
  ['fleet', ['hardwareserial', 'encryptionkey']],
  ['kandji', ['blueprintname']],
  ['zentral', ['filevaultprk']],
  ['crypt-server', ['secret', 'secrettype']],
  ['intune', ['manageddeviceid']],
  ['intune', ['intunedeviceid']],
  ['mdm-cms', ['fdepersonalrecoverykeycms']],
];

function sourceByNames(names: readonly string[]): FileSource {
  const have = new Set(names.map(bare));
  return marks.find(([, needed]) => needed.every((name) => have.has(name)))?.[0] ?? 'csv';
}

const isNameOf = (role: Role, source: FileSource, name: string): boolean =>
  always[role].includes(bare(name)) || (ofProduct[source]?.[role]?.includes(bare(name)) ?? false);

/** A cell of the first line is shown only where it cannot be a key: a file without names begins with one. */
const shown = (name: string): string => {
  const signs = name.replace(/[^A-Za-z0-9]/g, '');
  const maybeKey = RecoveryKey.findIn(name.toUpperCase()) !== null || (signs.length >= 16 && (/\d/.test(signs) || signs === signs.toUpperCase()));
  return maybeKey || name.length > 60 ? '(not shown: it may be a key)' : `“${name}”`;
};

export interface Columns {
  source: FileSource;
  /** Place of the column, the first being 0. */
  places: Partial<Record<Role, number>>;
  /** False where the columns were given by number and the first line is a Mac already. */
  hasNames: boolean;
}

const refuse = (words: string): never => {
  throw new Problem('EXPORT_INVALID', words);
};

/** Which column is what. All that is not certain is refused, with the way to say it. */
export function columnsOf(first: readonly string[], given: { source: FileSource | null; mapping: Mapping }): Columns {
  const names = first.map((name) => name.trim());
  const source = given.source ?? sourceByNames(names);
  const places: Columns['places'] = {};
  let byNumber = false;
  for (const role of roles) {
    const named = given.mapping[role];
    const found = named === undefined ? placesOf(names, (name) => isNameOf(role, source, name)) : namedPlaces(names, named);
    if (named !== undefined && found.length === 0) refuse(`there is no column ${shown(named)}; it has ${names.map(shown).join(', ')}`);
    if (named !== undefined && /^\d+$/.test(named) && !names.includes(named)) byNumber = true;
    if (found.length > 1) {
      const which = found.map((at) => shown(names[at] ?? '')).join(', ');
      refuse(`${found.length} columns may be the ${role} (${which}): say which with --map ${role}=…`);
    }
    if (found[0] !== undefined) places[role] = found[0];
  }
  for (const role of ['serial', 'key'] as const)
    if (places[role] === undefined)
      refuse(
        `no column is known to be the ${role === 'serial' ? 'serial number' : 'recovery key'}; it has ${names.map(shown).join(', ')}: say which with --map ${role}=…`,
      );
  const hasNames = !(byNumber && RecoveryKey.findIn((first[places.key ?? -1] ?? '').toUpperCase()) !== null);
  return { source, places, hasNames };
}

const placesOf = (names: readonly string[], test: (name: string) => boolean): number[] => names.flatMap((name, at) => (test(name) ? [at] : []));

function namedPlaces(names: readonly string[], named: string): number[] {
  const exact = placesOf(names, (name) => name === named);
  if (exact.length > 0) return exact;
  const alike = placesOf(names, (name) => bare(name) === bare(named));
  if (alike.length > 0 || !/^\d{1,3}$/.test(named)) return alike;
  const at = Number(named) - 1;
  return at >= 0 && at < names.length ? [at] : [];
}

/** `serial=Serial Number,key=FileVault Key`; a comma in a name is written `\,`. */
export function readMapping(texts: readonly string[]): Mapping {
  const mapping: Mapping = {};
  for (const part of texts.flatMap((text) => text.split(/(?<!\\),/))) {
    const [, role = '', name = ''] = /^\s*([a-z]+)\s*=\s*(.+?)\s*$/.exec(part.replaceAll('\\,', ',')) ?? [];
    const known = roles.find((one) => one === role);
    if (known === undefined || name === '')
      throw new Problem('USAGE', `--map is serial=NAME,key=NAME and, if you like, ${roles.slice(2).join('=NAME, ')}=NAME`);
    if (mapping[known] !== undefined) throw new Problem('USAGE', `--map names ${known} twice`);
    mapping[known] = name;
  }
  return mapping;
}
