import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { newestSchema } from '../../server/database.ts';
import { openPostgres } from '../../server/database-postgres.ts';
import { lookUpTwo } from './course.ts';
import { newPace, startMacs } from './load.ts';
import { nextRelease } from './other-release.ts';
import { makePair } from './pair.ts';

/*
 * Two backends of today's release are replaced by the next one, whose database has another shape, one after the other and under load.
 */

export interface RollingOptions {
  address: string;
  clients: number;
  /** Between one step and the next. */
  answers: number;
  seed: number;
  /** How the old ones end: told to, or killed. */
  by: 'SIGTERM' | 'SIGKILL';
}

export interface RollingSeen {
  receipts: number;
  /** Answers while the old release and the new one served the database of the new one. */
  beside: number;
  /** What an old one says that is started on the new database. */
  refusal: { code: number | null; said: string };
  wrong: string[];
}

export async function rollOver({ address, clients, answers, seed, by }: RollingOptions): Promise<RollingSeen> {
  const folder = mkdtempSync(join(tmpdir(), 'rolling-'));
  const pace = newPace();
  const { ledger } = pace;
  const pair = await makePair({ address, sites: false, mayAsk: pace.mayAsk });
  const { a, b } = pair;
  const end = by === 'SIGKILL' ? pair.kill : pair.stop;
  try {
    await Promise.all([pair.start(a), pair.start(b)]);
    const { macs, done } = startMacs(pair, pace, clients, seed);
    await pace.more(answers);
    pace.allow(clients);
    await end(b);
    b.nodeArguments = nextRelease();
    // The old one serves while the new one brings the database to its shape, and afterwards beside it.
    pace.allow(answers);
    await pair.start(b);
    const before = ledger.answers;
    await pace.more(answers);
    const beside = ledger.answers - before;
    pace.allow(clients);
    await end(a);
    await pace.more(Math.ceil(answers / 2));
    const refused = pair.startOnly(a);
    await refused.ready;
    const { code, said } = await refused.ended;
    a.nodeArguments = nextRelease();
    await pair.start(a);
    await pace.more(answers);
    pace.stop();
    await done;
    const again = (await Promise.all(macs.map((mac) => mac.repeatAll()))).flat();
    await Promise.all([pair.stop(a), pair.stop(b)]);
    // A program that knows one migration more.
    const open = (where: string) => openPostgres(where, { migrations: Array.from({ length: newestSchema + 1 }, () => async () => undefined) });
    const found = await lookUpTwo(pair, address, join(folder, 'copy.sqlite'), ledger, { orders: [] }, open);
    return { receipts: ledger.receipts.length, beside, refusal: { code, said }, wrong: [...again, ...ledger.surprises, ...found.wrong] };
  } finally {
    pace.stop();
    await pair.close();
    rmSync(folder, { recursive: true, force: true });
  }
}
