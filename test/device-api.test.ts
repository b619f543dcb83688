import { createPublicKey, generateKeyPairSync, randomUUID } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { Agent } from 'node:https';
import { connect as connectTcp } from 'node:net';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { readAuthority } from '../server/authorities.ts';
import { issueClientCertificate, pem } from '../server/certificates.ts';
import { sha256 } from '../server/device-identity.ts';
import { revoke, revokeCertificateFile } from '../server/mac-commands.ts';
import { addCertificate } from '../server/store/enrolments.ts';
import {
  checkInBody,
  delivery,
  deviceIdentity,
  enrol,
  factsOf,
  foreignCa,
  type GivenServer,
  givenServer,
  newMac,
  newPair,
  newUuid,
  type TestMac,
} from './given-server.ts';
import { testWithOpenssl, tryOpenssl } from './openssl.ts';
import { scratch } from './scratch.ts';
import type { Identity } from './tls-client.ts';
import { until } from './waiting.ts';

const plenty = { perMinute: 60_000, burst: 10_000 };
let given: GivenServer;
beforeAll(async () => {
  given = await givenServer({
    settings: { limits: { connectionsPerAddress: 60 } },
    rates: { nonce: plenty, enroll: plenty, refused: plenty, 'check-in': plenty, rotations: plenty, grants: plenty },
  });
});
const profileFor = (serial: string) => deviceIdentity({ CN: 'A Mac', serialNumber: serial });
const enrolled = async (mac: TestMac = newMac()) => ({ mac, ...(await enrol(given, mac, { profile: profileFor(mac.serial) })) });
const checkIn = (mac: TestMac, identity: Identity | undefined, more: object = {}) =>
  given.client.ask('/v1/check-in', { identity, body: checkInBody(mac), ...more });
const isProblem = (answer: { status: number; headers: object; body: unknown }, status: number, code: string) => {
  expect(answer.headers).toMatchObject({ 'content-type': expect.stringContaining('application/problem+json'), 'cache-control': 'no-store' });
  expect(answer.body).toMatchObject({
    status,
    code,
    type: `urn:sparekey:problem:${code}`,
    title: expect.any(String),
    fix: expect.any(String),
    requestId: expect.any(String),
  });
  expect(answer.status).toBe(status);
};

describe('who asks', () => {
  test('without a certificate only nonce and enroll answer', async () => {
    expect((await given.client.ask('/v1/nonce', { body: {} })).status).toBe(200);
    expect((await given.client.ask('/v1/nonce')).status).toBe(200);
    const { id, request } = delivery(given, newMac());
    for (const [path, method, body] of [
      ['/v1/check-in', 'POST', checkInBody(newMac())],
      ['/v1/rotations', 'POST', {}],
      ['/v1/grants', 'POST', {}],
      [`/v1/keys/${id}`, 'PUT', request],
    ] as const) {
      isProblem(await given.client.ask(path, { method, body }), 401, 'CERTIFICATE_MISSING');
    }
  });

  test('a certificate of a foreign CA is not known', async () => {
    isProblem(await checkIn(newMac(), deviceIdentity({ CN: 'x', serialNumber: 'C02FOREIGN01' }, { ca: foreignCa })), 401, 'CERTIFICATE_UNKNOWN');
  });

  test('a certificate of our own agent CA that we have not on record is not known: a backend restored from before it', async () => {
    const agentCa = readAuthority(given.serving.backend.paths.agentCa);
    const pair = newPair();
    const publicKeyDer = pair.publicKey.export({ type: 'spki', format: 'der' });
    const der = issueClientCertificate({ ca: agentCa.der, caKey: agentCa.key, publicKeyDer, commonName: randomUUID(), at: new Date(), days: 400 });
    const key = pair.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
    isProblem(await checkIn(newMac(), { cert: pem('CERTIFICATE', der), key }), 401, 'CERTIFICATE_UNKNOWN');
  });

  test('a certificate whose row was moved to another Mac’s enrolment speaks for nobody: it names its own', async () => {
    const [thief, victim] = [await enrolled(), await enrolled()];
    expect((await checkIn(victim.mac, victim.identity)).status).toBe(200);
    expect((await checkIn(thief.mac, thief.identity)).status).toBe(200);
    await given.serving.backend.store.write((tx) =>
      tx.updateTable('certificate').set({ enrolment_id: victim.enrolmentId }).where('enrolment_id', '=', thief.enrolmentId).execute(),
    );
    isProblem(await checkIn(victim.mac, thief.identity), 401, 'CERTIFICATE_UNKNOWN');
    expect((await checkIn(victim.mac, victim.identity)).status).toBe(200);
  });

  test('an expired certificate may enrol again and nothing else', async () => {
    const { mac, pair, enrolmentId } = await enrolled();
    const agentCa = readAuthority(given.serving.backend.paths.agentCa);
    const publicKeyDer = pair.publicKey.export({ type: 'spki', format: 'der' });
    const at = Date.now() - 401 * 86_400_000;
    const der = issueClientCertificate({ ca: agentCa.der, caKey: agentCa.key, publicKeyDer, commonName: enrolmentId, at: new Date(at), days: 400 });
    await given.serving.backend.store.write((tx) =>
      addCertificate(tx, { digest: sha256(der), enrolment_id: enrolmentId, der, issued_at: at, not_after: at + 400 * 86_400_000 }),
    );
    const old = { cert: pem('CERTIFICATE', der), key: pair.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() };
    isProblem(await checkIn(mac, old), 401, 'CERTIFICATE_EXPIRED');
    const again = await enrol(given, mac, { profile: profileFor(mac.serial), continues: { enrolmentId, privateKey: pair.privateKey } });
    expect(again.enrolmentId).toBe(enrolmentId);
    expect((await checkIn(mac, again.identity)).status).toBe(200);
  });

  test('the certificate says who the Mac is: Mac A’s delivers nothing for Mac B', async () => {
    const [a, b] = [await enrolled(), await enrolled()];
    await checkIn(a.mac, a.identity);
    await checkIn(b.mac, b.identity);
    const { id, request } = delivery(given, b.mac);
    isProblem(await given.client.ask(`/v1/keys/${id}`, { method: 'PUT', body: request, identity: a.identity }), 409, 'IDENTITY_MOVED');
    expect((await given.serving.backend.custody.macReport((await given.serving.backend.custody.findMac(b.mac.serial)) ?? '')).keys).toEqual([]);
  });

  test('on other hardware an identity is refused, and an alarm says so', async () => {
    const { mac, identity } = await enrolled();
    isProblem(await given.client.ask('/v1/check-in', { identity, body: checkInBody({ ...mac, hardwareUuid: newUuid() }) }), 409, 'IDENTITY_MOVED');
  });

  test('an enrolment that was revoked is refused, and its profile certificate enrols no more', async () => {
    const mac = newMac();
    const profile = profileFor(mac.serial);
    const { identity, enrolmentId } = await enrol(given, mac, { profile });
    expect((await checkIn(mac, identity)).status).toBe(200);
    await revoke(given.serving.backend, { target: mac.serial, reason: 'stolen', actor: 'ada', keepCertificate: false });
    isProblem(await checkIn(mac, identity), 403, 'ENROLMENT_REVOKED');
    const again = await enrol(given, mac, { profile });
    isProblem(again.answer, 403, 'CERTIFICATE_REVOKED');
    const going = await enrol(given, mac, { profile: profileFor(mac.serial), continues: { enrolmentId, privateKey: newPair().privateKey } });
    expect(going.enrolmentId).not.toBe(enrolmentId);
  });

  test('a revoked profile certificate ends what it proved, also where the enrolment stands', async () => {
    const mac = newMac();
    const profile = profileFor(mac.serial);
    const { identity } = await enrol(given, mac, { profile });
    await revokeCertificateFile(given.serving.backend, { pem: Buffer.from(profile.cert), reason: 'key copied', actor: 'ada' });
    isProblem(await checkIn(mac, identity), 403, 'CERTIFICATE_REVOKED');
  });

  test('a resumed connection is guarded like the first', async () => {
    const { mac, identity } = await enrolled();
    const agent = new Agent({ keepAlive: false, maxCachedSessions: 10 });
    const connected = (body: object) => given.client.ask('/v1/check-in', { identity, body, agent });
    expect((await connected(checkInBody(mac))).status).toBe(200);
    const second = await connected(checkInBody(mac));
    expect([second.status, second.resumed]).toEqual([200, true]);
    await revoke(given.serving.backend, { target: mac.serial, reason: 'stolen', actor: 'ada', keepCertificate: false });
    const third = await connected(checkInBody(mac));
    expect(third.resumed).toBe(true);
    isProblem(third, 403, 'ENROLMENT_REVOKED');
    agent.destroy();
  });

  test('an enrolment revoked after begin may end its rotation into quarantine, and nothing else', async () => {
    const { mac, identity, enrolmentId } = await enrolled();
    await checkIn(mac, identity);
    const first = delivery(given, mac);
    expect((await given.client.ask(`/v1/keys/${first.id}`, { method: 'PUT', body: first.request, identity })).status).toBe(201);
    const { custody } = given.serving.backend;
    const macId = await custody.findMac(mac.serial);
    await custody.orderRotation({ macId, actor: 'ada', reason: 'test' });
    const { debts, recipients } = (await checkIn(mac, identity)).body;
    const rotationId = randomUUID();
    const begin = {
      id: rotationId,
      because: 'ordered',
      debtIds: debts.map((debt: { id: string }) => debt.id),
      hardwareUuid: mac.hardwareUuid,
      volume: mac.volume,
      boot: mac.boot,
      recipient: recipients[0],
      escrowPayload: 'ours',
      grant: null,
    };
    expect((await given.client.ask('/v1/rotations', { body: begin, identity })).body).toMatchObject({ rotationId });
    await revoke(given.serving.backend, { target: enrolmentId, reason: 'stolen', actor: 'ada', keepCertificate: false });
    isProblem(await checkIn(mac, identity), 403, 'ENROLMENT_REVOKED');
    const late = delivery(given, mac, { source: 'rotation', validated: 'true', rotationId });
    const answer = await given.client.ask(`/v1/keys/${late.id}`, { method: 'PUT', body: late.request, identity });
    expect(answer.status).toBe(403);
    const states = (await custody.macReport(macId)).keys.map((key) => key.state).sort();
    expect(states).toEqual(['held', 'quarantined']);
  });
});

describe('a certificate of a device CA used directly', () => {
  test('the first check-in makes the enrolment; a delivery before it is refused', async () => {
    const mac = newMac();
    const identity = profileFor(mac.serial);
    const { id, request } = delivery(given, mac);
    isProblem(await given.client.ask(`/v1/keys/${id}`, { method: 'PUT', body: request, identity }), 401, 'CERTIFICATE_UNKNOWN');
    const { status, body } = await checkIn(mac, identity);
    expect(status).toBe(200);
    expect((await given.client.ask(`/v1/keys/${id}`, { method: 'PUT', body: request, identity })).status).toBe(201);
    const rows = await given.serving.backend.store.db.selectFrom('enrolment').selectAll().where('mac_id', '=', body.macId).execute();
    expect(rows).toMatchObject([{ way: 'direct', serial: mac.serial, status: 'active', confirmed: 1 }]);
  });

  test('it is continued by one of the same issuer and subject on the same hardware, with or without the same key', async () => {
    const mac = newMac();
    const first = profileFor(mac.serial);
    const { macId } = (await checkIn(mac, first)).body;
    const sameKey = deviceIdentity(
      { CN: 'A Mac', serialNumber: mac.serial },
      { pair: { privateKey: first.privateKey, publicKey: createPublicKey(first.privateKey) } },
    );
    expect((await checkIn(mac, sameKey)).body.macId).toBe(macId);
    const newKey = profileFor(mac.serial);
    expect((await checkIn(mac, newKey)).body.macId).toBe(macId);
    const rows = await given.serving.backend.store.db.selectFrom('enrolment').select('id').where('mac_id', '=', macId).execute();
    expect(rows).toHaveLength(1);
    isProblem(await checkIn(mac, first), 401, 'CERTIFICATE_REPLACED');
  });

  test('without a serial its subject is the identity, and one certificate on two machines makes two Macs and alarms', async () => {
    const identity = deviceIdentity({ CN: 'the same for all' });
    const [a, b] = [newMac(), newMac()];
    const first = await checkIn(a, identity);
    expect(first.status).toBe(200);
    isProblem(await checkIn(b, identity), 409, 'IDENTITY_MOVED');
    const other = await checkIn(b, deviceIdentity({ CN: 'the same for all' }));
    expect(other.body.macId).not.toBe(first.body.macId);
    const alarms = await given.serving.backend.store.db.selectFrom('alarm').select(['mac_id', 'code']).where('code', '=', 'SERIAL_CONFLICT').execute();
    expect(alarms.map((alarm) => alarm.mac_id)).toEqual(expect.arrayContaining([first.body.macId, other.body.macId]));
  });

  test('a serial number that is claimed has the form of one: it is stored in a statement, and shown to people', async () => {
    const mac = newMac();
    for (const serial of ['C02A\nhardware: none', '\u001b]0;x', 'C02 A', ''])
      isProblem(
        await given.client.ask('/v1/check-in', {
          identity: deviceIdentity({ CN: 'claims' }),
          body: checkInBody(mac, { facts: factsOf(mac, { serial }) }),
        }),
        400,
        'MESSAGE_INVALID',
      );
  });

  test('a certificate that names another serial than the Mac has is on the wrong Mac', async () => {
    isProblem(await checkIn(newMac(), profileFor('C02ANOTHER01')), 409, 'IDENTITY_MOVED');
  });
});

testWithOpenssl('a certificate of an intermediate CA brings its chain, and is known on a resumed connection, which brings none', async () => {
  const folder = scratch('sparekey-chain');
  const at = (name: string) => join(folder, name);
  const make = (...args: string[]) => expect(tryOpenssl(args, {}).stderr.toString()).not.toMatch(/error/i);
  const mac = newMac();
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  writeFileSync(at('ca.cnf'), 'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n');
  writeFileSync(at('leaf.cnf'), 'keyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth\n');
  make(
    'req',
    '-x509',
    ...key,
    '-keyout',
    at('root.key'),
    '-out',
    at('root.pem'),
    '-subj',
    '/CN=Root',
    '-days',
    '30',
    '-addext',
    'keyUsage=critical,keyCertSign',
  );
  make('req', ...key, '-keyout', at('middle.key'), '-out', at('middle.csr'), '-subj', '/CN=Middle');
  make(
    'x509',
    '-req',
    '-in',
    at('middle.csr'),
    '-CA',
    at('root.pem'),
    '-CAkey',
    at('root.key'),
    '-days',
    '30',
    '-extfile',
    at('ca.cnf'),
    '-out',
    at('middle.pem'),
  );
  make('req', ...key, '-keyout', at('leaf.key'), '-out', at('leaf.csr'), '-subj', `/CN=x/serialNumber=${mac.serial}`);
  make(
    'x509',
    '-req',
    '-in',
    at('leaf.csr'),
    '-CA',
    at('middle.pem'),
    '-CAkey',
    at('middle.key'),
    '-days',
    '30',
    '-extfile',
    at('leaf.cnf'),
    '-out',
    at('leaf.pem'),
  );
  const own = await givenServer({ deviceCas: readFileSync(at('root.pem'), 'utf8') });
  const identity = { cert: readFileSync(at('leaf.pem'), 'utf8') + readFileSync(at('middle.pem'), 'utf8'), key: readFileSync(at('leaf.key'), 'utf8') };
  const agent = new Agent({ keepAlive: false, maxCachedSessions: 10 });
  const [first, second] = [
    await own.client.ask('/v1/check-in', { identity, body: checkInBody(mac), agent }),
    await own.client.ask('/v1/check-in', { identity, body: checkInBody(mac), agent }),
  ];
  agent.destroy();
  expect([first.status, first.resumed, second.status, second.resumed]).toEqual([200, false, 200, true]);
  expect(second.body.macId).toBe(first.body.macId);
});

describe('what is sent', () => {
  test.each([
    ['no JSON', '{"facts":', 'the body is not JSON'],
    ['bytes that are no UTF-8', Buffer.from([0x7b, 0xff, 0x7d]), 'the body is not JSON'],
    ['nothing', undefined, 'the body'],
    ['an unknown field', { ...checkInBody(newMac()), secretName: 'secretValue' }, 'secretName: unknown'],
    [
      'an unknown field deeper down',
      { ...checkInBody(newMac()), facts: { ...factsOf(newMac()), power: { source: 'mains', percent: null, extra: 1 } } },
      'facts.power.extra: unknown',
    ],
    ['a wrong type', { ...checkInBody(newMac()), exhausted: 'secretValue' }, 'exhausted: no boolean'],
    ['__proto__', `{"__proto__":{"a":1},${JSON.stringify(checkInBody(newMac())).slice(1)}`, '__proto__'],
  ])('%s is refused with its place and without its value', async (_name, body, detail) => {
    const { identity } = await enrolled();
    const answer = await given.client.ask('/v1/check-in', { identity, body });
    isProblem(answer, 400, 'MESSAGE_INVALID');
    expect(answer.body.detail).toContain(detail);
    expect(answer.text).not.toContain('secretValue');
  });

  test('another content type, and more than the limit of bytes or headers, are refused', async () => {
    const { identity } = await enrolled();
    isProblem(
      await given.client.ask('/v1/check-in', { identity, body: 'a=b', headers: { 'content-type': 'application/x-www-form-urlencoded' } }),
      400,
      'MESSAGE_INVALID',
    );
    isProblem(await given.client.ask('/v1/check-in', { identity, body: Buffer.alloc(70_000, 0x20) }), 413, 'BODY_TOO_LARGE');
    isProblem(await given.client.ask('/v1/nonce', { headers: { 'x-long': 'a'.repeat(9000) } }), 413, 'BODY_TOO_LARGE');
  });

  test('an envelope id that is not the digest, or no digest at all', async () => {
    const { mac, identity } = await enrolled();
    await checkIn(mac, identity);
    const { request } = delivery(given, mac);
    isProblem(await given.client.ask(`/v1/keys/${'0'.repeat(64)}`, { method: 'PUT', identity, body: request }), 400, 'KEY_ID_MISMATCH');
    isProblem(await given.client.ask('/v1/keys/ABC', { method: 'PUT', identity, body: request }), 400, 'MESSAGE_INVALID');
  });

  test.each([
    ['an address that is not there', '/v2/check-in', 'POST', 404, 'NOT_FOUND'],
    ['another one', '/', 'GET', 404, 'NOT_FOUND'],
    ['a bad address', '/v1/%zz', 'POST', 404, 'NOT_FOUND'],
    ['another method', '/v1/check-in', 'GET', 405, 'METHOD_NOT_ALLOWED'],
    ['another method of the keys', `/v1/keys/${'0'.repeat(64)}`, 'GET', 405, 'METHOD_NOT_ALLOWED'],
  ])('%s is a problem too', async (_name, path, method, status, code) => {
    const answer = await given.client.ask(path, { method });
    isProblem(answer, status, code);
    if (status === 405) expect(answer.headers['allow']).toBe(path.startsWith('/v1/keys') ? 'PUT' : 'POST');
  });

  test('the protocol version is needed and answered; a newer one than ours is told so', async () => {
    const answer = await given.client.ask('/v1/nonce', { body: {} });
    expect(answer.headers['sparekey-protocol']).toBe('1');
    expect(answer.headers['x-request-id']).toMatch(/^[0-9a-f-]{36}$/);
    isProblem(await given.client.ask('/v1/nonce', { version: '2' }), 426, 'PROTOCOL_TOO_NEW');
    for (const version of [null, '0', 'x', '1.0']) isProblem(await given.client.ask('/v1/nonce', { version }), 400, 'MESSAGE_INVALID');
  });
});

describe('bounds', () => {
  /** Of its own: whoever is to be answered by it would have to be as quick. */
  let hasty: GivenServer;
  beforeAll(async () => {
    hasty = await givenServer({ settings: { limits: { headerSeconds: 1, requestSeconds: 2 }, tls: { oldest: '1.2', ownCertificate: true } } });
  });
  const open = ({ at = given, ...options }: { at?: GivenServer; maxVersion?: 'TLSv1.2' } = {}): Promise<TLSSocket> =>
    new Promise((resolve, reject) => {
      const socket: TLSSocket = connect({ host: '127.0.0.1', port: at.client.port, ca: at.ca, ...options }, () => resolve(socket));
      socket.on('error', reject);
    });
  const everything = (socket: TLSSocket): Promise<string> =>
    new Promise((resolve) => {
      let text = '';
      socket.on('data', (chunk: Buffer) => {
        text += chunk.toString();
      });
      socket.on('close', () => resolve(text));
    });

  test('a client that is slow with its headers, or with its body, is answered and cut off', async () => {
    const [headers, body] = [await open({ at: hasty }), await open({ at: hasty })];
    headers.write('POST /v1/nonce HTTP/1.1\r\nhost: x\r\n');
    body.write('POST /v1/nonce HTTP/1.1\r\nhost: x\r\nsparekey-protocol: 1\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{');
    for (const text of await Promise.all([everything(headers), everything(body)])) {
      expect(text).toMatch(/^HTTP\/1\.1 408/);
      expect(text).toContain('"code":"REQUEST_TOO_SLOW"');
    }
  });

  test('what is no HTTP is answered in words', async () => {
    const socket = await open();
    socket.write('SSH-2.0-hello\r\n\r\n');
    expect(await everything(socket)).toContain('"code":"MESSAGE_INVALID"');
  });

  test('TLS 1.2 is refused, unless a setting allows it', async () => {
    await expect(open({ maxVersion: 'TLSv1.2' })).rejects.toThrow();
    const socket = await open({ at: hasty, maxVersion: 'TLSv1.2' });
    expect(socket.getProtocol()).toBe('TLSv1.2');
    socket.destroy();
  });

  test('one address holds so many connections and no more', async () => {
    const sockets = Array.from({ length: 70 }, () => connectTcp({ host: '127.0.0.1', port: given.client.port }));
    let closed = 0;
    for (const socket of sockets) {
      socket.on('error', () => {});
      socket.once('close', () => {
        closed += 1;
      });
    }
    await until(() => closed >= 10);
    // As many as are to be closed.
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(closed).toBeGreaterThanOrEqual(10);
    expect(sockets.length - closed).toBeGreaterThan(30);
    for (const socket of sockets) socket.destroy();
  });

  test('too many requests of one Mac are told when to come again; a delivery for its open rotation is never among them', async () => {
    const tight = await givenServer({ rates: { keys: { perMinute: 1, burst: 2 }, 'check-in': { perMinute: 1, burst: 3 } } });
    const mac = newMac();
    const { identity } = await enrol(tight, mac, { profile: profileFor(mac.serial) });
    const ask = (body: object = checkInBody(mac)) => tight.client.ask('/v1/check-in', { identity, body });
    const deliver = ({ id, request }: ReturnType<typeof delivery>) => tight.client.ask(`/v1/keys/${id}`, { method: 'PUT', identity, body: request });
    await ask();
    expect((await deliver(delivery(tight, mac))).status).toBe(201);
    const { custody } = tight.serving.backend;
    await custody.orderRotation({ macId: await custody.findMac(mac.serial), actor: 'ada', reason: 'test' });
    const { debts, recipients } = (await ask()).body;
    const rotationId = randomUUID();
    const begin = {
      id: rotationId,
      because: 'ordered',
      debtIds: debts.map((debt: { id: string }) => debt.id),
      hardwareUuid: mac.hardwareUuid,
      volume: mac.volume,
      boot: mac.boot,
      recipient: recipients[0],
      escrowPayload: 'ours',
      grant: null,
    };
    expect((await tight.client.ask('/v1/rotations', { identity, body: begin })).status).toBe(200);
    expect((await deliver(delivery(tight, mac))).status).toBe(201);
    const refused = await deliver(delivery(tight, mac));
    isProblem(refused, 429, 'TOO_MANY_REQUESTS');
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0);
    expect((await deliver(delivery(tight, mac, { source: 'rotation', validated: 'true', rotationId }))).status).toBe(201);
    await ask();
    isProblem(await ask(), 429, 'TOO_MANY_REQUESTS');
    const other = newMac();
    const second = await enrol(tight, other, { profile: profileFor(other.serial) });
    expect((await tight.client.ask('/v1/check-in', { identity: second.identity, body: checkInBody(other) })).status).toBe(200);
  });
});

describe('stopping', () => {
  test('what is under way is answered, what is new is told so, and nothing that had a receipt is lost', async () => {
    const own = await givenServer();
    const mac = newMac();
    const { identity } = await enrol(own, mac, { profile: profileFor(mac.serial) });
    await own.client.ask('/v1/check-in', { identity, body: checkInBody(mac) });
    const { id, request } = delivery(own, mac);
    const bytes = Buffer.from(JSON.stringify(request));
    const opened = () =>
      new Promise<TLSSocket>((resolve) => {
        const socket: TLSSocket = connect({ host: '127.0.0.1', port: own.client.port, ca: own.ca, cert: identity.cert, key: identity.key }, () =>
          resolve(socket),
        );
      });
    const [slow, idle] = [await opened(), await opened()];
    const said: string[] = ['', ''];
    slow.on('data', (chunk) => (said[0] += chunk.toString()));
    idle.on('data', (chunk) => (said[1] += chunk.toString()));
    slow.write(`PUT /v1/keys/${id} HTTP/1.1\r\nhost: x\r\nsparekey-protocol: 1\r\ncontent-type: application/json\r\ncontent-length: ${bytes.length}\r\n\r\n`);
    slow.write(bytes.subarray(0, 100));
    // What was written before it has come.
    await own.client.ask('/v1/nonce', { body: {} });
    await new Promise((resolve) => setTimeout(resolve, 200));
    const stopped = own.serving.stop();
    idle.write('POST /v1/nonce HTTP/1.1\r\nhost: x\r\nsparekey-protocol: 1\r\n\r\n');
    await until(() => said[1] !== '');
    expect(said[1]).toMatch(/^HTTP\/1\.1 503/);
    expect(said[1]).toContain('"code":"SERVER_STOPPING"');
    const ended = new Promise((resolve) => slow.once('close', resolve));
    slow.write(bytes.subarray(100));
    await Promise.all([stopped, ended]);
    expect(said[0]).toMatch(/^HTTP\/1\.1 201/);
    expect(said[0]).toContain(`"envelopeId":"${id}"`);
    await own.restart();
    const again = await own.client.ask(`/v1/keys/${id}`, { method: 'PUT', identity, body: request });
    expect([again.status, again.body.state]).toEqual([200, 'held']);
  });
});

test('a device key may be RSA, as MDMs make them', async () => {
  const mac = newMac();
  const identity = deviceIdentity({ CN: mac.serial }, { pair: generateKeyPairSync('rsa', { modulusLength: 2048 }) });
  const { status, body } = await checkIn(mac, identity);
  expect(status).toBe(200);
  expect(await given.serving.backend.custody.findMac(mac.serial)).toBe(body.macId);
});
