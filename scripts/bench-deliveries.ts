import { constants, createPrivateKey, type KeyObject, privateDecrypt } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { readEnvelope } from '../protocol/envelope.ts';
import { type FolderPaths, folderPaths } from '../server/data-folder.ts';
import { readEscrowCertificates } from '../server/escrow-keys.ts';
import { sealedDelivery } from '../test/device-calls.ts';
import { startPostgres } from '../test/postgres-server.mjs';
import { type Cost, measureRound, profiling } from './bench-check-ins.ts';
import type { Round } from './bench-client.ts';
import { type BareDatabase, openBareFile, openBarePostgres, rowsOf } from './bench-delivered.ts';
import { type BenchGround, makeGround, passphrase, quietCheckIn } from './bench-macs.ts';
import { startPeer } from './bench-peer.ts';
import { type BenchOptions, median, quantile, type Row, type Unmeasured } from './bench-rows.ts';

/**
 * Keys that come in: each receipt leaves after its commit is on the disk and its envelope was opened. Beside it the two things
 * that no server could leave out: the RSA operation, and the very rows, written with the same durability and as many to a commit.
 */
export async function deliveryRows(options: BenchOptions): Promise<(Row | Unmeasured)[]> {
  const sqlite = await measureDeliveries('delivery-sqlite', options, mkdtempSync(join(options.folder, 'sqlite-')), async (paths) =>
    openBareFile(paths.database, join(options.folder, 'bare.sqlite')),
  );
  return [sqlite, await onPostgres(options)];
}

async function onPostgres(options: BenchOptions): Promise<Row | Unmeasured> {
  const name = 'delivery-postgres';
  let server: ReturnType<typeof startPostgres>;
  try {
    server = startPostgres({ fsync: 'on', synchronous_commit: 'on', full_page_writes: 'on' });
  } catch (error) {
    return { name, why: error instanceof Error ? (error.message.split('\n')[0] ?? '') : 'PostgreSQL does not start' };
  }
  const stop = () => server.end();
  process.once('exit', stop);
  try {
    return await measureDeliveries(name, options, mkdtempSync(join(options.folder, 'postgres-')), (paths) => openBarePostgres(server.socket, paths));
  } catch (error) {
    return { name, why: error instanceof Error ? error.message : String(error) };
  } finally {
    process.off('exit', stop);
    server.end();
  }
}

async function measureDeliveries(
  name: 'delivery-sqlite' | 'delivery-postgres',
  { quick, say }: BenchOptions,
  folder: string,
  openDatabases: (paths: FolderPaths) => Promise<BareDatabase>,
): Promise<Row> {
  const rounds = quick ? 2 : 5;
  const atOnce = quick ? 24 : 64;
  const each = quick ? 4 : 6;
  // V8 has compiled by then what is asked often: one that has just begun is three times as slow for a second.
  const warm = 24;
  say(`${name}: Macs are enrolled, their keys are sealed`);
  const ground = await makeGround(folder, atOnce * (rounds + 1));
  const paths = folderPaths(ground.dir);
  const [certificate] = readEscrowCertificates(paths.escrow);
  if (!certificate) throw new Error('no escrow certificate');
  const escrowKey = privateKeyIn(paths.escrow);
  const bare = await openDatabases(paths);
  const backend = await startPeer('bench-backend.ts', [ground.dir], profiling(name));
  const client = await startPeer('bench-client.ts');
  try {
    await client.ask({ macs: ground.macs });
    const costs = { ours: [] as Cost[], rsa: [] as number[], rows: [] as number[] };
    let taken = new Set<string>();
    for (let at = 0; at <= rounds; at += 1) {
      say(`${name}: round ${at} of ${rounds}`);
      const macs = ground.macs.slice(at * atOnce, (at + 1) * atOnce);
      // Each Mac has a connection, and has checked in; its keys come one after another.
      const calls = { port: ground.port, ca: ground.ca, fresh: false, atOnce };
      await measureRound(backend, client, { ...calls, sends: checkIns(macs, at * atOnce) });
      const howMany = (at === 0 ? warm : each) * atOnce;
      const sealed = Array.from({ length: howMany }, (_, n) => sealedDelivery(certificate.der, macAt(macs, n), { source: 'agent', validated: 'true' }));
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
      const written = await rowsOf(bare, taken);
      taken = new Set([...taken, ...written.ids]);
      const rows = await bare.write(written.rows, written.ids.length, Math.max(1, Math.round(written.ids.length / cost.together)));
      // The first one warms all of it up.
      if (at === 0) continue;
      costs.ours.push(cost);
      costs.rsa.push(rsa);
      costs.rows.push(rows);
    }
    const limit = (at: number): number => Math.max(costs.rsa[at] ?? 0, costs.rows[at] ?? 0);
    const ratio = median(costs.ours.map((cost, at) => limit(at) / costOf(name, cost)));
    const of = (pick: (cost: Cost) => number): string => median(costs.ours.map(pick)).toFixed(2);
    const waits = costs.ours.flatMap((cost) => cost.waits);
    const words = `backend ${of(({ busyMs }) => busyMs)} ms at work (${of(({ processorMs }) => processorMs)} of processor time), ${Math.round(median(costs.ours.map(({ perSecond }) => perSecond)))}/s, p50 ${quantile(waits, 0.5).toFixed(0)} ms, p95 ${quantile(waits, 0.95).toFixed(0)} ms, ${of(({ together }) => together)} to a commit; RSA-3072 alone ${median(costs.rsa).toFixed(2)} ms, the rows alone ${median(costs.rows).toFixed(2)} ms`;
    return { name, ratio, aim: 0.5, better: 'more', words };
  } finally {
    await Promise.all([client.end(), backend.end()]);
    await bare.close();
  }
}

/**
 * Milliseconds of one delivery that no other can have. On SQLite the disk keeps the event loop from its work, and all of it is in its time;
 * RSA is done beside it, and is in the processor time. What PostgreSQL takes is in neither: there it is how many came through in a second, on
 * a machine that does the server's, the database's and the clients' part.
 */
const costOf = (name: string, { busyMs, processorMs, perSecond }: Cost): number =>
  Math.max(busyMs, processorMs / cpus().length, name === 'delivery-postgres' ? 1000 / perSecond : 0);

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
