import { afterEach, expect, test } from '@jest/globals';
import { sql } from 'kysely';
import { afterAct } from '../server/after-act.ts';
import { raise } from '../server/alarms.ts';
import { audit } from '../server/audit.ts';
import { postgres } from './new-database.ts';
import { asOwner } from './postgres-databases.ts';
import { refuseWrites } from './refused-writes.ts';
import { type GivenServer, givenServer } from './server-parts.ts';

// What an act does beside the database: once, when it is stored; not at all where it is taken back.

const opened: GivenServer[] = [];
afterEach(async () => {
  for (const one of opened.splice(0)) await one.close();
});
async function given(): Promise<GivenServer> {
  const server = await givenServer();
  opened.push(server);
  return server;
}
const entry = { at: 1, actor: 'a test', act: 'test.done', details: {} };

test('is done when the act is stored, and not before', async () => {
  const { store } = await given();
  const done: string[] = [];
  const value = await store.write(async (tx) => {
    await audit(tx, entry);
    afterAct(tx, () => void done.push('one'));
    afterAct(tx, () => void done.push('another'));
    expect(done).toEqual([]);
    return 7;
  });
  expect([value, done]).toEqual([7, ['one', 'another']]);
});

test('is not done for an act that fails, nor for one whose commit is refused', async () => {
  const { store, clock } = await given();
  const done: string[] = [];
  const log = { info: () => undefined, warn: (event: string) => void done.push(event), error: () => undefined };
  const failing = store.write(async (tx) => {
    await raise({ log }, tx, await clock.persist(tx), null, 'BACKEND_BUSY', 'in a test');
    throw new Error('on purpose');
  });
  await expect(failing).rejects.toThrow('on purpose');
  const again = await refuseWrites(store, 'refused', 'insert on memory', "new.name = 'x'");
  const refused = store.write(async (tx) => {
    await raise({ log }, tx, await clock.persist(tx), null, 'BACKEND_BUSY', 'in a test');
    await tx.insertInto('memory').values({ name: 'x', value: 'x' }).execute();
  });
  await expect(refused).rejects.toThrow();
  await again();
  expect(done).toEqual([]);
  await store.write(async (tx) => raise({ log }, tx, await clock.persist(tx), null, 'BACKEND_BUSY', 'in a test'));
  expect(done).toEqual(['alarm-raised']);
});

test('is done once for an act that was done again because its connection was lost', async () => {
  const { store } = await given();
  const done: number[] = [];
  let tries = 0;
  await store.write(async (tx) => {
    tries += 1;
    const mine = tries;
    afterAct(tx, () => void done.push(mine));
    await audit(tx, entry);
    if (postgres === null || tries > 1) return;
    const { rows } = await sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(tx);
    await asOwner(postgres, (client) => client.query('select pg_terminate_backend($1, 5000)', [rows[0]?.pid]));
    await audit(tx, entry);
  });
  expect(done).toEqual([postgres === null ? 1 : 2]);
});
