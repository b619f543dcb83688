import { describe, expect, test } from '@jest/globals';
import { Problem } from '../protocol/problems.ts';
import type { Backend } from '../server/backend.ts';
import { show } from '../server/show.ts';
import { deleteAuditUpTo } from '../server/store/audit-checkpoints.ts';
import { bringing, foreign, useBrought } from './brought-parts.ts';
import { codeOf, day, type GivenServer, hour, minute, newKey } from './server-parts.ts';

/* Keys that others had, shown to a person before anything here was proved. */

const brought = useBrought();
const { bring, row, record, refute } = brought;
let server: GivenServer;
const open = async (...wish: Parameters<typeof brought.open>): Promise<void> => {
  server = await brought.open(...wish);
};

describe('shown before there is a record', () => {
  test('a key of a Mac without agent is shown with what is known of it, audited first; a task is opened, and nothing of it is a proof', async () => {
    await open();
    const [older, newer] = [newKey(), newKey()];
    await server.custody.bring([bringing('C02NOAGENT01', older, { madeAt: 1000 }), bringing('C02NOAGENT01', newer, { madeAt: 2000 })]);
    expect(await codeOf(server.custody.discloseBrought({ serial: 'C02NOAGENT01', actor: 'ada', reason: ' ' }))).toBe('REASON_MISSING');
    const shown = await server.custody.discloseBrought({ serial: 'c02noagent01', actor: 'ada', reason: 'locked out' });
    expect(shown).toMatchObject({ source: 'intune', madeAt: 2000, others: 1, dueAt: server.clock.now() + 3 * day });
    expect(shown.key.equals(newer)).toBe(true);
    const next = await server.custody.discloseBrought({ serial: 'C02NOAGENT01', actor: 'ada', reason: 'it was refused', refused: [shown.keyId] });
    expect(next.key.equals(older)).toBe(true);
    expect(await server.acts('brought.disclosed')).toMatchObject([{ actor: 'ada', details: { reason: 'locked out', keyId: shown.keyId } }, { actor: 'ada' }]);
    expect(await codeOf(server.custody.discloseBrought({ serial: 'C02NOAGENT01', actor: 'ada', reason: 'x', refused: [shown.keyId, next.keyId] }))).toBe(
      'KEY_UNKNOWN',
    );
    expect(await server.store.db.selectFrom('mdm_task').selectAll().execute()).toMatchObject([{ serial: 'C02NOAGENT01', mac_id: null, closed_at: null }]);
    // Nobody opens it: said, audited, and no key.
    server.escrow.answers = false;
    expect(await codeOf(server.custody.discloseBrought({ serial: 'C02NOAGENT01', actor: 'ada', reason: 'x' }))).toBe('CANNOT_OPEN');
    expect(await server.acts('brought.not-shown')).toHaveLength(1);
  });

  test('when it becomes a record, who saw it is in the Mac’s own list, a young view is a hold, and its replacement is owed', async () => {
    await open();
    const brought = await bring('C02SHOWN0001', newKey());
    await server.custody.discloseBrought({ serial: 'C02SHOWN0001', actor: 'ada', reason: 'locked out' });
    server.wall.pass(hour);
    const mac = await server.newMac({ serial: 'C02SHOWN0001' });
    const reply = await mac.checkIn();
    expect(reply.debts.map((debt) => debt.because)).toEqual(['disclosed']);
    expect(reply.hold).not.toBeNull();
    const report = await server.custody.macReport(mac.id);
    expect(report.disclosures).toMatchObject([{ actor: 'ada', reason: 'locked out', shown: true }]);
    expect(await record((await row(brought.keyId)).record_id)).toMatchObject({ disclosed_at: (await row(brought.keyId)).disclosed_at });
    // Once, however often it is settled.
    server.wall.pass(hour);
    await mac.checkIn();
    expect((await server.custody.macReport(mac.id)).disclosures).toHaveLength(1);
  });

  test('where retention has taken out who saw it, that is what stands in the Mac’s own list, and the replacement is owed all the same', async () => {
    await open();
    await bring('C02SHOWN0002', newKey());
    await server.custody.discloseBrought({ serial: 'C02SHOWN0002', actor: 'ada', reason: 'locked out' });
    const [seen] = await server.store.db.selectFrom('audit').select('seq').where('act', '=', 'brought.disclosed').execute();
    // What retention does, once the records are in a file.
    await server.store.write((tx) => deleteAuditUpTo(tx, seen?.seq ?? 0));
    const mac = await server.newMac({ serial: 'C02SHOWN0002' });
    expect((await mac.checkIn()).debts.map((debt) => debt.because)).toEqual(['disclosed']);
    expect((await server.custody.macReport(mac.id)).disclosures).toMatchObject([{ actor: 'server', reason: expect.stringMatching(/taken out of the audit$/) }]);
  });

  test('in doubt a person is shown the Mac’s own key first, and what others brought after it; but first where the own one is old', async () => {
    await open();
    const mac = await server.newMac();
    const { recordId, envelopeId } = await mac.escrowed();
    const brought = await bring(mac.serial, newKey());
    expect(brought.fate).toBe('offered');
    const shown = (refused: string[] = []) => server.custody.disclose({ macId: mac.id, actor: 'ada', reason: 'locked out', refused });
    expect(await shown()).toMatchObject({ recordId, unprovedFrom: null, others: 1 });
    expect(await shown([recordId])).toMatchObject({ recordId: (await row(brought.keyId)).record_id, unprovedFrom: 'intune', others: 0 });
    await mac.prove(envelopeId, 'false');
    server.wall.pass(11 * minute);
    await mac.prove(envelopeId, 'false');
    expect(await shown()).toMatchObject({ recordId: (await row(brought.keyId)).record_id });
    // Refuted, it is offered to nobody, also when every other key was refused.
    await refute(mac, brought.keyId);
    expect(await codeOf(shown([recordId]))).toBe('KEY_UNKNOWN');
  });

  test('a Mac with keys of its own is asked for those', async () => {
    await open();
    const mac = await server.newMac();
    await mac.escrowed();
    await bring(mac.serial, newKey());
    await expect(server.custody.discloseBrought({ serial: mac.serial, actor: 'ada', reason: 'x' })).rejects.toThrow(Problem);
  });

  test('a Mac all of whose own keys were refused: what others brought for it, which lay aside; its replacement is owed once it is proved', async () => {
    await open();
    const mac = await server.newMac();
    const { recordId, envelopeId } = await mac.escrowed();
    await mac.prove(envelopeId, 'true');
    server.wall.pass(minute);
    const key = newKey();
    const brought = await bring(mac.serial, key);
    expect(brought.fate).toBe('aside');
    const ask = { serial: mac.serial, actor: 'ada', reason: 'locked out' };
    expect(await codeOf(server.custody.discloseBrought(ask))).toBe('KEY_UNKNOWN');
    expect(await codeOf(server.custody.discloseBrought({ ...ask, refused: ['another'] }))).toBe('KEY_UNKNOWN');
    const backend = { custody: server.custody, store: server.store } as unknown as Backend;
    const first = await show(backend, { mac: mac.serial, actor: 'ada', reason: 'locked out', refused: [] });
    expect(first.json).toMatchObject({ recordId, others: 0 });
    expect(first.warnings?.join('\n')).toContain(`others brought another key for it: if this one is refused, ask again with --refused ${recordId}`);
    const next = await show(backend, { mac: mac.serial, actor: 'ada', reason: 'it was refused', refused: [recordId] });
    expect(next.json).toMatchObject({ broughtKeyId: brought.keyId, recordId: null, replaceUntil: null, claimers: [] });
    expect(next.text).toBe(key.reveal());
    expect(next.warnings?.join('\n')).toMatch(/its replacement is owed once the Mac has said true to it/);
    // Its agent replaces keys, so nobody at the MDM has to.
    expect(await server.store.db.selectFrom('mdm_task').selectAll().execute()).toEqual([]);
    expect(await codeOf(server.custody.discloseBrought({ ...ask, refused: [recordId, brought.keyId ?? ''] }))).toBe('KEY_UNKNOWN');
  });

  test('a Mac that only claims the serial number does not put its own key before the one that was brought; who it is is said', async () => {
    await open();
    const serial = 'C02CLAIMED01';
    const [key, own] = [newKey(), newKey()];
    const brought = await bring(serial, key);
    const liar = await server.newMac({ serial, serialProved: false, confirmed: false, way: 'ticket' });
    const { recordId } = await liar.escrowed(own);
    const backend = { custody: server.custody, store: server.store } as unknown as Backend;
    const ask = (mac: string, refused: string[] = []) => show(backend, { mac, actor: 'ada', reason: 'locked out', refused });
    const shown = await ask(serial.toLowerCase());
    expect(shown.text).toBe(key.reveal());
    expect(shown.json).toMatchObject({ broughtKeyId: brought.keyId, claimers: [liar.id] });
    expect(shown.warnings?.join('\n')).toMatch(new RegExp(`only claims this serial number .* has keys of its own: .*${liar.id}`));
    // A second one does not make the number ambiguous either.
    const another = await server.newMac({ serial, serialProved: false, confirmed: false, way: 'ticket' });
    await another.checkIn();
    expect((await ask(serial)).json).toMatchObject({ broughtKeyId: brought.keyId, claimers: [liar.id] });
    // Its own key is shown to whoever names it, and says what it is worth.
    const its = await ask(liar.id);
    expect(its.json).toMatchObject({ recordId, recoveryKey: own.reveal() });
    expect(its.warnings?.join('\n')).toMatch(/only claims this serial number: its certificate does not prove it/);
    // An admin has looked at it: then its own keys come first.
    await server.custody.confirmEnrolment({ enrolmentId: liar.enrolmentId, actor: 'ada', reason: 'on my desk' });
    await server.store.write((tx) => tx.updateTable('enrolment').set({ status: 'revoked' }).where('id', '=', another.enrolmentId).execute());
    expect(await codeOf(server.custody.discloseBrought({ serial, actor: 'ada', reason: 'x' }))).toBe('KEY_UNKNOWN');
    expect((await ask(liar.id)).warnings?.join('\n')).not.toMatch(/only claims/);
  });

  test('and replaced before its Mac was known to be its Mac: nothing is owed for it any more', async () => {
    await open();
    const mac = await server.newMac({ serial: 'C02PAID00001', serialProved: false, confirmed: false, way: 'ticket' });
    const key = newKey();
    const { recordId } = await mac.escrowed(key);
    const brought = await bring(mac.serial, key);
    await server.custody.discloseBrought({ serial: mac.serial, actor: 'ada', reason: 'locked out' });
    server.wall.pass(hour);
    await mac.owe();
    await mac.rotate();
    await server.custody.confirmEnrolment({ enrolmentId: mac.enrolmentId, actor: 'ada', reason: 'on my desk' });
    expect(await row(brought.keyId)).toMatchObject({ state: 'known', record_id: recordId });
    expect(await server.acts('brought.shown-before')).toHaveLength(1);
    expect(await mac.debts()).toEqual([]);
    expect((await mac.checkIn()).debts).toEqual([]);
  });
});

describe('a task for whoever works at the MDM', () => {
  const tasks = () => server.store.db.selectFrom('mdm_task').selectAll().execute();

  test('is ended by no Mac that only claims the serial number: not by a proof, nor by what it says of somebody else', async () => {
    await open();
    const serial = 'C02TASK00001';
    await bring(serial, newKey());
    await server.custody.discloseBrought({ serial, actor: 'ada', reason: 'locked out' });
    const liar = await server.newMac({ serial, serialProved: false, confirmed: false, way: 'ticket' });
    const { envelopeId } = await liar.escrowed();
    await liar.prove(envelopeId, 'true');
    server.wall.pass(hour);
    liar.factsMore = { foreignChanges: { times: [new Date(server.wall.now()).toISOString()], suspects: [] } };
    await liar.checkIn();
    expect(await server.acts('key.changed-by-other')).toHaveLength(1);
    expect(await tasks()).toMatchObject([{ serial, mac_id: null, closed_at: null }]);
    // An admin has looked at it: what it says now is the Mac's own word.
    await server.custody.confirmEnrolment({ enrolmentId: liar.enrolmentId, actor: 'ada', reason: 'on my desk' });
    server.wall.pass(hour);
    liar.factsMore = { foreignChanges: { times: [new Date(server.wall.now()).toISOString()], suspects: [] } };
    await liar.checkIn();
    expect(await tasks()).toMatchObject([{ closed_by: 'server', closed_because: 'somebody else has replaced the key since' }]);
  });

  test('of one Mac is ended by no other of that serial number, and goes over to the one that is proved to have it', async () => {
    await open();
    const serial = 'C02TASK00002';
    const liar = await server.newMac({ serial, serialProved: false, confirmed: false, way: 'ticket' });
    foreign(liar);
    await liar.escrowed();
    await server.custody.disclose({ macId: liar.id, actor: 'ada', reason: 'locked out' });
    expect(await tasks()).toMatchObject([{ serial, mac_id: liar.id }]);
    server.wall.pass(4 * day);
    await server.custody.sweepTimers();
    expect(await server.alarms()).toContain('MDM_TASK_OVERDUE');
    const mac = await server.newMac({ serial });
    foreign(mac);
    const { envelopeId } = await mac.escrowed();
    await server.custody.disclose({ macId: mac.id, actor: 'ada', reason: 'locked out' });
    expect(await tasks()).toMatchObject([{ serial, mac_id: mac.id, closed_at: null }]);
    expect(await server.store.db.selectFrom('alarm').select('mac_id').where('code', '=', 'MDM_TASK_OVERDUE').where('judged_at', 'is', null).execute()).toEqual(
      [],
    );
    await liar.prove((await liar.escrowed()).envelopeId, 'true');
    expect(await tasks()).toMatchObject([{ closed_at: null }]);
    await mac.prove(envelopeId, 'true');
    expect(await tasks()).toMatchObject([{ closed_at: null }]);
    await mac.prove((await mac.escrowed()).envelopeId, 'true');
    expect(await tasks()).toMatchObject([{ closed_by: 'server', closed_because: expect.stringMatching(/macOS said true to another key/) }]);
  });
});
