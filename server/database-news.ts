import { sql } from 'kysely';
import pg from 'pg';
import { configOf } from './database-connection.ts';
import { readPlace } from './database-url.ts';
import type { Store } from './parts.ts';
import { lastEntryOf } from './store/news.ts';
import { type Carrier, followNews } from './wakening.ts';

/*
 * What one backend writes for a Mac that waits at another: a word by NOTIFY, which PostgreSQL gives with the commit of the act
 * and to every backend that listens. It is a hint: who hears it asks the database. What was said while nobody listened is read
 * in the audit.
 */

const channel = 'sparekey_news';
/** Of a word for all. */
const all = '*';

export interface NewsTimes {
  /** Milliseconds until a connection that was lost is made again. */
  again: number;
  /** Between two questions whether it is still there: a network that is gone says nothing. */
  ask: number;
  /** Until it has to have answered. */
  answer: number;
}
const usual: NewsTimes = { again: 1000, ask: 60_000, answer: 10_000 };

export function postgresNews(address: string, db: Store['db'], times: NewsTimes = usual): Carrier {
  const place = readPlace(address);
  return {
    async tell(tx, macs) {
      for (const macId of macs) await sql`select pg_notify(${channel}, ${macId ?? all})`.execute(tx);
    },
    async hear(wake) {
      const news = await followNews(db, wake);
      let client: pg.Client | null = null;
      let timer: NodeJS.Timeout | null = null;
      let asking: NodeJS.Timeout | null = null;
      let closed = false;

      async function listen(): Promise<void> {
        const mine = new pg.Client({ ...configOf(place), application_name: 'sparekey-news', query_timeout: times.answer });
        client = mine;
        let gone = false;
        const lost = (): void => {
          if (gone) return;
          gone = true;
          if (asking) clearTimeout(asking);
          mine.removeAllListeners('notification');
          void mine.end().catch(() => undefined);
          if (!closed) timer = setTimeout(() => void listen(), times.again).unref();
        };
        /** What was committed before the question is heard before its answer. */
        const askAgain = (): void => {
          if (gone || closed) return;
          asking = setTimeout(async () => {
            try {
              const end = await lastEntryOf(db);
              await mine.query('select 1');
              news.heardTo(end);
              askAgain();
            } catch {
              lost();
            }
          }, times.ask).unref();
        };
        mine.on('error', lost);
        mine.on('end', lost);
        mine.on('notification', ({ payload }) => payload && wake(payload === all ? null : payload));
        try {
          await mine.connect();
          await mine.query(`listen ${channel}`);
          await news.catchUp();
          askAgain();
        } catch {
          lost();
        }
      }

      await listen();
      return {
        async close() {
          closed = true;
          if (timer) clearTimeout(timer);
          if (asking) clearTimeout(asking);
          await client?.end().catch(() => undefined);
        },
      };
    },
  };
}
