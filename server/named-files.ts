import { existsSync } from 'node:fs';
import { isAbsolute, join, relative } from 'node:path';

/** A file that a setting names, which lies where an admin has put it. */
export interface NamedFile {
  setting: string;
  file: string;
}

/** By the form of their names: what is added later to the settings is found too, as long as it keeps to it. */
const namesFile = (name: string, parent: string): boolean =>
  name.endsWith('File') || ((parent === 'tls' || parent === 'files') && (name === 'certificate' || name === 'key'));

/** All that the settings name: certificates with their keys, secrets, passwords, the logo. */
function filesNamedBy(settings: object, at: readonly string[] = []): NamedFile[] {
  return Object.entries(settings).flatMap(([name, value]) => {
    if (typeof value === 'string') return namesFile(name, at.at(-1) ?? '') && isAbsolute(value) ? [{ setting: [...at, name].join('.'), file: value }] : [];
    return typeof value === 'object' && value !== null ? filesNamedBy(value, [...at, name]) : [];
  });
}

/** Those that a backup does not hold. `unpacked` is it; `dir`, where it is known, the data folder as the settings may name it. */
export function notInBackup(settings: object, unpacked: string, dir: string | null): NamedFile[] {
  return filesNamedBy(settings).filter(({ file }) => {
    const inside = dir === null ? null : relative(dir, file);
    return inside === null || inside.startsWith('..') || isAbsolute(inside) || !existsSync(join(unpacked, inside));
  });
}

/** In words, for whoever carries them over. */
export function sayNotInBackup(files: readonly NamedFile[]): string[] {
  return files.length === 0
    ? []
    : ['its settings name files that no backup holds; bring them along:', ...files.map(({ setting, file }) => `  ${setting}: ${file}`)];
}
