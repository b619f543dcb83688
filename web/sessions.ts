import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { Problem } from '../protocol/problems.ts';
import { audit } from '../server/audit.ts';
import type { Tx } from '../server/parts.ts';
import type { SitesGround } from '../server/serve.ts';
import { endWebSession, endWebSessionsOf, insertWebSession, openWebSession, type SessionAndPerson, seeWebSession } from '../server/store/web-sessions.ts';
import type { Page, Person, Session, SignedIn, SiteName, Visit } from './visit.ts';

type Cookies = NonNullable<Page['cookies']>;

/** Not one name for both: sites at two ports of one host would share it. */
export const sessionCookieOf = (site: SiteName): string => (site === 'portal' ? 'session' : `${site}-session`);
/** Of either site: at two ports of one host each is sent those of both. */
export const isSessionCookie = (name: string): boolean => name === sessionCookieOf('portal') || name === sessionCookieOf('console');
export const visitorCookie = 'visitor';

const minuteMs = 60_000;
const digestOf = (token: string): string => createHash('sha256').update(token).digest('hex');

/**
 * Signs somebody in, on this browser: always a new session with a new token, and whatever session the browser had ends, so
 * that nobody goes on in one that somebody else has put there. In the act that has found them to be who they are: what ends
 * all sessions of somebody comes before it or after it, and never between. The cookies are for the page that follows.
 */
export async function startSession(
  tx: Tx,
  at: number,
  { personId, way, visit, provedSecondsAgo = 0 }: { personId: string; way: string; visit: Visit; provedSecondsAgo?: number },
): Promise<Cookies> {
  const token = randomBytes(32).toString('base64url');
  if (visit.session) await endWebSession(tx, visit.session.id, 'signed-in-again', at);
  const { network, browser, site } = visit;
  const times = { created_at: at, last_seen_at: at, fresh_at: at - provedSecondsAgo * 1000, ended_at: null, ended_because: null };
  await insertWebSession(tx, { id: randomUUID(), digest: digestOf(token), person_id: personId, site, way, network, browser, ...times });
  return [
    { name: sessionCookieOf(site), value: token },
    { name: visitorCookie, value: null },
  ];
}

/** Signs out on this browser. */
export async function endSession(ground: SitesGround, visit: Visit): Promise<Cookies> {
  const { store, clock } = ground.backend;
  const { session } = visit;
  if (session)
    await store.write(async (tx) => {
      const at = await clock.persist(tx);
      await endWebSession(tx, session.id, 'signed-out', at);
      await audit(tx, { at, actor: session.person.userName, act: 'session.ended', details: { personId: session.person.id, sessionId: session.id } });
    });
  return [{ name: sessionCookieOf(visit.site), value: null }];
}

/** Everywhere: how many sessions there were. */
export const endSessionsOf = (tx: Tx, personId: string, because: string, at: number): Promise<number> => endWebSessionsOf(tx, personId, because, at);

const groupsOf = (json: string): string[] | null => {
  const read: unknown = JSON.parse(json);
  return Array.isArray(read) ? read.filter((group) => typeof group === 'string') : null;
};

/** Null where its time is over, by the server's clock, and where it is a session of the other site. */
function sessionFrom(ground: SitesGround, { session, person, emergency }: SessionAndPerson, at: number): Session | null {
  if (session.site !== ground.site) return null;
  const { sessionHours, idleMinutes, freshMinutes } = ground.settings.signIn;
  if (at >= session.created_at + sessionHours * 60 * minuteMs || at >= session.last_seen_at + idleMinutes * minuteMs) return null;
  return {
    id: session.id,
    person: {
      id: person.id,
      userName: person.user_name,
      displayName: person.display_name,
      email: person.email,
      groups: groupsOf(person.groups),
      emergency,
    },
    way: session.way,
    freshAt: session.fresh_at,
    fresh: at < session.fresh_at + freshMinutes * minuteMs,
  };
}

/** Whose session the token is, if its time is not over: by the server's clock, however long the browser keeps the cookie. */
export async function sessionOf(ground: SitesGround, token: string | undefined, at: number): Promise<Session | null> {
  if (token === undefined || !/^[\w-]{43}$/.test(token)) return null;
  const { store } = ground.backend;
  const found = await openWebSession(store.db, 'digest', digestOf(token));
  const session = found ? sessionFrom(ground, found, at) : null;
  // Each write waits for the disk: once a minute is exact enough.
  if (found && session && at >= found.session.last_seen_at + minuteMs) await store.write((tx) => seeWebSession(tx, session.id, at));
  return session;
}

/**
 * The same question within an act, whose person it gives as they are now: since the request came in, the session may have been
 * ended, its time may be over, and its person may be disabled, renamed or in another group. Throws `SIGNED_OUT`.
 */
export async function stillSignedIn(ground: SitesGround, tx: Tx, visit: SignedIn, at: number, needs: 'person' | 'fresh'): Promise<Person> {
  const found = await openWebSession(tx, 'id', visit.session.id);
  const session = found ? sessionFrom(ground, found, at) : null;
  if (!session || (needs === 'fresh' && !session.fresh)) throw new Problem('SIGNED_OUT');
  return session.person;
}
