import { writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { addressAt, makeDatabase, makeTemplate } from '../test/postgres-databases.ts';
import { startPostgres } from '../test/postgres-server.mjs';
import { startPeer } from './bench-peer.ts';
import type { Ask } from './bench-postgres-backend.ts';
import { type BenchOptions, median, type Row } from './bench-rows.ts';

/** Milliseconds by which an answer of the database comes later than on one machine: a network in one place. Timers give no less. */
const away = 1;
/** For two backends: so far, and with so few connections, that a small machine has processor time for both. */
const farAway = 5;
const fewConnections = 4;
/** Macs that ask at once, of each backend. */
const atOnce = 24;

/** PostgreSQL at some distance: what it answers comes later, in its order. */
async function putAway(socket: string, milliseconds: number): Promise<{ port: number; close(): void }> {
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const database = connect(join(socket, '.s.PGSQL.5432'));
    for (const one of [client, database]) {
      sockets.add(one);
      one.on('error', () => undefined);
      one.on('close', () => {
        client.destroy();
        database.destroy();
      });
    }
    client.setNoDelay(true);
    client.on('data', (bytes) => database.write(bytes));
    database.on('data', (bytes) => setTimeout(() => client.write(bytes), milliseconds));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  return {
    port: typeof address === 'object' && address ? address.port : 0,
    close() {
      server.close();
      for (const one of sockets) one.destroy();
    },
  };
}

/**
 * Acts a second on PostgreSQL, with fsync, at a distance: those that share a commit, and narrow ones side by side, against the same acts
 * one after another with a commit each, which is what one lock for all lets through, whatever the machines.
 */
export async function postgresRows({ quick, folder, say }: BenchOptions): Promise<Row[]> {
  const [rounds, milliseconds] = quick ? [2, 500] : [5, 2000];
  say('postgres: a server is started, Macs are enrolled');
  const server = startPostgres();
  const distances = [await putAway(server.socket, away), await putAway(server.socket, farAway)] as const;
  try {
    await makeTemplate(server.socket);
    await makeDatabase(server.socket, 'bench');
    const backendAt = (name: string, address: string) => {
      const file = join(folder, name);
      writeFileSync(file, address);
      return startPeer('bench-postgres-backend.ts', [file, String(atOnce)]);
    };
    const [network, far] = distances.map(({ port }, at) => addressAt('127.0.0.1', 'bench', `sslmode=disable&pool=${at === 0 ? 10 : fewConnections}`, port));
    const one = await backendAt('one', network ?? '');
    const pair = [await backendAt('first', far ?? ''), await backendAt('second', far ?? '')] as const;
    const near = await backendAt('near', addressAt(server.socket, 'bench', 'pool=10'));
    const perSecond = {
      alone: [] as number[],
      one: [] as number[],
      far: [] as number[],
      two: [] as number[],
      delivered: [] as number[],
      deliveredAlone: [] as number[],
    };
    const ask = (peer: typeof one, way: Ask['way'], kind: Ask['kind']): Promise<number> => peer.ask<number>({ way, kind, milliseconds });
    for (let at = 0; at <= rounds; at += 1) {
      say(`postgres: round ${at} of ${rounds}`);
      const alone = await ask(one, 'alone', 'check-in');
      const together = await ask(one, 'together', 'check-in');
      const first = await ask(pair[0], 'together', 'check-in');
      const both = await Promise.all(pair.map((peer) => ask(peer, 'together', 'check-in')));
      // Keys add up, and each costs a little more than those before it: so they take turns in going first.
      const delivered = { alone: 0, together: 0 };
      for (const way of at % 2 === 0 ? (['alone', 'together'] as const) : (['together', 'alone'] as const)) delivered[way] = await ask(near, way, 'delivery');
      // The first one warms all of it up.
      if (at === 0) continue;
      perSecond.alone.push(alone);
      perSecond.one.push(together);
      perSecond.far.push(first);
      perSecond.two.push(both.reduce((sum, each) => sum + each, 0));
      perSecond.deliveredAlone.push(delivered.alone);
      perSecond.delivered.push(delivered.together);
    }
    await Promise.all([one, ...pair, near].map((peer) => peer.end()));
    const ratio = (of: readonly number[], to: readonly number[]): number => median(of.map((each, at) => each / (to[at] ?? 1)));
    const said = (of: readonly number[]): string => `${Math.round(median(of))}/s`;
    const how = `answers of the database ${away} ms away, fsync on`;
    return [
      {
        name: 'postgres-check-ins',
        ratio: ratio(perSecond.one, perSecond.alone),
        aim: 2,
        better: 'more',
        words: `acts of quiet check-ins: ${said(perSecond.one)} side by side, ${said(perSecond.alone)} one after another; ${how}`,
      },
      {
        name: 'postgres-two-backends',
        ratio: ratio(perSecond.two, perSecond.far),
        aim: 1.5,
        better: 'more',
        words: `the same of two backends: ${said(perSecond.two)}, of one: ${said(perSecond.far)}; ${fewConnections} connections each, the database ${farAway} ms away`,
      },
      {
        name: 'postgres-deliveries',
        ratio: ratio(perSecond.delivered, perSecond.deliveredAlone),
        aim: 1.1,
        better: 'more',
        words: `acts of deliveries, their envelopes opened: ${said(perSecond.delivered)} with commits that are shared, ${said(perSecond.deliveredAlone)} with one each; the database on this machine`,
      },
    ];
  } finally {
    for (const distance of distances) distance.close();
    server.end();
  }
}
