import { constants, createPrivateKey, type KeyObject, privateDecrypt } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync, type SQLInputValue } from 'node:sqlite';
import { readEnvelope } from '../protocol/envelope.ts';
import { folderPaths } from '../server/data-folder.ts';
import { openDatabase } from '../server/database.ts';
import { readEscrowCertificates } from '../server/escrow-keys.ts';
import { sealedDelivery } from '../test/device-calls.ts';
import { type Cost, measureRound, profiling } from './bench-check-ins.ts';
import type { Round } from './bench-client.ts';
import { type BenchGround, makeGround, passphrase, quietCheckIn } from './bench-macs.ts';
import { startPeer } from './bench-peer.ts';
import { type BenchOptions, median, quantile, type Row } from './bench-rows.ts';

/** What a delivery leaves, in the order in which rows need each other. */
const tables = ['key_record', 'envelope', 'key_block', 'proof_order', 'audit', 'mac_dirty'] as const;

/**
 * Keys that come in: each receipt leaves after its commit is on the disk and its envelope was opened. Beside it the two things
 * that no server could leave out: the RSA operation, and the very rows, written with the same durability and as many to a commit.
 */
export async function deliveryRows({ quick, folder, say }: BenchOptions): Promise<Row[]> {
  const rounds = quick ? 2 : 5;
  const atOnce = quick ? 24 : 64;
  const each = quick ? 2 : 4;
  say('deliveries: Macs are enrolled, their keys are sealed');
  const ground = await makeGround(folder, atOnce * (rounds + 1));
  const paths = folderPaths(ground.dir);
  const [certificate] = readEscrowCertificates(paths.escrow);
  if (!certificate) throw new Error('no escrow certificate');
  const escrowKey = privateKeyIn(paths.escrow);
  const bare = await openBare(join(folder, 'bare.sqlite'));
  const backend = await startPeer('bench-backend.ts', [ground.dir], profiling('deliveries'));
  const client = await startPeer('bench-client.ts');
  try {
    await client.ask({ macs: ground.macs });
    const costs = { ours: [] as Cost[], rsa: [] as number[], rows: [] as number[] };
    let taken = new Set<string>();
    for (let at = 0; at <= rounds; at += 1) {
      say(`deliveries: round ${at} of ${rounds}`);
      const macs = ground.macs.slice(at * atOnce, (at + 1) * atOnce);
      // Each Mac has a connection, and has checked in; its keys come one after another.
      const calls = { port: ground.port, ca: ground.ca, fresh: false, atOnce };
      await measureRound(backend, client, { ...calls, sends: checkIns(macs, at * atOnce) });
      const sealed = Array.from({ length: each * atOnce }, (_, n) => sealedDelivery(certificate.der, macAt(macs, n), { source: 'agent', validated: 'true' }));
      const sends = sealed.map(({ id, request }, n) => ({
        mac: at * atOnce + (n % atOnce),
        method: 'PUT',
        path: `/v1/keys/${id}`,
        body: JSON.stringify(request),
      }));
      const cost = await measureRound(backend, client, { ...calls, sends });
      const rsa = timeOpening(
        escrowKey,
        sealed.map(({ envelope }) => envelope),
      );
      const written = rowsOf(paths.database, taken);
      taken = new Set([...taken, ...written.ids]);
      const rows = bare.write(written.rows, written.ids.length, cost.together);
      // The first one warms all of it up.
      if (at === 0) continue;
      costs.ours.push(cost);
      costs.rsa.push(rsa);
      costs.rows.push(rows);
    }
    const ratio = median(costs.ours.map(({ busyMs }, at) => Math.max(costs.rsa[at] ?? 0, costs.rows[at] ?? 0) / busyMs));
    const of = (pick: (cost: Cost) => number): string => median(costs.ours.map(pick)).toFixed(2);
    const waits = costs.ours.flatMap((cost) => cost.waits);
    const words = `backend ${of(({ busyMs }) => busyMs)} ms at work (${of(({ processorMs }) => processorMs)} of processor time), ${Math.round(median(costs.ours.map(({ perSecond }) => perSecond)))}/s, p50 ${quantile(waits, 0.5).toFixed(0)} ms, p95 ${quantile(waits, 0.95).toFixed(0)} ms, ${of(({ together }) => together)} to a commit; RSA-3072 alone ${median(costs.rsa).toFixed(2)} ms, the rows alone ${median(costs.rows).toFixed(2)} ms`;
    return [{ name: 'delivery-sqlite', ratio, aim: 0.5, better: 'more', words }];
  } finally {
    await Promise.all([client.end(), backend.end()]);
    bare.close();
  }
}

const macAt = (macs: BenchGround['macs'], n: number): BenchGround['macs'][number] => {
  const mac = macs[n % macs.length];
  if (!mac) throw new Error('too few Macs');
  return mac;
};

const checkIns = (macs: BenchGround['macs'], first: number): Round['sends'] =>
  macs.map((mac, at) => ({ mac: first + at, method: 'POST', path: '/v1/check-in', body: quietCheckIn(mac) }));

function privateKeyIn(folder: string): KeyObject {
  const file = readdirSync(folder).find((name) => name.endsWith('.key.pem'));
  return createPrivateKey({ key: readFileSync(join(folder, file ?? '')), passphrase });
}

/** Milliseconds for one block, by the same key. */
function timeOpening(key: KeyObject, envelopes: readonly Buffer[]): number {
  const blocks = envelopes.flatMap((bytes) => readEnvelope(bytes).recipients[0]?.encryptedKey ?? []);
  const began = performance.now();
  for (const block of blocks) privateDecrypt({ key, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' }, block);
  return (performance.now() - began) / blocks.length;
}

type Rows = Record<(typeof tables)[number], Record<string, SQLInputValue>[]>;

/** What came into the backend's database by the deliveries since then. `taken` are the records that were there. */
function rowsOf(file: string, taken: ReadonlySet<string>): { rows: Rows; ids: string[] } {
  const database = new DatabaseSync(file, { readOnly: true });
  const all = (table: string): Record<string, SQLInputValue>[] => database.prepare(`select * from ${table}`).all();
  const records = all('key_record').filter(({ id }) => !taken.has(String(id)));
  const ids = records.map(({ id }) => String(id));
  const isNew = new Set(ids);
  const envelopes = all('envelope').filter(({ record_id }) => isNew.has(String(record_id)));
  const macs = new Set(records.map(({ mac_id }) => String(mac_id)));
  const names = new Set(envelopes.map(({ id }) => String(id)));
  const rows: Rows = {
    key_record: records,
    envelope: envelopes,
    key_block: all('key_block').filter(({ envelope_id }) => names.has(String(envelope_id))),
    proof_order: all('proof_order').filter(({ record_id }) => isNew.has(String(record_id))),
    audit: all('audit').filter(({ act, mac_id }) => act === 'key.stored' && macs.has(String(mac_id))),
    mac_dirty: [...macs].map((mac_id) => ({ mac_id })),
  };
  database.close();
  return { rows, ids };
}

/** A database of the same shape, and nothing between it and the rows. */
async function openBare(file: string) {
  await (await openDatabase(file)).close();
  const database = new DatabaseSync(file, { enableForeignKeyConstraints: false });
  database.exec('pragma journal_mode = wal; pragma synchronous = full; pragma cache_size = -65536; pragma secure_delete = on');
  return {
    close: () => database.close(),
    /** Milliseconds for what belongs to one delivery, so many to a commit. */
    write(rows: Rows, deliveries: number, together: number): number {
      const commits = Math.max(1, Math.round(deliveries / together));
      const prepared = tables.map((table) => {
        const columns = Object.keys(rows[table][0] ?? { mac_id: '' });
        const text = `insert into ${table} (${columns.join()}) values (${columns.map(() => '?').join()})`;
        return { of: rows[table].map((row) => columns.map((name) => row[name] ?? null)), statement: database.prepare(text) };
      });
      const began = performance.now();
      for (let at = 0; at < commits; at += 1) {
        database.exec('begin immediate');
        for (const { of, statement } of prepared)
          for (const values of of.slice(Math.floor((at * of.length) / commits), Math.floor(((at + 1) * of.length) / commits))) statement.run(...values);
        database.exec('commit');
      }
      return (performance.now() - began) / deliveries;
    },
  };
}
