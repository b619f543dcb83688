import { createPrivateKey } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { verifyAudit } from '../../server/audit.ts';
import { openBackend } from '../../server/backend.ts';
import { openDatabase } from '../../server/database.ts';
import { copyIntoFile } from '../../server/database-copy.ts';
import { lastAuditEntry } from '../../server/store/upkeep.ts';
import { passphrase } from '../made-backend.ts';
import { freePort } from '../ports.ts';
import { chanceOf } from '../server-sweep/chance.ts';
import { halfRows } from '../server-sweep/half-rows.ts';
import { type Ledger, missingReceipts, missingWords, openToRead, wrongEnds } from '../server-sweep/receipts.ts';
import { smtpSink } from '../smtp-sink.ts';
import { type AtWork, makeAdmin, orderOnAndOn, queueMails } from './admin.ts';
import { newPace, startMacs, until } from './load.ts';
import { makePair, type Pair } from './pair.ts';
import { doneTwice, hearWebhooks, missingOrders, wrongHearing, wrongKeys } from './twice.ts';

/*
 * Two backends, as the processes that ship, on one PostgreSQL database behind a plain TCP balancer. One and then the other is killed
 * under the load of Macs and of an admin; whatever anybody was told is looked up afterwards.
 */

export interface TwoOptions {
  /** The address of an empty PostgreSQL database. */
  address: string;
  kills: number;
  /** Macs at one time. */
  clients: number;
  /** At most so many answers between two kills, and so many while one is away. */
  answers: number;
  mails: number;
  seed: number;
  say?: (progress: string) => void;
  /** Arguments of Node for the backends: of one with a planted fault. */
  nodeArguments?: readonly string[];
  /** Looks at the copy of the database as a file, before it is taken away. */
  look?: (file: string) => void;
}

export interface TwoSeen {
  kills: number;
  macs: number;
  receipts: number;
  words: number;
  /** Messages that broke off or were refused, and were sent again until the other backend answered. */
  cut: number;
  orders: number;
  /** Orders that the admin had to send more than once. */
  ordersAgain: number;
  /** Answers that were given while one of the two was away. */
  whileAway: number;
  /** Connections that each took. */
  taken: readonly number[];
  keysOpened: number;
  auditRows: number;
  webhookAgain: number;
  /** How often each letter came. */
  letters: readonly number[];
  /** Whatever was found that must not be. */
  wrong: string[];
}

/** At which word to a Mac a backend is killed, one after the other; none: between any two. */
const points: readonly (readonly string[])[] = [
  ['receipt'],
  ['debt', 'proof', 'ending', 'rotation', 'grant', 'enrolment'],
  [],
  ['receipt'],
  ['receipt'],
  ['rotation', 'grant'],
  [],
];

export async function runTwo(options: TwoOptions): Promise<TwoSeen> {
  const { kills, clients, answers, seed, say } = options;
  const chance = chanceOf(seed);
  const folder = mkdtempSync(join(tmpdir(), 'two-course-'));
  const secretFile = join(folder, 'secret');
  writeFileSync(secretFile, 's'.repeat(40), { mode: 0o600 });
  const hearing = await hearWebhooks();
  const smtpPort = await freePort();
  const sink = await smtpSink({ port: smtpPort, security: 'none', certificate: '', key: '' });
  const pace = newPace();
  const { ledger } = pace;
  const pair = await makePair({
    address: options.address,
    sites: true,
    settings: { webhooks: [{ name: 'all', url: hearing.url, secretFile, events: ['audit'], begins: 'at-the-first' }] },
    mayAsk: pace.mayAsk,
    people: { mail: { from: 'sparekey@example.org', smtp: { host: '127.0.0.1', port: smtpPort, security: 'none' } } },
  });
  for (const member of [pair.a, pair.b]) member.nodeArguments = options.nodeArguments ?? [];
  try {
    const token = await withBackend(pair, async (backend) => {
      await queueMails(backend, options.mails);
      return makeAdmin(backend);
    });
    // Both at once: each finds the same letters.
    await Promise.all([pair.start(pair.a), pair.start(pair.b)]);

    const { macs, done } = startMacs(pair, pace, clients, seed);
    const known = () => ledger.words.filter(({ kind }) => kind === 'enrolment').map(({ serial }) => serial);
    const working = orderOnAndOn(pair, token, { macs: known, chance: chanceOf(seed + 1), stopping: pace.isStopping });
    working.catch(() => undefined);
    // One that is cut off in the middle comes again a minute later, which is shown elsewhere.
    await until('all letters were sent', () => sink.mails.length >= options.mails);

    let whileAway = 0;
    for (let kill = 0; kill < kills; kill += 1) {
      const member = kill % 2 === 0 ? pair.a : pair.b;
      await pace.more(chance.between(Math.ceil(answers / 2), answers));
      const told = points[kill % points.length] ?? [];
      // As soon as a Mac knows it, and it alone.
      if (told.length > 0)
        await pace.when(
          told,
          () => pair.balancers[0]?.lastHeard === kill % 2,
          () => member.life?.kill('SIGKILL'),
        );
      else {
        pace.allow(clients);
        await sleep(chance.between(0, 20));
      }
      await pair.kill(member);
      const before = ledger.answers;
      await pace.more(chance.between(5, Math.ceil(answers / 2)));
      whileAway += ledger.answers - before;
      // Some while it starts.
      pace.allow(clients);
      await pair.start(member);
      say?.(`${kill + 1} of ${kills} kills, ${macs.length} Macs, ${ledger.receipts.length} receipts`);
    }
    await pace.more(answers);
    pace.stop();
    await done;
    const work = await working;
    const again = (await Promise.all(macs.map((mac) => mac.repeatAll()))).flat();
    const last = await withBackend(pair, async ({ store }) => (await lastAuditEntry(store.db))?.seq ?? 0);
    await until('the webhook has heard everything', () => hearing.lastSeq() >= last);
    await Promise.all([pair.stop(pair.a), pair.stop(pair.b)]);

    const found = await lookUpTwo(pair, options.address, join(folder, 'copy.sqlite'), ledger, work);
    options.look?.(join(folder, 'copy.sqlite'));
    const letters = Array.from({ length: options.mails }, (_, n) => sink.mails.filter(({ to }) => to.includes(`admin-${n}@example.org`)).length);
    return {
      kills,
      macs: macs.length,
      receipts: ledger.receipts.length,
      words: ledger.words.length,
      cut: ledger.cut,
      orders: work.orders.length,
      ordersAgain: work.orders.filter((order) => order.again).length,
      whileAway,
      taken: pair.balancers[0]?.taken ?? [],
      keysOpened: found.keysOpened,
      auditRows: found.auditRows,
      webhookAgain: hearing.again,
      letters,
      wrong: [...again, ...ledger.surprises, ...work.surprises, ...found.wrong, ...wrongHearing(hearing, last)],
    };
  } finally {
    pace.stop();
    await pair.close();
    await hearing.close();
    await sink.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function withBackend<T>(pair: Pair, work: (backend: Awaited<ReturnType<typeof openBackend>>) => Promise<T>): Promise<T> {
  const backend = await openBackend({ dir: pair.dir, passphrase: null });
  try {
    return await work(backend);
  } finally {
    await backend.close();
  }
}

export interface LookedUp {
  wrong: string[];
  auditRows: number;
  keysOpened: number;
}

/** What was promised, looked up in a copy of the database; nobody else has it open. */
export async function lookUpTwo(
  pair: Pair,
  address: string,
  copy: string,
  ledger: Ledger,
  work: Pick<AtWork, 'orders'>,
  open = openDatabase,
): Promise<LookedUp> {
  await (await openDatabase(copy)).close();
  const store = await open(address);
  const { ok, rows } = await verifyAudit(store);
  await copyIntoFile(store, copy);
  await store.close();
  const { paths, escrow } = pair.a;
  const pemText = readFileSync(join(paths.escrow, `${escrow.digest}.key.pem`));
  const database = openToRead(copy);
  try {
    const opened = await wrongKeys(database, ledger.receipts, { certificate: escrow.der, privateKey: createPrivateKey({ key: pemText, passphrase }) });
    const wrong = [
      ...missingReceipts(database, ledger.receipts),
      ...missingWords(database, ledger.words),
      ...wrongEnds(database, ledger.ends),
      ...missingOrders(database, work.orders),
      ...halfRows(database),
      ...doneTwice(database),
      ...opened.wrong,
      ...(ok ? [] : ['the audit is broken']),
    ];
    return { wrong, auditRows: rows, keysOpened: opened.opened };
  } finally {
    database.close();
  }
}
