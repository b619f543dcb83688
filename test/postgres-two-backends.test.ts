import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { postgres } from './new-database.ts';
import { addressAt, asOwner, makeDatabase } from './postgres-databases.ts';
import { scratch } from './scratch.ts';
import { runTwo, type TwoSeen } from './two-backends/course.ts';
import { doneTwice, twice, wrongHearing } from './two-backends/twice.ts';

/*
 * The quick form of `npm run two-backends`: two real backends on one database behind a plain TCP balancer; one is killed, then the
 * other, under the load of Macs and of an admin.
 */

const name = `two_${process.pid}`;
const file = join(scratch('two'), 'kept.sqlite');
let seen: TwoSeen;

beforeAll(async () => {
  await makeDatabase(postgres ?? '', name);
  seen = await runTwo({
    address: addressAt(postgres ?? '', name),
    kills: 2,
    clients: 5,
    answers: 50,
    mails: 6,
    seed: 11,
    look: (copy) => copyFileSync(copy, file),
  });
});
afterAll(async () => {
  await asOwner(postgres ?? '', (client) => client.query(`drop database if exists ${name} with (force)`));
});

describe('two backends behind a balancer, of which one and then the other is killed under load', () => {
  test('lose nothing that was acknowledged, do nothing twice, leave nothing by halves, and keep one unbroken audit', () => {
    expect(seen.wrong).toEqual([]);
    expect(seen.kills).toBe(2);
    expect(seen.receipts).toBeGreaterThan(20);
    expect(seen.words).toBeGreaterThan(40);
    expect(seen.orders).toBeGreaterThan(0);
    expect(seen.auditRows).toBeGreaterThan(seen.receipts);
  });

  test('each key that a Mac has a receipt for opens to the key that it sent', () => {
    expect(seen.keysOpened).toBeGreaterThan(15);
  });

  test('go on while one is away, and whoever was cut off is answered by the other', () => {
    expect(seen.whileAway).toBeGreaterThan(10);
    for (const connections of seen.taken) expect(connections).toBeGreaterThan(20);
  });

  test('send each letter once, although both look for letters at once', () => {
    expect(seen.letters).toEqual(seen.letters.map(() => 1));
    expect(seen.letters).toHaveLength(6);
  });
});

describe('what looks for what was done twice finds', () => {
  const again = (act: string): string => `insert into audit (seq, at, actor, act, mac_id, details, previous, hash)
    select seq + 1000000, at, actor, act, mac_id, details, previous, hash || '2' from audit where act = '${act}' limit 1`;
  const columns = 'mac_id, volume, enrolment_id, because, boot, escrow_payload, recipient';
  const done = "(select min(id) from rotation where state = 'done')";
  const bent: Record<keyof typeof twice, readonly string[]> = {
    'something owed was paid by two rotations': [
      `insert into rotation (id, ${columns}, state, begun_at) select 'zzz', ${columns}, 'done', begun_at + 1 from rotation where id = ${done}`,
      `insert into audit (seq, at, actor, act, mac_id, details, previous, hash)
        select seq + 1000000, at, actor, act, mac_id, json_set(details, '$.rotationId', 'zzz'), previous, hash || '2' from audit
        where act = 'rotation.begun' and json_extract(details, '$.rotationId') = ${done}`,
    ],
    'a rotation was begun for nothing that was owed': ['update debt set closed_at = 1'],
    'two rotations of one Mac were open at once': [
      `insert into rotation (id, ${columns}, state, begun_at) select 'zzz', ${columns}, 'done', begun_at - 1 from rotation where id = ${done}`,
    ],
    'two orders for one Mac waited at once': [
      `insert into rotation_order (id, mac_id, reason, actor, created_at, expires_at, without_login, override_hold, state)
        select 'another', mac_id, reason, actor, created_at - 1, expires_at, without_login, override_hold, 'done' from rotation_order limit 1`,
    ],
    'a rotation was begun twice': [again('rotation.begun')],
    'a rotation ended twice': [again('rotation.ended')],
    'something owed was opened twice': [again('debt.opened')],
    'something owed was closed twice': [again('debt.closed')],
    'an order was placed twice': [again('rotation.ordered')],
    'a key was stored twice': [again('key.stored')],
  };

  test.each(Object.keys(twice))('%s', (question) => {
    const copy = join(scratch('bent'), 'copy.sqlite');
    copyFileSync(file, copy);
    const database = new DatabaseSync(copy, { enableForeignKeyConstraints: false });
    for (const statement of bent[question] ?? []) database.exec(statement);
    const found = doneTwice(database);
    database.close();
    expect(found.filter((line) => line.startsWith(`${question}: `))).not.toEqual([]);
  });

  test('a record that nobody heard, and one that came in two deliveries', () => {
    const records = new Map([
      [1, new Set(['a'])],
      [3, new Set(['a', 'b'])],
    ]);
    expect(wrongHearing({ records, others: ['c'] }, 3)).toEqual([
      'delivery c came with other words',
      'record 2 was in 0 deliveries',
      'record 3 was in 2 deliveries',
    ]);
  });
});
