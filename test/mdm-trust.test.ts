import { createHash, randomUUID } from 'node:crypto';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { sealKey } from '../protocol/envelope.ts';
import { raise } from '../server/alarms.ts';
import { silentLog } from '../server/log.ts';
import { mdmCommands, mdmDevices, mdmRotate } from '../server/mdm/mdm-words.ts';
import { makeEscrowFile } from './fake-mac/escrow-file.ts';
import { encode, everything, type GivenMdm, givenMdm, type ManagedMac, securityOf } from './mdm-parts.ts';
import { day, hour, minute, newKey } from './server-parts.ts';

/* Whose word counts for what: a device that plays another Mac, an agent and an MDM that replace one key, answers that do not fit. */

let it: GivenMdm;
beforeAll(async () => {
  it = await givenMdm();
});

const deviceOf = (mac: ManagedMac) => it.db.selectFrom('mdm_device').selectAll().where('id', '=', mac.udid).executeTakeFirstOrThrow();
/** What an admin took over from an export. */
const imported = (serial: string, key = newKey(), envelope?: { bytes: Buffer; recipient: string; blocks: string[] }) =>
  it.backend.custody.bring([
    {
      serial,
      key: envelope ? null : key,
      ...(envelope ? { envelope } : {}),
      source: envelope ? 'mdm-cms' : 'csv',
      trust: 'admin',
      runId: null,
      // As if it were the newest: what an export says of its time is its own word.
      madeAt: it.now() + day,
      actor: 'ada',
    },
  ]);
const rotations = (mac: ManagedMac): string[] => mac.queue.map(({ plist }) => plist).filter((plist) => plist.includes('RotateFileVaultKey'));

/** A Mac whose build refuses the key, so that the MDM has to replace it, and of which that is owed. */
async function refusing() {
  const mac = it.newMac();
  const agent = await it.agentOf(mac);
  const facts = { capability: 'refused' } as const;
  await agent.checkIn(facts);
  await agent.deliver(mac.file);
  await it.authenticate(mac);
  await it.securityInfo(mac);
  const macId = await it.backend.custody.findMac(mac.serial);
  await it.backend.custody.orderRotation({ macId, actor: 'ada', reason: 'a test' });
  return { mac, agent, macId, facts };
}

describe('a device that says the serial number of another Mac', () => {
  test('is sent no key of that Mac, by no order, no task and no sweep; an admin who names the device answers for it', async () => {
    const mac = it.newMac();
    const key = mac.key;
    await imported(mac.serial, key);
    await it.authenticate(mac);
    await expect(it.rotate(mac)).rejects.toMatchObject({ code: 'MDM_ROTATION_REFUSED', detail: expect.stringContaining('its own word') });
    await it.backend.custody.discloseBrought({ serial: mac.serial, actor: 'ada', reason: 'locked out' });
    it.pass(25 * hour);
    await it.send();
    expect(rotations(mac)).toEqual([]);
    expect((await it.acts('key.sent-to-mdm')).filter(({ serial }) => serial === mac.serial)).toEqual([]);
    const said = await mdmRotate(it.backend, { mac: mac.udid, reason: 'I have it in my hands', actor: 'ada', overrideHold: false });
    expect(said.warnings).toEqual([expect.stringContaining('with the present key in it'), expect.stringContaining('your word')]);
    await it.mdm.sendDue(it.api);
    expect(rotations(mac)).toEqual([expect.stringContaining(key.reveal())]);
    expect((await it.acts('mdm.rotation-asked')).at(-1)).toMatchObject({ serial: mac.serial, named: true });
    await it.fetch(mac);
    expect(await it.rotationOf(mac)).toMatchObject({ state: 'done' });
  });

  test('that has shown a key of its own is sent that one, and not the one that was brought for the serial number', async () => {
    const mac = await it.known();
    const brought = newKey();
    await imported(mac.serial, brought);
    await it.rotate(mac);
    await it.send();
    expect(rotations(mac)).toEqual([expect.stringContaining(mac.key.reveal())]);
    expect(rotations(mac).join()).not.toContain(brought.reveal());
    await it.fetch(mac);
  });

  test('shows nothing of its own by bytes that somebody else has brought before', async () => {
    const mac = it.newMac();
    const [certificate] = it.backend.escrowKeys.certificates;
    const { lookAtEnvelope } = await import('../server/brought/envelopes.ts');
    const looked = lookAtEnvelope(mac.file, certificate ? [certificate] : []);
    if (looked.kind !== 'ours') throw new TypeError('not ours');
    await imported(mac.serial, mac.key, { bytes: mac.file, recipient: looked.recipient, blocks: looked.blocks });
    await it.authenticate(mac);
    await it.securityInfo(mac);
    await it.securityInfo(mac);
    expect(await it.keyOf(mac)).toBe('key-known');
    await expect(it.rotate(mac)).rejects.toMatchObject({ code: 'MDM_ROTATION_REFUSED', detail: expect.stringContaining('its own word') });
  });

  test('enrolled under its UDID as well, is sent no key before it has shown that Mac’s own file again', async () => {
    const mac = await it.known();
    it.pass(minute);
    await it.authenticate(mac);
    await it.backend.custody.discloseBrought({ serial: mac.serial, actor: 'ada', reason: 'locked out' });
    it.pass(25 * hour);
    await it.idle(mac);
    await it.send();
    await it.mdm.sendDue(it.api);
    expect(rotations(mac)).toEqual([]);
    await expect(it.rotate(mac)).rejects.toMatchObject({ code: 'MDM_ROTATION_REFUSED', detail: expect.stringContaining('its own word') });
    await it.securityInfo(mac);
    await it.send();
    expect(rotations(mac)).toEqual([expect.stringContaining(mac.key.reveal())]);
    await it.fetch(mac);
  });

  test('enrolled under the UDID of a Mac with an agent, is sent none of its keys: its own one at most, and by an admin’s word alone the other', async () => {
    const { mac, agent, macId, facts } = await refusing();
    const [key, file] = [mac.key, mac.file];
    it.pass(minute);
    await it.authenticate(mac);
    const refused = { code: 'MDM_ROTATION_REFUSED', detail: expect.stringContaining('has not shown') };
    await expect(it.rotate(mac)).rejects.toMatchObject(refused);
    mac.replaceKey();
    await it.securityInfo(mac);
    await it.securityInfo(mac);
    expect(await it.keyOf(mac)).toBe('same-envelope');
    // Its own key was not that Mac’s: what it has shown since is no file of the key that is held.
    const { id } = await it.db.selectFrom('key_record').select('id').where('mac_id', '=', macId).where('state', '=', 'candidate').executeTakeFirstOrThrow();
    await it.backend.store.write((tx) => tx.updateTable('key_record').set({ refuted_at: it.now() }).where('id', '=', id).execute());
    await expect(it.rotate(mac)).rejects.toMatchObject(refused);
    await it.mdm.rotateDue(everything);
    await it.mdm.sendDue(it.api);
    expect([rotations(mac), (await it.acts('key.sent-to-mdm')).filter(({ serial }) => serial === mac.serial)]).toEqual([[], []]);
    Object.assign(mac, { key, file });
    await agent.checkIn(facts);
    await it.rotate(mac, { device: mac.udid });
    await it.mdm.sendDue(it.api);
    expect(rotations(mac)).toEqual([expect.stringContaining(key.reveal())]);
    await it.fetch(mac);
  });

  test('shows nothing of its own by bytes of another Mac that the MDM has shown and that were not kept', async () => {
    const [mac, other] = [await it.known(), it.newMac()];
    const copy = makeEscrowFile(mac.key.reveal(), mac.recipient);
    mac.file = copy;
    await it.securityInfo(mac);
    expect(await it.keyOf(mac)).toBe('key-known');
    await it.backend.store.write((tx) => tx.updateTable('brought_key').set({ state: 'withdrawn', bytes: null }).where('serial', '=', mac.serial).execute());
    await it.authenticate(other);
    other.file = copy;
    await it.securityInfo(other);
    expect([await it.keyOf(other), await it.brought(other)]).toEqual(['of-another-mac', []]);
    await expect(it.rotate(other)).rejects.toMatchObject({ code: 'MDM_ROTATION_REFUSED' });
  });

  test('as an agent that nobody has confirmed is not given what the MDM brought for it: the new key waits as one that others brought', async () => {
    const mac = await it.known();
    await it.rotate(mac);
    await it.send();
    const agent = await it.agentOf(mac);
    const macId = await it.backend.custody.findMac(mac.serial);
    await it.backend.store.write(async (tx) => {
      await tx.updateTable('mac').set({ serial_proved: 0 }).where('id', '=', macId).execute();
      await tx.updateTable('enrolment').set({ confirmed: 0 }).where('mac_id', '=', macId).execute();
    });
    await agent.checkIn({ rotator: 'mdm' });
    await it.fetch(mac);
    expect(await it.rotationOf(mac)).toMatchObject({ state: 'done', error: null });
    const envelopes = await it.db.selectFrom('envelope').select('source').where('mac_id', '=', macId).execute();
    expect(envelopes.filter(({ source }) => source === 'brought-nanomdm' || source === 'nanomdm')).toEqual([]);
    expect((await it.brought(mac)).map(({ state }) => state).toSorted()).toEqual(['refuted', 'waiting']);
  });

  test('as an agent that nobody has confirmed takes nothing from the MDM’s word, beside the Mac that has it and alone', async () => {
    /** Another machine, which says by now that it has this serial number. Its id here. */
    const claim = async (serial: string) => {
      const rival = it.newMac();
      await (await it.agentOf(rival)).checkIn();
      const macId = await it.backend.custody.findMac(rival.serial);
      await it.backend.store.write(async (tx) => {
        await tx.updateTable('mac').set({ serial, serial_proved: 0 }).where('id', '=', macId).execute();
        await tx.updateTable('enrolment').set({ confirmed: 0 }).where('mac_id', '=', macId).execute();
      });
      return macId;
    };
    const mac = it.newMac();
    const agent = await it.agentOf(mac);
    await agent.checkIn();
    await agent.deliver(mac.file);
    const alone = it.newMac();
    const rivals: string[] = [];
    for (const one of [mac, alone]) {
      await it.authenticate(one);
      rivals.push(await claim(one.serial));
      one.replaceKey();
      await it.securityInfo(one);
      expect([(await it.brought(one)).map(({ trust }) => trust), await it.openAlarms(one.serial)]).toEqual([['mdm'], []]);
    }
    // Of two that were confirmed nobody knows which it is.
    await it.backend.store.write((tx) =>
      tx
        .updateTable('enrolment')
        .set({ confirmed: 1 })
        .where('mac_id', '=', rivals[0] ?? '')
        .execute(),
    );
    mac.replaceKey();
    await it.securityInfo(mac);
    expect((await it.brought(mac)).map(({ trust }) => trust).toSorted()).toEqual(['mdm', 'none']);
  });

  test('and no hardware is not the Mac with an agent that has it', async () => {
    const mac = it.newMac();
    const agent = await it.agentOf(mac);
    await agent.checkIn({ rotator: 'mdm' });
    await agent.deliver(mac.file);
    const id = randomUUID().toUpperCase();
    const about = { enrollment_id: id, ids: { id, type: 'User Enrollment (Device)' } };
    await it.post(it.event('mdm.Authenticate', { ...about, raw_payload: encode({ MessageType: 'Authenticate', SerialNumber: mac.serial }) }));
    await expect(it.mdm.rotate({ device: id, actor: 'ada', reason: 'x' })).rejects.toMatchObject({
      code: 'MDM_ROTATION_REFUSED',
      detail: expect.stringContaining('does not say which hardware'),
    });
  });
});

test('a Mac of the MDM that gets an agent later: macOS’s file is one envelope by both ways, and no alarm', async () => {
  const mac = await it.known();
  const agent = await it.agentOf(mac);
  await agent.checkIn();
  expect((await agent.deliver(mac.file)).body.state).toBe('held');
  it.pass(minute);
  await it.securityInfo(mac);
  expect(await it.keyOf(mac)).toBe('same-envelope');
  const macId = await it.backend.custody.findMac(mac.serial);
  expect(await it.db.selectFrom('alarm').select('code').where('mac_id', '=', macId).execute()).toEqual([]);
  expect((await it.backend.custody.custodyOf(macId)).state).toBe('held');
});

describe('the serial number of a device', () => {
  const inform = (mac: ManagedMac, uuid: string, serial: string) => it.answer(mac, uuid, { QueryResponses: { SerialNumber: serial, UDID: mac.udid } });

  test('is taken from Authenticate and from what was asked for, and from no answer to anybody else', async () => {
    const mac = it.newMac();
    await it.post(it.event('mdm.Connect', { udid: mac.udid, ids: { id: mac.udid, type: 'Device' }, status: 'Idle' }));
    await inform(mac, randomUUID().toUpperCase(), 'C02OTHER0001');
    expect((await deviceOf(mac)).serial).toBeNull();
    await it.send();
    const asked = (await it.commands(mac)).find(({ kind }) => kind === 'security-info');
    await inform(mac, asked?.uuid ?? '', 'C02OTHER0001');
    expect((await deviceOf(mac)).serial).toBeNull();
    await it.fetch(mac);
    expect((await deviceOf(mac)).serial).toBe(mac.serial);
  });

  test('that becomes another one is an alarm, and until that was judged its keys are nobody’s in particular', async () => {
    const mac = await it.known();
    const other = `C02N${randomUUID().slice(0, 8).toUpperCase()}`;
    it.pass(minute);
    // In two steps as well: it says none in between.
    await it.authenticate(mac, { SerialNumber: undefined });
    it.pass(minute);
    await it.authenticate(mac, { SerialNumber: other });
    expect(await it.openAlarms(mac.udid)).toEqual(['MDM_SERIAL_CHANGED']);
    mac.replaceKey();
    await it.securityInfo(mac);
    expect(await it.db.selectFrom('brought_key').select(['trust']).where('serial', '=', other).execute()).toEqual([{ trust: 'none' }]);
    await expect(it.backend.custody.discloseBrought({ serial: other, actor: 'ada', reason: 'x' })).rejects.toMatchObject({ code: 'KEY_UNKNOWN' });
    await expect(it.mdm.rotate({ device: mac.udid, actor: 'ada', reason: 'x' })).rejects.toMatchObject({ detail: expect.stringContaining(mac.serial) });
    // To and fro is one alarm.
    it.pass(minute);
    await it.authenticate(mac);
    expect(await it.openAlarms(mac.udid)).toEqual(['MDM_SERIAL_CHANGED']);
    const { id } = await it.db.selectFrom('alarm').select('id').where('code', '=', 'MDM_SERIAL_CHANGED').executeTakeFirstOrThrow();
    await it.backend.custody.judgeAlarm({ alarmId: id, actor: 'ada', judgement: 'the board was exchanged' });
    mac.replaceKey();
    await it.securityInfo(mac);
    const shown = await it.backend.custody.discloseBrought({ serial: mac.serial, actor: 'ada', reason: 'x' });
    expect(shown.key.equals(mac.key)).toBe(true);
  });
});

describe('an agent and the MDM', () => {
  const codeOf = ({ status, body }: { status: number; body: { code?: string } }) => (status === 200 ? 'begun' : body.code);

  test('while a RotateFileVaultKey is on its way the agent’s begin waits; after the answer it does not', async () => {
    const { mac, agent } = await refusing();
    const { uuid } = await it.rotate(mac);
    await it.send();
    const refused = await agent.begin();
    expect([codeOf(refused), refused.body.detail, refused.body.retryAfterSeconds ?? refused.headers['retry-after']]).toEqual([
      'ROTATION_BY_MDM',
      `command ${uuid}`,
      expect.anything(),
    ]);
    mac.busy = true;
    await it.fetch(mac);
    expect(codeOf(await agent.begin())).toBe('ROTATION_BY_MDM');
    mac.busy = false;
    mac.rotation = { code: 1, words: 'no' };
    await it.fetch(mac);
    expect(codeOf(await agent.begin())).toBe('begun');
  });

  test('the agent waits for a day and no longer: a command that nobody fetches keeps no key from being replaced', async () => {
    const { mac, agent } = await refusing();
    await it.rotate(mac);
    await it.send();
    it.pass(day - minute);
    expect(codeOf(await agent.begin())).toBe('ROTATION_BY_MDM');
    it.pass(2 * minute);
    expect(codeOf(await agent.begin())).toBe('begun');
    mac.queue.length = 0;
  });

  test('while the agent replaces the key nothing is sent: what was asked for before it began waits', async () => {
    const { mac, agent, macId, facts } = await refusing();
    await it.backend.custody.disclose({ macId, actor: 'ada', reason: 'locked out' });
    await it.rotate(mac);
    it.pass(23 * hour);
    await it.backend.custody.endHold({ macId, actor: 'ada', because: 'override', reason: 'is back in' });
    const id = randomUUID();
    expect(codeOf(await agent.begin(facts, id))).toBe('begun');
    it.pass(hour + minute);
    await it.send();
    expect(await it.rotationOf(mac)).toMatchObject({ state: 'waiting', sent_at: null });
    expect(rotations(mac)).toEqual([]);
    await agent.checkIn(facts, { endings: [{ rotationId: id, as: 'not-changed', detail: 'refused' }] });
    it.pass(10 * minute);
    await it.send();
    expect(rotations(mac)).toHaveLength(1);
    await it.fetch(mac);
  });

  test.each(['IDENTITY_CLONED', 'IDENTITY_MOVED', 'SERIAL_CONFLICT', 'ROW_TAMPERED'] as const)(
    'what stops the agent stops the MDM: while %s is open nothing is sent, whatever was ordered',
    async (code) => {
      const { mac, macId } = await refusing();
      await it.backend.store.write((tx) => raise({ log: silentLog }, tx, it.now(), macId, code, 'a test'));
      await it.rotate(mac, { overrideHold: true });
      await it.mdm.sendDue(it.api);
      expect([rotations(mac), await it.rotationOf(mac)]).toEqual([[], expect.objectContaining({ state: 'waiting', sent_at: null })]);
      const { id } = await it.db.selectFrom('alarm').select('id').where('mac_id', '=', macId).where('code', '=', code).executeTakeFirstOrThrow();
      await it.backend.custody.judgeAlarm({ alarmId: id, actor: 'ada', judgement: 'it was me' });
      it.pass(hour);
      await it.mdm.sendDue(it.api);
      expect(rotations(mac)).toHaveLength(1);
      await it.fetch(mac);
    },
  );

  test('C2: by itself the MDM is asked for nothing where two replace keys, nor for what only time asked for within seven days of somebody else’s change', async () => {
    const { mac, agent, macId, facts } = await refusing();
    const because = (one: string) => it.backend.store.write((tx) => tx.updateTable('debt').set({ because: one }).where('mac_id', '=', macId).execute());
    const changedAt = (...days: number[]) => ({
      ...facts,
      foreignChanges: { times: days.map((ago) => new Date(it.now() - ago * day).toISOString()), suspects: [] },
    });
    const asked = async () => {
      await it.mdm.rotateDue(everything);
      return (await it.rotationOf(mac)) !== undefined;
    };
    await because('aged');
    await agent.checkIn(changedAt(6));
    expect(await asked()).toBe(false);
    await agent.checkIn(changedAt(6, 1));
    await because('disclosed');
    expect([await it.openAlarms('found on its disk'), await asked()]).toEqual([['TWO_ROTATORS'], false]);
    const { id } = await it.db.selectFrom('alarm').select('id').where('code', '=', 'TWO_ROTATORS').where('mac_id', '=', macId).executeTakeFirstOrThrow();
    await it.backend.custody.judgeAlarm({ alarmId: id, actor: 'ada', judgement: 'the script is gone' });
    await because('aged');
    expect(await asked()).toBe(false);
    // What a person has to do with it does not wait for that.
    await because('disclosed');
    expect(await asked()).toBe(true);
    // Nor is it sent once there are two again, whatever it was asked for.
    it.pass(hour);
    await agent.checkIn(changedAt(6, 0));
    expect(await it.openAlarms('found on its disk')).toEqual(['TWO_ROTATORS']);
    await it.mdm.sendDue(it.api);
    expect([rotations(mac), (await it.rotationOf(mac))?.state]).toEqual([[], 'waiting']);
  });

  test('a Mac whose agent replaces its key itself by now is sent nothing that was asked for before', async () => {
    const { mac, agent, macId } = await refusing();
    await it.backend.custody.disclose({ macId, actor: 'ada', reason: 'locked out' });
    await it.rotate(mac);
    await agent.checkIn({ capability: 'works' });
    it.pass(25 * hour);
    await it.mdm.sendDue(it.api);
    expect(await it.rotationOf(mac)).toMatchObject({ state: 'failed', sent_at: null, error: expect.stringContaining('its own agent') });
  });
});

describe('a RotateFileVaultKey that was answered', () => {
  test('is confirmed by the new key in SecurityInfo, and not by the old one', async () => {
    const mac = await it.known();
    const old = mac.key;
    await it.rotate(mac);
    await it.send();
    await it.fetch(mac);
    const confirmations = async () => (await it.acts('mdm.key-confirmed')).filter(({ serial }) => serial === mac.serial);
    const fresh = mac.file;
    // macOS's escrow file still holds the old one, or somebody says so.
    mac.file = makeEscrowFile(old.reveal(), mac.recipient);
    it.pass(minute);
    await it.securityInfo(mac);
    expect([await it.keyOf(mac), await confirmations(), await it.openAlarms(mac.serial)]).toEqual(['key-known', [], []]);
    it.pass(hour);
    await it.securityInfo(mac);
    expect([await confirmations(), await it.openAlarms(mac.serial)]).toEqual([[], ['WITNESS_DIFFERS']]);
    mac.file = fresh;
    await it.securityInfo(mac);
    expect(await confirmations()).toHaveLength(1);
  });

  test.each([
    ['what SecurityInfo says', (mac: ManagedMac) => ({ SecurityInfo: securityOf(mac) })],
    ['what DeviceInformation says', () => ({ QueryResponses: { SerialNumber: 'C02OTHER0002' } })],
  ])('by %s has brought no key: the command is not done with that', async (_, content) => {
    const mac = await it.known();
    const { uuid } = await it.rotate(mac);
    await it.send();
    await it.answer(mac, uuid, content(mac));
    expect(await it.rotationOf(mac)).toMatchObject({ error: 'the answer has no key in it' });
    expect(await it.openAlarms(uuid)).toEqual(['MDM_KEY_NOT_RETURNED']);
    expect((await deviceOf(mac)).serial).toBe(mac.serial);
    mac.queue.length = 0;
  });

  test.each([['RotateResult'], ['QueryResponses']])('a question that is answered by %s is not answered', async (name) => {
    const mac = await it.known();
    const { uuid } = await it.mdm.ask({ device: mac.serial, actor: 'ada', reason: 'x' });
    await it.mdm.sendDue(it.api);
    await it.answer(mac, uuid ?? '', { [name]: { SerialNumber: 'C02OTHER0003', EncryptedNewRecoveryKey: mac.file } });
    expect((await it.commands(mac)).find((one) => one.uuid === uuid)).toMatchObject({ state: 'failed', error: 'the answer has not what was asked for' });
    expect((await deviceOf(mac)).serial).toBe(mac.serial);
    expect(await it.openAlarms(uuid ?? '?')).toEqual([]);
    mac.queue.length = 0;
  });
});

describe('a RotateFileVaultKey without an answer', () => {
  test('for 7 days is an alarm; an answer that comes later brings its key and settles it', async () => {
    const mac = await it.known();
    const { uuid } = await it.rotate(mac);
    await it.send();
    it.pass(7 * day - minute);
    await it.mdm.sendDue(it.api);
    expect([(await it.rotationOf(mac))?.state, await it.openAlarms(uuid)]).toEqual(['sent', []]);
    it.pass(day);
    await it.mdm.sendDue(it.api);
    expect(await it.rotationOf(mac)).toMatchObject({ state: 'failed', error: 'no answer in 7 days', reply_key: expect.any(Uint8Array) });
    expect(await it.openAlarms(uuid)).toEqual(['MDM_COMMAND_SILENT']);
    it.pass(30 * day);
    await it.mdm.forgetOld();
    await it.fetch(mac);
    expect(await it.rotationOf(mac)).toMatchObject({ state: 'done', error: null, reply_key: null });
    expect(await it.openAlarms(uuid)).toEqual([]);
    const shown = await it.backend.custody.discloseBrought({ serial: mac.serial, actor: 'ada', reason: 'x' });
    expect(shown.key.equals(mac.key)).toBe(true);
  });

  test('keeps the private key of its answer for 90 days and no longer, also where the MDM is not asked any more', async () => {
    const mac = await it.known();
    await it.rotate(mac);
    await it.send();
    it.pass(90 * day - minute);
    await it.mdm.forgetOld();
    expect((await it.rotationOf(mac))?.reply_key).toEqual(expect.any(Uint8Array));
    it.pass(2 * minute);
    await it.mdm.forgetOld();
    expect(await it.rotationOf(mac)).toMatchObject({ state: 'sent', reply_key: null, reply_certificate: null });
    mac.queue.length = 0;
  });

  test.each([
    ['a Mac that left its MDM', (mac: ManagedMac) => it.post(it.event('mdm.CheckOut', { udid: mac.udid, raw_payload: encode({ UDID: mac.udid }) }))],
    ['a Mac that was enrolled anew', (mac: ManagedMac) => it.authenticate(mac)],
  ])('of %s is an alarm; an answer that was overtaken, or that comes days later, ends it', async (_, ends) => {
    const mac = await it.known();
    const { uuid } = await it.rotate(mac);
    await it.send();
    it.pass(minute);
    await ends(mac);
    expect((await it.rotationOf(mac))?.state).toBe('failed');
    expect(await it.openAlarms(uuid)).toEqual(['MDM_COMMAND_SILENT']);
    it.pass(8 * day);
    await it.mdm.forgetOld();
    await it.fetch(mac);
    expect(await it.rotationOf(mac)).toMatchObject({ state: 'done', error: null, reply_key: null });
    expect(await it.openAlarms(uuid)).toEqual([]);
    const shown = await it.backend.custody.discloseBrought({ serial: mac.serial, actor: 'ada', reason: 'x' });
    expect(shown.key.equals(mac.key)).toBe(true);
  });

  test('is looked after by one backend of two, and the Mac is woken once', async () => {
    const mac = await it.known();
    await it.rotate(mac);
    await it.send();
    it.pass(day + hour);
    const before = mac.pushes;
    await Promise.all([it.mdm.sendDue(it.api), it.mdm.sendDue(it.api)]);
    expect(mac.pushes).toBe(before + 1);
    await it.fetch(mac);
  });
});

describe('among many', () => {
  test('a command that goes wrong here each time keeps no other waiting', async () => {
    const mac = await it.known();
    const bad = await it.known();
    const { uuid } = await it.rotate(bad);
    const row = await it.db.selectFrom('mdm_command').selectAll().where('uuid', '=', uuid).executeTakeFirstOrThrow();
    // Fifty of them are due since long, and the row of none of their devices can be read.
    const ids = Array.from({ length: 50 }, (_, i) => `broken-${i}`);
    const device = await deviceOf(bad);
    await it.backend.store.write(async (tx) => {
      for (const id of ids) {
        await tx
          .insertInto('mdm_device')
          .values({ ...device, id, udid: null, serial: `C02${id.toUpperCase()}`, security: '{' })
          .execute();
        await tx
          .insertInto('mdm_command')
          .values({ ...row, uuid: randomUUID(), device_id: id, state: 'sent', sent_at: it.now() - 8 * day, next_at: it.now() - day })
          .execute();
      }
      await tx.deleteFrom('mdm_command').where('uuid', '=', uuid).execute();
    });
    await it.mdm.ask({ device: mac.serial, actor: 'ada', reason: 'x' });
    for (let i = 0; i < 2; i += 1) await it.mdm.sendDue(it.api);
    expect(await it.fetch(mac)).toEqual(['SecurityInfo']);
    await it.backend.store.write(async (tx) => {
      await tx.deleteFrom('mdm_command').where('device_id', 'in', ids).execute();
      await tx.deleteFrom('mdm_device').where('id', 'in', ids).execute();
    });
  });

  test('Macs whose agent cannot replace their key are each looked at, also behind hundreds for which nothing can be done', async () => {
    const mac = it.newMac();
    const agent = await it.agentOf(mac);
    await agent.checkIn({ capability: 'refused' });
    await agent.deliver(mac.file);
    await it.authenticate(mac);
    await it.securityInfo(mac);
    const macId = await it.backend.custody.findMac(mac.serial);
    const ids = Array.from({ length: 450 }, (_, i) => `0000${String(i).padStart(6, '0')}`);
    await it.backend.store.write(async (tx) => {
      const row = await tx.selectFrom('mac').selectAll().where('id', '=', macId).executeTakeFirstOrThrow();
      const device = await tx.selectFrom('mdm_device').selectAll().where('id', '=', mac.udid).executeTakeFirstOrThrow();
      for (const id of ids) {
        await tx
          .insertInto('mac')
          .values({ ...row, id, serial: id, hardware_uuid: id, subject: null })
          .execute();
        await tx
          .insertInto('mdm_device')
          .values({ ...device, id, udid: id, serial: id, security: null })
          .execute();
      }
    });
    await it.backend.custody.orderRotation({ macId, actor: 'ada', reason: 'a test' });
    await it.backend.store.write(async (tx) => {
      const debt = await tx.selectFrom('debt').selectAll().where('mac_id', '=', macId).where('closed_at', 'is', null).executeTakeFirstOrThrow();
      for (const id of ids)
        await tx
          .insertInto('debt')
          .values({ ...debt, id: randomUUID(), mac_id: id })
          .execute();
    });
    for (let i = 0; i < 3; i += 1) await it.mdm.rotateDue(everything);
    expect(await it.rotationOf(mac)).toMatchObject({ state: 'waiting', actor: 'server' });
    await it.backend.store.write(async (tx) => {
      for (const table of ['debt', 'mac'] as const)
        await tx
          .deleteFrom(table)
          .where(table === 'mac' ? 'id' : 'mac_id', 'in', ids)
          .execute();
      await tx.deleteFrom('mdm_device').where('id', 'in', ids).execute();
    });
  });

  test('`mdm commands --json` has each of them; a terminal has the newest, and says so', async () => {
    const mac = await it.known();
    const row = await it.db.selectFrom('mdm_command').selectAll().where('device_id', '=', mac.udid).limit(1).executeTakeFirstOrThrow();
    const at = it.now() + minute;
    const uuids = Array.from({ length: 2100 }, () => randomUUID());
    await it.backend.store.write(async (tx) => {
      // Most of one moment: a page ends in the midst of them.
      for (const [i, uuid] of uuids.entries())
        await tx
          .insertInto('mdm_command')
          .values({ ...row, uuid, created_at: i < 1900 ? at : at + i, state: 'done' })
          .execute();
    });
    const { json } = await mdmCommands(it.backend, mac.serial, { all: true });
    const { commands } = json as { commands: { uuid: string; createdAt: string }[] };
    expect(new Set(commands.map(({ uuid }) => uuid)).size).toBe(commands.length);
    expect(uuids.filter((uuid) => !commands.some((one) => one.uuid === uuid))).toEqual([]);
    expect(commands.map(({ createdAt }) => createdAt)).toEqual(
      commands
        .map(({ createdAt }) => createdAt)
        .toSorted()
        .toReversed(),
    );
    const { text } = await mdmCommands(it.backend, mac.udid, { all: false });
    expect(text.split('\n')).toHaveLength(202);
    expect(text).toContain('these are the newest 200; --json has all');
    await it.backend.store.write((tx) => tx.deleteFrom('mdm_command').where('device_id', '=', mac.udid).execute());
  });

  test('`mdm devices` has each of them', async () => {
    const device = await deviceOf(await it.known());
    const ids = Array.from({ length: 2050 }, (_, i) => `one-of-many-${i}`);
    await it.backend.store.write(async (tx) => {
      for (const id of ids)
        await tx
          .insertInto('mdm_device')
          .values({ ...device, id, udid: null, serial: null, security: null })
          .execute();
    });
    const { devices } = (await mdmDevices(it.backend)).json as { devices: { deviceId: string }[] };
    const listed = new Set(devices.map(({ deviceId }) => deviceId));
    expect([listed.size, ids.filter((id) => !listed.has(id))]).toEqual([devices.length, []]);
    await it.backend.store.write((tx) => tx.deleteFrom('mdm_device').where('id', 'in', ids).execute());
  });
});

describe('C9: each rotation by the MDM says under whose payload it happened', () => {
  const said = async (mac: ManagedMac) => {
    const row = await it.rotationOf(mac);
    const { json } = await mdmCommands(it.backend, mac.serial, { all: true });
    const listed = (json as { commands: { uuid: string; escrowPayload: string | null }[] }).commands.find(({ uuid }) => uuid === row?.uuid);
    const audits = [...(await it.acts('key.sent-to-mdm')), ...(await it.acts('mdm.key-replaced'))].filter(({ commandUuid }) => commandUuid === row?.uuid);
    return [row?.state, row?.escrow_payload, listed?.escrowPayload, ...audits.map(({ escrowPayload }) => escrowPayload)];
  };

  test('of a Mac without an agent, by to whom its escrow file was sealed', async () => {
    const mac = await it.known();
    await it.rotate(mac);
    await it.send();
    await it.fetch(mac);
    expect(await said(mac)).toEqual(['done', 'ours', 'ours', 'ours', 'ours']);
  });

  test.each(['ours', 'foreign'] as const)('of a Mac with an agent, by what that has seen: %s', async (payload) => {
    const mac = it.newMac();
    const agent = await it.agentOf(mac);
    const file =
      payload === 'ours' ? null : { digest: createHash('sha256').update('x').digest('hex'), recipient: `issuer-serial:${'ab'.repeat(32)}:01`, ours: false };
    await agent.checkIn({ rotator: 'mdm', escrow: { payload, location: null, file } });
    await agent.deliver(sealKey(mac.key, mac.recipient), 'agent');
    await it.authenticate(mac);
    await it.securityInfo(mac);
    await it.rotate(mac);
    await it.send();
    await it.fetch(mac);
    expect(await said(mac)).toEqual(['done', payload, payload, payload, payload]);
  });
});
