import type { Kysely } from 'kysely';
import type { Tables } from '../tables.ts';

type Db = Kysely<Tables>;

/** What is said of an envelope when everything goes out. Its bytes are read one by one. */
export interface LeavingRow {
  kind: 'record' | 'brought';
  envelopeId: string;
  macId: string | null;
  serial: string;
  serialProved: boolean;
  hardwareUuid: string | null;
  volume: string | null;
  /** Of the record, or of the brought key. */
  keyId: string;
  state: string;
  stateAt: number;
  because: string;
  source: string;
  madeAt: number | null;
  receivedAt: number;
  provedAt: number | null;
  disclosedAt: number | null;
  readable: 'yes' | 'no' | 'not-tried';
  recipient: string;
}

/** Every envelope that is or was here, in every state: by serial number, the newest first. */
export async function everyEnvelope(db: Db): Promise<LeavingRow[]> {
  const rows = await db
    .selectFrom('envelope')
    .innerJoin('key_record', 'key_record.id', 'envelope.record_id')
    .innerJoin('mac', 'mac.id', 'envelope.mac_id')
    .select([
      'envelope.id as envelopeId',
      'envelope.mac_id as macId',
      'mac.serial',
      'mac.serial_proved',
      'key_record.hardware_uuid as hardwareUuid',
      'key_record.volume',
      'key_record.id as keyId',
      'key_record.state',
      'key_record.state_at as stateAt',
      'key_record.state_because as because',
      'envelope.source',
      'envelope.made_at as madeAt',
      'envelope.received_at as receivedAt',
      'key_record.proved_at as provedAt',
      'key_record.disclosed_at as disclosedAt',
      'envelope.readable',
      'envelope.recipient',
    ])
    .orderBy('mac.serial')
    .orderBy('envelope.received_at', 'desc')
    .orderBy('envelope.mac_id')
    .orderBy('envelope.id')
    .execute();
  return rows.map(({ serial_proved: proved, ...row }) => ({ kind: 'record', serialProved: proved === 1, ...row }));
}

/** Keys that others brought, whatever became of them. One that became a record is in both lists, with one file. */
export async function everyBrought(db: Db): Promise<LeavingRow[]> {
  const rows = await db
    .selectFrom('brought_key')
    .select([
      'envelope_id as envelopeId',
      'mac_id as macId',
      'serial',
      'id as keyId',
      'state',
      'state_at as stateAt',
      'state_because as because',
      'source',
      'trust',
      'made_at as madeAt',
      'brought_at as receivedAt',
      'disclosed_at as disclosedAt',
      'fingerprint',
      'recipient',
    ])
    .orderBy('serial')
    .orderBy('brought_at', 'desc')
    .orderBy('id')
    .execute();
  return rows.map(({ fingerprint, trust, source, ...row }) => ({
    kind: 'brought',
    serialProved: false,
    hardwareUuid: null,
    volume: null,
    provedAt: null,
    readable: fingerprint === null ? 'not-tried' : 'yes',
    source: `${source} (${trust})`,
    ...row,
  }));
}

/** Null where retention has destroyed it, or it was withdrawn. */
export async function envelopeBytes(db: Db, { kind, macId, envelopeId, keyId }: LeavingRow): Promise<Uint8Array | null> {
  const row =
    kind === 'brought'
      ? await db.selectFrom('brought_key').select('bytes').where('id', '=', keyId).executeTakeFirst()
      : await db
          .selectFrom('envelope')
          .select('bytes')
          .where('mac_id', '=', macId ?? '')
          .where('id', '=', envelopeId)
          .executeTakeFirst();
  return row?.bytes ?? null;
}

/** As it lies in the table, for whoever checks the chain without us. */
export const auditRows = (db: Db, after: number, most: number): Promise<Tables['audit'][]> =>
  db.selectFrom('audit').selectAll().where('seq', '>', after).orderBy('seq').limit(most).execute();
