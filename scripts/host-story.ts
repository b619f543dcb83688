import { randomBytes } from 'node:crypto';
import { appendFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { paths } from '../agent/paths.ts';
import { makePair } from '../test/fake-mac/certificates.ts';
import { FakeMac } from '../test/fake-mac/fake-mac.ts';
import { freePort } from '../test/ports.ts';
import { bootedPlace, cannotBoot, cannotBuild, imagePlace, offlineCopy, type Place, type PlaceParts } from './host-places.ts';
import { bundle, job, repository, runNode } from './stage.ts';

/*
 * `npm run host-story`: the backend as it is deployed. The archive is made twice and compared, installed under a real systemd and
 * put into an image; each takes a Mac, is killed, backed up, opened from the backup alone, lost, and restored.
 */

const help = `npm run -s host-story                    both places, told
npm run -s host-story -- --json          the last line is one JSON object
npm run -s host-story -- --only systemd  or image

Needs Linux, root, and Debian's systemd-container, mmdebstrap, buildah. What is not there is said and left out; exit 1 if
anything that was tried came out otherwise.
`;

/** What was seen in one place; null where it could not be tried. */
interface Seen {
  /** A Mac enrolled, and its key is held. */
  tookMac: boolean;
  /** Killed in the middle of its life: whether it came back by itself. */
  cameBackByItself: boolean;
  /** After an upgrade over the running backend, and after the way back, it serves; null where no release is installed, here and below. */
  upgradedAndBack: boolean | null;
  /** Upgrade and `--use` without the socket, and with it again: it serves after each. */
  servedWithoutSocket: boolean | null;
  /** With a newer database the way back is refused in words, with the copy; by that copy the older release serves, and has the key. */
  backByCopy: boolean | null;
  backedUp: boolean;
  drilled: boolean;
  /** The key that the restored backend shows opens the Mac's disk. */
  restoredKeyOpens: boolean;
}

const { values } = parseArgs({ options: { json: { type: 'boolean' }, only: { type: 'string' }, help: { type: 'boolean', short: 'h' } } });
if (values.help) {
  process.stdout.write(help);
  process.exit(0);
}

const folder = mkdtempSync(join(tmpdir(), 'sparekey-host-'));
const log = join(repository, 'dist', 'host-story.log');
rmSync(log, { force: true });
const note = (line: string): void => {
  appendFileSync(log, `${line}\n`);
  process.stderr.write(`sparekey: ${line}\n`);
};

async function makeArchive(): Promise<{ file: string; sameTwice: boolean }> {
  const main = join(repository, 'scripts', 'package-server', 'main.ts');
  const made: { file: string; sha256: string }[] = [];
  for (const out of ['first', 'second']) {
    const ended = await runNode(main, ['--out', join(folder, out), '--json']);
    if (ended.code !== 0) throw new Error(`the archive could not be made:\n${ended.stderr}`);
    made.push(JSON.parse(ended.stdout) as { file: string; sha256: string });
  }
  const [first, second] = made;
  if (first === undefined || second === undefined) throw new Error('no archive');
  rmSync(second.file);
  return { file: first.file, sameTwice: first.sha256 === second.sha256 };
}

async function live(open: (parts: PlaceParts) => Promise<Place>, name: string, archive: string): Promise<Seen> {
  const parts: PlaceParts = {
    folder: join(folder, name),
    archive,
    repository,
    port: await freePort(),
    passphrase: randomBytes(24).toString('base64url'),
    note: (line) => note(`${name}: ${line}`),
  };
  mkdirSync(parts.folder, { mode: 0o711 });
  const deviceCa = makePair({ subject: { CN: 'Example Device CA', O: 'Example' }, kind: 'ca' });
  writeFileSync(join(parts.folder, 'device-ca.pem'), deviceCa.certificate, { mode: 0o644 });
  const place = await open(parts);
  try {
    return await tell(place, parts, deviceCa);
  } finally {
    place.close();
  }
}

async function tell(place: Place, { folder: at, note: say }: PlaceParts, deviceCa: ReturnType<typeof makePair>): Promise<Seen> {
  const ask = async <T>(...args: string[]): Promise<T> => {
    const ended = await place.server([...args, '--json']);
    appendFileSync(log, `${args.join(' ')} → ${ended.code} ${ended.stderr}\n`);
    if (ended.code !== 0) throw new Error(`sparekey-server ${args[0]} ended with ${ended.code}: ${ended.stderr.trim()}`);
    return JSON.parse(ended.stdout) as T;
  };
  const withPassphrase = ['--passphrase-fd', '3'];
  const ca = place.name === 'systemd' ? '/etc/sparekey/device-ca.pem' : '/run/secrets/device-ca.pem';
  say('init');
  await ask('init', '--name', '127.0.0.1', '--devices-port', String(place.port), '--copy', offlineCopy, '--device-ca', ca, '--admin', 'ada', ...withPassphrase);
  await place.start();
  const given = await ask<{ serverUrl: string; escrowCertificate: string; trustedCertificates: string[] }>('profile-values');
  const mac = FakeMac.create({
    root: join(at, 'mac'),
    folder: true,
    user: 'ada',
    serial: 'C02HOST00001',
    escrowProfile: 'ours',
    escrowCertificate: given.escrowCertificate,
    deviceCa,
    agent: { bundle, job },
    settings: {
      serverUrl: given.serverUrl,
      escrowCertificate: given.escrowCertificate,
      trustedCertificates: given.trustedCertificates,
      settleSeconds: 1,
      checkInMinutes: 5,
      identityIssuer: 'Example Device CA',
    },
  });
  const env = { PATH: '/usr/bin:/bin:/usr/sbin:/sbin', XPC_SERVICE_NAME: 'io.sparekey.agent', TMPDIR: at };
  const runJob = async () => {
    // Nothing here is to wait for its place in the quarter of an hour.
    for (const file of [paths.quiet, paths.coming]) rmSync(mac.path(file), { force: true });
    const ended = await runNode(mac.path('/Library/Sparekey/lib/sparekey.mjs'), ['check-in', '--root', mac.root], { env });
    if (ended.code === 0) return;
    // Its own log goes with the folder.
    if (existsSync(mac.path(paths.log))) appendFileSync(log, readFileSync(mac.path(paths.log)));
    throw new Error(`the agent's run ended with ${ended.code}: ${ended.stderr.trim()}`);
  };
  const isHeld = async () => (await ask<{ custody: { state: string } }>('status', mac.state.serial)).custody.state === 'held';
  say('a Mac enrols');
  await runJob();
  const tookMac = await isHeld();
  say('the backend is killed');
  const cameBackByItself = await place.crash();
  await runJob();
  const upgraded = place.upgrade === null ? null : await place.upgrade();
  appendFileSync(log, `upgrades → ${JSON.stringify(upgraded)}\n`);
  await runJob();
  const hasKey = await isHeld();
  say('backup, and one envelope opened from it alone');
  const backup = await place.backup();
  const drill = await place.drill();
  appendFileSync(log, `backup → ${backup.code} ${backup.stdout}${backup.stderr}\ndrill → ${drill.code} ${drill.stdout}${drill.stderr}\n`);
  say('the data folder is lost, and restored');
  await place.stop();
  await place.restore();
  await place.start();
  await runJob();
  const shown = await ask<{ recoveryKey: string }>('show', mac.state.serial, '--reason', 'the first look after a restore', ...withPassphrase);
  return {
    tookMac,
    cameBackByItself,
    upgradedAndBack: upgraded ? upgraded.sameSchema && hasKey : null,
    servedWithoutSocket: upgraded ? upgraded.withoutSocket : null,
    backByCopy: upgraded ? upgraded.refusedInWords && upgraded.backByCopy && hasKey : null,
    backedUp: backup.code === 0,
    drilled: drill.code === 0,
    restoredKeyOpens: mac.unlocksWith(shown.recoveryKey),
  };
}

const wanted = (name: string): boolean => values.only === undefined || values.only === name;
const seen: { sameTwice: boolean; systemd: Seen | null; image: Seen | null; leftOut: Record<string, string> } = {
  sameTwice: false,
  systemd: null,
  image: null,
  leftOut: {},
};
let failed = false;
try {
  note('making the archive, twice');
  const { file, sameTwice } = await makeArchive();
  seen.sameTwice = sameTwice;
  if (!sameTwice) failed = true;
  for (const [name, cannot, open] of [
    ['systemd', cannotBoot, bootedPlace],
    ['image', cannotBuild, imagePlace],
  ] as const) {
    const reason = wanted(name) ? cannot() : 'not asked for';
    if (reason !== null) {
      seen.leftOut[name] = reason;
      // Where everything that it needs was to be installed, what is left out was not shown.
      if (process.env['CI'] && wanted(name)) failed = true;
      continue;
    }
    const here = await live(open, name, file);
    seen[name] = here;
    // What starts an image again is the platform that runs it, and there is none here.
    const expected = Object.entries(here).every(([what, held]) => held || (name === 'image' && (held === null || what === 'cameBackByItself')));
    if (!expected) failed = true;
  }
} catch (error) {
  failed = true;
  process.stderr.write(`sparekey: error: ${(error as Error).message}\nsparekey: fix: read ${log}\n`);
} finally {
  if (existsSync(folder)) rmSync(folder, { recursive: true, force: true });
}
process.stdout.write(values.json ? `${JSON.stringify(seen)}\n` : `${JSON.stringify(seen, null, 2)}\n`);
process.exitCode = failed ? 1 : 0;
