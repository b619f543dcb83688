import { createPrivateKey, generateKeyPairSync } from 'node:crypto';
import { chownSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { sql } from 'kysely';
import { Problem } from '../protocol/problems.ts';
import { audit, verifyAudit } from '../server/audit.ts';
import { issueServerCertificate, makeCa, pem } from '../server/certificates.ts';
import { openDatabase } from '../server/database.ts';
import { readPlace } from '../server/database-url.ts';
import { databaseAddress } from '../server/settings.ts';
import { freePort } from './ports.ts';
import * as databases from './postgres-databases.ts';
import { startPostgres } from './postgres-server.mjs';
import { scratch } from './scratch.ts';

// What only PostgreSQL has, at a server of this file's own: it is stopped, killed and started again, and speaks TLS.

let server: ReturnType<typeof startPostgres>;
let port: number;
let caFile: string;
let made = 0;
const name = () => `own_${++made}`;

const asOwner: <T>(work: Parameters<typeof databases.asOwner<T>>[1]) => Promise<T> = (work) => databases.asOwner(server.socket, work, 'postgres', port);
const addressOf = (database: string, query?: string): string => databases.addressAt(server.socket, database, query, port);

async function empty(): Promise<string> {
  const database = name();
  await asOwner((client) => client.query(`create database ${database}`));
  return database;
}
const entry = (n: number) => ({ at: n, actor: 'a test', act: 'test.done', details: { n } });

async function problemOf(work: Promise<unknown>): Promise<Problem> {
  const error = await work.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof Problem)) throw new Error(`no problem: ${String(error)}`);
  return error;
}
const wordsOf = (problem: Problem): string => `${problem.code}: ${problem.detail}`;

beforeAll(async () => {
  port = await freePort();
  server = startPostgres({ listen_addresses: '127.0.0.1', port: String(port) });
  const folder = scratch('postgres');
  const ca = makeCa({ commonName: 'A test', years: 1, at: new Date() });
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const publicKeyDer = publicKey.export({ type: 'spki', format: 'der' });
  const der = issueServerCertificate({ ca: ca.certificateDer, caKey: ca.privateKey, names: ['127.0.0.1'], publicKeyDer, at: new Date(), days: 30 });
  caFile = join(folder, 'ca.pem');
  writeFileSync(caFile, pem('CERTIFICATE', ca.certificateDer));
  const [certificate, key] = [join(server.data, 'server.crt'), join(server.data, 'server.key')];
  writeFileSync(certificate, pem('CERTIFICATE', der));
  writeFileSync(key, createPrivateKey(privateKey.export({ type: 'pkcs8', format: 'pem' })).export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
  if (process.getuid?.() === 0) for (const file of [certificate, key]) chownSync(file, 65_534, 65_534);
  const rules = join(server.data, 'pg_hba.conf');
  writeFileSync(rules, `host all locked 127.0.0.1/32 scram-sha-256\n${readFileSync(rules, 'utf8')}`);
  await asOwner(async (client) => {
    await client.query("create role locked login password 'tulips-and-onions'");
    await client.query('grant create on schema public to locked');
    await client.query("create role single login password 'tulips' connection limit 1");
    await client.query('alter system set ssl = on');
    await client.query('select pg_reload_conf()');
  });
});
afterAll(() => server.end());

describe('the address', () => {
  test.each([
    ['postgresql://sparekey:s%2Fecret@db.example.org/keys', { host: 'db.example.org', port: 5432, database: 'keys', user: 'sparekey', password: 's/ecret' }],
    ['postgres://a@127.0.0.1:6000/b?sslmode=disable', { host: '127.0.0.1', port: 6000, tls: null, connections: 10, statementMilliseconds: 30_000 }],
    [
      'postgresql://a@%2Frun%2Fpostgresql/b?pool=20&statement_timeout=5000',
      { host: '/run/postgresql', tls: null, connections: 20, statementMilliseconds: 5000 },
    ],
    ['postgresql://a@[2001:db8::1]:5433/b', { host: '2001:db8::1', port: 5433 }],
  ])('%s is read', (address, place) => expect(readPlace(address)).toMatchObject(place));

  test.each([
    ['mysql://a@b/c', 'postgresql://'],
    ['postgresql://a@b/', 'names no database'],
    ['postgresql:///b', 'names no host'],
    ['postgresql://b.example.org/c', 'names no user'],
    ['postgresql://a:hidden@b/c?sslmode=disable', 'on this machine'],
    ['postgresql://a:hidden@b/c?sslmode=require', 'verify-full'],
    ['postgresql://a:hidden@b/c?sslmode=no-verify', 'verify-full'],
    ['postgresql://a:hidden@b/c?target=x', '"target": there is no such parameter'],
    ['postgresql://a:hidden%zz@b/c', 'is written %25'],
    ['postgresql://a:hidden@b/c?pool=1', 'pool is a whole number'],
    ['postgresql://a:hidden@b/c?sslrootcert=/nowhere', '/nowhere cannot be read'],
  ])('%s is refused, and no password is said', (address, words) => {
    const problem = (() => {
      try {
        return readPlace(address);
      } catch (error) {
        return error as Problem;
      }
    })();
    expect(problem).toMatchObject({ code: 'SERVER_SETTINGS_INVALID', detail: expect.stringContaining(words) });
    expect(JSON.stringify(problem)).not.toContain('hidden');
  });

  test('comes from the environment, from a file that it names, or from the data folder', () => {
    const folder = scratch('address');
    expect(databaseAddress(folder, {})).toBeNull();
    const file = join(folder, 'elsewhere');
    writeFileSync(file, 'postgresql://a:b@c/d\n', { mode: 0o600 });
    expect(databaseAddress(folder, { SPAREKEY_DATABASE_URL: file })).toBe('postgresql://a:b@c/d');
    expect(databaseAddress(folder, { SPAREKEY_DATABASE_URL: 'postgresql://e@f/g' })).toBe('postgresql://e@f/g');
    writeFileSync(join(folder, 'database-url'), 'postgresql://own@c/d', { mode: 0o600 });
    expect(databaseAddress(folder, {})).toBe('postgresql://own@c/d');
    expect(() => databaseAddress(folder, { SPAREKEY_DATABASE_URL: 'sparekey.sqlite' })).toThrow(expect.objectContaining({ code: 'SERVER_SETTINGS_INVALID' }));
  });
});

describe('a database', () => {
  test('of another collation or encoding is refused, with the words that make a right one', async () => {
    const database = name();
    await asOwner((client) => client.query(`create database ${database} template template0 locale_provider icu icu_locale 'und'`));
    const problem = await problemOf(openDatabase(addressOf(database)));
    expect(wordsOf(problem)).toMatch(new RegExp(`^DATABASE_UNSUITABLE: .*CREATE DATABASE ${database} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'$`));
    const right = name();
    await asOwner((client) => client.query(`create database ${right} template template0 encoding 'UTF8' locale 'C'`));
    await (await openDatabase(addressOf(right))).close();
  });

  test('that is empty is filled only where a new backend is made', async () => {
    const address = addressOf(await empty());
    expect((await problemOf(openDatabase(address, { mayCreate: false }))).code).toBe('DATABASE_EMPTY');
    await (await openDatabase(address)).close();
    await (await openDatabase(address, { mayCreate: false })).close();
  });

  test('of an older schema is brought to today’s, once, however many backends start; one of a newer schema is refused', async () => {
    const address = addressOf(await empty());
    const older = await openDatabase(address, { schema: 4 });
    await older
      .write((tx) =>
        audit(tx as never, entry(1))
          .catch(() => sql`select 1`.execute(tx))
          .then(() => undefined),
      )
      .catch(() => undefined);
    const upgrades: string[] = [];
    const open = () => openDatabase(address, { afterUpgrade: (from, to) => upgrades.push(`${from > 0} ${to > from}`) });
    const several = await Promise.all([open(), open(), open()]);
    expect(upgrades).toEqual(['true true']);
    // What is older goes on beside it.
    expect(await older.db.selectFrom('memory').select('name').execute()).toEqual([]);
    expect(wordsOf(await problemOf(openDatabase(address, { schema: 3 })))).toMatch(/^DATABASE_TOO_NEW: .*this program knows 3$/);
    for (const store of [older, ...several]) await store.close();
  });

  test('of which a migration fails stays as it was', async () => {
    const address = addressOf(await empty());
    const store = await openDatabase(address, { schema: 2 });
    await sql`create table import_run (other integer)`.execute(store.db);
    await expect(openDatabase(address)).rejects.toThrow(/already exists/);
    await sql`drop table import_run`.execute(store.db);
    await store.close();
    const now = await openDatabase(address);
    expect(await now.db.selectFrom('ring').selectAll().execute()).toEqual([]);
    await now.close();
  });

  test('gives numbers and bytes as SQLite does, and no number that is not exact', async () => {
    const store = await openDatabase(addressOf(await empty()));
    await store.write((tx) => tx.insertInto('brought_block').values({ digest: 'd', serial: 's', envelope_id: 'e' }).execute());
    const sums = await sql<{
      n: number;
      s: number;
      b: Uint8Array;
    }>`select count(*) as n, sum(cast(4 as bigint)) as s, '\\x0102'::bytea as b from brought_block`.execute(store.db);
    expect(sums.rows).toEqual([{ n: 1, s: 4, b: new Uint8Array([1, 2]) }]);
    await expect(sql`select cast(9007199254740993 as bigint) as n`.execute(store.db)).rejects.toThrow(RangeError);
    await store.close();
  });
});

describe('a user who is refused, a server that is not there', () => {
  test.each([
    ['a wrong password', () => `postgresql://locked:onions-and-tulips@127.0.0.1:${port}/postgres?sslmode=disable`, 'it refuses the user or the password'],
    ['no password', () => `postgresql://locked@127.0.0.1:${port}/postgres?sslmode=disable`, 'it refuses the user or the password'],
    ['no such database', () => `postgresql://sparekey:onions-and-tulips@127.0.0.1:${port}/nowhere?sslmode=disable`, 'there is no such database'],
    ['nobody there', () => 'postgresql://locked:onions-and-tulips@127.0.0.1:1/postgres?sslmode=disable', 'it cannot be reached (ECONNREFUSED)'],
    [
      'a certificate for another name',
      () => `postgresql://locked:onions-and-tulips@localhost:${port}/postgres?sslrootcert=${caFile}`,
      'its certificate is refused (ERR_TLS_CERT_ALTNAME_INVALID)',
    ],
    ['more connections than the role may have', () => `postgresql://single:tulips@127.0.0.1:${port}/postgres?sslmode=disable`, 'it has too many connections'],
    ['a CA that is not known', () => `postgresql://locked:onions-and-tulips@127.0.0.1:${port}/postgres`, 'its certificate is refused'],
  ])('%s: in words, without the password', async (_what, address, words) => {
    const problem = await problemOf(openDatabase(address(), { busyMilliseconds: 100 }));
    expect(problem).toMatchObject({ code: 'STORE_FAILED', detail: expect.stringContaining(words) });
    expect([problem.message, problem.detail, problem.stack, String(problem.cause), JSON.stringify(problem)].join()).not.toContain('onions-and-tulips');
  });

  test('TLS with a certificate of its own CA, and a password', async () => {
    const database = name();
    await asOwner((client) => client.query(`create database ${database} owner locked`));
    const store = await openDatabase(`postgresql://locked:tulips-and-onions@127.0.0.1:${port}/${database}?sslrootcert=${caFile}`);
    const { rows } = await sql<{ ssl: boolean; version: string }>`select ssl, version from pg_stat_ssl where pid = pg_backend_pid()`.execute(store.db);
    expect(rows).toEqual([{ ssl: true, version: 'TLSv1.3' }]);
    await store.close();
  });
});

describe('when the server', () => {
  test('is stopped in the middle of acts and started again, each act is there once, and the backend goes on by itself', async () => {
    const address = addressOf(await empty());
    const [one, other] = [await openDatabase(address, { busyMilliseconds: 60_000 }), await openDatabase(address, { busyMilliseconds: 60_000 })];
    const done: number[] = [];
    let next = 0;
    let over = false;
    const work = async (store: typeof one) => {
      while (!over) {
        next += 1;
        const n = next;
        await store
          .write(async (tx) => audit(tx, entry(n)))
          .then(
            () => done.push(n),
            // At the very end of an act nobody knows.
            (error: unknown) => expect(error).toMatchObject({ code: 'STORE_FAILED' }),
          );
      }
    };
    const working = Promise.all([work(one), work(other), work(one)]);
    const enough = async (more: number) => {
      const until = done.length + more;
      while (done.length < until) await new Promise((resolve) => setTimeout(resolve, 10));
    };
    await enough(20);
    for (const how of ['fast', 'immediate'] as const) {
      server.stop(how);
      server.start();
      await enough(20);
    }
    over = true;
    await working;
    const rows = await one.db.selectFrom('audit').select('details').orderBy('seq').execute();
    const stored = rows.map(({ details }) => (JSON.parse(details) as { n: number }).n);
    expect(new Set(stored).size).toBe(stored.length);
    expect(done.filter((n) => !stored.includes(n))).toEqual([]);
    expect(await verifyAudit(other)).toEqual({ rows: stored.length, ok: true });
    await one.close();
    await other.close();
  });

  test('was started again while nobody asked, the next question is answered', async () => {
    const store = await openDatabase(addressOf(await empty()));
    await Promise.all([1, 2, 3].map(() => store.db.selectFrom('memory').selectAll().execute()));
    server.stop('immediate');
    server.start();
    expect(await store.db.selectFrom('memory').selectAll().execute()).toEqual([]);
    await store.close();
  });

  test('stays away, acts and questions are refused in the time that is set, with its name', async () => {
    const store = await openDatabase(addressOf(await empty()), { busyMilliseconds: 300 });
    server.stop();
    try {
      for (const asked of [store.write(async (tx) => audit(tx, entry(1))), store.db.selectFrom('memory').selectAll().execute()])
        expect(wordsOf(await problemOf(asked))).toMatch(/^STORE_FAILED: postgresql:\/\/\/own_\d+: /);
    } finally {
      server.start();
    }
    await store.write(async (tx) => audit(tx, entry(2)));
    expect(await verifyAudit(store)).toEqual({ rows: 1, ok: true });
    await store.close();
  });
});

test('a question that takes too long is ended by the server', async () => {
  const store = await openDatabase(addressOf(await empty(), 'statement_timeout=1000'));
  expect(wordsOf(await problemOf(sql`select pg_sleep(60)`.execute(store.db)))).toMatch(/^STORE_FAILED: .*the database took too long$/);
  await store.close();
});

test('a question for which there is no connection waits for one as long as for a server that does not answer, and is told so', async () => {
  const store = await openDatabase(addressOf(await empty(), 'pool=2&connect_timeout=1'));
  const { promise: go, resolve: letGo } = Promise.withResolvers<void>();
  const busy = [1, 2].map(() => store.db.connection().execute(() => go));
  const problem = problemOf(store.db.selectFrom('memory').selectAll().execute());
  expect(wordsOf(await problem)).toMatch(/^STORE_FAILED: .*: all connections that this backend may have are in use \(`pool=`\)$/);
  letGo();
  await Promise.all(busy);
  expect(await store.db.selectFrom('memory').selectAll().execute()).toEqual([]);
  await store.close();
});
