import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Lock } from './files.ts';

/** A package that cannot be built: what happened, and the one thing that mends it. */
export class CannotBuild extends Error {
  readonly fix: string;
  constructor(message: string, fix: string) {
    super(message);
    this.fix = fix;
  }
}

/** The release of Node for servers, and the SHA-256 of its program: what is packed runs on every server. */
export interface Pins {
  version: string;
  x64: string;
  arm64: string;
}
type Processor = 'x64' | 'arm64';

export const readPins = (): Pins => JSON.parse(readFileSync(new URL('./runtime.json', import.meta.url), 'utf8')) as Pins;

/** Held against its pin whenever it is packed: it lies on this machine since whenever it was installed or fetched. */
export function checkRuntime(file: string, arch: Processor, version: string, pins: Pins): void {
  const fix = 'remove it and run `npm ci`, or dist/runtime; a newer Node: its digest goes into scripts/package-server/runtime.json';
  if (version !== pins.version) throw new CannotBuild(`the lock file has Node ${version}, and ${pins.version} is pinned for servers`, fix);
  const digest = createHash('sha256').update(readFileSync(file)).digest('hex');
  if (digest !== pins[arch]) throw new CannotBuild(`${file} is not Node ${version} for ${arch}: its SHA-256 is ${digest}`, fix);
}

/**
 * The runtime for `arch`: the one that npm installed for this machine, or else fetched by npm and held against the digest of
 * the lock file. Kept in dist/, since it is 50 MB to fetch.
 */
export function runtimeFor(root: string, lock: Lock, arch: Processor, pins = readPins()): { file: string; version: string } {
  const name = `node-linux-${arch}`;
  const { version = '', integrity = '' } = lock.packages[`node_modules/${name}`] ?? {};
  const installed = join(root, 'node_modules', name, 'bin', 'node');
  const kept = join(root, 'dist', 'runtime', `${name}-${version}`);
  const file = existsSync(installed) ? installed : join(kept, 'package', 'bin', 'node');
  if (!existsSync(file)) fetchRuntime(kept, `${name}@${version}`, integrity);
  checkRuntime(file, arch, version, pins);
  return { file, version };
}

function fetchRuntime(kept: string, named: string, integrity: string): void {
  const folder = mkdtempSync(join(tmpdir(), 'sparekey-runtime-'));
  try {
    process.stderr.write(`sparekey: fetching ${named}\n`);
    const npm = process.env['npm_execpath'];
    const [program, before] = npm === undefined ? ['npm', []] : [process.execPath, [npm]];
    const packed = spawnSync(program, [...before, 'pack', named, '--pack-destination', folder, '--silent'], { cwd: folder, encoding: 'utf8' });
    const tarball = join(folder, packed.stdout?.trim() ?? '');
    if (packed.status !== 0) throw new CannotBuild(`${named} could not be fetched`, 'with a network, run the same command again');
    const digest = `sha512-${createHash('sha512').update(readFileSync(tarball)).digest('base64')}`;
    if (digest !== integrity) throw new CannotBuild(`${named} is not what the lock file says`, 'look at what the registry gives; the package was not used');
    mkdirSync(dirname(kept), { recursive: true });
    // Beside its place, and there with one rename: what is cut in the middle is never taken for whole.
    const part = mkdtempSync(`${kept}.part-`);
    if (spawnSync('tar', ['-xzf', tarball, '-C', part]).status !== 0) throw new CannotBuild('the runtime could not be unpacked', 'free some disk space');
    rmSync(kept, { recursive: true, force: true });
    renameSync(part, kept);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
