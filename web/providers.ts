import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import * as oidc from 'openid-client';
import { Problem } from '../protocol/problems.ts';
import type { Provider } from '../server/people-settings.ts';
import { readPrivate } from '../server/private-files.ts';
import type { SitesGround } from '../server/serve.ts';
import { claimsOf, type SaidByProvider } from './provider-claims.ts';
import { connectionTo } from './provider-connection.ts';

/**
 * Why a sign-in with a provider came to nothing. `down`: it cannot be reached, or says so itself; `not-fresh`: it let somebody
 * through who had signed in there before; `nameless`: it gave no user name that may be believed.
 */
export type ProviderFailure = 'denied' | 'down' | 'login-required' | 'not-fresh' | 'nameless' | 'refused';

/** What goes out, and comes back. Nothing of it is stored but the digest of the state: the rest is made from it again. */
interface Way {
  state: string;
  /** Somebody who is signed in proves it once more. */
  again: boolean;
  redirectUri: string;
}

export interface Providers {
  list: readonly Pick<Provider, 'id' | 'name'>[];
  /** The address at the provider; null where it cannot be asked at present. */
  begin(id: string, way: Way): Promise<string | null>;
  /** `search`: the query of the way back, as it came. `seconds`: since the beginning, by the server's clock. */
  finish(id: string, way: Way & { search: string; seconds: number }): Promise<SaidByProvider | { failure: ProviderFailure }>;
}

const second = 1000;
/** How long a person looks at nothing while a provider is silent. */
const answerSeconds = 5;
/** By how much the clocks of provider and server may differ. */
const toleranceSeconds = 120;
const discoveryLifeMs = 60 * 60 * second;
/** What was learned yesterday still serves while the provider's own page about itself is down. */
const discoveryMostMs = 24 * discoveryLifeMs;
/** After a failure nobody waits for the same silence again. */
const pauseMs = 15 * second;

const posts = (server: oidc.ServerMetadata): boolean => server.token_endpoint_auth_methods_supported?.includes('client_secret_post') ?? false;

/** By form where the provider takes it: its other way encodes signs of a secret in a form that not every provider decodes. */
const secretAuth =
  (secret: string): oidc.ClientAuth =>
  (server, client, body, headers) =>
    (posts(server) ? oidc.ClientSecretPost(secret) : oidc.ClientSecretBasic(secret))(server, client, body, headers);

function secretOf(provider: Provider): string | null {
  if (provider.clientSecretFile === null) return null;
  const secret = readPrivate(provider.clientSecretFile).toString('utf8').trim();
  if (secret === '') throw new Problem('SERVER_SETTINGS_INVALID', `${provider.clientSecretFile} is empty`);
  return secret;
}

function certificatesOf(provider: Provider): string | null {
  if (provider.trustedCertificatesFile === null) return null;
  try {
    return readFileSync(provider.trustedCertificatesFile, 'utf8');
  } catch {
    throw new Problem('SERVER_SETTINGS_INVALID', `${provider.trustedCertificatesFile} cannot be read`);
  }
}

/** The codes of OAuth are words of a known form; whatever else comes is nobody's to log. */
const tidyCode = (code: unknown): string => (typeof code === 'string' && /^[a-zA-Z_.-]{1,64}$/.test(code) ? code : 'unknown');

function failureOf(error: unknown): { failure: ProviderFailure; code: string } {
  if (error instanceof oidc.AuthorizationResponseError) {
    const code = tidyCode(error.error);
    const failure =
      code === 'access_denied'
        ? 'denied'
        : ['login_required', 'interaction_required', 'consent_required', 'account_selection_required'].includes(code)
          ? 'login-required'
          : ['temporarily_unavailable', 'server_error'].includes(code)
            ? 'down'
            : 'refused';
    return { failure, code };
  }
  if (error instanceof oidc.ResponseBodyError) return { failure: error.status >= 500 ? 'down' : 'refused', code: tidyCode(error.error) };
  const { code, cause } = error as { code?: unknown; cause?: { status?: unknown; code?: unknown } | undefined };
  if (code === 'OAUTH_TIMEOUT' || code === 'OAUTH_ABORT') return { failure: 'down', code: tidyCode(code) };
  // An answer that is none: its status says whose fault it is.
  if (code === 'OAUTH_RESPONSE_IS_NOT_CONFORM' && typeof cause?.status === 'number') return { failure: cause.status >= 500 ? 'down' : 'refused', code };
  if (code === 'OAUTH_RESPONSE_IS_NOT_JSON' || code === 'OAUTH_PARSE_ERROR') return { failure: 'down', code };
  if (typeof code === 'string' && code.startsWith('OAUTH_')) return { failure: 'refused', code: tidyCode(code) };
  return { failure: 'down', code: tidyCode(code ?? cause?.code) };
}

export function createProviders(ground: SitesGround): Providers {
  const { log, settings, backend } = ground;
  const known = new Map(settings.signIn.providers.map((provider) => [provider.id, { provider, configuration: configurationsOf(provider) }]));
  const derived = (name: string, state: string): string => createHmac('sha256', backend.secrets.nonce).update(`sparekey ${name}\0${state}`).digest('base64url');
  /** 43 signs, as PKCE wants them; nobody who reads the database or the address can make them. */
  const secretsOf = (state: string) => ({ verifier: derived('pkce', state), nonce: derived('nonce', state) });

  function configurationsOf(provider: Provider): () => Promise<oidc.Configuration> {
    const secret = secretOf(provider);
    const fetch = connectionTo({ ca: certificatesOf(provider) });
    const issuer = new URL(provider.issuer);
    const overPlain = issuer.protocol === 'http:';
    const auth = secret === null ? oidc.None() : secretAuth(secret);
    let last: { configuration: oidc.Configuration; at: number } | null = null;
    let failed: { error: unknown; at: number } | null = null;
    let asking: Promise<oidc.Configuration> | null = null;

    async function discover(): Promise<oidc.Configuration> {
      const configuration = await oidc.discovery(issuer, provider.clientId, { [oidc.clockTolerance]: toleranceSeconds }, auth, {
        [oidc.customFetch]: fetch,
        timeout: answerSeconds,
        // The signature is checked too, although the token comes from the provider itself: proxies open TLS in between.
        execute: [oidc.enableNonRepudiationChecks, ...(overPlain ? [oidc.allowInsecureRequests] : [])],
      });
      last = { configuration, at: performance.now() };
      failed = null;
      return configuration;
    }
    return async () => {
      const at = performance.now();
      if (last && at - last.at < discoveryLifeMs) return last.configuration;
      const old = last && at - last.at < discoveryMostMs ? last.configuration : null;
      try {
        if (failed && at - failed.at < pauseMs) throw failed.error;
        asking ??= discover().finally(() => {
          asking = null;
        });
        return await asking;
      } catch (error) {
        if (error !== failed?.error) failed = { error, at: performance.now() };
        if (old) return old;
        throw error;
      }
    };
  }

  const entryOf = (id: string) => {
    const entry = known.get(id);
    if (!entry) throw new Problem('NOT_FOUND');
    return entry;
  };

  function fail(id: string, failure: ProviderFailure, code: string): { failure: ProviderFailure } {
    log.warn('provider-failed', { provider: id, because: failure, code });
    return { failure };
  }

  /** What is not in the ID token is asked for once; without an answer it is not known. */
  async function withUserInfo(configuration: oidc.Configuration, tokens: oidc.TokenEndpointResponse, claims: Record<string, unknown>, provider: Provider) {
    const wanted = ['name', 'email', 'email_verified', provider.userNameClaim, provider.groupsClaim];
    if (!configuration.serverMetadata().userinfo_endpoint || wanted.every((claim) => claims[claim] !== undefined)) return claims;
    try {
      // What the ID token says itself stands.
      return { ...(await oidc.fetchUserInfo(configuration, tokens.access_token, String(claims['sub']))), ...claims };
    } catch (error) {
      log.warn('provider-failed', { provider: provider.id, because: 'userinfo', code: failureOf(error).code });
      // What it might have said against somebody counts: an address that is not verified, groups for which less is allowed.
      return { ...claims, email_verified: claims['email_verified'] ?? false, hasgroups: true };
    }
  }

  return {
    list: settings.signIn.providers.map(({ id, name }) => ({ id, name })),
    async begin(id, { state, again, redirectUri }) {
      const { provider, configuration } = entryOf(id);
      try {
        const { verifier, nonce } = secretsOf(state);
        const url = oidc.buildAuthorizationUrl(await configuration(), {
          redirect_uri: redirectUri,
          scope: provider.scopes.join(' '),
          code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
          code_challenge_method: 'S256',
          state,
          nonce,
          // A key asks for a sign-in that is a real one; otherwise one of the last minutes will do.
          ...(again ? { prompt: 'login', max_age: '0' } : { max_age: String(settings.signIn.freshMinutes * 60) }),
        });
        return url.href;
      } catch (error) {
        fail(id, 'down', failureOf(error).code);
        return null;
      }
    },
    async finish(id, { state, again, redirectUri, search, seconds }) {
      const { provider, configuration } = entryOf(id);
      try {
        const configured = await configuration();
        const { verifier, nonce } = secretsOf(state);
        const tokens = await oidc.authorizationCodeGrant(configured, new URL(search, redirectUri), {
          expectedState: state,
          expectedNonce: nonce,
          pkceCodeVerifier: verifier,
          idTokenExpected: true,
        });
        const token = tokens.claims();
        if (!token) return fail(id, 'refused', 'no_id_token');
        /*
         * When somebody really signed in there is said by the provider's clock, as is when the token was made: the difference
         * needs no clock of ours. Not every provider says it; then `prompt=login` has to be believed.
         */
        const agoSeconds = typeof token.auth_time === 'number' ? Math.max(0, token.iat - token.auth_time) : null;
        const here = agoSeconds !== null && agoSeconds <= seconds + toleranceSeconds;
        if (again && agoSeconds !== null && !here) return fail(id, 'not-fresh', 'auth_time');
        const said = claimsOf(await withUserInfo(configured, tokens, token, provider), provider);
        if (said.groups === null)
          log.warn('provider-groups-missing', { provider: id, because: 'it does not say which groups somebody is in: the strictest of the settings counts' });
        if (said.userName === null) return fail(id, 'nameless', provider.userNameClaim);
        const provedSecondsAgo = again || here ? 0 : (agoSeconds ?? settings.signIn.freshMinutes * 60);
        return { ...said, userName: said.userName, provedSecondsAgo };
      } catch (error) {
        const { failure, code } = failureOf(error);
        return fail(id, failure, code);
      }
    },
  };
}
