import { Agent, request } from 'node:https';
import { operatorAdmin } from '../server/admins/admin.ts';
import { giveRole } from '../server/admins/roles.ts';
import { makeLoginToken } from '../server/admins/tokens.ts';
import type { Role, Scope } from '../server/permissions.ts';
import { makeFormToken } from '../web/form-token.ts';
import { startSession } from '../web/sessions.ts';
import { type PortalClient, portalClient } from './portal-client.ts';
import { givenPortal } from './portal-together.ts';

// `portal-together.ts` with the console and admins. Knows nothing of jest: the scripts use it too; tests take it from `given-console.ts`.

export interface Answered {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  text: string;
  // biome-ignore lint/suspicious/noExplicitAny: what it is, is what tests look at.
  body: any;
}

interface Asking {
  method?: string;
  body?: unknown;
  headers?: Record<string, string | undefined>;
}

/** JSON over TLS, as a script of an admin would ask. */
function apiClient(url: string, ca: string, about: { headers?: () => Record<string, string>; formToken?: (path: string) => string } = {}) {
  const { host, hostname, port } = new URL(url);
  // The certificate is for the number, whatever name leads here.
  const address = hostname === 'localhost' ? '127.0.0.1' : hostname;
  // A handshake for each request would be most of a test's time.
  const agent = new Agent({ keepAlive: true, timeout: 20_000 });
  const ask = (path: string, { method = 'GET', body, headers = {} }: Asking = {}): Promise<Answered> =>
    new Promise((resolve, reject) => {
      const text = body === undefined ? null : typeof body === 'string' ? body : JSON.stringify(body);
      const formToken = method === 'GET' ? undefined : about.formToken?.(path.split('?')[0] ?? '');
      const all: Record<string, string | undefined> = {
        accept: 'application/json',
        host,
        ...about.headers?.(),
        ...(formToken === undefined ? {} : { 'form-token': formToken, origin: url, 'sec-fetch-site': 'same-origin' }),
        ...(text === null ? {} : { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(text)) }),
        ...headers,
      };
      const given = Object.fromEntries(Object.entries(all).filter((entry): entry is [string, string] => entry[1] !== undefined));
      const sent = request({ host: address, port, path, method, ca, agent, servername: '', headers: given }, (answer) => {
        const chunks: Buffer[] = [];
        answer.on('data', (chunk: Buffer) => chunks.push(chunk));
        answer.on('error', reject);
        answer.on('end', () => {
          const said = Buffer.concat(chunks).toString('utf8');
          const isJson = /\bjson\b/.test(String(answer.headers['content-type'] ?? '')) && !/ndjson/.test(String(answer.headers['content-type']));
          resolve({ status: answer.statusCode ?? 0, headers: answer.headers, text: said, body: isJson && said !== '' ? JSON.parse(said) : said });
        });
      });
      sent.on('error', reject);
      sent.end(text ?? undefined);
    });
  const by =
    (method: string) =>
    (path: string, body: unknown = {}, headers: Record<string, string | undefined> = {}): Promise<Answered> =>
      ask(path, { method, body, headers });
  return {
    ask,
    get: (path: string, headers: Record<string, string | undefined> = {}) => ask(path, { headers }),
    post: by('POST'),
    put: by('PUT'),
    patch: by('PATCH'),
    delete: (path: string, headers: Record<string, string | undefined> = {}) => ask(path, { method: 'DELETE', headers }),
  };
}

export interface AdminGiven extends ReturnType<typeof apiClient> {
  personId: string;
  userName: string;
  /** The browser of their session, for pages and forms; without one for a token. */
  browser: PortalClient;
  token: string | null;
  sessionId: string | null;
}

let madeAdmins = 0;

export async function givenConsole(options: Parameters<typeof givenPortal>[0] = {}) {
  const it = await givenPortal({ console: {}, ...options });
  const url = it.serving.console?.url ?? '';
  const { ca } = it.portal;

  /** A role as an operator gives it. */
  async function give(person: { id: string; userName: string }, role: Role, scope: Scope = null): Promise<void> {
    const subject = { kind: 'person', person: { id: person.id, user_name: person.userName } } as const;
    await giveRole(it.backend, operatorAdmin('an operator'), { subject, role, scope, reason: 'a test' });
  }

  /** A session of this site as signing in makes it, without the work on a password. */
  async function startSessionOf(personId: string, site: 'portal' | 'console' = 'console'): Promise<{ browser: PortalClient; sessionId: string }> {
    const { store, clock } = it.backend;
    const browser = portalClient(site === 'console' ? url : it.portal.url, ca);
    const visit = { site, session: null, network: 'a test', browser: 'a test' } as unknown as Parameters<typeof startSession>[2]['visit'];
    const cookies = await store.write(async (tx) => startSession(tx, await clock.persist(tx), { personId, way: 'password', visit }));
    for (const { name, value } of cookies) if (value !== null) browser.jar.set(`__Host-${name}`, value);
    const row = await store.db
      .selectFrom('web_session')
      .select('id')
      .where('person_id', '=', personId)
      .where('site', '=', site)
      .orderBy('created_at', 'desc')
      .executeTakeFirst();
    return { browser, sessionId: row?.id ?? '' };
  }

  /** Somebody new who has this role (null: none), at a browser of the console, or with a token of theirs. */
  async function as(role: Role | null, scope: Scope = null, by: 'session' | 'token' = 'session'): Promise<AdminGiven> {
    const userName = `${role ?? 'nobody'}${++madeAdmins}`;
    const personId = await it.portal.account(userName, { withoutPassword: true });
    if (role !== null) await give({ id: personId, userName }, role, scope);
    const about = { personId, userName };
    if (by === 'token') {
      const { store, clock } = it.backend;
      const { token } = await store.write(async (tx) => {
        const at = await clock.persist(tx);
        return makeLoginToken(tx, at, { person: { id: personId, userName }, machine: 'a test', freshAt: at, network: 'a test' });
      });
      const headers = () => ({ authorization: `Bearer ${token}` });
      return { ...apiClient(url, ca, { headers }), ...about, token, sessionId: null, browser: portalClient(url, ca) };
    }
    const { browser, sessionId } = await startSessionOf(personId);
    const headers = () => ({ cookie: [...browser.jar].map(([name, value]) => `${name}=${value}`).join('; ') });
    const formToken = (act: string) => makeFormToken(it.backend.secrets.nonce, { holder: `session:${sessionId}`, act }, it.backend.clock.now(), false);
    return { ...apiClient(url, ca, { headers, formToken }), ...about, token: null, sessionId, browser };
  }

  return Object.assign(Object.create(Object.prototype, Object.getOwnPropertyDescriptors(it)) as typeof it, {
    console: { url, ca, give, startSessionOf, nobody: apiClient(url, ca), browser: () => portalClient(url, ca) },
    as,
  });
}
