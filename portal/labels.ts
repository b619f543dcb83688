import { Problem } from '../protocol/problems.ts';
import type { Site } from '../web/visit.ts';
import { ownMacs } from './own-mac.ts';

/** Where the code of a label leads: to this person's Mac, or to the answer that there is for every other one. */
export function addLabels(site: Site): void {
  site.page('/label/:serial', 'person', async ({ params, session, at }) => {
    const serial = (params['serial'] ?? '').toUpperCase();
    const mac = (await ownMacs(site.ground, session.person, at)).find((one) => one.serial.toUpperCase() === serial);
    if (!mac) throw new Problem('NOT_FOUND', 'no such Mac of this person');
    return { to: `/macs/${mac.macId}` };
  });
}
