import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { agentRows } from './bench-agent-rows.ts';
import { checkInRows } from './bench-check-ins.ts';
import { deliveryRows } from './bench-deliveries.ts';
import { growthRows } from './bench-growth.ts';
import { postgresRows } from './bench-postgres.ts';
import { type BenchOptions, machine, type Row, table, told, type Unmeasured } from './bench-rows.ts';
import { safetyRows } from './bench-safety.ts';

/*
 * How quick Sparekey is, as ratios to what could not be done without: each is measured beside its baseline in the same run, in
 * turns with it, on loopback; the median counts. docs/performance.md says what each row is.
 */

const parts: Record<string, (options: BenchOptions) => Promise<(Row | Unmeasured)[]>> = {
  'check-ins': checkInRows,
  deliveries: deliveryRows,
  growth: growthRows,
  agent: agentRows,
  'time-to-safety': safetyRows,
  postgres: postgresRows,
};

const names = Object.keys(parts);
const help = `npm run bench [-- --only NAME] [--quick] [--growth N] [--json]

  --only NAME   one part: ${names.join(', ')}; may be given more than once
  --quick       few rounds of small fleets: to see that it runs, not for figures
  --growth N    Macs of the largest fleet (default 100000; 1000000: half an hour of a busy machine, and 35 GB for temporary files)
  --fleets DIR  fleets stay in this folder, and are used again where they are there
  --json        the last line is one JSON object

Ends with 0 where all parts were measured, whether or not their aims are met; with 1 where one could not be measured on this
machine: it has a row that says why, and the others are measured all the same; with 64 where it was asked wrongly.
`;
const { values } = parseArgs({
  options: {
    only: { type: 'string', multiple: true },
    quick: { type: 'boolean', default: false },
    growth: { type: 'string' },
    fleets: { type: 'string' },
    json: { type: 'boolean' },
    help: { type: 'boolean', short: 'h' },
  },
});
if (values.help) {
  process.stdout.write(help);
  process.exit(0);
}
const growth = Number(values.growth ?? (values.quick ? 2000 : 100_000));
const wanted = values.only ?? names;
const unknown = wanted.filter((name) => !names.includes(name));
if (unknown.length > 0 || !Number.isInteger(growth) || growth < 2000 || growth > 1_000_000) {
  process.stderr.write(`bench: error: ${unknown.length > 0 ? `there is no ${unknown.join(', ')}` : '--growth must be a whole number from 2000 to 1000000'}\n`);
  process.exit(64);
}

const folder = mkdtempSync(join(tmpdir(), 'sparekey-bench-'));
process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => process.exit(1));
const say = (progress: string): void => void process.stderr.write(`bench: ${progress}\n`);
process.stdout.write(`${machine()}\n`);
const rows: (Row | Unmeasured)[] = [];
for (const name of wanted) {
  const inside = mkdtempSync(join(folder, `${name}-`));
  try {
    rows.push(...((await parts[name]?.({ quick: values.quick, growth, folder: inside, fleets: values.fleets, say })) ?? []));
  } catch (error) {
    const why = String(error instanceof Error ? error.message : error)
      .split(/\s*\n\s*/)
      .join(' ')
      .slice(0, 200);
    rows.push({ name, why });
    say(`${name} could not be measured: ${error instanceof Error ? error.stack : why}`);
  }
  rmSync(inside, { recursive: true, force: true });
}
if (rows.some((row) => 'why' in row)) process.exitCode = 1;
process.stdout.write(`\n${table(rows)}\nafterwards: ${machine()}\n`);
if (values.json) process.stdout.write(`${JSON.stringify({ rows: told(rows) })}\n`);
