import { z } from 'zod';
import { tagsOf } from '../../server/fleet/in-scope.ts';
import { type Admin, isWithin, type Permission, type Scope, scopeOf } from '../../server/permissions.ts';
import { makeCursor, readCursor } from '../cursor.ts';
import type { Acting } from '../operation.ts';

/*
 * Lists whose rows are about Macs: whoever may not see a Mac sees no row about it, and no hole where it would be. They are left
 * out where they are read, so that no cursor names one and no empty page tells that there are some; each is judged once more here.
 */

const place = z.strictObject({ at: z.number(), id: z.string() });
type Place = z.infer<typeof place>;

const pageRows = 200;
/** Rows that are looked at for one answer at most; the next page goes on from there. */
const mostRows = 2000;

/** Within the scope of any of these permissions. */
export async function mayAny({ backend }: Pick<Acting, 'backend'>, admin: Admin, permissions: readonly Permission[], macId: string): Promise<boolean> {
  const scopes = permissions.map((permission) => scopeOf(admin, permission));
  if (scopes.includes(null)) return true;
  if (scopes.every((scope) => scope === false)) return false;
  const tags = await tagsOf(backend.store.db, macId);
  return scopes.some((scope) => isWithin(scope, tags));
}

/** The Macs of all of these permissions together. */
export function scopeOfAny(admin: Admin, permissions: readonly Permission[]): Scope {
  const scopes = permissions.map((permission) => scopeOf(admin, permission));
  return scopes.includes(null) ? null : scopes.flatMap((scope) => (scope === false ? [] : (scope ?? [])));
}

/** One page of those rows that are visible, newest first. */
export async function visiblePage<Row, Item>(
  { cursor, limit }: { cursor?: string | undefined; limit: number },
  read: (after: Place | null, most: number) => Promise<Row[]>,
  placeOf: (row: Row) => Place,
  say: (row: Row) => Promise<Item | null>,
): Promise<{ items: Item[]; next: string | null }> {
  let after = readCursor(place, cursor);
  const items: Item[] = [];
  for (let seen = 0; seen < mostRows; ) {
    const rows = await read(after, pageRows);
    for (const row of rows) {
      seen += 1;
      after = placeOf(row);
      const item = await say(row);
      if (item !== null) items.push(item);
      if (items.length >= limit) return { items, next: makeCursor(after) };
    }
    if (rows.length < pageRows) return { items, next: null };
  }
  return { items, next: after && makeCursor(after) };
}
