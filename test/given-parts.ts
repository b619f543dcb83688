import { expect } from '@jest/globals';
import { systemKeychain } from './fake-mac/state.ts';
import { type GivenOptions, given } from './given.ts';

/** What many test files say of the Mac and the backend of `given.ts`. */

export type Given = Awaited<ReturnType<typeof given>>;

/** The problems that `sparekey status` has. */
export const codes = (it: Given): string[] => it.status().problems.map(({ code }) => code);

/** The key that the backend holds opens this Mac. */
export async function agrees(it: Given): Promise<void> {
  expect(await it.heldKey()).toBe(it.mac.recoveryKey);
  expect(await it.custodyOf()).toMatchObject({ state: 'held' });
}

/** With a settled session and an order: the next run rotates. */
export async function owing(options: GivenOptions = {}): Promise<Given & { before: string | null }> {
  const it = await given(options);
  await it.settle();
  await it.order();
  return Object.assign(it, { before: it.mac.recoveryKey });
}

/** The Mac's key lies in its keychain, as whoever brought it there calls it. */
export function keyInKeychain(it: Given): string {
  const password = it.mac.recoveryKey ?? '';
  it.mac.change((one) => {
    one.keychains[systemKeychain]?.items.push({
      service: 'io.sparekey.agent',
      account: `recovery-key:${one.hardwareUuid.toUpperCase()}:imported-4711`,
      password,
    });
  });
  return password;
}
