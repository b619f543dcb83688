import { randomUUID } from 'node:crypto';
import type { Kysely } from 'kysely';
import { Problem } from '../../protocol/problems.ts';
import { presentGrants } from '../admins/admin.ts';
import { asTag, tagName } from '../admins/grants.ts';
import { audit } from '../audit.ts';
import { day, minute } from '../custody-parts.ts';
import type { Tx } from '../parts.ts';
import { type Admin, type Permission, type Scope, scopeOf } from '../permissions.ts';
import { type Emergency, emergenciesAt, emergenciesGoingOn, emergencyById, insertEmergency, lastEmergencyView, updateEmergency } from '../store/emergencies.ts';
import type { Tables } from '../tables.ts';
import { isSamePerson, stillMayAtAll, whoActs } from './admin-now.ts';

/*
 * For the day on which many are locked out at once: two people open self-service for the Macs of some tags, and for people of some
 * groups (`group:NAME`), for some hours. It changes no setting, and whose Mac it is, alarms and limits go on counting.
 */

const longest = 7 * day;
const mostTags = 20;
/** Nobody buries one that is open under others that wait. */
const mostWaiting = 20;

export interface EmergencyAsked {
  tags: readonly string[];
  from: number;
  until: number;
  reason: string;
}

const tagsOfRow = (row: Pick<Emergency, 'tags'>): string[] => JSON.parse(row.tags) as string[];
const covers = (scope: Scope, tags: readonly string[]): boolean => scope === null || tags.every((tag) => scope.includes(tag));

export async function askEmergency(tx: Tx, at: number, admin: Admin, asked: EmergencyAsked): Promise<Emergency> {
  const { personId } = whoActs(admin);
  const scope = await stillMayAtAll(tx, at, admin, 'emergency.open');
  if (admin.service) throw new Problem('NOT_ALLOWED', 'a program opens nothing for many');
  const tags = [...new Set(asked.tags.map((tag) => asTag(tag.trim())))].toSorted();
  if (tags.length === 0 || tags.length > mostTags || tags.some((tag) => !tagName.safeParse(tag).success))
    throw new Problem('MESSAGE_INVALID', `tags: from one to ${mostTags} of them`);
  if (!covers(scope, tags)) throw new Problem('NOT_ALLOWED', 'these are not all your Macs');
  if (asked.reason.trim().length < 10) throw new Problem('REASON_MISSING', 'say why, in ten signs or more');
  const from = Math.max(at, asked.from);
  if (asked.until <= from + minute || asked.until > at + longest)
    throw new Problem('MESSAGE_INVALID', 'until: after its beginning, and at most seven days from now');
  const waiting = (await emergenciesGoingOn(tx, at)).filter((one) => one.agreed_at === null);
  if (waiting.length >= mostWaiting) throw new Problem('REQUESTS_LIMIT', 'so many wait for somebody to agree already');
  const row: Emergency = {
    id: randomUUID(),
    tags: JSON.stringify(tags),
    from_at: from,
    until_at: asked.until,
    reason: asked.reason.trim(),
    asked_by: admin.name,
    asked_by_person: personId,
    asked_at: at,
    agreed_by: null,
    agreed_by_person: null,
    agreed_at: null,
    ended_at: null,
    ended_by: null,
    told_at: null,
  };
  await insertEmergency(tx, row);
  await audit(tx, { at, actor: admin.name, act: 'emergency.asked', details: { emergencyId: row.id, tags, from, until: row.until_at, reason: row.reason } });
  return row;
}

export type EmergencyState = 'asked' | 'agreed' | 'open' | 'over' | 'ended';
export function emergencyState(row: Emergency, at: number): EmergencyState {
  if (row.ended_at !== null) return 'ended';
  if (row.until_at <= at) return 'over';
  if (row.agreed_at === null) return 'asked';
  return row.from_at <= at ? 'open' : 'agreed';
}

async function within(tx: Tx, scope: Scope, id: string): Promise<Emergency> {
  const row = await emergencyById(tx, id);
  if (!row || !covers(scope, tagsOfRow(row))) throw new Problem('NOT_FOUND', 'no such emergency');
  return row;
}

export async function agreeEmergency(tx: Tx, at: number, admin: Admin, { id, words }: { id: string; words: string }): Promise<Emergency> {
  const { personId } = whoActs(admin);
  const row = await within(tx, await stillMayAtAll(tx, at, admin, 'emergency.agree'), id);
  if (admin.service) throw new Problem('NOT_ALLOWED', 'a program agrees to nothing');
  if (await isSamePerson(tx, personId, row.asked_by_person)) throw new Problem('OWN_REQUEST', row.asked_by);
  const state = emergencyState(row, at);
  if (state !== 'asked') throw new Problem('REQUEST_ENDED', `it is ${state}`);
  if (words.trim() === '') throw new Problem('REASON_MISSING', 'say why you agree');
  if (!(await mayStill(tx, at, row.asked_by_person, 'emergency.open', tagsOfRow(row))))
    throw new Problem('NOT_ALLOWED', 'whoever asked for it may not open it any more');
  const change = { agreed_by: admin.name, agreed_by_person: personId, agreed_at: at };
  await updateEmergency(tx, id, change);
  await audit(tx, { at, actor: admin.name, act: 'emergency.agreed', details: { emergencyId: id, words: words.trim(), until: row.until_at } });
  return { ...row, ...change };
}

/** With either of the two permissions for each of its tags: ending it takes one person. */
export async function endEmergency(tx: Tx, at: number, admin: Admin, { id, words }: { id: string; words: string }): Promise<Emergency> {
  const scopes: Scope[] = [];
  for (const permission of ['emergency.open', 'emergency.agree'] as const) scopes.push(await stillMayAtAll(tx, at, admin, permission).catch(() => []));
  const row = await within(tx, scopes.includes(null) ? null : scopes.flatMap((scope) => scope ?? []), id);
  const state = emergencyState(row, at);
  if (state === 'ended' || state === 'over') throw new Problem('REQUEST_ENDED', `it is ${state}`);
  const change = { ended_at: at, ended_by: admin.name };
  await updateEmergency(tx, id, change);
  await audit(tx, { at, actor: admin.name, act: 'emergency.ended', details: { emergencyId: id, words: words.trim(), was: state } });
  return { ...row, ...change };
}

/** Whether somebody may do this for all of these tags now. */
async function mayStill(db: Kysely<Tables>, at: number, personId: string | null, permission: Permission, tags: readonly string[]): Promise<boolean> {
  const person = personId === null ? null : await presentGrants(db, personId, at);
  const scope = person ? scopeOf(person, permission) : false;
  return scope !== false && covers(scope, tags);
}

/** It stands on two people: where one of them may not do it any more, it opens nothing. */
const isBacked = async (db: Kysely<Tables>, at: number, row: Emergency): Promise<boolean> =>
  (await mayStill(db, at, row.asked_by_person, 'emergency.open', tagsOfRow(row))) &&
  (await mayStill(db, at, row.agreed_by_person, 'emergency.agree', tagsOfRow(row)));

/** The emergency that opens self-service for this Mac, or this person, now; null where none does. `groups`: null where nobody can say. */
export async function emergencyFor(db: Kysely<Tables>, at: number, tags: readonly string[], groups: readonly string[] | null): Promise<Emergency | null> {
  const open = await emergenciesAt(db, at);
  const theirs = [...tags, ...(groups ?? []).map((name) => `group:${name}`)];
  for (const row of open) if (tagsOfRow(row).some((tag) => theirs.includes(tag)) && (await isBacked(db, at, row))) return row;
  return null;
}

/** So long somebody who was shown a key by an emergency goes on, in steps of five minutes, after its time is over. */
const finishTime = 60 * minute;
/** The step before is hardly over. */
const stepTime = 15 * minute;

/**
 * The emergency under which this person was just shown the key of this Mac, though its time is over by now: whoever is typing
 * finishes. Not where somebody has ended it.
 */
export async function emergencyJustOver(db: Kysely<Tables>, at: number, macId: string, personId: string): Promise<Emergency | null> {
  const last = await lastEmergencyView(db, macId, personId);
  const row = last && at - last.at < stepTime ? await emergencyById(db, last.emergency_id) : undefined;
  if (!row || row.ended_at !== null || at < row.until_at || at - row.until_at >= finishTime) return null;
  return (await isBacked(db, at, row)) ? row : null;
}
