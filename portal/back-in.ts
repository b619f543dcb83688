import type { OwnerSays } from '../server/owner-says.ts';
import { type Html, html } from '../web/html.ts';
import type { SignedIn, Site } from '../web/visit.ts';
import { say } from '../web/words.ts';
import { devicesWords } from './devices-words.ts';
import { certainMac, stillCertain } from './mac-parts.ts';

/** *I am back in*: from then on nobody types the key any more. Said twice it is said once. */
export function addBackIn({ ground, act }: Site): void {
  act('/macs/:mac/back-in', 'person', async (visit) => {
    const mac = await certainMac(ground, visit);
    const { id, userName } = visit.session.person;
    const before: OwnerSays['before'] = (tx, at) => stillCertain(ground, tx, visit, at);
    await ground.backend.custody.backIn({ macId: mac.macId, personId: id, actor: userName, before });
    return { to: `/macs/${mac.macId}/afterwards` };
  });
}

export function backInForm(visit: SignedIn, macId: string): Html {
  const { words } = say(devicesWords, visit.language);
  const act = `/macs/${macId}/back-in`;
  return html`<form method="post" action="${act}">${visit.token(act)}
<p>${words.backInMeans}</p>
<button>${words.backIn}</button></form>`;
}
