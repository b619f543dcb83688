import type { Insertable } from 'kysely';
import { sealerFor } from '../protocol/envelope.ts';
import { RecoveryKey } from '../protocol/recovery-key.ts';
import { beginning, canonicalJson, hashOf } from '../server/audit.ts';
import type { Backend } from '../server/backend.ts';
import type { DayFigures } from '../server/fleet/days.ts';
import type { Tx } from '../server/parts.ts';
import type { Tables } from '../server/tables.ts';
import { type Seeded, type SeedGround, seedMac } from './seed-mac.ts';
import { type Chance, chance } from './seed-words.ts';

const day = 24 * 60 * 60 * 1000;
/** Macs in one act, and values in one statement. */
const inOneAct = 400;
const mostValues = 30_000;

export type SeedBackend = Pick<Backend, 'store' | 'clock' | 'custody' | 'secrets'> & { escrowKeys: Pick<Backend['escrowKeys'], 'certificates'> };

export interface Seeding {
  devices: number;
  seed: number;
  /** Days of figures from before today. */
  days?: number;
  say?: (done: number, what: string) => void;
}

const letters = 'ABCDEFGHJKLMNPQRTUVWXYZ23456789';
const newKey = (by: Chance): RecoveryKey =>
  RecoveryKey.parse(Array.from({ length: 24 }, (_, at) => `${at > 0 && at % 4 === 0 ? '-' : ''}${letters[by.whole(letters.length)]}`).join('')) as RecoveryKey;

/** In the order in which rows need each other. */
const tables = [
  'mac',
  'enrolment',
  'session',
  'key_record',
  'envelope',
  'rotation_order',
  'debt',
  'disclosure',
  'assignment',
  'mac_tag',
  'mac_standing',
  'alarm',
] as const satisfies readonly (keyof Tables)[];

/** Fills a database that has no Macs with a believable fleet. What custody says of it is worked out by the backend itself. */
export async function seedFleet(backend: SeedBackend, { devices, seed, days = 90, say = () => {} }: Seeding): Promise<void> {
  const { store, clock, custody, secrets } = backend;
  const [certificate] = backend.escrowKeys.certificates;
  if (!certificate) throw new Error('there is no escrow certificate');
  const by = chance(seed);
  const now = clock.now();
  const sealer = sealerFor(certificate.der);
  const ground: SeedGround = {
    by,
    now,
    secrets,
    recipient: certificate.digest,
    seal: (chances) => {
      const key = newKey(chances);
      return { bytes: sealer(key), fingerprint: key.fingerprint(secrets.fingerprint) };
    },
  };
  let chain = (await store.db.selectFrom('audit').select(['seq', 'hash']).orderBy('seq', 'desc').limit(1).executeTakeFirst()) ?? { seq: 0, hash: beginning };
  for (let done = 0; done < devices; done += inOneAct) {
    const macs = Array.from({ length: Math.min(inOneAct, devices - done) }, (_, at) => seedMac(ground, done + at));
    const rows: Seeded = {};
    for (const mac of macs)
      for (const [name, more] of Object.entries(mac.rows))
        (rows as Record<string, unknown[]>)[name] = [...((rows as Record<string, unknown[]>)[name] ?? []), ...more];
    const told = macs.flatMap((mac) => mac.told).toSorted((one, other) => one.at - other.at);
    const audit = told.map(({ at, actor, act, macId, details }) => {
      const row = {
        seq: chain.seq + 1,
        at,
        actor,
        act,
        mac_id: macId,
        details: canonicalJson(details),
        previous: chain.hash,
        request_id: null,
        network: null,
        token_id: null,
      };
      chain = { seq: row.seq, hash: hashOf(row) };
      return { ...row, hash: chain.hash };
    });
    await store.write(async (tx) => {
      for (const name of tables) await insertAll(tx, name, (rows[name] ?? []) as Insertable<Tables[typeof name]>[]);
      await insertAll(tx, 'audit', audit);
      await insertAll(
        tx,
        'mac_dirty',
        (rows.mac ?? []).map((mac) => ({ mac_id: mac.id })),
      );
    });
    say(Math.min(done + inOneAct, devices), 'Macs');
  }
  await store.write((tx) => insertAll(tx, 'fleet_day', daysBefore(by, now, devices, days)));
  for (let shown = 0; shown < devices; ) {
    const some = await custody.refreshFleet(500);
    if (some === 0) break;
    shown += some;
    say(shown, 'rows of lists');
  }
  await custody.fleetIsFresh();
  await custody.keepFleetDays();
}

async function insertAll<Name extends keyof Tables>(tx: Tx, name: Name, rows: readonly Insertable<Tables[Name]>[]): Promise<void> {
  const widest = Math.max(1, ...rows.map((row) => Object.keys(row).length));
  // Columns that only some rows have count for all.
  const size = Math.floor(mostValues / (widest + 6));
  for (let at = 0; at < rows.length; at += size) {
    const some = rows.slice(at, at + size) as Insertable<Tables[Name]>[];
    await tx
      .insertInto(name)
      .values(some as never)
      .execute();
  }
}

/** A fleet that grew, with a wave of new keys and a weekend now and then. */
function daysBefore(by: Chance, now: number, devices: number, days: number): Tables['fleet_day'][] {
  return Array.from({ length: days }, (_, index) => {
    const ago = days - index;
    const at = Math.floor(now / day) * day - ago * day;
    const macs = Math.round(devices * (1 - ago / (days * 4)));
    const doubtful = Math.round(macs * (0.006 + 0.004 * by.next()));
    const none = Math.round(macs * (0.01 + (0.03 * ago) / days));
    const foreign = Math.round(macs * 0.01);
    const lost = Math.round(macs * 0.0015);
    const shown = Math.round((macs / 4000) * (0.5 + by.next()));
    const lags: Record<string, number> = {};
    for (let order = 0; order < Math.round(macs / 800); order += 1) {
      const of = Math.floor(Math.log2(Math.max(1, by.around(22, 1.6))) * 8);
      lags[of] = (lags[of] ?? 0) + 1;
    }
    const figures: DayFigures = {
      custody: { held: macs - doubtful - none - foreign - lost, doubtful, none, foreign, lost },
      proved: Math.round(macs * (0.82 + 0.1 * (1 - ago / days))),
      exposureHours: Math.round(shown * by.around(9, 0.5) * 10) / 10,
      disclosures: shown,
      lags,
    };
    return { day: new Date(at).toISOString().slice(0, 10), at: at + day, figures: JSON.stringify(figures) };
  });
}
