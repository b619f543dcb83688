import { connect } from '../agent/backend.ts';
import type { World } from '../agent/check-in.ts';
import { realDisk } from '../agent/disk.ts';
import type { Disk, Runner, Secrets } from '../agent/world.ts';

/*
 * The agent's death at one of its effects: before it, or after it. Once dead, everything that the process would still do
 * fails, so that no catch can go on. What it had started in a session of its own (fdesetup) goes on without it.
 */

export class Killed extends Error {
  constructor(at: string) {
    super(`killed ${at}`);
    this.name = 'Killed';
  }
}

export interface Killing {
  world: Partial<World>;
  /** Every effect of the run, in order, by name. */
  effects: string[];
  dead: () => boolean;
}

type Point = { effect: number; when: 'before' | 'after' } | { name: RegExp; when: 'before' | 'after'; nth?: number };

/** Each call of it goes through `around`, by name. */
export const eachCall = <T extends object>(it: T, around: (name: string, call: () => unknown) => unknown): T =>
  new Proxy(it, {
    get:
      (target, key) =>
      (...args: unknown[]) =>
        around(String(key), () => (target[key as keyof T] as (...all: unknown[]) => unknown)(...args)),
  });

/** The real backend; each request to it goes through `around`, by name. */
export const eachRequest =
  (around: (name: string, call: () => unknown) => unknown): World['connect'] =>
  async (world, parts) => {
    const backend = await connect(world, parts);
    return { ...backend, ask: eachCall(backend.ask, around) };
  };

/** Null: nothing is killed, and the effects are only listed. */
export function killing(root: string, base: { runner: Runner; secrets: Secrets }, point: Point | null): Killing {
  const effects: string[] = [];
  let dead = false;
  let matched = 0;
  const die = (name: string): never => {
    dead = true;
    throw new Killed(name);
  };
  /** True where this effect is the one. */
  const isIt = (name: string): boolean => {
    if (point === null) return false;
    if ('effect' in point) return effects.length - 1 === point.effect;
    if (!point.name.test(name)) return false;
    matched++;
    return matched === (point.nth ?? 1);
  };
  const around = <T>(name: string, act: () => T): T => {
    if (dead) throw new Killed(name);
    effects.push(name);
    const it = isIt(name);
    if (it && point?.when === 'before') return die(`before ${name}`);
    const result = act();
    if (!it) return result;
    if (result instanceof Promise) return result.then(() => die(`after ${name}`)) as T;
    return die(`after ${name}`);
  };
  const disk = realDisk(root);
  const reading = new Set(['read', 'facts', 'list', 'freeBytes']);
  const killDisk = new Proxy(disk, {
    get:
      (target, key: keyof Disk) =>
      (...args: unknown[]) => {
        const call = () => (target[key] as (...all: unknown[]) => unknown)(...args);
        if (reading.has(key)) return dead ? die(key) : call();
        return around(`disk.${key} ${String(args.at(key === 'rename' ? 1 : 0))}`, call);
      },
  });
  const runner: Runner = {
    run: (command) => around(`run ${command.program.split('/').at(-1)} ${command.args[0] ?? ''}`, () => base.runner.run(command)),
    async start(command) {
      const program = command.program.split('/').at(-1);
      const started = await around(`start ${program}`, () => base.runner.start(command));
      return { pid: started.pid, ended: (seconds) => around(`${program} ended`, () => started.ended(seconds)) };
    },
  };
  return {
    effects,
    dead: () => dead,
    world: {
      disk: killDisk,
      runner,
      secrets: eachCall(base.secrets, (name, call) => around(`keychain.${name}`, call)),
      connect: eachRequest((name, call) => around(`ask ${name}`, call)),
    },
  };
}
