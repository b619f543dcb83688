// Before the first test file, once for a run: the folder of its RSA pairs (see key-pairs.ts), which goes when the run has ended.
// With SPAREKEY_TEST_DATABASE=postgres (or postgres-quick) a PostgreSQL server too, with a database of today's shape to copy (see new-database.ts).
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startPostgres } from './postgres-server.mjs';

export default async () => {
  const folder = mkdtempSync(join(tmpdir(), 'sparekey-key-pairs-'));
  process.env.SPAREKEY_TEST_KEY_PAIRS = folder;
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  if (!process.env.SPAREKEY_TEST_DATABASE?.startsWith('postgres')) return;
  const server = startPostgres();
  process.on('exit', () => server.end());
  const { makeTemplate } = await import('./postgres-databases.ts');
  await makeTemplate(server.socket);
  process.env.SPAREKEY_TEST_POSTGRES = server.socket;
};
