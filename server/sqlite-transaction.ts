import { setImmediate as soon } from 'node:timers/promises';
import { type Kysely, sql } from 'kysely';
import type { ActsOptions, Turn } from './database-acts.ts';
import type { Tx } from './parts.ts';
import { type Door, openDoor } from './store/asked.ts';
import type { Tables } from './tables.ts';

export interface Connection {
  /** On the connection itself. */
  carryOut: Door;
  /** Whether the transaction is still there: SQLite ends it by itself when the disk is full. */
  isInTransaction(): boolean;
}

/** Transactions on the one connection of an SQLite database. */
export const sqliteTransaction = (db: Kysely<Tables>, connection: Connection): ActsOptions['transaction'] =>
  function transaction(_until, work) {
    return db.transaction().execute(async (tx) => {
      let isOpen = true;
      try {
        return await work(turnOf(tx, connection, () => isOpen));
      } finally {
        isOpen = false;
      }
    });
  };

function turnOf(tx: Tx, { carryOut, isInTransaction }: Connection, isOpen: () => boolean): Turn {
  let isAlone = true;
  return {
    async next(alone) {
      isAlone = alone;
      if (!alone) await sql`savepoint act`.execute(tx);
      const own = tx.withoutPlugins();
      openDoor(own, (text, parameters) => (isOpen() ? carryOut(text, parameters) : null));
      return own;
    },
    async keep() {
      if (!isAlone) await sql`release act`.execute(tx);
    },
    async takeBack(because) {
      // What it had begun beside what failed comes to its end first: it is taken back with it, and is in no other's part.
      await soon();
      if (!isInTransaction()) throw because;
      await sql`rollback to act`.execute(tx);
      await sql`release act`.execute(tx);
    },
  };
}
