import { createHash, randomUUID, X509Certificate } from 'node:crypto';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { silentLog } from '../server/log.ts';
import { mdmAsk, mdmCommands, mdmDevices, mdmRotate } from '../server/mdm/mdm-words.ts';
import { createNanoMdm } from '../server/mdm/nanomdm.ts';
import { createOutbound } from '../server/outbound.ts';
import { checkDataFolder } from '../server/serve-check.ts';
import { type GivenMdm, givenMdm, type ManagedMac } from './mdm-parts.ts';
import { keptLog } from './neighbours-together.ts';
import { day, hour, minute } from './server-parts.ts';

/* The MDM as witness and hand, from end to end: a real backend, a NanoMDM beside it, Macs that answer when they are woken. */

const { lines, log } = keptLog();

let it: GivenMdm;
beforeAll(async () => {
  it = await givenMdm({ log });
});

describe('a Mac without an agent', () => {
  test('its key comes by SecurityInfo and waits for whoever needs it', async () => {
    const mac = it.newMac();
    expect((await it.authenticate(mac)).status).toBe(200);
    await it.send();
    expect(await it.fetch(mac)).toEqual(['SecurityInfo']);
    expect(await it.keyOf(mac)).toBe('key-waiting');
    expect(await it.brought(mac)).toMatchObject([{ serial: mac.serial, source: 'nanomdm', trust: 'mdm', state: 'waiting' }]);
    const shown = await it.backend.custody.discloseBrought({ serial: mac.serial, actor: 'ada', reason: 'locked out' });
    expect(shown.key.equals(mac.key)).toBe(true);
  });

  test('was shown: the task is done by RotateFileVaultKey after the hold, the new key is here, the old one opens nothing, and SecurityInfo confirms it', async () => {
    const mac = it.newMac();
    await it.authenticate(mac);
    await it.send();
    await it.fetch(mac);
    const old = mac.key;
    await it.backend.custody.discloseBrought({ serial: mac.serial, actor: 'ada', reason: 'locked out' });
    await it.send();
    expect(await it.fetch(mac)).toEqual([]);
    expect((await it.commands(mac)).map(({ kind, state }) => `${kind} ${state}`)).toContain('rotate waiting');
    it.pass(24 * hour + minute);
    await it.send();
    expect(mac.queue.map(({ plist }) => /RotateFileVaultKey|SecurityInfo/.exec(plist)?.[0])).toContain('RotateFileVaultKey');
    expect((await it.acts('key.sent-to-mdm')).filter(({ serial }) => serial === mac.serial)).toHaveLength(1);
    expect(await it.fetch(mac)).toContain('RotateFileVaultKey');
    expect(mac.key.equals(old)).toBe(false);
    await it.send();
    await it.fetch(mac);
    const rows = await it.brought(mac);
    expect(rows.map(({ state }) => state).toSorted()).toEqual(['refuted', 'waiting']);
    const shown = await it.backend.custody.discloseBrought({ serial: mac.serial, actor: 'ada', reason: 'again' });
    expect(shown.key.equals(mac.key)).toBe(true);
    expect(shown.others).toBe(0);
    expect((await it.acts('mdm.key-replaced')).filter(({ serial }) => serial === mac.serial)).toHaveLength(1);
    expect((await it.acts('mdm.key-confirmed')).filter(({ serial }) => serial === mac.serial)).toHaveLength(1);
    expect((await it.acts('task.closed')).filter(({ serial }) => serial === mac.serial)).toHaveLength(1);
    const [rotation] = (await it.commands(mac)).filter(({ kind }) => kind === 'rotate');
    expect(rotation).toMatchObject({ state: 'done', reply_key: null, reply_certificate: null, error: null });
  });
});

test('is asked again each day, and no more than once', async () => {
  const mac = it.newMac();
  await it.authenticate(mac);
  await it.send();
  await it.fetch(mac);
  await it.send();
  expect(mac.queue).toHaveLength(0);
  it.pass(day + minute);
  await it.send();
  await it.send();
  expect(await it.fetch(mac)).toEqual(['SecurityInfo']);
});

const known = (): Promise<ManagedMac> => it.known();
const rotate = (mac: ManagedMac, more: object = {}) => it.rotate(mac, more);
const rotationOf = (mac: ManagedMac) => it.rotationOf(mac);
const openAlarms = (detail: string) => it.openAlarms(detail);

describe('RotateFileVaultKey', () => {
  test('holds the present key and a certificate of a day; nothing else of it is in the database, in the clear', async () => {
    const mac = await known();
    const { uuid } = await rotate(mac);
    await it.send();
    const plist = mac.queue.find((one) => one.uuid === uuid)?.plist ?? '';
    expect(plist).toContain(`<key>Password</key><string>${mac.key.reveal()}</string>`);
    expect(plist).toContain('<key>KeyType</key><string>personal</string>');
    const der = Buffer.from(/<key>ReplyEncryptionCertificate<\/key><data>([^<]*)/.exec(plist)?.[1] ?? '', 'base64');
    const certificate = new X509Certificate(der);
    expect((certificate.validToDate.getTime() - it.now()) / hour).toBeCloseTo(25, 0);
    expect((it.now() - certificate.validFromDate.getTime()) / hour).toBeCloseTo(24, 0);
    const row = await rotationOf(mac);
    expect(row).toMatchObject({ state: 'sent', record_id: null, brought_id: (await it.brought(mac))[0]?.id });
    const dump = (await it.db.selectFrom('mdm_command').selectAll().execute())
      .map((one) => Buffer.from(one.reply_key ?? []).toString('latin1') + JSON.stringify(one))
      .join();
    expect(dump).not.toContain(mac.key.reveal());
    // PKCS #8 of an RSA key begins with its algorithm.
    expect(Buffer.from(row?.reply_key ?? []).includes(Buffer.from('2a864886f70d010101', 'hex'))).toBe(false);
    await it.fetch(mac);
  });

  test('that macOS refuses ends in its words, and the key that is here stays', async () => {
    const mac = await known();
    mac.rotation = { code: 12_007, words: 'The MDM server does not have the right to do so.' };
    await rotate(mac);
    await it.send();
    await it.fetch(mac);
    expect(await rotationOf(mac)).toMatchObject({
      state: 'failed',
      error: expect.stringMatching(/^MCMDMErrorDomain 12007: The MDM server .*access right/),
    });
    expect(await it.brought(mac)).toMatchObject([{ state: 'waiting' }]);
    await it.send();
    expect(await it.fetch(mac)).toEqual(['SecurityInfo']);
    expect(await it.keyOf(mac)).toBe('key-known');
  });

  test.each([
    [
      'a chain of a thousand',
      Array.from({ length: 1000 }, () => ({ ErrorCode: 1, ErrorDomain: 'D', USEnglishDescription: 'x'.repeat(500) })),
      /^D 1: x{200}; /,
    ],
    ['words that would command a terminal', [{ ErrorCode: 1, ErrorDomain: 'D\u202e', USEnglishDescription: 'a\nb\tc' }], /^D 1: a b c$/],
    ['no chain', undefined, /^an error without words$/],
    ['a chain that is none', 'oh', /^an error without words$/],
  ])('%s is kept short and plain', async (_, chain, expected) => {
    const mac = await known();
    const { uuid } = await it.mdm.ask({ device: mac.serial, actor: 'ada', reason: 'x' });
    await it.mdm.sendDue(it.api);
    await it.answer(mac, uuid ?? '', chain === undefined ? {} : { ErrorChain: chain }, 'Error');
    const { state, error } = (await it.commands(mac)).at(-1) ?? {};
    expect(state).toBe('failed');
    expect(error).toMatch(expected);
    expect(error?.length).toBeLessThan(1000);
  });

  test('of a Mac that says NotNow waits, is woken each day, and after two weeks is given up; a late answer still counts', async () => {
    const mac = await known();
    mac.busy = true;
    const { uuid } = await rotate(mac);
    await it.send();
    expect(await it.fetch(mac)).toEqual(['NotNow']);
    const pushes = mac.pushes;
    for (let days = 0; days < 12; days += 4) {
      it.pass(3 * day);
      it.pass(day + minute);
      await it.mdm.sendDue(it.api);
      expect((await rotationOf(mac))?.state).toBe('not-now');
    }
    expect(mac.pushes).toBe(pushes + 3);
    it.pass(2 * day);
    await it.mdm.sendDue(it.api);
    expect(await rotationOf(mac)).toMatchObject({ state: 'failed', error: 'the Mac said NotNow for 14 days' });
    expect(await openAlarms(uuid)).toEqual(['MDM_COMMAND_SILENT']);
    mac.busy = false;
    await it.fetch(mac);
    expect(await rotationOf(mac)).toMatchObject({ state: 'done', reply_key: null });
    const shown = await it.backend.custody.discloseBrought({ serial: mac.serial, actor: 'ada', reason: 'late' });
    expect(shown.key.equals(mac.key)).toBe(true);
  });

  test.each([
    ['no-key-in-answer', 'done', 'the answer has no key in it'],
    ['garbled', 'failed', 'the key in the answer does not open'],
  ] as const)('%s: an alarm says that the new key is not here, and SecurityInfo brings it after all', async (how, state, error) => {
    const mac = await known();
    mac.rotation = how;
    const { uuid } = await rotate(mac);
    await it.send();
    await it.fetch(mac);
    expect(await rotationOf(mac)).toMatchObject({ state, error });
    expect(await openAlarms(uuid)).toEqual(['MDM_KEY_NOT_RETURNED']);
    await it.send();
    expect(await it.fetch(mac)).toEqual(['SecurityInfo']);
    expect(await it.keyOf(mac)).toBe('key-waiting');
    expect(await openAlarms(uuid)).toEqual([]);
  });

  test('by somebody else, or forgotten by a restore: nobody here can open its answer; it is an alarm, and SecurityInfo is asked for', async () => {
    const mac = await known();
    const { uuid } = await rotate(mac);
    await it.send();
    // The database of before.
    await it.backend.store.write((tx) => tx.deleteFrom('mdm_command').where('uuid', '=', uuid).execute());
    await it.fetch(mac);
    expect(await openAlarms(uuid)).toEqual(['MDM_ROTATED_BY_OTHERS']);
    await it.send();
    expect(await it.fetch(mac)).toEqual(['SecurityInfo']);
    expect(await it.keyOf(mac)).toBe('key-waiting');
    expect(await it.brought(mac)).toHaveLength(2);
  });

  test('answered twice counts once, and an answer for another Mac’s command for neither', async () => {
    const [mac, other] = [await known(), await known()];
    const { uuid } = await rotate(mac);
    await it.send();
    const { plist } = mac.queue.find((one) => one.uuid === uuid) ?? { plist: '' };
    await it.answer(other, uuid, { RotateResult: {} });
    expect((await rotationOf(mac))?.state).toBe('sent');
    await it.fetch(mac);
    expect((await rotationOf(mac))?.state).toBe('done');
    const before = await it.brought(mac);
    mac.queue.push({ uuid, plist });
    await it.answer(mac, uuid, { RotateResult: {} });
    await it.answer(mac, uuid, {}, 'Error');
    expect(await it.brought(mac)).toEqual(before);
    expect((await rotationOf(mac))?.state).toBe('done');
    mac.queue.length = 0;
  });

  test('is not sent while somebody may be typing the key, unless an admin answers for it; who looks after that is waited for again', async () => {
    const mac = await known();
    await it.backend.custody.discloseBrought({ serial: mac.serial, actor: 'ada', reason: 'locked out' });
    const held = await rotate(mac);
    expect(held.from).toBe(it.now() + 24 * hour);
    await it.send();
    expect((await rotationOf(mac))?.state).toBe('waiting');
    await expect(rotate(mac)).rejects.toMatchObject({ code: 'MDM_ROTATION_REFUSED', detail: expect.stringContaining('is under way') });
    await it.backend.store.write((tx) => tx.deleteFrom('mdm_command').where('uuid', '=', held.uuid).execute());
    await rotate(mac, { overrideHold: true });
    it.pass(minute);
    await it.backend.custody.discloseBrought({ serial: mac.serial, actor: 'bob', reason: 'again' });
    await it.send();
    expect((await rotationOf(mac))?.state).toBe('waiting');
    it.pass(24 * hour);
    await it.send();
    expect((await rotationOf(mac))?.state).toBe('sent');
  });

  test('is this Mac’s, whatever another device says of itself before the answer comes', async () => {
    const mac = await known();
    await rotate(mac);
    await it.send();
    await it.authenticate(it.newMac({ serial: mac.serial }));
    await it.fetch(mac);
    expect(await rotationOf(mac)).toMatchObject({ state: 'done' });
    const shown = await it.backend.custody.discloseBrought({ serial: mac.serial, actor: 'ada', reason: 'x' });
    expect(shown.key.equals(mac.key)).toBe(true);
  });

  test('after two tries that failed a task is left to people', async () => {
    const mac = await known();
    mac.rotation = { code: 1, words: 'no' };
    await it.backend.custody.discloseBrought({ serial: mac.serial, actor: 'ada', reason: 'locked out' });
    for (let days = 0; days < 6; days += 1) {
      it.pass(day + hour);
      await it.send();
      await it.fetch(mac);
    }
    expect((await it.commands(mac)).filter(({ kind }) => kind === 'rotate')).toHaveLength(2);
    expect(await openAlarms(mac.serial)).toEqual([]);
  });
});

describe('a Mac with an agent', () => {
  async function managed(facts: object) {
    const mac = it.newMac();
    const agent = await it.agentOf(mac);
    await agent.checkIn(facts);
    await agent.deliver(mac.file);
    await it.authenticate(mac);
    await it.securityInfo(mac);
    return { mac, agent, macId: await it.backend.custody.findMac(mac.serial) };
  }

  test('that replaces its key itself is left alone: two who do would fight', async () => {
    const { mac } = await managed({});
    await expect(rotate(mac)).rejects.toMatchObject({ code: 'MDM_ROTATION_REFUSED', detail: expect.stringContaining('its own agent') });
  });

  test('whose build refuses the key: the MDM replaces it, the new key is asked about, and macOS’s `true` makes it the held one', async () => {
    const { mac, agent, macId } = await managed({ capability: 'refused' });
    const old = mac.key;
    await it.backend.custody.disclose({ macId, actor: 'ada', reason: 'locked out' });
    await it.send();
    expect(await rotationOf(mac)).toMatchObject({ state: 'waiting', actor: 'server' });
    it.pass(24 * hour + minute);
    await it.send();
    await it.fetch(mac);
    expect(mac.key.equals(old)).toBe(false);
    const records = await it.db.selectFrom('key_record').select(['id', 'state', 'source']).where('mac_id', '=', macId).orderBy('received_at').execute();
    expect(records.map(({ state, source }) => `${source} ${state}`)).toEqual(['escrow-file held', 'brought-nanomdm candidate']);
    expect((await it.backend.custody.custodyOf(macId)).state).toBe('doubtful');
    // Before anything is proved: once more, and by the key that the MDM has made.
    await rotate(mac, { overrideHold: true });
    await it.send();
    await it.fetch(mac);
    expect(await rotationOf(mac)).toMatchObject({ state: 'done', error: null });
    // macOS's escrow file brings it by the agent as well.
    await agent.checkIn({ capability: 'refused' });
    expect((await agent.deliver(mac.file)).status).toBe(201);
    const id = createHash('sha256').update(mac.file).digest('hex');
    const proof = { id: randomUUID(), envelopeId: id, orderId: null, answer: 'true', settled: true, boot: agent.self.boot, uptimeSeconds: 3600 };
    await agent.checkIn({ capability: 'refused' }, { proofs: [proof] });
    expect((await it.backend.custody.custodyOf(macId)).state).toBe('held');
    const shown = await it.backend.custody.disclose({ macId, actor: 'ada', reason: 'to see it' });
    expect(shown.key.equals(mac.key)).toBe(true);
    expect(
      (await it.db.selectFrom('debt').selectAll().where('mac_id', '=', macId).where('closed_at', 'is', null).execute()).map(({ because }) => because),
    ).toEqual(['disclosed']);
  });

  test('C3: on its way to our payload is left alone until that is there, also by an order that overrides the hold', async () => {
    const facts = { rotator: 'mdm', escrow: { payload: 'foreign', location: null, file: null } } as const;
    const { mac, agent, macId } = await managed(facts);
    const id = createHash('sha256').update(mac.file).digest('hex');
    const proof = { id: randomUUID(), envelopeId: id, orderId: null, answer: 'true', settled: true, boot: agent.self.boot, uptimeSeconds: 3600 };
    await agent.checkIn(facts, { proofs: [proof] });
    await it.backend.custody.rings.plan({ name: 'mdm', macs: [macId], actor: 'ada' });
    await it.backend.custody.rings.start({ name: 'mdm', reason: 'change 4711', actor: 'ada' });
    await rotate(mac, { overrideHold: true });
    await it.send();
    expect(await rotationOf(mac)).toMatchObject({ state: 'waiting', sent_at: null });
    await it.backend.custody.rings.drop({ mac: macId, reason: 'in repair', actor: 'ada' });
    it.pass(hour + minute);
    await it.send();
    expect((await rotationOf(mac))?.sent_at).toEqual(expect.any(Number));
    await it.fetch(mac);
  });

  test('where the settings say that the MDM replaces keys, it is asked to after a disclosure', async () => {
    const { mac, macId } = await managed({ rotator: 'mdm' });
    await it.backend.custody.disclose({ macId, actor: 'ada', reason: 'locked out' });
    await it.send();
    expect((await rotationOf(mac))?.sent_at ?? null).toBeNull();
    it.pass(24 * hour + minute);
    await it.send();
    await it.fetch(mac);
    expect(await rotationOf(mac)).toMatchObject({ state: 'done', error: null });
  });
});

describe('NanoMDM', () => {
  test('that does not take the API key: nothing is lost, it is sent later', async () => {
    const mac = await known();
    const { uuid } = await rotate(mac);
    it.nano.next.push({ of: mac, status: 401, body: 'Unauthorized' });
    await it.mdm.sendDue(it.api);
    const row = await rotationOf(mac);
    expect([row?.state, row?.reply_key, row?.error]).toEqual(['waiting', null, expect.stringContaining('does not take the API key')]);
    expect((await it.acts('key.not-sent-to-mdm')).filter(({ commandUuid }) => commandUuid === uuid)).toHaveLength(1);
    it.pass(2 * hour);
    await it.send();
    expect((await rotationOf(mac))?.state).toBe('sent');
    await it.fetch(mac);
    expect((await rotationOf(mac))?.state).toBe('done');
  });

  test('that does not know the Mac ends the command in its words', async () => {
    const mac = await known();
    it.nano.macs.delete(mac.udid);
    await it.mdm.ask({ device: mac.serial, actor: 'ada', reason: 'x' });
    await it.mdm.sendDue(it.api);
    expect(await it.commands(mac)).toContainEqual(expect.objectContaining({ state: 'failed', error: 'NanoMDM: no such enrollment' }));
  });

  test('whose answer is none: a command with a key in it is never put into the queue twice', async () => {
    const mac = await known();
    await rotate(mac);
    it.nano.next.push({ of: mac, status: 502, body: '<html>' });
    await it.mdm.sendDue(it.api);
    const asked = () => it.nano.asked.filter(({ path }) => path.endsWith(mac.udid)).length;
    const before = asked();
    await it.mdm.sendDue(it.api);
    expect(asked()).toBe(before);
    expect(await rotationOf(mac)).toMatchObject({ state: 'sent', error: expect.stringContaining('502') });
  });

  test.each([
    ['an answer that is no answer', { status: 502, body: '<html>' }, 'unsure'],
    ['a redirect', { status: 302, headers: { location: 'https://elsewhere.example.org/' } }, 'unsure'],
    ['JSON of another form', { status: 200, body: ['x'] }, 'unsure'],
    ['an error without words', { status: 500, body: {} }, 'unsure'],
    ['a wish for patience', { status: 429, headers: { 'retry-after': '3600' } }, 'not-sent'],
    ['503, from it or from what stands before it', { status: 503, headers: { 'retry-after': '1' } }, 'unsure'],
    ['a page where an answer belongs', { status: 200, body: '<html>' }, 'unsure'],
    ['a refusal', { status: 400, body: 'no' }, 'refused'],
    ['a key that is wrong', { status: 403, body: {} }, 'not-sent'],
    ['a Mac that could not be woken', { status: 207, body: { push_error: 'a\nb' } }, 'queued'],
  ])('%s is told apart', async (_, answer, kind) => {
    const mac = it.newMac();
    it.nano.next.push({ of: mac, ...answer });
    expect(await it.api.enqueue(mac.udid, Buffer.from('x'))).toMatchObject({ kind });
  });

  test('that is down is not reached, and nothing was sent', async () => {
    const outbound = createOutbound({ origin: 'https://127.0.0.1:1', log: silentLog });
    expect(await createNanoMdm(outbound, 'x').enqueue('A', Buffer.from('x'))).toMatchObject({
      kind: 'not-sent',
      because: expect.stringContaining('ECONNREFUSED'),
    });
    outbound.close();
  });

  test('whose webhook was lost is asked again: the Mac was heard of, and its answer did not come', async () => {
    const mac = await known();
    it.pass(day + minute);
    await it.send();
    mac.queue.length = 0;
    it.pass(hour);
    await it.post(it.event('mdm.Connect', { udid: mac.udid, ids: { id: mac.udid, type: 'Device' }, status: 'Idle' }));
    it.pass(day);
    await it.send();
    const last = (await it.commands(mac)).filter(({ kind }) => kind === 'security-info').slice(-2);
    expect(last.map(({ state, because }) => `${state} ${because}`)).toEqual(['failed its time has come', 'waiting an answer was lost']);
    it.pass(2 * hour);
    await it.send();
    expect(await it.fetch(mac)).toEqual(['SecurityInfo']);
  });

  test('a Mac that was enrolled anew has an empty queue there: what was under way is over', async () => {
    const mac = await known();
    await rotate(mac);
    await it.send();
    mac.queue.length = 0;
    it.pass(minute);
    await it.authenticate(mac);
    expect(await rotationOf(mac)).toMatchObject({ state: 'failed', error: expect.stringContaining('enrolled anew') });
    it.pass(3 * minute);
    await it.send();
    expect(await it.fetch(mac)).toEqual(['SecurityInfo']);
  });
});

test('what was begun goes on after the backend was started again', async () => {
  const mac = await known();
  const { uuid } = await rotate(mac);
  await it.send();
  await it.restart();
  expect(mac.queue.map((one) => one.uuid)).toContain(uuid);
  await it.fetch(mac);
  expect(await rotationOf(mac)).toMatchObject({ state: 'done' });
  const shown = await it.backend.custody.discloseBrought({ serial: mac.serial, actor: 'ada', reason: 'x' });
  expect(shown.key.equals(mac.key)).toBe(true);
});

describe('commands', () => {
  test('`mdm devices` says which Macs there are and what became of their keys', async () => {
    const mac = await known();
    const { json, text } = await mdmDevices(it.backend);
    const { devices } = json as { devices: { serial: string }[] };
    expect(devices.filter(({ serial }) => serial === mac.serial)).toEqual([
      expect.objectContaining({ deviceId: mac.udid, fileVault: true, hasRecoveryKey: true, key: 'key-waiting', leftAt: null, recipient: null }),
    ]);
    expect(text).toContain(mac.serial);
    expect(JSON.stringify(json)).not.toContain(mac.key.reveal());
  });

  test('`mdm ask` asks once, and `mdm commands` lists it', async () => {
    const mac = await known();
    it.pass(minute);
    expect(await mdmAsk(it.backend, { mac: mac.serial.toLowerCase(), reason: 'is it there?', actor: 'ada' })).toMatchObject({
      json: { deviceId: mac.udid, commandUuid: expect.any(String) },
    });
    expect(await mdmAsk(it.backend, { mac: mac.serial, reason: 'is it there?', actor: 'ada' })).toMatchObject({ json: { commandUuid: null } });
    const { json } = await mdmCommands(it.backend, mac.serial, { all: true });
    expect((json as { commands: object[] }).commands[0]).toMatchObject({ kind: 'security-info', state: 'waiting', actor: 'ada', because: 'is it there?' });
    expect((await mdmCommands(it.backend, 'C02NONE00001', { all: false })).text).toBe('nothing was asked through the MDM');
  });

  test('a Mac of which only its agent has told is known to the MDM by its hardware', async () => {
    const other = it.newMac();
    const agent = await it.agentOf(other);
    await agent.checkIn();
    expect(await mdmAsk(it.backend, { mac: other.serial, reason: 'x', actor: 'ada' })).toMatchObject({
      json: { deviceId: other.udid, commandUuid: expect.any(String) },
    });
    await it.mdm.sendDue(it.api);
    expect(await it.fetch(other)).toEqual(['SecurityInfo']);
    await expect(mdmAsk(it.backend, { mac: 'C02NONE00001', reason: 'x', actor: 'ada' })).rejects.toMatchObject({ code: 'MAC_UNKNOWN' });
  });

  test('`mdm rotate` needs a setting that says yes to keys in the database of the MDM', async () => {
    const mac = await known();
    const { settings } = it.backend;
    const { coexistence } = settings;
    const off = {
      ...it.backend,
      settings: { ...settings, coexistence: coexistence?.nanomdm ? { ...coexistence, nanomdm: { ...coexistence.nanomdm, rotate: false } } : null },
    };
    const act = { mac: mac.serial, reason: 'left in a taxi', actor: 'ada', overrideHold: false };
    await expect(mdmRotate(off, act)).rejects.toMatchObject({ code: 'MDM_ROTATION_REFUSED' });
    await expect(mdmRotate({ ...it.backend, settings: { ...settings, coexistence: null } }, act)).rejects.toMatchObject({ code: 'SERVER_SETTINGS_INVALID' });
    expect(await mdmRotate(it.backend, act)).toMatchObject({ json: { deviceId: mac.udid }, warnings: [expect.stringContaining('with the present key in it')] });
    expect((await it.acts('mdm.rotation-asked')).at(-1)).toMatchObject({ serial: mac.serial, reason: 'left in a taxi' });
    await expect(it.mdm.rotate({ device: mac.serial, actor: 'ada', reason: ' ' })).rejects.toMatchObject({ code: 'REASON_MISSING' });
  });

  test('the check of the data folder looks at the files for other systems too', () => {
    const key = readFileSync(it.files.hmac, 'utf8');
    expect(() => checkDataFolder(it.dir, true)).not.toThrow();
    writeFileSync(it.files.hmac, 'short');
    chmodSync(it.files.api, 0o644);
    try {
      expect(() => checkDataFolder(it.dir, true)).toThrow(
        /coexistence\.webhook\.hmacKeyFile: .* shorter than 24 characters; coexistence\.nanomdm\.apiKeyFile: others can read/,
      );
    } finally {
      writeFileSync(it.files.hmac, key);
      chmodSync(it.files.api, 0o600);
    }
  });

  test('two devices with one serial number are for nobody to choose between', async () => {
    const mac = await known();
    const twin = it.newMac({ serial: mac.serial });
    await it.authenticate(twin);
    await expect(mdmAsk(it.backend, { mac: mac.serial, reason: 'x', actor: 'ada' })).rejects.toMatchObject({
      code: 'MAC_AMBIGUOUS',
      detail: expect.stringContaining(twin.udid),
    });
    expect(await mdmAsk(it.backend, { mac: twin.udid, reason: 'x', actor: 'ada' })).toMatchObject({ json: { deviceId: twin.udid } });
  });
});

test('answers of long ago are forgotten, and with them the keys of replies; who had a key replaced stays', async () => {
  const mac = await known();
  await rotate(mac);
  await it.send();
  it.pass(8 * day);
  await it.mdm.sendDue(it.api);
  expect(await rotationOf(mac)).toMatchObject({ state: 'failed', error: 'no answer in 7 days', reply_key: expect.any(Uint8Array) });
  await it.mdm.forgetOld();
  expect((await it.commands(mac)).map(({ kind }) => kind)).not.toContain('device-information');
  expect((await rotationOf(mac))?.reply_key).not.toBeNull();
  it.pass(90 * day);
  await it.mdm.forgetOld();
  expect((await it.commands(mac)).map(({ kind, reply_key: key }) => [kind, key])).toEqual([['rotate', null]]);
});

test('a row that somebody changed sends no key', async () => {
  const [mac, other] = [await known(), await known()];
  await rotate(mac);
  const bytes = (await it.brought(other))[0]?.bytes ?? null;
  await it.backend.store.write((tx) => tx.updateTable('brought_key').set({ bytes }).where('serial', '=', mac.serial).execute());
  await it.send();
  expect(await rotationOf(mac)).toMatchObject({ state: 'failed', error: expect.stringContaining('tampered') });
  expect(mac.queue.filter(({ plist }) => plist.includes('Rotate'))).toEqual([]);
});

test('no key that a Mac ever had stands in the log, the audit or a row, nor the key of the webhook or of the API', async () => {
  // One whose key was shown and replaced, one that failed, one with an agent, one whose answer does not open.
  const [mac, wrong, own, garbled] = [await known(), await known(), it.newMac(), await known()];
  await it.backend.custody.discloseBrought({ serial: mac.serial, actor: 'ada', reason: 'locked out' });
  wrong.replaceKey();
  garbled.rotation = 'garbled';
  const agent = await it.agentOf(own);
  await agent.checkIn({ rotator: 'mdm' });
  await agent.deliver(own.file);
  await it.authenticate(own);
  await it.securityInfo(own);
  const all = [mac, wrong, own, garbled];
  for (const one of all) await rotate(one, { overrideHold: true });
  for (let i = 0; i < 2; i += 1) {
    it.pass(minute);
    await it.send();
    for (const one of all) await it.fetch(one);
  }
  for (const one of [mac, own]) expect(await rotationOf(one)).toMatchObject({ state: 'done', error: null });
  const tables = ['audit', 'mdm_device', 'mdm_command', 'mdm_event', 'brought_key', 'mdm_task', 'alarm', 'key_record'] as const;
  const rows: unknown[] = [lines];
  for (const table of tables) {
    const found = await it.db.selectFrom(table).selectAll().execute();
    rows.push(found.map((row) => Object.values(row).map((value) => (value instanceof Uint8Array ? Buffer.from(value).toString('latin1') : value))));
  }
  const dump = JSON.stringify(rows);
  const keys = all.flatMap((one) => [one.key, ...one.keys]);
  expect(keys).toHaveLength(8);
  expect(keys.filter((key) => dump.includes(key.reveal()))).toEqual([]);
  expect(dump).not.toMatch(/the API key of NanoMDM|a key of a webhook/);
  // What came of each event is said, and each reason is one of the list.
  const events = lines.filter(({ event }) => event === 'mdm-event');
  expect(events.length).toBeGreaterThan(10);
  expect(events.every(({ fate, because }) => typeof fate === 'string' && typeof because === 'string')).toBe(true);
});
