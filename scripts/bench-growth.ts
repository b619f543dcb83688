import { randomUUID } from 'node:crypto';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { sql } from 'kysely';
import type { Facts } from '../protocol/messages.ts';
import type { Backend } from '../server/backend.ts';
import type { Caller } from '../server/parts.ts';
import { checkInBody, sealedDelivery } from '../test/device-calls.ts';
import { cases, seededBackend } from './bench-fleet.ts';
import { type BenchOptions, median, type Row } from './bench-rows.ts';

/** Of each Mac, all but one superseded. */
const keysEach = 10;
const smallFleet = 1000;

/**
 * What becomes of a check-in, a delivery, a page and a search when the fleet grows: in turns on two databases, a random Mac of
 * each. Nothing waits for the disk there (`synchronous = off`): that takes as long in any fleet, and would hide what grows.
 */
export async function growthRows({ quick, growth, folder, say }: BenchOptions): Promise<Row[]> {
  const few = quick ? Math.min(200, growth / 10) : smallFleet;
  const rounds = quick ? 15 : 301;
  const small = await openFleet(join(folder, 'small.sqlite'), few, 1, say);
  const large = await openFleet(join(folder, 'large.sqlite'), few, Math.round(growth / few), say);
  try {
    const kinds: Record<string, [(fleet: Fleet) => () => Promise<unknown>, number]> = {
      'check-in': [checkInOnce, 1.3],
      delivery: [deliverOnce, 1.3],
      'fleet-page': [(fleet) => () => cases.list(fleet.backend), 2],
      search: [(fleet) => () => cases.search(fleet.backend), 2],
    };
    const rows: Row[] = [];
    for (const [name, [once, aim]] of Object.entries(kinds)) {
      say(`growth: ${name}, ${rounds} times with ${small.devices} and with ${large.devices} Macs`);
      const times = { small: [] as number[], large: [] as number[] };
      for (let round = -5; round < rounds; round += 1)
        for (const [size, fleet] of [
          ['small', small],
          ['large', large],
        ] as const) {
          const ask = once(fleet);
          const began = performance.now();
          await ask();
          if (round >= 0) times[size].push(performance.now() - began);
        }
      const [before, after] = [median(times.small), median(times.large)];
      const words = `${small.devices} Macs ${before.toFixed(2)} ms, ${large.devices} Macs ${after.toFixed(2)} ms`;
      rows.push({ name: `growth-${name}`, ratio: after / before, aim, better: 'less', words });
    }
    const words = `${small.devices} Macs ${small.bytesEach} bytes each, ${large.devices} Macs ${large.bytesEach}; ${keysEach} keys each`;
    rows.push({ name: 'growth-bytes', ratio: large.bytesEach / small.bytesEach, aim: 1.1, better: 'less', words });
    return rows;
  } finally {
    await Promise.all([small.backend.store.close(), large.backend.store.close()]);
  }
}

interface Fleet {
  backend: Backend;
  devices: number;
  bytesEach: number;
  macs: { caller: Caller; facts: Facts }[];
}

const anyOf = <T>(list: readonly T[]): T => {
  const one = list[Math.floor(Math.random() * list.length)];
  if (one === undefined) throw new Error('nothing to choose from');
  return one;
};

/** What is asked is put together before the time counts. */
function checkInOnce({ backend, macs }: Fleet): () => Promise<unknown> {
  const { caller, facts } = anyOf(macs);
  return () => backend.custody.checkIn({ ...caller, requestId: randomUUID() }, checkInBody(facts, { facts }));
}

function deliverOnce({ backend, macs }: Fleet): () => Promise<unknown> {
  const { caller, facts } = anyOf(macs);
  const [certificate] = backend.escrowKeys.certificates;
  if (!certificate) throw new Error('no escrow certificate');
  const { id, request } = sealedDelivery(certificate.der, facts, { source: 'agent', validated: 'true' });
  return () => backend.custody.deliver({ ...caller, requestId: randomUUID() }, id, request);
}

/** A believable fleet, as many times over as wanted: by one statement for each table, since a million Macs take days otherwise. */
async function openFleet(file: string, base: number, copies: number, say: BenchOptions['say']): Promise<Fleet> {
  say(`growth: a fleet of ${base}, ${copies === 1 ? 'as it is' : `${copies} times over`}`);
  const backend = await seededBackend(file, base);
  await sql.raw('pragma wal_checkpoint(truncate)').execute(backend.store.db);
  multiply(file, copies, say);
  const { db } = backend.store;
  await sql.raw('pragma synchronous = off').execute(db);
  const rows = await db
    .selectFrom('mac')
    .innerJoin('enrolment', 'enrolment.mac_id', 'mac.id')
    .select(['mac.id as macId', 'mac.serial', 'mac.hardware_uuid as hardwareUuid', 'mac.facts', 'enrolment.id as enrolmentId'])
    .where('mac.facts', 'is not', null)
    .where('enrolment.status', '=', 'active')
    .where(sql<boolean>`mac.rowid % ${Math.max(1, Math.floor((base * copies) / 400))} = 0`)
    .execute();
  const macs = rows.map(({ macId, serial, hardwareUuid, facts, enrolmentId }) => ({
    caller: {
      macId,
      serial,
      serialProved: true,
      hardwareUuid: hardwareUuid ?? '',
      enrolmentId,
      way: 'profile' as const,
      standing: 'active' as const,
      confirmed: true,
      publicKey: Buffer.alloc(0),
      profileNotAfter: null,
      protocol: 1,
      requestId: '',
    },
    facts: JSON.parse(facts ?? '{}') as Facts,
  }));
  const devices = base * copies;
  return { backend, devices, bytesEach: Math.round(statSync(file).size / devices), macs };
}

/** Columns that hold what is unique to a Mac; of these the last four characters say which copy it is of. */
const isName = (column: string): boolean => /^(id|digest|boot|volume|public_key_digest)$|_id$|_uuid$|_volume$/.test(column);

function multiply(file: string, copies: number, say: BenchOptions['say']): void {
  const database = new DatabaseSync(file, { enableForeignKeyConstraints: false });
  try {
    database.exec('pragma synchronous = off; pragma cache_size = -1000000; pragma temp_store = memory');
    const columnsOf = (table: string): string[] =>
      database
        .prepare(`pragma table_info(${table})`)
        .all()
        .map(({ name }) => String(name));
    const named = database
      .prepare("select name from sqlite_master where type = 'table'")
      .all()
      .map(({ name }) => String(name));
    const copied = named.filter((table) => ['mac', 'session', 'certificate'].includes(table) || (table !== 'mac_dirty' && columnsOf(table).includes('mac_id')));
    const copy = (table: string, expressions: Record<string, string>, from: string): void => {
      const columns = columnsOf(table);
      database.exec(
        `insert into ${table} (${columns.join()}) select ${columns.map((name) => expressions[name] ?? `t.${name}`).join()} from ${table} t ${from}`,
      );
    };
    const numbers = (count: number): string =>
      `cross join (with recursive n(n) as (select 1 union all select n + 1 from n where n < ${count}) select n from n)`;
    database.exec('begin');
    // First the keys of before, of each Mac that has one.
    const older = { received_at: 't.received_at - n * 1000000', state_at: 't.state_at' };
    const was = (name: string): string => `'k' || n || substr(t.${name}, 3)`;
    copy('envelope', { id: was('id'), record_id: was('record_id'), received_at: older.received_at }, numbers(keysEach - 1));
    copy('key_record', { id: was('id'), fingerprint: was('fingerprint'), state: "'superseded'", ...older }, numbers(keysEach - 1));
    if (copies > 1)
      for (const table of copied) {
        say(`growth: ${table}`);
        const mark = (name: string): string => `substr(t.${name}, 1, length(t.${name}) - 4) || printf('%04d', n)`;
        const own: Record<string, string> = Object.fromEntries(
          columnsOf(table)
            .filter(isName)
            .map((name) => [name, mark(name)]),
        );
        if (columnsOf(table).includes('serial')) own['serial'] = "printf('%04d', n) || substr(t.serial, 5)";
        if (table === 'mac')
          own['facts'] =
            `replace(replace(replace(t.facts, t.present_volume, ${mark('present_volume')}), t.hardware_uuid, ${mark('hardware_uuid')}), t.serial, ${own['serial']})`;
        if (table === 'audit') own['seq'] = 't.seq + n * (select max(seq) from audit)';
        if (columnsOf(table).includes('user_name')) own['user_name'] = "replace(t.user_name, '@', '.' || n || '@')";
        copy(table, own, numbers(copies - 1));
      }
    database.exec(`update fleet_count set n = n * ${copies}`);
    database.exec('commit');
    database.exec('pragma wal_checkpoint(truncate)');
  } finally {
    database.close();
  }
}
