import type { Kysely } from 'kysely';
import { z } from 'zod';
import { Problem } from '../../protocol/problems.ts';
import { settle } from '../alarms.ts';
import { isOwnName } from '../approvals/admin-now.ts';
import { keepingRules, keepRulesOfUser } from '../approvals/rules.ts';
import { assign, endAssignments } from '../assignments.ts';
import { audit } from '../audit.ts';
import type { Backend } from '../backend.ts';
import { isoTime } from '../custody-parts.ts';
import { withdrawOrderIn } from '../orders.ts';
import type { Tx } from '../parts.ts';
import { isWithin, type Scope } from '../permissions.ts';
import { openAlarmsOf } from '../store/alarms.ts';
import { claimHistory, claimsOf } from '../store/assignments.ts';
import { joinRecords, keptUnder, waitingOrdersOf } from '../store/fleet-merge.ts';
import { recordsOfMachine } from '../store/fleet-scope.ts';
import { addTag, removeJoinedTags } from '../store/fleet-tags.ts';
import { type Mac, macById, updateMac } from '../store/macs.ts';
import { openRotationOf } from '../store/rotations.ts';
import type { Tables } from '../tables.ts';
import { macInScope, tagsOf } from './in-scope.ts';

type Db = Kysely<Tables>;
const time = z.iso.datetime();
const record = z.strictObject({
  id: z.string(),
  serial: z.string(),
  hardwareUuid: z.string(),
  enrolledAt: time,
  lastSeenAt: time.nullable(),
  keys: z.int(),
  enrolments: z.int(),
  disclosures: z.int(),
  replacements: z.int(),
  users: z.array(z.string()),
  tags: z.array(z.string()),
});

/** What joining would do; nothing was done. */
export const mergePreview = z.strictObject({
  into: record.describe('the record that stays in lists'),
  from: record.describe('the older record, that is told under the other'),
  ordersTakenBack: z.int().describe('orders that wait for a machine that is gone'),
  userMoves: z.string().nullable().describe('whose Mac the other becomes; null: that stays as it is'),
  tagsMove: z.array(z.string()),
  refused: z.string().nullable().describe('why they cannot be joined; null: they can be'),
});
export type MergePreview = z.infer<typeof mergePreview>;

interface Joining {
  /** Ids or serial numbers. */
  into: string;
  from: string;
  scope: Scope;
}

interface Merging extends Joining {
  actor: string;
  personId: string | null;
  reason: string;
  /** More of the same transaction: what it throws refuses the act. */
  before?: (tx: Tx, at: number) => Promise<void>;
}

async function bothOf(db: Db, { into, from, scope }: Joining): Promise<{ into: Mac; from: Mac }> {
  const [one, other] = [await macInScope(db, scope, into), await macInScope(db, scope, from)];
  const [stays, goes] = [await macById(db, one.id), await macById(db, other.id)];
  if (!stays || !goes) throw new Problem('MAC_UNKNOWN');
  if (stays.id === goes.id) throw new Problem('MERGE_REFUSED', 'both names are of one record');
  return { into: stays, from: goes };
}

/**
 * Two records are one machine only where the older one fell silent before the newer one spoke, and where something says that they
 * are one: the serial number, or whose Mac it was. Tags beyond a scope are for somebody else to give.
 */
async function refusal(db: Db, scope: Scope, into: Mac, from: Mac): Promise<string | null> {
  const namesOf = async (mac: Mac) => (await claimHistory(db, mac.id)).map((claim) => claim.user_name);
  const before = await namesOf(from);
  if (into.serial !== from.serial && !(await namesOf(into)).some((name) => before.includes(name)))
    return 'nothing says that they are one Mac: neither the serial number nor anybody whose Mac it was; assign the newer one to its user first';
  const tags = ownTags([...(await tagsOf(db, into.id)), ...(await tagsOf(db, from.id))]);
  const foreign = scope === null ? [] : tags.filter((tag) => !scope.includes(tag));
  if (foreign.length > 0) return `one of them has tags that are not yours to give: ${[...new Set(foreign)].join(', ')}`;
  if (from.last_seen_at !== null && from.last_seen_at >= into.created_at)
    return `the record ${from.id} checked in on ${isoTime(from.last_seen_at)}, after the other was enrolled: both machines are there, or it is the other way round`;
  const open = await openRotationOf(db, from.id);
  if (open) return `a replacement of the record ${from.id} has not ended: take it for lost first by waiting for its alarm, and judge that`;
  return null;
}

/** The one person who had the older record, where nobody has the newer one. */
async function heirOf(db: Db, into: Mac, from: Mac): Promise<{ userName: string; account: string | null } | null> {
  if ((await claimsOf(db, into.id)).some((claim) => claim.source !== 'profile')) return null;
  const claims = (await claimsOf(db, from.id)).filter((claim) => claim.source !== 'profile');
  const [name, ...others] = new Set(claims.map((claim) => claim.user_name));
  return name === undefined || others.length > 0 ? null : { userName: name, account: claims.find((claim) => claim.account !== null)?.account ?? null };
}

async function recordOf(db: Db, mac: Mac): Promise<MergePreview['into']> {
  return {
    id: mac.id,
    serial: mac.serial,
    hardwareUuid: mac.hardware_uuid,
    enrolledAt: isoTime(mac.created_at),
    lastSeenAt: mac.last_seen_at === null ? null : isoTime(mac.last_seen_at),
    ...(await keptUnder(db, mac.id)),
    users: [...new Set((await claimsOf(db, mac.id)).map((claim) => claim.user_name))],
    tags: await tagsOf(db, mac.id),
  };
}

const ownTags = (tags: readonly string[]): string[] => tags.filter((tag) => !tag.startsWith('group:'));

export async function previewMerge(backend: Backend, joining: Joining): Promise<MergePreview> {
  const { db } = backend.store;
  const { into, from } = await bothOf(db, joining);
  const [stays, goes] = [await recordOf(db, into), await recordOf(db, from)];
  return {
    into: stays,
    from: goes,
    ordersTakenBack: (await waitingOrdersOf(db, from.id)).length,
    userMoves: (await heirOf(db, into, from))?.userName ?? null,
    tagsMove: ownTags(goes.tags).filter((tag) => !stays.tags.includes(tag)),
    refused: await refusal(db, joining.scope, into, from),
  };
}

/**
 * Joins two records of one machine whose logic board was replaced. Both keep their rows: keys stay with their Mac and volume,
 * because the MAC of each row is over both; lists, search, timeline and key history tell them as one.
 */
export async function merge(backend: Backend, { actor, personId, reason, before, ...joining }: Merging): Promise<MergePreview> {
  if (reason.trim() === '') throw new Problem('REASON_MISSING');
  const was = await previewMerge(backend, joining);
  await backend.store.write(async (tx) => {
    const at = await backend.clock.persist(tx);
    await before?.(tx, at);
    const { into, from } = await bothOf(tx, joining);
    const refused = await refusal(tx, joining.scope, into, from);
    if (refused !== null) throw new Problem('MERGE_REFUSED', refused);
    for (const order of await waitingOrdersOf(tx, from.id)) await withdrawOrderIn(tx, at, order, { actor, because: 'its record was joined to another' });
    const heir = await heirOf(tx, into, from);
    // Whoever has a Mac is shown its key: nobody says that one is theirs, by a join neither.
    if (heir && personId !== null && (await isOwnName(tx, personId, heir.userName)))
      throw new Problem('OWN_REQUEST', `it would become the Mac of ${heir.userName}`);
    if (heir) {
      await keepRulesOfUser(tx, at, into.id, { actor, personId });
      await assign(tx, at, { macId: into.id, ...heir, actor, reason });
    }
    await endAssignments(tx, at, from.id, 'its record was joined to another');
    await keepingRules(tx, at, [into.id, from.id], { actor, personId }, async () => {
      await shareTags(tx, into, from);
      await joinRecords(tx, from.id, into.id);
    });
    await settleConflicts(tx, at, into, from);
    for (const [mac, other] of [
      [into, from],
      [from, into],
    ] as const)
      await audit(tx, { at, actor, act: 'mac.joined', macId: mac.id, details: { into: into.id, from: from.id, other: other.serial, reason } });
  });
  return was;
}

/** Whoever sees the one sees the other, and what is kept under it. */
async function shareTags(tx: Tx, into: Mac, from: Mac): Promise<void> {
  const tags = ownTags([...(await tagsOf(tx, into.id)), ...(await tagsOf(tx, from.id))]);
  for (const tag of tags) for (const mac of [into, from]) await addTag(tx, mac.id, tag, 'joined');
}

/** That they look like one was right: they are. */
async function settleConflicts(tx: Tx, at: number, into: Mac, from: Mac): Promise<void> {
  for (const mac of [into, from])
    for (const alarm of await openAlarmsOf(tx, mac.id))
      if (alarm.code === 'SERIAL_CONFLICT' && alarm.detail.includes(into.id) && alarm.detail.includes(from.id))
        await settle(tx, at, mac.id, 'SERIAL_CONFLICT', alarm.detail, 'an admin joined both records');
}

/** Takes a join back: two records, each listed, each with the tags that were its own. Whose Mac the newer one has become stays. */
export const part = (backend: Backend, { from, actor, personId, reason, scope, before }: Omit<Merging, 'into'>): Promise<void> =>
  backend.store.write(async (tx) => {
    const at = await backend.clock.persist(tx);
    await before?.(tx, at);
    if (reason.trim() === '') throw new Problem('REASON_MISSING');
    const mac = await macById(tx, from);
    // By its own id: its serial number means the record that it was joined to.
    if (!mac || mac.merged_into === null || !isWithin(scope, await tagsOf(tx, mac.id))) throw new Problem('MAC_UNKNOWN', from);
    await partIn(tx, at, mac, { actor, personId }, reason);
  });

export async function partIn(tx: Tx, at: number, mac: Mac, { actor, personId }: { actor: string; personId: string | null }, because: string): Promise<void> {
  const into = mac.merged_into;
  const left = into === null ? [] : (await recordsOfMachine(tx, into)).slice(1).filter((id) => id !== mac.id);
  await keepingRules(tx, at, [mac.id, ...(into === null ? [] : [into])], { actor, personId }, async () => {
    await updateMac(tx, mac.id, { merged_into: null });
    // Where others are still joined to it they share their tags with it.
    await removeJoinedTags(tx, [mac.id, ...(into !== null && left.length === 0 ? [into] : [])]);
  });
  await audit(tx, { at, actor, act: 'mac.parted', macId: mac.id, details: { from: into, because } });
  if (into !== null) await audit(tx, { at, actor, act: 'mac.parted', macId: into, details: { from: mac.id, because } });
}
