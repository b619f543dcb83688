import { generateKeyPairSync, randomBytes, X509Certificate } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { extension, readCertificate } from '../protocol/certificate.ts';
import { unpackBackup } from '../server/archive.ts';
import { serialInCertificate, subjectOf } from '../server/certificate-names.ts';
import { pem, verifyChain } from '../server/certificates.ts';
import { verifyBackup } from '../server/drill.ts';
import { decryptPrivateKey, encryptPrivateKey } from '../server/encrypted-key.ts';
import { makeNonce, readNonce } from '../server/nonce.ts';
import { readPassphrase } from '../server/passphrase.ts';
import { restore } from '../server/restore.ts';
import { readServerSecrets } from '../server/server-secrets.ts';
import { checkSettings, readSettings } from '../server/settings.ts';
import { readSignedStatement } from '../server/signed-statement.ts';
import { openTar, unpackTar } from '../server/tar.ts';
import { makePair, pemToDer } from './fake-mac/certificates.ts';
import type { Pair } from './fake-mac/state.ts';
import { deviceIdentity } from './given-server.ts';
import { anyText, bent, bentJson, bentText, berBombs, calmly, calmlyLater, isPolluted, nasty, patience, runs } from './hostile.ts';
import { scratch } from './scratch.ts';
import { signTo } from './sign-statement.ts';

/*
 * What the backend reads: from anybody who can reach its port, and from files that somebody laid down. The network has a
 * test of its own.
 */

const statement = 'sparekey enrolment 1\nserver: https://keys.example.org\n';

describe('statements that are signed', () => {
  let cms: Buffer;
  let signer: ReturnType<typeof deviceIdentity>;
  beforeAll(() => {
    signer = deviceIdentity({ CN: 'A Mac', serialNumber: 'C02TEST00001' });
    cms = Buffer.from(signTo(statement, signer), 'base64');
  });

  test(
    'a bent one says what was signed, or what is wrong; nothing else is ever signed',
    () => {
      expect(readSignedStatement(cms).content.toString()).toBe(statement);
      fc.assert(
        fc.property(bent(cms), (bytes) => {
          const read = calmly(() => readSignedStatement(bytes));
          // What stands around the signature may change; what was signed may not.
          if ('value' in read) expect([read.value.content.toString(), read.value.signer.equals(signer.der)]).toEqual([statement, true]);
        }),
        runs(200),
      );
    },
    patience,
  );

  test(
    'bombs, and two statements crossed over anywhere',
    () => {
      for (const bomb of berBombs(24 * 1024)) calmly(() => readSignedStatement(bomb));
      const other = Buffer.from(signTo(`${statement}other\n`, signer), 'base64');
      fc.assert(
        fc.property(fc.nat(cms.length), fc.nat(other.length), (at, from) => {
          const read = calmly(() => readSignedStatement(Buffer.concat([cms.subarray(0, at), other.subarray(from)])));
          if ('value' in read) expect([statement, `${statement}other\n`]).toContain(read.value.content.toString());
        }),
        runs(100),
      );
    },
    patience,
  );
});

describe('certificates', () => {
  let ca: Pair;
  let leaf: Buffer;
  beforeAll(() => {
    ca = makePair({ subject: { CN: 'A CA' }, kind: 'ca', keyType: 'ec' });
    leaf = pemToDer(makePair({ subject: { CN: 'A Mac' }, kind: 'device', keyType: 'ec', issuer: ca, dnsName: 'mac.example.org' }).certificate);
  });
  const verify = (bytes: Uint8Array, others: Uint8Array[] = [], anchors = [pemToDer(ca.certificate)]) =>
    calmly(() => verifyChain({ leaf: bytes, others, anchors, at: new Date(), usage: 'clientAuth' }));

  test(
    'a bent one is never from our CA',
    () => {
      expect(verify(leaf)).toMatchObject({ value: { ok: true } });
      fc.assert(
        fc.property(bent(leaf), (bytes) => {
          const answer = verify(bytes);
          expect('value' in answer).toBe(true);
          if ('value' in answer && answer.value.ok) expect(Buffer.from(bytes).equals(leaf)).toBe(true);
          expect('value' in verify(leaf, [bytes, bytes])).toBe(true);
          expect('value' in verify(leaf, [], [Buffer.from(bytes)])).toBe(true);
        }),
        runs(120),
      );
      for (const bomb of berBombs(12 * 1024)) expect('value' in verify(bomb)).toBe(true);
    },
    patience,
  );

  test('many that sign each other take no time', () => {
    const pairs = Array.from({ length: 10 }, () => makePair({ subject: { CN: 'Loop' }, kind: 'ca', keyType: 'ec' }));
    const circle = pairs.map((pair, at) =>
      pemToDer(makePair({ subject: { CN: 'Loop' }, kind: 'ca', keyType: 'ec', issuer: pairs[(at + 1) % 10] ?? pair }).certificate),
    );
    expect(verify(circle[0] ?? leaf, circle)).toMatchObject({ value: { ok: false } });
  });

  test(
    'names of every kind say a serial number or none',
    () => {
      const patterns = [
        null,
        { in: 'alternativeName', pattern: '^([A-Z0-9]{8,14})$' },
        { in: 'commonName', pattern: '([A-Z0-9]+)' },
        { in: 'serialNumber', pattern: '^(.*)$' },
      ] as const;
      fc.assert(
        fc.property(
          fc.constantFrom(...nasty.slice(0, 15), 'a,b', '"', 'a"b"c', '\\'),
          fc.constantFrom(...nasty.slice(0, 15), '",', '"a, DNS:b'),
          (name, dnsName) => {
            const text = name.toWellFormed().slice(0, 60);
            const der = deviceIdentity({ CN: text, serialNumber: text });
            const other = makePair({ subject: { CN: 'x' }, kind: 'device', keyType: 'ec', dnsName });
            for (const certificate of [new X509Certificate(der.der), new X509Certificate(other.certificate)])
              for (const pattern of patterns) {
                expect('value' in calmly(() => serialInCertificate(certificate, pattern))).toBe(true);
                expect('value' in calmly(() => subjectOf(certificate))).toBe(true);
              }
          },
        ),
        runs(40),
      );
      expect(readCertificate(leaf).extensions.has(extension.subjectAltName)).toBe(true);
    },
    patience,
  );
});

describe('files of the backend', () => {
  const put = (name: string, bytes: string | Uint8Array, mode = 0o600): string => {
    const path = join(scratch('hostile'), name);
    writeFileSync(path, bytes, { mode });
    return path;
  };

  test(
    'settings: every mistake in one problem, no value in it',
    () => {
      const valid = { serverUrl: 'https://keys.example.org:8443', listen: { port: 8443, host: null }, organisation: 'Example', keys: { checkInMinutes: 5 } };
      expect(checkSettings(valid).listen.port).toBe(8443);
      fc.assert(
        fc.property(bentJson(valid), bentText(JSON.stringify(valid)), (value, text) => {
          const read = calmly(() => checkSettings(value));
          if ('refused' in read) expect(read.refused).toBe('SERVER_SETTINGS_INVALID');
          const file = put('settings.json', text);
          const fromFile = calmly(() => readSettings(file));
          if ('refused' in fromFile) expect(fromFile.refused).toBe('SERVER_SETTINGS_INVALID');
        }),
        runs(80),
      );
      expect(() => checkSettings({ ...valid, organisation: ['a secret'] })).toThrow(
        expect.not.objectContaining({ message: expect.stringContaining('a secret') }),
      );
      expect(isPolluted()).toBe(false);
    },
    patience,
  );

  test(
    'secrets, passphrase, revocations, escrow key: read or named',
    async () => {
      const secrets = Object.fromEntries(['fingerprint', 'rowMac', 'nonce', 'ticket'].map((name) => [name, '0'.repeat(64)]));
      const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
      const encrypted = encryptPrivateKey(privateKey, 'a passphrase');
      await fc.assert(
        fc.asyncProperty(bentJson(secrets), bentText(encrypted), anyText(200), async (value, key, text) => {
          const read = calmly(() => readServerSecrets(put('secrets.json', JSON.stringify(value) ?? '')));
          if ('refused' in read) expect(read.refused).toBe('SERVER_SETTINGS_INVALID');
          const said = await calmlyLater(() => readPassphrase({ passphraseFile: put('passphrase', text) }));
          if ('refused' in said) expect(said.refused).toBe('PASSPHRASE_MISSING');
          const opened = calmly(() => decryptPrivateKey(key, 'a passphrase'));
          if ('refused' in opened) expect(opened.refused).toMatch(/^(PASSPHRASE_WRONG|SERVER_SETTINGS_INVALID)$/);
        }),
        runs(20),
      );
    },
    patience,
  );

  test('an escrow key whose passphrase would be stretched for hours is refused', () => {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const encrypted = Buffer.from(encryptPrivateKey(privateKey, 'a passphrase').replace(/-----[^-]+-----|\s/g, ''), 'base64');
    // scrypt's p, the last of its numbers: 5 by us.
    const at = encrypted.indexOf(Buffer.from('02024000020108020105', 'hex'));
    expect(at).toBeGreaterThan(0);
    const costly = Buffer.from(encrypted);
    costly.writeUInt8(0x7f, at + 9);
    expect(calmly(() => decryptPrivateKey(pem('ENCRYPTED PRIVATE KEY', costly), 'a passphrase'))).toMatchObject({ refused: expect.any(String) });
  });

  test('a nonce is ours, for its purpose and asker, or none', () => {
    const secret = randomBytes(32);
    const nonce = makeNonce(secret, 'enrol', 0);
    expect(readNonce(secret, 'enrol', nonce, 0)).not.toBeNull();
    fc.assert(
      fc.property(fc.oneof(bentText(nonce), anyText(100)), (text) => {
        if (text !== nonce) expect(calmly(() => readNonce(secret, 'enrol', text, 0))).toEqual({ value: null });
      }),
      runs(200),
    );
  });
});

describe('backups', () => {
  let tar: Buffer;
  beforeAll(() => {
    const folder = scratch('tar');
    const made = openTar(join(folder, 'a.tar'));
    made.add('settings.json', Buffer.from('{}'), 2);
    made.add('escrow/key.pem', Buffer.alloc(600, 'x'), 600);
    made.add('manifest.json', Buffer.from('{"format":"sparekey backup 1"}'), 30);
    made.finish();
    tar = readFileSync(join(folder, 'a.tar'));
  });
  /** A tar of ours, whatever its names: as one would make who knows how. */
  const crafted = (...members: [name: string, bytes: string][]): Buffer =>
    Buffer.concat([
      ...members.map(([name, bytes]) => {
        const head = Buffer.from(tar.subarray(0, 512));
        head.fill(0, 0, 100).write(name, 0, 100, 'latin1');
        head.write(`${bytes.length.toString(8).padStart(11, '0')}\0`, 124);
        head.write('        ', 148);
        head.write(
          `${head
            .reduce((sum, byte) => sum + byte, 0)
            .toString(8)
            .padStart(6, '0')}\0 `,
          148,
        );
        return Buffer.concat([head, Buffer.from(bytes), Buffer.alloc((512 - (bytes.length % 512)) % 512)]);
      }),
      Buffer.alloc(1024),
    ]);
  const unpack = (bytes: Uint8Array, read: (file: string, folder: string) => unknown = unpackTar) => {
    const folder = scratch('unpack');
    writeFileSync(join(folder, 'a.tar'), bytes);
    mkdirSync(join(folder, 'into'));
    try {
      const got = calmly(() => read(join(folder, 'a.tar'), join(folder, 'into')));
      expect(readdirSync(folder).sort()).toEqual(['a.tar', 'into']);
      return got;
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  };

  test(
    'bent: unpacked as it was packed, or no backup of ours; nothing lands outside',
    () => {
      fc.assert(
        fc.property(bent(tar), (bytes) => {
          for (const read of [unpackTar, unpackBackup]) {
            const got = unpack(bytes, read);
            if ('refused' in got) expect(got.refused).toMatch(/^(BACKUP_INVALID|STORE_FAILED)$/);
          }
        }),
        runs(100),
      );
    },
    patience,
  );

  test('names that lead out of it, twice, or into a file are refused', () => {
    for (const members of [
      [['../evil', 'x']],
      [['/etc/evil', 'x']],
      [['a/../../evil', 'x']],
      [['a/b/c', 'x']],
      [['.hidden', 'x']],
      [['', 'x']],
      [['a\n', 'x']],
      [
        ['a', 'x'],
        ['a', 'y'],
      ],
      [
        ['a', 'x'],
        ['a/b', 'y'],
      ],
      [
        ['a/b', 'x'],
        ['a', 'y'],
      ],
      Array.from({ length: 1001 }, (_, at): [string, string] => [`f${at}`, '']),
    ] as [string, string][][])
      expect([members.slice(0, 2), unpack(crafted(...members))]).toEqual([members.slice(0, 2), { refused: 'BACKUP_INVALID' }]);
    expect(unpack(crafted(['a', 'x'], ['b/c', 'y']))).toMatchObject({ value: [{ name: 'a' }, { name: 'b/c' }] });
  });

  test(
    'a manifest that says anything, and a backup of nothing else, are no backup',
    async () => {
      const manifest = { format: 'sparekey backup 1', madeAt: '2026-11-22T12:00:00.000Z', serverVersion: '1', audit: { seq: 1, hash: 'x' }, members: [] };
      await fc.assert(
        fc.asyncProperty(bentJson(manifest), async (value) => {
          const text = JSON.stringify(value) ?? '';
          const got = unpack(crafted(['manifest.json', Buffer.from(text).toString('latin1')]), unpackBackup);
          if ('refused' in got) expect(got.refused).toBe('BACKUP_INVALID');
        }),
        runs(60),
      );
      const folder = scratch('verify');
      const file = join(folder, 'a.tar');
      writeFileSync(file, crafted(['manifest.json', JSON.stringify(manifest)]));
      expect(await calmlyLater(() => verifyBackup({ file, passphrase: 'a passphrase' }))).toMatchObject({ refused: expect.stringMatching(/^[A-Z_]+$/) });
      const revocations = join(folder, 'revocations.json');
      for (const text of ['', '[', 'null', '{"since":"x"}', '['.repeat(50_000)]) {
        writeFileSync(revocations, text);
        const got = await calmlyLater(() => restore({ file, dir: join(folder, 'data'), revocationsFile: revocations, spreadDays: 1, actor: 'ada' }));
        expect(got).toEqual({ refused: 'USAGE' });
      }
    },
    patience,
  );
});
