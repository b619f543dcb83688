import { join } from 'node:path';
import { DatabaseSync, type SQLInputValue, StatementSync } from 'node:sqlite';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Bringing } from '../server/brought/bringing.ts';
import { lookAtEnvelope } from '../server/brought/envelopes.ts';
import { openDatabase } from '../server/database.ts';
import { type BroughtRow, noteMaybeShown } from '../server/store/brought.ts';
import { bringing, useBrought } from './brought-parts.ts';
import { scratch } from './scratch.ts';
import { day, type GivenServer, newKey } from './server-parts.ts';

/* Very many keys that others had: whatever is done with all of them keeps no Mac waiting, and reads no table from end to end. */

const brought = useBrought();
const { bring, row } = brought;
let server: GivenServer;
const open = async (...wish: Parameters<typeof brought.open>): Promise<void> => {
  server = await brought.open(...wish);
};

const asked = new Set<string>();
/** The most rows with an envelope's bytes that one question was answered with. */
let mostBytes = 0;
const { all, run } = StatementSync.prototype;
beforeAll(() => {
  StatementSync.prototype.all = function (this: StatementSync, ...values: SQLInputValue[]) {
    asked.add(this.sourceSQL);
    const answer = Reflect.apply(all, this, values) as Record<string, unknown>[];
    mostBytes = Math.max(mostBytes, answer.filter(({ bytes }) => bytes instanceof Uint8Array).length);
    return answer;
  } as typeof all;
  StatementSync.prototype.run = function (this: StatementSync, ...values: SQLInputValue[]) {
    asked.add(this.sourceSQL);
    return Reflect.apply(run, this, values);
  } as typeof run;
});
afterAll(() => {
  Object.assign(StatementSync.prototype, { all, run });
});

const growing = ['import_line', 'brought_key', 'brought_block', 'key_block', 'key_record', 'envelope', 'audit', 'proof_order', 'debt', 'grant_given'];

/** How SQLite would look up what was asked since. */
function plansOf(of: RegExp): string[] {
  const database = new DatabaseSync(server.file, { readOnly: true });
  const plans: string[] = [];
  for (const text of asked) {
    if (!/^\s*(select|update|delete|insert)\b/i.test(text) || !of.test(text)) continue;
    const plan = database.prepare(`explain query plan ${text}`);
    const rows = Reflect.apply(all, plan, Array(text.split('?').length - 1).fill(null)) as { detail: string }[];
    for (const { detail } of rows) plans.push(`${detail}: ${text}`);
  }
  database.close();
  return plans;
}

/** What was asked since, of which SQLite says that it reads a whole table. */
const wholeTables = (of: RegExp = /./): string[] =>
  plansOf(of).filter((plan) => {
    // The newest end of the chain; and what this file itself asks.
    if (plan.startsWith('SCAN audit:') && (/ order by "seq" desc limit \?$/.test(plan) || plan.includes('count(*)'))) return false;
    const [, table = '', index] = /^SCAN (\w+)(?: USING (?:COVERING )?INDEX (\w+))?/.exec(plan) ?? [];
    return (growing.includes(table) && index === undefined) || /AUTOMATIC/.test(plan);
  });

/** How many keys each act took away. */
async function actsOf(work: () => Promise<unknown>): Promise<number[]> {
  const { store } = server;
  const { write } = store;
  const gone = async () =>
    (
      await store.db
        .selectFrom('audit')
        .select((e) => e.fn.countAll<number>().as('count'))
        .where('act', '=', 'brought.withdrawn')
        .executeTakeFirstOrThrow()
    ).count;
  const sizes: number[] = [];
  store.write = async (act) => {
    const before = await gone();
    try {
      return (await write.call(store, act)) as never;
    } finally {
      sizes.push((await gone()) - before);
    }
  };
  try {
    await work();
  } finally {
    store.write = write;
  }
  return sizes;
}

async function bringMany(count: number, more: Partial<Bringing>, name = 'C02MANY'): Promise<string[]> {
  const ids: string[] = [];
  for (let from = 0; from < count; from += 200) {
    const some = Array.from({ length: Math.min(200, count - from) }, (_, at) => bringing(`${name}${String(from + at).padStart(4, '0')}`, newKey(), more));
    for (const { keyId } of await server.custody.bring(some)) if (keyId !== null) ids.push(keyId);
  }
  return ids;
}

async function newRun(id: string, keys: readonly string[] = []): Promise<string> {
  const at = server.clock.now();
  const of = { id, source: 'csv', name: 'all.csv', digest: null, mapping: '{}', actor: 'ada', reason: 'x', started_at: at, ended_at: at, withdrawn_at: null };
  await server.store.write(async (tx) => {
    await tx.insertInto('import_run').values(of).execute();
    for (const [line, key_id] of keys.entries())
      await tx.insertInto('import_line').values({ run_id: id, line, serial: null, fate: 'known', because: 'x', key_id }).execute();
  });
  return id;
}

const by = { actor: 'ada', reason: 'an old list' };

describe('an import of very many lines', () => {
  test('is taken back in acts of 200 keys at most; what would go is said without any act; what waited behind a key is asked about all the same', async () => {
    await open();
    const mac = await server.newMac({ serial: 'C02MANY0210' });
    await mac.checkIn();
    const runId = await newRun('run-1');
    const ids = await bringMany(230, { runId });
    const behind = await bring(mac.serial, newKey(), { source: 'mdm-cms', trust: 'mdm' });
    expect(behind.fate).toBe('waiting');
    await newRun('run-2', ids.slice(5, 8));

    const would: unknown[] = [];
    expect(await actsOf(async () => would.push(await server.custody.withdrawRun({ ...by, runId, dryRun: true })))).toEqual([]);
    expect(would).toEqual([{ withdrawn: 227, kept: 3 }]);
    mostBytes = 0;
    const sizes = await actsOf(async () => would.push(await server.custody.withdrawRun({ ...by, runId })));
    expect(would[1]).toEqual({ withdrawn: 227, kept: 3 });
    expect(Math.max(...sizes)).toBeLessThanOrEqual(200);
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(227);
    expect(mostBytes).toBeLessThanOrEqual(200);
    expect((await row(behind.keyId)).state).toBe('offered');
    expect((await server.acts('import.withdrawn')).map(({ details }) => details)).toEqual([{ runId, reason: by.reason, withdrawn: 227, kept: 3 }]);
    // Nobody goes on with the run from the first of these acts on.
    const left = await server.store.db.selectFrom('import_run').select('withdrawn_at').where('id', '=', runId).executeTakeFirstOrThrow();
    expect(left.withdrawn_at).not.toBeNull();
  });

  test('and no question of it, or of two keys that turn out to be one, reads a whole table', async () => {
    await open();
    const mac = await server.newMac();
    await mac.checkIn();
    const runId = await newRun('run-1');
    await bring(mac.serial, newKey(), { runId });
    await bring('C02WAITS0001', newKey(), { runId });
    const key = newKey();
    await bring('C02WAITS0002', key, { runId });
    const bytes = mac.seal(key);
    const looked = lookAtEnvelope(bytes, server.escrow.certificates);
    if (looked.kind !== 'ours') throw new Error('not ours');
    server.escrow.answers = false;
    const sealed = await bring('C02WAITS0002', null, { source: 'nanomdm', trust: 'mdm', envelope: { bytes, ...looked } });
    server.escrow.answers = true;
    asked.clear();
    await server.custody.openLater();
    expect((await row(sealed.keyId)).state).toBe('withdrawn');
    expect(wholeTables(/import_line/)).toEqual([]);
    asked.clear();
    await server.custody.withdrawRun({ ...by, runId, dryRun: true });
    await server.custody.withdrawRun({ ...by, runId });
    expect(asked.size).toBeGreaterThan(15);
    expect(wholeTables()).toEqual([]);
  });
});

describe('very many keys for which nobody answers', () => {
  const strangers = { source: 'crypt', trust: 'header', actor: 'crypt' } as const;

  test('are cleared in acts of 200 at most, and go by themselves 200 at a time, their ids looked up in an index, and the bytes of one serial number in memory', async () => {
    await open();
    // Each serial number has another, from somebody who answers for it: that one stays.
    const ids = await bringMany(230, strangers);
    await bringMany(230, {});
    mostBytes = 0;
    asked.clear();
    const said: unknown[] = [];
    const clearing = { ...by, serial: null, trust: null };
    expect(await actsOf(async () => said.push(await server.custody.clearStrangers({ ...clearing, dryRun: true })))).toEqual([]);
    expect(said).toEqual([{ withdrawn: 230, kept: 0 }]);
    expect(wholeTables()).toEqual([]);
    server.wall.pass(181 * day);
    asked.clear();
    expect(Math.max(...(await actsOf(() => server.custody.sweepTimers())))).toBe(200);
    expect(wholeTables(/brought_key|brought_block|import_line|key_block/)).toEqual([]);
    expect(plansOf(/"counts_from" <=/)).toEqual([expect.stringMatching(/^SEARCH brought_key USING INDEX brought_key_strangers /)]);
    const sizes = await actsOf(async () => said.push(await server.custody.clearStrangers(clearing)));
    expect(Math.max(...sizes)).toBeLessThanOrEqual(200);
    expect(said[1]).toEqual({ withdrawn: 30, kept: 0 });
    expect(mostBytes).toBeLessThanOrEqual(200);
    const left = await server.store.db.selectFrom('brought_key').select('id').where('id', 'in', ids).where('state', '<>', 'withdrawn').execute();
    expect(left).toEqual([]);
  });
});

test('keys that came sealed are looked up in an index of those, and opened with the bytes of one at a time in memory', async () => {
  await open();
  const mac = await server.newMac();
  server.escrow.answers = false;
  for (const serial of ['C02SEALED001', 'C02SEALED002', 'C02SEALED003']) {
    const bytes = mac.seal(newKey());
    const looked = lookAtEnvelope(bytes, server.escrow.certificates);
    if (looked.kind === 'ours') await bring(serial, null, { source: 'nanomdm', trust: 'mdm', envelope: { bytes, ...looked } });
  }
  server.escrow.answers = true;
  mostBytes = 0;
  asked.clear();
  expect(await server.custody.openLater()).toEqual({ opened: 3, unreadable: 0, waiting: 0 });
  expect(mostBytes).toBe(1);
  const plans = plansOf(/brought_key.*fingerprint.* is null/);
  expect(plans).toEqual([expect.stringMatching(/USING (COVERING )?INDEX brought_key_unopened/)]);
});

describe('a key that was shown before its Mac was here', () => {
  test('is looked for in the audit by an index of such views, and not at all where only a restore says that it may have been shown', async () => {
    await open();
    const [shown, maybe] = ['C02SHOWN0001', 'C02MAYBE0001'];
    await bring(shown, newKey());
    await bring(maybe, newKey());
    await server.custody.discloseBrought({ serial: shown, actor: 'ada', reason: 'locked out' });
    await server.store.write((tx) => noteMaybeShown(tx, server.clock.now()));
    for (const [serial, actor] of [
      [shown, 'ada'],
      [maybe, 'server'],
    ] as const) {
      const mac = await server.newMac({ serial });
      asked.clear();
      expect((await mac.checkIn()).debts.map(({ because }) => because)).toEqual(['disclosed']);
      expect(wholeTables(/from "audit"/)).toEqual([]);
      expect([...asked].some((text) => /from "audit" where .*like/.test(text))).toBe(serial === shown);
      expect((await server.custody.macReport(mac.id)).disclosures).toMatchObject([{ actor, shown: true }]);
    }
  });
});

test('a database of before the sealed blocks were remembered is read 200 envelopes at a time', async () => {
  const file = join(scratch('upgraded'), 'server.sqlite');
  const old = await openDatabase(file, { schema: 3 });
  await open();
  await bring('C02SEALED001', newKey());
  const [like] = await brought.rows('C02SEALED001');
  const then = Object.fromEntries(Object.entries(like ?? {}).filter(([name]) => columnsOf3.includes(name))) as unknown as BroughtRow;
  await old.write(async (tx) => {
    for (let at = 0; at < 230; at += 1)
      await tx
        .insertInto('brought_key')
        .values({ ...then, id: `key-${at}`, serial: `C02OLD${at}`, fingerprint: null })
        .execute();
  });
  await old.close();
  mostBytes = 0;
  const store = await openDatabase(file);
  expect(mostBytes).toBeGreaterThan(0);
  expect(mostBytes).toBeLessThanOrEqual(200);
  // All have the same block here: the first to bring it has it.
  expect(await store.db.selectFrom('brought_block').select('serial').execute()).toEqual([{ serial: 'C02OLD0' }]);
  await store.close();
});

const columnsOf3 = ['id', 'serial', 'bytes', 'envelope_id', 'recipient', 'fingerprint', 'row_mac', 'source', 'trust', 'run_id', 'made_at', 'brought_at'].concat(
  ['brought_by', 'state', 'state_at', 'state_because', 'mac_id', 'record_id', 'disclosed_at'],
);
