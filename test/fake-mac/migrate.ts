import { cpSync, existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { emptyKeychain, keychainAt, type MacState, systemKeychain } from './state.ts';

interface Migrating {
  state: MacState;
  path(onTheMac: string): string;
  change<T>(act: (state: MacState) => T): T;
}

/** Migration Assistant, as far as it touches the agent: its folders, its job, the System keychain and the people. The disk and its key stay. */
export const migrate = (from: Migrating, to: Migrating): void => {
  const copy = (folder: string, wanted: (name: string) => boolean): void => {
    if (!existsSync(from.path(folder))) return;
    for (const name of readdirSync(from.path(folder)).filter(wanted))
      cpSync(from.path(join(folder, name)), to.path(join(folder, name)), { recursive: true, preserveTimestamps: true, verbatimSymlinks: true });
  };
  copy('Library', (name) => name === 'Sparekey');
  copy('Library/LaunchDaemons', (name) => name.startsWith('io.sparekey'));
  copy('Library/Logs', (name) => name === 'Sparekey');
  copy('var/db', (name) => name.startsWith('io.sparekey.agent'));
  const mine = from.state;
  const brought = mine.keychains[systemKeychain] ?? emptyKeychain();
  to.change((state) => {
    const system = keychainAt(state, systemKeychain);
    system.items.push(...brought.items.filter((item) => !system.items.some((known) => known.service === item.service && known.account === item.account)));
    system.identities.push(...brought.identities.filter((one) => !system.identities.some((known) => known.certificate === one.certificate)));
    system.certificates.push(...brought.certificates.filter((pem) => !system.certificates.includes(pem)));
    for (const user of mine.users) if (!state.users.some(({ name }) => name === user.name)) state.users.push({ ...user, uid: 501 + state.users.length });
    for (const [label, job] of Object.entries(mine.jobs)) state.jobs[label] ??= { ...job, pid: null, supervisor: null, runs: 0, lastExit: null };
  });
};
