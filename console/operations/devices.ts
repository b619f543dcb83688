import { z } from 'zod';
import { Problem } from '../../protocol/problems.ts';
import { deviceDetail, deviceOf } from '../../server/fleet/detail.ts';
import { countMatching, deviceFilter } from '../../server/fleet/filter.ts';
import { macInScope } from '../../server/fleet/in-scope.ts';
import { afterOf, csvColumns, deviceLine, deviceSort, devicesCsv, devicesCursor, listDevices } from '../../server/fleet/list.ts';
import { merge, mergePreview, part, previewMerge } from '../../server/fleet/merge.ts';
import { timelineCursor, timelineEntry, timelineOf } from '../../server/fleet/timeline.ts';
import { makeCursor, pageInput, pageOf, readCursor } from '../cursor.ts';
import { type AnyOperation, download, operation } from '../operation.ts';

const whichMac = z.string().min(1).max(128).describe('the id of a Mac, or its serial number');
const filterFields = deviceFilter.shape;

export const deviceList = operation({
  name: 'devices.list',
  method: 'GET',
  path: '/v1/devices',
  says: 'Lists Macs, filtered and sorted, a page at a time.',
  permission: 'fleet.read',
  input: z.strictObject({ ...filterFields, sort: deviceSort.default('name'), ...pageInput }),
  output: pageOf(deviceLine),
  async run({ backend, at, scope }, { sort, cursor, limit, ...filter }) {
    await backend.custody.fleetIsFresh();
    const read = readCursor(devicesCursor, cursor);
    const after = read === null ? null : afterOf(read, sort);
    if (read !== null && after === null) throw new Problem('MESSAGE_INVALID', 'cursor: is of a list in another order');
    const { items, next } = await listDevices(backend.store.db, { filter, scope, sort, after, limit, now: at });
    return { items, next: next && makeCursor(next) };
  },
});

export const deviceCount = operation({
  name: 'devices.count',
  method: 'GET',
  path: '/v1/devices/count',
  says: 'Counts the Macs that a filter means.',
  permission: 'fleet.read',
  input: z.strictObject(filterFields),
  output: z.strictObject({ count: z.int() }),
  async run({ backend, at, scope }, filter) {
    await backend.custody.fleetIsFresh();
    return { count: await countMatching(backend.store.db, filter, scope, at) };
  },
});

export const deviceCsv = operation({
  name: 'devices.csv',
  method: 'GET',
  path: '/v1/devices.csv',
  says: 'Sends all Macs that a filter means as CSV; a cell that a spreadsheet would reckon has an apostrophe before it.',
  permission: 'fleet.read',
  sends: 'text/csv',
  input: z.strictObject({
    ...filterFields,
    sort: deviceSort.default('name'),
    columns: z
      .array(z.enum(csvColumns))
      .min(1)
      .max(csvColumns.length)
      .default([...csvColumns])
      .describe('which columns, in their order'),
  }),
  output: download,
  async run({ backend, at, scope }, { sort, columns, ...filter }) {
    await backend.custody.fleetIsFresh();
    return { fileName: 'devices.csv', content: devicesCsv(backend.store.db, { filter, scope, sort, now: at, columns }) };
  },
});

export const deviceGet = operation({
  name: 'devices.get',
  method: 'GET',
  path: '/v1/devices/{id}',
  says: 'Says all that is known of one Mac: its state and why, the next step, its facts, keys without the keys, orders, holds and enrolments.',
  permission: 'fleet.read',
  input: z.strictObject({ id: whichMac }),
  output: deviceDetail,
  async run({ backend, at, scope }, { id }) {
    await backend.custody.fleetIsFresh();
    return deviceOf(backend, await macInScope(backend, scope, id), at);
  },
});

export const deviceTimeline = operation({
  name: 'devices.timeline',
  method: 'GET',
  path: '/v1/devices/{id}/timeline',
  says: 'Tells what happened to one Mac, newest first.',
  permission: 'fleet.read',
  input: z.strictObject({ id: whichMac, ...pageInput }),
  output: pageOf(timelineEntry),
  async run({ backend, scope }, { id, cursor, limit }) {
    const { ids } = await macInScope(backend, scope, id);
    const { items, next } = await timelineOf(backend.store.db, ids, { after: readCursor(timelineCursor, cursor), limit });
    return { items, next: next && makeCursor(next) };
  },
});

const reason = z.string().trim().min(1).max(500).describe('it goes into the audit');
const joining = {
  id: whichMac.describe('the record that stays in lists'),
  other: whichMac.describe('the older record, of the machine before its logic board was replaced'),
};

export const deviceMergePreview = operation({
  name: 'devices.merge-preview',
  method: 'GET',
  path: '/v1/devices/{id}/merge',
  says: 'Says what joining two records of one Mac would do, and whether it can be done.',
  permission: 'device.merge',
  input: z.strictObject(joining),
  output: mergePreview,
  run: ({ backend, scope }, { id, other }) => previewMerge(backend, { into: id, from: other, scope }),
});

export const deviceMerge = operation({
  name: 'devices.merge',
  method: 'POST',
  path: '/v1/devices/{id}/merge',
  says: 'Joins two records of one Mac whose logic board was replaced; keys stay with their volumes.',
  permission: 'device.merge',
  fresh: true,
  input: z.strictObject({ ...joining, reason }),
  output: mergePreview.describe('what was joined, as it was before'),
  async run({ backend, scope, admin, before }, { id, other, reason }) {
    // The newer one gets the user and the tags of the older one: both say who is shown its key.
    if (admin.service) throw new Problem('NOT_ALLOWED', 'records are joined by people, and not by a token that stands for a program');
    return merge(backend, { into: id, from: other, scope, actor: admin.name, personId: admin.personId, reason, ...(before ? { before } : {}) });
  },
});

export const devicePart = operation({
  name: 'devices.part',
  method: 'POST',
  path: '/v1/devices/{id}/part',
  says: 'Takes a join back: the older record is listed again, with its own tags.',
  permission: 'device.merge',
  fresh: true,
  input: z.strictObject({ id: z.string().min(1).max(128).describe('the id of the older record, as the page of the Mac names it'), reason }),
  output: z.strictObject({}),
  async run({ backend, scope, admin, before }, { id, reason: because }) {
    await part(backend, { from: id, scope, actor: admin.name, personId: admin.personId, reason: because, ...(before ? { before } : {}) });
    return {};
  },
});

export const devicesOperations: readonly AnyOperation[] = [
  deviceList,
  deviceCount,
  deviceCsv,
  deviceGet,
  deviceTimeline,
  deviceMergePreview,
  deviceMerge,
  devicePart,
];
