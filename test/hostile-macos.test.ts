import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, beforeEach, describe, expect, jest, test } from '@jest/globals';
import bplist from 'bplist-creator';
import fc from 'fast-check';
import { changeIsRunning, hasRecoveryKey, readChangeFailure, readChangeOutput, readFileVault, usingRecoveryKey, validate } from '../agent/mac/fdesetup.ts';
import { readKeyPlist } from '../agent/mac/key-plist.ts';
import { findIdentities, inOrder, signWithIdentity } from '../agent/mac/keychain-identity.ts';
import { asDictionary, parsePlist, readPlistFile } from '../agent/mac/plist.ts';
import { readEscrowPayload } from '../agent/mac/profiles.ts';
import * as system from '../agent/mac/system.ts';
import { consoleUser, passwordChangedAt, secureToken, secureTokenUsers } from '../agent/mac/users.ts';
import { readSystemProxy } from '../agent/proxy.ts';
import { trustProblem } from '../agent/trust.ts';
import type { Disk, Runner } from '../agent/world.ts';
import { RecoveryKey } from '../protocol/recovery-key.ts';
import { answering, ran } from './answering-runner.ts';
import { makePair, pemToDer } from './fake-mac/certificates.ts';
import { FakeMac } from './fake-mac/fake-mac.ts';
import { anyText, bent, bentText, calmly, calmlyLater, isPolluted, nasty, patience, runs } from './hostile.ts';

/*
 * What macOS's commands print, and what is not macOS that prints it: broken, cut off, endless, or made to take long. Any
 * local user can put a line into the list of processes; whoever installs a profile writes into the list of those.
 */

const key = 'ABCD-EFGH-JKLM-NPQR-TUVW-XYZ2';
const keyPlist = `<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">\n<plist version="1.0">\n<dict>\n\t<key>Change</key>\n\t<true/>\n\t<key>RecoveryKey</key>\n\t<string>${key}</string>\n</dict>\n</plist>\n`;
const megabyte = 1024 * 1024;
/** One answer to whatever is asked. */
const saying = (out: string | Uint8Array, err = '', code = 0): Runner => ({
  run: async () => ran({ out, err, code }),
  start: async () => ({ pid: 1, ended: async () => ({ code }) }),
});
const noDisk = { facts: () => null, read: () => null } as unknown as Disk;
const present = { facts: () => ({ size: 1, modifiedMs: 1, mode: 0o644, uid: 0, regular: true }) } as unknown as Disk;

/** Every question whose answer is a text. */
const questions: Record<string, (runner: Runner) => Promise<unknown>> = {
  readFileVault,
  hasRecoveryKey: (runner) => hasRecoveryKey(runner),
  usingRecoveryKey,
  validate: (runner) => validate(runner, RecoveryKey.parse(key) as RecoveryKey),
  changeIsRunning,
  readMachine: system.readMachine,
  readMacos: system.readMacos,
  readBoot: (runner) => system.readBoot(runner, Date.now()),
  readVolume: system.readVolume,
  unlockedBy: system.unlockedBy,
  readPower: system.readPower,
  darkWake: system.darkWake,
  updateBeingPrepared: (runner) => system.updateBeingPrepared(runner, noDisk),
  readLanguageAndLayout: (runner) => system.readLanguageAndLayout(runner, present),
  consoleUser,
  secureToken: (runner) => secureToken(runner, 'ada'),
  secureTokenUsers,
  passwordChangedAt: (runner) => passwordChangedAt(runner, 'ada'),
  readEscrowPayload: (runner) => readEscrowPayload(runner, present, { certificateDer: Buffer.alloc(3) }),
  findIdentities: (runner) => findIdentities(runner, {}),
  readPlistFile: (runner) => readPlistFile(runner, '/a.plist'),
};
/** Questions to which there must be an answer at all, so that their only other way is a problem. */
const needed = ['readMachine', 'readMacos', 'readBoot', 'readVolume', 'findIdentities'];

const words = [
  'FileVault is On.\n',
  "FileVault is Off.\nDeferred enablement appears to be active for user 'ada'.\n",
  'FileVault is On.\nEncryption in progress: Percent completed = 43.2\n',
  'true\n',
  '  501     0 /usr/bin/fdesetup changerecovery -personal\n  502     0 (fdesetup)\n',
  '"IOPlatformUUID" = "5B0E6D0A-0000-4000-8000-000000000001"\n"IOPlatformSerialNumber" = "C02TEST00001"\n"model" = <"Mac16,1">\n',
  '{ sec = 1795500000, usec = 123456 } Sun Nov 22 16:00:00 2026\n',
  "Now drawing from 'Battery Power'\n -InternalBattery-0 (id=1)\t87%; discharging; 4:12 remaining present: true\n",
  'Current System Capabilities are: CPU Graphics Audio Network\n',
  'ada                 501\n_www                 70\nroot                 0\n',
  'Secure token is ENABLED for user Ada\n',
  '  1) 0123456789ABCDEF0123456789ABCDEF01234567 "A label"\n     1 identities found\n',
];

let printed: jest.SpiedFunction<typeof console.error>[];
beforeEach(() => {
  printed = (['error', 'warn', 'log'] as const).map((how) => jest.spyOn(console, how).mockImplementation(() => undefined));
});
/** A parser that says on standard error what it could not read tells the log of launchd what stood there. */
const nothingPrinted = () => expect(printed.flatMap((one) => one.mock.calls)).toEqual([]);

describe('any output of any command', () => {
  test(
    'is an answer, or a problem where there is no going on without one',
    async () => {
      await fc.assert(
        fc.asyncProperty(fc.oneof(anyText(200), bentText(...words, keyPlist)), anyText(60), fc.constantFrom(0, 0, 0, 1, 44), async (out, err, code) => {
          for (const [name, ask] of Object.entries(questions)) {
            const got = await calmlyLater(() => ask(saying(out, err, code)), name);
            if (!needed.includes(name)) expect([name, 'value' in got]).toEqual([name, true]);
          }
        }),
        runs(100),
      );
      nothingPrinted();
      expect(isPolluted()).toBe(false);
    },
    patience,
  );

  test('words of every language are no word of ours: `constructor` is no state of FileVault', async () => {
    for (const word of ['constructor', '__proto__', 'toString', 'hasOwnProperty', 'valueOf'])
      expect(await readFileVault(saying(`${word}\n`))).toEqual({ state: 'unknown', words: word });
  });

  const long = (text: string, bytes = megabyte): string => text.repeat(Math.ceil(bytes / text.length)).slice(0, bytes);
  test.each([
    ['blanks', long(' ')],
    ['line ends', long('\n')],
    ['blanks and line ends', long(' \n\t')],
    ['a name and blanks', `a${long(' ')}x`],
    ['a name and numbers', long('a 1 ')],
    ['processes that name themselves so', `  1 ${long('fdesetup ')}\n`],
    ['paths that do', `  1 ${long('/fdesetup ')}x\n`],
    ['one word', long('fdesetup')],
    ['batteries', long(' -InternalBattery')],
    ['a registry', long('"IOPlatformUUID" = "')],
    ['identities', long('  1) ')],
    ['certificates without an end', long('-----BEGIN CERTIFICATE-----\nAAAA')],
    ['document types', `<plist>${long('<!DOCTYPE')}</plist>`],
    ['open elements', `<plist>${long('<dict>')}</plist>`],
    ['roots', long('<plist')],
    ['comments', `<plist>${long('<!--')}</plist>`],
    ['entities', `<plist><string>${long('&amp')}</string></plist>`],
    ['dashes', long('ABCD-')],
    ['line noise', long(nasty.slice(0, -1).join(''))],
    ['NUL', long('\0')],
  ])('a megabyte of %s takes no time', async (_name, text) => {
    for (const [name, ask] of Object.entries(questions)) await calmlyLater(() => ask(saying(text, text)), name);
    for (const read of [readKeyPlist, (it: string) => readSystemProxy(it, 'keys.example.org'), (it: string) => readChangeFailure(1, it)])
      calmly(() => read(text));
    calmly(() => readChangeOutput(Buffer.from(text)));
    nothingPrinted();
  });

  test('a process whose arguments are a megabyte is looked at word by word: also behind them a change is seen', async () => {
    const crowd = `  700 0 ${long('fdesetup /x/fdesetup ')}\n`;
    expect(await changeIsRunning(saying(`${crowd}  1 0 launchd\n`))).toBe('no');
    expect(await changeIsRunning(saying(`${crowd}  1 0 launchd\n  701 0 /usr/bin/fdesetup changerecovery -personal\n`))).toBe('yes');
    expect(await changeIsRunning(saying(`  701 0 sudo fdesetup -v changerecovery\n`))).toBe('yes');
    expect(await changeIsRunning(saying(`  701 0 fdesetup changerecoveryx\n  702 0 xfdesetup changerecovery\n`))).toBe('no');
  });

  test('a key that macOS prints beyond what is quoted is not quoted in part', async () => {
    for (const before of [0, 170, 176, 180, 190, 199]) {
      const said = await readFileVault(saying(`${'x'.repeat(before)} ${key}\n`));
      expect(JSON.stringify(said)).not.toMatch(/ABCD|EFGH|JKLM/);
    }
  });
});

describe('the output of a change', () => {
  test('bent: the key, whole or not, or none; never another one', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          bentText(keyPlist),
          bent(Buffer.from(keyPlist)).map((bytes) => bytes.toString('latin1')),
        ),
        (text) => {
          const read = calmly(() => readChangeOutput(Buffer.from(text)));
          expect('value' in read).toBe(true);
          if (!('value' in read) || !read.value?.whole) return;
          // Whole, and yet another one: only where the text itself spells it between the tags.
          expect(text).toContain(`<string>${read.value.key.reveal()}</string>`);
        },
      ),
      runs(400),
    );
  });

  test('twice the name, or another name with the same look, is not whole', () => {
    const twice = keyPlist.replace('<dict>', `<dict><key>RecoveryKey</key><string>ZZZZ-EFGH-JKLM-NPQR-TUVW-XYZ2</string>`);
    expect(readChangeOutput(Buffer.from(twice))?.whole).toBe(false);
    for (const name of ['__proto__', 'constructor', 'recoverykey', 'RecoveryKey ', 'Rеcoverykey'])
      expect(readChangeOutput(Buffer.from(keyPlist.replace('>RecoveryKey<', `>${name}<`)))?.whole).toBe(false);
  });
});

describe('property lists', () => {
  test('hostile XML: no entity is resolved, no broken text becomes a value, nothing is said about it', async () => {
    const entities = Array.from({ length: 12 }, (_, at) => `<!ENTITY e${at + 1} "${`&e${at};`.repeat(10)}">`).join('');
    for (const xml of [
      `<!DOCTYPE plist [<!ENTITY e0 "lol">${entities}]><plist><string>&e12;</string></plist>`,
      `<?xml version="1.0"?><!DOCTYPE plist [<!ENTITY x SYSTEM "file:///etc/passwd">]><plist><string>&x;</string></plist>`,
      `<!DOCTYPE plist SYSTEM "http://127.0.0.1:1/x.dtd" [<!ENTITY % p SYSTEM "http://127.0.0.1:1/"> %p;]><plist><dict/></plist>`,
      '<plist><string>&#x110000000;</string></plist>',
      '<?xml version=1.0?><plist><dict/></plist>',
      '<?xml version="1.0" encodinc="UTF-8"?><plist><dict/></plist>',
      '<plist><string>&nbsp;</string></plist>',
      `<plist>${'<dict><key>a</key>'.repeat(65)}<true/>${'</dict>'.repeat(65)}</plist>`,
      `<plist>${'<array>'.repeat(100_000)}${'</array>'.repeat(100_000)}</plist>`,
      `<plist><array>${'<true/>'.repeat(150_000)}</array></plist>`,
      '<plist><string><![CDATA[</string></plist>]]></string></plist>',
      '<plist><dict></array></plist>',
      '<plist><string>a</plist>',
      '<plist><a/></plist>',
      '<plist><string x="y">a</string></plist>',
      '<plist><dict/></plist><plist><dict/></plist>',
      '<dict/>',
      '<plist><plist/></plist>',
      `<plist>${'<'.repeat(1000)}</plist>`,
      `<!-- ${'-'.repeat(10)} --><plist><dict/></plist>`,
      '<plist><string>\u0001</string></plist>',
      `<plist><string>${'x'.repeat(9 * megabyte)}</string></plist>`,
    ])
      expect([xml.slice(0, 60), await calmlyLater(() => parsePlist(xml), xml.slice(0, 40))]).toEqual([xml.slice(0, 60), { value: null }]);
    nothingPrinted();
  });

  test('numbers beyond numbers, dates beyond dates, keys that objects have already, keys twice', async () => {
    for (const inner of [
      `<integer>${'9'.repeat(400)}</integer>`,
      '<integer>12345678901234567890</integer>',
      '<integer>1e308</integer>',
      '<integer/>',
      '<real>1e400</real>',
      '<real>nan</real>',
      '<date>99999-99-99T99:99:99Z</date>',
      '<date/>',
      '<data>!!!!</data>',
      '<dict><key>__proto__</key><dict><key>polluted</key><true/></dict></dict>',
      '<dict><key>constructor</key><dict><key>prototype</key><dict><key>polluted</key><true/></dict></dict></dict>',
      '<dict><key>a</key><true/><key>a</key><false/></dict>',
      '<dict><key>a</key></dict>',
      '<dict><true/></dict>',
      '<dict><key>a</key><key>b</key></dict>',
      '<string>\uD800</string>',
    ])
      expect('value' in (await calmlyLater(() => parsePlist(`<plist>${inner}</plist>`), inner))).toBe(true);
    expect(isPolluted()).toBe(false);
    nothingPrinted();
  });

  test('one that is as large as they get is read, within the time', async () => {
    const entries = Array.from({ length: 18_000 }, (_, at) => `<key>k${at}</key><string>${'v'.repeat(60)}</string>`).join('');
    const read = await calmlyLater(() => parsePlist(`<plist version="1.0"><dict>${entries}</dict></plist>`));
    expect('value' in read && Object.keys(asDictionary(read.value) ?? {}).length).toBe(18_000);
  });

  test('bent: values or none', async () => {
    await fc.assert(
      fc.asyncProperty(bentText(keyPlist), async (xml) => {
        expect('value' in (await calmlyLater(() => parsePlist(xml)))).toBe(true);
      }),
      runs(200),
    );
    nothingPrinted();
  });

  test('binary ones are macOS’s to read: its own answer, or none', async () => {
    const mac = FakeMac.create({});
    try {
      const valid = bplist({ a: [1, { b: Buffer.from('c') }], d: new Date(0), e: 'f' });
      // Offsets beyond the end, and a list that holds itself.
      const [far, round] = [Buffer.from(valid), Buffer.from(valid)];
      far.writeBigUInt64BE(2n ** 63n, far.length - 8);
      const itself = round.indexOf(Buffer.from([0xa2]));
      if (itself > 0) round.fill(0, itself + 1, itself + 3);
      const path = '/Library/Preferences/hostile.plist';
      const read = async (bytes: Uint8Array) => {
        writeFileSync(join(mac.root, path), bytes);
        return calmlyLater(() => readPlistFile(mac.runner, path));
      };
      expect(await read(valid)).toMatchObject({ value: { e: 'f' } });
      for (const bytes of [far, round, Buffer.from('bplist00'), Buffer.alloc(40)]) expect('value' in (await read(bytes))).toBe(true);
      await fc.assert(
        fc.asyncProperty(bent(valid), async (bytes) => {
          expect('value' in (await read(bytes))).toBe(true);
        }),
        runs(40),
      );
    } finally {
      mac.dispose();
    }
  });

  test('a list of profiles in which everything names everything takes no time', async () => {
    const item = (type: string, more: string) => `<dict><key>PayloadType</key><string>${type}</string>${more}</dict>`;
    const certificates = item('com.apple.security.pkcs1', '<key>PayloadUUID</key><string>X</string>').repeat(3500);
    const escrows = item('com.apple.security.FDERecoveryKeyEscrow', '<key>EncryptCertPayloadUUID</key><string>Y</string>').repeat(3500);
    const xml = `<plist><dict><key>_computerlevel</key><array><dict><key>ProfileItems</key><array>${certificates}${escrows}</array></dict></array></dict></plist>`;
    expect(await calmlyLater(() => readEscrowPayload(saying(xml), noDisk, { certificateDer: Buffer.alloc(1) }))).toEqual({
      value: { payload: 'several', location: null },
    });
  });
});

describe('the keychain’s words', () => {
  let pems: string[];
  beforeAll(() => {
    const ca = makePair({ subject: { CN: 'CA' }, kind: 'ca', keyType: 'ec' });
    pems = [ca.certificate, makePair({ subject: { CN: 'A Mac' }, kind: 'device', keyType: 'ec', issuer: ca }).certificate];
  });

  test('bent certificates are no identities, and none stops the others', async () => {
    const { X509Certificate } = await import('node:crypto');
    const pem = (der: Uint8Array): string => `-----BEGIN CERTIFICATE-----\n${Buffer.from(der).toString('base64')}\n-----END CERTIFICATE-----\n`;
    await fc.assert(
      fc.asyncProperty(bent(...pems.map(pemToDer)), async (der) => {
        let hash = '0'.repeat(40);
        try {
          hash = new X509Certificate(der).fingerprint.replaceAll(':', '');
        } catch {
          // Not even Node takes it for one.
        }
        const good = new X509Certificate(pems[1] ?? '').fingerprint.replaceAll(':', '');
        const runner = answering({
          '/usr/bin/security find-identity': { out: `  1) ${hash} "bent"\n  2) ${good} "good"\n` },
          '/usr/bin/security find-certificate': { out: pem(der) + pems[1] },
          '/usr/bin/security cms': { out: der },
        });
        const found = await calmlyLater(() => findIdentities(runner, {}));
        expect('value' in found && found.value.some((one) => one.label === 'good')).toBe(true);
        if (!('value' in found)) return;
        for (const one of inOrder(found.value, Date.now())) await calmlyLater(() => signWithIdentity(runner, one, 'a statement'));
      }),
      runs(120),
    );
  });

  test('whatever a server shows in place of ours, the refusal is in words', () => {
    fc.assert(
      fc.property(anyText(30), fc.array(anyText(100), { maxLength: 3 }), fc.boolean(), (code, expected, incomplete) => {
        expect('value' in calmly(() => trustProblem(code, [], expected, incomplete))).toBe(true);
      }),
      runs(100),
    );
  });
});

describe('the proxy of the network settings', () => {
  const settings = (more: string) => `<dictionary> {\n  HTTPSEnable : 1\n  HTTPSPort : 3128\n  HTTPSProxy : proxy.example.org\n${more}}\n`;
  const except = (...patterns: string[]) => settings(`  ExceptionsList : <array> {\n${patterns.map((one, at) => `    ${at} : ${one}\n`).join('')}  }\n`);

  test('exceptions of many stars take no time, and mean what they say', () => {
    const host = `${'a'.repeat(60)}.${'a'.repeat(60)}.example.org`;
    const stars = `${'*a'.repeat(60)}b`;
    expect(calmly(() => readSystemProxy(except(stars), host), 'stars')).toEqual({ value: { host: 'proxy.example.org', port: 3128 } });
    for (const [pattern, excepted] of [
      ['*.example.org', true],
      ['*', true],
      ['keys.*.org', true],
      ['k?ys.example.org', true],
      ['*.EXAMPLE.org', true],
      ['**', true],
      ['keys.example.org*', true],
      ['*keys', false],
      ['example.org', false],
      ['?', false],
      ['.*', false],
      ['keysxexample.org', false],
    ] as const)
      expect([pattern, readSystemProxy(except(pattern), 'keys.example.org') === null]).toEqual([pattern, excepted]);
  });

  test('a port that is none is named', () => {
    for (const port of ['0', '65536', '1e308', '-1', 'x', '3128.5'])
      expect(() => readSystemProxy(settings('').replace('3128', port), 'keys.example.org')).toThrow(expect.objectContaining({ code: 'MACOS_UNEXPECTED' }));
  });

  test('any words: a proxy, none, or a problem', () => {
    fc.assert(
      fc.property(fc.oneof(anyText(300), bentText(except('*.example.org', '10.*'))), (text) => {
        const read = calmly(() => readSystemProxy(text, 'keys.example.org'));
        if ('value' in read && read.value) expect(read.value.port).toBeLessThan(65_536);
      }),
      runs(300),
    );
  });
});
