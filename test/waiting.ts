import { setTimeout as sleep } from 'node:timers/promises';

/** Until it is so, on however slow a machine; what asks says at the end that it never was. */
export async function until(isSo: () => boolean): Promise<void> {
  for (const end = performance.now() + 60_000; !isSo() && performance.now() < end; ) await sleep(20);
}

/** Milliseconds that this process has worked, as against those that passed while others did. */
export function cpuTime(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}
