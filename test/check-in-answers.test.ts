import { describe, expect, test } from '@jest/globals';
import type { CheckInReply, CheckInRequest, Facts } from '../protocol/messages.ts';
import { stops } from '../server/alarms.ts';
import { isoTime } from '../server/custody-parts.ts';
import { counts, custodyNow } from '../server/custody-state.ts';
import { deadlineHours } from '../server/holds.ts';
import { answersOf, nameHeld, nameKey } from '../server/replies.ts';
import { holdOf } from '../server/rotation-due.ts';
import { openAlarmsOf } from '../server/store/alarms.ts';
import { openDebtsOf } from '../server/store/debts.ts';
import { episodeOf } from '../server/store/disclosures.ts';
import { envelopesAmong, recordsOfVolume } from '../server/store/keys.ts';
import { macById } from '../server/store/macs.ts';
import { openProofOrdersOf, triesSince } from '../server/store/proofs.ts';
import { openRotationOf } from '../server/store/rotations.ts';
import { buildName, readMemory } from '../server/store/upkeep.ts';
import { postgres } from './new-database.ts';
import { codeOf, day, digestOf, type GivenServer, givenServer, hour, minute, newKey, newUuid, secrets, type TestMac } from './server-parts.ts';

/*
 * A check-in asks only about what there is: whether there is anything it asks in one statement. Here each of the questions is asked
 * by itself, of a Mac to which anything has happened, and has to say what the Mac was told.
 */

/** What the Mac would be told if every question were asked. */
async function asked(server: GivenServer, mac: TestMac, offers: readonly string[]): Promise<Partial<CheckInReply>> {
  const { db } = server.store;
  const at = server.clock.now();
  const parts = { ...server, secrets, certificates: server.escrow.certificates } as never;
  const row = await macById(db, mac.id);
  if (!row) throw new Error('this Mac is not there');
  const records = await recordsOfVolume(db, mac.id, mac.volume);
  const custody = await custodyNow(parts, db, row, at);
  const hold = holdOf(await episodeOf(db, mac.id, mac.volume), deadlineHours(server, row), at);
  const rotation = await openRotationOf(db, mac.id);
  const orders = (await openProofOrdersOf(db, mac.id)).filter(
    (order) => order.not_before <= at && records.some(({ id, state }) => id === order.record_id && (state === 'held' || state === 'candidate')),
  );
  const here = await envelopesAmong(db, mac.id, offers);
  return {
    custody: custody.state,
    because: custody.because,
    held: await nameHeld(db, mac.id, mac.volume),
    candidates: await Promise.all(records.filter((record) => record.state === 'candidate' && counts(record)).map((record) => nameKey(db, record))),
    answers: await answersOf(db, records, null),
    hold: hold && { since: isoTime(hold.since), until: isoTime(hold.until), because: hold.because },
    rotation: rotation ? { id: rotation.id, begunAt: isoTime(rotation.begun_at) } : null,
    tries: (await triesSince(db, mac.id, at - 7 * day)).map(isoTime),
    alarms: (await openAlarmsOf(db, mac.id)).filter(stops).map(({ code }) => code),
    buildWorks: (await readMemory(db, buildName(mac.facts().macosBuild))) !== null,
    wanted: [...new Set(offers)].filter((id) => !here.includes(id)),
    debts: (await openDebtsOf(db, mac.id, mac.volume)).map(({ id }) => ({ id })) as never,
    proofOrders: orders.map(({ id }) => id).toSorted() as never,
  };
}

const told = ({ debts, proofOrders, ...reply }: CheckInReply): Partial<CheckInReply> => ({
  ...reply,
  debts: debts.map(({ id }) => ({ id })) as never,
  proofOrders: proofOrders.map(({ id }) => id).toSorted() as never,
});

/** The same each time for one number. */
function chance(seed: number): <T>(of: readonly [T, ...T[]]) => T {
  let state = seed * 2_654_435_761 + 1;
  return (of) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return of[Math.floor((state / 2 ** 32) * of.length)] ?? of[0];
  };
}

type Pick = ReturnType<typeof chance>;
interface Course {
  server: GivenServer;
  mac: TestMac;
  pick: Pick;
  envelopes: string[];
  volumes: readonly [string, string];
  boots: readonly [string, string];
  /** What the next check-in says beside. */
  says: Partial<CheckInRequest>;
}

const acts: readonly [(it: Course) => unknown, ...((it: Course) => unknown)[]] = [
  () => undefined,
  async ({ mac, pick, envelopes, server }) => {
    const envelope = mac.seal(newKey());
    const source = pick(['agent', 'escrow-file', 'rotation'] as const);
    const open = await openRotationOf(server.store.db, mac.id);
    envelopes.push(digestOf(envelope));
    if (source === 'escrow-file') mac.escrowFile = { digest: digestOf(envelope), recipient: null, ours: true };
    await mac.deliver(envelope, { source, validated: pick(['true', 'unknown', 'false'] as const), rotationId: open?.id ?? null });
  },
  ({ mac, pick }) => {
    mac.escrowFile = { digest: pick(['1', '2', '3'] as const).repeat(64), recipient: null, ours: pick([true, false] as const) };
  },
  ({ server, mac, pick }) =>
    codeOf(server.custody.orderRotation({ macId: mac.id, actor: 'grace', reason: 'test', overrideHold: pick([true, false] as const) })),
  ({ server, mac, pick }) => codeOf(server.custody.disclose({ macId: mac.id, actor: 'grace', person: pick(['owner', 'other'] as const), reason: 'test' })),
  (it) => {
    it.says = { debts: [{ id: newUuid(), because: 'used', envelopeId: null, boot: it.mac.boot }] };
  },
  ({ mac }) => codeOf(mac.begin()),
  async (it) => {
    const open = await openRotationOf(it.server.store.db, it.mac.id);
    const as = it.pick(['not-changed', 'not-known', 'exhausted'] as const);
    if (open) it.says = { endings: [{ rotationId: open.id, as, detail: 'test' }] };
  },
  (it) => {
    const { mac, pick, envelopes } = it;
    const envelopeId = envelopes[envelopes.length - pick([1, 2] as const)] ?? '0'.repeat(64);
    const answer = pick(['true', 'true', 'false', 'unknown'] as const);
    it.says = { proofs: [{ id: newUuid(), envelopeId, orderId: null, answer, settled: true, boot: mac.boot, uptimeSeconds: Math.max(0, mac.uptimeSeconds) }] };
  },
  (it) => {
    it.says = { exhausted: true };
  },
  ({ mac, pick, volumes }) => {
    mac.volume = pick(volumes);
    mac.reboot();
  },
  ({ mac, pick, boots }) => {
    mac.boot = pick(boots);
  },
  ({ mac, pick }) => {
    mac.factsMore = pick<Partial<Facts>>([
      {},
      { capability: 'works', macosBuild: '25C60' },
      { macosBuild: '25D10' },
      { rotator: 'mdm' },
      { holdDeadlineHours: 2 },
    ]);
  },
  ({ mac, pick }) => mac.enrol({ confirmed: pick([true, false] as const) }, true),
  ({ server, mac }) =>
    server.custody.bring([{ serial: mac.serial, key: newKey(), source: 'csv', trust: 'admin', runId: null, madeAt: null, actor: 'grace', deviceId: 'none' }]),
  async ({ server }) => {
    const alarm = await server.store.db.selectFrom('alarm').select('id').where('judged_at', 'is', null).executeTakeFirst();
    if (alarm) await server.custody.judgeAlarm({ alarmId: alarm.id, actor: 'grace', judgement: 'seen' });
  },
  ({ server, mac }) => server.custody.rings.plan({ name: `ring ${mac.id}`, macs: [mac.id], actor: 'grace' }),
  ({ server }) => server.custody.sweepTimers(),
];

describe('a Mac is told what each question says of it', () => {
  test.each(postgres === null ? [1, 2, 3, 4, 5] : [1])('in course %i', async (seed) => {
    const server = await givenServer();
    const mac = await server.newMac();
    const pick = chance(seed);
    const it: Course = { server, mac, pick, envelopes: [], volumes: [mac.volume, newUuid()], boots: [mac.boot, newUuid()], says: {} };
    await mac.checkIn();
    for (let step = 0; step < 45; step += 1) {
      await pick(acts)(it);
      server.wall.pass(pick([1000, 15 * minute, hour, day] as const));
      const offers = [...it.envelopes.slice(-3), pick(['4', '5'] as const).repeat(64)];
      const reply = await mac.checkIn({ offers, ...it.says });
      it.says = {};
      const expected = await asked(server, mac, offers);
      expect(told(reply)).toMatchObject(reply.withheld === null ? expected : { ...expected, debts: [] });
    }
    await server.close();
  });
});
