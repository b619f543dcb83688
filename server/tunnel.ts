import { request as ask, type ClientRequest } from 'node:http';
import { Agent, type AgentOptions } from 'node:https';
import type { Duplex } from 'node:stream';
import { type ConnectionOptions, connect } from 'node:tls';

/** Milliseconds until the proxy has to have answered. */
const mostWait = 10_000;

/** Nothing of the question has left by then. */
export const proxyFailed = 'EPROXY';

/** HTTPS through a proxy (CONNECT): that sees the name of the other side and nothing else. `http://host:port`, without an account. */
export class TunnelAgent extends Agent {
  readonly #proxy: URL;
  readonly #opening = new Set<ClientRequest>();

  constructor(proxy: string, options: AgentOptions) {
    super(options);
    this.#proxy = new URL(proxy);
  }

  override createConnection(options: ConnectionOptions, done?: (error: Error | null, stream: Duplex) => void): undefined {
    const { hostname, port, host } = this.#proxy;
    const target = `${options.host?.includes(':') ? `[${options.host}]` : options.host}:${options.port}`;
    const opening = ask({
      host: hostname.replace(/^\[|\]$/g, ''),
      port: port || 80,
      method: 'CONNECT',
      path: target,
      headers: { host: target },
      agent: false,
    });
    const fail = (words: string): void => {
      opening.destroy();
      done?.(Object.assign(new Error(`the proxy ${host} ${words}`), { code: proxyFailed }), undefined as unknown as Duplex);
    };
    this.#opening.add(opening);
    opening.setTimeout(mostWait, () => opening.destroy(new Error(`no answer in ${mostWait / 1000} s`)));
    opening.once('close', () => this.#opening.delete(opening));
    opening.once('error', (error: NodeJS.ErrnoException) => fail(`does not answer (${error.code ?? error.message})`));
    opening.once('response', ({ statusCode }) => fail(`answered ${statusCode}`));
    opening.once('connect', ({ statusCode }, socket, head) => {
      if (statusCode !== 200) {
        socket.destroy();
        return fail(statusCode === 407 ? 'wants an account (407)' : `answered ${statusCode}`);
      }
      opening.setTimeout(0);
      // What came behind its answer belongs to TLS already.
      if (head.length > 0) socket.unshift(head);
      done?.(null, connect({ ...options, socket }));
    });
    opening.end();
  }

  override destroy(): void {
    for (const opening of this.#opening) opening.destroy();
    super.destroy();
  }
}
