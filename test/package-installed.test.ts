import { cpSync, existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect } from '@jest/globals';
import type { PublicStatus } from '../agent/status.ts';
import type { Made } from '../scripts/package/make.ts';
import { pem } from '../server/certificates.ts';
import { status as sayStatus } from '../server/status-command.ts';
import { runCommand, type Session } from './commands.ts';
import { FakeMac } from './fake-mac/fake-mac.ts';
import { installAgent } from './fake-mac/install.ts';
import { deviceCa, type GivenServer, givenServer } from './given-server.ts';
import { adapted } from './mac-script-parts.ts';
import { readWith, testWith } from './other-readers.ts';
import { madeRuntime, makeMade, standIns } from './package-parts.ts';
import { scratch } from './scratch.ts';
import { until } from './waiting.ts';

/*
 * The whole way of a package, on a fake Mac with its own launchd, to a real backend: unpacked by bsdtar, its scripts run as
 * Installer runs them, and from there on nothing but what launchd does. Only the runtime is this machine's Node.
 */

const library = 'Library/Sparekey';
let made: Made;
let server: GivenServer;
let mac: FakeMac;
/** Programs of macOS that this fake Mac has not. */
let programs: string;
/** What Installer runs, out of the package. */
let unpackedScripts: string;

beforeAll(async () => {
  made = await makeMade(madeRuntime());
  server = await givenServer();
  const [escrow] = server.serving.backend.escrowKeys.certificates;
  const escrowCertificate = pem('CERTIFICATE', escrow?.der ?? Buffer.alloc(0));
  mac = FakeMac.create({
    root: join(scratch(), 'mac'),
    folder: true,
    escrowProfile: 'ours',
    escrowCertificate,
    deviceCa: { certificate: pem('CERTIFICATE', deviceCa.certificateDer), key: deviceCa.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() },
    settings: {
      serverUrl: server.url,
      escrowCertificate,
      trustedCertificates: [server.ca],
      identityIssuer: 'Device CA',
      settleSeconds: 1,
      custody: 'keychain',
    },
  });
  // As on a Mac, the other way round.
  mkdirSync(join(mac.root, 'private'), { recursive: true });
  symlinkSync('../var', join(mac.root, 'private', 'var'));
  using stands = standIns({
    uname: '#!/bin/sh\necho arm64\n',
    chown: '#!/bin/sh\n',
    pkgutil: '#!/bin/sh\nexit 1\n',
    id: '#!/bin/sh\necho 0\n',
    sleep: '#!/bin/sh\nexec /bin/sleep 1\n',
  });
  programs = stands.folder;
});

const path = (): string => [programs, ...['bin', 'usr/bin', 'usr/sbin'].map((one) => join(mac.root, one)), '/usr/bin', '/bin'].join(':');

/** The script as it is in the package: of Installer's folder, or where it was installed. */
const shipped = (script: 'preinstall' | 'postinstall' | 'uninstall.sh'): string =>
  readFileSync(script === 'uninstall.sh' ? join(mac.root, library, script) : join(unpackedScripts, script), 'utf8');

/** A script of the package, with the arguments that Installer gives. */
async function runScript(script: 'preinstall' | 'postinstall' | 'uninstall.sh', args: readonly string[] = ['a.pkg', '/', '/', '/']): Promise<Session> {
  const file = join(scratch(), script);
  writeFileSync(file, adapted(script, mac.root, path(), undefined, shipped(script)));
  return runCommand('/bin/sh', [file, ...args], {});
}

/** preinstall, payload, postinstall. `signed`: what the package says of itself. */
async function install(signed: boolean): Promise<void> {
  const unpacked = scratch();
  readWith('bsdtar', ['-xf', made.file, '-C', unpacked]);
  const [component] = readdirSync(unpacked).filter((name) => name.endsWith('.pkg'));
  unpackedScripts = scratch();
  readWith('bsdtar', ['-xpf', join(unpacked, component ?? '', 'Scripts'), '-C', unpackedScripts]);
  expect(await runScript('preinstall')).toEqual({ exit: 0, out: '', err: '' });
  const payload = scratch();
  readWith('bsdtar', ['-xpf', join(unpacked, component ?? '', 'Payload'), '-C', payload]);
  // A link to this machine's Node, through which nothing may be written.
  rmSync(join(mac.root, library, 'bin/node'), { force: true });
  cpSync(payload, mac.root, { recursive: true, force: true });
  const at = (one: string): string => join(mac.root, one);
  const build = JSON.parse(readFileSync(at(`${library}/lib/build.json`), 'utf8'));
  const jobs = structuredClone(mac.state.jobs);
  // The Linux node for the one of macOS, `--root` for the job, a keychain of this fake Mac for keytar's addon.
  installAgent(mac.machine, { bundle: at(`${library}/lib/sparekey.mjs`), job: at('Library/LaunchDaemons/io.sparekey.agent.plist') });
  writeFileSync(at(`${library}/lib/build.json`), JSON.stringify({ ...build, signed }));
  mac.change((state) => {
    state.jobs = jobs;
  });
  expect(await runScript('postinstall')).toEqual({ exit: 0, out: '', err: '' });
}

const custody = async () => {
  const { custody: it } = server.serving.backend;
  const id = await it.findMac(mac.state.serial).catch(() => null);
  return id === null ? 'none' : (await it.custodyOf(id)).state;
};
const status = (): Partial<PublicStatus> => {
  const file = join(mac.root, 'var/db/io.sparekey.agent.public/status.json');
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {};
};
/** What an admin is told of this Mac. */
const told = async (): Promise<string> => JSON.stringify(await sayStatus(server.serving.backend, mac.state.serial));

describe('a package that is installed', () => {
  afterAll(() => mac?.dispose());

  testWith(['bsdtar'], 'brings the key into safe keeping, and nobody has done anything but install it', async () => {
    expect(await custody()).toBe('none');
    await install(false);
    await until(() => status().custody?.state === 'held');
    expect(await custody()).toBe('held');
    expect(lstatSync(join(mac.root, 'var/db/io.sparekey.agent')).mode & 0o777).toBe(0o700);
  });

  testWith(['bsdtar'], 'lab only is said at each check-in, and this Mac keeps no key, whatever its settings want', async () => {
    expect(await told()).toContain(`agent 0.1.0 on Node ${process.version} (lab only: not signed, so it keeps no key and is given none)`);
    expect(status().custodyMode).toEqual({ mode: 'server', because: expect.stringContaining('not signed') });
  });

  testWith(['bsdtar'], 'again, and signed this time, takes over what the other one knew, and runs at once', async () => {
    const journal = join(mac.root, 'var/db/io.sparekey.agent/journal.json');
    const before = JSON.parse(readFileSync(journal, 'utf8'));
    const { at } = status();
    await install(true);
    await until(() => status().at !== at);
    expect(await told()).toContain(`agent 0.1.0 on Node ${process.version}, id`);
    expect(status().custodyMode?.mode).toBe('keychain');
    expect(JSON.parse(readFileSync(journal, 'utf8')).identity).toEqual(before.identity);
    expect(await custody()).toBe('held');
  });

  testWith(['bsdtar'], 'and once more while a recovery key is being replaced: waits for that, and the new key is in safe keeping', async () => {
    const before = mac.recoveryKey;
    const journal = join(mac.root, 'var/db/io.sparekey.agent/journal.json');
    mac.setQuirk('changeSecondsAfter', 3);
    // A second of a settled session, which the job has to have seen.
    await new Promise((done) => setTimeout(done, 1100));
    const rotated = runCommand(join(mac.root, library, 'bin/sparekey'), ['rotate', '--reason', 'a test'], {});
    await until(() => readFileSync(journal, 'utf8').includes('"state":"changing"'));
    expect(await runScript('preinstall')).toEqual({ exit: 0, out: '', err: 'sparekey: waiting for a run of the agent to end\n' });
    expect(readFileSync(journal, 'utf8')).not.toContain('"state":"changing"');
    expect(await runScript('postinstall')).toEqual({ exit: 0, out: '', err: '' });
    expect(await rotated).toMatchObject({ exit: 0, out: expect.stringContaining('the recovery key was replaced') });
    expect(mac.recoveryKey).not.toBe(before);
    expect(await custody()).toBe('held');
  });

  testWith(['bsdtar'], 'is removed by its own uninstaller: no job, no file of it, and what it knew stays', async () => {
    await until(() => !existsSync(join(mac.root, 'var/db/io.sparekey.agent/lock')));
    const removed = await runScript('uninstall.sh', []);
    expect(removed).toEqual({ exit: 0, out: '', err: expect.stringContaining('removed; what it knew is in') });
    expect(mac.state.jobs['io.sparekey.agent']?.loaded).toBe(false);
    expect(existsSync(join(mac.root, library))).toBe(false);
    expect(existsSync(join(mac.root, 'private/etc/paths.d/io.sparekey.agent'))).toBe(false);
    expect(existsSync(join(mac.root, 'var/db/io.sparekey.agent/journal.json'))).toBe(true);
  });
});
