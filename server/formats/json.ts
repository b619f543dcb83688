import type { Signs } from './cells.ts';
import { entryOf } from './cells.ts';
import type { FileSource, Mapping, Role } from './columns.ts';
import { type ExportEntry, type RawEntry, troubled } from './entry.ts';
import { jsonPieces } from './json-text.ts';

type Fields = Record<string, unknown>;
const isObject = (value: unknown): value is Fields => typeof value === 'object' && value !== null && !Array.isArray(value);

/** Where each of it stands in the replies of the products; docs/coexistence.md names the pages. The first that is there counts. */
const paths: Record<Role, readonly string[]> = {
  serial: [
    'serialNumber',
    'serial_number',
    'hardware_serial',
    'hardware.serialNumber',
    'general.serialNumber',
    'general.serial_number',
    'fields.serial',
    'serial',
  ],
  key: [
    'personalRecoveryKey',
    'filevault_prk',
    'encryption_key.key',
    'encryption_key',
    'fileVaultKey',
    'filevault_key',
    'filevault_recovery_key',
    'recoveryKey',
    'recovery_key',
    'fields.secret',
    'SecurityInfo.FDE_PersonalRecoveryKeyCMS',
    'FDE_PersonalRecoveryKeyCMS',
    'key',
    'value',
  ],
  date: ['encryption_key.updated_at', 'fields.date_escrowed', 'date_escrowed', 'escrowed_at', 'escrowedAt', 'keyUpdatedAt', 'key_updated_at'],
  kind: ['fields.secret_type', 'secret_type'],
  institutional: ['institutionalRecoveryKeyPresent'],
};
/** How a reply with a key names the Mac, whose serial number is in another reply. */
const references = ['computerId', 'host_id', 'managedDeviceId', 'fields.computer', 'device_id', 'deviceId', 'id'];
const ownIds = ['id', 'pk', 'device_id', 'computerId'];
/** Under these names lists of them come. */
const lists = ['value', 'results', 'hosts', 'devices', 'computers', 'data'];

function at(fields: Fields, path: string): unknown {
  let value: unknown = fields;
  for (const name of path.split('.')) value = isObject(value) && Object.hasOwn(value, name) ? value[name] : undefined;
  return value;
}

/** The first of them that is there and is no object; undefined where none is. Null is there, and empty. */
function firstOf(fields: Fields, from: readonly string[]): string | undefined {
  for (const path of from) {
    const value = at(fields, path);
    if (value === null) return '';
    if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') return String(value);
  }
  return undefined;
}

/** A reply is one Mac, or a page with a list of them. */
function itemsOf(value: unknown, notes: Set<string>): unknown[] {
  if (Array.isArray(value)) return value;
  if (!isObject(value)) return [value];
  const name = lists.find((one) => Array.isArray(value[one]));
  if (name === undefined) return [value];
  const list = value[name] as unknown[];
  if ([value['@odata.nextLink'], value['next'], at(value, 'meta.has_next_results')].some((next) => typeof next === 'string' || next === true))
    notes.add('a reply in it says that there is another page: look that all of them are given');
  return list;
}

/** Jamf Pro and Zentral say how many there are. */
function countOf(value: unknown): number | null {
  const count = isObject(value) ? (value['totalCount'] ?? value['count'] ?? value['@odata.count']) : null;
  return typeof count === 'number' ? count : null;
}

interface Found {
  line: number;
  fields: Fields;
  serial: string | undefined;
  key: string | undefined;
}

export function sourceOfJson(items: readonly Fields[]): FileSource {
  const has = (...names: string[]) => items.some((fields) => names.every((name) => at(fields, name) !== undefined));
  if (has('personalRecoveryKey')) return 'jamf';
  if (has('encryption_key')) return 'fleet';
  if (has('filevault_prk')) return 'zentral';
  if (items.some((fields) => fields['model'] === 'server.secret')) return 'crypt-server';
  if (has('fileVaultKey') || has('managedDeviceId')) return 'intune';
  if (has('device_id', 'serial_number')) return 'kandji';
  return has('FDE_PersonalRecoveryKeyCMS') || has('SecurityInfo') ? 'mdm-cms' : 'csv';
}

export interface JsonRead {
  items: { line: number; fields: Fields }[];
  troubles: ExportEntry[];
  notes: string[];
}

/** The objects of all the files; of what is none, why. */
export function readJson(texts: readonly string[]): JsonRead {
  const notes = new Set<string>();
  const read: JsonRead = { items: [], troubles: [], notes: [] };
  let line = 0;
  for (const text of texts) {
    let promised: number | null = null;
    let had = 0;
    for (const piece of jsonPieces(text)) {
      if ('wrong' in piece) {
        line += 1;
        read.troubles.push(troubled(line, 'refused', piece.wrong));
        continue;
      }
      promised = countOf(piece.value) ?? promised;
      for (const item of itemsOf(piece.value, notes)) {
        line += 1;
        had += 1;
        if (isObject(item)) read.items.push({ line, fields: item });
        else read.troubles.push(troubled(line, 'refused', 'it is no object with names'));
      }
    }
    if (promised !== null && promised > had) notes.add(`a reply says that there are ${promised}, and ${had} are here: look that all pages are given`);
  }
  read.notes = [...notes];
  return read;
}

/** What they say, put together: a key in one reply and the serial number in another are joined by the product's id. */
export function jsonEntries(read: JsonRead, mapping: Mapping, signs: Signs): { entries: ExportEntry[]; notes: string[] } {
  const pathsOf = (role: Role): readonly string[] => (mapping[role] === undefined ? paths[role] : [mapping[role]]);
  const found: Found[] = read.items.map(({ line, fields }) => ({
    line,
    fields,
    serial: firstOf(fields, pathsOf('serial')),
    key: firstOf(fields, pathsOf('key')),
  }));
  const serials = new Map<string, string | null>();
  for (const { fields, serial } of found) {
    const id = firstOf(fields, ownIds);
    if (serial === undefined || id === undefined || id === '') continue;
    serials.set(id, serials.has(id) && serials.get(id) !== serial ? null : serial);
  }
  const used = new Set<string>();
  const entries: ExportEntry[] = [];
  for (const { line, fields, serial, key } of found) {
    if (key === undefined) continue;
    const id = firstOf(fields, references);
    const joined = serial ?? (id === undefined ? undefined : serials.get(id));
    if (serial === undefined && id !== undefined && joined !== undefined) used.add(id);
    if (joined === null) entries.push(troubled(line, 'refused', 'two serial numbers have the id that it names'));
    else if (joined === undefined)
      entries.push(troubled(line, 'refused', 'the serial number is missing: give the list of the Macs as well, in which it stands beside the id'));
    else entries.push(entryOf(rawOf(line, fields, joined, key, pathsOf), signs));
  }
  let inventory = 0;
  for (const { line, fields, serial, key } of found) {
    if (key !== undefined) continue;
    const isUsed = used.has(firstOf(fields, ownIds) ?? '');
    if (serial === undefined) entries.push(troubled(line, 'empty', 'it is neither a Mac nor a key'));
    else if (isUsed) inventory += 1;
    else entries.push(entryOf(rawOf(line, fields, serial, '', pathsOf), signs));
  }
  const notes = inventory === 0 ? read.notes : [...read.notes, `${inventory} entries only say which serial number an id has`];
  return { entries: [...entries, ...read.troubles].toSorted((a, b) => a.line - b.line), notes };
}

function rawOf(line: number, fields: Fields, serial: string, key: string, pathsOf: (role: Role) => readonly string[]): RawEntry {
  const cell = (role: Role): string => firstOf(fields, pathsOf(role)) ?? '';
  return {
    line,
    serial,
    key,
    date: cell('date'),
    kind: cell('kind'),
    institutional: cell('institutional'),
    status: firstOf(fields, ['individualRecoveryKeyValidityStatus']) ?? '',
  };
}
