// keytar's interface onto the fake Mac's keychains. The process context chooses the keychain, as on a real Mac: a
// LaunchDaemon's default is System.keychain, a Terminal's is the login keychain of who sits there. The texts are those of
// SecBase.h; keytar passes them on as they are.
import { emptyKeychain, type Keychain, keychainAt, loginKeychain, type MacState, systemKeychain } from './state.ts';

export interface KeychainStore {
  /** To be read only. */
  read(): MacState;
  change<T>(act: (state: MacState) => T): T;
  wait(seconds: number): Promise<void>;
}

export interface Keytar {
  getPassword(service: string, account: string): Promise<string | null>;
  setPassword(service: string, account: string, password: string): Promise<void>;
  deletePassword(service: string, account: string): Promise<boolean>;
  findPassword(service: string): Promise<string | null>;
  findCredentials(service: string): Promise<{ account: string; password: string }[]>;
}

/** How long a slow keychain takes, in seconds: longer than anybody should wait for it. */
const slowSeconds = 60;

export const keytarFor = (context: 'job' | 'terminal', store: KeychainStore): Keytar => {
  const pathIn = (state: MacState): string => (context === 'job' ? systemKeychain : loginKeychain(state.console.user ?? 'root'));
  const checkedPath = (state: MacState): string => {
    const path = pathIn(state);
    if (path !== systemKeychain && state.console.user === null) throw new Error('A default keychain could not be found.');
    return path;
  };
  const keychainIn = (state: MacState): Keychain => keychainAt(state, checkedPath(state));
  const readKeychain = (state: MacState): Keychain => state.keychains[checkedPath(state)] ?? emptyKeychain();
  const open = async (): Promise<void> => {
    const state = store.read();
    const { mode } = readKeychain(state);
    if (state.darkWake) throw new Error('In dark wake, no UI possible');
    if (mode === 'slow') await store.wait(slowSeconds);
    if (mode === 'locked') throw new Error('User interaction is not allowed.');
    if (mode === 'failing') throw new Error('Internal error in Security framework.');
  };
  const items = () => readKeychain(store.read()).items;
  const required = (value: string, name: string): void => {
    if (!value) throw new Error(`${name} is required.`);
  };
  return {
    async getPassword(service, account) {
      required(service, 'Service');
      required(account, 'Account');
      await open();
      return items().find((item) => item.service === service && item.account === account)?.password ?? null;
    },
    async setPassword(service, account, password) {
      required(service, 'Service');
      required(account, 'Account');
      required(password, 'Password');
      await open();
      store.change((state) => {
        const keychain = keychainIn(state);
        keychain.items = [...keychain.items.filter((item) => item.service !== service || item.account !== account), { service, account, password }];
      });
    },
    async deletePassword(service, account) {
      required(service, 'Service');
      required(account, 'Account');
      await open();
      return store.change((state) => {
        const keychain = keychainIn(state);
        const before = keychain.items.length;
        keychain.items = keychain.items.filter((item) => item.service !== service || item.account !== account);
        return keychain.items.length < before;
      });
    },
    async findPassword(service) {
      required(service, 'Service');
      await open();
      return items().find((item) => item.service === service)?.password ?? null;
    },
    async findCredentials(service) {
      required(service, 'Service');
      await open();
      return items()
        .filter((item) => item.service === service)
        .map(({ account, password }) => ({ account, password }));
    },
  };
};
