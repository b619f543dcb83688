import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Architecture } from './macho.ts';

/** What the scripts of the package are told about it. */
export interface ScriptFacts {
  architectures: readonly Architecture[];
  minimumMacos: string;
  /** That its agent reads: of a newer one it could not go on. */
  journalVersion: number;
}

const readScript = (name: string): string => readFileSync(join(import.meta.dirname, 'mac', name), 'utf8');

/** The script with what it reads from beside itself put in: Installer's folder is gone afterwards, and an MDM takes one file. */
export function macScript(
  name: 'preinstall' | 'postinstall' | 'uninstall.sh' | 'reload.sh',
  { architectures, minimumMacos, journalVersion }: ScriptFacts,
): string {
  const facts = `architectures='${architectures.join(' ')}'\nminimum_macos='${minimumMacos}'\njournal_version='${journalVersion}'\n`;
  return readScript(name).replaceAll(/^\. "\$\{0%\/\*\}\/(.+)"\n/gm, (_, part: string) => (part === 'facts.sh' ? facts : readScript(part)));
}
