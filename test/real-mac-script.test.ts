import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { makePair } from './fake-mac/certificates.ts';
import { FakeMac } from './fake-mac/fake-mac.ts';
import { testWithOpenssl } from './openssl.ts';

const script = join(import.meta.dirname, '../scripts/on-a-real-mac.sh');
const keyForm = /[A-Z0-9]{4}(-[A-Z0-9]{4}){5}/;

let folder: string;
let mac: FakeMac;

interface Ran {
  code: number | null;
  stdout: string;
  stderr: string;
  transcripts: Record<string, string>;
}

function run(out: string, options: readonly string[], input = ''): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const child = spawn('/bin/sh', [script, '--root', mac.root, '--out', join(folder, out), ...options], { cwd: folder, env: { TMPDIR: folder } });
    const ran: Ran = { code: null, stdout: '', stderr: '', transcripts: {} };
    child.stdout.on('data', (data) => (ran.stdout += data));
    child.stderr.on('data', (data) => (ran.stderr += data));
    child.on('error', reject);
    child.on('close', (code) => {
      const files = existsSync(join(folder, out)) ? readdirSync(join(folder, out)) : [];
      resolve({
        ...ran,
        code,
        transcripts: Object.fromEntries(files.map((file) => [file.replace(/^\d+-|\.txt$/g, ''), readFileSync(join(folder, out, file), 'utf8')])),
      });
    });
    // A run that ends at once does not read it.
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
  });
}

/** What lies in the folder of temporary files when the script has ended. */
const leftOver = (): string[] => readdirSync(folder).filter((name) => name.startsWith('tmp.'));

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sparekey-real-mac-'));
  const escrow = makePair({ subject: { CN: 'Escrow' }, kind: 'escrow' });
  mac = FakeMac.create({
    root: join(folder, 'mac'),
    folder: true,
    escrowProfile: 'ours',
    escrowCertificate: escrow.certificate,
    user: 'ada',
    seed: 'on-a-real-mac',
  });
});
afterAll(() => {
  mac.dispose();
  rmSync(folder, { recursive: true, force: true });
});

describe('the script for one real Mac', () => {
  testWithOpenssl('asks and changes nothing; every question has an answer but those whose answer nobody has seen', async () => {
    const before = mac.recoveryKey;
    const asked = await run('asked', []);
    expect(asked).toMatchObject({ code: 0, stderr: '' });
    expect(asked.stdout).toContain('Nothing was changed');
    expect(Object.keys(asked.transcripts).filter((name) => asked.transcripts[name]?.includes('this fake Mac has no'))).toEqual([
      'list-extended',
      'default-keychain',
    ]);
    expect(asked.transcripts['status']).toMatch(/exit {4}: 0\n[\s\S]*answered by a fake Mac[\s\S]*FileVault is On\./);
    expect(asked.transcripts['secure-token']).toMatch(/----- stderr -----\n.*Secure token is ENABLED for user/);
    expect(asked.transcripts['escrow-file']).toMatch(/30 80 06 09/);
    expect(asked.transcripts['disabled-jobs']).toMatch(/command : \/bin\/launchctl print-disabled system\n[\s\S]*exit {4}: 0\n[\s\S]*disabled services = /);
    expect(asked.transcripts['curl']).toContain('exit    : none (this program is not here)');
    // Serial number, hardware UUID and the names of people are hidden; what is the same on every Mac stays.
    const text = Object.values(asked.transcripts).join('');
    for (const hidden of [mac.state.serial, mac.state.hardwareUuid]) expect(text).not.toContain(hidden);
    expect(text).not.toMatch(/\bada\b/);
    expect(asked.transcripts['list']).toMatch(/^user1,/m);
    expect(asked.transcripts['volume-users']).toContain('EBC6C064-0000-11AA-AA11-00306543ECAC');
    expect(mac.recoveryKey).toBe(before);
    expect(leftOver()).toEqual([]);
  });

  testWithOpenssl('with --rotate replaces the key by the key, shows the new one to the person, and keeps no key', async () => {
    const before = mac.recoveryKey ?? '';
    const acted = await run('acted', ['--rotate'], `${before}\n`);
    const after = FakeMac.open(mac.root).recoveryKey ?? '';
    expect(acted.code).toBe(0);
    expect(after).not.toBe(before);
    expect(acted.stdout).toContain(`The new recovery key of this Mac is:   ${after}`);
    const text = Object.values(acted.transcripts).join('');
    expect(text).not.toMatch(keyForm);
    expect(text).not.toContain(before.slice(0, 9));
    const masked = /<key>RecoveryKey<\/key>\s*<string>(KEY-[0-9a-f]{8})<\/string>/.exec(acted.transcripts['change-by-key'] ?? '')?.[1];
    expect(masked).toBeDefined();
    expect(acted.transcripts['validate-new']).toContain('----- stdout -----\ntrue\n');
    expect(acted.transcripts['validate-old']).toContain('----- stdout -----\nfalse\n');
    expect(acted.transcripts['change-by-wrong-key']).toContain('exit    : 11\n');
    expect(acted.transcripts['escrow-file-at-once']).not.toBe(acted.transcripts['escrow-file']);
    expect(leftOver()).toEqual([]);
  });

  test.each([
    ['what is no recovery key', 'not a key', 64],
    ['a key that macOS does not say true to', 'ABCD-EFGH-JKLM-NPQR-TUVW-XYZ2', 77],
  ])('with --rotate and %s it changes nothing', async (_, key, code) => {
    const before = FakeMac.open(mac.root).recoveryKey;
    const refused = await run(`refused-${code}`, ['--rotate'], `${key}\n`);
    expect(refused.code).toBe(code);
    expect(refused.stderr).toContain('nothing was changed');
    expect(FakeMac.open(mac.root).recoveryKey).toBe(before);
    expect(Object.values(refused.transcripts).join('')).not.toContain(key);
  });

  testWithOpenssl('an unknown option is a usage error', async () => {
    expect(await run('never', ['--force'])).toMatchObject({ code: 64, transcripts: {} });
  });
});
