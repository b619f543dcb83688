import { type Html, html } from '../web/html.ts';
import { ago } from '../web/times.ts';
import type { Page, SignedIn, Site } from '../web/visit.ts';
import { say } from '../web/words.ts';
import { addAfterwards } from './afterwards.ts';
import { addDevice } from './device.ts';
import { devicesWords } from './devices-words.ts';
import { addLooked } from './looked.ts';
import { cardFor, diskInWords, keyInWords, nameOf } from './mac-parts.ts';
import { macWords } from './mac-words.ts';
import { addNotMe } from './not-me.ts';
import { type OwnMac, ownMacs } from './own-mac.ts';

/** Whose Macs, which of them, and what became of their keys. */
export function addDevices(site: Site): void {
  site.page('/macs', 'person', (visit) => list(site, visit));
  site.page('/not-listed', 'person', (visit) => notListed(site, visit));
  addDevice(site);
  addAfterwards(site);
  addLooked(site);
  addNotMe(site);
}

async function list({ ground }: Site, visit: SignedIn): Promise<Page> {
  const { words, language } = say(devicesWords, visit.language);
  const macs = await ownMacs(ground, visit.session.person, visit.at);
  const body =
    macs.length === 0
      ? html`<h1>${words.title}</h1>
<p>${words.none.says} ${words.none.means}</p>
<p>${words.none.fix}</p>
${await cardFor(ground, visit, null, '/macs, none')}
<p class="ways"><a href="/not-listed">${words.notListed}</a></p>`
      : html`<h1>${words.title}</h1>
<p>${words.intro}</p>
<ul class="plain macs">${macs.map((mac) => entry(mac, visit, macs.length === 1))}</ul>
<p class="ways"><a href="/not-listed">${words.notListed}</a></p>`;
  return { title: words.title, body, language, scripts: ['times'] };
}

/** From here at once to the help, or why there is none: with several Macs each button says for which. */
function entry(mac: OwnMac, { at, language: wanted }: SignedIn, isOnly: boolean): Html {
  const { words, language } = say(devicesWords, wanted);
  const name = nameOf(mac, language);
  const seen = mac.lastSeenAt === null ? words.neverOnline : ago(mac.lastSeenAt, at, language);
  return html`<li>
<h2><a class="mac-name" href="/macs/${mac.macId}">${name}</a></h2>
<p>${mac.modelName !== null && mac.modelName !== name && html`${mac.modelName}. `}${words.serialEnds} <code>${mac.serialEnd}</code>. ${words.lastOnline}: ${seen}.</p>
<p>${diskInWords(mac, language)} ${keyInWords(mac, at, language)}</p>
${next()}
</li>`;

  function next(): Html {
    const { decision } = mac;
    if (decision.may === 'not') return html`<p>${say(macWords, language).words.because[decision.because].says}</p>`;
    const [path, text] = decision.may === 'show' ? ['unlock', words.getIn] : ['request', words.ask];
    return html`<p><a class="button${isOnly ? '' : ' second'}" href="/macs/${mac.macId}/${path}">${text}<span class="hidden-words">: ${name}</span></a></p>`;
  }
}

/** It asks for no serial number: whether a Mac is known is nobody's business but its person's. */
async function notListed({ ground }: Site, visit: SignedIn): Promise<Page> {
  const { words, language } = say(devicesWords, visit.language);
  const body = html`<h1>${words.notListedTitle}</h1>
<p>${words.notListedMeans}</p>
<ul>${words.notListedWhy.map((why) => html`<li>${why}</li>`)}</ul>
<p>${words.notListedFix}</p>
${await cardFor(ground, visit, null, '/not-listed')}
<p class="ways"><a href="/macs">${words.allMacs}</a></p>`;
  return { title: words.notListedTitle, body, language };
}
