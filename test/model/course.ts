// A course: a kind of Mac, and what happens to it at which tick. Run through the model, watched at every tick.
import { runAgent } from './agent.ts';
import { becomeForeign, type EventKind, endFaults, endsRun, happen, isOwed, mayComeAt, newMac, oweRotation } from './events.ts';
import { atEnd, atTick, type Broken, type Witnessed } from './invariants.ts';
import * as mac from './mac.ts';
import type { World } from './run.ts';
import { type Configuration, day, hour, type Key, openRotation, type Server, type State } from './state.ts';

export interface CourseEvent {
  /** Counted over the runs of the course, from 0. */
  readonly tick: number;
  readonly does: EventKind;
}
export interface Course {
  readonly configuration: Configuration;
  readonly events: readonly CourseEvent[];
}

/** One tick as it came: in which run, before which effect, for the how-many-eth time in that run. */
export interface Passed {
  readonly run: number;
  readonly at: string;
  readonly nth: number;
}
export interface Taken {
  readonly ticks: readonly Passed[];
  /** Seconds that pass before each run. */
  readonly gaps: readonly number[];
  readonly end: State;
  readonly broken: readonly Broken[];
  readonly witnessed: Witnessed;
}

/** Events come in the first runs; then whatever is wrong passes, somebody logs in, and time goes by. */
export const eventfulRuns = 3;
/** After a disclosure the hold has to pass first. */
const gapsAtFirst = { ordered: [120, 120, 700], disclosed: [25 * hour, 120, 700] };
const gapsLater = [26 * hour, 700];
/** Until a week's budget of wrong keys is whole again. */
const longer = 8 * day;
const mostRuns = 40;

/** The state in which a course begins, and the backend that a restore brings back. */
function begin(configuration: Configuration, without: ReadonlySet<string> = new Set()): { state: State; backup: Server } {
  const own: Configuration = { ...configuration, payload: 'ours', authority: 'grant', because: 'ordered', file: 'prompt' };
  const world: World = { state: newMac(own) };
  const run = (id: number): void => {
    for (const _ of runAgent(world, id));
  };
  const pass = (seconds: number): void => {
    world.state = mac.pass(world.state, seconds);
  };
  run(-4);
  pass(601);
  if (configuration.custody === 'keychain') {
    // The Mac has its key in the keychain.
    world.state = oweRotation(world.state);
    run(-3);
    pass(day + 60);
    run(-2);
  }
  if (configuration.payload === 'foreign') {
    world.state = becomeForeign(world.state);
    pass(60);
    run(-1);
    // For an hour after another payload nothing is replaced.
    pass(2 * hour);
  }
  const backup = world.state.server;
  const state = oweRotation({ ...world.state, configuration, without });
  return { state, backup };
}

const quiet = (s: State): string => {
  const { journal } = s.mac.files;
  const { records, rotations, debts, orders } = s.server;
  return JSON.stringify([
    records.map((one) => [one.key, one.state, one.refutedAt !== null]),
    rotations.map((one) => one.state),
    debts.map((one) => one.closedBy),
    orders,
    journal && journal !== 'damaged' && [journal.rotation?.state, journal.outbox.length, journal.exhausted],
    s.mac.key,
  ]);
};
const isAtRest = (s: State): boolean => {
  const { journal } = s.mac.files;
  if (journal === null || journal === 'damaged') return false;
  if (journal.exhausted) return journal.rotation === null;
  const nothingOpen = journal.rotation === null && journal.outbox.length === 0 && journal.proofs.length === 0 && journal.endings.length === 0;
  const noStray = Object.keys(s.mac.files.items).every((name) => name === journal.keptItem?.name);
  return nothingOpen && noStray && !isOwed(s) && !openRotation(s.server) && !s.server.orders.some((order) => !order.ended);
};

/** `watch: false`: to see only where it leads. */
export function take(course: Course, without: ReadonlySet<string> = new Set()): Taken {
  const { state, backup } = begin(course.configuration, without);
  const world: World = { state };
  const ticks: Passed[] = [];
  const gaps: number[] = [];
  const broken: Broken[] = [];
  const witnessed: Witnessed = {
    cut: new Set(),
    byOther: new Set(),
    unseen: new Set(),
    restored: false,
    forgotten: new Set(),
    stale: false,
    changes: course.configuration.payload === 'foreign' ? 1 : 0,
  };
  const from = world.state.now;
  let unchanged = 0;
  let isOver = false;
  let before = '';
  for (let run = 0; run < mostRuns && unchanged < 7 && !isOver && world.state.now - from < 28 * day; run++) {
    if (run > 0) {
      const gap = gapsAtFirst[course.configuration.because][run - 1] ?? (unchanged >= 4 ? longer : (gapsLater[run % gapsLater.length] ?? hour));
      gaps.push(gap);
      world.state = mac.pass(run >= eventfulRuns ? endFaults(world.state) : world.state, gap);
    }
    const counts = new Map<string, number>();
    const steps = runAgent(world, run);
    for (let next = steps.next(); !next.done; next = steps.next()) {
      const at = next.value;
      const nth = (counts.get(at) ?? 0) + 1;
      counts.set(at, nth);
      const tick = ticks.length;
      if (run < eventfulRuns) ticks.push({ run, at, nth });
      const now = run < eventfulRuns ? course.events.filter((event) => event.tick === tick) : [];
      for (const event of now) {
        if (!mayComeAt(event.does, at)) continue;
        const before = world.state;
        world.state = happen(before, event.does, backup);
        note(witnessed, before, world.state.mac.key, event.does, at);
      }
      atTick(world.state, at, witnessed, broken);
      if (now.some((event) => endsRun(event.does) && mayComeAt(event.does, at))) break;
    }
    const after = quiet(world.state);
    unchanged = after === before ? unchanged + 1 : 0;
    isOver = run >= eventfulRuns && isAtRest(world.state);
    before = after;
  }
  atEnd(world.state, witnessed, broken);
  return { ticks, gaps, end: world.state, broken, witnessed };
}

/** Before the next run has read what fdesetup wrote, and synced it. */
const beforeItIsRead = ['sync out', 'journal escrow-seen', 'journal session', 'journal found'];

/** `s` is as it was before, `key` the Mac's afterwards. */
function note(witnessed: Witnessed, s: State, key: Key, kind: EventKind, at: string): void {
  const isUnsynced = Object.entries(s.mac.files.outputs).some(([id, key]) => key !== null && s.mac.durable.outputs[id] !== key);
  const inChange = at.startsWith('mac ') || s.mac.change !== null || (isUnsynced && beforeItIsRead.includes(at));
  if ((kind.startsWith('power cut') || kind === 'fdesetup dies') && inChange) witnessed.cut.add(key);
  if (kind.startsWith('key changed')) witnessed.byOther.add(key);
  if (kind === 'key changed by somebody else, no file' || kind.endsWith('file for them')) witnessed.unseen.add(key);
  if (kind.startsWith('key changed') || kind === 'escrow file of an older key') witnessed.changes += 1;
  if (kind === 'backend restored') witnessed.restored = true;
  if (kind.includes('journal')) witnessed.forgotten.add(key);
  if (kind === 'escrow file of an older key') witnessed.stale = true;
  // Their file was written over, perhaps before anybody read it.
  if (witnessed.stale && witnessed.byOther.has(key)) witnessed.unseen.add(key);
}

export const describeCourse = ({ configuration, events }: Course, ticks: readonly Passed[]): string => {
  const { custody, payload, authority, file, because } = configuration;
  const said = events.map(
    ({ tick, does }) => `${does} at ${tick} (${ticks[tick] ? `run ${ticks[tick].run}, before ${ticks[tick].at} ${ticks[tick].nth}` : 'never reached'})`,
  );
  return `${custody}/${payload}/${authority}/${file}/${because}: ${said.join('; ') || 'nothing happens'}`;
};
