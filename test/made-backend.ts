import { type InitOptions, type InitResult, initialise } from '../server/init.ts';

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
    // Shorter than a real one: each envelope is opened once on the way in.
    escrowKeyBits: 2048,
    say: () => undefined,
    ...more,
  });
