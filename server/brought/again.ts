import { audit } from '../audit.ts';
import { type CustodyParts, day } from '../custody-parts.ts';
import type { Tx } from '../parts.ts';
import { type BroughtRow, updateBrought } from '../store/brought.ts';
import { recordById, updateRecord } from '../store/keys.ts';
import type { Bringing } from './bringing.ts';
import { broughtMac } from './row.ts';
import { type BroughtTrust, isBroughtRecord, isUnverified, recordSource } from './sources.ts';

/** The weightier word counts for a key that came twice. */
const weights: readonly BroughtTrust[] = ['none', 'header', 'device', 'mdm', 'admin'];
export const isWeightier = (trust: BroughtTrust, than: BroughtTrust | null): boolean => than === null || weights.indexOf(trust) > weights.indexOf(than);

export type Word = Pick<Bringing, 'trust' | 'source' | 'runId' | 'madeAt' | 'actor' | 'deviceId'>;
type Also = Pick<BroughtRow, 'also_source' | 'also_trust' | 'also_made_at' | 'also_by'>;

/** A word without a run is remembered beside that of a run: it stays when the run is taken back. */
export function alsoOf(word: Word, before: Also = { also_source: null, also_trust: null, also_made_at: null, also_by: null }): Also {
  const { also_source, also_trust, also_made_at, also_by } = before;
  if (word.runId !== null) return { also_source, also_trust, also_made_at, also_by };
  const madeAt = word.madeAt === null ? also_made_at : Math.max(word.madeAt, also_made_at ?? 0);
  if (!isWeightier(word.trust, also_trust)) return { also_source, also_trust, also_made_at: madeAt, also_by };
  return { also_source: word.source, also_trust: word.trust, also_made_at: madeAt, also_by: word.actor };
}

/** The same key for the same serial number: nothing is stored twice; a weightier word makes it count for more, and a newer date makes it newer. */
export async function sayAgain(
  parts: CustodyParts,
  tx: Tx,
  at: number,
  before: BroughtRow,
  word: Word,
  fingerprint: string | null,
): Promise<BroughtRow | null> {
  const { trust, source, runId, madeAt, actor } = word;
  const counts = isWeightier(trust, before.trust);
  const names = { ...before, ...(counts ? { trust, source } : {}), fingerprint: before.fingerprint ?? fingerprint };
  const now = {
    ...alsoOf(word, before),
    counts_from: at,
    trust: names.trust,
    source: names.source,
    fingerprint: names.fingerprint,
    row_mac: broughtMac(parts.secrets, names),
    ...(madeAt !== null && madeAt > (before.made_at ?? 0) ? { made_at: madeAt } : {}),
    // A run that is equal in weight is remembered by its lines.
    ...(counts ? { run_id: runId, brought_by: actor } : {}),
    ...(before.device_id === (word.deviceId ?? null) ? {} : { device_id: null }),
  };
  await updateBrought(tx, before.id, now);
  if (!counts && names.fingerprint === before.fingerprint) return null;
  await audit(tx, {
    at,
    actor,
    act: 'brought.again',
    macId: before.mac_id,
    details: { keyId: before.id, serial: before.serial, source, trust, was: before.trust, runId },
  });
  if (counts) await vouch(tx, before, word);
  return { ...before, ...now };
}

/** Where nothing of it is new: whoever sends its key every hour is heard once a day. */
export async function noteHeard(parts: CustodyParts, { id, trust, counts_from: last }: BroughtRow): Promise<void> {
  if (isUnverified(trust) && parts.clock.now() > last + day) await parts.act((tx, at) => updateBrought(tx, id, { counts_from: at }));
}

/** A stranger brought it first, and now somebody answers for it: its record counts from now on. Or whoever answered for it took it back. */
export async function vouch(tx: Tx, { record_id: recordId }: Pick<BroughtRow, 'record_id'>, { trust, source }: Pick<Word, 'trust' | 'source'>): Promise<void> {
  const record = recordId === null ? undefined : await recordById(tx, recordId);
  if (!record || !isBroughtRecord(record.source)) return;
  const isStranger = isUnverified(trust) && record.state === 'candidate' && record.disclosed_at === null;
  await updateRecord(tx, record.id, { source: recordSource(source), ...(isStranger ? { unverified: 1 } : isUnverified(trust) ? {} : { unverified: 0 }) });
}
