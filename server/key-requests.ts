import { randomInt, randomUUID } from 'node:crypto';
import type { Kysely } from 'kysely';
import { Problem } from '../protocol/problems.ts';
import { sameName } from './assignments.ts';
import { audit } from './audit.ts';
import { hour, minute } from './custody-parts.ts';
import type { Tx } from './parts.ts';
import { isHoldOf, latestEpisodeOf, viewsOf, wasShownSince } from './store/episodes.ts';
import { countRequestsSince, insertRequest, type KeyRequestRow, lastRequestOf, overdueRequests, requestsNamed, updateRequest } from './store/key-requests.ts';
import type { Tables } from './tables.ts';

/** What somebody has asked for where self-service is with approval. Times: server, milliseconds. */
export interface KeyRequest {
  id: string;
  /** To be read out on the telephone. */
  code: string;
  /** `used`: it was for one episode, and that one is over. */
  state: KeyRequestRow['state'] | 'used';
  reason: string;
  createdAt: number;
  /** Of a request that waits: when it ends by itself. Of an approved one: until when a key may be shown. */
  expiresAt: number;
  decidedAt: number | null;
  /** Its hours ended while the time of being locked out goes on that it was used for: nobody who is typing is stopped by that. */
  goesOn: boolean;
  /** What whoever decided had to say to whom it is for. */
  words: string | null;
}

/** What this person asked for last about this Mac, as it stands now; null where they never did. */
export async function presentRequest(db: Kysely<Tables>, macId: string, personId: string, at: number): Promise<KeyRequest | null> {
  const row = await lastRequestOf(db, macId, personId);
  if (!row) return null;
  const isOver = (row.state === 'waiting' || row.state === 'approved') && row.expires_at <= at;
  const isOn = row.used_at !== null && (await isEpisodeOn(db, macId, personId));
  // A key that did not open was shown to nobody: the approval is still good.
  const isUsed = row.state === 'approved' && row.used_at !== null && !isOn && (await wasShownSince(db, macId, personId, row.used_at));
  const state = isUsed ? 'used' : isOver ? 'expired' : row.state;
  const { id, code, reason, created_at: createdAt, expires_at: expiresAt, decided_at: decidedAt, words } = row;
  return { id, code, state, reason, createdAt, expiresAt, decidedAt, goesOn: isOn && state === 'expired', words };
}

/** Whether the time of being locked out goes on that the first view began: until its person is back in, or the hold ends otherwise. */
async function isEpisodeOn(db: Kysely<Tables>, macId: string, personId: string): Promise<boolean> {
  const episode = await latestEpisodeOf(db, macId, personId);
  if (!episode || episode.closed_at !== null || episode.back_in_at !== null || episode.not_me_at !== null) return false;
  const last = (await viewsOf(db, episode.id)).at(-1);
  return last !== undefined && (await isHoldOf(db, last.disclosure_id));
}

/** Such as `7F3A-29`, of signs that neither sound nor look like one another; one kind of code for all that is read out. */
const pick = (count: number, from: string): string => Array.from({ length: count }, () => from[randomInt(from.length)]).join('');
const newCode = (): string => `${pick(4, '234679ACFHJKMNRVWXY')}-${pick(2, '2345679')}`;

/** A person who asks more often than this in an hour is not locked out of a Mac. */
const mostAnHour = 10;

/** Asks; who asks twice has asked once. */
export async function askForKey(
  tx: Tx,
  at: number,
  ask: { macId: string; personId: string; actor: string; reason: string; hours: number },
): Promise<KeyRequest> {
  const { macId, personId, actor, hours } = ask;
  const reason = ask.reason.trim();
  if (reason === '' || reason.length > 500) throw new Problem('REASON_MISSING');
  const present = await presentRequest(tx, macId, personId, at);
  if (present && (present.state === 'waiting' || present.state === 'approved')) return present;
  if ((await countRequestsSince(tx, personId, at - 60 * minute)) >= mostAnHour) throw new Problem('REQUESTS_LIMIT');
  let code = newCode();
  while ((await requestsNamed(tx, code)).length > 0) code = newCode();
  const request = { id: randomUUID(), code, reason, expiresAt: at + hours * hour };
  await insertRequest(tx, {
    id: request.id,
    mac_id: macId,
    person_id: personId,
    reason,
    code,
    created_at: at,
    expires_at: request.expiresAt,
    state: 'waiting',
    used_at: null,
    decided_at: null,
    decided_by: null,
    words: null,
  });
  await audit(tx, { at, actor, act: 'request.made', macId, details: { requestId: request.id, code, reason } });
  return { ...request, state: 'waiting', createdAt: at, decidedAt: null, goesOn: false, words: null };
}

/** Whoever asked does not need it any more. */
export async function withdrawRequest(tx: Tx, at: number, { macId, personId, actor }: { macId: string; personId: string; actor: string }): Promise<void> {
  const present = await presentRequest(tx, macId, personId, at);
  if (present?.state !== 'waiting') return;
  await updateRequest(tx, present.id, { state: 'withdrawn', decided_at: at });
  await audit(tx, { at, actor, act: 'request.withdrawn', macId, details: { requestId: present.id, code: present.code } });
}

/** Nobody decides on what they ask for themselves, by whichever of their names: whole, or what stands before the @ of it. */
const isSamePerson = (actor: string, names: readonly (string | null)[]): boolean => {
  const short = (name: string): string => sameName(name).split('@')[0] ?? '';
  return names.some((name) => name !== null && short(actor) === short(name));
};

export interface RequestDecision {
  /** Its id, or its code. */
  request: string;
  as: 'approved' | 'refused';
  actor: string;
  reason: string;
  /** How long an approval is good. */
  hours: number;
}

export type Decided = KeyRequestRow & { user_name: string; serial: string };

export async function decideRequest(tx: Tx, at: number, { request, as, actor, reason, hours }: RequestDecision): Promise<Decided> {
  if (reason.trim() === '') throw new Problem('REASON_MISSING');
  // A code that was given twice over the years means the newest.
  const [row] = await requestsNamed(tx, request.trim());
  if (!row) throw new Problem('NOT_FOUND', `there is no request ${request}`);
  if (isSamePerson(actor, [row.user_name, row.email, row.display_name])) throw new Problem('OWN_REQUEST', row.user_name);
  if (row.state !== 'waiting') throw new Problem('USAGE', `request ${row.code} does not wait: it is ${row.state}`);
  if (row.expires_at <= at) throw new Problem('USAGE', `request ${row.code} waited too long and has ended; its person asks again`);
  const change = { state: as, decided_at: at, decided_by: actor, words: reason, expires_at: as === 'approved' ? at + hours * hour : row.expires_at };
  await updateRequest(tx, row.id, change);
  const details = { requestId: row.id, code: row.code, userName: row.user_name, reason, ...(as === 'approved' ? { until: change.expires_at } : {}) };
  await audit(tx, { at, actor, act: `request.${as}`, macId: row.mac_id, details });
  return { ...row, ...change };
}

/** The first view under an approval: from now on it is for the episode that begins with it, and for no other. */
export async function useApproval(tx: Tx, at: number, macId: string, personId: string): Promise<void> {
  const row = await lastRequestOf(tx, macId, personId);
  if (row?.state === 'approved' && row.used_at === null) await updateRequest(tx, row.id, { used_at: at });
}

/** Those whose time is over, with a line in the audit each. Returns how many. */
export async function expireRequests(tx: Tx, at: number): Promise<number> {
  const overdue = await overdueRequests(tx, at);
  for (const row of overdue) {
    await updateRequest(tx, row.id, { state: 'expired' });
    await audit(tx, { at, actor: 'server', act: 'request.expired', macId: row.mac_id, details: { requestId: row.id, code: row.code, was: row.state } });
  }
  return overdue.length;
}
