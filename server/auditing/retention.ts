import { createHash } from 'node:crypto';
import { createReadStream, existsSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { z } from 'zod';
import { Problem } from '../../protocol/problems.ts';
import { audit } from '../audit.ts';
import type { Backend } from '../backend.ts';
import { type CommandResult, when } from '../command.ts';
import { makePrivateFolder, syncFolder } from '../private-files.ts';
import { auditRow, deleteAuditUpTo, insertCheckpoint, lastCheckpoint, lastRetained } from '../store/audit-checkpoints.ts';
import { seqRange } from '../store/audit-search.ts';
import { keepEntryOfInit, readMemory, writeMemory } from '../store/upkeep.ts';
import { leastTaken } from '../store/webhooks.ts';
import { removeUnfinished, unfinishedName } from '../unfinished.ts';
import { readPublicKey } from './audit-key.ts';
import { type Checkpoint, checkpointOf, rowOfCheckpoint, signCheckpoint } from './checkpoint.ts';
import { auditKeyOf, makeCheckpoint, writeWitness } from './checkpoints.ts';
import { exportText } from './export.ts';
import { writeNew } from './new-file.ts';
import { exportOf } from './search.ts';
import { verifyExport, verifyLive } from './verify.ts';

const day = 24 * 60 * 60 * 1000;
/** Days that records stay in the database at least: a year, and the time to look back at it. */
const leastDays = 400;
/** Of itself it is not done for less. */
const leastRecords = 1000;

const mark = 'audit-retained';
const parts = z.array(z.strictObject({ from: z.int(), to: z.int(), until: z.int(), file: z.string(), sha256: z.string() }));
export type TakenOut = z.infer<typeof parts>[number];

/** Where the records are that are not in the database any more, the oldest first. */
export async function takenOut({ store }: { store: Pick<Backend['store'], 'db'> }): Promise<TakenOut[]> {
  const text = await readMemory(store.db, mark);
  return text === null ? [] : parts.parse(JSON.parse(text));
}

async function digestOf(file: string): Promise<string> {
  const sha = createHash('sha256');
  for await (const chunk of createReadStream(file)) sha.update(chunk as Buffer);
  return sha.digest('hex');
}

/** Up to which record; null: there is nothing to take out. The last one always stays, and what a webhook has still to be told of. */
async function upTo(backend: Backend, before: number): Promise<{ from: number; to: number } | null> {
  const { store, settings } = backend;
  const from = ((await lastRetained(store.db))?.seq ?? 0) + 1;
  const [{ last }, { last: end }] = [await seqRange(store.db, { to: before }), await seqRange(store.db, {})];
  const names = settings.webhooks.map(({ name }) => name);
  const taken = names.length === 0 ? end : ((await leastTaken(store.db, names)) ?? 0);
  const to = Math.min(last, end - 1, taken);
  return to < from ? null : { from, to };
}

/**
 * Takes records of before out of the database, into a signed file that was read back and found whole. In their place stands one
 * checkpoint: what is left is verified from there on, and the file with it before.
 */
export async function retain(backend: Backend, { before, actor, reason }: { before: number; actor: string; reason: string }): Promise<TakenOut | null> {
  const { store, clock, paths } = backend;
  if (clock.now() - before < leastDays * day) throw new Problem('USAGE', `records stay in the database for ${leastDays} days at least`);
  const range = await upTo(backend, before);
  if (!range) return null;
  const given = { publicKey: null, checkpointsFile: null, progress: () => undefined };
  const whole = await verifyLive(backend, given);
  if (!whole.ok) throw new Problem('AUDIT_BROKEN', 'nothing was taken out: `sparekey-server audit verify` says which records');
  if (!existsSync(paths.auditArchive)) makePrivateFolder(paths.auditArchive);
  const key = await auditKeyOf(backend);
  const last = await auditRow(store.db, range.to);
  if (!last) throw new Problem('AUDIT_BROKEN', `record ${range.to} is missing`);
  const file = join(paths.auditArchive, `audit-${range.from}-${range.to}.jsonl`);
  removeUnfinished(paths.auditArchive);
  // A name of its own: the timer and the command may do this at once, and neither may touch what the other reads back.
  const making = join(paths.auditArchive, `.${basename(file)}${unfinishedName()}`);
  try {
    await writeNew(making, exportText(await exportOf(backend, {}, null, {}, range.to)));
    const read = await verifyExport(making, { ...given, publicKey: key.keys.at(-1)?.publicKey ?? null });
    const isRead = read.ok && read.first === range.from && read.last?.seq === range.to && read.last.hash === last.hash;
    if (!isRead && !(await isNext(store.db, range))) return null;
    if (!isRead || !readPublicKey(key.keys.at(-1)?.publicKey ?? ''))
      throw new Problem('AUDIT_BROKEN', `${file} is not what was written into it; nothing was taken out`);
    const part: TakenOut = { ...range, until: last.at, file: basename(file), sha256: await digestOf(making) };
    const made = await takeOut(backend, { key, part, hash: last.hash, making, file, actor, reason });
    if (made === null) return null;
    await writeWitness(backend, made);
    await makeCheckpoint(backend);
    return part;
  } finally {
    rmSync(making, { force: true });
  }
}

/** Nobody else has taken these records out meanwhile. */
const isNext = async (db: Parameters<typeof lastRetained>[0], { from }: { from: number }): Promise<boolean> =>
  ((await lastRetained(db))?.seq ?? 0) === from - 1;

interface Taking {
  key: Awaited<ReturnType<typeof auditKeyOf>>;
  part: TakenOut;
  hash: string;
  making: string;
  file: string;
  actor: string;
  reason: string;
}

/** The file gets its name in the act that takes its records out: one of this name that stands there was of a run that was cut. */
function takeOut({ store, clock }: Backend, { key, part, hash, making, file, actor, reason }: Taking): Promise<Checkpoint | null> {
  let isNamed = false;
  return store.write(async (tx) => {
    const at = await clock.persist(tx);
    if (!(await isNext(tx, part))) return null;
    // An act may be done again.
    if (!isNamed) renameSync(making, file);
    isNamed = true;
    syncFolder(dirname(file));
    const row = await lastCheckpoint(tx);
    const checkpoint = signCheckpoint(key, { kind: 'retained', seq: part.to, hash, rows: 0, at }, row && checkpointOf(row));
    await keepEntryOfInit(tx);
    await insertCheckpoint(tx, rowOfCheckpoint(checkpoint));
    await deleteAuditUpTo(tx, part.to);
    await writeMemory(tx, mark, JSON.stringify([...(await takenOut({ store: { db: tx } })), part]));
    await audit(tx, { at, actor, act: 'audit.retained', details: { ...part, until: when(part.until), reason } });
    return checkpoint;
  });
}

/** Work of a timer, where the settings say so. */
export async function retainByAge(backend: Backend): Promise<void> {
  const { settings, clock } = backend;
  if (settings.auditRetainDays === null) return;
  const before = clock.now() - settings.auditRetainDays * day;
  const range = await upTo(backend, before);
  if (range && range.to - range.from + 1 >= leastRecords)
    await retain(backend, { before, actor: 'server', reason: `auditRetainDays ${settings.auditRetainDays}` });
}

export async function auditRetain(backend: Backend, { before, actor, reason }: { before: number; actor: string; reason: string }): Promise<CommandResult> {
  const part = await retain(backend, { before, actor, reason });
  if (!part) return { json: { retained: null }, text: 'there is nothing of before that can be taken out' };
  const file = join(backend.paths.auditArchive, part.file);
  return {
    json: { retained: { ...part, file, until: when(part.until) } },
    text: `records ${part.from} to ${part.to} (until ${when(part.until)}) are in ${file}, and not in the database any more\nkeep a copy of it elsewhere: sparekey-server audit verify --export ${file}`,
  };
}
