// One command of the second door, as a process: command-main.ts ROOT PROGRAM ARGUMENT…
import { existsSync, fstatSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startInBackground } from './background.ts';
import type { Outcome } from './commands/outcome.ts';
import { ask, isSteps } from './commands/table.ts';
import { folderLaunchd, runJob } from './launchd.ts';
import { Machine } from './machine.ts';
import { fakeFolder } from './state-file.ts';

const [root = '', program = '', ...args] = process.argv.slice(2);
const machine = new Machine(resolve(root), {
  door: 'folder',
  clock: Date.now,
  launchd: folderLaunchd(resolve(root)),
  escrowLater: (seconds) => startInBackground(resolve(root), 'mdmclient', String(seconds)),
});

/** What a caller sends; a terminal sends nothing. */
const readInput = (): Buffer => {
  try {
    return fstatSync(0).isCharacterDevice() ? Buffer.alloc(0) : readFileSync(0);
  } catch {
    return Buffer.alloc(0);
  }
};
const wantsInput =
  args.includes('-inputplist') ||
  (args[0] === 'asuser' && args.at(-1) === '-') ||
  (args[0] === 'cms' && !args.includes('-i')) ||
  (program.endsWith('plutil') && args.at(-1) === '-');

const write = (stream: NodeJS.WriteStream, bytes: string | Buffer): Promise<void> =>
  bytes.length ? new Promise((done) => stream.write(bytes, () => done())) : Promise.resolve();

const act = async (): Promise<Outcome> => {
  const found = ask(machine.asked(process.pid), program, args, wantsInput ? readInput() : Buffer.alloc(0));
  if (!isSteps(found)) return found;
  let step = found.next();
  for (; !step.done; step = found.next()) await sleep(Number.isFinite(step.value) ? step.value * 1000 : 2 ** 31 - 1);
  return step.value;
};

if (program === 'mdmclient') {
  await sleep(Number(args[0]) * 1000);
  machine.settle();
} else if (program === 'launchd') {
  await runJob(machine.root, args[0] ?? '', true);
} else {
  machine.settle();
  const outcome = await act();
  if (outcome.instead === 'killed') process.kill(process.pid, 'SIGKILL');
  await write(process.stdout, outcome.stdout);
  await write(process.stderr, outcome.stderr);
  if (!existsSync(join(fakeFolder(machine.root), 'answers'))) machine.mend();
  process.exitCode = outcome.code;
}
