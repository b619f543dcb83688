import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { digestOf, type FilePart } from './contents.ts';
import { PackageFailed } from './failure.ts';
import type { Architecture } from './macho.ts';

/*
 * What of keytar is on a Mac. npm looks at the archive when it installs, and nobody at the files afterwards: its addon is a
 * program in a process of root, so each of its files is pinned, as the runtime is.
 */

export const keytarFolder = join(dirname(dirname(import.meta.dirname)), 'node_modules', 'keytar');
/** Node's name of a processor. */
const nodeName: Record<Architecture, string> = { arm64: 'arm64', x86_64: 'x64' };
export const addonPath = (architecture: Architecture): string => `prebuilds/darwin-${nodeName[architecture]}/keytar.node`;

const pinsSchema = z.strictObject({ version: z.string(), files: z.record(z.string(), z.string().regex(/^[0-9a-f]{64}$/)) });
export const readKeytarPins = () => pinsSchema.parse(JSON.parse(readFileSync(join(import.meta.dirname, 'keytar.json'), 'utf8')));

/** By their path in the package: what these processors need, as it was pinned. */
export function keytarFiles(folder: string, architectures: readonly Architecture[]): Map<string, FilePart> {
  const pins = Object.entries(readKeytarPins().files);
  const needed = pins.filter(([path]) => !path.startsWith('prebuilds/') || architectures.some((one) => addonPath(one) === path));
  return new Map(
    needed.map(([path, sha256]): [string, FilePart] => {
      const file = join(folder, path);
      if (!existsSync(file)) throw new PackageFailed(`${file} is not there`, 'an admin runs npm ci', 70);
      const is = digestOf(file, 'sha256').toString('hex');
      if (is !== sha256)
        throw new PackageFailed(
          `${file} is not the file that was pinned: ${is} instead of ${sha256}`,
          'an admin runs npm ci; if it is the same again, somebody changed it, and it must not be packaged',
          78,
        );
      return [path, { file, bytes: statSync(file).size, sha256 }];
    }),
  );
}
