import { readdirSync } from 'node:fs';
import type { World } from '../../agent/check-in.ts';
import { realDisk } from '../../agent/disk.ts';
import { paths } from '../../agent/paths.ts';
import { openSecrets } from '../../agent/secrets.ts';
import type { Runner } from '../../agent/world.ts';
import { Problem, problems } from '../../protocol/problems.ts';
import { systemKeychain } from '../fake-mac/state.ts';
import { tooManyWrongKeys } from '../fake-mac/wrong-keys.ts';
import { eachCall, eachRequest } from '../killing.ts';
import { closeMacs, type given } from '../together.ts';
import { type Frozen, type Survivors, type Volatile, type VolatileOptions, volatile } from './volatile.ts';

/*
 * One course: a run of the agent in which the power goes before its n-th effect, the start of the Mac with what survived,
 * and the runs after it until both sides are at peace. Effects are the calls that change the disk, commands, keychain and
 * requests. What comes after one effect and before the next is the same to a Mac without power, so `before` is enough.
 */

export type Given = Awaited<ReturnType<typeof given>>;

export interface Scenario {
  /** A Mac whose next run is the one that the power leaves. */
  prepare(): Promise<Given>;
  disk?: VolatileOptions;
  /** What else becomes of the files, before the Mac starts again. */
  afterwards?(it: Given): void;
}

/** Effects by their number, or the first of a name; the second one is of the run after the first cut. */
export interface Point {
  at: number | RegExp;
  survivors: Survivors;
  again?: { at: number | RegExp; survivors: Survivors };
}

interface Ended {
  end: 'held' | 'lost' | 'doubtful';
  /** Whether what survived the (last) cut holds the key anywhere. */
  wasLost: boolean;
  bad: string[];
  runs: number;
  /** The effect that did not happen any more. */
  cutBefore: string;
}

class PowerCut extends Error {}

/** The effects of one run: listed, and at the n-th the power goes. */
interface Wire {
  world: Partial<World>;
  effects: string[];
  /** For each effect what the Mac and the backend were before it: the same twice is the same course. */
  states: string[];
  /** Unsynced at each effect. */
  loose: number[];
  frozen(): Frozen | null;
  layer: Volatile;
  isOutputSynced(): boolean;
}

/** Requests that change nothing at the backend that matters here would still be told apart: it is the count of all of them. */
function wired(it: Given, options: VolatileOptions, at: number | RegExp | null, survivors: Survivors, listing: boolean): Wire {
  const wire = { effects: [] as string[], states: [] as string[], loose: [] as number[] };
  let frozen: Frozen | null = null;
  let asked = 0;
  let outputSynced = false;
  const pass = (name: string): void => {
    if (frozen) throw new PowerCut(name);
    wire.effects.push(name);
    if (listing) {
      const { nextPid, ...rest } = it.mac.state;
      wire.states.push(JSON.stringify([layer.state(), asked, rest]));
      wire.loose.push(layer.unsynced().length);
    }
    if (at instanceof RegExp ? !at.test(name) : wire.effects.length - 1 !== at) return;
    frozen = layer.cut(survivors);
    throw new PowerCut(name);
  };
  const layer = volatile(it.mac.root, { now: () => it.mac.now, ...options, before: pass });
  const disk = realDisk(it.mac.root, layer.calls);
  const around = <T>(name: string, act: () => T): T => {
    pass(name);
    return act();
  };
  const runner: Runner = {
    run: (command) =>
      around(`run ${command.program.split('/').at(-1)} ${command.args[0] ?? ''}`, () => {
        // Time does not stand still in a run: an answer comes after what was said at its beginning.
        if (command.args[0] === 'validaterecovery') it.pass(1);
        return it.mac.runner.run(command);
      }),
    async start(command) {
      const program = command.program.split('/').at(-1);
      const started = await around(`start ${program}`, () => it.mac.runner.start(command));
      return { pid: started.pid, ended: (seconds) => around(`${program} ends`, () => started.ended(seconds)) };
    },
  };
  const secrets = eachCall(
    openSecrets(async () => it.mac.keytar('job'), 2),
    (name, call) => around(`keychain.${name}`, call),
  );
  return {
    ...wire,
    layer,
    frozen: () => frozen,
    isOutputSynced: () => outputSynced,
    world: {
      monotonic: () => it.mac.now / 1000,
      disk: {
        ...disk,
        sync(path) {
          disk.sync(path);
          if (path.endsWith('.out')) outputSynced = true;
        },
      },
      runner,
      secrets,
      connect: eachRequest((name, call) =>
        around(`ask ${name}`, () => {
          asked++;
          return call();
        }),
      ),
    },
  };
}

/** One run of the job, which the power may leave. What a dead process would still do to the disk is undone by what survived. */
async function runUntilCut(it: Given, wire: Wire): Promise<Frozen | null> {
  try {
    await it.checkIn(wire.world);
  } catch (cause) {
    if (!(cause instanceof PowerCut)) throw cause;
  }
  return wire.frozen();
}

/** Every effect of the run that comes next, and those before which the power can make a difference. */
export async function listEffects(it: Given, options: VolatileOptions): Promise<{ effects: string[]; points: { at: number; name: string; loose: boolean }[] }> {
  const wire = wired(it, options, null, 'none', true);
  await runUntilCut(it, wire);
  const differs = (at: number): boolean => at === 0 || wire.states[at] !== wire.states[at - 1];
  const points = wire.effects.flatMap((name, at) => (differs(at) ? [{ at, name, loose: (wire.loose[at] ?? 0) > 0 }] : []));
  return { effects: wire.effects, points: [...points, { at: wire.effects.length, name: 'the end of the run', loose: wire.layer.unsynced().length > 0 }] };
}

/** Seconds between the runs after a cut: at the start, when somebody is back at work, and then as the limits for wrong keys let it. */
const waits = [20, 700, 700, 700, 3 * 3600, 12 * 3600, 12 * 3600];
const mostRuns = 20;

export async function listRecovery(scenario: Scenario, first: Omit<Point, 'again'>): Promise<Awaited<ReturnType<typeof listEffects>>['points']> {
  const it = await scenario.prepare();
  await cutAt(it, scenario, first);
  it.pass(waits[0] ?? 0);
  const { points } = await listEffects(it, scenario.disk ?? {});
  closeMacs();
  return points;
}

/** The power goes at this point; the Mac is started again. */
async function cutAt(it: Given, scenario: Scenario, point: Omit<Point, 'again'>): Promise<{ wire: Wire; wasChanged: boolean }> {
  const before = it.mac.recoveryKey;
  const wire = wired(it, scenario.disk ?? {}, point.at, point.survivors, false);
  const frozen = (await runUntilCut(it, wire)) ?? wire.layer.cut(point.survivors);
  const wasChanged = it.mac.recoveryKey !== before;
  it.mac.runner.stop();
  frozen.apply();
  scenario.afterwards?.(it);
  // What mdmclient still meant to write stood in its memory.
  it.mac.change((state) => {
    state.escrowDue = null;
  });
  it.pass(40);
  it.mac.boot();
  return { wire, wasChanged };
}

const cutOf = (wire: Wire): string => (wire.frozen() ? (wire.effects.at(-1) ?? '') : 'the end of the run');

export async function runCourse(scenario: Scenario, point: Point): Promise<Ended> {
  const it = await scenario.prepare();
  try {
    const { wire, wasChanged } = await cutAt(it, scenario, point);
    let cutBefore = cutOf(wire);
    let wasLost = await isLost(it);
    const bad = wasLost && (!wasChanged || wire.isOutputSynced()) ? ['lost outside the one window that there may be'] : [];
    if (point.again) {
      it.pass(waits[0] ?? 0);
      const second = await cutAt(it, scenario, point.again);
      cutBefore += `, then ${cutOf(second.wire)}`;
      const isLostNow = await isLost(it);
      if (isLostNow && !wasLost && (!second.wasChanged || second.wire.isOutputSynced())) bad.push('lost in the run after the first cut');
      wasLost = isLostNow;
    }
    return { ...(await recover(it, wasLost, bad)), wasLost, cutBefore };
  } finally {
    closeMacs();
  }
}

const recoveryItems = (it: Given): string[] =>
  (it.mac.state.keychains[systemKeychain]?.items ?? []).filter((one) => one.account.startsWith('recovery-key:')).map((one) => one.password);

/** Whether the key is nowhere: not with the backend, not on the Mac in plain, and in no envelope for us. */
async function isLost(it: Given): Promise<boolean> {
  const key = it.mac.recoveryKey ?? '';
  // Before its enrolment the backend knows no such Mac.
  const stored = await it.storedKeys().catch((cause: unknown): string[] => {
    if (cause instanceof Problem && cause.code === 'MAC_UNKNOWN') return [];
    throw cause;
  });
  if (recoveryItems(it).includes(key) || stored.includes(key)) return false;
  const outputs = realDisk(it.mac.root);
  for (const name of outputs.list(paths.outputs)) if (outputs.read(`${paths.outputs}/${name}`, 65_536)?.includes(key)) return false;
  return !(await keysOnMac(it)).includes(key);
}

/** What the envelopes on the Mac hold: those of the journal, and macOS's own file. */
async function keysOnMac(it: Given): Promise<string[]> {
  const file = it.mac.escrowFile();
  const bytes = realDisk(it.mac.root).read(paths.journal, 1024 * 1024);
  const journal = bytes?.length ? it.journal() : null;
  const kept = journal ? [journal.current, ...journal.previous, ...journal.outbox].flatMap((one) => (one ? [Buffer.from(one.envelope, 'base64')] : [])) : [];
  const opened = await Promise.all([...kept, ...(file ? [file] : [])].map((one) => it.backend.escrowKeys.open(one)));
  return opened.flatMap((one) => (typeof one === 'object' ? [one.reveal()] : []));
}

async function recover(it: Given, wasLost: boolean, bad: string[]): Promise<Pick<Ended, 'end' | 'bad' | 'runs'>> {
  for (let run = 1; run <= mostRuns; run++) {
    it.pass(waits[run - 1] ?? 13 * 3600);
    await it.checkIn(wired(it, {}, null, 'none', false).world);
    const end = await peaceOf(it);
    // What a settled session is needed for may take a few runs more.
    if (end === null || (leftOvers(it).length > 0 && run < mostRuns)) continue;
    if (end === 'lost' && !wasLost) bad.push('called lost, and it was not');
    return { end, runs: run, bad: [...bad, ...leftOvers(it), ...tooManyWrongKeys(it.mac.state.wrongKeys.times)] };
  }
  const { state, because } = await it.custodyOf();
  bad.push(...tooManyWrongKeys(it.mac.state.wrongKeys.times), `no peace after ${mostRuns} runs: custody ${state} (${because}), ${it.status().lastRun.did}`);
  return { end: 'doubtful', runs: mostRuns, bad };
}

/** Null while there is none. `lost` only where both sides say so, with what a person can do. */
async function peaceOf(it: Given): Promise<'held' | 'lost' | null> {
  const journal = it.journal();
  const open = await it.store.db
    .selectFrom('rotation')
    .select('id')
    .where('mac_id', '=', await it.macId())
    .where('state', '=', 'begun')
    .execute();
  if (journal.rotation || journal.outbox.length > 0 || journal.endings.length > 0 || open.length > 0) return null;
  const { state } = await it.custodyOf();
  if (state === 'held') return (await it.heldKey()) === it.mac.recoveryKey ? 'held' : null;
  const says = it.status().problems.some((one) => one.code === 'KEY_EXHAUSTED') && /sparekey adopt/.test(problems.KEY_EXHAUSTED.fix);
  return state === 'lost' && journal.exhausted && says ? 'lost' : null;
}

function leftOvers(it: Given): string[] {
  const outputs = readdirSync(it.mac.path(paths.outputs));
  // Where no key is known to be valid, none is thrown away.
  const dead = it.journal().exhausted ? [] : recoveryItems(it).filter((key) => key !== it.mac.recoveryKey);
  return [...(outputs.length > 0 ? [`left in the output folder: ${outputs.length}`] : []), ...(dead.length > 0 ? ['a dead key is left in the keychain'] : [])];
}
