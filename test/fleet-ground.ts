import { randomUUID } from 'node:crypto';
import { type AnyOperation, type Download, type Operation, perform } from '../console/operation.ts';
import type { Backend } from '../server/backend.ts';
import { silentLog } from '../server/log.ts';
import type { Admin, Permission, Scope } from '../server/permissions.ts';
import { permissions } from '../server/permissions.ts';
import type { GivenServer } from './server-parts.ts';

/** Operations of the console run on a real database, without the listener. */

const everything = Object.keys(permissions) as Permission[];

export const adminFor = (scope: Scope, may: readonly Permission[] = everything): Admin => ({
  kind: 'person',
  name: 'grace',
  personId: 'grace',
  tokenId: null,
  service: false,
  grants: may.map((permission) => ({ permission, scope })),
  fresh: true,
});

/** Of the parts that the operations of the fleet use. */
export const backendOf = (server: GivenServer): Backend => server as unknown as Backend;

export function asking(server: GivenServer, scope: Scope = null, may?: readonly Permission[]) {
  return <In, Out>(operation: Operation<In, Out>, input: unknown = {}): Promise<Out> =>
    perform(operation, { admin: adminFor(scope, may), backend: backendOf(server), log: silentLog, at: server.clock.now(), requestId: randomUUID() }, input);
}

/** Every item of a list, by its pages. */
export async function allOf<Item>(ask: ReturnType<typeof asking>, operation: AnyOperation, input: Record<string, unknown> = {}): Promise<Item[]> {
  const items: Item[] = [];
  let cursor: string | undefined;
  do {
    const page = (await ask(operation, { ...input, ...(cursor === undefined ? {} : { cursor }) })) as { items: Item[]; next: string | null };
    items.push(...page.items);
    cursor = page.next ?? undefined;
  } while (cursor !== undefined);
  return items;
}

export async function textOf({ content }: Download): Promise<string> {
  const parts: string[] = [];
  for await (const part of content) parts.push(String(part));
  return parts.join('');
}
