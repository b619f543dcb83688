import { generateKeyPairSync } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { issueServerCertificate, makeCa, pem } from '../server/certificates.ts';
import { buildHttp } from '../server/http.ts';
import { connectionLimits } from '../server/limits.ts';
import { silentLog } from '../server/log.ts';
import { countingLog, createCounters, writeMetrics } from '../server/metrics.ts';
import { createPeers } from '../server/proxy.ts';
import { readiness } from '../server/readiness.ts';
import { refuseOthers } from '../server/refuse-others.ts';
import { createRounds } from '../server/rounds.ts';
import { readExposition } from './exposition.ts';
import { givenConsole } from './given-console.ts';
import { passwordOfTests } from './given-portal.ts';
import { portalClient } from './portal-client.ts';
import { scratch } from './scratch.ts';

const metricsToken = 'a-token-that-only-the-tests-have';
let it: Awaited<ReturnType<typeof givenConsole>>;

beforeAll(async () => {
  const metricsTokenFile = join(scratch('console'), 'metrics-token');
  writeFileSync(metricsTokenFile, `${metricsToken}\n`, { mode: 0o600 });
  it = await givenConsole({ console: { metricsTokenFile } });
  await it.checkIn();
});

test('an admin signs in at the console with the account of the portal, and is shown what they may', async () => {
  const id = await it.portal.account('ada', { displayName: 'Ada Lovelace' });
  await it.console.give({ id, userName: 'ada' }, 'admin', ['office']);
  const browser = it.console.browser();
  const door = await browser.get('/');
  expect(door.path).toContain('/sign-in');
  const first = await browser.submit(door, '/sign-in/password', { name: 'ada', password: passwordOfTests });
  expect([first.status, first.path]).toEqual([200, '/']);
  expect(first.words).toContain('Ada Lovelace');
  expect(first.text).toContain('lang="en"');
  const out = await browser.submit(first, '/sign-out');
  expect(out.path).toBe('/sign-in?out=1');
  expect((await browser.get('/')).path).toContain('/sign-in');
});

describe('headers and pages', () => {
  test('every page of the console has the headers of the portal, one language, and nothing inline', async () => {
    const { browser } = await it.as('owner');
    for (const [path, status] of [
      ['/', 200],
      ['/docs', 200],
      ['/account', 200],
      ['/cannot-sign-in', 200],
      ['/nothing', 404],
      ['/%zz', 404],
      ['/sign-in?then=%ff', 400],
    ] as const) {
      const { headers, text, status: was } = await browser.get(path);
      expect([path, was]).toEqual([path, status]);
      expect([path, headers]).toEqual([
        path,
        expect.objectContaining({
          'content-security-policy': expect.stringContaining("default-src 'none'; style-src 'self'; script-src 'self'"),
          'cache-control': 'no-store',
          'referrer-policy': 'same-origin',
          'x-frame-options': 'DENY',
          'x-content-type-options': 'nosniff',
          'strict-transport-security': expect.stringContaining('max-age='),
        }),
      ]);
      expect([path, text]).toEqual([path, expect.not.stringMatching(/\sstyle=|\son[a-z]+=|<style|<script(?![^>]*\ssrc="\/assets\/)|(src|srcset)="(?!\/)/i)]);
      expect([path, text.includes('<html lang="en"')]).toEqual([path, true]);
    }
  });

  test('an error says the code and the id by which the log has it', async () => {
    const { browser } = await it.as('viewer');
    const { content, headers } = await browser.get('/nothing');
    expect(content).toContain('NOT_FOUND');
    expect(content).toContain(String(headers['x-request-id']));
  });
});

describe('whoever watches the backend', () => {
  const asked = (path: string, token: string | null = metricsToken) => it.console.nobody.get(path, token === null ? {} : { authorization: `Bearer ${token}` });

  test('is told without a sign-in that it lives and that it is ready, and nothing else', async () => {
    expect([(await asked('/healthz', null)).body, (await asked('/readyz', null)).body]).toEqual([{ ok: true }, { ready: true }]);
    for (const path of ['/healthz', '/readyz']) expect((await asked(path, null)).headers['set-cookie']).toBeUndefined();
  });

  test('is told with the token why it is ready or not', async () => {
    const { status, body } = await asked('/readyz');
    expect(status).toBe(200);
    expect(body.checks.map(({ name, ok }: { name: string; ok: boolean }) => [name, ok])).toEqual([
      ['database', true],
      ['escrow-keys', true],
      ['timers', true],
      ['disk', true],
      ['backups', true],
    ]);
    it.turnServerClock(5 * 24 * 60 * 60);
    const late = await asked('/readyz');
    expect([late.status, late.body.checks.find(({ ok }: { ok: boolean }) => !ok)]).toEqual([503, { name: 'backups', ok: false, says: 'none yet' }]);
    expect((await asked('/readyz', null)).body).toEqual({ ready: false });
  });

  test('a database that refuses, keys that are sealed and timers that stand still are named', async () => {
    const store = {
      ...it.backend.store,
      db: {
        selectFrom: () => {
          throw new Error('SQLITE_IOERR: a path');
        },
      },
    } as unknown as typeof it.backend.store;
    const now = performance.now();
    const rounds = [
      { name: 'custody', every: 30_000, doneAt: now - 20 * 60_000, beganAt: now - 40 * 60_000 },
      { name: 'retention', every: 6 * 3_600_000, doneAt: now - 20 * 60_000, beganAt: now },
    ];
    const checks = await readiness({ ...it.backend, store, escrowKeys: { ...it.backend.escrowKeys, canOpen: false } }, rounds);
    expect(checks.filter(({ name }) => name !== 'disk')).toEqual([
      { name: 'database', ok: false, says: 'it refuses' },
      { name: 'escrow-keys', ok: true, says: 'sealed: keys are kept and none is shown' },
      { name: 'timers', ok: false, says: 'stand still: custody' },
    ]);
  });

  test('reads metrics with the token alone, in the format of Prometheus', async () => {
    for (const token of [null, 'another', `${metricsToken}x`, '']) expect([token, (await asked('/metrics', token)).status]).toEqual([token, 401]);
    await it.disclose();
    await it.custody.fleetIsFresh();
    const { status, headers, text } = await asked('/metrics');
    expect([status, headers['content-type']]).toEqual([200, 'text/plain; version=0.0.4; charset=utf-8']);
    const metrics = readExposition(text);
    const value = (name: string, labels: Record<string, string> = {}) =>
      metrics.get(`sparekey_${name}`)?.samples.find((sample) => Object.entries(labels).every(([label, wanted]) => sample.labels[label] === wanted))?.value;
    for (const [name, { type, help, samples }] of metrics) {
      expect([name, /^sparekey_[a-z_]+$/.test(name), help.length > 10]).toEqual([name, true, true]);
      expect([name, name.endsWith('_total')]).toEqual([name, type === 'counter']);
      // What has no end would fill the memory of whoever keeps it.
      expect([name, samples.length < 200]).toEqual([name, true]);
    }
    expect(value('check_ins_total')).toBeGreaterThanOrEqual(1);
    expect(value('deliveries_total')).toBeGreaterThanOrEqual(1);
    expect(value('disclosures_total')).toBe(1);
    expect(value('sign_ins_total')).toBe(1);
    expect(value('requests_total', { listener: 'macs', route: '/v1/check-in', status: '2xx' })).toBeGreaterThanOrEqual(1);
    expect(value('requests_total', { listener: 'console', route: '/metrics', status: '4xx' })).toBeGreaterThanOrEqual(2);
    expect(value('escrow_keys_open')).toBe(1);
    expect([value('macs', { custody: 'held' }), value('keys_out')]).toEqual([1, 1]);
    expect(value('queue_length', { queue: 'mail' })).toBeGreaterThanOrEqual(0);
    expect(value('database_bytes', { file: 'database' })).toBeGreaterThan(100_000);
    expect(value('certificate_days_left', { of: 'certificate of the Macs’ listener' })).toBeGreaterThan(300);
    expect(value('event_loop_delay_seconds', { quantile: '0.99' })).toBeGreaterThan(0);
    const documented = readFileSync(join(import.meta.dirname, '../docs/console.md'), 'utf8');
    const rows = [...documented.matchAll(/^\| (`sparekey_[^|]+) \|/gm)].flatMap(([, names = '']) => [...names.matchAll(/`(\w+)`/g)].map(([, name]) => name));
    expect(rows.toSorted()).toEqual([...metrics.keys()].toSorted());
    // No Mac, no person, no key, no path of this machine.
    for (const secret of [it.mac.state.serial, it.mac.recoveryKey, it.dir, 'ada', metricsToken]) expect(text).not.toContain(secret);
  });

  test('labels and words that hold what the format means are escaped, and read back as they were', () => {
    const odd = 'a "quoted"\\ one,\nwith={braces}';
    const counters = createCounters();
    counters.add('x', { of: odd });
    counters.add('x', { of: odd });
    const read = readExposition(writeMetrics([{ name: 'x_total', help: 'two\nlines \\ here', type: 'counter', samples: counters.of('x') }]));
    expect(read.get('x_total')).toEqual({ type: 'counter', help: 'two\\nlines \\\\ here', samples: [{ labels: { of: odd }, value: 2 }] });
    for (const wrong of [
      'x 1\n',
      '# TYPE x counter\nx -1\n',
      '# TYPE x gauge\nx{a="1",a="2"} 1\n',
      '# TYPE x gauge\nx 1\nx 1\n',
      '# TYPE x gauge\nx one\n',
      '# TYPE x gauge\nx{a="\\t"} 1\n',
    ])
      expect(() => readExposition(wrong)).toThrow();
  });

  test('an event is counted whatever the level of the log, with the code of a closed list and nothing else of it', () => {
    const counters = createCounters();
    const log = countingLog(silentLog, counters);
    log.info('check-in', { macId: 'm1' });
    log.info('check-in', { macId: 'm2' });
    log.warn('alarm-raised', { macId: 'm1', code: 'KEY_LOST', detail: 'x' });
    expect(counters.of('events')).toEqual([
      { labels: { event: 'check-in' }, value: 2 },
      { labels: { event: 'alarm-raised', code: 'KEY_LOST' }, value: 1 },
    ]);
  });
});

test('work that fails is tried again at its next turn, and has not been done', async () => {
  const rounds = createRounds(silentLog);
  let tries = 0;
  await new Promise<void>((done) => {
    rounds.every(1, 'fails twice', async () => {
      tries += 1;
      if (tries === 3) done();
      if (tries < 3) {
        expect(rounds.all()).toEqual([expect.objectContaining({ name: 'fails twice', doneAt: null })]);
        throw new Error('not yet');
      }
    });
  });
  await rounds.stop();
  expect(rounds.all()[0]?.doneAt).toEqual(expect.any(Number));
});

test('whoever comes from another network is refused in words, before anything else, also through a proxy', async () => {
  const ca = makeCa({ commonName: 'A CA of the tests', years: 1, at: new Date() });
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const wish = { names: ['127.0.0.1'], publicKeyDer: publicKey.export({ type: 'spki', format: 'der' }), at: new Date(), days: 1 };
  const certificate = pem('CERTIFICATE', issueServerCertificate({ ca: ca.certificateDer, caKey: ca.privateKey, ...wish }));
  const tls = { certificate, key: privateKey.export({ type: 'pkcs8', format: 'pem' }), clientCas: [], oldest: '1.3' } as const;
  const peers = createPeers({ addresses: ['127.0.0.9'], clientCertificate: null, plain: false });
  const built = buildHttp({ tls, limits: connectionLimits, log: silentLog, peers, audience: 'people' });
  const http = refuseOthers(built, ['127.0.0.1', '10.1.0.0/16', '2001:db8::/32']);
  http.sayProblems(async (_problem, _request, reply) => reply.code(404).send('a page of the console'), 'a page');
  let asked = 0;
  http.app.get('/', async () => `asked ${++asked}`);
  const port = await http.listen({ host: '127.0.0.1', port: 0 });
  const from = (localAddress: string, forwarded = '', accept = 'application/json', path = '/') =>
    portalClient(`https://127.0.0.1:${port}`, pem('CERTIFICATE', ca.certificateDer), { localAddress }).get(path, {
      headers: { accept, ...(forwarded === '' ? {} : { 'x-forwarded-for': forwarded }) },
    });
  try {
    for (const [address, forwarded] of [
      ['127.0.0.1', ''],
      ['127.0.0.9', '10.1.2.3'],
      ['127.0.0.9', '::ffff:10.1.2.3'],
      ['127.0.0.9', '2001:db8::7'],
    ] as const)
      expect([forwarded, (await from(address, forwarded)).status]).toEqual([forwarded, 200]);
    const before = asked;
    for (const [address, forwarded] of [
      ['127.0.0.2', ''],
      ['127.0.0.2', '10.1.2.3'],
      ['127.0.0.9', '192.0.2.9'],
      ['127.0.0.9', '2001:db9::1'],
      ['127.0.0.9', ''],
    ] as const) {
      const refused = await from(address, forwarded);
      expect([address, refused.status, JSON.parse(refused.text).code]).toEqual([address, 403, 'NETWORK_REFUSED']);
      for (const path of ['/nothing', '/%zz', '/v1/%'])
        expect([path, JSON.parse((await from(address, forwarded, 'application/json', path)).text).code]).toEqual([path, 'NETWORK_REFUSED']);
    }
    expect((await from('127.0.0.1', '', 'text/html', '/%zz')).text).toBe('a page of the console');
    const page = await from('127.0.0.9', '192.0.2.1', 'text/html');
    expect([page.status, page.headers['content-type'], page.text]).toEqual([403, 'text/plain; charset=utf-8', expect.stringContaining('192.0.2.1')]);
    expect(asked).toBe(before);
  } finally {
    http.server.closeAllConnections();
    await http.stop(0);
  }
});
