import { createHash, createHmac, randomBytes, randomInt, randomUUID } from 'node:crypto';
import type { Kysely } from 'kysely';
import { Problem } from '../../protocol/problems.ts';
import { stopsSelfService } from '../alarms.ts';
import { audit } from '../audit.ts';
import { hour, minute } from '../custody-parts.ts';
import { tagsOf } from '../fleet/in-scope.ts';
import { standingOf } from '../mac-standing.ts';
import type { ServerSecrets, Tx } from '../parts.ts';
import type { Admin } from '../permissions.ts';
import { openAlarmsOf } from '../store/alarms.ts';
import { countReleasesSince, insertRelease, type Release, releaseByDigest, releaseById, releaseOfHolder, updateRelease } from '../store/releases.ts';
import type { Tables } from '../tables.ts';
import { isSamePerson, personMay, stillMay, whoActs } from './admin-now.ts';
import { viewsInHour } from './disclose.ts';
import { assistedOf } from './disclosure-policy.ts';
import { disclosureRules } from './rules.ts';

/*
 * Assisted release: the desk has made sure who is calling, and makes a code that opens the page of the key of one Mac on any device.
 * The desk sees what became of the code, and never the key.
 */

/** How long a code may be typed, a code waits for a second person, and a browser in which it was typed may show the key. */
const codeTime = 10 * minute;
const confirmTime = 30 * minute;
const openTime = hour;
const mostAnHour = 60;

/** Told apart when they are read out, and when they are read: no B D E G P T, no 0 O, 1 I L, 5 S, 8. */
const signs = '234679ACFHJKMNRVWXY';
const group = (): string => Array.from({ length: 4 }, () => signs[randomInt(signs.length)]).join('');

/** Three groups of four: fifty bits, for ten minutes. */
const newCode = (): string => `${group()}-${group()}-${group()}`;
const tidy = (typed: string): string => typed.toUpperCase().replace(/[^A-Z0-9]/g, '');
const digestOf = (secrets: ServerSecrets, typed: string): string =>
  createHmac('sha256', secrets.nonce)
    .update(`release\0${tidy(typed)}`)
    .digest('hex');
const holderOf = (token: string): string => createHash('sha256').update(token).digest('hex');

export interface Releasing {
  macId: string;
  personName: string;
  /** How the desk knew who called. */
  verified: string;
}

/** A Mac that is in nobody's hands who may be helped: whoever calls has found it, or has taken it. */
const isGone = async (tx: Tx, macId: string): Promise<boolean> => (await standingOf(tx, macId)).state !== 'in-use';

/** The code is in this answer and nowhere else. */
export async function makeRelease(tx: Tx, at: number, secrets: ServerSecrets, admin: Admin, wanted: Releasing): Promise<{ release: Release; code: string }> {
  const { personId } = whoActs(admin);
  const { macId } = wanted;
  await stillMay(tx, at, admin, 'release.assist', macId);
  if (admin.service) throw new Problem('NOT_ALLOWED', 'a program knows nobody who calls');
  const rules = await disclosureRules(tx, macId, { at, personId });
  if (assistedOf(rules) === 'off') throw new Problem('NOT_ALLOWED', 'the policy of this Mac has no codes of the desk');
  const standing = await standingOf(tx, macId);
  if (standing.ownership === 'personal') throw new Problem('NOT_ALLOWED', 'this Mac belongs to its user: nobody is given a code for it');
  if (await isGone(tx, macId)) throw new Problem('NOT_ALLOWED', 'this Mac is lost or retired: nobody is given a code for it');
  const [personName, verified] = [wanted.personName.trim(), wanted.verified.trim()];
  if (personName === '' || verified.length < 10) throw new Problem('REASON_MISSING', 'say who calls, and in ten signs or more how you know that it is them');
  if ((await countReleasesSince(tx, personId, at - hour)) >= mostAnHour) throw new Problem('REQUESTS_LIMIT');
  if ((await viewsInHour(tx, at, personId)) >= rules.viewsPerHour) throw new Problem('VIEWS_LIMIT', 'admin');
  // What stops self-service may be somebody who is not who they say: one of the desk alone is not enough.
  const second = assistedOf(rules) === 'two-people' || stopsSelfService(await openAlarmsOf(tx, macId));
  const code = newCode();
  const release: Release = {
    id: randomUUID(),
    digest: digestOf(secrets, code),
    mac_id: macId,
    person_name: personName,
    verified,
    made_by: admin.name,
    made_by_person: personId,
    created_at: at,
    second: second ? 1 : 0,
    confirmed_by: null,
    confirmed_by_person: null,
    confirmed_at: null,
    expires_at: at + (second ? confirmTime : codeTime),
    used_at: null,
    holder: null,
    open_until: null,
    ended_at: null,
    ended_because: null,
    more_time: 0,
  };
  await insertRelease(tx, release);
  const details = { releaseId: release.id, personName, verified, second, until: release.expires_at };
  await audit(tx, { at, actor: admin.name, act: 'release.made', macId, details });
  return { release, code };
}

export type ReleaseState = 'unconfirmed' | 'ready' | 'open' | 'over' | 'expired' | 'withdrawn' | 'done';

export function releaseState(row: Release, at: number): ReleaseState {
  if (row.ended_at !== null) return row.ended_because === 'withdrawn' ? 'withdrawn' : row.ended_because === 'done' ? 'done' : 'over';
  if (row.used_at !== null) return at < (row.open_until ?? 0) ? 'open' : 'over';
  if (row.expires_at <= at) return 'expired';
  return row.second === 1 && row.confirmed_at === null ? 'unconfirmed' : 'ready';
}

/** One that this admin may see, for what they want to do with it. */
async function theirs(tx: Tx, at: number, admin: Admin, releaseId: string): Promise<Release> {
  const row = await releaseById(tx, releaseId);
  if (!row) throw new Problem('NOT_FOUND', 'no such code');
  await stillMay(tx, at, admin, 'release.assist', row.mac_id).catch((error: unknown) => {
    throw error instanceof Problem && error.code === 'MAC_UNKNOWN' ? new Problem('NOT_FOUND', 'no such code') : error;
  });
  return row;
}

/** Where two people are asked for, another of the desk says that the first one is right; from then on the code may be typed. */
export async function confirmRelease(tx: Tx, at: number, admin: Admin, { releaseId, words }: { releaseId: string; words: string }): Promise<Release> {
  const { personId } = whoActs(admin);
  const row = await theirs(tx, at, admin, releaseId);
  if (admin.service) throw new Problem('NOT_ALLOWED', 'a program knows nobody who calls');
  if (await isSamePerson(tx, personId, row.made_by_person)) throw new Problem('OWN_REQUEST', row.made_by);
  if (words.trim() === '') throw new Problem('REASON_MISSING', 'say how you know that it is right');
  const state = releaseState(row, at);
  if (state !== 'unconfirmed') throw new Problem('REQUEST_ENDED', `the code is ${state}`);
  const change = { confirmed_by: admin.name, confirmed_by_person: personId, confirmed_at: at, expires_at: at + codeTime };
  await updateRelease(tx, row.id, change);
  const details = { releaseId, words: words.trim(), until: change.expires_at };
  await audit(tx, { at, actor: admin.name, act: 'release.confirmed', macId: row.mac_id, details });
  return { ...row, ...change };
}

/** Ends it at once, also in the browser in which it was typed. */
export async function withdrawRelease(tx: Tx, at: number, admin: Admin, releaseId: string): Promise<Release> {
  const row = await theirs(tx, at, admin, releaseId);
  const state = releaseState(row, at);
  if (state !== 'unconfirmed' && state !== 'ready' && state !== 'open') throw new Problem('REQUEST_ENDED', `the code is ${state}`);
  const change = { ended_at: at, ended_because: 'withdrawn' } as const;
  await updateRelease(tx, row.id, change);
  await audit(tx, { at, actor: admin.name, act: 'release.withdrawn', macId: row.mac_id, details: { releaseId, was: state } });
  return { ...row, ...change };
}

/** Who made it, and who confirmed it, may still do so for this Mac, and its policy still has codes. */
async function stillGood(tx: Tx, at: number, row: Release): Promise<boolean> {
  const rules = await disclosureRules(tx, row.mac_id, { at, personId: row.made_by_person });
  if (assistedOf(rules) === 'off' || (assistedOf(rules) === 'two-people' && row.confirmed_at === null)) return false;
  if (await isGone(tx, row.mac_id)) return false;
  const tags = await tagsOf(tx, row.mac_id);
  for (const personId of [row.made_by_person, row.confirmed_by_person]) {
    if (personId !== null && !(await personMay(tx, at, personId, 'release.assist', tags))) return false;
  }
  return true;
}

/**
 * The code was typed: from now on this browser, and no other, has the page of the key. Null for whatever is not good, for whichever
 * reason: who guesses learns nothing.
 */
export async function openRelease(tx: Tx, at: number, secrets: ServerSecrets, typed: string): Promise<{ release: Release; token: string } | null> {
  if (tidy(typed).length !== 12) return null;
  const row = await releaseByDigest(tx, digestOf(secrets, typed));
  if (!row || releaseState(row, at) !== 'ready' || !(await stillGood(tx, at, row))) return null;
  const token = randomBytes(32).toString('base64url');
  const change = { used_at: at, holder: holderOf(token), open_until: at + openTime };
  await updateRelease(tx, row.id, change);
  await audit(tx, { at, actor: actorOf(row), act: 'release.used', macId: row.mac_id, details: { releaseId: row.id, personName: row.person_name } });
  return { release: { ...row, ...change }, token };
}

/** Whom a disclosure by a code is put down to: the person who made it. Whom it is for is said beside. */
export const actorOf = (row: Release): string => row.made_by;

/** What a browser's token opens, if its time is not over and the desk has not taken it back. */
export async function heldRelease(tx: Kysely<Tables>, at: number, token: string | undefined): Promise<Release | null> {
  if (token === undefined || !/^[\w-]{43}$/.test(token)) return null;
  const row = await releaseOfHolder(tx, holderOf(token));
  return row && releaseState(row, at) === 'open' ? row : null;
}

/** The same within the act that shows a key. */
export async function stillHeld(tx: Tx, at: number, releaseId: string): Promise<Release> {
  const row = await releaseById(tx, releaseId);
  if (!row || releaseState(row, at) !== 'open' || !(await stillGood(tx, at, row))) throw new Problem('NOT_SHOWN', 'the code of the desk is over');
  return row;
}

/** Whoever has it says that they are done. */
export async function endRelease(tx: Tx, at: number, { id }: Release): Promise<void> {
  // The desk may have taken it back since the page was made: that stays what is said of it.
  const row = await releaseById(tx, id);
  if (!row || row.ended_at !== null) return;
  await updateRelease(tx, row.id, { ended_at: at, ended_because: 'done' });
  await audit(tx, { at, actor: actorOf(row), act: 'release.done', macId: row.mac_id, details: { releaseId: row.id } });
}
