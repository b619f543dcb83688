import { latestEpisodeOf, viewsOf } from '../server/store/episodes.ts';
import { type Html, html } from '../web/html.ts';
import { ago, dateOf } from '../web/times.ts';
import type { Page, SignedIn, Site } from '../web/visit.ts';
import { say } from '../web/words.ts';
import { backInForm } from './back-in.ts';
import { devicesWords } from './devices-words.ts';
import { keyStateOf } from './key-state.ts';
import { cardFor, diskInWords, keyFactsOf, keyInWords, nameOf, nextInWords, theirMac } from './mac-parts.ts';
import { macWords } from './mac-words.ts';
import type { OwnMac } from './own-mac.ts';

export function addDevice(site: Site): void {
  site.page('/macs/:mac', 'person', (visit) => page(site, visit));
}

async function page(site: Site, visit: SignedIn): Promise<Page> {
  const { words, language } = say(devicesWords, visit.language);
  const mac = await theirMac(site.ground, visit);
  const name = nameOf(mac, language);
  const isReplacing = keyStateOf(keyFactsOf(mac), visit.at).is === 'replacing';
  const body = html`<h1>${name}</h1>
<p data-look-again aria-live="polite">${diskInWords(mac, language)} ${keyInWords(mac, visit.at, language)}</p>
${await whatNow(site, visit, mac)}
${mac.certain && (await underWay(site, visit, mac))}
<h2>${words.about}</h2>
${facts(mac, visit)}
${mac.certain && html`<p class="ways"><a href="/macs/${mac.macId}/looked">${words.looked}</a></p>`}
<p class="ways"><a href="/macs">${words.allMacs}</a></p>`;
  // Only while the page asks for patience: then it says by itself when that is over.
  return { title: name, body, language, scripts: isReplacing ? ['times', 'look-again'] : ['times'] };
}

function facts(mac: OwnMac, { at, language: wanted }: SignedIn): Html {
  const { words, language } = say(devicesWords, wanted);
  const line = (name: string, value: Html | string | null) => value !== null && html`<dt>${name}</dt><dd>${value}</dd>`;
  const { assignment } = mac;
  return html`<dl class="facts">
${line(words.facts.model, mac.modelName ?? mac.model)}
${line(words.serialEnds, html`<code>${mac.serialEnd}</code>`)}
${line(words.lastOnline, mac.lastSeenAt === null ? words.neverOnline : ago(mac.lastSeenAt, at, language))}
${line(words.facts.macos, mac.macosVersion)}
${line(words.facts.yours, assignment && words.yours[assignment.source](dateOf(assignment.since, language)))}
</dl>`;
}

async function whatNow({ ground }: Site, visit: SignedIn, mac: OwnMac): Promise<Html> {
  const { words, language } = say(devicesWords, visit.language);
  const { decision } = mac;
  if (decision.may === 'show')
    return html`<h2>${words.locked}</h2>
<p>${words.lockedMeans}</p>
<p><a class="button" href="/macs/${mac.macId}/unlock">${words.getIn}</a></p>`;
  if (decision.may === 'ask-first')
    return html`<h2>${words.askFirst}</h2>
<p>${words.askFirstMeans}</p>
<p><a class="button" href="/macs/${mac.macId}/request">${words.ask}</a></p>`;
  const because = say(macWords, language).words.because[decision.because];
  return html`<h2>${words.notShown}</h2>
<p><strong>${because.says}</strong> ${because.means}</p>
<p>${because.fix}</p>
${await cardFor(ground, visit, mac, `/macs, ${decision.because}`)}`;
}

/** Where a key was shown: to this person, or to somebody who helped them. */
async function underWay({ ground }: Site, visit: SignedIn, mac: OwnMac): Promise<Html | null> {
  const { words, language } = say(devicesWords, visit.language);
  const { db } = ground.backend.store;
  const episode = await latestEpisodeOf(db, mac.macId, visit.session.person.id);
  const [first] = episode ? await viewsOf(db, episode.id) : [];
  const next = nextInWords(mac, visit.at, language);
  if (!first && next === null) return null;
  return html`<section>
<h2>${words.theKey}</h2>
${next}
${mac.rotation.hold && backInForm(visit, mac.macId)}
${first && html`<p>${words.underWay(ago(first.shown_at, visit.at, language))} <a href="/macs/${mac.macId}/afterwards">${words.howItGoes}</a></p>`}
</section>`;
}
