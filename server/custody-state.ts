import type { Kysely } from 'kysely';
import { type Facts, facts as factsSchema } from '../protocol/messages.ts';
import { isOfIdentity } from './alarms.ts';
import { type CustodyParts, isoTime, minute } from './custody-parts.ts';
import { isRowWhole } from './row-mac.ts';
import { type Alarm, openAlarmsOf } from './store/alarms.ts';
import { type EnvelopeRow, envelopesOfRecord, isOnVolume, type KeyRecord, recordsOfVolume } from './store/keys.ts';
import type { Mac } from './store/macs.ts';
import { openRotationOf, type Rotation, rotationById } from './store/rotations.ts';
import type { Custody, Tables } from './tables.ts';

/** After this long without an ending, an open rotation puts custody in doubt. */
export const rotationDoubtAfter = 5 * minute;

export interface CustodyFacts {
  held: KeyRecord | null;
  /** One of the held record's rows fails 8.3. */
  heldTampered: boolean;
  /** Newest first. */
  candidates: readonly KeyRecord[];
  /** The installed payload or the last escrow file is somebody else's. */
  foreign: boolean;
  /** The last escrow file itself is: whoever changed the key last has it, if the file is of that change. */
  fileForeign: boolean;
  /** R9 was reported for this volume. */
  exhaustedAt: number | null;
  openRotation: { begunAt: number } | null;
  /** The agent says so of a rotation that has not ended here. */
  unresolved: boolean;
  /** macOS's escrow file is another one since then, and has not been delivered. */
  escrowChangedAt: number | null;
  /** Codes of open alarms that put the Mac's identity in question. */
  identityAlarms: readonly string[];
}

export interface CustodyNow extends Custody {
  /** Counted apart: stored and well addressed, but nobody here has opened it. */
  unopened: boolean;
}

/** The first row that fits. */
function judgeCustody(found: CustodyFacts, now: number): CustodyNow {
  const { held, candidates } = found;
  const living = held ? [held, ...candidates] : candidates;
  const says = (state: Custody['state'], because: string): CustodyNow => ({ state, because, unopened: state === 'held' && held?.opened === 0 });

  if (living.length === 0) {
    return found.foreign
      ? says('foreign', 'new keys of this Mac are sealed for somebody else, and none of its keys is here')
      : says('none', 'no key of this volume has come');
  }
  const { exhaustedAt, escrowChangedAt } = found;
  if (exhaustedAt !== null && !living.some((record) => record.received_at > exhaustedAt || (record.proved_at ?? 0) > exhaustedAt))
    return found.fileForeign && escrowChangedAt !== null && living.every((record) => (record.proved_at ?? 0) < escrowChangedAt)
      ? says('foreign', `the Mac said on ${isoTime(exhaustedAt)} that no key that is here opens it any more, and its newest one is sealed for somebody else`)
      : says('lost', `the Mac said on ${isoTime(exhaustedAt)} that no known key opens it any more`);

  if (candidates.length > 0) return says('doubtful', held ? 'another key than the held one may be valid' : 'a key is here that has not been proved');
  if (held?.refuted_at) return says('doubtful', 'the Mac answered twice that the held key does not open it');
  if (found.heldTampered) return says('doubtful', 'a stored row of the held key is not as it was written');
  if (found.openRotation && now - found.openRotation.begunAt > rotationDoubtAfter)
    return says('doubtful', `a rotation begun on ${isoTime(found.openRotation.begunAt)} has not ended`);
  if (found.unresolved) return says('doubtful', 'a rotation was interrupted and the Mac does not know yet which key is valid');
  if (escrowChangedAt !== null && !living.some((record) => (record.proved_at ?? 0) >= escrowChangedAt))
    return says('doubtful', "macOS's escrow file changed and what it holds has not come");
  if (found.identityAlarms.length > 0) return says('doubtful', `an alarm waits for an admin: ${found.identityAlarms.join(', ')}`);

  if (held?.opened === 0) return says('held', 'a key is held, unopened');
  return says('held', held?.proved_at ? `the held key was proved on ${isoTime(held.proved_at)}` : 'a key is held, not proved yet');
}

/** The facts of the Mac's last check-in. */
export function lastFacts(mac: Mac): Facts | null {
  if (mac.facts === null) return null;
  const read = factsSchema.safeParse(JSON.parse(mac.facts));
  return read.success ? read.data : null;
}

interface AgentRotation {
  id: string;
  state: string;
  because: string;
}
const agentRotationOf = (mac: Mac): AgentRotation | null => (mac.agent_rotation === null ? null : (JSON.parse(mac.agent_rotation) as AgentRotation));

/** By whoever knows it: the agent knows only the certificate of its settings, the server all of its own. */
export const isFileOurs = (parts: Pick<CustodyParts, 'certificates'>, file: NonNullable<Facts['escrow']['file']>): boolean =>
  file.ours || parts.certificates.some((certificate) => file.recipient !== null && certificate.names.includes(file.recipient));

/** The rows that custody is computed from. */
export interface CustodyRows {
  /** Of the present volume: held and candidates, newest first. */
  living: readonly KeyRecord[];
  heldEnvelopes: readonly EnvelopeRow[];
  open: Rotation | undefined;
  /** As it stands here, the rotation that the agent calls unresolved. */
  unresolved: Rotation | undefined;
  /** macOS's escrow file, as it lies there now, has come for this volume. */
  delivered: boolean;
  alarms: readonly Alarm[];
}

export const isLiving = (record: KeyRecord): boolean => record.state === 'held' || record.state === 'candidate';
/** One that came without a device identity counts for nothing, and against nothing, until it was proved. */
export const counts = (record: Pick<KeyRecord, 'unverified'>): boolean => record.unverified === 0;
const unresolvedId = (mac: Mac): string | null => {
  const agent = agentRotationOf(mac);
  return agent?.state === 'unresolved' ? agent.id : null;
};
export const unresolvedOf = async (db: Kysely<Tables>, mac: Mac): Promise<Rotation | undefined> => {
  const id = unresolvedId(mac);
  return id === null ? undefined : rotationById(db, mac.id, id);
};

export async function rowsOf(db: Kysely<Tables>, mac: Mac): Promise<CustodyRows> {
  const volume = mac.present_volume;
  const living = volume === null ? [] : (await recordsOfVolume(db, mac.id, volume)).filter((record) => isLiving(record) && counts(record));
  const held = living.find((record) => record.state === 'held');
  const file = lastFacts(mac)?.escrow.file;
  return {
    living,
    heldEnvelopes: held ? await envelopesOfRecord(db, held.id) : [],
    open: await openRotationOf(db, mac.id),
    unresolved: await unresolvedOf(db, mac),
    delivered: file ? await isOnVolume(db, mac.id, volume, file.digest) : false,
    alarms: await openAlarmsOf(db, mac.id),
  };
}

function factsFrom(parts: Pick<CustodyParts, 'certificates' | 'secrets'>, mac: Mac, rows: CustodyRows): CustodyFacts {
  const { living, heldEnvelopes, open, unresolved, delivered, alarms } = rows;
  const volume = mac.present_volume;
  const held = living.find((record) => record.state === 'held') ?? null;
  const facts = lastFacts(mac);
  const file = facts?.escrow.file ?? null;
  return {
    held,
    heldTampered: held !== null && !heldEnvelopes.every((row) => isRowWhole(parts.secrets, held, row)),
    candidates: living.filter((record) => record.state === 'candidate'),
    foreign: facts?.escrow.payload === 'foreign' || (file !== null && !isFileOurs(parts, file)),
    fileForeign: file !== null && !isFileOurs(parts, file),
    exhaustedAt: mac.exhausted_volume === volume ? mac.exhausted_at : null,
    openRotation: open && open.volume === volume ? { begunAt: open.begun_at } : null,
    unresolved: unresolvedId(mac) !== null && (unresolved === undefined || unresolved.state === 'begun' || unresolved.state === 'not-known'),
    escrowChangedAt: file !== null && !delivered ? mac.escrow_changed_at : null,
    identityAlarms: alarms.filter(isOfIdentity).map((alarm) => alarm.code),
  };
}

export const custodyFrom = (parts: Pick<CustodyParts, 'certificates' | 'secrets'>, mac: Mac, rows: CustodyRows, now: number): CustodyNow =>
  judgeCustody(factsFrom(parts, mac, rows), now);

export const custodyNow = async (parts: CustodyParts, db: Kysely<Tables>, mac: Mac, now: number): Promise<CustodyNow> =>
  custodyFrom(parts, mac, await rowsOf(db, mac), now);
