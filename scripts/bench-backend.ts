import { DatabaseSync } from 'node:sqlite';
import pg from 'pg';
import { openLog } from '../server/log.ts';
import { type Serving, serve } from '../server/serve.ts';
import { passphrase } from './bench-macs.ts';
import { answerPeer, usageNow } from './bench-peer.ts';

/*
 * The backend as it is, in a process of its own, for `scripts/bench.ts`: with its log, and with rates at which a few Macs
 * may stand for many. Commits are counted at SQLite's own door, and at PostgreSQL's.
 */

let commits = 0;
const { prepare } = DatabaseSync.prototype;
DatabaseSync.prototype.prepare = function counted(...given: Parameters<typeof prepare>) {
  const statement = prepare.apply(this, given);
  if (given[0] !== 'commit') return statement;
  const { run, all } = statement;
  const counting = <Asked extends unknown[], Answer>(ask: (...asked: Asked) => Answer) =>
    function count(this: unknown, ...asked: Asked): Answer {
      commits += 1;
      return ask.apply(statement, asked);
    };
  return Object.assign(statement, { run: counting(run as never), all: counting(all as never) });
};

const { query } = pg.Client.prototype;
pg.Client.prototype.query = function counted(this: pg.Client, ...asked: Parameters<typeof query>) {
  const [given] = asked as unknown as [string | { text: string }];
  if ((typeof given === 'string' ? given : given.text) === 'commit') commits += 1;
  return query.apply(this, asked);
} as unknown as typeof query;

const much = { perMinute: 1e9, burst: 1e9 };
const [dir = ''] = process.argv.slice(2);
const serving: Serving = await serve({ dir, passphrase, log: await openLog('info'), rates: { 'check-in': much, keys: much } });
answerPeer(
  () => usageNow(commits),
  () => serving.stop(),
);
