/**
 * Test files that are about the database as a file of SQLite, or about the processes around it, and are not run on PostgreSQL: each with
 * why. Everything else that touches a store is run on both (`npm run test:postgres`).
 */
export const notOnPostgres: Readonly<Record<string, string>> = {
  'test/database.test.ts': 'how SQLite is opened, locked, filled and refused',
  'test/upgrade.test.ts': 'copies of the data folder before its file is brought to another shape',
  'test/backend-faults.test.ts': 'a full or read-only disk, and another process that holds the file',
  'test/server-sweep.test.ts': 'kills at every write of the file',
  'test/import-cli.test.ts': 'slows a command down by a trigger of the file, and looks into it meanwhile',
  'test/questions.test.ts': 'the plans of SQLite',
  'test/brought-many.test.ts': 'the plans of SQLite',
  'test/brought-blocks.test.ts': 'a file of an earlier schema',
};

/** The quick form, in `npm test`: where most statements are, and where the order of acts is shown. */
export const quickOnPostgres: readonly string[] = [
  'test/postgres.test.ts',
  'test/postgres-many.test.ts',
  'test/postgres-acts.test.ts',
  'test/postgres-two-backends.test.ts',
  'test/custody.test.ts',
  'test/custody-rotation.test.ts',
  'test/fleet-list.test.ts',
];
