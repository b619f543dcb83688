import { createHmac, generateKeyPairSync, timingSafeEqual } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { raise } from '../server/alarms.ts';
import { audit, hashOf } from '../server/audit.ts';
import { checkpointForm } from '../server/auditing/checkpoint.ts';
import { makeCheckpoint } from '../server/auditing/checkpoints.ts';
import { recordForm, rowOfRecord } from '../server/auditing/export.ts';
import { type WebhookSettings, webhookSettings } from '../server/auditing/webhook-settings.ts';
import { createWebhook, tellOfWebhooks, type Webhook, type WebhookParts } from '../server/auditing/webhooks.ts';
import { type Backend, openBackend } from '../server/backend.ts';
import { issueServerCertificate, makeCa, pem } from '../server/certificates.ts';
import { checkSettings } from '../server/settings.ts';
import { makeDataFolder } from './made-backend.ts';
import { scratch } from './scratch.ts';

/* Records on their way to another system: over real TLS, to a receiver that verifies what comes, and fails in every way. */

const folder = scratch('webhooks');
const dir = join(folder, 'data');
const secret = 'a secret of more than thirty-two characters';
const minute = 60_000;
const day = 24 * 60 * minute;
let now = Date.now() + minute;
let backend: Backend;

interface Delivery {
  hook: string;
  deliveryId: string;
  afterSeq: number;
  toSeq: number;
  records: { seq: number; act: string; details: Record<string, unknown> }[];
  checkpoints: unknown[];
}
/** What comes next to whoever asks: a status, or no answer at all. */
const faults: (number | 'cut' | 'hang')[] = [];
let taken: Delivery[] = [];
let tries: Delivery[] = [];
let receiver: Server;
let url = '';
let limit = new AbortController();

/** As somebody else would write it, from the document. */
function isSigned(header: string, body: Buffer): boolean {
  const [, seconds = '', given = ''] = /^v1,t=(\d+),([0-9a-f]{64})$/.exec(header) ?? [];
  const wanted = createHmac('sha256', secret)
    .update(Buffer.concat([Buffer.from(`${seconds}.`), body]))
    .digest();
  return timingSafeEqual(wanted, Buffer.from(given.padEnd(64, '0'), 'hex')) && Math.abs(Number(seconds) * 1000 - now) < minute;
}

const ca = makeCa({ commonName: 'CA of a receiver', years: 2, at: new Date(Date.now() - 3_600_000) });
async function receive(): Promise<void> {
  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const publicKeyDer = pair.publicKey.export({ type: 'spki', format: 'der' });
  const der = issueServerCertificate({
    ca: ca.certificateDer,
    caKey: ca.privateKey,
    publicKeyDer,
    names: ['127.0.0.1'],
    at: new Date(Date.now() - 3_600_000),
    days: 30,
  });
  receiver = createServer({ key: pair.privateKey.export({ type: 'pkcs8', format: 'pem' }), cert: pem('CERTIFICATE', der) }, (request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = Buffer.concat(chunks);
      const delivery = JSON.parse(body.toString('utf8')) as Delivery;
      const fault = faults.shift();
      tries.push(delivery);
      if (!isSigned(String(request.headers['x-sparekey-signature']), body) || request.headers['x-sparekey-delivery'] !== delivery.deliveryId)
        return void response.writeHead(401).end();
      if (fault === 'cut') return void request.socket.destroy();
      if (fault === 'hang') return limit.abort(new DOMException('over', 'TimeoutError'));
      if (typeof fault === 'number') return void response.writeHead(fault).end();
      taken.push(delivery);
      response.writeHead(204).end();
    });
  });
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
  url = `https://127.0.0.1:${(receiver.address() as AddressInfo).port}/hooks/sparekey?from=a`;
}

const [secretFile, caFile] = [join(folder, 'secret'), join(folder, 'ca.pem')];
beforeAll(async () => {
  writeFileSync(secretFile, `${secret}\n`, { mode: 0o600 });
  writeFileSync(caFile, pem('CERTIFICATE', ca.certificateDer));
  await makeDataFolder(dir, 8443);
  backend = await openBackend({ dir, passphrase: null, wallNow: () => now });
  await receive();
});
afterAll(async () => {
  receiver.closeAllConnections();
  await new Promise((resolve) => receiver.close(resolve));
  await backend.close();
});
beforeEach(() => {
  taken = [];
  tries = [];
  faults.length = 0;
});

const settingsFor = (name: string, more: Partial<WebhookSettings> = {}): WebhookSettings =>
  webhookSettings.parse({ name, url, secretFile, trustedCertificatesFile: caFile, begins: 'at-the-first', ...more });
const hookFor = (name: string, more: Partial<WebhookSettings> = {}, parts: Partial<WebhookParts> = {}): Webhook =>
  createWebhook(settingsFor(name, more), { backend, chance: () => 1, ...parts });
const record = (entries: number, act = 'test.done') =>
  backend.store.write(async (tx) => {
    for (let n = 0; n < entries; n += 1) await audit(tx, { at: await backend.clock.persist(tx), actor: 'ada', act, details: { n } });
  });
const seqs = (deliveries: readonly Delivery[] = taken) => deliveries.flatMap(({ records }) => records.map(({ seq }) => seq));
const end = async () =>
  Number(
    (
      await backend.store.db
        .selectFrom('audit')
        .select((e) => e.fn.max('seq').as('seq'))
        .executeTakeFirst()
    )?.seq,
  );
const upTo = (last: number, from = 1) => Array.from({ length: last - from + 1 }, (_, index) => from + index);
/** Turn by turn, as time goes on. */
async function until(hook: Webhook, most = 30): Promise<void> {
  for (let turn = 0; turn < most; turn += 1) {
    if (await hook.turn()) return;
    now += 2 * 60 * minute;
  }
  throw new Error('it is not done');
}

test('every record comes once, in order, by a hundred at most, with what its receiver checks by itself', async () => {
  await record(250);
  await makeCheckpoint(backend);
  const hook = hookFor('all');
  expect(await hook.turn()).toBe(true);
  expect(seqs()).toEqual(upTo(await end()));
  expect(Math.max(...taken.map(({ records }) => records.length))).toBe(100);
  for (const [index, { afterSeq, hook: name }] of taken.entries()) expect([afterSeq, name]).toEqual([taken[index - 1]?.toSeq ?? 0, 'all']);
  for (const each of taken.flatMap(({ records }) => records)) {
    const row = rowOfRecord(recordForm.parse(each));
    expect(hashOf(row)).toBe(row.hash);
  }
  expect(taken.flatMap(({ checkpoints }) => checkpoints).map((one) => checkpointForm.parse(one).number)).toEqual([1]);
  expect(await hook.turn()).toBe(true);
  expect(taken).toHaveLength(3);
  hook.close();
});

test('a receiver that refuses, breaks off, is silent and asks for patience gets the same again, under the same id, and nothing before it', async () => {
  const hook = hookFor('faulty', {}, { outbound: { totalSeconds: 5 } });
  await record(120);
  const original = AbortSignal.timeout;
  limit = new AbortController();
  faults.push(500, 'cut', 429, 503, 404, 'hang');
  for (let turn = 0; turn < 6; turn += 1) {
    // The time for an answer is over when the question has come that gets none.
    if (faults[0] === 'hang') AbortSignal.timeout = () => limit.signal;
    expect(await hook.turn()).toBe(false);
    AbortSignal.timeout = original;
    // Before it is time nothing is sent.
    const before = tries.length;
    expect(await hook.turn()).toBe(false);
    expect(tries).toHaveLength(before);
    now += 2 * 60 * minute;
  }
  await until(hook);
  expect(new Set(tries.slice(0, 7).map(({ deliveryId, toSeq }) => `${deliveryId} ${toSeq}`)).size).toBe(1);
  expect(seqs()).toEqual(upTo(await end()));
  hook.close();
});

test('two backends that send at once send the same under the same id: no record is in two deliveries', async () => {
  await record(230);
  const [one, other] = [hookFor('of-two'), hookFor('of-two')];
  await Promise.all([one.turn(), other.turn()]);
  await until(one);
  const idsOf = new Map<number, Set<string>>();
  for (const { deliveryId, records } of tries) for (const { seq } of records) idsOf.set(seq, (idsOf.get(seq) ?? new Set()).add(deliveryId));
  expect([...idsOf.keys()].sort((a, b) => a - b)).toEqual(upTo(await end()));
  expect([...idsOf.values()].filter((ids) => ids.size > 1)).toEqual([]);
  for (const hook of [one, other]) hook.close();
});

test('a backend that starts again goes on where its receiver was, and sends again what it does not know to be taken', async () => {
  await record(150);
  const before = hookFor('restarts');
  faults.push(204, 'cut');
  expect(await before.turn()).toBe(false);
  before.close();
  now += minute;
  const after = hookFor('restarts');
  await until(after);
  const got = new Map(tries.map((delivery) => [delivery.deliveryId, delivery]));
  expect(seqs([...got.values()])).toEqual(upTo(await end()));
  after.close();
});

test('a new hook begins with what comes from now on, unless it is told otherwise', async () => {
  const hook = hookFor('new', { begins: 'now' });
  expect(await hook.turn()).toBe(true);
  const before = await end();
  await record(2);
  await until(hook);
  expect(seqs()).toEqual([before + 1, before + 2]);
  hook.close();
});

describe('only some acts', () => {
  test('those that begin as it was set; the rest is passed over without being sent', async () => {
    const hook = hookFor('keys', { events: ['key.'], begins: 'now' });
    await hook.turn();
    await record(3);
    await record(1, 'key.disclosed');
    await record(3);
    await record(1, 'keyring.opened');
    await until(hook);
    expect(taken.map(({ records }) => records.map(({ act }) => act))).toEqual([['key.disclosed']]);
    hook.close();
  });

  test('where the settings name others while a batch waits to be taken, nothing between is left out', async () => {
    const before = hookFor('changed', { events: ['key.'], begins: 'now' });
    await before.turn();
    const first = (await end()) + 1;
    await record(1, 'key.disclosed');
    await record(250);
    faults.push(500);
    expect(await before.turn()).toBe(false);
    before.close();
    const hook = hookFor('changed', { events: ['audit'] });
    await until(hook);
    expect(seqs()).toEqual(upTo(await end(), first));
    for (const [index, { afterSeq }] of taken.entries()) expect(afterSeq).toBe(taken[index - 1]?.toSeq ?? first - 1);
    hook.close();
  });

  test('alarms, as they are raised and judged; not those of which nobody is to be told', async () => {
    const muted = new Set<string>();
    const hook = hookFor('alarms', { events: ['alarms'], begins: 'now' }, { isSent: async ({ id }) => !muted.has(id) });
    await hook.turn();
    await backend.store.write(async (tx) => raise(backend, tx, await backend.clock.persist(tx), null, 'GRANTS_STOPPED', 'a test'));
    await backend.store.write(async (tx) => raise(backend, tx, await backend.clock.persist(tx), null, 'VIEWS_UNUSUAL', 'a test'));
    const [first, second] = await backend.store.db
      .selectFrom('alarm')
      .select('id')
      .where('judged_at', 'is', null)
      .orderBy('opened_at')
      .orderBy('code')
      .execute();
    muted.add(second?.id ?? '');
    await backend.custody.judgeAlarm({ alarmId: first?.id ?? '', actor: 'ada', judgement: 'seen' });
    await until(hook);
    expect(taken.flatMap(({ records }) => records.map(({ act, details }) => `${act} ${details['code']}`))).toEqual([
      'alarm.raised GRANTS_STOPPED',
      'alarm.judged GRANTS_STOPPED',
    ]);
    hook.close();
  });
});

test('after a day without success there is an alarm, which a success ends; nothing was left out', async () => {
  const alarms = () => backend.store.db.selectFrom('alarm').select(['detail']).where('code', '=', 'WEBHOOK_FAILS').where('judged_at', 'is', null).execute();
  const settings = settingsFor('silent', { begins: 'now' });
  const hook = createWebhook(settings, { backend, chance: () => 1 });
  await hook.turn();
  const before = await end();
  await record(3);
  faults.push(...Array.from({ length: 40 }, () => 500));
  let turns = 0;
  for (const since = now; now - since <= day + 60 * minute; now += 60 * minute) {
    await hook.turn();
    turns += 1;
    if (now - since < day) {
      await tellOfWebhooks(backend, [settings]);
      expect(await alarms()).toEqual([]);
    }
  }
  expect(turns).toBeGreaterThan(20);
  await tellOfWebhooks(backend, [settings]);
  expect(await alarms()).toEqual([{ detail: expect.stringMatching(/^silent: nothing after record \d+ was taken since /) }]);
  faults.length = 0;
  await until(hook);
  await tellOfWebhooks(backend, [settings]);
  expect(await alarms()).toEqual([]);
  expect(seqs()).toEqual(upTo(await end().then((last) => last - 1), before + 1));
  hook.close();
});

test('a secret that is too short, or lies open, is said in the state and nothing is sent; settings say all mistakes at once', async () => {
  const short = join(folder, 'short');
  writeFileSync(short, 'x', { mode: 0o600 });
  const hook = hookFor('short', { secretFile: short });
  expect(await hook.turn()).toBe(false);
  expect(tries).toEqual([]);
  const state = await backend.store.db.selectFrom('webhook_state').select('last_error').where('name', '=', 'short').executeTakeFirst();
  expect(state?.last_error).toMatch(/at least 32 characters/);
  hook.close();
  const wrong = {
    serverUrl: 'https://keys.example.org',
    listen: { port: 1 },
    webhooks: [{ name: 'Up', url: 'http://example.org', secretFile: 'x', events: ['everything'] }],
    auditRetainDays: 30,
  };
  expect(() => checkSettings(wrong)).toThrow(/webhooks\.0\.name.*webhooks\.0\.url.*webhooks\.0\.secretFile.*webhooks\.0\.events\.0.*auditRetainDays/);
});
