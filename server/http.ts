import { randomUUID } from 'node:crypto';
import { createServer as createPlainServer, type Server as PlainServer } from 'node:http';
import { createServer, type Server as HttpsServer, type ServerOptions } from 'node:https';
import type { Socket } from 'node:net';
import { type FastifyInstance, type FastifyReply, type FastifyRequest, fastify } from 'fastify';
import { limits as messageLimits } from '../protocol/messages.ts';
import { Problem, type ProblemCode, problems } from '../protocol/problems.ts';
import { boundConnections } from './connections.ts';
import { boundHandshakes, handshakesOfOne } from './handshakes.ts';
import type { ConnectionLimits } from './limits.ts';
import { type ListenAt, listenAt } from './listening.ts';
import type { Log } from './log.ts';
import type { Peers } from './proxy.ts';

export interface TlsFiles {
  certificate: string | Buffer;
  key: string | Buffer;
  /** Named to clients as the CAs whose certificates are taken; what is accepted is decided per request, not here. */
  clientCas: readonly string[];
  oldest: '1.2' | '1.3';
}

export interface HttpApp {
  app: FastifyInstance;
  server: HttpsServer | PlainServer;
  peers: Peers;
  /** Whose request it is, for limits; behind a proxy of ours what that says. */
  addressOf(request: FastifyRequest): string;
  listen(at: ListenAt): Promise<number>;
  /** Ready for connections that somebody else accepts. */
  ready(): Promise<void>;
  /** Another certificate for connections from now on; those that are open keep theirs. */
  useCertificate(certificate: Buffer, key: Buffer): void;
  /** Problems are said by this instead: pages have words of their own. `unreadable`: the page for what is no request that we can read. */
  sayProblems(say: SayProblem, unreadable: string): void;
  /** Answers what is under way, refuses what is new with `SERVER_STOPPING`, then closes. */
  stop(mostSeconds?: number): Promise<void>;
}

/** A request and its answer, for those who add routes and do not build listeners. */
export type HttpRequest = FastifyRequest;
export type HttpReply = FastifyReply;

type SayProblem = (problem: Problem, request: FastifyRequest, reply: FastifyReply) => Promise<FastifyReply>;

interface ProblemBody {
  type: string;
  title: string;
  status: number;
  code: ProblemCode;
  fix: string;
  detail?: string;
  requestId: string;
}

/** `application/problem+json`. The words come from the table; `detail` never holds a body or a secret. */
function problemBody(problem: Problem, requestId: string): ProblemBody {
  const { title, fix, status } = problem.kind;
  const detail = problem.detail?.slice(0, 512);
  return { type: `urn:sparekey:problem:${problem.code}`, title, status, code: problem.code, fix, ...(detail ? { detail } : {}), requestId };
}

/** Fastify's own refusals, in our words; its messages may quote what was sent and are never passed on. */
const ofFramework: Record<string, [ProblemCode, string]> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE: ['MESSAGE_INVALID', 'the content type is not application/json'],
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: ['MESSAGE_INVALID', 'the content length is not the length of the message'],
  FST_ERR_BAD_URL: ['NOT_FOUND', 'the address cannot be read'],
};

/** Where it came from, without its words: an error of the database or of a parser may quote a value. */
const traceOf = (error: unknown): string =>
  error instanceof Error
    ? (error.stack ?? '')
        .split('\n')
        .filter((line) => line.startsWith('    at '))
        .slice(0, 6)
        .join(' | ')
    : typeof error;

function asProblem(error: unknown, bodyBytes: number = messageLimits.bodyBytes): Problem {
  if (error instanceof Problem) return error;
  const { code = '' } = (error ?? {}) as { code?: string };
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') return new Problem('BODY_TOO_LARGE', `more than ${bodyBytes} bytes`);
  const known = ofFramework[code];
  return known ? new Problem(known[0], known[1]) : new Problem('SERVER_BUG', undefined, { cause: error });
}

const securityHeaders = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'strict-transport-security': 'max-age=31536000',
  'x-content-type-options': 'nosniff',
} as const;

export function sendProblem(reply: FastifyReply, problem: Problem, requestId: string): FastifyReply {
  reply.headers({ ...securityHeaders, 'x-request-id': requestId });
  if (problem.retryAfterSeconds !== undefined) reply.header('retry-after', String(problem.retryAfterSeconds));
  // What was not read of a body is not read any more.
  if (problem.code === 'BODY_TOO_LARGE') reply.header('connection', 'close');
  return reply
    .code(problem.kind.status)
    .type('application/problem+json')
    .send(JSON.stringify(problemBody(problem, requestId)));
}

/** What cannot be parsed as HTTP, or comes too slowly, never reaches a route: it is answered on the bare socket. */
function answerBrokenClient(error: NodeJS.ErrnoException, socket: Socket, log: Log, page: string | null): void {
  if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy();
  const code: ProblemCode =
    error.code === 'ERR_HTTP_REQUEST_TIMEOUT' ? 'REQUEST_TOO_SLOW' : error.code === 'HPE_HEADER_OVERFLOW' ? 'BODY_TOO_LARGE' : 'MESSAGE_INVALID';
  const requestId = randomUUID();
  const body = page ?? JSON.stringify(problemBody(new Problem(code, code === 'BODY_TOO_LARGE' ? 'the headers' : undefined), requestId));
  const type = page === null ? 'application/problem+json' : 'text/html; charset=utf-8';
  const headers = Object.entries(securityHeaders).map(([name, value]) => `${name}: ${value}\r\n`);
  log.warn('request-refused', { requestId, code });
  socket.end(
    `HTTP/1.1 ${problems[code].status} ${code}\r\ncontent-type: ${type}\r\ncontent-length: ${Buffer.byteLength(body)}\r\n${headers.join('')}connection: close\r\n\r\n${body}`,
  );
}

/**
 * A Fastify app behind TLS: problem replies, limits, request ids, headers. Routes are added by its caller. Only the Macs'
 * listener asks for a client certificate: a browser that is asked would trouble its person with a choice of certificates.
 */
export function buildHttp(options: {
  tls: TlsFiles;
  limits: ConnectionLimits;
  log: Log;
  peers: Peers;
  audience?: 'macs' | 'people';
  /** Without TLS, for our proxies alone; what is told of anybody else. */
  plain?: ((address: string) => void) | null;
  /** Told of each answer: the route as it was registered, and the status. */
  onAnswer?: (method: string, route: string, status: number) => void;
  /** Told of each connection that is refused its handshake, because too many are under way. */
  onHandshakeRefused?: (because: string) => void;
}): HttpApp {
  const { tls, limits, log, peers, audience = 'macs', plain = null, onAnswer, onHandshakeRefused = () => {} } = options;
  const https: ServerOptions = {
    key: tls.key,
    cert: tls.certificate,
    ca: [...tls.clientCas],
    minVersion: tls.oldest === '1.2' ? 'TLSv1.2' : 'TLSv1.3',
    // Asked for and not demanded: enrolment has none, and every other refusal shall have words.
    requestCert: audience === 'macs',
    rejectUnauthorized: false,
    ALPNProtocols: ['http/1.1'],
    handshakeTimeout: limits.handshakeSeconds * 1000,
    maxHeaderSize: limits.headerBytes,
    headersTimeout: limits.headerSeconds * 1000,
    requestTimeout: limits.requestSeconds * 1000,
    keepAliveTimeout: limits.keepAliveSeconds * 1000,
    connectionsCheckingInterval: 1000,
  };
  let made: HttpsServer | PlainServer | undefined;
  let say: SayProblem = async (problem, request, reply) => sendProblem(reply, problem, request.id);
  let unreadable: string | null = null;
  /** The words of a site are no reason for none at all. */
  const answer: SayProblem = (problem, request, reply) => say(problem, request, reply).catch(() => sendProblem(reply, problem, request.id));
  const app = fastify({
    serverFactory: (handler) => {
      made = plain ? createPlainServer(https, handler) : createServer(https, handler);
      return made;
    },
    bodyLimit: messageLimits.bodyBytes,
    genReqId: () => randomUUID(),
    requestIdHeader: false,
    trustProxy: false,
    // While stopping, requests get our own words.
    return503OnClosing: false,
    forceCloseConnections: 'idle',
    // What fails before there is a route, such as an address that cannot be decoded.
    frameworkErrors: (error, request, reply) => {
      const problem = asProblem(error);
      log.warn('request-refused', { requestId: request.id, code: problem.code });
      void answer(problem, request as FastifyRequest, reply as FastifyReply);
    },
    clientErrorHandler: (error, socket) => answerBrokenClient(error, socket as Socket, log, unreadable),
    routerOptions: { maxParamLength: 128, ignoreTrailingSlash: false },
    exposeHeadRoutes: false,
  });
  const server = made;
  if (!server) throw new Problem('SERVER_BUG');
  boundConnections(server, { limits, log, isProxy: peers.isProxy, onlyProxies: plain });
  if (audience === 'macs' && !plain)
    boundHandshakes(server, { most: limits.handshakes, mostOfOne: handshakesOfOne(limits), isProxy: peers.isProxy, onRefused: onHandshakeRefused });
  server.on('tlsClientError', (error: NodeJS.ErrnoException, socket) => {
    socket.destroy();
    log.info('connection-refused', { because: error.code ?? 'TLS' });
  });

  const utf8 = new TextDecoder('utf-8', { fatal: true });
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body, done) => {
    if (body.length === 0) return done(null, undefined);
    try {
      done(null, JSON.parse(utf8.decode(body as Buffer)));
    } catch {
      done(new Problem('MESSAGE_INVALID', 'the body is not JSON'));
    }
  });

  let stopping = false;
  let underWay = 0;
  let idle: (() => void) | null = null;
  const ended = new WeakSet<object>();
  app.addHook('onRequest', async (request, reply) => {
    underWay += 1;
    // Also when the client went away before its answer.
    reply.raw.once('close', () => {
      if (ended.has(reply.raw)) return;
      ended.add(reply.raw);
      underWay -= 1;
      if (underWay === 0) idle?.();
    });
    reply.headers({ ...securityHeaders, 'x-request-id': request.id });
    if (stopping) throw new Problem('SERVER_STOPPING', undefined, { retryAfterSeconds: 10 });
  });
  app.addHook('onSend', async (_request, reply) => {
    if (stopping) reply.header('connection', 'close');
  });
  if (onAnswer) app.addHook('onResponse', async (request, reply) => onAnswer(request.method, request.routeOptions.url ?? '', reply.statusCode));
  app.setErrorHandler((error, request, reply) => {
    const problem = asProblem(error, request.routeOptions.bodyLimit);
    const ids = { requestId: request.id, code: problem.code };
    if (problem.code === 'SERVER_BUG')
      log.error('request-failed', { ...ids, name: error instanceof Error ? error.name : typeof error, at: traceOf(problem.cause ?? error) });
    else log.warn('request-refused', { ...ids, detail: problem.detail, method: request.method, route: request.routeOptions.url ?? '' });
    return answer(problem, request, reply);
  });
  app.setNotFoundHandler(() => {
    throw new Problem('NOT_FOUND');
  });

  return {
    app,
    server,
    peers,
    addressOf: (request) => peers.addressOf(request.raw),
    async ready() {
      await app.ready();
      // From this event on Node keeps count of connections: without it nobody is too slow, and a stop ends none of them.
      server.emit('listening');
    },
    async listen(at) {
      await app.ready();
      return listenAt(server, at);
    },
    sayProblems: (by, page) => {
      say = by;
      unreadable = page;
    },
    useCertificate(certificate, key) {
      if ('setSecureContext' in server) server.setSecureContext({ ...https, cert: certificate, key });
    },
    async stop(mostSeconds = 30) {
      stopping = true;
      if (underWay > 0) {
        let timer: NodeJS.Timeout | undefined;
        await Promise.race([
          new Promise<void>((resolve) => {
            idle = resolve;
          }),
          new Promise<void>((resolve) => {
            timer = setTimeout(resolve, mostSeconds * 1000);
          }),
        ]);
        clearTimeout(timer);
      }
      // Answers that are on their way out have a second; a client that keeps its connection open for nothing has not more.
      if (server.listening) {
        const cut = setTimeout(() => server.closeAllConnections(), 1000);
        await new Promise<void>((resolve) => {
          server.close(() => resolve());
        });
        clearTimeout(cut);
      } else {
        // Somebody else accepts for it: there is no end of listening to wait for, only its connections.
        server.closeIdleConnections();
        await new Promise((resolve) => setTimeout(resolve, underWay > 0 ? 1000 : 100));
        server.closeAllConnections();
        server.close();
      }
      await app.close();
    },
  };
}
