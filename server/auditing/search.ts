import { type AuditRow, beginning } from '../audit.ts';
import type { Backend } from '../backend.ts';
import type { Scope } from '../permissions.ts';
import { checkpointsBetween, lastRetained } from '../store/audit-checkpoints.ts';
import { type AuditFilter, hashAt, newestMatching, oldestMatching, seqRange } from '../store/audit-search.ts';
import { checkpointOf } from './checkpoint.ts';
import { auditKeyOf } from './checkpoints.ts';
import type { Exporting } from './export.ts';

/** Records that one question after a text looks at; the next page goes on from there. */
const mostLookedAt = 50_000;
const pageRows = 500;

export interface Found {
  rows: AuditRow[];
  /** Below which record the next page goes on; null: that was all. */
  next: number | null;
}

/** Newest first. */
export async function searchAudit(
  { store }: Pick<Backend, 'store'>,
  filter: AuditFilter,
  scope: Scope,
  page: { below: number | null; limit: number },
): Promise<Found> {
  const { first, last } = await seqRange(store.db, filter);
  const below = Math.min(page.below ?? last + 1, last + 1);
  const above = filter.text === undefined ? first - 1 : Math.max(first - 1, below - mostLookedAt - 1);
  if (below <= first) return { rows: [], next: null };
  const rows = await newestMatching(store.db, filter, scope, { above, below }, page.limit);
  if (rows.length === page.limit) return { rows, next: rows.at(-1)?.seq ?? null };
  return { rows, next: above >= first ? above + 1 : null };
}

async function* pagesOf(
  backend: Pick<Backend, 'store'>,
  filter: AuditFilter,
  scope: Scope,
  range: { first: number; last: number },
): AsyncGenerator<AuditRow[]> {
  for (let above = range.first - 1; ; ) {
    const page = await oldestMatching(backend.store.db, filter, scope, { above, below: range.last + 1 }, pageRows);
    yield page;
    if (page.length < pageRows) return;
    above = page.at(-1)?.seq ?? above;
  }
}

/**
 * An export of what matches. Where nothing but a period is asked for, and for all Macs, it is a whole piece of the chain with
 * its checkpoints; else a selection, in which each record can be checked by itself.
 */
export async function exportOf(backend: Backend, filter: AuditFilter, scope: Scope, said: Record<string, unknown>, lastSeq?: number): Promise<Exporting> {
  const { store, clock, settings } = backend;
  const key = await auditKeyOf(backend);
  const period = await seqRange(store.db, filter);
  const range = { ...period, last: lastSeq ?? period.last };
  const { actor, macIds, act, text } = filter;
  const isWhole = scope === null && [actor, macIds, act, text].every((part) => part === undefined);
  const retained = await lastRetained(store.db);
  const first = Math.max(range.first, (retained?.seq ?? 0) + 1);
  const before = first - 1;
  const hash = before === 0 ? beginning : before === retained?.seq ? retained.hash : ((await hashAt(store.db, before)) ?? beginning);
  return {
    key,
    madeAt: clock.now(),
    serverUrl: settings.serverUrl,
    selection: isWhole && Object.keys(said).length === 0 ? null : said,
    after: isWhole ? { seq: before, hash } : null,
    to: isWhole ? Math.max(range.last, before) : null,
    checkpoints: isWhole ? (await checkpointsBetween(store.db, before, range.last)).map(checkpointOf) : [],
    pages: pagesOf(backend, filter, scope, { first, last: range.last }),
  };
}
