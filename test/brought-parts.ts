import { randomUUID } from 'node:crypto';
import { afterEach } from '@jest/globals';
import type { RecoveryKey } from '../protocol/recovery-key.ts';
import type { Bringing } from '../server/brought/bringing.ts';
import { lookAtEnvelope } from '../server/brought/envelopes.ts';
import { digestOf, type GivenServer, givenServer, minute, type TestMac } from './server-parts.ts';

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
async function envelopeOfRecord(server: GivenServer, recordId: string | null): Promise<string> {
  const envelopes = server.store.db
    .selectFrom('envelope')
    .select('id')
    .where('record_id', '=', recordId ?? '');
  return (await envelopes.executeTakeFirstOrThrow()).id;
}

/** An envelope for one of our escrow certificates, as it is brought. */
export function envelopeFor(server: GivenServer, bytes: Buffer): NonNullable<Bringing['envelope']> & { bytes: Buffer } {
  const looked = lookAtEnvelope(bytes, server.escrow.certificates);
  if (looked.kind !== 'ours') throw new Error('not ours');
  return { bytes, recipient: looked.recipient, blocks: looked.blocks };
}

/** While it is as on a day on which nobody can look into envelopes. */
export async function withoutOpener<T>(server: GivenServer, act: () => Promise<T>): Promise<T> {
  server.escrow.answers = false;
  try {
    return await act();
  } finally {
    server.escrow.answers = true;
  }
}

/** For a test file with one backend: its Macs, whose serial numbers begin so, and keys that somebody brings for them. */
export function bringTo(serverOf: () => GivenServer, serials = 'C02') {
  let count = 0;
  const newSerial = (): string => {
    count += 1;
    return `${serials}${String(count).padStart(4, '0')}`;
  };
  return {
    newSerial,
    newMac: async (serial = newSerial(), wish: object = {}) => {
      const mac = await serverOf().newMac({ serial, ...wish });
      await mac.checkIn();
      return mac;
    },
    envelopeOf: (bytes: Buffer) => envelopeFor(serverOf(), bytes),
    bring: async (serial: string, key: RecoveryKey | null, more: Partial<Bringing> = {}) => {
      const [one] = await serverOf().custody.bring([bringing(serial, key, more)]);
      if (!one) throw new Error('nothing came of it');
      return one;
    },
    alarmsOf: async (mac: TestMac) => {
      const alarms = serverOf().store.db.selectFrom('alarm').select('code').where('mac_id', '=', mac.id).where('judged_at', 'is', null);
      return (await alarms.execute()).map(({ code }) => code);
    },
    /** A run of `import`, as it stands in the database. */
    newRun: async (id: string = randomUUID(), source = 'csv') => {
      const row = { id, source, name: 'x', digest: null, mapping: '{}', actor: 'ada', reason: 'x', started_at: 1, ended_at: 1, withdrawn_at: null };
      await serverOf().store.write((tx) => tx.insertInto('import_run').values(row).execute());
      return id;
    },
  };
}

/** For a test file: a backend for each of its tests that opens one, and what is asked of it again and again. */
export function useBrought() {
  let here: GivenServer | null = null;
  const server = (): GivenServer => {
    if (!here) throw new Error('no backend has been opened');
    return here;
  };
  afterEach(async () => {
    await here?.close();
    here = null;
  });
  const row = (id: string | null) => rowOf(server(), id);
  const envelopeOf = (recordId: string | null) => envelopeOfRecord(server(), recordId);
  return {
    open: async (...wish: Parameters<typeof givenServer>): Promise<GivenServer> => {
      here = await givenServer(...wish);
      return here;
    },
    bring: async (serial: string, key: RecoveryKey | null, more: Partial<Bringing> = {}) => {
      const [one] = await server().custody.bring([bringing(serial, key, more)]);
      if (!one) throw new Error('nothing came of it');
      return one;
    },
    rows: (serial: string) => server().store.db.selectFrom('brought_key').selectAll().where('serial', '=', serial).orderBy('brought_at').execute(),
    row,
    record: (id: string | null) => recordOf(server(), id),
    custodyOf: (mac: TestMac) => server().custody.custodyOf(mac.id),
    envelopeOf,
    says: async (mac: TestMac, keyId: string | null, answer: 'true' | 'false') => mac.prove(await envelopeOf((await row(keyId)).record_id), answer),
    /** K8: two answers, in two runs. */
    refute: async (mac: TestMac, keyId: string | null): Promise<void> => {
      const envelope = await envelopeOf((await row(keyId)).record_id);
      await mac.prove(envelope, 'false');
      server().wall.pass(11 * minute);
      await mac.prove(envelope, 'false');
    },
    asked: async (mac: TestMac) => (await mac.checkIn()).proofOrders.map(({ recordId }) => recordId),
  };
}
