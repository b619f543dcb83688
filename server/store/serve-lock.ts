import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Problem } from '../../protocol/problems.ts';

/** Folders that this very process serves: what it does itself, such as an upgrade at its start, it does not refuse itself. */
const ours = new Set<string>();
/** A backend that is being ended gives it back in this time. Milliseconds. */
const patience = 250;

/**
 * Held by `serve` for as long as it runs, so that nobody changes the shape of its database beneath it, and no second one works in
 * the same folder. Node has no lock of its own for files, SQLite has: the system takes it back from a process that is killed.
 */
export function holdFolder(dir: string): () => void {
  const file = join(dir, 'serve.lock');
  const database = new DatabaseSync(file, { timeout: patience });
  try {
    database.exec('begin exclusive');
    chmodSync(file, 0o600);
  } catch (error) {
    database.close();
    throw new Problem('BEING_SERVED', dir, { cause: error });
  }
  ours.add(dir);
  return () => {
    ours.delete(dir);
    if (database.isOpen) database.close();
  };
}

/** For what must not happen while another process serves this folder. */
export function refuseWhileServed(dir: string): void {
  if (!ours.has(dir)) holdFolder(dir)();
}
