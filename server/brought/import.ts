import { createHash, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Problem } from '../../protocol/problems.ts';
import { audit, canonicalJson } from '../audit.ts';
import { type CustodyParts, day } from '../custody-parts.ts';
import type { ExportEntry } from '../formats/entry.ts';
import type { Export } from '../formats/export.ts';
import type { Tx } from '../parts.ts';
import { doneAmong, endRun, type ImportRun, insertLines, insertRun, linesOfRun, runById, runOf } from '../store/imports.ts';
import { bring } from './bring.ts';
import type { Bringing } from './bringing.ts';
import { lookAtEnvelope } from './envelopes.ts';
import { batchesOf, digestOf, fateWithout, type LineFate, planOf } from './import-plan.ts';

export interface Importing {
  what: Export;
  actor: string;
  reason: string;
  /** Does all of it, and takes back each act: what it says is what would be. */
  dryRun: boolean;
  /** Called after each act with how many lines are done. */
  progress?: (done: number, lines: number) => void;
  /** Lines in one act, and the pause after it in milliseconds. */
  batchLines?: number;
  pause?: number;
}

export interface Imported {
  /** Null in a dry run. */
  runId: string | null;
  /** `before`: this very file was imported before, and nothing was done now. */
  was: 'new' | 'resumed' | 'before';
  startedAt: number | null;
  /** Every line, in the order of the file. */
  lines: LineFate[];
}

/** An act as short as this keeps no Mac waiting. */
const usualBatch = 200;
/** Milliseconds between two acts: whoever waits for the database is let in. */
const pauseMilliseconds = 30;

/** Ends an act of a dry run: whatever it did is taken back. */
class TakenBack extends Error {
  readonly fates: LineFate[];
  constructor(fates: LineFate[]) {
    super('a dry run');
    this.fates = fates;
  }
}

/**
 * One run: its lines and what became of their keys are stored in the same acts, so that wherever it is cut, it goes on with
 * the first line that has no fate. The same bytes read in the same way are the same run.
 */
export async function importExport(parts: CustodyParts, importing: Importing): Promise<Imported> {
  const { what, dryRun, progress } = importing;
  if (!dryRun && importing.reason.trim() === '') throw new Problem('REASON_MISSING');
  const plan = planOf(what, (entry) => printOf(parts, entry));
  const begun = dryRun ? null : await begin(parts, importing);
  if (begun?.run.ended_at != null)
    return { runId: begun.run.id, was: 'before', startedAt: begun.run.started_at, lines: await storedLines(parts, begun.run.id) };
  const runId = begun?.run.id ?? null;
  const all = what.entries.length;
  const lines: LineFate[] = [...plan.settled];
  if (runId !== null) await storeSettled(parts, runId, plan.settled);
  for (const batch of batchesOf(plan.keys, importing.batchLines ?? usualBatch)) {
    lines.push(...(await takeBatch(parts, importing, runId, batch)));
    progress?.(lines.length, all);
    await sleep(importing.pause ?? pauseMilliseconds);
  }
  if (runId === null) return { runId, was: 'new', startedAt: null, lines: lines.toSorted((a, b) => a.line - b.line) };
  await end(parts, importing, runId);
  return { runId, was: begun?.isNew ? 'new' : 'resumed', startedAt: begun?.run.started_at ?? null, lines: await storedLines(parts, runId) };
}

/** Says “the same key” without saying which. */
const printOf = (parts: CustodyParts, { key, sealed }: ExportEntry): string =>
  key?.fingerprint(parts.secrets.fingerprint) ??
  createHash('sha256')
    .update(sealed ?? '')
    .digest('hex');

const storedLines = async (parts: CustodyParts, runId: string): Promise<LineFate[]> =>
  (await linesOfRun(parts.store.db, runId)).map(({ line, serial, fate, because, key_id: keyId }) => ({ line, serial, fate, because, keyId }));

function begin(parts: CustodyParts, { what, actor, reason }: Importing): Promise<{ run: ImportRun; isNew: boolean }> {
  const digest = digestOf(what);
  const mapping = canonicalJson(what.mapping);
  return parts.act(async (tx, at) => {
    const before = await runOf(tx, { digest, source: what.source, mapping });
    if (before) return { run: before, isNew: false };
    const { source, name } = what;
    const run = { id: randomUUID(), source, name: name.slice(0, 200), digest, mapping, actor, reason, started_at: at, ended_at: null, withdrawn_at: null };
    await insertRun(tx, run);
    await audit(tx, { at, actor, act: 'import.begun', details: { runId: run.id, source, name: run.name, digest, lines: what.entries.length, reason } });
    return { run, isNew: true };
  });
}

const end = (parts: CustodyParts, { actor }: Importing, runId: string): Promise<void> =>
  parts.act(async (tx, at) => {
    await refuseWithdrawn(tx, runId);
    const counts = countFates(await linesOfRun(tx, runId));
    await endRun(tx, runId, at);
    await audit(tx, { at, actor, act: 'import.ended', details: { runId, ...counts } });
  });

export function countFates(lines: readonly { fate: string }[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { fate } of lines) counts[fate] = (counts[fate] ?? 0) + 1;
  return counts;
}

/** Asked in the very act that would go on: somebody may take the run back meanwhile. */
async function refuseWithdrawn(tx: Tx, runId: string): Promise<void> {
  if ((await runById(tx, runId))?.withdrawn_at != null) throw new Problem('IMPORT_WITHDRAWN', `import ${runId}`);
}

async function storeSettled(parts: CustodyParts, runId: string, settled: readonly LineFate[]): Promise<void> {
  for (let from = 0; from < settled.length; from += 1000)
    await parts.act(async (tx) => {
      await refuseWithdrawn(tx, runId);
      const some = settled.slice(from, from + 1000);
      await store(tx, runId, some, await doneAmong(tx, runId, linesIn(some)));
    });
}

const linesIn = (some: readonly { line: number }[]): number[] => some.map(({ line }) => line);

const store = (tx: Tx, runId: string, fates: readonly LineFate[], done: ReadonlySet<number>): Promise<void> =>
  insertLines(
    tx,
    fates
      .filter(({ line }) => !done.has(line))
      .map(({ line, serial, fate, because, keyId }) => ({ run_id: runId, line, serial, fate, because, key_id: keyId })),
  );

/** Ready to be brought, or why it is not. */
type Ready = { entry: ExportEntry; bringing: Bringing } | LineFate;

async function takeBatch(parts: CustodyParts, importing: Importing, runId: string | null, batch: readonly ExportEntry[]): Promise<LineFate[]> {
  const before = runId === null ? new Set<number>() : await doneAmong(parts.store.db, runId, linesIn(batch));
  const left = batch.filter(({ line }) => !before.has(line));
  // Opening takes time: it is done before the act, which keeps everybody else waiting.
  const ready: Ready[] = [];
  for (const entry of left) ready.push(await prepare(parts, importing, runId, entry));
  if (ready.length === 0) return [];
  const act = (tx: Tx, at: number) => takeReady(parts, tx, at, runId, ready);
  if (!importing.dryRun) return parts.act(act);
  try {
    return await parts.act(async (tx, at) => {
      throw new TakenBack(await act(tx, at));
    });
  } catch (error) {
    if (error instanceof TakenBack) return error.fates;
    throw error;
  }
}

async function takeReady(parts: CustodyParts, tx: Tx, at: number, runId: string | null, ready: readonly Ready[]): Promise<LineFate[]> {
  if (runId !== null) await refuseWithdrawn(tx, runId);
  // Another process may have gone on with the same run meanwhile.
  const done =
    runId === null
      ? new Set<number>()
      : await doneAmong(
          tx,
          runId,
          ready.map((one) => ('entry' in one ? one.entry.line : one.line)),
        );
  const fates: LineFate[] = [];
  for (const one of ready) {
    if (!('entry' in one)) {
      fates.push(one);
      continue;
    }
    const { entry, bringing } = one;
    if (done.has(entry.line)) continue;
    // A date that is still to come would make it the newest for ever.
    const isTooNew = bringing.madeAt !== null && bringing.madeAt > at + day;
    const brought = await bring(parts, tx, at, isTooNew ? { ...bringing, madeAt: null } : bringing);
    const notes = [...(entry.note === null ? [] : [entry.note]), ...(isTooNew ? ['its date is still to come and does not count'] : [])];
    fates.push({ line: entry.line, serial: entry.serial, fate: brought.fate, because: [brought.because, ...notes].join('; '), keyId: brought.keyId });
  }
  if (runId !== null) await store(tx, runId, fates, done);
  return fates;
}

async function prepare(parts: CustodyParts, { what, actor }: Importing, runId: string | null, entry: ExportEntry): Promise<Ready> {
  const { line, serial, key, sealed, madeAt } = entry;
  if (serial === null) return fateWithout(line, null, 'refused', 'the serial number is missing');
  const named = { serial, source: what.source, trust: 'admin' as const, runId, madeAt, actor };
  if (key) return { entry, bringing: { ...named, key } };
  if (!sealed) return fateWithout(line, serial, 'no-key', 'no key is there for this Mac');
  const looked = lookAtEnvelope(sealed, parts.certificates);
  if (looked.kind === 'foreign')
    return fateWithout(
      line,
      serial,
      'foreign',
      `its key is sealed to another certificate (${looked.recipient ?? 'unknown'}): only who has that private key can open it`,
    );
  if (looked.kind === 'unreadable') return fateWithout(line, serial, 'refused', looked.because);
  const opened = parts.canOpen ? await parts.openBytes(sealed) : 'no-opener';
  if (opened === 'unreadable') return fateWithout(line, serial, 'refused', 'its envelope does not open to a recovery key');
  const { recipient, blocks } = looked;
  return { entry, bringing: { ...named, key: opened === 'no-opener' ? null : opened, envelope: { bytes: sealed, recipient, blocks } } };
}
