import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import type { z } from 'zod';
import { consoleSettings } from '../server/console-settings.ts';
import { peopleSettings } from '../server/people-settings.ts';
import { checkSettings } from '../server/settings.ts';

const document = (name: string) => readFileSync(join(import.meta.dirname, `../docs/${name}.md`), 'utf8');
const text = document('portal');
const rowsOf = (of: string) => [...of.matchAll(/^\| `([^`]+)` \| ([^|]+) \| [^|]+ \|$/gm)].map(([, name = '', said = '']) => [name, said] as const);
const rows = rowsOf(text);

/** What surrounds a schema, outermost first, and what it is of. */
interface Inside {
  type: string;
  innerType?: z.ZodType;
  element?: z.ZodType;
  shape?: Record<string, z.ZodType>;
  defaultValue?: unknown;
}
const inside = (schema: z.ZodType): Inside => schema.def as unknown as Inside;

/** Each setting by its path, with its default as it is written in the table. */
function leaves(schema: z.ZodType, path: string, otherwise: string): [string, string][] {
  const { type, innerType, element, shape, defaultValue } = inside(schema);
  if (type === 'default' && innerType && inside(innerType).type !== 'array') return leaves(innerType, path, String(defaultValue));
  if (type === 'default' && innerType) return leaves(innerType, path, Array.isArray(defaultValue) ? defaultValue.join(', ') : '');
  if (type === 'optional' && innerType) return leaves(innerType, path, 'left out');
  if ((type === 'nullable' || type === 'prefault') && innerType) return leaves(innerType, path, otherwise);
  if (type === 'array' && element && inside(element).type === 'object') return leaves(element, `${path}[]`, 'none');
  if (!shape) return [[path, otherwise]];
  return Object.entries(shape).flatMap(([name, inner]) => leaves(inner, path === '' ? name : `${path}.${name}`, 'none'));
}

test('docs/portal.md has every setting for people with its default, and no other', () => {
  expect(rows).toEqual(leaves(peopleSettings, '', 'none'));
});

test('docs/console.md has every setting for admins with its default, and no other', () => {
  const { 1: section = '' } = /\n## Settings\n([\s\S]*?)\n## /.exec(document('console')) ?? [];
  expect(rowsOf(section)).toEqual(leaves(consoleSettings, '', 'none'));
});

test('the example in it is taken as it stands', () => {
  const [, example = ''] = /```json\n([\s\S]*?)```/.exec(text) ?? [];
  const settings = { serverUrl: 'https://keys.example.org:8443', listen: { port: 8443 }, ...JSON.parse(example) };
  expect(checkSettings(settings).people).toMatchObject({ url: 'https://key.example.org', selfService: { everybody: 'on' }, mail: null });
});

test('it names only commands that there are', () => {
  const code = ['command-line', 'accounts-command-line', 'assignments-command-line', 'labels-command-line']
    .map((name) => readFileSync(join(import.meta.dirname, `../server/${name}.ts`), 'utf8'))
    .join('\n');
  const named = new Set([...text.matchAll(/sparekey-server ([a-z-]+)/g)].map(([, name = '']) => name));
  named.delete('stands');
  for (const name of named) expect([name, new RegExp(`['"\`]${name}(?: [<[][^'"]*)?['"\`]`).test(code)]).toEqual([name, true]);
});
