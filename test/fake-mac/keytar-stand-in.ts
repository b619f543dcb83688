// What lies at /Library/Sparekey/lib/node_modules/keytar on a fake Mac, once esbuild has made one plain file of it.
import { dirname, resolve } from 'node:path';
import { keytarFor } from './keychain-door.ts';
import { readState, withLock, writeState } from './state-file.ts';

declare const __dirname: string;
/** The Mac's root, four folders above /Library/Sparekey/lib/node_modules/keytar. */
const root = dirname(resolve(__dirname, '../../../..'));
const { getPassword, setPassword, deletePassword, findPassword, findCredentials } = keytarFor(
  process.env['XPC_SERVICE_NAME'] === 'io.sparekey.agent' ? 'job' : 'terminal',
  {
    read: () => readState(root),
    // Items are in none of the answers that lie ready, so nothing else has to be made again.
    change: (act) =>
      withLock(root, () => {
        const state = readState(root);
        const result = act(state);
        writeState(root, state);
        return result;
      }),
    wait: (seconds) => new Promise((done) => setTimeout(done, seconds * 1000)),
  },
);

export { deletePassword, findCredentials, findPassword, getPassword, setPassword };
