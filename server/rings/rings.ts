import { randomUUID } from 'node:crypto';
import { Problem } from '../../protocol/problems.ts';
import { afterAct } from '../after-act.ts';
import { audit } from '../audit.ts';
import { type CustodyParts, day } from '../custody-parts.ts';
import { findMac } from '../custody-report.ts';
import { withdrawOrderIn } from '../orders.ts';
import type { Tx } from '../parts.ts';
import { orderById } from '../store/debts.ts';
import { macById } from '../store/macs.ts';
import { forgetRingMacs, insertRing, insertRingMac, macsOfRing, openRingOf, type Ring, type RingMac, ringNamed, updateRing } from '../store/rings.ts';
import { judgeMove, type Move } from './judge.ts';
import { become, endIfDone, stateOfRing } from './move.ts';
import { moveSituation } from './situation.ts';

export interface PlannedMac {
  /** As it was named. */
  serial: string;
  macId: string | null;
  move: Move;
}
export interface RingPlan {
  name: string;
  macs: PlannedMac[];
}
interface RingAct {
  name: string;
  actor: string;
  reason: string;
}
export interface RingStarted {
  name: string;
  waiting: string[];
  /** Not in it: keep them out of the group at the MDM. */
  left: { serial: string; because: string }[];
}
export interface RolledBack {
  name: string;
  /** Had our payload already: their key goes to the MDM at its next replacement. */
  moved: string[];
  notMoved: string[];
}

/** Macs that go together from the MDM's escrow payload to ours. */
export interface Rings {
  /** The same name again plans anew; no names: what the plan says now. */
  plan(planning: { name: string; macs: readonly string[]; actor: string }): Promise<RingPlan>;
  start(act: RingAct): Promise<RingStarted>;
  rollBack(act: RingAct): Promise<RolledBack>;
  drop(act: { mac: string; actor: string; reason: string }): Promise<{ serial: string; ring: string }>;
  /** Milliseconds after which a Mac that stays in one state stands still. */
  readonly standsStillAfter: number;
}

export const createRings = (parts: CustodyParts): Rings => ({
  plan: (planning) => plan(parts, planning),
  start: (act) => start(parts, act),
  rollBack: (act) => rollBack(parts, act),
  drop: (act) => drop(parts, act),
  standsStillAfter: parts.ringDays * day,
});

/** An export of a fleet has tens of thousands; a ring is a part of one. */
const mostMacs = 20_000;

async function needRing(tx: Tx, name: string): Promise<Ring> {
  const ring = await ringNamed(tx, name);
  if (!ring) throw new Problem('NOT_FOUND', `there is no ring ${name}`);
  return ring;
}

const judged = async (parts: CustodyParts, tx: Tx, at: number, macId: string, ringId: string): Promise<Move> => {
  const mac = await macById(tx, macId);
  if (!mac) throw new Problem('MAC_UNKNOWN');
  return judgeMove(await moveSituation(parts, tx, mac, at, ringId));
};

async function plan(parts: CustodyParts, { name, macs, actor }: { name: string; macs: readonly string[]; actor: string }): Promise<RingPlan> {
  if (!/^[\p{L}\p{N}][\p{L}\p{N} ._-]{0,63}$/u.test(name))
    throw new Problem('USAGE', 'the name of a ring is 1 to 64 letters, figures, spaces, dots and dashes');
  if (macs.length > mostMacs) throw new Problem('USAGE', `a ring has at most ${mostMacs} Macs`);
  const named = new Map<string, string | Problem>();
  for (const one of macs) {
    const serial = one.trim();
    named.set(
      serial,
      await findMac(parts, serial).catch((error: unknown) => {
        if (error instanceof Problem) return error;
        throw error;
      }),
    );
  }
  return parts.act(async (tx, at) => {
    const before = await ringNamed(tx, name);
    if (before && before.state !== 'planned' && macs.length > 0) throw new Problem('USAGE', `the ring ${name} is ${before.state}: plan another one`);
    if (!before && macs.length === 0) throw new Problem('USAGE', 'which Macs? name them with --serial or --csv');
    const ring: Ring = before ?? {
      id: randomUUID(),
      name,
      state: 'planned',
      created_at: at,
      created_by: actor,
      reason: '',
      started_at: null,
      ended_at: null,
    };
    if (!before) await insertRing(tx, ring);
    const planned = macs.length === 0 ? await planAgain(parts, tx, at, ring) : await planNew(parts, tx, at, ring, named);
    const count = (verdict: Move['verdict']) => planned.filter(({ move }) => move.verdict === verdict).length;
    await audit(tx, {
      at,
      actor,
      act: 'ring.planned',
      details: { ring: name, macs: planned.length, ready: count('ready') + count('ours'), later: count('later') },
    });
    return { name, macs: planned };
  });
}

async function planAgain(parts: CustodyParts, tx: Tx, at: number, ring: Ring): Promise<PlannedMac[]> {
  const planned: PlannedMac[] = [];
  for (const { mac_id: macId, serial, state } of await macsOfRing(tx, ring.id)) {
    // Who was taken out stays out until somebody names it again.
    if (state !== 'left') planned.push({ serial, macId, move: await judged(parts, tx, at, macId, ring.id) });
  }
  return planned;
}

async function planNew(parts: CustodyParts, tx: Tx, at: number, ring: Ring, named: ReadonlyMap<string, string | Problem>): Promise<PlannedMac[]> {
  const dropped = new Map((await macsOfRing(tx, ring.id)).filter(({ state }) => state === 'left').map((mac) => [mac.mac_id, mac.because]));
  await forgetRingMacs(tx, ring.id);
  const planned: PlannedMac[] = [];
  const taken = new Set<string>();
  for (const [serial, macId] of named) {
    if (macId instanceof Problem) {
      planned.push({ serial, macId: null, move: { verdict: 'later', mode: null, because: whyUnknown(macId), notes: [] } });
      continue;
    }
    if (taken.has(macId)) continue;
    taken.add(macId);
    const before = dropped.get(macId);
    const found = await judged(parts, tx, at, macId, ring.id);
    const move = before === undefined ? found : { ...found, notes: [...found.notes, `it was taken out of this ring before: ${before}`] };
    planned.push({ serial: (await macById(tx, macId))?.serial ?? serial, macId, move });
    // A Mac is in one ring at a time; which one is said.
    if (await openRingOf(tx, macId)) continue;
    await insertRingMac(tx, { ring_id: ring.id, mac_id: macId, state: 'planned', state_at: at, because: move.because, order_id: null });
  }
  return planned;
}

const whyUnknown = (problem: Problem): string =>
  problem.code === 'MAC_AMBIGUOUS'
    ? `more than one Mac says that it has this serial number: name one by its id (${problem.detail})`
    : 'its agent has not enrolled yet';

/** Each Mac is looked at once more: what was movable at the plan may be on hold now. */
async function start(parts: CustodyParts, { name, actor, reason }: RingAct): Promise<RingStarted> {
  if (reason.trim() === '') throw new Problem('REASON_MISSING');
  return parts.act(async (tx, at) => {
    const ring = await needRing(tx, name);
    if (ring.state !== 'planned') throw new Problem('USAGE', `the ring ${name} is ${ring.state} already`);
    const moves: { mac: RingMac; serial: string; move: Move }[] = [];
    const planned = (await macsOfRing(tx, ring.id)).filter(({ state }) => state === 'planned');
    for (const { serial, ...mac } of planned) moves.push({ mac, serial, move: await judged(parts, tx, at, mac.mac_id, ring.id) });
    const go = moves.filter(({ move }) => move.verdict !== 'later');
    const stay = moves.filter(({ move }) => move.verdict === 'later');
    if (go.length === 0) throw new Problem('RING_NOT_READY', stay[0] ? `${stay[0].serial}: ${stay[0].move.because}` : 'no Mac is in it');
    await updateRing(tx, ring.id, { state: 'moving', started_at: at, created_by: actor, reason });
    const details = { ring: name, reason, waiting: go.length, left: stay.length };
    await audit(tx, { at, actor, act: 'ring.started', details });
    for (const { mac } of go) await become(tx, at, ring, mac, 'waiting', 'nothing is replaced until its payload is ours: the MDM admin installs it', actor);
    for (const { mac, move } of stay) await become(tx, at, ring, mac, 'left', move.because, actor);
    afterAct(tx, () => parts.log.info('ring-started', details));
    return { name, waiting: go.map(({ serial }) => serial), left: stay.map(({ serial, move }) => ({ serial, because: move.because })) };
  });
}

/** What the ring ordered, and nobody has carried out, is taken back with its debt. */
async function takeBackOrder(tx: Tx, at: number, { order_id: orderId }: RingMac, because: string): Promise<void> {
  const order = orderId === null ? undefined : await orderById(tx, orderId);
  if (order?.state !== 'waiting') return;
  await withdrawOrderIn(tx, at, order, { actor: 'server', because });
}

async function rollBack(parts: CustodyParts, { name, actor, reason }: RingAct): Promise<RolledBack> {
  if (reason.trim() === '') throw new Problem('REASON_MISSING');
  return parts.act(async (tx, at) => {
    const ring = await needRing(tx, name);
    const all = await macsOfRing(tx, ring.id);
    if (ring.state === 'rolled-back')
      throw new Problem(
        'USAGE',
        `the ring ${name} ${stateOfRing(ring, all) === 'dropped' ? 'has ended: every Mac was taken out of it' : 'was rolled back already'}`,
      );
    const macs = all.filter(({ state }) => state !== 'left');
    for (const { serial: _, ...mac } of macs) {
      await become(tx, at, ring, mac, 'rolled-back', mac.state === 'moved' ? 'it was moved: its key goes to the MDM at its next replacement' : reason, actor);
      await takeBackOrder(tx, at, mac, `the ring ${name} was rolled back`);
    }
    await updateRing(tx, ring.id, { state: 'rolled-back', ended_at: at });
    const of = (isMoved: boolean) => macs.filter(({ state }) => (state === 'moved') === isMoved).map(({ serial }) => serial);
    const done = { name, moved: of(true), notMoved: of(false) };
    await audit(tx, { at, actor, act: 'ring.ended', details: { ring: name, reason, rolledBack: macs.length, ofThemMoved: done.moved.length } });
    return done;
  });
}

async function drop(
  parts: CustodyParts,
  { mac: name, actor, reason }: { mac: string; actor: string; reason: string },
): Promise<{ serial: string; ring: string }> {
  if (reason.trim() === '') throw new Problem('REASON_MISSING');
  const macId = await findMac(parts, name);
  return parts.act(async (tx, at) => {
    const found = await openRingOf(tx, macId);
    if (!found) throw new Problem('NOT_FOUND', `${name} is in no ring that is planned or on its way`);
    await become(tx, at, found.ring, found.mac, 'left', reason, actor);
    await takeBackOrder(tx, at, found.mac, `it was taken out of the ring ${found.ring.name}`);
    await endIfDone(tx, at, found.ring);
    return { serial: (await macById(tx, macId))?.serial ?? name, ring: found.ring.name };
  });
}
