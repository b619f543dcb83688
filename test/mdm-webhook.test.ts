import { createHash, generateKeyPairSync, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { sealKey } from '../protocol/envelope.ts';
import { makeEscrowCertificate } from '../server/certificates.ts';
import { isSigned, knowsKey, readEvent } from '../server/mdm/webhook-event.ts';
import { makeEscrowFile } from './fake-mac/escrow-file.ts';
import { encode, everything, type GivenMdm, givenMdm, type ManagedMac, securityOf, signatureOf } from './mdm-parts.ts';
import { keptLog } from './neighbours-together.ts';
import { day, hour, minute } from './server-parts.ts';

/* What an MDM's webhook may bring, whoever wrote it: each event has its fate and its reason, and the log says it. */

const { lines, log } = keptLog();

const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const foreignRecipient = makeEscrowCertificate({ commonName: 'Escrow of the MDM', privateKey, years: 2, at: new Date() });

let it: GivenMdm;
beforeAll(async () => {
  it = await givenMdm({ log });
});
/** The reason of the last event that came. */
const because = (): unknown => lines.findLast(({ event }) => event === 'mdm-event')?.['because'];
const nothingWasKept = async (mac: ManagedMac) => expect(await it.brought(mac)).toEqual([]);

describe('the signature', () => {
  test('of the vector that NanoMDM’s own form gives: base64 of HMAC-SHA-256 over the raw body, nothing before it', () => {
    const body = Buffer.from('{"created_at":"2026-08-20T12:34:56Z","topic":"mdm.Connect"}');
    const key = Buffer.from('example-webhook-hmac-key');
    expect(isSigned(key, body, 'bDFydkBnrpR/fVKOmMKxSixewDHlgGgdDAhLPQ0RFZw=')).toBe(true);
    for (const wrong of [
      '',
      undefined,
      ['bDFydkBnrpR/fVKOmMKxSixewDHlgGgdDAhLPQ0RFZw='],
      'sha256=bDFydkBnrpR/fVKOmMKxSixewDHlgGgdDAhLPQ0RFZw=',
      `${'A'.repeat(43)}=`,
    ])
      expect(isSigned(key, body, wrong)).toBe(false);
    expect(isSigned(key, Buffer.concat([body, Buffer.from('\n')]), 'bDFydkBnrpR/fVKOmMKxSixewDHlgGgdDAhLPQ0RFZw=')).toBe(false);
  });

  test.each([
    ['none', {}],
    ['one of another key', { 'x-hmac-signature': signatureOf(Buffer.from('x'), 'another key of a webhook, as long') }],
    ['no base64', { 'x-hmac-signature': '!'.repeat(44) }],
    [
      'the key itself in Basic authentication, as MicroMDM would send it',
      { authorization: `Basic ${Buffer.from('mdm:a key of a webhook, long enough').toString('base64')}` },
    ],
  ])('a webhook with %s is refused and changes nothing', async (_, headers) => {
    const mac = it.newMac();
    const answer = await it.post(it.event('mdm.Authenticate', { udid: mac.udid, raw_payload: encode({ SerialNumber: mac.serial }) }), headers);
    expect([answer.status, answer.body.code]).toEqual([403, 'WEBHOOK_REFUSED']);
    expect(await it.db.selectFrom('mdm_device').selectAll().where('id', '=', mac.udid).execute()).toEqual([]);
  });

  test('of a body that was changed on its way is refused', async () => {
    const mac = it.newMac();
    const event = it.event('mdm.Authenticate', { udid: mac.udid, raw_payload: encode({ SerialNumber: mac.serial }) });
    const changed = Buffer.from(JSON.stringify(event).replace('mdm.Authenticate', 'mdm.CheckOut'));
    expect((await it.post(changed, { 'x-hmac-signature': signatureOf(Buffer.from(JSON.stringify(event))) })).status).toBe(403);
  });

  test('MicroMDM has none: there the key is the password of Basic authentication', () => {
    const key = Buffer.from('a key of a webhook, long enough');
    const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`;
    expect(knowsKey(key, basic('mdm:a key of a webhook, long enough'))).toBe(true);
    for (const wrong of [
      undefined,
      '',
      'Basic',
      basic('a key of a webhook, long enough'),
      basic('mdm:'),
      basic('mdm:a key of a webhook'),
      'Bearer a key of a webhook, long enough',
    ])
      expect(knowsKey(key, wrong)).toBe(false);
  });
});

describe('NanoMDM’s published examples', () => {
  // micromdm/nanomdm, service/webhook/testdata, MIT licence.
  const example = (name: string): Buffer => readFileSync(join(import.meta.dirname, 'mdm-examples', name));

  test.each(['Authenticate.2.json', 'Authenticate.2.older.json'])('%s tells the serial number of a device, byte for byte', async (name) => {
    const event = readEvent(example(name));
    expect(event).toMatchObject({ topic: 'mdm.Authenticate', deviceId: '66ADE930-5FDF-5EC4-8429-15640684C489', status: null, commandUuid: null });
    if (!event) throw new TypeError('no event');
    expect(await it.mdm.take(everything, event, createHash('sha256').update(example(name)).digest('hex'))).toEqual({ fate: 'taken', because: 'enrolled' });
    expect(await it.db.selectFrom('mdm_device').select(['serial', 'udid']).where('id', '=', '66ADE930-5FDF-5EC4-8429-15640684C489').execute()).toEqual([
      { serial: 'C02MT66KFLHH', udid: '66ADE930-5FDF-5EC4-8429-15640684C489' },
    ]);
    expect(await it.mdm.take(everything, event, createHash('sha256').update(example(name)).digest('hex'))).toEqual({
      fate: 'repeated',
      because: 'seen-before',
    });
  });

  test.each(['DeviceInformation.1.json', 'DeviceInformation.1.older.json'])('%s is read, and has nothing that is asked for here', async (name) => {
    const event = readEvent(example(name));
    expect(event).toMatchObject({ topic: 'mdm.Connect', status: 'Acknowledged', commandUuid: '76eda240-5488-4989-8339-f2ae160113c4' });
    if (!event) throw new TypeError('no event');
    expect(await it.mdm.take(everything, event, createHash('sha256').update(example(name)).digest('hex'))).toEqual({
      fate: 'ignored',
      because: 'nothing-for-us',
    });
  });

  test('by the webhook they are refused: they say that they are of the year 1', async () => {
    const answer = await it.post(example('Authenticate.2.json'));
    expect([answer.status, answer.body.code]).toEqual([400, 'WEBHOOK_LATE']);
  });

  test('a SecurityInfo in the order of keys that NanoMDM writes is taken', async () => {
    const mac = it.newMac();
    await it.authenticate(mac);
    const uuid = '9f0c2f34-2d2c-4a51-8e3a-0f1f3d0c1a11';
    const payload = encode({ CommandUUID: uuid, SecurityInfo: securityOf(mac), Status: 'Acknowledged', UDID: mac.udid });
    const body = `{"acknowledge_event":{"command_uuid":"${uuid}","ids":{"id":"${mac.udid}","type":"Device"},"raw_payload":"${payload}","status":"Acknowledged","udid":"${mac.udid}"},"created_at":"${new Date(it.now()).toISOString().replace('Z', '123456Z')}","event_id":"a1b2c3d4","topic":"mdm.Connect"}`;
    expect((await it.post(Buffer.from(body))).status).toBe(200);
    expect(await it.keyOf(mac)).toBe('key-waiting');
  });
});

describe('an event', () => {
  test('is answered with 200 and nothing else, whatever becomes of it', async () => {
    const mac = it.newMac();
    const answer = await it.post(it.event('mdm.SomethingNew', { udid: mac.udid }));
    expect([answer.status, answer.text, because()]).toEqual([200, '', 'unknown-topic']);
    expect((await it.post(it.event('mdm.GetToken', { udid: mac.udid }))).status).toBe(200);
    expect(because()).toBe('nothing-for-us');
    expect((await it.post(it.event('mdm.Connect', { status: 'Idle' }))).status).toBe(200);
    expect(because()).toBe('no-device');
    expect((await it.post(it.event('mdm.Connect', { udid: mac.udid, status: 'Idle', command_uuid: '' }))).status).toBe(200);
    expect(because()).toBe('heard');
  });

  test.each([
    ['no JSON', Buffer.from('topic=mdm.Connect'), 400, 'MESSAGE_INVALID'],
    ['JSON of another form', Buffer.from('[]'), 400, 'MESSAGE_INVALID'],
    ['no time', Buffer.from('{"topic":"mdm.Connect"}'), 400, 'MESSAGE_INVALID'],
    ['a time that is none', Buffer.from('{"topic":"mdm.Connect","created_at":"yesterday"}'), 400, 'MESSAGE_INVALID'],
    ['bytes that are no UTF-8', Buffer.from([0x7b, 0xff, 0x7d]), 400, 'MESSAGE_INVALID'],
    [
      'a device name that would break a line',
      Buffer.from(`{"topic":"mdm.Connect","created_at":"${new Date().toISOString()}","acknowledge_event":{"udid":"a\\nb","status":"Idle"}}`),
      400,
      'MESSAGE_INVALID',
    ],
    ['nothing in it', Buffer.alloc(0), 400, 'MESSAGE_INVALID'],
  ])('with %s is refused, though it is signed', async (_, body, status, code) => {
    const answer = await it.post(body, { 'x-hmac-signature': signatureOf(body) });
    expect([answer.status, answer.body.code]).toEqual([status, code]);
  });

  test('that is huge is refused before it is read', async () => {
    const body = Buffer.alloc(4 * 1024 * 1024 + 1, 0x20);
    const answer = await it
      .post(body, { 'x-hmac-signature': signatureOf(body) })
      .catch((error: NodeJS.ErrnoException) => ({ status: 0, body: { code: error.code } }));
    // Its answer may be lost with the connection that is closed behind it: that is the only other end.
    if (answer.status === 0) expect(answer.body.code).toMatch(/^(ECONNRESET|EPIPE)$/);
    else expect(answer.status).toBe(413);
    expect((await it.post(Buffer.from('{}'), {})).status).toBe(403);
  });

  test('that is huge and does not say so is refused while it is read', async () => {
    const answer = await new Promise<{ status: number; text: string }>((resolve, reject) => {
      const sent = request({ host: '127.0.0.1', port: it.webhook.port, path: '/v1/mdm/webhook', method: 'POST', ca: it.webhook.ca, agent: false }, (reply) => {
        let text = '';
        reply.on('data', (chunk: Buffer) => {
          text += chunk.toString('utf8');
        });
        reply.on('end', () => resolve({ status: reply.statusCode ?? 0, text }));
      });
      // The other side closes while this one still speaks.
      sent.on('error', (error: NodeJS.ErrnoException) => (error.code === 'EPIPE' || error.code === 'ECONNRESET' ? undefined : reject(error)));
      for (let i = 0; i < 5; i += 1) sent.write(Buffer.alloc(1024 * 1024, 0x20));
      sent.end();
    });
    expect([answer.status, JSON.parse(answer.text).detail]).toEqual([413, 'more than 4194304 bytes']);
  });

  test('of before the window, or of a clock that is ahead, is refused', async () => {
    const mac = it.newMac();
    for (const off of [-16 * minute, 6 * minute]) {
      const event = { ...it.event('mdm.Connect', { udid: mac.udid, status: 'Idle' }), created_at: new Date(it.now() + off).toISOString() };
      const answer = await it.post(event);
      expect([answer.status, answer.body.code]).toEqual([400, 'WEBHOOK_LATE']);
    }
  });

  test('of a Mac that was heard a moment ago writes nothing', async () => {
    const mac = it.newMac();
    await it.authenticate(mac);
    const seen = async () => (await it.db.selectFrom('mdm_device').select('last_seen_at').where('id', '=', mac.udid).executeTakeFirstOrThrow()).last_seen_at;
    const first = await seen();
    const idle = () => it.post(it.event('mdm.Connect', { udid: mac.udid, status: 'Idle' }));
    it.pass(minute);
    await idle();
    expect([because(), await seen()]).toEqual(['heard', first]);
    it.pass(5 * minute);
    await idle();
    expect(await seen()).toBe(it.now());
  });

  test('that is replayed within the window says nothing new; after the window it is too late', async () => {
    const mac = it.newMac();
    await it.authenticate(mac);
    const event = it.event('mdm.Connect', {
      udid: mac.udid,
      status: 'Acknowledged',
      command_uuid: 'A',
      raw_payload: encode({ CommandUUID: 'A', UDID: mac.udid, SecurityInfo: securityOf(mac) }),
    });
    const body = Buffer.from(JSON.stringify(event));
    expect((await it.post(body)).status).toBe(200);
    expect(because()).toBe('key-waiting');
    expect((await it.post(body)).status).toBe(200);
    expect(because()).toBe('seen-before');
    expect(await it.brought(mac)).toHaveLength(1);
    it.pass(16 * minute);
    await it.mdm.sweep({ ...everything, canAsk: false });
    expect((await it.post(body)).body.code).toBe('WEBHOOK_LATE');
    it.pass(2 * day + hour);
    await it.mdm.sweep({ ...everything, canAsk: false });
    expect(await it.db.selectFrom('mdm_event').selectAll().execute()).toEqual([]);
  });

  test('with a secret in it is dropped unread: nothing of it is kept, or logged', async () => {
    const mac = it.newMac();
    const before = lines.length;
    for (const topic of ['mdm.SetBootstrapToken', 'mdm.GetBootstrapToken', 'mdm.TokenUpdate', 'mdm.UserAuthenticate']) {
      const payload = encode({ BootstrapToken: Buffer.from('the Bootstrap Token'), UDID: mac.udid });
      expect(readEvent(Buffer.from(JSON.stringify(it.event(topic, { udid: mac.udid, raw_payload: payload }))))?.payload).toBeNull();
      expect((await it.post(it.event(topic, { udid: mac.udid, ids: { id: mac.udid, type: 'Device' }, raw_payload: payload }))).status).toBe(200);
      expect(because()).toBe('secret');
    }
    const dump = JSON.stringify([
      lines.slice(before),
      await it.db.selectFrom('mdm_device').selectAll().execute(),
      await it.db.selectFrom('audit').selectAll().orderBy('seq').execute(),
    ]);
    expect(dump).not.toMatch(/Bootstrap Token|dGhlIEJvb3RzdHJhc/);
  });

  test('of a user on the Mac says nothing about FileVault', async () => {
    const mac = it.newMac();
    const uuid = randomUUID();
    await it.authenticate(mac);
    await it.answer(mac, uuid, { SecurityInfo: securityOf(mac) }, 'Acknowledged', { ids: { id: mac.udid, type: 'User' } });
    expect(because()).toBe('of-a-user');
    await it.answer(mac, uuid, { UserID: '501', SecurityInfo: securityOf(mac) });
    expect(because()).toBe('of-a-user');
    await nothingWasKept(mac);
  });
});

describe('a message of a Mac', () => {
  const said = async (mac: ManagedMac, payload: string, uuid = 'B') => {
    await it.post(it.event('mdm.Connect', { udid: mac.udid, status: 'Acknowledged', command_uuid: uuid, raw_payload: payload }));
    return because();
  };
  const xml = (inner: string, head = '') =>
    Buffer.from(`<?xml version="1.0" encoding="UTF-8"?>\n${head}<plist version="1.0">${inner}</plist>`).toString('base64');
  const bomb = `<!DOCTYPE plist [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>`;

  test.each([
    ['no base64', '%%%', 'not-base64'],
    ['base64 with something after it', `${encode({ SecurityInfo: {} })}=A`, 'not-base64'],
    ['something that is no property list', Buffer.from('<key>SecurityInfo</key>').toString('base64'), 'not-a-property-list'],
    ['entities of its own', xml('<dict><key>SecurityInfo</key><string>&b;</string></dict>', bomb), 'not-a-property-list'],
    ['an entity that nobody knows', xml('<dict><key>SecurityInfo</key><string>&b;</string></dict>'), 'not-a-property-list'],
    ['a key that comes twice', xml('<dict><key>SecurityInfo</key><true/><key>SecurityInfo</key><true/></dict>'), 'not-a-property-list'],
    ['arrays a thousand deep', xml(`<dict><key>SecurityInfo</key>${'<array>'.repeat(1000)}${'</array>'.repeat(1000)}</dict>`), 'not-a-property-list'],
    ['a hundred thousand elements', xml(`<dict><key>SecurityInfo</key><array>${'<true/>'.repeat(100_000)}</array></dict>`), 'not-a-property-list'],
    [
      'data that is no base64',
      xml('<dict><key>SecurityInfo</key><dict><key>FDE_PersonalRecoveryKeyCMS</key><data>!!</data></dict></dict>'),
      'not-a-property-list',
    ],
    ['another form than a dictionary', xml('<array><string>x</string></array>'), 'nothing-for-us'],
    ['SecurityInfo that is a string', encode({ SecurityInfo: 'x', CommandUUID: 'B' }), 'nothing-for-us'],
    ['no key', encode({ SecurityInfo: { FDE_Enabled: false } }), 'no-key'],
    ['a key that is no data', encode({ SecurityInfo: { FDE_PersonalRecoveryKeyCMS: 'MIIB' } }), 'no-key'],
    ['data that is no envelope', encode({ SecurityInfo: { FDE_PersonalRecoveryKeyCMS: Buffer.from('hello') } }), 'not-an-envelope'],
    [
      'BER a thousand deep',
      encode({ SecurityInfo: { FDE_PersonalRecoveryKeyCMS: Buffer.from('3080'.repeat(1000) + '0000'.repeat(1000), 'hex') } }),
      'not-an-envelope',
    ],
    ['BER that says it is four gigabytes', encode({ SecurityInfo: { FDE_PersonalRecoveryKeyCMS: Buffer.from('3084ffffffff3000', 'hex') } }), 'not-an-envelope'],
    ['an envelope of 64 KiB', encode({ SecurityInfo: { FDE_PersonalRecoveryKeyCMS: Buffer.alloc(65_536, 0x30) } }), 'not-an-envelope'],
  ])('with %s is passed over, and the reason is said', async (_, payload, expected) => {
    const mac = it.newMac();
    await it.authenticate(mac);
    expect(await said(mac, payload)).toBe(expected);
    await nothingWasKept(mac);
  });

  test('a list of programs of megabytes is not even parsed', async () => {
    const mac = it.newMac();
    await it.authenticate(mac);
    const big = encode({ InstalledApplicationList: Array.from({ length: 12_000 }, (_, i) => ({ Name: `A program ${i}`, Version: '1.0' })) });
    expect(big.length).toBeGreaterThan(1_000_000);
    expect(await said(mac, big)).toBe('nothing-for-us');
  });

  test('whose UDID or command is another than the MDM says is of nobody', async () => {
    const mac = it.newMac();
    await it.authenticate(mac);
    expect(await said(mac, encode({ UDID: randomUUID().toUpperCase(), SecurityInfo: securityOf(mac) }))).toBe('another-device');
    expect(await said(mac, encode({ CommandUUID: 'C', SecurityInfo: securityOf(mac) }))).toBe('another-command');
    const other = it.newMac();
    await it.authenticate(other, { UDID: randomUUID().toUpperCase() });
    expect(because()).toBe('another-device');
    await nothingWasKept(mac);
  });

  test('that came out of order takes nothing back: an old CheckOut, an old Authenticate', async () => {
    const mac = it.newMac();
    await it.authenticate(mac);
    const old = { created_at: new Date(it.now() - minute).toISOString() };
    await it.post({ ...it.event('mdm.CheckOut', { udid: mac.udid, raw_payload: encode({ UDID: mac.udid }) }), ...old });
    expect(because()).toBe('out-of-order');
    await it.post({ ...it.event('mdm.Authenticate', { udid: mac.udid, raw_payload: encode({ UDID: mac.udid, SerialNumber: 'C02OLD000001' }) }), ...old });
    expect(because()).toBe('out-of-order');
    it.pass(minute);
    await it.post(it.event('mdm.CheckOut', { udid: mac.udid, raw_payload: encode({ UDID: mac.udid }) }));
    expect(because()).toBe('checked-out');
    const row = await it.db.selectFrom('mdm_device').selectAll().where('id', '=', mac.udid).executeTakeFirstOrThrow();
    expect([row.serial, row.checked_out_at]).toEqual([mac.serial, it.now()]);
    it.pass(minute);
    await it.securityInfo(mac);
    expect((await it.db.selectFrom('mdm_device').select('checked_out_at').where('id', '=', mac.udid).executeTakeFirstOrThrow()).checked_out_at).toBeNull();
  });
});

describe('an envelope', () => {
  test('sealed to somebody else is known by its digest and recipient only (K0)', async () => {
    const mac = it.newMac();
    await it.authenticate(mac);
    mac.recipient = foreignRecipient;
    mac.file = mac.seal();
    await it.securityInfo(mac);
    expect(because()).toBe('sealed-to-somebody-else');
    await nothingWasKept(mac);
    expect(await it.keyOf(mac)).toBe('sealed-to-somebody-else');
  });

  test('of another Mac is not taken for this one’s, by its bytes or by its key', async () => {
    const [mine, theirs] = [it.newMac(), it.newMac()];
    await it.authenticate(mine);
    await it.authenticate(theirs);
    await it.securityInfo(theirs);
    mine.file = theirs.file;
    await it.securityInfo(mine);
    expect(because()).toBe('of-another-mac');
    // Sealed anew, by whoever knows the key.
    mine.key = theirs.key;
    mine.file = mine.seal();
    await it.securityInfo(mine);
    expect(because()).toBe('of-another-mac');
    await nothingWasKept(mine);
    expect(await it.alarms()).toContain('ENVELOPE_REUSED');
  });

  test('that was another Mac’s and was taken back, bytes and all, is not a device’s for showing a copy of it: alarm, and nothing is kept', async () => {
    const [mine, theirs] = [it.newMac(), it.newMac()];
    await it.authenticate(mine);
    await it.authenticate(theirs);
    await it.securityInfo(theirs);
    const gone = { state: 'withdrawn', bytes: null, fingerprint: null } as const;
    await it.backend.store.write((tx) => tx.updateTable('brought_key').set(gone).where('serial', '=', theirs.serial).execute());
    mine.file = theirs.file;
    await it.securityInfo(mine);
    expect(because()).toBe('of-another-mac');
    await nothingWasKept(mine);
    expect(await it.alarms()).toContain('ENVELOPE_REUSED');
    await it.securityInfo(theirs);
    expect(because()).toBe('key-waiting');
  });

  test('that an agent delivered is no other device’s either', async () => {
    const theirs = it.newMac();
    const agent = await it.agentOf(theirs);
    await agent.checkIn();
    expect((await agent.deliver(theirs.file)).status).toBe(201);
    const mine = it.newMac();
    await it.authenticate(mine);
    mine.file = theirs.file;
    await it.securityInfo(mine);
    expect(because()).toBe('of-another-mac');
    await nothingWasKept(mine);
  });

  test('that does not open is told apart from nothing: after three of them no further one is opened that day', async () => {
    const mac = it.newMac();
    await it.authenticate(mac);
    for (let i = 0; i < 3; i += 1) {
      mac.file = makeEscrowFile('not a recovery key', mac.recipient);
      await it.securityInfo(mac);
      expect(because()).toBe('unreadable');
    }
    mac.file = makeEscrowFile(mac.key.reveal(), mac.recipient);
    await it.securityInfo(mac);
    expect(because()).toBe('too-many-unreadable');
    await nothingWasKept(mac);
    it.pass(25 * hour);
    await it.securityInfo(mac);
    expect(because()).toBe('key-waiting');
  });

  test('of a device whose serial number nobody knows: the Mac is asked for it, and then for its key once more', async () => {
    const mac = it.newMac();
    await it.securityInfo(mac);
    expect(because()).toBe('serial-unknown');
    await it.send();
    expect(await it.fetch(mac)).toContain('DeviceInformation');
    await it.send();
    await it.fetch(mac);
    expect(await it.keyOf(mac)).toBe('key-waiting');
    expect(await it.brought(mac)).toHaveLength(1);
  });

  test('of one of two devices that say they are one Mac counts only once the Mac itself has proved it', async () => {
    const mac = it.newMac();
    const other = it.newMac({ serial: mac.serial });
    await it.authenticate(mac);
    await it.authenticate(other);
    await it.securityInfo(other);
    expect(await it.brought(mac)).toMatchObject([{ trust: 'none' }]);
    expect(await it.alarms()).toContain('MDM_TWO_MACHINES');
    await expect(it.backend.custody.discloseBrought({ serial: mac.serial, actor: 'ada', reason: 'x' })).rejects.toMatchObject({ code: 'KEY_UNKNOWN' });
  });

  test('of a device that has the serial number of a Mac and not its hardware counts as little', async () => {
    const mac = it.newMac();
    const agent = await it.agentOf(mac);
    await agent.checkIn();
    const other = it.newMac({ serial: mac.serial });
    await it.authenticate(other);
    await it.securityInfo(other);
    expect(await it.brought(mac)).toMatchObject([{ trust: 'none' }]);
    const records = await it.db.selectFrom('key_record').select(['state', 'unverified']).where('source', '=', 'brought-nanomdm').execute();
    expect(records.filter(({ unverified, state }) => unverified === 0 && state === 'held')).toEqual([]);
  });
});

describe('a second witness', () => {
  test('the same file by the agent and by the MDM is one envelope', async () => {
    const mac = it.newMac();
    const agent = await it.agentOf(mac);
    await agent.checkIn();
    await agent.deliver(mac.file);
    await it.authenticate(mac);
    await it.securityInfo(mac);
    expect(because()).toBe('same-envelope');
    await nothingWasKept(mac);
  });

  test('the same key in another envelope is one more, and only one however often it comes (K2)', async () => {
    const mac = it.newMac();
    const agent = await it.agentOf(mac);
    await agent.checkIn();
    await agent.deliver(sealKey(mac.key, mac.recipient));
    await it.authenticate(mac);
    for (let i = 0; i < 3; i += 1) {
      mac.file = mac.seal();
      await it.securityInfo(mac);
      expect(because()).toBe('same-key');
    }
    const macId = await it.backend.custody.findMac(mac.serial);
    const records = await it.db.selectFrom('key_record').select(['id', 'state']).where('mac_id', '=', macId).execute();
    expect(records).toMatchObject([{ state: 'held' }]);
    const envelopes = await it.db.selectFrom('envelope').select('source').where('mac_id', '=', macId).execute();
    expect(envelopes.map(({ source }) => source).toSorted()).toEqual(['brought-nanomdm', 'escrow-file']);
    expect((await it.backend.custody.custodyOf(macId)).state).toBe('held');
  });

  test('that holds another key is an alarm, and a key to ask the Mac about', async () => {
    const mac = it.newMac();
    const agent = await it.agentOf(mac);
    await agent.checkIn();
    await agent.deliver(mac.file);
    await it.authenticate(mac);
    mac.replaceKey();
    await it.securityInfo(mac);
    expect(because()).toBe('key-offered');
    const macId = await it.backend.custody.findMac(mac.serial);
    const open = await it.db.selectFrom('alarm').select('code').where('mac_id', '=', macId).where('judged_at', 'is', null).execute();
    expect(open).toEqual([{ code: 'WITNESS_DIFFERS' }]);
    expect((await it.backend.custody.custodyOf(macId)).state).toBe('doubtful');
  });

  test('is none where the MDM is the one that replaces keys: another key is what it does', async () => {
    const mac = it.newMac();
    const agent = await it.agentOf(mac);
    await agent.checkIn({ rotator: 'mdm' });
    await agent.deliver(mac.file);
    await it.authenticate(mac);
    mac.replaceKey();
    await it.securityInfo(mac);
    expect(because()).toBe('key-offered');
    const macId = await it.backend.custody.findMac(mac.serial);
    expect(await it.db.selectFrom('alarm').select('code').where('mac_id', '=', macId).execute()).toEqual([]);
  });

  test('of a key that was superseded long ago is an alarm; one that was on its way then is none', async () => {
    const mac = it.newMac();
    const agent = await it.agentOf(mac);
    await agent.checkIn();
    await agent.deliver(mac.file);
    await it.authenticate(mac);
    const macId = await it.backend.custody.findMac(mac.serial);
    await it.backend.store.write(async (tx) => {
      await tx.updateTable('key_record').set({ state: 'superseded', state_at: it.now(), state_because: 'for a test' }).where('mac_id', '=', macId).execute();
    });
    const alarms = () => it.db.selectFrom('alarm').select('code').where('mac_id', '=', macId).execute();
    await it.securityInfo(mac);
    expect(because()).toBe('older-key');
    expect(await alarms()).toEqual([]);
    it.pass(2 * hour);
    await it.securityInfo(mac);
    expect(await alarms()).toEqual([{ code: 'WITNESS_DIFFERS' }]);
  });
});
