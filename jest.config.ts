import type { Config } from 'jest';
import { notOnPostgres, quickOnPostgres } from './test/postgres-files.ts';

/** `postgres`: what touches a store, on a PostgreSQL server; `postgres-quick`: the part of it that `npm test` has. Else: all, on SQLite. */
const database = process.env['SPAREKEY_TEST_DATABASE'] ?? 'sqlite';
const pattern = (path: string): string => `/${path.replaceAll('.', '\\.')}$`;

const config: Config = {
  testEnvironment: '<rootDir>/test/jest-environment.mjs',
  runtime: '<rootDir>/test/jest-runtime.mjs',
  globalSetup: '<rootDir>/test/jest-setup.mjs',
  roots: ['<rootDir>/test'],
  testMatch: database === 'postgres-quick' ? quickOnPostgres.map((path) => `<rootDir>/${path}`) : ['**/*.test.ts'],
  testPathIgnorePatterns: ['/node_modules/', ...(database === 'sqlite' ? ['/test/postgres[^/]*\\.test\\.ts$'] : Object.keys(notOnPostgres).map(pattern))],
  extensionsToTreatAsEsm: ['.ts'],
  transform: { '^.+\\.ts$': '<rootDir>/test/jest-strip-types.mjs' },
  // One more than the two processors: of the time of a test file a third is waiting for something.
  maxWorkers: 3,
  workerIdleMemoryLimit: '700MB',
  restoreMocks: true,
  // For machines that do other things besides: whatever takes longer than this hangs.
  testTimeout: 300_000,
};
export default config;
