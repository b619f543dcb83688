import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';

/** One file of the archive: where it goes, where it comes from, and its mode there. Everything belongs to root. */
export interface PackedFile {
  path: string;
  from: string | Buffer;
  mode: 0o644 | 0o755;
}

interface LockEntry {
  version?: string;
  license?: string;
  integrity?: string;
  dependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
  peerDependencies?: Record<string, string>;
}

export interface Lock {
  packages: Record<string, LockEntry>;
}

/** A package that the backend runs with, by its path in node_modules. */
export interface PackedPackage {
  path: string;
  name: string;
  version: string;
  license: string;
  integrity: string;
}

/** What the backend is made of; the agent, the profiles and the tests are not for a server. */
const sourceFolders = ['protocol', 'server', 'web', 'portal', 'console', 'ctl'] as const;
/** Read by programs that are written, never by one that runs: two fifths of the bytes. */
const notRun = /(\.d\.[cm]?ts|\.map|\.tsbuildinfo|\/(test|tests|__tests__|docs|example|examples|benchmarks?)\/.*)$/;

const sorted = (a: { path: string }, b: { path: string }): number => (a.path < b.path ? -1 : 1);

function filesUnder(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

/** The packages that the backend's own sources name, also those that are loaded when they are needed. */
export function importedPackages(root: string): string[] {
  const names = new Set<string>();
  for (const folder of sourceFolders)
    for (const file of filesUnder(join(root, folder)))
      if (file.endsWith('.ts'))
        for (const [, name = ''] of readFileSync(file, 'utf8').matchAll(/(?:\bfrom |\bimport\()'((?:@[\w.-]+\/)?[a-z][\w.-]*)(?:\/[^']*)?'/g)) names.add(name);
  return [...names].filter((name) => name !== 'node').toSorted();
}

/** Where Node finds `dependency` from the package at `from`, as the lock file has it: the nearest folder above. */
function placeOf(lock: Lock, from: string, dependency: string): string | null {
  for (let at = from; ; at = at.includes('/node_modules/') ? at.slice(0, at.lastIndexOf('/node_modules/')) : '') {
    const place = `${at === '' ? '' : `${at}/`}node_modules/${dependency}`;
    if (place in lock.packages) return place;
    if (at === '') return null;
  }
}

/** Those packages and all that they need, each once. */
export function packagesFor(lock: Lock, names: readonly string[]): PackedPackage[] {
  const found = new Map<string, PackedPackage>();
  const take = (from: string, name: string, needed: boolean): void => {
    const path = placeOf(lock, from, name);
    if (path === null) {
      if (needed) throw new Error(`${name} is imported${from === '' ? '' : ` by ${from}`} and is not in the lock file`);
      return;
    }
    if (found.has(path)) return;
    const { version = '', license = '', integrity = '', dependencies = {}, optionalDependencies = {}, peerDependencies = {} } = lock.packages[path] ?? {};
    found.set(path, { path, name: path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length), version, license, integrity });
    for (const one of Object.keys(dependencies)) take(path, one, !(one in optionalDependencies));
    for (const one of Object.keys(peerDependencies)) take(path, one, false);
  };
  for (const name of names) take('', name, true);
  return [...found.values()].toSorted(sorted);
}

/** What belongs there by its name. An editor's copy, a Finder's file or a passphrase that somebody made in a folder of it is packed by nobody. */
const ours: readonly { folder: string; names: RegExp }[] = [
  ...sourceFolders.map((folder) => ({ folder, names: /^(?:[\w-]+\/)*[\w-]+\.(?:ts|css|svg|json)$/ })),
  {
    folder: 'deploy',
    names:
      /^(?:install\.sh|bin\/sparekey(?:-server|ctl)|container\/(?:Containerfile|README\.md|build\.sh)|cron\/sparekey(?:-container)?|systemd\/sparekey[\w.-]*\.(?:service|timer|socket|conf))$/,
  },
  { folder: 'docs', names: /^(?:[\w-]+\/)*[\w-]+\.md$/ },
];

function oursUnder(root: string, name: string): string[] {
  const names = ours.find(({ folder }) => folder === name)?.names;
  return filesUnder(join(root, name)).filter((file) => names?.test(relative(join(root, name), file).replaceAll('\\', '/')));
}

/** Everything of the archive but the runtime: sources, the packages they run with, licences, units, and how to install it. */
export function packedFiles(root: string, packages: readonly PackedPackage[]): PackedFile[] {
  const files: PackedFile[] = [];
  for (const folder of sourceFolders) for (const from of oursUnder(root, folder)) files.push({ path: `app/${from.slice(root.length + 1)}`, from, mode: 0o644 });
  for (const { path } of packages)
    for (const from of filesUnder(join(root, path))) {
      const inside = from.slice(root.length + 1 + path.length);
      // A package inside of it is in the list by itself where it is needed.
      if (!inside.includes('/node_modules/') && !notRun.test(inside)) files.push({ path: `app/${path}${inside}`, from, mode: 0o644 });
    }
  for (const from of oursUnder(root, 'deploy'))
    files.push({ path: from.slice(join(root, 'deploy').length + 1), from, mode: readFileSync(from).subarray(0, 2).toString() === '#!' ? 0o755 : 0o644 });
  for (const from of oursUnder(root, 'docs')) files.push({ path: from.slice(root.length + 1), from, mode: 0o644 });
  for (const name of ['LICENSE', 'CHANGELOG.md', 'SECURITY.md']) files.push({ path: name, from: join(root, name), mode: 0o644 });
  return files.toSorted(sorted);
}
