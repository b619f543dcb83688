import { spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { certificateDigest } from '../protocol/envelope.ts';
import { readLine } from '../server/census/line.ts';
import { makePair, pemToDer } from './fake-mac/certificates.ts';
import { FakeMac } from './fake-mac/fake-mac.ts';
import { testWithOpenssl } from './openssl.ts';

const script = join(import.meta.dirname, '../scripts/assess.sh');
const text = readFileSync(script, 'utf8');
const escrow = makePair({ subject: { CN: 'Escrow "quoted" \\ back', O: 'Example' }, kind: 'escrow' });

let folder: string;
const macs: FakeMac[] = [];

interface Ran {
  code: number | null;
  stdout: string;
  stderr: string;
  line: Record<string, unknown>;
}

function assess(root: string, options: readonly string[] = [], shell = '/bin/sh', uid?: number): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const temporary = mkdtempSync(join(folder, 'run-'));
    if (uid !== undefined) chmodSync(temporary, 0o777);
    // In the shell's own language, and with a PATH in which nothing of macOS is.
    const child = spawn(shell, [script, ...options, '--root', root], {
      cwd: '/',
      env: { TMPDIR: temporary, PATH: '/nowhere', LANG: 'de_DE.UTF-8' },
      ...(uid ? { uid } : {}),
    });
    const ran = { stdout: '', stderr: '' };
    child.stdout.on('data', (data) => (ran.stdout += data));
    child.stderr.on('data', (data) => (ran.stderr += data));
    child.on('error', reject);
    child.on('close', (code) => {
      expect(readdirSync(temporary)).toEqual([]);
      const json = ran.stdout.replace(/^<result>|<\/result>\n$/g, '');
      resolve({ ...ran, code, line: JSON.parse(json) as Record<string, unknown> });
    });
  });
}

function newMac(name: string, options: Parameters<typeof FakeMac.create>[0] = {}): FakeMac {
  const mac = FakeMac.create({ root: join(folder, name), folder: true, escrowProfile: 'foreign', user: 'ada', serial: 'C02XK1ZJJGH5', ...options });
  macs.push(mac);
  return mac;
}
const program = (mac: FakeMac, path: string, words: string): void => {
  mkdirSync(dirname(mac.path(path)), { recursive: true });
  writeFileSync(mac.path(path), `#!/bin/sh\ncat <<'END'\n${words}\nEND\n`, { mode: 0o755 });
};
const there = (mac: FakeMac, ...paths: string[]): void => {
  for (const path of paths) mkdirSync(mac.path(path), { recursive: true });
};

const ran: Record<string, Ran> = {};

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sparekey-assess-'));
  chmodSync(folder, 0o755);

  const foreign = newMac('foreign');
  const twelveDaysAgo = Date.now() / 1000 - 12.5 * 86_400;
  utimesSync(foreign.path('/var/db/FileVaultPRK.dat'), twelveDaysAgo, twelveDaysAgo);
  program(
    foreign,
    '/usr/libexec/mdmclient',
    'Daemon response: {\n    SecurityInfo =     {\n        "FDE_Enabled" = 1;\n        IsRecoveryLockEnabled = 1;\n    };\n}',
  );
  there(foreign, '/Library/Security/SecurityAgentPlugins/Escrow Buddy.bundle', '/usr/local/jamf/bin/jamf', '/opt/orbit');
  foreign.change((state) => {
    state.loginMechanisms.push('Crypt:Check,privileged');
  });
  foreign.addUser('grace', { secureToken: false });

  const ours = newMac('ours', {
    escrowProfile: 'ours',
    escrowCertificate: escrow.certificate,
    macosVersion: '15.7.1',
    settings: { serverUrl: 'https://keys.example.org' },
  });
  there(ours, '/Library/Sparekey/lib/sparekey.mjs');
  writeFileSync(ours.path('/Library/Sparekey/lib/package.json'), '{ "name": "sparekey", "version": "1.4.0" }\n');
  ours.change((state) => {
    state.disk.institutionalKey = true;
    const [profile] = state.profiles;
    if (profile?.escrow) profile.escrow.location = 'IT & <Support> "desk" \\ Zürich';
  });

  const several = newMac('several');
  several.installEscrowProfile('ours', escrow.certificate, true);

  const bare = newMac('bare', { escrowProfile: 'none', fileVault: 'off' });
  bare.change((state) => {
    state.chip = 'Intel(R) Core(TM) i7-8569U CPU @ 2.80GHz';
    state.model = 'MacBookPro15,2';
    state.mdm = { server: null, enrolledByDep: false, bootstrapTokenSupported: false, bootstrapTokenEscrowed: false };
    state.disk.deferredFor = 'ada';
  });
  program(bare, '/usr/sbin/system_profiler', 'Controller:\n\n    Controller Information:\n\n      Model Name: Apple T2 Security Chip');
  program(bare, '/usr/sbin/firmwarepasswd', 'Password Enabled: Yes');

  const silent = newMac('silent');
  silent.setCommandQuirk('fdesetup', 'hang');
  silent.setCommandQuirk('profiles', 'garbage');
  silent.setCommandQuirk('ioreg', 'missing');
  writeFileSync(silent.path('/var/db/FileVaultPRK.dat'), Buffer.from([0x30, 0x80, 0x06, 0x09, 0x2a]));

  const other = newMac('not-root');
  other.setCommandQuirk('profiles -C -o stdout-xml', 'fail:1');
  other.setCommandQuirk('fdesetup haspersonalrecoverykey', 'answer:false\n');
  for (const open of ['.fake', 'var/db']) chmodSync(other.path(open), 0o755);
  for (const entry of readdirSync(other.path('.fake'), { recursive: true })) chmodSync(other.path(join('.fake', String(entry))), 0o755);
  chmodSync(other.path('/var/db/FileVaultPRK.dat'), 0o600);

  const dash = existsSync('/bin/dash') ? '/bin/dash' : '/bin/sh';
  const bash = existsSync('/bin/bash') ? '/bin/bash' : '/bin/sh';
  const runs: [string, Promise<Ran>][] = [
    ['foreign', assess(foreign.root, [], dash)],
    ['ours', assess(ours.root, ['--jamf'], bash)],
    ['several', assess(several.root, ['--users', 'none'])],
    ['bare', assess(bare.root)],
    ['silent', assess(silent.root, ['--limit', '3'])],
    ['not-root', assess(other.root, [], dash, process.getuid?.() === 0 ? 65_534 : undefined)],
    ['nothing', assess(join(folder, 'no-such-root'))],
  ];
  for (const [name, run] of runs) ran[name] = await run;
}, 120_000);
afterAll(() => {
  for (const mac of macs) mac.dispose();
  rmSync(folder, { recursive: true, force: true });
});

const of = (name: string): Ran => {
  const found = ran[name];
  if (!found) throw new Error(`nothing was run for ${name}`);
  return found;
};

describe('assess.sh', () => {
  testWithOpenssl('prints one line of JSON that the census reads, and nothing else, whatever it met', () => {
    for (const [name, { code, stdout, stderr }] of Object.entries(ran)) {
      expect({ name, code, stderr, lines: stdout.split('\n').length }).toEqual({ name, code: 0, stderr: '', lines: 2 });
      expect(stdout.length).toBeLessThan(4000);
      const read = readLine(stdout.replace(/<\/?result>/g, '').trim(), 'C02XK1ZJJGH5');
      expect(read).toMatchObject({ mac: { serial: 'C02XK1ZJJGH5', missing: [] } });
    }
  });

  testWithOpenssl('a foreign payload: whose it is, for whom the file is sealed and how old it is, and who else replaces keys', () => {
    expect(of('foreign').line).toMatchObject({
      sparekeyAssess: 1,
      root: process.getuid?.() === 0,
      serial: 'C02XK1ZJJGH5',
      processor: 'apple',
      t2: false,
      macos: '26.6.2',
      fileVault: 'on',
      personalKey: 'yes',
      institutionalKey: 'no',
      payloads: [
        {
          location: 'Some MDM keeps the recovery key of this Mac.',
          profile: 'com.some-mdm.filevault',
          payload: 'com.some-mdm.filevault.escrow',
          organisation: 'Some MDM',
          certificate: expect.stringMatching(/^[0-9a-f]{64}$/),
        },
      ],
      escrowFile: { ageDays: 12, sha256: expect.stringMatching(/^[0-9a-f]{64}$/) },
      bootstrapToken: { supported: 'yes', escrowed: 'yes' },
      mdm: { enrolled: 'yes', userApproved: 'yes', dep: 'yes', server: 'mdm.example.com' },
      users: 2,
      secureTokenUsers: 1,
      recoveryLock: 'yes',
      rotators: { byThemselves: ['Escrow Buddy', 'Crypt'], byOrder: ['Jamf', 'Fleet'] },
      sparekey: { installed: false, settings: false },
    });
    const { payloads, escrowFile } = of('foreign').line as { payloads: { recipient: unknown }[]; escrowFile: { recipients: unknown[] } };
    // The two are read from different files, by the same words: so they can be compared.
    expect(escrowFile.recipients).toEqual([payloads[0]?.recipient]);
    expect(escrowFile.recipients).toEqual([
      { issuer: expect.stringContaining('commonName=Some MDM FileVault Escrow'), serial: expect.stringMatching(/^[0-9A-F]+$/) },
    ]);
  });

  testWithOpenssl('our payload: its certificate by its digest; quotes, brackets and other letters stay what they are; --jamf puts <result> around it', () => {
    const { stdout, line } = of('ours');
    expect(line).toMatchObject({
      macos: '15.7.1',
      institutionalKey: 'yes',
      payloads: [{ location: 'IT & <Support> "desk" \\ Zürich', certificate: certificateDigest(pemToDer(escrow.certificate)) }],
      escrowFile: { recipients: [{ issuer: expect.stringContaining('commonName=Escrow "quoted" \\ back') }] },
      sparekey: { installed: true, version: '1.4.0', settings: true },
    });
    expect(stdout).toMatch(/^<result>\{[^<>&]*\}<\/result>\n$/);
  });

  testWithOpenssl('several payloads are all told; with --users none nobody is counted', () => {
    const { payloads, users, secureTokenUsers } = of('several').line;
    expect((payloads as { organisation: string }[]).map(({ organisation }) => organisation)).toEqual(['Some MDM', 'Example IT']);
    expect([users, secureTokenUsers]).toEqual([null, null]);
  });

  testWithOpenssl('an Intel Mac without FileVault, payload or MDM says so, and names nobody', () => {
    expect(of('bare').line).toMatchObject({
      processor: 'intel',
      t2: true,
      fileVault: 'off',
      deferred: true,
      personalKey: 'unknown',
      payloads: [],
      payloadHint: null,
      escrowFile: null,
      mdm: { enrolled: 'no', userApproved: 'no', dep: 'no', server: null },
      recoveryLock: 'yes',
      bootstrapToken: { escrowed: 'unknown' },
      problems: [],
    });
    for (const { stdout } of Object.values(ran)) expect(stdout).not.toMatch(/\bada\b|\bgrace\b/);
  });

  testWithOpenssl('commands that hang, are missing or talk nonsense cost their time limit once, and are told', () => {
    const { line } = of('silent');
    expect(line).toMatchObject({ serial: null, fileVault: 'unknown', personalKey: 'unknown', payloads: null, macos: '26.6.2', secureTokenUsers: 1 });
    expect(line['escrowFile']).toMatchObject({ bytes: 5, recipients: [], sha256: expect.stringMatching(/^[0-9a-f]{64}$/) });
    expect(line['problems']).toEqual([
      '/usr/sbin/ioreg is not here',
      '/usr/bin/fdesetup status: no answer in 3 seconds',
      'profiles: the installed profiles could not be listed',
      'the recipient of the escrow file could not be read; size and digest stand for it',
    ]);
    expect((of('nothing').line['problems'] as string[]).every((problem) => problem.endsWith('is not here') || problem.startsWith('not root'))).toBe(true);
  });

  testWithOpenssl('without root it says what it could not read, and takes no false and no empty list for an answer', () => {
    const { line } = of('not-root');
    expect(line).toMatchObject({ root: false, serial: 'C02XK1ZJJGH5', fileVault: 'on', personalKey: 'unknown', payloads: null });
    expect(line['payloadHint']).toBe('Some MDM keeps the recovery key of this Mac.');
    expect(line['problems']).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/^not root/),
        'profiles: the installed profiles could not be listed',
        'the escrow file is there and cannot be read',
      ]),
    );
  });

  test('it only reads: no verb of macOS that changes anything, no network, and every program by its absolute path', () => {
    expect(text).not.toMatch(
      /changerecovery|removerecovery|validaterecovery|authorizationdb write|\bcurl\b|\bnscurl\b|\bsudo\b|profiles (?:renew|remove|install)\b|defaults write/,
    );
    const asked = [...text.matchAll(/^\s*run (\S+)/gm)].map(([, path]) => path);
    expect(asked.length).toBeGreaterThan(12);
    expect(asked.filter((path) => !path?.startsWith('/'))).toEqual([]);
  });

  test('it looks for rotators where the agent does', () => {
    const suspects = readFileSync(join(import.meta.dirname, '../agent/suspects.ts'), 'utf8');
    const paths = [...suspects.matchAll(/'(\/[^']+)'/g)]
      .map(([, path]) => path ?? '')
      .filter((path) => path.startsWith('/Library/') || path.startsWith('/usr/local/') || path.startsWith('/opt/'));
    expect(paths.length).toBeGreaterThan(8);
    expect(paths.filter((path) => !text.includes(path))).toEqual([]);
  });
});
