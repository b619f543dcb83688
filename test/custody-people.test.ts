import { existsSync, readFileSync } from 'node:fs';
import { inspect } from 'node:util';
import { describe, expect, test } from '@jest/globals';
import { verifyAudit } from '../server/audit.ts';
import { asFile } from './new-database.ts';
import { codeOf, day, type GivenServer, givenServer, hour, minute, newKey, newUuid, second, type TestMac } from './server-parts.ts';

async function given(settings = {}): Promise<{ server: GivenServer; mac: TestMac }> {
  const server = await givenServer(settings);
  return { server, mac: await server.newMac() };
}
const view = (server: GivenServer, mac: TestMac, more = {}) => server.custody.disclose({ macId: mac.id, actor: 'help desk', reason: 'locked out', ...more });

describe('disclosure', () => {
  test('audit, mark, debt and hold are stored before the envelope is opened', async () => {
    const { server, mac } = await given();
    const { key, recordId } = await mac.escrowed();
    const before = server.escrow.opened;
    let storedWhenOpened: unknown = null;
    const open = server.escrow.open.bind(server.escrow);
    server.escrow.open = async (envelope) => {
      storedWhenOpened = {
        acts: (await server.acts('key.disclosed')).length,
        debts: (await server.store.db.selectFrom('debt').select('because').execute()).map((debt) => debt.because),
        marked: (await server.store.db.selectFrom('key_record').select('disclosed_at').executeTakeFirst())?.disclosed_at !== null,
        hold: (await server.store.db.selectFrom('disclosure').selectAll().execute()).length,
      };
      return open(envelope);
    };
    const shown = await view(server, mac, { person: 'owner' });
    expect(shown.key.equals(key)).toBe(true);
    expect(shown).toMatchObject({ recordId, custody: 'held', rotationOpen: false, others: 0 });
    expect(storedWhenOpened).toEqual({ acts: 1, debts: ['disclosed'], marked: true, hold: 1 });
    expect(server.escrow.opened).toBe(before + 1);
    expect(inspect(shown)).toContain('[recovery key]');
    expect((await server.custody.macReport(mac.id)).disclosures).toMatchObject([{ actor: 'help desk', person: 'owner', shown: true }]);
    await server.close();
  });

  test('where opening fails, a second record says that it was not shown, and no hold stands for it', async () => {
    const { server, mac } = await given();
    await mac.escrowed();
    server.escrow.answers = false;
    expect(await codeOf(view(server, mac))).toBe('CANNOT_OPEN');
    expect((await server.acts()).map((act) => act.act).slice(-3)).toEqual(['key.disclosed', 'debt.opened', 'key.not-shown']);
    const reply = await mac.checkIn();
    expect(reply.hold).toBeNull();
    expect(reply.debts.map((debt) => debt.because)).toEqual(['disclosed']);
    await server.close();
  });

  test('needs a reason, a Mac and a key', async () => {
    const { server, mac } = await given();
    await mac.checkIn();
    expect(await codeOf(view(server, mac, { reason: '' }))).toBe('REASON_MISSING');
    expect(await codeOf(view(server, mac))).toBe('KEY_UNKNOWN');
    expect(await codeOf(server.custody.disclose({ macId: 'nobody', actor: 'a', reason: 'b' }))).toBe('MAC_UNKNOWN');
    expect(await server.acts('key.disclosed')).toEqual([]);
    await server.close();
  });

  test('says that the key may just have been replaced while a rotation is open', async () => {
    const { server, mac } = await given();
    await mac.escrowed();
    await mac.owe();
    await mac.begin();
    expect((await view(server, mac)).rotationOpen).toBe(true);
    await server.close();
  });

  test('in doubt the candidates, newest first, then the held key, and after refusals the newest superseded one', async () => {
    const { server, mac } = await given();
    const oldest = await mac.escrowed();
    await mac.owe();
    const held = await mac.rotate();
    server.wall.pass(minute);
    const one = (await mac.deliver(newKey())).receipt.recordId;
    server.wall.pass(minute);
    const two = (await mac.deliver(newKey())).receipt.recordId;
    const refused: string[] = [];
    const seen: [string, number][] = [];
    for (let n = 0; n < 4; n += 1) {
      const shown = await view(server, mac, { refused });
      seen.push([shown.recordId, shown.others]);
      refused.push(shown.recordId);
      server.wall.pass(second);
    }
    expect(seen).toEqual([
      [two, 2],
      [one, 1],
      [held.recordId, 0],
      [oldest.recordId, 0],
    ]);
    expect(await codeOf(view(server, mac, { refused }))).toBe('KEY_UNKNOWN');
    expect(await server.acts('key.disclosed')).toHaveLength(4);
    expect(await mac.debts()).toEqual(['disclosed', 'disclosed', 'disclosed', 'disclosed']);
    await server.close();
  });

  test('once the newest superseded key was refused too there is no other: never the history', async () => {
    const { server, mac } = await given();
    await mac.escrowed();
    const refused: string[] = [];
    for (let n = 0; n < 2; n += 1) {
      server.wall.pass(minute);
      await mac.owe(n === 0 ? 'used' : 'aged');
      await mac.rotate();
    }
    for (let n = 0; n < 2; n += 1) refused.push((await view(server, mac, { refused })).recordId);
    expect(await codeOf(view(server, mac, { refused }))).toBe('KEY_UNKNOWN');
    await server.close();
  });

  test('the debt names the key that was shown: proving another one pays it, proving the same does not', async () => {
    const { server, mac } = await given();
    const held = await mac.escrowed();
    server.wall.pass(second);
    const doubt = (await mac.deliver(newKey())).receipt;
    await view(server, mac);
    server.wall.pass(second);
    await mac.prove(held.envelopeId, 'true');
    expect(await mac.debts()).toEqual([]);
    await view(server, mac);
    await mac.prove(held.envelopeId, 'true');
    expect(await mac.debts()).toEqual(['disclosed']);
    expect((await mac.states())[doubt.recordId]).toBe('superseded');
    await server.close();
  });
});

describe('alarms', () => {
  test('IDENTITY_MOVED: nothing of a check-in from other hardware is accepted', async () => {
    const { server, mac } = await given();
    const { recordId } = await mac.escrowed();
    const before = await server.store.db.selectFrom('mac').selectAll().executeTakeFirst();
    mac.factsMore = { hardwareUuid: newUuid(), macosBuild: 'moved' };
    server.wall.pass(minute);
    expect(await codeOf(mac.checkIn({ debts: [{ id: 'd', because: 'used', envelopeId: null, boot: mac.boot }] }))).toBe('IDENTITY_MOVED');
    expect(await server.store.db.selectFrom('mac').selectAll().executeTakeFirst()).toEqual(before);
    expect(await server.store.db.selectFrom('debt').selectAll().execute()).toEqual([]);
    mac.factsMore = {};
    expect(await mac.checkIn()).toMatchObject({ custody: 'doubtful', alarms: ['IDENTITY_MOVED'], held: { recordId } });
    await server.close();
  });

  test('IDENTITY_CLONED: boot sessions of one enrolment that alternate, also of three machines', async () => {
    const { server, mac } = await given();
    const boots = [newUuid(), newUuid(), newUuid()];
    const next = async (boot: string | undefined) => {
      mac.boot = boot ?? '';
      server.wall.pass(minute);
      return (await mac.checkIn()).alarms;
    };
    for (const boot of boots) expect(await next(boot)).toEqual([]);
    expect(await next(boots[2])).toEqual([]);
    expect(await next(boots[0])).toEqual(['IDENTITY_CLONED']);
    await server.close();
  });

  test('TWO_ENROLMENTS: both check in within a day; the older one is then not replaced', async () => {
    const { server, mac } = await given();
    await mac.checkIn();
    const older = { id: mac.enrolmentId, identity: mac.identity };
    server.wall.pass(minute);
    await mac.enrol({}, true);
    await server.store.db
      .updateTable('enrolment')
      .set({ replaced_after: server.wall.now() + day })
      .where('id', '=', older.id)
      .execute();
    server.wall.pass(minute);
    expect((await mac.checkIn()).alarms).toEqual([]);
    server.wall.pass(hour);
    expect((await mac.checkIn({}, { enrolmentId: older.id })).alarms).toEqual(['TWO_ENROLMENTS']);
    server.wall.pass(2 * day);
    await server.custody.sweepTimers();
    const rows = await server.store.db.selectFrom('enrolment').select('status').execute();
    expect(rows.map((row) => row.status)).toEqual(['active', 'active']);
    await server.close();
  });

  test('set up again: the older enrolment that stays silent is replaced after 24 h, without an alarm', async () => {
    const { server, mac } = await given();
    await mac.checkIn();
    const older = mac.enrolmentId;
    server.wall.pass(minute);
    await mac.enrol({}, true);
    await server.store.db
      .updateTable('enrolment')
      .set({ replaced_after: server.wall.now() + day })
      .where('id', '=', older)
      .execute();
    await mac.checkIn();
    server.wall.pass(day);
    await server.custody.sweepTimers();
    const row = await server.store.db.selectFrom('enrolment').selectAll().where('id', '=', older).executeTakeFirstOrThrow();
    expect(row).toMatchObject({ status: 'replaced', replaced_after: null });
    expect(await server.alarms()).toEqual([]);
    await server.close();
  });

  test('SERIAL_CONFLICT: two Macs with one serial or one hardware; a mere claim accuses only itself', async () => {
    const server = await givenServer();
    const owner = await server.newMac({ serial: 'C02AAAA' });
    await owner.checkIn();
    const claimer = await server.newMac({ serial: 'C02AAAA', serialProved: false });
    await claimer.checkIn();
    expect((await owner.checkIn()).alarms).toEqual([]);
    expect((await claimer.checkIn()).alarms).toEqual(['SERIAL_CONFLICT']);
    const twin = await server.newMac({ hardwareUuid: owner.hardwareUuid });
    await twin.checkIn();
    expect((await owner.checkIn()).alarms).toEqual(['SERIAL_CONFLICT']);
    await server.close();
  });

  test('an alarm that was judged is not raised again with the same words, and its judging is audited', async () => {
    const { server, mac } = await given();
    const elsewhere = newUuid();
    const moved = () => codeOf(mac.deliver(newKey(), { hardwareUuid: elsewhere }));
    await moved();
    const [alarm] = (await server.custody.fleet()).alarms;
    expect(await codeOf(server.custody.judgeAlarm({ alarmId: alarm?.id ?? '', actor: 'anna', judgement: '' }))).toBe('REASON_MISSING');
    await server.custody.judgeAlarm({ alarmId: alarm?.id ?? '', actor: 'anna', judgement: 'repaired' });
    await moved();
    expect(await server.alarms()).toEqual([]);
    expect(await server.acts('alarm.judged')).toMatchObject([{ actor: 'anna', details: { judgement: 'repaired' } }]);
    await server.close();
  });
});

test('a Mac is found by id or by a serial number that only one has', async () => {
  const server = await givenServer();
  const one = await server.newMac({ serial: 'C02ONE' });
  await server.newMac({ serial: 'C02TWO', serialProved: false });
  await server.newMac({ serial: 'C02TWO', serialProved: false });
  const idOf = (text: string) => server.custody.findMac(text);
  expect(await idOf('c02one')).toBe(one.id);
  expect(await idOf(one.id)).toBe(one.id);
  expect(await codeOf(idOf('C02TWO'))).toBe('MAC_AMBIGUOUS');
  expect(await codeOf(idOf('C02NONE'))).toBe('MAC_UNKNOWN');
  await server.close();
});

test('the audit of a whole life is one unbroken chain, and no key is in it or anywhere else in the database', async () => {
  const { server, mac } = await given();
  const first = await mac.escrowed();
  await view(server, mac);
  server.wall.pass(day);
  const next = await mac.rotate();
  await server.custody.orderRotation({ macId: mac.id, actor: 'admin', reason: 'x' });
  await server.custody.sweepTimers();
  expect(await verifyAudit(server.store)).toMatchObject({ ok: true });
  const bytes = Buffer.concat(
    [await asFile(server.file, server.store), `${server.file}-wal`].filter((file) => existsSync(file)).map((file) => readFileSync(file)),
  );
  for (const { key } of [first, next]) {
    const text = key.reveal();
    for (const form of [text, text.replaceAll('-', ''), Buffer.from(text).toString('base64').slice(2, -4)]) expect(bytes.includes(form)).toBe(false);
  }
  await server.close();
});

test('the fleet at a glance', async () => {
  const { server, mac } = await given();
  await mac.escrowed();
  await (await server.newMac()).checkIn();
  const { macs, counts } = await server.custody.fleet();
  expect(counts).toEqual({ foreign: 0, none: 1, lost: 0, doubtful: 0, held: 1, 'held, unopened': 0 });
  expect(macs.find((line) => line.macId === mac.id)).toMatchObject({ serial: mac.serial, state: 'held', rotation: { owed: false } });
  await server.close();
});
