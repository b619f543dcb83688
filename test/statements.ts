import { StatementSync } from 'node:sqlite';
import pg from 'pg';

/** What begins, divides and ends transactions, with the locks that go with it. */
const isOfTheAct = (text: string): boolean => !/^(begin|commit|rollback|savepoint|release)\b/i.test(text);

/**
 * What the database is asked while `work` goes on, in order, as it hears it: at the doors of SQLite and of PostgreSQL, past everything
 * that is ours. Nothing else may be at a database of this process meanwhile.
 */
export async function statementsOf(work: () => Promise<unknown>): Promise<string[]> {
  const heard: string[] = [];
  const hear = (text: string): void => {
    if (isOfTheAct(text)) heard.push(text);
  };
  const { all, run } = StatementSync.prototype;
  const { query } = pg.Client.prototype;
  const heardFirst = <Asked extends unknown[], Answer>(ask: (...asked: Asked) => Answer) =>
    function asking(this: StatementSync, ...asked: Asked): Answer {
      hear(this.sourceSQL);
      return ask.apply(this, asked);
    };
  Object.assign(StatementSync.prototype, { all: heardFirst(all), run: heardFirst(run) });
  Object.assign(pg.Client.prototype, {
    query(this: pg.Client, ...asked: [string | { text: string }]) {
      hear(typeof asked[0] === 'string' ? asked[0] : asked[0].text);
      return (query as (...given: unknown[]) => unknown).apply(this, asked);
    },
  });
  try {
    await work();
    return heard;
  } finally {
    Object.assign(StatementSync.prototype, { all, run });
    Object.assign(pg.Client.prototype, { query });
  }
}

/** Tables that these statements write. */
export const writtenBy = (statements: readonly string[]): string[] =>
  [...new Set(statements.flatMap((text) => [...text.matchAll(/\b(?:update|insert into|delete from) "(\w+)"/g)].map(([, table]) => table ?? '')))].toSorted();
