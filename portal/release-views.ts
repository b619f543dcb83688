import type { Store } from '../server/parts.ts';
import { type Release, type ReleaseView, releaseViews } from '../server/store/releases.ts';
import { moreTimeGrace, mostKeys, mostMoreTimes } from './episodes.ts';

/** What a browser with a code of the desk has seen: the same rules as for somebody who is signed in. */
export interface ReleaseNow {
  release: Release;
  /** Oldest first. */
  views: readonly ReleaseView[];
  last: ReleaseView | null;
  refused: readonly string[];
  refusals: number;
}

export async function releaseNow(db: Store['db'], release: Release): Promise<ReleaseNow> {
  const views = await releaseViews(db, release.id);
  const refusedViews = views.filter((view) => view.refused_at !== null);
  const refused = [...new Set(refusedViews.map((view) => view.record_id))];
  return { release, views, last: views.at(-1) ?? null, refused, refusals: refusedViews.length };
}

export function moreTimeOf({ views, last }: ReleaseNow, at: number): 'yes' | 'used-up' | 'over' {
  if (!last || last.hidden_at !== null || at > last.ends_at + moreTimeGrace) return 'over';
  return views.length - 1 - views.findLastIndex((view) => view.because !== 'more-time') < mostMoreTimes ? 'yes' : 'used-up';
}

export const mayTryAnotherOf = ({ views }: ReleaseNow): boolean => new Set(views.map((view) => view.record_id)).size < mostKeys;

/** The record to go on with, and those not to be offered any more. */
export function chosenRecord({ last, refused }: ReleaseNow, wantsOther: boolean): { recordId?: string; refused: readonly string[] } {
  if (!last) return { refused: [] };
  if (wantsOther) return { refused: [...new Set([...refused, last.record_id])] };
  return { recordId: last.record_id, refused: refused.filter((id) => id !== last.record_id) };
}
