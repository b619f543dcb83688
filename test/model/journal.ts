// What the agent does with its journal, without anybody's help: which envelope stays, what an escrow file means,
// and whether one more key may be tried (gate 3).
import { day, type Envelope, type Journal, type Kept, type Look, minute } from './state.ts';

export const keep = (envelope: Envelope, more: Partial<Kept> = {}): Kept => ({
  envelope,
  validated: 'unknown',
  rotation: null,
  answered: null,
  record: null,
  held: false,
  ...more,
});
export const others = (list: readonly Kept[], id: string): readonly Kept[] => list.filter((one) => one.envelope.id !== id);

/** Older envelopes stay until a later key is held and answered `true`; then one of them does. */
export function withCurrent(journal: Journal, newer: Kept): Pick<Journal, 'current' | 'previous' | 'outbox'> {
  const older = others([...(journal.current ? [journal.current] : []), ...journal.previous], newer.envelope.id);
  const isProved = newer.held && newer.validated === 'true';
  return { current: newer, previous: isProved ? older.slice(0, 1) : older.slice(0, 8), outbox: others(journal.outbox, newer.envelope.id) };
}

/** Every envelope that can be delivered, newest first. */
export function everyEnvelope(journal: Journal): readonly Kept[] {
  const all = [...journal.outbox.toReversed(), ...(journal.current ? [journal.current] : []), ...journal.previous];
  return all.filter((one, at) => all.findIndex((other) => other.envelope.id === one.envelope.id) === at);
}

/** What macOS's escrow file, read again, makes of the journal. */
export function withEscrowFile(journal: Journal, file: Envelope | null, now: number): Partial<Journal> | null {
  const { escrowSeen } = journal;
  if (file === null) return escrowSeen === null ? null : { escrowSeen: null };
  if (file.id === escrowSeen?.id) return null;
  const isKnown = everyEnvelope(journal).some((one) => one.envelope.id === file.id);
  const { current } = journal;
  // Ours, where our own rotation explains it: the open one, or the last one where the file came late.
  const isSoon = current?.envelope.source === 'rotation' && Math.abs(file.madeAt - current.envelope.madeAt) < 10 * minute;
  const its = journal.ownFileDue ? (journal.rotation?.id ?? (isSoon ? current.rotation : null)) : null;
  // Its key was refused before this file came: one change, which was counted then.
  const isTold = escrowSeen !== null && journal.refusalFile === 'awaited' && isCounted(journal);
  const byOther = escrowSeen !== null && !journal.ownFileDue && !file.ours && !isTold;
  return {
    escrowSeen: { id: file.id, ours: file.ours },
    ownFileDue: false,
    outbox: file.ours && !isKnown ? [...journal.outbox, keep(file, { rotation: its })] : journal.outbox,
    ...(isTold ? { refusalFile: file.id } : {}),
    ...(byOther ? countForeignChange(journal, now) : {}),
  };
}

/** Whether a change by somebody else was counted since macOS last said `true`. */
export const isCounted = ({ foreignChanges, lastProof }: Journal): boolean => foreignChanges.some((at) => at > (lastProof ?? 0));
export const countForeignChange = ({ foreignChanges, lastProof }: Journal, now: number): Pick<Journal, 'foreignChanges'> => ({
  foreignChanges: [...foreignChanges, Math.max(now, (lastProof ?? 0) + 1)],
});

/** As many changes as a day allows; one that failed is not tried again for a day, then two, four, seven. */
export function mayChange(journal: Journal, now: number): boolean {
  const { changes, failed } = journal;
  const wait = [1, 2, 4, 7][Math.min(failed?.times ?? 0, 4) - 1] ?? 0;
  return changes.filter((at) => at > now - day).length < 3 && (failed === null || now - failed.at >= wait * day);
}

export const mayTry = (journal: Journal, now: number, settled: boolean): boolean => {
  const within = (span: number) => journal.refusals.filter((one) => one.unsure || one.at > now - span);
  if (within(day).length >= 2 || within(7 * day).length >= 5) return false;
  return settled || within(day).filter((one) => !one.settled).length < 1;
};

/** K8: two looks that refute come from two runs, ten minutes apart. */
export const isSecondLook = (first: Look, run: number, now: number): boolean => first.run !== run && !first.unsure && now - first.at >= 10 * minute;

/** What was counted before the backend's time was known counts from the moment at which it is. */
export function withSureTime(journal: Journal, now: number): Pick<Journal, 'refusals' | 'doubts' | 'rotation'> {
  const sure = <T extends { at: number; unsure: boolean }>(one: T): T => ({ ...one, at: one.unsure ? now : Math.min(one.at, now), unsure: false });
  const { rotation } = journal;
  return {
    refusals: journal.refusals.map(sure),
    doubts: journal.doubts.map((one) => ({ ...one, first: sure(one.first) })),
    rotation: rotation && { ...rotation, looks: Object.fromEntries(Object.entries(rotation.looks).map(([name, look]) => [name, sure(look)])) },
  };
}
