import { randomUUID, X509Certificate } from 'node:crypto';
import type { Insertable, Kysely, Selectable } from 'kysely';
import type { Tx } from '../parts.ts';
import type { Tables } from '../tables.ts';
import { firstOf } from './asked.ts';
import { addFleetRow } from './fleet-projection.ts';
import { macById } from './macs.ts';

type Db = Kysely<Tables>;
export type MacRow = Selectable<Tables['mac']>;
export type EnrolmentRow = Selectable<Tables['enrolment']>;
export type CertificateRow = Selectable<Tables['certificate']>;

export interface KnownCertificate {
  certificate: CertificateRow;
  enrolment: EnrolmentRow;
  mac: MacRow;
}

export async function enrolmentById(db: Db, id: string): Promise<{ enrolment: EnrolmentRow; mac: MacRow } | null> {
  const enrolment = await enrolmentNamed(db, id);
  const mac = enrolment && (await macById(db, enrolment.mac_id));
  return enrolment && mac ? { enrolment, mac } : null;
}
const enrolmentNamed = firstOf((db, id: string) => db.selectFrom('enrolment').selectAll().where('id', '=', id));
const certificateNamed = firstOf((db, digest: string) => db.selectFrom('certificate').selectAll().where('digest', '=', digest));
const revokedNamed = firstOf((db, digest: string) => db.selectFrom('revoked_certificate').select('digest').where('digest', '=', digest));

/** Which enrolment uses this very certificate? */
export async function certificateByDigest(db: Db, digest: string): Promise<KnownCertificate | null> {
  const certificate = await certificateNamed(db, digest);
  if (!certificate) return null;
  const of = await enrolmentById(db, certificate.enrolment_id);
  return of ? { certificate, ...of } : null;
}

/** What the guard of a request has to know of a certificate: in one statement, and without what only an enrolment needs. */
export interface KnownIdentity {
  certificate: Pick<CertificateRow, 'digest' | 'status' | 'first_used_at'>;
  enrolment: Pick<
    EnrolmentRow,
    'id' | 'status' | 'status_at' | 'replaced_after' | 'hardware_uuid' | 'way' | 'confirmed' | 'profile_not_after' | 'profile_certificate'
  >;
  mac: Pick<MacRow, 'id' | 'serial' | 'serial_proved'>;
}
const identityNamed = firstOf((db, digest: string) =>
  db
    .selectFrom('certificate')
    .innerJoin('enrolment', 'enrolment.id', 'certificate.enrolment_id')
    .innerJoin('mac', 'mac.id', 'enrolment.mac_id')
    .select(['certificate.status as certificate_status', 'certificate.first_used_at', 'mac.id as mac_id', 'mac.serial', 'mac.serial_proved'])
    .select(['enrolment.id', 'enrolment.status', 'enrolment.status_at', 'enrolment.replaced_after', 'enrolment.hardware_uuid'])
    .select(['enrolment.way', 'enrolment.confirmed', 'enrolment.profile_not_after', 'enrolment.profile_certificate'])
    .where('certificate.digest', '=', digest),
);

export async function identityByDigest(db: Db, digest: string): Promise<KnownIdentity | null> {
  const row = await identityNamed(db, digest);
  if (!row) return null;
  const { certificate_status: status, first_used_at, mac_id: id, serial, serial_proved, ...enrolment } = row;
  return { certificate: { digest, status, first_used_at }, enrolment, mac: { id, serial, serial_proved } };
}

/** The keys that the enrolment may speak with: its own, and those of certificates that no newer one has replaced. DER. */
export async function keysInUse(db: Db, enrolment: EnrolmentRow): Promise<Buffer[]> {
  const active = await db.selectFrom('certificate').select('der').where('enrolment_id', '=', enrolment.id).where('status', '=', 'active').execute();
  const certified = active.map(({ der }) => new X509Certificate(Buffer.from(der)).publicKey.export({ type: 'spki', format: 'der' }));
  return [Buffer.from(enrolment.public_key), ...certified];
}

/** Which enrolment was this public key accepted for, and is it still in use? */
export async function enrolmentByKey(db: Db, publicKeyDigest: string): Promise<{ enrolment: EnrolmentRow; mac: MacRow; current: boolean } | null> {
  const proof = await db
    .selectFrom('enrolment_proof')
    .select(['enrolment_id', 'public_key'])
    .where('public_key_digest', '=', publicKeyDigest)
    .executeTakeFirst();
  const of = proof ? await enrolmentById(db, proof.enrolment_id) : null;
  if (!proof || !of) return null;
  return { ...of, current: (await keysInUse(db, of.enrolment)).some((key) => key.equals(proof.public_key)) };
}

export const macsWithSubject = (db: Db, subject: string): Promise<MacRow[]> =>
  db.selectFrom('mac').selectAll().where('subject', '=', subject).orderBy('created_at').execute();

export const enrolmentsOf = (db: Db, macId: string): Promise<EnrolmentRow[]> =>
  db.selectFrom('enrolment').selectAll().where('mac_id', '=', macId).orderBy('created_at').orderBy('id').execute();

export async function isCertificateRevoked(db: Db, digest: string): Promise<boolean> {
  return (await revokedNamed(db, digest)) !== undefined;
}

/** The rotation that this enrolment began and that has not ended, if there is one. */
export async function openRotationOf(db: Db, macId: string, enrolmentId: string): Promise<{ id: string; begunAt: number } | null> {
  const open = await db
    .selectFrom('rotation')
    .select(['id', 'begun_at'])
    .where('mac_id', '=', macId)
    .where('enrolment_id', '=', enrolmentId)
    .where('state', '=', 'begun')
    .executeTakeFirst();
  return open ? { id: open.id, begunAt: open.begun_at } : null;
}

/** False where the nonce was spent before. */
export async function spendNonce(tx: Tx, digest: string, expiresAt: number): Promise<boolean> {
  const spent = await tx
    .insertInto('spent_nonce')
    .values({ digest, expires_at: expiresAt })
    .onConflict((c) => c.doNothing())
    .executeTakeFirst();
  return (spent.numInsertedOrUpdatedRows ?? 0n) > 0n;
}

/** A nonce that has expired is refused anyway; one minute more for the sake of a clock that was set. */
export async function forgetSpentNonces(tx: Tx, now: number): Promise<void> {
  await tx
    .deleteFrom('spent_nonce')
    .where('expires_at', '<', now - 60_000)
    .execute();
}

export async function addMac(
  tx: Tx,
  mac: { serial: string; serialProved: boolean; subject: string | null; hardwareUuid: string; at: number },
): Promise<MacRow> {
  const made = await tx
    .insertInto('mac')
    .values({
      id: randomUUID(),
      serial: mac.serial,
      serial_proved: mac.serialProved ? 1 : 0,
      subject: mac.subject,
      created_at: mac.at,
      hardware_uuid: mac.hardwareUuid,
      unreadable_count: 0,
    })
    .returningAll()
    .executeTakeFirstOrThrow();
  await addFleetRow(tx, made);
  return made;
}

export const addEnrolment = async (tx: Tx, enrolment: Insertable<Tables['enrolment']>): Promise<void> => {
  await tx.insertInto('enrolment').values(enrolment).execute();
};

export const addProof = async (tx: Tx, proof: Insertable<Tables['enrolment_proof']>): Promise<void> => {
  await tx.insertInto('enrolment_proof').values(proof).execute();
};

export const addCertificate = async (tx: Tx, certificate: Omit<Insertable<Tables['certificate']>, 'first_used_at' | 'status'>): Promise<void> => {
  await tx
    .insertInto('certificate')
    .values({ ...certificate, first_used_at: null, status: 'active' })
    .execute();
};

/** The certificates that an enrolment has, the one that was used last first. */
export const certificatesOf = (db: Db, enrolmentId: string): Promise<CertificateRow[]> =>
  db
    .selectFrom('certificate')
    .selectAll()
    .where('enrolment_id', '=', enrolmentId)
    .orderBy((e) => e.fn.coalesce('first_used_at', 'issued_at'), 'desc')
    .orderBy('issued_at', 'desc')
    .execute();

export const changeEnrolment = async (tx: Tx, id: string, values: Partial<EnrolmentRow>): Promise<void> => {
  await tx.updateTable('enrolment').set(values).where('id', '=', id).execute();
};

/** The certificate was used: those that the enrolment had before it are `replaced` from now on. */
export async function markFirstUse(tx: Tx, used: CertificateRow, at: number): Promise<void> {
  await tx.updateTable('certificate').set({ first_used_at: at }).where('digest', '=', used.digest).where('first_used_at', 'is', null).execute();
  await tx
    .updateTable('certificate')
    .set({ status: 'replaced' })
    .where('enrolment_id', '=', used.enrolment_id)
    .where('digest', '<>', used.digest)
    .where('issued_at', '<=', used.issued_at)
    .execute();
}

export const proveSerial = async (tx: Tx, macId: string, serial: string): Promise<void> => {
  await tx.updateTable('mac').set({ serial, serial_proved: 1, subject: null }).where('id', '=', macId).execute();
};

export async function revokeCertificate(tx: Tx, digest: string, at: number, because: string): Promise<void> {
  await tx
    .insertInto('revoked_certificate')
    .values({ digest, revoked_at: at, because })
    .onConflict((c) => c.doNothing())
    .execute();
}

/** What was ended since a time: carried over a restore. */
export async function revocationsSince(db: Db, since: number) {
  return {
    enrolments: await db
      .selectFrom('enrolment')
      .select(['id', 'status_because as because', 'status_at as at'])
      .where('status', '=', 'revoked')
      .where('status_at', '>=', since)
      .execute(),
    certificates: await db.selectFrom('revoked_certificate').select(['digest', 'because', 'revoked_at as at']).where('revoked_at', '>=', since).execute(),
    tickets: await db.selectFrom('ticket').select(['id', 'ended_at as at']).where('ended_at', '>=', since).execute(),
  };
}
