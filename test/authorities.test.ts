import { createHash, X509Certificate } from 'node:crypto';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { connect } from 'node:tls';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { Problem } from '../protocol/problems.ts';
import { authorityCheck, authorityList, authorityNewTls, authorityRetire, type Retiring } from '../server/authority-commands.ts';
import { whoIsCutOff } from '../server/authority-users.ts';
import { issueServerCertificate, makeCa, pem } from '../server/certificates.ts';
import { type FolderPaths, folderPaths } from '../server/data-folder.ts';
import { startingTls } from '../server/last-tls.ts';
import { profileValues } from '../server/profile-values.ts';
import { settingsCheck } from '../server/settings-command.ts';
import {
  checkInBody,
  deviceCa,
  deviceIdentity,
  enrol,
  factsOf,
  foreignCa,
  type GivenServer,
  givenServer,
  newMac,
  newPair,
  type TestMac,
} from './given-server.ts';
import type { Identity } from './tls-client.ts';

const digestOf = (der: Uint8Array): string => createHash('sha256').update(der).digest('hex');
const day = 86_400_000;
const secondCa = makeCa({ commonName: 'Second device CA', years: 5, at: new Date() });

let given: GivenServer;
let paths: FolderPaths;
let mac: TestMac;
let checkIn: (trusted?: string[]) => Promise<number>;
const backend = () => given.serving.backend;
const retire = (digest: string, more: Partial<Retiring> = {}) =>
  authorityRetire(backend(), { digest, reason: 'it ends', actor: 'ada', although: null, ...more });
const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'no problem',
    (error: unknown) => (error instanceof Problem ? error.code : String(error)),
  );

beforeAll(async () => {
  given = await givenServer({ deviceCas: pem('CERTIFICATE', deviceCa.certificateDer) + pem('CERTIFICATE', secondCa.certificateDer) });
  paths = folderPaths(given.dir);
  mac = newMac();
  const { identity } = await enrol(given, mac, { profile: deviceIdentity({ CN: 'A Mac', serialNumber: mac.serial }) });
  checkIn = async (trusted) =>
    (await given.client.ask('/v1/check-in', { identity, body: checkInBody(mac, { facts: factsOf(mac, trusted ? { trusted } : {}) }) })).status;
  expect(await checkIn()).toBe(200);
});

describe('a device CA', () => {
  test('is needed by a Mac whose device certificate is its identity only while the one in use is of it: another one counts from its first use', async () => {
    const one = newMac();
    const subject = { CN: 'A Mac', serialNumber: one.serial };
    const cutOffBy = async (ca: typeof deviceCa) =>
      (await whoIsCutOff(backend(), digestOf(ca.certificateDer))).filter(({ serial }) => serial === one.serial).length;
    const direct = (identity: Identity) => given.client.ask('/v1/check-in', { identity, body: checkInBody(one) });
    expect((await direct(deviceIdentity(subject))).status).toBe(200);
    expect([await cutOffBy(deviceCa), await cutOffBy(secondCa)]).toEqual([1, 0]);
    // As a renewal is written down, once its certificate was used.
    const { store, clock } = backend();
    const { id: enrolment_id } = await store.db.selectFrom('enrolment').select('id').where('way', '=', 'direct').executeTakeFirstOrThrow();
    const { raw: der } = new X509Certificate(deviceIdentity(subject, { ca: secondCa }).cert);
    const row = {
      digest: digestOf(der),
      enrolment_id,
      der,
      issued_at: clock.now(),
      first_used_at: clock.now() + 1,
      not_after: clock.now() + day,
      status: 'active' as const,
    };
    await store.db.insertInto('certificate').values(row).execute();
    expect([await cutOffBy(deviceCa), await cutOffBy(secondCa)]).toEqual([0, 1]);
    await store.db.updateTable('mac').set({ last_seen_at: null }).where('serial', '=', one.serial).execute();
  });

  test('is retired only when no Mac of the last 90 days is known by it; those are listed', async () => {
    const digest = digestOf(deviceCa.certificateDer);
    const refused = await retire(digest);
    expect(refused.exit).toBe(77);
    expect(refused.json).toMatchObject({
      ok: false,
      code: 'STILL_TRUSTED',
      words: '1 Mac is cut off',
      macs: [{ serial: mac.serial, because: 'its identity is of this CA' }],
    });
    expect(refused.text).toContain('--although "1 Mac is cut off"');
    expect(refused.warnings).toContainEqual(expect.stringContaining('by what it said at its last check-in'));
    // Words that are not of this refusal are none.
    expect((await retire(digest, { although: '2 Macs are cut off' })).json).toMatchObject({ ok: false });
    expect((await authorityList(backend())).json).toMatchObject({
      authorities: expect.arrayContaining([expect.objectContaining({ digest, role: 'device CA' })]),
    });
    // The other one is nobody's.
    expect((await retire(digestOf(secondCa.certificateDer).slice(0, 12))).json).toMatchObject({ ok: true, cutOff: [] });
    expect(readFileSync(join(paths.deviceCas, '1.pem'), 'utf8')).toBe(pem('CERTIFICATE', deviceCa.certificateDer));
    expect(await codeOf(retire(digestOf(secondCa.certificateDer)))).toBe('NOT_FOUND');
    expect(await codeOf(retire('0b'))).toBe('NOT_FOUND');
  });

  test('a Mac that was away for longer does not stand in the way, and words override it, in the audit', async () => {
    const digest = digestOf(deviceCa.certificateDer);
    const real = backend();
    const later = { ...real, clock: { ...real.clock, now: () => real.clock.now() + 91 * day } };
    const seen = await authorityRetire(
      { ...later, paths: { ...paths, deviceCas: join(paths.dir, 'none') } },
      { digest, reason: 'x', actor: 'ada', although: null },
    ).catch((error: Problem) => error.code);
    expect(seen).toBe('NOT_FOUND');
    const before = readFileSync(join(paths.deviceCas, '1.pem'));
    expect((await authorityRetire(later, { digest, reason: 'x', actor: 'ada', although: null })).json).toMatchObject({ ok: true, cutOff: [] });
    expect(existsSync(join(paths.deviceCas, '1.pem'))).toBe(false);
    writeFileSync(join(paths.deviceCas, '1.pem'), before, { mode: 0o600 });
    expect((await retire(digest, { although: '1 Mac is cut off' })).json).toMatchObject({ ok: true, cutOff: [{ serial: mac.serial }] });
    const entries = await real.store.db.selectFrom('audit').select('details').where('act', '=', 'authority.retired').orderBy('seq').execute();
    expect(entries.map(({ details }) => JSON.parse(details))).toContainEqual(
      expect.objectContaining({ digest, although: '1 Mac is cut off', cutOff: [expect.any(String)] }),
    );
    writeFileSync(join(paths.deviceCas, '1.pem'), before, { mode: 0o600 });
  });
});

describe('the CA of the listener', () => {
  const seenIssuer = (): Promise<string> =>
    new Promise((resolve, reject) => {
      const socket = connect({ host: '127.0.0.1', port: given.client.port, rejectUnauthorized: false }, () => {
        resolve(digestOf(socket.getPeerX509Certificate()?.issuerCertificate?.raw ?? Buffer.alloc(0)));
        socket.destroy();
      }).on('error', reject);
    });

  test('before a certificate of somebody else’s CA comes: whether every Mac trusts it', async () => {
    const file = join(given.dir, '..', 'new-root.pem');
    writeFileSync(file, pem('CERTIFICATE', foreignCa.certificateDer));
    expect(await authorityCheck(backend(), file)).toMatchObject({ exit: 77, json: { macs: [{ serial: mac.serial }] } });
    await checkIn([digestOf(foreignCa.certificateDer)]);
    expect((await authorityCheck(backend(), file)).json).toMatchObject({ ok: true });
  });

  test('`settings check` says in red who would be cut off by a chain of another CA in `tls.files`, of our own certificate too, and the start refuses it', async () => {
    const before = readFileSync(paths.settings, 'utf8');
    const files = { certificate: join(given.dir, '..', 'files.pem'), key: join(given.dir, '..', 'files-key.pem') };
    const pair = newPair();
    const publicKeyDer = pair.publicKey.export({ type: 'spki', format: 'der' });
    const names = ['127.0.0.1'];
    const der = issueServerCertificate({ ca: foreignCa.certificateDer, caKey: foreignCa.privateKey, names, publicKeyDer, at: new Date(), days: 90 });
    writeFileSync(files.certificate, pem('CERTIFICATE', der) + pem('CERTIFICATE', foreignCa.certificateDer));
    writeFileSync(files.key, pair.privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
    const check = async () => (await settingsCheck({ dir: given.dir, sealed: false })).red;
    expect(await check()).toEqual([]);
    writeFileSync(paths.settings, JSON.stringify({ ...JSON.parse(before), tls: { files } }));
    try {
      await checkIn();
      const { red, json, exit } = await settingsCheck({ dir: given.dir, sealed: false });
      expect(red).toEqual([
        expect.stringMatching(/^tls\.files: .*files\.pem is of another CA \(.*\), which 1 Mac of the last 90 days does not trust: it cuts them off/),
      ]);
      expect([json, exit]).toEqual([expect.objectContaining({ ok: true, warnings: red }), undefined]);
      const begin = () => startingTls(paths, files, { host: '127.0.0.1', now: Date.now() }).refused;
      expect(begin()).toMatch(/another CA/);
      await checkIn([digestOf(foreignCa.certificateDer)]);
      expect(await check()).toEqual([]);
    } finally {
      writeFileSync(paths.settings, before);
    }
  });

  test('changes without a gap: a second one in the profiles, refused until each Mac says that it trusts it, then used at once', async () => {
    const old = digestOf(new X509Certificate(readFileSync(paths.tlsCa.certificate)).raw);
    expect(await codeOf(retire(old))).toBe('USAGE');
    const { digest } = (await authorityNewTls(backend(), { reason: 'the first ends', actor: 'ada' })).json as { digest: string };
    expect(await codeOf(authorityNewTls(backend(), { reason: 'again', actor: 'ada' }))).toBe('USAGE');
    const { trustedCertificates } = profileValues(given.dir).json as { trustedCertificates: string[] };
    expect(trustedCertificates.map((text) => digestOf(new X509Certificate(text).raw))).toEqual([old, digest]);
    expect(await codeOf(retire(digest))).toBe('USAGE');
    await checkIn();
    expect((await retire(old)).json).toMatchObject({ ok: false, macs: [{ because: 'its agent does not say what it trusts: it is too old' }] });
    await checkIn([old]);
    expect((await retire(old)).json).toMatchObject({ ok: false, macs: [{ serial: mac.serial, because: 'its settings do not have the new certificate' }] });
    await checkIn([old, digest]);
    expect((await retire(old)).json).toMatchObject({ ok: true, retired: old });
    given.serving.renewCertificate();
    expect(await seenIssuer()).toBe(digest);
    expect((profileValues(given.dir).json as { trustedCertificates: string[] }).trustedCertificates).toHaveLength(1);
  });

  test('a power cut in the middle of the change leaves a listener that goes on, and the next look ends the change', async () => {
    const used = digestOf(new X509Certificate(readFileSync(paths.tlsCa.certificate)).raw);
    const { digest } = (await authorityNewTls(backend(), { reason: 'once more', actor: 'ada' })).json as { digest: string };
    renameSync(dirname(paths.tlsCa.key), join(given.dir, 'tls-ca-retired-by-hand'));
    expect(await seenIssuer()).toBe(used);
    expect(given.serving.renewCertificate()).toBe(true);
    expect(await seenIssuer()).toBe(digest);
    expect(existsSync(dirname(paths.nextTlsCa.key))).toBe(false);
  });
});
