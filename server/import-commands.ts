import { Problem } from '../protocol/problems.ts';
import type { Backend } from './backend.ts';
import { countFates, type Imported } from './brought/import.ts';
import { isTaken, type LineFate, needsPerson } from './brought/import-plan.ts';
import { sourceNames } from './brought/sources.ts';
import { type CommandResult, table, when } from './command.ts';
import type { Signs } from './formats/cells.ts';
import type { FileSource, Mapping } from './formats/columns.ts';
import { type Export, readExports } from './formats/export.ts';
import { readFiles } from './formats/files.ts';
import { refuseReport, writeReport } from './import-report.ts';
import { allRuns, fatesOfRuns, type ImportRun, linesOfRun } from './store/imports.ts';

type Stored = Pick<Backend, 'store' | 'custody'>;

export interface ImportAsked {
  paths: readonly string[];
  source: FileSource | null;
  mapping: Mapping;
  signs: Signs | null;
  dryRun: boolean;
  report: string | null;
  actor: string;
  reason: string;
  /** To the terminal, while it goes on. */
  say: (words: string) => void;
  /** Milliseconds between two of its words. */
  sayEvery?: number;
}

/** What each fate means, in the order in which people want to know. */
const fateWords: Record<string, string> = {
  offered: 'the Mac is asked whether the key opens it',
  waiting: 'kept until its Mac is here, or until another key of it was asked about',
  aside: 'kept beside a key of the Mac that is held and proved',
  known: 'is here already',
  repeated: 'the same key as in another line of the file',
  'no-key': 'the Mac is listed without a key',
  'other-secret': 'something else than a personal recovery key',
  empty: 'a line without a Mac',
  refused: 'not taken: something is wrong with the line',
  unsure: 'not taken: it can be read in two ways',
  foreign: 'not taken: sealed for somebody else',
};
/** Of these the first are shown; all are in the report, and in `imports RUN`. */
const mostShown = 40;

interface Done {
  what: Export;
  done: Imported;
}

export async function importCommand(backend: Stored, asked: ImportAsked): Promise<CommandResult> {
  const { dryRun, actor, reason, report, say } = asked;
  if (report !== null) refuseReport(report);
  const { files, notes } = readFiles(asked.paths);
  const runs: Done[] = [];
  // All of them are read before the first is stored.
  for (const what of readExports(files, asked)) {
    const progress = progressOf(what.name, say, asked.sayEvery ?? usualSayEvery);
    runs.push({ what, done: await backend.custody.importExport({ what, actor, reason, dryRun, progress }) });
  }
  if (report !== null)
    writeReport(
      report,
      runs.map(({ what, done }) => ({ name: what.name, lines: done.lines })),
    );
  const isBad = runs.some(({ done }) => done.lines.some((line) => needsPerson(line.fate)));
  const plain = asked.paths.filter((path) => path !== '-');
  return {
    json: { dryRun, runs: runs.map(jsonOf) },
    text: runs.map((run) => textOf(run, dryRun)).join('\n\n'),
    warnings: [
      ...notes,
      ...runs.flatMap(({ what }) => what.notes.map((note) => `${what.name}: ${note}`)),
      ...(dryRun ? ['nothing was written: this is what would become of each line'] : []),
      ...(!dryRun && plain.length > 0 ? [`delete what still holds keys in plain now, such as with: shred -u ${plain.join(' ')}`] : []),
    ],
    ...(isBad ? { exit: 77 } : {}),
  };
}

/** Milliseconds: as often as somebody looks up. */
const usualSayEvery = 2000;

function progressOf(name: string, say: (words: string) => void, sayEvery: number): (done: number, lines: number) => void {
  let last = performance.now();
  return (done, lines) => {
    if (performance.now() - last < sayEvery) return;
    last = performance.now();
    say(`${name}: ${done} of ${lines} lines`);
  };
}

const wordsOfSource = (source: string): string => (source in sourceNames ? sourceNames[source as keyof typeof sourceNames] : source);

function jsonOf({ what, done }: Done) {
  return {
    run: done.runId,
    was: done.was,
    name: what.name,
    source: what.source,
    columns: what.mapping,
    lines: done.lines.length,
    taken: done.lines.filter((line) => isTaken(line.fate)).length,
    fates: countFates(done.lines),
    look: done.lines.filter((line) => needsPerson(line.fate)).map(({ line, serial, fate, because }) => ({ line, serial, fate, because })),
  };
}

function textOf({ what, done }: Done, dryRun: boolean): string {
  const count = `${done.lines.length} line${done.lines.length === 1 ? '' : 's'}`;
  const of = `${what.name} (${wordsOfSource(what.source)})`;
  const first =
    done.was === 'before'
      ? `${of}: this very file was imported on ${when(done.startedAt)}, run ${done.runId}; nothing was done now`
      : dryRun
        ? `${of}: ${count}`
        : `${of}: ${count}, run ${done.runId}${done.was === 'resumed' ? ', gone on where it was cut' : ''}`;
  return [first, ...fateLines(countFates(done.lines)), ...lookLines(done.lines, done.runId)].join('\n');
}

const fateLines = (counts: Record<string, number>): string[] => {
  const order = [...Object.keys(fateWords), ...Object.keys(counts).filter((fate) => !(fate in fateWords))];
  const rows = order.filter((fate) => counts[fate]).map((fate) => [fate, String(counts[fate]), fateWords[fate] ?? '']);
  return rows.length === 0 ? [] : [table(['fate', 'lines', ''], rows)];
};

function lookLines(lines: readonly LineFate[], runId: string | null): string[] {
  const look = lines.filter((line) => needsPerson(line.fate));
  if (look.length === 0) return [];
  const shown = look.slice(0, mostShown).map((one) => [String(one.line), one.serial ?? '–', one.fate, one.because]);
  const more = look.length - shown.length;
  const where = runId === null ? '--report FILE' : `\`sparekey-server imports ${runId}\` or --report FILE`;
  return [table(['line', 'serial', 'fate', 'because'], shown), ...(more > 0 ? [`and ${more} more: ${where}`] : [])];
}

/** The runs, newest first; or one of them, line by line. */
export async function importsCommand(backend: Stored, run: string | null): Promise<CommandResult> {
  const { db } = backend.store;
  if (run !== null) return oneRun(backend, await findRun(backend, run));
  const fates = Map.groupBy(await fatesOfRuns(db), (row) => row.run_id);
  const runs = (await allRuns(db)).map((one) => {
    const counts = Object.fromEntries((fates.get(one.id) ?? []).map(({ fate, lines }) => [fate, lines]));
    return { ...runJson(one), fates: counts };
  });
  const rows = runs.map((one) => {
    const sum = (of: (fate: string) => boolean) => Object.entries(one.fates).reduce((all, [fate, lines]) => all + (of(fate) ? lines : 0), 0);
    return [one.run, one.startedAt, one.state, one.source, one.name, String(sum(() => true)), String(sum(isTaken)), String(sum(needsPerson)), one.by];
  });
  const heads = ['run', 'started', 'state', 'source', 'name', 'lines', 'taken', 'to look at', 'by'];
  return { json: { runs }, text: runs.length === 0 ? 'nothing was imported' : table(heads, rows) };
}

function runJson(run: ImportRun) {
  const state = run.withdrawn_at !== null ? 'withdrawn' : run.ended_at === null ? 'unfinished' : 'done';
  return {
    run: run.id,
    state,
    source: run.source,
    name: run.name,
    startedAt: when(run.started_at),
    endedAt: run.ended_at === null ? null : when(run.ended_at),
    withdrawnAt: run.withdrawn_at === null ? null : when(run.withdrawn_at),
    by: run.actor,
    reason: run.reason,
  };
}

async function oneRun(backend: Stored, run: ImportRun): Promise<CommandResult> {
  const lines = (await linesOfRun(backend.store.db, run.id)).map(({ line, serial, fate, because }) => ({ line, serial, fate, because }));
  const said = runJson(run);
  // Only what came from a file has a digest.
  const goesOn = run.digest === null ? 'its connector goes on with it by itself' : 'the same `import` goes on with it';
  const cut = said.state === 'unfinished' ? [`it was cut: ${goesOn}`] : [];
  return {
    json: { ...said, fates: countFates(lines), lines },
    text: [
      `${said.name} (${wordsOfSource(said.source)}), ${said.startedAt}, ${said.by}: ${said.reason}; ${said.state}`,
      ...(lines.length === 0
        ? []
        : [
            table(
              ['line', 'serial', 'fate', 'because'],
              lines.map((one) => [String(one.line), one.serial ?? '–', one.fate, one.because]),
            ),
          ]),
    ].join('\n'),
    warnings: cut,
  };
}

/** By its id, or by so much of its beginning as no other has. */
async function findRun(backend: Stored, text: string): Promise<ImportRun> {
  const found = text.length < 4 ? [] : (await allRuns(backend.store.db)).filter((run) => run.id.startsWith(text.toLowerCase()));
  const [run, ...more] = found;
  if (!run) throw new Problem('NOT_FOUND', `there is no import ${text}: look at \`sparekey-server imports\``);
  if (more.length > 0) throw new Problem('USAGE', `${found.length} imports begin with ${text}: give more of the id`);
  return run;
}

interface WithdrawAsked {
  run: string;
  actor: string;
  reason: string;
  /** Throws where a person does not confirm it. */
  confirm: (question: string) => Promise<void>;
}

/** Says first what would go. What an import brought after it was taken back, because it was under way then, goes the second time. */
export async function importWithdrawCommand(backend: Stored, { run: text, actor, reason, confirm }: WithdrawAsked): Promise<CommandResult> {
  const run = await findRun(backend, text);
  const of = { runId: run.id, actor, reason };
  const would = await backend.custody.withdrawRun({ ...of, dryRun: true });
  if (run.withdrawn_at !== null && would.withdrawn === 0)
    return { json: { run: run.id, withdrawn: 0, kept: 0 }, text: `it was withdrawn on ${when(run.withdrawn_at)}; nothing was changed` };
  await confirm(`${keys(would.withdrawn)} of ${run.name} go${would.kept > 0 ? `, and ${would.kept} stay` : ''}.`);
  const { withdrawn, kept } = await backend.custody.withdrawRun(of);
  const words = kept > 0 ? `; ${kept} stay: they are proved, held, were shown or asked about, or others brought them as well` : '';
  return { json: { run: run.id, withdrawn, kept }, text: `${keys(withdrawn)} of ${run.name} taken back${words}` };
}

const keys = (count: number): string => `${count} key${count === 1 ? '' : 's'}`;
