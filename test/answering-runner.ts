import type { Command, Ran, Runner, Started } from '../agent/world.ts';

export type Answer = { code?: number | null; out?: string | Uint8Array; err?: string; failed?: NonNullable<Ran['failed']> };

export const ran = ({ code = 0, out = '', err = '', failed }: Answer): Ran => ({
  code: failed ? null : code,
  stdout: Buffer.from(out),
  stderr: Buffer.from(err),
  ...(failed ? { failed } : {}),
});

/** A Mac that answers with recorded words: the longest beginning of the command line that is named wins; anything else is not there. */
export function answering(answers: Record<string, Answer | ((command: Command) => Answer)>): Runner & { asked: Command[] } {
  const asked: Command[] = [];
  return {
    asked,
    async run(command) {
      asked.push(command);
      const line = [command.program, ...command.args].join(' ');
      const [name] = Object.keys(answers)
        .filter((each) => line.startsWith(each))
        .sort((one, other) => other.length - one.length);
      const answer = name === undefined ? undefined : answers[name];
      if (answer === undefined) return ran({ failed: 'not-found' });
      return ran(typeof answer === 'function' ? answer(command) : answer);
    },
    async start(command): Promise<Started> {
      asked.push(command);
      return { pid: 4711, ended: async () => ({ code: 0 }) };
    },
  };
}
