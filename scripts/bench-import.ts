import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { certificateDigest, recipientNames, sealerFor } from '../protocol/envelope.ts';
import { RecoveryKey } from '../protocol/recovery-key.ts';
import { makeEscrowCertificate } from '../server/certificates.ts';
import { openClock } from '../server/clock.ts';
import { createCustody } from '../server/custody.ts';
import { openDatabase } from '../server/database.ts';
import { type Export, readExports } from '../server/formats/export.ts';
import type { EscrowKeys, ServerSecrets } from '../server/parts.ts';
import { type BroughtRow, broughtById, broughtOfRun, insertBrought } from '../server/store/brought.ts';
import { type ImportRun, insertLines, insertRun, linesOfRun, runById } from '../server/store/imports.ts';
import { usualCustodySettings } from '../test/custody-settings.ts';

/*
 * What the import of a table of keys costs, as ratios to what no import could do without: reading the file, sealing as many
 * keys, and storing as many rows. Each case has a database of its own, the rounds are interleaved, the median counts.
 */

const help = `npm run bench:import [-- --lines N] [--rounds N] [--json]

  --lines N    Macs in the table, each with one key (default 10000)
  --rounds N   how often each case is run (default 5)
  --json       the last line is one JSON object
`;
const { values } = parseArgs({
  options: {
    lines: { type: 'string', default: '10000' },
    rounds: { type: 'string', default: '5' },
    json: { type: 'boolean' },
    help: { type: 'boolean', short: 'h' },
  },
});
if (values.help) {
  process.stdout.write(help);
  process.exit(0);
}
const [lines, rounds] = [Number(values.lines), Number(values.rounds)];
if (!Number.isInteger(lines) || lines < 10 || lines > 100_000 || !Number.isInteger(rounds) || rounds < 1 || rounds > 100) {
  process.stderr.write('bench:import: error: --lines must be a whole number from 10 to 100000, --rounds one from 1 to 100\n');
  process.exit(64);
}

const names = ['read', 'seal', 'store', 'import', 'again', 'dryRun'] as const;
type Name = (typeof names)[number];
const words: Record<Name, string> = {
  read: 'the file is read and understood',
  seal: 'as many keys are sealed',
  store: 'as many rows are stored',
  import: 'import',
  again: 'the same file once more',
  dryRun: 'import --dry-run',
};
/** As the import has them: an act as short as this keeps no Mac waiting. */
const inOneAct = 200;

const folder = mkdtempSync(join(tmpdir(), 'sparekey-bench-'));
process.once('exit', () => rmSync(folder, { recursive: true, force: true }));

const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const der = makeEscrowCertificate({ commonName: 'Escrow', privateKey, years: 20, at: new Date() });
const certificate = { digest: certificateDigest(der), der, names: recipientNames(der), modulusBytes: 256 };
// Nothing is opened: the table has its keys in plain.
const escrowKeys: EscrowKeys = { canOpen: false, certificates: [certificate], open: async () => 'no-opener' };
const secrets: ServerSecrets = { fingerprint: randomBytes(32), rowMac: randomBytes(32), nonce: randomBytes(32), ticket: randomBytes(32) };

const letters = 'ABCDEFGHJKLMNPQRTUVWXYZ23456789';
const newKey = (): string => [...randomBytes(24)].map((byte, at) => `${at > 0 && at % 4 === 0 ? '-' : ''}${letters[byte % letters.length]}`).join('');
const macs = Array.from({ length: lines }, (_, at) => ({ serial: `C02B${String(at).padStart(6, '0')}`, key: newKey() }));
const table = join(folder, 'keys.csv');
writeFileSync(table, `Serial number,Recovery key,Escrowed\n${macs.map(({ serial, key }) => `${serial},${key},2026-11-01T08:00:00Z\n`).join('')}`, {
  mode: 0o600,
});

function readTable(): Export {
  const [what] = readExports([{ name: 'keys.csv', bytes: readFileSync(table), inFolder: false }], { source: null, mapping: {}, signs: null });
  const taken = what?.entries.filter(({ key }) => key !== null).length;
  if (!what || taken !== lines) throw new Error(`of ${lines} lines ${taken} were read`);
  return what;
}

const seal = sealerFor(der);
const sealAll = (): void => {
  for (const { key } of macs) seal(RecoveryKey.parse(key) as RecoveryKey);
};

let databases = 0;
async function withDatabase<T>(use: (file: string, store: Awaited<ReturnType<typeof openDatabase>>) => Promise<T>): Promise<T> {
  const file = join(folder, `${++databases}.sqlite`);
  const store = await openDatabase(file);
  try {
    return await use(file, store);
  } finally {
    await store.close();
    for (const end of ['', '-wal', '-shm']) rmSync(`${file}${end}`, { force: true });
  }
}

async function time(act: () => unknown): Promise<number> {
  const began = process.hrtime.bigint();
  await act();
  return Number(process.hrtime.bigint() - began) / 1e6;
}

interface Rows {
  run: ImportRun;
  brought: BroughtRow[];
  lines: Awaited<ReturnType<typeof linesOfRun>>;
}
/** The very rows that an import made, written again: no reading, no sealing, no question, no audit. */
const storeRows = ({ run, brought, lines: fates }: Rows): Promise<number> =>
  withDatabase((_, store) =>
    time(async () => {
      await store.write((tx) => insertRun(tx, run));
      for (let from = 0; from < brought.length; from += inOneAct)
        await store.write(async (tx) => {
          for (const row of brought.slice(from, from + inOneAct)) await insertBrought(tx, row);
          await insertLines(tx, fates.slice(from, from + inOneAct));
        });
    }),
  );

async function importRound(): Promise<Record<'import' | 'again' | 'dryRun', number> & { bytes: number; rows: Rows }> {
  return withDatabase(async (file, store) => {
    const custody = createCustody({ store, clock: await openClock(store, Date.now), escrowKeys, secrets, settings: usualCustodySettings });
    const run = async (dryRun: boolean): Promise<string> => {
      // Without the pause between two acts, in which Macs are let in.
      const done = await custody.importExport({ what: readTable(), actor: 'bench', reason: 'bench', dryRun, pause: 0 });
      if (done.lines.length !== lines || done.lines.some(({ fate }) => fate !== 'waiting')) throw new Error('not every line was taken');
      return done.runId ?? '';
    };
    const dryRun = await time(() => run(true));
    let id = '';
    const first = await time(async () => {
      id = await run(false);
    });
    const again = await time(() => run(false));
    const made = await runById(store.db, id);
    if (!made) throw new Error('there is no such run');
    const brought: BroughtRow[] = [];
    for (const name of await broughtOfRun(store.db, id)) brought.push((await broughtById(store.db, name.id)) as BroughtRow);
    const rows = { run: made, brought, lines: await linesOfRun(store.db, id) };
    return { import: first, again, dryRun, rows, bytes: statSync(file).size + (statSync(`${file}-wal`, { throwIfNoEntry: false })?.size ?? 0) };
  });
}

const median = (numbers: readonly number[]): number => {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? (sorted[middle] ?? 0) : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
};

const taken: Record<Name, number[]> = { read: [], seal: [], store: [], import: [], again: [], dryRun: [] };
let bytes = 0;
// The first round warms up and is not counted.
for (let round = 0; round <= rounds; round++) {
  const note = (name: Name, milliseconds: number): void => void (round > 0 && taken[name].push(milliseconds));
  note('read', await time(readTable));
  note('seal', await time(sealAll));
  const imported = await importRound();
  note('store', await storeRows(imported.rows));
  for (const name of ['import', 'again', 'dryRun'] as const) note(name, imported[name]);
  bytes = imported.bytes;
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${round} of ${rounds} rounds`);
}
if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');

const result = Object.fromEntries(names.map((name) => [name, median(taken[name])])) as Record<Name, number>;
const least = result.read + result.seal + result.store;
process.stdout.write(`${lines} lines, ${rounds} rounds, ${cpus()[0]?.model ?? 'unknown processor'}, load ${loadavg()[0]?.toFixed(1)}\n\n`);
process.stdout.write(`${''.padEnd(34)}${'ms'.padStart(8)}${'to store'.padStart(10)}\n`);
for (const name of names)
  process.stdout.write(`${words[name].padEnd(34)}${result[name].toFixed(0).padStart(8)}${(result[name] / result.store).toFixed(2).padStart(10)}\n`);
process.stdout.write(
  `\nimport: ${((lines / result.import) * 1000).toFixed(0)} lines a second; ${(result.import / least).toFixed(2)} times reading, sealing and storing by themselves; ${(bytes / lines / 1024).toFixed(1)} KiB a line in the database\n`,
);
if (values.json)
  process.stdout.write(
    `${JSON.stringify({ lines, rounds, ...Object.fromEntries(names.map((name) => [`${name}Ms`, Math.round(result[name])])), importRatioToStore: Number((result.import / result.store).toFixed(3)), importRatioToLeast: Number((result.import / least).toFixed(3)), linesPerSecond: Math.round((lines / result.import) * 1000), bytesPerLine: Math.round(bytes / lines) })}\n`,
  );
