import { randomUUID } from 'node:crypto';
import { Problem } from '../../protocol/problems.ts';
import { afterAct } from '../after-act.ts';
import { audit } from '../audit.ts';
import { bring } from '../brought/bring.ts';
import { closeTasksByNewKey } from '../brought/tasks.ts';
import { type CustodyParts, day, hour, minute } from '../custody-parts.ts';
import { longerEachTime } from '../outbound.ts';
import type { Tx } from '../parts.ts';
import { broughtById, broughtFor } from '../store/brought.ts';
import { type ConnectorMac, macsOfConnector, noteUseless, updateConnectorMac } from '../store/connectors.ts';
import { endRun, insertLines, insertRun, runById } from '../store/imports.ts';
import { openTaskFor } from '../store/tasks.ts';
import { listMacs } from './list.ts';
import { needOf, situationOf } from './need.ts';
import { End, type KeyRead, type KeySource, type Listed, Pause } from './source.ts';
import { claim, type Figures, type Run, save } from './state.ts';
import { settleStill } from './still.ts';

export interface RunWish {
  actor: string;
  reason: string;
  everyHours: number;
  /** True once the backend stops: then a call that failed says nothing. */
  isStopping?: () => boolean;
  /** From 0 to 1: those who failed together shall not come back together. */
  chance?: () => number;
  /** How far it is, for whoever waits for its end. */
  say?: (words: string) => void;
}

export interface RunEnd {
  as: 'done' | 'paused' | 'ended' | 'cut';
  figures: Figures;
  problem: string | null;
  nextAt: number;
}

/** Keys in one act. Whoever is killed in between has looked at as many in vain. */
const batchKeys = 10;
/** One after another: then it is not one Mac that something is wrong with. */
const mostFailed = 3;
const mostForbidden = 10;
const mostMisshapen = 5;
const firstBackOff = 5 * minute;

/**
 * One run: the list, then the keys that are needed, the likeliest to be of use first. Wherever it is cut it goes on with the
 * Macs that were not read since it began.
 */
export async function runConnector(parts: CustodyParts, source: KeySource, wish: RunWish): Promise<RunEnd> {
  const run = await claim(parts, source.name);
  try {
    const listed = await listMacs(parts, source, run, wish.say);
    await readNeeded(parts, source, run, wish, listed);
    return await endWith(parts, run, wish, { as: 'done', problem: null, wait: null });
  } catch (error) {
    if (wish.isStopping?.() === true) return endWith(parts, run, wish, { as: 'cut', problem: null, wait: 0 });
    if (error instanceof End) return endWith(parts, run, wish, { as: 'ended', problem: error.message, wait: null });
    if (error instanceof Pause) return endWith(parts, run, wish, { as: 'paused', problem: error.message, wait: error.seconds });
    if (error instanceof Problem && error.code === 'NEIGHBOUR_FAILED')
      return endWith(parts, run, wish, { as: 'paused', problem: error.detail ?? error.code, wait: null });
    if (error instanceof Problem && error.code === 'CONNECTOR_BUSY') throw error;
    await endWith(parts, run, wish, { as: 'paused', problem: error instanceof Problem ? error.message : 'a bug: look at the log', wait: null });
    throw error;
  }
}

interface Ending {
  as: RunEnd['as'];
  problem: string | null;
  /** Seconds; null: at its usual time, or later each time that it failed. */
  wait: number | null;
}

async function endWith(parts: CustodyParts, run: Run, { actor, everyHours, chance = Math.random }: RunWish, { as, problem, wait }: Ending): Promise<RunEnd> {
  const isOver = as === 'done' || as === 'ended';
  return parts.act(async (tx, at) => {
    const { figures, name, startedAt } = run;
    const { failures } = run.cursor;
    // Counted from where the run stands, however often the act is done.
    const cursor = { ...run.cursor, failures: as === 'paused' && wait === null ? failures + 1 : as === 'done' ? 0 : failures };
    const backOff = longerEachTime(firstBackOff, cursor.failures - 1, everyHours * hour, chance);
    const nextAt = isOver ? Math.max(startedAt + everyHours * hour, at + minute) : at + (wait === null ? backOff : wait * 1000);
    await save(
      tx,
      at,
      { ...run, cursor },
      { ended_at: isOver ? at : null, next_at: Math.round(nextAt), problem, ...(as === 'done' ? { good_since: at } : {}) },
      true,
    );
    if (as === 'done') await settleStill(tx, at, name);
    if (isOver && cursor.runId !== null) await endRun(tx, cursor.runId, at);
    const { twice, unusableNamed: _, ...counts } = figures;
    const details = { connector: name, runId: cursor.runId, ...counts, twice: twice.length };
    if (isOver && figures.read > 0) await audit(tx, { at, actor, act: 'connector.ran', details });
    afterAct(tx, () => {
      run.cursor = cursor;
      if (problem === null) parts.log.info('connector-ran', { as, ...details });
      else parts.log.warn('connector-stopped', { as, because: problem, ...details });
    });
    return { as, figures, problem, nextAt: Math.round(nextAt) };
  });
}

interface Wanted {
  row: ConnectorMac;
  order: number;
}

async function readNeeded(parts: CustodyParts, source: KeySource, run: Run, wish: RunWish, macs: readonly Listed[]): Promise<void> {
  const wanted = await whatIsNeeded(parts, source, run, macs);
  let batch: { row: ConnectorMac; read: KeyRead }[] = [];
  let done = 0;
  const inARow = { failed: 0, forbidden: 0, misshapen: 0 };
  const flush = async (): Promise<void> => {
    if (batch.length > 0) await store(parts, run, wish, batch);
    done += batch.length;
    if (batch.length > 0) wish.say?.(`keys read: ${done} of ${wanted.length}`);
    batch = [];
  };
  try {
    for (const { row } of wanted) {
      let read: KeyRead;
      try {
        read = await source.key(row.device_id);
      } catch (error) {
        if (!(error instanceof Problem) || wish.isStopping?.() === true) throw error;
        read = { answer: 'failed', because: error.detail ?? error.code };
      }
      batch.push({ row, read });
      inARow.failed = read.answer === 'failed' ? inARow.failed + 1 : 0;
      inARow.forbidden = read.answer === 'forbidden' ? inARow.forbidden + 1 : 0;
      inARow.misshapen = read.answer !== 'key' && read.shape === true ? inARow.misshapen + 1 : 0;
      // Whether it is they or the product is known after the next: what is stored now is asked about no more in this run.
      if (batch.length >= batchKeys && inARow.failed === 0) await flush();
      // They are asked about again when it goes on: the product was at fault, not they.
      if (inARow.failed >= mostFailed && read.answer === 'failed') {
        batch = batch.filter((one) => one.read.answer !== 'failed');
        throw new Problem('NEIGHBOUR_FAILED', read.because);
      }
      if (inARow.forbidden >= mostForbidden) throw new End(`${inARow.forbidden} keys one after another were refused (403): the right to read them is missing`);
      if (inARow.misshapen >= mostMisshapen && read.answer !== 'key') throw new End(`${read.because}; so were ${inARow.misshapen} replies one after another`);
    }
  } finally {
    // What was looked at is stored whatever came after it.
    await flush();
  }
}

async function whatIsNeeded(parts: CustodyParts, source: KeySource, run: Run, macs: readonly Listed[]): Promise<Wanted[]> {
  const { db } = parts.store;
  const listed = new Map(macs.map((mac) => [mac.id, mac]));
  const now = parts.clock.now();
  const wanted: Wanted[] = [];
  const useless: { id: string; useless: string }[] = [];
  const { figures } = run;
  Object.assign(figures, { proved: 0, ours: 0, notDue: 0, useless: 0 });
  for (const row of await macsOfConnector(db, source.name)) {
    const mac = listed.get(row.device_id);
    if (!mac || (row.read_at !== null && row.read_at >= run.startedAt)) continue;
    const need = needOf(await situationOf(db, row), now);
    if (!need.read) figures[need.because === 'not-due' ? 'notDue' : need.because] += 1;
    else if (mac.useless !== null) useless.push({ id: row.device_id, useless: mac.useless });
    else wanted.push({ row, order: need.order });
  }
  figures.useless = useless.length;
  await parts.act((tx) => noteUseless(tx, source.name, useless));
  return wanted.toSorted((a, b) => a.order - b.order || (a.row.read_at ?? 0) - (b.row.read_at ?? 0));
}

/** What was read, what became of it, and where the run stands: one act. */
const store = (parts: CustodyParts, run: Run, wish: RunWish, batch: readonly { row: ConnectorMac; read: KeyRead }[]): Promise<void> =>
  parts.act(async (tx, at) => {
    const { runId: before } = run.cursor;
    // Taken back while it was under way: what is read from now on is another import.
    const goesOn = before !== null && (await runById(tx, before))?.withdrawn_at === null;
    const runId = goesOn ? before : await beginImport(tx, at, run, wish);
    // In case that the act is taken back, or done again: what was counted in it was not.
    const figures = { ...run.figures };
    let { line } = run.cursor;
    for (const { row, read } of batch) {
      line += 1;
      const fate =
        read.answer === 'key' ? await take(parts, tx, at, run, { row, read, runId }) : { fate: fateOf[read.answer], because: read.because, keyId: null };
      await insertLines(tx, [{ run_id: runId, line, serial: row.serial, fate: fate.fate, because: fate.because, key_id: fate.keyId }]);
      await updateConnectorMac(tx, row, { read_at: at, answer: read.answer });
      figures.read += 1;
      figures[read.answer === 'key' ? 'keys' : read.answer] += 1;
    }
    const cursor = { ...run.cursor, line, runId };
    await save(tx, at, { ...run, figures, cursor });
    afterAct(tx, () => void Object.assign(run, { figures, cursor }));
  });

const fateOf = { none: 'no-key', forbidden: 'refused', unreadable: 'refused', failed: 'refused' } as const;

async function take(
  parts: CustodyParts,
  tx: Tx,
  at: number,
  run: Run,
  { row, read, runId }: { row: ConnectorMac; read: KeyRead & { answer: 'key' }; runId: string },
): Promise<{ fate: string; because: string; keyId: string | null }> {
  const { serial } = row;
  // A date that is still to come would make it the newest for ever.
  const madeAt = read.madeAt !== null && read.madeAt > at + day ? null : read.madeAt;
  const bringing = { serial, key: read.key, source: run.name, trust: 'admin' as const, runId, madeAt, actor: `connector ${run.name}` };
  const { fate, because, keyId } = await bring(parts, tx, at, bringing);
  const mine = keyId === null ? undefined : await broughtById(tx, keyId);
  const task = mine?.brought_at === at ? await openTaskFor(tx, serial) : undefined;
  // Another key of this Mac had come from here before the task began: it was replaced since then.
  const others = task
    ? (await broughtFor(tx, serial)).filter(({ id, source, brought_at: when }) => id !== keyId && source === run.name && when <= task.opened_at)
    : [];
  if (others.length > 0) await closeTasksByNewKey(tx, at, { serial, trust: 'admin', madeAt: at });
  return { fate, because: read.note === null ? because : `${because}; ${read.note}`, keyId };
}

/** Listed under `imports`, and taken back like one. */
async function beginImport(tx: Tx, at: number, { name }: Run, { actor, reason }: RunWish): Promise<string> {
  const id = randomUUID();
  const what = { source: name, name: `connector ${name}`, actor, reason };
  await insertRun(tx, { id, ...what, digest: null, mapping: '{}', started_at: at, ended_at: null, withdrawn_at: null });
  await audit(tx, { at, actor, act: 'import.begun', details: { runId: id, source: name, name: what.name, reason } });
  return id;
}
