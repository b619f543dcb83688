import { chmodSync, closeSync, mkdirSync, openSync, utimesSync, writeFileSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type Contents, type Entry, read } from './contents.ts';
import { identifier, type PackageFacts } from './distribution.ts';
import { runTool, type Tell } from './sign.ts';

/* The same package, put together by Apple's own tools. */

export function writeContents(contents: Contents, to: string, mode: number): void {
  mkdirSync(dirname(to), { recursive: true });
  const fd = openSync(to, 'w', mode);
  try {
    for (const chunk of read(contents)) for (let at = 0; at < chunk.length; ) at += writeSync(fd, chunk, at);
  } finally {
    closeSync(fd);
  }
  chmodSync(to, mode);
}

function layOut(entries: readonly Entry[], folder: string, mtime: number): void {
  for (const { path, mode, contents } of entries)
    if (contents === null) {
      mkdirSync(join(folder, path), { recursive: true });
      chmodSync(join(folder, path), mode);
    } else writeContents(contents, join(folder, path), mode);
  // Children first: making one changes the time of its folder.
  for (const { path } of entries.toReversed()) utimesSync(join(folder, path), mtime, mtime);
}

interface NativeParts {
  entries: readonly Entry[];
  scripts: readonly Entry[];
  distribution: string;
  facts: PackageFacts;
  mtime: number;
}

/** `folder`: an empty one. */
export async function writeNative(parts: NativeParts, folder: string, to: string, tell: Tell): Promise<void> {
  const at = (name: string): string => join(folder, name);
  layOut(parts.entries, at('root'), parts.mtime);
  layOut(parts.scripts, at('scripts'), parts.mtime);
  writeFileSync(at('Distribution'), parts.distribution);
  mkdirSync(at('components'));
  const { version, component } = parts.facts;
  const names = ['--identifier', identifier, '--version', version, '--install-location', '/', '--ownership', 'recommended'];
  await runTool({ program: 'pkgbuild', args: ['--root', at('root'), '--scripts', at('scripts'), ...names, join(at('components'), component)] }, tell);
  await runTool({ program: 'productbuild', args: ['--distribution', at('Distribution'), '--package-path', at('components'), to] }, tell);
}
