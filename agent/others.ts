import type { CheckInReply, Facts } from '../protocol/messages.ts';
import { Problem } from '../protocol/problems.ts';
import type { Journal } from './journal.ts';
import { reckonedNow } from './refusals.ts';
import type { Run } from './run-of-agent.ts';

/*
 * What others do to a Mac: they change its key, and an MDM migration takes every profile away and brings others. None of it
 * is a reason to rotate; it is noted, reported, and waited out.
 */

const day = 24 * 60 * 60 * 1000;
/** For so long a change by somebody else counts (C2). */
const foreignDays = 14;

const recent = (journal: Readonly<Journal>, now: number): number[] => journal.foreignChanges.filter((at) => at > now - foreignDays * day);

/** C2: once after each change by somebody else, who on this disk could have made it. A quiet Mac is asked nothing. */
export async function lookForSuspects(run: Run): Promise<void> {
  const last = recent(run.journal.value, reckonedNow(run)).at(-1);
  if (last === undefined || (run.journal.value.suspects?.after ?? 0) >= last) return;
  const { findSuspects, namesOf } = await import('./suspects.ts');
  const names = namesOf(await findSuspects(run.runner, run.disk));
  try {
    run.journal.write({ suspects: { after: last, names } });
  } catch (cause) {
    // A full disk: the backend is to hear of this Mac all the same, and the next run looks again.
    if (!(cause instanceof Problem)) throw cause;
    return;
  }
  run.log('suspects-found', { names: names.join(', ') || 'none' });
}

/** As the backend is told, and whoever asks on this Mac; undefined where nobody changed the key of late. */
export function changedByOthers(journal: Readonly<Journal>, now: number): Facts['foreignChanges'] {
  const times = recent(journal, now);
  if (times.length === 0) return undefined;
  return { times: times.map((at) => new Date(at).toISOString()), suspects: journal.suspects?.names.slice(0, 16) ?? [] };
}

/** G1: what came with an answer of the backend, in its time: since when this payload is the one, and the settings are away. */
export function noteProfiles(journal: Readonly<Journal>, { escrow, settings }: Facts, reply: CheckInReply): Partial<Journal> {
  const now = Date.parse(reply.serverTime);
  const seen = `${escrow.payload} ${escrow.location ?? ''}`.trim();
  const before = journal.payload;
  const isOther = escrow.payload !== 'unknown' && before?.seen !== seen;
  const unmanagedSince = settings.managed ? null : (journal.unmanagedSince ?? now);
  return {
    ...(isOther ? { payload: { seen, since: before === null ? null : now } } : {}),
    ...(unmanagedSince === journal.unmanagedSince ? {} : { unmanagedSince }),
  };
}

/**
 * Whether this Mac is taken to be somebody else's by now: its settings have been away for so long that it asks the backend
 * no more. By the server's time alone: a clock that was wrong at the start ends nothing. What is unfinished is finished first.
 */
export function isGivenUp(journal: Readonly<Journal>, managed: boolean, heardAt: number | null, quietAfterDays: number): boolean {
  const { unmanagedSince, rotation, outbox } = journal;
  if (managed || unmanagedSince === null || heardAt === null || rotation || outbox.length > 0) return false;
  return heardAt - unmanagedSince >= quietAfterDays * day;
}
