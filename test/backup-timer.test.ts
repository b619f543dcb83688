import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { Problem } from '../protocol/problems.ts';
import { backUp, backUpInto, newestBackup } from '../server/backup.ts';
import { backUpCommand, restoreCommand, verifyBackupCommand } from '../server/backup-command.ts';
import { backupDates, tellOfBackups } from '../server/backup-late.ts';
import { endingCertificates, sayEnding } from '../server/certificate-dates.ts';
import { issueServerCertificate, makeCa, makeEscrowCertificate, pem } from '../server/certificates.ts';
import { folderPaths } from '../server/data-folder.ts';
import { escrowKeyIn, verifyBackup } from '../server/drill.ts';
import { encryptPrivateKey } from '../server/encrypted-key.ts';
import { readEscrowCertificates } from '../server/escrow-keys.ts';
import { silentLog } from '../server/log.ts';
import { notInBackup } from '../server/named-files.ts';
import { sayAnew, tellOfCertificates } from '../server/operator-alarms.ts';
import { tryWriting } from '../server/private-files.ts';
import { unsealFile } from '../server/sealed-file.ts';
import { readSettings } from '../server/settings.ts';
import { settingsCheck } from '../server/settings-command.ts';
import { status } from '../server/status-command.ts';
import { forgetMemory } from '../server/store/upkeep.ts';
import { checkInBody, delivery, deviceIdentity, enrol, type GivenServer, givenServer, newMac, newPair, passphrase } from './given-server.ts';
import { rsaPair } from './key-pairs.ts';
import { openssl, testWithOpenssl } from './openssl.ts';
import { scratch } from './scratch.ts';

const day = 86_400_000;
const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'no problem',
    (error: unknown) => (error instanceof Problem ? error.code : String(error)),
  );
let given: GivenServer;
let folder: string;
let passphraseFile: string;
/** As `init --copy` writes it: the key and its certificate in one text. */
let offline: string;
let serial: string;
const named = (name: string): string => join(folder, name);
const openAlarms = async () => (await given.serving.backend.custody.fleet()).alarms.map(({ code, detail }) => `${code}: ${detail}`);

beforeAll(async () => {
  given = await givenServer();
  folder = scratch('sparekey-timer');
  const mac = newMac();
  serial = mac.serial;
  const { identity } = await enrol(given, mac, { profile: deviceIdentity({ CN: 'A Mac', serialNumber: mac.serial }) });
  await given.client.ask('/v1/check-in', { identity, body: checkInBody(mac) });
  const sent = delivery(given, mac);
  await given.client.ask(`/v1/keys/${sent.id}`, { method: 'PUT', identity, body: sent.request });
  passphraseFile = named('passphrase');
  writeFileSync(passphraseFile, `${passphrase}\n`, { mode: 0o600 });
  offline = named('offline.txt');
  const { escrow } = folderPaths(given.dir);
  const [newest] = readEscrowCertificates(escrow);
  const both = ['key', 'certificate'].map((part) => readFileSync(join(escrow, `${newest?.digest}.${part}.pem`), 'utf8'));
  writeFileSync(offline, `some words\n${both.join('\n')}`, { mode: 0o600 });
});

describe('a backup that is encrypted', () => {
  let file: string;
  test('that is refused because there is no offline copy is an alarm at once, until there is a backup', async () => {
    expect(await codeOf(backUpCommand(undefined, { dir: given.dir, as: 'timer', into: folder, encryptTo: 'escrow' }))).toBe('OFFLINE_COPY_MISSING');
    expect(await openAlarms()).toEqual([expect.stringMatching(/^BACKUP_FAILS: .*OFFLINE_COPY_MISSING/)]);
    await backUpCommand(named('unencrypted.tar'), { dir: given.dir, as: 'ada' });
    expect(await openAlarms()).toEqual([]);
  });

  test('to the escrow key is refused where no copy of that was ever put away, and `status` says so, until somebody says or shows that there is one', async () => {
    file = named('sealed.tar.cms');
    const flags = { dir: given.dir, as: 'ada', encryptTo: 'escrow' };
    expect(await codeOf(backUpCommand(file, flags))).toBe('OFFLINE_COPY_MISSING');
    expect((await status(given.serving.backend, null)).red).toEqual([expect.stringContaining('no offline copy')]);
    expect(await codeOf(backUpCommand(named('plain.tar'), { dir: given.dir, as: 'ada', offlineCopyExists: true }))).toBe('USAGE');
    await backUpCommand(file, { ...flags, offlineCopyExists: true });
    expect((await status(given.serving.backend, null)).red).toEqual([]);
    const noted = await given.serving.backend.store.db.selectFrom('audit').select('details').where('act', '=', 'offline-copy.noted').orderBy('seq').execute();
    expect(noted).toEqual([{ details: '{"because":"said"}' }]);
  });

  test('opened with the key of the data folder is no drill: what counts needs nothing of this machine', async () => {
    // To the same certificate, named by its file.
    const { escrow } = folderPaths(given.dir);
    const same = named('same.tar.cms');
    await backUpCommand(same, { dir: given.dir, as: 'ada', encryptTo: join(escrow, `${readEscrowCertificates(escrow)[0]?.digest}.certificate.pem`) });
    const drill = async (escrowKey?: string) => {
      const { json, warnings } = await verifyBackupCommand(same, { dir: given.dir, passphraseFile, ...(escrowKey === undefined ? {} : { escrowKey }) });
      const { drill: at } = await backupDates(given.serving.backend);
      return [(json as { by: string }).by, at !== null, (warnings ?? []).length];
    };
    expect(await drill()).toEqual(['data-folder', false, 1]);
    expect(await drill(offline)).toEqual(['escrow-key', true, 0]);
    await given.serving.backend.store.write((tx) => forgetMemory(tx, 'last-drill'));
  });

  test('holds nothing in clear, is private, and opens with the offline copy and its passphrase alone: the drill', async () => {
    const bytes = readFileSync(file);
    expect([statSync(file).mode & 0o777, bytes.includes('SQLite format 3'), bytes.includes('server-secrets'), bytes.includes('PRIVATE KEY')]).toEqual([
      0o600,
      false,
      false,
      false,
    ]);
    const verified = await verifyBackup({ file, passphrase, escrowKeyFile: offline });
    expect(verified).toMatchObject({ opened: { serial }, by: 'escrow-key', macs: 1 });
    expect(await codeOf(verifyBackup({ file, passphrase: 'another one', escrowKeyFile: offline }))).toBe('PASSPHRASE_WRONG');
    // Without any key it says which is needed.
    await expect(verifyBackup({ file, passphrase })).rejects.toThrow(/--escrow-key/);
    expect(readdirSync(folder).filter((name) => name.startsWith('.'))).toEqual([]);
  });

  testWithOpenssl('opens with OpenSSL, without us', () => {
    const plain = named('opened.tar');
    openssl([
      'cms',
      '-decrypt',
      '-binary',
      '-inform',
      'DER',
      '-in',
      file,
      '-inkey',
      offline,
      '-recip',
      offline,
      '-passin',
      `pass:${passphrase}`,
      '-out',
      plain,
    ]);
    expect(execFileSync('tar', ['-tf', plain], { encoding: 'utf8' })).toContain('sparekey.sqlite');
  });

  test('to a certificate of its own opens with that key and not with the escrow key', async () => {
    const der = makeEscrowCertificate({ commonName: 'backups', privateKey: rsaPair().privateKey, years: 5, at: new Date() });
    const certificate = named('backup.pem');
    writeFileSync(certificate, pem('CERTIFICATE', der));
    const other = named('own.tar.cms');
    await backUpCommand(other, { dir: given.dir, as: 'ada', encryptTo: certificate });
    await expect(verifyBackup({ file: other, passphrase, escrowKeyFile: offline })).rejects.toThrow(/another certificate/);
    writeFileSync(certificate, 'hello');
    expect(await codeOf(backUpCommand(named('no.tar'), { dir: given.dir, as: 'ada', encryptTo: certificate }))).toBe('USAGE');
  });

  test('to a certificate of its own is drilled and restored with that key, which has a passphrase of its own or is private', async () => {
    const { privateKey } = rsaPair();
    const certificate = pem('CERTIFICATE', makeEscrowCertificate({ commonName: 'backups', privateKey, years: 5, at: new Date() }));
    writeFileSync(named('team.pem'), certificate);
    const other = named('team.tar.cms');
    await backUpCommand(other, { dir: given.dir, as: 'ada', encryptTo: named('team.pem') });
    const keyFile = (name: string, text: string, mode = 0o600): string => {
      writeFileSync(named(name), `${text}${certificate}`, { mode });
      return named(name);
    };
    const key = keyFile('team-key.txt', encryptPrivateKey(privateKey, 'the words of the team'));
    const keyPassphraseFile = named('team-passphrase');
    writeFileSync(keyPassphraseFile, 'the words of the team\n', { mode: 0o600 });
    const flags = { dir: given.dir, passphraseFile };
    const drilled = await verifyBackupCommand(other, { ...flags, key, keyPassphraseFile });
    expect(drilled).toMatchObject({ json: { by: 'key', opened: { serial } }, warnings: [], text: expect.stringContaining(`opens from it with ${key}`) });
    // Nothing of this machine was needed: it counts, and says nothing of the offline copy.
    expect((await backupDates(given.serving.backend)).drill).not.toBeNull();
    await given.serving.backend.store.write((tx) => forgetMemory(tx, 'last-drill'));
    // With the offline copy beside it, that is what opens the envelope.
    expect((await verifyBackupCommand(other, { passphraseFile, key, keyPassphraseFile, escrowKey: offline })).json).toMatchObject({ by: 'escrow-key' });
    const plain = keyFile('team-plain.txt', String(privateKey.export({ type: 'pkcs8', format: 'pem' })));
    expect((await verifyBackupCommand(other, { passphraseFile, key: plain })).json).toMatchObject({ by: 'key' });
    const restored = { as: 'ada', withoutRevocations: true, spreadDays: 7, dir: named('by-key') };
    expect((await restoreCommand(other, { ...restored, key, keyPassphraseFile })).json).toMatchObject({ keysToReplace: 1 });
    // What is not so is named.
    const refused = (more: object) => codeOf(verifyBackupCommand(other, { passphraseFile, ...more }));
    expect([
      await refused({ key, keyPassphraseFile: passphraseFile }),
      await refused({ keyPassphraseFile }),
      await refused({ key: named('team.pem') }),
      await refused({ key: keyFile('team-open.txt', String(privateKey.export({ type: 'pkcs8', format: 'pem' })), 0o644) }),
      await refused({ key: keyFile('team-other.txt', String(rsaPair().privateKey.export({ type: 'pkcs8', format: 'pem' }))) }),
    ]).toEqual(['PASSPHRASE_WRONG', 'USAGE', 'USAGE', 'FILE_TOO_OPEN', 'USAGE']);
  });

  test('names the files of its settings that it does not hold, when it is tried and when it is restored', async () => {
    const { settings } = folderPaths(given.dir);
    const before = readFileSync(settings, 'utf8');
    const plain = named('names.tar');
    const files = { certificate: '/etc/elsewhere/cert.pem', key: '/etc/elsewhere/key.pem' };
    const people = { url: 'https://key.example.org', listen: { port: 8444 }, brand: { logoFile: '/etc/elsewhere/logo.svg' } };
    writeFileSync(settings, JSON.stringify({ ...JSON.parse(before), tls: { files }, people }));
    try {
      await backUpCommand(plain, { dir: given.dir, as: 'ada' });
    } finally {
      writeFileSync(settings, before);
    }
    const wanted = [
      { setting: 'tls.files.certificate', file: files.certificate },
      { setting: 'tls.files.key', file: files.key },
      { setting: 'people.brand.logoFile', file: people.brand.logoFile },
    ];
    const tried = await verifyBackupCommand(plain, { passphraseFile });
    const made = await restoreCommand(plain, { as: 'ada', withoutRevocations: true, spreadDays: 7, dir: named('names') });
    expect(made.text).toContain('standings (lost, retired) are as they were at');
    for (const { json, text } of [tried, made]) {
      const { notInBackup } = json as { notInBackup: unknown[] };
      expect(notInBackup).toHaveLength(3);
      expect(notInBackup).toEqual(expect.arrayContaining(wanted));
      expect(text).toContain('\n  people.brand.logoFile: /etc/elsewhere/logo.svg');
    }
    // What lies in the data folder and is in the backup is not to be carried.
    expect(notInBackup({ tls: { files: folderPaths('/old').tls } }, given.dir, '/old')).toEqual([]);
    expect(notInBackup({ tls: { files: folderPaths('/old').tls } }, given.dir, '/other')).toHaveLength(2);
    expect((await verifyBackupCommand(file, { passphraseFile, escrowKey: offline })).text).not.toContain('bring them along');
  });

  test('each setting that is a file is one of those that are named: it ends in File, or is a certificate or key of tls', () => {
    for (const name of readdirSync(join(import.meta.dirname, '..', 'server')).filter((one) => one.endsWith('-settings.ts') || one === 'settings.ts'))
      for (const [, setting] of readFileSync(join(import.meta.dirname, '..', 'server', name), 'utf8').matchAll(/(\w+): file\b/g))
        expect([name, setting]).toEqual([name, expect.stringMatching(/^(\w+File|certificate|key)$/)]);
  });

  test('that was changed, cut short or added to is refused, and leaves nothing', async () => {
    const bytes = readFileSync(file);
    const bent = Buffer.from(bytes);
    bent[bytes.length >> 1] = (bent[bytes.length >> 1] ?? 0) ^ 1;
    const tag = Buffer.from(bytes);
    tag[bytes.length - 1] = (tag[bytes.length - 1] ?? 0) ^ 1;
    const spoilt = {
      bent,
      tag,
      short: bytes.subarray(0, -1),
      long: Buffer.concat([bytes, Buffer.from([0])]),
      head: bytes.subarray(0, 200),
      one: Buffer.from([0x30]),
    };
    const key = escrowKeyIn(offline, passphrase);
    const plain = named('unsealed.tar');
    for (const [name, content] of Object.entries(spoilt)) {
      const path = named(`${name}.cms`);
      writeFileSync(path, content);
      expect(() => unsealFile(path, plain, [key])).toThrow(expect.objectContaining({ code: 'BACKUP_INVALID' }));
      expect([name, existsSync(plain)]).toEqual([name, false]);
    }
    const opened: number[] = [];
    for (let at = 0; at < 700; at += 23) {
      const head = Buffer.from(bytes);
      head[at] = (head[at] ?? 0) ^ 0x55;
      writeFileSync(named('head.cms'), head);
      try {
        unsealFile(named('head.cms'), plain, [key]);
        opened.push(at);
      } catch (error) {
        expect(error).toMatchObject({ code: 'BACKUP_INVALID' });
      }
      expect(existsSync(plain)).toBe(false);
    }
    expect(opened).toEqual([]);
  });

  test('restores with the offline copy, or with the data folder that is left', async () => {
    const flags = { json: true, as: 'ada', withoutRevocations: true, spreadDays: 7, passphraseFile };
    for (const [name, key] of [
      ['by-copy', { escrowKey: offline }],
      ['by-folder', { keysIn: given.dir }],
    ] as const) {
      const { json } = await restoreCommand(file, { ...flags, ...key, dir: named(name) });
      expect(json).toMatchObject({ keysToReplace: 1 });
    }
    expect(await codeOf(restoreCommand(file, { ...flags, dir: named('none') }))).toBe('USAGE');
  });
});

describe('a backup by a timer', () => {
  test('keeps so many, removes the oldest only after the new one is whole, and touches no other file', async () => {
    const into = scratch('sparekey-into');
    for (const name of ['sparekey-20260101T000000Z.tar', 'sparekey-20260102T000000Z.tar.cms', 'sparekey-20260103T000000Z.tar', 'mine.tar'])
      writeFileSync(join(into, name), '');
    const { json } = await backUpCommand(undefined, { dir: given.dir, as: 'timer', into, keep: 3, encryptTo: 'escrow' });
    expect(json).toMatchObject({ removed: 1, encrypted: true });
    const names = readdirSync(into).sort();
    expect(names).toEqual([
      'mine.tar',
      'sparekey-20260102T000000Z.tar.cms',
      'sparekey-20260103T000000Z.tar',
      expect.stringMatching(/^sparekey-\d{8}T\d{6}Z\.tar\.cms$/),
    ]);
    expect(newestBackup(into)).toBe(join(into, names[3] ?? ''));
    expect(await codeOf(backUpCommand(undefined, { dir: given.dir, as: 'timer', into: join(into, 'nowhere') }))).toBe('USAGE');
    expect(await codeOf(backUpCommand(named('x.tar'), { dir: given.dir, as: 'timer', into }))).toBe('USAGE');
  });

  test('that meets a full disk says so, leaves nothing half done, and removes no older one', async () => {
    const mount = scratch('sparekey-full');
    const into = () => backUpInto({ dir: given.dir, folder: mount, keep: 1, actor: 'timer', encryptTo: null });
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=512k,mode=700', 'tmpfs', mount], { stdio: 'ignore' });
    } catch {
      // Who may not mount sees the same of a folder that is none.
      return expect(await codeOf(backUpInto({ dir: given.dir, folder: offline, keep: 1, actor: 'timer', encryptTo: null }))).toBe('USAGE');
    }
    try {
      writeFileSync(join(mount, 'sparekey-20260101T000000Z.tar'), Buffer.alloc(100_000));
      const before = readdirSync(mount);
      expect(await codeOf(into())).toBe('BACKUP_FAILED');
      expect(() => tryWriting(mount)).toThrow(expect.objectContaining({ code: 'DISK_FULL', kind: expect.objectContaining({ exit: 75 }) }));
      expect(readdirSync(mount)).toEqual(before);
    } finally {
      execFileSync('umount', [mount]);
    }
  });

  test('that was tried and did not open is an alarm at once, and no older one goes until one opens again', async () => {
    const into = scratch('sparekey-failed');
    const make = () => backUpInto({ dir: given.dir, folder: into, keep: 1, actor: 'timer', encryptTo: null });
    const good = named('good.tar');
    await backUp({ dir: given.dir, file: good, actor: 'ada' });
    writeFileSync(join(into, 'sparekey-20260101T000000Z.tar'), 'damaged');
    const drill = (file: string) => codeOf(verifyBackup({ file, passphrase, dir: given.dir }));
    expect(await drill(newestBackup(into))).toBe('BACKUP_INVALID');
    expect(await openAlarms()).toEqual([expect.stringMatching(/^DRILL_FAILED: sparekey-20260101T000000Z\.tar: BACKUP_INVALID/)]);
    // Whoever judges it has not made it open.
    const [alarm] = (await given.serving.backend.custody.fleet()).alarms;
    await given.serving.backend.custody.judgeAlarm({ alarmId: alarm?.id ?? '', actor: 'ada', judgement: 'seen' });
    expect(await make()).toMatchObject({ removed: 0, drillFailed: true });
    expect(await drill(good)).toBe('no problem');
    expect(await openAlarms()).toEqual([]);
    rmSync(newestBackup(into));
    expect(await make()).toMatchObject({ removed: 1, drillFailed: false });
    await given.serving.backend.store.write((tx) => forgetMemory(tx, 'last-drill'));
  });

  test('of a database whose audit or newest envelope was changed is refused, with an alarm, and pushes out no older one', async () => {
    const { store } = given.serving.backend;
    const into = scratch('sparekey-changed');
    const make = () => codeOf(backUpInto({ dir: given.dir, folder: into, keep: 1, actor: 'timer', encryptTo: null }));
    const old = join(into, 'sparekey-20260101T000000Z.tar');
    writeFileSync(old, '');
    const { id, bytes } = await store.db.selectFrom('envelope').select(['id', 'bytes']).executeTakeFirstOrThrow();
    await store.db
      .updateTable('envelope')
      .set({ bytes: Buffer.from('other') })
      .where('id', '=', id)
      .execute();
    expect(await make()).toBe('BACKUP_INVALID');
    await store.db.updateTable('envelope').set({ bytes }).where('id', '=', id).execute();
    const second = store.db.updateTable('audit').where('seq', '=', 2);
    const { actor } = await store.db.selectFrom('audit').select('actor').where('seq', '=', 2).executeTakeFirstOrThrow();
    await second.set({ actor: 'nobody' }).execute();
    expect(await make()).toBe('AUDIT_BROKEN');
    await second.set({ actor }).execute();
    expect(await openAlarms()).toEqual([expect.stringMatching(/^BACKUP_FAILS: sparekey-.*AUDIT_BROKEN/)]);
    expect([readdirSync(into), readdirSync(given.dir).filter((name) => name.startsWith('.making'))]).toEqual([[basename(old)], []]);
    expect([await make(), await openAlarms()]).toEqual(['no problem', []]);
  });

  test('takes away what a crash has left of an earlier one, in clear or not, and nothing of one that is under way', async () => {
    const into = scratch('sparekey-left');
    const dead = `.making-${2 ** 22 + 1}-0a1b2c3d.sqlite`;
    const live = `.making-${process.pid}-0a1b2c3d`;
    const ancient = `.making-${process.pid}-0a1b2c3e.sealed`;
    const before = '.sparekey-20260101T000000Z.tar.making-0a1b2c3d.sqlite';
    for (const name of [dead, live, ancient, before]) for (const folder of [into, given.dir]) writeFileSync(join(folder, name), 'x');
    for (const name of [ancient, before]) for (const folder of [into, given.dir]) utimesSync(join(folder, name), 0, 0);
    const seen: string[] = [];
    await backUpInto({
      dir: given.dir,
      folder: into,
      keep: 1,
      actor: 'timer',
      encryptTo: readEscrowCertificates(folderPaths(given.dir).escrow)[0]?.der ?? null,
    });
    for (const folder of [into, given.dir]) seen.push(...readdirSync(folder).filter((name) => name.startsWith('.')));
    expect(seen).toEqual([live, live]);
    for (const folder of [into, given.dir]) rmSync(join(folder, live));
  });

  test('takes of device-cas what is read from there; an odd name or a link to nothing is named, with what to do', async () => {
    const { deviceCas } = folderPaths(given.dir);
    const said = () => settingsCheck({ dir: given.dir, sealed: false }).then(({ json }) => (json as { mistakes: string[] }).mistakes);
    const make = (name: string) => codeOf(backUp({ dir: given.dir, file: named(name), actor: 'ada' }));
    for (const name of ['ca.pem~', 'read me.txt', '.ca.pem.swp', '.ca.pem']) writeFileSync(join(deviceCas, name), 'x');
    symlinkSync('/nowhere', join(deviceCas, 'old link'));
    expect([await said(), await make('with-leftovers.tar')]).toEqual([[], 'no problem']);
    expect(execFileSync('tar', ['-tf', named('with-leftovers.tar')], { encoding: 'utf8' })).not.toMatch(/swp|read me|~/);
    symlinkSync('/nowhere', join(deviceCas, 'gone.pem'));
    writeFileSync(join(deviceCas, 'our root.pem'), '', { mode: 0o600 });
    expect(await said()).toEqual([
      expect.stringMatching(/"gone\.pem" leads to a file that is not there: remove it/),
      expect.stringMatching(/"our root\.pem": rename it/),
    ]);
    await expect(backUp({ dir: given.dir, file: named('odd.tar'), actor: 'ada' })).rejects.toThrow(/our root\.pem/);
    for (const name of readdirSync(deviceCas)) if (!/^\d\.pem$/.test(name)) rmSync(join(deviceCas, name));
    expect(await make('again.tar')).toBe('no problem');
  });

  test('and its drill are remembered: who is late is told, once, and no more when it was done', async () => {
    const { store, clock } = given.serving.backend;
    const { backup: wanted } = given.serving.backend.settings;
    const at = (days: number) => ({ store, clock: { ...clock, now: () => clock.now() + days * day }, log: silentLog });
    await tellOfBackups(at(1), wanted);
    expect(await openAlarms()).toEqual([]);
    await tellOfBackups(at(4), wanted);
    expect(await openAlarms()).toEqual([expect.stringMatching(/^BACKUP_LATE: the last backup is of /)]);
    await tellOfBackups(at(93), wanted);
    expect((await openAlarms()).sort()).toEqual([expect.stringMatching(/^BACKUP_LATE/), 'DRILL_LATE: no drill yet']);
    const into = scratch('sparekey-drill');
    await backUpInto({ dir: given.dir, folder: into, keep: 2, actor: 'timer', encryptTo: null });
    const { json, text } = await verifyBackupCommand(undefined, { newestIn: into, dir: given.dir, passphraseFile, as: 'timer' });
    expect([json, text]).toEqual([expect.objectContaining({ by: 'backup' }), expect.stringContaining(`of ${serial}, opens from it`)]);
    await tellOfBackups(at(0), wanted);
    expect(await openAlarms()).toEqual([]);
    const said = await status(given.serving.backend, null);
    expect(said.json).toMatchObject({ lastBackupAt: expect.any(String), lastDrillAt: expect.any(String) });
    expect(said.text).toMatch(/last backup: .*; last tried: /);
    await tellOfBackups(at(4000), { warnAfterDays: null, drillEveryDays: null });
    expect(await openAlarms()).toEqual([]);
    const missing = scratch('sparekey-empty');
    expect(await codeOf(verifyBackupCommand(undefined, { newestIn: missing, passphraseFile }))).toBe('BACKUP_INVALID');
    await expect(backUp({ dir: given.dir, file: join(missing, 'no', 'x.tar'), actor: 'ada' })).rejects.toMatchObject({ code: 'USAGE' });
  });
});

describe('certificates that end', () => {
  const issued = (days: number, left: number): string => {
    const at = new Date(Date.now() - (days - left) * day);
    const ca = makeCa({ commonName: 'CA', years: 30, at });
    const publicKeyDer = newPair().publicKey.export({ type: 'spki', format: 'der' });
    return pem('CERTIFICATE', issueServerCertificate({ ca: ca.certificateDer, caKey: ca.privateKey, names: ['a.example.org'], publicKeyDer, at, days }));
  };
  const trusted = (text: string) => {
    const file = named(`trusted-${Math.random()}.pem`);
    writeFileSync(file, text);
    const fleet = { url: 'https://fleet.example.org', tokenFile: '/nowhere', trustedCertificatesFile: file, everyHours: 24, requestsPerMinute: 60 };
    const settings = readSettings(folderPaths(given.dir).settings);
    return { ...settings, coexistence: { connectors: { fleet } } } as never;
  };
  const stepAt = (text: string, now = Date.now()) =>
    endingCertificates(folderPaths(given.dir), trusted(text), now).find(({ what }) => what.startsWith('trusted for fleet'))?.step ?? null;

  test.each([
    ['of a year: not yet', 398, 61, null],
    ['at 60 days', 398, 59, 60],
    ['at 30', 398, 29, 30],
    ['at 7', 398, 6, 7],
    ['when it has ended', 398, -1, 0],
    ['of 90 days, which is renewed when 30 are left', 90, 29, null],
    ['of 90 days that was not', 90, 6, 7],
    ['of 47 days', 47, 6, 7],
    ['of 6 days, which is renewed in its last third', 6, 2, null],
    ['of 6 days that was not', 6, 0.9, 1],
  ])('%s', (_, days, left, step) => {
    expect(stepAt(issued(days, left))).toBe(step);
  });

  test('every certificate that the backend stands on is looked at', () => {
    const far = Date.now() + 40 * 365 * day;
    const whats = endingCertificates(folderPaths(given.dir), trusted(issued(90, 80)), far).map(({ what }) => what.replace(/ [(/].*| [0-9a-f]{12}$/, ''));
    expect([...new Set(whats)].sort()).toEqual([
      'CA of the agents',
      'CA of the listener',
      'certificate of the Macs’ listener',
      'device CA',
      'escrow certificate',
      'trusted for fleet',
    ]);
  });

  test('one alarm says them all, once for each step; an admin who judged it hears of the next step only', async () => {
    const { store, clock, custody } = given.serving.backend;
    const ground = { store, clock, log: silentLog };
    const ending = (step: number) => ({ what: 'device CA (/x.pem)', notAfter: Date.parse('2027-01-01'), step });
    const other = { what: 'CA of the agents (/y.pem)', notAfter: Date.parse('2027-01-02'), step: 60 };
    await tellOfCertificates(ground, [ending(60), other], []);
    await tellOfCertificates(ground, [ending(60), other], []);
    const said = (step: number) => `CERTIFICATE_ENDS: ${[ending(step), other].map(sayEnding).join('; ')}`;
    expect(await openAlarms()).toEqual([said(60)]);
    const [alarm] = (await custody.fleet()).alarms;
    await custody.judgeAlarm({ alarmId: alarm?.id ?? '', actor: 'ada', judgement: 'ordered' });
    await tellOfCertificates(ground, [ending(60), other], []);
    expect(await openAlarms()).toEqual([]);
    await tellOfCertificates(ground, [ending(30), other], []);
    expect(await openAlarms()).toEqual([said(30)]);
    await tellOfCertificates(ground, [], []);
    expect(await openAlarms()).toEqual([]);
    // The same words again, after it was well: it is told again.
    await sayAnew(ground, 'CERTIFICATE_ENDS', ['a']);
    await sayAnew(ground, 'CERTIFICATE_ENDS', []);
    await sayAnew(ground, 'CERTIFICATE_ENDS', ['a']);
    expect(await openAlarms()).toEqual(['CERTIFICATE_ENDS: a']);
    await sayAnew(ground, 'CERTIFICATE_ENDS', []);
  });

  test('`settings check` and `status` say it too', async () => {
    const file = join(folderPaths(given.dir).deviceCas, '9.pem');
    const words = /device CA \(.*9\.pem\): ends on .*, in less than 60 days/;
    const old = (days: number) => pem('CERTIFICATE', makeCa({ commonName: 'old', years: 1, at: new Date(Date.now() - days * day) }).certificateDer);
    // 65 of 365 days are left, which is not yet said.
    writeFileSync(file, old(300), { mode: 0o600 });
    expect((await status(given.serving.backend, null)).text).not.toMatch(words);
    writeFileSync(file, old(320));
    expect((await status(given.serving.backend, null)).text).toMatch(words);
    const { notes } = (await settingsCheck({ dir: given.dir, sealed: false })).json as { notes: string[] };
    expect(notes).toContainEqual(expect.stringMatching(words));
  });
});
