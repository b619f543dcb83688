// Jest's own environment, in a context whose globals are plain ones. Jest would put a Proxy before them, which each mention of
// `Uint8Array` or `Object` in code and packages goes through: a fifth to a half of the time of a test file.
// What Jest does with that Proxy, taking a file's globals apart at its end, is done by the end of the worker (`workerIdleMemoryLimit`).
import vm from 'node:vm';
import { TestEnvironment } from 'jest-environment-node';

export default class PlainGlobals extends TestEnvironment {
  constructor(...given) {
    const { createContext } = vm;
    vm.createContext = () => createContext(vm.constants.DONT_CONTEXTIFY);
    try {
      super(...given);
    } finally {
      vm.createContext = createContext;
    }
  }
}
