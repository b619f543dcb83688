import { createHash, type KeyObject } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { Problem } from '../../protocol/problems.ts';
import { hashOf } from '../audit.ts';
import type { FolderPaths } from '../data-folder.ts';
import type { Store } from '../parts.ts';
import { auditRow, auditRowsFrom, checkpointBefore, checkpointsAfter, lastRetained } from '../store/audit-checkpoints.ts';
import { hasAuditKey, readAuditKey, readPublicKey, trustedKeys } from './audit-key.ts';
import { createChain, type Place, type Reading, theBeginning } from './chain.ts';
import { type Checkpoint, checkpointOf, judgeCheckpoint } from './checkpoint.ts';
import { readCheckpointFile } from './checkpoints.ts';
import { type ExportLine, isEndSigned, readExportLine } from './export.ts';
import type { Finding } from './finding.ts';
import { missingIn, weigh } from './weigh.ts';

export interface Verdict extends Reading {
  ok: boolean;
  checkpoints: number;
  /** Of the keys that were believed, the newest. */
  keyId: string | null;
  /** False: nobody has said which key is the right one, so those that lie beside the records were believed. */
  keyIsKnown: boolean;
}

export interface Given {
  /** PEM: a key that the reader knows from elsewhere. */
  publicKey: string | null;
  /** Kept elsewhere, such as by a receiver of webhooks. */
  checkpointsFile: string | null;
  progress: (rows: number) => void;
}

const pageRows = 1000;
/** Records between two words of progress. */
const progressRows = 100_000;

function knownKey(pem: string | null): KeyObject | null {
  if (pem === null) return null;
  const key = readPublicKey(pem);
  if (!key) throw new Problem('USAGE', '--public-key is no Ed25519 public key in PEM');
  return key;
}

function givenCheckpoints(file: string | null): Checkpoint[] {
  if (file === null) return [];
  if (!existsSync(file)) throw new Problem('USAGE', `${file} is not there`);
  const { checkpoints, unread } = readCheckpointFile(file);
  if (checkpoints.length === 0 || unread > 0) throw new Problem('USAGE', `${file}: ${unread} line(s) are no checkpoints`);
  return checkpoints;
}

const finding = (kind: Finding['kind'], seq: number, says: string): Finding => ({ kind, from: seq, to: seq, act: null, says });
const strangerKeys = finding('checkpoint', 0, 'the keys that lie with it do not follow from the key that was given: its signatures mean nothing');

/** Only from a checkpoint on: the last one before this time, or the one of this number. */
export type Since = { at: number } | { number: number };

/** Where records were taken out the table begins with a checkpoint: whether it is one of ours. Without, whoever writes the database could cut its head off. */
export async function isBeginningSigned({ store, paths }: { store: Store; paths: FolderPaths }): Promise<boolean> {
  const row = await lastRetained(store.db);
  if (!row) return true;
  const keys = hasAuditKey(paths) ? trustedKeys(readAuditKey(paths).keys, null) : null;
  return keys !== null && judgeCheckpoint(checkpointOf(row), keys) === 'good';
}

/** The audit in the database, with the checkpoints in it, beside it, and where else they were kept. */
export async function verifyLive({ store, paths }: { store: Store; paths: FolderPaths }, given: Given, since: Since | null = null): Promise<Verdict> {
  const known = knownKey(given.publicKey);
  const list = hasAuditKey(paths) ? readAuditKey(paths).keys : [];
  const keys = (list.length > 0 ? trustedKeys(list, known) : null) ?? new Map<string, KeyObject>();
  const findings: Finding[] = list.length > 0 && keys.size === 0 ? [strangerKeys] : [];
  // The files first: whoever makes a checkpoint meanwhile puts it into the database before.
  const witness = existsSync(paths.auditCheckpoints) ? readCheckpointFile(paths.auditCheckpoints) : { checkpoints: [], unread: 0 };
  const givenOnes = givenCheckpoints(given.checkpointsFile);
  const inTable: Checkpoint[] = [];
  // Those of before are not looked at where only the newest part is asked for.
  const begin = since === null ? 0 : 'number' in since ? since.number : ((await checkpointBefore(store.db, since.at))?.number ?? 0);
  const after = Math.max(0, begin - 1);
  for (let last = after; ; ) {
    const page = await checkpointsAfter(store.db, last, pageRows);
    inTable.push(...page.map(checkpointOf));
    last = page.at(-1)?.number ?? last;
    if (page.length < pageRows) break;
  }
  const isLater = ({ number }: Checkpoint): boolean => number > after;
  const beside = { ...witness, checkpoints: witness.checkpoints.filter(isLater) };
  if (beside.unread > 0) findings.push(finding('checkpoint', 0, `${beside.unread} line(s) of audit-checkpoints.jsonl are none`));
  const elsewhere = givenOnes.filter(isLater);
  const { good, findings: weighed } = weigh(
    [
      { where: 'in the database', checkpoints: inTable },
      { where: 'in audit-checkpoints.jsonl', checkpoints: beside.checkpoints },
      { where: 'in the file that was given', checkpoints: elsewhere },
    ],
    keys,
  );
  findings.push(...weighed, ...missingIn('in the database', inTable, good));
  const [first, last] = [beside.checkpoints[0]?.number ?? 0, beside.checkpoints.at(-1)?.number ?? 0];
  const between = inTable.filter(({ number }) => number > first && number < last);
  findings.push(...missingIn('in audit-checkpoints.jsonl', beside.checkpoints, between));
  const retained = good.findLast(({ kind }) => kind === 'retained');
  const from = since === null ? undefined : good.findLast(({ number, seq }) => number <= begin && seq >= (retained?.seq ?? 0));
  const base: Place = from ?? retained ?? theBeginning;
  const row = from && from !== retained && from.seq > 0 ? await auditRow(store.db, from.seq) : null;
  if (from && row !== null && (!row || row.hash !== from.hash || hashOf(row) !== from.hash))
    findings.push(finding('changed', from.seq, `it is not the one that checkpoint ${from.number} names`));
  const chain = createChain(base, good);
  // Also what somebody has put before the first.
  let seq = from ? base.seq + 1 : Number.MIN_SAFE_INTEGER;
  let rows = 0;
  for (;;) {
    const page = await auditRowsFrom(store.db, seq, pageRows);
    for (const row of page) {
      chain.take(row);
      rows += 1;
      if (rows % progressRows === 0) given.progress(rows);
    }
    if (page.length < pageRows) break;
    seq = (page.at(-1)?.seq ?? seq) + 1;
  }
  const reading = chain.end();
  return verdictOf({ ...reading, sealedTo: Math.max(reading.sealedTo, from?.seq ?? retained?.seq ?? 0) }, findings, good, keys, known);
}

function verdictOf(
  reading: Reading,
  findings: readonly Finding[],
  good: readonly Checkpoint[],
  keys: ReadonlyMap<string, KeyObject>,
  known: KeyObject | null,
): Verdict {
  const all = [...reading.findings, ...findings];
  return {
    ...reading,
    findings: all,
    ok: all.length === 0,
    checkpoints: good.length,
    keyId: [...keys.keys()].at(-1) ?? null,
    keyIsKnown: known !== null,
  };
}

interface Lines {
  line: string;
  number: number;
  /** Of all bytes before this line. */
  sha256(): string;
}

/** Line by line, with the digest of what came before. */
async function* linesOf(file: string): AsyncGenerator<Lines> {
  const sha = createHash('sha256');
  let rest: Buffer = Buffer.alloc(0);
  let number = 0;
  function one(bytes: Buffer): Lines {
    number += 1;
    return { line: bytes.toString('utf8'), number, sha256: () => sha.copy().digest('hex') };
  }
  for await (const chunk of createReadStream(file, { highWaterMark: 1024 * 1024 })) {
    let bytes = rest.length > 0 ? Buffer.concat([rest, chunk as Buffer]) : (chunk as Buffer);
    for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10)) {
      yield one(bytes.subarray(0, end));
      sha.update(bytes.subarray(0, end + 1));
      bytes = bytes.subarray(end + 1);
    }
    rest = bytes;
  }
  if (rest.length > 0) yield one(rest);
}

/** A file of an export: without a data folder, and without us. */
export async function verifyExport(file: string, given: Given): Promise<Verdict> {
  if (!existsSync(file)) throw new Problem('USAGE', `${file} is not there`);
  const known = knownKey(given.publicKey);
  const findings: Finding[] = [];
  const inFile: Checkpoint[] = [];
  const lines = linesOf(file);
  const opened = await lines.next();
  const first: ExportLine = opened.done ? { kind: 'unread' } : readExportLine(opened.value.line);
  if (first.kind !== 'head') throw new Problem('USAGE', `${file} is no export of an audit: its first line is not the head of one`);
  const { head } = first;
  const keys = trustedKeys(head.keys, known) ?? new Map<string, KeyObject>();
  if (keys.size === 0) findings.push(strangerKeys);
  let chain: ReturnType<typeof createChain> | null = null;
  let good: Checkpoint[] = [];
  /** When the last checkpoint was read: the records follow. */
  const begin = (): ReturnType<typeof createChain> => {
    const sources = [
      { where: 'in the export', checkpoints: inFile },
      { where: 'in the file that was given', checkpoints: givenCheckpoints(given.checkpointsFile) },
    ];
    const weighed = weigh(sources, keys);
    good = weighed.good;
    findings.push(...weighed.findings);
    const base = head.after ?? theBeginning;
    for (const { number } of good.filter(({ seq, hash }) => seq === base.seq && hash !== base.hash))
      findings.push(finding('rewritten', base.seq, `checkpoint ${number} names another record ${base.seq} than the one that these follow`));
    // What is kept elsewhere may know of records after those of this export.
    return createChain(
      base,
      good.filter(({ seq }) => seq <= (head.to ?? 0)),
      head.whole,
    );
  };
  let records = 0;
  let isEnded = false;
  for await (const { line, number, sha256 } of lines) {
    const read = readExportLine(line);
    if (isEnded) findings.push(finding('file', 0, `line ${number} stands after the end`));
    else if (read.kind === 'checkpoint' && !chain) inFile.push(read.checkpoint);
    else if (read.kind === 'record') {
      chain ??= begin();
      chain.take(read.row);
      records += 1;
      if (records % progressRows === 0) given.progress(records);
    } else if (read.kind === 'end') {
      chain ??= begin();
      isEnded = true;
      const { end, signature } = read;
      if (!isEndSigned(end, signature, keys)) findings.push(finding('file', 0, 'the signature of its end is forged'));
      else if (end.sha256 !== sha256()) findings.push(finding('file', 0, 'it is not as it was written: something in it was changed'));
      if (end.records !== records) findings.push(finding('file', 0, `it was written with ${end.records} records, and has ${records}`));
    } else findings.push(finding('file', 0, `line ${number} is none that belongs here`));
  }
  chain ??= begin();
  if (!isEnded) findings.push(finding('file', 0, 'its end is missing: it was cut off'));
  return verdictOf(chain.end(), findings, good, keys, known);
}
