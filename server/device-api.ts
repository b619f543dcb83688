import type { FastifyReply, FastifyRequest } from 'fastify';
import type { z } from 'zod';
import {
  type BeginReply,
  type BeginRequest,
  beginRequest,
  type CheckInReply,
  type CheckInRequest,
  checkInRequest,
  type DeliveryRequest,
  deliveryRequest,
  enrolRequest,
  type GrantRequest,
  grantRequest,
  oldestForBegin,
  protocolHeader,
  protocolVersion,
  type Receipt,
  urgentHeader,
} from '../protocol/messages.ts';
import { Problem } from '../protocol/problems.ts';
import type { DeviceIdentity, Newcomer, Presented } from './device-identity.ts';
import type { Enrolment } from './enrolment.ts';
import { type HttpApp, sendProblem } from './http.ts';
import { rates as defaultRates, networkOf, type Rate, type RateName, tokenBuckets } from './limits.ts';
import type { Log } from './log.ts';
import type { Caller } from './parts.ts';
import type { Kind, Shedding } from './shedding.ts';
import { hasNothing, type Waiting, waitAsked } from './waiting.ts';

/** What the routes for Macs ask of custody. */
interface DeviceCustody {
  checkIn(caller: Caller, request: CheckInRequest): Promise<CheckInReply>;
  begin(caller: Caller, request: BeginRequest): Promise<BeginReply>;
  deliver(caller: Caller, envelopeId: string, request: DeliveryRequest): Promise<{ status: number; receipt: Receipt }>;
  grant(caller: Caller, request: GrantRequest): Promise<{ jwe: string }>;
}

export interface DeviceApiParts {
  http: HttpApp;
  identity: DeviceIdentity;
  enrolment: Enrolment;
  custody: DeviceCustody;
  log: Log;
  /** What is told to come later, and which answers are kept for a while; without them none is. */
  shedding?: Shedding;
  waiting?: { waiting: Waiting; mostSeconds: number };
  spreadSeconds?: () => number;
  rates?: Partial<Record<RateName, Rate>>;
  /** Told of each header that says who a Mac is and may not. */
  onHeaderRefused?: (address: string, why: string) => void;
}

/** Where a message is wrong, and not what stood there. */
function wrongPath(error: z.ZodError): string {
  const places = error.issues.slice(0, 5).map((issue) => {
    if (issue.code === 'unrecognized_keys')
      return issue.keys
        .slice(0, 5)
        .map((key) => `${[...issue.path, key].join('.').slice(0, 80)}: unknown`)
        .join(', ');
    return `${issue.path.join('.').slice(0, 80) || 'the body'}: ${issue.code === 'invalid_type' ? `no ${issue.expected}` : issue.code}`;
  });
  return places.join(', ').replace(/[^\x20-\x7e]/g, '?');
}

function parse<T>(schema: z.ZodType<T>, body: unknown): T {
  const read = schema.safeParse(body);
  if (!read.success) throw new Problem('MESSAGE_INVALID', wrongPath(read.error));
  return read.data;
}

function kindOf({ method, routeOptions: { url }, headers }: FastifyRequest, isKnown: () => boolean): Kind {
  if (url === '/v1/nonce' || url === '/v1/enroll') return 'enrolment';
  if (url === '/v1/check-in' && headers[urgentHeader] === undefined) return 'check-in';
  // Whether it ends a rotation is in its body: so none of a Mac's is sent away.
  return method === 'PUT' && isKnown() ? 'delivery' : 'urgent';
}

/** A certificate by one of our CAs, as TLS itself has checked it, or as our proxy says. Whether it is good is asked later. */
function showsOurs(peers: HttpApp['peers'], { raw }: FastifyRequest): boolean {
  if ('authorized' in raw.socket && raw.socket.authorized === true) return true;
  try {
    return peers.isProxy(raw.socket.remoteAddress) && peers.presentedBy(raw) !== null;
  } catch {
    return false;
  }
}

/** Seconds after which those whose answer was kept come again, by chance, so that they do not come together. */
const soonAgain = { least: 5, most: 30 } as const;

/** Routes for Macs. Who asks is known by the certificate of the connection, never by the body. */
export function addDeviceApi(parts: DeviceApiParts): void {
  const { http, identity, enrolment, custody, log, shedding } = parts;
  const { app } = http;
  const buckets = Object.fromEntries(Object.entries({ ...defaultRates, ...parts.rates }).map(([name, rate]) => [name, tokenBuckets(rate)])) as Record<
    RateName,
    ReturnType<typeof tokenBuckets>
  >;
  const versions = new WeakMap<FastifyRequest, number>();
  const who = new WeakMap<FastifyRequest, Caller | Newcomer>();

  const spend = (name: RateName, key: string): void => {
    const wait = buckets[name].take(key);
    if (wait !== null) throw new Problem('TOO_MANY_REQUESTS', undefined, { retryAfterSeconds: wait });
  };
  const leave = new WeakMap<FastifyRequest, () => void>();
  const shed = new WeakSet<FastifyRequest>();
  const shown = new WeakMap<FastifyRequest, Presented | null>();
  const presentedBy = (request: FastifyRequest): Presented | null => shown.get(request) ?? null;

  function versionOf(request: FastifyRequest): number {
    const text = request.headers[protocolHeader];
    if (typeof text !== 'string' || !/^[1-9][0-9]{0,5}$/.test(text))
      throw new Problem('MESSAGE_INVALID', `the header ${protocolHeader} is missing or no number`);
    const version = Number(text);
    if (version > protocolVersion) throw new Problem('PROTOCOL_TOO_NEW', `this backend speaks version ${protocolVersion}`);
    return version;
  }

  /** The guard: before a byte of the body is read. */
  async function guard(request: FastifyRequest, mayBeLate: boolean): Promise<void> {
    try {
      const protocol = versions.get(request) ?? 1;
      who.set(request, await identity.identify(presentedBy(request), { requestId: request.id, protocol, mayBeLate }));
    } catch (error) {
      // Whoever is nobody may not ask without end either.
      if (error instanceof Problem && error.code !== 'STORE_FAILED') spend('refused', networkOf(http.addressOf(request)));
      throw error;
    }
  }

  /** A Mac that has checked in: a certificate of a device CA that was never seen is no Mac yet. */
  function callerOf(request: FastifyRequest): Caller {
    const caller = who.get(request);
    if (!caller) throw new Problem('SERVER_BUG');
    if ('presented' in caller) throw new Problem('CERTIFICATE_UNKNOWN', 'this certificate has not checked in yet');
    return caller;
  }

  app.addHook('onRequest', async (request, reply) => {
    reply.header(protocolHeader, String(protocolVersion));
    if (request.is404) return;
    // The first of all questions, and no line of the log for its answer: it is for a time in which everything costs too much.
    const isKnown = (): boolean => showsOurs(http.peers, request);
    const entered = shedding?.enter(kindOf(request, isKnown), isKnown);
    if (entered && 'retryAfterSeconds' in entered) {
      shed.add(request);
      reply.header('connection', 'close');
      return sendProblem(reply, new Problem('SERVER_BUSY', undefined, entered), request.id);
    }
    if (entered) {
      leave.set(request, entered.leave);
      reply.raw.once('close', entered.leave);
    }
    versions.set(request, versionOf(request));
    try {
      shown.set(request, http.peers.presentedBy(request.raw));
    } catch (error) {
      // Somebody tries to be a Mac, or a proxy was set up wrongly: neither may go on unseen.
      if (error instanceof Problem) parts.onHeaderRefused?.(http.peers.peerOf(request.raw), error.detail ?? '');
      spend('refused', networkOf(http.addressOf(request)));
      throw error;
    }
  });
  app.addHook('onResponse', async (request, reply) => {
    if (shed.has(request)) return;
    const caller = who.get(request);
    const ids = caller && !('presented' in caller) ? { macId: caller.macId, enrolmentId: caller.enrolmentId } : {};
    log.info('request', {
      requestId: request.id,
      method: request.method,
      route: request.routeOptions.url ?? '',
      status: reply.statusCode,
      ms: Math.round(reply.elapsedTime),
      ...ids,
    });
  });

  const spread = (reply: CheckInReply): CheckInReply => (parts.spreadSeconds ? { ...reply, spreadSeconds: parts.spreadSeconds() } : reply);

  /** Answers, or keeps the answer for as long as there is nothing new: the Mac then asks again, so that it never acts on what was kept. */
  async function checkInAndWait(request: FastifyRequest, caller: Caller): Promise<CheckInReply> {
    // Held by nobody but the act itself: what a Mac has said would be a third of what its wait costs.
    const checkIn = (): Promise<CheckInReply> => custody.checkIn(caller, parse(checkInRequest, request.body));
    const seconds = Math.min(waitAsked(request.headers['prefer']), parts.waiting?.mostSeconds ?? 0);
    const seat = seconds > 0 ? parts.waiting?.waiting.sit(caller.macId) : null;
    if (!seat) return checkIn();
    request.raw.socket.once('close', seat.leave);
    try {
      const reply = await checkIn();
      if (!hasNothing(reply)) return reply;
      request.body = undefined;
      shown.delete(request);
      leave.get(request)?.();
      const isNear = reply.nextCheckInSeconds <= seconds;
      const woken = await seat.wait(isNear ? reply.nextCheckInSeconds : seconds);
      if (woken === 'stopping')
        throw new Problem('SERVER_STOPPING', undefined, {
          retryAfterSeconds: Math.round(soonAgain.least + Math.random() * (soonAgain.most - soonAgain.least)),
        });
      return woken === 'news' || isNear ? { ...reply, nextCheckInSeconds: 1 } : reply;
    } finally {
      request.raw.socket.off('close', seat.leave);
      seat.leave();
    }
  }

  app.post('/v1/nonce', { onRequest: async (request) => spend('nonce', networkOf(http.addressOf(request))) }, async () => enrolment.nonce());

  app.post('/v1/enroll', { onRequest: async (request) => spend('enroll', networkOf(http.addressOf(request))) }, async (request) => {
    try {
      return await enrolment.enrol(parse(enrolRequest, request.body), presentedBy(request), request.id);
    } catch (error) {
      if (error instanceof Problem)
        log.warn('enrolment-refused', { requestId: request.id, code: error.code, detail: error.detail, address: http.addressOf(request) });
      throw error;
    }
  });

  app.post('/v1/check-in', { onRequest: (request) => guard(request, false) }, async (request) => {
    const known = who.get(request);
    if (known && !('presented' in known)) spend('check-in', known.enrolmentId);
    else spend('enroll', networkOf(http.addressOf(request)));
    if (!known || !('presented' in known)) return spread(await checkInAndWait(request, callerOf(request)));
    const message = parse(checkInRequest, request.body);
    const caller = await identity.welcome(known, message.facts);
    who.set(request, caller);
    return spread(await custody.checkIn(caller, message));
  });

  app.post('/v1/rotations', { onRequest: (request) => guard(request, false) }, async (request) => {
    const caller = callerOf(request);
    spend('rotations', caller.enrolmentId);
    if (caller.protocol < oldestForBegin) throw new Problem('PROTOCOL_TOO_OLD', `rotations need version ${oldestForBegin} of the protocol`);
    return custody.begin(caller, parse(beginRequest, request.body));
  });

  app.put<{ Params: { envelopeId: string } }>('/v1/keys/:envelopeId', { onRequest: (request) => guard(request, true) }, async (request, reply) => {
    const caller = callerOf(request);
    const wait = buckets.keys.take(caller.enrolmentId);
    const message = wait === null ? parse(deliveryRequest, request.body) : deliveryRequest.safeParse(request.body).data;
    // A Mac that has just changed its key is heard whatever it did before.
    if (wait !== null && !(await identity.endsRotation(caller, message?.rotationId ?? null)))
      throw new Problem('TOO_MANY_REQUESTS', undefined, { retryAfterSeconds: wait });
    const { envelopeId } = request.params;
    if (!message || !/^[0-9a-f]{64}$/.test(envelopeId)) throw new Problem('MESSAGE_INVALID', 'the envelope id in the address is no SHA-256 in lower-case hex');
    const { status, receipt } = await custody.deliver(caller, envelopeId, message);
    return reply.code(status).send(receipt);
  });

  app.post('/v1/grants', { onRequest: (request) => guard(request, false) }, async (request) => {
    const caller = callerOf(request);
    spend('grants', caller.enrolmentId);
    const { jwe } = await custody.grant(caller, parse(grantRequest, request.body));
    return { jwe };
  });

  // The same addresses asked in another way.
  const refuse = (allow: string) => async (_request: FastifyRequest, reply: FastifyReply) => {
    reply.header('allow', allow);
    throw new Problem('METHOD_NOT_ALLOWED', `only ${allow}`);
  };
  const others = (method: string) => ['DELETE', 'GET', 'HEAD', 'OPTIONS', 'PATCH', 'POST', 'PUT'].filter((other) => other !== method);
  for (const url of ['/v1/nonce', '/v1/enroll', '/v1/check-in', '/v1/rotations', '/v1/grants'])
    app.route({ method: others('POST'), url, onRequest: refuse('POST'), handler: refuse('POST') });
  app.route({ method: others('PUT'), url: '/v1/keys/:envelopeId', onRequest: refuse('PUT'), handler: refuse('PUT') });
}
