// The command `npm run -s profiles`: the only file here that reads its arguments and ends the process.
import { Problem } from '../protocol/problems.ts';
import { runProfiles } from './command-line.ts';

try {
  const { stdout, stderr, exit } = await runProfiles(process.argv.slice(2), new Date());
  process.stdout.write(stdout);
  process.stderr.write(stderr);
  process.exitCode = exit;
} catch (error) {
  if (!(error instanceof Problem)) throw error;
  process.stderr.write(`sparekey: error: ${error.message}\nsparekey: fix: ${error.kind.fix}\nsparekey: ${error.code}; more: docs/errors.md\n`);
  process.exitCode = error.kind.exit;
}
