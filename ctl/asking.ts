import { randomUUID } from 'node:crypto';
import { Agent } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { rootCertificates } from 'node:tls';
import axios, { type AxiosResponse } from 'axios';
import { isProblemCode, Problem } from '../protocol/problems.ts';

/** The console's API, as whoever has signed in. */
export interface Api {
  ask<Out>(question: Question): Promise<Out>;
  /** A list to its end, or until there are `most`. */
  pages<Item>(question: Question, most: number, onPage?: (sofar: number) => void): Promise<{ items: Item[]; more: boolean }>;
  /** What is sent as a file: its pieces as they come. */
  download(question: Question): Promise<{ fileName: string | null; content: AsyncIterable<Uint8Array> }>;
}

export interface Question {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** With `{name}` for what stands in the path. */
  path: string;
  /** Path, query or body: by its names. What is undefined is left out. */
  input?: Readonly<Record<string, unknown>>;
}

export interface ApiOptions {
  url: string;
  token: string | null;
  /** PEM, believed besides the public roots. */
  trusted: string | null;
  totalSeconds?: number;
}

const mostReply = 64 * 1024 * 1024;
/** A repeat of the same question is safe: of an act by its Idempotency-Key. */
const tries = 3;
const mostWaitSeconds = 20;

const isWorthAnother = (code: string | undefined): boolean => ['ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'ECONNABORTED', 'EAI_AGAIN'].includes(code ?? '');

/** What stands in the path goes there; the rest is the query of what only asks, and the body of what acts. */
export function addressOf({ method, path, input = {} }: Question): { path: string; body: Record<string, unknown> | null } {
  const rest: Record<string, unknown> = Object.fromEntries(Object.entries(input).filter(([, value]) => value !== undefined));
  const named = path.replace(/\{([A-Za-z]+)\}/g, (_, name: string) => {
    const value = encodeURIComponent(String(rest[name] ?? ''));
    delete rest[name];
    return value;
  });
  if (method !== 'GET' && method !== 'DELETE') return { path: named, body: rest };
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(rest)) for (const one of Array.isArray(value) ? value : [value]) query.append(name, String(one));
  return { path: query.size > 0 ? `${named}?${query}` : named, body: null };
}

export function openApi({ url, token, trusted, totalSeconds = 60 }: ApiOptions): Api {
  const httpsAgent = new Agent({ keepAlive: true, minVersion: 'TLSv1.2', ca: [...rootCertificates, ...(trusted === null ? [] : [trusted])] });

  async function once(question: Question, idempotencyKey: string, stream: boolean): Promise<AxiosResponse<unknown>> {
    const { path, body } = addressOf(question);
    return axios.request({
      baseURL: url,
      url: path,
      method: question.method,
      ...(body === null ? {} : { data: JSON.stringify(body) }),
      headers: {
        accept: 'application/json, application/problem+json',
        'user-agent': 'sparekeyctl',
        ...(token === null ? {} : { authorization: `Bearer ${token}` }),
        ...(body === null ? {} : { 'content-type': 'application/json' }),
        ...(body !== null && token !== null && !stream ? { 'idempotency-key': idempotencyKey } : {}),
      },
      httpsAgent,
      // What is believed stands in the profile; a proxy of the environment would see who asks whom.
      proxy: false,
      maxRedirects: 0,
      timeout: totalSeconds * 1000,
      maxContentLength: stream ? Number.POSITIVE_INFINITY : mostReply,
      responseType: stream ? 'stream' : 'text',
      transformResponse: [(data: unknown) => data],
      validateStatus: () => true,
    });
  }

  async function answered(question: Question, stream: boolean): Promise<AxiosResponse<unknown>> {
    const key = randomUUID();
    for (let tried = 1; ; tried += 1) {
      try {
        const answer = await once(question, key, stream);
        const seconds = Number(answer.headers['retry-after']);
        const isAgain = (answer.status === 429 || answer.status === 503) && seconds > 0 && seconds <= mostWaitSeconds && tried < tries;
        if (!isAgain) return answer;
        await sleep(seconds * 1000);
      } catch (error) {
        // Its cause would carry the request, with the token: it ends here.
        const { code, message = '' } = error as { code?: string; message?: string };
        if (isWorthAnother(code) && tried < tries) continue;
        throw new Problem('CONSOLE_UNREACHABLE', `${new URL(url).host}: ${whyNot(code, message)}`);
      }
    }
  }

  async function ask<Out>(question: Question): Promise<Out> {
    const answer = await answered(question, false);
    const said = readJson(String(answer.data ?? ''));
    if (answer.status >= 200 && answer.status < 300) return said as Out;
    throw problemOf(answer.status, said, Number(answer.headers['retry-after']));
  }

  return {
    ask,
    async pages<Item>(question: Question, most: number, onPage?: (sofar: number) => void) {
      const items: Item[] = [];
      for (let cursor: string | null = null; ; ) {
        const input = { ...question.input, limit: Math.min(200, Math.max(1, most - items.length)), ...(cursor === null ? {} : { cursor }) };
        const page: { items: Item[]; next: string | null } = await ask({ ...question, input });
        items.push(...page.items);
        onPage?.(items.length);
        cursor = page.next;
        if (cursor === null || items.length >= most) return { items, more: cursor !== null };
      }
    },
    async download(question) {
      const answer = await answered(question, true);
      const content = answer.data as AsyncIterable<Uint8Array>;
      if (answer.status >= 200 && answer.status < 300) {
        const named = /filename="([\w.-]{1,200})"/.exec(String(answer.headers['content-disposition'] ?? ''));
        return { fileName: named?.[1] ?? null, content };
      }
      const parts: Uint8Array[] = [];
      for await (const part of content) parts.push(part);
      throw problemOf(answer.status, readJson(Buffer.concat(parts).toString('utf8')), Number.NaN);
    },
  };
}

function readJson(text: string): unknown {
  if (text === '') return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** The backend's own problem, by its code; of a code that this release does not know only the words. */
function problemOf(status: number, said: unknown, retryAfterSeconds: number): Problem {
  const { code, title, detail, fix } = (said ?? {}) as { code?: unknown; title?: unknown; detail?: unknown; fix?: unknown };
  const more = retryAfterSeconds > 0 ? { retryAfterSeconds } : {};
  if (isProblemCode(code)) return new Problem(code, typeof detail === 'string' ? detail : undefined, more);
  const words = [title, detail, fix].filter((part) => typeof part === 'string').join('; ');
  return new Problem('REPLY_UNREADABLE', words === '' ? `status ${status}, and no words of Sparekey: is this the console’s address?` : words);
}

function whyNot(code: string | undefined, message: string): string {
  if (/CERT|SELF_SIGNED|UNABLE_TO_VERIFY|ALTNAME/.test(code ?? '')) return `its certificate is not trusted (${code}): sign in with --ca FILE`;
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return `its name is not found (${code})`;
  if (code === 'ECONNREFUSED') return 'nobody listens there (ECONNREFUSED)';
  if (code === 'ECONNABORTED' || code === 'ETIMEDOUT') return 'no answer in time';
  return code ?? (message === '' ? 'the connection broke' : 'no HTTP of the console');
}
