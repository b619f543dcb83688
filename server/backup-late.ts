import { Problem } from '../protocol/problems.ts';
import type { AlarmCode } from './alarms.ts';
import { audit } from './audit.ts';
import { openClock } from './clock.ts';
import { when } from './command.ts';
import type { FolderPaths } from './data-folder.ts';
import { silentLog } from './log.ts';
import { type Ground, saidMark, sayAnew } from './operator-alarms.ts';
import type { Store } from './parts.ts';
import type { ServerSettings } from './settings.ts';
import { entryOfInit, firstAuditEntry, readMemory, writeMemory } from './store/upkeep.ts';
import { openFolderDatabase } from './upgrade.ts';

const day = 24 * 60 * 60 * 1000;
/** Names in the server's own memory. */
export const lastBackupMark = 'last-backup';
export const lastDrillMark = 'last-drill';
const offlineCopyMark = 'offline-copy';

/** When a backup was made last, and when one was opened with what is left on the day when everything else is gone; null: never. */
export async function backupDates({ store }: Pick<Ground, 'store'>): Promise<{ backup: number | null; drill: number | null }> {
  const [backup, drill] = [await readMemory(store.db, lastBackupMark), await readMemory(store.db, lastDrillMark)];
  return { backup: backup === null ? null : Number(backup), drill: drill === null ? null : Number(drill) };
}

/** An alarm where the last one is too long ago. A backend of yesterday is not late with anything. */
export async function tellOfBackups(ground: Ground, { warnAfterDays, drillEveryDays }: ServerSettings['backup']): Promise<void> {
  const { backup, drill } = await backupDates(ground);
  const begun = (await firstAuditEntry(ground.store.db))?.at ?? ground.clock.now();
  const late = (last: number | null, days: number | null, what: string): string[] =>
    days === null || ground.clock.now() - (last ?? begun) < days * day ? [] : [last === null ? `no ${what} yet` : `the last ${what} is of ${when(last)}`];
  await sayAnew(ground, 'BACKUP_LATE', late(backup, warnAfterDays, 'backup'));
  await sayAnew(ground, 'DRILL_LATE', late(drill, drillEveryDays, 'drill'));
}

/** Whether there is a copy of the escrow key outside the data folder, as far as anybody said or showed. */
export async function hasOfflineCopy({ db }: Pick<Store, 'db'>): Promise<boolean> {
  return (await readMemory(db, offlineCopyMark)) !== null || (await entryOfInit(db))['offlineCopy'] !== false;
}

export const noOfflineCopy =
  'no offline copy of the escrow key was ever made: with this machine every key is lost (docs/operating.md, Backup and restore, makes one)';

/** Works in the database of a folder, as a command does that has nothing else of the backend open. */
export async function inDatabaseOf<T>(paths: FolderPaths, work: (store: Store, ground: Ground) => Promise<T>): Promise<T> {
  const store = await openFolderDatabase(paths);
  try {
    return await work(store, { store, clock: await openClock(store), log: silentLog });
  } finally {
    await store.close();
  }
}

/** Somebody has said, or a drill has shown, that there is one. Once. */
export async function noteOfflineCopy({ store, clock }: Ground, actor: string, because: 'said' | 'drill'): Promise<void> {
  if (await hasOfflineCopy(store)) return;
  await store.write(async (tx) => {
    const at = await clock.persist(tx);
    await writeMemory(tx, offlineCopyMark, String(at));
    await audit(tx, { at, actor, act: 'offline-copy.noted', details: { because } });
  });
}

/** Whether the drill of last time failed. Nobody's judgement of the alarm ends that: a backup that opens does. */
export const hasDrillFailed = async ({ db }: Pick<Store, 'db'>): Promise<boolean> => ((await readMemory(db, saidMark('DRILL_FAILED'))) ?? '') !== '';

/** A failure is an alarm at once, not when it has become late. What was asked for wrongly is none. */
export async function tellOfFailure(paths: FolderPaths, code: AlarmCode, what: string, error: unknown): Promise<void> {
  if (error instanceof Problem && error.code === 'USAGE') return;
  const because = error instanceof Problem ? [error.code, error.detail ?? []].flat().join(': ') : error instanceof Error ? error.name : 'unknown';
  // A full disk may refuse this too: then the failure itself is what is heard, and the exit status.
  await inDatabaseOf(paths, (_, ground) => sayAnew(ground, code, [`${what}: ${because}`])).catch(() => undefined);
}
