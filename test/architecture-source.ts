import { transformSync } from 'esbuild';

/** One source file, by its path from the top of the repository. */
export interface Source {
  path: string;
  text: string;
}

/** A source as the rules see it: without comments and types, with what it imports. */
export interface Read extends Source {
  code: string;
  /** Specifiers as written; `types` are those that leave nothing behind at run time. */
  imports: readonly string[];
  types: readonly string[];
  folder: string;
}

export interface Rule {
  name: string;
  because: string;
  /** What breaks the rule, in words, each beginning with the path. */
  broken(sources: readonly Read[]): string[];
  /** Sources that break it: the rule has to catch each of them. */
  planted: readonly Source[];
}

const specifiers = (text: string, pattern: RegExp): string[] => [...text.matchAll(pattern)].map((match) => match[1] ?? '');

function read(source: Source): Read {
  // esbuild drops comments and types and writes every string with double quotes, so that the patterns below stay simple.
  const { code } = transformSync(source.text, {
    loader: source.path.endsWith('.ts') ? 'ts' : 'js',
    format: 'esm',
    legalComments: 'none',
    tsconfigRaw: { compilerOptions: { verbatimModuleSyntax: true } },
  });
  return {
    ...source,
    code,
    imports: specifiers(code, /(?<![-\w."])(?:from|import|require)\s*\(?\s*"([^"\s]+)"/g),
    types: [
      ...specifiers(source.text, /^\s*(?:import|export) type (?:\{[^}]*\}|\*(?: as [\w$]+)?|[\w$]+) from '([^']+)'/gm),
      ...specifiers(source.text, /\bimport\('([^']+)'\)\./g),
    ],
    folder: source.path.split('/')[0] ?? '',
  };
}

export const all = (source: Read): readonly string[] => [...source.imports, ...source.types];
/** The path that a relative specifier means, from the top of the repository. */
export const target = (from: string, specifier: string): string => new URL(specifier, `file:///${from}`).pathname.slice(1);
export const packageOf = (specifier: string): string => specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/');
export const isOurs = (specifier: string): boolean => specifier.startsWith('.');
export const shipped = (source: Read): boolean => ['agent', 'protocol', 'server', 'web', 'portal', 'console', 'ctl'].includes(source.folder);

/** Names of files in which alone a pattern of the code may occur; tests and scripts are free, being no part of the product. */
export function onlyIn(name: string, because: string, pattern: RegExp, places: RegExp, planted: Source): Rule {
  return {
    name,
    because,
    broken: (sources) => sources.filter((source) => shipped(source) && !places.test(source.path) && pattern.test(source.code)).map((source) => source.path),
    planted: [planted],
  };
}

/** The same for what is imported, types included; everywhere but in tests and scripts. */
export function importedOnlyIn(what: string, because: string, matches: (specifier: string) => boolean, places: RegExp, planted: Source): Rule {
  return {
    name: `${what} only in ${places.source.replaceAll('\\', '').replace(/^\^/, '').replace(/\$$/, '')}`,
    because,
    broken: (sources) => sources.filter((source) => shipped(source) && !places.test(source.path) && all(source).some(matches)).map((source) => source.path),
    planted: [planted],
  };
}

export const isPackage =
  (...names: string[]) =>
  (specifier: string): boolean =>
    names.includes(packageOf(specifier)) || names.includes(specifier);

const known = new WeakMap<Source, Read>();

/** What breaks `rule` in these sources; each source is read once for all rules. */
export function broken(sources: readonly Source[], rule: Rule): string[] {
  return rule.broken(
    sources.map((source) => {
      const before = known.get(source) ?? read(source);
      known.set(source, before);
      return before;
    }),
  );
}
