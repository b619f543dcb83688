import { z } from 'zod';
import type { Facts } from '../../protocol/messages.ts';
import { sayMode } from '../../protocol/mode.ts';
import { fixOf } from '../alarm-fixes.ts';
import { sayAlarm } from '../alarms.ts';
import { heldOn } from '../approvals/rules.ts';
import type { Backend } from '../backend.ts';
import { isoTime } from '../custody-parts.ts';
import { lastFacts } from '../custody-state.ts';
import { standingOf } from '../mac-standing.ts';
import { claimHistory } from '../store/assignments.ts';
import { enrolmentsOf } from '../store/enrolments.ts';
import { shownOf } from '../store/fleet-projection.ts';
import { recordsOfMac } from '../store/keys.ts';
import { macById } from '../store/macs.ts';
import { careOf } from './alarm-care.ts';
import type { MacInScope } from './in-scope.ts';
import { deviceLine, lineOfRow } from './list.ts';
import { type NeedKind, needKinds, needRank, needs } from './needs.ts';
import { nextStep, sayState } from './next-step.ts';

const at = z.iso.datetime();
const timeOrNull = at.nullable();

const keyLine = z.strictObject({
  recordId: z.string(),
  macId: z.string().describe('of which record of this machine it is'),
  volume: z.string(),
  present: z.boolean().describe('true: of the volume that the Mac started from last'),
  state: z.enum(['candidate', 'held', 'superseded', 'quarantined', 'destroyed']),
  because: z.string(),
  source: z.string(),
  verified: z.boolean().describe('false: it came without a device identity, and counts for nothing until it is proved'),
  receivedAt: at,
  provedAt: timeOrNull,
  disclosedAt: timeOrNull,
  refutedAt: timeOrNull,
  lastAnswer: z.strictObject({ at, answer: z.string() }).nullable().describe('what macOS said of it last; null where nobody asked'),
});

/** All of one Mac on one page. */
export const deviceDetail = z.strictObject({
  device: deviceLine,
  state: z.strictObject({
    says: z.string().describe('what is so and why, one sentence'),
    next: z.string().nullable().describe('what to do now; null: nothing'),
  }),
  needs: z
    .array(z.strictObject({ kind: z.enum(needKinds), says: z.string(), next: z.string(), since: at, detail: z.string() }))
    .describe('what needs a person'),
  facts: z
    .strictObject({
      at: timeOrNull,
      agentVersion: z.string(),
      runtimeVersion: z.string(),
      labOnly: z.boolean().describe('true: its runtime is not signed, so it keeps no key and is given none'),
      macosBuild: z.string(),
      mode: z.string().describe('how it lives beside an MDM, one sentence'),
      fileVaultPercent: z.number().nullable(),
      consoleUser: z.string().nullable(),
      secureTokenUsers: z.number().nullable(),
      power: z.string(),
      powerPercent: z.number().nullable(),
      escrowPayload: z.string(),
      escrowLocation: z.string().nullable(),
      settingsManaged: z.boolean(),
      custodyMode: z.string(),
      capability: z.string().describe('whether this build of macOS takes the key itself as the right to replace it'),
      keyboardLayout: z.string().nullable(),
      language: z.string().nullable(),
    })
    .nullable()
    .describe('what the Mac said of itself at its last check-in; null: it has said nothing yet'),
  hardwareUuid: z.string(),
  volumes: z.array(z.strictObject({ macId: z.string(), volume: z.string(), present: z.boolean(), keys: z.int() })),
  keys: z.array(keyLine).describe('of all volumes and records of this machine, newest first; never a key'),
  brought: z.array(
    z.strictObject({
      id: z.string(),
      source: z.string(),
      state: z.string(),
      because: z.string(),
      madeAt: timeOrNull,
      broughtAt: at,
      recordId: z.string().nullable(),
      disclosedAt: timeOrNull,
    }),
  ),
  users: z.array(
    z.strictObject({
      userName: z.string(),
      account: z.string().nullable(),
      source: z.enum(['profile', 'csv', 'admin']),
      since: at,
      by: z.string(),
      endedAt: timeOrNull,
      endedBecause: z.string().nullable(),
    }),
  ),
  standing: z.strictObject({
    ownership: z.enum(['organisation', 'personal']),
    state: z.enum(['in-use', 'lost', 'retired']),
    localAdmin: z.boolean(),
    set: z.strictObject({ at, by: z.string(), because: z.string() }).nullable(),
  }),
  hold: z.strictObject({ since: at, until: at, because: z.string() }).nullable(),
  debts: z.array(z.strictObject({ id: z.string(), because: z.string(), since: at })).describe('why a new key is owed'),
  orders: z.array(z.strictObject({ id: z.string(), reason: z.string(), actor: z.string(), createdAt: at, state: z.string() })),
  rotations: z.array(
    z.strictObject({ id: z.string(), because: z.string(), begunAt: at, state: z.string(), endedBecause: z.string().nullable(), escrowPayload: z.string() }),
  ),
  proofOrders: z.array(z.strictObject({ id: z.string(), recordId: z.string(), because: z.string(), since: at, notBefore: at })),
  disclosures: z.array(z.strictObject({ at, actor: z.string(), person: z.string().nullable(), reason: z.string(), shown: z.boolean() })),
  alarms: z.array(
    z.strictObject({
      id: z.string(),
      code: z.string(),
      says: z.string(),
      fix: z.string(),
      detail: z.string(),
      since: at,
      owner: z.string().nullable(),
      mutedUntil: timeOrNull,
    }),
  ),
  enrolments: z.array(
    z.strictObject({
      id: z.string(),
      macId: z.string(),
      way: z.string(),
      status: z.string(),
      because: z.string().nullable(),
      confirmed: z.boolean(),
      hardwareUuid: z.string(),
      madeAt: at,
      lastSeenAt: timeOrNull,
    }),
  ),
  waits: z
    .strictObject({ says: z.string(), since: at, needsHelp: z.boolean().describe('it does not pass by itself') })
    .nullable()
    .describe('why it has not done yet what it owes, in its own words; null: it owes nothing, or has not said'),
  task: z.strictObject({ id: z.string(), because: z.string(), since: at, dueAt: at }).nullable().describe('what a person has to do at the MDM'),
  mdmCopyOldSince: timeOrNull.describe('since when the MDM’s copy of the key is old'),
  changedByOthers: z.strictObject({ times: z.array(z.string()), suspects: z.array(z.string()) }).nullable(),
  unreadableDeliveries: z.int(),
  rulesKept: z
    .array(z.strictObject({ at, by: z.string(), tags: z.array(z.string()), until: timeOrNull.describe('null: it binds whoever did it, and nobody else') }))
    .describe(
      'changes of its tags or its user by which one person alone would have made showing its key easier: the rules that it had with these tags hold on',
    ),
  merged: z
    .array(z.strictObject({ id: z.string(), serial: z.string(), hardwareUuid: z.string(), enrolledAt: at }))
    .describe('records that were joined to this one'),
});
export type DeviceDetail = z.infer<typeof deviceDetail>;

const orNull = (time: number | null): string | null => (time === null ? null : isoTime(time));

export async function deviceOf(backend: Backend, { id, ids }: MacInScope, now: number): Promise<DeviceDetail> {
  const { db } = backend.store;
  const report = await backend.custody.macReport(id);
  const mac = await macById(db, id);
  const shown = (await shownOf(db, [id]))(id);
  if (!mac || !shown.row) throw new Error('a Mac that is in no list');
  const facts = lastFacts(mac);
  const open = shown.needs.toSorted((one, other) => needRank(one.kind) - needRank(other.kind));
  const records = await Promise.all(ids.map((one) => recordsOfMac(db, one)));
  const others = (await Promise.all(ids.slice(1).map((one) => macById(db, one)))).filter((one) => one !== undefined);
  // Of the older records too: their keys have rules of their own.
  const heldOnEach = (await Promise.all(ids.map((one) => heldOn(db, one, now)))).flat();
  const held = [...new Map(heldOnEach.map((one) => [one.row.id, one])).values()].toSorted((one, other) => one.row.at - other.row.at);
  const reports = [report, ...(await Promise.all(ids.slice(1).map((one) => backend.custody.macReport(one))))];
  const keys = reports
    .flatMap((one) =>
      one.keys.map(({ envelopeIds: _, lastAnswer, ...key }) => ({
        ...key,
        macId: one.macId,
        present: one.macId === id && key.volume === mac.present_volume,
        lastAnswer: lastAnswer && { at: lastAnswer.at, answer: lastAnswer.answer },
      })),
    )
    .toSorted((one, other) => (one.receivedAt < other.receivedAt ? 1 : -1));
  const cares = await careOf(
    db,
    report.openAlarms.map((alarm) => alarm.id),
  );
  return {
    device: lineOfRow(shown.row, now),
    state: { says: sayState(report), next: nextStep(report, (open[0]?.kind as NeedKind | undefined) ?? null) },
    needs: open.map(({ kind, since, detail }) => ({ kind: kind as NeedKind, ...needs[kind as NeedKind], since: isoTime(since), detail })),
    facts: facts && factsOf(facts, mac.last_seen_at),
    hardwareUuid: report.hardwareUuid,
    volumes: volumesOf(records.flat(), mac.present_volume, id),
    keys,
    brought: [...new Map(reports.flatMap((one) => one.brought).map((one) => [one.keyId, one])).values()].map((one) => ({
      id: one.keyId,
      source: one.source,
      state: one.state,
      because: one.because,
      madeAt: one.madeAt,
      broughtAt: one.broughtAt,
      recordId: one.recordId,
      disclosedAt: one.disclosedAt,
    })),
    users: (await claimHistory(db, id)).map((claim) => ({
      userName: claim.user_name,
      account: claim.account,
      source: claim.source,
      since: isoTime(claim.created_at),
      by: claim.created_by,
      endedAt: orNull(claim.ended_at),
      endedBecause: claim.ended_because,
    })),
    standing: await standingSaid(backend, id),
    hold: report.hold && { since: isoTime(report.hold.since), until: isoTime(report.hold.until), because: report.hold.because },
    debts: report.debts,
    orders: report.orders,
    rotations: report.rotations,
    proofOrders: report.proofOrders,
    disclosures: reports.flatMap((one) => one.disclosures).toSorted((one, other) => (one.at < other.at ? 1 : -1)),
    alarms: report.openAlarms.map((alarm) => ({
      ...alarm,
      says: sayAlarm(alarm.code),
      fix: fixOf(alarm.code),
      owner: cares.get(alarm.id)?.owner ?? null,
      mutedUntil: orNull(cares.get(alarm.id)?.muted_until ?? null),
    })),
    enrolments: (await Promise.all(ids.map((one) => enrolmentsOf(db, one)))).flat().map((enrolment) => ({
      id: enrolment.id,
      macId: enrolment.mac_id,
      way: enrolment.way,
      status: enrolment.status,
      because: enrolment.status_because,
      confirmed: enrolment.confirmed === 1,
      hardwareUuid: enrolment.hardware_uuid,
      madeAt: isoTime(enrolment.created_at),
      lastSeenAt: orNull(enrolment.last_seen_at),
    })),
    waits: report.waits,
    task: report.task,
    mdmCopyOldSince: report.mdmCopyOldSince,
    changedByOthers: report.changedByOthers,
    unreadableDeliveries: report.unreadableDeliveries,
    rulesKept: held.map(({ row, until }) => ({
      at: isoTime(row.at),
      by: row.actor,
      tags: JSON.parse(row.tags) as string[],
      until: orNull(until),
    })),
    merged: others.map((one) => ({ id: one.id, serial: one.serial, hardwareUuid: one.hardware_uuid, enrolledAt: isoTime(one.created_at) })),
  };
}

async function standingSaid({ store }: Backend, macId: string): Promise<DeviceDetail['standing']> {
  const { set, ...standing } = await standingOf(store.db, macId);
  return { ...standing, set: set && { ...set, at: isoTime(set.at) } };
}

const factsOf = (facts: Facts, seenAt: number | null): DeviceDetail['facts'] => ({
  at: orNull(seenAt),
  agentVersion: facts.agentVersion,
  runtimeVersion: facts.runtimeVersion,
  labOnly: !facts.runtimeSigned,
  macosBuild: facts.macosBuild,
  mode: sayMode(facts),
  fileVaultPercent: facts.fileVault.percent ?? null,
  consoleUser: facts.consoleUser,
  secureTokenUsers: facts.secureTokenUsers,
  power: facts.power.source,
  powerPercent: facts.power.percent,
  escrowPayload: facts.escrow.payload,
  escrowLocation: facts.escrow.location,
  settingsManaged: facts.settings.managed,
  custodyMode: facts.custodyMode,
  capability: facts.capability,
  keyboardLayout: facts.keyboardLayout,
  language: facts.language,
});

/** The present one first; each with how many keys were ever of it. */
function volumesOf(records: readonly { mac_id: string; volume: string }[], present: string | null, macId: string): DeviceDetail['volumes'] {
  const found = new Map<string, DeviceDetail['volumes'][number]>();
  if (present !== null) found.set(`${macId} ${present}`, { macId, volume: present, present: true, keys: 0 });
  for (const record of records) {
    const name = `${record.mac_id} ${record.volume}`;
    const volume = found.get(name) ?? { macId: record.mac_id, volume: record.volume, present: false, keys: 0 };
    volume.keys += 1;
    found.set(name, volume);
  }
  return [...found.values()];
}
