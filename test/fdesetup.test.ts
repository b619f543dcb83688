import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { inspect } from 'node:util';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  changeIsRunning,
  hasRecoveryKey,
  readChangeFailure,
  readChangeOutput,
  readFileVault,
  startChange,
  usingRecoveryKey,
  validate,
} from '../agent/mac/fdesetup.ts';
import { realRunner } from '../agent/mac/run.ts';
import { Password } from '../agent/password.ts';
import { RecoveryKey } from '../protocol/recovery-key.ts';
import { answering } from './answering-runner.ts';
import { scratch } from './scratch.ts';
import { cpuTime, until } from './waiting.ts';

const text = 'LVU9-OZ58-EEO2-O28G-JOBF-Q8M7';
const key = RecoveryKey.parse(text) as RecoveryKey;
const fdesetup = '/usr/bin/fdesetup';

describe('fdesetup status', () => {
  const status = (out: string, code = 0, err = '') => readFileVault(answering({ [`${fdesetup} status`]: { out, code, err } }));

  test.each([
    ['FileVault is On.\n', { state: 'on' }],
    ['FileVault is Off.\n', { state: 'off' }],
    ['FileVault is On.\nFileVault master keychain appears to be installed.\n', { state: 'on' }],
    ['FileVault is On.\nVolume is APFS. (FileVault Enabled)\n', { state: 'on' }],
    [
      'FileVault is On.\nEncryption in progress: Percent completed = 43.2\n',
      { state: 'encrypting', percent: 43.2, words: 'Encryption in progress: Percent completed = 43.2' },
    ],
    [
      'FileVault is On.\nEncryption in progress: Percent completed = 43\n',
      { state: 'encrypting', percent: 43, words: 'Encryption in progress: Percent completed = 43' },
    ],
    ['Encryption in progress: Percent completed = 0\n', { state: 'encrypting', percent: 0, words: 'Encryption in progress: Percent completed = 0' }],
    ['FileVault is On.\nEncryption in progress: Pending\n', { state: 'encrypting', waitingFor: 'power', words: 'Encryption in progress: Pending' }],
    [
      'FileVault is Off.\nDecryption in progress: Percent completed = 12\n',
      { state: 'decrypting', percent: 12, words: 'Decryption in progress: Percent completed = 12' },
    ],
    ["FileVault is Off.\nDeferred enablement appears to be active for user 'shortname'.\n", { state: 'off', deferredFor: 'shortname', waitingFor: 'logout' }],
    [
      'FileVault is Off, but will be enabled after the next restart.\n',
      { state: 'off', waitingFor: 'restart', words: 'FileVault is Off, but will be enabled after the next restart.' },
    ],
    [
      'FileVault is Off, but needs to be restarted to finish.\n',
      { state: 'off', waitingFor: 'restart', words: 'FileVault is Off, but needs to be restarted to finish.' },
    ],
    [
      'FileVault is On, but needs to be restarted to finish.\n',
      { state: 'unknown', waitingFor: 'restart', words: 'FileVault is On, but needs to be restarted to finish.' },
    ],
  ])('%j is understood', async (out, expected) => {
    expect(await status(out)).toEqual(expected);
  });

  test.each([
    ['', ''],
    ['FileVault ist aktiviert.\n', 'FileVault ist aktiviert.'],
    ['FileVault is On, but will be disabled after the next restart.\n', 'FileVault is On, but will be disabled after the next restart.'],
    ['FileVault is On.\nSomething that nobody has seen before.\n', 'Something that nobody has seen before.'],
    ['FileVault is On.\nEncryption in progress: Percent completed = 143\n', 'Encryption in progress: Percent completed = 143'],
    ['FileVault is On.\nEncryption in progress: Paused\n', 'Encryption in progress: Paused'],
    ['\u0000\u0001\uFFFD garbage', 'garbage'],
  ])('%j is unknown, never the likelier of two answers', async (out, words) => {
    const read = await status(out);
    expect(read.state).toBe('unknown');
    expect(read.words).toContain(words);
  });

  test('an error is unknown, with its words', async () => {
    expect(await status('', 1, 'Error: something went wrong.\n')).toEqual({ state: 'unknown', words: 'Error: something went wrong.' });
  });

  test('words that hold a key are not passed on', async () => {
    expect(JSON.stringify(await status(`${text}\n`))).not.toContain('LVU9');
    expect(JSON.stringify(await status(`the key is ${text.toLowerCase()}\n`))).not.toContain('lvu9');
  });

  test('whatever it prints: an answer, no crash', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'binary', maxLength: 300 }), fc.integer({ min: 0, max: 255 }), async (out, code) => {
        const read = await status(out, code);
        expect(['on', 'off', 'encrypting', 'decrypting', 'unknown']).toContain(read.state);
        expect((read.words ?? '').length).toBeLessThanOrEqual(200);
      }),
      { numRuns: 50 },
    );
  });
});

describe('answers of three values', () => {
  const on = { out: 'FileVault is On.\n' };
  const has = (answer: object, status: object = on) =>
    hasRecoveryKey(answering({ [`${fdesetup} haspersonalrecoverykey`]: answer, [`${fdesetup} status`]: status }));

  test('a key that is there is there, whatever the exit status', async () => {
    expect(await has({ out: 'true\n' })).toBe('yes');
    expect(await has({ out: 'true\n', code: 1 })).toBe('yes');
  });

  test('`false` may stand for an error: it is a no only where FileVault is plainly on and nothing was complained about', async () => {
    expect(await has({ out: 'false\n' })).toBe('no');
    expect(await has({ out: 'false\n' }, { out: 'FileVault is Off.\n' })).toBe('unknown');
    expect(await has({ out: 'false\n' }, { out: 'FileVault is On, but needs to be restarted to finish.\n' })).toBe('unknown');
    expect(await has({ out: 'false\n' }, { out: 'FileVault is On.\nEncryption in progress: Percent completed = 2\n' })).toBe('unknown');
    expect(await has({ out: 'false\n', err: 'Error: no access\n' })).toBe('unknown');
    expect(await has({ out: 'false\n', code: 99 })).toBe('unknown');
    expect(await has({ out: 'nonsense' })).toBe('unknown');
    expect(await has({ failed: 'timeout' })).toBe('unknown');
  });

  test('a `false` that is not repeated is no no', async () => {
    let asked = 0;
    expect(
      await hasRecoveryKey(
        answering({ [`${fdesetup} haspersonalrecoverykey`]: () => ({ out: ++asked === 1 ? 'false\n' : 'true\n' }), [`${fdesetup} status`]: on }),
      ),
    ).toBe('unknown');
  });

  test.each([
    [{ out: 'true\n' }, 'yes'],
    [{ out: 'false\n' }, 'no'],
    [{ out: '', err: 'This command is not supported on APFS volumes.\n', code: 34 }, 'unknown'],
    [{ out: 'false\n', err: 'Error: something\n' }, 'unknown'],
    [{ out: 'TRUE\n' }, 'unknown'],
    [{ failed: 'not-found' as const }, 'unknown'],
  ])('usingrecoverykey: %j is %s', async (answer, expected) => {
    expect(await usingRecoveryKey(answering({ [`${fdesetup} usingrecoverykey`]: answer }))).toBe(expected);
  });

  test.each([
    [{ out: 'true\n' }, 'true'],
    [{ out: 'false\n', code: 0 }, 'false'],
    [{ out: 'false\n', code: 26 }, 'false'],
    [{ out: 'true\n', code: 3 }, 'true'],
    [{ out: 'Enter the current recovery key:\ntrue\n' }, 'unknown'],
    [{ out: 'false\nfalse\n' }, 'unknown'],
    [{ out: '' }, 'unknown'],
    [{ out: 'true\n', failed: 'timeout' as const }, 'unknown'],
    [{ out: 'false\n', failed: 'signal' as const }, 'unknown'],
  ])('validaterecovery: %j is %s', async (answer, expected) => {
    expect(await validate(answering({ [`${fdesetup} validaterecovery`]: answer }), key)).toBe(expected);
  });

  test('the key that is validated stands on standard input and nowhere else', async () => {
    const mac = answering({ [`${fdesetup} validaterecovery`]: { out: 'true\n' } });
    await validate(mac, key);
    expect(mac.asked[0]?.args).toEqual(['validaterecovery', '-inputplist']);
    expect(mac.asked[0]?.input).toContain(`<key>Password</key>\n\t<string>${text}</string>`);
    expect(mac.asked[0]?.input).not.toContain('Username');
  });
});

describe('a change', () => {
  const files = { out: '/var/db/io.sparekey.agent/out/1.out', err: '/var/db/io.sparekey.agent/out/1.err' };

  test('is started with exactly these arguments; the key is the Password on standard input', async () => {
    const mac = answering({});
    await startChange(mac, { key }, files);
    expect(mac.asked[0]).toMatchObject({
      program: fdesetup,
      args: ['changerecovery', '-personal', '-outputplist', '-inputplist'],
      stdoutFile: files.out,
      stderrFile: files.err,
    });
    expect(mac.asked[0]?.input).toContain(`<string>${text}</string>`);
  });

  const passwordOf = (text: string): Password => {
    const password = Password.take(Buffer.from(text));
    if (!password) throw new TypeError('that is no password');
    return password;
  };

  test('by a password: user and password, escaped for XML', async () => {
    const mac = answering({});
    await startChange(mac, { user: 'ann', password: passwordOf('a&b<c>d"e\'ü€') }, files);
    expect(mac.asked[0]?.input).toContain('<key>Username</key>\n\t<string>ann</string>');
    expect(mac.asked[0]?.input).toContain('<string>a&amp;b&lt;c&gt;d"e\'ü€</string>');
    expect(mac.asked[0]?.args.join(' ')).not.toContain('a&b');
  });

  test.each(['se\u0007cret', 'two\nlines', 'nul\0', '', 'x'.repeat(1025), '\uFFFD'])(
    '%j is no password: no property list could hold it as it was typed',
    (text) => {
      expect(Password.take(Buffer.from(text))).toBeNull();
    },
  );

  test('a password cannot be printed or encoded by accident, and can be wiped', () => {
    const given = Buffer.from('geheim');
    const password = Password.take(given);
    expect(given.every((byte) => byte === 0)).toBe(true);
    expect([String(password), JSON.stringify({ password }), inspect(password)]).toEqual(['[password]', '{"password":"[password]"}', '[password]']);
    password?.wipe();
    expect(password?.reveal()).toBe('\0'.repeat(6));
  });

  test('ends well with its output in the files, in a session of its own, even when its caller does not wait', async () => {
    const root = scratch();
    program(root, fdesetup, 'cat > "$(dirname "$0")/stdin"; cut -d" " -f6 /proc/$$/stat > "$(dirname "$0")/sid"; sleep 0.2; echo "$@"; echo oops >&2; exit 11');
    const at = (path: string) => join(root, path);
    mkdirSync(dirname(at(files.out)), { recursive: true });
    for (const file of [files.out, files.err]) writeFileSync(at(file), 'before ');
    const started = await startChange(realRunner(root), { key }, files);
    expect(await started.ended(0.02)).toBe('still-running');
    expect(await started.ended(10)).toEqual({ code: 11 });
    expect(readFileSync(at(files.out), 'utf8')).toBe('before changerecovery -personal -outputplist -inputplist\n');
    expect(readFileSync(at(files.err), 'utf8')).toBe('before oops\n');
    expect(readFileSync(at('/usr/bin/stdin'), 'utf8')).toContain(text);
    expect(Number(readFileSync(at('/usr/bin/sid'), 'utf8'))).toBe(started.pid);
  });

  test('is not started where its output files are missing, or are links', async () => {
    const root = scratch();
    program(root, fdesetup, 'touch "$(dirname "$0")/was-here"');
    await expect(startChange(realRunner(root), { key }, files)).rejects.toMatchObject({ code: 'MACOS_UNEXPECTED' });
    mkdirSync(dirname(join(root, files.out)), { recursive: true });
    writeFileSync(join(root, files.err), '');
    symlinkSync(join(root, files.err), join(root, files.out));
    await expect(startChange(realRunner(root), { key }, files)).rejects.toMatchObject({ code: 'MACOS_UNEXPECTED' });
    expect(existsSync(join(root, '/usr/bin/was-here'))).toBe(false);
  });
});

function program(root: string, path: string, script: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
}

describe('what a change wrote', () => {
  const plist = (body: string) =>
    `<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">\n<plist version="1.0">\n<dict>\n${body}</dict>\n</plist>\n`;
  const recoveryKey = `\t<key>RecoveryKey</key>\n\t<string>${text}</string>\n`;
  const model = plist(
    `\t<key>Change</key>\n\t<true/>\n\t<key>EnabledDate</key>\n\t<string>2026-01-31 09:15:02 +0000</string>\n\t<key>HardwareUUID</key>\n\t<string>50DCC3EF-6AD8-5EAA-AC56-451AD340113C</string>\n${recoveryKey}\t<key>SerialNumber</key>\n\t<string>ZFQYR4XYHG</string>\n`,
  );
  const read = (written: string | Buffer) => {
    const found = readChangeOutput(Buffer.from(written as string));
    return found && { key: found.key.reveal(), whole: found.whole };
  };

  test.each([
    ['as modelled', model],
    ['with a prompt before it', `Enter the password for user 'x':\n${model}`],
    ['with a key-shaped text before it', `New personal recovery key = 'AAAA-BBBB-CCCC-DDDD-EEEE-FFFF'\n${model}`],
    [
      'with Change as a dictionary that has a key of its own',
      plist(`<key>Change</key><dict><key>RecoveryKey</key><string>AAAA-BBBB-CCCC-DDDD-EEEE-FFFF</string></dict>${recoveryKey}`),
    ],
    ['with Change as a text', plist(`<key>Change</key><string>AAAA-BBBB-CCCC-DDDD-EEEE-FFFF</string>${recoveryKey}`)],
    ['with a comment', plist(`<!-- <key>RecoveryKey</key><string>AAAA-BBBB-CCCC-DDDD-EEEE-FFFF</string> -->${recoveryKey}`)],
    ['with Windows line ends', model.replaceAll('\n', '\r\n')],
  ])('%s: RecoveryKey and nothing else', (_name, written) => {
    expect(read(written)).toEqual({ key: text, whole: true });
  });

  test('cut off anywhere: the key where it is complete, but not as whole; otherwise none', () => {
    const complete = model.indexOf(text) + text.length;
    for (let length = 0; length < model.trimEnd().length; length += 1) {
      expect(read(model.slice(0, length))).toEqual(length < complete ? null : { key: text, whole: false });
    }
  });

  test.each([
    ['nothing', ''],
    ['an error', 'Error: Unable to change key.\n'],
    ['zeros, as after a power cut', Buffer.alloc(4096)],
    ['a plist without the key', plist('<key>Change</key><true/>')],
    ['four groups (macOS 10.13.2)', plist('<key>RecoveryKey</key><string>WWWW-XXXX-YYYY-ZZZZ</string>')],
  ])('%s: no key', (_name, written) => {
    expect(read(written)).toBeNull();
  });

  test.each([
    ['two keys of that name', plist(`${recoveryKey}<key>RecoveryKey</key><string>AAAA-BBBB-CCCC-DDDD-EEEE-FFFF</string>`)],
    ['an internal document type', model.replace('PropertyList-1.0.dtd">', 'PropertyList-1.0.dtd" [<!ENTITY a "b">]>')],
    ['an entity', model.replace(text, `&a;${text}`)],
    ['tags that do not fit', model.replace('</dict>', '</array>')],
    ['text behind the end', `${model}and more`],
  ])('%s: a hint, to be validated first', (_name, written) => {
    expect(read(written)).toEqual({ key: text, whole: false });
  });

  test('huge, deep and endless outputs are read in bounded time', () => {
    const began = cpuTime();
    expect(read(plist(`<key>a</key>${'<array>'.repeat(20_000)}`))).toBeNull();
    expect(read(`<?xml version="1.0"?>${'<!-- '.repeat(50_000)}`)).toBeNull();
    expect(read('&'.repeat(20_000_000))).toBeNull();
    expect(read(`${model}${' '.repeat(2_000_000)}`)).toEqual({ key: text, whole: false });
    expect(cpuTime() - began).toBeLessThan(10_000);
  });

  test('whatever it is: an answer, no crash', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.oneof(
            fc.constantFrom('<plist>', '<dict>', '</dict>', '<key>RecoveryKey</key>', `<string>${text}</string>`, '</plist>', '<?xml version="1.0"?>'),
            fc.string(),
          ),
        ),
        (parts) => {
          const found = readChangeOutput(Buffer.from(parts.join('')));
          if (found) expect(parts.join('')).toContain(found.key.reveal());
        },
      ),
      { numRuns: 150 },
    );
  });

  test.each([
    [11, 'Error: User could not be authenticated.\nError: Unable to unlock or authenticate to FileVault.\n', 'refused'],
    [99, 'Error: Unable to change key.\nError: User could not be authenticated.\n', 'refused'],
    [99, '', 'refused'],
    [26, 'Error: User could not be authenticated.\n', 'refused'],
    [2, '', 'busy'],
    [28, '', 'busy'],
    [34, '', 'unsupported'],
    [1, 'This command is not supported on APFS volumes.\n', 'unsupported'],
    [26, '', 'other'],
    [136, '', 'other'],
    [null, '', 'other'],
  ])('exit %s, %j: %s', (code, stderr, expected) => {
    expect(readChangeFailure(code, stderr)).toBe(expected);
  });
});

describe('whether a change is running (R0)', () => {
  const ps = (out: string, code = 0) => changeIsRunning(answering({ '/bin/ps': { out, code } }));

  test('whoever started it, whatever its pid', async () => {
    expect(await ps('    1     0 /sbin/launchd\n  501     0 /usr/bin/fdesetup changerecovery -personal -outputplist -inputplist\n')).toBe('yes');
    expect(await ps('    1     0 /sbin/launchd\n  501     0 sudo fdesetup -verbose changerecovery -personal\n')).toBe('yes');
    expect(await ps('    1     0 /sbin/launchd\n  501     0 /usr/bin/fdesetup status\n  77     0 /opt/myfdesetup changerecovery\n')).toBe('no');
  });

  test('of another user’s process it is none: whoever is not root changes no key, and holds no replacement up by a name', async () => {
    expect(await ps('    1     0 /sbin/launchd\n  777   501 /usr/bin/fdesetup changerecovery -personal\n  778   502 (fdesetup)\n')).toBe('no');
  });

  test('no list, or a process that hides its arguments, is unknown', async () => {
    expect(await ps('')).toBe('unknown');
    expect(await ps('    1     0 /sbin/launchd\n', 1)).toBe('unknown');
    expect(await ps('    1     0 /sbin/launchd\n  501     0 (fdesetup)\n')).toBe('unknown');
  });
});

describe('commands that misbehave', () => {
  test('one that hangs is ended with all that it started, within its time', async () => {
    const root = scratch();
    program(root, '/usr/bin/hang', 'echo so far; sleep 600 & echo $! > "$(dirname "$0")/child"; wait');
    const hang = (timeoutSeconds: number) => realRunner(root).run({ program: '/usr/bin/hang', args: [], timeoutSeconds });
    const hasBegun = (): boolean => existsSync(join(root, '/usr/bin/child')) && readFileSync(join(root, '/usr/bin/child'), 'utf8') !== '';
    // A machine that is busy takes its time to start it. It would be ten minutes.
    let result = await hang(0.5);
    for (let seconds = 1; !hasBegun() && seconds < 60; seconds *= 2) result = await hang(seconds);
    expect(result).toMatchObject({ code: null, failed: 'timeout' });
    expect(result.stdout.toString()).toBe('so far\n');
    const child = Number(readFileSync(join(root, '/usr/bin/child'), 'utf8'));
    await until(() => !isAlive(child));
    expect(isAlive(child)).toBe(false);
  });

  test('one that crashes, is missing, may not run, or floods, says so', async () => {
    const root = scratch();
    program(root, '/usr/bin/crash', 'kill -SEGV $$');
    program(root, '/usr/bin/flood', 'exec yes');
    writeFileSync(join(root, '/usr/bin/plain'), 'no program');
    const run = (name: string, more = {}) => realRunner(root).run({ program: `/usr/bin/${name}`, args: [], ...more });
    expect(await run('crash')).toMatchObject({ code: null, failed: 'signal' });
    expect(await run('nothing')).toMatchObject({ code: null, failed: 'not-found' });
    expect(await run('plain')).toMatchObject({ code: null, failed: 'not-permitted' });
    const flood = await run('flood', { outputLimit: 1000 });
    expect(flood).toMatchObject({ code: null, failed: 'too-much-output' });
    expect(flood.stdout).toHaveLength(1000);
  });

  test('a command that reads none of its input and one that reads all of it end alike', async () => {
    const root = scratch();
    program(root, '/usr/bin/deaf', 'exec <&-; exit 3');
    program(root, '/usr/bin/count', 'wc -c');
    const input = 'x'.repeat(1_000_000);
    expect((await realRunner(root).run({ program: '/usr/bin/deaf', args: [], input })).code).toBe(3);
    expect((await realRunner(root).run({ program: '/usr/bin/count', args: [], input })).stdout.toString().trim()).toBe('1000000');
  });

  test('a command gets nothing of our environment, no shell, and only an absolute path', async () => {
    const root = scratch();
    program(root, '/usr/bin/show', 'env | cut -d= -f1 | sort | tr "\\n" " "; printf "%s|" "$@"');
    process.env['NODE_OPTIONS_OF_A_STRANGER'] = '1';
    const { stdout } = await realRunner(root).run({ program: '/usr/bin/show', args: ['$(id)', '; rm -rf x', '*'] });
    delete process.env['NODE_OPTIONS_OF_A_STRANGER'];
    const [names = '', args = ''] = stdout.toString().split(/ (?=\$)/);
    expect(names.split(' ').filter((name) => !['_', 'SHLVL', 'OLDPWD', ''].includes(name))).toEqual(['LC_ALL', 'PATH', 'PWD']);
    expect(args).toBe('$(id)|; rm -rf x|*|');
    expect(() => realRunner('/').run({ program: 'fdesetup', args: [] })).toThrow(TypeError);
  });
});

function isAlive(pid: number): boolean {
  try {
    // A zombie still has its pid here; its state tells it from a process that runs.
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}
