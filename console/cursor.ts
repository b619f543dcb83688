import { z } from 'zod';
import { Problem } from '../protocol/problems.ts';

/** What a list takes beside its filters. */
export const pageInput = {
  cursor: z.string().min(1).max(1024).optional().describe('Where the page before ended: its `next`. Left out: from the beginning.'),
  limit: z.int().min(1).max(200).default(50).describe('How many at most.'),
};

/** One page of a list. */
export const pageOf = <T extends z.ZodType>(item: T) =>
  z.strictObject({ items: z.array(item), next: z.string().nullable().describe('The `cursor` of the next page; null where there is none.') });

/** Opaque to whoever gets it: where a list goes on, by the values that it is sorted by. */
export const makeCursor = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');

/** Null where none was given. Throws `MESSAGE_INVALID` for what is none of ours. */
export function readCursor<T>(schema: z.ZodType<T>, text: string | undefined): T | null {
  if (text === undefined) return null;
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(text, 'base64url').toString('utf8'));
  } catch {
    throw new Problem('MESSAGE_INVALID', 'cursor: is none of this list');
  }
  const read = schema.safeParse(value);
  if (!read.success) throw new Problem('MESSAGE_INVALID', 'cursor: is none of this list');
  return read.data;
}
