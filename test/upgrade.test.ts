import { cpSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { Problem } from '../protocol/problems.ts';
import { unpackBackup } from '../server/archive.ts';
import { audit, verifyAudit } from '../server/audit.ts';
import { openBackend } from '../server/backend.ts';
import { type FolderPaths, folderPaths } from '../server/data-folder.ts';
import { openDatabase, schemaOf } from '../server/database.ts';
import { restore } from '../server/restore.ts';
import { openFolderDatabase } from '../server/upgrade.ts';
import { copyFor, upgradeCopies } from '../server/upgrade-copies.ts';
import { makeDataFolder } from './made-backend.ts';
import { scratch } from './scratch.ts';

const folder = scratch('sparekey-upgrade');
const made = join(folder, 'made');
const problemOf = (work: Promise<unknown>): Promise<Problem> =>
  work.then(
    () => new Problem('SERVER_BUG', 'no problem'),
    (error: unknown) => (error instanceof Problem ? error : new Problem('SERVER_BUG', String(error))),
  );

/** As many migrations as this program has. */
let newest: number;
beforeAll(async () => {
  await makeDataFolder(made, 8443);
  newest = schemaOf(folderPaths(made).database);
});

/** A data folder as a release with the first `schema` migrations would have left it: the same files, a database of its own. */
async function folderOf(schema: number): Promise<FolderPaths> {
  const dir = join(folder, `schema-${schema}-${Math.random().toString(36).slice(2, 8)}`);
  cpSync(made, dir, { recursive: true, filter: (path) => !/sparekey\.sqlite/.test(path) });
  const paths = folderPaths(dir);
  const store = await openDatabase(paths.database, { schema });
  await store.write(async (tx) => {
    await tx
      .insertInto('memory')
      .values([
        { name: 'of-before', value: 'x' },
        { name: 'clock', value: String(Date.now()) },
      ])
      .execute();
    await audit(tx, { at: Date.now(), actor: 'ada', act: 'server.made', details: {} });
  });
  await store.close();
  return paths;
}

describe('a database of each earlier release', () => {
  test('is brought to today’s shape by any command, with a copy of everything before, named in the audit', async () => {
    expect(newest).toBeGreaterThan(3);
    for (let schema = 1; schema < newest; schema += 1) {
      const paths = await folderOf(schema);
      const backend = await openBackend({ dir: paths.dir, passphrase: null });
      try {
        expect((await backend.store.db.selectFrom('memory').select('name').where('name', '=', 'of-before').execute()).length).toBe(1);
        expect(await verifyAudit(backend.store)).toEqual({ rows: 2, ok: true });
        const [copy] = upgradeCopies(paths.dir);
        const { details } = await backend.store.db.selectFrom('audit').select('details').where('act', '=', 'database.upgraded').executeTakeFirstOrThrow();
        expect(JSON.parse(details)).toEqual({ from: schema, to: newest, copy: copy?.path.split('/').at(-1) });
        expect(statSync(copy?.path ?? '').mode & 0o777).toBe(0o600);
        const out = join(folder, `unpacked-${schema}`);
        mkdirSync(out);
        unpackBackup(copy?.path ?? '', out);
        expect(schemaOf(folderPaths(out).database)).toBe(schema);
      } finally {
        await backend.close();
      }
      // Once: what is opened again has its shape.
      await (await openFolderDatabase(paths)).close();
      expect(upgradeCopies(paths.dir)).toHaveLength(1);
      expect(schemaOf(paths.database)).toBe(newest);
    }
  });

  test('goes back by the copy: the older program refuses, names it, and restores from it what was there before', async () => {
    const paths = await folderOf(2);
    await (await openFolderDatabase(paths)).close();
    const copy = copyFor(paths.dir, 2) ?? '';
    const before = readFileSync(paths.database);
    const refused = await problemOf(openDatabase(paths.database, { schema: 2 }));
    expect([refused.code, refused.detail]).toEqual(['DATABASE_TOO_NEW', expect.stringContaining(`sparekey-server restore ${copy}`)]);
    expect(readFileSync(paths.database).equals(before)).toBe(true);
    // A program that is older still knows no copy that it could read.
    expect((await problemOf(openDatabase(paths.database, { schema: 1 }))).detail).toContain('there is no copy');
    const dir = join(folder, 'restored');
    await restore({ file: copy, dir, revocationsFile: null, spreadDays: 7, actor: 'ada' });
    const store = await openDatabase(folderPaths(dir).database);
    expect(await store.db.selectFrom('memory').select('name').where('name', '=', 'of-before').execute()).toHaveLength(1);
    await store.close();
  });

  test('stays as it is where the copy cannot be made', async () => {
    const paths = await folderOf(3);
    // Somebody put a file where the copies go.
    writeFileSync(join(paths.dir, 'before-upgrades'), '');
    const { code, detail } = await problemOf(openBackend({ dir: paths.dir, passphrase: null }));
    expect([code, detail]).toEqual(['UPGRADE_COPY_FAILED', expect.stringContaining('DATA_FOLDER_UNWRITABLE')]);
    expect(schemaOf(paths.database)).toBe(3);
  });

  test('keeps three copies, and leaves nothing half made beside them', async () => {
    const paths = await folderOf(1);
    for (let schema = 1; schema < newest; schema += 1) await (await openDatabase(paths.database, { schema })).close();
    mkdirSync(join(paths.dir, 'before-upgrades'), { mode: 0o700 });
    for (const day of ['01', '02', '03', '04']) writeFileSync(join(paths.dir, 'before-upgrades', `schema-1-202611${day}T000000Z.tar`), '');
    await (await openFolderDatabase(paths)).close();
    const names = readdirSync(join(paths.dir, 'before-upgrades'));
    expect(names).toHaveLength(3);
    expect(names.every((name) => /^schema-\d+-\d{8}T\d{6}Z\.tar$/.test(name))).toBe(true);
    expect(names).not.toContain('schema-1-20261101T000000Z.tar');
  });
});
