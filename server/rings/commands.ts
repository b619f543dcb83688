import { Problem } from '../../protocol/problems.ts';
import type { Backend } from '../backend.ts';
import { type CommandResult, table, when } from '../command.ts';
import { lastFacts } from '../custody-state.ts';
import { macById } from '../store/macs.ts';
import { allRings, countMovingRings, macsOfRing, openRingOf, type Ring, type RingMember, ringNamed } from '../store/rings.ts';
import { stateOfRing } from './move.ts';
import type { PlannedMac } from './rings.ts';

/*
 * `ring …` in words. Whoever moves a ring works in two consoles: what is to be done in the MDM is said at each step.
 */

interface Act {
  name: string;
  reason: string;
  actor: string;
}

export async function ringPlan(backend: Backend, planning: { name: string; macs: readonly string[]; actor: string }): Promise<CommandResult> {
  const { name, macs } = await backend.custody.rings.plan(planning);
  const of = (verdict: PlannedMac['move']['verdict']) => macs.filter(({ move }) => move.verdict === verdict).length;
  const rows = macs.map(({ serial, move }) => [serial, verdictWords[move.verdict], move.mode ?? '–', [move.because, ...move.notes].join('; note: ')]);
  const ready = of('ready') + of('ours');
  return {
    json: { name, macs: macs.map(({ serial, macId, move }) => ({ serial, macId, ...move })) },
    text: [
      `ring ${name}: ${macs.length} Mac(s), ${of('ready')} movable, ${of('ours')} with our payload already, ${of('later')} not yet`,
      ...(rows.length > 0 ? ['', table(['serial', 'movable', 'mode', 'what happens, or why not yet'], rows)] : []),
      '',
      ready > 0 ? `nothing has begun; begin with: sparekey-server ring start ${quoted(name)} --reason …` : 'nothing can begin yet',
    ].join('\n'),
    ...(of('later') > 0 ? { warnings: ['Macs that are not movable yet stay out of the ring when it starts: keep them out of its group at the MDM'] } : {}),
  };
}

const verdictWords = { ready: 'yes', ours: 'ours', later: 'not yet' } as const;
const quoted = (name: string): string => (/^[\w.-]+$/.test(name) ? name : `"${name}"`);

/** What stands on the table before somebody says yes. */
export async function startQuestion(backend: Backend, name: string): Promise<string> {
  const ring = await ringNamed(backend.store.db, name);
  if (!ring) throw new Problem('NOT_FOUND', `there is no ring ${name}`);
  const macs = (await macsOfRing(backend.store.db, ring.id)).filter(({ state }) => state !== 'left');
  return `No key of the ${macs.length} Mac(s) of ring ${name} is replaced from now on until our payload is on it; on macOS 26 that makes a new key at once.`;
}

export async function ringStart(backend: Backend, act: Act): Promise<CommandResult> {
  const { name, waiting, left } = await backend.custody.rings.start(act);
  return {
    json: { name, waiting, left },
    text: [
      `ring ${name} has started: nothing is replaced on its ${waiting.length} Mac(s) until our payload is seen on them`,
      `now at the MDM, for these Macs only: switch its key escrow off (or take its escrow profile away), then install ours; set escrowOwner and rotator with it`,
      ...waiting.map((serial) => `  ${serial}`),
      ...(left.length > 0 ? ['not in it; keep them out of the group:', ...left.map(({ serial, because }) => `  ${serial}: ${because}`)] : []),
      `look with: sparekey-server ring status ${quoted(name)}`,
    ].join('\n'),
  };
}

export async function ringRollBack(backend: Backend, act: Act): Promise<CommandResult> {
  const { name, moved, notMoved } = await backend.custody.rings.rollBack(act);
  return {
    json: { name, moved, notMoved },
    text: [
      `ring ${name} is rolled back: what is owed on its Macs is replaced again, as their payload and settings say`,
      'now at the MDM: take our escrow profile away from them and switch its own escrow on again; set escrowOwner and rotator back',
      ...(notMoved.length > 0 ? [`never moved: ${notMoved.join(', ')}`] : []),
      ...(moved.length > 0
        ? [
            `moved already: ${moved.join(', ')}`,
            'the MDM gets the keys of these when they are replaced next; macOS 26 makes a new one as soon as its payload is there: import it again then',
          ]
        : []),
    ].join('\n'),
  };
}

export async function ringDrop(backend: Backend, act: { mac: string; reason: string; actor: string }): Promise<CommandResult> {
  const { serial, ring } = await backend.custody.rings.drop(act);
  return {
    json: { serial, ring, dropped: true },
    text: `${serial} is out of ring ${ring}: its key is replaced again as its payload and settings say; take it out of the group at the MDM too`,
  };
}

interface Line {
  serial: string;
  macId: string;
  state: RingMember['state'];
  since: string;
  because: string;
  lastSeenAt: string | null;
  /** It stands still for days, or went back: somebody has to do something. */
  stuck: boolean;
  next: string;
}

async function lineOf(backend: Backend, row: RingMember): Promise<Line> {
  const mac = await macById(backend.store.db, row.mac_id);
  const payload = mac ? lastFacts(mac)?.escrow.payload : undefined;
  const onItsWay = row.state === 'waiting' || row.state === 'proving';
  const wentBack = row.state === 'moved' && payload !== undefined && payload !== 'ours' && payload !== 'unknown';
  const seen = mac?.last_seen_at ?? null;
  const isLongAgo = (time: number): boolean => backend.clock.now() - time > backend.custody.rings.standsStillAfter;
  return {
    serial: row.serial,
    macId: row.mac_id,
    state: row.state,
    since: when(row.state_at),
    because: wentBack ? `${row.because}; since then its payload is ${payload === 'foreign' ? 'somebody else’s again' : payload}` : row.because,
    lastSeenAt: seen === null ? null : when(seen),
    stuck: wentBack || (onItsWay && isLongAgo(row.state_at)),
    next: wentBack ? 'look at the MDM: which profile has it?' : nextOf(row, seen !== null && isLongAgo(seen)),
  };
}

function nextOf({ state, because }: RingMember, silent: boolean): string {
  if (state === 'moved' || state === 'left' || state === 'rolled-back') return '–';
  if (state === 'planned') return 'ring start';
  if (silent) return 'switch the Mac on and let it reach the backend';
  if (state === 'waiting') return 'the MDM admin changes its escrow profile';
  if (because.includes('sealed:')) return 'start the backend with its passphrase';
  if (because.includes('settings')) return 'the MDM admin changes its settings';
  if (because.includes('pilot')) return 'set `pilot` for one Mac of this build';
  if (because.includes('two rotators')) return 'find out who else replaces its key: `sparekey-server status` names who was found';
  if (/import|adopt/.test(because)) return 'import its present key, or `sudo sparekey adopt` on it';
  return 'its user logs in and stays for ten minutes; `sparekey status` on it says what it waits for';
}

async function ringReport(backend: Backend, ring: Ring) {
  const lines: Line[] = [];
  for (const row of await macsOfRing(backend.store.db, ring.id)) lines.push(await lineOf(backend, row));
  const counts: Record<RingMember['state'], number> = { planned: 0, waiting: 0, proving: 0, moved: 0, 'rolled-back': 0, left: 0 };
  for (const { state } of lines) counts[state] += 1;
  const { name, reason } = ring;
  const state = stateOfRing(ring, lines);
  const macs = lines.toSorted((one, other) => Number(other.stuck) - Number(one.stuck));
  return { name, state, reason, by: ring.created_by, startedAt: ring.started_at === null ? null : when(ring.started_at), counts, macs };
}

export async function ringStatus(backend: Backend, name: string | null): Promise<CommandResult> {
  const { db } = backend.store;
  const one = name === null ? undefined : await ringNamed(db, name);
  if (name !== null && !one) throw new Problem('NOT_FOUND', `there is no ring ${name}`);
  const rings = [];
  for (const ring of one ? [one] : await allRings(db)) rings.push(await ringReport(backend, ring));
  const text = rings.map((ring) => {
    const { counts } = ring;
    const total = ring.macs.length - counts.left;
    const head = `ring ${ring.name}: ${ring.state}; ${counts.moved} of ${total} moved, ${counts.proving} proving, ${counts.waiting} waiting${counts.left > 0 ? `, ${counts.left} left` : ''}`;
    if (!one) return head;
    const rows = ring.macs.map((mac) => [mac.serial, mac.stuck ? `${mac.state}, STUCK` : mac.state, mac.since, mac.because, mac.next]);
    return rows.length > 0 ? `${head}\n\n${table(['serial', 'state', 'since', 'because', 'next'], rows)}` : head;
  });
  return { json: one ? rings[0] : { rings }, text: text.length > 0 ? text.join('\n') : 'there is no ring' };
}

/** For `status`: a line for each ring on its way. */
export async function sayRings(backend: Backend): Promise<string[]> {
  const counted = await countMovingRings(backend.store.db);
  return [...new Set(counted.map(({ name }) => name))].map((name) => {
    const states = counted.filter((one) => one.name === name).map(({ state, macs }) => `${macs} ${state}`);
    return `ring ${name}: ${states.join(', ')} (sparekey-server ring status ${quoted(name)})`;
  });
}

/** For `status` of one Mac: the ring that it is in, or null. */
export async function ringOfMac(backend: Backend, macId: string): Promise<{ ring: string; state: string; since: string; because: string } | null> {
  const found = await openRingOf(backend.store.db, macId);
  return found ? { ring: found.ring.name, state: found.mac.state, since: when(found.mac.state_at), because: found.mac.because } : null;
}
