import { statfsSync } from 'node:fs';
import type { Backend } from './backend.ts';
import { backupDates } from './backup-late.ts';
import type { Round } from './rounds.ts';
import { firstAuditEntry } from './store/upkeep.ts';
import { askAnything } from './store/watching.ts';

export interface Check {
  name: 'database' | 'escrow-keys' | 'timers' | 'disk' | 'backups';
  ok: boolean;
  /** A few words for whoever is called in the night; never a secret, and no name of anybody. */
  says: string;
}

const day = 24 * 60 * 60 * 1000;
const answerMs = 5000;
/** A turn that has not ended for so long stands still: three rounds, and never less than ten minutes. */
const stands = ({ doneAt, beganAt, every }: Readonly<Round>, now: number): boolean => now - (doneAt ?? beganAt) > Math.max(3 * every, 10 * 60 * 1000) + every;
/** SQLite needs room for its journal, and a backup is as large as the database. */
const leastBytes = 256 * 2 ** 20;

async function databaseAnswers({ store }: Pick<Backend, 'store'>): Promise<Check> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve('it has not answered in 5 seconds'), answerMs);
  });
  const says = await Promise.race([askAnything(store.db).then(() => null), late]).catch(() => 'it refuses');
  clearTimeout(timer);
  return { name: 'database', ok: says === null, says: says ?? 'answers' };
}

function diskHasRoom({ paths }: Pick<Backend, 'paths'>): Check {
  try {
    const { bavail, bsize } = statfsSync(paths.dir);
    const free = bavail * bsize;
    return { name: 'disk', ok: free >= leastBytes, says: `${Math.floor(free / 2 ** 20)} MiB free` };
  } catch {
    return { name: 'disk', ok: false, says: 'its room cannot be read' };
  }
}

async function backupsAreNotLate({ store, clock, settings }: Pick<Backend, 'store' | 'clock' | 'settings'>): Promise<Check> {
  const { warnAfterDays } = settings.backup;
  if (warnAfterDays === null) return { name: 'backups', ok: true, says: 'nobody wants to be told of them (backup.warnAfterDays)' };
  const { backup } = await backupDates({ store });
  const since = backup ?? (await firstAuditEntry(store.db))?.at ?? clock.now();
  const days = Math.floor((clock.now() - since) / day);
  return { name: 'backups', ok: days < warnAfterDays, says: backup === null ? 'none yet' : `the last one is ${days} days old` };
}

/** Whether this backend can do its work now. Sealed is a way of working, and said; it is not unready. */
export async function readiness(backend: Backend, rounds: readonly Readonly<Round>[]): Promise<Check[]> {
  const database = await databaseAnswers(backend);
  const now = performance.now();
  const late = rounds.filter((round) => stands(round, now)).map(({ name }) => name);
  return [
    database,
    { name: 'escrow-keys', ok: true, says: backend.escrowKeys.canOpen ? 'open' : 'sealed: keys are kept and none is shown' },
    { name: 'timers', ok: late.length === 0, says: late.length === 0 ? `${rounds.length} run` : `stand still: ${late.join(', ')}` },
    diskHasRoom(backend),
    ...(database.ok ? [await backupsAreNotLate(backend)] : []),
  ];
}
