import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { sealKey } from '../protocol/envelope.ts';
import { Problem } from '../protocol/problems.ts';
import { RecoveryKey } from '../protocol/recovery-key.ts';
import { unpackBackup } from '../server/archive.ts';
import { verifyAudit } from '../server/audit.ts';
import { openBackend } from '../server/backend.ts';
import { backUp } from '../server/backup.ts';
import { openClock } from '../server/clock.ts';
import { folderPaths } from '../server/data-folder.ts';
import { verifyBackup } from '../server/drill.ts';
import { silentLog } from '../server/log.ts';
import { revocations, revoke } from '../server/mac-commands.ts';
import { restore, spreadRestoreDebts } from '../server/restore.ts';
import { serve } from '../server/serve.ts';
import { readHeader, ustarHeader } from '../server/tar.ts';
import { checkInBody, delivery, deviceIdentity, enrol, type GivenServer, givenServer, newMac, passphrase, type TestMac } from './given-server.ts';
import { scratch } from './scratch.ts';
import type { Identity } from './tls-client.ts';

const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'no problem',
    (error: unknown) => (error instanceof Problem ? error.code : String(error)),
  );
const day = 24 * 60 * 60 * 1000;

let given: GivenServer;
let folder: string;
let file: string;
const before: { mac: TestMac; identity: Identity; enrolmentId: string; key: string } = {
  mac: newMac(),
  identity: { cert: '', key: '' },
  enrolmentId: '',
  key: '',
};
const profileFor = (mac: TestMac) => deviceIdentity({ CN: 'A Mac', serialNumber: mac.serial });

async function enrolAndDeliver(mac: TestMac) {
  const { identity, enrolmentId } = await enrol(given, mac, { profile: profileFor(mac) });
  await given.client.ask('/v1/check-in', { identity, body: checkInBody(mac) });
  const sent = delivery(given, mac);
  const answer = await given.client.ask(`/v1/keys/${sent.id}`, { method: 'PUT', identity, body: sent.request });
  expect(answer.body.state).toBe('held');
  return { mac, identity, enrolmentId, ...sent };
}

beforeAll(async () => {
  given = await givenServer();
  folder = scratch('sparekey-backup');
  file = join(folder, 'backup.tar');
  Object.assign(before, await enrolAndDeliver(before.mac));
  // Taken while the backend runs.
  await backUp({ dir: given.dir, file, actor: 'ada' });
});

describe('a backup', () => {
  test('is one private file, with nothing beside it, and holds no key and no passphrase in clear', () => {
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(readdirSync(folder)).toContain('backup.tar');
    expect(readdirSync(folder).filter((name) => name.startsWith('.'))).toEqual([]);
    const bytes = readFileSync(file);
    expect(bytes.includes(before.key)).toBe(false);
    expect(bytes.includes(passphrase)).toBe(false);
    expect(bytes.includes('BEGIN ENCRYPTED PRIVATE KEY')).toBe(true);
  });

  test('opens one envelope alone, by the passphrase: the drill', async () => {
    const verified = await verifyBackup({ file, passphrase });
    expect(verified).toMatchObject({ macs: 1, keys: 1, envelopes: 1, opened: { serial: before.mac.serial } });
    expect(await codeOf(verifyBackup({ file, passphrase: 'something else' }))).toBe('PASSPHRASE_WRONG');
  });

  test('that is damaged, cut short, or no backup is refused', async () => {
    const bytes = readFileSync(file);
    const at = bytes.indexOf('SQLite format 3');
    const bent = Buffer.from(bytes);
    bent[at + 5000] = (bent[at + 5000] ?? 0) ^ 1;
    for (const [name, content] of Object.entries({ bent, short: bytes.subarray(0, bytes.length / 2), none: Buffer.from('hello'), empty: Buffer.alloc(0) })) {
      const path = join(folder, `${name}.tar`);
      writeFileSync(path, content);
      expect([name, await codeOf(verifyBackup({ file: path, passphrase }))]).toEqual([name, 'BACKUP_INVALID']);
      expect(await codeOf(restore({ file: path, dir: join(folder, name), revocationsFile: null, spreadDays: 7, actor: 'ada' }))).toBe('BACKUP_INVALID');
      expect(existsSync(join(folder, name))).toBe(false);
    }
  });

  test('with a name that leads out of the folder is refused', () => {
    const bytes = readFileSync(file);
    const evil = Buffer.from(bytes);
    evil.write('../../evil.json\0', 0, 'latin1');
    writeFileSync(join(folder, 'evil.tar'), evil);
    mkdirSync(join(folder, 'out'));
    expect(() => unpackBackup(join(folder, 'evil.tar'), join(folder, 'out'))).toThrow(expect.objectContaining({ code: 'BACKUP_INVALID' }));
    expect(readdirSync(join(folder, 'out'))).toEqual([]);
  });

  test('of a database beyond 8 GiB has its size in the archive in a form that GNU tar and bsdtar read, and so do we', () => {
    const invalid = (why: string) => new Problem('BACKUP_INVALID', why);
    for (const bytes of [0, 8 * 2 ** 30 - 1, 8 * 2 ** 30, 9 * 2 ** 30 + 5, 2 ** 42 + 1])
      expect(readHeader(ustarHeader('', 'sparekey.sqlite', bytes, 1_700_000_000, 0o600), invalid)).toEqual({ name: 'sparekey.sqlite', bytes });
    // One that is longer than nine bytes of zeros would have it is none of ours.
    const odd = ustarHeader('', 'sparekey.sqlite', 9 * 2 ** 30, 1_700_000_000, 0o600);
    odd[126] = 1;
    expect(() => readHeader(odd, invalid)).toThrow(/damaged/);
    const bytes = 9 * 2 ** 30 + 5;
    const path = join(folder, 'large.tar');
    // Its content is a hole.
    writeFileSync(path, ustarHeader('', 'sparekey.sqlite', bytes, 1_700_000_000, 0o600));
    truncateSync(path, 512 + Math.ceil(bytes / 512) * 512 + 1024);
    for (const [program, args] of [
      ['tar', ['-tvf']],
      ['bsdtar', ['-tvf']],
    ] as const) {
      if (spawnSync(program, ['--version']).status !== 0) continue;
      expect(execFileSync(program, [...args, path], { encoding: 'utf8' })).toMatch(new RegExp(`\\b${bytes}\\b.* sparekey\\.sqlite\\n$`));
    }
    rmSync(path);
  });

  test('replaces no file', async () => {
    expect(await codeOf(backUp({ dir: given.dir, file, actor: 'ada' }))).toBe('USAGE');
  });
});

describe('a restore', () => {
  test('never goes over a data folder', async () => {
    expect(await codeOf(restore({ file, dir: given.dir, revocationsFile: null, spreadDays: 7, actor: 'ada' }))).toBe('DATA_FOLDER_EXISTS');
  });

  test('is recorded, takes the revocations, refuses what it does not know, and gets lost deliveries back', async () => {
    const stolen = await enrolAndDeliver(newMac());
    const key = RecoveryKey.parse('AAAA-BBBB-CCCC-DDDD-EEEE-FFFF');
    const imported = { serial: 'C02WAITS0001', key, source: 'intune', trust: 'admin', runId: null, madeAt: null, actor: 'ada' } as const;
    await given.serving.backend.custody.bring([imported]);
    const early = join(folder, 'early.tar');
    await backUp({ dir: given.dir, file: early, actor: 'ada' });
    // In the gap: one Mac is revoked, one enrols and delivers, one delivers a new key.
    await revoke(given.serving.backend, { target: stolen.enrolmentId, reason: 'stolen', actor: 'ada', keepCertificate: false });
    const list = join(folder, 'revocations.json');
    writeFileSync(list, JSON.stringify((await revocations(given.serving.backend, 0)).json));
    const late = await enrolAndDeliver(newMac());
    await given.serving.stop();

    const dir = join(folder, 'restored');
    const result = await restore({ file: early, dir, revocationsFile: list, spreadDays: 7, actor: 'ada' });
    expect(result).toMatchObject({ revoked: { enrolments: 1, certificates: 1 }, keysToReplace: 2 });
    const serving = await serve({ dir, passphrase, log: silentLog });
    try {
      const ask = (identity: Identity, mac: TestMac, offers: string[] = []) =>
        given.client.ask('/v1/check-in', { identity, body: checkInBody(mac, { offers }) });
      expect((await ask(before.identity, before.mac)).body.custody).toBe('held');
      expect((await ask(stolen.identity, stolen.mac)).body.code).toBe('ENROLMENT_REVOKED');
      expect((await ask(late.identity, late.mac)).body.code).toBe('CERTIFICATE_UNKNOWN');
      const again = await enrol(given, late.mac, { profile: profileFor(late.mac) });
      expect((await ask(again.identity, late.mac, [late.id])).body.wanted).toEqual([late.id]);
      expect((await given.client.ask(`/v1/keys/${late.id}`, { method: 'PUT', identity: again.identity, body: late.request })).body.state).toBe('held');
      expect(await verifyAudit(serving.backend.store)).toMatchObject({ ok: true });
      // A key that others brought is there, and whether somebody was shown it in the gap is not known.
      expect(await serving.backend.store.db.selectFrom('brought_key').selectAll().execute()).toMatchObject([
        { serial: 'C02WAITS0001', state: 'waiting', disclosed_at: expect.any(Number) },
      ]);
      const shown = await serving.backend.custody.discloseBrought({ serial: 'C02WAITS0001', actor: 'ada', reason: 'locked out' });
      expect(key && shown.key.equals(key)).toBe(true);
      const acts = await serving.backend.store.db.selectFrom('audit').select(['act', 'details']).where('act', '=', 'server.restored').orderBy('seq').execute();
      expect(JSON.parse(acts[0]?.details ?? '{}')).toMatchObject({ withRevocations: true, keysToReplace: 2 });
    } finally {
      await serving.stop();
    }
  });

  test('every key that may have been shown in the gap is owed a replacement, spread over days, once', async () => {
    const dir = join(folder, 'spread');
    await restore({ file, dir, revocationsFile: null, spreadDays: 4, actor: 'ada' });
    const backend = await openBackend({ dir, passphrase: null });
    const debts = () => backend.store.db.selectFrom('debt').selectAll().where('because', '=', 'disclosed').execute();
    const [record] = await backend.store.db.selectFrom('key_record').selectAll().execute();
    if (!record) throw new TypeError('no record');
    // Twenty more keys of as many Macs.
    await backend.store.write(async (tx) => {
      const mac = await tx.selectFrom('mac').selectAll().executeTakeFirstOrThrow();
      for (let at = 0; at < 20; at += 1) {
        await tx
          .insertInto('mac')
          .values({ ...mac, id: `mac-${at}`, serial: `C02SPREAD${at}` })
          .execute();
        await tx
          .insertInto('key_record')
          .values({ ...record, id: `record-${at}`, mac_id: `mac-${at}` })
          .execute();
      }
    });
    const counts: number[] = [];
    const start = Date.now();
    for (const days of [0, 1, 2, 3, 4, 5]) {
      const clock = await openClock(backend.store, () => start + days * day + 1000);
      await spreadRestoreDebts(backend.store, clock);
      await spreadRestoreDebts(backend.store, clock);
      counts.push((await debts()).length);
    }
    // Whoever was shown a key just before the loss may still be typing it.
    expect(counts[0]).toBe(0);
    expect(counts[2]).toBeGreaterThan(3);
    expect(counts[2]).toBeLessThan(18);
    expect(counts.at(-1)).toBe(21);
    expect(new Set((await debts()).map((debt) => debt.record_id)).size).toBe(21);
    expect(await verifyAudit(backend.store)).toMatchObject({ ok: true });
    await backend.close();
  });

  test('a list that is no list is refused before anything is made', async () => {
    const list = join(folder, 'bad.json');
    writeFileSync(list, '{"enrolments": 1}');
    const dir = join(folder, 'not-made');
    expect(await codeOf(restore({ file, dir, revocationsFile: list, spreadDays: 7, actor: 'ada' }))).toBe('USAGE');
    expect(existsSync(dir)).toBe(false);
  });

  test('the restored folder is as private as the first', async () => {
    const dir = join(folder, 'private');
    await restore({ file, dir, revocationsFile: null, spreadDays: 7, actor: 'ada' });
    const paths = folderPaths(dir);
    for (const path of [paths.dir, paths.escrow]) expect(statSync(path).mode & 0o777).toBe(0o700);
    for (const path of [paths.database, paths.secrets, paths.agentCa.key, paths.settings]) expect(statSync(path).mode & 0o777).toBe(0o600);
    const backend = await openBackend({ dir, passphrase });
    const shown = await backend.custody.disclose({ macId: await backend.custody.findMac(before.mac.serial), actor: 'ada', reason: 'drill' });
    const certificate = backend.escrowKeys.certificates[0];
    expect(shown.key.reveal()).toBe(before.key);
    expect(certificate && sealKey(shown.key, certificate.der).length).toBeGreaterThan(0);
    await backend.close();
  });
});
