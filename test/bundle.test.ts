import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { bundleAgent, bundleFile, bundleFolder, isFresh } from '../scripts/bundle.ts';

let text: string;
beforeAll(async () => {
  await bundleAgent();
  text = readFileSync(bundleFile, 'utf8');
});

const run = (args: readonly string[], env: Record<string, string> = {}) =>
  spawnSync(process.execPath, [bundleFile, ...args], { encoding: 'utf8', env: { PATH: '/usr/bin:/bin', ...env } });

describe('the bundle of the agent', () => {
  test('is built once: the second time nothing has changed', async () => {
    expect(await bundleAgent()).toMatchObject({ file: bundleFile, built: false });
  });

  test.each(['sparekey.mjs', 'packages.json'])('is built again when a byte of %s is another than what was built', (name) => {
    const folder = mkdtempSync(join(tmpdir(), 'sparekey-bundle-'));
    for (const one of ['sparekey.mjs', 'packages.json', 'made-from']) copyFileSync(join(bundleFolder, one), join(folder, one));
    expect(isFresh(folder)).toBe(true);
    const bytes = readFileSync(join(folder, name));
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
    writeFileSync(join(folder, name), bytes);
    expect(isFresh(folder)).toBe(false);
    rmSync(folder, { recursive: true });
  });

  test('says its version, and nothing on standard error', () => {
    const { version } = JSON.parse(readFileSync(join(import.meta.dirname, '../package.json'), 'utf8')) as { version: string };
    expect(run(['version'])).toMatchObject({ status: 0, stdout: `${version}\n`, stderr: '' });
  });

  test('loads its commands from the part that is compiled when it is needed, without a warning', () => {
    expect(run(['--help'])).toMatchObject({ status: 0, stdout: expect.stringContaining('check-in'), stderr: '' });
    expect(run(['nonsense'])).toMatchObject({ status: 64, stderr: expect.stringMatching(/^sparekey: error: .*\nsparekey: fix: .*\nsparekey: USAGE/) });
  });

  test('loads no module of Node before its first line but the one that gives it require', () => {
    expect(text.match(/^import .*$/gm)).toEqual(["import { createRequire } from 'node:module';"]);
    expect(text).not.toMatch(/\bimport\(\\?["'](?:node:|keytar)/);
  });

  test('is one file, with keytar beside it and the rest of the packages in it', () => {
    expect(existsSync(join(bundleFolder, 'node_modules/keytar/lib/keytar.js'))).toBe(true);
    const folder = mkdtempSync(join(tmpdir(), 'sparekey-bundle-'));
    writeFileSync(join(folder, 'sparekey.mjs'), text);
    const alone = spawnSync(process.execPath, [join(folder, 'sparekey.mjs'), '--root', folder, 'status', '--json'], {
      encoding: 'utf8',
      env: { PATH: '/usr/bin:/bin' },
    });
    rmSync(folder, { recursive: true });
    expect(alone.stderr).toBe('');
    expect(JSON.parse(alone.stdout)).toMatchObject({ fileVault: { state: 'unknown' } });
  });
});
