import { createHash, type KeyObject } from 'node:crypto';
import { createServer } from 'node:http';
import type { DatabaseSync } from 'node:sqlite';
import { openEnvelope } from '../../protocol/envelope.ts';
import type { GivenReceipt } from '../server-sweep/receipts.ts';
import type { GivenOrder } from './admin.ts';

/*
 * What two backends could do twice, or each without the other. Each question names what must not be there; its answer is empty.
 */

const begun = `select audit.mac_id, json_extract(audit.details, '$.rotationId') as rotation_id, json_each.value as debt_id
  from audit, json_each(audit.details, '$.debtIds') where audit.act = 'rotation.begun'`;
const once = (act: string, id: string): string =>
  `select json_extract(details, '$.${id}') from audit where act = '${act}' group by mac_id, json_extract(details, '$.${id}') having count(*) > 1`;

export const twice: Readonly<Record<string, string>> = {
  'something owed was paid by two rotations': `select debt_id from (${begun}) as b join rotation on rotation.id = b.rotation_id
    where rotation.state = 'done' group by b.mac_id, debt_id having count(distinct rotation.id) > 1`,
  'a rotation was begun for nothing that was owed': `select rotation.id from rotation where not exists (select 1 from (${begun}) as b
    join debt on debt.id = b.debt_id and debt.mac_id = b.mac_id
    where b.rotation_id = rotation.id and (debt.closed_at is null or debt.closed_at > rotation.begun_at))`,
  'two rotations of one Mac were open at once': `select later.id from rotation as earlier join rotation as later on later.mac_id = earlier.mac_id
    where earlier.begun_at < later.begun_at and (earlier.ended_at is null or earlier.ended_at > later.begun_at)`,
  'two orders for one Mac waited at once': `select later.id from rotation_order as earlier join rotation_order as later on later.mac_id = earlier.mac_id
    where earlier.created_at < later.created_at and (earlier.ended_at is null or earlier.ended_at > later.created_at)`,
  'a rotation was begun twice': once('rotation.begun', 'rotationId'),
  'a rotation ended twice': once('rotation.ended', 'rotationId'),
  'something owed was opened twice': once('debt.opened', 'debtId'),
  'something owed was closed twice': once('debt.closed', 'debtId'),
  'an order was placed twice': once('rotation.ordered', 'orderId'),
  'a key was stored twice': once('key.stored', 'envelopeId'),
};

export const doneTwice = (database: DatabaseSync): string[] =>
  Object.entries(twice).flatMap(([name, question]) =>
    database
      .prepare(question)
      .all()
      .map((row) => `${name}: ${Object.values(row).join(' ')}`),
  );

/** Each key that a Mac has a receipt for, opened anew from what the database has of it. */
export async function wrongKeys(database: DatabaseSync, receipts: readonly GivenReceipt[], escrow: { certificate: Buffer; privateKey: KeyObject }) {
  const bytesOf = database.prepare('select bytes from envelope join mac on mac.id = envelope.mac_id where mac.serial = ? and envelope.id = ?');
  const wrong: string[] = [];
  const each = new Map(receipts.map((one) => [one.envelopeId, one]));
  for (const { serial, envelopeId, key } of each.values()) {
    const bytes = bytesOf.get(serial, envelopeId)?.['bytes'];
    const opened = bytes instanceof Uint8Array ? openEnvelope(bytes, escrow.privateKey, escrow.certificate) : null;
    const text = opened && typeof opened !== 'string' ? opened.reveal() : null;
    if (text !== key) wrong.push(`${serial}: envelope ${envelopeId.slice(0, 12)} does not open to the key that was sent`);
  }
  return { opened: each.size, wrong };
}

/** Orders that an admin was told of, and that are not there as they were told. */
export function missingOrders(database: DatabaseSync, orders: readonly GivenOrder[]): string[] {
  const question = database.prepare(
    `select 1 from rotation_order join mac on mac.id = rotation_order.mac_id join debt on debt.mac_id = mac.id and debt.id = rotation_order.id
     where mac.serial = ? and rotation_order.id = ?`,
  );
  return orders.flatMap(({ serial, orderId }) => (question.get(serial, orderId) ? [] : [`${serial}: order ${orderId} is not there`]));
}

/** Whoever hears of all that is recorded. It takes some of what comes only at the second try. */
export interface Hearing {
  url: string;
  /** By record: the deliveries that had it. */
  records: Map<number, Set<string>>;
  /** How often a delivery came that had been taken before. */
  again: number;
  /** Deliveries that came under one id with other words than before. */
  others: string[];
  lastSeq(): number;
  close(): Promise<void>;
}

export async function hearWebhooks(): Promise<Hearing> {
  const records: Hearing['records'] = new Map();
  const digests = new Map<string, string>();
  const hearing = { again: 0, others: [] as string[] };
  let last = 0;
  const server = createServer((request, reply) => {
    const chunks: Buffer[] = [];
    request.on('error', () => undefined);
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = Buffer.concat(chunks);
      const { deliveryId, toSeq, records: sent } = JSON.parse(body.toString()) as { deliveryId: string; toSeq: number; records: { seq: number }[] };
      const digest = createHash('sha256').update(body).digest('hex');
      const before = digests.get(deliveryId);
      if (before !== undefined) hearing.again += 1;
      if (before !== undefined && before !== digest) hearing.others.push(deliveryId);
      digests.set(deliveryId, digest);
      for (const { seq } of sent) records.set(seq, (records.get(seq) ?? new Set()).add(deliveryId));
      last = Math.max(last, toSeq);
      reply.writeHead(204).end();
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const at = server.address();
  return Object.assign(hearing, {
    url: `http://127.0.0.1:${typeof at === 'object' && at ? at.port : 0}/`,
    records,
    lastSeq: () => last,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  });
}

/** Records that were not heard, and those that came in two deliveries, which nobody could know for one. */
export function wrongHearing({ records, others }: Pick<Hearing, 'records' | 'others'>, until: number): string[] {
  const wrong = others.map((id) => `delivery ${id} came with other words`);
  for (let seq = 1; seq <= until; seq += 1) {
    const count = records.get(seq)?.size ?? 0;
    if (count !== 1) wrong.push(`record ${seq} was in ${count} deliveries`);
  }
  return wrong;
}
