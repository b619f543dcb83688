import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { deviceList } from '../console/operations/devices.ts';
import { Problem } from '../protocol/problems.ts';
import { chance } from '../scripts/seed-words.ts';
import type { DeviceLine } from '../server/fleet/list.ts';
import { allOf, asking } from './fleet-ground.ts';
import { day, type GivenServer, givenServer, hour, minute, newKey, type TestMac } from './server-parts.ts';

describe('rows of lists say what the custody of each Mac says', () => {
  let server: GivenServer;
  beforeAll(async () => {
    server = await givenServer();
  });
  afterAll(() => server.close());

  const lines = async (): Promise<Map<string, DeviceLine>> => new Map((await allOf<DeviceLine>(asking(server), deviceList)).map((line) => [line.id, line]));

  /** Each Mac of the fleet, by its own report. */
  async function agree(): Promise<void> {
    const listed = await lines();
    const macs = await server.store.db.selectFrom('mac').select('id').where('merged_into', 'is', null).execute();
    expect(listed.size).toBe(macs.length);
    for (const { id } of macs) {
      const report = await server.custody.macReport(id);
      const line = listed.get(id);
      expect(line && [line.custody, line.custodyBecause, line.unopened, line.provedAt, line.lastSeenAt]).toEqual([
        report.state,
        report.because,
        report.unopened,
        report.provedAt,
        report.lastSeenAt,
      ]);
      expect(line?.holdUntil ?? null).toBe(report.hold === null ? null : new Date(report.hold.until).toISOString());
      expect(line?.order === null).toBe(!report.rotation.owed && report.openRotation === null);
    }
    await countsAgree();
  }

  /** What is counted is what a count of the rows says. */
  async function countsAgree(): Promise<void> {
    const rows = await server.store.db.selectFrom('fleet_row').selectAll().execute();
    const kept = await server.store.db.selectFrom('fleet_count').selectAll().where('n', '<>', 0).execute();
    const of = (dimension: string) => Object.fromEntries(kept.filter((row) => row.dimension === dimension).map((row) => [row.value, row.n]));
    const tally = (pick: (row: (typeof rows)[number]) => string) => {
      const counts: Record<string, number> = {};
      for (const row of rows) counts[pick(row)] = (counts[pick(row)] ?? 0) + 1;
      return counts;
    };
    expect(of('all')).toEqual(rows.length === 0 ? {} : { '': rows.length });
    expect(of('custody')).toEqual(tally((row) => row.custody));
    expect(of('order_state')).toEqual(tally((row) => row.order_state));
    expect(of('live')).toEqual(tally((row) => row.custody));
    const out = rows.filter((row) => row.disclosed_at > 0);
    expect(of('out')).toEqual(out.length === 0 ? {} : { macs: out.length, since: out.reduce((sum, row) => sum + Math.floor(row.disclosed_at / minute), 0) });
    const needs = await server.store.db.selectFrom('fleet_need').selectAll().execute();
    expect(of('need')).toEqual(Object.fromEntries(needs.map(({ kind }) => [kind, needs.filter((need) => need.kind === kind).length])));
  }

  let mac: TestMac;
  test('a Mac that has just enrolled is listed at once', async () => {
    mac = await server.newMac();
    await agree();
  });

  test('after each kind of act of the Mac the row follows', async () => {
    await mac.checkIn();
    await agree();
    const { envelopeId } = await mac.escrowed();
    await agree();
    await mac.prove(envelopeId, 'true');
    await agree();
    await mac.owe('used');
    await agree();
    const begun = await mac.begin();
    await agree();
    server.wall.pass(6 * minute);
    await agree();
    const { receipt } = await mac.deliver(newKey(), { source: 'rotation', validated: 'true', rotationId: begun.rotationId });
    await agree();
    await mac.deliver(newKey(), { source: 'agent' });
    await agree();
    await mac.prove(receipt.envelopeId, 'true');
    await agree();
    mac.volume = mac.volume.replace(/^./, (first) => (first === 'A' ? 'B' : 'A'));
    await mac.checkIn();
    await agree();
  });

  test('orders, disclosures, holds and time are followed too', async () => {
    const other = await server.newMac();
    await other.escrowed();
    await server.custody.orderRotation({ macId: other.id, actor: 'grace', reason: 'test' });
    await agree();
    await server.custody.disclose({ macId: other.id, actor: 'grace', reason: 'locked out' });
    await agree();
    server.wall.pass(25 * hour);
    await agree();
    await server.custody.sweepTimers();
    await agree();
    server.wall.pass(40 * day);
    await server.custody.sweepTimers();
    await agree();
  });

  test('whatever happens, in whatever order, the rows follow', async () => {
    const by = chance(20261123);
    const macs = [await server.newMac(), await server.newMac(), await server.newMac({ confirmed: false })];
    for (const one of macs) await one.checkIn();
    const envelopes = new Map<string, string[]>();
    const orNothing = (act: Promise<unknown>) => act.catch((error: unknown) => expect(error).toBeInstanceOf(Problem));
    const acts: ((one: TestMac) => Promise<unknown>)[] = [
      (one) => one.checkIn(),
      (one) => one.escrowed().then(({ envelopeId }) => envelopes.set(one.id, [...(envelopes.get(one.id) ?? []), envelopeId])),
      (one) => one.deliver(newKey(), { source: 'agent' }).then(({ receipt }) => envelopes.set(one.id, [...(envelopes.get(one.id) ?? []), receipt.envelopeId])),
      (one) => one.prove((envelopes.get(one.id) ?? []).at(-1) ?? 'a'.repeat(64), by.pick(['true', 'false', 'unknown'] as const)),
      (one) => one.owe(by.pick(['used', 'doubtful', 'aged'] as const)),
      (one) => one.begin(),
      (one) => one.rotate(),
      (one) => one.checkIn({ exhausted: true }),
      (one) => server.custody.disclose({ macId: one.id, actor: 'grace', reason: 'locked out' }),
      (one) => server.custody.orderRotation({ macId: one.id, actor: 'grace', reason: 'test', overrideHold: by.is(0.5) }),
      (one) => server.custody.orderProofs({ macId: one.id, actor: 'grace', reason: 'test' }),
      (one) => server.custody.endHold({ macId: one.id, actor: 'grace', because: 'override', reason: 'test' }),
      async (one) => {
        one.escrowFile = { digest: by.bytes(32).toString('hex'), recipient: null, ours: by.is(0.5) };
        await one.checkIn();
      },
      async (one) => {
        one.factsMore = by.is(0.5) ? {} : { escrow: { payload: by.pick(['ours', 'foreign', 'none'] as const), location: null, file: null } };
        await one.checkIn();
      },
      async (one) => one.reboot(),
      async () => server.wall.pass(by.pick([minute, 7 * minute, 2 * hour, 26 * hour, 9 * day])),
      () => server.custody.sweepTimers(),
      () => server.custody.retire(),
    ];
    for (let step = 0; step < 150; step += 1) {
      await orNothing(by.pick(acts)(by.pick(macs)));
      if (step % 3 === 0) await agree();
    }
    await agree();
  });
});
