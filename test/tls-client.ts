import { type Agent, request } from 'node:https';
import type { TLSSocket } from 'node:tls';
import { protocolHeader, protocolVersion } from '../protocol/messages.ts';

export interface Identity {
  /** PEM, with its chain. */
  cert: string;
  key: string;
}

export interface Answer {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  text: string;
  // biome-ignore lint/suspicious/noExplicitAny: what came is looked at by the tests
  body: any;
  /** Whether TLS went on from an earlier connection. */
  resumed: boolean;
}

export interface Asking {
  method?: string;
  identity?: Identity | undefined;
  headers?: Record<string, string>;
  /** Sent as JSON, or as it is where it is a string or Buffer. */
  body?: unknown;
  version?: string | null;
  agent?: Agent;
}

/** A client of a backend on loopback, by real TLS: its certificate is trusted by our own TLS CA alone. */
export function clientOf(port: number, ca: string) {
  const ask = (path: string, asking: Asking = {}): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const { method = 'POST', body, version = String(protocolVersion), identity } = asking;
      const bytes = body === undefined ? null : typeof body === 'string' || Buffer.isBuffer(body) ? Buffer.from(body) : Buffer.from(JSON.stringify(body));
      const sent = request(
        {
          host: '127.0.0.1',
          port,
          path,
          method,
          ca,
          ...identity,
          agent: asking.agent ?? false,
          headers: {
            ...(version === null ? {} : { [protocolHeader]: version }),
            ...(bytes ? { 'content-type': 'application/json', 'content-length': String(bytes.length) } : {}),
            ...asking.headers,
          },
        },
        (answer) => {
          const resumed = (answer.socket as TLSSocket).isSessionReused();
          const chunks: Buffer[] = [];
          answer.on('data', (chunk: Buffer) => chunks.push(chunk));
          answer.on('error', reject);
          answer.on('end', () => {
            const text = Buffer.concat(chunks).toString('utf8');
            const isJson = /json/.test(answer.headers['content-type'] ?? '');
            resolve({ status: answer.statusCode ?? 0, headers: answer.headers, text, body: isJson && text !== '' ? JSON.parse(text) : undefined, resumed });
          });
        },
      );
      sent.on('error', reject);
      sent.end(bytes ?? undefined);
    });
  return { ask, port, ca };
}
export type Client = ReturnType<typeof clientOf>;
