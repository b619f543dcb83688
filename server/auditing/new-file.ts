import { closeSync, existsSync, fsyncSync, openSync, rmSync, writeSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { Problem } from '../../protocol/problems.ts';
import { syncFolder, unwritable } from '../private-files.ts';

/** A new private file; nothing is left of one that could not be written. */
export async function writeNew(file: string, content: AsyncIterable<string | Uint8Array>): Promise<number> {
  const path = resolve(file);
  if (existsSync(path)) throw new Problem('USAGE', `${path} exists already; no file is replaced`);
  if (!existsSync(dirname(path))) throw new Problem('USAGE', `${dirname(path)} does not exist`);
  let handle: number;
  try {
    handle = openSync(path, 'wx', 0o600);
  } catch (error) {
    throw unwritable(path, error);
  }
  let total = 0;
  try {
    for await (const part of content) {
      const bytes = typeof part === 'string' ? Buffer.from(part) : part;
      for (let done = 0; done < bytes.length; ) done += writeSync(handle, bytes, done);
      total += bytes.length;
    }
    fsyncSync(handle);
  } catch (error) {
    closeSync(handle);
    rmSync(path, { force: true });
    throw unwritable(path, error);
  }
  closeSync(handle);
  syncFolder(dirname(path));
  return total;
}
