import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { type CryptoKey, exportJWK, generateKeyPair, SignJWT } from 'jose';
import type { Provider } from 'oidc-provider';

/*
 * A real OpenID Connect provider (oidc-provider) on loopback, with accounts of its own, a sign-in page that is a form, and a
 * switch. Knows nothing of jest: the browser's tests and the try-out use it too.
 */

export interface ProviderAccount {
  /** What it is called there: `sub`. */
  id: string;
  password: string;
  claims: Record<string, unknown>;
}

export const providerAccounts: readonly ProviderAccount[] = [
  {
    id: 'sub-ada',
    password: 'ada at the provider',
    claims: { name: 'Ada Lovelace', email: 'Ada@Example.org', email_verified: true, preferred_username: 'ada', groups: ['engineers', 'everybody'] },
  },
  {
    id: 'sub-eve',
    password: 'eve at the provider',
    claims: { name: 'Eve', email: 'eve@example.org', email_verified: true, preferred_username: 'eve', groups: ['everybody'] },
  },
  // Says that an address is his, which nobody has checked.
  { id: 'sub-mallory', password: 'mallory at the provider', claims: { name: 'Mallory', email: 'ada@example.org', email_verified: false } },
  // In more groups than a token has room for, as Entra ID says it.
  {
    id: 'sub-many',
    password: 'many at the provider',
    claims: { name: 'Many', email: 'many@example.org', _claim_names: { groups: 'src1' }, _claim_sources: { src1: { endpoint: 'https://graph.example/' } } },
  },
];

export const providerClient = { id: 'sparekey', secret: 'a secret that only tests have' };

/** What may be wrong with what it says. */
interface Faults {
  /** Instead of the ID token; `sign` makes one with the provider's own key. */
  idToken?: (claims: Record<string, unknown>, sign: (claims: Record<string, unknown>) => Promise<string>) => Promise<string>;
  /** Answers nothing under these paths. */
  silentAt?: string;
  /** Answers so at these paths. */
  failAt?: { path: string; status: number };
  /** Leaves `auth_time` out, as some do. */
  withoutAuthTime?: boolean;
  /** Lets people through who have signed in, whatever is asked. */
  ignoresPrompt?: boolean;
}

export interface TestProvider {
  issuer: string;
  faults: Faults;
  /** Exact addresses to which it sends people back; none until they are known. */
  allow(redirectUris: readonly string[]): void;
  /** Where claims are: in the ID token, or only asked for. */
  claimsIn(place: 'id-token' | 'userinfo'): void;
  stop(): Promise<void>;
  start(): Promise<void>;
  /** How often it was asked for something. */
  asked(path: string): number;
}

/** It warns of what only matters in production. */
function quietly<T>(work: () => T): T {
  const { warn } = console;
  console.warn = () => undefined;
  const over = () => {
    console.warn = warn;
  };
  const done = work();
  if (done instanceof Promise) void done.finally(over);
  else over();
  return done;
}

const page = (uid: string, failed: boolean): string => `<!doctype html><html lang="en"><title>Example sign-in</title><main><h1>Example sign-in</h1>
${failed ? '<p role="alert">Wrong.</p>' : ''}<form method="post" action="/interaction/${uid}"><label for="login">User name</label><input id="login" name="login" autocomplete="username">
<label for="password">Password</label><input id="password" name="password" type="password"><button>Sign in</button><button name="cancel" value="1">Cancel</button></form></main></html>`;

const bodyOf = async (request: IncomingMessage): Promise<URLSearchParams> => {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return new URLSearchParams(Buffer.concat(parts).toString('utf8'));
};

export async function startProvider(options: { accounts?: readonly ProviderAccount[]; port?: number } = {}): Promise<TestProvider> {
  const accounts = options.accounts ?? providerAccounts;
  const { Provider: MadeProvider } = await quietly(() => import('oidc-provider'));
  const keys = await generateKeyPair('RS256', { extractable: true });
  const jwk = { ...(await exportJWK(keys.privateKey)), kid: 'one', alg: 'RS256', use: 'sig' };
  const faults: Faults = {};
  const counts = new Map<string, number>();
  let redirectUris: readonly string[] = [];
  let inIdToken = true;
  let provider: Provider | null = null;
  let issuer = '';

  function make(): Provider {
    const made = new MadeProvider(issuer, {
      clients: [
        {
          client_id: providerClient.id,
          client_secret: providerClient.secret,
          redirect_uris: [...redirectUris],
          response_types: ['code'],
          grant_types: ['authorization_code'],
          token_endpoint_auth_method: 'client_secret_post',
        },
      ],
      jwks: { keys: [jwk] } as never,
      cookies: { keys: ['only for tests'] },
      conformIdTokenClaims: !inIdToken,
      scopes: ['openid', 'profile', 'email', 'groups'],
      claims: {
        openid: ['sub'],
        profile: ['name', 'preferred_username'],
        email: ['email', 'email_verified'],
        groups: ['groups', '_claim_names', '_claim_sources'],
      },
      features: { devInteractions: { enabled: false } },
      pkce: { required: () => true },
      interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
      async findAccount(_, sub) {
        const account = accounts.find(({ id }) => id === sub);
        return account && { accountId: sub, claims: async () => ({ sub, ...account.claims }) };
      },
      async loadExistingGrant(ctx) {
        const accountId = ctx.oidc.session?.accountId;
        const grant = new made.Grant({ clientId: ctx.oidc.client?.clientId ?? '', ...(accountId ? { accountId } : {}) });
        grant.addOIDCScope('openid profile email groups');
        await grant.save();
        return grant;
      },
      ttl: { Session: 3600, Grant: 3600, Interaction: 3600, AccessToken: 600, IdToken: 600, AuthorizationCode: 60 },
    });
    made.use(async (ctx, next) => {
      await next();
      const body = ctx.body as { id_token?: string } | undefined;
      if (ctx.path !== '/token' || !body?.id_token || !(faults.idToken || faults.withoutAuthTime)) return;
      const claims = JSON.parse(Buffer.from(body.id_token.split('.')[1] ?? '', 'base64url').toString('utf8')) as Record<string, unknown>;
      const sign = (said: Record<string, unknown>) => new SignJWT(said).setProtectedHeader({ alg: 'RS256', kid: 'one' }).sign(keys.privateKey as CryptoKey);
      const { auth_time: _, ...without } = claims;
      body.id_token = await (faults.idToken ? faults.idToken(claims, sign) : sign(without));
    });
    return made;
  }

  async function interaction(request: IncomingMessage, response: ServerResponse, uid: string): Promise<void> {
    if (!provider) return;
    response.setHeader('content-type', 'text/html; charset=utf-8');
    if (request.method !== 'POST') return void response.end(page(uid, false));
    const form = await bodyOf(request);
    if (form.get('cancel')) {
      return provider.interactionFinished(request, response, { error: 'access_denied', error_description: 'cancelled' }, { mergeWithLastSubmission: false });
    }
    const name = form.get('login') ?? '';
    const account = accounts.find(({ id, claims }) => id === name || claims['preferred_username'] === name || claims['email'] === name);
    if (!account || account.password !== form.get('password')) return void response.end(page(uid, true));
    return provider.interactionFinished(request, response, { login: { accountId: account.id } }, { mergeWithLastSubmission: false });
  }

  const server = createServer((request, response) => {
    const path = (request.url ?? '').split('?')[0] ?? '';
    counts.set(path, (counts.get(path) ?? 0) + 1);
    if (faults.silentAt !== undefined && path.startsWith(faults.silentAt)) return;
    if (faults.failAt && path.startsWith(faults.failAt.path)) return void response.writeHead(faults.failAt.status).end('no');
    if (faults.ignoresPrompt && path === '/auth') request.url = (request.url ?? '').replace(/&(prompt|max_age)=[^&]*/g, '');
    const [, uid] = /^\/interaction\/([\w-]+)$/.exec(path) ?? [];
    provider ??= quietly(make);
    if (uid !== undefined) void interaction(request, response, uid);
    else void provider.callback()(request, response);
  });
  const listen = (port: number): Promise<number> =>
    new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, '127.0.0.1', () => {
        const address = server.address();
        resolve(typeof address === 'object' && address ? address.port : port);
      });
    });
  const port = await listen(options.port ?? 0);
  issuer = `http://127.0.0.1:${port}`;

  return {
    issuer,
    faults,
    allow(uris) {
      redirectUris = uris;
      provider = null;
    },
    claimsIn(place) {
      inIdToken = place === 'id-token';
      provider = null;
    },
    async stop() {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
    start: async () => void (await listen(port)),
    asked: (path) => counts.get(path) ?? 0,
  };
}

/** A browser at the provider: its cookies, and what its person does there. */
export function providerBrowser() {
  const jar = new Map<string, string>();
  async function ask(url: string, form?: Record<string, string>): Promise<Response> {
    const answer = await fetch(url, {
      method: form ? 'POST' : 'GET',
      redirect: 'manual',
      headers: { cookie: [...jar].map(([name, value]) => `${name}=${value}`).join('; '), connection: 'close' },
      ...(form ? { body: new URLSearchParams(form) } : {}),
    });
    for (const line of answer.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
      if (value === '') jar.delete(name);
      else jar.set(name, value);
    }
    return answer;
  }
  return {
    /** Follows to the address outside of the provider; at its form it is filled in, and a form that nobody fills in is the end. */
    async go(url: string, fill: Record<string, string> | null): Promise<{ back: string | null; asked: boolean; text: string }> {
      const origin = new URL(url).origin;
      let at = url;
      let asked = false;
      let form: Record<string, string> | undefined;
      for (let times = 0; times < 10; times++) {
        const answer = await ask(at, form);
        form = undefined;
        const to = answer.headers.get('location');
        if (to !== null) {
          at = new URL(to, at).href;
          if (new URL(at).origin !== origin) return { back: at, asked, text: '' };
          continue;
        }
        const text = await answer.text();
        if (!/\/interaction\//.test(at) || fill === null || asked) return { back: null, asked: asked || /\/interaction\//.test(at), text };
        asked = true;
        form = fill;
      }
      return { back: null, asked, text: 'round and round' };
    },
  };
}
