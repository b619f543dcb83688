import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type Contents, type Entry, type FilePart, text } from './contents.ts';
import type { Architecture } from './macho.ts';

/*
 * What lies where on the Mac. Nothing but a folder of our own and those of macOS on the way to it, with owner and mode as macOS
 * has them: Installer gives them those again. No symbolic link on the way (/etc is one), and nothing in /usr/local, which
 * belongs to whoever came first.
 */

const root = dirname(dirname(import.meta.dirname));
const library = 'Library/Sparekey';

/** What the agent reads of it is `signed`; the rest is for people. */
export interface BuildFacts {
  version: string;
  runtime: string;
  architectures: readonly Architecture[];
  signed: boolean;
  organisation: string;
  /** The team that signed it, null for lab only. */
  team: string | null;
}

interface PayloadParts {
  build: BuildFacts;
  /** The runtime, for each processor or for both. */
  runtime: Contents;
  /** The agent's bundle. */
  bundle: FilePart;
  /** By their path within keytar. */
  keytar: ReadonlyMap<string, FilePart>;
  scripts: { uninstall: string; reload: string };
  licences: string;
  sbom: string;
}

const wrapper = `#!/bin/sh
# The command. The job starts the runtime itself.
exec /Library/Sparekey/bin/node --disable-sigusr1 /Library/Sparekey/lib/sparekey.mjs "$@"
`;

/** Path, owner and group, mode, files kept, kilobytes, when, flags: J compresses, N tells nobody, since each run opens the log anew. */
const newsyslog = `# logfilename	[owner:group]	mode	count	size	when	flags
/Library/Logs/Sparekey/agent.log	root:wheel	640	5	1000	*	JN
`;

const labOnly = `This package was made without a signing identity. It is for a lab and not for the Macs of an organisation:
macOS names somebody else as the developer of its background item, and the agent keeps no recovery key in the keychain.
An admin makes one for production with: npm run -s package -- --sign FILE (docs/deploy/package.md)
`;

/** In an order in which parents come before their children, by name: the same on every machine. */
export function payload(parts: PayloadParts): Entry[] {
  const keytar = `${library}/lib/node_modules/keytar`;
  const files: [path: string, contents: Contents, mode?: number][] = [
    [`${library}/bin/node`, parts.runtime, 0o755],
    [`${library}/bin/sparekey`, text(wrapper), 0o755],
    [`${library}/lib/sparekey.mjs`, [parts.bundle]],
    [`${library}/lib/build.json`, text(`${JSON.stringify(parts.build, null, 2)}\n`)],
    [`${library}/lib/reload.sh`, text(parts.scripts.reload), 0o755],
    [`${library}/uninstall.sh`, text(parts.scripts.uninstall), 0o755],
    [`${library}/LICENCES.txt`, text(parts.licences)],
    [`${library}/sbom.cdx.json`, text(parts.sbom)],
    // By `pkgutil --files` it is also in the receipt; a signed package of the same identifier removes it again.
    ...(parts.build.signed ? [] : [[`${library}/LAB-ONLY.txt`, text(labOnly)] as [string, Contents]]),
    ...[...parts.keytar].map(([path, part]): [string, Contents] => [`${keytar}/${path}`, [part]]),
    ['Library/LaunchDaemons/io.sparekey.agent.plist', text(readFileSync(join(root, 'launchd/io.sparekey.agent.plist'), 'utf8'))],
    ['private/etc/newsyslog.d/io.sparekey.agent.conf', text(newsyslog)],
    ['private/etc/paths.d/io.sparekey.agent', text('/Library/Sparekey/bin\n')],
  ];
  const folders = new Set(files.flatMap(([path]) => ancestors(path)));
  return [
    ...[...folders].map((path): Entry => ({ path, mode: 0o755, contents: null })),
    ...files.map(([path, contents, mode = 0o644]): Entry => ({ path, mode, contents })),
  ].sort((a, b) => (a.path < b.path ? -1 : 1));
}

const ancestors = (path: string): string[] => {
  const slash = path.lastIndexOf('/');
  return slash < 0 ? [''] : [...ancestors(path.slice(0, slash)), path.slice(0, slash)];
};
