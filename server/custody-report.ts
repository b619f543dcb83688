import type { CustodyState, RecordState } from '../protocol/messages.ts';
import { Problem } from '../protocol/problems.ts';
import { type Adoption, adoptionOf } from './adoption-said.ts';
import { type BroughtLine, broughtLines } from './brought/lines.ts';
import { type CustodyParts, isoTime } from './custody-parts.ts';
import { type CustodyRows, counts, custodyFrom, lastFacts, rowsOf, unresolvedOf } from './custody-state.ts';
import { deadlineHours } from './holds.ts';
import { answerOf, type KeyAnswer } from './replies.ts';
import { type Hold, type RotationDue, rotationDue } from './rotation-due.ts';
import { openAlarms } from './store/alarms.ts';
import { type Debt, openDebtsOf, ordersOf } from './store/debts.ts';
import { type Disclosure, disclosuresOf, episodeOf } from './store/disclosures.ts';
import { fleetRows } from './store/fleet.ts';
import { envelopesOfRecord, recordsOfMac } from './store/keys.ts';
import { allMacs, foreignFilesOf, type Mac, macById, macsWithSerial } from './store/macs.ts';
import { openProofOrdersOf } from './store/proofs.ts';
import { type Rotation, rotationsOf } from './store/rotations.ts';
import { type MdmCopy, mdmCopyOf, openTaskFor } from './store/tasks.ts';
import { type Waits, waitsOf } from './waits.ts';

export interface MacCustody {
  state: CustodyState;
  because: string;
  unopened: boolean;
  volume: string | null;
  heldRecordId: string | null;
  /** When macOS last said `true` to the held key. */
  provedAt: string | null;
  candidates: number;
  hold: Hold | null;
  openRotation: { id: string; begunAt: string } | null;
  rotation: Pick<RotationDue, 'owed' | 'because'>;
}

async function macOf(parts: CustodyParts, macId: string): Promise<Mac> {
  const mac = await macById(parts.store.db, macId);
  if (!mac) throw new Problem('MAC_UNKNOWN');
  return mac;
}

export const custodyOf = async (parts: CustodyParts, macId: string): Promise<MacCustody> => {
  const mac = await macOf(parts, macId);
  return describe(parts, mac, await stateOf(parts, mac));
};

/** All that is open of a Mac. */
interface MacState {
  rows: CustodyRows;
  debts: readonly Debt[];
  /** Disclosures of the present volume whose hold has not ended. */
  episode: readonly Disclosure[];
}

async function stateOf(parts: CustodyParts, mac: Mac): Promise<MacState> {
  const { db } = parts.store;
  const volume = mac.present_volume;
  return {
    rows: await rowsOf(db, mac),
    debts: volume === null ? [] : await openDebtsOf(db, mac.id, volume),
    episode: volume === null ? [] : await episodeOf(db, mac.id, volume),
  };
}

function describe(parts: CustodyParts, mac: Mac, { rows, debts, episode }: MacState): MacCustody {
  const now = parts.clock.now();
  const held = rows.living.find((record) => record.state === 'held');
  const due = rotationDue(debts, episode, deadlineHours(parts, mac), now);
  return {
    ...custodyFrom(parts, mac, rows, now),
    volume: mac.present_volume,
    heldRecordId: held?.id ?? null,
    provedAt: held?.proved_at ? isoTime(held.proved_at) : null,
    candidates: rows.living.filter((record) => record.state === 'candidate').length,
    hold: due.hold,
    openRotation: rows.open ? { id: rows.open.id, begunAt: isoTime(rows.open.begun_at) } : null,
    rotation: { owed: due.owed, because: due.because },
  };
}

/** The Mac that a person means: by its id, or by a serial number that only one has. */
export async function findMac(parts: CustodyParts, serialOrId: string): Promise<string> {
  const byId = await macById(parts.store.db, serialOrId);
  if (byId) return byId.id;
  // What was joined to another record is meant by its own id alone.
  const found = await macsWithSerial(parts.store.db, serialOrId.trim().toUpperCase());
  const [mac, ...more] = found.length > 1 ? found.filter(({ merged_into: into }) => into === null) : found;
  if (!mac) throw new Problem('MAC_UNKNOWN', serialOrId);
  if (more.length > 0) throw new Problem('MAC_AMBIGUOUS', [mac, ...more].map((one) => one.id).join(', '));
  return mac.id;
}

export interface FleetLine extends MacCustody {
  macId: string;
  serial: string;
  serialProved: boolean;
  lastSeenAt: string | null;
  alarms: string[];
  adoption: Adoption | null;
}

export interface Fleet {
  macs: FleetLine[];
  /** How many Macs are in each state; `held, unopened` is counted apart. */
  counts: Record<CustodyState | 'held, unopened', number>;
  alarms: { id: string; macId: string | null; code: string; detail: string; since: string }[];
}

function lineOf(parts: CustodyParts, mac: Mac, state: MacState): FleetLine {
  return {
    macId: mac.id,
    serial: mac.serial,
    serialProved: mac.serial_proved === 1,
    lastSeenAt: mac.last_seen_at === null ? null : isoTime(mac.last_seen_at),
    alarms: state.rows.alarms.map((alarm) => alarm.code),
    adoption: adoptionOf(mac),
    ...describe(parts, mac, state),
  };
}

/** Lines of these Macs, with the rows that they were made of. `all`: of them, or of more. Custody is what `macReport` says of each. */
export async function fleetLines(parts: CustodyParts, db: CustodyParts['store']['db'], macs: readonly Mac[], all: Awaited<ReturnType<typeof fleetRows>>) {
  const lines: { mac: Mac; line: FleetLine; rows: CustodyRows; debts: readonly Debt[] }[] = [];
  for (const mac of macs) {
    const here = ({ volume }: { volume: string }) => volume === mac.present_volume;
    const living = all.records(mac.id).filter(here);
    const held = living.find((record) => record.state === 'held');
    const file = mac.escrow_changed_at === null ? undefined : lastFacts(mac)?.escrow.file?.digest;
    const rows: CustodyRows = {
      living,
      heldEnvelopes: all.heldEnvelopes(mac.id).filter((envelope) => envelope.record_id === held?.id),
      open: all.rotations(mac.id)[0],
      unresolved: await unresolvedOf(db, mac),
      delivered: all.envelopeIds(mac.id).some(({ id }) => id === file),
      alarms: all.alarms(mac.id),
    };
    const debts = all.debts(mac.id).filter(here);
    lines.push({ mac, line: lineOf(parts, mac, { rows, debts, episode: all.shown(mac.id).filter(here) }), rows, debts });
  }
  return lines;
}

export async function fleet(parts: CustodyParts, { db } = parts.store): Promise<Fleet> {
  const counts: Fleet['counts'] = { foreign: 0, none: 0, lost: 0, doubtful: 0, held: 0, 'held, unopened': 0 };
  const macs = (await fleetLines(parts, db, await allMacs(db), await fleetRows(db))).map(({ line }) => line);
  for (const line of macs) counts[line.unopened ? 'held, unopened' : line.state] += 1;
  const alarms = (await openAlarms(db)).map(({ id, mac_id: macId, code, detail, opened_at: openedAt }) => ({
    id,
    macId,
    code,
    detail,
    since: isoTime(openedAt),
  }));
  return { macs, counts, alarms };
}

interface KeyLine {
  recordId: string;
  volume: string;
  state: RecordState;
  because: string;
  source: string;
  /** False: it came without a device identity and has not been proved; it counts for nothing yet. */
  verified: boolean;
  receivedAt: string;
  provedAt: string | null;
  disclosedAt: string | null;
  refutedAt: string | null;
  /** What macOS said of it last: `unknown` where it could not be checked; null where nobody asked. */
  lastAnswer: KeyAnswer['last'];
  envelopeIds: string[];
}

export interface MacReport extends FleetLine {
  hardwareUuid: string;
  macosVersion: string | null;
  agentVersion: string | null;
  /** Node's, which has security releases of its own; and whether its package was signed by nobody, so that this Mac keeps no key. */
  runtimeVersion: string | null;
  labOnly: boolean | null;
  /** Of all volumes, newest first. */
  keys: KeyLine[];
  debts: { id: string; because: string; since: string }[];
  orders: { id: string; reason: string; actor: string; createdAt: string; state: string }[];
  rotations: { id: string; because: string; begunAt: string; state: string; endedBecause: string | null; escrowPayload: string }[];
  /** C6: under the MDM's payload we replaced the key; whatever copy the MDM has is dead until it has asked the Mac again. */
  mdmCopyOldSince: string | null;
  openAlarms: { id: string; code: string; detail: string; since: string }[];
  /** Keys that others had for this serial number, but for the withdrawn. */
  brought: BroughtLine[];
  /** What a person has to do at the MDM. */
  task: { id: string; because: string; since: string; dueAt: string } | null;
  /** Where somebody else changed the key in the last 14 days, by the Mac's word (C2). */
  changedByOthers: { times: string[]; suspects: string[] } | null;
  disclosures: { at: string; actor: string; person: string | null; reason: string; shown: boolean }[];
  proofOrders: { id: string; recordId: string; because: string; since: string; notBefore: string }[];
  /** Envelopes that are somebody else's: never keys here. */
  foreign: { digest: string; recipient: string | null; lastSeenAt: string }[];
  unreadableDeliveries: number;
  /** Why it has not done yet what it owes, in its own words. */
  waits: Waits | null;
}

/** A rotation of before copies were noted speaks for itself. */
function copyOldSince(copy: MdmCopy | undefined, lastDone: Rotation | undefined): string | null {
  if (copy) return copy.refreshed_at === null ? isoTime(copy.old_since) : null;
  return lastDone?.escrow_payload === 'foreign' ? isoTime(lastDone.begun_at) : null;
}

async function taskLine(db: CustodyParts['store']['db'], serial: string): Promise<MacReport['task']> {
  const task = await openTaskFor(db, serial);
  return task ? { id: task.id, because: task.because, since: isoTime(task.opened_at), dueAt: isoTime(task.due_at) } : null;
}

const timeOrNull = (time: number | null): string | null => (time === null ? null : isoTime(time));

export async function macReport(parts: CustodyParts, macId: string): Promise<MacReport> {
  const { db } = parts.store;
  const mac = await macOf(parts, macId);
  const facts = lastFacts(mac);
  const keys: KeyLine[] = [];
  for (const record of await recordsOfMac(db, macId)) {
    keys.push({
      recordId: record.id,
      volume: record.volume,
      state: record.state,
      because: record.state_because,
      source: record.source,
      verified: counts(record),
      receivedAt: isoTime(record.received_at),
      provedAt: timeOrNull(record.proved_at),
      disclosedAt: timeOrNull(record.disclosed_at),
      refutedAt: timeOrNull(record.refuted_at),
      lastAnswer: (await answerOf(db, record)).last,
      envelopeIds: (await envelopesOfRecord(db, record.id)).map((envelope) => envelope.id),
    });
  }
  const debts = mac.present_volume === null ? [] : await openDebtsOf(db, macId, mac.present_volume);
  const rotations = await rotationsOf(db, macId, 20);
  const state = await stateOf(parts, mac);
  const lastDone = rotations.find(({ state }) => state === 'done');
  return {
    ...lineOf(parts, mac, state),
    openAlarms: state.rows.alarms.map(({ id, code, detail, opened_at: openedAt }) => ({ id, code, detail, since: isoTime(openedAt) })),
    hardwareUuid: mac.hardware_uuid,
    macosVersion: facts?.macosVersion ?? null,
    agentVersion: facts?.agentVersion ?? null,
    runtimeVersion: facts?.runtimeVersion ?? null,
    labOnly: facts ? !facts.runtimeSigned : null,
    keys,
    debts: debts.map((debt) => ({ id: debt.id, because: debt.because, since: isoTime(debt.opened_at) })),
    orders: (await ordersOf(db, macId)).map((order) => ({
      id: order.id,
      reason: order.reason,
      actor: order.actor,
      createdAt: isoTime(order.created_at),
      state: order.state,
    })),
    rotations: rotations.map(({ id, because, begun_at: at, state, ended_because: endedBecause, escrow_payload: escrowPayload }) => ({
      id,
      because,
      begunAt: isoTime(at),
      state,
      endedBecause,
      escrowPayload,
    })),
    mdmCopyOldSince: copyOldSince(await mdmCopyOf(db, macId), lastDone),
    brought: await broughtLines(db, mac),
    task: await taskLine(db, mac.serial),
    changedByOthers: facts?.foreignChanges ?? null,
    disclosures: (await disclosuresOf(db, macId)).map(({ at, actor, person, reason, shown }) => ({
      at: isoTime(at),
      actor,
      person,
      reason,
      shown: shown === 1,
    })),
    proofOrders: (await openProofOrdersOf(db, macId)).map((order) => ({
      id: order.id,
      recordId: order.record_id,
      because: order.because,
      since: isoTime(order.created_at),
      notBefore: isoTime(order.not_before),
    })),
    foreign: (await foreignFilesOf(db, macId)).map(({ digest, recipient, last_seen_at: at }) => ({ digest, recipient, lastSeenAt: isoTime(at) })),
    unreadableDeliveries: mac.unreadable_count,
    waits: debts.length === 0 ? null : waitsOf(mac),
  };
}
