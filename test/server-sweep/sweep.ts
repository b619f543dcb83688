import { setTimeout as sleep } from 'node:timers/promises';
import { verifyAudit } from '../../server/audit.ts';
import { openDatabase } from '../../server/database.ts';
import { type AtSystemCall, endBackends, type Life, makeBackend, type SweptBackend, startBackend } from './backend-process.ts';
import { type Chance, chanceOf } from './chance.ts';
import { halfRows } from './half-rows.ts';
import { runOperator } from './operator.ts';
import { type Ledger, missingReceipts, missingWords, newLedger, openToRead, wrongEnds } from './receipts.ts';
import { SimulatedMac } from './simulated-mac.ts';

/*
 * The backend as the process that ships, killed again and again under the load of many Macs, started again each time. What
 * it ever said to a Mac is looked up at the end.
 */

export interface SweepOptions {
  kills: number;
  /** At least so long. */
  seconds: number;
  /** Macs at one time. */
  clients: number;
  /** At most so many answers in one life of the backend. */
  answers: number;
  seed: number;
  /** Whether kills come at system calls, too. */
  systemCalls: boolean;
  /** Whether a person looks at keys meanwhile, by commands of their own, some of which are killed. */
  operator: boolean;
  say?: (progress: string) => void;
  /** Looks at the database and at what was given, before they are taken away. */
  look?: (file: string, ledger: Ledger) => Promise<void>;
}

export interface Found {
  /** Receipts and other words that are not in the database as they were given, and Macs whose key is not the held one. */
  missing: string[];
  halfRows: string[];
  auditRows: number;
  auditBroken: number;
}

export interface Swept extends Found {
  receipts: number;
  words: number;
  macs: number;
  kills: number;
  killsBy: Record<string, number>;
  surprises: string[];
  seconds: number;
}

/** System calls at which something changes for good: a page of the database or its log, its way to the disk, an answer to a Mac. */
const systemCalls: readonly [AtSystemCall['name'], number][] = [
  ['pwrite64', 400],
  ['pwrite64', 40],
  ['fsync', 100],
  ['fsync', 12],
  ['write', 200],
  ['writev', 100],
  ['ftruncate', 3],
  ['unlink', 4],
];
/** Milliseconds; for a machine that does other things besides. */
const lifeAtMost = 60_000;
const startAtMost = 60_000;

/** Until that many answers more have been given, or the life has ended: true where it ended by itself. */
async function untilAnswered(life: Life, ledger: Ledger, more: number): Promise<boolean> {
  const enough = ledger.answers + more;
  const latest = performance.now() + lifeAtMost;
  let ended = false;
  const end = life.ended.then(() => {
    ended = true;
  });
  while (!ended && ledger.answers < enough && performance.now() < latest) await Promise.race([end, sleep(2)]);
  return ended;
}

/** Kills the backend once, and says at what. */
async function oneLife(backend: SweptBackend, ledger: Ledger, chance: Chance, options: SweepOptions): Promise<string> {
  const draw = chance.next();
  if (options.systemCalls && draw < 0.5) {
    const [name, most] = chance.among(systemCalls as [[string, number], ...[string, number][]]);
    const life = startBackend(backend, { name, nth: chance.between(1, most) });
    await life.ready;
    const hit = await untilAnswered(life, ledger, options.answers);
    if (!hit) life.kill('SIGKILL');
    await mustBeKilled(life);
    return hit ? `at ${name}` : 'at a moment';
  }
  const life = startBackend(backend);
  const duringStart = draw > 0.9;
  if (duringStart) await sleep(chance.between(50, 1200));
  else {
    if (!(await life.ready)) throw new Error(`the backend did not start again: ${(await life.ended).said}`);
    await untilAnswered(life, ledger, chance.between(1, options.answers));
    // Anywhere between two answers.
    await sleep(chance.between(0, 20));
  }
  life.kill('SIGKILL');
  await mustBeKilled(life);
  return duringStart ? 'during the start' : 'at a moment';
}

/** It died of the kill, and not of itself. */
async function mustBeKilled(life: Life): Promise<void> {
  const { by, code, said } = await life.ended;
  if (by !== 'SIGKILL') throw new Error(`the backend ended by itself (${by ?? code}): ${said}`);
}

async function serveOnce<T>(backend: SweptBackend, work: () => Promise<T>): Promise<T> {
  const life = startBackend(backend);
  const late = new AbortController();
  const ready = await Promise.race([life.ready, sleep(startAtMost, false, { signal: late.signal })]);
  late.abort();
  if (!ready) throw new Error(`the backend did not start again: ${(await life.ended).said}`);
  const done = await work();
  life.kill('SIGTERM');
  const { code, said } = await life.ended;
  if (code !== 0) throw new Error(`the backend did not stop in order (${code}): ${said}`);
  return done;
}

/** What was promised, looked up; and whether anything is there by halves. Nobody else has the database open. */
export async function lookUp(file: string, ledger: Ledger): Promise<Found> {
  const store = await openDatabase(file);
  const { ok, rows } = await verifyAudit(store);
  await store.close();
  const database = openToRead(file);
  try {
    const missing = [...missingReceipts(database, ledger.receipts), ...missingWords(database, ledger.words), ...wrongEnds(database, ledger.ends)];
    return { missing, halfRows: halfRows(database), auditRows: rows, auditBroken: ok ? 0 : 1 };
  } finally {
    database.close();
  }
}

export async function sweepBackend(options: SweepOptions): Promise<Swept> {
  const begun = performance.now();
  const seconds = () => (performance.now() - begun) / 1000;
  const chance = chanceOf(options.seed);
  const backend = await makeBackend();
  try {
    // Its first life ends in order: Node keeps what it has compiled only then.
    await serveOnce(backend, async () => {});
    const ledger = newLedger();
    const macs: SimulatedMac[] = [];
    let stopping = false;
    const slot = async (seed: number): Promise<void> => {
      const own = chanceOf(seed);
      while (!stopping) {
        const mac = new SimulatedMac(backend, ledger, own);
        macs.push(mac);
        await mac.live(() => stopping);
      }
    };
    const slots = Array.from({ length: options.clients }, (_, at) => slot(options.seed * 1000 + at));
    const operator = options.operator ? runOperator(backend, ledger, chanceOf(options.seed + 1), () => stopping) : Promise.resolve();
    const load = Promise.all([...slots, operator]);
    // A fault in a client shows at the end, and must not end the process before.
    load.catch(() => {});

    const killsBy: Record<string, number> = {};
    let kills = 0;
    while (kills < options.kills || seconds() < options.seconds) {
      const how = await oneLife(backend, ledger, chance, options);
      kills += 1;
      killsBy[how] = (killsBy[how] ?? 0) + 1;
      options.say?.(`${kills} of ${Math.max(options.kills, kills)} kills, ${macs.length} Macs, ${ledger.receipts.length} receipts`);
    }
    stopping = true;
    const again = await serveOnce(backend, async () => {
      await load;
      options.say?.(`looking up ${ledger.receipts.length} receipts`);
      return (await inGroups(macs, options.clients, (mac) => mac.repeatAll())).flat();
    });
    const found = await lookUp(backend.paths.database, ledger);
    await options.look?.(backend.paths.database, ledger);
    return {
      ...found,
      missing: [...again, ...found.missing],
      receipts: ledger.receipts.length,
      words: ledger.words.length,
      macs: macs.length,
      kills,
      killsBy,
      surprises: ledger.surprises,
      seconds: seconds(),
    };
  } finally {
    endBackends();
  }
}

/** So many at a time. */
async function inGroups<T, R>(all: readonly T[], size: number, work: (one: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  const rest = [...all];
  const turn = async (): Promise<void> => {
    for (let one = rest.shift(); one !== undefined; one = rest.shift()) results.push(await work(one));
  };
  await Promise.all(Array.from({ length: size }, turn));
  return results;
}
