import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { spreadOf } from '../server/under-load.ts';
import { machine } from './bench-rows.ts';
import type { Costs } from './herd-backend.ts';
import { type Course, type HerdResult, runHerd } from './herd-model.ts';
import { measure, type Real } from './herd-real.ts';

/*
 * `npm run herd`: what becomes of 100,000 Macs that come at once. What a request costs is measured first, in a few seconds and
 * against the real backend on loopback; some thousand real connections come to it at once, and what the model says of them stands
 * beside what became of them. Then the fleet goes through its courses in virtual time (herd-model.ts).
 */

const help = `npm run herd [-- --macs N] [--backends N] [--real N] [--by processor] [--costs FILE] [--only TEXT] [--json]

  --macs N       how large the fleet is (100000)
  --backends N   the most backends that share it (2)
  --real N       real connections that come at once, to see that the model is honest (1500; 0: none)
  --by processor what a request costs is its processor time: for a machine that is busy with other things
  --costs FILE   what --json said another time: nothing is measured, all costs are of then
  --only TEXT    courses with this text in their name
`;
const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    macs: { type: 'string', default: '100000' },
    backends: { type: 'string', default: '2' },
    real: { type: 'string', default: '1500' },
    by: { type: 'string', default: 'busy' },
    costs: { type: 'string' },
    only: { type: 'string', default: '' },
    help: { type: 'boolean', short: 'h', default: false },
  },
});
const numbers = { macs: Number(values.macs), backends: Number(values.backends), real: Number(values.real) };
if (values.help) process.stdout.write(help);
else if (!Object.values(numbers).every(Number.isSafeInteger) || numbers.macs < 1 || numbers.backends < 1 || numbers.real < 0) {
  process.stderr.write(`herd: error: --macs, --backends and --real are whole numbers\n${help}`);
  process.exitCode = 64;
} else await main(numbers);

function say(text: string): void {
  process.stderr.write(`herd: ${text}\n`);
}

async function main({ macs, backends, real: howManyReal }: typeof numbers): Promise<void> {
  const { costs, real } = values.costs === undefined ? await measured(howManyReal) : { costs: readCosts(values.costs), real: null };
  const own = spreadOf(60, macs);
  const all: [Course, number, number][] = [
    ['all at 09:00', 0, 1],
    ...range(backends).map((n): [Course, number, number] => ['all at 09:00', own, n]),
    ['after 4 hours without a backend', 0, 1],
    ...range(backends).map((n): [Course, number, number] => ['after 4 hours without a backend', own, n]),
    ...range(backends).map((n): [Course, number, number] => ['after a restore', own, n]),
    ...range(backends)
      .filter((n) => n > 1)
      .flatMap((n): [Course, number, number][] => [
        ['one of the backends is lost', 0, n],
        ['one of the backends is lost', own, n],
      ]),
  ];
  const rows: HerdResult[] = [];
  for (const [course, spreadSeconds, howMany] of all.filter(([course]) => course.includes(values.only))) {
    say(`${macs} Macs, ${course}, spread over ${spreadSeconds} s, ${howMany} backend${howMany === 1 ? '' : 's'}`);
    rows.push(await runHerd({ course, macs, costs, spreadSeconds, checkInMinutes: 15, backends: howMany }));
  }
  if (values.json) process.stdout.write(`${JSON.stringify({ macs, machine: machine(), costs, real, rows })}\n`);
  else
    process.stdout.write(
      [machine(), ...inWords(costs, real), `${macs} Macs; one Mac in 500 has a used key to report; virtual time`, ...table(rows), ''].join('\n'),
    );
}

function range(most: number): number[] {
  return Array.from({ length: most }, (_, at) => at + 1);
}

async function measured(howManyReal: number): Promise<{ costs: Costs; real: Real | null }> {
  const folder = mkdtempSync(join(tmpdir(), 'sparekey-herd-'));
  try {
    say('what a request costs is measured');
    return await measure(folder, howManyReal, values.by === 'processor' ? 'processor' : 'busy', say);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The last line of another run with `--json`. */
function readCosts(file: string): Costs {
  const last = readFileSync(file, 'utf8').trim().split('\n').at(-1) ?? '';
  const { costs } = JSON.parse(last) as { costs?: Partial<Costs> };
  const { handshake, checkIn, delivery } = costs ?? {};
  if (handshake === undefined || checkIn === undefined || delivery === undefined || !(Math.min(handshake, checkIn, delivery) > 0))
    throw new Error(`${file} has no \`costs\` with handshake, checkIn and delivery in milliseconds`);
  return { handshake, checkIn, delivery };
}

function inWords(costs: Costs, real: Real | null): string[] {
  const ms = (value: number): string => `${value.toFixed(2)} ms`;
  const { handshake, checkIn, delivery } = costs;
  const lines = [
    `a handshake ${ms(handshake)}, a check-in after it ${ms(checkIn)}, a delivery ${ms(delivery)} of one thread: ${Math.round(1000 / (handshake + checkIn))} check-ins/s`,
  ];
  if (!real) return lines;
  const told = ({ answered, half, most, last, shed, refused, later }: Real['really']): string =>
    `${answered} answered, half in ${half} s, 99 of 100 in ${most} s, all in ${last} s; ${shed} told to come later, ${refused} without an answer, ${later} left it to their next run`;
  return [
    ...lines,
    `${real.macs} real connections at once, by costs of ${ms(real.costs.handshake)} and ${ms(real.costs.checkIn)} beside them`,
    `  the model: ${told(real.predicted)}`,
    `  really:    ${told(real.really)}`,
  ];
}

function table(rows: readonly HerdResult[]): string[] {
  const time = (seconds: number | null): string => (seconds === null ? 'not in 1 h' : `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`);
  const titles = [
    'course',
    'backends',
    'spread',
    'busiest second',
    'longest line',
    'told to come later',
    'no answer',
    '99 of 100',
    'last Mac',
    'longest of a used key',
  ];
  const cells = rows.map((row) => [
    row.course,
    String(row.backends),
    `${row.spreadSeconds} s`,
    String(row.peakPerSecond),
    String(row.peakQueue),
    String(row.shed),
    String(row.refused),
    time(row.mostHeard),
    time(row.allHeard),
    time(row.longestUsed),
  ]);
  const widths = titles.map((title, at) => Math.max(title.length, ...cells.map((row) => (row[at] ?? '').length)));
  const line = (row: readonly string[]): string => row.map((cell, at) => (at === 0 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0))).join('  ');
  return [titles, ...cells].map(line);
}
