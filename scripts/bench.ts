import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { agentRows } from './bench-agent-rows.ts';
import { checkInRows } from './bench-check-ins.ts';
import { deliveryRows } from './bench-deliveries.ts';
import { growthRows } from './bench-growth.ts';
import { type BenchOptions, machine, type Row, table, told } from './bench-rows.ts';
import { safetyRows } from './bench-safety.ts';

/*
 * How quick Sparekey is, as ratios to what could not be done without: each is measured beside its baseline in the same run, in
 * turns with it, on loopback; the median counts. docs/performance.md says what each row is.
 */

const parts: Record<string, (options: BenchOptions) => Promise<Row[]>> = {
  'check-ins': checkInRows,
  deliveries: deliveryRows,
  growth: growthRows,
  agent: agentRows,
  'time-to-safety': safetyRows,
};

const names = Object.keys(parts);
const help = `npm run bench [-- --only NAME] [--quick] [--growth N] [--json]

  --only NAME   one part: ${names.join(', ')}; may be given more than once
  --quick       few rounds of small fleets: to see that it runs, not for figures
  --growth N    Macs of the largest fleet (default 100000; 1000000 takes an hour and 20 GB)
  --json        the last line is one JSON object
`;
const { values } = parseArgs({
  options: {
    only: { type: 'string', multiple: true },
    quick: { type: 'boolean', default: false },
    growth: { type: 'string' },
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
const rows: Row[] = [];
for (const name of wanted) {
  const inside = mkdtempSync(join(folder, `${name}-`));
  rows.push(...((await parts[name]?.({ quick: values.quick, growth, folder: inside, say })) ?? []));
  rmSync(inside, { recursive: true, force: true });
}
process.stdout.write(`\n${table(rows)}\nafterwards: ${machine()}\n`);
if (values.json) process.stdout.write(`${JSON.stringify({ rows: told(rows) })}\n`);
