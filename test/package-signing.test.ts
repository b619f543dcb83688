import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { parse } from 'plist';
import { runPackage } from '../scripts/package/command.ts';
import { entitlementsPlist, signPackage, signPrograms } from '../scripts/package/sign.ts';
import { readSigning, type Signing } from '../scripts/package/signing.ts';
import { writeXar } from '../scripts/package/xar.ts';
import { makePair } from './fake-mac/certificates.ts';
import { adHoc, hardened, type MadeSignature, madeMachO } from './made-macho.ts';
import { openssl, testWithOpenssl } from './openssl.ts';
import { readWith, testWith } from './other-readers.ts';
import { type MadeRuntime, madeRuntime, makeMade, runtimeVersion, standIns } from './package-parts.ts';
import { scratch } from './scratch.ts';

/* Signing: Apple's tools and rcodesign are stand-ins that do to the files what those do, or fail as those fail. */

const team = 'TEAM123456';
const now = new Date('2026-11-23T09:00:00Z');
const allowed = ['com.apple.security.cs.allow-jit', 'com.apple.security.cs.allow-unsigned-executable-memory'];
const asNode: MadeSignature = { identifier: 'io.sparekey.agent.node', team, entitlements: allowed };
const asAddon: MadeSignature = { identifier: 'io.sparekey.agent.keytar', team };

/** What it is asked goes into a file beside it. */
const stand = (name: string, body: string): string => `#!/bin/sh
here=\${0%/*}
echo "${name} $*" >>"$here/said"
for last; do :; done
${body}
`;
/** Puts the marks of a signature into the table of contents, as productsign does: arguments are the package, the new one, and the marks. */
const signToc = `
const fs = require('node:fs'); const zlib = require('node:zlib');
const [from, to, marks] = process.argv.slice(2);
const bytes = fs.readFileSync(from); const size = Number(bytes.readBigUInt64BE(8));
const text = zlib.inflateSync(bytes.subarray(28, 28 + size)).toString().replace('<file id="1">', marks + '<file id="1">');
const toc = zlib.deflateSync(text);
const head = Buffer.from(bytes.subarray(0, 28)); head.writeBigUInt64BE(BigInt(toc.length), 8); head.writeBigUInt64BE(BigInt(text.length), 16);
const sum = require('node:crypto').createHash('sha1').update(toc).digest();
fs.writeFileSync(to, Buffer.concat([head, toc, sum, bytes.subarray(28 + size + 20)]));
`;
const rsa = '<signature style="RSA"><size>256</size></signature>';
const signsWith = (marks: string, from: string): string => `'${process.execPath}' "$here/sign-toc.cjs" "${from}" "$last" '${marks}'`;
const both = `${rsa}<x-signature style="CMS"><size>9000</size></x-signature>`;
const staple = `printf 't8lr\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0' >>"$last"`;
const program = 'case $last in */node) cp "$here/signed-node" "$last" ;; *) cp "$here/signed-addon" "$last" ;; esac';
const xcrun = (status: string, stapler = staple): string =>
  `case $1$2 in stapler*) ${stapler} ;; notarytoollog) echo 'the log of Apple' ;; *) echo '${status}' ;; esac`;
const accepted = '{"id": "a1", "status": "Accepted"}';
const appleTools = { codesign: program, productsign: signsWith(both, '$4'), xcrun: xcrun(accepted), pkgutil: '', spctl: '' };
const rcodesign = `case "$1 $last" in notary-submit*) ${staple} ;; *.pkg) ${signsWith(both, '$6')} ;; *) ${program} ;; esac`;

/** Stand-ins, some of them others than usual; how the programs are signed is theirs to say. */
function tools(others: Record<string, string> = {}, signed: { node?: MadeSignature | null; addon?: MadeSignature | null } = {}) {
  const stands = standIns(Object.fromEntries(Object.entries({ ...appleTools, rcodesign, ...others }).map(([name, body]) => [name, stand(name, body)])));
  writeFileSync(join(stands.folder, 'sign-toc.cjs'), signToc);
  const write = (name: string, signature: MadeSignature | null): void => writeFileSync(join(stands.folder, name), madeMachO('arm64', { signature }));
  write('signed-node', signed.node === undefined ? asNode : signed.node);
  write('signed-addon', signed.addon === undefined ? asAddon : signed.addon);
  return Object.assign(stands, { said: () => readFileSync(join(stands.folder, 'said'), 'utf8').trim().split('\n') });
}

const apple = (more: object = {}) => ({
  with: 'apple',
  application: `Developer ID Application: Example Ltd (${team})`,
  installer: `Developer ID Installer: Example Ltd (${team})`,
  notarize: { keychainProfile: 'notary' },
  ...more,
});
function signingFile(value: object, beside: Record<string, string | Buffer> = {}): string {
  const folder = scratch('signing');
  for (const [name, bytes] of Object.entries(beside)) writeFileSync(join(folder, name), bytes);
  writeFileSync(join(folder, 'signing.json'), JSON.stringify(value));
  return join(folder, 'signing.json');
}
const quiet = (): void => undefined;
const readApple = (more: object = {}): Signing => readSigning(signingFile(apple(more)), now, quiet);

const failed = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'it went well',
    (error: Error & { exit?: number; fix?: string }) => `${error.exit}: ${error.message} | ${error.fix}`,
  );

let runtime: MadeRuntime;
beforeAll(() => {
  runtime = madeRuntime();
});

describe('with Apple’s tools', () => {
  testWith(
    ['bsdtar'],
    'programs are signed before they are packed, the package after, Apple asked, the ticket put in; each command is printed as one would type it',
    async () => {
      using its = tools();
      const told: string[] = [];
      const made = await makeMade(runtime, { signing: readApple(), tell: (says) => told.push(says) });
      expect(made.file).toMatch(/\/sparekey-0\.1\.0\.26099001-arm64\.pkg$/);
      expect(made).toMatchObject({ notarized: true, build: { signed: true, team } });
      const work = /sign '?Developer ID Application: Example Ltd \(TEAM123456\)'? (\S+)\/programs\/node/.exec(told.join('\n'))?.[1];
      const file = `${work}/sparekey-0.1.0.26099001-arm64.pkg`;
      expect(told.filter((line) => line.startsWith('$ '))).toEqual([
        `$ codesign --force --timestamp --options runtime --identifier io.sparekey.agent.node --entitlements ${work}/node.entitlements --sign 'Developer ID Application: Example Ltd (TEAM123456)' ${work}/programs/node`,
        `$ codesign --force --timestamp --options runtime --identifier io.sparekey.agent.keytar --sign 'Developer ID Application: Example Ltd (TEAM123456)' ${work}/programs/arm64/keytar.node`,
        `$ productsign --timestamp --sign 'Developer ID Installer: Example Ltd (TEAM123456)' ${work}/unsigned.pkg ${file}`,
        `$ xcrun notarytool submit ${file} --keychain-profile notary --wait --output-format json`,
        `$ xcrun stapler staple ${file}`,
        `$ pkgutil --check-signature ${file}`,
        `$ spctl -a -vv -t install ${file}`,
      ]);
      expect(its.said()).toHaveLength(7);
      const unpacked = scratch();
      readWith('bsdtar', ['-xf', made.file, '-C', unpacked]);
      expect(readdirSync(unpacked).sort()).toEqual(['Distribution', 'sparekey-agent.pkg']);
      readWith('bsdtar', ['-xf', join(unpacked, 'sparekey-agent.pkg/Payload'), '-C', unpacked]);
      const library = join(unpacked, 'Library/Sparekey');
      expect(readFileSync(join(library, 'bin/node')).equals(madeMachO('arm64', { signature: asNode }))).toBe(true);
      expect(readFileSync(join(library, 'lib/node_modules/keytar/prebuilds/darwin-arm64/keytar.node')).equals(madeMachO('arm64', { signature: asAddon }))).toBe(
        true,
      );
      expect(JSON.parse(readFileSync(join(library, 'lib/build.json'), 'utf8'))).toMatchObject({ signed: true, team, runtime: runtimeVersion });
      expect(existsSync(join(library, 'LAB-ONLY.txt'))).toBe(false);
      // What npm has is left as it is.
      expect(readFileSync(join(import.meta.dirname, '../node_modules/keytar/prebuilds/darwin-arm64/keytar.node')).length).toBe(99_464);
    },
  );

  test('our runtime asks for what its compiler needs, and for nothing that lets others in', () => {
    expect([...entitlementsPlist.matchAll(/<key>([^<]+)</g)].map(([, name]) => name)).toEqual(allowed);
  });

  const signOne = async (signed: { node?: MadeSignature | null; addon?: MadeSignature | null }): Promise<string> => {
    using _ = tools({}, signed);
    const folder = scratch();
    const [node, addon] = [join(folder, 'node'), join(folder, 'keytar.node')];
    for (const one of [node, addon]) writeFileSync(one, madeMachO('arm64'));
    return await failed(
      signPrograms(
        readApple(),
        [
          { kind: 'runtime', file: node },
          { kind: 'addon', file: addon },
        ],
        folder,
        quiet,
      ),
    );
  };
  test.each<[string, Parameters<typeof signOne>[0], RegExp]>([
    ['there is no signature', { node: null }, /not signed by a team/],
    ['it is by nobody', { node: { ...asNode, flags: adHoc | hardened } }, /not signed by a team/],
    ['it has another name', { node: { ...asNode, identifier: 'node' } }, /it is called node/],
    ['the hardened runtime is missing', { node: { ...asNode, flags: 0 } }, /without the hardened runtime/],
    ['there is no time stamp', { node: { ...asNode, timestamped: false } }, /has no time stamp/],
    [
      'a debugger may attach',
      { node: { ...asNode, entitlements: [...allowed, 'com.apple.security.get-task-allow'] } },
      /its entitlements are .*get-task-allow/,
    ],
    ['the compiler may not work', { node: { ...asNode, entitlements: [] } }, /its entitlements are none/],
    ['the addon is by another team', { addon: { ...asAddon, team: 'OTHER12345' } }, /signed by TEAM123456 and OTHER12345/],
    [
      'all are by another team',
      { node: { ...asNode, team: 'OTHER12345' }, addon: { ...asAddon, team: 'OTHER12345' } },
      /signed by OTHER12345, not by TEAM123456/,
    ],
  ])('signed programs are looked at, not believed: %s', async (_, signed, words) => {
    expect(await signOne(signed)).toMatch(words);
  });
  test('and what is right goes through', async () => {
    expect(await signOne({})).toBe('it went well');
  });

  const signPkg = async (others: Record<string, string>, more: object = {}): Promise<{ says: string; told: string }> => {
    using _ = tools(others);
    const folder = scratch();
    const unsigned = join(folder, 'unsigned.pkg');
    await writeXar([{ path: 'Distribution', contents: [Buffer.from('<a/>')], stored: false }], now.toISOString(), unsigned);
    const told: string[] = [];
    return { says: await failed(signPackage(readApple(more), unsigned, join(folder, 'signed.pkg'), (line) => told.push(line))), told: told.join('\n') };
  };
  test.each<[string, Record<string, string>, RegExp]>([
    ['productsign signs nothing', { productsign: 'cp "$4" "$last"' }, /^70: .* is not signed as a package/],
    ['the signature is without its time stamp', { productsign: signsWith(rsa, '$4') }, /^70: .* is not signed as a package/],
    ['Apple refuses, and its tool exits with 0', { xcrun: xcrun('{"id": "a1", "status": "Invalid"}') }, /^70: Apple did not notarize the package: Invalid/],
    ['Apple’s answer is none', { xcrun: xcrun('Processing') }, /^70: Apple did not notarize the package: Processing/],
    ['the ticket is not in the file', { xcrun: xcrun(accepted, 'true') }, /^75: .*its ticket is not in it/],
    ['Gatekeeper rejects it', { spctl: 'echo rejected >&2; exit 3' }, /^70: spctl ended with 3: rejected/],
    [
      'the time stamp authority is out of reach',
      { productsign: 'echo The timestamp service is not available. >&2; exit 1' },
      /\| an admin lets this machine reach http:\/\/timestamp\.apple\.com\/ts01$/,
    ],
  ])('no package where %s', async (_, others, words) => {
    const { says, told } = await signPkg(others);
    expect(says).toMatch(words);
    if (/Invalid/.test(says)) expect(told).toContain('the log of Apple');
  });
  test('without notarization only the package is signed, and that is said', async () => {
    const { says, told } = await signPkg({}, { notarize: false });
    expect(says).toBe('it went well');
    expect(told).not.toMatch(/xcrun|spctl/);
  });

  test('a machine without the tools says which one is missing, and packs nothing; what a killed build has left goes', async () => {
    const out = scratch();
    // Of builds that were killed: one of yesterday is over, one of today may be under way.
    for (const name of ['.making-old', '.making-young']) mkdirSync(join(out, name));
    utimesSync(join(out, '.making-old'), new Date(), new Date(Date.now() - 25 * 3_600_000));
    const before = process.env['PATH'];
    process.env['PATH'] = '/usr/bin:/bin';
    try {
      const says = await failed(makeMade(runtime, { signing: readApple(), out }));
      expect(says).toMatch(/^78: codesign is not on this machine \| an admin runs this on macOS/);
      expect(readdirSync(out)).toEqual(['.making-young']);
    } finally {
      process.env['PATH'] = before;
    }
  });
});

describe('the file that --sign names', () => {
  const said = (value: object, beside: Record<string, string | Buffer> = {}): Promise<string> =>
    failed(Promise.resolve().then(() => readSigning(signingFile(value, beside), now, quiet)));

  test.each<[string, object, RegExp]>([
    ['nobody’s certificate', apple({ application: '-' }), /- is not the name of a certificate "Developer ID Application/],
    [
      'the certificate for packages in place of the one for programs',
      apple({ application: apple().installer }),
      /is not the name of a certificate "Developer ID Application/,
    ],
    [
      'the one for programs in place of the one for packages',
      apple({ installer: apple().application }),
      /is not the name of a certificate "Developer ID Installer/,
    ],
    ['a certificate for development', apple({ application: `Apple Development: Example Ltd (${team})` }), /is not the name/],
    ['two teams', apple({ installer: 'Developer ID Installer: Example Ltd (OTHER12345)' }), /two teams, TEAM123456 and OTHER12345/],
    ['nothing about notarization', { ...apple(), notarize: undefined }, /notarize: /],
    ['a key that is not there', apple({ notarize: { key: 'none.p8', keyId: 'K', issuer: 'I' } }), /none\.p8 is not there/],
    ['another tool', { with: 'signtool' }, /with: /],
    ['a name that nobody knows', apple({ password: 'x' }), /password/i],
  ])('with %s is refused', async (_, value, words) => {
    const says = await said(value);
    expect(says).toMatch(/^78: /);
    expect(says).toMatch(words);
  });

  const p12 = (use: string, { chain = true, its = team, days = 365 } = {}): Buffer => {
    const authority = makePair({ subject: { CN: 'Developer ID Certification Authority', O: 'Apple Inc.' }, kind: 'ca', keyType: 'ec' });
    const leaf = makePair({
      subject: { CN: `Developer ID ${use}: Example Ltd (${its})`, OU: its, O: 'Example Ltd' },
      kind: 'device',
      keyType: 'ec',
      issuer: authority,
      notBefore: now.getTime() - 30 * 24 * 3600_000,
      days,
    });
    const files = { 'leaf.pem': leaf.certificate, 'leaf.key': leaf.key, 'ca.pem': authority.certificate };
    return openssl(['pkcs12', '-export', '-in', 'leaf.pem', '-inkey', 'leaf.key', ...(chain ? ['-certfile', 'ca.pem'] : []), '-passout', 'pass:secret'], files);
  };
  const linux = {
    with: 'rcodesign',
    application: { p12: 'a.p12', passwordFile: 'pw' },
    installer: { p12: 'i.p12', passwordFile: 'pw' },
    notarize: { apiKeyFile: 'api.json' },
  };
  const beside = (more: Record<string, string | Buffer> = {}) => ({
    'a.p12': p12('Application'),
    'i.p12': p12('Installer'),
    pw: 'secret\n',
    'api.json': '{}',
    ...more,
  });

  testWithOpenssl('for rcodesign: the password stays in its file, and the package is signed and notarized in the same order', async () => {
    using _ = tools();
    const told: string[] = [];
    const signing = readSigning(signingFile(linux, beside()), now, quiet);
    expect(signing.team).toBe(team);
    const made = await makeMade(runtime, { signing, tell: (says) => told.push(says) });
    expect(made).toMatchObject({ notarized: true, build: { signed: true, team } });
    const commands = told.filter((line) => line.startsWith('$ ')).map((line) => line.replaceAll(/\/\S*\/(?=[^/]+$|[^/ ]+ )/g, ''));
    expect(commands).toEqual([
      '$ rcodesign sign --for-notarization --code-signature-flags runtime --binary-identifier io.sparekey.agent.node --entitlements-xml-path node.entitlements --p12-file a.p12 --p12-password-file pw node',
      '$ rcodesign sign --for-notarization --code-signature-flags runtime --binary-identifier io.sparekey.agent.keytar --p12-file a.p12 --p12-password-file pw keytar.node',
      '$ rcodesign sign --p12-file i.p12 --p12-password-file pw unsigned.pkg sparekey-0.1.0.26099001-arm64.pkg',
      '$ rcodesign notary-submit --api-key-file api.json --max-wait-seconds 3600 --staple sparekey-0.1.0.26099001-arm64.pkg',
    ]);
    expect(told.join('\n')).not.toContain('secret');
  });

  testWithOpenssl('for rcodesign: what Apple would refuse after the upload is refused before', async () => {
    const ways: [Record<string, string | Buffer>, RegExp][] = [
      [{ 'a.p12': p12('Application', { chain: false }) }, /a\.p12 holds its certificate without the one of Apple that signed it/],
      [{ 'a.p12': p12('Installer') }, /a\.p12 is for .*not a certificate "Developer ID Application"/],
      [{ 'i.p12': p12('Installer', { its: 'OTHER12345' }) }, /two teams/],
      [{ 'i.p12': p12('Installer', { days: 29 }) }, /its certificate ended on/],
    ];
    for (const [more, words] of ways) expect(await said(linux, beside(more))).toMatch(words);
    const { pw: _, ...without } = beside();
    expect(await said(linux, without)).toMatch(/pw is not there/);
  });

  testWithOpenssl('for rcodesign: a file that cannot be looked into is a warning; rcodesign has the word', () => {
    const warned: string[] = [];
    const signing = readSigning(signingFile(linux, beside({ pw: 'another password' })), now, (says) => warned.push(says));
    expect(signing.team).toBeNull();
    expect(warned).toHaveLength(2);
    expect(warned[0]).toMatch(/a\.p12 could not be looked into beforehand/);
  });
});

describe('for an MDM', () => {
  test('the manifest says where the package is and what its bytes are; only a signed one has it, and none is left of an earlier one', async () => {
    using _ = tools();
    const out = scratch();
    const heard: string[] = [];
    const args = ['--org', 'Example Ltd', '--out', out, '--runtime', runtime.pinsFile, '--runtime-folder', runtime.folder, '--json'];
    const voices = { out: (text: string) => void heard.push(text), err: quiet };
    expect(await runPackage([...args, '--sign', signingFile(apple()), '--url', 'https://files.example.org/sparekey.pkg?a=1&b=2'], voices)).toBe(0);
    const { manifest, file, sha256, bytes } = JSON.parse(heard.join(''));
    expect(bytes).toBeLessThan(10 << 20);
    expect(parse(readFileSync(manifest, 'utf8'))).toEqual({
      items: [{ assets: [{ kind: 'software-package', url: 'https://files.example.org/sparekey.pkg?a=1&b=2', 'sha256-size': 10 << 20, sha256s: [sha256] }] }],
    });
    expect(readdirSync(out).sort()).toEqual([
      'sparekey-0.1.0.26099001-arm64.cdx.json',
      'sparekey-0.1.0.26099001-arm64.manifest.plist',
      'sparekey-0.1.0.26099001-arm64.pkg',
      'sparekey-uninstall.sh',
    ]);
    expect(file).toBe(join(out, 'sparekey-0.1.0.26099001-arm64.pkg'));
    // Another package of the same name: a manifest with the digests of the first one would fail silently.
    expect(await runPackage([...args, '--sign', signingFile(apple())], voices)).toBe(0);
    expect(existsSync(manifest)).toBe(false);
  });
});

describe('--native', () => {
  testWith(['bsdtar'], 'gives Apple’s tools the same files, scripts and Distribution that our own writer packs', async () => {
    const kept = scratch();
    using _ = standIns({
      pkgbuild: `#!/bin/sh\necho "pkgbuild $*" >>'${kept}/said'\ncp -Rp "$2" '${kept}/root'; cp -Rp "$4" '${kept}/scripts'\nfor last; do :; done; echo component >"$last"\n`,
      productbuild: `#!/bin/sh\necho "productbuild $*" >>'${kept}/said'\ncp "$2" '${kept}/Distribution'; ls "$4" >'${kept}/components'\nfor last; do :; done; echo product >"$last"\n`,
    });
    const native = await makeMade(runtime, { native: true });
    const ours = await makeMade(runtime);
    expect(readFileSync(native.file, 'utf8')).toBe('product\n');
    const said = readFileSync(join(kept, 'said'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => line.replaceAll(/\/\S+\/native\//g, ''));
    expect(said[0]).toBe(
      'pkgbuild --root root --scripts scripts --identifier io.sparekey.agent --version 0.1.0.26099001 --install-location / --ownership recommended components/sparekey-agent-lab-only.pkg',
    );
    expect(said[1]).toMatch(/^productbuild --distribution Distribution --package-path components \/.*\.pkg$/);
    expect(readFileSync(join(kept, 'components'), 'utf8')).toBe('sparekey-agent-lab-only.pkg\n');
    const unpacked = scratch();
    readWith('bsdtar', ['-xf', ours.file, '-C', unpacked]);
    expect(readFileSync(join(kept, 'Distribution'), 'utf8')).toBe(readFileSync(join(unpacked, 'Distribution'), 'utf8'));
    for (const [archive, folder] of [
      ['Payload', 'root'],
      ['Scripts', 'scripts'],
    ] as const) {
      const to = scratch();
      readWith('bsdtar', ['-xpf', join(unpacked, 'sparekey-agent-lab-only.pkg', archive), '-C', to]);
      const list = (at: string) =>
        (readdirSync(at, { recursive: true }) as string[]).sort().map((name) => {
          const facts = statSync(join(at, name));
          return `${name} ${facts.mode.toString(8)} ${facts.mtimeMs} ${facts.isFile() ? readFileSync(join(at, name)).toString('base64').slice(0, 4000) : ''}`;
        });
      expect(list(join(kept, folder))).toEqual(list(to));
    }
  });
});

test('docs/deploy/package.md shows files for --sign that are taken', () => {
  const page = readFileSync(join(import.meta.dirname, '../docs/deploy/package.md'), 'utf8');
  const examples = [...page.matchAll(/```json\n([\s\S]+?)```/g)].map(([, example]) => JSON.parse(example ?? '') as { with: string });
  expect(examples.map((one) => one.with)).toEqual(['apple', 'rcodesign']);
  const warned: string[] = [];
  for (const example of examples) {
    const beside = { 'application.p12': 'not one', 'installer.p12': 'not one', 'p12-password': 'x', 'key.json': '{}' };
    expect(readSigning(signingFile(example, beside), now, (says) => warned.push(says)).with).toBe(example.with);
  }
  expect(warned).toHaveLength(2);
});
