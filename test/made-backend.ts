import { readFileSync, writeFileSync } from 'node:fs';
import { folderPaths } from '../server/data-folder.ts';
import { type InitOptions, type InitResult, initialise } from '../server/init.ts';
import { rsaPair } from './key-pairs.ts';
import { putNewDatabase } from './new-database.ts';

export const passphrase = 'correct horse battery staple';

/** A data folder as `init` makes it. By number: a bare machine may not know the name localhost. */
export async function makeDataFolder(dir: string, devicesPort: number, more: Partial<InitOptions> = {}): Promise<InitResult> {
  const made = await initialise({
    dir,
    names: ['127.0.0.1'],
    organisation: 'Example',
    devicesPort,
    passphrase,
    copy: null,
    deviceCaFiles: [],
    ownTls: null,
    admin: 'ada',
    escrowKey: escrowKeyFor(more.passphrase ?? passphrase),
    putDatabase: putNewDatabase,
    say: () => undefined,
    ...more,
  });
  // No Mac of the tests waits for its place in a fleet, but where that is what is looked at.
  const { settings: file } = folderPaths(dir);
  const settings = JSON.parse(readFileSync(file, 'utf8'));
  writeFileSync(file, JSON.stringify({ ...settings, keys: { ...settings.keys, spreadSeconds: 0 } }, null, 2));
  return made;
}

/** Shorter than a real one, since each envelope is opened on the way in; and neither made nor stretched anew for each backend. */
export function escrowKeyFor(words: string): NonNullable<InitOptions['escrowKey']> {
  const { privateKey } = rsaPair();
  return { privateKey, encrypted: privateKey.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: words }).toString() };
}
