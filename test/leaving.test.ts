import { createHash, randomUUID } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { RecoveryKey } from '../protocol/recovery-key.ts';
import { canonicalJson } from '../server/audit.ts';
import type { Bringing } from '../server/brought/bringing.ts';
import { checkLeft } from '../server/leaving/check.ts';
import { checkCommand, leaveCommand } from '../server/leaving/commands.ts';
import { type Leaving, leave } from '../server/leaving/leave.ts';
import type { LeavingManifest, ManifestLine } from '../server/leaving/manifest.ts';
import { given, operator } from './given.ts';
import { testWithOpenssl, tryOpenssl } from './openssl.ts';
import { runServer } from './run-server.ts';
import { scratch } from './scratch.ts';

/* Everything out again: one Mac that has replaced its key twice, keys that others brought, and envelopes that nobody could read. */

const day = 24 * 3600;
const folder = scratch('leaving');
const quiet = (): void => undefined;
const plain: string[] = [];
let it: Awaited<ReturnType<typeof given>>;
let out: string;

const into = (name: string, more: Partial<Leaving> = {}) =>
  leave(it.backend, { out: join(folder, name), actor: operator, reason: 'a test', progress: quiet, ...more });
const manifestOf = (of: string): LeavingManifest => JSON.parse(readFileSync(join(of, 'manifest.json'), 'utf8'));
const filesBelow = (of: string): string[] => readdirSync(of, { recursive: true, encoding: 'utf8' }).filter((name) => statSync(join(of, name)).isFile());
const linesOf = (serial: string): ManifestLine[] => manifestOf(out).envelopes.filter((line) => line.serial === serial);
const copyOf = (name: string): string => {
  const copy = join(folder, name);
  for (const file of filesBelow(out)) {
    mkdirSync(join(copy, file, '..'), { recursive: true, mode: 0o700 });
    writeFileSync(join(copy, file), readFileSync(join(out, file)), { mode: 0o600 });
  }
  return copy;
};

beforeAll(async () => {
  it = await given();
  await it.settle();
  const run = async (...seconds: number[]): Promise<void> => {
    for (const one of seconds) {
      it.pass(one);
      await it.checkIn();
      if (it.mac.recoveryKey) plain.push(it.mac.recoveryKey);
    }
  };
  await run(60, 60);
  await it.order();
  await run(day, 700, 700);
  it.pass(120 * day);
  await it.custody.retire();
  await it.order();
  await run(700, day, 700, 700);

  const bring = (serial: string, runId: string | null): Bringing => {
    const text = `${serial.slice(-4)}-BBBB-CCCC-DDDD-EEEE-FFFF`;
    plain.push(text);
    return { serial, key: RecoveryKey.parse(text), source: 'csv', trust: 'admin', runId, madeAt: Date.parse('2026-05-01'), actor: operator };
  };
  const runId = randomUUID();
  await it.custody.bring([bring('C02LEAVEAAAA', null), bring('C02LEAVEAAAB', runId), { ...bring('C02LEAVEAAAC', null), source: 'crypt', trust: 'none' }]);
  await it.custody.withdrawRun({ runId, actor: operator, reason: 'of last year' });

  // K1, as the device API leaves it: what nobody could read is kept.
  const { db } = it.store;
  const record = await db.selectFrom('key_record').selectAll().where('state', '=', 'held').executeTakeFirstOrThrow();
  const envelope = await db.selectFrom('envelope').selectAll().where('record_id', '=', record.id).limit(1).executeTakeFirstOrThrow();
  const bytes = Buffer.from('3003020101', 'hex');
  const id = createHash('sha256').update(bytes).digest('hex');
  await it.store.write(async (tx) => {
    await tx
      .insertInto('key_record')
      .values({ ...record, id: 'unreadable', state: 'quarantined', fingerprint: null, proved_at: null })
      .execute();
    await tx
      .insertInto('envelope')
      .values({ ...envelope, id, record_id: 'unreadable', bytes, readable: 'no' })
      .execute();
    // A Mac may say what it likes of its serial number, where no certificate proves it.
    await tx.updateTable('brought_key').set({ brought_by: '=HYPERLINK("x")' }).where('serial', '=', 'C02LEAVEAAAA').execute();
  });
  await into('out');
  out = join(folder, 'out');
});

describe('what is in the folder', () => {
  test('every envelope of every state, those that others brought too, each under the SHA-256 of its bytes', async () => {
    const manifest = manifestOf(out);
    const { db } = it.store;
    const envelopes = await db.selectFrom('envelope').select(['id', 'bytes']).execute();
    const brought = await db.selectFrom('brought_key').select(['id', 'bytes']).execute();
    expect(manifest.envelopes).toHaveLength(envelopes.length + brought.length);
    const states = manifest.envelopes.map(({ kind, state }) => `${kind} ${state}`);
    for (const state of ['record held', 'record superseded', 'record destroyed', 'record quarantined', 'brought waiting', 'brought withdrawn'])
      expect(states).toContain(state);
    for (const { file, sha256, bytes } of manifest.envelopes.filter((line) => line.file !== null)) {
      const content = readFileSync(join(out, file ?? ''));
      expect([createHash('sha256').update(content).digest('hex'), content.length]).toEqual([sha256, bytes]);
    }
    const there = new Set([...envelopes, ...brought].flatMap(({ bytes }) => (bytes ? [Buffer.from(bytes).toString('hex')] : [])));
    const files = readdirSync(join(out, 'envelopes'));
    expect(new Set(files.map((name) => readFileSync(join(out, 'envelopes', name)).toString('hex')))).toEqual(there);
    expect(manifest.envelopes.filter(({ state }) => state === 'destroyed' || state === 'withdrawn').map(({ file }) => file)).toEqual(
      expect.arrayContaining([null]),
    );
  });

  test('who the Mac is, and how that is known; when, by whom and to which certificate', () => {
    expect(linesOf(it.mac.state.serial).find(({ state }) => state === 'held')).toMatchObject({
      kind: 'record',
      hardwareUuid: it.mac.state.hardwareUuid,
      volume: expect.any(String),
      recipient: it.backend.escrowKeys.certificates[0]?.digest,
      provedAt: expect.any(String),
    });
    expect(linesOf('C02LEAVEAAAA')).toMatchObject([{ serialIs: 'said', source: 'csv (admin)', madeAt: '2026-05-01T00:00:00.000Z', state: 'waiting' }]);
    expect(linesOf('C02LEAVEAAAC')).toMatchObject([{ source: 'crypt (none)' }]);
  });

  test('nothing in plain, in any file; all of it private; nothing of the copy it was read from', () => {
    expect(new Set(plain).size).toBeGreaterThanOrEqual(5);
    const names = filesBelow(out);
    for (const name of names) {
      const content = readFileSync(join(out, name), 'latin1');
      for (const key of new Set(plain))
        for (const form of [key, key.replaceAll('-', ''), key.toLowerCase(), Buffer.from(key).toString('base64')]) expect(content).not.toContain(form);
      expect(content).not.toMatch(/BEGIN (RSA |EC )?PRIVATE KEY/);
      expect([name, statSync(join(out, name)).mode & 0o077]).toEqual([name, 0]);
    }
    const [certificate] = it.backend.escrowKeys.certificates;
    expect(names.filter((name) => !name.startsWith('envelopes/')).toSorted()).toEqual(
      [
        'OPENING.md',
        'audit.jsonl',
        `escrow/${certificate?.digest}.certificate.pem`,
        `escrow/${certificate?.digest}.key.pem`,
        'manifest.csv',
        'manifest.json',
      ].toSorted(),
    );
  });

  test('the whole audit, whose chain anybody can check; that everything went out stands in it', () => {
    let previous = '0'.repeat(64);
    const entries = readFileSync(join(out, 'audit.jsonl'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    for (const { hash, ...entry } of entries) {
      expect(entry.previous).toBe(previous);
      expect(
        createHash('sha256')
          .update(canonicalJson({ ...entry, details: canonicalJson(entry.details) }))
          .digest('hex'),
      ).toBe(hash);
      previous = hash;
    }
    expect(entries.at(-1)).toMatchObject({ act: 'leaving.begun', actor: operator, details: { reason: 'a test', folder: 'out' } });
    expect(manifestOf(out).audit).toMatchObject({ entries: entries.length, seq: entries.length, hash: previous });
  });

  test('a table that a spreadsheet takes for a table', () => {
    const rows = readFileSync(join(out, 'manifest.csv'), 'utf8').split('\r\n');
    expect(rows[0]).toMatch(/^serial,serialIs,state,provedAt,receivedAt,file,recipient,/);
    expect(rows).toHaveLength(manifestOf(out).envelopes.length + 2);
    expect(rows.filter((row) => /(^|,)[=+@]/.test(row))).toEqual([]);
  });

  test('with --check each is opened once, and what the backend could not read either is no damage', async () => {
    const { files, opened, notOpened, damaged } = await checkLeft(out, it.passphrase, quiet);
    expect({ files, notOpened, damaged }).toEqual({ files: opened + 1, notOpened: 1, damaged: [] });
    await expect(checkLeft(out, 'another passphrase', quiet)).rejects.toMatchObject({ code: 'PASSPHRASE_WRONG' });
  });

  testWithOpenssl('the instructions in OPENING.md open the key of the Mac, with OpenSSL alone', () => {
    const words = readFileSync(join(out, 'OPENING.md'), 'utf8');
    const [, command = ''] = /```\nopenssl (cms [\s\S]+?)\n```/.exec(words) ?? [];
    const [file = '', key = '', certificate = ''] = ['-in', '-inkey', '-recip'].map((option) => new RegExp(`${option} (\\S+)`).exec(command)?.[1] ?? '');
    const named = [file, key, certificate].map((path) => [path.split('/').at(-1) ?? '', readFileSync(join(out, path))] as const);
    // As it stands there, but for the folders, and for the passphrase that it would ask for.
    const args = [
      ...command
        .replace(/\\\n/g, ' ')
        .replace(/(envelopes|escrow)\//g, '')
        .trim()
        .split(/\s+/),
      '-passin',
      'stdin',
    ];
    const openWith = (envelope: Buffer) => tryOpenssl(args, { ...Object.fromEntries(named), [named[0]?.[0] ?? '']: envelope }, `${it.passphrase}\n`);
    // The agent's envelope and macOS's own, of the key that the Mac has now.
    const held = linesOf(it.mac.state.serial).flatMap(({ state, file: has }) => (state === 'held' && has !== null ? [has] : []));
    expect(held).toContain(file);
    expect(held).toHaveLength(2);
    for (const one of held) {
      const opened = openWith(readFileSync(join(out, one)));
      expect([opened.code, opened.stdout.toString('utf8').trim()]).toEqual([0, it.mac.recoveryKey]);
    }
    expect(words).toMatch(/OpenSSL 3\.0 or newer/);
    expect(words).toMatch(/Only an exit status of 0 counts/);
    // The agent's envelopes are sealed against changes too.
    const agents = linesOf(it.mac.state.serial).find(({ source, file: has }) => source === 'rotation' && has !== null);
    const bytes = readFileSync(join(out, agents?.file ?? ''));
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
    expect(openWith(bytes).code).not.toBe(0);
  });
});

describe('--check', () => {
  test('finds an envelope that was changed, one that is missing, one that was exchanged, and one too many; exit 77', async () => {
    const copy = copyOf('damaged');
    const [changed = '', missing = '', ...rest] = linesOf(it.mac.state.serial).flatMap(({ file, state }) => (file && state !== 'quarantined' ? [file] : []));
    const bytes = readFileSync(join(copy, changed));
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
    writeFileSync(join(copy, changed), bytes);
    rmSync(join(copy, missing));
    writeFileSync(join(copy, 'envelopes', 'more.cms'), 'x');
    writeFileSync(join(copy, 'audit.jsonl'), '');
    const { damaged } = await checkLeft(copy, it.passphrase, quiet);
    const serial = it.mac.state.serial;
    expect(damaged).toEqual([
      { file: 'audit.jsonl', serial: '', because: 'is not as it was written' },
      ...[
        { file: changed, serial, because: 'is not as it was written' },
        { file: missing, serial, because: 'is missing' },
      ],
      { file: 'envelopes/more.cms', serial: '', because: 'is not in the manifest' },
    ]);
    expect(rest.length).toBeGreaterThan(0);
    const said = await checkCommand({ out: copy, passphrase: it.passphrase, say: quiet });
    expect(said.exit).toBe(77);
    expect(said.text).toContain('4 damaged');

    // Damage that its digest does not show: it was damaged before it went out.
    const manifest = manifestOf(copy);
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    writeFileSync(join(copy, `envelopes/${sha256}.cms`), bytes);
    const envelopes = manifest.envelopes.map((line) => (line.file === changed ? { ...line, file: `envelopes/${sha256}.cms`, sha256 } : line));
    writeFileSync(join(copy, 'manifest.json'), JSON.stringify({ ...manifest, envelopes }));
    expect((await checkLeft(copy, it.passphrase, quiet)).damaged).toContainEqual({
      file: `envelopes/${sha256}.cms`,
      serial,
      because: 'does not open to a recovery key',
    });
  });

  test('of a folder that is none, or whose manifest leads out of it', async () => {
    const copy = copyOf('bent');
    const manifest = manifestOf(copy);
    const envelopes = manifest.envelopes.map((line) => ({ ...line, file: '../../../etc/passwd' }));
    writeFileSync(join(copy, 'manifest.json'), JSON.stringify({ ...manifest, envelopes }));
    for (const one of [copy, folder]) await expect(checkLeft(one, it.passphrase, quiet)).rejects.toMatchObject({ code: 'LEAVING_DAMAGED' });
  });

  test('needs no data folder: with the folder, the passphrase and the command alone', async () => {
    const passphraseFile = join(folder, 'passphrase');
    writeFileSync(passphraseFile, it.passphrase, { mode: 0o600 });
    const { code, stdout, stderr } = await runServer(['leave', '--out', out, '--check', '--passphrase-file', passphraseFile]);
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/^\d+ of \d+ envelope\(s\) were opened; 1 could not be read here either; 0 damaged\n$/);
    // And with one, while its backend runs.
    const elsewhere = join(folder, 'elsewhere');
    const both = ['--out', elsewhere, '--dir', it.backend.paths.dir, '--reason', 'we move', '--as', 'olga', '--json'];
    const whole = await runServer(['leave', ...both, '--check', '--passphrase-file', passphraseFile]);
    expect([whole.code, whole.json]).toMatchObject([0, { out: elsewhere, lines: manifestOf(out).envelopes.length, checked: { damaged: [] } }]);
    expect(whole.stderr).toMatch(/keep the two apart/);
  });
});

describe('a run that is cut', () => {
  test('leaves a folder that says so, and the next one goes on: what is whole stays, what is half is written again', async () => {
    const cut = join(folder, 'cut');
    let files = 0;
    const halfway = (done: number, all: number): void => {
      files = done;
      if (done > all / 2) throw new Error('the machine stops here');
    };
    await expect(into('cut', { progress: halfway })).rejects.toThrow('stops here');
    expect(existsSync(join(cut, 'INCOMPLETE'))).toBe(true);
    expect(existsSync(join(cut, 'manifest.json'))).toBe(false);
    await expect(checkLeft(cut, it.passphrase, quiet)).rejects.toMatchObject({ code: 'LEAVING_DAMAGED', detail: expect.stringMatching(/not complete/) });
    // As a power cut leaves it: half a file, and the copy of the database that it read from.
    const [half = '', whole = ''] = readdirSync(join(cut, 'envelopes')).map((name) => join(cut, 'envelopes', name));
    truncateSync(half, 10);
    writeFileSync(join(cut, '.reading.sqlite'), 'half a database');
    // Destroyed meanwhile, because its time was over.
    writeFileSync(join(cut, 'envelopes', `${'0'.repeat(64)}.cms`), 'x');
    const before = statSync(whole);
    const left = await into('cut');
    expect(files).toBeGreaterThan(2);
    expect(left.kept).toBeGreaterThan(0);
    expect(left.kept).toBeLessThan(left.files);
    expect([statSync(whole).ino, statSync(whole).mtimeMs]).toEqual([before.ino, before.mtimeMs]);
    expect(
      filesBelow(cut)
        .filter((name) => name.startsWith('envelopes/'))
        .toSorted(),
    ).toEqual(
      filesBelow(out)
        .filter((name) => name.startsWith('envelopes/'))
        .toSorted(),
    );
    expect(existsSync(join(cut, 'INCOMPLETE')) || existsSync(join(cut, '.reading.sqlite'))).toBe(false);
    expect((await checkLeft(cut, it.passphrase, quiet)).damaged).toEqual([]);
    const acts = await it.store.db.selectFrom('audit').select(['act', 'details']).where('act', 'like', 'leaving.%').orderBy('seq').execute();
    expect(acts.filter(({ details }) => JSON.parse(details).folder === 'cut').map(({ act }) => act)).toEqual([
      'leaving.begun',
      'leaving.begun',
      'leaving.made',
    ]);
  });
});

describe('is refused, and nothing is written', () => {
  test('into a folder that is not empty, is complete already, is open to others, is a file, or is nowhere', async () => {
    const mine = join(folder, 'mine');
    mkdirSync(mine, { mode: 0o700 });
    writeFileSync(join(mine, 'letter.txt'), 'mine');
    await expect(into('mine')).rejects.toMatchObject({ code: 'USAGE', detail: expect.stringMatching(/is not empty/) });
    expect(readdirSync(mine)).toEqual(['letter.txt']);
    await expect(into('out')).rejects.toMatchObject({ code: 'USAGE', detail: expect.stringMatching(/is complete/) });
    mkdirSync(join(folder, 'open'));
    chmodSync(join(folder, 'open'), 0o755);
    await expect(into('open')).rejects.toMatchObject({ code: 'FILE_TOO_OPEN' });
    await expect(into('mine/letter.txt')).rejects.toMatchObject({ code: 'USAGE', detail: expect.stringMatching(/no folder/) });
    await expect(into('nowhere/at/all')).rejects.toMatchObject({ code: 'USAGE', detail: expect.stringMatching(/no such folder/) });
    for (const inside of ['', 'escrow', 'new'])
      await expect(into('', { out: join(it.backend.paths.dir, inside) })).rejects.toMatchObject({ code: 'USAGE', detail: expect.stringMatching(/apart/) });
  });

  test('where the disk refuses to be written: the folder and the error are named, and another run goes on', async () => {
    const bad = join(folder, 'bad');
    // A name in the way says ENOTDIR to everybody, root included.
    mkdirSync(bad, { mode: 0o700 });
    for (const name of ['INCOMPLETE', 'escrow']) writeFileSync(join(bad, name), '');
    await expect(into('bad')).rejects.toMatchObject({ code: 'LEAVING_UNWRITABLE', detail: expect.stringMatching(/bad \(E[A-Z]+\)$/) });
    rmSync(join(bad, 'escrow'));
    expect((await into('bad')).files).toBe(readdirSync(join(out, 'envelopes')).length);
  });

  test('where an escrow key lies in the data folder unencrypted; where there is none, it says which offline copy is needed', async () => {
    const [certificate] = it.backend.escrowKeys.certificates;
    const file = join(it.backend.paths.escrow, `${certificate?.digest}.key.pem`);
    const whole = readFileSync(file);
    try {
      writeFileSync(file, whole.toString('utf8').replaceAll('ENCRYPTED ', ''));
      await expect(into('unencrypted')).rejects.toMatchObject({ code: 'SERVER_SETTINGS_INVALID' });
      rmSync(file);
      const said = await leaveCommand(it.backend, { out: join(folder, 'offline'), actor: operator, reason: 'x', passphrase: null, say: quiet });
      expect(said.warnings?.join('\n')).toContain(`the private key of certificate ${certificate?.digest} is not in the data folder`);
      expect(readFileSync(join(folder, 'offline', 'OPENING.md'), 'utf8')).toContain(`offline copy that was made with them:\n\n- ${certificate?.digest}`);
    } finally {
      rmSync(file, { force: true });
      writeFileSync(file, whole, { mode: 0o600 });
    }
  });
});
