import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { Problem } from '../protocol/problems.ts';
import { initialise } from '../server/init.ts';
import { checkPeople } from '../server/people-check.ts';
import { peopleSettings } from '../server/people-settings.ts';
import { checkDataFolder } from '../server/serve-check.ts';
import { escrowKeyFor } from './made-backend.ts';
import { pair } from './mail-parts.ts';
import { scratch } from './scratch.ts';

const folder = scratch('people');
const file = (name: string, content: string | Buffer, mode = 0o600): string => {
  const path = join(folder, name);
  writeFileSync(path, content, { mode });
  chmodSync(path, mode);
  return path;
};
const macs = { listen: { host: null, port: 8443 }, serverUrl: 'https://keys.example.org:8443', otherUrls: [], proxy: null };
const base = { url: 'https://key.example.org', listen: { port: 8444 } };

function wrongWith(people: object): string[] {
  try {
    checkPeople(peopleSettings.parse({ ...base, ...people }), macs);
    return [];
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    expect(error.code).toBe('SERVER_SETTINGS_INVALID');
    return (error.detail ?? '').split('; ');
  }
}
const provider = { id: 'work', name: 'Work', issuer: 'https://login.example.org', clientId: 'portal' };

test('settings whose files are there and private are taken', () => {
  const secret = file('secret', 'abc\n');
  const ca = file('ca.pem', pair.ca, 0o644);
  const people = {
    tls: { certificate: file('tls.pem', pair.certificate + pair.ca, 0o644), key: file('tls-key.pem', pair.key) },
    brand: { logoFile: file('logo.svg', '<svg xmlns="http://www.w3.org/2000/svg"/>', 0o644) },
    signIn: { providers: [{ ...provider, clientSecretFile: secret, trustedCertificatesFile: ca }] },
    mail: { from: 'sparekey@example.org', smtp: { host: 'mail.example.org', user: 'sparekey', passwordFile: secret, trustedCertificatesFile: ca } },
  };
  expect(wrongWith({})).toEqual([]);
  expect(wrongWith(people)).toEqual([]);
});

test('all that is wrong is said at once, each where it is, and nothing of what a file holds', () => {
  const open = file('open', 'a-secret-that-is-read', 0o644);
  const empty = file('empty', '\n');
  const text = file('text', 'no certificate', 0o644);
  const directory = join(folder, 'directory');
  mkdirSync(directory, { recursive: true });
  const wrong = wrongWith({
    url: 'https://keys.example.org:8443',
    listen: { port: 8443 },
    tls: { certificate: text, key: open },
    brand: { logoFile: text },
    signIn: {
      providers: [
        { ...provider, clientSecretFile: open, trustedCertificatesFile: text },
        { ...provider, clientSecretFile: '/nowhere/secret', scopes: ['profile'] },
        { ...provider, id: 'other', clientSecretFile: directory },
      ],
    },
    selfService: { groups: [{ group: 'Sales' }, { group: 'Sales' }] },
    mail: { from: 'sparekey@example.org', smtp: { host: 'mail.example.org', passwordFile: empty, trustedCertificatesFile: text } },
  });
  expect(wrong).toEqual([
    'people.listen.port: is the port of the listener for Macs',
    'people.url: is the address of the listener for Macs',
    `people.tls.certificate: ${text} is no PEM file with certificates`,
    `people.tls.key: others can read ${open} (chmod 600)`,
    `people.signIn.providers.0.clientSecretFile: others can read ${open} (chmod 600)`,
    `people.signIn.providers.0.trustedCertificatesFile: ${text} is no PEM file with certificates`,
    'people.signIn.providers.1.id: work is there twice',
    'people.signIn.providers.1.scopes: openid is missing',
    'people.signIn.providers.1.clientSecretFile: /nowhere/secret cannot be read (ENOENT)',
    `people.signIn.providers.2.clientSecretFile: ${directory} is no file`,
    'people.selfService.groups.1.group: Sales is there twice',
    'people.mail.smtp: user and passwordFile go together',
    `people.mail.smtp.passwordFile: ${empty} is empty`,
    `people.mail.smtp.trustedCertificatesFile: ${text} is no PEM file with certificates`,
    `people.brand.logoFile: ${text} is no SVG, PNG or WebP`,
  ]);
  expect(wrong.join()).not.toContain('a-secret-that-is-read');
});

test('a sign-in outlives ten times more time (WCAG 2.2.1): shorter ones are refused', () => {
  const reads = (signIn: object) => peopleSettings.safeParse({ ...base, signIn }).success;
  expect([reads({ sessionHours: 2 }), reads({ sessionHours: 1 }), reads({ idleMinutes: 10 }), reads({ idleMinutes: 9 })]).toEqual([true, false, true, false]);
});

test('a key that is another’s, or that has a passphrase, is refused', () => {
  const certificate = file('tls.pem', pair.certificate, 0o644);
  const ca = file('own-ca.pem', pair.ca, 0o644);
  const key = file('tls-key.pem', pair.key);
  expect(wrongWith({ tls: { certificate: ca, key } })).toEqual(['people.tls.key: is not the key of people.tls.certificate']);
  const locked = file('locked.pem', '-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n');
  expect(wrongWith({ tls: { certificate, key: locked } })).toEqual([`people.tls.key: ${locked} is no private key in PEM without a passphrase`]);
});

test('where nobody could sign in, that is said', () => {
  expect(wrongWith({ signIn: { localAccounts: false } })).toEqual([
    'people.signIn: no local accounts and no provider: nobody but the emergency accounts could sign in',
  ]);
});

test('a server does not start with them', async () => {
  const dir = join(scratch('start'), 'data');
  const options = { dir, names: ['127.0.0.1'], organisation: 'Example', devicesPort: 8443, passphrase: 'correct horse battery staple', copy: null };
  await initialise({ ...options, deviceCaFiles: [], ownTls: null, admin: 'admin', escrowKey: escrowKeyFor(options.passphrase), say: () => undefined });
  expect(() => checkDataFolder(dir, true)).not.toThrow();
  const path = join(dir, 'settings.json');
  const settings = JSON.parse(readFileSync(path, 'utf8'));
  writeFileSync(path, JSON.stringify({ ...settings, people: { ...base, brand: { logoFile: '/nowhere/logo.svg' } } }));
  expect(() => checkDataFolder(dir, true)).toThrow(/people\.brand\.logoFile: \/nowhere\/logo\.svg cannot be read \(ENOENT\)/);
});

test('one port for Macs and people needs two names', () => {
  const listen = { port: 8443 };
  expect(wrongWith({ listen })).toEqual([]);
  expect(wrongWith({ listen, url: 'https://keys.example.org' })).toEqual(['people.listen.port: is the port of the listener for Macs']);
  expect(wrongWith({ listen, url: 'https://192.0.2.1' })).toEqual(['people.url: must have a name and not an address, where both listeners have one port']);
  expect(wrongWith({ listen: { port: 8443, host: '127.0.0.1' } })).toEqual(['people.listen.port: is the port of the listener for Macs']);
});
