import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { openLog } from '../agent/log.ts';
import { type Keychain, keptKeys, openSecrets } from '../agent/secrets.ts';
import { RecoveryKey } from '../protocol/recovery-key.ts';
import { scratch } from './scratch.ts';

const text = 'LVU9-OZ58-EEO2-O28G-JOBF-Q8M7';
const key = RecoveryKey.parse(text) as RecoveryKey;
const account = 'recovery-key:4AD8C7A4-0000-4000-8000-000000000001:r1';

/** keytar's functions over one keychain; any of them can be replaced by one that fails. */
function keychain(broken: Partial<Keychain> = {}) {
  const items = new Map<string, string>();
  let loads = 0;
  const keytar: Keychain = {
    getPassword: async (_service, name) => items.get(name) ?? null,
    setPassword: async (_service, name, password) => void items.set(name, password),
    deletePassword: async (_service, name) => items.delete(name),
    findCredentials: async () => [...items].map(([name, password]) => ({ account: name, password })),
    ...broken,
  };
  return {
    items,
    loads: () => loads,
    load: async () => {
      loads += 1;
      return keytar;
    },
  };
}

const fails = async (): Promise<never> => {
  throw new Error('The user name or passphrase you entered is not correct.');
};
const hangs = () => new Promise<never>(() => {});

describe('the keychain', () => {
  test('an item is written, read back, listed and removed', async () => {
    const mac = keychain();
    const secrets = openSecrets(mac.load);
    expect(await secrets.read(account)).toBe('not-there');
    expect(await secrets.write(account, 'a secret')).toBe(true);
    expect(await secrets.read(account)).toEqual({ there: 'a secret' });
    expect(await secrets.list()).toEqual([account]);
    expect(await secrets.remove(account)).toBe(true);
    expect(await secrets.remove(account)).toBe(true);
    expect(await secrets.read(account)).toBe('not-there');
  });

  test('keytar is loaded by the first call, once', async () => {
    const mac = keychain();
    const secrets = openSecrets(mac.load);
    expect(mac.loads()).toBe(0);
    await Promise.all([secrets.read(account), secrets.list()]);
    await secrets.read(account);
    expect(mac.loads()).toBe(1);
  });

  test('an item is never changed in place', async () => {
    const mac = keychain();
    const secrets = openSecrets(mac.load);
    await secrets.write(account, 'first');
    expect(await secrets.write(account, 'first')).toBe(true);
    expect(await secrets.write(account, 'second')).toBe(false);
    expect(mac.items.get(account)).toBe('first');
  });

  test('what was not kept as it was written counts as not written', async () => {
    const forgetful = openSecrets(keychain({ setPassword: async () => {} }).load);
    expect(await forgetful.write(account, 'x')).toBe(false);
    const mac = keychain();
    const cutting = openSecrets(
      keychain({ ...(await mac.load()), setPassword: async (_service, name, password) => void mac.items.set(name, password.slice(0, 3)) }).load,
    );
    expect(await cutting.write(account, 'a long secret')).toBe(false);
  });

  test.each([
    ['locked', fails],
    ['silent', hangs],
  ])('one that is %s cannot tell; it never says that nothing is there', async (_name, broken) => {
    const all = { getPassword: broken, setPassword: broken, deletePassword: broken, findCredentials: broken };
    // Without its time the silent one would hang.
    const secrets = openSecrets(keychain(all).load, 0.05);
    expect(await secrets.read(account)).toBe('cannot-tell');
    expect(await secrets.write(account, 'x')).toBe(false);
    expect(await secrets.remove(account)).toBe(false);
    expect(await secrets.list()).toBe('cannot-tell');
    expect(await keptKeys(secrets).read(account)).toBe('cannot-tell');
    expect(await keptKeys(secrets).write(account, key)).toBe(false);
    expect(await keptKeys(secrets).roundTrip('probe')).toBe(false);
  });

  test('an addon that cannot be loaded is a keychain that cannot tell', async () => {
    const secrets = openSecrets(fails);
    expect(await secrets.read(account)).toBe('cannot-tell');
    expect(await secrets.write(account, 'x')).toBe(false);
  });

  test('a removal that removes nothing is none', async () => {
    const mac = keychain({ deletePassword: async () => true });
    const secrets = openSecrets(mac.load);
    await secrets.write(account, 'x');
    expect(await secrets.remove(account)).toBe(false);
  });
});

describe('recovery keys in it', () => {
  test('go in and come out as keys', async () => {
    const mac = keychain();
    const keys = keptKeys(openSecrets(mac.load));
    expect(await keys.write(account, key)).toBe(true);
    expect(mac.items.get(account)).toBe(text);
    const read = await keys.read(account);
    expect(typeof read === 'object' && read.there.equals(key)).toBe(true);
    expect(await keys.list()).toEqual([account]);
    expect(await keys.roundTrip('recovery-key:probe')).toBe(true);
    expect(await keys.list()).toEqual([account]);
    // The trial of a run that died in the middle of it is in nobody's way.
    mac.items.set('recovery-key:probe', 'of another trial');
    expect(await keys.roundTrip('recovery-key:probe')).toBe(true);
    expect(await keys.list()).toEqual([account]);
    expect(await keys.remove(account)).toBe(true);
    expect(await keys.read(account)).toBe('not-there');
  });

  test('an item that holds something else is there and is no key: cannot tell', async () => {
    const mac = keychain();
    mac.items.set(account, 'garbage');
    expect(await keptKeys(openSecrets(mac.load)).read(account)).toBe('cannot-tell');
  });
});

describe('the log', () => {
  const lines = (root: string) =>
    readFileSync(join(root, '/Library/Logs/Sparekey/agent.log'), 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);

  test('one JSON line per event, in order, with ids and reasons', async () => {
    const root = scratch('log');
    const log = openLog(root, 'info', { run: '7f3a' });
    log('rotation-begun', { rotationId: 'r1', because: 'used' });
    log('change-failed', { rotationId: 'r1', exit: 11, nothing: undefined });
    await log.close();
    log('run-ended');
    await log.close();
    expect(lines(root)).toEqual([
      { level: 'info', event: 'rotation-begun', time: expect.stringMatching(/Z$/), run: '7f3a', rotationId: 'r1', because: 'used' },
      { level: 'error', event: 'change-failed', time: expect.stringMatching(/Z$/), run: '7f3a', rotationId: 'r1', exit: 11 },
      { level: 'info', event: 'run-ended', time: expect.stringMatching(/Z$/), run: '7f3a' },
    ]);
  });

  test('a key, a private key or a long text never gets into it', async () => {
    const root = scratch('log');
    const log = openLog(root, 'debug');
    log('run-failed', {
      a: `the key is ${text}`,
      b: text.toLowerCase(),
      c: text.replaceAll('-', ''),
      d: '-----BEGIN PRIVATE KEY-----\nMIGH',
      e: `x\n${'y'.repeat(1000)}`,
    });
    await log.close();
    const [line] = lines(root);
    expect(line).toMatchObject({ a: '[recovery key]', b: '[recovery key]', c: '[recovery key]', d: '[private key]' });
    expect(String(line?.['e'])).toHaveLength(300);
    expect(JSON.stringify(line)).not.toMatch(/LVU9|lvu9|MIGH/);
  });

  test('below its level nothing is written, and nothing is made', async () => {
    const root = scratch('log');
    const log = openLog(root, 'warn');
    log('checked-in');
    await log.close();
    expect(() => lines(root)).toThrow(expect.objectContaining({ code: 'ENOENT' }));
  });

  test('a log that cannot be written stops nothing', async () => {
    const log = openLog('/dev/null', 'info');
    log('checked-in');
    await expect(log.close()).resolves.toBeUndefined();
  });
});
