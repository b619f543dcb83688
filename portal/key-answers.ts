import { Problem } from '../protocol/problems.ts';
import type { Tx } from '../server/parts.ts';
import { helpCodeOf } from '../web/help-codes.ts';
import { type Html, html } from '../web/html.ts';
import type { Answer, Page, SignedIn, Site } from '../web/visit.ts';
import { contactCard } from './contact-card.ts';
import { type EpisodeNow, episodeNow, limitsOf, tellUnusual } from './episodes.ts';
import { gonePath } from './key-shown.ts';
import { keyWords } from './key-words.ts';
import type { OwnMac } from './own-mac.ts';

/* What the pages of the key have in common: whose Mac, which episode, and what is said where no key can be shown. */

/** The episode that this person is in with this Mac. */
export const present = (site: Site, visit: SignedIn, macId: string, tx?: Tx): Promise<EpisodeNow | null> =>
  episodeNow(tx ?? site.ground.backend.store.db, macId, visit.session.person.id);

/** May this person be shown a key now? Null, or where it is said why not. */
export const elsewhere = ({ decision, macId }: OwnMac): Answer | null =>
  decision.may === 'show' ? null : { to: decision.may === 'ask-first' ? `/macs/${macId}/request` : `/macs/${macId}` };

export const isCode = (error: unknown, code: Problem['code']): error is Problem => error instanceof Problem && error.code === code;

export const noteRefusal = (site: Site, tx: Tx, at: number, visit: SignedIn, { episode, last }: EpisodeNow): Promise<void> =>
  site.ground.backend.custody.noteRefusal(tx, at, {
    macId: episode.mac_id,
    episode: { id: episode.id, personId: visit.session.person.id },
    recordId: last.record_id,
    actor: visit.session.person.userName,
  });

/** What happened instead of a key, and whom to call. `isWritten`: the disclosure stands, and only its envelope did not open. */
export async function saidInstead(site: Site, visit: SignedIn, mac: OwnMac, error: unknown, isWritten: boolean): Promise<Answer> {
  if (!(error instanceof Problem)) throw error;
  const { settings } = site.ground;
  const words = keyWords[visit.language];
  const limits = limitsOf(settings, mac.emergencyId !== null);
  const { viewsPerPerson, viewsPerAddress } = limits;
  if (isWritten && ['CANNOT_OPEN', 'ROW_TAMPERED', 'KEY_UNKNOWN'].includes(error.code))
    return desk(site, visit, mac, { title: words.notOpened, what: words.notOpenedWhat, status: 503 });
  if (error.code === 'FORM_SPENT') return { to: gonePath(mac.macId) };
  if (error.code === 'VIEW_ENDED') return { to: `${gonePath(mac.macId)}&ended=1` };
  if (error.code === 'NOT_SHOWN') return { to: `/macs/${mac.macId}` };
  if (error.code === 'VIEWS_LIMIT') {
    const whose = error.detail ?? '';
    await tellUnusual(site.ground, limits, mac.macId, whose, visit.session.person.id);
    return desk(site, visit, mac, {
      title: words.limit,
      what: whose === 'person' ? words.limitOfPerson(viewsPerPerson) : words.limitOfNetwork(viewsPerAddress),
      status: 429,
    });
  }
  if (error.code === 'KEY_UNKNOWN') return desk(site, visit, mac, { title: words.noKey, what: words.noKeyWhat, status: 409 });
  throw error;
}

/** Where the portal cannot go on: what happened, whom to call, what to read out. */
export async function desk(site: Site, visit: SignedIn, mac: OwnMac, said: { title: string; what: string; status?: number; more?: Html }): Promise<Page> {
  const { settings } = site.ground;
  const words = keyWords[visit.language];
  const now = await present(site, visit, mac.macId);
  const code = now?.episode.code ?? (await helpCodeOf(site.ground, visit, { page: visit.path.split('?')[0] ?? '', macId: mac.macId }));
  return {
    title: said.title,
    ...(said.status === undefined ? {} : { status: said.status }),
    body: html`<h1>${said.title}</h1>
<p>${said.what}</p>
${said.more}${contactCard(settings, visit.session.person, { serialEnd: mac.serialEnd, code }, visit.language)}
<p class="ways"><a href="/macs/${mac.macId}">${words.toMac}</a></p>`,
  };
}
