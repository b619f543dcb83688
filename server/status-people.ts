import type { Backend } from './backend.ts';
import { when } from './command.ts';
import { openEpisodesOf } from './store/episodes.ts';
import { openRequestsOf } from './store/key-requests.ts';

/** What people of the portal have met with a Mac, as `status` says it. Never a key; which record was refused is evidence, not proof. */
interface PeopleOfMac {
  episodes: {
    code: string;
    userName: string;
    since: string;
    views: number;
    lastShownAt: string | null;
    backInAt: string | null;
    notMeAt: string | null;
    /** *Nothing was heard for a day* has been said. */
    unheardAt: string | null;
    refusals: { at: string; recordId: string }[];
  }[];
  requests: { code: string; userName: string; state: string; since: string; until: string; decidedBy: string | null }[];
}

const orNull = (at: number | null): string | null => (at === null ? null : when(at));

export async function peopleOfMac({ store, clock }: Backend, macId: string): Promise<PeopleOfMac> {
  const episodes = await openEpisodesOf(store.db, macId);
  const requests = (await openRequestsOf(store.db, macId)).filter((request) => request.expires_at > clock.now());
  return {
    episodes: episodes.map((episode) => ({
      code: episode.code,
      userName: episode.user_name,
      since: when(episode.began_at),
      views: episode.views.length,
      lastShownAt: orNull(episode.views.at(-1)?.shown_at ?? null),
      backInAt: orNull(episode.back_in_at),
      notMeAt: orNull(episode.not_me_at),
      unheardAt: orNull(episode.unheard_at),
      refusals: episode.refusals.map(({ at, record_id: recordId }) => ({ at: when(at), recordId })),
    })),
    requests: requests.map((request) => ({
      code: request.code,
      userName: request.user_name,
      state: request.state,
      since: when(request.created_at),
      until: when(request.expires_at),
      decidedBy: request.decided_by,
    })),
  };
}

export function sayPeople({ episodes, requests }: PeopleOfMac): string[] {
  return [
    ...episodes.map(({ code, userName, since, views, lastShownAt, backInAt, notMeAt, unheardAt }) =>
      [
        `locked out ${code}: ${userName} since ${since}, shown ${views} time(s)${lastShownAt === null ? '' : `, last ${lastShownAt}`}`,
        ...(backInAt === null ? [] : [`back in ${backInAt}`]),
        ...(notMeAt === null ? [] : [`said on ${notMeAt} that it was somebody else`]),
        ...(unheardAt === null ? [] : ['nothing was heard of the Mac for a day']),
      ].join('; '),
    ),
    ...episodes.flatMap(({ userName, refusals }) => refusals.map(({ at, recordId }) => `key ${recordId} was refused, says ${userName}, ${at}`)),
    ...requests.map(({ code, userName, state, since, until, decidedBy }) =>
      state === 'approved'
        ? `request ${code}: ${userName} may be shown the key until ${until}, approved by ${decidedBy ?? 'nobody'}`
        : `request ${code}: ${userName} waits for an approval since ${since}, until ${until}`,
    ),
  ];
}
