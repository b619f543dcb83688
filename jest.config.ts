import type { Config } from 'jest';

const config: Config = {
  testEnvironment: '<rootDir>/test/jest-environment.mjs',
  runtime: '<rootDir>/test/jest-runtime.mjs',
  globalSetup: '<rootDir>/test/jest-setup.mjs',
  roots: ['<rootDir>/test'],
  testMatch: ['**/*.test.ts'],
  extensionsToTreatAsEsm: ['.ts'],
  transform: { '^.+\\.ts$': '<rootDir>/test/jest-strip-types.mjs' },
  // Two more than the two processors: of the time of a test file more than a third is waiting for something.
  maxWorkers: 4,
  workerIdleMemoryLimit: '700MB',
  restoreMocks: true,
  // For machines that do other things besides: whatever takes longer than this hangs.
  testTimeout: 300_000,
};
export default config;
