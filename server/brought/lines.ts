import type { Kysely } from 'kysely';
import { isoTime } from '../custody-parts.ts';
import { type BroughtFilter, type BroughtRow, listBrought } from '../store/brought.ts';
import type { Mac } from '../store/macs.ts';
import type { Tables } from '../tables.ts';

/** A brought key as people and programs are told of it: never the key. */
export interface BroughtLine {
  keyId: string;
  serial: string;
  source: string;
  trust: BroughtRow['trust'];
  state: BroughtRow['state'];
  because: string;
  runId: string | null;
  madeAt: string | null;
  broughtAt: string;
  broughtBy: string;
  macId: string | null;
  recordId: string | null;
  provedAt: string | null;
  disclosedAt: string | null;
}

const timeOrNull = (time: number | null): string | null => (time === null ? null : isoTime(time));

export async function broughtList(db: Kysely<Tables>, filter: BroughtFilter): Promise<BroughtLine[]> {
  return (await listBrought(db, filter)).map((row) => ({
    keyId: row.id,
    serial: row.serial,
    source: row.source,
    trust: row.trust,
    state: row.state,
    because: row.state_because,
    runId: row.run_id,
    madeAt: timeOrNull(row.made_at),
    broughtAt: isoTime(row.brought_at),
    broughtBy: row.brought_by,
    macId: row.mac_id,
    recordId: row.record_id,
    provedAt: timeOrNull(row.proved_at),
    disclosedAt: timeOrNull(row.disclosed_at),
  }));
}

export const broughtLines = async (db: Kysely<Tables>, mac: Pick<Mac, 'serial'>): Promise<BroughtLine[]> =>
  (await broughtList(db, { serial: mac.serial })).filter(({ state }) => state !== 'withdrawn');
