import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { BuildOptions, Metafile, Plugin } from 'esbuild';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
/** The agent as it is shipped: one file, and keytar beside it. */
export const bundleFolder = join(root, 'dist', 'agent');
export const bundleFile = join(bundleFolder, 'sparekey.mjs');
/** The packages that are in it, as paths in this repository. */
export const bundledPackages = join(bundleFolder, 'packages.json');

/** The digest of everything that the bundle is made of. 30 ms for the whole tree, and no clock can deceive it. */
function sourceDigest(): string {
  const hash = createHash('sha256');
  for (const folder of ['agent', 'protocol'])
    for (const entry of readdirSync(join(root, folder), { recursive: true, withFileTypes: true }).sort((a, b) =>
      a.parentPath + a.name < b.parentPath + b.name ? -1 : 1,
    ))
      if (entry.isFile()) hash.update(`\0${entry.parentPath.slice(root.length)}/${entry.name}\0`).update(readFileSync(join(entry.parentPath, entry.name)));
  for (const file of ['package.json', 'package-lock.json', 'scripts/bundle.ts']) hash.update(`\0${file}\0`).update(readFileSync(join(root, file)));
  return hash.digest('hex');
}

/**
 * esbuild lifts each `import … from 'node:…'` to the top of the bundle, also from a module that is loaded only when it is
 * needed, and loading `http` costs more than starting Node. Through this, a module of Node loads with its importer.
 */
const lazyBuiltins: Plugin = {
  name: 'lazy-builtins',
  setup(build) {
    build.onResolve({ filter: /^(node:)?[a-z0-9_/]+$/ }, ({ path, kind, importer }) => {
      if (!isBuiltin(path)) return null;
      if (unusedByAxios.includes(path) && importer.includes('/node_modules/axios/')) return { path, namespace: 'unused-builtin' };
      return kind === 'import-statement' ? { path, namespace: 'builtin' } : { path, external: true };
    });
    // Derived from the module, it has no properties of its own for esbuild to copy: some of Node's load further modules when they are looked at.
    build.onLoad({ filter: /.*/, namespace: 'builtin' }, ({ path }) => ({
      contents: `const it = require(${JSON.stringify(path)}); module.exports = typeof it === 'function' ? it : Object.create(it)`,
      loader: 'js',
    }));
    build.onLoad({ filter: /.*/, namespace: 'unused-builtin' }, () => ({ contents: 'module.exports = { constants: {} }', loader: 'js' }));
  },
};

/** HTTP/2 and compressed answers, which the agent never asks for: half as long to load as a start of Node. */
const unusedByAxios = ['http2', 'zlib'];

/**
 * What comes with our packages and is never used by the agent, by the path it has in node_modules: all of it would be read and
 * compiled by each run that asks the backend. The words of zod in fifty languages (English comes by another way), the file
 * types for form uploads in axios, and the two thousand names of characters in HTML; a property list has the five of XML.
 */
const unused: Record<string, string> = {
  'zod/v4/locales/index.js': 'export {}',
  'mime-db/db.json': '{}',
  '@xmldom/xmldom/lib/entities.js': `exports.XML_ENTITIES = { amp: '&', apos: "'", gt: '>', lt: '<', quot: '"' }; exports.HTML_ENTITIES = exports.XML_ENTITIES; exports.entityMap = exports.XML_ENTITIES;`,
};
const withoutUnused: Plugin = {
  name: 'without-unused',
  setup(build) {
    build.onLoad({ filter: /node_modules\/(zod\/v4\/locales\/index\.js|mime-db\/db\.json|@xmldom\/xmldom\/lib\/entities\.js)$/ }, ({ path }) => {
      const contents = unused[path.split('/node_modules/').at(-1) ?? ''] ?? '';
      return { contents, loader: path.endsWith('.json') ? 'json' : 'js' };
    });
  },
};

/** axios looks at these globals as it loads, and Node then loads its second HTTP client, which takes half as long as a start of Node. The agent uses none of them. */
const noFetch = "for (const name of ['fetch', 'FormData', 'Headers', 'ReadableStream', 'Request', 'Response']) delete globalThis[name];";

/** What launchd's wake-ups need is in the file as it is; whatever `agent/main.ts` imports when it is needed is `rest`. */
const soon = './quiet.ts';

const settings = (version: string, plugins: Plugin[]) =>
  ({
    absWorkingDir: root,
    // A copy of this tree whose node_modules is a link is bundled as the tree itself: packages are named by their place in it.
    preserveSymlinks: true,
    bundle: true,
    platform: 'node',
    target: 'node26',
    external: ['keytar'],
    plugins: [...plugins, lazyBuiltins, withoutUnused],
    define: { SPAREKEY_VERSION: JSON.stringify(version) },
    minifyWhitespace: true,
    minifySyntax: true,
    legalComments: 'none',
    logLevel: 'warning',
    write: false,
    metafile: true,
  }) satisfies BuildOptions;

/**
 * One file in two parts. V8 parses a module to its end before its first line runs, which for all our packages takes longer
 * than starting Node; a comment it only skips. So all but the beginning is in the file as one comment, which is read again
 * and compiled when it is needed.
 */
async function build(to: string): Promise<string[]> {
  const { build: esbuild } = await import('esbuild');
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  const later = new Set<string>();
  const postpone: Plugin = {
    name: 'postpone',
    setup(building) {
      building.onResolve({ filter: /^\.\.?\// }, ({ path, kind, importer }) => {
        if (kind !== 'dynamic-import' || !importer.endsWith('/agent/main.ts') || path === soon) return null;
        later.add(path);
        return { path, namespace: 'rest' };
      });
      building.onLoad({ filter: /.*/, namespace: 'rest' }, ({ path }) => ({
        contents: `module.exports = sparekeyRest(${JSON.stringify(path)})`,
        loader: 'js',
      }));
    },
  };
  const first = await esbuild({ ...settings(version, [postpone]), entryPoints: [join(root, 'agent', 'main.ts')], format: 'esm' });
  const contents = `${noFetch} module.exports = { ${[...later].map((path) => `${JSON.stringify(path)}: () => require(${JSON.stringify(path)})`).join(', ')} }`;
  const rest = await esbuild({
    ...settings(version, []),
    stdin: { contents, resolveDir: join(root, 'agent'), sourcefile: 'rest.js', loader: 'js' },
    format: 'cjs',
    // Node runs an import() inside such a text only with a warning; what is not in the bundle is taken by require().
    supported: { 'dynamic-import': false },
  });
  const text = first.outputFiles[0]?.text ?? '';
  const restText = rest.outputFiles[0]?.text ?? '';
  if (restText.includes(masked) || /[\u0080-\uffff]/.test(restText)) throw new Error('the bundle has characters that its own comment cannot hold');
  const shebang = /^#!.*\n/.exec(text)?.[0] ?? '';
  const digest = createHash('sha256').update(restText).digest('hex');
  const head = loader(digest);
  writeFileSync(to, `${shebang}${head}${text.slice(shebang.length)}\n/*! ${digest}\n${restText.replaceAll('*/', masked)}*/\n`, { mode: 0o755 });
  return packagesOf([first.metafile, rest.metafile]);
}

/** The folders of the packages of which something is in the bundle: for its bill of materials and its licences. */
const packagesOf = (made: readonly Metafile[]): string[] => {
  const inputs = made.flatMap(({ outputs }) => Object.values(outputs).flatMap((output) => Object.keys(output.inputs)));
  return [...new Set(inputs.flatMap((input) => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input)?.[0] ?? []))].sort();
};

/** Stands for the end of a comment within the comment. */
const masked = '*\\~/';

/**
 * At the head of the bundle. keytar is found from the file itself, so beside it. The digest of the rest is its name: a run
 * during which the file is replaced does not take the other one's text for its own.
 *
 * The job says in `sparekeyCompiled` where what V8 made of the rest is kept until the next boot. It is taken only when it is
 * this user's own and whole, of this very text; V8 itself refuses what another version of it wrote.
 */
const loader = (digest: string): string => `import { createRequire } from 'node:module';
const require = createRequire(import.meta.url);
const sparekeyDigest = '${digest}';
let sparekeyCompiled = null;
let sparekeyParts;
function sparekeyRest(path) {
  if (!sparekeyParts) {
    const file = require('node:fs').readFileSync(import.meta.filename, 'latin1');
    const begins = file.lastIndexOf('/*' + '! ' + sparekeyDigest);
    if (begins < 0) throw new Error('sparekey was replaced while it was starting');
    const text = file.slice(begins + 5 + sparekeyDigest.length, file.lastIndexOf('*/')).replaceAll(${JSON.stringify(masked)}, '*/');
    const cachedData = sparekeyCompiled === null ? undefined : sparekeyReadCompiled();
    const { Script } = require('node:vm');
    const script = new Script('(function(require,module,exports){' + text + '})', { filename: import.meta.filename, cachedData });
    if (sparekeyCompiled !== null && (!cachedData || script.cachedDataRejected)) process.on('exit', (code) => code === 0 && sparekeyKeepCompiled(script));
    const module = { exports: {} };
    script.runInThisContext()(require, module, module.exports);
    sparekeyParts = module.exports;
  }
  return sparekeyParts[path]();
}
const sparekeySum = (bytes) => require('node:crypto').createHash('sha256').update(sparekeyDigest).update(bytes).digest();
function sparekeyReadCompiled() {
  try {
    const { lstatSync, readFileSync } = require('node:fs');
    const facts = lstatSync(sparekeyCompiled);
    if (!facts.isFile() || facts.mode & 0o077 || facts.uid !== process.geteuid()) return undefined;
    const kept = readFileSync(sparekeyCompiled);
    const bytes = kept.subarray(32);
    return sparekeySum(bytes).equals(kept.subarray(0, 32)) ? bytes : undefined;
  } catch {
    return undefined;
  }
}
function sparekeyKeepCompiled(script) {
  try {
    const { renameSync, writeFileSync } = require('node:fs');
    const bytes = script.createCachedData();
    const next = sparekeyCompiled + '.' + process.pid;
    writeFileSync(next, Buffer.concat([sparekeySum(bytes), bytes]), { mode: 0o600, flag: 'wx' });
    renameSync(next, sparekeyCompiled);
  } catch {
    // Only a saving of time: the next run compiles again.
  }
}
`;

/** keytar's JavaScript and the addon for this machine, where the bundle finds them. Loaded only by a run that opens the keychain. */
function copyKeytar(to: string): void {
  const from = realpathSync(join(root, 'node_modules', 'keytar'));
  rmSync(to, { recursive: true, force: true });
  for (const part of ['package.json', 'lib', join('prebuilds', `${process.platform}-${process.arch}`)])
    if (existsSync(join(from, part))) cpSync(join(from, part), join(to, part), { recursive: true });
}

const bundleSum = (folder: string): string =>
  createHash('sha256')
    .update(readFileSync(join(folder, basename(bundleFile))))
    .digest('hex');
/** What it was made of, and what was made: whoever changes a byte of the bundle itself has it built again. */
const stampOf = (folder: string, madeFrom: string): string =>
  `${madeFrom} ${bundleSum(folder)} ${createHash('sha256')
    .update(readFileSync(join(folder, basename(bundledPackages))))
    .digest('hex')}`;

export function isFresh(folder: string): boolean {
  try {
    return readFileSync(join(folder, 'made-from'), 'utf8') === stampOf(folder, sourceDigest());
  } catch {
    return false;
  }
}

/** Builds the agent's bundle when its sources have changed since, or the bundle. Says whether it did. */
export async function bundleAgent(): Promise<{ file: string; sha256: string; built: boolean }> {
  if (isFresh(bundleFolder)) return { file: bundleFile, sha256: bundleSum(bundleFolder), built: false };
  const madeFrom = sourceDigest();
  mkdirSync(bundleFolder, { recursive: true });
  copyKeytar(join(bundleFolder, 'node_modules', 'keytar'));
  // Written beside and renamed: another run may be starting from the old one.
  const next = join(bundleFolder, `sparekey.${process.pid}.mjs`);
  try {
    const packages = await build(next);
    renameSync(next, bundleFile);
    writeFileSync(bundledPackages, JSON.stringify(packages));
  } finally {
    rmSync(next, { force: true });
  }
  writeFileSync(join(bundleFolder, 'made-from'), stampOf(bundleFolder, madeFrom));
  return { file: bundleFile, sha256: bundleSum(bundleFolder), built: true };
}

if (import.meta.main) {
  try {
    const { file, built } = await bundleAgent();
    if (process.argv.includes('--verbose')) process.stderr.write(`${file}: ${built ? 'built' : 'up to date'}\n`);
  } catch (error) {
    // esbuild has said where and why.
    process.stderr.write(`sparekey: error: the agent's bundle could not be built: ${error instanceof Error ? error.message.split('\n')[0] : error}\n`);
    process.exitCode = 70;
  }
}
