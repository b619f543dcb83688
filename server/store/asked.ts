import { hash } from 'node:crypto';
import { type CompiledQuery, type Kysely, PostgresAdapter } from 'kysely';
import type { Tables } from '../tables.ts';

/*
 * What every check-in and every delivery asks. To put a statement together costs several times what SQLite takes to carry it
 * out: here it is done once for each kind of database, with places where the values go that are given each time. Nothing is
 * remembered of any answer.
 */

type Db = Kysely<Tables>;
interface Compilable<Row> {
  compile(): CompiledQuery<Row>;
}
interface Answer {
  rows: unknown[];
  changes: number;
}

/** Carries a statement out at once. Null where it has to wait its turn: somebody else's transaction is under way. */
export type Door = (text: string, parameters: readonly unknown[]) => Answer | null;
const doors = new WeakMap<object, Door>();
/** The way past Kysely's queue, for a database whose driver waits for nothing. */
export const openDoor = (db: Db, door: Door): void => void doors.set(db, door);

class Place {
  readonly at: number;
  constructor(at: number) {
    this.at = at;
  }
}

/** With the name under which a connection of PostgreSQL keeps it, put together and planned: to plan a wide one takes longer than to carry it out. */
export interface NamedQuery<Row = unknown> extends CompiledQuery<Row> {
  name?: string;
}
const isPostgres = (db: Db): boolean => db.getExecutor().adapter instanceof PostgresAdapter;
/** One that asks for whatever columns there are is not kept: after an upgrade of the schema there are others. */
const named = (db: Db, query: CompiledQuery<unknown>): NamedQuery =>
  isPostgres(db) && !query.sql.includes('*') ? { ...query, name: hash('sha256', query.sql, 'base64url').slice(0, 24) } : query;

function statement<Given extends readonly unknown[]>(make: (db: Db, ...given: Given) => Compilable<unknown>) {
  const compiled = new Map<unknown, NamedQuery>();
  return async (db: Db, given: Given): Promise<Answer> => {
    const kind = db.getExecutor().adapter.constructor;
    let known = compiled.get(kind);
    if (!known) {
      known = named(db, make(db, ...(Array.from(given, (_, at) => new Place(at)) as unknown as Given)).compile());
      compiled.set(kind, known);
    }
    const parameters = known.parameters.map((value) => (value instanceof Place ? given[value.at] : value));
    const answer = doors.get(db)?.(known.sql, parameters);
    if (answer) return answer;
    const { rows, numAffectedRows } = await db.executeQuery({ ...known, parameters });
    return { rows, changes: Number(numAffectedRows ?? 0) };
  };
}

/** All rows. Each value that is given has to be a parameter of the statement as it is: none may decide what it says, and no list. */
export function question<Given extends readonly unknown[], Row>(
  make: (db: Db, ...given: Given) => Compilable<Row>,
): (db: Db, ...given: Given) => Promise<Row[]> {
  const ask = statement(make);
  return async (db, ...given) => (await ask(db, given)).rows as Row[];
}

export function firstOf<Given extends readonly unknown[], Row>(
  make: (db: Db, ...given: Given) => Compilable<Row>,
): (db: Db, ...given: Given) => Promise<Row | undefined> {
  const ask = statement(make);
  return async (db, ...given) => (await ask(db, given)).rows[0] as Row | undefined;
}

/** How many rows were written. */
export function change<Given extends readonly unknown[]>(make: (db: Db, ...given: Given) => Compilable<unknown>): (db: Db, ...given: Given) => Promise<number> {
  const ask = statement(make);
  return async (db, ...given) => (await ask(db, given)).changes;
}

/**
 * Writes of which each is in a table of its own and needs nothing of the others: one statement where the database takes them so.
 * The values have the same names each time.
 */
export function changes<Values extends object>(
  ...makes: readonly ((db: Db, values: Values) => Compilable<unknown>)[]
): (db: Db, values: Values) => Promise<void> {
  let names: readonly (keyof Values)[] = [];
  const placed = (make: (typeof makes)[number]) =>
    statement((db, ...places: readonly unknown[]) => make(db, Object.fromEntries(names.map((name, at) => [name, places[at]])) as Values));
  const each = makes.map(placed);
  const asOne = placed((db, values) => {
    const [last, ...others] = makes.toReversed();
    if (!last) throw new TypeError('there is nothing to write');
    // Each is carried out, whether or not anything reads it, on what was there before the statement.
    return last(
      others.reduce((before, make, at) => before.with(`write_${at}`, () => make(db, values) as never) as unknown as Db, db),
      values,
    );
  });
  return async (db, values) => {
    if (names.length === 0) names = Object.keys(values) as (keyof Values)[];
    const given = names.map((name) => values[name]);
    if (isPostgres(db)) await asOne(db, given);
    else for (const ask of each) await ask(db, given);
  };
}

/** The same for rows of which not all columns are always given: one statement for each choice of columns. */
export function changeOf<Values extends object, Given extends readonly unknown[]>(
  make: (db: Db, values: Values, ...given: Given) => Compilable<unknown>,
): (db: Db, values: Values, ...given: Given) => Promise<number> {
  const known = new Map<string, ReturnType<typeof statement>>();
  return async (db, values, ...given) => {
    const columns = Object.keys(values).filter((name) => values[name as keyof Values] !== undefined);
    const kind = columns.join();
    let ask = known.get(kind);
    if (!ask) {
      ask = statement((of: Db, ...places: readonly unknown[]) => {
        const row = Object.fromEntries(columns.map((name, at) => [name, places[at]])) as Values;
        return make(of, row, ...(places.slice(columns.length) as unknown as Given));
      });
      known.set(kind, ask);
    }
    return (await ask(db, [...columns.map((name) => values[name as keyof Values]), ...given])).changes;
  };
}
