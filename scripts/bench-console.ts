import { mkdtempSync, rmSync } from 'node:fs';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type CaseName, caseNames, seededBackend, timeCases } from './bench-fleet.ts';

/*
 * What the console costs with a large fleet against a small one: the very operations of its pages, on two seeded databases, in
 * turn. `fleet` is the worse of the plain list and the filtered one.
 */

const help = `npm run bench:console [-- --devices N] [--small N] [--rounds N] [--json]

  --devices N   Macs of the large fleet (default 100000)
  --small N     Macs of the small one (default 1000)
  --rounds N    how often each case is run with each (default 41)
  --json        the last line is one JSON object
`;
const { values } = parseArgs({
  options: {
    devices: { type: 'string', default: '100000' },
    small: { type: 'string', default: '1000' },
    rounds: { type: 'string', default: '41' },
    json: { type: 'boolean' },
    help: { type: 'boolean', short: 'h' },
  },
});
if (values.help) {
  process.stdout.write(help);
  process.exit(0);
}
const [devices, few, rounds] = [Number(values.devices), Number(values.small), Number(values.rounds)];
if (![devices, few].every((n) => Number.isInteger(n) && n >= 10 && n <= 1_000_000) || !Number.isInteger(rounds) || rounds < 1 || rounds > 1000) {
  process.stderr.write('bench:console: error: --devices and --small must be whole numbers from 10 to 1000000, --rounds one from 1 to 1000\n');
  process.exit(64);
}

const words: Record<CaseName, string> = {
  list: 'the list, as it opens',
  filtered: 'the list, filtered and sorted',
  search: 'a search for two words',
  deep: 'two pages of 200, by custody',
  first: 'the first page',
  bulkPreview: 'how many a bulk act would be for',
};

const folder = mkdtempSync(join(tmpdir(), 'sparekey-bench-'));
process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
let last = 0;
const say =
  (all: number) =>
  (done: number, what: string): void => {
    if (performance.now() - last < 2000) return;
    last = performance.now();
    process.stderr.write(`bench:console: ${done} of ${all} ${what}\n`);
  };
const small = await seededBackend(join(folder, 'small.sqlite'), few, say(few));
const large = await seededBackend(join(folder, 'large.sqlite'), devices, say(devices));
const times = await timeCases(small, large, rounds);
await Promise.all([small.store.close(), large.store.close()]);

const ratio = (name: CaseName): number => Math.round((times[name].large / times[name].small) * 100) / 100;
process.stdout.write(`${few} and ${devices} Macs, medians of ${rounds} rounds, ${cpus().length} cores, load ${loadavg()[0]?.toFixed(1)}\n`);
for (const name of caseNames)
  process.stdout.write(
    `${words[name].padEnd(34)} ${times[name].small.toFixed(2).padStart(8)} ms ${times[name].large.toFixed(2).padStart(8)} ms  ×${ratio(name).toFixed(2)}\n`,
  );
const ratios = { fleet: Math.max(ratio('list'), ratio('filtered')), first: ratio('first'), bulkPreview: ratio('bulkPreview') };
if (values.json) process.stdout.write(`${JSON.stringify({ devices, small: few, rounds, times, ratios })}\n`);
