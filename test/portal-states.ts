import type { MountSites } from '../server/serve.ts';
import { openStates, type PageState } from './portal-state-world.ts';
import { addKeyStates } from './portal-states-key.ts';
import { addMacStates } from './portal-states-macs.ts';
import { addSignInStates } from './portal-states-sign-in.ts';

export type { PageState } from './portal-state-world.ts';

/*
 * Every state of every page of the portal, made on one backend with as many Macs and people as that takes. For whoever looks
 * at all of them: the check of states, and the benchmark of pages. Knows nothing of jest.
 */

export async function givenPages(options: { mountSites?: MountSites } = {}): Promise<{ url: string; elsewhere: string[]; states: PageState[] }> {
  const world = await openStates(options);
  // First: for some of them days pass.
  const macs = await addMacStates(world);
  await addSignInStates(world);
  await addKeyStates(world, macs);
  await world.finish();
  return { url: world.url, elsewhere: [], states: world.states };
}
