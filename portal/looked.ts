import type { SitesGround } from '../server/serve.ts';
import { disclosuresOf } from '../server/store/disclosures.ts';
import { type Viewer, viewersOf } from '../server/store/episodes.ts';
import { grantsOf } from '../server/store/grants.ts';
import type { Tables } from '../server/tables.ts';
import { type Html, html } from '../web/html.ts';
import { usableAddress } from '../web/mail-queue.ts';
import { clockTime } from '../web/times.ts';
import type { Page, SignedIn, Site } from '../web/visit.ts';
import { say } from '../web/words.ts';
import { lookedWords } from './looked-words.ts';
import { certainMac, nameOf } from './mac-parts.ts';

export function addLooked({ ground, page }: Site): void {
  page('/macs/:mac/looked', 'person', (visit) => looked(ground, visit));
}

/** On one page; the rest is one tap away. */
const perPage = 30;

/** Somebody who was shown a key, or the Mac itself, which was given it to check or to replace it. */
export type Look =
  | {
      at: number;
      id: string;
      by: 'you' | 'somebody';
      name: string;
      /** Null for a view that was none of the portal. */
      view: Viewer['because'] | null;
      /** In their own words. */
      reason: string;
      shown: boolean;
      saidNotMe: boolean;
    }
  | { at: number; id: string; by: 'the-mac'; purpose: Tables['grant_given']['purpose'] };

/** Newest first. */
export async function looksOf(ground: SitesGround, macId: string, personId: string): Promise<Look[]> {
  const { db } = ground.backend.store;
  const viewers = new Map<string, Viewer>((await viewersOf(db, macId)).map((viewer) => [viewer.disclosure_id, viewer]));
  const people = (await disclosuresOf(db, macId)).map(({ id, at, actor, reason, shown }): Look => {
    const viewer = viewers.get(id);
    // An admin's name is the actor; of a person of the portal it is their own.
    const name = viewer?.display_name ?? actor;
    const by = viewer?.person_id === personId ? 'you' : 'somebody';
    const own = viewer ? (/^self-service(?:, shown again)?: (.*)$/s.exec(reason)?.[1] ?? '') : reason;
    return { at, id, by, name, view: viewer?.because ?? null, reason: own.trim(), shown: shown === 1, saidNotMe: viewer?.not_me_at != null };
  });
  const grants = (await grantsOf(db, macId, 0)).map(({ id, at, purpose }): Look => ({ at, id, by: 'the-mac', purpose }));
  return [...people, ...grants].toSorted((a, b) => b.at - a.at || (a.id < b.id ? -1 : 1));
}

async function looked(ground: SitesGround, visit: SignedIn): Promise<Page> {
  const { words, language } = say(lookedWords, visit.language);
  const mac = await certainMac(ground, visit);
  const looks = await looksOf(ground, mac.macId, visit.session.person.id);
  const from = Math.max(0, Number.parseInt(visit.query['from'] ?? '0', 10) || 0);
  const here = `/macs/${mac.macId}`;
  const body = html`<h1>${words.title}</h1>
<p><strong>${nameOf(mac, language)}</strong></p>
<p>${looks.length === 0 ? words.nobody : words.intro}</p>
${usableAddress(visit.session.person.email) === null && html`<p class="note">${words.noMail}</p>`}
<ol class="looks" reversed start="${looks.length - from}">${looks.slice(from, from + perPage).map((look) => entry(look, here, visit))}</ol>
${looks.length > from + perPage && html`<p class="ways"><a href="${here}/looked?from=${from + perPage}">${words.older}</a></p>`}
<p class="ways"><a href="${here}">${words.back}</a></p>`;
  return { title: words.title, body, language, scripts: ['times'] };
}

function whyOf({ view, reason }: Extract<Look, { by: 'you' | 'somebody' }>, words: (typeof lookedWords)['en']): string {
  const how = view === null ? null : words.views[view];
  return [how, reason === '' ? null : `${words.why}: ${reason}`].filter((part) => part !== null).join(' ') || words.noReason;
}

function entry(look: Look, here: string, { at, language: wanted }: SignedIn): Html {
  const { words, language } = say(lookedWords, wanted);
  const when = clockTime(look.at, at, language);
  if (look.by === 'the-mac') return html`<li>${when}<br>${words.yourMac}, ${words.purposes[look.purpose]}.</li>`;
  return html`<li id="view-${look.id}"><span id="when-${look.id}">${when}</span><br>
<strong>${look.by === 'you' ? words.you : look.name}</strong>. ${whyOf(look, words)}${!look.shown && html`<br>${words.notShown}`}
${
  look.saidNotMe
    ? html`<br>${words.saidNotMe}`
    : look.shown && html`<br><a href="${here}/not-me?view=${look.id}" aria-describedby="when-${look.id}">${words.notMe}</a>`
}</li>`;
}
