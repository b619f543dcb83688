import { randomUUID } from 'node:crypto';
import type { RecoveryKey } from '../protocol/recovery-key.ts';
import type { Bringing } from '../server/brought/bringing.ts';
import { digestOf, type GivenServer, type TestMac } from './server-parts.ts';

/** A key that an admin took over from Intune. */
export const bringing = (serial: string, key: RecoveryKey | null, more: Partial<Bringing> = {}): Bringing => ({
  serial,
  key,
  source: 'intune',
  trust: 'admin',
  runId: null,
  madeAt: null,
  actor: 'ada',
  ...more,
});

/** macOS seals its keys for the MDM; each time, another one. */
export const foreign = (mac: TestMac, digest = digestOf(Buffer.from(randomUUID()))): void => {
  const file = { digest, recipient: `issuer-serial:${'ab'.repeat(32)}:01`, ours: false };
  mac.escrowFile = file;
  mac.factsMore = { ...mac.factsMore, escrow: { payload: 'foreign', location: 'Intune', file } };
};

export const rowOf = (server: GivenServer, id: string | null) =>
  server.store.db
    .selectFrom('brought_key')
    .selectAll()
    .where('id', '=', id ?? '')
    .executeTakeFirstOrThrow();

export const recordOf = (server: GivenServer, id: string | null) =>
  server.store.db
    .selectFrom('key_record')
    .selectAll()
    .where('id', '=', id ?? '')
    .executeTakeFirstOrThrow();

/** Of a record that has one. */
export async function envelopeOfRecord(server: GivenServer, recordId: string | null): Promise<string> {
  const envelopes = server.store.db
    .selectFrom('envelope')
    .select('id')
    .where('record_id', '=', recordId ?? '');
  return (await envelopes.executeTakeFirstOrThrow()).id;
}
