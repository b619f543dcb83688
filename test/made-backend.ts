import { type InitOptions, type InitResult, initialise } from '../server/init.ts';
import { rsaPair } from './key-pairs.ts';
import { putNewDatabase } from './new-database.ts';

export const passphrase = 'correct horse battery staple';

/** A data folder as `init` makes it. By number: a bare machine may not know the name localhost. */
export const makeDataFolder = (dir: string, devicesPort: number, more: Partial<InitOptions> = {}): Promise<InitResult> =>
  initialise({
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

/** Shorter than a real one, since each envelope is opened on the way in; and neither made nor stretched anew for each backend. */
export function escrowKeyFor(words: string): NonNullable<InitOptions['escrowKey']> {
  const { privateKey } = rsaPair();
  return { privateKey, encrypted: privateKey.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: words }).toString() };
}
