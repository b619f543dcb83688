import { type ClientRequest, Agent as HttpAgent, request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { type AgentOptions, Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { rootCertificates } from 'node:tls';
import { Problem } from '../protocol/problems.ts';
import type { Log } from './log.ts';
import { proxyFailed, TunnelAgent } from './tunnel.ts';

/** One other system that this backend asks: the MDM, or the API of a product. The only door out but mail and sign-in. */
export interface Outbound {
  /**
   * Throws `NEIGHBOUR_FAILED` where there is no answer; every status but a redirect is an answer. `later`: it asked us to
   * come back after more seconds than we wait here.
   */
  ask(question: Question): Promise<Answer | Later>;
  /** Ends what is under way and what waits for its turn. */
  close(): void;
}

export interface Question {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** With its query. Never holds a secret: it is named in errors and logs, up to the query. */
  path: string;
  headers?: Readonly<Record<string, string>>;
  /** Text, bytes and forms go as they are; everything else as JSON. */
  body?: unknown;
  auth?: { user: string; password: string } | { bearer: string };
}

export interface Answer {
  kind: 'answer';
  status: number;
  /** Names in lower case. */
  headers: Readonly<Record<string, string>>;
  /** What the JSON says, or the text where it is none. Another system's word: callers check its shape. */
  body: unknown;
}

export interface Later {
  kind: 'later';
  seconds: number;
  /** Its own words; otherwise the longer the more often it has said so, and each time somewhat else. */
  told: boolean;
  /** It may have been acted on all the same: 503 to what changes something, which may come from something in between. */
  unsure: boolean;
}

/** It was never reached, so nothing of the question has come to it. */
export class Unreached extends Problem {}

export interface OutboundOptions {
  /** `https://host[:port]`; without TLS only on this very machine. */
  origin: string;
  /** PEM, believed besides the public roots. */
  trusted?: readonly string[];
  /** `http://host:port`; none: directly. The environment's proxy is not asked. */
  proxy?: string | null;
  ratePerMinute?: number;
  log: Log;
  /** For the whole of one try. */
  totalSeconds?: number;
  /** Of a `Retry-After`, all waits of one question together; what is longer is the caller's to come back for. */
  waitSeconds?: number;
  /** Milliseconds, monotonic; and how it is waited for them. */
  uptime?: () => number;
  wait?: (milliseconds: number, signal: AbortSignal) => Promise<void>;
  /** From 0 to 1. */
  chance?: () => number;
}

/** Bytes. A page of a thousand devices is a tenth of it. */
const mostReply = 8 * 1024 * 1024;
/** Seconds. Without a `Retry-After`: before the second try, doubled each time until it answers again. */
const firstWait = 5;
const mostOwnWait = 3600;
/** Of a `Retry-After`, in seconds: nobody is believed who wants to be left alone for ever, or to be asked at once and again. */
const mostToldWait = 86_400;
const leastToldWait = 1;
const mostTries = 4;

/** Twice as long each time, up to a bound, and by chance down to half of it: those who wait shall not come back together. */
export const longerEachTime = (first: number, times: number, most: number, chance: () => number): number =>
  Math.min(first * 2 ** Math.min(times, 30), most) * (0.5 + chance() / 2);

export function createOutbound(options: OutboundOptions): Outbound {
  const { trusted = [], proxy = null, ratePerMinute = 600, log, totalSeconds = 20, waitSeconds = 60, uptime = () => performance.now(), wait = sleep } = options;
  const chance = options.chance ?? Math.random;
  const url = URL.parse(options.origin);
  const local = url?.protocol === 'http:' && ['127.0.0.1', '[::1]'].includes(url.hostname);
  if (!url || url.origin !== options.origin || !(url.protocol === 'https:' || local))
    throw new Problem('SERVER_SETTINGS_INVALID', 'an address is no https origin');
  const host = url.host;
  const stopping = new AbortController();
  // The environment's proxy variables and the system's trust are not asked: what is believed stands in the settings.
  const believing: AgentOptions = { keepAlive: true, maxSockets: 4, minVersion: 'TLSv1.2', ca: [...rootCertificates, ...trusted] };
  const ways = local
    ? { httpAgent: new HttpAgent({ keepAlive: true, maxSockets: 4 }) }
    : { httpsAgent: proxy === null ? new HttpsAgent(believing) : new TunnelAgent(proxy, believing) };
  let nextAt = 0;
  /** How often in a row it asked for patience and did not say how long. */
  let untold = 0;

  /** One after another at the rate that was agreed, so that nobody has to tell us to slow down. */
  async function turn(): Promise<void> {
    const now = uptime();
    const mine = Math.max(now, nextAt);
    nextAt = mine + 60_000 / ratePerMinute;
    if (mine > now) await wait(mine - now, stopping.signal);
    if (stopping.signal.aborted) throw new Unreached('NEIGHBOUR_FAILED', `${host}: the backend stops`);
  }

  async function once(question: Question, way: Way): Promise<Answer> {
    const { default: axios } = await import('axios');
    const { content, type } = contentOf(question.body);
    const response = await axios.request<ArrayBuffer>({
      url: `${options.origin}${question.path}`,
      method: question.method,
      ...(content === undefined ? {} : { data: content }),
      headers: {
        accept: 'application/json',
        'accept-encoding': 'identity',
        'user-agent': 'sparekey-server',
        ...(type === undefined ? {} : { 'content-type': type }),
        ...authorization(question.auth),
        ...question.headers,
      },
      ...ways,
      transport: {
        request: (to: RequestOptions, done: (response: IncomingMessage) => void) => watched(local ? httpRequest(to, done) : httpsRequest(to, done), way),
      },
      proxy: false,
      maxRedirects: 0,
      decompress: false,
      responseType: 'arraybuffer',
      maxContentLength: mostReply,
      signal: AbortSignal.any([stopping.signal, AbortSignal.timeout(totalSeconds * 1000)]),
      transformRequest: [(data: unknown) => data],
      transformResponse: [(data: unknown) => data],
      validateStatus: () => true,
    });
    const headers: Record<string, string> = {};
    for (const [name, value] of Object.entries(response.headers)) if (typeof value === 'string') headers[name.toLowerCase()] = value;
    return { kind: 'answer', status: response.status, headers, body: bodyOf(headers['content-type'] ?? '', Buffer.from(response.data)) };
  }

  return {
    async ask(question) {
      const { method } = question;
      const path = question.path.split('?', 1)[0] ?? '';
      let waited = 0;
      for (let tried = 1; ; tried += 1) {
        await turn();
        let answer: Answer;
        const way: Way = { isOpen: false };
        try {
          answer = await once(question, way);
        } catch (error) {
          // A connection that was kept open and is dead by now says nothing about the other side.
          if (tried === 1 && method === 'GET' && ['ECONNRESET', 'EPIPE'].includes(codeOf(error)) && !stopping.signal.aborted) continue;
          // The cause would carry the request, with its secrets: it ends here.
          const because = stopping.signal.aborted ? 'the backend stops' : whyNot(error, totalSeconds);
          log.warn('neighbour-failed', { host, method, path, because });
          throw new (!way.isOpen || isBeforeSending(error) ? Unreached : Problem)('NEIGHBOUR_FAILED', `${host}${path}: ${because}`);
        }
        if (answer.status >= 300 && answer.status < 400 && answer.status !== 304) {
          log.warn('neighbour-failed', { host, method, path, because: `redirect ${answer.status}` });
          throw new Problem(
            'NEIGHBOUR_FAILED',
            `${host}${path}: it led to ${URL.parse(answer.headers['location'] ?? '', options.origin)?.host ?? 'elsewhere'}`,
          );
        }
        if (answer.status !== 429 && answer.status !== 503) {
          untold = 0;
          return answer;
        }
        const said = readRetryAfter(answer.headers);
        const seconds = said ?? Math.ceil(longerEachTime(firstWait, untold, mostOwnWait, chance));
        untold = said === undefined ? untold + 1 : 0;
        log.info('neighbour-waits', { host, method, path, status: answer.status, seconds });
        // 503 may come from something in between, after the other side has acted: only what changes nothing is said again.
        const again = answer.status === 429 || method === 'GET';
        if (!again || tried >= mostTries || waited + seconds > waitSeconds) return { kind: 'later', seconds, told: said !== undefined, unsure: !again };
        waited += seconds;
        await wait(seconds * 1000, stopping.signal);
      }
    },
    close() {
      stopping.abort();
      ways.httpsAgent?.destroy();
      ways.httpAgent?.destroy();
    },
  };
}

/** Whether anything of the question can have come to the other side: not before its TLS handshake is done. */
interface Way {
  isOpen: boolean;
}

function watched(request: ClientRequest, way: Way): ClientRequest {
  return request.once('socket', (socket) => {
    const opens = 'secureConnecting' in socket ? (socket.secureConnecting === true ? 'secureConnect' : null) : socket.connecting ? 'connect' : null;
    if (opens === null) way.isOpen = true;
    else
      socket.once(opens, () => {
        way.isOpen = true;
      });
  });
}

function contentOf(body: unknown): { content?: Buffer; type?: string } {
  if (body === undefined) return {};
  if (body instanceof URLSearchParams) return { content: Buffer.from(body.toString()), type: 'application/x-www-form-urlencoded' };
  if (typeof body === 'string') return { content: Buffer.from(body), type: 'text/plain; charset=utf-8' };
  // Not a copy: whoever gave it may wipe it.
  if (body instanceof Uint8Array) return { content: Buffer.from(body.buffer, body.byteOffset, body.byteLength), type: 'application/octet-stream' };
  return { content: Buffer.from(JSON.stringify(body)), type: 'application/json' };
}

function authorization(auth: Question['auth']): Record<string, string> {
  if (!auth) return {};
  if ('bearer' in auth) return { authorization: `Bearer ${auth.bearer}` };
  return { authorization: `Basic ${Buffer.from(`${auth.user}:${auth.password}`).toString('base64')}` };
}

function bodyOf(type: string, bytes: Buffer): unknown {
  const text = bytes.toString('utf8');
  if (!/^application\/(?:[\w.-]+\+)?json\b/i.test(type)) return text;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

const codeOf = (error: unknown): string => String((error as { code?: unknown } | null)?.code ?? '');

const isOfCertificate = (code: string): boolean => /CERT|SELF_SIGNED|UNABLE_TO_VERIFY|ALTNAME/.test(code);
const isBeforeSending = (error: unknown): boolean =>
  [proxyFailed, 'ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH', 'EPROTO'].includes(codeOf(error)) || isOfCertificate(codeOf(error));

function whyNot(error: unknown, seconds: number): string {
  const code = codeOf(error);
  const { message = '' } = error as { message?: string };
  if (code === proxyFailed) return message;
  if (code === 'ERR_CANCELED') return `no answer in ${seconds} s`;
  if (/maxContentLength/.test(message)) return `more than ${mostReply} bytes`;
  if (isOfCertificate(code)) return `its certificate is not trusted (${code})`;
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return `its name is not found (${code})`;
  if (code.startsWith('HPE_')) return 'what answered is not HTTP';
  return code === '' ? 'the connection broke' : `no connection (${code})`;
}

/** Seconds of a `Retry-After`, as a number or as a date by the other side's own clock. */
function readRetryAfter(headers: Readonly<Record<string, string>>): number | undefined {
  const value = headers['retry-after'];
  if (value === undefined) return undefined;
  const seconds = /^\d+$/.test(value.trim()) ? Number(value) : (Date.parse(value) - Date.parse(headers['date'] ?? '')) / 1000;
  return Number.isNaN(seconds) ? undefined : Math.min(Math.max(Math.ceil(seconds), leastToldWait), mostToldWait);
}

const sleep = (milliseconds: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    const timer = setTimeout(end, milliseconds);
    function end(): void {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    }
    if (signal.aborted) end();
    else signal.addEventListener('abort', end);
  });
