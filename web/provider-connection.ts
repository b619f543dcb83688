import { request as plainRequest } from 'node:http';
import { request as tlsRequest } from 'node:https';

/** What is asked of a provider, in the form of `fetch`. */
interface Asked {
  method: string;
  headers: Record<string, string>;
  body?: unknown;
  signal?: AbortSignal | undefined;
}

const mostBytes = 1024 * 1024;
const loopback = new Set(['127.0.0.1', '[::1]']);

const bytesOf = (body: unknown): string | Uint8Array | undefined =>
  body === null || body === undefined ? undefined : body instanceof Uint8Array ? body : String(body);

/**
 * `fetch` as openid-client wants it. Node's own takes no certificates of an organisation's CA, reads answers of any length,
 * and goes anywhere; here nothing but HTTPS is spoken, except with a provider on this very machine.
 */
export const connectionTo =
  ({ ca }: { ca: string | null }) =>
  (url: string, { method, headers, body, signal }: Asked): Promise<Response> =>
    new Promise((resolve, reject) => {
      const { protocol, hostname } = new URL(url);
      const plain = protocol === 'http:';
      if (plain && !loopback.has(hostname)) return reject(new TypeError('a provider is reached by HTTPS'));
      const options = { method, headers, ...(signal ? { signal } : {}), ...(ca === null || plain ? {} : { ca }) };
      const request = (plain ? plainRequest : tlsRequest)(url, options, (answer) => {
        const parts: Buffer[] = [];
        let length = 0;
        answer.on('data', (part: Buffer) => {
          length += part.length;
          if (length > mostBytes) return void answer.destroy(new TypeError('the answer is too long'));
          parts.push(part);
        });
        answer.on('error', reject);
        answer.on('end', () => {
          const status = answer.statusCode ?? 500;
          const given = Object.entries(answer.headers).flatMap(([name, value]) =>
            value === undefined ? [] : [[name, Array.isArray(value) ? value.join(', ') : value] as [string, string]],
          );
          const none = status === 204 || status === 304 || status < 200;
          if (status < 200 || status > 599) return reject(new TypeError('the answer is no answer'));
          resolve(new Response(none ? null : Buffer.concat(parts), { status, headers: given }));
        });
      });
      request.on('error', reject);
      request.end(bytesOf(body));
    });
