import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { paths } from '../../agent/paths.ts';
import type { FakeMac } from '../fake-mac/fake-mac.ts';
import { systemKeychain } from '../fake-mac/state.ts';
import { tooManyWrongKeys } from '../fake-mac/wrong-keys.ts';
import { Killed } from '../killing.ts';
import { closeMacs } from '../together.ts';
import { type Dying, dying, type Effect, type Point, pointText } from './dying.ts';
import type { Given, Prepared, Scenario } from './scenarios.ts';

/*
 * One course: a Mac that owes a key, a run that dies, another one that dies too where the course says so, and runs until
 * nothing is open any more. Then both sides are asked: which key opens the disk, who has it, what is left over.
 */

export interface Course {
  points: readonly Point[];
  /** The effects of each run that was to die, and whether it did. */
  runs: { effects: Effect[]; died: boolean }[];
  /** The effects of the first run after the last death: where a second one can come. */
  recovery: Effect[];
  verdict: 'well' | 'lost' | 'doubtful' | 'bad';
  why: string[];
  /** Runs after the last death until custody was `held` and nothing open. */
  recovered: number;
  /** What each run said that it did. */
  told: string[];
}

/** What a fault is planted with: the world of the run, dying or not. */
export type Fault = (world: NonNullable<Parameters<Given['checkIn']>[0]>, it: Given) => NonNullable<Parameters<Given['checkIn']>[0]>;

/** With the waits of a scenario, about a day. */
const mostRuns = 14;
/** No process has this number: Linux ends at 2^22, macOS at 99998. */
const nobody = 2 ** 22 + 4711;
const day = 24 * 3600;

export async function runCourse(scenario: Scenario, points: readonly Point[], fault: Fault | null = null): Promise<Course> {
  const course: Course = { points, runs: [], recovery: [], verdict: 'well', why: [], recovered: 0, told: [] };
  try {
    const prepared = await scenario.prepare();
    const { it } = prepared;
    const wait = (run: number): void => it.pass(scenario.waits[Math.min(run, scenario.waits.length - 1)] ?? 0);
    const tell = (): void => void course.told.push(wordsOf(it));
    for (const [number, point] of (points.length === 0 ? [null] : points).entries()) {
      if (number > 0) {
        wait(number - 1);
        scenario.again?.(it);
      }
      const run = await runAndDie(it, point, fault);
      course.runs.push({ effects: run.effects, died: run.dead() });
      tell();
    }
    const survived = course.runs.at(-1)?.died === false;
    for (let run = 0; run < mostRuns; run++) {
      if ((run > 0 || survived) && (await isOver(it)) && leftOver(it.mac, scenario.keepsKey).length === 0) break;
      wait(run + points.length - 1);
      scenario.again?.(it);
      const { effects } = await runAndDie(it, null, fault);
      if (run === 0) course.recovery = effects;
      tell();
      course.recovered = run + 1;
    }
    await judge(course, scenario, prepared, fault);
  } finally {
    closeMacs();
  }
  return course;
}

async function runAndDie(it: Given, point: Point | null, fault: Fault | null): Promise<Dying> {
  const run = dying(it.mac.root, { runner: it.mac.runner, keychain: it.mac.keytar('job') }, point);
  try {
    await it.checkIn(fault ? fault(run.world, it) : run.world);
  } catch (cause) {
    if (!(cause instanceof Killed)) throw cause;
  }
  // The lock is taken with the system's own calls, and given back by a `finally` that a dead process has not.
  if (run.dead() && existsSync(it.mac.path(paths.state)))
    writeFileSync(it.mac.path(paths.lock), JSON.stringify({ pid: nobody, boot: it.mac.state.boot.session.toUpperCase() }), { mode: 0o600 });
  return run;
}

function wordsOf(it: Given): string {
  try {
    const { rotation, outbox } = it.journal();
    const { lastRun, problems } = it.status();
    return `${lastRun.did} (${rotation ? `rotation ${rotation.state}` : 'no rotation'}, ${outbox.length} to deliver${problems.map(({ code }) => `, ${code}`).join('')})`;
  } catch {
    return 'no journal or no status yet';
  }
}

/** Both sides have come to rest: nothing open, nothing to tell, and custody is `held`. */
async function isOver(it: Given): Promise<boolean> {
  if (!existsSync(it.mac.path(paths.journal))) return false;
  const { rotation, outbox, proofs, endings, notKnown } = it.journal();
  if (rotation || notKnown || outbox.length > 0 || proofs.length > 0 || endings.length > 0) return false;
  return (await custodyOf(it)) === 'held';
}

const custodyOf = async (it: Given): Promise<string> => (await it.custodyOf().catch(() => ({ state: 'not enrolled' }))).state;

async function judge(course: Course, scenario: Scenario, { it, before, owes }: Prepared, fault: Fault | null): Promise<void> {
  const stored = await it.storedKeys().catch((): string[] => []);
  if (!stored.includes(it.mac.recoveryKey ?? '')) {
    course.verdict = 'lost';
    course.why.push(`none of the ${stored.length} stored keys opens the disk; custody is ${await custodyOf(it)}`);
    return;
  }
  if (!(await isOver(it))) {
    course.verdict = 'doubtful';
    course.why.push(`after ${course.recovered} runs custody is ${await custodyOf(it)}: ${JSON.stringify(await it.custodyOf().catch(() => null))}`);
    return;
  }
  course.why.push(...(await disagreements(it)), ...leftOver(it.mac, scenario.keepsKey));
  if (owes) course.why.push(...(await debtIsTrue(it, before, fault)));
  course.why.push(...(await disagreements(it)), ...leftOver(it.mac, scenario.keepsKey), ...tooManyWrongKeys(it.mac.state.wrongKeys.times));
  course.why = [...new Set(course.why)];
  if (course.why.length > 0) course.verdict = 'bad';
}

/** What the two sides say of the key, compared with the disk. */
async function disagreements(it: Given): Promise<string[]> {
  const { current } = it.journal();
  const held = await it.store.db
    .selectFrom('envelope')
    .innerJoin('key_record', 'key_record.id', 'envelope.record_id')
    .select('envelope.id')
    .where('key_record.mac_id', '=', await it.macId())
    .where('key_record.state', '=', 'held')
    .execute();
  return [
    ...((await it.heldKey()) === it.mac.recoveryKey ? [] : ['the held key does not open the disk']),
    ...(current && held.some(({ id }) => id === current.envelopeId) ? [] : ['the journal’s current key is not the one that is held']),
    ...(current?.held ? [] : ['the journal does not know that its current key is held']),
    ...((await custodyOf(it)) === 'held' ? [] : [`custody became ${await custodyOf(it)}`]),
    ...it.mac.state.leaks,
  ];
}

async function openDebts(it: Given): Promise<{ because: string; record_id: string | null; state: string | null }[]> {
  return it.store.db
    .selectFrom('debt')
    .leftJoin('key_record', 'key_record.id', 'debt.record_id')
    .select(['debt.because', 'debt.record_id', 'key_record.state'])
    .where('debt.mac_id', '=', await it.macId())
    .where('debt.closed_at', 'is', null)
    .execute();
}

/** What is owed still is owed for the key that opens the disk, and is paid within two days. */
async function debtIsTrue(it: Given, before: string | null, fault: Fault | null): Promise<string[]> {
  const wrong: string[] = [];
  const open = await openDebts(it);
  for (const debt of open.filter((one) => one.state !== null && one.state !== 'held')) wrong.push(`${debt.because} is owed for a key that is ${debt.state}`);
  if (open.length === 0 && it.mac.recoveryKey === before) wrong.push('nothing is owed any more, and the key was never replaced');
  // A grant a day: what was interrupted today is paid tomorrow.
  for (const seconds of [day + 3600, 900, day, 900]) {
    if ((await openDebts(it)).length === 0) break;
    it.pass(seconds);
    await it.checkIn(fault ? fault({}, it) : {});
  }
  for (const debt of await openDebts(it)) wrong.push(`${debt.because} is still owed two days later: ${wordsOf(it)}`);
  if (it.mac.recoveryKey === before) wrong.push('the key was never replaced');
  return wrong;
}

/** What a Mac at rest has none of: temp files, outputs, requests, keys in the keychain that open nothing. */
export function leftOver(mac: FakeMac, keepsKey: boolean): string[] {
  const files = [paths.state, paths.public, '/var/run', '/var/db']
    .flatMap((folder) => (existsSync(mac.path(folder)) ? readdirSync(mac.path(folder)).map((name) => `${folder}/${name}`) : []))
    .filter((path) => /\.new$|\.request$|\/lock/.test(basename(path)) || path === paths.lock);
  const inside = [paths.outputs, paths.queue, paths.taken, paths.failed].flatMap((folder) => readdirSync(mac.path(folder)).map((name) => `${folder}/${name}`));
  const results = readdirSync(mac.path(paths.results)).filter((name) => name.startsWith('.'));
  const items = (mac.state.keychains[systemKeychain]?.items ?? []).filter((one) => one.service === 'io.sparekey.agent');
  const identities = items.filter((one) => one.account.startsWith('identity:'));
  const keys = items.filter((one) => one.account.startsWith('recovery-key:'));
  const others = items.filter((one) => !identities.includes(one) && !keys.includes(one));
  const dead = keys.filter((one) => !keepsKey || one.password !== mac.recoveryKey);
  return [
    ...[...files, ...inside, ...results].map((path) => `left over: ${path}`),
    ...(identities.length === 1 ? [] : [`${identities.length} identities in the keychain`]),
    ...(keys.length <= 1 ? [] : [`${keys.length} recovery keys in the keychain`]),
    ...dead.map((one) => `left over in the keychain: ${one.account.split(':')[0]}`),
    ...others.map((one) => `left over in the keychain: ${one.account.split(':')[0]}`),
  ];
}

/** The course in words, and how to repeat it. */
export function describeCourse(scenario: Scenario, course: Course): string {
  const at = course.points
    .map((point, number) => {
      const run = course.runs[number];
      return `${point.when} ${run?.effects[point.at]?.name ?? 'an effect that never came'}${run?.died === false ? ' (not reached)' : ''}`;
    })
    .join(', then ');
  const repeat = `npm run sweep -- --only '${scenario.name}'${course.points.length > 0 ? ` --point ${course.points.map(pointText).join('+')}` : ''}`;
  return `${scenario.name}, killed ${at || 'nowhere'}: ${course.verdict}: ${course.why.join('; ') || 'all is well'} (${repeat})`;
}
