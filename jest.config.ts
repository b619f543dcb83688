import type { Config } from 'jest';

const config: Config = {
  testEnvironment: '<rootDir>/test/jest-environment.mjs',
  runtime: '<rootDir>/test/jest-runtime.mjs',
  globalSetup: '<rootDir>/test/jest-setup.mjs',
  roots: ['<rootDir>/test'],
  testMatch: ['**/*.test.ts'],
  extensionsToTreatAsEsm: ['.ts'],
  transform: { '^.+\\.ts$': '<rootDir>/test/jest-strip-types.mjs' },
  // One more than the two processors: there is nearly always a test that waits for something.
  maxWorkers: 3,
  workerIdleMemoryLimit: '700MB',
  restoreMocks: true,
  // For machines that do other things besides: whatever takes longer than this hangs.
  testTimeout: 120_000,
};
export default config;
