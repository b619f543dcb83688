import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Problem } from '../protocol/problems.ts';
import type { Signs } from '../server/formats/cells.ts';
import { type FileSource, type Mapping, readMapping } from '../server/formats/columns.ts';
import { type Export, type GivenFile, readExports } from '../server/formats/export.ts';

/*
 * What the products export, read as it comes. All data is made up; the shape of each is the one of the page that is named
 * beside it, as it stood in November 2026.
 */

const key = 'ABCD-EFGH-JKLM-NPQR-TUVW-XYZ2';
const another = '2222-3333-4444-5555-6666-7777';
const serial = 'C02XK1ZJJGH5';

const file = (content: string | Buffer, name = 'export.csv', inFolder = false): GivenFile => ({ name, bytes: Buffer.from(content), inFolder });

function all(files: GivenFile[], given: { source?: FileSource; map?: string; signs?: Signs } = {}): Export[] {
  const mapping: Mapping = given.map === undefined ? {} : readMapping([given.map]);
  return readExports(files, { source: given.source ?? null, mapping, signs: given.signs ?? null });
}

/** `line serial key date`, or `line serial fate: because`, with what was read otherwise in brackets. */
const said = ({ entries }: Export): string[] =>
  entries.map(({ line, serial: of, key: found, sealed, madeAt, trouble, note }) =>
    [
      line,
      of ?? '–',
      trouble ? `${trouble.fate}: ${trouble.because}` : (found?.reveal() ?? `sealed ${sealed?.length}`),
      ...(madeAt === null ? [] : [new Date(madeAt).toISOString()]),
      ...(note === null ? [] : [`(${note})`]),
    ].join(' '),
  );

function one(content: string | Buffer, given: Parameters<typeof all>[1] = {}): Export {
  const [only, ...more] = all([file(content)], given);
  if (!only || more.length > 0) throw new Error('not one export');
  return only;
}
const lines = (content: string | Buffer, given: Parameters<typeof all>[1] = {}): string[] => said(one(content, given));

function refusal(content: string | Buffer, given: Parameters<typeof all>[1] = {}): string {
  try {
    one(content, given);
  } catch (error) {
    if (error instanceof Problem) return `${error.code}: ${error.detail}`;
    throw error;
  }
  return 'it was read';
}

/** A list with the usual names, and these lines below them. */
const list = (...rows: string[]): string => ['serial,key', ...rows, ''].join('\r\n');

describe('what each product exports', () => {
  // Jamf Pro API, GET /v1/computers-inventory and /v1/computers-inventory/filevault: developer.jamf.com/jamf-pro/reference.
  const jamfComputers = {
    totalCount: 3,
    results: [
      {
        id: '4',
        udid: '123',
        general: { name: 'mac-4' },
        hardware: { serialNumber: serial },
        diskEncryption: { individualRecoveryKeyValidityStatus: 'VALID' },
      },
      { id: '5', udid: '124', general: { name: 'mac-5' }, hardware: { serialNumber: 'C02XK1ZJJGH6' } },
      { id: '6', udid: '125', general: { name: 'mac-6' }, hardware: { serialNumber: 'C02XK1ZJJGH7' } },
    ],
  };
  const jamfKeys = {
    totalCount: 2,
    results: [
      { computerId: '4', name: 'mac-4', personalRecoveryKey: key, individualRecoveryKeyValidityStatus: 'VALID', institutionalRecoveryKeyPresent: false },
      { computerId: '5', name: 'mac-5', personalRecoveryKey: null, individualRecoveryKeyValidityStatus: 'UNKNOWN', institutionalRecoveryKeyPresent: true },
    ],
  };

  test('Jamf Pro: the key of one reply and the serial number of the other are joined by the id', () => {
    const [read, ...more] = all([file(JSON.stringify(jamfComputers), 'computers.json'), file(JSON.stringify(jamfKeys), 'filevault.json')]);
    expect(more).toEqual([]);
    expect([read?.source, read?.name, read?.notes]).toEqual(['jamf', 'computers.json, filevault.json', ['2 entries only say which serial number an id has']]);
    expect(said(read as Export)).toEqual([
      '3 C02XK1ZJJGH7 no-key: no key is there for this Mac',
      `4 ${serial} ${key}`,
      '5 C02XK1ZJJGH6 other-secret: it has an institutional key only, which is not kept here',
    ]);
  });

  test('Jamf Pro: keys without the list of computers are refused one by one, and a key that it calls invalid says so', () => {
    const invalid = {
      results: [
        { computerId: '4', personalRecoveryKey: key },
        { serialNumber: serial, personalRecoveryKey: key, individualRecoveryKeyValidityStatus: 'INVALID' },
      ],
    };
    expect(lines(JSON.stringify(invalid))).toEqual([
      '1 – refused: the serial number is missing: give the list of the Macs as well, in which it stands beside the id',
      `2 ${serial} ${key} (its source calls this key invalid)`,
    ]);
  });

  test('Jamf Pro: a page that is missing is noticed', () => {
    expect(one(JSON.stringify({ ...jamfKeys, totalCount: 240 })).notes).toEqual([
      'a reply says that there are 240, and 2 are here: look that all pages are given',
    ]);
  });

  // The columns of rtrouton's report script for Jamf Pro, tab-separated: gist.github.com/rtrouton/f1fcce3e43221c4e73a755a1af27a2ec.
  test('Jamf Pro: the table of the well-known report script, with NA where there is no key', () => {
    const names = [
      'Jamf Pro ID Number',
      'Make',
      'Model',
      'Serial Number',
      'UDID',
      'FileVault Recovery Key Available',
      'FileVault Recovery Key',
      'Jamf Pro URL',
    ];
    const rows = [
      ['13', 'Apple', 'Mac mini (Mid 2011)', 'C07GM01TDJD0', '00BC7701', 'No', 'NA', 'https://jamf.example.org/computers.html?id=13'],
      ['86', 'Apple', 'iMac Pro', serial, '564D33BC', 'Yes', '3CZZ-OB8K-HXCF-5O3D-ZPQR-AFP2', 'https://jamf.example.org/computers.html?id=86'],
    ];
    const read = one([names, ...rows].map((row) => row.join('\t')).join('\n'));
    expect(read.source).toBe('jamf');
    expect(said(read)).toEqual(['2 C07GM01TDJD0 no-key: no key is there for this Mac', `3 ${serial} 3CZZ-OB8K-HXCF-5O3D-ZPQR-AFP2`]);
  });

  // Fleet REST API, “List hosts” and “Get host's disk encryption key”: fleetdm.com/docs/rest-api/rest-api. Replies of curl one behind the other.
  test('Fleet: hosts and keys, as curl appends one reply to the other', () => {
    const hosts = JSON.stringify({ hosts: [{ id: 8, hardware_serial: serial, updated_at: '2026-11-01T00:00:00Z', platform: 'darwin' }] }, null, 2);
    const reply = (id: number) => JSON.stringify({ host_id: id, encryption_key: { key, updated_at: '2026-02-01T05:31:43Z' } }, null, 2);
    const [read] = all([file(hosts, 'hosts.json'), file(`${reply(8)}${reply(9)}`, 'keys.json')]);
    expect(read?.source).toBe('fleet');
    expect(said(read as Export)).toEqual([
      `2 ${serial} ${key} 2026-02-01T05:31:43.000Z`,
      '3 – refused: the serial number is missing: give the list of the Macs as well, in which it stands beside the id',
    ]);
  });

  // Kandji's own script api-tools/device-secrets/device_secrets.py (github.com/kandji-inc/support): serial_number first, the key as `key`.
  test('Kandji: the report of its own script, with other secrets beside', () => {
    const csv = `serial_number,device_id,device_name,blueprint_name,platform,key,pin\n${serial},b1,"Ada's Mac, old",Standard,Mac,${key},123456\nC02XK1ZJJGH6,b2,mac,Standard,Mac,,\n`;
    const read = one(csv);
    expect(read.source).toBe('kandji');
    expect(said(read)).toEqual([`2 ${serial} ${key}`, '3 C02XK1ZJJGH6 no-key: no key is there for this Mac']);
  });

  // Zentral, GET /api/mdm/devices/<id>/filevault_prk/: zentral/contrib/mdm/api_views/enrolled_devices.py (github.com/zentralopensource/zentral).
  test('Zentral: one reply for each Mac, as lines', () => {
    const replies = [
      { id: 1, serial_number: serial, filevault_prk: key },
      { id: 2, serial_number: 'C02XK1ZJJGH6', filevault_prk: null },
    ];
    const read = one(replies.map((reply) => JSON.stringify(reply)).join('\n'));
    expect(read.source).toBe('zentral');
    expect(said(read)).toEqual([`1 ${serial} ${key}`, '2 C02XK1ZJJGH6 no-key: no key is there for this Mac']);
  });

  // Crypt-Server, `manage.py dumpdata server.computer server.secret`: the fields of server/models.py (github.com/grahamgilbert/crypt-server).
  test('Crypt-Server: computers and secrets of a dump; passwords and PINs are no recovery keys', () => {
    const secret = (pk: number, computer: number, type: string, text: string, date: string) => ({
      model: 'server.secret',
      pk,
      fields: { computer, secret: text, secret_type: type, date_escrowed: date, rotation_required: false },
    });
    const dump = [
      { model: 'server.computer', pk: 1, fields: { serial, username: 'ada', computername: `mac\n`, last_checkin: null } },
      { model: 'auth.user', pk: 1, fields: { username: 'root' } },
      secret(7, 1, 'recovery_key', key, '2025-03-02T08:00:00.123Z'),
      secret(8, 1, 'password', 'secret password', '2025-03-02T08:00:00Z'),
      secret(9, 1, 'unlock_pin', '123456', '2025-03-02T08:00:00Z'),
    ];
    const read = one(JSON.stringify(dump));
    expect(read.source).toBe('crypt-server');
    expect(said(read)).toEqual([
      '2 – empty: it is neither a Mac nor a key',
      `3 ${serial} ${key} 2025-03-02T08:00:00.123Z`,
      `4 ${serial} other-secret: it is a password, no personal recovery key`,
      `5 ${serial} other-secret: it is an unlock PIN, no personal recovery key`,
    ]);
  });

  // Microsoft Graph (beta), managedDevice and getFileVaultKey, whose reply is {"value": "…"}: learn.microsoft.com/graph/api/intune-devices-manageddevice-getfilevaultkey.
  test('Intune: the table that the script of the documentation writes, and its objects as JSON', () => {
    const table = one(
      `"managedDeviceId","deviceName","serialNumber","fileVaultKey"\r\n"3f1c","ADA","${serial}","${key}"\r\n"3f1d","BOB","C02XK1ZJJGH6",""\r\n`,
    );
    expect([table.source, said(table)]).toEqual(['intune', [`2 ${serial} ${key}`, '3 C02XK1ZJJGH6 no-key: no key is there for this Mac']]);
    const objects = one(JSON.stringify([{ id: '3f1c', serialNumber: serial, fileVaultKey: key }]));
    expect([objects.source, said(objects)]).toEqual(['intune', [`1 ${serial} ${key}`]]);
  });

  test('Intune: keys beside the page of the devices are joined; a page that goes on is noticed; a bare reply names no Mac', () => {
    const devices = { '@odata.nextLink': 'https://graph.microsoft.com/next', value: [{ id: '3f1c', serialNumber: serial }] };
    const [read] = all([file(JSON.stringify(devices)), file(JSON.stringify({ managedDeviceId: '3f1c', value: key }))]);
    expect(said(read as Export)).toEqual([`2 ${serial} ${key}`]);
    expect(read?.notes[0]).toMatch(/there is another page/);
    expect(lines(JSON.stringify({ '@odata.context': 'https://graph.microsoft.com/beta/$metadata#Edm.String', value: key }))[0]).toMatch(
      /^1 – refused: the serial number is missing/,
    );
  });

  test('a table of one’s own may call its columns serial and key, whatever product it is of; kinds that say nothing are no hindrance', () => {
    expect(lines(list(`${serial},${key}`), { source: 'jamf' })).toEqual([`2 ${serial} ${key}`]);
    expect(lines(`serial,key,key type\n${serial},${key},Individual\n${serial},${key},Institutional\n`)).toEqual([
      `2 ${serial} ${key}`,
      `3 ${serial} other-secret: it is an institutional key, no personal recovery key`,
    ]);
    expect(lines(`0,${serial},${key}\n`, { map: 'serial=2,key=3' })).toEqual([`1 ${serial} ${key}`]);
  });

  test('any other table is told what its columns are, by name or by number', () => {
    const csv = `Asset;Apple no;Wiederherstellungsschlüssel\r\n1;${serial};${key}\r\n`;
    expect(refusal(csv)).toBe(
      'EXPORT_INVALID: no column is known to be the serial number; it has “Asset”, “Apple no”, “Wiederherstellungsschlüssel”: say which with --map serial=…',
    );
    expect(lines(csv, { map: 'serial=Apple no,key=wiederherstellungsschlüssel' })).toEqual([`2 ${serial} ${key}`]);
    expect(lines(csv, { map: 'serial=2,key=3' })).toEqual([`2 ${serial} ${key}`]);
    expect(lines(`1,${serial},${key}\n2,C02XK1ZJJGH6,${another}\n`, { map: 'serial=2,key=3' })).toEqual([`1 ${serial} ${key}`, `2 C02XK1ZJJGH6 ${another}`]);
    expect(lines(JSON.stringify([{ a: { sn: serial }, b: key }]), { map: 'serial=a.sn,key=b' })).toEqual([`1 ${serial} ${key}`]);
  });
});

describe('the columns', () => {
  test.each([
    ['that are not there', 'serial,key\n', 'serial=Nummer', 'EXPORT_INVALID: there is no column “Nummer”; it has “serial”, “key”'],
    [
      'of which two may be the key',
      'serial,Recovery Key,FileVault Key\n',
      undefined,
      'EXPORT_INVALID: 2 columns may be the key (“Recovery Key”, “FileVault Key”): say which with --map key=…',
    ],
    [
      'where a file has none, so that its first line is a Mac with a key, which is not repeated',
      `${serial},${key}\n`,
      undefined,
      `EXPORT_INVALID: no column is known to be the serial number; it has “${serial}”, (not shown: it may be a key): say which with --map serial=…`,
    ],
    [
      'that a mistyped key would show',
      `${serial},ABCDEFGHJKLMNPQRTUVWXYZ\n`,
      undefined,
      `EXPORT_INVALID: no column is known to be the serial number; it has “${serial}”, (not shown: it may be a key): say which with --map serial=…`,
    ],
    ['whose quotation marks are wrong', 'serial,"key\n', undefined, 'EXPORT_INVALID: export.csv, line 1: the names of the columns cannot be read'],
    ['in a file with nothing', ' \r\n\r\n', undefined, 'EXPORT_INVALID: export.csv is empty'],
  ])('%s are refused in words', (_, csv, map, words) => {
    expect(refusal(csv, map === undefined ? {} : { map })).toBe(words);
  });

  test.each(['serial', 'serial=', 'owner=a', 'serial=a,serial=b'])('that --map %s names are not understood', (text) => {
    expect(() => readMapping([text])).toThrow(Problem);
  });

  test('a comma in a name is written with a backslash', () => {
    expect(readMapping(['serial=Serial\\, old,key=PRK'])).toEqual({ serial: 'Serial, old', key: 'PRK' });
  });
});

describe('a table is read as it was saved', () => {
  const plain = [`2 ${serial} ${key}`];
  const usual = `serial,key,name\r\n${serial},${key},Zoë\r\n`;
  const wide = (text: string, bigEndian: boolean, mark: boolean): Buffer => {
    const bytes = Buffer.from(`${mark ? '\ufeff' : ''}${text}`, 'utf16le');
    return bigEndian ? bytes.swap16() : bytes;
  };

  test.each([
    ['UTF-8', Buffer.from(usual)],
    ['UTF-8 with its byte order mark', Buffer.from(`\ufeff${usual}`)],
    ['UTF-16, little end first', wide(usual, false, true)],
    ['UTF-16, big end first', wide(usual, true, true)],
    ['UTF-16 without a mark', wide(usual, false, false)],
    ['UTF-16 without a mark, big end first', wide(usual, true, false)],
    ['latin-1', Buffer.from(usual, 'latin1')],
    ['semicolons', Buffer.from(usual.replaceAll(',', ';'))],
    ['tabs', Buffer.from(usual.replaceAll(',', '\t'))],
    ['bars', Buffer.from(usual.replaceAll(',', '|'))],
    ['newlines alone', Buffer.from(usual.replaceAll('\r\n', '\n'))],
    ['carriage returns alone', Buffer.from(usual.replaceAll('\r\n', '\r'))],
    ['quotation marks everywhere', Buffer.from(usual.replace(/[^,\r\n]+/g, '"$&"'))],
    ['spaces around', Buffer.from(usual.replace(/[^,\r\n]+/g, ' $& '))],
  ])('with %s', (_, bytes) => {
    expect(lines(bytes)).toEqual(plain);
  });

  test('and what is no UTF-8 says how it was read', () => {
    expect(one(Buffer.from(usual, 'latin1')).notes).toEqual([
      'it is not UTF-8 and was read as Windows-1252: names may look odd, serial numbers and keys are the same',
    ]);
    expect(one(wide(usual, false, true).subarray(0, -1)).notes).toContain('its last sign is cut in half: was it copied whole?');
  });

  test.each([
    ['a workbook', Buffer.from('PK\x03\x04rest'), /workbook or another packed file: save it as “CSV UTF-8”/],
    ['an old workbook', Buffer.from([0xd0, 0xcf, 0x11, 0xe0, 1]), /old Excel workbook/],
    ['packed with gzip', Buffer.from([0x1f, 0x8b, 8]), /packed with gzip/],
    ['a PDF', Buffer.from('%PDF-1.7'), /it is a PDF/],
    ['a database', Buffer.from('SQLite format 3\0'), /SQLite database/],
    ['too large', Buffer.alloc(64 * 1024 * 1024 + 1, 'a'), /has more than 64 MB: cut it into several/],
  ])('but not what is %s', (_, bytes, words) => {
    expect(refusal(bytes)).toMatch(words);
  });

  test('lines are counted as an editor does: before the names, empty ones, over several lines, and the names once more', () => {
    const csv = `sep=;\r\n\r\n#TYPE Selected.System\r\nserial;name;key\r\n${serial};"a\r\nb";${key}\r\n\r\nserial;name;key\r\nC02XK1ZJJGH6;"say ""hi""";${another}\r\n;;\r\n`;
    expect(lines(csv)).toEqual([
      '1 – empty: it is no line of the list',
      '2 – empty: nothing is in this line',
      '3 – empty: it is no line of the list',
      `5 ${serial} ${key}`,
      '7 – empty: nothing is in this line',
      '8 – empty: it has the names of the columns again',
      `9 C02XK1ZJJGH6 ${another}`,
      '10 – empty: nothing is in this line',
    ]);
  });

  test('a stray quotation mark costs its own line, and none of those below', () => {
    const rows = ['C02XK1ZJJGH1,"ABCD', `C02XK1ZJJGH2,${key}`, `C02XK1ZJJGH3,"${another}"x`, `C02XK1ZJJGH4,"${key}"`];
    expect(lines(list(...rows))).toEqual([
      '2 – refused: a quotation mark is in the wrong place',
      `3 C02XK1ZJJGH2 ${key}`,
      '4 – refused: a quotation mark is in the wrong place',
      `5 C02XK1ZJJGH4 ${key}`,
    ]);
  });

  test('stray quotation marks that fit together swallow no Mac between them either, however many lines lie between', () => {
    const between = Array.from({ length: 30 }, (_, at) => `mac ${at},C02BETWEEN${10 + at},${key}`);
    for (const some of [1, 5, 30]) {
      const read = lines(['name,serial,key', `"mac,${serial},${key}`, ...between.slice(0, some), `mac",C02XK1ZJJGH6,${another}`, ''].join('\n'));
      expect(read.slice(0, 3)).toEqual([
        '2 – refused: a quotation mark is in the wrong place',
        `3 C02BETWEEN10 ${key}`,
        some === 1 ? `4 C02XK1ZJJGH6 ${another}` : `4 C02BETWEEN11 ${key}`,
      ]);
      expect(read).toHaveLength(some + 2);
    }
    const width = lines(`serial,key\n${serial},"x\nC02XK1ZJJGH6,${another}\n",y\n`);
    expect(width).toContain(`3 C02XK1ZJJGH6 ${another}`);
    expect(lines(list(`${serial},"${'x'.repeat(40_000)}"`, `C02XK1ZJJGH6,${another}`))).toEqual([
      '2 – refused: a quotation mark is in the wrong place',
      `3 C02XK1ZJJGH6 ${another}`,
    ]);
  });

  test('a zero byte anywhere in a line is a damaged line', () => {
    expect(lines(`name,serial,key\nm\0c,${serial},${key}\nmac,C02XK1ZJJGH6,${another}\n`)).toEqual([
      '2 – refused: a zero byte is in it',
      `3 C02XK1ZJJGH6 ${another}`,
    ]);
  });

  test('ten thousand stray quotation marks and a line of ten megabytes end in seconds', () => {
    const rows = Array.from({ length: 10_000 }, (_, at) => `C${String(at).padStart(9, '0')},"x`);
    const read = one(list(...rows, `${serial},${'A'.repeat(10 * 1024 * 1024)}`));
    expect(read.entries).toHaveLength(10_001);
    expect(new Set(read.entries.map(({ trouble }) => trouble?.because))).toEqual(
      new Set(['a quotation mark is in the wrong place', 'it is longer than any line of such a list']),
    );
  });

  test('a line with another number of columns is refused: a comma in a name would move another key to this Mac', () => {
    const csv = `serial,name,key\n${serial},Ada, old,${key}\n${serial},${key}\n${serial},Ada,${key},,\n`;
    expect(lines(csv)).toEqual([
      '2 – refused: it has 4 columns where the first line has 3',
      '3 – refused: it has 2 columns where the first line has 3',
      `4 ${serial} ${key}`,
    ]);
  });

  test('a file that was cut says where it ends', () => {
    expect(lines(`serial,key\n${serial},ABCD-EFGH-JK`)).toEqual([
      `2 ${serial} refused: that is no recovery key: 10 letters and digits instead of 24; the file ends in this line: was it cut?`,
    ]);
    expect(lines(`serial,key\n${serial}`)[0]).toMatch(/was it cut\?$/);
    expect(lines(`key,serial\n${key},C02XK1ZJ`)).toEqual([
      `2 C02XK1ZJ ${key} (the file ends in this line, with the serial number: look whether that is whole)`,
    ]);
    const reply = JSON.stringify([{ serialNumber: serial, fileVaultKey: key }]);
    expect(lines(`${reply}\n${reply.slice(0, -9)}`)).toEqual([
      `1 ${serial} ${key}`,
      '2 – refused: from here on the JSON is not complete, and nothing of it was read: was the file cut?',
    ]);
  });
});

describe('what is no JSON among JSON is refused without being repeated', () => {
  test('one damaged reply hides none of those that follow: in lines, and in a list that has a line for each', () => {
    const object = (at: number): string => JSON.stringify({ serial_number: `C02LINES000${at}`, filevault_prk: key });
    const good = (line: number, at: number): string => `${line} C02LINES000${at} ${key}`;
    for (const damaged of ['{"serial_number": "C02LINES0009', '{"serial_number": C02LINES0009}', '{{{{', '{"a": "b}'])
      expect(lines([object(1), damaged, object(2), object(3)].join('\n'))).toEqual([
        good(1, 1),
        expect.stringMatching(/^2 – refused: /),
        good(3, 2),
        good(4, 3),
      ]);
    expect(lines(`${object(1)}{"serial_number": }${object(2)}\n${object(3)}`)).toEqual([good(1, 1), '2 – refused: it is no JSON', good(3, 2), good(4, 3)]);
    const inList = lines(`[\n${object(1)},\n{"serial_number": },\n${object(2)}\n]\n`);
    expect(inList.filter((line) => !line.includes('refused'))).toEqual([good(2, 1), good(4, 2)]);
  });

  test.each([
    ['a broken object', `{"serialNumber": "${serial}", "fileVaultKey": ${key}}`, '1 – refused: it is no JSON'],
    ['text between', `[]\nsorry, no key ${key}\n`, '1 – refused: between the JSON is something else'],
    ['a list of texts', `["${key}"]`, '1 – refused: it is no object with names'],
    ['brackets that do not fit', '{"a": [1}]', '1 – refused: it is no JSON'],
    ['brackets of which none is closed', '{\n'.repeat(5000), '101 – refused: from here on nothing was read: too much of the JSON before it does not end'],
    ['brackets for ever', '['.repeat(100_000), '1 – refused: from here on the JSON is not complete, and nothing of it was read: was the file cut?'],
    ['the prototype', '{"__proto__": {"serialNumber": "C02XK1ZJJGH5"}, "constructor": 1}', '1 – empty: it is neither a Mac nor a key'],
    [
      'an id that two Macs have',
      `[{"id":1,"serialNumber":"${serial}"},{"id":1,"serialNumber":"C02XK1ZJJGH6"},{"host_id":1,"key":"${key}"}]`,
      '3 – refused: two serial numbers have the id that it names',
    ],
  ])('%s', (_, json, words) => {
    const read = lines(json);
    expect(read).toContain(words);
    expect(read.join()).not.toContain('ABCD');
  });
});

describe('whatever happens to a file', () => {
  const macs = Array.from({ length: 6 }, (_, at) => ({ of: `C02FUZZ0000${at}`, its: key.replace('ABCD', `A${'BCDEFG'[at]}CD`) }));
  const rows = macs.map(({ of, its }, at) => `${at % 2 === 0 ? `"mac ${at}, ""old"""` : `mac ${at}`},${of},${its},2026-01-0${at + 1}`);
  const table = ['name,serial,recovery key,date escrowed', ...rows, ''].join('\r\n');
  const replies = macs
    .map(({ of, its }, id) => `${JSON.stringify({ id, hardware_serial: of })}\n${JSON.stringify({ host_id: id, encryption_key: { key: its } })}`)
    .join('\n');

  /** Of everything that is taken: the serial number of a Mac goes with that Mac's key, or with none. */
  function expectOwnKeys(text: string | Buffer): void {
    let entries: Export['entries'];
    try {
      entries = all([file(text)]).flatMap((read) => read.entries);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      expect(macs.some(({ its }) => error.message.includes(its))).toBe(false);
      return;
    }
    for (const { serial: of, key: found, trouble } of entries) {
      const mac = macs.find((one) => one.of === of);
      if (mac && found) expect(found.reveal()).toBe(mac.its);
      expect(macs.some(({ its }) => trouble?.because.includes(its))).toBe(false);
    }
  }

  test.each([
    ['a table', table],
    ['replies', replies],
  ])('cut at any place, %s gives no Mac the key of another', (_, text) => {
    for (let end = 0; end < text.length; end += 1) expectOwnKeys(text.slice(0, end));
  });

  test.each([
    ['a table', table],
    ['replies', replies],
  ])('with signs put into it anywhere, %s gives no Mac the key of another, and no words hold a key', (_, text) => {
    const stray = fc.constantFrom('"', '""', ',', ';', '\t', '\0', "'", '=', '\n', '\r', '{', '}', '[', ']', '\\', '\ufeff', 'é');
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(text.length), stray), { minLength: 1, maxLength: 4 }), (insertions) => {
        let spoilt = text;
        for (const [at, sign] of insertions) spoilt = spoilt.slice(0, at) + sign + spoilt.slice(at);
        expectOwnKeys(spoilt);
      }),
      { numRuns: 400 },
    );
  });

  test('any bytes are read or refused in words', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.constantFrom('', 'serial,key\n', '{"key":', '0\x82', '\xff\xfe'), (bytes, before) => {
        expectOwnKeys(Buffer.concat([Buffer.from(before, 'latin1'), bytes]));
      }),
      { numRuns: 300 },
    );
  });
});
