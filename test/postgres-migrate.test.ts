import { cpSync, existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { Problem } from '../protocol/problems.ts';
import { audit, verifyAudit } from '../server/audit.ts';
import { type Backend, openBackend } from '../server/backend.ts';
import { backUp } from '../server/backup.ts';
import { commandLine } from '../server/command-line.ts';
import { folderPaths } from '../server/data-folder.ts';
import { openDatabase } from '../server/database.ts';
import { copyIntoFile, countTables } from '../server/database-copy.ts';
import { verifyBackup } from '../server/drill.ts';
import { leave } from '../server/leaving/leave.ts';
import { silentLog } from '../server/log.ts';
import { move, moveBack } from '../server/moving.ts';
import { serve } from '../server/serve.ts';
import { holdFolder } from '../server/store/serve-lock.ts';
import { movingMark, writeMemory } from '../server/store/upkeep.ts';
import { makeDataFolder, passphrase } from './made-backend.ts';
import { postgres } from './new-database.ts';
import { freePort } from './ports.ts';
import { addressAt, makeDatabase } from './postgres-databases.ts';
import { scratch } from './scratch.ts';

// A live installation goes from its file to PostgreSQL, and back; and what the commands about the file do there.

const socket = postgres ?? '';
let dir: string;
let address: string;
let port: number;
let made = 0;
const quiet = { actor: 'grace', dryRun: false, progress: () => undefined };

async function emptyDatabase(): Promise<string> {
  made += 1;
  const name = `moved_${process.pid}_${made}`;
  // Of today's shape already, and empty: as good as one in which there is nothing, and quicker.
  await makeDatabase(socket, name, made > 1);
  return addressAt(socket, name);
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => 'no problem',
    (problem: Problem) => `${problem.code}: ${problem.detail}`,
  );
}

const inBackend = async <T>(work: (backend: Backend) => Promise<T>): Promise<T> => {
  const backend = await openBackend({ dir, passphrase: null });
  try {
    return await work(backend);
  } finally {
    await backend.close();
  }
};

/** Rows with everything that a row may have: bytes, nothing, numbers that need more than 32 bits, texts of all kinds. */
const fill = () =>
  inBackend(async ({ store, clock }) => {
    for (let n = 0; n < 3; n += 1)
      await store.write(async (tx) => {
        const at = await clock.persist(tx);
        const id = `mac-${n}`;
        await tx
          .insertInto('mac')
          .values({
            id,
            serial: `C02MOVED${n}`,
            serial_proved: 1,
            created_at: at,
            hardware_uuid: 'H',
            unreadable_count: 0,
            subject: n === 1 ? 'Zoë “ß” \\ 🌷' : null,
          })
          .execute();
        const enrolment = {
          id: `e-${n}`,
          mac_id: id,
          way: 'profile',
          serial: `C02MOVED${n}`,
          hardware_uuid: 'H',
          statement: 's',
          status: 'active',
          confirmed: 1,
        } as const;
        await tx
          .insertInto('enrolment')
          .values({ ...enrolment, public_key_digest: `d${n}`, public_key: Buffer.from([0, 255, n]), proof: Buffer.alloc(0), created_at: at })
          .execute();
        await audit(tx, { at, actor: 'Zoë', act: 'test.done', macId: id, details: { n, quote: '"\\' } });
      });
  });

const open = async () => openDatabase(address, { mayCreate: false });
const before = () => ({ bytes: readFileSync(folderPaths(dir).database) });

let first: string;
beforeAll(async () => {
  dir = join(scratch('moved'), 'data');
  port = await freePort();
  // A file, whatever the rest of this run has.
  await makeDataFolder(dir, port, { putDatabase: async () => {} });
  await fill();
  first = dir;
});
beforeEach(async () => {
  dir = join(scratch('moved'), 'data');
  cpSync(first, dir, { recursive: true });
  address = await emptyDatabase();
});
const servings: { stop(): Promise<void> }[] = [];
afterAll(async () => {
  for (const serving of servings) await serving.stop();
});

describe('a move', () => {
  test('takes every row of every table over, compared, with its audit; the folder then has the new one, and serves', async () => {
    const counted = await countTables(folderPaths(dir).database);
    const said: string[] = [];
    const moved = await move({ ...quiet, dir, to: address, progress: (table) => said.push(table) });
    expect(moved.tables.map(({ table, rows }) => ({ table, rows }))).toEqual(counted);
    expect(moved.rows).toBeGreaterThan(10);
    expect(said).toEqual(expect.arrayContaining(['mac', 'audit', 'enrolment']));
    const store = await open();
    expect(await verifyAudit(store)).toEqual({ rows: moved.auditEntries + 1, ok: true });
    const rows = await store.db
      .selectFrom('mac')
      .innerJoin('enrolment', 'enrolment.mac_id', 'mac.id')
      .select(['serial_proved', 'mac.subject', 'public_key', 'proof'])
      .orderBy('mac.id')
      .execute();
    expect(rows[1]).toEqual({ serial_proved: 1, subject: 'Zoë “ß” \\ 🌷', public_key: new Uint8Array([0, 255, 1]), proof: new Uint8Array() });
    await store.close();
    expect(readFileSync(folderPaths(dir).databaseUrl, 'utf8')).toBe(`${address}\n`);
    expect(statSync(folderPaths(dir).databaseUrl).mode & 0o777).toBe(0o600);
    const serving = await serve({ dir, passphrase, log: silentLog });
    servings.push(serving);
    const acts = await serving.backend.store.db.selectFrom('audit').select('seq').where('act', '=', 'database.moved').execute();
    expect(acts).toEqual([{ seq: moved.auditEntries + 1 }]);
    await serving.stop();
  });

  test('leaves the file as it was but for the word where it has gone; a backend on it refuses with that word', async () => {
    await move({ ...quiet, dir, to: address });
    const [there, here] = [await countTables(folderPaths(dir).database), folderPaths(dir)];
    expect(there.find(({ table }) => table === 'mac')?.rows).toBe(3);
    rmSync(here.databaseUrl);
    expect(await codeOf(openBackend({ dir, passphrase: null }))).toMatch(/^DATABASE_MOVED: postgresql:\/\/\/moved_/);
    expect(await codeOf(move({ ...quiet, dir, to: await emptyDatabase() }))).toMatch(/^DATABASE_MOVED/);
  });

  test('is tried without changing anything', async () => {
    const { bytes } = before();
    const tried = await move({ ...quiet, dir, to: address, dryRun: true });
    expect(tried).toMatchObject({ dryRun: true, auditEntries: expect.any(Number) });
    expect(readFileSync(folderPaths(dir).database).equals(bytes)).toBe(true);
    expect(existsSync(folderPaths(dir).databaseUrl)).toBe(false);
    const store = await open();
    expect(await store.db.selectFrom('mac').select('id').execute()).toEqual([]);
    await store.close();
  });

  test('is refused while a backend serves the folder, into a database that is not empty, and with a password on the command line', async () => {
    const release = holdFolder(dir);
    expect(await codeOf(move({ ...quiet, dir, to: address }))).toMatch(/^BEING_SERVED/);
    release();
    const other = await openDatabase(address);
    await other.write((tx) => audit(tx, { at: 1, actor: 'x', act: 'x.y', details: {} }));
    await other.close();
    expect(await codeOf(move({ ...quiet, dir, to: address }))).toMatch(/^MOVE_REFUSED: .* is not empty$/);
    expect(await codeOf(move({ ...quiet, dir, to: 'postgresql://a:hidden@127.0.0.1/x?sslmode=disable' }))).toMatch(
      /^USAGE: --to: .*put the address into a file/,
    );
    expect(await codeOf(openBackend({ dir, passphrase: null }).then((backend) => backend.close()))).toBe('no problem');
  });

  test.each(['before the file was marked', 'after the file was marked'])(
    'that was cut %s is refused for serving, and goes on when it is run again',
    async (when) => {
      await move({ ...quiet, dir, to: address });
      // As it was when it was cut.
      const file = await openDatabase(folderPaths(dir).database);
      const mark = await file.db.selectFrom('memory').select('value').where('name', '=', 'moved-to').executeTakeFirstOrThrow();
      const { seq, hash } = JSON.parse(mark.value) as { seq: number; hash: string };
      if (when.startsWith('before')) await file.write((tx) => tx.deleteFrom('memory').where('name', '=', 'moved-to').execute());
      await file.close();
      const store = await open();
      await store.write((tx) => writeMemory(tx, movingMark, JSON.stringify({ seq, hash })));
      await store.close();
      if (when.startsWith('before')) rmSync(folderPaths(dir).databaseUrl);
      else expect(await codeOf(openBackend({ dir, passphrase: null }))).toMatch(/^MOVE_UNFINISHED/);
      await move({ ...quiet, dir, to: address });
      await inBackend(async (backend) => {
        expect(await verifyAudit(backend.store)).toMatchObject({ ok: true });
        expect(await backend.store.db.selectFrom('audit').select('seq').where('act', '=', 'database.moved').execute()).toHaveLength(1);
      });
    },
  );

  test('is taken back as long as nothing was stored in the new one', async () => {
    await move({ ...quiet, dir, to: address });
    expect(await moveBack({ dir })).toEqual({ to: folderPaths(dir).database, given: expect.stringContaining('postgresql:///moved_') });
    await inBackend(async ({ store }) => expect(await store.db.selectFrom('mac').select('id').execute()).toHaveLength(3));
    writeFileSync(folderPaths(dir).databaseUrl, address, { mode: 0o600 });
    expect(await codeOf(openBackend({ dir, passphrase: null }))).toMatch(/^DATABASE_(TWICE|MOVED)/);
    rmSync(folderPaths(dir).databaseUrl);
    address = await emptyDatabase();
    await move({ ...quiet, dir, to: address });
    await inBackend(({ store, clock }) => store.write(async (tx) => audit(tx, { at: await clock.persist(tx), actor: 'x', act: 'x.y', details: {} })));
    expect(await codeOf(moveBack({ dir }))).toMatch(/^MOVE_REFUSED: 1 record\(s\) were written there since: .*restore/);
  });

  test('of a file into which a command writes meanwhile is refused, and the file goes on', async () => {
    const aside = new DatabaseSync(folderPaths(dir).database);
    let written = 0;
    const progress = () => {
      if (written > 0) return;
      const entry = "select max(seq) + 1, 1, 'heidi', 'enrolment.revoked', '{}', hash, 'h' from audit";
      written = Number(aside.prepare(`insert into audit (seq, at, actor, act, details, previous, hash) ${entry}`).run().changes);
    };
    expect(await codeOf(move({ ...quiet, dir, to: address, progress }))).toMatch(/^MOVE_REFUSED: something was written/);
    aside.close();
    expect(written).toBe(1);
    await inBackend(async ({ store }) =>
      expect(await store.db.selectFrom('audit').select('actor').orderBy('seq', 'desc').limit(1).executeTakeFirst()).toEqual({ actor: 'heidi' }),
    );
  });

  test('by the command, in words and as JSON', async () => {
    const out: string[] = [];
    const write = process.stdout.write.bind(process.stdout);
    process.stdout.write = ((text: string) => out.push(text) > 0) as typeof process.stdout.write;
    try {
      const run = (...more: string[]) =>
        commandLine({ argv: [process.execPath, 'sparekey-server', 'migrate', ...more], operator: 'grace', mountSites: async () => {} });
      const file = join(scratch('address'), 'url');
      writeFileSync(file, address, { mode: 0o600 });
      expect(await run('--from', folderPaths(dir).database, '--to', file, '--dry-run')).toBe(0);
      expect(await run('--dir', dir, '--to', file, '--json')).toBe(0);
    } finally {
      process.stdout.write = write;
    }
    expect(out[0]).toMatch(/^would move \d+ rows of \d+ tables from .*sparekey\.sqlite to postgresql:\/\/\/moved_/);
    const json = JSON.parse(out[1] ?? '');
    expect(json.tables.find(({ table }: { table: string }) => table === 'mac')).toEqual({
      table: 'mac',
      rows: 3,
      digest: expect.stringMatching(/^[0-9a-f]{64}$/),
    });
  });
});

describe('a folder', () => {
  test('that has a database of its own, which was not moved, is refused with another address', async () => {
    writeFileSync(folderPaths(dir).databaseUrl, address, { mode: 0o600 });
    expect(await codeOf(openBackend({ dir, passphrase: null }))).toMatch(/^DATABASE_TWICE: .*sparekey\.sqlite/);
  });

  test('of another backend is refused: its keys do not open what is there', async () => {
    await move({ ...quiet, dir, to: address });
    const stranger = join(scratch('stranger'), 'data');
    await makeDataFolder(stranger, port, { putDatabase: async () => {} });
    rmSync(folderPaths(stranger).database);
    writeFileSync(folderPaths(stranger).databaseUrl, address, { mode: 0o600 });
    const own = readdirSync(folderPaths(dir).escrow);
    const theirs = readdirSync(folderPaths(stranger).escrow);
    expect(theirs).not.toEqual(own);
    expect(await codeOf(openBackend({ dir: stranger, passphrase: null }))).toMatch(/^DATABASE_UNSUITABLE: it belongs to a backend with other escrow keys/);
  });
});

describe('on PostgreSQL', () => {
  test('`backup` makes the same file as elsewhere, with a database of SQLite in it, and it opens', async () => {
    await move({ ...quiet, dir, to: address });
    const file = join(scratch('backups'), 'backup.tar');
    const result = await backUp({ dir, file, actor: 'grace' });
    expect(result).toMatchObject({ macs: 3 });
    expect(await verifyBackup({ file, passphrase, dir })).toMatchObject({ macs: 3, auditRows: expect.any(Number) });
    await inBackend(async ({ store }) => {
      const acts = (await store.db.selectFrom('audit').select('act').orderBy('seq').execute()).map(({ act }) => act);
      expect(acts.slice(-3)).toEqual(['backup.begun', 'backup.made', 'backup.tried']);
      expect(await verifyAudit(store)).toMatchObject({ ok: true });
    });
  });

  test('everything goes out by `leave`, and into a file and back it is the same', async () => {
    await move({ ...quiet, dir, to: address });
    const out = join(scratch('left'), 'out');
    await inBackend(async (backend) => {
      expect(await leave(backend, { out, actor: 'grace', reason: 'a test', progress: () => undefined })).toMatchObject({ auditEntries: expect.any(Number) });
      const copy = join(scratch('copies'), 'copy.sqlite');
      await (await openDatabase(copy)).close();
      const there = await copyIntoFile(backend.store, copy);
      const copied = await openDatabase(copy);
      expect(await verifyAudit(copied)).toMatchObject({ ok: true, rows: there.find(({ table }) => table === 'audit')?.rows });
      await copied.close();
    });
  });
});
