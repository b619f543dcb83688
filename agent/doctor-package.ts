import { readMacos } from './mac/system.ts';
import { paths } from './paths.ts';
import type { Disk, Runner } from './world.ts';

/** What was installed, and on what. */

export interface BuildSeen {
  version: string | null;
  runtime: string | null;
  architectures: string[];
  signed: boolean;
  team: string | null;
}

export interface Machinery {
  /** The architecture that this runtime was built for, as `process.arch` has it. */
  runtime: string;
  /** An Apple processor; null where macOS does not say. */
  apple: boolean | null;
}

/** Null: not from a package. What the package wrote about itself; no part of it is secret. */
export function seeBuild(disk: Disk): BuildSeen | null {
  const bytes = disk.read(paths.build, 4096);
  if (bytes === null) return null;
  const it = JSON.parse(bytes.toString('utf8')) as Record<string, unknown>;
  const text = (name: string): string | null => (typeof it[name] === 'string' ? it[name].slice(0, 100) : null);
  const architectures = Array.isArray(it['architectures']) ? it['architectures'].filter((one) => typeof one === 'string').slice(0, 4) : [];
  return { version: text('version'), runtime: text('runtime'), architectures, signed: it['signed'] === true, team: text('team') };
}

/** `hw.optional.arm64` is 1 on Apple silicon, also for a program under Rosetta, and unknown on Intel. */
export async function seeMachinery(runner: Runner): Promise<Machinery> {
  const ran = await runner.run({ program: '/usr/sbin/sysctl', args: ['-n', 'hw.optional.arm64'] });
  const apple = ran.code === 0 ? ran.stdout.toString('utf8').trim() === '1' : ran.failed ? null : false;
  return { runtime: process.arch, apple };
}

export const seeMacos = async (runner: Runner): Promise<string> => (await readMacos(runner)).version;

/** What root runs, and what decides about it: nobody else may be able to write it. */
const folders = ['/Library/Sparekey', '/Library/Sparekey/bin', '/Library/Sparekey/lib', paths.public] as const;
const files = [
  '/Library/Sparekey/bin/node',
  '/Library/Sparekey/bin/sparekey',
  '/Library/Sparekey/lib/sparekey.mjs',
  paths.build,
  paths.job,
  paths.status,
] as const;

export function seeInstalled(disk: Disk): { path: string; mode: number; uid: number }[] {
  return [...folders, ...files].flatMap((path) => {
    const facts = disk.facts(path);
    // The bits of a link say nothing; who may put one there, those of its folder do.
    const isLink = facts !== null && !facts.regular && (files as readonly string[]).includes(path);
    return facts && !isLink ? [{ path, mode: facts.mode & 0o777, uid: facts.uid }] : [];
  });
}
