import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { makeCsr } from '../protocol/csr.ts';
import { assign } from '../server/assignments.ts';
import { claimHistory, claimsOf } from '../server/store/assignments.ts';
import { checkInBody, deviceIdentity, enrol, foreignCa, type GivenServer, givenServer, newMac, newPair, newUuid } from './given-server.ts';
import { signTo } from './sign-statement.ts';

let given: GivenServer;
beforeAll(async () => {
  given = await givenServer({
    rates: { enroll: { perMinute: 6000, burst: 1000 }, nonce: { perMinute: 6000, burst: 1000 }, refused: { perMinute: 6000, burst: 1000 } },
  });
});
const db = () => given.serving.backend.store.db;
const profileFor = (serial: string) => deviceIdentity({ CN: 'A Mac', serialNumber: serial });
const alarmsOf = async (macId: string) =>
  (await db().selectFrom('alarm').select('code').where('mac_id', '=', macId).where('judged_at', 'is', null).execute()).map(({ code }) => code);
const enrolmentRow = (id: string) => db().selectFrom('enrolment').selectAll().where('id', '=', id).executeTakeFirstOrThrow();

describe('by the profile’s identity', () => {
  test('a Mac gets a certificate of the agent CA for 400 days, whose name is the enrolment', async () => {
    const mac = newMac();
    const { answer, enrolmentId, pair } = await enrol(given, mac, { profile: profileFor(mac.serial) });
    expect(answer.status).toBe(200);
    expect(answer.headers['cache-control']).toBe('no-store');
    const leaf = new X509Certificate(answer.body.certificate);
    expect(leaf.subject).toBe(`CN=${enrolmentId}`);
    expect(leaf.checkPrivateKey(pair.privateKey)).toBe(true);
    expect((leaf.validToDate.getTime() - Date.now()) / 86_400_000).toBeGreaterThan(399);
    expect((Date.now() - leaf.validFromDate.getTime()) / 60_000).toBeGreaterThan(59);
    expect(answer.body).toMatchObject({ serialProved: true, confirmed: true, notAfter: leaf.validToDate.toISOString() });
  });

  test('statement and proof are stored with the enrolment, and the audit names them', async () => {
    const mac = newMac();
    const { enrolmentId, request } = await enrol(given, mac, { profile: profileFor(mac.serial) });
    const row = await enrolmentRow(enrolmentId);
    expect(row.statement).toBe(request.statement);
    expect(Buffer.from(row.proof).toString('base64')).toBe((request.proof as { signedData: string }).signedData);
    const kept = await db().selectFrom('enrolment_proof').selectAll().where('enrolment_id', '=', enrolmentId).execute();
    expect(kept).toHaveLength(1);
    const audited = await db().selectFrom('audit').selectAll().where('mac_id', '=', row.mac_id).where('act', '=', 'enrolment.made').orderBy('seq').execute();
    expect(audited).toHaveLength(1);
    expect(JSON.parse(audited[0]?.details ?? '')).toMatchObject({ enrolmentId, serial: mac.serial, way: 'profile' });
  });

  test('a certificate without a serial proves its subject, and the serial is a claim that confirms nothing', async () => {
    const mac = newMac();
    const { answer } = await enrol(given, mac, { profile: deviceIdentity({ CN: 'some mac' }) });
    expect(answer.body).toMatchObject({ serialProved: false, confirmed: false });
  });

  test('a nonce is good for one enrolment', async () => {
    const mac = newMac();
    const profile = profileFor(mac.serial);
    const { nonce } = (await given.client.ask('/v1/nonce', { body: {} })).body;
    expect((await enrol(given, mac, { profile, nonce })).answer.status).toBe(200);
    const { answer } = await enrol(given, mac, { profile, nonce });
    expect(answer.status).toBe(409);
    expect(answer.body.code).toBe('NONCE_REFUSED');
  });

  test.each([
    ['a nonce that is not ours', { nonce: Buffer.alloc(72, 1).toString('base64url') }, 409, 'NONCE_REFUSED'],
    ['a statement for another server', { server: 'https://other.example.org' }, 400, 'STATEMENT_REFUSED'],
    ['a statement of another form', { bend: (request: object) => ({ ...request, statement: 'sparekey enrolment 2\n' }) }, 400, 'STATEMENT_REFUSED'],
    [
      'a request for another key than the statement names',
      { bend: (request: object) => ({ ...request, csr: makeCsr(newPair().privateKey).toString('base64') }) },
      400,
      'STATEMENT_REFUSED',
    ],
    ['no certificate request', { csr: Buffer.from('nonsense') }, 400, 'CSR_REFUSED'],
    ['no signed statement', { signed: () => Buffer.from('nonsense').toString('base64') }, 403, 'PROOF_REFUSED'],
    [
      'another statement that was signed',
      { signed: (statement: string) => signTo(statement.replace('none', 'other'), profileFor('C02OTHER0001')) },
      403,
      'PROOF_REFUSED',
    ],
    ['an unknown field', { bend: (request: object) => ({ ...request, serial: 'C02MINE00001' }) }, 400, 'MESSAGE_INVALID'],
  ])('%s is refused', async (_name, how, status, code) => {
    const mac = newMac();
    const { answer } = await enrol(given, mac, { profile: profileFor(mac.serial), ...how });
    expect([answer.status, answer.body.code]).toEqual([status, code]);
    expect(answer.headers['content-type']).toMatch('application/problem+json');
  });

  test('a weak signature is refused: SHA-1, or an RSA key of 1024 bits', async () => {
    const mac = newMac();
    const profile = profileFor(mac.serial);
    const sha1 = await enrol(given, mac, { signed: (statement) => signTo(statement, profile, 'SHA1') });
    expect([sha1.answer.status, sha1.answer.body.code]).toEqual([403, 'PROOF_REFUSED']);
    const short = deviceIdentity({ CN: 'A Mac', serialNumber: mac.serial }, { pair: generateKeyPairSync('rsa', { modulusLength: 1024 }) });
    const rsa = await enrol(given, mac, { profile: short });
    expect([rsa.answer.status, rsa.answer.body.code]).toEqual([403, 'PROOF_REFUSED']);
  });

  test.each([
    ['of a foreign CA', () => ({ ca: foreignCa })],
    ['that has expired', () => ({ at: new Date(Date.now() - 400 * 86_400_000), days: 30 })],
  ])('a profile certificate %s is refused', async (_name, options) => {
    const mac = newMac();
    const { answer } = await enrol(given, mac, { profile: deviceIdentity({ CN: 'x', serialNumber: mac.serial }, options()) });
    expect([answer.status, answer.body.code]).toEqual([403, 'PROOF_REFUSED']);
  });

  test('a certificate that names another serial than the Mac has is refused', async () => {
    const { answer } = await enrol(given, newMac(), { profile: profileFor('C02SOMEBODY1') });
    expect(answer.body.code).toBe('PROOF_REFUSED');
  });
});

describe('by a TLS certificate of a device CA', () => {
  test('the connection proves it, and no body does', async () => {
    const mac = newMac();
    const tls = profileFor(mac.serial);
    expect((await enrol(given, mac, { tls })).answer.body).toMatchObject({ serialProved: true });
    const without = await enrol(given, mac, { bend: (request) => ({ ...request, proof: { kind: 'tls' } }) });
    expect(without.answer.body.code).toBe('PROOF_REFUSED');
  });
});

describe('again', () => {
  test('the same key is the same enrolment with a fresh certificate', async () => {
    const mac = newMac();
    const profile = profileFor(mac.serial);
    const first = await enrol(given, mac, { profile });
    const second = await enrol(given, mac, { profile, pair: first.pair });
    expect(second.enrolmentId).toBe(first.enrolmentId);
    expect(second.identity.cert).not.toBe(first.identity.cert);
    expect((await given.client.ask('/v1/check-in', { identity: second.identity, body: checkInBody(mac) })).status).toBe(200);
    // Now that the new one was used.
    const old = await given.client.ask('/v1/check-in', { identity: first.identity, body: checkInBody(mac) });
    expect([old.status, old.body.code]).toEqual([401, 'CERTIFICATE_REPLACED']);
  });

  test('a continuation goes on with the new key; the old certificate works until the new one was used', async () => {
    const mac = newMac();
    const profile = profileFor(mac.serial);
    const first = await enrol(given, mac, { profile });
    const second = await enrol(given, mac, { profile, continues: { enrolmentId: first.enrolmentId, privateKey: first.pair.privateKey } });
    expect(second.enrolmentId).toBe(first.enrolmentId);
    expect((await given.client.ask('/v1/check-in', { identity: first.identity, body: checkInBody(mac) })).status).toBe(200);
    // The agent died before it kept the second: a third continues from the first, which is still in use.
    const third = await enrol(given, mac, { profile, continues: { enrolmentId: first.enrolmentId, privateKey: first.pair.privateKey } });
    expect(third.enrolmentId).toBe(first.enrolmentId);
    expect((await given.client.ask('/v1/check-in', { identity: third.identity, body: checkInBody(mac) })).status).toBe(200);
    for (const old of [first, second]) {
      const answer = await given.client.ask('/v1/check-in', { identity: old.identity, body: checkInBody(mac) });
      expect([answer.status, answer.body.code]).toEqual([401, 'CERTIFICATE_REPLACED']);
    }
    const kept = await db().selectFrom('enrolment_proof').select('statement').where('enrolment_id', '=', first.enrolmentId).execute();
    expect(kept).toHaveLength(3);
  });

  test('a continuation that another key signed makes a new enrolment', async () => {
    const mac = newMac();
    const profile = profileFor(mac.serial);
    const first = await enrol(given, mac, { profile });
    const second = await enrol(given, mac, { profile, continues: { enrolmentId: first.enrolmentId, privateKey: newPair().privateKey } });
    expect(second.answer.status).toBe(200);
    expect(second.enrolmentId).not.toBe(first.enrolmentId);
  });

  test('set up again, same serial and hardware: no alarm, the Mac is nobody’s any more, the older one replaced a day later', async () => {
    const mac = newMac();
    const profile = profileFor(mac.serial);
    const first = await enrol(given, mac, { profile });
    const { mac_id: macId } = await enrolmentRow(first.enrolmentId);
    await given.serving.backend.store.write((tx) => assign(tx, Date.now(), { macId, userName: 'ada', account: null, actor: 'olivia', reason: 'hers' }));
    const second = await enrol(given, mac, { profile });
    const rows = [await enrolmentRow(first.enrolmentId), await enrolmentRow(second.enrolmentId)];
    expect(rows.map((row) => row.mac_id)).toEqual([macId, macId]);
    expect(await alarmsOf(macId)).toEqual([]);
    expect(await claimsOf(db(), macId)).toEqual([]);
    expect((await claimHistory(db(), macId)).map((claim) => [claim.user_name, claim.ended_because])).toEqual([['ada', 'set up again']]);
    expect(((rows[0]?.replaced_after ?? 0) - Date.now()) / 3_600_000).toBeCloseTo(24, 1);
    expect(rows[1]?.replaced_after).toBeNull();
  });

  test('set up again is not confirmed at once: a CA that gives any serial to anyone gives nobody the keys of another enrolment', async () => {
    const mac = newMac();
    const [first, second] = [await enrol(given, mac, { profile: profileFor(mac.serial) }), await enrol(given, mac, { profile: profileFor(mac.serial) })];
    expect([first.answer.body.confirmed, second.answer.body.confirmed]).toEqual([true, false]);
    await given.serving.backend.custody.sweepTimers();
    expect((await enrolmentRow(second.enrolmentId)).confirmed).toBe(0);
  });

  test('another hardware UUID for a known serial is an alarm, is not confirmed, and takes nothing over', async () => {
    const mac = newMac();
    const profile = profileFor(mac.serial);
    const first = await enrol(given, mac, { profile });
    const second = await enrol(given, { ...mac, hardwareUuid: newUuid() }, { profile });
    const [one, other] = [await enrolmentRow(first.enrolmentId), await enrolmentRow(second.enrolmentId)];
    expect(await alarmsOf(one.mac_id)).toContain('SERIAL_CONFLICT');
    expect([one.status, one.replaced_after, other.confirmed]).toEqual(['active', null, 0]);
  });

  test('a claimed serial never joins the Mac that proved it: another Mac, and an alarm at the claimer, who stops nobody else by it', async () => {
    const mac = newMac();
    const first = await enrol(given, mac, { profile: profileFor(mac.serial) });
    const claim = await enrol(given, mac, { profile: deviceIdentity({ CN: 'no serial here' }) });
    const [one, other] = [await enrolmentRow(first.enrolmentId), await enrolmentRow(claim.enrolmentId)];
    expect(other.mac_id).not.toBe(one.mac_id);
    expect(await alarmsOf(one.mac_id)).toEqual([]);
    expect(await alarmsOf(other.mac_id)).toContain('SERIAL_CONFLICT');
  });

  test('a key that another Mac enrolled is refused', async () => {
    const mac = newMac();
    const first = await enrol(given, mac, { profile: profileFor(mac.serial) });
    const other = newMac();
    const { answer } = await enrol(given, other, { profile: profileFor(other.serial), pair: first.pair });
    expect([answer.status, answer.body.code]).toEqual([409, 'IDENTITY_MOVED']);
  });
});

describe('by ticket', () => {
  let ticketed: GivenServer;
  beforeAll(async () => {
    ticketed = await givenServer({ deviceCas: false, rates: { enroll: { perMinute: 6000, burst: 1000 } } });
  });
  const make = (serials: string[], days = 7) => ticketed.serving.backend.tickets.make({ serials, days, actor: 'ada' });

  test('a serial of its inventory enrols once, unproved and unconfirmed', async () => {
    const mac = newMac();
    const { ticket } = await make([mac.serial]);
    const { answer, identity } = await enrol(ticketed, mac, { ticket });
    expect(answer.body).toMatchObject({ serialProved: false, confirmed: false });
    expect((await ticketed.client.ask('/v1/check-in', { identity, body: checkInBody(mac) })).status).toBe(200);
    const again = await enrol(ticketed, mac, { ticket });
    expect([again.answer.status, again.answer.body.code]).toEqual([403, 'TICKET_REFUSED']);
  });

  test('the same key may ask again, because a reply can be lost', async () => {
    const mac = newMac();
    const { ticket } = await make([mac.serial]);
    const first = await enrol(ticketed, mac, { ticket });
    const second = await enrol(ticketed, mac, { ticket, pair: first.pair });
    expect(second.enrolmentId).toBe(first.enrolmentId);
  });

  test('it goes on with its own ticket when that has expired, by the signature of its key', async () => {
    const mac = newMac();
    const { ticket, id } = await make([mac.serial]);
    const first = await enrol(ticketed, mac, { ticket });
    await ticketed.serving.backend.store.write(async (tx) => void (await tx.updateTable('ticket').set({ expires_at: 1 }).where('id', '=', id).execute()));
    const second = await enrol(ticketed, mac, { ticket, continues: { enrolmentId: first.enrolmentId, privateKey: first.pair.privateKey } });
    expect(second.enrolmentId).toBe(first.enrolmentId);
    const stranger = newMac();
    expect((await enrol(ticketed, stranger, { ticket })).answer.body.code).toBe('TICKET_REFUSED');
  });

  test.each([
    ['an expired ticket', async (serial: string) => (await make([serial], -1)).ticket],
    [
      'a ticket that was ended',
      async (serial: string) => {
        const { ticket, id } = await make([serial]);
        await ticketed.serving.backend.tickets.end(id, 'ada');
        return ticket;
      },
    ],
    ['a ticket whose inventory has not this serial', async () => (await make(['C02SOMEELSE1'])).ticket],
    ['a ticket that was made up', async () => `abcdef.${Buffer.alloc(32, 7).toString('base64url')}`],
    ['the id of a ticket with another secret', async (serial: string) => `${(await make([serial])).id}.${Buffer.alloc(32, 7).toString('base64url')}`],
  ])('%s is refused', async (_name, of) => {
    const mac = newMac();
    const { answer } = await enrol(ticketed, mac, { ticket: await of(mac.serial) });
    expect([answer.status, answer.body.code]).toEqual([403, 'TICKET_REFUSED']);
  });

  test('an admin’s click lets an erased Mac in again, as the Mac that it was', async () => {
    const mac = newMac();
    const { ticket, id } = await make([mac.serial]);
    const first = await enrol(ticketed, mac, { ticket });
    await ticketed.serving.backend.tickets.allow({ id, serial: mac.serial, actor: 'ada', reason: 'erased' });
    const second = await enrol(ticketed, mac, { ticket });
    const macs = await ticketed.serving.backend.store.db
      .selectFrom('enrolment')
      .select('mac_id')
      .where('id', 'in', [first.enrolmentId, second.enrolmentId])
      .execute();
    expect(new Set(macs.map((row) => row.mac_id)).size).toBe(1);
    expect((await enrol(ticketed, mac, { ticket })).answer.body.code).toBe('TICKET_REFUSED');
  });

  test('with device CAs tickets are off, unless a setting says both', async () => {
    const mac = newMac();
    const { ticket } = await given.serving.backend.tickets.make({ serials: [mac.serial], days: 7, actor: 'ada' });
    expect((await enrol(given, mac, { ticket })).answer.body.code).toBe('TICKET_REFUSED');
    const both = await givenServer({ settings: { ticketsBesideDeviceCas: true } });
    const other = await both.serving.backend.tickets.make({ serials: [mac.serial], days: 7, actor: 'ada' });
    expect((await enrol(both, mac, { ticket: other.ticket })).answer.status).toBe(200);
  });

  test('the database alone does not give a ticket away', async () => {
    const mac = newMac();
    const { ticket } = await make([mac.serial]);
    const secret = Buffer.from(ticket.split('.')[1] ?? '', 'base64url');
    const rows = await ticketed.serving.backend.store.db.selectFrom('ticket').selectAll().execute();
    for (const row of rows) expect(Buffer.from(row.sealed).includes(secret)).toBe(false);
  });
});
