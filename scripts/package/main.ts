import { runPackage } from './command.ts';

/* `npm run -s package`: the one package that IT gives to Macs. */

process.exitCode = await runPackage(process.argv.slice(2), {
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
});
