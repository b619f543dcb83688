import { createHash, randomUUID } from 'node:crypto';
import { copyFileSync, createReadStream, existsSync, readFileSync, renameSync, statfsSync, statSync, writeFileSync } from 'node:fs';
import { totalmem } from 'node:os';
import { join } from 'node:path';
import { sql } from 'kysely';
import { deviceList } from '../console/operations/devices.ts';
import { sealerFor } from '../protocol/envelope.ts';
import type { Facts } from '../protocol/messages.ts';
import { RecoveryKey } from '../protocol/recovery-key.ts';
import type { Backend } from '../server/backend.ts';
import type { Caller } from '../server/parts.ts';
import { checkInBody, newKeyText, sealedDelivery } from '../test/device-calls.ts';
import { ask, type BenchKeys, benchBackend, benchKeys, cases, keysFrom, keysTo, seededBackend } from './bench-fleet.ts';
import { type BenchOptions, median, type Row } from './bench-rows.ts';
import { growFleet, renewHeldKeys } from './grow-fleet.ts';

/** Of each Mac, all but one superseded. */
const keysEach = 10;
const smallFleet = 1000;
/** Bytes of the database that each takes, with some to spare. */
const bytesOfMac = 34_000;
/** So many Macs are asked. */
const askedMacs = 400;

/**
 * What becomes of a check-in, a delivery, a page and a search when the fleet grows: in turns on fleets of several sizes, a random
 * Mac of each. Nothing waits for the disk there (`synchronous = off`), nor for RSA: these take as long in any fleet, and would
 * hide what grows.
 */
export async function growthRows({ quick, growth, folder, fleets: kept, say }: BenchOptions): Promise<Row[]> {
  const few = quick ? Math.min(200, growth / 10) : smallFleet;
  const rounds = quick ? 41 : 301;
  const between = 100_000;
  const sizes = [few, ...(growth > between && !quick ? [between] : []), growth];
  const fleets = await openFleets(kept ?? folder, few, sizes, say);
  try {
    const rows: Row[] = [];
    for (const [name, { once, aim }] of Object.entries(kinds)) {
      say(`growth: ${name}, ${rounds} times with ${sizes.join(', ')} Macs`);
      const times = fleets.map((): number[] => []);
      for (let round = -5; round < rounds; round += 1)
        for (const [at, fleet] of fleets.entries()) {
          const act = once(fleet);
          const began = performance.now();
          await act();
          if (round >= 0) times[at]?.push(performance.now() - began);
        }
      const medians = times.map(median);
      const ratio = (medians.at(-1) ?? 0) / (medians[0] ?? 1);
      const words = sizes.map((size, at) => `${size} Macs ${(medians[at] ?? 0).toFixed(2)} ms`).join(', ');
      rows.push({ name: `growth-${name}`, ratio, aim, better: 'less', words });
    }
    const words = fleets.map(({ devices, bytesEach }) => `${devices} Macs ${bytesEach} bytes each`).join(', ');
    const ratio = (fleets.at(-1)?.bytesEach ?? 0) / (fleets[0]?.bytesEach ?? 1);
    rows.push({ name: 'growth-bytes', ratio, aim: 1.1, better: 'less', words: `${words}; ${keysEach} keys each` });
    return rows;
  } finally {
    for (const { backend } of fleets) await backend.store.close();
  }
}

interface Fleet {
  backend: Backend;
  devices: number;
  bytesEach: number;
  macs: { caller: Caller; facts: Facts; userName: string }[];
}

type Once = (fleet: Fleet) => () => Promise<unknown>;
const search =
  (words: (mac: Fleet['macs'][number]) => string): Once =>
  (fleet) => {
    const q = words(anyOf(fleet.macs));
    return () => ask(fleet.backend, deviceList, { q });
  };

/** The searches are what admins type. */
const kinds: Record<string, { once: Once; aim: number }> = {
  'check-in': { once: checkInOnce, aim: 1.3 },
  delivery: { once: deliverOnce, aim: 1.3 },
  'fleet-page': { once: (fleet) => () => cases.list(fleet.backend), aim: 2 },
  'search-serial': { once: search(({ caller }) => caller.serial.slice(0, 8)), aim: 2 },
  'search-user': { once: search(({ userName }) => userName), aim: 2 },
  'search-words': { once: search(({ userName }) => userName.replace(/@.*$/, '').replace('.', ' ')), aim: 2 },
  // Each of the two names is that of many, both together of hardly any: no index knows whose.
  'search-namesakes': { once: search(({ userName }) => userName.replace(/\d*@.*$/, '').replace('.', ' ')), aim: 2 },
  'search-common': { once: search(() => 'macbook pro'), aim: 2 },
  'search-nothing': { once: search(() => 'ada nobody'), aim: 2 },
};

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

/** The keys that were delivered, by the digest of their envelope: to open one again with RSA takes as long in any fleet. */
const sealed = new Map<string, RecoveryKey>();
const digestOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

function deliverOnce({ backend, macs }: Fleet): () => Promise<unknown> {
  const { caller, facts } = anyOf(macs);
  const [certificate] = backend.escrowKeys.certificates;
  if (!certificate) throw new Error('no escrow certificate');
  const { id, request, key } = sealedDelivery(certificate.der, facts, { source: 'agent', validated: 'true' });
  sealed.set(id, keyOf(key));
  return () => backend.custody.deliver({ ...caller, requestId: randomUUID() }, id, request);
}

function keyOf(text: string): RecoveryKey {
  const key = RecoveryKey.parse(text);
  if (!key) throw new Error('no key');
  return key;
}

const gibi = (bytes: number): string => (bytes / 2 ** 30).toFixed(2);

/** One believable fleet, and the others made of it; those that are there already are used again. */
async function openFleets(folder: string, few: number, sizes: readonly number[], say: BenchOptions['say']): Promise<Fleet[]> {
  const [wanted, { bavail, bsize }] = [sizes.reduce((sum, size) => sum + size, 0) * bytesOfMac, statfsSync(folder)];
  if (bavail * bsize < wanted) throw new Error(`${folder} has ${gibi(bavail * bsize)} GiB free, and these fleets take ${gibi(wanted)}`);
  const keys = keysOf(join(folder, 'keys.json'));
  const seeded = join(folder, `seeded-${few}.sqlite`);
  if (!existsSync(seeded)) {
    say(`growth: a fleet of ${few}`);
    await (await seededBackend(seeded, few, () => {}, keys)).store.close();
  }
  const fleets: Fleet[] = [];
  for (const size of sizes) {
    const copies = Math.round(size / few);
    const file = join(folder, `${copies}-times-${few}.sqlite`);
    if (!existsSync(file)) {
      const began = performance.now();
      const making = `${file}.making`;
      copyFileSync(seeded, making);
      growFleet(making, { copies, keysEach, say });
      renameSync(making, file);
      say(`growth: ${copies * few} Macs in ${Math.round((performance.now() - began) / 1000)} s, ${gibi(statSync(file).size)} GiB`);
    }
    fleets.push(await openFleet(file, copies * few, keys));
  }
  return fleets;
}

/** Those with which the fleets of this folder were made. They protect nothing. */
function keysOf(file: string): BenchKeys {
  const made = existsSync(file) ? keysFrom(readFileSync(file, 'utf8')) : benchKeys();
  writeFileSync(file, keysTo(made));
  return { ...made, escrowKeys: { ...made.escrowKeys, canOpen: true, open: async (envelope) => sealed.get(digestOf(envelope)) ?? 'unreadable' } };
}

/** On a grown database, with the Macs that are asked: what these have is whole. */
async function openFleet(file: string, devices: number, keys: BenchKeys): Promise<Fleet> {
  const bytes = statSync(file).size;
  const backend = await benchBackend(file, keys);
  const { db } = backend.store;
  const rows = await db
    .selectFrom('mac')
    .innerJoin('enrolment', 'enrolment.mac_id', 'mac.id')
    .innerJoin('fleet_row', 'fleet_row.mac_id', 'mac.id')
    .select([
      'mac.id as macId',
      'mac.serial',
      'mac.hardware_uuid as hardwareUuid',
      'mac.facts',
      'enrolment.id as enrolmentId',
      'fleet_row.user_name as userName',
    ])
    .where('mac.facts', 'is not', null)
    .where('fleet_row.user_name', '<>', '')
    .where((e) =>
      e.exists(e.selectFrom('key_record').select('key_record.id').whereRef('key_record.mac_id', '=', 'mac.id').where(sql<boolean>`key_record.state = 'held'`)),
    )
    .where('enrolment.status', '=', 'active')
    .where(sql<boolean>`mac.rowid % ${Math.max(1, Math.floor(devices / askedMacs))} = 0`)
    .execute();
  const seal = sealerFor(keys.escrowKeys.certificates[0]?.der ?? new Uint8Array());
  renewHeldKeys(
    file,
    rows.map(({ macId }) => macId),
    keys.secrets,
    () => {
      const key = keyOf(newKeyText());
      const envelope = seal(key);
      sealed.set(digestOf(envelope), key);
      return { bytes: envelope, fingerprint: key.fingerprint(keys.secrets.fingerprint) };
    },
  );
  await sql.raw('pragma synchronous = off').execute(db);
  const macs = rows.map(({ macId, serial, hardwareUuid, facts, enrolmentId, userName }) => ({
    userName,
    caller: {
      macId,
      serial,
      serialProved: true,
      hardwareUuid,
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
  // What a backend that works all day has in memory: all of it where there is room, and else the indexes into which a new key
  // goes at any place, and the rows of the Macs.
  if (bytes < totalmem() / 4) for await (const _ of createReadStream(file, { highWaterMark: 2 ** 20 }));
  for (const [table, column] of [
    ['key_record', 'id'],
    ['key_record', 'fingerprint'],
    ['key_block', 'digest'],
    ['envelope', 'record_id'],
  ])
    await sql.raw(`select count(${column}) from ${table} where ${column} is not null`).execute(db);
  for (const { caller, facts } of macs) await backend.custody.checkIn({ ...caller, requestId: randomUUID() }, checkInBody(facts, { facts }));
  return { backend, devices, bytesEach: Math.round(bytes / devices), macs };
}
