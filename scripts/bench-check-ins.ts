import type { Done, Round } from './bench-client.ts';
import { type BenchGround, makeGround, quietCheckIn } from './bench-macs.ts';
import { type Peer, startPeer, type Usage } from './bench-peer.ts';
import { type BenchOptions, median, quantile, type Row } from './bench-rows.ts';

/** What one request cost a server, and how they went. */
export interface Cost {
  busyMs: number;
  processorMs: number;
  perSecond: number;
  /** Requests to a commit. */
  together: number;
  waits: number[];
}

export async function measureRound(server: Peer, client: Peer, round: Round): Promise<Cost> {
  const before = await server.ask<Usage>({});
  const done = await client.ask<Done>({ round });
  const after = await server.ask<Usage>({});
  const others = Object.entries(done.others);
  if (done.answered === 0 || others.length > 0) throw new Error(`answers other than expected: ${JSON.stringify(others)}`);
  const each = (from: number, to: number): number => ((to - from) * 1000) / done.answered;
  return {
    busyMs: each(before.busy, after.busy),
    processorMs: each(before.processor, after.processor),
    perSecond: done.answered / (done.milliseconds / 1000),
    together: done.answered / Math.max(1, after.commits - before.commits),
    waits: done.waits,
  };
}

const inWords = (name: string, costs: readonly Cost[]): string => {
  const of = (pick: (cost: Cost) => number): number => median(costs.map(pick));
  return `${name} ${of(({ busyMs }) => busyMs).toFixed(2)} ms at work (${of(({ processorMs }) => processorMs).toFixed(2)} of processor time), ${Math.round(of(({ perSecond }) => perSecond))}/s`;
};

/** How many check-ins the backend answers in the time in which a bare server answers `1 / ratio`: each with a handshake, and without. */
export async function checkInRows({ quick, folder, say }: BenchOptions): Promise<Row[]> {
  const rounds = quick ? 3 : 7;
  const milliseconds = quick ? 700 : 2500;
  const atOnce = 64;
  say('check-ins: Macs are enrolled');
  const ground = await makeGround(folder, quick ? 64 : 256);
  const [backend, bare, client] = await Promise.all([
    startPeer('bench-backend.ts', [ground.dir], profiling('backend')),
    startPeer('bench-bare.ts'),
    startPeer('bench-client.ts'),
  ]);
  try {
    const barePort = await bare.ask<number>({ tls: ground.tls });
    await client.ask({ macs: ground.macs });
    const rows: Row[] = [];
    // First those that are many in a second: V8 compiles what is asked often, and a backend that has just begun is another than one that runs.
    for (const [name, fresh, aim] of [
      ['check-in-kept-alive', false, 0.5],
      ['check-in-fresh', true, 0.85],
    ] as const) {
      const costs = { bare: [] as Cost[], ours: [] as Cost[] };
      for (let at = -2; at < rounds; at += 1) {
        say(`${name}: ${at < 0 ? 'to warm up' : `round ${at + 1} of ${rounds}`}`);
        const round = { ca: ground.ca, fresh, atOnce, milliseconds, sends: sendsOf(ground, fresh ? ground.macs.length : atOnce) };
        const one = await measureRound(bare, client, { ...round, port: barePort });
        const other = await measureRound(backend, client, { ...round, port: ground.port });
        if (at < 0) continue;
        costs.bare.push(one);
        costs.ours.push(other);
      }
      const ratio = median(costs.ours.map(({ busyMs }, at) => (costs.bare[at]?.busyMs ?? 0) / busyMs));
      const waits = costs.ours.flatMap((cost) => cost.waits);
      const more = `p50 ${quantile(waits, 0.5).toFixed(0)} ms, p95 ${quantile(waits, 0.95).toFixed(0)} ms; ${median(costs.ours.map(({ together }) => together)).toFixed(1)} to a commit`;
      rows.push({ name, ratio, aim, better: 'more', words: `${inWords('backend', costs.ours)}, ${more}; ${inWords('bare', costs.bare)}` });
    }
    return rows.reverse();
  } finally {
    await Promise.all([client.end(), backend.end(), bare.end()]);
  }
}

const sendsOf = (ground: BenchGround, howMany: number): Round['sends'] =>
  ground.macs.slice(0, howMany).map((mac, at) => ({ mac: at, method: 'POST', path: '/v1/check-in', body: quietCheckIn(mac) }));

/** `SPAREKEY_BENCH_PROFILE`: a folder in which V8 leaves where the backend's time went. */
export function profiling(name: string): string[] {
  const folder = process.env['SPAREKEY_BENCH_PROFILE'];
  return folder ? ['--cpu-prof', '--cpu-prof-interval', '500', '--cpu-prof-dir', folder, '--cpu-prof-name', `${name}-${process.pid}.cpuprofile`] : [];
}
