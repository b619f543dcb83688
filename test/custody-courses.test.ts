import { expect, test } from '@jest/globals';
import { array, assert, asyncProperty, constantFrom } from 'fast-check';
import type { RecoveryKey } from '../protocol/recovery-key.ts';
import { verifyAudit } from '../server/audit.ts';
import { day, type GivenServer, givenServer, hour, minute, newKey, secrets, type TestMac } from './server-parts.ts';

/** Courses that a truthful Mac can take: its key changes by us and by others, answers come early, late or not at all. */
const steps = [
  'rotate',
  'rotate, not validated',
  'rotate, but the old key stays',
  'rotate, and stop',
  'somebody else changes it',
  'deliver',
  'deliver an old one',
  'prove',
  'show',
  'wait a day',
  'wait a year',
] as const;

class Course {
  readonly keys: RecoveryKey[] = [];
  readonly brought = new Set<RecoveryKey>();
  readonly server: GivenServer;
  readonly mac: TestMac;
  constructor(server: GivenServer, mac: TestMac) {
    this.server = server;
    this.mac = mac;
    this.keys.push(newKey());
  }
  get present(): RecoveryKey {
    return this.keys.at(-1) as RecoveryKey;
  }

  async take(step: (typeof steps)[number]): Promise<void> {
    this.server.wall.pass(11 * minute);
    if (step.startsWith('rotate')) return this.rotate(step);
    if (step === 'somebody else changes it') this.keys.push(newKey());
    if (step === 'deliver') await this.bring(this.present);
    if (step === 'deliver an old one') await this.bring(this.keys[0] as RecoveryKey);
    if (step === 'prove') await this.proveAll();
    if (step === 'show') await this.server.custody.disclose({ macId: this.mac.id, actor: 'a', reason: 'b' }).catch(() => {});
    if (step === 'wait a day') this.server.wall.pass(day);
    if (step === 'wait a year') this.server.wall.pass(366 * day);
    await this.server.custody.sweepTimers();
    await this.server.custody.retire();
  }

  async bring(key: RecoveryKey): Promise<void> {
    await this.mac.checkIn();
    await this.mac.deliver(key, { source: 'escrow-file' });
    this.brought.add(key);
  }

  async rotate(step: string): Promise<void> {
    await this.mac.owe();
    const begun = await this.mac.begin().catch(() => null);
    if (!begun || step === 'rotate, and stop') return;
    this.server.wall.pass(minute);
    const key = newKey();
    if (step === 'rotate, but the old key stays') {
      await this.mac.deliver(key, { source: 'rotation', rotationId: begun.rotationId, validated: this.keys.length % 2 === 0 ? 'false' : 'unknown' });
      return;
    }
    this.keys.push(key);
    await this.mac.deliver(key, { source: 'rotation', rotationId: begun.rotationId, validated: step === 'rotate' ? 'true' : 'unknown' });
    this.brought.add(key);
  }

  /** Answers for every key that the server asks about, as macOS would. */
  async proveAll(): Promise<void> {
    const reply = await this.mac.checkIn();
    for (const named of [...(reply.held ? [reply.held] : []), ...reply.candidates]) {
      const record = await this.record(named.recordId);
      const right = record?.fingerprint === this.present.fingerprint(secrets.fingerprint);
      await this.mac.prove(named.envelopeIds[0] ?? '', right ? 'true' : 'false');
    }
    const open = (await this.mac.checkIn()).rotation;
    if (open) await this.mac.checkIn({ endings: [{ rotationId: open.id, as: 'not-changed', detail: 'R6' }] });
  }

  record = (id: string) => this.server.store.db.selectFrom('key_record').selectAll().where('id', '=', id).executeTakeFirst();

  async check(): Promise<void> {
    const records = await this.server.store.db.selectFrom('key_record').selectAll().execute();
    const fingerprint = this.present.fingerprint(secrets.fingerprint);
    const present = records.find((record) => record.fingerprint === fingerprint);
    if (this.brought.has(this.present)) {
      expect(present).toBeDefined();
      // The key that opens the Mac is there to be shown, as held or as one of those that are in doubt.
      expect(['held', 'candidate']).toContain(present?.state);
      const rows = await this.server.store.db
        .selectFrom('envelope')
        .selectAll()
        .where('record_id', '=', present?.id ?? '')
        .execute();
      expect(rows.every((row) => row.bytes !== null)).toBe(true);
    }
    for (const record of records.filter((one) => one.state === 'destroyed')) expect(record.fingerprint).not.toBe(fingerprint);
    expect(records.filter((record) => record.state === 'held').length).toBeLessThanOrEqual(1);
  }
}

test('in no course of a truthful Mac is the key that opens it lost, superseded or destroyed once it has come', async () => {
  await assert(
    asyncProperty(array(constantFrom(...steps), { minLength: 4, maxLength: 14 }), async (course) => {
      const server = await givenServer({ holdDeadlineHours: 1, retainSupersededDays: 90 });
      const taken = new Course(server, await server.newMac());
      for (const step of course) {
        await taken.take(step);
        await taken.check();
      }
      server.wall.pass(2 * hour);
      await taken.bring(taken.present);
      server.wall.pass(hour);
      await taken.proveAll();
      // Once the present key has come and macOS has said true to it, there is no doubt left.
      expect(await server.custody.custodyOf(taken.mac.id)).toMatchObject({ state: 'held', candidates: 0 });
      expect((await verifyAudit(server.store)).ok).toBe(true);
      await server.close();
    }),
    { numRuns: 12 },
  );
});
