import { resolve } from 'node:path';
import { Problem } from '../protocol/problems.ts';
import { openClock, type ServerClock } from './clock.ts';
import { createCustody } from './custody.ts';
import { databaseOf, existingFolder, type FolderPaths, tooOpen } from './data-folder.ts';
import { changesOfFile } from './database-changes.ts';
import { postgresNews } from './database-news.ts';
import { isPostgres } from './database-url.ts';
import { openEscrowKeys } from './escrow-keys.ts';
import { type Log, silentLog } from './log.ts';
import type { EscrowKeys, ServerSecrets, Store } from './parts.ts';
import { readServerSecrets } from './server-secrets.ts';
import { readSettings, type ServerSettings } from './settings.ts';
import { createTickets } from './tickets.ts';
import { openFolderDatabase } from './upgrade.ts';
import { type Carrier, type Wakening, wakeAfterActs } from './wakening.ts';

export interface Backend {
  paths: FolderPaths;
  settings: ServerSettings;
  secrets: ServerSecrets;
  store: Store;
  wakening: Wakening;
  clock: ServerClock;
  escrowKeys: EscrowKeys;
  custody: ReturnType<typeof createCustody>;
  tickets: ReturnType<typeof createTickets>;
  log: Log;
  close(): Promise<void>;
}

/** Collects what is wrong instead of stopping at the first: an operator mends a machine once, not six times. */
export function collectMistakes() {
  const found: Problem[] = [];
  return {
    found: found as readonly Problem[],
    attempt<T>(what: () => T): T | undefined {
      try {
        return what();
      } catch (error) {
        if (!(error instanceof Problem)) throw error;
        found.push(error);
        return undefined;
      }
    },
    refuse(): void {
      const [first, ...more] = found;
      if (!first) return;
      if (more.every((problem) => problem.code === first.code)) throw new Problem(first.code, found.map((problem) => problem.detail ?? '').join('; '));
      throw new Problem('SERVER_SETTINGS_INVALID', found.map((problem) => problem.message).join('; '));
    },
  };
}

const carrierOf = (database: string, { db }: Store): Carrier => (isPostgres(database) ? postgresNews(database, db) : changesOfFile(db));

/** Opens a data folder. Without a passphrase everything but opening envelopes works. */
export async function openBackend(options: {
  dir: string;
  passphrase: string | null;
  log?: Log;
  wallNow?: () => number;
  busyMilliseconds?: number;
}): Promise<Backend> {
  const paths = existingFolder(resolve(options.dir));
  const log = options.log ?? silentLog;
  const mistakes = collectMistakes();
  mistakes.attempt(() => {
    const open = tooOpen(paths);
    if (open.length > 0) throw new Problem('FILE_TOO_OPEN', open.join(', '));
  });
  mistakes.refuse();
  const settings = mistakes.attempt(() => readSettings(paths.settings));
  const secrets = mistakes.attempt(() => readServerSecrets(paths.secrets));
  mistakes.refuse();
  const escrowKeys = openEscrowKeys(paths.escrow, options.passphrase);
  if (!settings || !secrets) throw new Problem('SERVER_BUG');
  const { busyMilliseconds } = options;
  const stored = await openFolderDatabase(paths, {
    ...(busyMilliseconds === undefined ? {} : { busyMilliseconds }),
    onWait: (seconds, who) => log.warn('database-waiting', { because: 'its shape is to be changed, and others are at work in it', seconds, who }),
  });
  const carrier = settings.keys.waitSeconds > 0 ? carrierOf(databaseOf(paths), stored) : null;
  const { store, wakening } = await wakeAfterActs(stored, carrier);
  try {
    const clock = await openClock(store, options.wallNow);
    const custody = createCustody({
      store,
      clock,
      escrowKeys,
      secrets,
      settings: settings.keys,
      log,
      taskDays: settings.coexistence?.taskDays ?? 3,
      ringDays: settings.coexistence?.ringDays ?? 3,
      strangerDays: settings.coexistence?.strangerDays ?? 180,
    });
    const tickets = createTickets({ store, clock, secrets });
    const close = async () => {
      await wakening.close();
      await store.close();
    };
    return { paths, settings, secrets, store, wakening, clock, escrowKeys, custody, tickets, log, close };
  } catch (error) {
    await wakening.close();
    await store.close();
    throw error;
  }
}
