import { latestEpisodeOf } from '../server/store/episodes.ts';
import { type Html, html } from '../web/html.ts';
import { usableAddress } from '../web/mail-queue.ts';
import { ago, clockTime } from '../web/times.ts';
import type { Page, SignedIn, Site } from '../web/visit.ts';
import { say } from '../web/words.ts';
import { afterwardsWords } from './afterwards-words.ts';
import { addBackIn, backInForm } from './back-in.ts';
import { episodeFacts } from './episode-facts.ts';
import { type EpisodeFacts, type EpisodeState, episodeStateOf, type Step } from './episode-state.ts';
import { lookedWords } from './looked-words.ts';
import { cardFor, certainMac, nameOf, nextInWords } from './mac-parts.ts';

/** From the key that was shown to the one that replaced it, and what to expect on the Mac in between. */
export function addAfterwards(site: Site): void {
  site.page('/macs/:mac/afterwards', 'person', (visit) => afterwards(site, visit));
  addBackIn(site);
}

async function afterwards({ ground }: Site, visit: SignedIn): Promise<Page> {
  const { words, language } = say(afterwardsWords, visit.language);
  const mac = await certainMac(ground, visit);
  const { person } = visit.session;
  const episode = await latestEpisodeOf(ground.backend.store.db, mac.macId, person.id);
  const facts = episode ? await episodeFacts(ground.backend, episode, visit.at) : null;
  const state = facts && facts.shownAt.length > 0 ? episodeStateOf(facts, visit.at) : null;
  const here = `/macs/${mac.macId}`;
  const overdue = state?.overdue ? words.overdue[state.overdue] : null;
  const isOver = state !== null && !state.awaits;

  const body = html`<h1>${words.title}</h1>
<p><strong>${nameOf(mac, language)}</strong></p>
<section data-look-again aria-live="polite" aria-labelledby="timeline">
<h2 id="timeline">${words.timeline}</h2>
${state && facts ? timeline(state, facts, visit) : html`<p>${words.none}</p>${nextInWords(mac, visit.at, language)}`}
${overdue && html`<p class="deadline"><strong>${overdue.says}</strong> ${overdue.fix}</p>`}
</section>
${!isOver && usableAddress(person.email) === null && html`<p class="note">${say(lookedWords, language).words.noMail}</p>`}
${state && !isOver && html`<p class="ways"><a href="${here}/afterwards">${words.lookAgain}</a></p>`}
${mac.rotation.hold && backInForm(visit, mac.macId)}
${state?.overdue && (await cardFor(ground, visit, mac, `afterwards, ${state.overdue}`))}
${state && whatToExpect(visit, ground.settings.macAccounts, state.steps[2].at === null)}
<p class="ways"><a href="${here}/looked">${words.notMe}</a></p>
<p class="ways"><a href="${here}">${words.back}</a></p>`;
  return { title: words.title, body, language, scripts: isOver ? ['times'] : ['times', 'look-again'] };
}

function timeline(state: EpisodeState, facts: EpisodeFacts, { at, language: wanted }: SignedIn): Html {
  const { words, language } = say(afterwardsWords, wanted);
  const clock = (moment: number) => clockTime(moment, at, language);
  const time = { clock, ago: (moment: number) => ago(moment, at, language) };
  // Whoever is in again has said it, or the Mac has; then the sentence about it would be there twice.
  const said = facts.backInAt !== null && state.steps[1].at !== facts.backInAt && facts.replacedAt === null;
  return html`<ol class="timeline">${state.steps.map((step) => stepInWords(step, time, wanted))}</ol>
${facts.notMeAt !== null && facts.replacedAt === null && html`<p>${words.saidNotMe}</p>`}
${said && facts.backInAt !== null && html`<p>${words.youSaid(time.ago(facts.backInAt))}</p>`}
${!state.awaits && html`<p>${words.done}</p>`}`;
}

function stepInWords(step: Step, time: Parameters<(typeof afterwardsWords)['en']['waits']>[1], wanted: SignedIn['language']): Html {
  const { words } = say(afterwardsWords, wanted);
  if (step.at === null) return html`<li class="waiting"><strong>${words.waiting[step.name]}</strong><br>${words.waits(step.waits, time)}</li>`;
  const at = time.clock(step.at);
  return html`<li class="done">${step.name === 'in-again' ? words.steps['in-again'][step.by ?? 'said'](at) : words.steps[step.name](at)}</li>`;
}

/** `replaces`: the Mac has still to do it, for which it needs a network. */
function whatToExpect({ language: wanted }: SignedIn, accounts: keyof (typeof afterwardsWords)['en']['passwords']['text'], replaces: boolean): Html {
  const { keychain, passwords, network } = say(afterwardsWords, wanted).words;
  return html`<section>
${replaces && html`<h2>${network.title}</h2><p>${network.text}</p>`}
<h2>${keychain.title}</h2>
<p>${keychain.what}</p>
<dl class="answers">${keychain.answers.map(({ on, means }) => html`<dt>${on}</dt><dd>${means}</dd>`)}</dl>
<p>${keychain.otherwise}</p>
<h2>${passwords.title}</h2>
${passwords.text[accounts].map((line) => html`<p>${line}</p>`)}
</section>`;
}
