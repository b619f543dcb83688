// Runs a test file as Node itself would: by its own loader, in the worker's own realm. Jest's runtime compiles every package
// anew for every file, in a realm of its own where nothing is warm yet. Here a worker's packages and the product's modules are
// loaded once, as in a process that serves for months: the product keeps nothing in its modules but what is found by what it is
// of (decision 26). What lies under test/ is new for each file: its state belongs to that file's tests, and so does what it
// imports from Jest. What a file leaves in the globals, `jest-environment.mjs` takes away.
import { createRequire, registerHooks } from 'node:module';
import { dirname } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const require = createRequire(import.meta.url);
const root = pathToFileURL(`${dirname(import.meta.dirname)}/`).href;
/** The tests' own, as opposed to packages and product: each test file's modules say whose they are. */
const isOfATest = (url) => url.startsWith(`${root}test/`);
const isOurs = (url) => url.startsWith(root) && !url.includes('/node_modules/');
const mark = /\?in=(\d+)$/;
const globalsOf = new Map();
const exported = ['afterAll', 'afterEach', 'beforeAll', 'beforeEach', 'describe', 'expect', 'jest', 'test'];

let count = 0;
/** The types of the files of this worker erased, by Jest's own cache on the disk. */
let erase;
const resolved = new Map();

registerHooks({
  resolve(specifier, context, next) {
    const [marked] = mark.exec(context.parentURL ?? '') ?? [];
    if (marked === undefined) return next(specifier, context);
    if (specifier === '@jest/globals') return { url: `jest-globals:${marked}`, format: 'module', shortCircuit: true };
    const from = `${context.parentURL.slice(0, -marked.length)} ${specifier}`;
    const known = resolved.get(from);
    const found = known ?? next(specifier, context);
    if (known === undefined) resolved.set(from, { ...found, shortCircuit: true });
    return isOfATest(found.url) ? { ...found, url: found.url.replace(/\?.*$|$/, marked), shortCircuit: true } : { ...found, shortCircuit: true };
  },
  load(url, context, next) {
    if (url.startsWith('jest-globals:')) {
      const id = Number(mark.exec(url)?.[1]);
      globalThis[Symbol.for('sparekey.jest-globals')] = globalsOf;
      const source = `const it = globalThis[Symbol.for('sparekey.jest-globals')].get(${id});\n${exported.map((name) => `export const ${name} = it.${name};`).join('\n')}`;
      return { format: 'module', source, shortCircuit: true };
    }
    // The product's too: what is erased is kept from run to run, and is there for every worker.
    if (!isOurs(url) || !/\.ts(\?|$)/.test(url)) return next(url, context);
    return { format: 'module', source: erase(fileURLToPath(url)), shortCircuit: true };
  },
});

export default class NativeRuntime {
  #id = ++count;
  #environment;

  constructor(_config, environment, _resolver, transformer) {
    this.#environment = environment;
    const options = {
      isInternalModule: false,
      supportsDynamicImport: true,
      supportsExportNamespaceFrom: true,
      supportsStaticESM: true,
      supportsTopLevelAwait: true,
    };
    erase = (path) => transformer.transform(path, options).code;
  }

  /** Jest's own frame of tests, anew: its state is that of its module. */
  requireInternalModule(path) {
    delete require.cache[path];
    return require(path);
  }

  setGlobalsForRuntime({ afterAll, afterEach, beforeAll, beforeEach, describe, expect, test }) {
    const mocks = this.#environment.moduleMocker;
    const jest = {
      fn: mocks.fn.bind(mocks),
      spyOn: mocks.spyOn.bind(mocks),
      restoreAllMocks() {
        mocks.restoreAllMocks();
        return jest;
      },
      setTimeout(milliseconds) {
        globalThis[Symbol.for('TEST_TIMEOUT_SYMBOL')] = milliseconds;
        return jest;
      },
    };
    globalsOf.set(this.#id, { afterAll, afterEach, beforeAll, beforeEach, describe, expect, jest, test });
  }

  requireModule(path) {
    return require(path);
  }
  unstable_shouldLoadAsEsm() {
    return true;
  }
  async unstable_importModule(path) {
    return import(`${pathToFileURL(path).href}?in=${this.#id}`);
  }

  restoreAllMocks() {
    this.#environment.moduleMocker.restoreAllMocks();
  }
  enterTestCode() {}
  leaveTestCode() {}
  getSourceMaps() {
    return new Map();
  }
  getAllCoverageInfoCopy() {}
  collectV8Coverage() {
    throw new Error('the tests run in Node’s own loader: NODE_V8_COVERAGE=folder tells what they cover');
  }
  teardown() {
    globalsOf.delete(this.#id);
  }
}
export { NativeRuntime as 'module.exports' };
