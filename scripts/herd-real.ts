import { readFileSync, writeFileSync } from 'node:fs';
import { folderPaths } from '../server/data-folder.ts';
import { readEscrowCertificates } from '../server/escrow-keys.ts';
import { sealedDelivery } from '../test/device-calls.ts';
import { type Cost, measureRound } from './bench-check-ins.ts';
import { makeGround, quietCheckIn } from './bench-macs.ts';
import { startPeer } from './bench-peer.ts';
import { median, quantile, type Say } from './bench-rows.ts';
import type { Costs } from './herd-backend.ts';
import { type OneRun, predictOneRun } from './herd-model.ts';

/** What is measured in earnest: what a request costs the backend, and what becomes of some thousand Macs that come at once. */

export interface Real {
  macs: number;
  /** As they were measured beside it. */
  costs: Costs;
  really: Told;
  predicted: Told;
}

/** Seconds until half, 99 of 100 and all of those were answered that were. */
interface Told {
  answered: number;
  half: number;
  most: number;
  last: number;
  shed: number;
  refused: number;
  later: number;
}

function tell({ answered, shed, refused, later }: OneRun): Told {
  const of = (share: number): number => Math.round(quantile(answered, share) * 10) / 10;
  return { answered: answered.length, half: of(0.5), most: of(0.99), last: of(1), shed, refused, later };
}

/** Macs that stand for all, by turns. */
const some = 128;

/**
 * By what a request costs: the time in which the backend's thread was at work for it or kept from it by the disk, which on a busy machine
 * has in it what other programs took; or processor time alone, which has nothing of the disk.
 */
export type By = 'busy' | 'processor';

/** Milliseconds of one thread: a handshake with the least answer, a check-in, a delivery. And then a real herd. */
export async function measure(folder: string, herd: number, by: By, say: Say): Promise<{ costs: Costs; real: Real | null }> {
  const ground = await makeGround(folder, some);
  const paths = folderPaths(ground.dir);
  const settings = JSON.parse(readFileSync(paths.settings, 'utf8'));
  // All come from one address here, as behind a balancer.
  const limits = { connections: herd + 1000, connectionsPerAddress: herd + 1000 };
  writeFileSync(paths.settings, JSON.stringify({ ...settings, limits }));
  const [certificate] = readEscrowCertificates(paths.escrow);
  if (!certificate) throw new Error('no escrow certificate');
  const [backend, bare, client] = await Promise.all([startPeer('bench-backend.ts', [ground.dir]), startPeer('bench-bare.ts'), startPeer('bench-client.ts')]);
  const crowd = herd > 0 ? await startPeer('herd-client.ts') : null;
  try {
    const barePort = await bare.ask<number>({ tls: ground.tls });
    await client.ask({ macs: ground.macs });
    const checkIns = ground.macs.map((mac, at) => ({ mac: at, method: 'POST', path: '/v1/check-in', body: quietCheckIn(mac) }));
    const round = { ca: ground.ca, atOnce: 16, milliseconds: 1500, sends: checkIns };
    // The first of each warms it up. Where the machine is so busy that the backend sends some away, it is measured again.
    const patiently = async (act: () => Promise<Cost>, tries = 5): Promise<Cost> =>
      act().catch((error) => (tries > 1 ? patiently(act, tries - 1) : Promise.reject(error)));
    const twice = async (act: () => Promise<Cost>): Promise<Cost> => {
      await patiently(act);
      return patiently(act);
    };
    const handshakeCost = () => measureRound(bare, client, { ...round, port: barePort, fresh: true });
    const wholeCost = () => measureRound(backend, client, { ...round, port: ground.port, fresh: true });
    const handshake = await twice(handshakeCost);
    const whole = await twice(wholeCost);
    const sealed = ground.macs.map((mac) => sealedDelivery(certificate.der, mac, { source: 'agent', validated: 'true' }));
    const sends = sealed.map(({ id, request }, at) => ({ mac: at, method: 'PUT', path: `/v1/keys/${id}`, body: JSON.stringify(request) }));
    const delivery = await measureRound(backend, client, { port: ground.port, ca: ground.ca, fresh: false, atOnce: 16, sends });
    const costsOf = (pick: (cost: Cost) => number, bares: readonly Cost[], wholes: readonly Cost[]): Costs => {
      const bareOne = median(bares.map(pick));
      return { handshake: bareOne, checkIn: Math.max(0.05, median(wholes.map(pick)) - bareOne), delivery: pick(delivery) };
    };
    const costs = costsOf(by === 'busy' ? ({ busyMs }) => busyMs : ({ processorMs }) => processorMs, [handshake], [whole]);
    say(`a handshake ${costs.handshake.toFixed(2)} ms, a check-in after it ${costs.checkIn.toFixed(2)} ms, a delivery ${costs.delivery.toFixed(2)} ms`);
    if (!crowd) return { costs, real: null };
    say(`${herd} real Macs come at once`);
    const macs = ground.macs.map(({ cert, key, ...mac }) => ({ cert, key, body: quietCheckIn(mac) }));
    const run = await crowd.ask<OneRun>({ port: ground.port, ca: ground.ca, macs, howMany: herd });
    // Once more: on a busy machine a minute later everything costs something else.
    const then = costsOf(({ busyMs }) => busyMs, [handshake, await handshakeCost()], [whole, await patiently(wholeCost)]);
    return { costs, real: { macs: herd, costs: then, really: tell(run), predicted: tell(await predictOneRun({ macs: herd, costs: then })) } };
  } finally {
    await Promise.all([client.end(), backend.end(), bare.end(), crowd?.end()]);
  }
}
