import { createHash } from 'node:crypto';
import type { Backend } from '../backend.ts';
import type { Scope } from '../permissions.ts';
import {
  broughtShownInPeriod,
  circumstancesOf,
  debtsOfPeriod,
  disclosuresOfPeriod,
  heldBefore,
  type KeyOfMac,
  keyAfter,
  keysBefore,
  type MacOfPeriod,
  macsOfPeriod,
  type Period,
} from '../store/evidence.ts';
import { csvRow } from './csv.ts';

type Db = Backend['store']['db'];
const pageRows = 500;
const hour = 3_600_000;

export const isoOrEmpty = (at: number | null | undefined): string => (at === null || at === undefined ? '' : new Date(at).toISOString());
const hoursBetween = (from: number, to: number | null | undefined): string =>
  to === null || to === undefined ? '' : (Math.round(((to - from) / hour) * 100) / 100).toString();

/** It has another state since then, and what it was before only the audit can say. */
const changedSince = (key: KeyOfMac, to: number): boolean => key.state !== 'candidate' && key.state_at >= to;

/**
 * What was held at this time. The state of a record is known since its last change; of one that has changed since, only a proof
 * or the audit tell that it was more than a candidate.
 */
function custodyAt(
  keys: readonly KeyOfMac[],
  volume: string | null,
  to: number,
  wasHeld: ReadonlySet<string>,
): 'held' | 'candidate' | 'candidate or held' | 'none' {
  const there = keys.filter((key) => volume === null || key.volume === volume);
  const isHeld = (key: KeyOfMac) =>
    (key.state === 'held' && key.state_at < to) || (changedSince(key, to) && ((key.proved_at ?? to) < to || wasHeld.has(key.id)));
  if (there.some(isHeld)) return 'held';
  if (there.some((key) => changedSince(key, to))) return 'candidate or held';
  return there.some(({ state }) => state === 'candidate') ? 'candidate' : 'none';
}

const populationHead = [
  'serial',
  'macId',
  'serialProved',
  'firstSeenAt',
  'lastSeenAt',
  'custodyAtEnd',
  'newestKeyAt',
  'keyProvedAt',
  'custodyNow',
  'because',
  'macOS',
  'fileVault',
  'user',
  'tags',
] as const;

function populationRow(mac: MacOfPeriod, keys: readonly KeyOfMac[], to: number, wasHeld: ReadonlySet<string>): string {
  const custody = custodyAt(keys, mac.present_volume, to, wasHeld);
  const newest = keys.findLast(({ state }) => state !== 'candidate');
  return csvRow([
    mac.serial,
    mac.id,
    mac.serial_proved === 1 ? 'yes' : 'no',
    isoOrEmpty(mac.created_at),
    isoOrEmpty(mac.last_seen_at),
    custody,
    isoOrEmpty(newest?.received_at),
    isoOrEmpty(newest?.proved_at !== undefined && (newest.proved_at ?? 0) < to ? newest.proved_at : null),
    mac.custody,
    mac.custody_because,
    mac.macos,
    mac.file_vault,
    mac.user_name,
    mac.tags,
  ]);
}

/** The lowest of these digests are the sample: whoever has the population and the seed draws the same one. */
export const lotOf = (seed: string, macId: string): string => createHash('sha256').update(`${seed}\n${macId}`).digest('hex');

export interface Sample {
  seed: string;
  /** How many, or which part of the population. */
  size: { count: number } | { percent: number };
}
export const sampleSize = ({ size }: Sample, population: number): number =>
  Math.min(population, 'count' in size ? size.count : Math.ceil((population * size.percent) / 100));

export interface Population {
  count: number;
  /** How many are drawn. */
  size: number;
  /** By their lot, the lowest first. */
  lots: { lot: string; macId: string; row: string }[];
}

/** All Macs of the period, row by row; those that may be in the sample are remembered on the way. */
export async function* population(db: Db, period: Period, scope: Scope, seed: string, seen: Population): AsyncGenerator<string> {
  yield csvRow(populationHead);
  for (let after = ''; ; ) {
    const macs = await macsOfPeriod(db, period, scope, after, pageRows);
    const keys =
      macs.length === 0
        ? []
        : await keysBefore(
            db,
            macs.map(({ id }) => id),
            period.to,
          );
    const byMac = Map.groupBy(keys, ({ mac_id: macId }) => macId);
    const asked = [...new Set(keys.filter((key) => changedSince(key, period.to)).map(({ mac_id: macId }) => macId))];
    const wasHeld = asked.length === 0 ? new Set<string>() : await heldBefore(db, asked, period.to);
    const rows: string[] = [];
    for (const mac of macs) {
      const row = populationRow(mac, byMac.get(mac.id) ?? [], period.to, wasHeld);
      rows.push(row);
      seen.lots.push({ lot: lotOf(seed, mac.id), macId: mac.id, row });
    }
    yield rows.join('');
    seen.count += macs.length;
    // More than can be drawn is not remembered.
    if (seen.lots.length > seen.size + 10_000) drop(seen);
    if (macs.length < pageRows) break;
    after = macs.at(-1)?.id ?? after;
  }
  drop(seen);
}

function drop(seen: Population): void {
  seen.lots.sort((a, b) => (a.lot < b.lot ? -1 : 1));
  seen.lots.length = Math.min(seen.lots.length, seen.size);
}

export function* sampleRows({ lots }: Population): Generator<string> {
  yield csvRow(['lot', ...populationHead]);
  for (const { lot, row } of lots) yield `${lot.slice(0, 16)},${row}`;
}

const accessesHead = [
  'shownAt',
  'disclosureId',
  'serial',
  'macId',
  'keyId',
  'who',
  'forWhom',
  'way',
  'reason',
  'requestId',
  'approvals',
  'shown',
  'holdEndedAt',
  'holdEndedBecause',
  'replacedAt',
  'hoursUntilReplaced',
  'nextKeyProvedAt',
  'review',
  'reviewedBy',
  'reviewWords',
] as const;

type Circumstances = Awaited<ReturnType<typeof circumstancesOf>>;

function wayOf({ admin, release, emergency, portal, code, opened }: Circumstances): string {
  if (release) return `assisted release by ${code?.made_by ?? '?'}${code?.confirmed_by ? `, confirmed by ${code.confirmed_by}` : ''}`;
  if (emergency) return `emergency of ${opened?.asked_by ?? '?'}, agreed by ${opened?.agreed_by ?? '?'}`;
  if (admin)
    return `${admin.token_id === null ? 'console' : 'token'}${admin.break_glass === 1 ? ', break glass' : ''}${admin.history === 1 ? ', a key of before' : ''}`;
  return portal ? 'portal' : 'command';
}

/** Every view of a key: by whom, for whom, why, who agreed, and when the key was replaced and the next one proved. */
export async function* accesses(db: Db, period: Period, scope: Scope): AsyncGenerator<string> {
  yield csvRow(accessesHead);
  for (let after = { at: 0, id: '' }; ; ) {
    const page = await disclosuresOfPeriod(db, period, scope, after, pageRows);
    for (const one of page) {
      const how = await circumstancesOf(db, one.id);
      const next = await keyAfter(db, one.mac_id, one.volume, one.record_id, one.at);
      const approvals = how.votes.map(({ name, vote, way, at }) => `${name}: ${vote} by ${way} at ${isoOrEmpty(at)}`).join('; ');
      yield csvRow([
        isoOrEmpty(one.at),
        one.id,
        one.serial,
        one.mac_id,
        one.record_id,
        one.actor,
        one.person,
        wayOf(how),
        one.reason,
        how.admin?.request_id,
        approvals,
        one.shown === 1 ? 'yes' : 'no',
        isoOrEmpty(one.hold_ended_at),
        one.hold_ended_because,
        isoOrEmpty(next?.received_at),
        hoursBetween(one.at, next?.received_at),
        isoOrEmpty(next?.proved_at),
        how.review?.state,
        how.review?.decided_by,
        how.review?.words,
      ]);
      after = one;
    }
    if (page.length < pageRows) break;
  }
  for (let after = 0; ; ) {
    const page = await broughtShownInPeriod(db, period, scope, after, pageRows);
    for (const { seq, at, mac_id: macId, actor, details } of page) {
      const { serial, keyId, reason } = JSON.parse(details) as Record<string, unknown>;
      const [ofMac, key, why] = [serial, keyId, reason].map((part) => (typeof part === 'string' ? part : ''));
      const cells = [isoOrEmpty(at), '', ofMac, macId, key, actor, '', 'command, a key that others brought', why, '', '', 'yes'];
      yield csvRow([...cells, ...Array.from({ length: accessesHead.length - cells.length }, () => '')]);
      after = seq;
    }
    if (page.length < pageRows) return;
  }
}

export interface Lags {
  [because: string]: { owed: number; paid: number; hours: number[] };
}

/** Every replacement that came to be owed: why, when it was done, and how long that took. */
export async function* rotationLags(db: Db, period: Period, scope: Scope, lags: Lags): AsyncGenerator<string> {
  yield csvRow(['serial', 'macId', 'debtId', 'because', 'owedAt', 'paidAt', 'paidBy', 'hours']);
  for (let after = { at: 0, id: '' }; ; ) {
    const page = await debtsOfPeriod(db, period, scope, after, pageRows);
    for (const debt of page) {
      lags[debt.because] ??= { owed: 0, paid: 0, hours: [] };
      const of = lags[debt.because];
      if (!of) continue;
      of.owed += 1;
      if (debt.closed_at !== null) {
        of.paid += 1;
        of.hours.push((debt.closed_at - debt.opened_at) / hour);
      }
      yield csvRow([
        debt.serial,
        debt.mac_id,
        debt.id,
        debt.because,
        isoOrEmpty(debt.opened_at),
        isoOrEmpty(debt.closed_at),
        debt.closed_by,
        hoursBetween(debt.opened_at, debt.closed_at),
      ]);
      after = { at: debt.opened_at, id: debt.id };
    }
    if (page.length < pageRows) return;
  }
}

const percentile = (sorted: readonly number[], part: number): number | null => {
  const value = sorted[Math.max(0, Math.ceil(sorted.length * part) - 1)];
  return value === undefined ? null : Math.round(value * 100) / 100;
};

export const summaryOf = (lags: Lags): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(lags)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([because, { owed, paid, hours }]) => {
        const sorted = hours.toSorted((a, b) => a - b);
        return [
          because,
          { owed, paid, open: owed - paid, hours: { median: percentile(sorted, 0.5), p95: percentile(sorted, 0.95), longest: percentile(sorted, 1) } },
        ];
      }),
  );
