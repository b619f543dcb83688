import { constants, copyFileSync, existsSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { openDatabase } from '../server/database.ts';

/** As in key-pairs.ts: where a run of the tests keeps what all of its files need. */
const folder = (globalThis as { [name: symbol]: unknown })[Symbol.for('sparekey.key-pairs')];

/**
 * A database of today's shape in which nothing is, at `file`. To make one takes longer than many a test: in a run it is made once,
 * and copied. Nothing is at that place yet.
 */
export async function putNewDatabase(file: string): Promise<void> {
  if (typeof folder !== 'string') return void (await (await openDatabase(file)).close());
  const first = join(folder, 'new.sqlite');
  if (!existsSync(first)) {
    const own = `${first}.${process.pid}`;
    await (await openDatabase(own)).close();
    // Whole, whoever else makes it now; what SQLite keeps beside it is gone with its last connection.
    for (const end of ['-wal', '-shm']) rmSync(`${own}${end}`, { force: true });
    renameSync(own, first);
  }
  copyFileSync(first, file, constants.COPYFILE_EXCL);
}
