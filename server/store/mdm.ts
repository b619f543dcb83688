import { type Kysely, sql } from 'kysely';
import type { Tx } from '../parts.ts';
import type { Tables } from '../tables.ts';

type Db = Kysely<Tables>;
export type MdmDevice = Tables['mdm_device'];
export type MdmCommand = Tables['mdm_command'];

const open = ['waiting', 'sent', 'not-now'] as const satisfies readonly MdmCommand['state'][];
/** The same in the words of the indexes. */
const isOpen = sql<boolean>`state in ('waiting', 'sent', 'not-now')`;

export const deviceById = (db: Db, id: string): Promise<MdmDevice | undefined> =>
  db.selectFrom('mdm_device').selectAll().where('id', '=', id).executeTakeFirst();

/** Those that the MDM still has, heard of last first. */
export const devicesWithSerial = (db: Db, serial: string): Promise<MdmDevice[]> =>
  db
    .selectFrom('mdm_device')
    .selectAll()
    .where('serial', '=', serial)
    .where('checked_out_at', 'is', null)
    .orderBy('last_seen_at', 'desc')
    .orderBy('id')
    .execute();

/** In pages, by name. */
export const devicesAfter = (db: Db, id: string, limit: number): Promise<MdmDevice[]> =>
  db.selectFrom('mdm_device').selectAll().where('id', '>', id).orderBy('id').limit(limit).execute();

export const macWithHardware = (db: Db, hardwareUuid: string): Promise<Tables['mac'][]> =>
  db.selectFrom('mac').selectAll().where('hardware_uuid', '=', hardwareUuid).execute();

/** Devices that were asked nothing of this kind since `before`, and have said nothing since: those that waited longest first. */
export const devicesToAsk = (db: Db, before: number, limit: number): Promise<MdmDevice[]> =>
  db
    .selectFrom('mdm_device')
    .selectAll()
    .where('checked_out_at', 'is', null)
    .where((e) => e.or([e('security_at', 'is', null), e('security_at', '<=', before)]))
    .where((e) =>
      e.not(
        e.exists(
          e
            .selectFrom('mdm_command')
            .select('uuid')
            .whereRef('mdm_command.device_id', '=', 'mdm_device.id')
            .where('kind', '=', 'security-info')
            .where((of) => of.or([of('created_at', '>', before), of('state', 'in', open)])),
        ),
      ),
    )
    .orderBy('security_at', (order) => order.asc().nullsFirst())
    .orderBy('id')
    .limit(limit)
    .execute();

export async function putDevice(tx: Tx, device: MdmDevice): Promise<void> {
  const { id: _id, first_seen_at: _first, ...values } = device;
  await tx
    .insertInto('mdm_device')
    .values(device)
    .onConflict((conflict) => conflict.column('id').doUpdateSet(values))
    .execute();
}

export async function updateDevice(tx: Tx, id: string, values: Partial<Omit<MdmDevice, 'id'>>): Promise<void> {
  await tx.updateTable('mdm_device').set(values).where('id', '=', id).execute();
}

export const eventWasTaken = async (db: Db, digest: string): Promise<boolean> =>
  (await db.selectFrom('mdm_event').select('digest').where('digest', '=', digest).executeTakeFirst()) !== undefined;

/** False where it was taken before. */
export async function noteEvent(tx: Tx, digest: string, at: number): Promise<boolean> {
  const result = await tx
    .insertInto('mdm_event')
    .values({ digest, received_at: at })
    .onConflict((conflict) => conflict.doNothing())
    .executeTakeFirst();
  return (result.numInsertedOrUpdatedRows ?? 0n) > 0n;
}

export async function forgetEvents(tx: Tx, before: number): Promise<void> {
  await tx.deleteFrom('mdm_event').where('received_at', '<', before).execute();
}

export const commandByUuid = (db: Db, uuid: string): Promise<MdmCommand | undefined> =>
  db.selectFrom('mdm_command').selectAll().where('uuid', '=', uuid).executeTakeFirst();

export const openCommandOf = (db: Db, deviceId: string, kind: MdmCommand['kind']): Promise<MdmCommand | undefined> =>
  db.selectFrom('mdm_command').selectAll().where('device_id', '=', deviceId).where('kind', '=', kind).where(isOpen).executeTakeFirst();

/** Newest first. */
export const commandsOf = (db: Db, deviceId: string, kind: MdmCommand['kind'], since: number): Promise<MdmCommand[]> =>
  db
    .selectFrom('mdm_command')
    .selectAll()
    .where('device_id', '=', deviceId)
    .where('kind', '=', kind)
    .where('created_at', '>=', since)
    .orderBy('created_at', 'desc')
    .orderBy('uuid')
    .execute();

export const dueCommands = (db: Db, at: number, limit: number): Promise<MdmCommand[]> =>
  db.selectFrom('mdm_command').selectAll().where(isOpen).where('next_at', '<=', at).orderBy('next_at').orderBy('uuid').limit(limit).execute();

/** RotateFileVaultKey that went into the queue after `since` and has no answer: of this hardware, or with a key of this Mac. */
export const rotationOnItsWay = (
  db: Db,
  mac: { id: string; hardwareUuid: string },
  since: number,
): Promise<{ uuid: string; sent_at: number | null } | undefined> =>
  db
    .selectFrom('mdm_command')
    .innerJoin('mdm_device', 'mdm_device.id', 'mdm_command.device_id')
    .leftJoin('key_record', 'key_record.id', 'mdm_command.record_id')
    .select(['mdm_command.uuid', 'mdm_command.sent_at'])
    .where('mdm_command.kind', '=', 'rotate')
    .where('mdm_command.state', 'in', ['sent', 'not-now'])
    .where('mdm_command.sent_at', '>', since)
    .where((e) => e.or([e('mdm_device.udid', '=', mac.hardwareUuid), e('key_record.mac_id', '=', mac.id)]))
    .orderBy('mdm_command.sent_at', 'desc')
    .executeTakeFirst();

/** For a list in pages, newest first, without what is sealed in them: of one Mac by its serial number or its device, or of all. */
export const listCommands = (db: Db, of: { serial: string; deviceId: string } | null, before: { at: number; uuid: string } | null, limit: number) =>
  db
    .selectFrom('mdm_command')
    .innerJoin('mdm_device', 'mdm_device.id', 'mdm_command.device_id')
    .select([
      'mdm_command.uuid',
      'mdm_command.device_id',
      'mdm_device.serial',
      'mdm_command.kind',
      'mdm_command.because',
      'mdm_command.actor',
      'mdm_command.state',
      'mdm_command.created_at',
      'mdm_command.sent_at',
      'mdm_command.ended_at',
      'mdm_command.tries',
      'mdm_command.error',
      'mdm_command.escrow_payload',
    ])
    .$if(of !== null, (query) => query.where((e) => e.or([e('mdm_device.serial', '=', of?.serial ?? ''), e('mdm_device.id', '=', of?.deviceId ?? '')])))
    .$if(before !== null, (query) =>
      query.where((e) =>
        e.or([
          e('mdm_command.created_at', '<', before?.at ?? 0),
          e.and([e('mdm_command.created_at', '=', before?.at ?? 0), e('mdm_command.uuid', '>', before?.uuid ?? '')]),
        ]),
      ),
    )
    .orderBy('mdm_command.created_at', 'desc')
    .orderBy('mdm_command.uuid')
    .limit(limit)
    .execute();

export async function insertCommand(tx: Tx, command: MdmCommand): Promise<void> {
  await tx.insertInto('mdm_command').values(command).execute();
}

export async function updateCommand(tx: Tx, uuid: string, values: Partial<Omit<MdmCommand, 'uuid'>>): Promise<void> {
  await tx.updateTable('mdm_command').set(values).where('uuid', '=', uuid).execute();
}

/** Private keys of replies that nobody waits for any more: `next_at` of what has ended is until when one may still come, or be opened. */
export async function forgetReplyKeys(tx: Tx, at: number, sentBefore: number): Promise<void> {
  await tx
    .updateTable('mdm_command')
    .set({ reply_key: null, reply_certificate: null, reply: null })
    .where('reply_key', 'is not', null)
    .where((e) =>
      e.or([
        e('sent_at', 'is', null),
        e.and([e('state', 'in', open), e('sent_at', '<', sentBefore)]),
        e.and([e('state', 'in', ['done', 'failed']), e('next_at', '<', at)]),
      ]),
    )
    .execute();
}

/** Answers of the daily question are forgotten; who had a key replaced, and what came of it, stays. */
export async function forgetQuestions(tx: Tx, endedBefore: number): Promise<void> {
  // In the words of the index.
  const answered = sql<boolean>`kind <> 'rotate' and state in ('done', 'failed')`;
  await tx.deleteFrom('mdm_command').where(answered).where('ended_at', '<', endedBefore).execute();
}

/** Whether this very key is known as one of another machine: two Macs never have one key. */
export async function isKeyOfAnother(db: Db, fingerprint: string, serial: string): Promise<boolean> {
  const record = await db
    .selectFrom('key_record')
    .innerJoin('mac', 'mac.id', 'key_record.mac_id')
    .select('key_record.id')
    .where('key_record.fingerprint', '=', fingerprint)
    .where('mac.serial', '<>', serial)
    .executeTakeFirst();
  if (record) return true;
  const brought = db
    .selectFrom('brought_key')
    .select('id')
    .where('fingerprint', '=', fingerprint)
    .where('serial', '<>', serial)
    .where('state', '<>', 'withdrawn');
  return (await brought.executeTakeFirst()) !== undefined;
}

/**
 * Macs of which a key is owed a replacement, and that their own agent cannot replace: their build of macOS refuses the key. In
 * pages, by id, of those that the MDM has.
 */
export const macsThatRefuse = (db: Db, after: string, limit: number): Promise<Tables['mac'][]> =>
  db
    .selectFrom('mac')
    .selectAll('mac')
    .where('mac.id', '>', after)
    .where((e) =>
      e.exists(e.selectFrom('mdm_device').select('mdm_device.id').whereRef('mdm_device.serial', '=', 'mac.serial').where('checked_out_at', 'is', null)),
    )
    .where('mac.facts', 'like', '%"capability":"refused"%')
    .where((e) => e.exists(e.selectFrom('debt').select('debt.id').whereRef('debt.mac_id', '=', 'mac.id').where('debt.closed_at', 'is', null)))
    .orderBy('mac.id')
    .limit(limit)
    .execute();
