// Before the first test file, once for a run: the folder of its RSA pairs (see key-pairs.ts), which goes when the run has ended.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export default () => {
  const folder = mkdtempSync(join(tmpdir(), 'sparekey-key-pairs-'));
  process.env.SPAREKEY_TEST_KEY_PAIRS = folder;
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
};
