import { join } from 'node:path';
import { StatementSync } from 'node:sqlite';
import { afterAll, expect, test } from '@jest/globals';
import { createCustody } from '../server/custody.ts';
import { openDatabase } from '../server/database.ts';
import { openLog } from '../server/log.ts';
import { makeNonce } from '../server/nonce.ts';
import { writeMemory } from '../server/store/upkeep.ts';
import { scratch } from './scratch.ts';
import { givenServer, secrets } from './server-parts.ts';
import { statementsOf } from './statements.ts';

/* What was made cheap in a request is as it was before, but for what it costs. */

/** What winston writes while this runs; where `work` has returned it is there. */
async function logged(work: (log: Awaited<ReturnType<typeof openLog>>) => void): Promise<{ lines: string[]; atOnce: number }> {
  const log = await openLog('info');
  const lines: string[] = [];
  const { _stderr: stderr } = globalThis.console as unknown as { _stderr: NodeJS.WriteStream };
  const { write } = stderr;
  stderr.write = (chunk: string | Uint8Array) => lines.push(String(chunk)) > 0;
  try {
    work(log);
    return { lines, atOnce: lines.length };
  } finally {
    stderr.write = write;
  }
}

test('each event is one line of JSON with its time, written before whoever tells it goes on', async () => {
  const before = Date.now();
  const { lines, atOnce } = await logged((log) => {
    log.info('request', { route: '/v1/check-in', status: 200, macId: undefined, requestId: 'a\nb "c"' });
    log.warn('request-refused', { code: 'NOT_FOUND', detail: null });
    log.error('store-failed');
  });
  expect(atOnce).toBe(3);
  expect(lines.map((line) => line.indexOf('\n'))).toEqual(lines.map((line) => line.length - 1));
  const said = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  for (const { timestamp } of said) {
    expect(timestamp).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    expect(Date.parse(String(timestamp))).toBeGreaterThanOrEqual(before);
  }
  expect(said.map(({ timestamp: _, ...rest }) => rest)).toEqual([
    { level: 'info', message: 'request', event: 'request', route: '/v1/check-in', status: 200, requestId: 'a\nb "c"' },
    { level: 'warn', message: 'request-refused', event: 'request-refused', code: 'NOT_FOUND', detail: null },
    { level: 'error', message: 'store-failed', event: 'store-failed' },
  ]);
});

test('no nonce is like another, however many are made', () => {
  const nonces = Array.from({ length: 1000 }, () =>
    Buffer.from(makeNonce(secrets.nonce, 'grant', 0), 'base64url')
      .subarray(0, 32)
      .toString('hex'),
  );
  expect(new Set(nonces).size).toBe(1000);
  // Nor does one begin where another ends: each has its own bytes.
  const halves = nonces.flatMap((nonce) => [nonce.slice(0, 32), nonce.slice(32)]);
  expect(new Set(halves).size).toBe(2000);
});

test('the proofs of the fleet are looked through once in ten seconds, however many keys come, and each takes its hour', async () => {
  const server = await givenServer({ grantsPerHour: 2 });
  const looks = async (work: () => Promise<unknown>) => (await statementsOf(work)).filter((text) => text.includes('min("not_before")')).length;
  const hours: number[] = [];
  const deliverOne = async () => {
    const mac = await server.newMac();
    await mac.escrowed();
    const [order] = (await server.custody.macReport(mac.id)).proofOrders;
    hours.push((Date.parse(order?.notBefore ?? '') - server.clock.now()) / 3_600_000);
  };
  const many = async () => {
    for (let n = 0; n < 4; n += 1) await deliverOne();
  };
  expect(await looks(many)).toBe(1);
  server.wall.pass(10_000);
  expect(await looks(many)).toBe(1);
  expect(hours.map((ahead) => Math.round(ahead) + 0)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  await server.close();
});

test('of several backends each counts what the others have put into an hour, also in those ten seconds', async () => {
  const server = await givenServer({ grantsPerHour: 4 });
  const alone = async () => true;
  const backends = Array.from({ length: 3 }, () =>
    createCustody({ store: { ...server.store, alone }, clock: server.clock, escrowKeys: server.escrow, secrets, settings: server.settings }),
  );
  const hours: number[] = [];
  for (let n = 0; n < 9; n += 1) {
    const mac = await server.newMac();
    await Object.assign(mac, { server: { ...server, custody: backends[n % 3] } }).escrowed();
    const [order] = (await server.custody.macReport(mac.id)).proofOrders;
    hours.push(Math.round((Date.parse(order?.notBefore ?? '') - server.clock.now()) / 3_600_000) + 0);
  }
  expect(hours).toEqual([0, 0, 1, 1, 2, 2, 3, 3, 4]);
  await server.close();
});

const store = await openDatabase(join(scratch('request-costs'), 'server.sqlite'));
afterAll(() => store.close());

/** Commits of SQLite while `work` is done, at its own door. */
async function commitsOf(work: () => Promise<unknown>): Promise<number> {
  let commits = 0;
  const { all, run } = StatementSync.prototype;
  const counting = <Asked extends unknown[], Answer>(ask: (...asked: Asked) => Answer) =>
    function counted(this: StatementSync, ...asked: Asked): Answer {
      if (this.sourceSQL === 'commit') commits += 1;
      return ask.apply(this, asked);
    };
  Object.assign(StatementSync.prototype, { all: counting(all), run: counting(run) });
  try {
    await work();
  } finally {
    Object.assign(StatementSync.prototype, { all, run });
  }
  return commits;
}
const put = (name: string) => store.write((tx) => writeMemory(tx, name, 'x'));

test('where the process has other work, those who come meanwhile share a commit; whoever writes alone has one of his own', async () => {
  const busy = await commitsOf(async () => {
    const ends: Promise<unknown>[] = [put('a'), put('b'), put('c')];
    for (let n = 0; n < 60; n += 1) {
      // What never lets the process rest, such as handshakes.
      const until = performance.now() + 1;
      while (performance.now() < until);
      ends.push(put(`n${n}`));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await Promise.all(ends);
  });
  expect(busy).toBeLessThan(40);
  const alone = await commitsOf(async () => {
    for (let n = 0; n < 5; n += 1) await put(`alone${n}`);
  });
  expect(alone).toBe(5);
});
