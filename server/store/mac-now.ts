import { type Kysely, sql } from 'kysely';
import type { Tx } from '../parts.ts';
import type { Tables } from '../tables.ts';
import { changes, firstOf, question } from './asked.ts';
import type { LastWord } from './assignments.ts';
import type { EnvelopeRow, KeyRecord } from './keys.ts';
import type { Mac } from './macs.ts';
import type { Proof } from './proofs.ts';
import type { Session } from './sessions.ts';

/*
 * A Mac that checks in mostly has nothing to say, and nothing is open for it. Whether there is anything is asked in one statement, and
 * each of the detailed questions only where there is: on PostgreSQL every statement is a way there and back.
 */

type Db = Kysely<Tables>;

/** Whether there is anything of it. False: the detailed question, which each part of the statement below stands for, would find nothing. */
interface Open {
  /** Another boot session of this enrolment was seen after this one. */
  laterSession: boolean;
  /** Other active enrolments of the Mac, or its own is one that would be replaced. */
  otherEnrolments: boolean;
  /** Other Macs of its serial number, or of its hardware. */
  macsLike: boolean;
  rotation: boolean;
  /** Disclosures of the volume whose hold has not been ended. */
  shown: boolean;
  debts: boolean;
  /** Orders of whichever Mac, whose time is over. */
  ordersToExpire: boolean;
  proofOrders: boolean;
  candidates: boolean;
  /** Keys that others brought for its serial number. */
  brought: boolean;
  ring: boolean;
  alarms: boolean;
  /** Answers other than `true`, and keys that were given, in the time that was asked about. */
  tries: boolean;
  /** Its row in lists. */
  listed: boolean;
}

interface Wide extends Mac, Open {
  own_boot: string | null;
  booted_at: number;
  session_start: number;
  first_seen_at: number;
  session_seen_at: number;
  build: string | null;
  word_id: string | null;
  word_mac: string;
  word_user: string;
  word_source: LastWord['source'];
  word_ended_at: number | null;
  word_ended_because: string | null;
}

/** By name, and not whatever there is: a statement of which the columns stand is kept by a connection of PostgreSQL. */
const ofMac: Record<keyof Mac, true> = {
  id: true,
  serial: true,
  serial_proved: true,
  subject: true,
  created_at: true,
  last_seen_at: true,
  present_volume: true,
  hardware_uuid: true,
  facts: true,
  agent_rotation: true,
  waits: true,
  exhausted_at: true,
  exhausted_volume: true,
  escrow_changed_at: true,
  unreadable_since: true,
  unreadable_count: true,
  merged_into: true,
};
const ofRecord: Record<keyof KeyRecord, true> = {
  id: true,
  mac_id: true,
  hardware_uuid: true,
  volume: true,
  fingerprint: true,
  state: true,
  source: true,
  enrolment_id: true,
  rotation_id: true,
  received_at: true,
  opened: true,
  state_at: true,
  state_because: true,
  proved_at: true,
  proved_by: true,
  disclosed_at: true,
  first_false_at: true,
  first_false_run: true,
  refuted_at: true,
  legal_hold: true,
  unverified: true,
};
const ofEnvelope: Record<keyof EnvelopeRow, true> = {
  id: true,
  mac_id: true,
  record_id: true,
  bytes: true,
  recipient: true,
  source: true,
  made_at: true,
  received_at: true,
  readable: true,
  enrolment_id: true,
  rotation_id: true,
  validated: true,
  row_mac: true,
};
const names = (table: string, columns: Record<string, true>, prefix = '') =>
  sql.join(Object.keys(columns).map((name) => sql`${sql.ref(`${table}.${name}`)} as ${sql.ref(prefix + name)}`));

/** Where an index is of some rows only, in its words: by others neither database takes it. */
const wide = firstOf((db, macId: string, enrolmentId: string, boot: string, volume: string, build: string, at: number, triesSince: number) => ({
  compile: () =>
    sql<Wide>`select ${names('mac', ofMac)}, own.boot as own_boot, own.booted_at, own.session_start, own.first_seen_at, own.last_seen_at as session_seen_at,
  word.id as word_id, word.mac_id as word_mac, word.user_name as word_user, word.source as word_source, word.ended_at as word_ended_at, word.ended_because as word_ended_because,
  (select value from memory where name = ${build}) as build,
  exists (select 1 from session where enrolment_id = ${enrolmentId} and last_seen_at > own.last_seen_at) as "laterSession",
  exists (select 1 from enrolment where mac_id = ${macId} and status = 'active' and (id <> ${enrolmentId} or replaced_after is not null)) as "otherEnrolments",
  (exists (select 1 from mac as other where other.serial = mac.serial and other.id <> ${macId})
    or exists (select 1 from mac as other where other.hardware_uuid = mac.hardware_uuid and other.id <> ${macId})) as "macsLike",
  exists (select 1 from rotation where mac_id = ${macId} and state = 'begun') as "rotation",
  exists (select 1 from disclosure where mac_id = ${macId} and volume = ${volume} and shown = 1 and hold_ended_at is null) as "shown",
  exists (select 1 from debt where mac_id = ${macId} and volume = ${volume} and closed_at is null) as "debts",
  exists (select 1 from rotation_order where state = 'waiting' and expires_at <= ${at}
    and not exists (select 1 from rotation where rotation.mac_id = rotation_order.mac_id and rotation.state = 'begun')) as "ordersToExpire",
  exists (select 1 from proof_order where mac_id = ${macId} and ended_at is null) as "proofOrders",
  exists (select 1 from key_record where mac_id = ${macId} and volume = ${volume} and state = 'candidate') as "candidates",
  exists (select 1 from brought_key where serial = mac.serial and state <> 'withdrawn') as "brought",
  exists (select 1 from ring_mac where mac_id = ${macId} and state in ('planned', 'waiting', 'proving')) as "ring",
  exists (select 1 from alarm where mac_id = ${macId} and judged_at is null) as "alarms",
  (exists (select 1 from proof where mac_id = ${macId} and at > ${triesSince} and answer <> 'true')
    or exists (select 1 from grant_given where mac_id = ${macId} and at > ${triesSince})) as "tries",
  exists (select 1 from fleet_row where mac_id = ${macId}) as "listed"
from mac
  left join session as own on own.enrolment_id = ${enrolmentId} and own.boot = ${boot}
  left join assignment as word on word.id = (
    select id from assignment where enrolment_id = ${enrolmentId} order by created_at desc, ended_at desc nulls first limit 1)
where mac.id = ${macId}`.compile(db),
}));

export interface HeldKey {
  record: KeyRecord;
  /** Newest first. */
  envelopes: readonly EnvelopeRow[];
  /** What macOS said of it last, whatever it was. */
  lastProof: Pick<Proof, 'answer' | 'settled' | 'at'> | undefined;
}

type HeldRow = KeyRecord & { [Name in keyof EnvelopeRow as `e_${Name}`]: EnvelopeRow[Name] | null } & {
  last_answer: string | null;
  last_settled: number | null;
  last_at: number | null;
};

/** The held key of a volume, once for each of its envelopes. */
const heldRows = question((db, macId: string, volume: string) => ({
  compile: () =>
    sql<HeldRow>`select ${names('key_record', ofRecord)}, ${names('envelope', ofEnvelope, 'e_')},
  last.answer as last_answer, last.settled as last_settled, last.at as last_at
from key_record
  left join envelope on envelope.record_id = key_record.id
  left join proof as last on last.mac_id = key_record.mac_id and last.id = (
    select id from proof where mac_id = key_record.mac_id and record_id = key_record.id order by at desc, id limit 1)
where key_record.mac_id = ${macId} and key_record.volume = ${volume} and key_record.state = 'held'
order by envelope.received_at desc, envelope.id`.compile(db),
}));

async function heldKeyOf(db: Db, macId: string, volume: string): Promise<HeldKey | null> {
  const rows = await heldRows(db, macId, volume);
  const [first] = rows;
  if (!first) return null;
  return {
    record: first,
    envelopes: rows.flatMap((row) => (row.e_id === null ? [] : [envelopeFrom(row)])),
    lastProof: first.last_answer === null ? undefined : { answer: first.last_answer, settled: first.last_settled ?? 0, at: first.last_at ?? 0 },
  };
}

const envelopeFrom = (row: HeldRow): EnvelopeRow =>
  Object.fromEntries(Object.keys(ofEnvelope).map((name) => [name, row[`e_${name as keyof EnvelopeRow}`]])) as unknown as EnvelopeRow;

/** A Mac, and what is open for it, as it is at this point of an act. */
export interface MacNow {
  mac: Mac;
  /** This boot session, where it was seen before. */
  session: Session | undefined;
  held: HeldKey | null;
  open: Open;
  /** Whose Mac its profile said last that it is, by the mouth of this enrolment, whether that still counts or not. */
  word: LastWord | undefined;
  /** What is remembered of its build of macOS. */
  build: string | null;
}

interface MacAsked {
  macId: string;
  enrolmentId: string;
  boot: string;
  /** That it says it started from. */
  volume: string;
  /** The name under which what is known of its build is remembered. */
  build: string;
  at: number;
  triesSince: number;
}

export async function macNow(db: Db, { macId, enrolmentId, boot, volume, build, at, triesSince }: MacAsked): Promise<MacNow | null> {
  // Both go to the database at once.
  const [found, held] = await Promise.all([wide(db, macId, enrolmentId, boot, volume, build, at, triesSince), heldKeyOf(db, macId, volume)]);
  if (!found) return null;
  const { own_boot: seen, booted_at, session_start, first_seen_at, session_seen_at: last_seen_at } = found;
  return {
    mac: found,
    session: seen === null ? undefined : { enrolment_id: enrolmentId, boot, booted_at, session_start, first_seen_at, last_seen_at },
    held,
    open: found,
    word: wordOf(found),
    build: found.build,
  };
}

const wordOf = ({
  word_id: id,
  word_mac: mac_id,
  word_user: user_name,
  word_source: source,
  word_ended_at: ended_at,
  word_ended_because: ended_because,
}: Wide) => (id === null ? undefined : { id, mac_id, user_name, source, ended_at, ended_because });

interface Kept {
  mac: string;
  at: number;
  volume: string | null;
  facts: string | null;
  rotation: string | null;
  waits: string | null;
  changedAt: number | null;
  enrolment: string;
  boot: string;
  bootedAt: number;
  start: number;
  first: number;
}

const keep = changes<Kept>(
  (db, { mac, at, volume, facts, rotation, waits, changedAt }) =>
    db
      .updateTable('mac')
      .set({ last_seen_at: at, present_volume: volume, facts, agent_rotation: rotation, waits, escrow_changed_at: changedAt })
      .where('id', '=', mac),
  (db, { mac, at }) => db.updateTable('fleet_row').set({ last_seen_at: at }).where('mac_id', '=', mac),
  (db, { enrolment, at }) => db.updateTable('enrolment').set({ last_seen_at: at }).where('id', '=', enrolment),
  (db, { enrolment, boot, bootedAt, start, first, at }) =>
    db
      .insertInto('session')
      .values({ enrolment_id: enrolment, boot, booted_at: bootedAt, session_start: start, first_seen_at: first, last_seen_at: at })
      .onConflict((c) => c.columns(['enrolment_id', 'boot']).doUpdateSet({ booted_at: bootedAt, session_start: start, last_seen_at: at })),
);

/** What every check-in changes: when it was, and what the Mac said of itself. */
export const keepCheckIn = (tx: Tx, mac: Mac, session: Session): Promise<void> =>
  keep(tx, {
    mac: mac.id,
    at: session.last_seen_at,
    volume: mac.present_volume,
    facts: mac.facts,
    rotation: mac.agent_rotation,
    waits: mac.waits,
    changedAt: mac.escrow_changed_at,
    enrolment: session.enrolment_id,
    boot: session.boot,
    bootedAt: session.booted_at,
    start: session.session_start,
    first: session.first_seen_at,
  });
