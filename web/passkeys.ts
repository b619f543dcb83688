import { createHash } from 'node:crypto';
import type { AuthenticationResponseJSON, RegistrationResponseJSON } from '@simplewebauthn/server';
import { z } from 'zod';
import { Problem } from '../protocol/problems.ts';
import { audit } from '../server/audit.ts';
import { tokenBuckets } from '../server/limits.ts';
import type { Store, Tx } from '../server/parts.ts';
import type { SitesGround } from '../server/serve.ts';
import { insertPasskey, type PasskeyRow, passkeyById, passkeysOf, passkeyUsed } from '../server/store/passkeys.ts';
import { beginFlow, type SignInFlow, spendFlow } from '../server/store/sign-in-flows.ts';
import type { SignInTrouble } from './sign-in-trouble.ts';
import type { Visit } from './visit.ts';

/** With all the formats that it knows it is large: loaded by the first who uses a passkey. */
const library = () => import('@simplewebauthn/server');

const challengeMinutes = 5;
const mostPasskeys = 10;
/** Per network: each costs a row until its time is over. */
const rate = { perMinute: 30, burst: 60 };
/** ES256, EdDSA, RS256: what authenticators in use speak. */
const algorithms = [-7, -8, -257];

const base64url = z.string().regex(/^[\w-]{1,16384}$/);
/** What a browser hands over, as far as it is looked at; the rest of it is the library's. */
const signed = z.object({
  id: base64url,
  rawId: base64url,
  type: z.literal('public-key'),
  response: z.object({ clientDataJSON: base64url, authenticatorData: base64url, signature: base64url, userHandle: base64url.nullish() }),
});
const made = z.object({
  id: base64url,
  rawId: base64url,
  type: z.literal('public-key'),
  response: z.object({ clientDataJSON: base64url, attestationObject: base64url, transports: z.array(z.string().max(32)).max(8).default([]) }),
});

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

function read<T>(schema: z.ZodType<T>, text: string): T | null {
  try {
    return schema.safeParse(JSON.parse(text)).data ?? null;
  } catch {
    return null;
  }
}

/** By the challenge that the authenticator has signed the flow is found; whether that signature holds is checked after it. */
function challengeOf(clientDataJson: string): string {
  const said = read(z.object({ challenge: z.string().max(128) }), Buffer.from(clientDataJson, 'base64url').toString('utf8'));
  return said?.challenge ?? '';
}

export interface NewOwner {
  id: string;
  userName: string;
  displayName: string;
}

export type Passkeys = ReturnType<typeof createPasskeys>;

/**
 * Passkeys always ask for the person behind them (fingerprint, face, PIN), and are found by the authenticator itself. Each works
 * at the host where it was made and nowhere else, so that every site has its own, unless two sites are at one host.
 */
export function createPasskeys(ground: SitesGround) {
  const { store, clock, settings: serverSettings } = ground.backend;
  const origin = ground.settings.url;
  const rpId = new URL(origin).hostname;
  const bucket = tokenBuckets(rate);
  const isOfHere = ({ host }: Pick<PasskeyRow, 'host'>): boolean => host === rpId || (host === '' && ground.site === 'portal');
  const ofHere = async (db: Store['db'], personId: string): Promise<PasskeyRow[]> => (await passkeysOf(db, personId)).filter(isOfHere);

  async function keepChallenge(visit: Visit, challenge: string, kind: SignInFlow['kind'], personId: string | null): Promise<void> {
    const wait = bucket.take(visit.network);
    if (wait !== null) throw new Problem('TOO_MANY_REQUESTS', undefined, { retryAfterSeconds: wait });
    await store.write(async (tx) => {
      const at = await clock.persist(tx);
      await beginFlow(tx, {
        digest: sha256(challenge),
        kind,
        provider: null,
        checks: '{}',
        then_path: '/',
        session_id: visit.session?.id ?? null,
        person_id: personId,
        created_at: at,
        expires_at: at + challengeMinutes * 60_000,
      });
    });
  }

  const spend = (clientDataJson: string, kind: SignInFlow['kind']): Promise<SignInFlow | null> =>
    store.write(async (tx) => spendFlow(tx, sha256(challengeOf(clientDataJson)), kind, await clock.persist(tx)));

  return {
    isOfHere,
    /** Where one works. */
    hostOf: ({ host }: Pick<PasskeyRow, 'host'>): string => (host === '' ? new URL(serverSettings.people?.url ?? origin).hostname : host),

    /** What a browser needs to ask for a passkey: no name, so that nobody learns who has one. */
    async begin(visit: Visit) {
      const { generateAuthenticationOptions } = await library();
      const options = await generateAuthenticationOptions({ rpID: rpId, userVerification: 'required', timeout: challengeMinutes * 60_000 });
      await keepChallenge(visit, options.challenge, 'passkey', null);
      return options;
    },

    /** Whose it is. `used` belongs into the act that signs them in: of two answers with one count only the first is taken. */
    async finish(visit: Visit, answer: string): Promise<{ personId: string; used: (tx: Tx, at: number) => Promise<SignInTrouble | null> } | SignInTrouble> {
      const response = read(signed, answer);
      if (!response) return 'passkeyRefused';
      const flow = await spend(response.response.clientDataJSON, 'passkey');
      // A challenge that was asked for in a session is answered in it.
      if (!flow || flow.session_id !== (visit.session?.id ?? null)) return 'flowOld';
      const passkey = await passkeyById(store.db, response.id);
      if (!passkey || !isOfHere(passkey)) return 'passkeyUnknown';
      const { userHandle } = response.response;
      if (userHandle != null && Buffer.from(userHandle, 'base64url').toString('utf8') !== passkey.person_id) return 'passkeyRefused';
      const newCounter = await verified(response as AuthenticationResponseJSON, passkey);
      if (newCounter === null) return 'passkeyRefused';
      return {
        personId: passkey.person_id,
        async used(tx, at) {
          const now = await passkeyById(tx, passkey.id);
          if (!now) return 'passkeyUnknown';
          if ((newCounter > 0 || now.counter > 0) && newCounter <= now.counter) return 'passkeyRefused';
          await passkeyUsed(tx, passkey.id, newCounter, at);
          return null;
        },
      };
    },

    async beginNew(visit: Visit, owner: NewOwner) {
      const before = await ofHere(store.db, owner.id);
      const { generateRegistrationOptions } = await library();
      const options = await generateRegistrationOptions({
        rpName: serverSettings.organisation,
        rpID: rpId,
        userName: owner.userName,
        userDisplayName: owner.displayName,
        userID: new TextEncoder().encode(owner.id),
        timeout: challengeMinutes * 60_000,
        attestationType: 'none',
        excludeCredentials: before.map(({ id, transports }) => ({ id, transports: JSON.parse(transports) as string[] })),
        authenticatorSelection: { residentKey: 'required', userVerification: 'required' },
        supportedAlgorithmIDs: algorithms,
      });
      await keepChallenge(visit, options.challenge, 'new-passkey', owner.id);
      return options;
    },

    /** Checks a new passkey; what it returns stores it, in the act that it belongs to. Null: it cannot be taken. */
    async finishNew(visit: Visit, owner: NewOwner, answer: string, label: string): Promise<((tx: Tx, at: number) => Promise<boolean>) | null> {
      const response = read(made, answer);
      if (!response) return null;
      const flow = await spend(response.response.clientDataJSON, 'new-passkey');
      if (flow?.person_id !== owner.id || flow.session_id !== (visit.session?.id ?? null)) return null;
      const row = await accepted(response as RegistrationResponseJSON);
      if (!row) return null;
      return async (tx, at) => {
        if ((await passkeyById(tx, row.id)) || (await ofHere(tx, owner.id)).length >= mostPasskeys) return false;
        await insertPasskey(tx, { ...row, person_id: owner.id, label: labelOf(label, visit), created_at: at, last_used_at: null, host: rpId });
        await audit(tx, {
          at,
          actor: owner.userName,
          act: 'passkey.added',
          details: { personId: owner.id, passkeyId: row.id, host: rpId, network: visit.network },
        });
        return true;
      };
    },
  };

  async function verified(response: AuthenticationResponseJSON, passkey: PasskeyRow): Promise<number | null> {
    const { id, counter } = passkey;
    const { verifyAuthenticationResponse } = await library();
    try {
      const { verified: right, authenticationInfo } = await verifyAuthenticationResponse({
        response,
        expectedChallenge: challengeOf(response.response.clientDataJSON),
        expectedOrigin: origin,
        expectedRPID: rpId,
        credential: { id, publicKey: new Uint8Array(passkey.public_key), counter },
        requireUserVerification: true,
      });
      return right ? authenticationInfo.newCounter : null;
    } catch {
      // The library says by an error what does not fit: origin, site, verification, count.
      return null;
    }
  }

  async function accepted(response: RegistrationResponseJSON): Promise<Pick<PasskeyRow, 'id' | 'public_key' | 'counter' | 'transports'> | null> {
    const { verifyRegistrationResponse } = await library();
    try {
      const { verified: right, registrationInfo } = await verifyRegistrationResponse({
        response,
        expectedChallenge: challengeOf(response.response.clientDataJSON),
        expectedOrigin: origin,
        expectedRPID: rpId,
        requireUserVerification: true,
        supportedAlgorithmIDs: algorithms,
      });
      if (!right) return null;
      const { id, publicKey, counter } = registrationInfo.credential;
      return { id, public_key: publicKey, counter, transports: JSON.stringify(response.response.transports ?? []) };
    } catch {
      return null;
    }
  }
}

const labelOf = (given: string, visit: Visit): string => given.replace(/\p{C}/gu, '').trim().slice(0, 64) || visit.browser;
