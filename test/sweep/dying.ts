import * as fs from 'node:fs';
import type { World } from '../../agent/check-in.ts';
import { realDisk, type SystemCalls } from '../../agent/disk.ts';
import { type Keychain, openSecrets } from '../../agent/secrets.ts';
import type { Runner } from '../../agent/world.ts';
import { eachRequest, Killed } from '../killing.ts';

/*
 * A run of the agent that dies at one of its effects, each call to the file system by itself: create, write, fsync, rename,
 * unlink, mkdir, chmod; each command, each call to the keychain, each request. Once dead, whatever the process would still
 * do fails, reading included, so that no catch goes on. What it started in a session of its own (fdesetup) goes on.
 */

export interface Effect {
  name: string;
  /** Whether anything that outlives the agent is another than before. Reading, and a flush, matter to no kill. */
  changes: boolean;
}

/** Before the effect of this number, or after it. */
export interface Point {
  at: number;
  when: 'before' | 'after';
}

/** `12b`: before the twelfth effect; `12a`: after it. */
export const pointText = ({ at, when }: Point): string => `${at}${when === 'before' ? 'b' : 'a'}`;

export function readPoint(text: string): Point | null {
  const [, at, when] = /^(\d{1,5})([ab])$/.exec(text) ?? [];
  return at === undefined ? null : { at: Number(at), when: when === 'b' ? 'before' : 'after' };
}

export interface Dying {
  world: Partial<World>;
  effects: Effect[];
  dead(): boolean;
}

/** Ids are different in each course; the name of an effect is not. */
const nameOf = (path: string, root: string): string => path.replace(root, '').replace(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/gi, 'ID');

/** Null: nobody dies, and the effects are only listed. */
export function dying(root: string, mac: { runner: Runner; keychain: Keychain }, point: Point | null): Dying {
  const effects: Effect[] = [];
  let dead = false;
  const die = (name: string): never => {
    dead = true;
    throw new Killed(name);
  };
  const refuseIfDead = (name: string): void => {
    if (dead) throw new Killed(name);
  };
  /** `changes` may look at what came of it. */
  const around = <T>(name: string, changes: boolean | ((result: T) => boolean), act: () => T): T => {
    refuseIfDead(name);
    const effect: Effect = { name, changes: changes !== false };
    const at = effects.push(effect) - 1;
    const here = point?.at === at ? point.when : null;
    if (here === 'before') return die(`before ${name}`);
    let result: T;
    try {
      result = act();
    } catch (cause) {
      // It failed, so nothing is changed: there was no such file, or one already.
      effect.changes = false;
      if (here === 'after') return die(`after ${name}`);
      throw cause;
    }
    if (typeof changes === 'function') effect.changes = changes(result);
    if (here !== 'after') return result;
    if (!(result instanceof Promise)) return die(`after ${name}`);
    return result.then(
      () => die(`after ${name}`),
      () => die(`after ${name}`),
    ) as T;
  };
  return {
    effects,
    dead: () => dead,
    world: {
      disk: realDisk(root, dyingCalls(root, around, refuseIfDead)),
      runner: dyingRunner(mac.runner, around),
      secrets: openSecrets(async () => dyingKeychain(mac.keychain, around), 2),
      connect: eachRequest((name, call) => around(`ask ${name}`, true, call)),
    },
  };
}

type Around = <T>(name: string, changes: boolean | ((result: T) => boolean), act: () => T) => T;

function dyingCalls(root: string, around: Around, refuseIfDead: (name: string) => void): SystemCalls {
  const named = (call: string, path: unknown): string => `${call} ${nameOf(String(path), root)}`;
  const paths = new Map<number, string>();
  const nameOfFile = (fd: number): string => paths.get(fd) ?? '';
  const reading = <A extends unknown[], T>(name: string, call: (...args: A) => T) =>
    ((...args: A): T => {
      refuseIfDead(name);
      return call(...args);
    }) as never;
  return {
    fstatSync: reading('fstatSync', fs.fstatSync),
    lstatSync: reading('lstatSync', fs.lstatSync),
    readdirSync: reading('readdirSync', fs.readdirSync),
    readSync: reading('readSync', fs.readSync),
    statfsSync: reading('statfsSync', fs.statfsSync),
    openSync: ((path: string, flags: number, mode?: number) => {
      const creates = (flags & fs.constants.O_CREAT) !== 0;
      refuseIfDead('open');
      const open = (): number => {
        const fd = fs.openSync(path, flags, mode);
        paths.set(fd, path);
        return fd;
      };
      return creates ? around(named('create', path), true, open) : open();
    }) as typeof fs.openSync,
    // The system closes the files of a dead process.
    closeSync: fs.closeSync,
    chmodSync: (path, mode) => around(named('chmod', path), true, () => fs.chmodSync(path, mode)),
    // Made with that mode already, unless the umask took some of it away.
    fchmodSync: (fd, mode) => around(named('fchmod', nameOfFile(fd)), false, () => fs.fchmodSync(fd, mode)),
    // A kill takes nothing away that was written, flushed or not: that is the power cut's.
    fsyncSync: (fd) => around(named('fsync', nameOfFile(fd)), false, () => undefined),
    mkdirSync: ((path: string, options: fs.MakeDirectoryOptions) =>
      around(
        named('mkdir', path),
        (made) => !options.recursive || made !== undefined,
        () => fs.mkdirSync(path, options),
      )) as typeof fs.mkdirSync,
    renameSync: (from, to) => around(named('rename', to), true, () => fs.renameSync(from, to)),
    unlinkSync: (path) => around(named('unlink', path), true, () => fs.unlinkSync(path)),
    writeSync: ((fd: number, ...rest: unknown[]) =>
      around(named('write', nameOfFile(fd)), true, () => (fs.writeSync as (...all: unknown[]) => number)(fd, ...rest))) as typeof fs.writeSync,
  };
}

/** Of the commands only the change of the key changes anything that a kill could leave half done. */
function dyingRunner(runner: Runner, around: Around): Runner {
  const program = (path: string): string => path.split('/').at(-1) ?? path;
  return {
    run: (command) => around(`run ${program(command.program)} ${command.args[0] ?? ''}`, false, () => runner.run(command)),
    async start(command) {
      const name = program(command.program);
      const changes = name === 'fdesetup';
      const started = await around(`start ${name}`, changes, () => runner.start(command));
      return { pid: started.pid, ended: (seconds) => around(`${name} ended`, changes, () => started.ended(seconds)) };
    },
  };
}

const dyingKeychain = (keychain: Keychain, around: Around): Keychain => ({
  getPassword: (...args) => around('keychain read', false, () => keychain.getPassword(...args)),
  findCredentials: (...args) => around('keychain list', false, () => keychain.findCredentials(...args)),
  setPassword: (...args) => around('keychain write', true, () => keychain.setPassword(...args)),
  deletePassword: (...args) => around('keychain delete', true, () => keychain.deletePassword(...args)),
});
