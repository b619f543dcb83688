import { z } from 'zod';
import type { CheckInRequest } from '../protocol/messages.ts';
import { waitsCodes } from '../protocol/waits.ts';
import { isoTime } from './custody-parts.ts';
import type { Mac } from './store/macs.ts';

/** Why a Mac has not done yet what it owes, as it says itself: what only the Mac knows, such as its power and who is logged in. */
export interface Waits {
  says: string;
  /** ISO 8601. */
  since: string;
  /** It does not pass by itself. */
  needsHelp: boolean;
}

const kept = z.object({ says: z.string(), since: z.number(), lasting: z.boolean() });

function readKept({ waits }: Pick<Mac, 'waits'>): z.infer<typeof kept> | null {
  return waits === null ? null : (kept.safeParse(JSON.parse(waits)).data ?? null);
}

/** What a Mac says of itself is a claim: it is one line, and turns no text around it the other way. */
export const oneLine = (text: string): string => text.replaceAll(/[\p{Cc}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]+/gu, ' ').trim();

/** For people. */
export function waitsOf(mac: Pick<Mac, 'waits'>): Waits | null {
  const read = readKept(mac);
  return read && { says: oneLine(read.says), since: isoTime(read.since), needsHelp: read.lasting };
}

/** For the Mac: the very words, which it compares. */
export const waitsAsSaid = (mac: Pick<Mac, 'waits'>): string | null => readKept(mac)?.says ?? null;

/** What stands in the row of the Mac from this check-in on; as it was where it says nothing new. */
export function waitsToKeep(mac: Pick<Mac, 'waits'>, problems: CheckInRequest['problems'], at: number): string | null {
  const told = problems.find(({ code }) => code === waitsCodes.passing || code === waitsCodes.lasting);
  if (!told?.detail) return mac.waits;
  const lasting = told.code === waitsCodes.lasting;
  const before = readKept(mac);
  return before?.says === told.detail && before.lasting === lasting ? mac.waits : JSON.stringify({ says: told.detail, since: at, lasting });
}
