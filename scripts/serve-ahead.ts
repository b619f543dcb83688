import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { mountConsole } from '../console/console.ts';
import { mountPortal } from '../portal/portal.ts';
import { openLog } from '../server/log.ts';
import { serve } from '../server/serve.ts';

/*
 * `sparekey-server serve` with its clock ahead of this machine's, for try-outs that would otherwise have to wait. Everything
 * else is the server as it is: `wallNow` is the only door through which it learns the time.
 */

const { values } = parseArgs({
  allowPositionals: true,
  options: { dir: { type: 'string' }, 'passphrase-file': { type: 'string' }, ahead: { type: 'string' } },
});
const { dir, 'passphrase-file': file, ahead } = values;
if (dir === undefined || file === undefined || !Number.isFinite(Number(ahead))) {
  process.stderr.write('usage: serve-ahead.ts serve --dir DIR --passphrase-file FILE --ahead SECONDS\n');
  process.exit(64);
}
const milliseconds = Number(ahead) * 1000;
const told = new Promise<void>((resolve) => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => resolve());
});
const log = await openLog('info');
const serving = await serve({
  dir,
  passphrase: readFileSync(file, 'utf8').trim(),
  log,
  wallNow: () => Date.now() + milliseconds,
  mountSites: (ground) => (ground.site === 'portal' ? mountPortal(ground) : mountConsole(ground)),
});
process.stdout.write(`ready: ${serving.url}\n`);
await told;
await serving.stop();
