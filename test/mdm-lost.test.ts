import { createHash, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { parse } from 'plist';
import { sealKey } from '../protocol/envelope.ts';
import { openBackend } from '../server/backend.ts';
import { mdmOpen } from '../server/mdm/mdm-words.ts';
import { createNanoMdm, type Enqueued, type NanoMdm } from '../server/mdm/nanomdm.ts';
import { makeEscrowFile } from './fake-mac/escrow-file.ts';
import { encode, everything, type GivenMdm, givenMdm, type ManagedMac } from './mdm-parts.ts';
import { day, givenServer, hour, minute, newKey } from './server-parts.ts';

/* What may be lost on the way of a RotateFileVaultKey and of its answer, and that no key is lost with it. */

let it: GivenMdm;
/** DER of an escrow certificate that is none of ours. */
let foreign: Buffer;
beforeAll(async () => {
  it = await givenMdm();
  const other = await givenServer();
  foreign = other.escrow.pairs[0]?.der ?? Buffer.alloc(0);
  await other.close();
});

const rotations = (mac: ManagedMac): string[] => mac.queue.map(({ plist }) => plist).filter((plist) => plist.includes('RotateFileVaultKey'));
const sentFor = async (mac: ManagedMac) => (await it.acts('key.sent-to-mdm')).filter(({ serial }) => serial === mac.serial);
const shownOf = (mac: ManagedMac) => it.backend.custody.discloseBrought({ serial: mac.serial, actor: 'ada', reason: 'x' });
const open = (uuid: string) => mdmOpen(it.backend, { uuid: uuid.toLowerCase(), actor: 'ada', reason: 'it was mended' });

describe('an answer whose key does not open', () => {
  async function unreadable() {
    const mac = await it.known();
    const { uuid } = await it.rotate(mac);
    await it.send();
    const { reply_key: right } = (await it.rotationOf(mac)) ?? {};
    const write = (key: Uint8Array | null | undefined) =>
      it.backend.store.write((tx) =>
        tx
          .updateTable('mdm_command')
          .set({ reply_key: key ?? null })
          .where('uuid', '=', uuid)
          .execute(),
      );
    // As after a restore with another secret.
    await write(Buffer.alloc(right?.length ?? 1, 7));
    await it.fetch(mac);
    expect(await it.rotationOf(mac)).toMatchObject({ state: 'failed', error: 'the key in the answer does not open' });
    return { mac, uuid, mend: () => write(right) };
  }

  test('stays where the Mac is given the same command again and answers that the old key is no good', async () => {
    const { mac, uuid, mend } = await unreadable();
    await it.answer(mac, uuid, { ErrorChain: [{ ErrorCode: 11, ErrorDomain: 'D', USEnglishDescription: 'wrong key' }] }, 'Error');
    await mend();
    expect(await open(uuid)).toMatchObject({ json: { opened: true } });
    expect((await shownOf(mac)).key.equals(mac.key)).toBe(true);
  });

  test('an answer that an error of the same command overtook is opened all the same', async () => {
    const mac = await it.known();
    const { uuid } = await it.rotate(mac);
    await it.send();
    await it.answer(mac, uuid, { ErrorChain: [{ ErrorCode: 11, ErrorDomain: 'D', USEnglishDescription: 'wrong key' }] }, 'Error');
    expect(await it.rotationOf(mac)).toMatchObject({ state: 'failed', error: expect.stringContaining('wrong key') });
    await it.fetch(mac);
    expect(await it.rotationOf(mac)).toMatchObject({ state: 'done', reply_key: null });
    expect((await shownOf(mac)).key.equals(mac.key)).toBe(true);
  });

  test('is kept as it came, with what it is sealed to, and opened once that works again', async () => {
    const { mac, uuid, mend } = await unreadable();
    expect(await it.openAlarms(uuid)).toEqual(['MDM_KEY_NOT_RETURNED']);
    expect(await open(uuid)).toMatchObject({ json: { opened: false }, exit: 77 });
    it.pass(89 * day);
    await it.mdm.forgetOld();
    await mend();
    expect(await open(uuid)).toMatchObject({ json: { opened: true } });
    expect((await shownOf(mac)).key.equals(mac.key)).toBe(true);
    expect(await it.openAlarms(uuid)).toEqual([]);
    expect(await it.rotationOf(mac)).toMatchObject({ state: 'done', reply: null, reply_key: null });
    await expect(open(uuid)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect((await it.acts('mdm.answer-opened')).filter(({ commandUuid }) => commandUuid === uuid).map(({ opened }) => opened)).toEqual([false, true]);
  });

  test('that is no property list at all is kept whole, with the alarm, and opened once it can be read; nothing after it takes its place', async () => {
    const mac = await it.known();
    const { uuid } = await it.rotate(mac);
    await it.send();
    const { Command: command } = parse(mac.queue.shift()?.plist ?? '') as { Command: Record<string, unknown> };
    const sealed = makeEscrowFile(mac.replaceKey().reveal(), Buffer.from(command['ReplyEncryptionCertificate'] as Uint8Array));
    const content = { CommandUUID: uuid, Status: 'Acknowledged', UDID: mac.udid, RotateResult: { EncryptedNewRecoveryKey: sealed } };
    const whole = Buffer.from(encode(content), 'base64').toString();
    const garbled = whole.replace('<dict>', '<dict><made-up/>');
    const send = (text: string) => it.answer(mac, uuid, {}, 'Acknowledged', { raw_payload: Buffer.from(text).toString('base64') });
    await send(garbled);
    expect(await it.rotationOf(mac)).toMatchObject({ state: 'failed', error: 'the answer cannot be read: it is no property list' });
    expect(await it.openAlarms(uuid)).toEqual(['MDM_KEY_NOT_RETURNED']);
    await send('nothing of it');
    const { reply, reply_key: key } = (await it.rotationOf(mac)) ?? {};
    expect([String(Buffer.from(reply ?? [])), key === null]).toEqual([garbled, false]);
    expect(await open(uuid)).toMatchObject({ json: { opened: false } });
    // As a version reads it that knows the form.
    await it.backend.store.write((tx) =>
      tx
        .updateTable('mdm_command')
        .set({ reply: Buffer.from(whole) })
        .where('uuid', '=', uuid)
        .execute(),
    );
    expect(await open(uuid)).toMatchObject({ json: { opened: true } });
    expect((await shownOf(mac)).key.equals(mac.key)).toBe(true);
    expect(await it.openAlarms(uuid)).toEqual([]);
  });

  test('is kept for 90 days from when it came and no longer', async () => {
    const { mac } = await unreadable();
    it.pass(90 * day + minute);
    await it.mdm.forgetOld();
    expect(await it.rotationOf(mac)).toMatchObject({ reply: null, reply_key: null });
  });
});

describe('a RotateFileVaultKey whose answer may not come', () => {
  test('is not sent to a Mac of which nothing has ever come by the webhook; it is asked for SecurityInfo, and after its answer it is sent', async () => {
    const mac = it.newMac();
    const agent = await it.agentOf(mac);
    await agent.checkIn({ rotator: 'mdm' });
    await agent.deliver(mac.file);
    // By serial number: the device is known by its agent alone.
    await it.mdm.ask({ device: mac.serial, actor: 'ada', reason: 'x' });
    await it.mdm.rotate({ device: mac.udid, actor: 'ada', reason: 'by my word' });
    await it.mdm.sendDue(it.api);
    expect([rotations(mac), await sentFor(mac)]).toEqual([[], []]);
    expect(await it.rotationOf(mac)).toMatchObject({ state: 'waiting', sent_at: null, error: expect.stringContaining('by the webhook') });
    expect(await it.fetch(mac)).toEqual(['SecurityInfo']);
    it.pass(hour + minute);
    await it.mdm.sendDue(it.api);
    expect(rotations(mac)).toHaveLength(1);
    await it.fetch(mac);
    expect(await it.rotationOf(mac)).toMatchObject({ state: 'done', error: null });
  });

  test('nor to one of which nothing has come for a day and a half', async () => {
    const mac = await it.known();
    await it.rotate(mac);
    it.pass(36 * hour);
    await it.mdm.sendDue(it.api);
    await it.mdm.sendDue(it.api);
    expect(mac.queue.map(({ plist }) => /SecurityInfo|RotateFileVaultKey/.exec(plist)?.[0])).toEqual(['SecurityInfo']);
    await it.fetch(mac);
    it.pass(hour);
    await it.mdm.sendDue(it.api);
    expect(rotations(mac)).toHaveLength(1);
    await it.fetch(mac);
  });

  test('under somebody else’s payload, lost on its way: an alarm that no escrow file ends, the held key is asked about, and the answer counts whenever it comes', async () => {
    const mac = it.newMac({ recipient: foreign });
    const agent = await it.agentOf(mac);
    const digest = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
    const facts = () =>
      ({
        rotator: 'mdm',
        escrow: { payload: 'foreign', location: null, file: { digest: digest(mac.file), recipient: `issuer-serial:${'ab'.repeat(32)}:01`, ours: false } },
      }) as const;
    await agent.checkIn(facts());
    const envelope = sealKey(mac.key, it.backend.escrowKeys.certificates[0]?.der ?? Buffer.alloc(0));
    await agent.deliver(envelope, 'agent');
    const proof = { id: randomUUID(), envelopeId: digest(envelope), orderId: null, answer: 'true', settled: true, boot: agent.self.boot, uptimeSeconds: 3600 };
    await agent.checkIn(facts(), { proofs: [proof] });
    await it.authenticate(mac);
    await expect(it.rotate(mac)).rejects.toMatchObject({ code: 'MDM_ROTATION_REFUSED', detail: expect.stringContaining('has not shown') });
    // The file that its agent has seen there: it is that Mac.
    await it.securityInfo(mac);
    expect(await it.keyOf(mac)).toBe('sealed-to-somebody-else');
    const { uuid } = await it.rotate(mac);
    await it.mdm.sendDue(it.api);
    const lost: Buffer[] = [];
    const { post } = it;
    it.post = async (event) => {
      lost.push(Buffer.isBuffer(event) ? event : Buffer.from(JSON.stringify(event)));
      return { status: 502, body: {}, headers: {} } as Awaited<ReturnType<typeof post>>;
    };
    await it.fetch(mac);
    it.post = post;
    expect(lost).toHaveLength(1);
    for (let days = 0; days < 8; days += 1) {
      it.pass(day);
      await it.securityInfo(mac);
      await it.mdm.sendDue(it.api);
    }
    expect(await it.openAlarms(uuid)).toEqual(['MDM_COMMAND_SILENT']);
    const macId = await it.backend.custody.findMac(mac.serial);
    const orders = await it.db.selectFrom('proof_order').select('because').where('mac_id', '=', macId).where('ended_at', 'is', null).execute();
    expect(orders).toEqual([{ because: 'the MDM may have replaced it' }]);
    it.pass(20 * day);
    // From a log of the MDM, weeks later: its time is no reason to refuse it.
    expect((await it.post(lost[0] ?? Buffer.alloc(0))).status).toBe(200);
    expect(await it.openAlarms(uuid)).toEqual([]);
    const records = await it.db.selectFrom('key_record').select(['state', 'source', 'fingerprint']).where('mac_id', '=', macId).execute();
    expect(records).toContainEqual({ state: 'candidate', source: 'brought-nanomdm', fingerprint: expect.any(String) });
    mac.queue.length = 0;
  });

  test.each([
    ['queued', { kind: 'queued', note: null }],
    ['not sent', { kind: 'not-sent', because: 'NanoMDM asked for patience', seconds: 60 }],
    ['refused', { kind: 'refused', because: 'no' }],
    ['unsure', { kind: 'unsure', because: 'no answer in 20 s' }],
  ] as const)('answered by the Mac while the MDM’s own answer is under way (%s) stays answered', async (_, said: Enqueued) => {
    const mac = await it.known();
    await it.rotate(mac);
    const api: NanoMdm = {
      ...it.api,
      async enqueue(id, command) {
        await it.api.enqueue(id, command);
        await it.fetch(mac);
        return said;
      },
    };
    await it.mdm.sendDue(api);
    expect(await it.rotationOf(mac)).toMatchObject({ state: 'done', error: null, sent_at: expect.any(Number) });
    expect((await it.acts('key.not-sent-to-mdm')).filter(({ deviceId }) => deviceId === mac.udid)).toEqual([]);
    await it.mdm.sendDue(it.api);
    expect(rotations(mac)).toEqual([]);
    expect((await shownOf(mac)).key.equals(mac.key)).toBe(true);
  });
});

describe('a command that cannot be sent', () => {
  test('because the MDM takes another API key opens no key and notes none as sent; after five times in a row it is an alarm, until it was sent', async () => {
    const mac = await it.known();
    const { uuid } = await it.rotate(mac);
    const stranger = createNanoMdm(it.outbound, 'the API key of last year');
    for (let times = 0; times < 5; times += 1) {
      expect(await it.openAlarms(uuid)).toEqual([]);
      await it.mdm.sendDue(stranger);
      it.pass(hour + minute);
    }
    expect([await sentFor(mac), await it.openAlarms(uuid)]).toEqual([[], ['MDM_COMMAND_NOT_SENT']]);
    expect(await it.rotationOf(mac)).toMatchObject({ state: 'waiting', error: expect.stringContaining('(401)'), reply_key: null });
    await it.mdm.sendDue(it.api);
    expect([(await sentFor(mac)).length, await it.openAlarms(uuid)]).toEqual([1, []]);
    await it.fetch(mac);
  });

  test('because the backend is sealed waits, notes no key as sent, and after five times is an alarm', async () => {
    const mac = await it.known();
    const { uuid } = await it.rotate(mac);
    const sealed = await openBackend({ dir: it.dir, passphrase: null, wallNow: it.now });
    for (let times = 0; times < 5; times += 1) {
      await sealed.custody.mdm.sendDue(it.api);
      it.pass(hour + minute);
    }
    await sealed.close();
    expect([await sentFor(mac), await it.openAlarms(uuid)]).toEqual([[], ['MDM_COMMAND_NOT_SENT']]);
    expect(await it.rotationOf(mac)).toMatchObject({ state: 'waiting', error: expect.stringContaining('sealed') });
    // It left the MDM: there is nothing to be sent any more.
    await it.post(it.event('mdm.CheckOut', { udid: mac.udid, raw_payload: encode({ UDID: mac.udid }) }));
    expect([(await it.rotationOf(mac))?.state, await it.openAlarms(uuid)]).toEqual(['failed', []]);
  });

  test('a Mac at which it goes wrong here keeps no other’s shown key from being replaced', async () => {
    const [bad, mac] = [await it.known(), await it.known()];
    for (const { serial } of [bad, mac]) {
      await it.backend.custody.discloseBrought({ serial, actor: 'ada', reason: 'locked out' });
      it.pass(minute);
    }
    const write = (security: string) => it.backend.store.write((tx) => tx.updateTable('mdm_device').set({ security }).where('id', '=', bad.udid).execute());
    const { security } = await it.db.selectFrom('mdm_device').select('security').where('id', '=', bad.udid).executeTakeFirstOrThrow();
    await write('{');
    await it.mdm.rotateDue(everything);
    expect(await it.rotationOf(mac)).toMatchObject({ state: 'waiting', actor: 'server' });
    await write(security ?? '');
  });
});

test('an alarm of a Mac that had no agent ends when the agent’s own file comes by the MDM', async () => {
  const mac = await it.known();
  mac.rotation = 'no-key-in-answer';
  const { uuid } = await it.rotate(mac);
  await it.send();
  await it.fetch(mac);
  expect(await it.openAlarms(uuid)).toEqual(['MDM_KEY_NOT_RETURNED']);
  const agent = await it.agentOf(mac);
  await agent.checkIn();
  await agent.deliver(mac.file);
  it.pass(minute);
  await it.securityInfo(mac);
  expect(await it.keyOf(mac)).toBe('same-envelope');
  expect(await it.openAlarms(uuid)).toEqual([]);
});

test('an error of macOS that repeats the key from the command is kept without it', async () => {
  const mac = await it.known();
  const key = mac.key.reveal();
  mac.rotation = { code: 7, words: `“${key}” or ${key.replaceAll('-', '')} or ${key.toLowerCase()} is no password` };
  await it.rotate(mac);
  await it.send();
  await it.fetch(mac);
  expect(await it.rotationOf(mac)).toMatchObject({ error: expect.stringContaining('“[recovery key]” or [recovery key] or [recovery key] is no password') });
  expect(JSON.stringify(await it.acts('mdm.rotation-ended'))).not.toContain(key);
});

test('that an event was taken is remembered for as long as any window can be, whatever it is now', async () => {
  const mac = it.newMac();
  const event = it.event('mdm.Authenticate', { udid: mac.udid, raw_payload: encode({ UDID: mac.udid, SerialNumber: mac.serial }) });
  const body = Buffer.from(JSON.stringify(event));
  await it.post(body);
  const digest = createHash('sha256').update(body).digest('hex');
  const isKnown = async () => (await it.db.selectFrom('mdm_event').selectAll().where('digest', '=', digest).execute()).length === 1;
  it.pass(2 * day);
  await it.mdm.sweep({ ...everything, canAsk: false });
  expect(await isKnown()).toBe(true);
  it.pass(hour + minute);
  await it.mdm.sweep({ ...everything, canAsk: false });
  expect(await isKnown()).toBe(false);
});

test('whose word an event is, is compared in one time: equal digests by timingSafeEqual, and by nothing else', () => {
  const source = readFileSync(new URL('../server/mdm/webhook-event.ts', import.meta.url), 'utf8');
  const [signed = '', basic = ''] = ['isSigned', 'knowsKey'].map((name) => new RegExp(`function ${name}\\([\\s\\S]*?\\n}`).exec(source)?.[0]);
  // The length of what came is compared before: timingSafeEqual throws otherwise, and how long a digest is, is no secret.
  expect(signed).toMatch(/return given !== null && given\.length === expected\.length && timingSafeEqual\(given, expected\);/);
  expect(basic).toMatch(/createHmac\('sha256', [^)]*\)\.update\(bytes\)\.digest\(\)/);
  expect(basic).toMatch(/return timingSafeEqual\(digest\([^;]*\), digest\(key\)\)/);
  for (const compared of [signed, basic]) expect(compared).not.toMatch(/\.equals\(|compare\(|key ===|=== key|expected ===|=== expected[^.]/);
});

describe('the time that an event says of itself', () => {
  const heard = (mac: ManagedMac, ago: number) =>
    it.post({
      ...it.event('mdm.Connect', { udid: mac.udid, ids: { id: mac.udid, type: 'Device' }, status: 'Idle' }),
      created_at: new Date(it.now() - ago).toISOString(),
    });

  test('is no reason to refuse the answer to a command of ours; of all else twenty late ones in a row are an alarm, until one is on time', async () => {
    const mac = await it.known();
    const { uuid } = await it.rotate(mac);
    await it.send();
    const fresh = newKey();
    const { plist } = mac.queue.find((one) => one.uuid === uuid) ?? { plist: '' };
    const certificate = Buffer.from(/<key>ReplyEncryptionCertificate<\/key><data>([^<]*)/.exec(plist)?.[1] ?? '', 'base64');
    const raw = encode({
      CommandUUID: uuid,
      Status: 'Acknowledged',
      UDID: mac.udid,
      RotateResult: { EncryptedNewRecoveryKey: makeEscrowFile(fresh.reveal(), certificate) },
    });
    const event = it.event('mdm.Connect', {
      udid: mac.udid,
      ids: { id: mac.udid, type: 'Device' },
      status: 'Acknowledged',
      command_uuid: uuid,
      raw_payload: raw,
    });
    const late = Buffer.from(JSON.stringify({ ...event, created_at: new Date(it.now() - 9 * hour).toISOString() }));
    // Of another device it is none of ours.
    const stranger = Buffer.from(
      JSON.stringify({
        ...JSON.parse(late.toString()),
        acknowledge_event: { udid: randomUUID(), status: 'Acknowledged', command_uuid: uuid, raw_payload: raw },
      }),
    );
    expect((await it.post(stranger)).body.code).toBe('WEBHOOK_LATE');
    expect((await it.post(late)).status).toBe(200);
    expect(await it.rotationOf(mac)).toMatchObject({ state: 'done', error: null });
    expect((await shownOf(mac)).key.equals(fresh)).toBe(true);
    // Once: then it is as late as any.
    expect((await it.post(late)).body.code).toBe('WEBHOOK_LATE');
    expect((await heard(mac, 0)).status).toBe(200);
    for (let times = 0; times < 20; times += 1) {
      expect(await it.alarms()).not.toContain('MDM_EVENTS_LATE');
      expect((await heard(mac, hour)).body.code).toBe('WEBHOOK_LATE');
    }
    expect(await it.alarms()).toContain('MDM_EVENTS_LATE');
    expect((await heard(mac, 0)).status).toBe(200);
    expect(await it.alarms()).not.toContain('MDM_EVENTS_LATE');
    mac.queue.length = 0;
  });

  // The last one: from here on the time that never steps back is ahead.
  test('is compared with this machine’s clock as it is: one that was ahead for a moment shuts no event out', async () => {
    const mac = await it.known();
    it.pass(5 * day);
    it.backend.clock.now();
    it.pass(-5 * day);
    expect((await heard(mac, 0)).status).toBe(200);
  });
});
