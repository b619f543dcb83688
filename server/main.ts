import { userInfo } from 'node:os';
import { Problem } from '../protocol/problems.ts';
import { problemLines } from './command.ts';
import { commandLine } from './command-line.ts';
import { operatorName } from './settings.ts';

const [major = 0] = process.versions.node.split('.').map(Number);
process.umask(0o077);

try {
  if (major < 26) throw new Problem('NEEDS_NEWER_NODE', process.version);
  const exit = await commandLine({
    argv: process.argv,
    operator: operatorName(() => userInfo().username),
    // Loaded by `serve` alone, and only where the settings have a listener for them.
    mountSites: async (ground) =>
      ground.site === 'portal' ? (await import('../portal/portal.ts')).mountPortal(ground) : (await import('../console/console.ts')).mountConsole(ground),
  });
  process.exitCode = exit;
} catch (error) {
  // What is unforeseen keeps its words to itself: they may quote what was stored.
  const problem = error instanceof Problem ? error : new Problem('SERVER_BUG', error instanceof Error ? error.name : undefined);
  process.stderr.write(problemLines(problem));
  process.exitCode = problem.kind.exit;
}
