import { z } from 'zod';
import { changeTags, tagName } from '../../server/fleet/tags.ts';
import { tagCounts } from '../../server/store/fleet-tags.ts';
import { type AnyOperation, operation } from '../operation.ts';

export const tagList = operation({
  name: 'tags.list',
  method: 'GET',
  path: '/v1/tags',
  says: 'Lists all tags, with how many Macs have each.',
  permission: 'fleet.read',
  input: z.strictObject({}),
  output: z.strictObject({ items: z.array(z.strictObject({ tag: z.string(), count: z.int() })) }),
  async run({ backend, scope }) {
    await backend.custody.fleetIsFresh();
    return { items: await tagCounts(backend.store.db, scope) };
  },
});

const input = z.strictObject({
  devices: z.array(z.string().min(1).max(128)).min(1).max(500).describe('ids or serial numbers'),
  tags: z.array(tagName).min(1).max(20),
});
const output = z.strictObject({ changed: z.int().describe('how many Macs have other tags now') });

export const tagAdd = operation({
  name: 'tags.add',
  method: 'POST',
  path: '/v1/tags/add',
  says: 'Gives tags to Macs, to all that are named or to none.',
  permission: 'device.edit',
  input,
  output,
  run: ({ backend, admin, scope, before }, { devices, tags }) =>
    changeTags(backend, { devices, add: tags, remove: [], scope, actor: admin.name, personId: admin.personId, service: admin.service, before }),
});

export const tagRemove = operation({
  name: 'tags.remove',
  method: 'POST',
  path: '/v1/tags/remove',
  says: 'Takes tags from Macs, from all that are named or from none; those of groups go with the person.',
  permission: 'device.edit',
  input,
  output,
  run: ({ backend, admin, scope, before }, { devices, tags }) =>
    changeTags(backend, { devices, add: [], remove: tags, scope, actor: admin.name, personId: admin.personId, service: admin.service, before }),
});

export const tagsOperations: readonly AnyOperation[] = [tagList, tagAdd, tagRemove];
