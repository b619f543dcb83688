import type { RecordState } from '../../protocol/messages.ts';
import { isoTime } from '../custody-parts.ts';
import type { BroughtRow } from '../store/brought.ts';

/** What is true of a brought key, and of the volume that its Mac started from last. Without a Mac it waits. */
export interface Place {
  /** Nobody has looked into its envelope yet. */
  unopened: boolean;
  /** It came without a device identity that is this Mac's. */
  unverified: boolean;
  /** The record of this very key on this volume. */
  same: { state: RecordState; refuted: boolean } | null;
  held: 'none' | 'unproved' | 'proved' | 'refuted';
  /** Since the held key answered `true`, somebody else changed the key, and what macOS sealed then is not here. */
  changedSince: boolean;
  /** R9: the Mac said that no known key opens it any more. */
  exhausted: boolean;
  /** macOS said `true` to another key after this one was brought: then this one is older than that. */
  otherProvedAt: number | null;
  /** Another brought key of this Mac, of no less trust, waits for its proof. */
  anotherAsked: boolean;
  /** A key of nobody in particular was asked about within the last week. */
  strangerAsked: boolean;
}

export interface Placed {
  state: Extract<BroughtRow['state'], 'waiting' | 'aside' | 'offered' | 'known' | 'refuted'>;
  because: string;
}

const placed = (state: Placed['state'], because: string): Placed => ({ state, because });

/** What becomes of a key that others had: the first row that fits. Nothing in it ever takes the place of a proved key. */
export function placeOf(it: Place): Placed {
  if (it.unopened) return placed('waiting', 'nobody has opened its envelope yet');
  if (it.same?.refuted) return placed('refuted', 'the Mac answered twice that this key does not open it');
  if (it.same?.state === 'held') return placed('known', 'it is the key that is held');
  if (it.same?.state === 'candidate') return placed('known', 'it is here already, and its proof is due');
  if (it.same) return placed('known', 'it was here before and has been superseded: it stays so');
  if (it.held === 'proved' && !it.changedSince && !it.exhausted)
    return placed('aside', 'another key of this Mac is held and proved: this one is asked about when that one opens it no more');
  if (it.otherProvedAt !== null && !it.exhausted)
    return placed('aside', `macOS said true to another key on ${isoTime(it.otherProvedAt)}, after this one was brought`);
  if (it.anotherAsked) return placed('waiting', 'another key that was brought for this Mac is asked about first');
  if (it.unverified && it.strangerAsked) return placed('waiting', 'a key without proof of its origin was asked about within 7 days');
  return placed('offered', 'its Mac is asked about it');
}
