import { isAbsolute, resolve } from 'node:path';
import type { ReadStream } from 'node:tty';
import { Command, CommanderError, InvalidArgumentError } from 'commander';
import { Problem } from '../protocol/problems.ts';
import { RecoveryKey } from '../protocol/recovery-key.ts';
import type { Asking } from './ask-the-job.ts';
import type { PasswordVisits } from './give-password.ts';
import type { Result } from './requests.ts';
import type { Disk, Runner } from './world.ts';

/*
 * The commands for people. Results go to stdout, progress and errors to stderr, each of their lines beginning with
 * `sparekey:`. No command acts by itself: what changes anything is done by the job.
 */

export interface Terminal {
  version: string;
  out(text: string): void;
  err(text: string): void;
  /** Whether stdout may have colours; they never say anything alone. */
  colour: boolean;
  /** From this call on, Ctrl-C aborts the signal and does not end the process. */
  interrupted(): AbortSignal;
  /** stdin, for the one command that asks for something. */
  input(): ReadStream;
}

interface Options {
  root: string;
  quiet?: true;
  json?: true;
  reason?: string;
  timeout?: number;
  user?: string;
  passwordStdin?: true;
  bundle?: string;
}

/** As a shell reports a program that was ended by Ctrl-C. */
const interruptedExit = 130;
const mostReason = 256;
/** A run that only looks takes seconds; one that is under way already may take longer, and then what was seen before has to do. */
const lookSeconds = 60;

const examples = `
Examples:
  sparekey status                                    is the recovery key of this Mac in safe keeping?
  sparekey status --json                             the same for a program
  sudo sparekey check-in                             ask the backend now, and do what is due
  sudo sparekey rotate --reason "shown by phone"     have the recovery key replaced
  sudo sparekey adopt                                nobody has the key of this Mac: make one, by a password
  sudo sparekey doctor                               what stands in the way, and who can mend it

Exit status: 0 done, 64 not understood, 69 backend, 70 a mistake of ours, 75 later, 77 needs a person, 78 settings.
`;

const doctorHelp = `
Without sudo it looks as far as it may, and says what it did not see.
Exit status: 0 nothing fails, 77 somebody has to do something. Warnings, and what could not be checked, do not count.
`;

/** Resolves with the exit status. Whatever fails is thrown as a `Problem`. */
export async function runCommandLine(args: readonly string[], terminal: Terminal): Promise<number> {
  let exit = 0;
  const program = new Command('sparekey')
    .description("Keeps this Mac's FileVault recovery key in your organisation's keeping, and has it replaced when it was shown or used.")
    .option('--root <folder>', 'take this folder for the root of the Mac', readRoot, '/')
    .option('--quiet', 'only the answer: no progress, no reasons')
    .helpOption('--help', 'show this help')
    .helpCommand(false)
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({ writeOut: terminal.out, writeErr: () => {} })
    .exitOverride()
    .addHelpText('after', examples);
  const add = (name: string, description: string, act: (options: Options) => Promise<number>): Command =>
    program
      .command(name)
      .description(description)
      .helpOption('--help', 'show this help')
      .configureOutput({ writeOut: terminal.out, writeErr: () => {} })
      .exitOverride()
      .action(async (_options, command: Command) => {
        exit = await act(command.optsWithGlobals<Options>());
      });
  add('check-in', 'ask the backend now, and do what is due', (options) => askAndPrint(options, terminal, 'check-in'))
    .option('--json', 'print the result as JSON')
    .option('--timeout <seconds>', 'wait so long for the job (default: 900)', readSeconds);
  add('status', 'say how FileVault and the recovery key of this Mac stand; needs no sudo', (options) => printStatus(options, terminal)).option(
    '--json',
    'print it as JSON',
  );
  add('rotate', 'have the recovery key replaced, as soon as that is safe', (options) => askAndPrint(options, terminal, 'rotate'))
    .option('--reason <text>', 'why; it goes into the log and the audit', readReason)
    .option('--json', 'print the result as JSON')
    .option('--timeout <seconds>', 'wait so long for the job (default: 900)', readSeconds);
  add('adopt', 'have a new recovery key made by the password of a FileVault user, where nobody has the key', (options) =>
    askAndPrint(options, terminal, 'adopt'),
  )
    .option('--user <name>', 'whose password it is to be (default: the user at the screen)', readUser)
    .option('--password-stdin', 'read the password from stdin, one line for each try')
    .option('--json', 'print the result as JSON')
    .option('--timeout <seconds>', 'wait so long for the job (default: 900)', readSeconds);
  add('doctor', 'look for what stands in the way, and say who can mend it', (options) => printDoctor(options, terminal))
    .option('--json', 'print it as JSON')
    .option('--bundle <file>', 'write what support needs into a new file, without secrets')
    .option('--timeout <seconds>', 'wait so long for what only the job can tell (default: 60)', readSeconds)
    .addHelpText('after', doctorHelp);
  add('version', 'print the version', async () => {
    terminal.out(`${terminal.version}\n`);
    return 0;
  });
  try {
    if (args.length === 0) throw new Problem('USAGE', 'there is no command');
    await program.parseAsync([...args], { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return 0;
    throw new Problem('USAGE', error.message.replace(/^error: /, '').replace(/\s*\n\s*/g, ' '));
  }
  return exit;
}

function readRoot(text: string): string {
  if (text === '' || text.includes('\0')) throw new InvalidArgumentError('It must be a folder.');
  return isAbsolute(text) ? resolve(text) : resolve(process.cwd(), text);
}

function readSeconds(text: string): number {
  const seconds = Number(text);
  if (!/^\d{1,5}$/.test(text) || seconds < 1) throw new InvalidArgumentError('It must be a whole number of seconds from 1 to 99999.');
  return seconds;
}

function readUser(text: string): string {
  if (!/^[^\s/\-:\0][^/:\0\r\n]{0,254}$/.test(text)) throw new InvalidArgumentError('It must be the short name of a user.');
  return text;
}

function readReason(text: string): string {
  const line = text.replace(/[\s\p{Cc}]+/gu, ' ').trim();
  if (RecoveryKey.findIn(line.toUpperCase())) throw new InvalidArgumentError('A recovery key must not be in it.');
  if (line === '' || line.length > mostReason) throw new InvalidArgumentError(`It must be a text of 1 to ${mostReason} characters.`);
  return line;
}

async function openMac(root: string): Promise<{ disk: Disk; runner: Runner }> {
  const [{ realDisk }, { realRunner }] = await Promise.all([import('./disk.ts'), import('./mac/run.ts')]);
  const disk = realDisk(root);
  if (!disk.facts('/')) throw new Problem('USAGE', `there is no folder ${root}`);
  return { disk, runner: realRunner(root) };
}

const asJson = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;

async function printStatus({ root, json, quiet }: Options, terminal: Terminal): Promise<number> {
  const [{ disk, runner }, { readFileVault }, { readStatus }, { reportStatus, statusInWords }] = await Promise.all([
    openMac(root),
    import('./mac/fdesetup.ts'),
    import('./status.ts'),
    import('./report.ts'),
  ]);
  const now = Date.now();
  const report = reportStatus(await readFileVault(runner), readStatus(disk), now);
  terminal.out(json ? asJson(report) : statusInWords(report, { now, colour: terminal.colour, quiet: quiet === true }));
  return report.known ? 0 : 75;
}

async function printDoctor({ root, json, quiet, timeout, bundle }: Options, terminal: Terminal): Promise<number> {
  const [{ disk, runner }, { gatherValues }, { doctorExit, examine }, { lookThroughTheJob, mayAsk }] = await Promise.all([
    openMac(root),
    import('./doctor-values.ts'),
    import('./doctor.ts'),
    import('./ask-the-job.ts'),
  ]);
  if (!quiet && !json) terminal.err('sparekey: looking\n');
  const asRoot = mayAsk(root, disk);
  const seconds = timeout ?? lookSeconds;
  const notLooked = asRoot
    ? await lookThroughTheJob(
        askingOf({ root, disk, runner }, terminal, () => {}),
        seconds,
      )
    : 'to ask the job needs sudo';
  const values = await gatherValues({ root, disk, runner, asRoot, now: Date.now(), version: terminal.version, notLooked });
  const found = examine(values);
  if (bundle !== undefined) {
    const { makeBundle, writeBundle } = await import('./doctor-bundle.ts');
    writeBundle(bundle, await makeBundle({ values, found, disk, runner, asRoot }));
    if (!quiet && !json) terminal.err(`sparekey: written to ${bundle}; look at it before you send it\n`);
  }
  const { doctorInWords } = await import('./report.ts');
  terminal.out(json ? asJson(found) : doctorInWords(found, { colour: terminal.colour, quiet: quiet === true }));
  return doctorExit(found);
}

const askingOf = (mac: Pick<Asking, 'root' | 'disk' | 'runner'>, terminal: Terminal, progress: Asking['progress']): Asking => ({
  ...mac,
  monotonic: () => performance.now(),
  wait: (milliseconds) => new Promise((done) => setTimeout(done, milliseconds)),
  interrupted: terminal.interrupted(),
  progress,
});

async function askAndPrint(options: Options, terminal: Terminal, kind: 'check-in' | 'rotate' | 'adopt'): Promise<number> {
  const [{ disk, runner }, { askTheJob, defaultTimeoutSeconds }, { sayError, sayResult }] = await Promise.all([
    openMac(options.root),
    import('./ask-the-job.ts'),
    import('./report.ts'),
  ]);
  let visits: PasswordVisits | null = null;
  const progress = (says: string) => {
    if (!options.quiet && !visits?.busy()) terminal.err(`sparekey: ${says}\n`);
  };
  let result: Result | 'left';
  try {
    if (kind === 'adopt') {
      const { checkInput, passwordVisits } = await import('./give-password.ts');
      const giver = { root: options.root, disk, input: terminal.input(), err: terminal.err, fromStdin: options.passwordStdin === true };
      checkInput(giver);
      visits = passwordVisits(giver);
    }
    result = await askTheJob(
      { ...askingOf({ root: options.root, disk, runner }, terminal, progress), ...(visits ? { meanwhile: visits.look } : {}) },
      { kind, reason: kind === 'rotate' ? (options.reason ?? 'asked on this Mac') : null, ...(options.user === undefined ? {} : { user: options.user }) },
      options.timeout ?? defaultTimeoutSeconds,
    );
  } catch (error) {
    // A program that reads stdout finds the failure there in the same form as the job's own answers.
    if (options.json) terminal.out(asJson(sayError(error).facts));
    throw error;
  } finally {
    visits?.end();
  }
  if (result === 'left') {
    terminal.err('sparekey: not waiting any longer; the request stays in the queue, and the job goes on with it: look with `sparekey status`\n');
    return interruptedExit;
  }
  const { exit, says, fix, code } = result;
  if (options.json) terminal.out(asJson({ exit, says, fix, code }));
  else if (exit === 0) terminal.out(`${says}\n`);
  if (exit !== 0) terminal.err(sayResult(result));
  return exit;
}
