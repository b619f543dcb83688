#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { label, paths } from './paths.ts';

/*
 * The command `sparekey`, and the job that launchd runs. launchd wakes it often and mostly for nothing, so whatever a wake-up
 * does not need is loaded later: first the version, then the job's question whether there is anything to do, then the rest.
 */

/** Put in by the bundler; from the sources the version is read where npm has it. */
declare const SPAREKEY_VERSION: string | undefined;
/** In the bundle: where what it compiles is kept for the next run; null for nowhere. See `scripts/bundle.ts`. */
declare let sparekeyCompiled: string | null;

const oldestNode = 26;

function readVersion(): string {
  if (typeof SPAREKEY_VERSION === 'string') return SPAREKEY_VERSION;
  return (JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }).version;
}

/** The root folder where these arguments are the job's, which launchd alone starts; null where they are a person's. */
function rootOfJob(args: readonly string[]): string | null {
  if (process.env['XPC_SERVICE_NAME'] !== label) return null;
  const at = args.indexOf('--root');
  const root = at < 0 ? '/' : args[at + 1];
  const others = at < 0 ? args : args.toSpliced(at, 2);
  return root !== undefined && others.length === 1 && others[0] === 'check-in' ? root : null;
}

async function main(args: readonly string[]): Promise<number> {
  const version = readVersion();
  if (args.length === 1 && (args[0] === 'version' || args[0] === '--version')) {
    mayCloseEarly();
    process.stdout.write(`${version}\n`);
    return 0;
  }
  const root = rootOfJob(args);
  if (root !== null) {
    const { nothingToDo } = await import('./quiet.ts');
    if (nothingToDo(root, version)) return 0;
    if (typeof sparekeyCompiled !== 'undefined') sparekeyCompiled = join(root, paths.compiled);
  }
  mayCloseEarly();
  try {
    if (Number(process.versions.node.split('.')[0]) < oldestNode) {
      const { Problem } = await import('../protocol/problems.ts');
      throw new Problem('NEEDS_NEWER_NODE', `${process.version} at ${process.execPath}`);
    }
    if (root !== null) {
      const { runJob } = await import('./job.ts');
      return await runJob(root, { version });
    }
    const { runCommandLine } = await import('./command-line.ts');
    return await runCommandLine(args, {
      version,
      out: (text) => process.stdout.write(text),
      err: (text) => process.stderr.write(text),
      // https://no-color.org: any text but none turns it off.
      colour: process.stdout.isTTY === true && !process.env['NO_COLOR'],
      interrupted: interruption,
      input: () => process.stdin,
    });
  } catch (error) {
    const { sayError } = await import('./report.ts');
    const { said, exit } = sayError(error);
    process.stderr.write(said);
    return exit;
  }
}

/** Whoever reads only the first line of an answer closes the pipe; that is no failure. Opening the streams takes time, so not before something is said. */
function mayCloseEarly(): void {
  for (const stream of [process.stdout, process.stderr])
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error;
    });
}

/** Ctrl-C, for a command that has something to say about it; a second one ends the process as usual. */
function interruption(): AbortSignal {
  const controller = new AbortController();
  process.once('SIGINT', () => controller.abort());
  return controller.signal;
}

process.exitCode = await main(process.argv.slice(2));
