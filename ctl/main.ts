import { Problem } from '../protocol/problems.ts';
import { commandLine } from './command-line.ts';
import { problemLines } from './output.ts';
import { ownTerminal } from './terminal.ts';

const [major = 0] = process.versions.node.split('.').map(Number);
process.umask(0o077);

try {
  if (major < 26) throw new Problem('NEEDS_NEWER_NODE', process.version);
  process.exitCode = await commandLine({ argv: process.argv, terminal: ownTerminal(), now: Date.now });
} catch (error) {
  // What is unforeseen keeps its words to itself: they may quote what was asked for.
  const problem = error instanceof Problem ? error : new Problem('CTL_BUG', error instanceof Error ? error.name : undefined);
  process.stderr.write(problemLines(problem));
  process.exitCode = problem.kind.exit;
}
