import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Where a run of the tests keeps its pairs (see jest-environment.mjs); elsewhere there is no such folder. */
const folder = (globalThis as { [name: symbol]: unknown })[Symbol.for('sparekey.key-pairs')];
let made = 0;

/**
 * An RSA-2048 pair. To make one takes longer than many a test: the first of each test file is the same one for the whole run,
 * and so is the second. Within a file, and thus at one backend, no two are the same.
 */
export function rsaPair(): { publicKey: KeyObject; privateKey: KeyObject } {
  if (typeof folder !== 'string') return generateKeyPairSync('rsa', { modulusLength: 2048 });
  made += 1;
  const file = join(folder, `${made}.der`);
  if (!existsSync(file)) {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    writeFileSync(`${file}.${process.pid}`, privateKey.export({ format: 'der', type: 'pkcs8' }), { mode: 0o600 });
    // Whole, whoever else makes it now.
    renameSync(`${file}.${process.pid}`, file);
  }
  const privateKey = createPrivateKey({ key: readFileSync(file), format: 'der', type: 'pkcs8' });
  return { privateKey, publicKey: createPublicKey(privateKey) };
}
