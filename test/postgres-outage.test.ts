import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { pem } from '../server/certificates.ts';
import { folderPaths } from '../server/data-folder.ts';
import { openDatabase } from '../server/database.ts';
import { silentLog } from '../server/log.ts';
import { readiness } from '../server/readiness.ts';
import { type Serving, serve } from '../server/serve.ts';
import { checkInBody, delivery as deliveryOf, deviceCa, deviceIdentity, enrol, type GivenServer, newMac, type TestMac } from './given-server.ts';
import { makeDataFolder, passphrase } from './made-backend.ts';
import { freePort } from './ports.ts';
import { addressAt, asOwner } from './postgres-databases.ts';
import { startPostgres } from './postgres-server.mjs';
import { scratch } from './scratch.ts';
import { type Client, clientOf, type Identity } from './tls-client.ts';

// A backend, asked by Macs, while its PostgreSQL server is stopped and started again.

let server: ReturnType<typeof startPostgres>;
let serving: Serving;
let client: Client;
let dir: string;
let mac: TestMac;
let identity: Identity;

/** How long an act waits for a database that is away. */
async function start(busyMilliseconds: number): Promise<void> {
  await serving?.stop();
  serving = await serve({ dir, passphrase, log: silentLog, busyMilliseconds });
}
const delivery = () => deliveryOf({ serving } as GivenServer, mac, { source: 'agent' });
const put = ({ id, request }: ReturnType<typeof delivery>) => client.ask(`/v1/keys/${id}`, { method: 'PUT', identity, body: request });
const database = async () => (await readiness(serving.backend, [])).find(({ name }) => name === 'database');
const stored = async (id: string) => (await serving.backend.store.db.selectFrom('envelope').select('id').where('id', '=', id).execute()).length;

beforeAll(async () => {
  const dbPort = await freePort();
  server = startPostgres({ port: String(dbPort) });
  const address = addressAt(server.socket, 'outage', 'pool=4', dbPort);
  await asOwner(server.socket, (owner) => owner.query('create database outage'), 'postgres', dbPort);
  dir = join(scratch('outage'), 'data');
  const port = await freePort();
  const caFile = join(dirname(dir), 'device-ca.pem');
  writeFileSync(caFile, pem('CERTIFICATE', deviceCa.certificateDer));
  await makeDataFolder(dir, port, {
    deviceCaFiles: [caFile],
    async putDatabase(file) {
      await (await openDatabase(address)).close();
      writeFileSync(folderPaths(dirname(file)).databaseUrl, address, { mode: 0o600 });
    },
  });
  const paths = folderPaths(dir);
  const settings = JSON.parse(readFileSync(paths.settings, 'utf8'));
  writeFileSync(paths.settings, JSON.stringify({ ...settings, listen: { port, host: '127.0.0.1' } }));
  client = clientOf(port, readFileSync(paths.tlsCa.certificate, 'utf8'));
  await start(60_000);
  mac = newMac();
  identity = (
    await enrol({ serving, client, url: `https://127.0.0.1:${port}` } as GivenServer, mac, {
      profile: deviceIdentity({ CN: mac.serial, serialNumber: mac.serial }),
    })
  ).identity;
  await client.ask('/v1/check-in', { identity, body: checkInBody(mac) });
});
afterAll(async () => {
  await serving?.stop();
  server?.end();
});

test.each(['fast', 'immediate'] as const)(
  'what comes while the server is stopped (%s) is stored once it is there again, without a new start of the backend',
  async (how) => {
    expect(await database()).toMatchObject({ ok: true });
    server.stop(how);
    const waiting = [delivery(), delivery()];
    const answers = Promise.all(waiting.map(put));
    // Long enough that they find nobody, wherever it is; one that comes later is stored the same.
    await sleep(500);
    server.start();
    expect((await answers).map(({ status }) => status)).toEqual([201, 201]);
    for (const { id } of waiting) expect(await stored(id)).toBe(1);
    expect(await database()).toMatchObject({ ok: true });
  },
);

test('one that stays away: 503 with its reason and when to come again, not ready in words, nothing of it stored; and all goes on by itself', async () => {
  await start(300);
  const first = delivery();
  expect((await put(first)).status).toBe(201);
  server.stop();
  const refused = delivery();
  const answer = await put(refused);
  expect([answer.status, answer.body.code, answer.body.detail]).toEqual([
    503,
    'STORE_FAILED',
    expect.stringMatching(/^postgresql:\/\/\/outage: it cannot be reached/),
  ]);
  expect(answer.body.fix).toMatch(/nothing is lost, the Mac repeats it/);
  expect(await database()).toEqual({ name: 'database', ok: false, says: 'it refuses' });
  server.start();
  expect(await database()).toMatchObject({ ok: true });
  expect([(await put(first)).status, (await put(refused)).status, await stored(refused.id)]).toEqual([200, 201, 1]);
});
