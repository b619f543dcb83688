// The first door: the same commands without processes, for sweeps of thousands of runs.
import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { Command, Ran, Runner, Started } from '../../agent/world.ts';
import type { Outcome, Steps } from './commands/outcome.ts';
import { ask, isSteps, quirkOf } from './commands/table.ts';
import type { Machine } from './machine.ts';

const input = (command: Command): Buffer => (typeof command.input === 'string' ? Buffer.from(command.input) : Buffer.from(command.input ?? []));
const nothing = Buffer.alloc(0);

/** A command that goes on behind its caller's back: what it will do next, and how many seconds until then. */
interface Pending {
  steps: Steps;
  seconds: number;
  done: (outcome: Outcome) => void;
  /** Closes its output files. */
  close: () => void;
}

export class ProcessDoor implements Runner {
  readonly #machine: Machine;
  readonly #pending = new Map<number, Pending>();
  /** Every command line that was asked, in order. */
  readonly lines: string[] = [];

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  #ask(command: Command, pid: number): Outcome | Steps | 'missing' {
    this.#machine.settle();
    this.lines.push([command.program, ...command.args].join(' '));
    if (quirkOf(this.#machine.state.quirks.commands, command.program, command.args) === 'missing') return 'missing';
    return ask(this.#machine.asked(pid), command.program, command.args, input(command));
  }

  #newPid(): number {
    return this.#machine.change((state) => {
      state.nextPid += 1;
      return state.nextPid;
    });
  }

  async run(command: Command): Promise<Ran> {
    const found = this.#ask(command, 0);
    if (found === 'missing') return { code: null, stdout: nothing, stderr: nothing, failed: 'not-found' };
    let outcome: Outcome;
    if (isSteps(found)) {
      // Nobody sleeps here: a command whose pauses are longer than its time limit has simply run out of time.
      let left = command.timeoutSeconds ?? 30;
      let step = found.next();
      for (; !step.done; step = found.next()) {
        left -= step.value;
        if (left < 0) return { code: null, stdout: nothing, stderr: nothing, failed: 'timeout' };
      }
      outcome = step.value;
    } else outcome = found;
    const stdout = Buffer.from(outcome.stdout);
    const stderr = Buffer.from(outcome.stderr);
    if (outcome.instead === 'killed') return { code: null, stdout: nothing, stderr: nothing, failed: 'signal' };
    const limit = command.outputLimit ?? 1024 * 1024;
    if (stdout.length > limit || stderr.length > limit)
      return { code: null, stdout: stdout.subarray(0, limit), stderr: stderr.subarray(0, limit), failed: 'too-much-output' };
    return { code: outcome.code, stdout, stderr };
  }

  async start(command: Command & { stdoutFile: string; stderrFile: string }): Promise<Started> {
    const { root } = this.#machine;
    const opened = [command.stdoutFile, command.stderrFile].map((path) =>
      openSync(path === '/dev/null' ? path : join(root, path), constants.O_WRONLY | constants.O_APPEND | constants.O_NOFOLLOW),
    );
    const pid = this.#newPid();
    const found = this.#ask(command, pid);
    let ended: { code: number | null } | null = null;
    const close = (): void => {
      for (const file of opened) closeSync(file);
    };
    const done = (outcome: Outcome): void => {
      this.#pending.delete(pid);
      const [out = 1, err = 2] = opened;
      if (outcome.stdout.length) writeSync(out, Buffer.from(outcome.stdout));
      if (outcome.stderr.length) writeSync(err, Buffer.from(outcome.stderr));
      close();
      ended = { code: outcome.instead === 'killed' ? null : outcome.code };
    };
    if (found === 'missing') {
      close();
      throw Object.assign(new Error(`${command.program} is not there`), { code: 'ENOENT' });
    }
    if (isSteps(found)) {
      this.#pending.set(pid, { steps: found, seconds: 0, done, close });
      this.#goOn(pid, 0);
    } else done(found);
    return {
      pid,
      ended: async (seconds) => {
        if (!ended) this.#goOn(pid, seconds);
        return ended ?? 'still-running';
      },
    };
  }

  #goOn(pid: number, seconds: number): void {
    const pending = this.#pending.get(pid);
    if (!pending) return;
    let left = seconds;
    while (pending.seconds <= left) {
      left -= pending.seconds;
      const step = pending.steps.next();
      if (step.done) {
        pending.done(step.value);
        return;
      }
      pending.seconds = step.value;
    }
    pending.seconds -= left;
  }

  /** Time passes for the commands that still run. */
  pass(seconds: number): void {
    for (const pid of [...this.#pending.keys()]) this.#goOn(pid, seconds);
  }

  /** The Mac stops: nothing that runs comes to its end. */
  stop(): void {
    for (const { close } of this.#pending.values()) close();
    this.#pending.clear();
  }
}
