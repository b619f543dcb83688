import type { CheckInReply, Receipt, Validation } from '../protocol/messages.ts';
import { Problem } from '../protocol/problems.ts';
import { countForeignChange, isCounted } from './escrow-file.ts';
import { type Kept, withCurrent } from './journal.ts';
import { reckonedNow } from './refusals.ts';
import type { Run } from './run-of-agent.ts';

/** Every envelope that can be delivered, newest first. */
export function everyEnvelope(run: Run): Kept[] {
  const { outbox, current, previous } = run.journal.value;
  const seen = new Set<string>();
  return [...[...outbox].reverse(), ...(current ? [current] : []), ...previous].filter((one) => !seen.has(one.envelopeId) && seen.add(one.envelopeId));
}

/** Sends one envelope, and believes nothing but a receipt for that very envelope. */
export async function deliver(run: Run, kept: Kept, rotationId: string | null = kept.rotationId): Promise<Receipt> {
  const receipt = await run.ask.deliver(kept.envelopeId, {
    envelope: kept.envelope,
    source: kept.source,
    hardwareUuid: run.facts.hardwareUuid,
    volume: kept.volume,
    madeAt: kept.madeAt,
    validated: kept.validated,
    rotationId,
  });
  if (receipt.envelopeId !== kept.envelopeId) throw new Problem('REPLY_UNREADABLE', 'the receipt is for another envelope');
  run.log('delivered', { envelopeId: kept.envelopeId, source: kept.source, state: receipt.state, readable: receipt.readable });
  return receipt;
}

/** An envelope that an earlier run sealed: macOS's `true` was for that moment, and the key may have been changed since. */
export const asOfOld = (kept: Kept): Kept => (kept.validated === 'true' ? { ...kept, validated: 'unknown' } : kept);

export const withReceipt = (kept: Kept, receipt: Receipt, validated: Validation = kept.validated): Kept => ({
  ...kept,
  validated,
  recordId: receipt.recordId,
  held: receipt.state === 'held',
});

type Named = Pick<CheckInReply, 'wanted' | 'held' | 'candidates'>;

/** Delivers what the server wants of what we offered: nothing else decides it. */
export async function deliverWanted(run: Run, reply: Named): Promise<boolean> {
  let delivered = false;
  for (const kept of everyEnvelope(run).filter((one) => reply.wanted.includes(one.envelopeId) && !isOfOpenRotation(run, one))) {
    try {
      noteReceipt(run, kept, await deliver(run, asOfOld(kept)));
      delivered = true;
    } catch (cause) {
      if (!(cause instanceof Problem) || cause.kind.retry !== 'never') throw cause;
      refusedForGood(run, kept, cause);
    }
  }
  for (const kept of run.journal.value.outbox.filter((one) => !reply.wanted.includes(one.envelopeId))) noteKnown(run, kept, reply);
  return delivered;
}

/** 400, 413, 422: never repeated, and no reason to deliver nothing else. */
function refusedForGood(run: Run, kept: Kept, problem: Problem): void {
  run.problems.push({ code: problem.code, ...(problem.detail ? { detail: problem.detail } : {}) });
  run.log('delivery-failed', { envelopeId: kept.envelopeId, code: problem.code });
  const others = (list: readonly Kept[]) => list.filter((one) => one.envelopeId !== kept.envelopeId);
  run.journal.write({ outbox: others(run.journal.value.outbox), previous: others(run.journal.value.previous) });
}

/** A rotation's own envelope is resolve.ts's to bring to an end. */
const isOfOpenRotation = (run: Run, kept: Kept): boolean => {
  const { rotation } = run.journal.value;
  return rotation !== null && kept.rotationId === rotation.id && kept.source === 'rotation';
};

/** The server has it already: its receipt was lost, or the journal was. */
function noteKnown(run: Run, kept: Kept, reply: Named): void {
  if (isOfOpenRotation(run, kept)) return;
  const record = [...(reply.held ? [reply.held] : []), ...reply.candidates].find((one) => one.envelopeIds.includes(kept.envelopeId));
  if (record) place(run, kept, { recordId: record.recordId, held: record.state === 'held' }, false, !hasAnother(record, kept));
  else run.journal.write({ outbox: run.journal.value.outbox.filter((one) => one.envelopeId !== kept.envelopeId) });
}

/**
 * Where a receipt puts an envelope. A witness of the current key is held by its record, so it needs no place of its own;
 * an escrow file of another key means that somebody else changed the key (C2).
 */
export function noteReceipt(run: Run, kept: Kept, receipt: Receipt): void {
  if (receipt.readable === 'no') {
    // Kept by the server, and of no use to it: macOS's file still lies where it was, and ours is offered no more.
    run.problems.push({ code: 'DELIVERY_QUARANTINED', detail: 'readable: no' });
    run.journal.write({ outbox: run.journal.value.outbox.filter((one) => one.envelopeId !== kept.envelopeId) });
    return;
  }
  const isOld = receipt.state === 'superseded' || receipt.state === 'destroyed';
  // What nobody has opened yet cannot be told from the key that is here: it says nothing about a change.
  const isNews = receipt.readable === 'yes' && !(receipt.held?.recordId === receipt.recordId && hasAnother(receipt.held, kept));
  place(run, kept, { recordId: receipt.recordId, held: receipt.state === 'held' }, isOld, isNews);
}

/**
 * The backend has the key by another envelope: from a rotation that this journal does not remember, because an older one came
 * back (a snapshot, a backup). Then nobody else changed it.
 */
const hasAnother = (record: { envelopeIds: readonly string[] }, kept: Kept): boolean => record.envelopeIds.some((id) => id !== kept.envelopeId);

function place(run: Run, kept: Kept, known: Pick<Kept, 'held'> & { recordId: string }, isOld: boolean, isNews: boolean): void {
  const journal = run.journal.value;
  const now: Kept = { ...kept, ...known };
  const outbox = journal.outbox.filter((one) => one.envelopeId !== kept.envelopeId);
  if (journal.current?.envelopeId === kept.envelopeId) {
    run.journal.write({ ...withCurrent(journal, now), outbox });
    return;
  }
  if (journal.previous.some((one) => one.envelopeId === kept.envelopeId)) {
    run.journal.write({ previous: journal.previous.map((one) => (one.envelopeId === kept.envelopeId ? now : one)), outbox });
    return;
  }
  if (journal.current?.recordId && journal.current.recordId === known.recordId) {
    // A second witness of the current key; what macOS said to either is true of both.
    const current: Kept = { ...journal.current, held: known.held, validated: kept.validated === 'true' ? 'true' : journal.current.validated };
    run.journal.write({ ...withCurrent({ ...journal, outbox }, current) });
    return;
  }
  if (isOld || (kept.validated === 'false' && journal.current)) {
    // Of a key that has a successor, or that macOS refused: kept, and never the current one.
    const previous = [...journal.previous, now];
    run.journal.write(journal.current ? withCurrent({ ...journal, previous, outbox }, journal.current) : { previous, outbox });
    return;
  }
  // Its key was refused before this file came: one change, which was counted then.
  const isTold = journal.refusalFile === kept.envelopeId && isCounted(journal);
  const byOther = isNews && journal.current !== null && kept.source === 'escrow-file' && kept.rotationId === null && !isTold;
  run.journal.write({
    ...withCurrent({ ...journal, outbox }, now),
    ...(byOther ? countForeignChange(journal, reckonedNow(run)) : {}),
  });
  if (byOther) run.log('key-changed-by-other', { envelopeId: kept.envelopeId });
}
