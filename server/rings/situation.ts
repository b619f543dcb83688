import type { Kysely } from 'kysely';
import { stopsTheMac } from '../alarms.ts';
import type { CustodyParts } from '../custody-parts.ts';
import { custodyFrom, isFileOurs, lastFacts, rowsOf } from '../custody-state.ts';
import { deadlineHours } from '../holds.ts';
import { holdOf } from '../rotation-due.ts';
import { episodeOf } from '../store/disclosures.ts';
import type { Mac } from '../store/macs.ts';
import { openRingOf } from '../store/rings.ts';
import { buildName, readMemory } from '../store/upkeep.ts';
import type { Tables } from '../tables.ts';
import type { MoveSituation } from './judge.ts';

/** Reads and writes nothing: a plan looks at Macs, and so does its start. */
export async function moveSituation(parts: CustodyParts, db: Kysely<Tables>, mac: Mac, now: number, ringId: string | null): Promise<MoveSituation> {
  const facts = lastFacts(mac);
  const rows = await rowsOf(db, mac);
  const held = rows.living.find((record) => record.state === 'held');
  const custody = custodyFrom(parts, mac, rows, now);
  const hold = mac.present_volume === null ? null : holdOf(await episodeOf(db, mac.id, mac.present_volume), deadlineHours(parts, mac), now);
  const open = await openRingOf(db, mac.id);
  return {
    now,
    facts,
    lastSeenAt: mac.last_seen_at,
    fileOurs: facts?.escrow.file ? isFileOurs(parts, facts.escrow.file) : false,
    held: held ? { provedAt: held.proved_at, refuted: held.refuted_at !== null } : null,
    doubt: custody.state === 'held' ? null : `custody is ${custody.state}: ${custody.because}`,
    rotationOpen: rows.open !== undefined,
    hold: hold?.because ?? null,
    alarm: stopsTheMac(rows.alarms)?.code ?? null,
    buildWorks: facts !== null && (await readMemory(db, buildName(facts.macosBuild))) !== null,
    otherRing: open && open.ring.id !== ringId ? open.ring.name : null,
  };
}
