import { randomUUID } from 'node:crypto';
import { Problem } from '../../protocol/problems.ts';
import { audit } from '../audit.ts';
import { hour, minute } from '../custody-parts.ts';
import { tagsOf } from '../fleet/in-scope.ts';
import type { Tx } from '../parts.ts';
import type { Admin } from '../permissions.ts';
import {
  countRequestsSince,
  type DisclosureRequest,
  insertRequest,
  insertVote,
  openRequestsOf,
  overdueRequests,
  requestById,
  updateRequest,
  type Vote,
  votesOn,
} from '../store/disclosure-requests.ts';
import { isSamePerson, personMay, stillMay, whoActs } from './admin-now.ts';
import { isReason } from './disclosure-policy.ts';
import { disclosureRules } from './rules.ts';

/*
 * What an admin asks of others before a key is shown to them. Whoever asked never decides, by no account and no token of theirs;
 * who decides, and whether they may, is asked in the transaction of the vote, and again in that of the use.
 */

export interface Wish {
  macId: string;
  reason: string;
  ticket: string | null;
  /** Null: the volume that the Mac started from last. */
  volume: string | null;
  /** A key that was replaced. */
  recordId: string | null;
  history: boolean;
}

/** Someone who asks more often than this in an hour does not read the answers. */
const mostAnHour = 30;

/** Asks; who asks twice for the same has asked once. */
export async function askToDisclose(tx: Tx, at: number, admin: Admin, wish: Wish): Promise<{ request: DisclosureRequest; isNew: boolean }> {
  const { personId } = whoActs(admin);
  const { macId, volume, recordId, history, ticket } = wish;
  await stillMay(tx, at, admin, history ? 'key.history' : 'key.disclose', macId);
  const rules = await disclosureRules(tx, macId, { at, personId });
  if (admin.service && rules.service === 'never') throw new Problem('NOT_ALLOWED', 'the policy of this Mac shows no key to a token that stands for a program');
  if (!isReason('reason', wish.reason)) throw new Problem('REASON_MISSING', 'who agrees has to read why: ten signs or more');
  const same = (await openRequestsOf(tx, macId, personId)).find(
    (one) =>
      one.history === (history ? 1 : 0) &&
      one.record_id === recordId &&
      one.volume === volume &&
      (one.granted_until ?? one.expires_at) > at &&
      !(one.once === 1 && one.used_at !== null),
  );
  if (same) return { request: same, isNew: false };
  if ((await countRequestsSince(tx, personId, at - hour)) >= mostAnHour) throw new Problem('REQUESTS_LIMIT');
  const row: DisclosureRequest = {
    id: randomUUID(),
    mac_id: macId,
    volume,
    record_id: recordId,
    history: history ? 1 : 0,
    requester: admin.name,
    person_id: personId,
    token_id: admin.service ? admin.tokenId : null,
    reason: wish.reason.trim(),
    ticket,
    state: 'waiting',
    quorum: rules.quorum,
    grant_minutes: rules.grantMinutes,
    once: rules.views === 'once' ? 1 : 0,
    created_at: at,
    expires_at: at + rules.requestHours * hour,
    granted_until: null,
    decided_at: null,
    used_at: null,
  };
  await insertRequest(tx, row);
  const details = { requestId: row.id, reason: row.reason, ticket, history, recordId, volume, quorum: row.quorum, until: row.expires_at };
  await audit(tx, { at, actor: admin.name, act: 'disclosure.asked', macId, details });
  return { request: row, isNew: true };
}

const endedAs = (row: DisclosureRequest): 'used' | 'expired' => (row.used_at === null ? 'expired' : 'used');

/** As it stands now: the clock ends it before a round has written that. */
export function stateNow(row: DisclosureRequest, at: number): DisclosureRequest['state'] {
  if (row.state === 'waiting' && row.expires_at <= at) return 'expired';
  return row.state === 'approved' && (row.granted_until ?? 0) <= at ? endedAs(row) : row.state;
}

export async function withdrawRequest(tx: Tx, at: number, admin: Admin, requestId: string): Promise<DisclosureRequest> {
  const { personId } = whoActs(admin);
  const row = await requestById(tx, requestId);
  // What somebody else has asked is decided by a vote, and not taken back.
  if (!row || row.person_id !== personId) throw new Problem('NOT_FOUND', 'no such request of yours');
  const state = stateNow(row, at);
  if (state !== 'waiting' && state !== 'approved') throw new Problem('REQUEST_ENDED', `it is ${state}`);
  await updateRequest(tx, row.id, { state: 'withdrawn', decided_at: at });
  await audit(tx, { at, actor: admin.name, act: 'disclosure.withdrawn', macId: row.mac_id, details: { requestId, was: state } });
  return { ...row, state: 'withdrawn', decided_at: at };
}

export interface Voting {
  requestId: string;
  vote: 'yes' | 'no';
  words: string;
  way: Vote['way'];
}

/** One no ends it; as many yes as its quorum, of different people, open it for some minutes. */
export async function voteOn(tx: Tx, at: number, admin: Admin, { requestId, vote, words, way }: Voting): Promise<DisclosureRequest> {
  const { personId } = whoActs(admin);
  const row = await requestById(tx, requestId);
  if (!row) throw new Problem('NOT_FOUND', 'no such request');
  await stillMay(tx, at, admin, 'request.decide', row.mac_id).catch((error: unknown) => {
    throw error instanceof Problem && error.code === 'MAC_UNKNOWN' ? new Problem('NOT_FOUND', 'no such request') : error;
  });
  if (admin.service) throw new Problem('NOT_ALLOWED', 'a program agrees to nothing');
  if (await isSamePerson(tx, personId, row.person_id)) throw new Problem('OWN_REQUEST', row.requester);
  const state = stateNow(row, at);
  if (state !== 'waiting') throw new Problem('REQUEST_ENDED', `it is ${state}`);
  if (words.trim() === '') throw new Problem('REASON_MISSING', 'whoever asked reads what was decided, and why');
  const before = await votesOn(tx, requestId);
  for (const one of before)
    if (await isSamePerson(tx, one.person_id, personId)) throw new Problem('REQUEST_ENDED', 'you have voted on it; somebody else has to agree too');
  await insertVote(tx, { request_id: requestId, person_id: personId, name: admin.name, vote, words: words.trim(), at, way });
  const details = { requestId, requester: row.requester, words: words.trim(), way };
  await audit(tx, { at, actor: admin.name, act: vote === 'yes' ? 'disclosure.agreed' : 'disclosure.declined', macId: row.mac_id, details });
  const yes = before.filter((one) => one.vote === 'yes').length + 1;
  if (vote === 'yes' && yes < row.quorum) return row;
  const change =
    vote === 'yes'
      ? ({ state: 'approved', decided_at: at, granted_until: at + row.grant_minutes * minute } as const)
      : ({ state: 'declined', decided_at: at } as const);
  await updateRequest(tx, requestId, change);
  return { ...row, ...change };
}

/**
 * Whether this request opens this key for this admin now, in the transaction of the disclosure. Whoever agreed has to be somebody
 * who may still do so for this Mac, and there have to be as many as the policy of now asks for.
 */
export async function grantedRequest(tx: Tx, at: number, admin: Admin, wanted: Wish & { requestId: string; quorum: number }): Promise<DisclosureRequest> {
  const { personId } = whoActs(admin);
  const row = await requestById(tx, wanted.requestId);
  if (!row || row.person_id !== personId || row.mac_id !== wanted.macId) throw new Problem('APPROVAL_NEEDED', 'no such request of yours for this Mac');
  if (row.history !== (wanted.history ? 1 : 0) || row.volume !== wanted.volume || (wanted.history && row.record_id !== wanted.recordId))
    throw new Problem('APPROVAL_NEEDED', 'it was asked for another key');
  // What a person asked is not for a program of theirs to fetch, nor the other way about.
  if (row.token_id !== (admin.service ? admin.tokenId : null)) throw new Problem('APPROVAL_NEEDED', 'it was asked by somebody else of yours');
  const state = stateNow(row, at);
  if (state === 'waiting') throw new Problem('APPROVAL_NEEDED', 'nobody, or not enough people, have agreed yet');
  if (state !== 'approved') throw new Problem('REQUEST_ENDED', `it is ${state}`);
  const tags = await tagsOf(tx, row.mac_id);
  let good = 0;
  for (const vote of await votesOn(tx, row.id)) {
    if (vote.vote === 'yes' && !(await isSamePerson(tx, vote.person_id, personId)) && (await personMay(tx, at, vote.person_id, 'request.decide', tags)))
      good += 1;
  }
  if (good < Math.max(row.quorum, wanted.quorum))
    throw new Problem('APPROVAL_NEEDED', 'who agreed may no longer do so, or the policy asks for more people now');
  return row;
}

/** Those whose time is over, with a line in the audit each. Returns how many. */
export async function expireDisclosureRequests(tx: Tx, at: number): Promise<number> {
  const overdue = await overdueRequests(tx, at);
  for (const row of overdue) {
    await updateRequest(tx, row.id, { state: endedAs(row) });
    const details = { requestId: row.id, was: row.state, used: row.used_at !== null };
    await audit(tx, { at, actor: 'server', act: 'disclosure.expired', macId: row.mac_id, details });
  }
  return overdue.length;
}
