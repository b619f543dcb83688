import { parseArgs } from 'node:util';
import { endBackends, straceWorks } from '../test/server-sweep/backend-process.ts';
import { type Swept, sweepBackend } from '../test/server-sweep/sweep.ts';

/*
 * Kills the real backend, a process of its own, under the load of many simulated Macs on loopback, and looks up afterwards
 * every receipt and every other word that a Mac was ever given.
 */

const help = `npm run sweep:server [-- --kills N] [--seconds S] [--clients N] [--seed N] [--quick] [--no-syscalls] [--json]

  --kills N       how often the backend is killed (default 30; --quick: 4)
  --seconds S     goes on for at least so long (default 0)
  --clients N     Macs at one time (default 12; --quick: 6)
  --seed N        the same seed kills at the same moments and system calls (default: another one each time, which is printed)
  --quick         few kills, and nobody looks at keys meanwhile
  --no-syscalls   only at moments; otherwise half of the kills come at a chosen system call, where strace is installed
  --json          the last line is one JSON object

Ends with 0 only if nothing is missing or there by halves, the audit is whole and no Mac got an answer that it must not get.
`;

const { values } = parseArgs({
  options: {
    kills: { type: 'string' },
    seconds: { type: 'string', default: '0' },
    clients: { type: 'string' },
    seed: { type: 'string' },
    quick: { type: 'boolean', default: false },
    syscalls: { type: 'boolean', default: true },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
  allowNegative: true,
});
if (values.help) {
  process.stdout.write(help);
  process.exit(0);
}

function whole(name: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  process.stderr.write(`sweep:server: error: --${name} must be a whole number from ${least} to ${most}\n`);
  process.exit(64);
}

const kills = whole('kills', values.kills ?? (values.quick ? '4' : '30'), 1, 100_000);
const options = {
  kills,
  seconds: whole('seconds', values.seconds, 0, 86_400),
  clients: whole('clients', values.clients ?? (values.quick ? '6' : '12'), 1, 200),
  seed: whole('seed', values.seed ?? String(Date.now() % 1_000_000), 0, 1_000_000_000),
  answers: values.quick ? 60 : 150,
  operator: !values.quick,
};

/** Progress is for people, and over itself: never in a file. */
const onTerminal = process.stderr.isTTY;
const say = (progress: string): void => {
  if (onTerminal) process.stderr.write(`\r\u001b[K${progress}`);
};

function print(swept: Swept): void {
  const line = (name: string, value: string | number, more = ''): void => {
    process.stdout.write(`${name.padEnd(26)}${String(value).padStart(8)}  ${more}`.trimEnd());
    process.stdout.write('\n');
  };
  line('kills', swept.kills, `${Math.round(swept.seconds)} s, seed ${options.seed}`);
  for (const [how, count] of Object.entries(swept.killsBy).sort()) line(`  ${how}`, count);
  line('Macs', swept.macs);
  line('receipts given', swept.receipts, 'each looked up, and its envelope delivered once more');
  line('other words given', swept.words, 'enrolments, debts, proofs, rotations, endings, grants, disclosures');
  line('missing', swept.missing.length);
  line('half rows', swept.halfRows.length);
  line('audit', swept.auditRows, swept.auditBroken === 0 ? 'entries, the chain is whole' : 'entries, THE CHAIN IS BROKEN');
  line('answers not to be given', swept.surprises.length);
  for (const [name, found] of Object.entries({ missing: swept.missing, 'half rows': swept.halfRows, answers: swept.surprises }))
    for (const one of found.slice(0, 20)) process.stdout.write(`${name}: ${one}\n`);
}

for (const [signal, number] of [
  ['SIGINT', 2],
  ['SIGTERM', 15],
  ['SIGHUP', 1],
] as const)
  process.on(signal, () => {
    endBackends();
    process.exit(128 + number);
  });

const traced = values.syscalls && straceWorks();
if (values.syscalls && !traced) process.stdout.write('skipped: kills at system calls (strace is not installed here, or may not trace)\n');
const swept = await sweepBackend({ ...options, systemCalls: traced, say });
say('');
print(swept);
if (values.json) {
  const { receipts, words, macs, auditBroken } = swept;
  const counts = { receipts, missing: swept.missing.length, kills: swept.kills, halfRows: swept.halfRows.length, auditBroken };
  process.stdout.write(`${JSON.stringify({ ...counts, words, macs, surprises: swept.surprises.length, seed: options.seed })}\n`);
}
const good = swept.missing.length === 0 && swept.halfRows.length === 0 && swept.auditBroken === 0 && swept.surprises.length === 0 && swept.kills >= kills;
process.exitCode = good ? 0 : 1;
