import type { GivenOptions } from './command.ts';
import { existingFolder } from './data-folder.ts';
import { openLog } from './log.ts';
import { readPassphrase } from './passphrase.ts';
import { checkDataFolder, serve } from './serve.ts';
import { readSettings } from './settings.ts';

/** `sparekey-server serve`: says in one line that it is ready, and ends when it is told to. */
export async function serveUntilStopped(flags: GivenOptions & { sealed?: boolean; jsonReady?: boolean }): Promise<void> {
  checkDataFolder(flags.dir, !flags.sealed);
  const passphrase = flags.sealed ? null : await readPassphrase(flags);
  const log = await openLog(readSettings(existingFolder(flags.dir).settings).logLevel);
  const told = new Promise<void>((resolve) => {
    // Listened to before it is ready: a signal during the start is obeyed too.
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => resolve());
  });
  const serving = await serve({ dir: flags.dir, passphrase, log });
  const ready = { ready: true, url: serving.url, port: serving.port, pid: process.pid };
  process.stdout.write(flags.jsonReady || flags.json ? `${JSON.stringify(ready)}\n` : `ready: ${serving.url} (port ${serving.port}); end it with Ctrl-C\n`);
  await told;
  await serving.stop();
}
