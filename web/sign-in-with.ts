import { createHash, randomBytes, randomUUID, timingSafeEqual } from 'node:crypto';
import { Problem } from '../protocol/problems.ts';
import { audit } from '../server/audit.ts';
import { tokenBuckets } from '../server/limits.ts';
import type { Tx } from '../server/parts.ts';
import { markDirtyByUser } from '../server/store/fleet-dirty.ts';
import { insertPerson, othersNamed, personOfSubject, updatePerson } from '../server/store/people.ts';
import { beginFlow, isFlow, spendFlow } from '../server/store/sign-in-flows.ts';
import { endWebSessionsOf } from '../server/store/web-sessions.ts';
import { enter } from './entering.ts';
import type { SaidByProvider } from './provider-claims.ts';
import type { ProviderFailure, Providers } from './providers.ts';
import { homeOf, isAgain, signInPage, thenOf } from './sign-in-page.ts';
import type { SignInTrouble } from './sign-in-trouble.ts';
import type { Site, Visit } from './visit.ts';

/** A second step may have to be set up on the way. */
const flowMinutes = 20;
/** Per network, behind which a whole organisation may begin its day: each is a GET that anybody may ask for, and a row until its time is over. */
const rate = { perMinute: 120, burst: 240 };
/** Ties the way back to the browser that set out: an answer that somebody else has fetched signs nobody in here. */
const flowCookie = 'flow';

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
const sameText = (a: string, b: string): boolean => a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b));

const troubles: Record<ProviderFailure, SignInTrouble> = {
  denied: 'denied',
  down: 'down',
  'login-required': 'loginRequired',
  'not-fresh': 'notFresh',
  nameless: 'nameless',
  refused: 'refused',
};

/** Signing in with a provider: away, and back. */
export function addProviderPages(site: Site, providers: Providers): void {
  const { ground } = site;
  const { store, clock } = ground.backend;
  const bucket = tokenBuckets(rate);
  const notedUntil = new Map<string, number>();
  const redirectUri = (id: string): string => `${ground.settings.url}/sign-in/back/${id}`;

  /** Once an hour for each provider and cause: whoever presses the button all day long does not fill the audit; the log has each. */
  async function noteFailure(provider: string, because: ProviderFailure, { network, browser }: Visit): Promise<void> {
    const what = `${provider} ${because}`;
    const now = clock.now();
    if (now < (notedUntil.get(what) ?? 0)) return;
    notedUntil.set(what, now + 60 * 60_000);
    const details = { provider, because, network, browser };
    await store.write(async (tx) => audit(tx, { at: await clock.persist(tx), actor: 'server', act: 'sign-in.provider-failed', details }));
  }

  site.page('/sign-in/with/:provider', 'nobody', async (visit) => {
    const id = visit.params['provider'] ?? '';
    const signing = { goal: thenOf(ground.site, visit.query['then']), again: isAgain(visit, visit.query['again']) };
    const { session } = visit;
    const wait = bucket.take(visit.network);
    if (wait !== null) throw new Problem('TOO_MANY_REQUESTS', undefined, { retryAfterSeconds: wait });
    const state = randomBytes(32).toString('base64url');
    const to = await providers.begin(id, { state, again: signing.again, redirectUri: redirectUri(id) });
    if (to === null) {
      await noteFailure(id, 'down', visit);
      return signInPage(ground, visit, { ...signing, trouble: 'down' });
    }
    const given = visit.cookies[flowCookie] ?? '';
    const browser = /^[\w-]{43}$/.test(given) ? given : randomBytes(32).toString('base64url');
    await store.write(async (tx) => {
      const at = await clock.persist(tx);
      await beginFlow(tx, {
        digest: sha256(state),
        kind: 'provider',
        provider: id,
        checks: JSON.stringify({ browser: sha256(browser) }),
        then_path: signing.goal,
        session_id: signing.again ? (session?.id ?? null) : null,
        person_id: signing.again ? (session?.person.id ?? null) : null,
        created_at: at,
        expires_at: at + flowMinutes * 60_000,
      });
    });
    return { to, away: true, cookies: [{ name: flowCookie, value: browser, maxAgeSeconds: flowMinutes * 60 }] };
  });

  site.page('/sign-in/back/:provider', 'nobody', async (visit) => {
    const id = visit.params['provider'] ?? '';
    const state = visit.query['state'] ?? '';
    const browser = visit.cookies[flowCookie] ?? '';
    // What is no way back costs no write.
    const { flow, at } = (await isFlow(store.db, sha256(state)))
      ? await store.write(async (tx) => {
          const now = await clock.persist(tx);
          return { flow: await spendFlow(tx, sha256(state), 'provider', now), at: now };
        })
      : { flow: null, at: visit.at };
    const bound = flow ? (JSON.parse(flow.checks) as { browser: string }).browser : '';
    if (!flow || flow.provider !== id || !sameText(bound, sha256(browser))) {
      // Whoever goes back in their history after they are in has lost nothing.
      return signInPage(ground, visit, { goal: homeOf(ground.site), again: false, trouble: 'flowOld' });
    }
    const again = flow.person_id !== null;
    const signing = { goal: flow.then_path, again: again && visit.session !== null };
    // Not `visit.path`, which is for places to go on to: a provider's code alone may be as long as one of those may be.
    const query = new URLSearchParams(visit.query).toString();
    const seconds = Math.ceil((at - flow.created_at) / 1000);
    const said = await providers.finish(id, { state, again, redirectUri: redirectUri(id), search: `?${query}`, seconds });
    if ('failure' in said) {
      await noteFailure(id, said.failure, visit);
      return signInPage(ground, visit, { ...signing, trouble: troubles[said.failure] });
    }
    const personId = await store.write(async (tx) => keep(tx, id, said, await clock.persist(tx)));
    const { provedSecondsAgo } = said;
    const entered = await enter(ground, visit, { personId, way: id, goal: flow.then_path, expected: flow.person_id, provedSecondsAgo });
    return typeof entered === 'string' ? signInPage(ground, visit, { ...signing, trouble: entered }) : entered;
  });
}

/**
 * A provider gives a name to somebody else when its person has left or is called otherwise. Whoever had it is no longer known to
 * have it: their sessions end, and their passkeys wait for the next word of their provider.
 */
async function keep(tx: Tx, provider: string, said: SaidByProvider, at: number): Promise<string> {
  const personId = await know(tx, provider, said, at);
  for (const other of await othersNamed(tx, provider, said.userName, personId)) {
    await updatePerson(tx, other.id, { confirmed_at: 0 });
    const sessions = await endWebSessionsOf(tx, other.id, 'somebody else has the name now', at);
    await audit(tx, {
      at,
      actor: 'server',
      act: 'person.unconfirmed',
      details: { personId: other.id, provider, userName: said.userName, now: personId, sessions },
    });
  }
  return personId;
}

/** Who it is by what the provider never changes; name, address and groups are what it has said last. */
async function know(tx: Tx, provider: string, said: SaidByProvider, at: number): Promise<string> {
  const { subject, userName, displayName, email } = said;
  const now = { user_name: userName, display_name: displayName, email, groups: JSON.stringify(said.groups), confirmed_at: at };
  const known = await personOfSubject(tx, provider, subject);
  if (known) {
    if (known.user_name !== userName)
      await audit(tx, { at, actor: 'server', act: 'person.renamed', details: { personId: known.id, provider, from: known.user_name, to: userName } });
    await updatePerson(tx, known.id, now);
    // Their groups are tags of their Macs.
    if (known.groups !== now.groups || known.user_name !== userName || known.confirmed_at === 0)
      for (const name of new Set([known.user_name, userName])) await markDirtyByUser(tx, name);
    return known.id;
  }
  const id = randomUUID();
  await insertPerson(tx, { id, provider, subject, ...now, language: null, created_at: at, last_seen_at: null, disabled_at: null, disabled_because: null });
  await audit(tx, { at, actor: 'server', act: 'person.met', details: { personId: id, provider, userName } });
  await markDirtyByUser(tx, userName);
  return id;
}
