import type { GivenOptions } from './command.ts';
import { existingFolder } from './data-folder.ts';
import { openLog } from './log.ts';
import { readPassphrase } from './passphrase.ts';
import { type MountSites, type Serving, serve } from './serve.ts';
import { checkDataFolder } from './serve-check.ts';
import { activatedSockets, readSettings } from './settings.ts';

/** For whoever started it: where Macs and people find it. */
export function readyLine({ url, port, people, console }: Pick<Serving, 'url' | 'port' | 'people'> & Partial<Pick<Serving, 'console'>>, json = false): string {
  if (json) return JSON.stringify({ ready: true, url, port, pid: process.pid, ...(people ? { people } : {}), ...(console ? { console } : {}) });
  const sites = people ? `, for people ${people.url} (port ${people.port})` : '';
  const admins = console ? `, for admins ${console.url} (port ${console.port})` : '';
  return `ready: ${url} (port ${port})${sites}${admins}; end it with Ctrl-C`;
}

/** `sparekey-server serve`: says in one line that it is ready, and ends when it is told to. */
export async function serveUntilStopped(flags: GivenOptions & { sealed?: boolean; jsonReady?: boolean }, mountSites: MountSites): Promise<void> {
  checkDataFolder(flags.dir, !flags.sealed);
  const passphrase = flags.sealed ? null : await readPassphrase(flags);
  const log = await openLog(readSettings(existingFolder(flags.dir).settings).logLevel);
  const told = new Promise<void>((resolve) => {
    // Listened to before it is ready: a signal during the start is obeyed too.
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => resolve());
  });
  let ready: Serving | null = null;
  // `systemctl reload`, and the hook of whoever renews certificates. During the start there is nothing to read again.
  process.on('SIGHUP', () => void ready?.renewCertificate());
  const serving = await serve({ dir: flags.dir, passphrase, log, mountSites, sockets: activatedSockets() });
  ready = serving;
  process.stdout.write(`${readyLine(serving, flags.jsonReady || flags.json)}\n`);
  await told;
  await serving.stop();
}
