import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { numbersOfNowhere, rules } from './architecture-rules.ts';
import { broken, type Source } from './architecture-source.ts';

const root = join(import.meta.dirname, '..');

function sourcesIn(folder: string): Source[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(ts|mjs)$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .map((file) => ({ path: relative(root, file).replaceAll(sep, '/'), text: readFileSync(file, 'utf8') }));
}

// The rules' own files are full of what they forbid.
const sources = ['agent', 'protocol', 'server', 'web', 'portal', 'console', 'ctl', 'profiles', 'scripts', 'test']
  .flatMap(sourcesIn)
  .filter(({ path }) => !/^test\/architecture-[a-z]+\.ts$/.test(path));

test('the rules look at the sources of both sides', () => {
  expect(sources.map((source) => source.path)).toEqual(
    expect.arrayContaining(['agent/world.ts', 'protocol/problems.ts', 'server/parts.ts', 'test/architecture.test.ts']),
  );
});

describe.each(rules.map((rule) => ({ rule, name: rule.name })))('$name', ({ rule }) => {
  test('holds', () => {
    const found = broken(sources, rule);
    if (found.length > 0) throw new Error(`${rule.name}, because ${rule.because}:\n  ${found.join('\n  ')}`);
    expect(found).toEqual([]);
  });

  test.each(rule.planted.map((planted) => ({ planted, text: planted.text.trim().split('\n')[0] ?? '' })))('would catch $planted.path: $text', ({ planted }) => {
    expect(broken([planted], rule)).not.toEqual([]);
  });
});

test('no document names a section of a text that is not here', () => {
  const documents = [
    'README.md',
    'SECURITY.md',
    'CHANGELOG.md',
    ...readdirSync(join(root, 'docs'), { recursive: true }).map((name) => join('docs', String(name))),
  ];
  const found = documents
    .filter((path) => path.endsWith('.md'))
    .flatMap((path) => numbersOfNowhere.flatMap((form) => readFileSync(join(root, path), 'utf8').match(form) ?? []).map((words) => `${path}: ${words.trim()}`));
  expect(found).toEqual([]);
});
