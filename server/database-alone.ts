import pg from 'pg';
import { configOf, settle } from './database-connection.ts';
import type { PostgresPlace } from './database-url.ts';

/*
 * Work that comes round is done by one backend at a time. Each of its acts may be done by two at once and means the same: so the
 * locks spare the database work that is done twice, and nothing hangs on them. They are held by a connection of their own, and
 * gone with it, be it lost or its backend killed.
 */

/** Of our advisory locks, beside that of the writes: any number, the same for all releases. */
const family = 0x7370726b;

export interface Alone {
  alone(name: string, work: () => Promise<void>): Promise<boolean>;
  close(): Promise<void>;
}

export function createAlone(place: PostgresPlace): Alone {
  let connecting: Promise<pg.Client> | null = null;
  let last: Promise<unknown> = Promise.resolve();

  function connected(): Promise<pg.Client> {
    if (connecting) return connecting;
    const mine = (async () => {
      // Where the network is gone without a word, no work waits longer for an answer than a statement may take.
      const client = new pg.Client({ ...configOf(place), query_timeout: place.statementMilliseconds });
      client.on('error', forget);
      client.on('end', forget);
      await client.connect();
      await settle(client, place);
      return client;
    })();
    connecting = mine;
    mine.catch(forget);
    return mine;

    function forget(): void {
      if (connecting === mine) connecting = null;
    }
  }

  /** One question after another, on the one connection. */
  function ask(text: string, name: string): Promise<boolean> {
    const asked = last.then(async () => {
      const on = connected();
      const client = await on;
      try {
        const { rows } = await client.query<{ yes: boolean }>(`select ${text}(${family}, hashtext($1)) as yes`, [name]);
        return rows[0]?.yes === true;
      } catch (error) {
        // The next question makes another one.
        if (connecting === on) connecting = null;
        void client.end().catch(() => undefined);
        throw error;
      }
    });
    last = asked.catch(() => undefined);
    return asked;
  }

  return {
    async alone(name, work) {
      // Without an answer it is done: twice is no harm, never would be.
      if (!(await ask('pg_try_advisory_lock', name).catch(() => true))) return false;
      try {
        await work();
      } finally {
        await ask('pg_advisory_unlock', name).catch(() => false);
      }
      return true;
    },
    async close() {
      await last;
      const client = await connecting?.catch(() => null);
      await client?.end().catch(() => undefined);
    },
  };
}
