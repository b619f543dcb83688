import { closeSync, existsSync, fstatSync, fsyncSync, ftruncateSync, openSync, readFileSync, readSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { audit, beginning, hashOf } from '../audit.ts';
import type { FolderPaths } from '../data-folder.ts';
import { type Ground, sayAnew } from '../operator-alarms.ts';
import { syncFolder } from '../private-files.ts';
import { auditRow, auditRowsAfter, checkpointsAfter, insertCheckpoint, lastCheckpoint } from '../store/audit-checkpoints.ts';
import { actsAfter } from '../store/audit-search.ts';
import { lastAuditEntry } from '../store/upkeep.ts';
import { type AuditKey, hasAuditKey, makeAuditKey, readAuditKey, replaceAuditKey, trustedKeys } from './audit-key.ts';
import {
  type Checkpoint,
  checkpointForm,
  checkpointOf,
  digestOfCheckpoint,
  judgeCheckpoint,
  lineOfCheckpoint,
  rowOfCheckpoint,
  signCheckpoint,
} from './checkpoint.ts';

export interface AuditGround extends Ground {
  paths: FolderPaths;
}

/** Records after which there is another checkpoint. */
const everyRecords = 1000;
/** And at the latest after this time, also where nothing happened: it shows that the end is still the end. */
const everyMilliseconds = 24 * 60 * 60 * 1000;
/** What somebody may want undone is under a checkpoint after these minutes, however little else happens. */
const soonMilliseconds = 10 * 60 * 1000;
const sealedSoon = ['key.disclosed', 'brought.disclosed', 'role.', 'policy.', 'token.made', 'emergency.', 'account.reset', 'passkey.'];
const pageRows = 500;

/** The key pair; the first one of a data folder of before is made, and recorded. */
export async function auditKeyOf({ paths, store, clock }: AuditGround): Promise<AuditKey> {
  if (hasAuditKey(paths)) return readAuditKey(paths);
  return store.write(async (tx) => {
    const at = await clock.persist(tx);
    const key = hasAuditKey(paths) ? readAuditKey(paths) : makeAuditKey(paths, at);
    await audit(tx, { at, actor: 'server', act: 'audit-key.made', details: { keyId: key.keyId } });
    return key;
  });
}

/** Another key pair: a checkpoint by the old one first, then the change, which is recorded, and a checkpoint by the new one. */
export async function changeAuditKey(ground: AuditGround, actor: string, reason: string): Promise<AuditKey> {
  const before = await auditKeyOf(ground);
  await makeCheckpoint(ground);
  const { store, clock, paths } = ground;
  let key: AuditKey | null = null;
  await store.write(async (tx) => {
    const at = await clock.persist(tx);
    // One, also where the act is done again.
    key ??= replaceAuditKey(paths, at);
    await audit(tx, { at, actor, act: 'audit-key.replaced', details: { keyId: key.keyId, before: before.keyId, reason } });
  });
  await makeCheckpoint(ground);
  return readAuditKey(paths);
}

interface Walked {
  seq: number;
  hash: string;
  rows: number;
  /** The first record that does not follow; null: all do. */
  brokenAt: number | null;
}

/** From the last checkpoint to the end: what is signed was looked at. Not in one transaction: acts go on meanwhile. */
async function walk({ store }: Pick<AuditGround, 'store'>, last: Checkpoint | null): Promise<Walked> {
  const at: Walked = { seq: last?.seq ?? 0, hash: last?.hash ?? beginning, rows: last?.rows ?? 0, brokenAt: null };
  if (last && last.kind === 'end' && last.seq > 0 && (await auditRow(store.db, last.seq))?.hash !== last.hash) return { ...at, brokenAt: last.seq };
  for (;;) {
    const page = await auditRowsAfter(store.db, at.seq, pageRows);
    for (const row of page) {
      if (row.seq !== at.seq + 1 || row.previous !== at.hash || hashOf(row) !== row.hash) return { ...at, brokenAt: at.seq + 1 };
      Object.assign(at, { seq: row.seq, hash: row.hash, rows: at.rows + 1 });
    }
    if (page.length < pageRows) return at;
  }
}

/** What is to follow has to be ours: signed, and the one that stands beside the database too. Null where it is. */
function lastIsNot(last: Checkpoint | null, witness: Checkpoint | null, key: AuditKey): string | null {
  if (last && judgeCheckpoint(last, trustedKeys(key.keys, null) ?? new Map()) !== 'good') return `checkpoint ${last.number} (record ${last.seq}) is forged`;
  if (!witness || witness.number < (last?.number ?? 0)) return null;
  if (witness.number > (last?.number ?? 0)) return `checkpoint ${witness.number} (record ${witness.seq}) is missing in the database`;
  return last && digestOfCheckpoint(last) !== digestOfCheckpoint(witness) ? `checkpoint ${last.number} is another one in the database than beside it` : null;
}

/** Says what the audit is now. Null where it cannot be said: the audit was changed, and that is an alarm. */
export async function makeCheckpoint(ground: AuditGround): Promise<Checkpoint | null> {
  const { store, clock } = ground;
  const key = await auditKeyOf(ground);
  for (;;) {
    // First the file: another process that makes one puts it into the database before.
    const witness = lastInFile(ground.paths);
    const row = await lastCheckpoint(store.db);
    const last = row ? checkpointOf(row) : null;
    const walked = await walk(ground, last);
    const trouble = walked.brokenAt === null ? lastIsNot(last, witness, key) : `at record ${walked.brokenAt}`;
    if (trouble !== null) {
      await sayAnew(ground, 'AUDIT_CHANGED', [trouble]);
      return null;
    }
    const made = await store.write(async (tx) => {
      const at = await clock.persist(tx);
      if (((await lastCheckpoint(tx))?.number ?? 0) !== (last?.number ?? 0)) return null;
      const { seq, hash, rows } = walked;
      const checkpoint = signCheckpoint(key, { kind: 'end', seq, hash, rows, at }, last);
      await insertCheckpoint(tx, rowOfCheckpoint(checkpoint));
      return checkpoint;
    });
    // Another process made one meanwhile: after that one, then.
    if (!made) continue;
    await writeWitness(ground, made);
    await sayAnew(ground, 'AUDIT_CHANGED', []);
    return made;
  }
}

/** Work of a timer. */
export async function checkpointWhenDue(ground: AuditGround): Promise<void> {
  const { db } = ground.store;
  const [last, end] = [await lastCheckpoint(db), await lastAuditEntry(db)];
  const since = last ? ground.clock.now() - last.at : everyMilliseconds;
  const isDue = !last || (end?.seq ?? 0) - last.seq >= everyRecords || since >= everyMilliseconds;
  const isSoon = last && since >= soonMilliseconds && (await actsAfter(db, last.seq, end?.seq ?? 0, sealedSoon, 1)).length > 0;
  if (isDue || isSoon) await makeCheckpoint(ground);
}

/** Where there are records after the last one: at the end of a run, and for a backup. */
export async function checkpointOfNews(ground: AuditGround): Promise<void> {
  const { db } = ground.store;
  const [last, end] = [await lastCheckpoint(db), await lastAuditEntry(db)];
  if ((end?.seq ?? 0) !== (last?.seq ?? -1)) await makeCheckpoint(ground);
}

/** The file beside the database: whoever changes one of them has to change both, and cannot sign. */
export async function writeWitness({ paths, store }: Pick<AuditGround, 'paths' | 'store'>, made: Checkpoint): Promise<void> {
  const known = lastInFile(paths)?.number ?? 0;
  // After a crash between the commit and this file it lacks some.
  const missing = known < made.number - 1 ? (await checkpointsAfter(store.db, known, made.number)).map(checkpointOf) : [made];
  const isNew = !existsSync(paths.auditCheckpoints);
  const handle = openSync(paths.auditCheckpoints, 'a', 0o600);
  try {
    // A line that a crash has cut is written anew.
    const cut = endOf(handle, paths.auditCheckpoints).split('\n').at(-1) ?? '';
    if (cut !== '') ftruncateSync(handle, fstatSync(handle).size - Buffer.byteLength(cut));
    const bytes = Buffer.from(missing.map(lineOfCheckpoint).join(''));
    for (let done = 0; done < bytes.length; ) done += writeSync(handle, bytes, done);
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
  if (isNew) syncFolder(dirname(paths.auditCheckpoints));
}

/** More than two lines of it. */
const tailBytes = 4096;

function endOf(handle: number, path: string): string {
  const { size } = fstatSync(handle);
  const reading = openSync(path, 'r');
  try {
    const tail = Buffer.alloc(Math.min(tailBytes, size));
    readSync(reading, tail, 0, tail.length, size - tail.length);
    return tail.toString('utf8');
  } finally {
    closeSync(reading);
  }
}

function lastInFile({ auditCheckpoints: path }: FolderPaths): Checkpoint | null {
  if (!existsSync(path)) return null;
  const handle = openSync(path, 'r');
  try {
    for (const line of endOf(handle, path).split('\n').reverse()) {
      const read = readCheckpoint(line);
      if (read) return read;
    }
    return null;
  } finally {
    closeSync(handle);
  }
}

/** A line of a file of checkpoints, or null where it is none, such as one that a crash has cut. */
function readCheckpoint(line: string): Checkpoint | null {
  try {
    return checkpointForm.parse(JSON.parse(line));
  } catch {
    return null;
  }
}

/** All of a file, as a folder or a receiver of webhooks has it; `unread` lines are said by whoever asks. A last line without its end is a cut one. */
export function readCheckpointFile(path: string): { checkpoints: Checkpoint[]; unread: number } {
  const lines = readFileSync(path, 'utf8').split('\n');
  const last = lines.pop() ?? '';
  const read = [...lines, ...(readCheckpoint(last) ? [last] : [])].filter((line) => line.trim() !== '').map(readCheckpoint);
  const checkpoints = read.filter((one) => one !== null);
  return { checkpoints, unread: read.length - checkpoints.length };
}
