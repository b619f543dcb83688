import { z } from 'zod';
import { chosenMacs } from '../../server/campaigns/chosen.ts';
import type { Plan, Wish } from '../../server/campaigns/plan.ts';
import type { CampaignSummary } from '../../server/campaigns/read.ts';
import { scopeOf } from '../../server/permissions.ts';
import { quietHours } from '../../server/policies/quiet-hours.ts';
import { makeCursor, pageInput, pageOf, readCursor } from '../cursor.ts';
import { type AnyOperation, operation } from '../operation.ts';
import { iso, reason } from './orders.ts';

const time = z.iso.datetime();
const count = z.int().min(0);

const wish = {
  chosen: chosenMacs.describe('which Macs'),
  from: time.optional().describe('not before; left out: now'),
  perHour: z.int().min(1).max(10_000).optional().describe('orders in an hour, at most; left out: half of the keys that may be given to Macs in an hour'),
  quietHours: quietHours.nullable().default(null),
  withoutLogin: z.boolean().default(false).describe('for Macs where nobody logs in: an hour of uptime is enough'),
  overrideHold: z.boolean().default(false).describe('also while somebody may be typing the key; only for Macs that are named, with rotation.override'),
  notSeenDays: z.int().min(1).max(3650).nullable().default(30).describe('leaves out Macs that were not heard of for so many days; null: none'),
};
type WishIn = z.output<z.ZodObject<typeof wish>>;

const wishOf = ({ chosen, from, perHour, quietHours: quiet, withoutLogin, overrideHold, notSeenDays }: WishIn): Wish => ({
  chosen,
  fromAt: from === undefined ? null : Date.parse(from),
  perHour: perHour ?? null,
  quiet,
  withoutLogin,
  overrideHold,
  seenDays: notSeenDays,
});

const plan = z.strictObject({
  matching: count.describe('Macs that are meant'),
  count: count.describe('Macs whose key would be replaced: the `confirmCount` of the start'),
  leftOut: z.array(z.strictObject({ why: z.string(), says: z.string(), count })),
  perHour: z.int(),
  firstAt: time,
  lastAt: time.describe('when the last of them would be told'),
  planDigest: z.string(),
  words: z.string().describe('as people say it: 412 Macs, over 9 hours, from 19:00'),
  notes: z.array(z.string()),
});
const planOut = ({ digest, firstAt, lastAt, ...rest }: Plan): z.infer<typeof plan> => ({
  ...rest,
  firstAt: iso(firstAt),
  lastAt: iso(lastAt),
  planDigest: digest,
});

export const planRotations = operation({
  name: 'rotations.plan',
  method: 'POST',
  path: '/v1/rotations/plan',
  says: 'Says how many keys would be replaced, which Macs would be left out and why, and how long it would take. Changes nothing.',
  permission: 'rotation.order',
  changesNothing: true,
  input: z.strictObject(wish),
  output: plan,
  run: async ({ backend, scope }, input) => planOut(await backend.custody.campaigns.plan(scope, wishOf(input))),
});

const campaign = z.strictObject({
  id: z.string(),
  reason: z.string(),
  state: z.enum(['planned', 'running', 'paused', 'done', 'cancelled']),
  stateAt: time,
  stateBy: z.string(),
  stateBecause: z.string().nullable(),
  by: z.string(),
  createdAt: time,
  from: time,
  perHour: z.int(),
  quietHours: quietHours.nullable(),
  withoutLogin: z.boolean(),
  overrideHold: z.boolean(),
  notSeenDays: z.int().nullable(),
  filter: z.record(z.string(), z.unknown()).nullable().describe('null: its Macs were named'),
  gathered: z.boolean().describe('all of its Macs are written down; before that its counts grow'),
  endedAt: time.nullable(),
  counts: z
    .strictObject({
      total: count,
      waiting: count.describe('for their wave'),
      notFetched: count.describe('ordered, and the Mac has not been heard of since'),
      fetched: count.describe('the Mac has been heard of since'),
      replacing: count,
      done: count,
      failed: count,
      left: count.describe('left out'),
    })
    .describe('of the Macs that whoever asks may see'),
  reasons: z.array(z.strictObject({ state: z.enum(['left', 'failed']), why: z.string(), says: z.string(), count })),
  nextAt: time.nullable().describe('when the next order is due'),
  lastAt: time.nullable().describe('when the last Mac will have been told, if nothing comes between'),
});
const campaignOut = (summary: CampaignSummary): z.infer<typeof campaign> => summary;

export const startRotations = operation({
  name: 'rotations.start',
  method: 'POST',
  path: '/v1/rotations',
  says: 'Has the keys of many Macs replaced, in waves.',
  permission: 'rotation.order',
  input: z.strictObject({
    ...wish,
    reason,
    confirmCount: z.int().min(1).describe('the `count` of the plan; where it differs by more than 5 % now, nothing is started'),
    planDigest: z.string().max(64).optional().describe('of the plan; what is started has to be what was planned'),
    serials: z.array(z.string().max(64)).max(1000).default([]).describe('every serial number once more, where holds are to be ended'),
  }),
  output: campaign,
  async run({ admin, backend, scope, before }, input) {
    const { reason: why, confirmCount, planDigest = null, serials: named } = input;
    const more = before ? { before } : {};
    const overrideScope = scopeOf(admin, 'rotation.override');
    const { campaigns } = backend.custody;
    const { campaignId } = await campaigns.start({ wish: wishOf(input), admin, scope, overrideScope, reason: why, confirmCount, planDigest, named, ...more });
    return campaignOut(await campaigns.read(scope, campaignId));
  },
});

const listCursor = z.strictObject({ at: z.int(), id: z.string() });

export const listRotations = operation({
  name: 'rotations.list',
  method: 'GET',
  path: '/v1/rotations',
  says: 'Lists replacements of many keys, newest first.',
  permission: 'fleet.read',
  input: z.strictObject(pageInput),
  output: pageOf(campaign),
  async run({ backend, scope }, { cursor, limit }) {
    const { items, last } = await backend.custody.campaigns.list(scope, { before: readCursor(listCursor, cursor), limit });
    return { items: items.map(campaignOut), next: last && makeCursor(last) };
  },
});

const which = z.string().min(1).max(64);

export const getRotations = operation({
  name: 'rotations.get',
  method: 'GET',
  path: '/v1/rotations/{id}',
  says: 'Says how far a replacement of many keys has come.',
  permission: 'fleet.read',
  input: z.strictObject({ id: which }),
  output: campaign,
  run: async ({ backend, scope }, { id }) => campaignOut(await backend.custody.campaigns.read(scope, id)),
});

const macsCursor = z.strictObject({ place: z.int(), id: z.string() });
const rowStates = ['waiting', 'ordered', 'done', 'failed', 'left'] as const;

export const rotationDevices = operation({
  name: 'rotations.devices',
  method: 'GET',
  path: '/v1/rotations/{id}/devices',
  says: 'Lists the Macs of a replacement of many keys, in turn, with what each waits for.',
  permission: 'fleet.read',
  input: z.strictObject({ id: which, state: z.enum(rowStates).optional(), ...pageInput }),
  output: pageOf(
    z.strictObject({
      macId: z.string(),
      serial: z.string(),
      state: z.enum(['waiting', 'not-fetched', 'fetched', 'replacing', 'done', 'failed', 'left']),
      since: time,
      because: z.string().nullable().describe('what it waits for, or why it was left out or failed'),
      needsHelp: z.boolean().describe('it does not pass by itself'),
      orderId: z.string().nullable(),
      orderedAt: time.nullable(),
      lastSeenAt: time.nullable(),
    }),
  ),
  async run({ backend, scope }, { id, state, cursor, limit }) {
    const wanted = { id, states: state === undefined ? null : [state], after: readCursor(macsCursor, cursor), limit };
    const { items, last } = await backend.custody.campaigns.macs(scope, wanted);
    return { items, next: last && makeCursor(last) };
  },
});

const change = z.strictObject({ id: which, reason });

export const pauseRotations = operation({
  name: 'rotations.pause',
  method: 'POST',
  path: '/v1/rotations/{id}/pause',
  says: 'Orders no more for now; what is ordered already goes on.',
  permission: 'rotation.order',
  input: change,
  output: campaign,
  async run({ admin, backend, scope }, input) {
    await backend.custody.campaigns.pause({ ...input, admin, scope });
    return campaignOut(await backend.custody.campaigns.read(scope, input.id));
  },
});

export const resumeRotations = operation({
  name: 'rotations.resume',
  method: 'POST',
  path: '/v1/rotations/{id}/resume',
  says: 'Goes on with one that stands still; whoever has it go on answers for it from then on.',
  permission: 'rotation.order',
  input: change,
  output: campaign,
  async run({ admin, backend, scope }, input) {
    await backend.custody.campaigns.resume({ ...input, admin, scope });
    return campaignOut(await backend.custody.campaigns.read(scope, input.id));
  },
});

export const cancelRotations = operation({
  name: 'rotations.cancel',
  method: 'POST',
  path: '/v1/rotations/{id}/cancel',
  says: 'Ends one: what waits for its wave is not ordered.',
  permission: 'rotation.order',
  input: z.strictObject({
    ...change.shape,
    orders: z.enum(['keep', 'withdraw']).default('withdraw').describe('whether orders that wait for their Mac are taken back; what is being replaced goes on'),
  }),
  output: campaign,
  async run({ admin, backend, scope }, { orders, ...input }) {
    await backend.custody.campaigns.cancel({ ...input, admin, scope, takeBackOrders: orders === 'withdraw' });
    return campaignOut(await backend.custody.campaigns.read(scope, input.id));
  },
});

export const rotationOperations: readonly AnyOperation[] = [
  planRotations,
  startRotations,
  listRotations,
  getRotations,
  rotationDevices,
  pauseRotations,
  resumeRotations,
  cancelRotations,
];
