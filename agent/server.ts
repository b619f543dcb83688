// The backend, as this Mac: axios over mutual TLS. What goes wrong on the way has a name; nothing ever falls back.
import type { KeyObject } from 'node:crypto';
import type { z } from 'zod';
import type { BeginReply, CheckInReply, CheckInRequest, enrolReply, enrolRequest, Receipt } from '../protocol/messages.ts';
import { isProblemCode, Problem } from '../protocol/problems.ts';
import { type Connections, openConnections } from './connection.ts';
import { Passing, patientRetries, type Retries, readRetryAfter, retry, usualRetries } from './retry.ts';
import type { Settings } from './settings.ts';
import type { Ask, CheckInHow, Runner } from './world.ts';

export type EnrolRequest = z.infer<typeof enrolRequest>;
export type EnrolReply = z.infer<typeof enrolReply>;

export interface Server extends Ask {
  nonce(): Promise<string>;
  enrol(request: EnrolRequest): Promise<EnrolReply>;
  /** Lets go of the open connections. */
  close(): void;
}

export interface ServerOptions {
  settings: Pick<Settings, 'serverUrl' | 'trustedCertificates' | 'trust' | 'proxy'>;
  /** Null before the Mac has enrolled. */
  identity: { certificatePem: string; privateKey: KeyObject } | null;
  /** For the proxy of the network settings. */
  runner: Runner;
  agentVersion?: string;
  retries?: Partial<Retries>;
  /** Until the connection stands, and for the whole of one try. */
  connectSeconds?: number;
  totalSeconds?: number;
}

/** Bytes. A check-in reply with all it can hold is a tenth of it. */
const mostReply = 256 * 1024;

/** zod writes code for each kind of object that it checks, which pays after some hundred of them. A run checks two or three. */
const once = { jitless: true };

type Messages = typeof import('../protocol/messages.ts');
type Schema<T> = (messages: Messages) => { safeParse(value: unknown, how: typeof once): { success: true; data: T } | { success: false } };

export function openServer(options: ServerOptions): Server {
  const { connectSeconds = 10, totalSeconds = 30 } = options;
  const retries: Retries = { ...usualRetries, ...options.retries };
  const connections = openConnections(options, connectSeconds);

  async function call<T>(
    method: 'POST' | 'PUT',
    path: string,
    body: unknown,
    schema: Schema<T>,
    { urgent = false, waitSeconds = 0, signal }: CheckInHow = {},
  ): Promise<T> {
    const messages = await import('../protocol/messages.ts');
    const bytes = Buffer.from(JSON.stringify(body));
    return retry(
      async () => {
        const answered = await send(connections, {
          method,
          path,
          bytes,
          more: {
            [messages.protocolHeader]: String(messages.protocolVersion),
            ...(urgent ? { [messages.urgentHeader]: '1' } : {}),
            ...(waitSeconds > 0 ? { prefer: `wait=${waitSeconds}` } : {}),
          },
          seconds: totalSeconds + waitSeconds,
          signal,
          userAgent: options.agentVersion,
        });
        const read = schema(messages).safeParse(readJson(answered), once);
        if (read.success) return read.data;
        const theirs = answered.headers[messages.protocolHeader];
        throw new Problem(
          'REPLY_UNREADABLE',
          `${path}: it has another form than protocol ${messages.protocolVersion} says${theirs ? ` (the backend speaks ${theirs.slice(0, 8)})` : ''}`,
        );
      },
      urgent ? { ...retries, ...patientRetries } : retries,
    );
  }

  return {
    async checkIn(request, how) {
      const say = (what: CheckInRequest) => call<CheckInReply>('POST', '/v1/check-in', what, (messages) => messages.checkInReply, how);
      try {
        return await say(request);
      } catch (cause) {
        const older = asFirst(request);
        if (!(cause instanceof Problem) || cause.code !== 'MESSAGE_INVALID' || older === null) throw cause;
        return say(older);
      }
    },
    begin: (request) => call<BeginReply>('POST', '/v1/rotations', request, (messages) => messages.beginReply),
    async deliver(envelopeId, request) {
      const receipt = await call<Receipt>('PUT', `/v1/keys/${envelopeId}`, request, (messages) => messages.receipt, { urgent: true });
      if (receipt.envelopeId !== envelopeId) throw new Problem('REPLY_UNREADABLE', 'a receipt for another envelope');
      return receipt;
    },
    grant: async (request) => (await call('POST', '/v1/grants', request, (messages) => messages.grantReply)).jwe,
    nonce: async () => (await call('POST', '/v1/nonce', {}, (messages) => messages.nonceReply)).nonce,
    enrol: (request) => call<EnrolReply>('POST', '/v1/enroll', request, (messages) => messages.enrolReply),
    close: () => connections.close(),
  };
}

/**
 * Without the facts that came to protocol 1 after its first day: a backend of that day refuses a check-in that has them, and
 * a Mac that it does not hear would keep its key for as long. Null where there are none.
 */
function asFirst(request: CheckInRequest): CheckInRequest | null {
  const { foreignChanges, adoption, ...facts } = request.facts;
  const { waitingFor, ...fileVault } = facts.fileVault;
  return foreignChanges || adoption || waitingFor ? { ...request, facts: { ...facts, fileVault } } : null;
}

interface Asked {
  method: 'POST' | 'PUT';
  path: string;
  bytes: Buffer;
  more: Record<string, string>;
  seconds: number;
  signal: AbortSignal | undefined;
  userAgent: string | undefined;
}
interface Answered {
  status: number;
  headers: Record<string, string | undefined>;
  body: Buffer;
}

async function send(connections: Connections, asked: Asked): Promise<Answered> {
  const { default: axios } = await import('axios');
  const agent = await connections.agent();
  let answered: Answered;
  try {
    const response = await axios.request<ArrayBuffer>({
      url: `${connections.origin}${asked.path}`,
      method: asked.method,
      data: asked.bytes,
      headers: {
        'content-type': 'application/json',
        accept: 'application/json, application/problem+json',
        'accept-encoding': 'identity',
        'user-agent': `sparekey/${asked.userAgent ?? '0'}`,
        ...asked.more,
      },
      httpsAgent: agent,
      // The environment's proxy variables are not asked: the setting is.
      proxy: false,
      maxRedirects: 0,
      decompress: false,
      responseType: 'arraybuffer',
      maxContentLength: mostReply,
      signal: AbortSignal.any([AbortSignal.timeout(asked.seconds * 1000), ...(asked.signal ? [asked.signal] : [])]),
      transformRequest: [(data: unknown) => data],
      transformResponse: [(data: unknown) => data],
      validateStatus: () => true,
    });
    const headers = Object.fromEntries(
      Object.entries(response.headers).map(([name, value]) => [name.toLowerCase(), typeof value === 'string' ? value : undefined]),
    );
    answered = { status: response.status, headers, body: Buffer.from(response.data) };
  } catch (error) {
    // The run itself ended it: that is no failure of the backend's, and not repeated.
    if (asked.signal?.aborted) throw new Problem('SERVER_UNREACHABLE', 'the wait was ended here');
    throw whyNotSent(error, asked.seconds);
  }
  if (answered.status >= 200 && answered.status < 300 && isJson(answered)) return answered;
  throw await whyRefused(answered);
}

function whyNotSent(error: unknown, seconds: number): Problem | Passing {
  // A problem of the connection comes wrapped: by the socket's error, and that by axios.
  for (let inner = error as { cause?: unknown } | undefined; inner; inner = inner.cause as typeof inner) {
    if (inner instanceof Problem || inner instanceof Passing) return inner;
  }
  const { code = '', message = '' } = error as { code?: string; message?: string };
  if (code === 'ERR_CANCELED') return new Passing(new Problem('SERVER_UNREACHABLE', `no answer in ${seconds} s`));
  if (/maxContentLength/.test(message)) return new Problem('REPLY_UNREADABLE', `more than ${mostReply} bytes`);
  // An alert comes after the handshake in TLS 1.3, so it ends the request and not the connecting.
  if (/ALERT_CERTIFICATE_EXPIRED/.test(code)) return new Problem('CERTIFICATE_EXPIRED');
  if (/ALERT_CERTIFICATE_REVOKED/.test(code)) return new Problem('CERTIFICATE_REVOKED');
  if (/ALERT_(?:CERTIFICATE_REQUIRED|CERTIFICATE_UNKNOWN|BAD_CERTIFICATE|UNKNOWN_CA|NO_CERTIFICATE|UNSUPPORTED_CERTIFICATE)/.test(code))
    return new Problem('CERTIFICATE_UNKNOWN', code);
  if (code.startsWith('HPE_')) return new Problem('REPLY_UNREADABLE', 'it is not HTTP');
  return new Passing(new Problem('SERVER_UNREACHABLE', code || 'the connection broke'));
}

async function whyRefused({ status, headers, body }: Answered): Promise<Problem | Passing> {
  const retryAfterSeconds = readRetryAfter(headers['retry-after'], headers['date']);
  const more = retryAfterSeconds === undefined ? {} : { retryAfterSeconds };
  const passing = (problem: Problem) => (problem.kind.retry === 'never' || problem.kind.retry === 'after-help' ? problem : new Passing(problem));
  if (status === 407) return new Problem('PROXY_REFUSED');
  if (isJson({ headers })) {
    const { problemReply } = await import('../protocol/problem-reply.ts');
    const read = problemReply.safeParse(readJson({ body }), once);
    if (read.success && isProblemCode(read.data.code)) {
      const problem = new Problem(read.data.code, read.data.detail?.slice(0, 256), more);
      // The daily limits of a Mac are a 429 too, and no wait within a run ends them.
      return problem.code === 'TOO_MANY_REQUESTS' || status >= 500 ? passing(problem) : problem;
    }
    // A newer backend's way to say that it cannot now.
    if (read.success && status >= 500) return new Passing(new Problem('SERVER_UNREACHABLE', `it answered ${status}`, more));
    if (read.success) return new Problem('REPLY_UNREADABLE', `${status} with the unknown code ${read.data.code.replace(/[^\w-]/g, '?')}`, more);
  }
  if (status === 429) return passing(new Problem('TOO_MANY_REQUESTS', undefined, more));
  // A gateway of the backend's own says so in HTML, too.
  if (status >= 500) return passing(new Problem('SERVER_UNREACHABLE', `something in its place answered ${status}`, more));
  if (status >= 300 && status < 400) return new Problem('CAPTIVE_PORTAL', `it led to ${hostOf(headers['location'])}`);
  if (/html/i.test(headers['content-type'] ?? '')) return new Problem('CAPTIVE_PORTAL', `a page (${status})`);
  return new Problem('REPLY_UNREADABLE', `${status} without a problem in it`);
}

const hostOf = (location: string | undefined): string => URL.parse(location ?? '')?.host ?? 'elsewhere';
const isJson = ({ headers }: Pick<Answered, 'headers'>): boolean => /^application\/(?:problem\+)?json\b/i.test(headers['content-type'] ?? '');

function readJson({ body }: Pick<Answered, 'body'>): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    return undefined;
  }
}
