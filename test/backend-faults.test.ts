import { spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { chmodSync, chownSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { Agent } from 'node:https';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { connect } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { sql } from 'kysely';
import { verifyAudit } from '../server/audit.ts';
import { readAuthority, serverCertificateDays } from '../server/authorities.ts';
import { issueServerCertificate, pem } from '../server/certificates.ts';
import { folderPaths } from '../server/data-folder.ts';
import { silentLog } from '../server/log.ts';
import { replacePrivate } from '../server/private-files.ts';
import { type ServeOptions, serve } from '../server/serve.ts';
import { checkInBody, delivery, deviceIdentity, enrol, type GivenServer, givenServer, newMac, passphrase, type TestMac } from './given-server.ts';
import { endServers, startServer } from './run-server.ts';
import { halfRows } from './server-sweep/half-rows.ts';
import { openToRead } from './server-sweep/receipts.ts';
import type { Answer, Identity } from './tls-client.ts';

/*
 * The backend where its machine fails it: the disk is full or may only be read, another process holds the database, the
 * clock steps back, certificates are renewed under load. Each fault has its words, nothing is there by halves, and what was
 * refused comes again and is taken.
 */

afterAll(endServers);

/** One backend for all: making keys is what takes time. */
let given: GivenServer;
const much = { keys: { perMinute: 1e6, burst: 1e6 } };
const { emitWarning } = process;
beforeAll(async () => {
  // That the clock is behind is said on purpose; it is tested elsewhere.
  process.emitWarning = ((...words: Parameters<typeof emitWarning>) => {
    if ((words as unknown[])[1] !== 'ServerClock') emitWarning(...words);
  }) as typeof emitWarning;
  given = await givenServer({ rates: much });
});
/** Stopped and started again, in another way. */
let inAnotherWay = false;
async function again(more: Partial<ServeOptions> = {}): Promise<void> {
  inAnotherWay = Object.keys(more).length > 0;
  await given.serving.stop();
  given.serving = await serve({ dir: given.dir, passphrase, log: silentLog, rates: much, ...more });
}
afterEach(async () => {
  if (inAnotherWay) await again();
});
afterAll(async () => {
  process.emitWarning = emitWarning;
  await given.serving.stop();
});

const day = 24 * 3_600_000;

interface Enrolled {
  mac: TestMac;
  identity: Identity;
  enrolmentId: string;
  pair: Awaited<ReturnType<typeof enrol>>['pair'];
}
const profileFor = (mac: TestMac) => deviceIdentity({ CN: 'A Mac', serialNumber: mac.serial });

async function enrolled(mac = newMac()): Promise<Enrolled> {
  const { identity, enrolmentId, pair } = await enrol(given, mac, { profile: profileFor(mac) });
  await given.client.ask('/v1/check-in', { identity, body: checkInBody(mac) });
  return { mac, identity, enrolmentId, pair };
}
const put = (identity: Identity, sent: ReturnType<typeof delivery>, agent?: Agent): Promise<Answer> =>
  given.client.ask(`/v1/keys/${sent.id}`, { method: 'PUT', identity, body: sent.request, ...(agent ? { agent } : {}) });
const whole = async (): Promise<void> => {
  expect(await verifyAudit(given.serving.backend.store)).toMatchObject({ ok: true });
  const database = openToRead(folderPaths(given.dir).database);
  expect(halfRows(database)).toEqual([]);
  database.close();
};
const stored = async (id: string): Promise<number> =>
  (await given.serving.backend.store.db.selectFrom('envelope').select('id').where('id', '=', id).execute()).length;

describe('a full disk', () => {
  test('a delivery is refused with 503 and a fix, nothing of it is there, and the same bytes are taken once there is room', async () => {
    const one = await enrolled();
    const before = delivery(given, one.mac);
    expect((await put(one.identity, before)).status).toBe(201);
    const { db } = given.serving.backend.store;
    const { page_count: pages } = (await sql.raw<{ page_count: number }>('pragma page_count').execute(db)).rows[0] ?? { page_count: 0 };
    await sql.raw(`pragma max_page_count = ${pages}`).execute(db);
    const refused: Answer[] = [];
    const sent = Array.from({ length: 8 }, () => delivery(given, one.mac, { source: 'agent' }));
    for (const each of sent) refused.push(await put(one.identity, each));
    const full = refused.filter(({ status }) => status !== 201);
    expect(full.length).toBeGreaterThan(0);
    for (const answer of full) {
      expect([answer.status, answer.body.code, answer.body.detail]).toEqual([503, 'STORE_FAILED', 'the disk is full']);
      expect(answer.body.fix).toMatch(/nothing is lost, the Mac repeats it/);
    }
    await whole();
    await sql.raw('pragma max_page_count = 1000000').execute(db);
    for (const each of sent) expect([200, 201]).toContain((await put(one.identity, each)).status);
    for (const each of [before, ...sent]) expect(await stored(each.id)).toBe(1);
    await whole();
  });

  const hasPrlimit = process.platform === 'linux' && spawnSync('prlimit', ['--version']).status === 0;
  /** What the kernel lets a process write to one file: the nearest to a full disk that needs no mount and no rights. */
  const limitFiles = (pid: number, bytes: number | 'unlimited') => spawnSync('prlimit', ['--pid', String(pid), `--fsize=${bytes}:`]).status;
  const withPrlimit = hasPrlimit ? test : test.skip;

  withPrlimit('of the running process: it says so to whoever asks, lives on, and takes everything when there is room again', async () => {
    const one = await enrolled();
    const before = delivery(given, one.mac);
    expect((await put(one.identity, before)).status).toBe(201);
    await given.serving.stop();
    const process_ = startServer(['serve', '--dir', given.dir], { passphrase });
    await process_.ready();
    const pid = process_.child.pid ?? 0;
    expect(limitFiles(pid, 4096)).toBe(0);
    const sent = delivery(given, one.mac, { source: 'agent' });
    const refused = await put(one.identity, sent);
    expect([refused.status, refused.body.code]).toEqual([503, 'STORE_FAILED']);
    // What is only read is answered: a delivery that it has already, for one.
    expect((await put(one.identity, before)).status).toBe(200);
    expect(limitFiles(pid, 'unlimited')).toBe(0);
    expect((await put(one.identity, sent)).status).toBe(201);
    expect((await put(one.identity, sent)).status).toBe(200);
    process_.child.kill('SIGTERM');
    expect((await process_.ended).code).toBe(0);
    await again();
    await whole();
  });

  withPrlimit('at the start: it is refused with what to do, before anything is changed', async () => {
    await given.serving.stop();
    const before = readFileSync(folderPaths(given.dir).database);
    const { PATH = '' } = process.env;
    const { execPath } = process;
    const main = new URL('../server/main.ts', import.meta.url).pathname;
    const args = ['--fsize=65536', execPath, main, 'serve', '--dir', given.dir, '--passphrase-fd', '0'];
    const { status, stdout, stderr } = spawnSync('prlimit', args, { input: `${passphrase}\n`, encoding: 'utf8', env: { PATH } });
    expect([status, stdout]).toEqual([78, '']);
    expect(stderr).toMatch(/error: the data folder of the backend cannot be written: .*data \(EFBIG\)/);
    expect(stderr).toMatch(/fix: make room on its disk/);
    expect(readFileSync(folderPaths(given.dir).database).equals(before)).toBe(true);
    expect(readdirSync(given.dir)).not.toContain('.writable');
  });
});

describe('a data folder that may only be read', () => {
  /** Root writes wherever it likes: as root this is shown with another user's process. */
  const nobody = 65_534;
  const isRoot = process.getuid?.() === 0;
  const everything = (folder: string): string[] =>
    readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .map((name) => join(folder, name))
      .concat(folder);

  test('at the start: serve and every command refuse with the folder’s name and what to do; nothing is changed', async () => {
    await given.serving.stop();
    const { dir } = given;
    // The folder above is private too: where another user is to look, it has to be let through.
    chmodSync(join(dir, '..'), 0o755);
    for (const path of everything(dir)) {
      if (isRoot) chownSync(path, nobody, nobody);
      chmodSync(path, statSync(path).isDirectory() ? 0o500 : 0o400);
    }
    const main = new URL('../server/main.ts', import.meta.url).pathname;
    const as = isRoot ? { uid: nobody, gid: nobody } : {};
    const run = (...args: string[]) =>
      spawnSync(process.execPath, [main, ...args, '--dir', dir], { encoding: 'utf8', env: { PATH: '/' }, input: `${passphrase}\n`, ...as });
    const served = run('serve', '--passphrase-fd', '0');
    expect([served.status, served.stdout]).toEqual([78, '']);
    expect(served.stderr).toMatch(/error: the data folder of the backend cannot be written: .*data \(EACCES\)/);
    expect(served.stderr).toMatch(/fix: .*mount it writable/);
    const rotated = run('rotate', 'C02X', '--reason', 'a test');
    expect([rotated.status, rotated.stderr]).toEqual([78, expect.stringMatching(/cannot be written: .*sparekey\.sqlite \(EACCES\)/)]);
    for (const path of everything(dir)) {
      chmodSync(path, statSync(path).isDirectory() ? 0o700 : 0o600);
      if (isRoot) chownSync(path, 0, 0);
    }
    await again();
    await whole();
  });

  test('while it runs: 503 with its words, questions are answered, and it goes on when it may write again', async () => {
    const one = await enrolled();
    const before = delivery(given, one.mac);
    await put(one.identity, before);
    const { db } = given.serving.backend.store;
    await sql.raw('pragma query_only = on').execute(db);
    const sent = delivery(given, one.mac, { source: 'agent' });
    const refused = await put(one.identity, sent);
    expect([refused.status, refused.body.code, refused.body.detail]).toEqual([503, 'STORE_FAILED', 'the database cannot be written']);
    expect((await put(one.identity, before)).status).toBe(200);
    await sql.raw('pragma query_only = off').execute(db);
    expect((await put(one.identity, sent)).status).toBe(201);
    await whole();
  });
});

describe('a database that another process holds', () => {
  const hold = () => {
    const other = new DatabaseSync(folderPaths(given.dir).database);
    other.exec('begin exclusive');
    return () => {
      other.exec('rollback');
      other.close();
    };
  };

  test('for a while: the request waits and is then answered; everybody else’s questions are answered meanwhile', async () => {
    const one = await enrolled();
    const other = await enrolled();
    const before = delivery(given, other.mac);
    await put(other.identity, before);
    // Nobody gives up by himself here, however slow the machine is.
    await again({ busyMilliseconds: 3_600_000 });
    const letGo = hold();
    const sent = delivery(given, one.mac, { source: 'agent' });
    let answered = false;
    const waiting = put(one.identity, sent).finally(() => {
      answered = true;
    });
    // The event loop is not asleep: this is asked, and answered, while that one waits.
    for (let turn = 0; turn < 5; turn += 1) expect((await put(other.identity, before)).status).toBe(200);
    expect(answered).toBe(false);
    letGo();
    expect((await waiting).status).toBe(201);
    await whole();
  });

  test('for longer: 503 within the time that is set, nothing is there by halves, and the same delivery is taken afterwards', async () => {
    const one = await enrolled();
    const minute = 60_000;
    await again({ busyMilliseconds: 5 * minute });
    const letGo = hold();
    const sent = [1, 2, 3].map(() => delivery(given, one.mac, { source: 'agent' }));
    let came = 0;
    const asked = [
      ...sent.map((each) => put(one.identity, each)),
      given.client.ask('/v1/check-in', { identity: one.identity, body: checkInBody(one.mac) }),
    ].map((answer) => answer.finally(() => (came += 1)));
    // Its own time passes: a minute with each look.
    const now = performance.now.bind(performance);
    let passed = 0;
    jest.spyOn(performance, 'now').mockImplementation(() => now() + passed);
    const cameAfter: number[] = [];
    for (; came < asked.length; passed += minute) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      while (cameAfter.length < came) cameAfter.push(passed);
    }
    const answers = await Promise.all(asked);
    for (const answer of answers) expect([answer.status, answer.body.code, answer.body.detail]).toEqual([503, 'STORE_FAILED', 'the database is busy']);
    // Where nothing is set it is ten seconds.
    expect(Math.min(...cameAfter)).toBeGreaterThanOrEqual(5 * minute);
    letGo();
    for (const each of sent) expect((await put(one.identity, each)).status).toBe(201);
    await whole();
  });
});

test('the machine’s clock steps back by a day, and again over a restart: receipts and holds do not go back, and time goes on', async () => {
  const one = await enrolled();
  const start = Date.now();
  let wall = start;
  const run = () => again({ wallNow: () => wall });
  await run();
  const receipts: number[] = [];
  const deliver = async () => {
    const answer = await put(one.identity, delivery(given, one.mac, { source: 'agent' }));
    expect(answer.status).toBe(201);
    receipts.push(Date.parse(answer.body.receivedAt));
  };
  const hold = async () => (await given.client.ask('/v1/check-in', { identity: one.identity, body: checkInBody(one.mac) })).body.hold;
  await deliver();
  const { custody } = given.serving.backend;
  await custody.disclose({ macId: await custody.findMac(one.mac.serial), actor: 'ada', reason: 'locked out' });
  const before = await hold();
  wall = start - 24 * 3_600_000;
  await deliver();
  const after = await hold();
  expect([after.since, after.until]).toEqual([before.since, before.until]);
  wall -= 3_600_000;
  await run();
  await deliver();
  const restarted = await hold();
  expect([restarted.since, restarted.until]).toEqual([before.since, before.until]);
  wall = start + 60_000;
  await deliver();
  expect(receipts).toEqual([...receipts].sort((a, b) => a - b));
  expect(receipts.at(-1)).toBe(start + 60_000);
  await whole();
});

describe('certificates are renewed under load', () => {
  /** Deliveries of one Mac one after another, each repeated until it has a receipt, by whatever identity is its own then. */
  async function load(identityOf: () => Identity, mac: TestMac, until: () => boolean, agent?: Agent): Promise<{ receipts: string[]; refused: Set<string> }> {
    const receipts: string[] = [];
    const refused = new Set<string>();
    while (!until() || receipts.length < 2) {
      const sent = delivery(given, mac, { source: 'agent' });
      for (;;) {
        const answer = await put(identityOf(), sent, agent);
        if (answer.status === 201 || answer.status === 200) break;
        refused.add(answer.body.code);
      }
      receipts.push(sent.id);
      // Load enough, and a processor left for others.
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    return { receipts, refused };
  }

  test('of Macs: each goes on with its new certificate, and nothing that it delivered before, meanwhile or after is lost', async () => {
    const macs = await Promise.all([1, 2, 3, 4].map(() => enrolled()));
    let done = false;
    const running = macs.map((one) => {
      const state = { identity: one.identity };
      const course = load(
        () => state.identity,
        one.mac,
        () => done,
      );
      const renew = async () => {
        const next = await enrol(given, one.mac, {
          profile: profileFor(one.mac),
          continues: { enrolmentId: one.enrolmentId, privateKey: one.pair.privateKey },
        });
        expect([next.answer.status, next.enrolmentId]).toEqual([200, one.enrolmentId]);
        // Its first use ends the old one, while a delivery by that may be under way.
        expect((await given.client.ask('/v1/check-in', { identity: next.identity, body: checkInBody(one.mac) })).status).toBe(200);
        state.identity = next.identity;
      };
      return { course, renew, old: one.identity, mac: one.mac };
    });
    await Promise.all(running.map(({ renew }) => renew()));
    done = true;
    for (const { course, old, mac } of running) {
      const { receipts, refused } = await course;
      expect(receipts.length).toBeGreaterThan(1);
      expect([...refused].filter((code) => code !== 'CERTIFICATE_REPLACED')).toEqual([]);
      for (const id of receipts) expect(await stored(id)).toBe(1);
      expect((await given.client.ask('/v1/check-in', { identity: old, body: checkInBody(mac) })).body.code).toBe('CERTIFICATE_REPLACED');
    }
    await whole();
  });

  test('of the listener: no delivery fails, a connection that stands stays, and new ones see the new certificate', async () => {
    const paths = folderPaths(given.dir);
    const old = new X509Certificate(readFileSync(paths.tls.certificate));
    const ca = readAuthority(paths.tlsCa);
    // The server's own time: the test before this one may have left it ahead of the machine's.
    const now = given.serving.backend.clock.now();
    // A minute before a third of its life is left.
    const begun = now - serverCertificateDays * (2 / 3) * day + 60_000;
    const der = issueServerCertificate({
      ca: ca.der,
      caKey: ca.key,
      names: ['127.0.0.1'],
      publicKeyDer: old.publicKey.export({ type: 'spki', format: 'der' }),
      at: new Date(begun),
      days: serverCertificateDays,
    });
    replacePrivate(paths.tls.certificate, pem('CERTIFICATE', der) + pem('CERTIFICATE', ca.der));
    let wall = now;
    await again({ wallNow: () => wall });
    const seen = () =>
      new Promise<string | undefined>((resolve, reject) => {
        const socket = connect({ host: '127.0.0.1', port: given.client.port, ca: given.ca }, () => {
          resolve(socket.getPeerX509Certificate()?.fingerprint256);
          socket.destroy();
        }).on('error', reject);
      });
    const macs = await Promise.all([1, 2, 3].map(() => enrolled()));
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const connected = jest.spyOn(agent, 'createConnection');
    let done = false;
    const courses = macs.map((one, at) =>
      load(
        () => one.identity,
        one.mac,
        () => done,
        at === 0 ? agent : undefined,
      ),
    );
    const before = await seen();
    expect(before).toBe(new X509Certificate(der).fingerprint256);
    expect(given.serving.renewCertificate()).toBe(false);
    wall += 2 * 60_000;
    expect(given.serving.renewCertificate()).toBe(true);
    const after = await seen();
    expect(after).not.toBe(before);
    expect(after).toBe(new X509Certificate(readFileSync(paths.tls.certificate)).fingerprint256);
    await new Promise((resolve) => setTimeout(resolve, 150));
    done = true;
    for (const course of courses) {
      const { receipts, refused } = await course;
      expect(receipts.length).toBeGreaterThan(1);
      expect([...refused]).toEqual([]);
      for (const id of receipts) expect(await stored(id)).toBe(1);
    }
    expect(connected).toHaveBeenCalledTimes(1);
    agent.destroy();
    await whole();
  });
});
