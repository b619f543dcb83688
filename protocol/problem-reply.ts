import * as z from 'zod';

/** A problem on the wire: application/problem+json. */
export const problemReply = z.object({
  code: z.string().max(64),
  title: z.string().max(512),
  fix: z.string().max(512).optional(),
  detail: z.string().max(512).optional(),
  requestId: z.string().max(64).optional(),
});
