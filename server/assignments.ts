import { randomUUID } from 'node:crypto';
import type { Kysely } from 'kysely';
import type { Facts } from '../protocol/messages.ts';
import { Problem } from '../protocol/problems.ts';
import { audit } from './audit.ts';
import type { Caller, Tx } from './parts.ts';
import { type Claim, claimsOf, endClaim, insertClaim, type LastWord } from './store/assignments.ts';
import { enrolmentById } from './store/enrolments.ts';
import { recordsOfVolume } from './store/keys.ts';
import { type Mac, macById } from './store/macs.ts';
import { provedByBringing } from './store/proofs.ts';
import type { Tables } from './tables.ts';

type Db = Kysely<Tables>;

/** Who says that a Mac is somebody's. The highest rank counts; a Mac's own word is the lowest. */
const ranks = { profile: 1, csv: 2, admin: 3 } as const;

/** Names are compared in this form: lower case, and one way of writing each accent. */
export const sameName = (name: string): string => name.trim().toLowerCase().normalize('NFC');

/**
 * A user name as assignments keep it, or null where it is none: what a terminal would obey, what a spreadsheet would reckon,
 * and what an MDM has left unfilled.
 */
export function readUserName(text: string): string | null {
  const name = sameName(text);
  if (name === '' || name.length > 256 || /[\p{C}\p{Zl}\p{Zp}]/u.test(name) || /^[=+@\-$%]|[{}]/u.test(name)) return null;
  return name;
}

/** The short name of an account on a Mac. */
export function readAccount(text: string): string | null {
  const name = text.trim().normalize('NFC');
  return /^[\p{L}\p{N}_][\p{L}\p{N}_.@-]{0,254}$/u.test(name) ? name : null;
}

export type Whose =
  | { kind: 'nobody' }
  /** `claims`: of the highest rank. */
  | { kind: 'one'; userName: string; claims: readonly Claim[] }
  /** Two people of the highest rank: it is nobody's until an admin decides. */
  | { kind: 'two-claims'; userNames: readonly string[] };

export function whose(claims: readonly Claim[]): Whose {
  const rank = Math.max(...claims.map((claim) => claim.rank));
  const highest = claims.filter((claim) => claim.rank === rank);
  const [userName, ...others] = [...new Set(highest.map((claim) => claim.user_name))].toSorted();
  if (userName === undefined) return { kind: 'nobody' };
  return others.length === 0 ? { kind: 'one', userName, claims: highest } : { kind: 'two-claims', userNames: [userName, ...others] };
}

/**
 * Whether a claim may bring its person to the keys that are here. What a profile says comes from whoever holds an enrolment:
 * before an admin has confirmed that one, it says nothing about keys that it has neither delivered nor proved.
 */
export async function isTrusted(db: Db, mac: Mac, claim: Claim): Promise<boolean> {
  if (claim.source !== 'profile') return true;
  const of = claim.enrolment_id === null ? null : await enrolmentById(db, claim.enrolment_id);
  if (!of || of.enrolment.status === 'revoked') return false;
  if (of.enrolment.confirmed === 1) return true;
  const { id } = of.enrolment;
  const records = mac.present_volume === null ? [] : await recordsOfVolume(db, mac.id, mac.present_volume);
  for (const record of records) {
    if (record.state === 'quarantined' || record.state === 'destroyed') continue;
    if (record.enrolment_id !== id && !(await provedByBringing(db, record.id, id))) return false;
  }
  return true;
}

interface Ending {
  actor: string;
  because: string;
  reason?: string;
}

async function end(tx: Tx, at: number, claim: LastWord, { actor, because, reason }: Ending): Promise<void> {
  await endClaim(tx, claim.id, because, at);
  const { id: assignmentId, user_name: userName, source } = claim;
  await audit(tx, { at, actor, act: 'assignment.ended', macId: claim.mac_id, details: { assignmentId, userName, source, because, reason } });
}

interface Given {
  macId: string;
  userName: string;
  account: string | null;
  source: Claim['source'];
  actor: string;
  reason?: string;
  enrolmentId?: string;
}

async function give(tx: Tx, at: number, { macId, userName, account, source, actor, reason, enrolmentId }: Given): Promise<void> {
  const id = randomUUID();
  await insertClaim(tx, {
    id,
    mac_id: macId,
    user_name: userName,
    account,
    source,
    rank: ranks[source],
    enrolment_id: enrolmentId ?? null,
    created_at: at,
    created_by: actor,
    ended_at: null,
    ended_because: null,
  });
  await audit(tx, { at, actor, act: 'assignment.made', macId, details: { assignmentId: id, userName, account, source, reason } });
}

export interface Assignment {
  macId: string;
  /** In the form of `readUserName`. */
  userName: string;
  account: string | null;
  actor: string;
  reason: string;
}

/** An admin decides: this person and nobody else, whatever anybody of lower rank says. Tells whom admins had named before. */
export async function assign(tx: Tx, at: number, { macId, userName, account, actor, reason }: Assignment): Promise<{ before: string[] }> {
  if (reason.trim() === '') throw new Problem('REASON_MISSING');
  if (!(await macById(tx, macId))) throw new Problem('MAC_UNKNOWN');
  const mine = (await claimsOf(tx, macId)).filter((claim) => claim.source === 'admin');
  const isSame = mine.length === 1 && mine[0]?.user_name === userName && mine[0].account === account;
  if (isSame) return { before: [userName] };
  for (const claim of mine) await end(tx, at, claim, { actor, because: 'assigned again', reason });
  await give(tx, at, { macId, userName, account, source: 'admin', actor, reason });
  return { before: mine.map((claim) => claim.user_name) };
}

/** Ends what is said of a Mac, by whomever: of one person, or of all. A profile's word stays ended until the profile says another. */
export async function unassign(tx: Tx, at: number, said: { macId: string; userName: string | null; actor: string; reason: string }): Promise<Claim[]> {
  const { macId, userName, actor, reason } = said;
  if (reason.trim() === '') throw new Problem('REASON_MISSING');
  const claims = (await claimsOf(tx, macId)).filter((claim) => userName === null || claim.user_name === userName);
  for (const claim of claims) await end(tx, at, claim, { actor, because: 'unassigned', reason });
  return claims;
}

/** What a list says of one Mac takes the place of what a list said of it before. */
export async function assignFromCsv(
  tx: Tx,
  at: number,
  list: { macId: string; people: readonly { userName: string; account: string | null }[]; actor: string; reason: string },
): Promise<void> {
  const { macId, people, actor, reason } = list;
  const before = (await claimsOf(tx, macId)).filter((claim) => claim.source === 'csv');
  const isSame = (claim: Claim, one: { userName: string; account: string | null }) => claim.user_name === one.userName && claim.account === one.account;
  for (const claim of before.filter((claim) => !people.some((one) => isSame(claim, one)))) await end(tx, at, claim, { actor, because: 'another list', reason });
  for (const one of people) {
    if (!before.some((claim) => isSame(claim, one))) await give(tx, at, { macId, ...one, source: 'csv', actor, reason });
  }
}

/**
 * The managed setting `assignedTo`, at a check-in. Only a word that is new does something, so that what an admin has ended
 * stays ended; a setting that is gone ends it. An agent that says nothing, or settings that are not managed, change nothing.
 * `last`: what the profile said last by the mouth of this enrolment, whether it still counts or not.
 */
export async function takeWordOfProfile(tx: Tx, at: number, caller: Caller, facts: Facts, last: LastWord | undefined): Promise<void> {
  const said = facts.assignedTo;
  if (said === undefined || !facts.settings.managed) return;
  const userName = said === null ? null : readUserName(said);
  if (said !== null && userName === null) return;
  const isOpen = last !== undefined && last.ended_at === null;
  if (userName === null) {
    if (isOpen) await end(tx, at, last, { actor: 'mac', because: 'the profile names nobody' });
    return;
  }
  const wasEndedByAdmin = last?.ended_because === 'unassigned';
  if (last?.user_name === userName && (isOpen || wasEndedByAdmin)) return;
  if (isOpen) await end(tx, at, last, { actor: 'mac', because: 'the profile names somebody else' });
  await give(tx, at, { macId: caller.macId, userName, account: null, source: 'profile', actor: 'mac', enrolmentId: caller.enrolmentId });
}

/** A Mac that is set up again may be somebody else's now. */
export async function endAssignments(tx: Tx, at: number, macId: string, because: string): Promise<void> {
  for (const claim of await claimsOf(tx, macId)) await end(tx, at, claim, { actor: 'server', because });
}
