import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { folderPaths } from '../server/data-folder.ts';
import { checkInBody, delivery, deviceIdentity, enrol, freePort, type GivenServer, givenServer, newMac, passphrase } from './given-server.ts';
import { endServers, type Ran, runServer, startServer } from './run-server.ts';
import { scratch } from './scratch.ts';
import { clientOf } from './tls-client.ts';

afterAll(endServers);
/** Three lines: what, what to do, and the code. */
const failsWith = (ran: Ran, code: string, exit: number) => {
  const lines = ran.stderr.trimEnd().split('\n').slice(-3);
  expect(lines).toEqual([
    expect.stringMatching(/^sparekey-server: error: /),
    expect.stringMatching(/^sparekey-server: fix: /),
    `sparekey-server: ${code}; more: docs/errors.md`,
  ]);
  expect(ran.code).toBe(exit);
  expect(ran.stdout).toBe('');
};

describe('init and serve, as processes', () => {
  let folder: string;
  let dir: string;
  let port: number;
  let made: Ran;
  beforeAll(async () => {
    folder = scratch('sparekey-cli');
    dir = join(folder, 'data');
    port = await freePort();
    made = await runServer(
      ['init', '--dir', dir, '--name', '127.0.0.1,localhost', '--devices-port', String(port), '--copy', join(folder, 'copy.txt'), '--admin', 'ada', '--json'],
      { passphrase },
    );
  });

  test('init prints its result on standard output, its progress on standard error, and what to do next', () => {
    expect(made.code).toBe(0);
    expect(made.json).toMatchObject({ dir, serverUrl: `https://127.0.0.1:${port}`, admin: 'ada', copyOnSameDisk: true });
    expect(made.json.next).toContain(`sparekey-server serve --dir ${dir}`);
    expect(made.stderr).toContain('making the escrow key pair');
    expect(made.stderr + made.stdout).not.toContain(passphrase);
  });

  test('without a word about the offline copy init does nothing; a passphrase too short is refused', async () => {
    failsWith(await runServer(['init', '--dir', join(folder, 'x'), '--name', 'a.example'], { passphrase }), 'USAGE', 64);
    failsWith(await runServer(['init', '--dir', join(folder, 'x'), '--name', 'a.example', '--no-copy'], { passphrase: 'short' }), 'USAGE', 64);
  });

  test('serve says that it is ready, answers, logs lines of JSON, and ends with 0 on SIGTERM', async () => {
    const server = startServer(['serve', '--dir', dir, '--json-ready'], { passphrase });
    expect(JSON.parse(await server.ready())).toMatchObject({ ready: true, port, pid: server.child.pid });
    const client = clientOf(port, readFileSync(folderPaths(dir).tlsCa.certificate, 'utf8'));
    expect((await client.ask('/v1/nonce', { body: {} })).status).toBe(200);
    const ticket = await runServer(['ticket', 'new', '--serial', 'C02CLI000001', '--dir', dir, '--json']);
    expect(ticket.json.ticket).toMatch(/^[0-9a-f]{12}\.[A-Za-z0-9_-]{43}$/);
    server.child.kill('SIGTERM');
    const { code, stderr } = await server.ended;
    expect(code).toBe(0);
    const events = stderr
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line).event);
    expect(events.filter((event) => event !== 'timers-ran')).toEqual(['server-started', 'request', 'server-stopping', 'server-stopped']);
  });

  test('serve without a passphrase, with a wrong one, or with a file that others can read does not start', async () => {
    failsWith(await runServer(['serve', '--dir', dir]), 'PASSPHRASE_MISSING', 64);
    failsWith(await runServer(['serve', '--dir', dir], { passphrase: 'another one altogether' }), 'PASSPHRASE_WRONG', 77);
    const open = join(folder, 'open.txt');
    writeFileSync(open, passphrase, { mode: 0o644 });
    failsWith(await runServer(['serve', '--dir', dir, '--passphrase-file', open]), 'FILE_TOO_OPEN', 78);
  });

  test('profile-values prints what the profile needs and nothing secret', async () => {
    const { json } = await runServer(['profile-values', '--dir', dir, '--json']);
    expect(json).toMatchObject({ serverUrl: `https://127.0.0.1:${port}`, escrowCertificateDigest: made.json.escrowCertificate });
    expect(json.escrowCertificate).toMatch(/^-----BEGIN CERTIFICATE-----/);
    expect(json.trustedCertificates).toEqual([readFileSync(folderPaths(dir).tlsCa.certificate, 'utf8')]);
    expect(JSON.stringify(json)).not.toContain('PRIVATE');
  });
});

describe('commands beside a backend that runs', () => {
  let given: GivenServer;
  const mac = newMac();
  let key: string;
  const run = (args: string[], more: { passphrase?: string } = {}) => runServer([...args, '--dir', given.dir], more);
  beforeAll(async () => {
    given = await givenServer();
    const { identity } = await enrol(given, mac, { profile: deviceIdentity({ CN: 'A Mac', serialNumber: mac.serial }) });
    await given.client.ask('/v1/check-in', { identity, body: checkInBody(mac) });
    const sent = delivery(given, mac);
    await given.client.ask(`/v1/keys/${sent.id}`, { method: 'PUT', identity, body: sent.request });
    key = sent.key;
  });

  test('show needs a reason and the passphrase, prints the key in groups alone on standard output, and is audited', async () => {
    failsWith(await run(['show', mac.serial], { passphrase }), 'REASON_MISSING', 64);
    const shown = await run(['show', mac.serial, '--reason', 'locked out', '--as', 'grace'], { passphrase });
    expect([shown.code, shown.stdout]).toEqual([0, `${key}\n`]);
    expect(shown.stderr).toContain('audit');
    const rows = await given.serving.backend.store.db.selectFrom('disclosure').selectAll().execute();
    expect(rows).toMatchObject([{ actor: 'grace', reason: 'locked out', shown: 1 }]);
    const status = await run(['status', mac.serial, '--json']);
    expect(status.json).toMatchObject({
      serial: mac.serial,
      custody: { state: 'held', because: expect.any(String) },
      rotation: { owed: true },
      enrolments: [{ way: 'profile', status: 'active' }],
    });
    expect(status.json.hold).not.toBeNull();
    expect(status.stdout + status.stderr).not.toContain(key);
  });

  test('an order waits for the hold; to override it has to be confirmed', async () => {
    const ordered = await run(['rotate', mac.serial, '--reason', 'lost', '--json']);
    expect(ordered.json).toMatchObject({ serial: mac.serial, orderId: expect.any(String), overrideHold: false });
    failsWith(await run(['rotate', mac.serial, '--reason', 'lost', '--override-hold']), 'USAGE', 64);
    expect((await run(['end-hold', mac.serial, '--because', 'not-me', '--reason', 'called'])).code).toBe(0);
    expect((await run(['status', mac.serial, '--json'])).json.hold).toBeNull();
  });

  test('the fleet in a line, a Mac in sentences, and a Mac that is not there', async () => {
    const fleet = await run(['status']);
    expect(fleet.stdout).toContain('1 Mac(s): 1 held');
    expect((await run(['status', mac.serial])).stdout).toContain(`${mac.serial}: custody is held`);
    failsWith(await run(['status', 'C02NOTTHERE1']), 'MAC_UNKNOWN', 64);
  });

  test('confirm, alarm, audit, ticket and revocations answer', async () => {
    expect((await run(['confirm', mac.serial, '--reason', 'x', '--json'])).json).toMatchObject({ confirmed: null });
    expect((await run(['alarm', 'list', '--json'])).json).toEqual({ alarms: [] });
    expect((await run(['audit', 'verify', '--json'])).json).toMatchObject({ ok: true });
    failsWith(await run(['ticket', 'end', 'nothing']), 'NOT_FOUND', 64);
    expect((await run(['revocations', '--json'])).json).toMatchObject({ enrolments: [], certificates: [], tickets: [] });
  });

  test('a changed audit is found, with exit status 77', async () => {
    await given.serving.backend.store.write(async (tx) => void (await tx.updateTable('audit').set({ actor: 'nobody' }).where('seq', '=', 2).execute()));
    const verdict = await run(['audit', 'verify', '--json']);
    expect(verdict.json).toMatchObject({ ok: false, brokenAt: 2, code: 'AUDIT_BROKEN' });
    expect(verdict.code).toBe(77);
  });

  test('backup and verify-backup', async () => {
    const file = join(scratch('sparekey-cli'), 'b.tar');
    failsWith(await runServer(['restore', file, '--dir', join(given.dir, 'x')]), 'USAGE', 64);
    const other = await givenServer();
    const made = await runServer(['backup', file, '--dir', other.dir, '--json']);
    expect(made.json).toMatchObject({ file, macs: 0 });
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect((await runServer(['verify-backup', file, '--json'], { passphrase })).json).toMatchObject({ opened: null });
  });
});

test('help has an example, an unknown command has its own words, and the version is printed', async () => {
  const help = await runServer(['ticket', 'new', '--help']);
  expect([help.code, help.stdout]).toEqual([0, expect.stringMatching(/Example:\n {2}sparekey-server ticket new .*--dir/)]);
  failsWith(await runServer(['sow', 'X']), 'USAGE', 64);
  expect((await runServer(['--version'])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
});
