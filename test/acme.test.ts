import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { afterAll, describe, expect, test } from '@jest/globals';
import { createAcmeClient } from '../server/acme/client.ts';
import { acmeNames, isAcmeDue } from '../server/acme/renewal.ts';
import { backUp } from '../server/backup.ts';
import { issueServerCertificate, makeCa, makeServerRequest } from '../server/certificates.ts';
import { folderPaths } from '../server/data-folder.ts';
import { type Log, silentLog } from '../server/log.ts';
import { createOutbound } from '../server/outbound.ts';
import { type Serving, serve } from '../server/serve.ts';
import { mistakesOf } from '../server/serve-check.ts';
import { unpackTar } from '../server/tar.ts';
import { type AcmeCa, startAcmeCa, testWithPebble } from './acme-ca.ts';
import { freePort, newPair, passphrase } from './given-server.ts';
import { makeDataFolder } from './made-backend.ts';
import { scratch } from './scratch.ts';
import { until } from './waiting.ts';

const day = 86_400_000;
const folder = scratch('sparekey-acme');
const ends: (() => Promise<void> | void)[] = [];
afterAll(async () => {
  for (const end of ends.reverse()) await end();
});

/** Ended at the end, however its test ended. */
async function started(options: Parameters<typeof serve>[0]): Promise<Serving> {
  const serving = await serve(options);
  ends.push(serving.stop);
  return serving;
}

/** Whom a client that says this name meets. */
const meet = (port: number, servername: string): Promise<X509Certificate> =>
  new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, servername, rejectUnauthorized: false }, () => {
      const certificate = socket.getPeerX509Certificate();
      socket.destroy();
      if (certificate) resolve(certificate);
    });
    socket.on('error', reject);
  });

async function dataFolder(dir: string, port: number, ca: Pick<AcmeCa, 'directory' | 'trusted'>, more: object = {}): Promise<void> {
  await makeDataFolder(dir, port, { names: ['keys.example.org', 'old.example.org'], portal: { url: `https://key.example.org:${port}`, port } });
  const { settings: file } = folderPaths(dir);
  const settings = JSON.parse(readFileSync(file, 'utf8'));
  settings.listen.host = '127.0.0.1';
  settings.people.listen.host = '127.0.0.1';
  const acme = { directory: ca.directory, email: 'it@example.org', termsAgreed: true, trustedCertificatesFile: ca.trusted, ...more };
  writeFileSync(file, JSON.stringify({ ...settings, tls: { acme } }));
}

describe('a real CA that speaks ACME', () => {
  testWithPebble('gives the certificate for all names, by the port where Macs and people are served meanwhile; a restart asks for no other', async () => {
    const [port, dir] = [await freePort(), join(folder, 'data')];
    const external = { keyId: 'customer-1', key: 'zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W' };
    const ca = await startAcmeCa(folder, port, external);
    ends.push(ca.stop);
    const keyFile = join(folder, 'external-key');
    writeFileSync(keyFile, `${external.key}\n`, { mode: 0o600 });
    await dataFolder(dir, port, ca, { external: { keyId: external.keyId, keyFile } });
    const paths = folderPaths(dir);
    const own = new X509Certificate(readFileSync(paths.tls.certificate)).fingerprint256;
    const logged: string[] = [];
    const log: Log = { ...silentLog, info: (event) => void logged.push(event), warn: (event, details) => void logged.push(`${event} ${details?.['because']}`) };
    const open = (): Promise<Serving> => started({ dir, passphrase, log, mountSites: async ({ http }) => void http.app.get('/', async () => 'people') });
    const serving = await open();
    // Until it comes, and while the CA looks, everybody is served with the one before.
    expect([own, new X509Certificate(readFileSync(paths.acme.certificate)).fingerprint256]).toContain((await meet(port, 'keys.example.org')).fingerprint256);
    await until(() => logged.some((line) => line.startsWith('certificate-brought') || line.startsWith('certificate-not-brought')));
    expect(logged.filter((line) => line.startsWith('certificate-not'))).toEqual([]);
    expect(logged).toContain('acme-looked');
    let met = await meet(port, 'keys.example.org');
    for (let tries = 0; !/Pebble/.test(met.issuer) && tries < 600; tries += 1) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      met = await meet(port, 'keys.example.org');
    }
    for (const name of ['keys.example.org', 'old.example.org', 'key.example.org']) {
      met = await meet(port, name);
      expect(met.issuer).toMatch(/Pebble/);
      expect(met.checkHost(name)).toBe(name);
    }
    // Nothing is left for a CA to look at.
    await expect(
      new Promise((resolve, reject) => {
        const socket = connect({ host: '127.0.0.1', port, servername: 'keys.example.org', ALPNProtocols: ['acme-tls/1'], rejectUnauthorized: false }, () =>
          resolve('taken'),
        );
        socket.on('error', reject);
      }),
    ).rejects.toThrow();
    await serving.stop();
    const brought = readFileSync(paths.acme.certificate, 'utf8');
    const again = await open();
    const first = (await meet(port, 'keys.example.org')).fingerprint256;
    await again.stop();
    expect(first).toBe(new X509Certificate(brought).fingerprint256);
    expect(readFileSync(paths.acme.certificate, 'utf8')).toBe(brought);
    expect(mistakesOf(dir, true).found).toEqual([]);
    // A new machine begins with it.
    await backUp({ dir, file: join(folder, 'backup'), actor: 'ada' });
    const unpacked = join(folder, 'unpacked');
    mkdirSync(unpacked, { mode: 0o700 });
    unpackTar(join(folder, 'backup'), unpacked);
    expect(readFileSync(join(unpacked, 'acme', 'certificate.pem'), 'utf8')).toBe(brought);
    // Also the account: some CAs give one to a customer once.
    expect(readFileSync(join(unpacked, 'acme', 'account-key.pem'))).toEqual(readFileSync(paths.acmeAccountKey));
  });

  testWithPebble(
    'does not find the name here: said in its words, the one before stays, and it is not asked again within the hour unless somebody says so',
    async () => {
      const [port, elsewhere, dir] = [await freePort(), await freePort(), join(folder, 'elsewhere')];
      const ca = await startAcmeCa(folder, elsewhere);
      ends.push(ca.stop);
      await dataFolder(dir, port, ca);
      const refused: string[] = [];
      const log: Log = { ...silentLog, warn: (event, details) => void (event === 'certificate-not-brought' && refused.push(String(details?.['because']))) };
      const serving = await started({ dir, passphrase, log, mountSites: async () => undefined });
      const alarms = async () => (await serving.backend.custody.fleet()).alarms.filter(({ code }) => code === 'ACME_FAILS');
      await until(() => refused.length > 0);
      expect(refused[0]).toMatch(/the CA did not find \w+\.example\.org here at port 443 \(403 \w+: /);
      let open = await alarms();
      for (let tries = 0; open.length === 0 && tries < 600; tries += 1) {
        await new Promise((resolve) => setTimeout(resolve, 50));
        open = await alarms();
      }
      expect(open).toMatchObject([{ detail: refused[0] }]);
      expect((await meet(port, 'keys.example.org')).issuer).toMatch(/Sparekey TLS/);
      await serving.stop();
      const again = await started({ dir, passphrase, log, mountSites: async () => undefined });
      expect(JSON.parse(readFileSync(join(dir, 'acme', 'note.json'), 'utf8'))).toMatchObject({ failures: 1, because: refused[0] });
      expect(refused).toHaveLength(1);
      again.renewCertificate();
      await until(() => refused.length > 1);
      expect(JSON.parse(readFileSync(join(dir, 'acme', 'note.json'), 'utf8'))).toMatchObject({ failures: 2 });
      await again.stop();
    },
  );
});

describe('what a CA may not do', () => {
  const { privateKey: accountKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });

  async function lying(answer: RequestListener): Promise<string> {
    const server = createServer((request, reply) => {
      reply.setHeader('replay-nonce', 'n');
      answer(request, reply);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const origin = `http://127.0.0.1:${typeof address === 'object' && address ? address.port : 0}`;
    const outbound = createOutbound({ origin, log: silentLog, ratePerMinute: 60_000 });
    ends.push(async () => {
      outbound.close();
      await new Promise((resolve) => server.close(resolve));
    });
    const client = createAcmeClient({
      outbound,
      directory: `${origin}/dir`,
      accountKey,
      email: 'it@example.org',
      external: null,
      signal: new AbortController().signal,
      pause: 1,
    });
    const order = client.certificate({
      names: ['keys.example.org'],
      request: makeServerRequest(accountKey, ['keys.example.org']),
      show: () => undefined,
      hide: () => undefined,
    });
    return order.then(
      () => 'brought',
      (error: Error) => error.message,
    );
  }
  const json = (reply: Parameters<RequestListener>[1], value: unknown, more: { status?: number; location?: string } = {}) => {
    reply.writeHead(more.status ?? 200, { 'content-type': 'application/json', ...(more.location ? { location: more.location } : {}) });
    reply.end(JSON.stringify(value));
  };
  /** A CA whose pages are these, by their paths. */
  const ca =
    (pages: Record<string, (origin: string) => [unknown, { status?: number; location?: string }?]>): RequestListener =>
    (request, reply) => {
      const origin = `http://${request.headers.host}`;
      const usual: typeof pages = {
        '/dir': () => [{ newNonce: `${origin}/nonce`, newAccount: `${origin}/account`, newOrder: `${origin}/orders` }],
        '/nonce': () => [{}],
        '/account': () => [{}, { status: 201, location: `${origin}/account/1` }],
        '/orders': () => [
          { status: 'pending', authorizations: [`${origin}/authorization`], finalize: `${origin}/finalize` },
          { status: 201, location: `${origin}/order` },
        ],
      };
      const [body, more] = (pages[request.url ?? ''] ?? usual[request.url ?? ''] ?? (() => [{}, { status: 404 }]))(origin);
      json(reply, body, more);
    };

  test.each([
    [
      'sends us to another address',
      {
        '/dir': () => [
          { newNonce: 'https://elsewhere.example.org/n', newAccount: 'https://elsewhere.example.org/a', newOrder: 'https://elsewhere.example.org/o' },
        ],
      },
      /sends us to elsewhere\.example\.org/,
    ],
    ['answers in another form', { '/dir': () => [{ hello: 1 }] }, /another form than RFC 8555/],
    [
      'refuses the account',
      { '/account': () => [{ type: 'urn:ietf:params:acme:error:userActionRequired', detail: 'read the\nterms' }, { status: 403 }] },
      /the account: 403 userActionRequired: read the terms/,
    ],
    [
      'asks about a name that is not ours',
      {
        '/authorization': (origin: string) => [
          { status: 'pending', identifier: { type: 'dns', value: 'bank.example.com' }, challenges: [{ type: 'tls-alpn-01', url: `${origin}/c`, token: 't' }] },
        ],
      },
      /a name that was not asked for/,
    ],
    [
      'offers no way that needs port 443 alone',
      {
        '/authorization': (origin: string) => [
          { status: 'pending', identifier: { type: 'dns', value: 'keys.example.org' }, challenges: [{ type: 'dns-01', url: `${origin}/c`, token: 't' }] },
        ],
      },
      /no tls-alpn-01/,
    ],
    [
      'never decides',
      {
        '/authorization': () => [{ status: 'valid', identifier: { type: 'dns', value: 'keys.example.org' }, challenges: [] }],
        '/order': (origin: string) => [{ status: 'pending', authorizations: [], finalize: `${origin}/f` }],
      },
      /has not decided in time/,
    ],
    ['refuses every nonce', { '/account': () => [{ type: 'urn:ietf:params:acme:error:badNonce' }, { status: 400 }] }, /400 badNonce/],
  ] as [string, Parameters<typeof ca>[0], RegExp][])('%s: said in words', async (_, pages, words) => {
    expect(await lying(ca(pages))).toMatch(words);
  });
});

describe('when it is time', () => {
  const ca = makeCa({ commonName: 'A CA', years: 5, at: new Date(Date.now() - 400 * day) });
  const leafOf = (days: number, names: string[]) => {
    const publicKeyDer = newPair().publicKey.export({ type: 'spki', format: 'der' });
    return new X509Certificate(issueServerCertificate({ ca: ca.certificateDer, caKey: ca.privateKey, names, publicKeyDer, at: new Date(0), days }));
  };
  test.each([
    [90, 59, false],
    [90, 61, true],
    [6, 2.5, false],
    [6, 3.5, true],
    [397, 200, false],
    [397, 400, true],
  ])('of %d days after %d: %s', (days, after, due) => {
    expect(isAcmeDue(leafOf(days, ['keys.example.org']), ['keys.example.org'], after * day)).toBe(due);
  });

  test('a name that was added is reason enough; people have their own certificate, or this one', () => {
    expect(isAcmeDue(leafOf(90, ['keys.example.org']), ['keys.example.org', 'key.example.org'], day)).toBe(true);
    const settings = {
      serverUrl: 'https://keys.example.org:443',
      otherUrls: ['https://Keys.example.org:8443'],
      people: { url: 'https://key.example.org', tls: null },
    };
    expect(acmeNames(settings as unknown as Parameters<typeof acmeNames>[0])).toEqual(['keys.example.org', 'key.example.org']);
    const own = { ...settings, people: { ...settings.people, tls: { certificate: '/a', key: '/b' } } };
    expect(acmeNames(own as unknown as Parameters<typeof acmeNames>[0])).toEqual(['keys.example.org']);
  });

  test('settings with which every try would fail are refused at the start, all at once', async () => {
    const dir = join(folder, 'wrong');
    await makeDataFolder(dir, await freePort(), { names: ['192.0.2.1', 'keys'] });
    const { settings: file } = folderPaths(dir);
    const settings = JSON.parse(readFileSync(file, 'utf8'));
    const acme = { email: 'it@example.org', termsAgreed: true, trustedCertificatesFile: '/nowhere.pem' };
    const files = { certificate: '/a', key: '/b' };
    writeFileSync(file, JSON.stringify({ ...settings, tls: { acme, files }, proxy: { addresses: ['10.0.0.1'] } }));
    const said = mistakesOf(dir, true)
      .found.map(({ detail }) => detail)
      .join('; ');
    for (const words of ['leave out tls.files', 'what a proxy ends the TLS of', '192.0.2.1 is no name', 'keys is no name', '/nowhere.pem is not there'])
      expect(said).toContain(words);
    const mistakesWith = (more: object): string => {
      writeFileSync(file, JSON.stringify({ ...settings, tls: { acme: { email: 'it@example.org', termsAgreed: true } }, ...more }));
      return mistakesOf(dir, true)
        .found.map(({ detail }) => detail)
        .join('; ');
    };
    // The CA comes to each name: at an address where only the portal listens it finds nobody.
    const people = (host: string | null, tls: object | null = null) => ({ url: 'https://key.example.org', listen: { host, port: 8444 }, tls });
    const at = (host: string | null, of: object) => mistakesWith({ listen: { ...settings.listen, host }, people: of });
    const answered = /people\.listen\.host too, where nobody answers it/;
    expect(at('192.0.2.1', people('192.0.2.2'))).toMatch(answered);
    for (const found of [at('192.0.2.1', people('192.0.2.1')), at(null, people('192.0.2.2')), at('192.0.2.1', people(null))])
      expect(found).not.toMatch(answered);
    expect(at('192.0.2.1', people('192.0.2.2', { certificate: '/a', key: '/b' }))).not.toMatch(answered);
    writeFileSync(join(folder, 'none.pem'), 'no certificate');
    const trusting = (path: string) => mistakesWith({ tls: { acme: { ...acme, trustedCertificatesFile: path } } });
    expect(trusting(join(folder, 'none.pem'))).toMatch(/trustedCertificatesFile: .*none\.pem has no certificate/);
    expect(trusting(folder)).toContain('tls.acme.trustedCertificatesFile: ');
    writeFileSync(file, JSON.stringify({ ...settings, tls: { acme: { ...acme, termsAgreed: false } } }));
    expect(
      mistakesOf(dir, true)
        .found.map(({ detail }) => detail)
        .join('; '),
    ).toContain('tls.acme.termsAgreed');
    rmSync(dir, { recursive: true });
    expect(existsSync(dir)).toBe(false);
  });
});
