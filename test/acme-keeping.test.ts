import { createPublicKey, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { chmodSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { afterAll, expect, test } from '@jest/globals';
import { Fields, readAsn1 } from '../protocol/asn1.ts';
import { createAcmeRenewal } from '../server/acme/renewal.ts';
import { issueServerCertificate, makeCa, pem } from '../server/certificates.ts';
import { type FolderPaths, folderPaths } from '../server/data-folder.ts';
import { silentLog } from '../server/log.ts';
import type { ServerSettings } from '../server/settings.ts';
import { scratch } from './scratch.ts';

/** What becomes of what a CA has given: by a CA that finds every name at once, and makes what the test says. */
const folder = scratch('sparekey-acme-keeping');
const ends: (() => Promise<void> | void)[] = [];
afterAll(async () => {
  for (const end of ends.reverse()) await end();
});

const day = 86_400_000;
const hour = day / 24;
const authority = makeCa({ commonName: 'A CA', years: 5, at: new Date(Date.now() - 10 * day) });

interface Given {
  /** How often it has made one. */
  made: number;
  /** Where it says that its certificate begins, from now. */
  from: number;
  /** Behind the leaf. */
  more: string;
  /** Seconds after which it wants to be asked again. */
  comeBack: number | null;
  /** What it gives as addresses: the whole of them, or their path. */
  relative: boolean;
  /** It has this account already. */
  isKnown: boolean;
  /** What came: the address in the signed head, and the content. */
  asked: { path: string; url: string; kid?: string; payload: Record<string, unknown> }[];
}

async function given(name: string, external: object | null = null) {
  const more = pem('CERTIFICATE', authority.certificateDer);
  const ca: Given = { made: 0, from: -hour, more, comeBack: null, relative: false, isKnown: false, asked: [] };
  let leaf = '';
  const server = createServer((request, reply) => {
    const origin = `http://${request.headers.host}`;
    let text = '';
    request.on('data', (chunk) => (text += chunk));
    request.on('end', () => {
      const at = ca.relative ? '' : origin;
      if (text !== '') {
        const { protected: head, payload } = JSON.parse(text) as { protected: string; payload: string };
        const read = (part: string) => (part === '' ? {} : (JSON.parse(Buffer.from(part, 'base64url').toString()) as Record<string, unknown>));
        const { url, kid } = read(head) as { url: string; kid?: string };
        ca.asked.push({ path: request.url ?? '', url: url.replace(origin, ''), payload: read(payload), ...(kid ? { kid: kid.replace(origin, '') } : {}) });
        // What is signed is a whole address.
        expect([url.startsWith(origin), kid === undefined || kid.startsWith(origin)]).toEqual([true, true]);
      }
      const order = { status: leaf ? 'valid' : 'ready', authorizations: [], finalize: `${origin}/finalize`, certificate: `${origin}/certificate` };
      const pages: Record<string, () => [unknown, number?, string?]> = {
        '/dir': () => [{ newNonce: `${origin}/nonce`, newAccount: `${origin}/account`, newOrder: `${origin}/orders` }],
        '/account': () => {
          const isThere = ca.isKnown;
          const { onlyReturnExisting } = ca.asked.at(-1)?.payload ?? {};
          if (onlyReturnExisting === true && !isThere) return [{ type: 'urn:ietf:params:acme:error:accountDoesNotExist' }, 400];
          ca.isKnown = true;
          return [{}, isThere ? 200 : 201, `${at}/account/1`];
        },
        '/orders': () => {
          leaf = '';
          return [{ ...order, status: 'ready' }, 201, `${at}/order`];
        },
        '/order': () => [order],
        '/finalize': () => {
          const { csr } = JSON.parse(Buffer.from(JSON.parse(text).payload, 'base64url').toString()) as { csr: string };
          // Request, what is asked for, and in that the key after version and name.
          const info = new Fields(
            new Fields(readAsn1(Buffer.from(csr, 'base64url'), { bytes: 4096, depth: 16, elements: 200 }), 'sequence').next('sequence'),
            'sequence',
          );
          info.next('integer');
          info.next('sequence');
          const publicKeyDer = createPublicKey({ key: info.next('sequence').raw, format: 'der', type: 'spki' }).export({ type: 'spki', format: 'der' });
          const at = new Date(Date.now() + ca.from);
          const names = ['keys.example.org'];
          leaf = pem('CERTIFICATE', issueServerCertificate({ ca: authority.certificateDer, caKey: authority.privateKey, names, publicKeyDer, at, days: 90 }));
          ca.made += 1;
          return [order];
        },
      };
      const [body, status = 200, location] = ca.comeBack === null ? (pages[request.url ?? '']?.() ?? [{}]) : [{}, 503];
      const isCertificate = request.url === '/certificate';
      reply.writeHead(status, {
        'replay-nonce': 'n',
        'content-type': isCertificate ? 'application/pem-certificate-chain' : 'application/json',
        ...(location ? { location } : {}),
        ...(ca.comeBack === null ? {} : { 'retry-after': String(ca.comeBack) }),
      });
      reply.end(isCertificate ? leaf + ca.more : JSON.stringify(body));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  ends.push(() => new Promise((resolve) => server.close(() => resolve())));
  const address = server.address();
  const directory = `http://127.0.0.1:${typeof address === 'object' && address ? address.port : 0}/dir`;
  const paths = folderPaths(join(folder, name));
  mkdirSync(join(folder, name, 'acme'), { recursive: true, mode: 0o700 });
  const acme = { directory, email: 'it@example.org', termsAgreed: true, external, trustedCertificatesFile: null, proxy: null };
  const settings = { serverUrl: 'https://keys.example.org', otherUrls: [], people: null, tls: { acme } } as unknown as ServerSettings;
  const clock = { ahead: 0 };
  const open = () => {
    const challenges = { isFor: () => false, take: () => undefined, show: () => undefined, hide: () => undefined };
    const renewal = createAcmeRenewal({ paths, settings, challenges, now: () => Date.now() + clock.ahead, log: silentLog });
    ends.push(renewal.close);
    return renewal;
  };
  return { ca, paths, clock, open };
}

const certificateIn = ({ acme }: FolderPaths): X509Certificate => new X509Certificate(readFileSync(acme.certificate));

test('while nothing can be written no certificate is asked for; what is remembered of it does not need the disk', async () => {
  const { ca, paths, clock, open } = await given('full');
  const renewal = open();
  // Root writes anywhere: a folder in the place of each file that would be written.
  mkdirSync(join(paths.dir, 'acme', '.writable'));
  mkdirSync(join(paths.dir, 'acme', 'note.json', 'in-the-way'), { recursive: true });
  expect(await renewal.look()).not.toBeNull();
  expect(await renewal.look()).not.toBeNull();
  expect(ca.made).toBe(0);
  // The note still cannot be kept: one certificate, and not another each minute.
  rmSync(join(paths.dir, 'acme', '.writable'), { recursive: true });
  clock.ahead = 2 * hour;
  expect(await renewal.look()).toBeNull();
  expect(await renewal.look()).toBeNull();
  expect(ca.made).toBe(1);
});

test('a certificate that would be due at once is not taken, and not asked for again within the hour: the CA gives five a week', async () => {
  const { ca, clock, paths, open } = await given('clock');
  clock.ahead = 75 * day;
  const renewal = open();
  expect(await renewal.look()).toMatch(/would have to be replaced at once: the clock of this machine says/);
  for (let minute = 0; minute < 5; minute += 1) expect(await renewal.look()).toMatch(/at once/);
  expect(ca.made).toBe(1);
  expect(() => readFileSync(paths.acme.certificate)).toThrow();
});

test('a chain that TLS does not take, or that is longer than any, is a failure of the try, and the one before stays', async () => {
  const { ca, clock, paths, open } = await given('chain');
  const renewal = open();
  expect(await renewal.look()).toBeNull();
  const before = certificateIn(paths).fingerprint256;
  clock.ahead = 70 * day;
  ca.from = 69 * day;
  for (const more of ['-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n', pem('CERTIFICATE', authority.certificateDer).repeat(200)]) {
    ca.more = more;
    expect(await renewal.look({ atOnce: true })).toMatch(/has a chain that TLS does not take/);
    expect(certificateIn(paths).fingerprint256).toBe(before);
  }
  ca.more = pem('CERTIFICATE', authority.certificateDer);
  expect(await renewal.look({ atOnce: true })).toBeNull();
  expect(certificateIn(paths).fingerprint256).not.toBe(before);
});

test('the key of the account is there whole or not at all; one that is damaged is named', async () => {
  const { ca, paths, open } = await given('account');
  const file = join(paths.dir, 'acme', 'account-key.pem');
  // What a power cut leaves of a file that is made in one step.
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  writeFileSync(`${file}.new`, '', { mode: 0o600 });
  expect(await open().look()).toBeNull();
  expect(ca.made).toBe(1);
  rmSync(join(paths.dir, 'acme', 'note.json'));
  writeFileSync(file, '', { mode: 0o600 });
  expect(await open().look()).toContain(`${file} is no private key`);
  writeFileSync(file, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
  chmodSync(file, 0o644);
  expect(await open().look({ atOnce: true })).toBe(file);
});

test('a CA that names the time at which it wants to be asked again is not asked before it', async () => {
  const { ca, clock, open } = await given('later');
  const renewal = open();
  ca.comeBack = 5 * 3600;
  expect(await renewal.look()).toMatch(/come back in 18000 s/);
  ca.comeBack = null;
  clock.ahead = 4.9 * hour;
  expect([await renewal.look(), ca.made]).toEqual([expect.stringMatching(/come back/), 0]);
  clock.ahead = 5.1 * hour;
  expect([await renewal.look(), ca.made]).toEqual([null, 1]);
});

test('addresses that a CA gives without its name are signed whole', async () => {
  const { ca, open } = await given('relative');
  ca.relative = true;
  expect(await open().look()).toBeNull();
  expect(ca.asked.find(({ path }) => path === '/order')).toMatchObject({ url: '/order', kid: '/account/1' });
});

test('a CA that gives accounts to its customers is sent the binding once: whoever has an account asks for it', async () => {
  const keyFile = join(folder, 'external.key');
  writeFileSync(keyFile, Buffer.alloc(32, 7).toString('base64url'), { mode: 0o600 });
  const { ca, clock, open } = await given('external', { keyId: 'customer-1', keyFile });
  const renewal = open();
  expect(await renewal.look()).toBeNull();
  clock.ahead = 70 * day;
  ca.from = 69 * day;
  expect(await renewal.look()).toBeNull();
  const bindings = ca.asked.filter(({ path }) => path === '/account').map(({ payload }) => 'externalAccountBinding' in payload);
  expect(bindings).toEqual([false, true, false]);
});
