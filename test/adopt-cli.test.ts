import type { ChildProcess } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { bundleAgent } from '../scripts/bundle.ts';
import { pem } from '../server/certificates.ts';
import { runCommand, type Session } from './commands.ts';
import { FakeMac } from './fake-mac/fake-mac.ts';
import { defaultJob } from './fake-mac/install.ts';
import { deviceCa, type GivenServer, givenServer } from './given-server.ts';
import { filesUnder, findKeys } from './plain-text.ts';
import { scratch } from './scratch.ts';

/*
 * `sudo sparekey adopt` as it ships: the bundle, the job as launchd starts it, and the door between them, under a root folder
 * whose path is longer than a socket's may be.
 */

const password = 'Grüße & <Bärte> "42"';
const wrong = 'not that one at all';
const state = '/var/db/io.sparekey.agent';

const run = (command: string, args: readonly string[], input: string | null, type?: (shown: string, child: ChildProcess) => void): Promise<Session> =>
  runCommand(command, args, { input, onOut: type });

let server: GivenServer;
let bundle: string;
const macs: FakeMac[] = [];

/** A Mac whose key nobody but its maker has; the job has seen its user for the settle time. */
async function keyless(adoptByPrompt = false): Promise<FakeMac> {
  const escrowCertificate = pem('CERTIFICATE', server.serving.backend.escrowKeys.certificates[0]?.der ?? Buffer.alloc(0));
  const mac = FakeMac.create({
    root: join(scratch(), 'a-folder-with-a-long-name-so-that-the-path-of-a-socket-in-it-is-longer-than-any-system-takes', 'mac'),
    folder: true,
    macosVersion: '15.6.1',
    escrowProfile: 'none',
    deviceCa: { certificate: pem('CERTIFICATE', deviceCa.certificateDer), key: deviceCa.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() },
    settings: {
      serverUrl: server.url,
      escrowCertificate,
      trustedCertificates: [server.ca],
      identityIssuer: 'Device CA',
      settleSeconds: 1,
      organisation: 'Example IT',
      adoptWords: 'Your Mac was set up before we kept its key.',
      adoptContact: 'https://intranet.example.org/filevault',
      adoptByPrompt,
    },
    agent: { bundle, job: defaultJob },
  });
  macs.push(mac);
  mac.installEscrowProfile('ours', escrowCertificate);
  mac.change((it) => {
    for (const user of it.users) user.password = password;
  });
  await sparekey(mac, ['check-in'], '');
  await new Promise((done) => setTimeout(done, 1100));
  return mac;
}

const sparekey = (mac: FakeMac, args: readonly string[], input: string | null): Promise<Session> =>
  run(process.execPath, [bundle, ...args, '--root', mac.root], input);
const custodyOf = async (mac: FakeMac): Promise<string> => {
  const { custody } = server.serving.backend;
  return (await custody.custodyOf(await custody.findMac(mac.state.serial))).state;
};

beforeAll(async () => {
  server = await givenServer();
  bundle = (await bundleAgent()).file;
});
describe('sudo sparekey adopt, as it ships', () => {
  // Before the folders go.
  afterAll(() => {
    for (const mac of macs) mac.dispose();
  });

  test('one wrong password, then the right one, by stdin: the key is made and held; the password is nowhere, and the door is gone', async () => {
    const mac = await keyless();
    const before = mac.recoveryKey;
    expect(await custodyOf(mac)).toBe('none');
    const { out, err, exit } = await sparekey(mac, ['adopt', '--password-stdin', '--json'], `${wrong}\n${password}\n`);
    expect([err, JSON.parse(out), exit]).toEqual([
      expect.any(String),
      { exit: 0, says: 'macOS made a new recovery key, and it is in safe keeping', fix: null, code: null },
      0,
    ]);
    expect(err).toContain('Example IT asks for the password with which ada unlocks this Mac.');
    expect(err).toContain('Is this genuine? https://intranet.example.org/filevault');
    expect(err).toContain('sparekey: macOS did not take that password; 2 more tries');
    expect(mac.recoveryKey).not.toBe(before);
    expect(await custodyOf(mac)).toBe('held');
    expect(readdirSync(mac.path(state)).filter((name) => name.endsWith('.password'))).toEqual([]);
    expect(mac.state.leaks).toEqual([]);
    const files = [...['/var', '/tmp', '/private', '/Library', '/Users'].flatMap((folder) => filesUnder(mac.path(folder))), ...filesUnder(server.dir)];
    expect(files.length).toBeGreaterThan(20);
    expect(findKeys([password, wrong], files)).toEqual([]);
    const again = await sparekey(mac, ['adopt', '--password-stdin'], `${password}\n`);
    expect([again.exit, again.out]).toEqual([0, expect.stringContaining('no password is needed')]);
  });

  // `script` of util-linux is a terminal; a bare machine has none.
  const terminal = ['/usr/bin/script', '/bin/script'].find((path) => existsSync(path));
  (terminal ? test : test.skip)('in a dialog, where a wrong one is told, and then at a terminal: what is typed is not shown', async () => {
    const mac = await keyless(true);
    mac.answerDialogs(`type:${wrong}`, 'cancel');
    expect((await sparekey(mac, ['check-in'], '')).exit).toBe(0);
    expect(mac.state.dialogs.shown.map(({ by, uid, text }) => [by, uid, text.includes('That was not the password')])).toEqual([
      ['osascript', 501, false],
      ['osascript', 501, true],
    ]);
    expect(mac.state.leaks).toEqual([]);
    const before = mac.recoveryKey;
    const command = [process.execPath, bundle, 'adopt', '--root', mac.root].map((word) => `'${word}'`).join(' ');
    let typed = false;
    const { out, exit } = await run(terminal ?? '', ['-qec', command, '/dev/null'], null, (shown, child) => {
      if (typed || !shown.includes('Password of ada: ')) return;
      typed = true;
      child.stdin?.write(`${password}\r`);
    });
    expect([exit, out]).toEqual([0, expect.stringContaining('macOS made a new recovery key')]);
    expect(out).not.toContain(password);
    expect(mac.recoveryKey).not.toBe(before);
    expect(findKeys([password, wrong], [...filesUnder(mac.path('/var')), ...filesUnder(mac.path('/Library'))])).toEqual([]);
  });
});
