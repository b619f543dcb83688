import type { Config } from 'jest';

const config: Config = {
  testEnvironment: '<rootDir>/test/jest-environment.mjs',
  roots: ['<rootDir>/test'],
  testMatch: ['**/*.test.ts'],
  extensionsToTreatAsEsm: ['.ts'],
  transform: { '^.+\\.ts$': '<rootDir>/test/jest-strip-types.mjs' },
  coverageProvider: 'v8',
  maxWorkers: 2,
  workerIdleMemoryLimit: '700MB',
  restoreMocks: true,
};
export default config;
