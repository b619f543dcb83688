import { places } from './architecture-places.ts';
import { all, isOurs, packageOf, type Read, type Rule, target } from './architecture-source.ts';

/** Folder by folder: which of our folders it may import, and which packages. `null`: anything. */
const folders: Record<string, { ours: readonly string[]; packages: readonly string[] } | null> = {
  protocol: { ours: ['protocol'], packages: ['asn1js', 'jose', 'zod'] },
  agent: { ours: ['agent', 'protocol'], packages: ['axios', 'commander', 'keytar', 'plist', 'winston', 'zod'] },
  server: { ours: ['server', 'protocol'], packages: ['asn1js', 'axios', 'commander', 'fastify', 'kysely', 'pg', 'uqr', 'winston', 'zod'] },
  web: {
    ours: ['web', 'server', 'protocol'],
    packages: ['@simplewebauthn/server', 'fastify', 'nodemailer', 'openid-client', 'zod'],
  },
  portal: { ours: ['portal', 'web', 'server', 'protocol'], packages: ['zod'] },
  console: { ours: ['console', 'web', 'server', 'protocol'], packages: ['fastify', 'zod'] },
  ctl: { ours: ['ctl', 'protocol'], packages: ['axios', 'commander', 'zod'] },
  profiles: { ours: ['profiles', 'protocol', 'agent'], packages: ['commander', 'plist', 'zod'] },
  scripts: null,
  test: null,
};

/** The backend knows no site; its program puts them on their listener. */
const mounts = (path: string, imported: string): boolean => path === 'server/main.ts' && /^(portal\/portal|console\/console)\.ts$/.test(imported);

/** The command line takes the forms of the API from where they are written, and nothing that runs. */
const isShape = (source: Read, specifier: string): boolean =>
  source.folder === 'ctl' && !source.imports.includes(specifier) && /^console\/(operation\.ts|operations\/)/.test(target(source.path, specifier));

function cycles(sources: readonly Read[]): string[] {
  const graph = new Map(sources.map((source) => [source.path, source.imports.filter(isOurs).map((specifier) => target(source.path, specifier))]));
  const found: string[] = [];
  const done = new Set<string>();
  const walk = (path: string, above: readonly string[]): void => {
    if (above.includes(path)) found.push([...above.slice(above.indexOf(path)), path].join(' → '));
    else if (!done.has(path)) {
      for (const next of graph.get(path) ?? []) walk(next, [...above, path]);
      done.add(path);
    }
  };
  for (const path of graph.keys()) walk(path, []);
  return found;
}

const bannedWords = /^(utils?|helpers?|commons?|libs?|misc|managers?|shared|general|base|tools?|stuff|things?)$/;
const kebab = /^[a-z0-9]+(-[a-z0-9]+)*(\.test|\.config)?\.(ts|mjs)$/;
/** More lines than this want a reason, and the reason stands here. A file of tests is a list of cases, read one by one. */
const mostLines = 300;
const mostTestLines = 700;
const longFiles: Record<string, { lines: number; because: string }> = {
  'protocol/problems.ts': { lines: 800, because: 'one table: every failure once' },
  'server/migrations/0001-first.ts': { lines: 400, because: 'a migration is one file for ever: all tables of the first version' },
  'agent/journal.ts': { lines: 370, because: 'the form of the journal, and every check that a file is one of ours' },
  'agent/resolve.ts': { lines: 350, because: 'the rows R0 to R13 in their order, of which the first that fits applies' },
  'agent/doctor-checks.ts': { lines: 400, because: 'a list: every check once, as data' },
  'scripts/story.ts': { lines: 400, because: 'one story from top to bottom' },
};

/**
 * A number of a section of some other text: `rules 4.3`, `(5.4)`, `7.2: …` at the head of a comment or of a test's name. What may be
 * called by a number is in docs/reliability.md, “What the short names mean”.
 */
export const numbersOfNowhere = [
  /\b(?:rules?|field(?:\.md)?|house(?:\.md)?)\s+(?:[*/]+\s+)?[1-9](?:\.\d+)?(?=[\s,;:.)])/gi,
  /^(?!.*\b(?:RFC|TLS|WCAG|HTTP)\b).*[a-z*`”'] \((?:[A-Z]\d+, )?[1-8]\.[1-9](?:, [1-8]\.[1-9])*\)/gm,
  /^\s*(?:\/\*\*?|\*|\/\/|(?:test|describe)\(['"`])\s*(?:[— ]+)?[1-8]\.[1-9](?:, [1-8]\.[1-9])*[:,.] /gm,
] as const;

const structure: readonly Rule[] = [
  {
    name: 'who may import whom',
    because:
      'protocol binds both sides and knows neither; a package or file of the backend must never reach a Mac; nothing that ships stands on tests or scripts',
    broken: (sources) =>
      sources.flatMap((source) => {
        const may = folders[source.folder];
        if (may === undefined) return source.folder === source.path ? [] : [`${source.path}: the folder ${source.folder} has no rule`];
        if (may === null) return [];
        return all(source).flatMap((specifier) => {
          if (specifier.startsWith('node:')) return [];
          const allowed = isOurs(specifier)
            ? may.ours.includes(target(source.path, specifier).split('/')[0] ?? '') ||
              mounts(source.path, target(source.path, specifier)) ||
              isShape(source, specifier)
            : may.packages.includes(packageOf(specifier));
          return allowed ? [] : [`${source.path} imports ${specifier}`];
        });
      }),
    planted: [
      { path: 'protocol/a.ts', text: "import { b } from '../agent/b.ts';\nb();" },
      { path: 'agent/a.ts', text: "import type { B } from '../server/b.ts';\nexport type C = B;" },
      { path: 'agent/a.ts', text: "const b = await import('fastify');\nb;" },
      { path: 'server/a.ts', text: "export { given } from '../test/given.ts';" },
      { path: 'server/serve.ts', text: "import { mountPortal } from '../portal/portal.ts';\nmountPortal();" },
      { path: 'agent/a.ts', text: "export const a = (b: import('../server/b.ts').B) => b;" },
      { path: 'ctl/a.ts', text: "import { list } from '../console/operations/devices.ts';\nlist();" },
      { path: 'ctl/a.ts', text: "import type { A } from '../console/console.ts';\nexport type B = A;" },
    ],
  },
  {
    name: 'no cycles',
    because: 'in a cycle no file can be read or loaded first',
    broken: cycles,
    planted: [{ path: 'agent/a.ts', text: "import { a } from './a.ts';\nexport const b = a;" }],
  },
  {
    name: 'imports are relative with their ending, of Node with node:, or a package',
    because: 'what a line names is then found without a table of aliases',
    broken: (sources) =>
      sources.flatMap((source) =>
        all(source)
          .filter((specifier) =>
            isOurs(specifier) ? !/\.(ts|mjs|json)$/.test(specifier) : !/^(node:[a-z/_0-9]+|@[a-z0-9-]+\/[^\s]+|[a-z0-9][^\s:]*)$/.test(specifier),
          )
          .map((specifier) => `${source.path} imports ${specifier}`),
      ),
    planted: [
      { path: 'agent/a.ts', text: "import { b } from '#agent/b';\nb();" },
      { path: 'agent/a.ts', text: "import { b } from './b';\nb();" },
      { path: 'agent/a.ts', text: "import { b } from '@/b.ts';\nb();" },
    ],
  },
  {
    name: 'modules of Node are named with node:',
    because: 'a package can take the bare name',
    broken: (sources) =>
      sources.flatMap((source) =>
        all(source)
          .filter((name) => /^(fs|path|os|crypto|https?|net|tls|url|util|stream|events|child_process)(\/|$)/.test(name))
          .map((name) => `${source.path} imports ${name}`),
      ),
    planted: [{ path: 'agent/a.ts', text: "import { readFileSync } from 'fs';\nreadFileSync('');" }],
  },
  {
    name: 'no default exports',
    because: 'a thing has one name wherever it is used',
    broken: (sources) =>
      sources
        .filter(
          (source) =>
            !/\.config\.ts$|^test\/jest-(environment|runtime|setup|strip-types)\.mjs$/.test(source.path) &&
            /\bexport default\b|\bas default\b/.test(source.code),
        )
        .map((source) => source.path),
    planted: [{ path: 'agent/a.ts', text: 'export default 1;' }],
  },
  {
    name: 'no index files',
    because: 'a reader looks for a file by what it is about',
    broken: (sources) => sources.filter((source) => /(^|\/)index\.[a-z]+$/.test(source.path)).map((source) => source.path),
    planted: [{ path: 'agent/index.ts', text: 'export const a = 1;' }],
  },
  {
    name: 'files are named in kebab-case',
    because: 'one form of name, also on file systems that ignore case',
    broken: (sources) => sources.filter((source) => !kebab.test(source.path.split('/').at(-1) ?? '')).map((source) => source.path),
    planted: [
      { path: 'agent/checkIn.ts', text: '' },
      { path: 'agent/check_in.ts', text: '' },
    ],
  },
  {
    name: 'no file or folder is named utils, helpers, common, lib, manager or the like',
    because: 'such a name says nothing, and everything ends up there',
    broken: (sources) => sources.filter((source) => source.path.split(/[/.-]/).some((word) => bannedWords.test(word))).map((source) => source.path),
    planted: [
      { path: 'server/key-manager.ts', text: '' },
      { path: 'agent/lib/time.ts', text: '' },
    ],
  },
  {
    name: `no file is longer than ${mostLines} lines without a reason`,
    because: 'a longer file does more than one thing',
    broken: (sources) =>
      sources
        .map((source) => ({ ...source, lines: source.text.split('\n').length - 1 }))
        .filter(({ path, lines }) => lines > (longFiles[path]?.lines ?? (path.startsWith('test/') ? mostTestLines : mostLines)))
        .map(({ path, lines }) => `${path} has ${lines}`),
    planted: [{ path: 'agent/a.ts', text: '\n'.repeat(mostLines + 1) }],
  },
  {
    name: 'no comment and no test names a section of a text that is not here',
    because: 'whoever reads it has nowhere to look it up',
    broken: (sources) =>
      sources.flatMap(({ path, text }) => {
        const found = numbersOfNowhere.flatMap((form) => text.match(form) ?? []);
        return found.map((words) => `${path}: ${words.trim()}`);
      }),
    planted: [
      { path: 'agent/a.ts', text: '/** The order of writes (rules 4.3). */' },
      { path: 'agent/a.ts', text: '/*\n * by the rules\n * 4.3 and others\n */' },
      { path: 'agent/a.ts', text: '/** What is kept stays (3.2). */' },
      { path: 'agent/a.ts', text: '  // 5.1: what is wanted' },
      { path: 'test/a.test.ts', text: "test('5.4: a block', () => {});" },
    ],
  },
  {
    name: 'nothing is left to do',
    because: 'work that is not done is an issue, not a comment',
    broken: (sources) =>
      sources.filter((source) => !source.path.startsWith('test/architecture') && /\b(TODO|FIXME|XXX)\b/.test(source.text)).map((source) => source.path),
    planted: [{ path: 'agent/a.ts', text: '// TODO later' }],
  },
];

export const rules: readonly Rule[] = [...structure, ...places];
