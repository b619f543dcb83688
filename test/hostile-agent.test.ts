import { execFileSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { createServer, type Server as HttpsServer } from 'node:https';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { readStanding } from '../agent/boot-note.ts';
import { realDisk } from '../agent/disk.ts';
import { noticeEscrowFile, withEscrowFile } from '../agent/escrow-file.ts';
import { readIdentityFiles } from '../agent/identity-files.ts';
import { readKey } from '../agent/identity-keys.ts';
import { freshJournal, isTimeSure, type Journal, openJournal, readOnlyJournal, reckonServerTime, withCurrent, withSureTime } from '../agent/journal.ts';
import { takeLock } from '../agent/lock.ts';
import { paths } from '../agent/paths.ts';
import { readPkcs12 } from '../agent/pkcs12.ts';
import { mayTry } from '../agent/refusals.ts';
import { ask, makeFolders, readAnswer, readProgress, takeRequests } from '../agent/requests.ts';
import { openServer } from '../agent/server.ts';
import { keepLastGood, readSettings, type Settings, settingsProblem } from '../agent/settings.ts';
import { settingsTable } from '../agent/settings-table.ts';
import { readStatus } from '../agent/status.ts';
import { integer, nothing, octets, oid, sequence, tagged, taggedOctets } from '../protocol/asn1.ts';
import { sealKey } from '../protocol/envelope.ts';
import { RecoveryKey } from '../protocol/recovery-key.ts';
import { makeEscrowCertificate, pem } from '../server/certificates.ts';
import { answering } from './answering-runner.ts';
import { makePair, pemToDer } from './fake-mac/certificates.ts';
import { anyText, bent, bentJson, bentText, berBombs, calmly, calmlyLater, isPolluted, patience, runs } from './hostile.ts';
import { openssl, testWithOpenssl } from './openssl.ts';
import { scratch } from './scratch.ts';

/*
 * The agent's own files and what its backend answers, broken in every way: by a disk, by root, by whoever stands in the
 * backend's place. Each is read, set aside, or named.
 */

const machine = { hardwareUuid: '5B0E6D0A-0000-4000-8000-000000000001', serial: 'C02TEST00001' };
const volume = '5B0E6D0A-0000-4000-8000-000000000002';
const boot = '5B0E6D0A-0000-4000-8000-000000000003';
const at = '2026-11-22T12:00:00.000Z';
const kept = {
  envelopeId: '0'.repeat(64),
  envelope: 'AAAA',
  source: 'rotation' as const,
  volume,
  madeAt: at,
  validated: 'true' as const,
  rotationId: 'r',
  answered: { boot, uptimeSeconds: 5 },
  recordId: 'record',
  held: true,
};
const look = { at: 1, runId: 'run', unsure: true as const };
/** Every field filled. */
const full: Journal = {
  ...freshJournal(machine, volume),
  current: kept,
  previous: [kept],
  outbox: [{ ...kept, envelopeId: '1'.repeat(64) }],
  rotation: {
    id: 'r',
    because: 'ordered',
    state: 'unresolved',
    boot,
    authorizedBy: 'grant',
    oldItem: null,
    oldRecordId: 'o',
    enrolmentId: 'e',
    outputFile: `${paths.outputs}/r.out`,
    escrowIdBefore: null,
    changingUptime: 5,
    looks: { new: look },
    refuted: ['old'],
  },
  debts: [{ id: 'd', because: 'ordered', envelopeId: null, boot, confirmed: true, reason: 'why' }],
  refusals: [{ id: 'x', at: 1, settled: true, unsure: true }],
  doubts: [{ recordId: 'record', first: look, refuted: false }],
  keptItem: { account: 'a', envelopeId: '0'.repeat(64) },
  session: { boot, firstRunUptime: 1, usedSeen: false, usedChanged: false, user: { name: 'ada', since: 3 } },
  identity: {
    keyAccount: 'identity:1',
    keyFile: null,
    enrolmentId: 'e',
    way: 'profile',
    certificatePem: 'pem',
    notAfter: at,
    enrolledAt: at,
    hardwareUuid: machine.hardwareUuid,
    profileCertificateDigest: null,
  },
  proofs: [{ id: 'p', envelopeId: '0'.repeat(64), orderId: null, answer: 'true', settled: true, boot, uptimeSeconds: 1 }],
  endings: [{ rotationId: 'r', as: 'not-changed', detail: 'x' }],
  capability: { build: '25B78', state: 'works' },
  lastProof: { build: '25B78', at: 1 },
  clock: { serverTime: 1, boot, uptime: 1 },
  escrowSeen: { size: 1, modifiedMs: 1, digest: 'd', recipient: null, ours: true },
  foreignReported: ['d'],
  foreignChanges: [1],
  suspects: { after: 1, names: ['x'] },
  payload: { seen: 'ours', since: 1 },
  unmanagedSince: 1,
  pace: { changes: [{ at: 1 }], failed: { at: 1, build: 'b', times: 2 }, build: 'b', proofDue: 'build' },
  notKnown: { id: 'r', because: 'used' },
};

function onDisk() {
  const root = scratch('hostile');
  const disk = realDisk(root);
  makeFolders(disk);
  const put = (path: string, bytes: string | Uint8Array) => writeFileSync(join(root, path), bytes, { mode: 0o600 });
  return { root, disk, put };
}

describe('the journal', () => {
  /** What the agent does with a journal before anything else. */
  const use = (journal: Readonly<Journal>): void => {
    const reckoned = { ...journal, ...withSureTime(journal, Date.now()) };
    reckonServerTime(reckoned, boot, 10);
    isTimeSure(reckoned, boot);
    mayTry(reckoned, 5, true);
    withCurrent(reckoned, journal.outbox[0] ?? kept);
    withEscrowFile(reckoned, { found: 'foreign', seen: { size: 1, modifiedMs: 2, digest: 'e', recipient: null, ours: false }, kept: null }, 7);
    new Date(journal.identity?.notAfter ?? at).toISOString();
    new Date(journal.current?.madeAt ?? at).toISOString();
  };

  test('is found again as it was written', () => {
    const { disk } = onDisk();
    openJournal(disk, machine, volume, '1').write(full);
    const again = openJournal(disk, machine, volume, '2');
    expect([again.opened, again.value]).toEqual(['as-it-was', full]);
  });

  test(
    'with a field of another kind, anywhere, is set aside or can be worked with',
    () => {
      const { disk, put } = onDisk();
      fc.assert(
        fc.property(bentJson(full), fc.nat(), (journal, stamp) => {
          put(paths.journal, JSON.stringify(journal) ?? 'undefined');
          const opened = calmly(() => openJournal(disk, machine, volume, String(stamp)));
          if ('refused' in opened) return expect(opened.refused).toBe('JOURNAL_TOO_NEW');
          expect('value' in calmly(() => use(opened.value.value), JSON.stringify(journal)?.slice(0, 200))).toBe(true);
          expect('value' in calmly(() => opened.value.write({ exhausted: true }))).toBe(true);
        }),
        runs(120),
      );
      expect(isPolluted()).toBe(false);
    },
    patience,
  );

  test.each(Object.keys(full))('without its field %s, or with it of every other kind, it does not end a run', (name) => {
    const { disk, put } = onDisk();
    for (const value of [undefined, null, 7, 'x', true, [], [null], {}, { a: 1 }, [{}], [7]]) {
      put(paths.journal, JSON.stringify({ ...full, [name]: value }));
      const opened = calmly(() => openJournal(disk, machine, volume, '1'));
      if ('refused' in opened) expect(opened.refused).toBe('JOURNAL_TOO_NEW');
      else calmly(() => use(opened.value.value), `${name}: ${JSON.stringify(value)}`);
    }
  });

  test(
    'bent in its bytes, nested without end, or of a newer agent: named, set aside, never a crash',
    () => {
      const { disk, put } = onDisk();
      const text = Buffer.from(JSON.stringify(full));
      const read = (bytes: Uint8Array) => {
        put(paths.journal, bytes);
        const opened = calmly(() => openJournal(disk, machine, volume, '1'));
        if ('value' in opened) return use(opened.value.value);
        put(paths.journal, bytes);
        calmly(() => readOnlyJournal(disk, machine, volume));
      };
      for (const bytes of [
        '['.repeat(250_000),
        `{"version":1,"a":${'['.repeat(100_000)}`,
        `{"version":${'9'.repeat(1000)}}`,
        '{"version":1e308}',
        '"',
        'null',
        '\0',
      ])
        read(Buffer.from(bytes));
      fc.assert(fc.property(bent(text), read), runs(150));
    },
    patience,
  );
});

describe('small files', () => {
  test(
    'requests, answers and progress: taken, refused, or named',
    () => {
      const { disk, put } = onDisk();
      const valid = { id: 'an-id', kind: 'rotate' as const, reason: 'why' };
      fc.assert(
        fc.property(bentJson(valid), bentJson({ id: 'an-id', exit: 0, says: 'done', fix: null, code: null }), anyText(50), (request, result, more) => {
          put(`${paths.queue}/an-id.json`, JSON.stringify(request) ?? '');
          put(`${paths.queue}/odd name.txt`, more);
          const taken = calmly(() => takeRequests(disk));
          expect('value' in taken).toBe(true);
          if ('value' in taken) for (const one of taken.value.taken) disk.remove(one.file);
          put(`${paths.results}/an-id.json`, JSON.stringify(result) ?? '');
          put(`${paths.results}/an-id.progress`, more);
          calmly(() => readProgress(disk, 'an-id'));
          const answered = calmly(() => readAnswer(disk, 'an-id'));
          if ('value' in answered) expect(answered.value === null || Number.isInteger(answered.value.exit)).toBe(true);
          else expect(answered.refused).toBe('JOB_NO_ANSWER');
        }),
        runs(80),
      );
      ask(disk, valid);
      expect(takeRequests(disk).taken).toHaveLength(1);
    },
    patience,
  );

  test('an answer that cannot be read is named: somebody waits for it', () => {
    const { disk, put } = onDisk();
    for (const text of ['', 'null', '[]', '{"exit":"0"}', '{'.repeat(4000)]) {
      put(`${paths.results}/a.json`, text);
      expect(() => readAnswer(disk, 'a')).toThrow(expect.objectContaining({ code: 'JOB_NO_ANSWER' }));
    }
  });

  test('a lock of a process that cannot be is no lock', () => {
    const { root, put } = onDisk();
    for (const pid of [0, -1, -2147483648, 1.5, 1e308, 2 ** 53, null, '1', [1]]) {
      put(paths.lock, JSON.stringify({ pid, boot }));
      const lock = takeLock(root, { pid: process.pid, boot });
      expect([pid, lock === null]).toEqual([pid, false]);
      lock?.release();
    }
    for (const text of ['', 'null', '[[[[', '{"pid":']) {
      put(paths.lock, text);
      expect(takeLock(root, { pid: process.pid, boot })).not.toBeNull();
    }
  });

  test(
    'a note of the boot session, and the status: as they are, or none',
    async () => {
      const { disk, put, root } = onDisk();
      execFileSync('mkdir', ['-p', join(root, '/var/run')]);
      const standing = { boot, uptimeSeconds: 1, ...machine, volume, macosVersion: '26.1', macosBuild: '25B78' };
      await fc.assert(
        fc.asyncProperty(bentJson(standing), bentText(JSON.stringify(standing)), async (note, text) => {
          for (const bytes of [JSON.stringify(note) ?? '', text]) {
            put(paths.boot, bytes);
            const read = await calmlyLater(() => readStanding(answering({}), disk, 0, { boot, uptimeSeconds: 5 }));
            if ('refused' in read) expect(read.refused).toMatch(/^MACOS_/);
            put(paths.status, bytes);
            expect('value' in calmly(() => readStatus(disk))).toBe(true);
          }
        }),
        runs(80),
      );
    },
    patience,
  );
});

describe('settings', () => {
  let valid: Record<string, unknown>;
  beforeAll(() => {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const der = makeEscrowCertificate({ commonName: 'Escrow', privateKey, years: 20, at: new Date(at) });
    valid = {
      serverUrl: 'https://keys.example.org',
      escrowCertificate: pem('CERTIFICATE', der),
      trustedCertificates: [pem('CERTIFICATE', der)],
      checkInMinutes: 60,
    };
  });
  const xmlOf = (value: unknown): string => {
    if (typeof value === 'number') return Number.isInteger(value) ? `<integer>${value}</integer>` : `<real>${value}</real>`;
    if (typeof value === 'boolean') return `<${value}/>`;
    if (Array.isArray(value)) return `<array>${value.map(xmlOf).join('')}</array>`;
    if (typeof value === 'object' && value !== null)
      return `<dict>${Object.entries(value)
        .map(([name, inner]) => `<key>${escaped(name)}</key>${xmlOf(inner)}`)
        .join('')}</dict>`;
    return `<string>${escaped(String(value))}</string>`;
  };
  const escaped = (text: string) => text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
  const reading = (disk: ReturnType<typeof realDisk>, xml: string) =>
    calmlyLater(() => readSettings(answering({ '/usr/bin/plutil': { out: xml } }), disk, Date.parse(at)));

  test(
    'of any kind: each mistake is named, briefly, and nothing else happens',
    async () => {
      const { disk, put, root } = onDisk();
      execFileSync('mkdir', ['-p', join(root, '/Library/Managed Preferences')]);
      put(paths.settings, 'x');
      const crowd = Object.fromEntries(Array.from({ length: 400 }, (_, n) => [`unknown${n}${'x'.repeat(500)}`, n]));
      await fc.assert(
        fc.asyncProperty(bentJson({ ...valid, pilot: true, proxy: 'none', rotator: 'mdm', identityIssuer: 'CA' }), fc.boolean(), async (values, more) => {
          const read = await reading(disk, `<plist version="1.0">${xmlOf(more && typeof values === 'object' ? { ...values, ...crowd } : values)}</plist>`);
          expect('value' in read).toBe(true);
          if (!('value' in read)) return;
          const { problems } = read.value;
          expect(problems.length).toBeLessThan(100);
          expect(problems.every(({ name, says }) => name.length <= 100 && says.length < 500)).toBe(true);
          calmly(() => settingsProblem(read.value));
          calmly(() => keepLastGood(disk, read.value));
          // What was kept is read again.
          expect('value' in (await reading(disk, 'nothing'))).toBe(true);
        }),
        runs(60),
      );
      expect(isPolluted()).toBe(false);
    },
    patience,
  );

  test('a certificate that Node takes and we cannot read, or of a kind that nobody knows, is named as a wrong setting', async () => {
    const { escrowCertificate } = settingsTable;
    const der = pemToDer(valid['escrowCertificate'] as string);
    fc.assert(
      fc.property(bent(der), (bytes) => {
        const read = calmly(() => escrowCertificate.read(bytes));
        expect('value' in read).toBe(true);
        calmly(() => settingsTable.trustedCertificates.read([bytes]));
      }),
      runs(150),
    );
    const unknownKind = Buffer.from(der);
    unknownKind[unknownKind.indexOf(Buffer.from('2a864886f70d010101', 'hex')) + 8] = 0x7f;
    expect(escrowCertificate.read(unknownKind)).toHaveProperty('wrong');
    expect('value' in calmly(() => settingsTable.trustedCertificates.read([unknownKind]))).toBe(true);
  });

  test('the last good ones, broken: read or not there', async () => {
    const { disk, put } = onDisk();
    const file = { version: 1, unmanagedSince: at, values: { ...valid, a: { data: 'AAAA' } } };
    await fc.assert(
      fc.asyncProperty(bentJson(file), async (value) => {
        put(paths.lastGoodSettings, JSON.stringify(value) ?? '');
        const read = await reading(disk, '');
        expect('value' in read).toBe(true);
      }),
      runs(60),
    );
  });
});

describe('certificates and keys in files', () => {
  const password = 'a password';
  let p12: Buffer;
  beforeAll(() => {
    const pair = makePair({ subject: { CN: 'A Mac' }, kind: 'device', keyType: 'ec' });
    try {
      p12 = openssl(['pkcs12', '-export', '-in', 'c.pem', '-inkey', 'k.pem', '-passout', `pass:${password}`], { 'c.pem': pair.certificate, 'k.pem': pair.key });
    } catch {
      p12 = Buffer.alloc(0);
    }
  });
  const settings = { identityPkcs12File: '/id.p12', identityPkcs12PasswordFile: null } as unknown as Settings;

  /** PKCS #12 with one part that is encrypted with so many rounds. */
  const stretched = (rounds: Buffer, prf = '1.2.840.113549.2.9', parts = 1): Buffer => {
    const number = Buffer.concat([Buffer.from([2, rounds.length]), rounds]);
    const kdf = sequence(oid('1.2.840.113549.1.5.12'), sequence(octets(Buffer.alloc(8)), number, sequence(oid(prf), nothing())));
    const algorithm = sequence(oid('1.2.840.113549.1.5.13'), sequence(kdf, sequence(oid('2.16.840.1.101.3.4.1.42'), octets(Buffer.alloc(16)))));
    const part = sequence(
      oid('1.2.840.113549.1.7.6'),
      tagged(0, sequence(integer(0), sequence(oid('1.2.840.113549.1.7.1'), algorithm, taggedOctets(0, Buffer.alloc(32))))),
    );
    const key = sequence(oid('1.2.840.113549.1.12.10.1.2'), tagged(0, sequence(algorithm, octets(Buffer.alloc(32)))));
    const plain = sequence(oid('1.2.840.113549.1.7.1'), tagged(0, octets(sequence(key))));
    const safe = sequence(...Array.from({ length: parts }, () => plain), part);
    return sequence(integer(3), sequence(oid('1.2.840.113549.1.7.1'), tagged(0, octets(safe))));
  };
  const old = (rounds: Buffer): Buffer => {
    const number = Buffer.concat([Buffer.from([2, rounds.length]), rounds]);
    const algorithm = sequence(oid('1.2.840.113549.1.12.1.3'), sequence(octets(Buffer.alloc(8)), number));
    const part = sequence(
      oid('1.2.840.113549.1.7.6'),
      tagged(0, sequence(integer(0), sequence(oid('1.2.840.113549.1.7.1'), algorithm, taggedOctets(0, Buffer.alloc(32))))),
    );
    return sequence(integer(3), sequence(oid('1.2.840.113549.1.7.1'), tagged(0, octets(sequence(part)))));
  };

  test('PKCS #12 whose password is stretched for hours is refused before the first round', () => {
    const counts = ['7fffffff', '3b9aca00', '00ffffff', 'ffffffff', '', '00', '7fffffffffffffff', '0098967f'];
    for (const hex of counts)
      for (const file of [stretched(Buffer.from(hex, 'hex')), stretched(Buffer.from(hex, 'hex'), '1.2.840.113549.2.11'), old(Buffer.from(hex, 'hex'))])
        expect('refused' in calmly(() => readPkcs12(file, password), `rounds ${hex}`)).toBe(true);
    // A little in each of many parts is as much.
    expect(calmly(() => readPkcs12(stretched(Buffer.from('030d40', 'hex'), '1.2.840.113549.2.9', 200), password))).toMatchObject({
      refused: expect.any(String),
    });
    for (const bomb of berBombs(16 * 1024)) calmly(() => readPkcs12(bomb, password));
  });

  testWithOpenssl(
    'PKCS #12, bent: an identity, or one problem that names the file',
    async () => {
      const { disk, put } = onDisk();
      put('/id.p12', p12);
      expect(() => readPkcs12(p12, password)).not.toThrow();
      await fc.assert(
        fc.asyncProperty(bent(p12), async (bytes) => {
          calmly(() => readPkcs12(bytes, password));
          put('/id.p12', bytes);
          const read = await calmlyLater(() => readIdentityFiles(settings, disk));
          if ('refused' in read) expect(read.refused).toBe('IDENTITY_FILE_INVALID');
        }),
        runs(80),
      );
    },
    patience,
  );

  test(
    'PEM files, bent: the same',
    async () => {
      const { disk, put } = onDisk();
      const pair = makePair({ subject: { CN: 'A Mac' }, kind: 'device', keyType: 'ec' });
      const files = { identityCertificateFile: '/c.pem', identityKeyFile: '/k.pem' } as unknown as Settings;
      await fc.assert(
        fc.asyncProperty(bentText(pair.certificate), bentText(pair.key), fc.boolean(), async (certificate, key, which) => {
          put('/c.pem', which ? certificate : pair.certificate);
          put('/k.pem', which ? pair.key : key);
          const read = await calmlyLater(() => readIdentityFiles(files, disk));
          if ('refused' in read) expect(read.refused).toBe('IDENTITY_FILE_INVALID');
          await calmlyLater(() => readKey(disk, {} as never, { keyAccount: null, keyFile: '/k.pem' }));
        }),
        runs(60),
      );
    },
    patience,
  );

  test(
    'the escrow file, bent: ours, somebody’s, or unreadable',
    async () => {
      const { disk, put, root } = onDisk();
      execFileSync('mkdir', ['-p', join(root, '/var/db')]);
      const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
      const der = makeEscrowCertificate({ commonName: 'Escrow', privateKey, years: 20, at: new Date(at) });
      const sealed = sealKey(RecoveryKey.parse('ABCD-EFGH-JKLM-NPQR-TUVW-XYZ2') as RecoveryKey, der);
      const parts = { disk, wait: async () => undefined, now: () => Date.parse(at) };
      const notice = async (bytes: Uint8Array) => {
        put(paths.escrowFile, bytes);
        const noticed = await calmlyLater(() => noticeEscrowFile(parts, { ...full, escrowSeen: null }, der));
        expect('value' in noticed).toBe(true);
        if ('value' in noticed) expect('value' in calmly(() => withEscrowFile(full, noticed.value, 5))).toBe(true);
      };
      for (const bomb of berBombs(16 * 1024)) await notice(bomb);
      await fc.assert(fc.asyncProperty(bent(sealed), notice), runs(100));
    },
    patience,
  );
});

describe('what answers in the backend’s place', () => {
  let server: HttpsServer;
  let reply: { status: number; headers: Record<string, string>; body: string | Buffer };
  let address: { url: string; ca: string };
  beforeAll(async () => {
    const pair = makePair({ subject: { CN: '127.0.0.1' }, kind: 'ca', keyType: 'ec' });
    const leaf = makePair({ subject: { CN: 'localhost' }, kind: 'escrow', keyType: 'ec', issuer: pair, dnsName: 'localhost' });
    server = createServer({ cert: leaf.certificate + pair.certificate, key: leaf.key }, (request, response) => {
      request.resume();
      response.writeHead(reply.status, reply.headers).end(reply.body);
    });
    await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve));
    const bound = server.address();
    address = { url: `https://localhost:${typeof bound === 'object' && bound ? bound.port : 0}`, ca: pair.certificate };
  });
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });
  const json = { 'content-type': 'application/json' };
  const asking = () =>
    openServer({
      settings: { serverUrl: address.url, trustedCertificates: [address.ca], trust: 'bundled', proxy: 'none' },
      identity: null,
      runner: answering({}),
      retries: { tries: 1, wait: async () => undefined },
    });
  const receipt = {
    envelopeId: '0'.repeat(64),
    recordId: 'r',
    receivedAt: at,
    recipient: '0'.repeat(64),
    readable: 'yes',
    state: 'held',
    held: null,
    requestId: 'q',
  };
  const delivery = {
    envelope: 'AAAA',
    source: 'rotation',
    hardwareUuid: machine.hardwareUuid,
    volume,
    madeAt: at,
    validated: 'true',
    rotationId: null,
  } as const;

  test(
    'any reply is a receipt for this envelope, or a problem',
    async () => {
      const it = asking();
      reply = { status: 200, headers: json, body: JSON.stringify(receipt) };
      expect((await it.deliver('0'.repeat(64), delivery)).state).toBe('held');
      const bodies = fc.oneof(
        bentJson(receipt).map((value) => JSON.stringify(value) ?? ''),
        bentText(JSON.stringify(receipt)),
        bentJson({ code: 'HOLD', title: 't', detail: 'd' }).map((value) => JSON.stringify(value) ?? ''),
        fc.constantFrom('['.repeat(100_000), '{"a":'.repeat(30_000), 'x'.repeat(300 * 1024), ''),
      );
      const headers = fc.record({
        'content-type': fc.constantFrom('application/json', 'application/problem+json', 'text/html', 'application/json; charset=utf-7', 'x'),
        'retry-after': fc.constantFrom('5', '-1', '99999999999999999999', 'Wed, 21 Oct 2026 07:28:00 GMT', 'x'),
        'sparekey-protocol': fc.constantFrom('1', '2', 'x'.repeat(100)),
      });
      await fc.assert(
        fc.asyncProperty(bodies, headers, fc.constantFrom(200, 200, 201, 204, 301, 400, 401, 407, 409, 429, 500, 503, 599), async (body, more, status) => {
          reply = { status, headers: status === 301 ? { ...more, location: 'https://[' } : more, body: status === 204 ? '' : body };
          const got = await calmlyLater(() => it.deliver('0'.repeat(64), delivery));
          if ('value' in got) expect(got.value.envelopeId).toBe('0'.repeat(64));
          else expect(got.refused).toMatch(/^[A-Z_]+$/);
        }),
        runs(80),
      );
      it.close();
    },
    patience,
  );
});
