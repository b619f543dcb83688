import { Readable } from 'node:stream';
import { Problem } from '../protocol/problems.ts';
import { adminOfPerson } from '../server/admins/admin.ts';
import { createTokenDoor } from '../server/admins/token-door.ts';
import { whileAsking } from '../server/auditing/asking.ts';
import type { HttpReply, HttpRequest } from '../server/http.ts';
import { createIdempotency } from '../server/idempotency.ts';
import { networkOf, type Rate, tokenBuckets } from '../server/limits.ts';
import type { Admin } from '../server/permissions.ts';
import type { Site } from '../web/visit.ts';
import { type AnyOperation, type Download, perform, scopeFor } from './operation.ts';
import { fromQuery, hasBody, isRepeatable, jsonSchemaOf, namesInPath } from './schema.ts';

/** A selection of thousands of Macs is the largest thing that is ever sent. */
const mostBodyBytes = 256 * 1024;

export interface ApiRates {
  /** Of one admin, and of one address, behind which several may be. */
  admin: Rate;
  address: Rate;
}
export const apiRates: ApiRates = { admin: { perMinute: 300, burst: 300 }, address: { perMinute: 1200, burst: 1200 } };

const bearer = /^Bearer +([!-~]{1,512})$/i;

/** Every operation as a route: by token, or by the session of the console's own pages. */
export function addApi(site: Site, operations: readonly AnyOperation[], rates: ApiRates = apiRates): void {
  const { ground } = site;
  const { backend, log, http } = ground;
  const buckets = { admin: tokenBuckets(rates.admin), address: tokenBuckets(rates.address) };
  const idempotency = createIdempotency(backend);
  const door = createTokenDoor(backend);
  ground.every(60 * 60 * 1000, 'idempotency', () => idempotency.forgetOld());

  function limit(reply: HttpReply, kind: keyof ApiRates, key: string): void {
    const wait = buckets[kind].take(key);
    const rate = rates[kind];
    reply.header('ratelimit-policy', `"${kind}";q=${rate.burst};w=60`);
    reply.header('ratelimit', `"${kind}";r=${buckets[kind].left(key)};t=${wait ?? 60}`);
    if (wait !== null) throw new Problem('TOO_OFTEN', undefined, { retryAfterSeconds: wait });
  }

  /** Who asks. A token needs nothing else; a session has to come from a page of ours. */
  async function adminOf(request: HttpRequest, at: number): Promise<Admin> {
    const { authorization } = request.headers;
    if (authorization !== undefined) {
      const token = bearer.exec(authorization)?.[1];
      if (token === undefined) throw new Problem('SIGNED_OUT', 'the header is written as `Authorization: Bearer TOKEN`');
      return door(token, at, networkOf(http.addressOf(request)));
    }
    const { session } = await site.visitOf(request);
    if (!session) throw new Problem('SIGNED_OUT', 'a token is needed: Authorization: Bearer …');
    if (request.method !== 'GET' && request.method !== 'HEAD') await site.checkSent(request);
    const admin = await adminOfPerson(backend, session.person, session.fresh);
    if (!admin) throw new Problem('NOT_ALLOWED', 'no role');
    return admin;
  }

  for (const made of operations) {
    const names = namesInPath(made.path);
    const schema = jsonSchemaOf(made.input, 'input');
    const url = made.path.replace(/\{([A-Za-z]+)\}/g, ':$1');

    /** Path, and query or body, in one object. */
    function inputOf(request: HttpRequest): Record<string, unknown> {
      const [, query = ''] = request.url.split(/\?(.*)/s);
      if (hasBody(made) && query !== '') throw new Problem('MESSAGE_INVALID', 'nothing stands in the query: all of it is in the body');
      const given = hasBody(made) ? (request.body ?? {}) : fromQuery(schema, query);
      if (typeof given !== 'object' || given === null || Array.isArray(given)) throw new Problem('MESSAGE_INVALID', 'the message: is no JSON object');
      const twice = names.filter((name) => Object.hasOwn(given, name));
      if (twice.length > 0) throw new Problem('MESSAGE_INVALID', twice.map((name) => `${name}: stands in the path`).join('; '));
      return { ...given, ...(request.params as Record<string, string>) };
    }

    async function answer(request: HttpRequest, reply: HttpReply): Promise<HttpReply> {
      limit(reply, 'address', networkOf(http.addressOf(request)));
      const at = backend.clock.now();
      const admin = await adminOf(request, at).catch((error: unknown) => {
        if (error instanceof Problem && error.kind.status === 401) reply.header('www-authenticate', 'Bearer realm="sparekey"');
        throw error;
      });
      limit(reply, 'admin', admin.tokenId ?? admin.personId ?? admin.name);
      // Before what was sent is looked at: whoever may not do it learns nothing of how it is done.
      scopeFor(made, admin);
      if (!hasBody(made) && request.body != null) throw new Problem('MESSAGE_INVALID', 'nothing stands in the body: all of it is in the address');
      const input = inputOf(request);
      const asking = { requestId: request.id, network: networkOf(http.addressOf(request)), tokenId: admin.tokenId };
      const act = (): Promise<unknown> =>
        whileAsking(asking, async () => checked(made, await perform(made, { admin, backend, log, at, requestId: request.id }, input)));
      const key = request.headers['idempotency-key'];
      if (!isRepeatable(made) || key === undefined) return send(made, reply, await act());
      if (typeof key !== 'string' || made.sends) throw new Problem('MESSAGE_INVALID', 'Idempotency-Key: is for acts, and stands there once');
      const owner = admin.tokenId ?? admin.personId ?? admin.name;
      const { reply: said, repeated } = await idempotency.once(
        { owner, key, request: { operation: made.name, input }, shownOnce: made.shownOnce ?? false },
        act,
      );
      if (repeated) reply.header('idempotency-replayed', 'true');
      return send(made, reply, said);
    }

    site.addPath(made.method, url);
    ground.http.app.route({
      method: made.method,
      url,
      bodyLimit: mostBodyBytes,
      exposeHeadRoute: made.method === 'GET',
      config: { operation: made.name },
      // Before it is read: forms of other sites can be of any other type.
      onRequest: async ({ headers }) => {
        const type = headers['content-type'];
        if (type !== undefined && !/^application\/json *(;|$)/i.test(type)) throw new Problem('MEDIA_TYPE_REFUSED');
      },
      handler: (request, reply) => whileAsking({ requestId: request.id, network: networkOf(http.addressOf(request)) }, () => answer(request, reply)),
    });
  }
}

/** What goes out is what the document says, and nothing beside it. */
function checked(made: AnyOperation, given: unknown): unknown {
  const read = made.output.safeParse(given);
  if (read.success) return read.data;
  const where = read.error.issues.slice(0, 4).map(({ path, code }) => `${path.join('.')}: ${code}`);
  throw new Problem('SERVER_BUG', undefined, { cause: new Error(`the reply of ${made.name} is not what its document says: ${where.join('; ')}`) });
}

function send(made: AnyOperation, reply: HttpReply, said: unknown): HttpReply {
  if (made.sends) {
    const { fileName, content } = said as Download;
    reply
      .type(made.sends === 'application/zip' ? made.sends : `${made.sends}; charset=utf-8`)
      .header('content-disposition', `attachment; filename="${fileName.replace(/[^\w.-]/g, '-')}"`);
    return reply.send(Readable.from(content));
  }
  if (said === undefined) return reply.code(204).send();
  return reply.type('application/json; charset=utf-8').send(JSON.stringify(said));
}
