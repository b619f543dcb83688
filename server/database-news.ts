import { sql } from 'kysely';
import pg from 'pg';
import { readPlace } from './database-url.ts';
import type { Carrier } from './wakening.ts';

/*
 * What one backend writes for a Mac that waits at another: a word by NOTIFY, which PostgreSQL gives with the commit of the act
 * and to every backend that listens. It is a hint: who hears it asks the database.
 */

const channel = 'sparekey_news';
/** Milliseconds until a connection that was lost is made again; what was said meanwhile is heard at the end of a wait. */
const again = 1000;

export function postgresNews(address: string): Carrier {
  const place = readPlace(address);
  return {
    async tell(tx, macIds) {
      for (const macId of macIds) await sql`select pg_notify(${channel}, ${macId})`.execute(tx);
    },
    async hear(wake) {
      let client: pg.Client | null = null;
      let timer: NodeJS.Timeout | null = null;
      let closed = false;

      async function listen(): Promise<void> {
        const mine = new pg.Client({
          host: place.host,
          port: place.port,
          database: place.database,
          user: place.user,
          password: () => place.password,
          ssl: place.tls === null ? false : { ...place.tls, rejectUnauthorized: true, minVersion: 'TLSv1.2' },
          application_name: 'sparekey-news',
          connectionTimeoutMillis: place.connectMilliseconds,
          keepAlive: true,
        });
        client = mine;
        let gone = false;
        const lost = (): void => {
          if (gone) return;
          gone = true;
          void mine.end().catch(() => undefined);
          if (!closed) timer = setTimeout(() => void listen(), again).unref();
        };
        mine.on('error', lost);
        mine.on('end', lost);
        mine.on('notification', ({ payload }) => payload && wake(payload));
        try {
          await mine.connect();
          await mine.query(`listen ${channel}`);
        } catch {
          lost();
        }
      }

      await listen();
      return {
        async close() {
          closed = true;
          if (timer) clearTimeout(timer);
          await client?.end().catch(() => undefined);
        },
      };
    },
  };
}
