import type { Mac } from '../server/store/macs.ts';
import { type Html, html } from '../web/html.ts';
import { type MacToType, macToType } from '../web/mac-facts.ts';
import { picture } from '../web/pictures.ts';
import { onYourMac } from '../web/steps/after-key.ts';
import { firstTries } from '../web/steps/first.ts';
import { locks, tries } from '../web/steps/locks.ts';
import { macLanguageOf } from '../web/steps/quotes.ts';
import { chipOf, macosOf, type ScreenId, screenOf, screensOf } from '../web/steps/screens.ts';
import { written } from '../web/steps/sentences.ts';
import { isWay, type Sentence, stepsOf } from '../web/steps/steps.ts';
import { ago, clockTime } from '../web/times.ts';
import { layoutName } from '../web/typing/layout-name.ts';
import { layoutOf } from '../web/typing/layouts.ts';
import { unlockWords } from '../web/unlock-words.ts';
import { inWords, sentence } from './fleet-parts.ts';
import type { Evidence } from './operations/evidence.ts';

const table = (
  label: string,
  heads: readonly (string | Html)[],
  rows: readonly Html[],
): Html => html`<div class="scroll" tabindex="0" role="region" aria-label="${label}"><table>
<thead><tr>${heads.map((head) => html`<th scope="col">${head}</th>`)}</tr></thead><tbody>${rows}</tbody></table></div>`;

/** An ISO time as people say it. */
export const when = (time: string | null, now: number): Html | string => (time === null ? '–' : ago(Date.parse(time), now, 'en'));
export const clock = (time: string, now: number): Html => clockTime(Date.parse(time), now, 'en');
export { table };

const answers: Record<string, string> = { true: 'yes', false: 'no', unknown: 'could not be checked' };

/** What is known, in the order in which it decides: custody, then each key, then who was shown one. */
export function evidenceParts(evidence: Evidence, now: number): Html {
  const { custody, because, keys, alarms, disclosures, holdUntil, replacingSince, lastSeenAt } = evidence;
  return html`<h2>What is known</h2>
<dl class="facts"><dt>Custody</dt><dd><strong>${custody}</strong>: ${inWords(because)}</dd><dt>Last heard of</dt><dd>${when(lastSeenAt, now)}</dd>
${replacingSince !== null && html`<dt>Replacing its key</dt><dd>since ${clock(replacingSince, now)}</dd>`}
${holdUntil !== null && html`<dt>Nothing is replaced until</dt><dd>${clock(holdUntil, now)}: somebody may be typing</dd>`}</dl>
${
  keys.length === 0
    ? html`<p>No key of this Mac is here.</p>`
    : table(
        'Keys',
        ['Key', 'Came from', 'Came', 'macOS said yes', 'Last answer', 'Said to be refused', 'Last shown'],
        keys.map(
          (
            key,
          ) => html`<tr><th scope="row">${key.state}${key.isPresentVolume ? null : html` <span class="soft">of another volume</span>`}${key.refutedAt !== null && html` <strong>refuted</strong>`}<br><code class="small">${key.recordId}</code></th>
<td>${key.source}</td><td>${when(key.receivedAt, now)}</td><td>${when(key.provedAt, now)}</td><td>${key.lastAnswer === null ? '–' : (answers[key.lastAnswer] ?? key.lastAnswer)}</td><td class="number">${key.refusals}</td><td>${when(key.disclosedAt, now)}</td></tr>`,
        ),
      )
}
${alarms.length > 0 && html`<h3>Open alarms</h3><ul>${alarms.map((alarm) => html`<li>${inWords(sentence(alarm.detail))} <span class="soft">${when(alarm.since, now)}, <code>${alarm.code}</code></span></li>`)}</ul>`}
${disclosures.length > 0 && html`<h3>Who was shown a key</h3><ul>${disclosures.map((one) => html`<li>${when(one.at, now)}: <strong>${one.actor}</strong>, ${one.reason}${one.shown ? null : ' (it did not open)'}</li>`)}</ul>`}`;
}

const words = unlockWords.en;

/** What the person sees on their own page, by the numbers of the pictures: never other instructions. */
export function instructions(row: Mac, isKeyShown = false): Html {
  const mac: MacToType = macToType(row);
  const chip = chipOf(mac.isAppleSilicon);
  const layout = layoutOf(mac.keyboardLayout);
  const say = (one: Sentence): Html => written(one, macLanguageOf(mac.macLanguage), 'en');
  const acts = (id: ScreenId): Html => {
    if (isWay(id))
      return html`<ol>${stepsOf(id, chip, macosOf(mac.macosVersion)).map((step) => html`<li><strong>${step.title.en}</strong> ${step.sentences.map((one) => html`${say(one)} `)}</li>`)}</ol>`;
    const lock = id in locks ? locks[id as keyof typeof locks] : null;
    if (lock) return html`<p><strong>${say(lock[0])}</strong> ${say(lock[1])} ${words.noKeyFor}</p>`;
    const first = id in tries ? tries[id as keyof typeof tries] : null;
    return first ? html`<p><strong>${say(first.is)}</strong></p><ol>${first.tries.map((one) => html`<li>${say(one)}</li>`)}</ol>` : html``;
  };
  return html`<h2>What the person reads</h2>
<p>The same sentences stand on their page. Say the number of the picture; both of you see the same one.</p>
<h3>${words.first}</h3>
<ol><li>${words.previous}. ${say(firstTries.previous)}</li><li>${words.capsLock} ${say(firstTries.capsLock)}</li><li>${words.layout}. ${layout === null ? words.layoutUnknown : words.layoutShould(html`<strong>${layoutName(layout, mac.macLanguage, 'en').text}</strong>`)}</li></ol>
<p><strong>${words.stopGuessing}.</strong> ${say(firstTries.stopGuessing)}</p>
<h3>${words.look}</h3>
<div class="pictures-list">${screensOf(chip).map(
    (id) =>
      html`<details><summary>${picture(id, words.drawn[id])} <strong>${words.number(screenOf(id).number)}</strong> ${words.shows[id]}</summary>${acts(id)}</details>`,
  )}</div>
${!isKeyShown && html`<h3>With the key in front of them</h3>${onYourMac(mac, null, 'en')}`}`;
}
