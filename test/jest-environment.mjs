// The realm of a test file: the worker's own (see jest-runtime.mjs). When the file has ended, what the process has only once is
// as it was before: globals, environment, listeners, folder, umask. What packages add to the globals is theirs, and stays.
import { createRequire } from 'node:module';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const require = createRequire(import.meta.url);
const { ModuleMocker } = createRequire(require.resolve('jest-environment-node'))('jest-mock');

/** What Jest's frame of tests would find again of the file before. */
const ofTheFrame = ['EVENT_HANDLERS', 'LOG_ERRORS_BEFORE_RETRY', 'RETRY_IMMEDIATELY', 'RETRY_TIMES', 'TEST_TIMEOUT_SYMBOL', 'WAIT_BEFORE_RETRY'];

/** For test/key-pairs.ts. Not by the environment, which the processes that a test starts would see too. */
globalThis[Symbol.for('sparekey.key-pairs')] = process.env.SPAREKEY_TEST_KEY_PAIRS;
/** For test/new-database.ts. */
globalThis[Symbol.for('sparekey.postgres')] = process.env.SPAREKEY_TEST_POSTGRES;

/** Programs of ours that a test starts with its own environment: their sources are compiled once for all tests, as in test/run-server.ts. */
process.env.NODE_COMPILE_CACHE ??= fileURLToPath(new URL('../node_modules/.cache/sparekey-tests', import.meta.url));

/** Of jest-worker: there is nothing more to do. */
const endOfWork = 2;
// To give half a gigabyte of objects back one by one takes longer than the half second after which Jest says that a worker does
// not end, and kills it. What a file leaves open is found below, and by name.
process.on('message', (message) => {
  if (Array.isArray(message) && message[0] === endOfWork) process.exit();
});

function restore(object, before) {
  for (const key of Reflect.ownKeys(before)) {
    const now = Object.getOwnPropertyDescriptor(object, key);
    if (now === undefined || now.value !== before[key].value || now.get !== before[key].get) Reflect.defineProperty(object, key, before[key]);
  }
}

export default class OwnRealm {
  global = globalThis;
  moduleMocker = new ModuleMocker(globalThis);
  fakeTimers = null;
  fakeTimersModern = null;
  #globals = Object.getOwnPropertyDescriptors(globalThis);
  #env = { ...process.env };
  #exit = process.exit;
  #folder = process.cwd();
  #format = Error.prepareStackTrace;
  #umask = process.umask();
  #listeners = new Map(process.eventNames().map((name) => [name, process.rawListeners(name)]));
  #file;
  #open;

  constructor(_config, { testPath }) {
    this.#file = testPath;
    this.#open = process.getActiveResourcesInfo();
  }

  async setup() {
    const format = this.#format;
    // `file:///…/a.test.ts?in=7:3:1`: as it lies on the disk.
    Error.prepareStackTrace = (error, frames) => format(error, frames).replace(/file:\/\/([^\s?()]+)\?in=\d+/g, (_, path) => decodeURIComponent(path));
  }

  async teardown() {
    this.moduleMocker.restoreAllMocks();
    for (const name of ofTheFrame) delete globalThis[Symbol.for(name)];
    restore(globalThis, this.#globals);
    for (const name of Object.keys(process.env)) if (!Object.hasOwn(this.#env, name)) delete process.env[name];
    Object.assign(process.env, this.#env);
    process.exit = this.#exit;
    Error.prepareStackTrace = this.#format;
    process.chdir(this.#folder);
    process.umask(this.#umask);
    for (const name of process.eventNames())
      for (const listener of process.rawListeners(name)) if (!this.#listeners.get(name)?.includes(listener)) process.removeListener(name, listener);
    await this.#allClosed();
  }

  /** Servers, sockets, timers, processes: with one that a file leaves open the worker does not end by itself. */
  async #allClosed() {
    let left = [];
    // What is being closed goes by itself, on a busy machine later.
    for (let looks = 0; looks < 500; looks += 1) {
      // Pipes may be this process's own, which are there from when they are first asked for; a child's come with its process.
      left = process.getActiveResourcesInfo().filter((name) => !['PipeWrap', 'TTYWrap'].includes(name));
      for (const name of this.#open) if (left.includes(name)) left.splice(left.indexOf(name), 1);
      if (left.length === 0) return;
      await sleep(20);
    }
    throw new Error(`${this.#file} has ended and leaves open: ${left.join(', ')}`);
  }

  exportConditions() {
    return ['node', 'node-addons'];
  }
  getVmContext() {
    return null;
  }
}
