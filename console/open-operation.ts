import type { z } from 'zod';
import { Problem } from '../protocol/problems.ts';
import type { Backend } from '../server/backend.ts';
import { networkOf, type Rate, tokenBuckets } from '../server/limits.ts';
import type { Site } from '../web/visit.ts';
import { mistakes } from './operation.ts';

/** What an operation knows that anybody may ask for. */
interface ActingOpenly {
  backend: Backend;
  /** The address of the console. */
  url: string;
  /** Where it was asked from: what limits count. */
  network: string;
}

/** One that needs no token: with it a program asks to be let in. Each is limited by itself as well. */
export interface OpenOperation<In = unknown, Out = unknown> {
  name: string;
  method: 'POST';
  path: `/v1/${string}`;
  says: string;
  /** The body. */
  input: z.ZodType<In>;
  output: z.ZodType<Out>;
  run(acting: ActingOpenly, input: In): Promise<Out>;
}

/** An operation in a list of many. */
// biome-ignore lint/suspicious/noExplicitAny: each has types of its own; its route holds them to their schemas.
export type AnyOpenOperation = OpenOperation<any, any>;

export const openOperation = <In, Out>(made: OpenOperation<In, Out>): OpenOperation<In, Out> => made;

/** Of one address, behind which several programs may wait for their people. */
const rate: Rate = { perMinute: 300, burst: 300 };
const mostBodyBytes = 8 * 1024;

export function addOpenOperations({ ground, addPath }: Site, operations: readonly AnyOpenOperation[]): void {
  const { backend, http, settings } = ground;
  const bucket = tokenBuckets(rate);
  for (const made of operations) {
    addPath(made.method, made.path);
    http.app.route({
      method: made.method,
      url: made.path,
      bodyLimit: mostBodyBytes,
      config: { operation: made.name },
      // Before it is read: forms of other sites can be of any other type.
      onRequest: async ({ headers }) => {
        if (!/^application\/json *(;|$)/i.test(headers['content-type'] ?? '')) throw new Problem('MEDIA_TYPE_REFUSED');
      },
      handler: async (request, reply) => {
        const network = networkOf(http.addressOf(request));
        const wait = bucket.take(network);
        if (wait !== null) throw new Problem('TOO_OFTEN', undefined, { retryAfterSeconds: wait });
        const read = made.input.safeParse(request.body);
        if (!read.success) throw new Problem('MESSAGE_INVALID', mistakes(read.error));
        const said: unknown = await made.run({ backend, url: settings.url, network }, read.data);
        return reply.type('application/json; charset=utf-8').send(JSON.stringify(made.output.parse(said)));
      },
    });
  }
}
