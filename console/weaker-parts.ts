import type { DeviceDetail } from '../server/fleet/detail.ts';
import { type Html, html } from '../web/html.ts';
import { ago, clockTime } from '../web/times.ts';
import { devicePath, since } from './fleet-parts.ts';
import type { ProposalOut } from './operations/weaker-disclosure.ts';
import { scopeWords } from './people-parts.ts';
import { sayFields, sayRules } from './policy-form.ts';
import type { ConsoleVisit } from './visit.ts';

/* What one person alone does not make easier: what waits for a second one, and what holds on meanwhile. */

/** What one person alone has made easier, and does not hold yet. */
export function rulesKept(visit: ConsoleVisit, { device, rulesKept: kept }: DeviceDetail): Html | null {
  if (kept.length === 0) return null;
  const path = `${devicePath(device.id)}/rules`;
  return html`<section class="deadline" aria-label="Stricter rules"><p><strong>Stricter rules hold on for showing its key.</strong> A policy asks for a second person, and one person alone does not take a Mac out of it.</p><ul class="plain">${kept.map(
    ({ at, by, tags: had, until }) =>
      html`<li>${by === 'server' ? 'The groups of its user' : html`<bdi>${by}</bdi>`} ${by === 'server' ? 'have changed' : 'has changed its tags or its user'} ${since(at, visit.at)}; it had ${had.length === 0 ? 'no tags' : had.join(', ')}. ${until === null ? html`For <bdi>${by}</bdi> those rules hold on.` : html`Those rules hold on for everybody until ${clockTime(Date.parse(until), visit.at, 'en')}${by === 'server' ? null : html`, and for <bdi>${by}</bdi> after that too`}.`}</li>`,
  )}</ul>${
    visit.may('policy.agree')
      ? html`<form method="post" action="${path}">${visit.token(path)}<label for="rules-words">Why they need not hold on</label><input id="rules-words" name="words" required maxlength="500" autocomplete="off"><button class="second">Agree to what was changed</button></form>`
      : html`<p class="soft">An approver, or an admin who did not do it, may agree that they need not.</p>`
  }</section>`;
}

/** Changes of policies that wait; each with a form for whoever may decide it, and one for whoever wants theirs back. */
export function proposals(visit: ConsoleVisit, items: readonly ProposalOut[]): Html | null {
  if (items.length === 0) return null;
  const deciding = (one: ProposalOut): Html | null => {
    const path = `/policies/proposals/${one.id}`;
    if (!one.mayDecide && !(one.isMine && visit.may('policy.agree'))) return null;
    return html`<form method="post" action="${path}">${visit.token(path)}<label for="words-${one.id}">Why</label><input id="words-${one.id}" name="words" required maxlength="500" autocomplete="off">${
      one.mayDecide
        ? html`<button name="as" value="agree">Agree: ${one.name}</button> <button class="second" name="as" value="decline">Decline</button>`
        : html`<button class="second" name="as" value="decline">Take it back</button>`
    }</form>`;
  };
  return html`<section aria-label="What waits for a second person"><h2>Waits for a second person</h2>
<p>These show keys more easily than rules that ask for two people. Until somebody else agrees, everything is as it was.</p><ol class="plain">${items.map(
    (one) =>
      html`<li id="proposal-${one.id}"><p><strong>${one.name}</strong>: ${one.rules === null ? 'would end' : html`${one.isNew ? 'a new policy, ' : null}rank ${one.rank}, ${scopeWords(one.tags)}: ${sayRules(one.rules)}`}. Weaker: ${sayFields(one.weaker, one.rules?.disclosure)}. <bdi>${one.proposedBy}</bdi>, ${ago(Date.parse(one.proposedAt), visit.at, 'en')}: ${one.reason}. It ends by itself ${clockTime(Date.parse(one.expiresAt), visit.at, 'en')}.</p>${deciding(one)}</li>`,
  )}</ol></section>`;
}
