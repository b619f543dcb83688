import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { SweptBackend } from './backend-process.ts';
import type { Chance } from './chance.ts';
import type { Ledger } from './receipts.ts';

const main = fileURLToPath(new URL('../../server/main.ts', import.meta.url));

/** A person who looks at keys beside the backend, by a process of its own on the same database; some of them die, too. */
export async function runOperator(backend: SweptBackend, ledger: Ledger, chance: Chance, stopping: () => boolean): Promise<void> {
  while (!stopping()) {
    await sleep(chance.between(500, 1500));
    // Macs whose course is over: a hold would keep others from rotating.
    const { serial } = ledger.ends[chance.between(0, ledger.ends.length - 1)] ?? {};
    if (serial === undefined || stopping()) continue;
    const reason = `ticket ${randomUUID()}`;
    const args = [main, 'show', serial, '--dir', backend.paths.dir, '--passphrase-file', backend.passphraseFile, '--reason', reason];
    const shown = await new Promise<boolean>((resolve) => {
      const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'ignore'] });
      const killer = chance.next() < 0.3 ? setTimeout(() => child.kill('SIGKILL'), chance.between(300, 1200)) : null;
      let printed = '';
      child.stdout.on('data', (chunk: Buffer) => {
        printed += chunk.toString();
      });
      child.on('close', () => {
        if (killer) clearTimeout(killer);
        // Also of one that was killed: what it printed was seen.
        resolve(/^([A-Z0-9]{4}-){5}[A-Z0-9]{4}$/m.test(printed));
      });
    });
    if (shown) ledger.words.push({ serial, kind: 'disclosure', id: reason });
  }
}
