import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { BuildOptions, Plugin } from 'esbuild';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
/** The agent as it is shipped: one file, and keytar beside it. */
export const bundleFolder = join(root, 'dist', 'agent');
export const bundleFile = join(bundleFolder, 'sparekey.mjs');

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
    build.onResolve({ filter: /^(node:)?[a-z0-9_/]+$/ }, ({ path, kind }) => {
      if (!isBuiltin(path)) return null;
      return kind === 'import-statement' ? { path, namespace: 'builtin' } : { path, external: true };
    });
    build.onLoad({ filter: /.*/, namespace: 'builtin' }, ({ path }) => ({ contents: `module.exports = require(${JSON.stringify(path)})`, loader: 'js' }));
  },
};

/**
 * What comes with our packages and is never used by the agent, by the path it has in node_modules: every byte of the bundle is read at each
 * wake-up. The words of zod in fifty languages (English comes by another way), and the file types for form uploads in axios.
 */
const unused: Record<string, string> = { 'zod/v4/locales/index.js': 'export {}', 'mime-db/db.json': '{}' };
const withoutUnused: Plugin = {
  name: 'without-unused',
  setup(build) {
    build.onLoad({ filter: /node_modules\/(zod\/v4\/locales\/index\.js|mime-db\/db\.json)$/ }, ({ path }) => {
      const contents = unused[path.split('/node_modules/').at(-1) ?? ''] ?? '';
      return { contents, loader: path.endsWith('.json') ? 'json' : 'js' };
    });
  },
};

/** What launchd's wake-ups need is in the file as it is; whatever `agent/main.ts` imports when it is needed is `rest`. */
const soon = './quiet.ts';

const settings = (version: string, plugins: Plugin[]) =>
  ({
    absWorkingDir: root,
    bundle: true,
    platform: 'node',
    target: 'node26',
    external: ['keytar'],
    plugins: [...plugins, lazyBuiltins, withoutUnused],
    define: { SPAREKEY_VERSION: JSON.stringify(version) },
    minifyWhitespace: true,
    legalComments: 'none',
    logLevel: 'warning',
    write: false,
  }) satisfies BuildOptions;

/**
 * One file in two parts. V8 reads a module to its end before its first line runs, which for all our packages takes longer
 * than starting Node; a text it only copies. So all but the beginning is in the file as a text, compiled when it is needed.
 */
async function build(to: string): Promise<void> {
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
  const contents = `module.exports = { ${[...later].map((path) => `${JSON.stringify(path)}: () => require(${JSON.stringify(path)})`).join(', ')} }`;
  const rest = await esbuild({
    ...settings(version, []),
    stdin: { contents, resolveDir: join(root, 'agent'), sourcefile: 'rest.js', loader: 'js' },
    format: 'cjs',
    // Node runs an import() inside such a text only with a warning; what is not in the bundle is taken by require().
    supported: { 'dynamic-import': false },
  });
  const text = first.outputFiles[0]?.text ?? '';
  const shebang = /^#!.*\n/.exec(text)?.[0] ?? '';
  const restText = `const sparekeyText = ${JSON.stringify(rest.outputFiles[0]?.text ?? '')};\n`;
  writeFileSync(to, `${shebang}${loader}${restText}${text.slice(shebang.length)}`, { mode: 0o755 });
}

/** At the head of the bundle. keytar is found from the file itself, so beside it. */
const loader = `import { createRequire } from 'node:module';
const require = createRequire(import.meta.url);
let sparekeyParts;
function sparekeyRest(path) {
  if (!sparekeyParts) {
    const module = { exports: {} };
    const run = require('node:vm').compileFunction(sparekeyText, ['require', 'module', 'exports'], { filename: import.meta.filename });
    run(require, module, module.exports);
    sparekeyParts = module.exports;
  }
  return sparekeyParts[path]();
}
`;

/** keytar's JavaScript and the addon for this machine, where the bundle finds them. Loaded only by a run that opens the keychain. */
function copyKeytar(to: string): void {
  const from = realpathSync(join(root, 'node_modules', 'keytar'));
  rmSync(to, { recursive: true, force: true });
  for (const part of ['package.json', 'lib', join('prebuilds', `${process.platform}-${process.arch}`)])
    if (existsSync(join(from, part))) cpSync(join(from, part), join(to, part), { recursive: true });
}

/** Builds the agent's bundle when its sources have changed since. Says whether it did. */
export async function bundleAgent(): Promise<{ file: string; built: boolean }> {
  const digest = sourceDigest();
  const stamp = join(bundleFolder, 'made-from');
  const fresh = existsSync(bundleFile) && existsSync(stamp) && readFileSync(stamp, 'utf8') === digest;
  if (fresh) return { file: bundleFile, built: false };
  mkdirSync(bundleFolder, { recursive: true });
  copyKeytar(join(bundleFolder, 'node_modules', 'keytar'));
  // Written beside and renamed: another run may be starting from the old one.
  const next = join(bundleFolder, `sparekey.${process.pid}.mjs`);
  try {
    await build(next);
    renameSync(next, bundleFile);
  } finally {
    rmSync(next, { force: true });
  }
  writeFileSync(stamp, digest);
  return { file: bundleFile, built: true };
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
