import { execFile } from 'node:child_process';
import { closeSync, copyFileSync, existsSync, openSync, readdirSync, readFileSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from '@jest/globals';
import { read } from '../scripts/package/contents.ts';
import { joinSlices } from '../scripts/package/fat.ts';
import { architectures } from '../scripts/package/macho.ts';
import { notNodes } from '../scripts/package/node-signature.ts';
import { obtainRuntime, ourPins, readPins } from '../scripts/package/runtime.ts';
import { readBom } from './bom-reader.ts';
import { readWith } from './other-readers.ts';
import { scratch } from './scratch.ts';

/* The true runtimes, where they have been fetched: 104 MB, which `npm test` does not download. */

const folder = join(import.meta.dirname, '../dist/runtime');
const pins = readPins(ourPins);
const there = architectures.every((one) => existsSync(join(folder, `${pins[one].package}-${pins.version}.tgz`)));
const { CI } = process.env;
// In CI they have to be there: a test that is left out there is a test that nobody has.
const testFetched = (name: string, body: () => Promise<void>): void =>
  there || CI ? test(name, body) : test.skip(`${name} [skipped: npm run -s package -- --fetch has not been run]`, body);

// Seconds of work for two cores: where everything is tried, and not at each change.
const testInCi = (name: string, body: () => Promise<void>): void => (CI ? testFetched(name, body) : test.skip(`${name} [skipped: only in CI]`, body));

testFetched('the published runtimes are as pinned, for their processor, from macOS 13.5 on, and signed by the Node.js Foundation', async () => {
  const runtimes = await Promise.all(architectures.map((one) => obtainRuntime(pins, one, folder, () => undefined)));
  for (const { slice, architecture } of runtimes)
    expect(slice).toMatchObject({
      architecture,
      minimumMacos: '13.5',
      signature: { identifier: 'node', team: 'HX7739G8FX', hardened: true, timestamped: true },
    });
  // Why ours is signed again.
  expect(runtimes[0]?.slice.signature?.entitlements).toContain('com.apple.security.get-task-allow');
  const [header] = read(joinSlices(runtimes));
  expect([header?.readUInt32BE(0), header?.readUInt32BE(4), header?.readUInt32BE(16)]).toEqual([0xcafebabe, 2, 4096]);
});

testInCi('what the Node.js project has signed is known by its signature; one byte of it changed is not', async () => {
  const { file, slice } = await obtainRuntime(pins, 'arm64', folder, () => undefined);
  expect(await notNodes(file, slice, pins.version)).toBeNull();
  expect(await notNodes(file, slice, '26.9.0')).toBe('nothing in it says v26.9.0: it is another version');
  const changed = join(scratch(), 'node');
  copyFileSync(file, changed);
  const flip = (at: number): void => {
    const fd = openSync(changed, 'r+');
    const byte = Buffer.alloc(1);
    readSync(fd, byte, 0, 1, at);
    writeSync(fd, Buffer.from([(byte[0] ?? 0) ^ 1]), 0, 1, at);
    closeSync(fd);
  };
  flip(70_000_000);
  expect(await notNodes(changed, slice, pins.version)).toBe('1 of its pages are not what was signed');
  flip(70_000_000);
  // Within the list of digests itself, and its own digest with it.
  flip(slice.signed.at + 200);
  expect(await notNodes(changed, slice, pins.version)).toMatch(/^its signature is not right/);
});

/** At its end a process says its largest size so far, in kB. What `getrusage` has is of the process before it, too. */
const saysPeak = `data:text/javascript,${encodeURIComponent(
  "import { readFileSync, writeSync } from 'node:fs'; process.on('exit', () => writeSync(2, String(/VmHWM.*/.exec(readFileSync('/proc/self/status', 'utf8'))) + String.fromCharCode(10)));",
)}`;

testInCi('a package of the true runtime takes at most 400 MB of memory, says how far it is, is at most 47 MB, and other programs read it', async () => {
  const args = ['--import', saysPeak, join(import.meta.dirname, '../scripts/package/main.ts'), '--org', 'Example Ltd', '--out', scratch('out'), '--json'];
  const { stdout, stderr } = await promisify(execFile)(process.execPath, args);
  const made = JSON.parse(stdout) as { file: string; bytes: number };
  expect(stderr.split('\n')).toEqual(
    expect.arrayContaining([expect.stringMatching(/^runtime: Node .* for arm64/), ...[25, 50, 75, 100].map((of) => `packing: ${of} %`)]),
  );
  // How long it takes, the machine says; what it holds, the program does: 205 MB, with a runtime of 147.
  expect(Number(/VmHWM:\s+(\d+) kB/.exec(stderr)?.[1])).toBeLessThanOrEqual(400_000);
  expect(made.bytes).toBeLessThanOrEqual(47_000_000);
  expect(readWith('7z', ['t', made.file])).toContain('Everything is Ok');
  const out = scratch();
  readWith('bsdtar', ['-xf', made.file, '-C', out]);
  const component = readdirSync(out).find((name) => name.endsWith('.pkg')) ?? '';
  const node = readBom(readFileSync(join(out, component, 'Bom'))).records.find(({ path }) => path.endsWith('bin/node'));
  readWith('bsdtar', ['-xf', join(out, component, 'Payload'), '-C', out, './Library/Sparekey/bin/node']);
  expect(`${node?.cksum} ${node?.bytes}`).toBe(
    readWith('cksum', [join(out, 'Library/Sparekey/bin/node')])
      .split(' ')
      .slice(0, 2)
      .join(' '),
  );
});
