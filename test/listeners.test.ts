import { execFileSync, spawn } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { chmodSync, cpSync, readFileSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { createServer, connect as plainly } from 'node:net';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { sayAlarm } from '../server/alarms.ts';
import { issueServerCertificate, makeCa, pem } from '../server/certificates.ts';
import { folderPaths } from '../server/data-folder.ts';
import { startingTls } from '../server/last-tls.ts';
import { type Log, silentLog } from '../server/log.ts';
import { tellOfCertificates } from '../server/operator-alarms.ts';
import { type Serving, serve } from '../server/serve.ts';
import { readHello } from '../server/server-name.ts';
import { activatedSockets, readSettings } from '../server/settings.ts';
import { holdFolder, refuseWhileServed } from '../server/store/serve-lock.ts';
import { createTlsKeeper } from '../server/tls-keeper.ts';
import { checkInBody, deviceCa, deviceIdentity, freePort, newMac, newPair, passphrase } from './given-server.ts';
import { makeDataFolder } from './made-backend.ts';
import { scratch } from './scratch.ts';
import { until } from './waiting.ts';

const day = 86_400_000;
const folder = scratch('sparekey-listeners');
const dir = join(folder, 'data');
const paths = folderPaths(dir);
const publicCa = makeCa({ commonName: 'Public CA', years: 5, at: new Date(Date.now() - 400 * day) });
const live = { certificate: join(folder, 'live.pem'), key: join(folder, 'live-key.pem') };
const deviceCaFile = join(folder, 'device-ca.pem');

/** As certbot or lego would: a certificate of somebody else's CA, with its chain. Its fingerprint. */
function bring(more: { names?: string[]; days?: number; at?: Date; pair?: ReturnType<typeof newPair>; only?: 'certificate' } = {}): string {
  const { names = ['keys.example.org'], days = 90, at = new Date(), pair = newPair() } = more;
  const publicKeyDer = pair.publicKey.export({ type: 'spki', format: 'der' });
  const der = issueServerCertificate({ ca: publicCa.certificateDer, caKey: publicCa.privateKey, names, publicKeyDer, at, days });
  writeFileSync(live.certificate, pem('CERTIFICATE', der) + pem('CERTIFICATE', publicCa.certificateDer));
  if (!more.only) rmSync(live.key, { force: true });
  if (!more.only) writeFileSync(live.key, pair.privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
  return new X509Certificate(der).fingerprint256;
}

/** A folder whose people share the port of its Macs, for what is refused before anything listens. */
const sockets = join(folder, 'sockets');
let port: number;
let serving: Serving;
const logged: [string, unknown][] = [];
const log: Log = { ...silentLog, info: (event, details) => logged.push([event, details]), warn: (event, details) => logged.push([event, details]) };

interface Seen {
  fingerprint: string;
  /** Whether it asked for a client certificate, and what it answered. */
  answer: string;
}

/** Says this name, shows this identity, asks, and reads what comes. */
function ask(servername: string | null, request: string, more: { cert?: string; key?: string; at?: number } = {}): Promise<Seen> {
  const { at = port, ...identity } = more;
  return new Promise((resolve, reject) => {
    const socket: TLSSocket = connect(
      { host: '127.0.0.1', port: at, rejectUnauthorized: false, ...(servername === null ? {} : { servername }), ...identity },
      () => socket.write(request),
    );
    let answer = '';
    let fingerprint = '';
    socket.on('secureConnect', () => {
      fingerprint = socket.getPeerX509Certificate()?.fingerprint256 ?? '';
    });
    socket.on('data', (chunk: Buffer) => {
      answer += chunk.toString('latin1');
    });
    socket.on('error', reject);
    socket.on('close', () => resolve({ fingerprint, answer }));
  });
}
const get = (path: string) => `GET ${path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`;
const post = (path: string, body: object) => {
  const text = JSON.stringify(body);
  return `POST ${path} HTTP/1.1\r\nhost: x\r\nsparekey-protocol: 1\r\ncontent-type: application/json\r\ncontent-length: ${text.length}\r\nconnection: close\r\n\r\n${text}`;
};
const alarms = async () => (await serving.backend.custody.fleet()).alarms.map(({ code, detail }) => `${code}: ${detail}`);

beforeAll(async () => {
  port = await freePort();
  writeFileSync(deviceCaFile, pem('CERTIFICATE', deviceCa.certificateDer));
  await makeDataFolder(dir, port, { names: ['keys.example.org'], deviceCaFiles: [deviceCaFile], portal: { url: `https://key.example.org:${port}`, port } });
  bring();
  const settings = JSON.parse(readFileSync(paths.settings, 'utf8'));
  settings.listen.host = '127.0.0.1';
  settings.people.listen.host = '127.0.0.1';
  writeFileSync(paths.settings, JSON.stringify({ ...settings, tls: { files: live } }));
  cpSync(dir, sockets, { recursive: true });
  serving = await serve({
    dir,
    passphrase,
    log,
    mountSites: async ({ http }) => void http.app.get('/', async () => 'for people'),
  });
});
afterAll(() => serving?.stop());

describe('one port, two names', () => {
  test('each name reaches its own listener; only Macs are asked for a certificate', async () => {
    const mac = newMac();
    const identity = deviceIdentity({ CN: 'A Mac', serialNumber: mac.serial });
    expect(serving).toMatchObject({ port, people: { port } });
    expect((await ask('key.example.org', get('/'))).answer).toMatch(/200 OK[\s\S]*for people$/);
    expect((await ask('KEYS.example.org', post('/v1/check-in', checkInBody(mac)), identity)).answer).toMatch(/^HTTP\/1\.1 200[\s\S]*"macId"/);
    expect((await ask('keys.example.org', post('/v1/check-in', checkInBody(mac)))).answer).toContain('CERTIFICATE_MISSING');
    // A client that was given an address says no name.
    expect((await ask(null, post('/v1/nonce', {}))).answer).toContain('"nonce"');
    expect((await ask('keys.example.org', get('/'))).answer).toContain('404');
  });

  test('another name, what is no TLS, and who never says anything get no answer', async () => {
    await expect(ask('elsewhere.example.org', get('/'))).rejects.toThrow();
    const bare = (bytes: string | Buffer): Promise<string> =>
      new Promise((resolve) => {
        const socket = plainly({ host: '127.0.0.1', port }, () => socket.write(bytes));
        let answer = '';
        socket.on('data', (chunk) => {
          answer += chunk.toString('latin1');
        });
        socket.on('error', () => resolve('cut'));
        socket.on('close', () => resolve(answer));
      });
    expect(await bare(get('/'))).toBe('');
    expect(await bare(Buffer.from([22, 3, 1, 0, 5, 2, 0, 0, 1, 0]))).toBe('');
    expect(logged).toContainEqual(['connection-refused', { because: 'it is no TLS' }]);
    expect(logged).toContainEqual(['connection-refused', { because: 'no listener has this name' }]);
  });

  test('the name is read however its message is cut, and damaged ones are no name', async () => {
    const hello = await new Promise<Buffer>((resolve) => {
      const catcher = createServer((socket) => {
        socket.once('data', (chunk: Buffer) => {
          resolve(chunk);
          socket.destroy();
          catcher.close();
        });
      });
      catcher.listen(0, '127.0.0.1', () => {
        const at = catcher.address();
        connect({
          host: '127.0.0.1',
          port: typeof at === 'object' && at ? at.port : 0,
          servername: 'Keys.Example.org',
          ALPNProtocols: ['acme-tls/1', 'http/1.1'],
        }).on('error', () => undefined);
      });
    });
    expect(readHello(hello)).toEqual({ name: 'keys.example.org', protocols: ['acme-tls/1', 'http/1.1'] });
    for (let cut = 0; cut < hello.length; cut += 5) expect(readHello(hello.subarray(0, cut))).toBe('more');
    // In two records.
    const message = hello.subarray(5);
    const record = (part: Buffer) => Buffer.concat([Buffer.from([22, 3, 1, part.length >> 8, part.length & 255]), part]);
    for (const at of [1, 3, 4, 50, message.length - 1])
      expect(readHello(Buffer.concat([record(message.subarray(0, at)), record(message.subarray(at))]))).toMatchObject({ name: 'keys.example.org' });
    const crumbs = Buffer.concat(Array.from(message, (_, at) => record(message.subarray(at, at + 1))));
    expect(readHello(crumbs)).toBe('other');
    for (let at = 0; at < hello.length; at += 5) {
      const bent = Buffer.from(hello);
      bent[at] = (bent[at] ?? 0) ^ 0xff;
      const read = readHello(bent);
      expect(['more', 'other', 'object']).toContain(typeof read === 'string' ? read : typeof read);
    }
  });
});

describe('certificate files that somebody else keeps new', () => {
  const now = async () => (await ask('keys.example.org', post('/v1/nonce', {}))).fingerprint;

  test('are read again when they change, for both listeners, without a restart', async () => {
    const next = bring();
    expect(serving.renewCertificate()).toBe(false);
    expect(await now()).toBe(next);
    expect((await ask('key.example.org', get('/'))).fingerprint).toBe(next);
    // As certbot does it: a link that leads to another file.
    const other = bring();
    renameSync(live.certificate, `${live.certificate}.1`);
    symlinkSync(`${live.certificate}.1`, live.certificate);
    serving.renewCertificate();
    expect(await now()).toBe(other);
    unlinkSync(live.certificate);
    renameSync(`${live.certificate}.1`, live.certificate);
    serving.renewCertificate();
  });

  test.each<[string, () => unknown, RegExp]>([
    ['is of another key', () => bring({ only: 'certificate' }), /is not the key of/],
    ['is for another name', () => bring({ names: ['other.example.org'] }), /it is not for keys\.example\.org/],
    ['has ended', () => bring({ at: new Date(Date.now() - 300 * day) }), /it has ended already/],
    ['is not valid yet', () => bring({ at: new Date(Date.now() + 3 * day) }), /it is not valid yet/],
    ['is no certificate', () => writeFileSync(live.certificate, 'hello'), /cannot be read/],
    ['is gone', () => rmSync(live.certificate), /ENOENT/],
    ['has a key that others can read', () => bring() && chmodSync(live.key, 0o644), /live-key\.pem/],
  ])('one that %s is not used: the one before is, with an alarm, until a good one comes', async (_, spoil, words) => {
    const good = bring();
    serving.renewCertificate();
    const { store, clock } = serving.backend;
    // A keeper of its own beside the one that serves, so that its word can be awaited.
    const keeper = createTlsKeeper({ paths, settings: readSettings(paths.settings), now: clock.now, log });
    keeper.keep({ name: 'listener of the Macs', files: live, host: 'keys.example.org', use: () => undefined });
    spoil();
    // Two files are never written at once: the first look is no alarm yet.
    expect(keeper.look().refused).toEqual([]);
    serving.renewCertificate();
    const { refused } = keeper.look();
    expect(refused).toEqual([{ name: 'listener of the Macs', because: expect.stringMatching(words) }]);
    expect(await now()).toBe(good);
    await tellOfCertificates({ store, clock, log }, [], refused);
    expect(await alarms()).toContainEqual(expect.stringMatching(/^CERTIFICATE_REFUSED: the new certificate of the listener of the Macs is not used: /));
    const mended = bring();
    expect(keeper.look().refused).toEqual([]);
    serving.renewCertificate();
    expect(await now()).toBe(mended);
    await tellOfCertificates({ store, clock, log }, [], []);
    expect(await alarms()).toEqual([]);
  });
});

describe('a certificate of another CA', () => {
  const otherCa = makeCa({ commonName: 'Another CA', years: 5, at: new Date(Date.now() - 400 * day) });
  const own = { certificate: join(folder, 'own.pem'), key: join(folder, 'own-key.pem') };
  const issue = (ca: typeof otherCa, days = 90, at = new Date(), withRoot = true): string => {
    const pair = newPair();
    const publicKeyDer = pair.publicKey.export({ type: 'spki', format: 'der' });
    const der = issueServerCertificate({ ca: ca.certificateDer, caKey: ca.privateKey, names: ['keys.example.org'], publicKeyDer, at, days });
    writeFileSync(own.certificate, pem('CERTIFICATE', der) + (withRoot ? pem('CERTIFICATE', ca.certificateDer) : ''));
    writeFileSync(own.key, pair.privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
    return new X509Certificate(der).fingerprint256;
  };
  const said: unknown[] = [];
  const keeperOf = (macs: () => number) => {
    const used: string[] = [];
    const warn = (event: string) => said.push(event);
    const keeper = createTlsKeeper({ paths: folderPaths(sockets), settings: readSettings(paths.settings), now: Date.now, log: { ...silentLog, warn } });
    const use = (certificate: Buffer) => used.push(new X509Certificate(certificate).fingerprint256);
    keeper.keep({ name: 'listener of the Macs', files: own, host: 'keys.example.org', use, distrusting: async () => macs() });
    return { keeper, used };
  };

  test('waits while Macs of 90 days do not trust it, with the alarm, and is used once they do; of the same CA it is used at once', async () => {
    issue(publicCa);
    const { keeper, used } = keeperOf(() => 2);
    const next = issue(publicCa, 90, new Date(), false);
    expect([await keeper.lookAndAsk(), used]).toEqual([[], [next]]);
    issue(otherCa);
    expect(await keeper.lookAndAsk()).toEqual([
      { name: 'listener of the Macs', because: expect.stringMatching(/another CA \(.*Another CA\), and 2 Macs do not trust that/) },
    ]);
    // Nothing is wrong with it: the words of the alarm and what is to be done fit that too.
    const { store, clock } = serving.backend;
    await tellOfCertificates({ store, clock, log }, [], await keeper.lookAndAsk());
    const stands = (await serving.backend.custody.fleet()).alarms.filter(({ code }) => code === 'CERTIFICATE_REFUSED').map(({ code }) => sayAlarm(code));
    expect(stands).toEqual([expect.stringMatching(/is not used: it cannot be, or it is of another CA that Macs do not trust yet/)]);
    const row = readFileSync(join(import.meta.dirname, '../docs/operating.md'), 'utf8')
      .split('\n')
      .find((line) => line.startsWith('| `CERTIFICATE_REFUSED`'));
    expect(row).toMatch(/cannot be used.*another CA, which Macs do not trust yet: `authority check`/);
    await tellOfCertificates({ store, clock, log }, [], []);
    said.length = 0;
    for (let looks = 0; looks < 3; looks += 1) expect((await keeper.lookAndAsk()).length).toBe(1);
    // It was said once.
    expect([used, said]).toEqual([[next], []]);
    issue(publicCa);
    const trusting = keeperOf(() => 0);
    const taken = issue(otherCa);
    expect([await trusting.keeper.lookAndAsk(), trusting.used]).toEqual([[], [taken]]);
  });

  test('is used when the one in use has less than 7 days left', async () => {
    issue(publicCa, 90, new Date(Date.now() - 84 * day));
    const { keeper, used } = keeperOf(() => 2);
    const next = issue(otherCa);
    expect([await keeper.lookAndAsk(), used]).toEqual([[], [next]]);
  });

  test('that waits is not taken by a start either, and neither is one that has ended', async () => {
    const good = issue(publicCa);
    keeperOf(() => 2);
    const begin = (host = 'keys.example.org') => {
      const { identity, refused } = startingTls(folderPaths(sockets), own, { host, now: Date.now() });
      return [new X509Certificate(identity.certificate).fingerprint256, refused];
    };
    const other = issue(otherCa);
    expect(begin()).toEqual([good, expect.stringMatching(/another CA/)]);
    // Started so, it is looked at again, and used once the Macs trust it.
    const used: string[] = [];
    const keeper = createTlsKeeper({ paths: folderPaths(sockets), settings: readSettings(paths.settings), now: Date.now, log: silentLog });
    const listener = { name: 'listener of the Macs', files: own, host: 'keys.example.org', distrusting: async () => 0 };
    keeper.keep(
      { ...listener, use: (certificate) => used.push(new X509Certificate(certificate).fingerprint256) },
      startingTls(folderPaths(sockets), own, { host: 'keys.example.org', now: Date.now() }),
    );
    expect([await keeper.lookAndAsk(), used]).toEqual([[], [other]]);
    expect(begin()).toEqual([other, null]);
    issue(otherCa, 1, new Date(Date.now() - 3 * day));
    expect(begin()).toEqual([other, 'it has ended already']);
  });

  test('or of any, that is broken when the backend starts: it starts with the one that was used last, and says why', async () => {
    const good = issue(publicCa);
    keeperOf(() => 0);
    writeFileSync(own.certificate, 'broken');
    const { identity, refused } = startingTls(folderPaths(sockets), own);
    expect([new X509Certificate(identity.certificate).fingerprint256, refused]).toEqual([good, expect.stringContaining('cannot be read')]);
    const { keeper, used } = keeperOf(() => 0);
    expect(keeper.look().refused).toEqual([{ name: 'listener of the Macs', because: expect.stringContaining('own.pem') }]);
    const next = issue(publicCa);
    expect([keeper.look().refused, used]).toEqual([[], [next]]);
    expect(() => startingTls(folderPaths(join(folder, 'nowhere')), { certificate: '/nowhere', key: '/nowhere' })).toThrow(/nowhere/);
  });
});

test('a folder that is served is not served twice, and not brought to another shape by another process', async () => {
  await expect(serve({ dir, passphrase, log: silentLog })).rejects.toMatchObject({ code: 'BEING_SERVED' });
  const release = holdFolder(sockets);
  refuseWhileServed(sockets);
  const text = `const { refuseWhileServed } = await import('./server/store/serve-lock.ts'); try { refuseWhileServed(process.argv[1]); } catch (error) { console.log(error.code); }`;
  const other = execFileSync(process.execPath, ['--input-type=module', '-e', text, sockets], { cwd: join(import.meta.dirname, '..'), encoding: 'utf8' });
  expect(other).toBe('BEING_SERVED\n');
  release();
  refuseWhileServed(sockets);
  holdFolder(sockets)();
});

describe('sockets that systemd opens', () => {
  test.each<[string, NodeJS.ProcessEnv, object]>([
    ['none', {}, {}],
    ['for another process', { LISTEN_FDS: '2', LISTEN_PID: '7' }, {}],
    ['one, called by its unit', { LISTEN_FDS: '1', LISTEN_PID: '42', LISTEN_FDNAMES: 'sparekey.socket' }, { macs: 3 }],
    ['without names', { LISTEN_FDS: '2', LISTEN_PID: '42' }, { macs: 3, people: 4 }],
    ['by name, in another order', { LISTEN_FDS: '2', LISTEN_PID: '42', LISTEN_FDNAMES: 'people:macs' }, { people: 3, macs: 4 }],
    ['a number that is none', { LISTEN_FDS: 'x', LISTEN_PID: '42' }, {}],
  ])('%s', (_, environment, expected) => {
    expect(activatedSockets(environment, 42)).toEqual(expected);
  });

  test.each([
    ['two of one name', 'macs:macs', /descriptor 4 \("macs"\)/],
    ['a name that is none of ours', 'macs:http', /descriptor 4 \("http"\)/],
    ['more than there are listeners', 'a.socket:a.socket:a.socket:a.socket:a.socket', /descriptor 7 \(without a name\)/],
    ['a name and a place that are the same', 'people:sparekey.socket', /descriptor 4 \(without a name\)/],
  ])('%s: one that no listener takes is refused and named', (_, names, words) => {
    const LISTEN_FDS = String(names.split(':').length);
    expect(() => activatedSockets({ LISTEN_FDS, LISTEN_PID: '42', LISTEN_FDNAMES: names }, 42)).toThrow(words);
  });

  test('one for people where they share the port of the Macs, for other systems where nobody calls, or for admins where there is no console, is refused and named', async () => {
    for (const [name, words] of [
      ['people', /people \(descriptor 9\)/],
      ['neighbours', /neighbours \(descriptor 9\)/],
      ['console', /console \(descriptor 9\)/],
    ] as const)
      await expect(serve({ dir: sockets, passphrase, log: silentLog, mountSites: async () => undefined, sockets: { [name]: 9 } })).rejects.toThrow(words);
  });

  test('serve takes a socket that was opened by somebody else, and a stop lets what is under way end', async () => {
    const at = await freePort();
    const other = join(folder, 'other');
    // A port that the settings name and nobody may open shows that it is not opened.
    await makeDataFolder(other, 1);
    const program = `
      import { spawn } from 'node:child_process'; import { createServer } from 'node:net';
      const server = createServer(); server.listen(${at}, '127.0.0.1', () => {
        const child = spawn('sh', ['-c', 'LISTEN_PID=$$ exec "$0" "$@"', process.execPath, 'server/main.ts', 'serve', '--dir', ${JSON.stringify(other)}, '--passphrase-fd', '0'],
          { stdio: ['pipe', 'inherit', 'inherit', server._handle.fd], env: { ...process.env, LISTEN_FDS: '1', LISTEN_FDNAMES: 'macs' } });
        server.close();
        child.stdin.end(${JSON.stringify(`${passphrase}\n`)});
        process.on('SIGTERM', () => child.kill('SIGTERM'));
        child.on('exit', (code) => process.exit(code));
      });`;
    const parent = spawn(process.execPath, ['--input-type=module', '-e', program], { cwd: join(import.meta.dirname, '..'), stdio: ['ignore', 'pipe', 'pipe'] });
    let said = '';
    for (const stream of [parent.stdout, parent.stderr]) stream.on('data', (chunk: Buffer) => (said += chunk.toString()));
    const ended = new Promise<number | null>((resolve) => parent.on('exit', resolve));
    await until(() => said.includes('ready:'));
    expect(said).toContain(`(port ${at})`);
    const nonce = post('/v1/nonce', {});
    expect((await ask(null, nonce, { at })).answer).toContain('"nonce"');
    // A request whose last byte comes after the signal.
    const late = new Promise<string>((resolve, reject) => {
      const socket = connect({ host: '127.0.0.1', port: at, rejectUnauthorized: false }, () => {
        socket.write(nonce.slice(0, -1).replace('\r\n\r\n', '\r\nexpect: 100-continue\r\n\r\n'));
      });
      let answer = '';
      // It has come when it is told to go on.
      socket.once('data', async () => {
        parent.kill('SIGTERM');
        await until(() => said.includes('server-stopping'));
        socket.write(nonce.slice(-1));
      });
      socket.on('data', (chunk: Buffer) => {
        answer += chunk.toString('latin1');
      });
      socket.on('error', reject);
      socket.on('close', () => resolve(answer));
    });
    expect(await late).toContain('"nonce"');
    expect([await ended, said]).toEqual([0, expect.stringContaining('server-stopped')]);
  });
});

test('a stop ends what is open for nothing on the one port, and lets nobody in any more', async () => {
  const closed = new Promise<number>((resolve) => {
    const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false, servername: 'keys.example.org' }, () =>
      socket.write(post('/v1/nonce', {}).replace('connection: close\r\n', '')),
    );
    socket.once('data', () => {
      const at = performance.now();
      socket.on('close', () => resolve(performance.now() - at));
      void serving.stop();
    });
    socket.on('error', () => undefined);
  });
  // Kept open for nothing it would be for thirty seconds.
  expect(await closed).toBeLessThan(20_000);
  await serving.stop();
  await expect(ask('keys.example.org', post('/v1/nonce', {}))).rejects.toThrow(/ECONNREFUSED/);
});

test('who is slow on the one port is cut off as on any other', async () => {
  const settings = JSON.parse(readFileSync(paths.settings, 'utf8'));
  writeFileSync(paths.settings, JSON.stringify({ ...settings, limits: { headerSeconds: 1 } }));
  serving = await serve({ dir, passphrase, log, mountSites: async () => undefined });
  expect((await ask('keys.example.org', 'POST /v1/nonce HTTP/1.1\r\nhost: x\r\n')).answer).toMatch(/^HTTP\/1\.1 408[\s\S]*REQUEST_TOO_SLOW/);
});
