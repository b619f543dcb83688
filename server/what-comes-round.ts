import { tellOfEmergencyAccounts } from './admins/emergency.ts';
import type { Backend } from './backend.ts';
import { tellOfBackups } from './backup-late.ts';
import { aheadOfDatabase } from './clock.ts';
import { tellOfClocks } from './clock-alarm.ts';
import { spreadRestoreDebts } from './restore.ts';
import type { Rounds } from './rounds.ts';
import { forgetSpentNonces } from './store/enrolments.ts';

const second = 1000;
const minute = 60 * second;

/** The backend's own work that comes round: what time brings about, and what is told and forgotten. */
export function startRounds({ every }: Pick<Rounds, 'every'>, backend: Backend, wallNow: (() => number) | null): void {
  const { store, clock, custody, settings, log } = backend;
  every(30 * second, 'custody', async () => void (await custody.sweepTimers()));
  every(30 * second, 'campaigns', () => custody.campaigns.run());
  every(30 * second, 'policies', () => custody.policies.run());
  every(second, 'fleet', () => custody.fleetIsFresh());
  every(10 * minute, 'fleet-days', () => custody.keepFleetDays());
  every(minute, 'opener', async () => void (await custody.openLater()));
  every(10 * minute, 'restore', async () => void (await spreadRestoreDebts(store, clock)));
  every(60 * minute, 'nonces', () => store.write(async (tx) => forgetSpentNonces(tx, await clock.persist(tx))));
  // Also where no MDM is asked any more: what was asked before has to come to its end.
  every(60 * minute, 'mdm-forget', () => custody.mdm.forgetOld());
  every(6 * 60 * minute, 'retention', async () => void (await custody.retire()));
  every(60 * minute, 'emergency-accounts', () => tellOfEmergencyAccounts(backend));
  // A clock that was given has its own time.
  if (store.time && !wallNow)
    every(
      60 * minute,
      'clock',
      tellOfClocks({ store, clock, log }, () => aheadOfDatabase(store)),
    );
  every(60 * minute, 'backups', () => tellOfBackups({ store, clock, log }, settings.backup));
}
