import { createHash, randomUUID, sign, X509Certificate } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { Agent } from 'node:https';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { grantStatement, makeRunKey } from '../protocol/grant.ts';
import type { CheckInReply } from '../protocol/messages.ts';
import { protocolHeader } from '../protocol/messages.ts';
import { readAuthority } from '../server/authorities.ts';
import { issueClientCertificate, issueDeviceCertificate, issueServerCertificate, makeCa, pem } from '../server/certificates.ts';
import { sha256 } from '../server/device-identity.ts';
import { revocations, revoke, revokeCertificateFile } from '../server/mac-commands.ts';
import { status } from '../server/status-command.ts';
import { addCertificate } from '../server/store/enrolments.ts';
import {
  checkInBody,
  delivery,
  deviceCa,
  deviceIdentity,
  enrol,
  foreignCa,
  type GivenServer,
  givenServer,
  newMac,
  newPair,
  newUuid,
  type TestMac,
} from './given-server.ts';
import type { Answer, Identity } from './tls-client.ts';

/*
 * Every route × every wrong caller. Each asks, for a Mac that owes a rotation and a proof, what that Mac itself would be given:
 * the same requests are the right caller's at the end, and then they are answered.
 */

const plenty = { perMinute: 600_000, burst: 100_000 };
let given: GivenServer;
let victim: Enrolled;
let held: { recordId: string; envelope: Buffer; id: string; key: string };

interface Enrolled {
  mac: TestMac;
  identity: Identity;
  enrolmentId: string;
  pair: ReturnType<typeof newPair>;
  profile: ReturnType<typeof deviceIdentity>;
}

async function enrolled(mac: TestMac = newMac()): Promise<Enrolled> {
  const profile = deviceIdentity({ CN: 'A Mac', serialNumber: mac.serial });
  const { identity, enrolmentId, pair } = await enrol(given, mac, { profile });
  return { mac, identity, enrolmentId, pair, profile };
}

const checkIn = async (who: Enrolled): Promise<CheckInReply> =>
  (await given.client.ask('/v1/check-in', { identity: who.identity, body: checkInBody(who.mac) })).body as CheckInReply;

beforeAll(async () => {
  given = await givenServer({
    rates: { nonce: plenty, enroll: plenty, refused: plenty, 'check-in': plenty, rotations: plenty, keys: plenty, grants: plenty },
  });
  victim = await enrolled();
  await checkIn(victim);
  const first = delivery(given, victim.mac);
  const receipt = await given.client.ask(`/v1/keys/${first.id}`, { method: 'PUT', body: first.request, identity: victim.identity });
  held = { recordId: receipt.body.recordId, envelope: first.envelope, id: first.id, key: first.key };
  const { custody } = given.serving.backend;
  await custody.orderRotation({ macId: await custody.findMac(victim.mac.serial), actor: 'ada', reason: 'a test' });
});

// ——— what is asked

type Route = 'check-in' | 'rotations' | 'keys' | 'grants';
const routes: readonly Route[] = ['check-in', 'rotations', 'keys', 'grants'];

interface Asking {
  path: string;
  method: string;
  body: object;
}

/** What the victim itself may ask, signed where it is to be signed by the key that asks. */
async function requests(signer: { privateKey: Enrolled['pair']['privateKey']; enrolmentId: string }): Promise<Record<Route, Asking>> {
  const { mac } = victim;
  const { debts, proofOrders, recipients, grantNonce } = await checkIn(victim);
  const sent = delivery(given, mac, { source: 'agent' });
  const order = proofOrders[0];
  const run = await makeRunKey();
  const unsigned = {
    purpose: 'prove' as const,
    recordId: held.recordId,
    forId: order?.id ?? '',
    boot: mac.boot,
    publicKey: run.publicKey,
    enrolmentId: signer.enrolmentId,
    grantNonce,
  };
  const signature = sign('sha256', Buffer.from(grantStatement(unsigned)), signer.privateKey).toString('base64');
  return {
    'check-in': { path: '/v1/check-in', method: 'POST', body: checkInBody(mac, { exhausted: true, offers: [] }) },
    rotations: {
      path: '/v1/rotations',
      method: 'POST',
      body: {
        id: randomUUID(),
        because: 'ordered',
        debtIds: debts.map((debt) => debt.id),
        hardwareUuid: mac.hardwareUuid,
        volume: mac.volume,
        boot: mac.boot,
        recipient: recipients[0],
        escrowPayload: 'ours',
        grant: null,
      },
    },
    keys: { path: `/v1/keys/${sent.id}`, method: 'PUT', body: sent.request },
    grants: { path: '/v1/grants', method: 'POST', body: { ...unsigned, signature } },
  };
}

/** Everything that the backend has about the victim, but when it last asked itself. */
async function whatIsKept(): Promise<string> {
  const { db } = given.serving.backend.store;
  const macId = await given.serving.backend.custody.findMac(victim.mac.serial);
  const tables = ['key_record', 'envelope', 'rotation', 'debt', 'grant_given', 'disclosure', 'proof', 'proof_order', 'rotation_order'] as const;
  const rows = await Promise.all(tables.map((table) => db.selectFrom(table).selectAll().where('mac_id', '=', macId).execute()));
  const own = await db.selectFrom('enrolment').select(['id', 'status', 'public_key_digest', 'confirmed']).where('mac_id', '=', macId).execute();
  const custody = await given.serving.backend.custody.custodyOf(macId);
  return JSON.stringify([rows, own, custody], (_name, value) => (value instanceof Uint8Array ? sha256(value) : value));
}

const refusal = (answer: Answer): string => `${answer.status} ${answer.body?.code}`;

// ——— who asks

const agentCa = () => readAuthority(given.serving.backend.paths.agentCa);
const derOf = (pair: Enrolled['pair']) => pair.publicKey.export({ type: 'spki', format: 'der' });
const keyOf = (pair: Enrolled['pair']): string => pair.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
const as = (pair: Enrolled['pair'], ...chain: Buffer[]): Identity => ({ cert: chain.map((der) => pem('CERTIFICATE', der)).join(''), key: keyOf(pair) });
const days = 86_400_000;

interface Caller {
  identity: Identity | undefined;
  /** Signs the request for a grant; whoever has a certificate has its key. */
  pair: Enrolled['pair'];
  enrolmentId?: string;
  headers?: Record<string, string>;
}

/** A certificate of our own CA for the victim's enrolment, on record, of another time. */
async function onRecord(pair: Enrolled['pair'], enrolmentId: string, at: number): Promise<Identity> {
  const { der: ca, key: caKey } = agentCa();
  const der = issueClientCertificate({ ca, caKey, publicKeyDer: derOf(pair), commonName: enrolmentId, at: new Date(at), days: 400 });
  await given.serving.backend.store.write((tx) =>
    addCertificate(tx, { digest: sha256(der), enrolment_id: enrolmentId, der, issued_at: at, not_after: at + 400 * days }),
  );
  return as(pair, der);
}

const wrong: readonly { who: string; refused: string | Record<Route, string>; caller: () => Promise<Caller> }[] = [
  { who: 'no certificate', refused: '401 CERTIFICATE_MISSING', caller: async () => ({ identity: undefined, pair: newPair() }) },
  {
    who: 'a foreign CA',
    refused: '401 CERTIFICATE_UNKNOWN',
    caller: async () => {
      const identity = deviceIdentity({ CN: 'A Mac', serialNumber: victim.mac.serial }, { ca: foreignCa });
      return { identity, pair: newPair() };
    },
  },
  {
    who: 'a CA of its own with the name of ours, for the victim’s enrolment',
    refused: '401 CERTIFICATE_UNKNOWN',
    caller: async () => {
      const { subject } = new X509Certificate(agentCa().der);
      const forged = makeCa({ commonName: subject.replace(/^CN=/, ''), years: 5, at: new Date() });
      const pair = newPair();
      const issuing = { ca: forged.certificateDer, caKey: forged.privateKey };
      const der = issueClientCertificate({ ...issuing, publicKeyDer: derOf(pair), commonName: victim.enrolmentId, at: new Date(), days: 400 });
      return { identity: as(pair, der, forged.certificateDer), pair };
    },
  },
  {
    who: 'a certificate signed by a Mac that is enrolled, with its chain',
    refused: '401 CERTIFICATE_UNKNOWN',
    caller: async () => {
      const signer = await enrolled();
      const pair = newPair();
      const issuing = { ca: Buffer.from(new X509Certificate(signer.identity.cert).raw), caKey: signer.pair.privateKey };
      const der = issueClientCertificate({ ...issuing, publicKeyDer: derOf(pair), commonName: victim.enrolmentId, at: new Date(), days: 400 });
      return { identity: as(pair, der, issuing.ca, Buffer.from(agentCa().der)), pair };
    },
  },
  {
    who: 'a certificate of our CA that was made for a server',
    refused: '401 CERTIFICATE_UNKNOWN',
    caller: async () => {
      const { der: ca, key: caKey } = agentCa();
      const pair = newPair();
      return { identity: as(pair, issueServerCertificate({ ca, caKey, publicKeyDer: derOf(pair), names: ['127.0.0.1'], at: new Date(), days: 90 })), pair };
    },
  },
  {
    who: 'a certificate of our CA that is not on record',
    refused: '401 CERTIFICATE_UNKNOWN',
    caller: async () => {
      const { der: ca, key: caKey } = agentCa();
      const pair = newPair();
      const der = issueClientCertificate({ ca, caKey, publicKeyDer: derOf(pair), commonName: victim.enrolmentId, at: new Date(), days: 400 });
      return { identity: as(pair, der), pair };
    },
  },
  {
    who: 'an expired certificate',
    refused: '401 CERTIFICATE_EXPIRED',
    caller: async () => {
      const pair = newPair();
      return { identity: await onRecord(pair, victim.enrolmentId, Date.now() - 401 * days), pair, enrolmentId: victim.enrolmentId };
    },
  },
  {
    who: 'a certificate that is not valid yet',
    refused: '401 CERTIFICATE_UNKNOWN',
    caller: async () => {
      const pair = newPair();
      return { identity: await onRecord(pair, victim.enrolmentId, Date.now() + 2 * days), pair, enrolmentId: victim.enrolmentId };
    },
  },
  {
    who: 'an enrolment that was revoked',
    refused: '403 ENROLMENT_REVOKED',
    caller: async () => {
      const it = await enrolled();
      await checkIn(it);
      await revoke(given.serving.backend, { target: it.mac.serial, reason: 'stolen', actor: 'ada', keepCertificate: false });
      return { identity: it.identity, pair: it.pair, enrolmentId: it.enrolmentId };
    },
  },
  {
    who: 'an enrolment whose profile certificate was revoked',
    refused: '403 CERTIFICATE_REVOKED',
    caller: async () => {
      const it = await enrolled();
      await revokeCertificateFile(given.serving.backend, { pem: Buffer.from(it.profile.cert), reason: 'copied', actor: 'ada' });
      return { identity: it.identity, pair: it.pair, enrolmentId: it.enrolmentId };
    },
  },
  {
    who: 'a certificate that was replaced by a newer one',
    refused: '401 CERTIFICATE_REPLACED',
    caller: async () => {
      const it = await enrolled();
      await checkIn(it);
      const { mac, profile } = it;
      const renewed = await enrol(given, mac, { profile, continues: { enrolmentId: it.enrolmentId, privateKey: it.pair.privateKey } });
      expect((await given.client.ask('/v1/check-in', { identity: renewed.identity, body: checkInBody(mac) })).status).toBe(200);
      return { identity: it.identity, pair: it.pair, enrolmentId: it.enrolmentId };
    },
  },
  {
    who: 'another Mac, which names the victim in its message',
    // It is enrolled itself: what it says of other hardware is refused, and a record of another Mac is none of its own.
    refused: { 'check-in': '409 IDENTITY_MOVED', rotations: '409 IDENTITY_MOVED', keys: '409 IDENTITY_MOVED', grants: '403 GRANT_REFUSED' },
    caller: async () => {
      const it = await enrolled();
      await checkIn(it);
      return { identity: it.identity, pair: it.pair, enrolmentId: it.enrolmentId };
    },
  },
  {
    who: 'another Mac, which signs as the victim’s enrolment',
    refused: { 'check-in': '409 IDENTITY_MOVED', rotations: '409 IDENTITY_MOVED', keys: '409 IDENTITY_MOVED', grants: '403 GRANT_REFUSED' },
    caller: async () => {
      const it = await enrolled();
      await checkIn(it);
      return { identity: it.identity, pair: it.pair, enrolmentId: victim.enrolmentId };
    },
  },
  {
    who: 'a device certificate that has not checked in',
    refused: { 'check-in': '409 IDENTITY_MOVED', rotations: '401 CERTIFICATE_UNKNOWN', keys: '401 CERTIFICATE_UNKNOWN', grants: '401 CERTIFICATE_UNKNOWN' },
    caller: async () => {
      const identity = deviceIdentity({ CN: 'A Mac', serialNumber: newMac().serial });
      return { identity, pair: newPair() };
    },
  },
  {
    who: 'a device certificate that may not be used by a client',
    refused: '401 CERTIFICATE_UNKNOWN',
    caller: async () => {
      const pair = newPair();
      const issuing = { ca: deviceCa.certificateDer, caKey: deviceCa.privateKey };
      return { identity: as(pair, issueServerCertificate({ ...issuing, publicKeyDer: derOf(pair), names: ['mac.example'], at: new Date(), days: 90 })), pair };
    },
  },
  {
    who: 'a device certificate whose CA is itself only a device',
    refused: '401 CERTIFICATE_UNKNOWN',
    caller: async () => {
      const between = deviceIdentity({ CN: 'A Mac', serialNumber: victim.mac.serial });
      const pair = newPair();
      const issuing = { ca: between.der, caKey: between.privateKey };
      const subject = { CN: 'A Mac', serialNumber: victim.mac.serial };
      const der = issueDeviceCertificate({ ...issuing, publicKeyDer: derOf(pair), subject, days: 30, at: new Date() });
      return { identity: as(pair, der, between.der), pair };
    },
  },
  ...[
    ['x-ssl-client-cert', 'x-ssl-client-verify', 'x-client-cert', 'x-client-verify'],
    ['x-forwarded-client-cert'],
    ['ssl-client-s-dn', 'x-arr-clientcert', 'client-cert', 'x-forwarded-tls-client-cert'],
    ['x-amzn-mtls-clientcert'],
    ['x-forwarded-for', 'forwarded', 'x-real-ip'],
    ['x-sparekey-enrolment', 'x-remote-user', 'authorization'],
  ].map((names) => ({
    who: `no certificate, and the victim’s in the headers ${names.join(', ')}`,
    refused: names.includes('authorization') || names.includes('forwarded') ? '401 CERTIFICATE_MISSING' : '403 CLIENT_HEADER_REFUSED',
    caller: async () => {
      const said = encodeURIComponent(victim.identity.cert);
      return { identity: undefined, pair: newPair(), headers: Object.fromEntries(names.map((name) => [name, /verify/.test(name) ? 'SUCCESS' : said])) };
    },
  })),
];

test.each(wrong)('$who: refused at every route, which changes nothing and tells nothing', async ({ refused, caller }) => {
  const { identity, pair, enrolmentId = victim.enrolmentId, headers } = await caller();
  const asked = await requests({ privateKey: pair.privateKey, enrolmentId });
  const before = await whatIsKept();
  for (const route of routes) {
    const { path, method, body } = asked[route];
    const answer = await given.client.ask(path, { method, body, ...(identity ? { identity } : {}), ...(headers ? { headers } : {}) });
    expect([route, refusal(answer)]).toEqual([route, typeof refused === 'string' ? refused : refused[route]]);
    expect(answer.headers['content-type']).toContain('application/problem+json');
    expect(answer.text).not.toContain(victim.enrolmentId);
    expect([route, await whatIsKept()]).toEqual([route, before]);
  }
});

describe('the key of another Mac', () => {
  const put = (identity: Identity, id: string, body: object) => given.client.ask(`/v1/keys/${id}`, { method: 'PUT', identity, body });

  test('its id with another envelope is refused', async () => {
    const thief = await enrolled();
    const before = await whatIsKept();
    expect(refusal(await put(thief.identity, held.id, delivery(given, thief.mac).request))).toBe('400 KEY_ID_MISMATCH');
    expect(await whatIsKept()).toBe(before);
  });

  test('its very envelope is kept and never opened: to the thief it is unreadable, as rubbish is', async () => {
    const thief = await enrolled();
    await checkIn(thief);
    const before = await whatIsKept();
    const stolen = await put(thief.identity, held.id, { ...delivery(given, thief.mac).request, envelope: held.envelope.toString('base64') });
    const rubbish = Buffer.from(held.envelope);
    rubbish[rubbish.length - 1] = (rubbish.at(-1) ?? 0) ^ 1;
    const broken = await put(thief.identity, createHash('sha256').update(rubbish).digest('hex'), {
      ...delivery(given, thief.mac).request,
      envelope: rubbish.toString('base64'),
    });
    expect([stolen.status, stolen.body.readable, stolen.body.state]).toEqual([201, 'no', 'quarantined']);
    expect([broken.status, broken.body.readable, broken.body.state]).toEqual([201, 'no', 'quarantined']);
    expect(await whatIsKept()).toBe(before);
    const { custody } = given.serving.backend;
    const report = await custody.macReport(await custody.findMac(thief.mac.serial));
    expect(report.alarms).toContain('ENVELOPE_REUSED');
    expect(report.keys.map((key) => key.state)).toEqual(['quarantined', 'quarantined']);
  });

  test('a grant for it is refused, whoever of the two is named', async () => {
    const thief = await enrolled();
    const { grantNonce } = await checkIn(thief);
    const run = await makeRunKey();
    for (const enrolmentId of [thief.enrolmentId, victim.enrolmentId]) {
      const unsigned = {
        purpose: 'prove' as const,
        recordId: held.recordId,
        forId: randomUUID(),
        boot: thief.mac.boot,
        publicKey: run.publicKey,
        enrolmentId,
        grantNonce,
      };
      const body = { ...unsigned, signature: sign('sha256', Buffer.from(grantStatement(unsigned)), thief.pair.privateKey).toString('base64') };
      expect(refusal(await given.client.ask('/v1/grants', { identity: thief.identity, body }))).toMatch(/^403 GRANT_REFUSED|^404 /);
    }
  });
});

describe('who copied the certificate of a Mac and its key', () => {
  // A copied identity: it is that Mac to the backend, so what is given must be owed, rare, audited, and seen by people.
  test('is given no key that nobody ordered, none twice, and one that is due is a debt, an audit entry and a line of the Mac', async () => {
    const it = await enrolled();
    await checkIn(it);
    const sent = delivery(given, it.mac);
    const { recordId } = (await given.client.ask(`/v1/keys/${sent.id}`, { method: 'PUT', identity: it.identity, body: sent.request })).body;
    const grant = async (forId: string, more: object = {}) => {
      const { grantNonce } = await checkIn(it);
      const run = await makeRunKey();
      const unsigned = {
        purpose: 'prove' as const,
        recordId,
        forId,
        boot: it.mac.boot,
        publicKey: run.publicKey,
        enrolmentId: it.enrolmentId,
        grantNonce,
        ...more,
      };
      const body = { ...unsigned, signature: sign('sha256', Buffer.from(grantStatement(unsigned)), it.pair.privateKey).toString('base64') };
      return { body, answer: await given.client.ask('/v1/grants', { identity: it.identity, body }) };
    };
    expect(refusal((await grant(randomUUID())).answer)).toBe('403 GRANT_REFUSED');
    const order = (await checkIn(it)).proofOrders[0];
    expect(order).toBeDefined();
    expect(refusal((await grant(order?.id ?? '', { boot: newUuid() })).answer)).toBe('403 GRANT_REFUSED');
    expect(refusal((await grant(order?.id ?? '', { purpose: 'rotate' })).answer)).toBe('403 GRANT_REFUSED');
    expect(refusal((await grant(order?.id ?? '', { purpose: 'resolve' })).answer)).toBe('403 GRANT_REFUSED');
    const given1 = await grant(order?.id ?? '');
    expect(given1.answer.status).toBe(200);
    // Asked again for another run's key: the day's grant is given.
    expect(refusal((await grant(order?.id ?? '')).answer)).toBe('429 GRANT_LIMIT');
    // Sealed to the run that asked: what comes over the wire opens nothing for anybody else.
    expect(given1.answer.body.jwe.split('.')).toHaveLength(5);
    expect(given1.answer.text).not.toContain(sent.key);
    const { custody, store } = given.serving.backend;
    const macId = await custody.findMac(it.mac.serial);
    const acts = await store.db.selectFrom('audit').select('act').where('mac_id', '=', macId).orderBy('seq').execute();
    expect(acts.filter(({ act }) => act === 'grant.given')).toHaveLength(1);
    expect((await checkIn(it)).debts.map((debt) => debt.because)).toContain('granted');
  });

  test('the replayed request of a grant gives the sealed answer of before for 5 min, and nothing after the enrolment ended', async () => {
    const it = await enrolled();
    await checkIn(it);
    const sent = delivery(given, it.mac);
    const { recordId } = (await given.client.ask(`/v1/keys/${sent.id}`, { method: 'PUT', identity: it.identity, body: sent.request })).body;
    const { proofOrders, grantNonce } = await checkIn(it);
    const run = await makeRunKey();
    const unsigned = {
      purpose: 'prove' as const,
      recordId,
      forId: proofOrders[0]?.id ?? '',
      boot: it.mac.boot,
      publicKey: run.publicKey,
      enrolmentId: it.enrolmentId,
      grantNonce,
    };
    const body = { ...unsigned, signature: sign('sha256', Buffer.from(grantStatement(unsigned)), it.pair.privateKey).toString('base64') };
    const ask = (identity: Identity) => given.client.ask('/v1/grants', { identity, body });
    expect((await ask(it.identity)).status).toBe(200);
    // The same bytes from another Mac.
    const other = await enrolled();
    await checkIn(other);
    expect(refusal(await ask(other.identity))).toBe('403 GRANT_REFUSED');
    // The run's key cannot be swapped without the signature.
    const swapped = { ...body, publicKey: (await makeRunKey()).publicKey };
    expect(refusal(await given.client.ask('/v1/grants', { identity: it.identity, body: swapped }))).toBe('403 GRANT_REFUSED');
    expect((await ask(it.identity)).status).toBe(200);
    await revoke(given.serving.backend, { target: it.mac.serial, reason: 'stolen', actor: 'ada', keepCertificate: false });
    expect(refusal(await ask(it.identity))).toBe('403 ENROLMENT_REVOKED');
  });
});

describe('what was sent once', () => {
  test('an enrolment’s request is good once: replayed by another key, or with its nonce, it is refused', async () => {
    const mac = newMac();
    const profile = deviceIdentity({ CN: 'A Mac', serialNumber: mac.serial });
    const first = await enrol(given, mac, { profile });
    expect(first.answer.status).toBe(200);
    const again = await given.client.ask('/v1/enroll', { body: first.request });
    expect(refusal(again)).toBe('409 NONCE_REFUSED');
    const otherCsr = await enrol(given, mac, { profile, bend: (request) => ({ ...request, statement: first.request.statement, proof: first.request.proof }) });
    expect(refusal(otherCsr.answer)).toMatch(/^40[03] /);
  });

  test('a delivery that is repeated is the same key; a begin that is repeated after its end begins nothing', async () => {
    const it = await enrolled();
    await checkIn(it);
    const sent = delivery(given, it.mac);
    const put = () => given.client.ask(`/v1/keys/${sent.id}`, { method: 'PUT', identity: it.identity, body: sent.request });
    expect([(await put()).status, (await put()).status]).toEqual([201, 200]);
    const { custody } = given.serving.backend;
    const macId = await custody.findMac(it.mac.serial);
    await custody.orderRotation({ macId, actor: 'ada', reason: 'a test' });
    const { debts, recipients } = await checkIn(it);
    const id = randomUUID();
    const { hardwareUuid, volume, boot } = it.mac;
    const debtIds = debts.map((debt) => debt.id);
    const begin = { id, because: 'ordered', debtIds, hardwareUuid, volume, boot, recipient: recipients[0], escrowPayload: 'ours', grant: null };
    const ask = () => given.client.ask('/v1/rotations', { identity: it.identity, body: begin });
    expect([(await ask()).status, (await ask()).status]).toEqual([200, 200]);
    const made = delivery(given, it.mac, { source: 'rotation', validated: 'true', rotationId: id });
    const stored = await given.client.ask(`/v1/keys/${made.id}`, { method: 'PUT', identity: it.identity, body: made.request });
    expect(stored.body.state).toBe('held');
    const replayed = await ask();
    expect(replayed.status).not.toBe(200);
    const open = await given.serving.backend.store.db.selectFrom('rotation').select('state').where('mac_id', '=', macId).execute();
    expect(open.map((row) => row.state)).toEqual(['done']);
    // The replayed delivery of the old key does not make it the held one again.
    expect([(await put()).status, (await put()).body.state]).toEqual([200, 'superseded']);
  });

  test('a ticket lets one Mac in once: not a second key, not another serial, not another machine with its serial', async () => {
    const ticketed = await givenServer({ deviceCas: false, rates: { enroll: plenty, nonce: plenty } });
    const mac = newMac();
    const { ticket } = await ticketed.serving.backend.tickets.make({ serials: [mac.serial], days: 7, actor: 'ada' });
    const first = await enrol(ticketed, mac, { ticket });
    expect(first.answer.status).toBe(200);
    for (const other of [mac, newMac(), newMac({ serial: mac.serial })])
      expect(refusal((await enrol(ticketed, other, { ticket })).answer)).toBe('403 TICKET_REFUSED');
    const replayed = await ticketed.client.ask('/v1/enroll', { body: first.request });
    expect(refusal(replayed)).toBe('409 NONCE_REFUSED');
  });
});

describe('another protocol than the one that is spoken', () => {
  test.each(['0', '-1', '1.0', '01', ' ', '1, 1', '999999', '1e3', 'one'])('version “%s” is refused at every route', async (version) => {
    const asked = await requests({ privateKey: victim.pair.privateKey, enrolmentId: victim.enrolmentId });
    const before = await whatIsKept();
    for (const route of routes) {
      const { path, method, body } = asked[route];
      const answer = await given.client.ask(path, { method, body, identity: victim.identity, version });
      expect(refusal(answer)).toMatch(/^400 MESSAGE_INVALID|^426 PROTOCOL_TOO_NEW/);
      expect(await whatIsKept()).toBe(before);
    }
  });

  test('TLS 1.2, 1.1 and 1.0 are refused', async () => {
    for (const maxVersion of ['TLSv1.2', 'TLSv1.1', 'TLSv1'] as const) {
      const socket = connect({ host: '127.0.0.1', port: given.client.port, ca: given.ca, minVersion: 'TLSv1', maxVersion, ...victim.identity });
      const ended = await new Promise<string>((resolve) => {
        socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'error'));
        socket.on('secureConnect', () => resolve('connected'));
      });
      socket.destroy();
      expect(ended).not.toBe('connected');
    }
  });
});

/** What is written to the socket as it is: Node's own client would send none of these. */
async function raw(text: string, identity: Identity | null): Promise<string> {
  const socket = connect({ host: '127.0.0.1', port: given.client.port, ca: given.ca, ...identity });
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.on('error', reject);
    socket.on('close', () => resolve(Buffer.concat(chunks).toString('latin1')));
    socket.on('secureConnect', () => socket.write(text, 'latin1'));
    socket.setTimeout(60_000, () => socket.destroy());
  });
}

describe('headers that want to be more', () => {
  const head = (lines: string[], body: string): string => `${['POST /v1/check-in HTTP/1.1', 'host: 127.0.0.1', ...lines].join('\r\n')}\r\n\r\n${body}`;
  const body = () => JSON.stringify(checkInBody(victim.mac));
  const usual = () => [`${protocolHeader}: 1`, 'content-type: application/json', `content-length: ${Buffer.byteLength(body())}`, 'connection: close'];

  test('the plain request is answered: what follows is refused for what it adds', async () => {
    expect(await raw(head(usual(), body()), victim.identity)).toMatch(/^HTTP\/1\.1 200 /);
  });

  test.each([
    ['two lengths', () => [...usual(), 'content-length: 2']],
    ['a length and chunks', () => [...usual(), 'transfer-encoding: chunked']],
    ['a bare line feed in a value', () => [...usual(), 'x-request-id: a\nx-evil: 1']],
    ['a NUL in a value', () => [...usual(), 'x-request-id: a\0b']],
    ['a folded header', () => [...usual(), 'x-request-id: a', ' x-evil: 1']],
    ['a space before the colon', () => [...usual(), 'x-ssl-client-verify : SUCCESS']],
  ])('%s is refused before any route', async (_name, lines) => {
    expect(await raw(head(lines(), body()), victim.identity)).toMatch(/^HTTP\/1\.1 400 /);
  });

  test('a request id of the client’s own is not taken, and no header of a request comes back in the answer', async () => {
    const answer = await raw(
      head([...usual(), 'x-request-id: evil-id', 'x-http-method-override: DELETE', 'x-original-url: /v1/grants'], body()),
      victim.identity,
    );
    expect(answer).toMatch(/^HTTP\/1\.1 200 /);
    expect(answer).not.toContain('evil-id');
  });

  test('two requests in one are two requests, and the second has the certificate of the first, not of its header', async () => {
    const second = `POST /v1/check-in HTTP/1.1\r\nhost: 127.0.0.1\r\n${protocolHeader}: 1\r\ncontent-type: application/json\r\nx-ssl-client-cert: ${encodeURIComponent(victim.identity.cert)}\r\nconnection: close\r\ncontent-length: ${Buffer.byteLength(body())}\r\n\r\n${body()}`;
    const first = `POST /v1/nonce HTTP/1.1\r\nhost: 127.0.0.1\r\n${protocolHeader}: 1\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}`;
    const answer = await raw(first + second, null);
    expect(answer.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 403']);
    expect(answer).toContain('CLIENT_HEADER_REFUSED');
  });
});

describe('revocation', () => {
  test('takes effect on the next request, also of a connection that stays open, at every route, and is shown', async () => {
    const it = await enrolled();
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const sent = delivery(given, it.mac);
    const ask = (path: string, method: string, body: object) => given.client.ask(path, { method, body, identity: it.identity, agent });
    expect((await ask('/v1/check-in', 'POST', checkInBody(it.mac))).status).toBe(200);
    await revoke(given.serving.backend, { target: it.mac.serial, reason: 'stolen in the field', actor: 'ada', keepCertificate: false });
    for (const [path, method, body] of [
      ['/v1/check-in', 'POST', checkInBody(it.mac)],
      [`/v1/keys/${sent.id}`, 'PUT', sent.request],
      ['/v1/rotations', 'POST', {}],
      ['/v1/grants', 'POST', {}],
    ] as const)
      expect(refusal(await ask(path, method, body))).toBe('403 ENROLMENT_REVOKED');
    agent.destroy();
    const shown = await revocations(given.serving.backend, 0);
    expect(shown.text).toContain(it.enrolmentId);
    const { text, json } = await status(given.serving.backend, it.mac.serial);
    expect(json).toMatchObject({ enrolments: [{ id: it.enrolmentId, status: 'revoked', because: 'stolen in the field' }] });
    expect(text).toContain('revoked: stolen in the field');
    const acts = await given.serving.backend.store.db
      .selectFrom('audit')
      .select(['actor', 'details'])
      .where('act', '=', 'enrolment.revoked')
      .orderBy('seq')
      .execute();
    expect(acts.some(({ actor, details }) => actor === 'ada' && details.includes('stolen in the field'))).toBe(true);
  });
});

test('there is no route but those of the table, and the two that ask for no certificate', () => {
  const folder = join(import.meta.dirname, '../server');
  const added = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .flatMap((name) => [...readFileSync(join(folder, name), 'utf8').matchAll(/\bapp\s*\.(?:get|post|put|patch|delete|all)\b[^(]*\(\s*'([^']+)'/g)])
    .map(([, path]) => path);
  expect(added.toSorted()).toEqual(['/v1/check-in', '/v1/enroll', '/v1/grants', '/v1/keys/:envelopeId', '/v1/nonce', '/v1/rotations']);
});

test('the same requests by the Mac itself are answered, so that every refusal above is for who asked', async () => {
  const { 'check-in': check, grants, keys, rotations } = await requests({ privateKey: victim.pair.privateKey, enrolmentId: victim.enrolmentId });
  const ask = ({ path, method, body }: Asking) => given.client.ask(path, { method, body, identity: victim.identity });
  expect((await ask(grants)).status).toBe(200);
  expect((await ask(keys)).status).toBe(201);
  expect((await ask(rotations)).status).toBe(200);
  expect((await ask(check)).status).toBe(200);
});
