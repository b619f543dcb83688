import { isProblemCode, problems } from '../protocol/problems.ts';
import { lastFacts } from './custody-state.ts';
import type { Mac } from './store/macs.ts';

/** Why nobody has a Mac's key, in its own words, and what one person can do about it. */
export interface Adoption {
  code: string;
  title: string;
  fix: string;
  detail: string | null;
  since: string;
}

/** A code that a newer agent has is passed on without its words. */
export function adoptionOf(mac: Mac): Adoption | null {
  const told = lastFacts(mac)?.adoption;
  if (!told) return null;
  const { title, fix } = isProblemCode(told.code) ? problems[told.code] : { title: told.code, fix: 'look at `sparekey status` on that Mac' };
  return { code: told.code, title, fix, detail: told.detail, since: told.since };
}
