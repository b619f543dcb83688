import { createHash, randomBytes, randomUUID } from 'node:crypto';
import type { Tx } from '../server/parts.ts';
import type { SitesGround } from '../server/serve.ts';
import { endWebSession, endWebSessionsOf, insertWebSession, openWebSession, seeWebSession } from '../server/store/web-sessions.ts';
import type { Page, Session, Visit } from './visit.ts';

type Cookies = NonNullable<Page['cookies']>;

export const sessionCookie = 'session';
export const visitorCookie = 'visitor';

const minuteMs = 60_000;
const digestOf = (token: string): string => createHash('sha256').update(token).digest('hex');

/**
 * Signs somebody in, on this browser: always a new session with a new token, and whatever session the browser had ends, so
 * that nobody goes on in one that somebody else has put there. The answer's cookies are for the page that follows.
 */
export async function startSession(
  ground: SitesGround,
  { personId, way, visit, provedSecondsAgo = 0 }: { personId: string; way: string; visit: Visit; provedSecondsAgo?: number },
): Promise<Cookies> {
  const { store, clock } = ground.backend;
  const token = randomBytes(32).toString('base64url');
  await store.write(async (tx) => {
    const at = await clock.persist(tx);
    if (visit.session) await endWebSession(tx, visit.session.id, 'signed-in-again', at);
    const { network, browser } = visit;
    const times = { created_at: at, last_seen_at: at, fresh_at: at - provedSecondsAgo * 1000, ended_at: null, ended_because: null };
    await insertWebSession(tx, { id: randomUUID(), digest: digestOf(token), person_id: personId, way, network, browser, ...times });
  });
  return [
    { name: sessionCookie, value: token },
    { name: visitorCookie, value: null },
  ];
}

/** Signs out on this browser. */
export async function endSession(ground: SitesGround, visit: Visit): Promise<Cookies> {
  const { store, clock } = ground.backend;
  const { session } = visit;
  if (session) await store.write(async (tx) => endWebSession(tx, session.id, 'signed-out', await clock.persist(tx)));
  return [{ name: sessionCookie, value: null }];
}

/** Everywhere: how many sessions there were. */
export const endSessionsOf = (tx: Tx, personId: string, because: string, at: number): Promise<number> => endWebSessionsOf(tx, personId, because, at);

const groupsOf = (json: string): string[] => {
  const read: unknown = JSON.parse(json);
  return Array.isArray(read) ? read.filter((group) => typeof group === 'string') : [];
};

/** Whose session the token is, if its time is not over: by the server's clock, however long the browser keeps the cookie. */
export async function sessionOf(ground: SitesGround, token: string | undefined, at: number): Promise<Session | null> {
  if (token === undefined || !/^[\w-]{43}$/.test(token)) return null;
  const { store } = ground.backend;
  const { sessionHours, idleMinutes, freshMinutes } = ground.settings.signIn;
  const found = await openWebSession(store.db, digestOf(token));
  if (!found) return null;
  const { session, person } = found;
  if (at >= session.created_at + sessionHours * 60 * minuteMs || at >= session.last_seen_at + idleMinutes * minuteMs) return null;
  // Each write waits for the disk: once a minute is exact enough.
  if (at >= session.last_seen_at + minuteMs) await store.write((tx) => seeWebSession(tx, session.id, at));
  return {
    id: session.id,
    person: {
      id: person.id,
      userName: person.user_name,
      displayName: person.display_name,
      email: person.email,
      groups: groupsOf(person.groups),
      emergency: found.emergency,
    },
    way: session.way,
    freshAt: session.fresh_at,
    fresh: at < session.fresh_at + freshMinutes * minuteMs,
  };
}
