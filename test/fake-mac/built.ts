import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { BuildOptions } from 'esbuild';

/** As in ../key-pairs.ts: where a run of the tests keeps what all of its files need. Elsewhere there is no such folder. */
const folder = (globalThis as { [name: symbol]: unknown })[Symbol.for('sparekey.key-pairs')];
const made = new Map<string, string>();

/** A program of this folder as one file, which takes half a second: made once, in a run of the tests for all of its files. */
export function built(name: string, options: Pick<BuildOptions, 'format' | 'banner'>): string {
  const known = made.get(name) ?? (typeof folder === 'string' ? builtInRun(join(folder, `${name}.js`), name, options) : build(name, options));
  made.set(name, known);
  return known;
}

function build(name: string, options: Pick<BuildOptions, 'format' | 'banner'>): string {
  // Most that make a Mac never need it.
  const { buildSync } = createRequire(import.meta.url)('esbuild') as typeof import('esbuild');
  const entry = fileURLToPath(new URL(`./${name}.ts`, import.meta.url));
  const [file] = buildSync({ ...options, entryPoints: [entry], bundle: true, platform: 'node', target: 'node26', write: false }).outputFiles;
  if (!file) throw new Error(`esbuild made nothing of ${entry}`);
  return file.text;
}

function builtInRun(file: string, name: string, options: Pick<BuildOptions, 'format' | 'banner'>): string {
  if (existsSync(file)) return readFileSync(file, 'utf8');
  const text = build(name, options);
  // Whole, whoever else makes it now.
  writeFileSync(`${file}.${process.pid}`, text);
  renameSync(`${file}.${process.pid}`, file);
  return text;
}
