import { sql } from 'kysely';
import type { Store } from './parts.ts';
import { lastEntryOf } from './store/news.ts';
import { type Carrier, followNews } from './wakening.ts';

/*
 * What another process writes into a file of SQLite, such as `sparekey-server` at the command line: SQLite tells nobody, but says
 * to whoever asks whether somebody else has written since. That is asked each second, and costs some microseconds.
 */

const every = 1000;

export function changesOfFile(db: Store['db'], everyMilliseconds = every): Carrier {
  const version = async (): Promise<unknown> => Object.values((await sql<Record<string, unknown>>`pragma data_version`.execute(db)).rows[0] ?? {})[0];
  return {
    async tell() {},
    async hear(wake) {
      const news = await followNews(db, wake);
      let known = await version();
      let closed = false;
      let timer: NodeJS.Timeout | null = null;
      let last: Promise<void> = Promise.resolve();

      async function look(): Promise<void> {
        // In this order: what stands there before a version that is not another one was written here, and told at once.
        const end = await lastEntryOf(db);
        const now = await version();
        if (now === known) return news.heardTo(end);
        await news.catchUp();
        known = now;
      }
      function next(): void {
        timer = setTimeout(() => {
          // A database that cannot be asked now says so elsewhere.
          last = look().catch(() => undefined);
          void last.then(() => closed || next());
        }, everyMilliseconds).unref();
      }
      next();
      return {
        async close() {
          closed = true;
          if (timer) clearTimeout(timer);
          await last;
        },
      };
    },
  };
}
