import { parseArgs } from 'node:util';
import { addressAt, asOwner } from '../test/postgres-databases.ts';
import { startPostgres } from '../test/postgres-server.mjs';
import { endBackends } from '../test/server-sweep/backend-process.ts';
import { runTwo, type TwoSeen } from '../test/two-backends/course.ts';
import { type RollingSeen, rollOver } from '../test/two-backends/rolling.ts';

/*
 * Two real backends on one PostgreSQL database behind a plain TCP balancer, killed in turn under the load of Macs and of an admin; and
 * replaced by a release with another migration. Whatever anybody was told is looked up afterwards.
 */

const help = `npm run two-backends [-- --rounds N] [--kills N] [--seconds S] [--clients N] [--seed N] [--json]

  --rounds N    courses, each with a database of its own (default 3); every second one is followed by an upgrade under load
  --kills N     in each course (default 7)
  --seconds S   begins no further course after so long (default 600)
  --clients N   Macs at one time (default 8)
  --seed N      the same seed does the same in the same order, as far as processes let it (default: another one each time, which is printed)
  --json        the last line is one JSON object

Starts a PostgreSQL server of its own and removes it. Ends with 0 only if nothing that was acknowledged is missing, nothing was
done twice or by halves, the audit is whole, and each letter came once.
`;

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    kills: { type: 'string', default: '7' },
    seconds: { type: 'string', default: '600' },
    clients: { type: 'string', default: '8' },
    seed: { type: 'string' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
});
if (values.help) {
  process.stdout.write(help);
  process.exit(0);
}

function whole(name: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  process.stderr.write(`two-backends: error: --${name} must be a whole number from ${least} to ${most}\n`);
  process.exit(64);
}

const rounds = whole('rounds', values.rounds, 1, 10_000);
const kills = whole('kills', values.kills, 1, 10_000);
const seconds = whole('seconds', values.seconds, 1, 86_400);
const clients = whole('clients', values.clients, 1, 100);
const seed = whole('seed', values.seed ?? String(Date.now() % 1_000_000), 0, 1_000_000_000);

const onTerminal = process.stderr.isTTY;
const say = (progress: string): void => {
  if (onTerminal) process.stderr.write(`\r\u001b[K${progress}`);
};

const postgres = startPostgres();
process.on('exit', () => postgres.end());
for (const [signal, number] of [
  ['SIGINT', 2],
  ['SIGTERM', 15],
  ['SIGHUP', 1],
] as const)
  process.on(signal, () => {
    endBackends();
    process.exit(128 + number);
  });

/** An empty database, gone when the work is done. */
async function withDatabase<T>(name: string, work: (address: string) => Promise<T>): Promise<T> {
  await asOwner(postgres.socket, (client) => client.query(`create database ${name}`));
  try {
    return await work(addressAt(postgres.socket, name));
  } finally {
    await asOwner(postgres.socket, (client) => client.query(`drop database ${name} with (force)`));
  }
}

const begun = performance.now();
const courses: TwoSeen[] = [];
const upgrades: RollingSeen[] = [];
for (let round = 0; round < rounds && (round === 0 || performance.now() - begun < seconds * 1000); round += 1) {
  const own = seed + round;
  const told = (progress: string): void => say(`course ${round + 1} of ${rounds}: ${progress}`);
  courses.push(await withDatabase(`course_${round}`, (address) => runTwo({ address, kills, clients, answers: 120, mails: 12, seed: own, say: told })));
  if (round % 2 === 1) continue;
  say(`course ${round + 1} of ${rounds}: an upgrade`);
  const by = round % 4 === 0 ? 'SIGKILL' : 'SIGTERM';
  upgrades.push(await withDatabase(`upgrade_${round}`, (address) => rollOver({ address, clients, answers: 60, seed: own, by })));
}
say('');

const sum = (of: (seen: TwoSeen) => number): number => courses.reduce((total, seen) => total + of(seen), 0);
const wrong = [
  ...courses.flatMap((seen) => seen.wrong),
  ...courses.flatMap(({ letters }) => letters.flatMap((count, at) => (count === 1 ? [] : [`letter ${at} came ${count} times`]))),
  ...upgrades.flatMap((seen) => seen.wrong),
  ...upgrades.flatMap(({ refusal }) => (refusal.said.includes('DATABASE_TOO_NEW') ? [] : [`an old backend on the new database ended with ${refusal.code}`])),
];
const counts = {
  courses: courses.length,
  kills: sum((seen) => seen.kills),
  upgrades: upgrades.length,
  macs: sum((seen) => seen.macs),
  receipts: sum((seen) => seen.receipts) + upgrades.reduce((total, seen) => total + seen.receipts, 0),
  words: sum((seen) => seen.words),
  orders: sum((seen) => seen.orders),
  cut: sum((seen) => seen.cut),
  whileAway: sum((seen) => seen.whileAway),
  keysOpened: sum((seen) => seen.keysOpened),
  wrong: wrong.length,
};
const line = (name: string, value: number, more = ''): void =>
  void process.stdout.write(`${`${name.padEnd(22)}${String(value).padStart(8)}  ${more}`.trimEnd()}\n`);
line('courses', counts.courses, `${Math.round((performance.now() - begun) / 1000)} s, seed ${seed}`);
line('kills', counts.kills, `${counts.whileAway} answers while one was away, ${counts.cut} messages sent again`);
line('upgrades', counts.upgrades, 'under load, by a release with another migration');
line('Macs', counts.macs);
line('receipts given', counts.receipts, `each looked up and delivered once more; ${counts.keysOpened} keys opened`);
line('other words given', counts.words, 'enrolments, debts, proofs, rotations, endings, grants');
line('orders of an admin', counts.orders);
line('wrong', counts.wrong);
for (const one of wrong.slice(0, 40)) process.stdout.write(`wrong: ${one}\n`);
if (values.json) process.stdout.write(`${JSON.stringify({ ...counts, seed })}\n`);
process.exitCode = wrong.length === 0 ? 0 : 1;
