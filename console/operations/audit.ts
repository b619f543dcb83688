import { z } from 'zod';
import type { AuditRow } from '../../server/audit.ts';
import { auditKeyOf } from '../../server/auditing/checkpoints.ts';
import { noteExport } from '../../server/auditing/commands.ts';
import { exportText } from '../../server/auditing/export.ts';
import { takenOut } from '../../server/auditing/retention.ts';
import { exportOf, searchAudit } from '../../server/auditing/search.ts';
import { verifyLive } from '../../server/auditing/verify.ts';
import { macInScope } from '../../server/fleet/in-scope.ts';
import type { Scope } from '../../server/permissions.ts';
import { checkpointsAfter, lastCheckpoint } from '../../server/store/audit-checkpoints.ts';
import type { AuditFilter } from '../../server/store/audit-search.ts';
import { macById } from '../../server/store/macs.ts';
import { makeCursor, pageInput, readCursor } from '../cursor.ts';
import { type Acting, type AnyOperation, download, operation } from '../operation.ts';

const time = z.iso.datetime();
const iso = (at: number): string => new Date(at).toISOString();

/** What records are asked for by. */
const auditFilter = {
  actor: z.string().min(1).max(200).optional().describe('Who did it: a user name, `token NAME of USER`, `mac`, `server`.'),
  device: z.string().min(1).max(64).optional().describe('The Mac that it was about: serial number or id.'),
  act: z.string().min(1).max(100).optional().describe('The act, or how it begins: `key.disclosed`, `rotation.`'),
  from: time.optional().describe('From this time on.'),
  to: time.optional().describe('Before this time.'),
  text: z.string().trim().min(2).max(200).optional().describe('In its details, such as the reason; capitals do not matter.'),
};
type Asked = { [name in keyof typeof auditFilter]?: string | undefined };

const record = z.strictObject({
  seq: z.int().describe('Its number; one follows another without a gap.'),
  at: time,
  actor: z.string(),
  act: z.string(),
  macId: z.string().nullable(),
  serial: z.string().nullable().describe('Of the Mac, as it is known today.'),
  requestId: z.string().nullable(),
  network: z.string().nullable(),
  tokenId: z.string().nullable(),
  details: z.record(z.string(), z.unknown()),
  hash: z.string(),
});

async function filterOf({ backend, scope }: Pick<Acting, 'backend' | 'scope'>, { actor, device, act, from, to, text }: Asked): Promise<AuditFilter> {
  const macIds = device === undefined ? undefined : (await macInScope(backend, scope, device)).ids;
  return { actor, act, text, macIds, from: from === undefined ? undefined : Date.parse(from), to: to === undefined ? undefined : Date.parse(to) };
}

function detailsOf(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // Somebody has changed it: `audit verify` says so.
  }
  return { text };
}

async function recordsOut({ store }: Acting['backend'], rows: readonly AuditRow[]): Promise<z.infer<typeof record>[]> {
  const serials = new Map<string, string | null>();
  const serialOf = async (id: string | null): Promise<string | null> => {
    if (id === null) return null;
    if (!serials.has(id)) serials.set(id, (await macById(store.db, id))?.serial ?? null);
    return serials.get(id) ?? null;
  };
  const items = [];
  for (const row of rows)
    items.push({
      seq: row.seq,
      at: iso(row.at),
      actor: row.actor,
      act: row.act,
      macId: row.mac_id,
      serial: await serialOf(row.mac_id),
      requestId: row.request_id,
      network: row.network,
      tokenId: row.token_id,
      details: detailsOf(row.details),
      hash: row.hash,
    });
  return items;
}

const older = z.strictObject({ from: z.int(), to: z.int(), until: time, file: z.string() });

export const auditSearch = operation({
  name: 'audit.search',
  method: 'GET',
  path: '/v1/audit',
  says: 'Lists records of the audit, the newest first. Whoever may read it for some Macs sees records about those and no others.',
  permission: 'audit.read',
  input: z.strictObject({ ...pageInput, ...auditFilter }),
  output: z.strictObject({
    items: z.array(record),
    next: z.string().nullable().describe('The `cursor` of the next page; null where there is none. A page may hold fewer than were asked for.'),
    older: z.array(older).describe('Where records are that were taken out of the database, the oldest first.'),
  }),
  async run(acting, { cursor, limit, ...asked }) {
    const { backend, scope } = acting;
    const below = readCursor(z.int().min(1), cursor);
    const { rows, next } = await searchAudit(backend, await filterOf(acting, asked), scope, { below, limit });
    const gone = scope === null && next === null ? await takenOut(backend) : [];
    return {
      items: await recordsOut(backend, rows),
      next: next === null ? null : makeCursor(next),
      older: gone.map(({ from, to, until, file }) => ({ from, to, until: iso(until), file })),
    };
  },
});

export const auditExport = operation({
  name: 'audit.export',
  method: 'POST',
  path: '/v1/audit/export',
  says: 'Sends records of the audit as JSON Lines, signed, the oldest first. A period for all Macs is a whole piece of the chain with its checkpoints.',
  permission: 'audit.read',
  sends: 'application/x-ndjson',
  input: z.strictObject(auditFilter),
  output: download,
  async run(acting, asked) {
    const { backend, scope, admin } = acting;
    const said = saidOf(asked, scope);
    const exporting = await exportOf(backend, await filterOf(acting, asked), scope, said);
    await noteExport(backend, admin.name, said);
    return { fileName: `sparekey-audit-${iso(acting.at).slice(0, 10)}.jsonl`, content: exportText(exporting) };
  },
});

function saidOf(asked: Asked, scope: Scope): Record<string, unknown> {
  const given = Object.fromEntries(Object.entries(asked).filter(([, value]) => value !== undefined));
  return scope === null ? given : { ...given, tags: [...scope] };
}

/** Checkpoints from which on it is looked at again for a page, some thousand records; the whole is `sparekey-server audit verify`. */
const lookBack = 4;

export const auditState = operation({
  name: 'audit.state',
  method: 'GET',
  path: '/v1/audit/state',
  says: 'Whether the newest part of the audit is as it was written, and with which key it is signed.',
  permission: 'audit.read',
  input: z.strictObject({}),
  output: z.strictObject({
    ok: z.boolean(),
    looked: z.strictObject({
      records: z.int().nullable().describe('Null for whoever reads of some Macs only.'),
      since: time.nullable().describe('Of the checkpoint from which on it was looked at; null: all of it.'),
    }),
    sealedTo: z
      .int()
      .nullable()
      .describe('Up to this record a checkpoint says that it is so. This, `last` and `checkpoint` are null for whoever reads of some Macs only.'),
    last: z.strictObject({ seq: z.int(), hash: z.string() }).nullable(),
    checkpoint: z.strictObject({ number: z.int(), seq: z.int(), at: time, hash: z.string() }).nullable(),
    keyId: z.string(),
    publicKey: z.string().describe('PEM, Ed25519.'),
    findings: z.array(z.strictObject({ kind: z.string(), from: z.int(), to: z.int(), act: z.string().nullable(), says: z.string() })),
  }),
  async run({ backend, scope }) {
    const { db } = backend.store;
    const key = await auditKeyOf(backend);
    const last = await lastCheckpoint(db);
    const [since] = last ? await checkpointsAfter(db, last.number - lookBack - 1, 1) : [];
    const verdict = await verifyLive(backend, { publicKey: null, checkpointsFile: null, progress: () => undefined }, since ? { number: since.number } : null);
    return {
      ok: verdict.ok,
      looked: { records: scope === null ? verdict.rows : null, since: since ? iso(since.at) : null },
      // How much goes on at other Macs is not for everybody either.
      sealedTo: scope === null ? verdict.sealedTo : null,
      last: scope === null ? verdict.last : null,
      checkpoint: scope === null && last ? { number: last.number, seq: last.seq, at: iso(last.at), hash: last.hash } : null,
      keyId: key.keyId,
      publicKey: key.keys.at(-1)?.publicKey ?? '',
      // What happened to other Macs is not for everybody who may read of some.
      findings: scope === null ? verdict.findings.slice(0, 100) : [],
    };
  },
});

export const auditOperations: readonly AnyOperation[] = [auditSearch, auditExport, auditState];
