import { readFileSync, writeFileSync } from 'node:fs';
import type { Journal } from '../../agent/journal.ts';
import { paths } from '../../agent/paths.ts';
import type { RotationReason } from '../../protocol/messages.ts';
import { systemKeychain } from '../fake-mac/state.ts';
import { type GivenOptions, given, operator } from '../together.ts';
import type { Given } from './course.ts';

/** Macs before the run that the power leaves: where their key is kept, whose escrow payload they have, and why a key is owed. */

export type Keeping = 'server' | 'keychain';
export type Payload = 'our' | 'foreign';

const day = 24 * 3600;

/** A Mac with a settled session whose key is in custody, and which has rotated by the way that it will go again. */
export async function macWith(payload: Payload, keeping: Keeping): Promise<Given> {
  const options: GivenOptions =
    payload === 'our' ? { settings: { custody: keeping } } : { escrow: 'foreign', settings: { escrowOwner: 'mdm', rotator: 'sparekey', custody: 'keychain' } };
  const it = await given(options);
  await it.settle();
  if (payload === 'foreign') {
    // Nothing brings its first key to us: it lies in the keychain, as `adopt` leaves it.
    it.mac.change((state) => {
      const account = `recovery-key:${state.hardwareUuid.toUpperCase()}:imported`;
      state.keychains[systemKeychain]?.items.push({ service: 'io.sparekey.agent', account, password: state.disk.recoveryKey ?? '' });
    });
    await it.checkIn();
    it.pass(60);
    await it.checkIn();
    if (keeping === 'server') {
      it.mac.installSettings({ ...it.values, escrowOwner: 'mdm', rotator: 'sparekey', custody: 'server' });
      it.mac.change((state) => {
        for (const keychain of Object.values(state.keychains)) keychain.items = keychain.items.filter((one) => !one.account.startsWith('recovery-key:'));
      });
    }
  } else if (keeping === 'keychain') {
    await it.order();
    await it.checkIn();
  }
  // The next rotation is another day's, and needs no proof first.
  if (payload === 'foreign' || keeping === 'keychain') it.pass(day + 60);
  return it;
}

const owedByJournal = (it: Given, because: RotationReason): void => {
  const path = it.mac.path(paths.journal);
  const journal = JSON.parse(readFileSync(path, 'utf8')) as Journal;
  const debt = { id: `power-${because}`, because, envelopeId: journal.current?.envelopeId ?? null, boot: it.mac.state.boot.session, confirmed: false };
  writeFileSync(path, JSON.stringify({ ...journal, debts: [...journal.debts, debt] }), { mode: 0o600 });
};

/** Every reason to rotate, as something that happens to such a Mac. */
export const reasons = {
  ordered: async (it: Given) => void (await it.order()),
  disclosed: async (it: Given) => {
    await it.disclose();
    await it.custody.endHold({ macId: await it.macId(), actor: operator, because: 'not-me', reason: 'this was not me' });
  },
  used: async (it: Given) => {
    it.pass(60);
    it.mac.rebootWithRecoveryKey();
    it.mac.logIn('ada');
    await it.settle();
  },
  aged: async (it: Given) => owedByJournal(it, 'aged'),
  doubtful: async (it: Given) => owedByJournal(it, 'doubtful'),
  interrupted: async (it: Given) => owedByJournal(it, 'interrupted'),
  'never-escrowed': async (it: Given) => owedByJournal(it, 'never-escrowed'),
} as const;
export type Reason = keyof typeof reasons;

/** A Mac that was just set up: the agent's first run. */
export const justSetUp = (): Promise<Given> => given();
