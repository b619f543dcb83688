import { chmodSync, mkdirSync, readFileSync, rmSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { takeLock } from '../agent/lock.ts';
import { macScript } from '../scripts/package/scripts.ts';
import { madeMac } from './mac-script-parts.ts';
import { readWith, testWith } from './other-readers.ts';
import { scratch } from './scratch.ts';
import { until } from './waiting.ts';

const label = 'system/io.sparekey.agent';
const state = 'private/var/db/io.sparekey.agent';
const bootstraps = (said: readonly string[]): string[] => said.filter((line) => line.startsWith('launchctl bootstrap'));
const changing = '{"id":"r1","state":"changing"}';
const fdesetup = '812 1 /usr/bin/fdesetup changerecovery -personal -outputplist -inputplist';
const scripts = ['preinstall', 'postinstall', 'uninstall.sh', 'reload.sh'] as const;

describe('the scripts of the package', () => {
  testWith(['shellcheck'], 'are plain sh, and shellcheck has nothing to say', () => {
    const folder = scratch();
    const files = scripts.map((name) => {
      const file = join(folder, name);
      writeFileSync(file, macScript(name, { architectures: ['arm64'], minimumMacos: '13.5', journalVersion: 1 }));
      return file;
    });
    expect(readWith('shellcheck', ['--shell=sh', ...files])).toBe('');
  });

  test('stand alone: nothing is read from beside them, and each says its own PATH', () => {
    for (const name of scripts) {
      const text = macScript(name, { architectures: ['arm64'], minimumMacos: '13.5', journalVersion: 1 });
      expect(text).toMatch(/^#!\/bin\/sh\n/);
      expect(text).not.toMatch(/^\. /m);
      expect(text).toContain('PATH=/usr/bin:/bin:/usr/sbin:/sbin\nexport PATH\n');
    }
  });
});

describe('preinstall', () => {
  test('on the Mac that it is for does nothing but look', () => {
    const mac = madeMac();
    mac.set('loaded');
    expect(mac.run('preinstall')).toEqual({ exit: 0, stderr: '', stdout: '' });
    expect(mac.said()).toEqual([]);
    expect(mac.isLoaded()).toBe(true);
  });

  test.each([
    ['an Intel Mac gets the package for Apple silicon', 'x86_64', '', 'arm64', 1],
    ['Apple silicon gets the package for Intel', 'arm64', '1', 'x86_64', 1],
    // Under Rosetta, uname says x86_64.
    ['Apple silicon, asked by a translated program, gets its own', 'x86_64', '1', 'arm64', 0],
    ['an Intel Mac gets its own', 'x86_64', '', 'x86_64', 0],
  ] as const)('%s', (_, uname, isArm, architecture, exit) => {
    const mac = madeMac();
    mac.set('uname', uname);
    mac.set('is-arm', isArm);
    const ended = mac.run('preinstall', undefined, { architectures: [architecture], minimumMacos: '13.5', journalVersion: 1 });
    expect(ended.exit).toBe(exit);
    if (exit === 1) expect(ended.stderr).toMatch(/sparekey: error: this package is for \S+, and this Mac is \S+\nsparekey: fix: /);
  });

  test.each(['arm64', 'x86_64'])('the universal package is for %s', (uname) => {
    const mac = madeMac();
    mac.set('uname', uname);
    mac.set('is-arm', uname === 'arm64' ? '1' : '');
    expect(mac.run('preinstall', undefined, { architectures: ['arm64', 'x86_64'], minimumMacos: '13.5', journalVersion: 1 }).exit).toBe(0);
  });

  test.each([
    ['13.4.1', 1],
    ['12.7', 1],
    ['13.5', 0],
    ['13.10', 0],
    ['26.0', 0],
  ])('macOS %s: %i', (macos, exit) => {
    const mac = madeMac();
    mac.set('macos', macos);
    const ended = mac.run('preinstall');
    expect(ended.exit).toBe(exit);
    if (exit === 1) expect(ended.stderr).toContain(`needs macOS 13.5, and this is ${macos}`);
  });

  test('another volume than the one this Mac has started from is not asked anything', () => {
    const mac = madeMac();
    mac.set('uname', 'x86_64');
    mac.set('is-arm', '');
    mac.set('macos', '11.0');
    mac.runs(1000);
    expect(mac.run('preinstall', ['a.pkg', '/Volumes/Other', '/Volumes/Other', '/Volumes/Other'])).toEqual({ exit: 0, stderr: '', stdout: '' });
    expect(mac.slept()).toBe(0);
  });

  test('waits for a run that is under way', () => {
    const mac = madeMac();
    mac.runs(10);
    expect(mac.run('preinstall')).toMatchObject({ exit: 0, stderr: 'sparekey: waiting for a run of the agent to end\n' });
    expect(mac.slept()).toBe(10);
  });

  test.each([
    ['a run that hangs', 'null', [] as string[], 30],
    ['a rotation, by the journal', changing, [] as string[], 120],
    ['fdesetup that changes the key', 'null', [fdesetup], 120],
  ])('waits within bounds for %s, and then goes on', (_, rotation, more, seconds) => {
    const mac = madeMac();
    mac.journal(rotation);
    mac.runs(100_000, more);
    const ended = mac.run('preinstall');
    expect(ended.exit).toBe(0);
    expect(ended.stderr).toContain(`has not ended in ${seconds} seconds`);
    expect(mac.slept()).toBe(seconds);
  });

  test('fdesetup that has outlived its run is waited for, too', () => {
    const mac = madeMac();
    mac.set('ps', fdesetup);
    mac.set('run-lasts', 5);
    expect(mac.run('preinstall').exit).toBe(0);
    expect(mac.slept()).toBe(5);
  });

  test.each([
    ['fdesetup changerecovery', '812 1 uid=501 fdesetup changerecovery -personal'],
    ['the run of the lock', '4711 1 uid=501 /Users/ada/sparekey check-in'],
  ])('a process of a standard user that is called like %s holds nobody up', (_, process) => {
    const mac = madeMac();
    mac.runs(100_000);
    mac.set('ps', process);
    expect(mac.run('preinstall')).toEqual({ exit: 0, stderr: '', stdout: '' });
    expect(mac.slept()).toBe(0);
  });

  test.each([
    ['of a newer agent', 2, 1],
    ['of its own agent', 1, 0],
  ])('a journal %s, version %i: exit %i, since an agent delivers nothing from one that it cannot read', (_, version, exit) => {
    const mac = madeMac();
    mac.put(`${state}/journal.json`, `{"version":${version},"hardwareUuid":"A","outbox":[],"rotation":null}`);
    mac.put('Library/Sparekey/lib/build.json', '{\n  "version": "9.1.0",\n  "runtime": "26.10.0"\n}\n');
    const ended = mac.run('preinstall');
    expect(ended.exit).toBe(exit);
    if (exit === 1)
      expect(ended.stderr).toMatch(/written by a newer one \(9\.1\.0 is installed\)[^\n]*\nsparekey: fix: an admin gives this Mac the newer package/);
  });

  test.each(['Library/Sparekey', 'Library/LaunchDaemons'])(
    '%s that is a link is refused, on any volume: files of root would lie where somebody else wants them',
    (path) => {
      const mac = madeMac();
      mac.put('Users/Shared/mine/a', '');
      const other = join(mac.root, 'Volumes/Other');
      mkdirSync(join(other, 'Library'), { recursive: true });
      for (const volume of [mac.root, other]) symlinkSync(join(mac.root, 'Users/Shared/mine'), join(volume, path));
      for (const volume of ['/', other]) {
        const ended = mac.run('preinstall', ['a.pkg', volume, volume, '/']);
        expect(ended).toMatchObject({ exit: 1, stderr: expect.stringContaining(`${path} is a link\nsparekey: fix: `) });
      }
    },
  );

  test('a rotation that stands in the journal while nobody is at it is not waited for', () => {
    const mac = madeMac();
    mac.journal(changing);
    expect(mac.run('preinstall').exit).toBe(0);
    expect(mac.slept()).toBe(0);
  });

  test('the lock is read as the agent writes it', () => {
    const folder = scratch();
    mkdirSync(join(folder, 'var/db/io.sparekey.agent'), { recursive: true });
    takeLock(folder, { pid: 4711, boot: '11111111-2222-3333-4444-555555555555' });
    const written = readFileSync(join(folder, 'var/db/io.sparekey.agent/lock'), 'utf8');
    const mac = madeMac();
    mac.runs(5);
    mac.put(`${state}/lock`, written);
    expect(mac.run('preinstall').stderr).toContain('waiting for a run');
  });

  test.each<[string, (mac: ReturnType<typeof madeMac>) => void]>([
    ['of another boot session', (mac) => mac.runs(1000, [], '99999999-2222-3333-4444-555555555555')],
    ['whose number is another program by now', (mac) => mac.set('ps', '4711 1 /usr/sbin/cupsd -l')],
    ['that is only half written', (mac) => mac.put(`${state}/lock`, '{"pid":')],
  ])('a lock %s holds nobody up', (_, leave) => {
    const mac = madeMac();
    mac.runs(1000);
    leave(mac);
    expect(mac.run('preinstall')).toEqual({ exit: 0, stderr: '', stdout: '' });
    expect(mac.slept()).toBe(0);
  });

  test('the run that waits for this very installation is not waited for', () => {
    const mac = madeMac();
    mac.runs(1000, ['5000 4711 /bin/sh -c update', '5001 5000 /usr/sbin/installer -pkg /tmp/a.pkg -target /']);
    const ended = mac.run('preinstall');
    expect(ended.exit).toBe(0);
    expect(ended.stderr).toContain('the agent itself waits for this installation');
    expect(mac.slept()).toBe(0);
  });

  test('an installer that somebody else has started is no reason not to wait', () => {
    const mac = madeMac();
    mac.runs(5, ['5000 1 /usr/local/jamf/bin/jamf policy', '5001 5000 /usr/sbin/installer -pkg /tmp/a.pkg -target /']);
    expect(mac.run('preinstall').stderr).toContain('waiting for a run');
    expect(mac.slept()).toBe(5);
  });
});

describe('postinstall', () => {
  test('on a Mac that never had it makes the folders, for root, and loads and starts the job', () => {
    const mac = madeMac();
    expect(mac.run('postinstall')).toEqual({ exit: 0, stderr: '', stdout: '' });
    const modes = [state, `${state}/queue`, `${state}.public`, 'Library/Logs/Sparekey'].map((path) =>
      (statSync(join(mac.root, path)).mode & 0o777).toString(8),
    );
    expect(modes).toEqual(['700', '700', '755', '755']);
    expect(mac.said().filter((line) => !line.includes('print'))).toEqual([
      `launchctl enable ${label}`,
      `launchctl bootstrap system ${mac.root}/Library/LaunchDaemons/io.sparekey.agent.plist`,
      `launchctl kickstart ${label}`,
    ]);
    expect(mac.isLoaded()).toBe(true);
  });

  test('whose power goes right after a folder was made leaves none that is open to others, which the agent refuses', () => {
    const mac = madeMac();
    const cut = '#!/bin/sh\n/bin/mkdir "$@"\ncase $* in *io.sparekey.agent) kill -9 $PPID ;; esac\n';
    writeFileSync(join(mac.root, '../bin/mkdir'), cut, { mode: 0o755 });
    expect(mac.run('postinstall').exit).not.toBe(0);
    expect(statSync(join(mac.root, state)).mode & 0o777).toBe(0o700);
  });

  test('an upgrade keeps what the agent knows, lets the old job go and loads the new one', () => {
    const mac = madeMac();
    mac.set('loaded');
    mac.set('drain', 3);
    mac.journal('null');
    mac.put('private/var/run/io.sparekey.agent.quiet', 'until tomorrow');
    expect(mac.run('postinstall')).toEqual({ exit: 0, stderr: '', stdout: '' });
    expect(mac.said().filter((line) => !line.includes('print'))).toEqual([
      `launchctl bootout ${label}`,
      `launchctl enable ${label}`,
      `launchctl bootstrap system ${mac.root}/Library/LaunchDaemons/io.sparekey.agent.plist`,
      `launchctl kickstart ${label}`,
    ]);
    expect(mac.slept()).toBe(9);
    expect(mac.has(`${state}/journal.json`)).toBe(true);
    // The first run reports the new version at once.
    expect(mac.has('private/var/run/io.sparekey.agent.quiet')).toBe(false);
  });

  test.each([
    ['5: the old job is not quite gone', '5\n5', 3],
    ['37: another one is at it', '37', 2],
    ['125: not this domain, for once', '125', 2],
  ])('bootstrap that fails with %s is tried again', (_, codes, times) => {
    const mac = madeMac();
    mac.set('bootstrap', codes);
    expect(mac.run('postinstall')).toMatchObject({ exit: 0, stderr: '' });
    expect(bootstraps(mac.said())).toHaveLength(times);
    expect(mac.isLoaded()).toBe(true);
    expect(mac.said().at(-1)).toBe(`launchctl kickstart ${label}`);
  });

  test.each([
    ['3: no such process', 3],
    ['37: already in progress', 37],
    ['113: not found', 113],
  ])('bootout that answers %s is judged by whether the job is there', (_, code) => {
    const mac = madeMac();
    mac.set('loaded');
    mac.set('bootout', code);
    if (code !== 37) mac.set('going', 2);
    expect(mac.run('postinstall')).toMatchObject({ exit: 0, stderr: '' });
    expect(mac.isLoaded()).toBe(true);
    expect(bootstraps(mac.said())).toHaveLength(1);
  });

  test('a job that never loads fails the installation, in words, after thirty tries', () => {
    const mac = madeMac();
    mac.set('bootstrap', Array(100).fill(5).join('\n'));
    const ended = mac.run('postinstall');
    expect(ended.exit).toBe(1);
    expect(ended.stderr).toMatch(/launchd does not load the job: Bootstrap failed: 5: Input\/output error\nsparekey: fix: .*Login Items/);
    expect(bootstraps(mac.said())).toHaveLength(30);
  });

  test('an old job that never goes stays loaded, and the installation fails so that somebody looks', () => {
    const mac = madeMac();
    mac.set('loaded');
    mac.set('drain', 100_000);
    const ended = mac.run('postinstall');
    expect(ended.exit).toBe(1);
    expect(ended.stderr).toContain('the old job is still loaded');
    expect(mac.isLoaded()).toBe(true);
    expect(mac.slept()).toBe(90);
  });

  test('for another volume makes the folders there, and tells launchd nothing', () => {
    const mac = madeMac();
    const volume = join(mac.root, 'Volumes/Other');
    mac.put('Volumes/Other/private/var/db/.keep', '');
    mac.put('Volumes/Other/Library/Logs/.keep', '');
    mac.runs(1000);
    expect(mac.run('postinstall', ['a.pkg', volume, volume, '/'])).toEqual({ exit: 0, stderr: '', stdout: '' });
    expect(mac.said()).toEqual([]);
    expect(mac.has(`Volumes/Other/${state}/queue`)).toBe(true);
    expect(mac.has(`${state}/queue`)).toBe(false);
  });

  test('a state folder that others could write to is left as it is, for doctor and the agent to see', () => {
    const mac = madeMac();
    mac.put(`${state}/a`, '');
    mac.run('postinstall');
    expect((statSync(join(mac.root, state)).mode & 0o777).toString(8)).toBe('755');
  });

  test('a folder of ours that is a link is refused before launchd is asked', () => {
    const mac = madeMac();
    mac.put('Users/Shared/mine/a', '');
    symlinkSync(join(mac.root, 'Users/Shared/mine'), join(mac.root, state));
    expect(mac.run('postinstall')).toMatchObject({ exit: 1, stderr: expect.stringContaining('io.sparekey.agent is a link') });
    expect([mac.said(), mac.has('Users/Shared/mine/queue')]).toEqual([[], false]);
  });

  test('a folder that cannot be made fails the installation before launchd is asked', () => {
    const mac = madeMac();
    mac.put(state, 'a file is in the way');
    expect(mac.run('postinstall')).toMatchObject({ exit: 1, stderr: expect.stringContaining('a folder could not be made') });
    expect(mac.said()).toEqual([]);
  });

  test('asked for by the agent itself leaves the job alone until that run has ended', async () => {
    const mac = madeMac();
    mac.set('loaded');
    mac.runs(1000, ['5001 4711 /usr/sbin/installer -pkg /tmp/a.pkg -target /']);
    mac.put('Library/Sparekey/lib/reload.sh', `#!/bin/sh\n: >'${mac.root}/reloading'\n`);
    chmodSync(join(mac.root, 'Library/Sparekey/lib/reload.sh'), 0o755);
    expect(mac.run('postinstall')).toMatchObject({ exit: 0 });
    await until(() => mac.has('reloading'));
    expect(mac.said()).toEqual([]);
    // What was started so: when the run has ended, and not before.
    mac.runs(40, ['5001 4711 /usr/sbin/installer -pkg /tmp/a.pkg -target /']);
    expect(mac.run('reload.sh').exit).toBe(0);
    expect(mac.slept()).toBe(40);
    expect(mac.said().filter((line) => /boot/.test(line))).toEqual([`launchctl bootout ${label}`, expect.stringContaining('launchctl bootstrap system')]);
    expect(mac.isLoaded()).toBe(true);
  });

  test('waits for a rotation, and tells launchd then', () => {
    const mac = madeMac();
    mac.set('loaded');
    mac.journal(changing);
    mac.runs(40);
    expect(mac.run('postinstall').exit).toBe(0);
    expect(mac.slept()).toBe(40);
    expect(mac.isLoaded()).toBe(true);
  });
});

describe('uninstall', () => {
  const installed = () => {
    const mac = madeMac();
    mac.set('loaded');
    mac.set('receipt');
    for (const path of [
      'Library/Sparekey/bin/node',
      'Library/Sparekey/uninstall.sh',
      'Library/LaunchDaemons/io.sparekey.agent.plist',
      'private/etc/newsyslog.d/io.sparekey.agent.conf',
      'private/etc/paths.d/io.sparekey.agent',
      `${state}.public/status.json`,
      'Library/Logs/Sparekey/agent.log',
    ])
      mac.put(path, 'x');
    mac.journal('null');
    return mac;
  };

  test('removes the agent, its job and its receipt, and keeps what it knew', () => {
    const mac = installed();
    // As Jamf Pro calls it.
    const ended = mac.run('uninstall.sh', ['/', 'Ada’s MacBook Pro', 'ada', '', '']);
    expect(ended).toMatchObject({ exit: 0, stderr: expect.stringContaining('removed; what it knew is in') });
    for (const path of [
      'Library/Sparekey',
      'Library/LaunchDaemons/io.sparekey.agent.plist',
      'private/etc/newsyslog.d/io.sparekey.agent.conf',
      'private/etc/paths.d/io.sparekey.agent',
    ])
      expect(mac.has(path)).toBe(false);
    for (const path of ['Library/LaunchDaemons', 'private/etc/paths.d', `${state}/journal.json`, 'Library/Logs/Sparekey/agent.log'])
      expect(mac.has(path)).toBe(true);
    expect(mac.isLoaded()).toBe(false);
    expect(mac.said()).toContain('pkgutil --forget io.sparekey.agent');
    expect(mac.said().some((line) => line.startsWith('security'))).toBe(false);
    // Once more: nothing is there, and that is well.
    expect(mac.run('uninstall.sh', []).exit).toBe(0);
  });

  test('with --remove-state takes the state, the log and every item in the keychain', () => {
    const mac = installed();
    mac.set('keychain', 'identity\nkey\ncandidate');
    expect(mac.run('uninstall.sh', ['--remove-state']).exit).toBe(0);
    for (const path of [state, `${state}.public`, 'Library/Logs/Sparekey']) expect(mac.has(path)).toBe(false);
    const security = mac.said().filter((line) => line.startsWith('security'));
    expect(security).toHaveLength(4);
    expect(security[0]).toBe(`security delete-generic-password -s io.sparekey.agent ${mac.root}/Library/Keychains/System.keychain`);
  });

  test.each([
    ['a rotation that has not come to its end', changing, '[]'],
    ['a key that is not delivered', 'null', '[{"envelopeId":"e1"}]'],
  ])('removes nothing where there is %s, unless the backend is said to be gone for good', (_, rotation, outbox) => {
    const mac = installed();
    mac.journal(rotation, outbox);
    const ended = mac.run('uninstall.sh', ['--remove-state']);
    expect(ended).toMatchObject({ exit: 75, stderr: expect.stringContaining('nothing was removed') });
    expect(mac.run('uninstall.sh', []).exit).toBe(75);
    expect(mac.isLoaded() && mac.has('Library/Sparekey/bin/node') && mac.has(`${state}/journal.json`)).toBe(true);
    expect(mac.run('uninstall.sh', ['--undelivered-too']).exit).toBe(0);
    expect(mac.has('Library/Sparekey')).toBe(false);
    expect(mac.has(`${state}/journal.json`)).toBe(true);
  });

  const later = new Date(Date.now() + 60_000);
  test.each<[string, (mac: ReturnType<typeof madeMac>) => void]>([
    ['an output of fdesetup', (mac) => mac.put(`${state}/out/r1.out`, 'sealed')],
    ['an output that was set aside', (mac) => mac.put(`${state}/r1.out.other-volume-1`, 'sealed')],
    ['a journal that was set aside', (mac) => mac.put(`${state}/journal.json.unreadable-1`, '{')],
    [
      'a key that macOS has escrowed since',
      (mac) => {
        mac.put('private/var/db/FileVaultPRK.dat', 'x');
        utimesSync(join(mac.root, 'private/var/db/FileVaultPRK.dat'), later, later);
      },
    ],
    [
      'an escrowed key, and no journal',
      (mac) => {
        mac.put('private/var/db/FileVaultPRK.dat', 'x');
        rmSync(join(mac.root, state, 'journal.json'));
      },
    ],
    [
      'a key that comes into the journal while the job is let go',
      (mac) => mac.set('at-bootout', `printf '{"rotation":null,"outbox":[1]}' >'${mac.root}/${state}/journal.json'`),
    ],
    ['a rotation that begins while the job is let go', (mac) => mac.set('at-bootout', `echo '${fdesetup}' >"$mac/ps"`)],
  ])('removes nothing where there is %s, and the job is loaded afterwards; unless that is wanted', (_, leave) => {
    const mac = installed();
    leave(mac);
    const ended = mac.run('uninstall.sh', ['--remove-state']);
    expect(ended).toMatchObject({ exit: 75, stderr: expect.stringContaining('nothing was removed') });
    expect(mac.isLoaded() && mac.has('Library/Sparekey/bin/node') && mac.has(state)).toBe(true);
    rmSync(join(mac.control, 'ps'), { force: true });
    rmSync(join(mac.control, 'at-bootout'), { force: true });
    expect(mac.run('uninstall.sh', ['--undelivered-too']).exit).toBe(0);
    expect(mac.has('Library/Sparekey')).toBe(false);
  });

  test('an escrowed key that is older than the journal, and an empty folder of outputs, are no reason', () => {
    const mac = installed();
    mac.put('private/var/db/FileVaultPRK.dat', 'x');
    utimesSync(join(mac.root, 'private/var/db/FileVaultPRK.dat'), 1, 1);
    mkdirSync(join(mac.root, state, 'out'));
    expect(mac.run('uninstall.sh', []).exit).toBe(0);
  });

  test.each<[string, (mac: ReturnType<typeof madeMac>) => void, number]>([
    ['while a run does not end', (mac) => mac.runs(100_000), 75],
    ['while launchd does not let the job go', (mac) => mac.set('drain', 100_000), 75],
    ['without root', (mac) => mac.set('uid', 501), 77],
  ])('removes nothing %s', (_, hinder, exit) => {
    const mac = installed();
    hinder(mac);
    expect(mac.run('uninstall.sh', []).exit).toBe(exit);
    expect(mac.has('Library/Sparekey/bin/node') && mac.has('Library/LaunchDaemons/io.sparekey.agent.plist')).toBe(true);
  });

  test('a receipt that cannot be forgotten is named; an option that it does not know removes nothing', () => {
    const mac = installed();
    expect(mac.run('uninstall.sh', ['--all'])).toMatchObject({ exit: 64 });
    expect(mac.run('uninstall.sh', ['--help'])).toMatchObject({ exit: 0, stdout: expect.stringContaining('usage: sudo sh uninstall.sh') });
    expect(mac.has('Library/Sparekey/bin/node')).toBe(true);
    mac.set('forget-fails');
    expect(mac.run('uninstall.sh', [])).toMatchObject({ exit: 70, stderr: expect.stringContaining('fix: sudo pkgutil --forget io.sparekey.agent') });
  });
});
