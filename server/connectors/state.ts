import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { Problem } from '../../protocol/problems.ts';
import { type CustodyParts, minute } from '../custody-parts.ts';
import type { Tx } from '../parts.ts';
import { type ConnectorRow, connectorByName, putConnector } from '../store/connectors.ts';
import type { ConnectorName } from './source.ts';

/** What a run has done so far. Every Mac of the list is in one of them. */
const figuresSchema = z.object({
  listed: z.number().default(0),
  /** Entries without a serial number or id that can be used. */
  unusable: z.number().default(0),
  unusableNamed: z.array(z.object({ id: z.string().nullable(), serial: z.string().nullable(), because: z.string() })).default([]),
  /** Serial numbers that the product has more than once: the entry that it heard of last counts. */
  twice: z.array(z.string()).default([]),
  /** Not read: a proved key is here, our own payload is there, it was read lately, the product itself says that it has none. */
  proved: z.number().default(0),
  ours: z.number().default(0),
  notDue: z.number().default(0),
  useless: z.number().default(0),
  /** Read, and what came of it. */
  read: z.number().default(0),
  keys: z.number().default(0),
  none: z.number().default(0),
  forbidden: z.number().default(0),
  unreadable: z.number().default(0),
  failed: z.number().default(0),
});
export type Figures = z.infer<typeof figuresSchema>;
export const noFigures = (): Figures => figuresSchema.parse({});

export function readFigures(text: string | null): Figures | null {
  return text === null ? null : (figuresSchema.safeParse(JSON.parse(text)).data ?? null);
}

/** Which process reads, and until when nobody else does: one that was killed is waited for no longer. */
const cursorSchema = z.object({
  reader: z.object({ id: z.string(), until: z.number() }).nullable().default(null),
  /** Of import_run; null while nothing was read. */
  runId: z.string().nullable().default(null),
  line: z.number().default(0),
  failures: z.number().default(0),
});
export type Cursor = z.infer<typeof cursorSchema>;

export const readCursor = (text: string | null): Cursor => cursorSchema.safeParse(JSON.parse(text ?? '{}')).data ?? cursorSchema.parse({});

/** Renewed with each page and each batch, which take a minute or two where the product asks for patience. */
const leaseFor = 10 * minute;

export interface Run {
  readonly name: ConnectorName;
  readonly readerId: string;
  readonly startedAt: number;
  readonly resumed: boolean;
  cursor: Cursor;
  figures: Figures;
}

/** Begins a run, or goes on with one that was cut. Throws `CONNECTOR_BUSY`. */
export async function claim(parts: CustodyParts, name: ConnectorName): Promise<Run> {
  return parts.act(async (tx, at) => {
    const row = await connectorByName(tx, name);
    const cursor = readCursor(row?.cursor ?? null);
    if (cursor.reader && cursor.reader.until > at) throw new Problem('CONNECTOR_BUSY', name);
    const resumed = row?.started_at != null && row.ended_at === null;
    const readerId = randomUUID();
    const run: Run = {
      name,
      readerId,
      startedAt: resumed ? (row.started_at ?? at) : at,
      resumed,
      cursor: { ...cursor, ...(resumed ? {} : { runId: null, line: 0 }) },
      figures: (resumed ? readFigures(row.figures) : null) ?? noFigures(),
    };
    await put(tx, at, run, row, {}, false);
    return run;
  });
}

/** Where the run stands. Throws `CONNECTOR_BUSY` where it took so long that another process has gone on with it. */
export async function save(
  tx: Tx,
  at: number,
  run: Run,
  more: Partial<Pick<ConnectorRow, 'next_at' | 'ended_at' | 'problem' | 'good_since'>> = {},
  isOver = false,
): Promise<void> {
  const row = await connectorByName(tx, run.name);
  if (readCursor(row?.cursor ?? null).reader?.id !== run.readerId) throw new Problem('CONNECTOR_BUSY', run.name);
  await put(tx, at, run, row, more, isOver);
}

async function put(tx: Tx, at: number, run: Run, row: ConnectorRow | undefined, more: Partial<ConnectorRow>, isOver: boolean): Promise<void> {
  const cursor = { ...run.cursor, reader: isOver ? null : { id: run.readerId, until: at + leaseFor } };
  await putConnector(tx, {
    quiet_until: row?.quiet_until ?? null,
    quiet_times: row?.quiet_times ?? 0,
    good_since: row?.good_since ?? at,
    name: run.name,
    cursor: JSON.stringify(cursor),
    started_at: run.startedAt,
    ended_at: null,
    next_at: row?.next_at ?? at,
    problem: row?.problem ?? null,
    ...more,
    figures: JSON.stringify(run.figures),
  });
}
