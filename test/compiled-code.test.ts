import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { paths } from '../agent/paths.ts';
import { bundleAgent, bundleFile } from '../scripts/bundle.ts';
import { makePair } from './fake-mac/certificates.ts';
import { FakeMac } from './fake-mac/fake-mac.ts';

let mac: FakeMac;
let kept: string;

beforeAll(async () => {
  await bundleAgent();
  mac = FakeMac.create({
    folder: true,
    user: 'ada',
    agent: { bundle: bundleFile, job: join(import.meta.dirname, '../launchd/io.sparekey.agent.plist') },
    settings: {
      serverUrl: 'https://keys.example.org:8443',
      escrowCertificate: makePair({ subject: { CN: 'Escrow' }, kind: 'ca' }).certificate,
      identityIssuer: 'Example Device CA',
    },
  });
  // In dark wake the job looks at its Mac, asks nobody, and ends well.
  mac.change((state) => {
    state.darkWake = true;
  });
  kept = mac.path(paths.compiled);
});
afterAll(() => mac.dispose());

/** As launchd starts it, or as a person does. */
const run = (args: readonly string[], as: 'job' | 'person' = 'job') =>
  spawnSync(process.execPath, [mac.path('/Library/Sparekey/lib/sparekey.mjs'), ...args, '--root', mac.root], {
    encoding: 'utf8',
    env: { PATH: '/usr/bin:/bin', ...(as === 'job' ? { XPC_SERVICE_NAME: 'io.sparekey.agent' } : {}) },
  });
const job = () => expect(run(['check-in'])).toMatchObject({ status: 0, stderr: '' });
const file = () => ({ inode: statSync(kept).ino, mode: statSync(kept).mode & 0o777, bytes: readFileSync(kept) });

describe('the compiled form of the agent', () => {
  beforeEach(() => {
    rmSync(kept, { force: true });
    job();
  });

  test('is kept by a job that ended well, for root alone, and stays as it is when it was taken', () => {
    const before = file();
    expect(before.mode).toBe(0o600);
    expect(before.bytes.length).toBeGreaterThan(100_000);
    job();
    expect(file()).toEqual(before);
  });

  test.each<[string, (bytes: Buffer) => Buffer]>([
    ['one bit differs', (bytes) => Buffer.from(bytes).fill((bytes[9999] ?? 0) ^ 1, 9999, 10_000)],
    ['it breaks off', (bytes) => bytes.subarray(0, 50_000)],
    ['it is empty', () => Buffer.alloc(0)],
  ])('is not taken where %s; the run does its work, and keeps a whole one', (_, damage) => {
    const { bytes } = file();
    writeFileSync(kept, damage(bytes));
    job();
    expect(file().bytes.length).toBeGreaterThan(100_000);
    expect(file().bytes.equals(damage(bytes))).toBe(false);
  });

  test('is not taken where others could have read or written it', () => {
    const { inode } = file();
    chmodSync(kept, 0o644);
    job();
    expect(file().mode).toBe(0o600);
    expect(file().inode).not.toBe(inode);
  });

  test('is not kept by a command that somebody types, nor by a job that failed', () => {
    rmSync(kept);
    run(['status', '--json'], 'person');
    expect(existsSync(kept)).toBe(false);
    const settings = mac.path(paths.settings);
    const was = readFileSync(settings);
    writeFileSync(settings, 'nonsense');
    rmSync(mac.path(paths.lastGoodSettings), { force: true });
    expect(run(['check-in']).status).not.toBe(0);
    writeFileSync(settings, was);
    expect(existsSync(kept)).toBe(false);
  });
});
