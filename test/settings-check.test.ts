import { createHash, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { beforeAll, expect, test } from '@jest/globals';
import { Problem } from '../protocol/problems.ts';
import { issueServerCertificate, makeCa, pem } from '../server/certificates.ts';
import { folderPaths } from '../server/data-folder.ts';
import { initialise } from '../server/init.ts';
import { init } from '../server/init-command.ts';
import type { Log } from '../server/log.ts';
import { serve } from '../server/serve.ts';
import { settingsCheck } from '../server/settings-command.ts';
import { escrowKeyFor } from './made-backend.ts';
import { freePort } from './ports.ts';
import { scratch } from './scratch.ts';

const folder = scratch('settings-check');
const dir = join(folder, 'data');
const paths = folderPaths(dir);
const passphrase = 'correct horse battery staple';
const logged: unknown[] = [];
const hear = (event: string, about?: object): void => void logged.push([event, about]);
const log: Log = { info: () => undefined, warn: hear, error: hear };
let next: string[];

beforeAll(async () => {
  const portal = { url: 'https://key.example.org', port: 8444 };
  const more = { names: ['127.0.0.1'], organisation: 'Example', devicesPort: 8443, copy: null, deviceCaFiles: [], ownTls: null };
  ({ next } = await initialise({ ...more, dir, passphrase, admin: 'olga', escrowKey: escrowKeyFor(passphrase), portal, say: () => undefined }));
});
const write = (people: object): void => {
  const settings = JSON.parse(readFileSync(paths.settings, 'utf8'));
  writeFileSync(paths.settings, JSON.stringify({ ...settings, people: { url: 'https://key.example.org', listen: { port: 8444 }, ...people } }));
};

test('init --portal writes settings with which the backend starts, names what is still open, and a certificate for that host too', async () => {
  expect(JSON.parse(readFileSync(paths.settings, 'utf8')).people).toEqual({
    url: 'https://key.example.org',
    listen: { port: 8444 },
    tls: null,
    signIn: { localAccounts: true, providers: [] },
    selfService: { everybody: 'on' },
    contact: null,
    mail: null,
  });
  expect(new X509Certificate(readFileSync(paths.tls.certificate)).checkHost('key.example.org')).toBe('key.example.org');
  expect(next.join('\n')).toContain(`sparekey-server settings check --dir ${dir}`);
  const { json, exit } = await settingsCheck({ dir, sealed: false });
  expect(exit).toBeUndefined();
  expect(json).toEqual({
    ok: true,
    mistakes: [],
    notes: [
      expect.stringMatching(/^people\.tls: left out: /),
      expect.stringMatching(/^emergency accounts with a passkey: 0 of two .*https:\/\/key\.example\.org\/set-up/),
      expect.stringMatching(/^people\.contact: left out: /),
      expect.stringMatching(/^people\.mail\.smtp: left out: mails stay files in /),
      expect.stringMatching(/^console: left out/),
    ],
  });
});

test.each([
  [{ portal: 'http://key.example.org' }, '--portal is an address'],
  [{ portal: 'https://key.example.org/keys' }, '--portal is an address'],
  [{ portalPort: 443 }, '--portal-port goes with --portal'],
  [{ onePort: true }, '--one-port goes with --portal'],
  [{ onePort: true, portal: 'https://key.example.org', portalPort: 8444 }, '--one-port goes with --portal and without --portal-port'],
  [{ onePort: true, portal: 'https://keys.example.org' }, '--one-port needs two names'],
  [{ console: 'https://console.example.org' }, '--console goes with --portal'],
  [{ portal: 'https://key.example.org', console: 'https://console.example.org/admin' }, '--console is an address'],
])('init refuses %j before a passphrase is asked for', async (portal, says) => {
  const flags = { dir: join(folder, 'other'), name: 'keys.example.org', organisation: 'Example', devicesPort: 8443, copy: false, deviceCa: [], admin: 'olga' };
  const refused = await init({ ...flags, copy: false, ...portal }).catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(Problem);
  expect((refused as Problem).message).toContain(says);
});

test('init --one-port --console puts two listeners on 443, where nobody has to forward anything, and the admins’ site on this machine alone, with a certificate for its name', async () => {
  const passphraseFile = join(folder, 'passphrase');
  writeFileSync(passphraseFile, passphrase, { mode: 0o600 });
  const flags = { dir: join(folder, 'admins'), name: 'keys.example.org', organisation: 'Example', copy: false as const, deviceCa: [], admin: 'olga' };
  const console = 'https://console.example.org:8446';
  const { json, warnings } = await init({ ...flags, portal: 'https://key.example.org', onePort: true, console, passphraseFile });
  const made = folderPaths(flags.dir);
  expect(JSON.parse(readFileSync(made.settings, 'utf8'))).toMatchObject({
    listen: { port: 443 },
    people: { listen: { port: 443 } },
    console: { url: console, listen: { host: '127.0.0.1', port: 8446 } },
  });
  expect(new X509Certificate(readFileSync(made.tls.certificate)).checkHost('console.example.org')).toBe('console.example.org');
  expect((json as { next: string[] }).next.join('\n')).toContain('role give NAME owner');
  expect(warnings).toEqual([expect.stringMatching(/^there is no offline copy/)]);
  const { notes } = (await settingsCheck({ dir: flags.dir, sealed: false })).json as { notes: string[] };
  expect(notes.filter((note) => note.startsWith('console.'))).toEqual([
    expect.stringMatching(/^console\.metricsTokenFile: left out, and console\.networks too/),
    expect.stringMatching(/^console\.tls: left out/),
  ]);
});

test('settings for admins that do not hold together are refused, all at once and each by its name', async () => {
  const made = folderPaths(join(folder, 'admins'));
  const before = JSON.parse(readFileSync(made.settings, 'utf8')) as { people: { url: string } };
  const token = join(folder, 'metrics-token');
  writeFileSync(token, 'too short', { mode: 0o600 });
  const console = { url: before.people.url, listen: { port: 443, host: null }, networks: ['10.0.0.0/8', '0.0.0.0/1'], metricsTokenFile: token };
  const check = async (given: object) => {
    writeFileSync(made.settings, JSON.stringify({ ...before, ...given }));
    return ((await settingsCheck({ dir: join(folder, 'admins'), sealed: false })).json as { mistakes: string[] }).mistakes.toSorted();
  };
  expect(await check({ console })).toEqual([
    'console.listen: is where the listener for Macs is',
    'console.listen: is where the listener for people is',
    `console.metricsTokenFile: what ${token} holds is no token of 24 to 512 signs without spaces (openssl rand -hex 32)`,
    'console.networks: 0.0.0.0/1 is nearly everybody: leave networks out, or name your own',
    'console.url: is the address of the site for people',
  ]);
  expect(await check({ people: null, console: { url: 'https://console.example.org', listen: { port: 8446 } } })).toEqual([
    'console: needs `people`, for admins sign in as people do',
  ]);
  expect(await check({ console: { ...console, networks: ['ten'] } })).toContain('console.networks.0: is no address or network such as 10.0.0.0/24');
});

test('values that are wrong and files that are wrong are listed together, each once, and the exit status is that of settings', async () => {
  write({
    url: 'http://key.example.org',
    tls: { certificate: '/nowhere.pem', key: 'key.pem' },
    signIn: {
      freshMinutes: 600,
      providers: [
        { id: 'work', name: 'Work', issuer: 'https://login.example.org', clientId: 'x', clientSecretFile: '/nowhere/secret' },
        { id: 'Work', name: 'Work', issuer: 'https://login.example.org', clientId: 'x' },
      ],
    },
    brand: { accent: 'blue', logoFile: '/nowhere.svg' },
    mail: { from: 'nobody', smtp: { host: 'mail.example.org', user: 'x', passwordFile: 'secret' } },
    colour: 'red',
  });
  const { json, text, exit } = await settingsCheck({ dir, sealed: true });
  expect(exit).toBe(78);
  const { mistakes } = json as { mistakes: string[] };
  expect(mistakes.toSorted()).toEqual([
    'keys.grants: must be "never" in a server that was started with --sealed',
    'people.brand.accent: is not a colour such as #0a5c8a',
    'people.brand.logoFile: /nowhere.svg cannot be read (ENOENT)',
    'people.colour: there is no such setting',
    'people.mail.from: is not an e-mail address',
    'people.mail.smtp.passwordFile: is not an absolute path',
    'people.signIn.freshMinutes: is out of range (most 60)',
    'people.signIn.providers.0.clientSecretFile: /nowhere/secret cannot be read (ENOENT)',
    'people.signIn.providers.1.id: is not a short name of small letters, digits and dashes',
    'people.tls.key: is not an absolute path',
    'people.url: is not an https origin such as https://key.example.org',
  ]);
  expect(text.split('\n')).toHaveLength(mistakes.length + 1);
  writeFileSync(paths.settings, '{\n "serverUrl": 1,, }');
  expect((await settingsCheck({ dir, sealed: false })).json).toMatchObject({ ok: false, mistakes: [`${paths.settings} is not JSON: line 2 column 17`] });
});

test('a certificate for people or for admins that was replaced on the disk counts within a day, without a restart; one near its end, or another host’s, is said', async () => {
  const [port, devicesPort, adminsPort] = [await freePort(), await freePort(), await freePort()];
  const tls = { certificate: join(folder, 'portal.pem'), key: join(folder, 'portal-key.pem') };
  const bring = (left: number): string => {
    const days = 90;
    const at = new Date(Date.now() - (days - left) * 86_400_000);
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const ca = makeCa({ commonName: 'Public CA', years: 1, at });
    const publicKeyDer = publicKey.export({ type: 'spki', format: 'der' });
    const der = issueServerCertificate({ ca: ca.certificateDer, caKey: ca.privateKey, names: ['key.example.com'], publicKeyDer, at, days });
    writeFileSync(tls.certificate, pem('CERTIFICATE', der), { mode: 0o644 });
    writeFileSync(tls.key, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
    return createHash('sha256').update(der).digest('hex');
  };
  const seen = async (port: number): Promise<string> => {
    const socket = await new Promise<TLSSocket>((resolve, reject) => {
      const made = connect({ host: '127.0.0.1', port, rejectUnauthorized: false }, () => resolve(made)).on('error', reject);
    });
    const { fingerprint256 } = socket.getPeerCertificate();
    socket.destroy();
    return fingerprint256.replaceAll(':', '').toLowerCase();
  };
  const first = bring(90);
  const people = { url: `https://key.example.org:${port}`, listen: { host: '127.0.0.1', port }, tls };
  const console = { url: `https://console.example.org:${adminsPort}`, listen: { port: adminsPort }, tls };
  const macs = { serverUrl: `https://127.0.0.1:${devicesPort}`, listen: { host: '127.0.0.1', port: devicesPort } };
  writeFileSync(paths.settings, JSON.stringify({ ...macs, people, console }));
  const serving = await serve({ dir, passphrase, log, mountSites: async () => undefined });
  try {
    expect([await seen(port), await seen(adminsPort)]).toEqual([first, first]);
    expect(serving.console).toEqual({ url: console.url, port: adminsPort });
    const second = bring(5);
    expect(serving.renewCertificate()).toBe(false);
    expect([await seen(port), await seen(adminsPort)]).toEqual([second, second]);
  } finally {
    await serving.stop();
  }
  const { notes } = (await settingsCheck({ dir, sealed: false })).json as { notes: string[] };
  expect(notes).toEqual(
    expect.arrayContaining([
      `people.url: ${tls.certificate} is not a certificate for key.example.org`,
      `console.url: ${tls.certificate} is not a certificate for console.example.org`,
      expect.stringMatching(new RegExp(`^certificate of the listener for admins \\(${tls.certificate}\\): ends on .*, in less than 7 days$`)),
      expect.stringMatching(new RegExp(`^certificate of the listener for people \\(${tls.certificate}\\): ends on .*, in less than 7 days$`)),
    ]),
  );
});
