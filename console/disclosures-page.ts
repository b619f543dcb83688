import { Problem } from '../protocol/problems.ts';
import { type Html, html } from '../web/html.ts';
import type { Answer, Page } from '../web/visit.ts';
import { clock, evidenceParts, table, when } from './evidence-parts.ts';
import { keyPagePath } from './key-page.ts';
import {
  approveDisclosure,
  decideReview,
  declineDisclosure,
  getDisclosure,
  listDisclosures,
  listReviews,
  type RequestOut,
  type ReviewOut,
  withdrawDisclosure,
} from './operations/disclosures.ts';
import { listEmergencies } from './operations/emergency.ts';
import { listReleases } from './operations/releases.ts';
import { orProblem, problemBox } from './people-parts.ts';
import { makeForm, releaseRow } from './releases-page.ts';
import type { ConsoleSite, ConsoleVisit } from './visit.ts';

/** What waits for somebody: requests, disclosures to look at, codes of the desk, self-service for many. */

const states: Record<RequestOut['state'], string> = {
  waiting: 'waits',
  approved: 'agreed',
  declined: 'declined',
  expired: 'ended by itself',
  withdrawn: 'taken back',
  used: 'used',
};

const requestTable = (label: string, items: readonly RequestOut[], now: number): Html =>
  table(
    label,
    ['Mac', 'Asked by', 'Why', 'State', 'Agreed', 'Asked'],
    items.map(
      (
        one,
      ) => html`<tr><th scope="row"><a href="/disclosures/${one.id}">${one.device.serial}</a>${one.history && html` <span class="soft">a key that was replaced</span>`}</th><td>${one.requester}</td><td>${one.reason}${one.ticket !== null && html` <span class="soft">${one.ticket}</span>`}</td>
<td>${states[one.state]}</td><td class="number">${one.votes.filter(({ vote }) => vote === 'yes').length} of ${one.quorum}</td><td>${when(one.createdAt, now)}</td></tr>`,
    ),
  );

const wordsForm = (
  visit: ConsoleVisit,
  path: string,
  button: string,
  about: { kind?: 'danger' | 'second'; hint: string; fields?: Html; id: string },
): Html => html`<form method="post" action="${path}">${visit.token(path)}${about.fields}
<label for="words-${about.id}">Words</label><p class="hint" id="hint-${about.id}">${about.hint}</p><input id="words-${about.id}" name="words" required maxlength="500" autocomplete="off" aria-describedby="hint-${about.id}"><button${about.kind && html` class="${about.kind}"`}>${button}</button></form>`;

const reviewEntry = (
  visit: ConsoleVisit,
  one: ReviewOut,
): Html => html`<li><p><strong>${one.device.serial}</strong>, shown to ${one.by} ${when(one.at, visit.at)}${one.shown ? null : ' (it did not open)'}: ${one.reason}</p>
${
  one.state === 'waiting'
    ? one.isMine
      ? html`<p class="soft">Somebody else looks at it until ${clock(one.dueAt, visit.at)}.</p>`
      : html`<p>${one.isOverdue ? html`<strong>Overdue</strong> since` : 'Until'} ${clock(one.dueAt, visit.at)}.</p>
${visit.may('review.decide') && wordsForm(visit, `/disclosures/reviews/${one.disclosureId}`, 'Say so', { hint: 'What you found. Whoever was shown the key reads it.', id: one.disclosureId, fields: html`<p><label><input type="radio" name="state" value="right" required> It was right</label> <label><input type="radio" name="state" value="wrong"> It was wrong</label></p>` })}`
    : html`<p>${one.state === 'right' ? 'It was right' : html`<strong>It was wrong</strong>`}, says ${one.decidedBy}: ${one.words}</p>`
}</li>`;

async function listPage(visit: ConsoleVisit, problem: Problem | null = null): Promise<Page> {
  const now = visit.at;
  const requests = (await visit.perform(listDisclosures, { limit: 100 })).items;
  const reviews = (await visit.perform(listReviews, { limit: 50 })).items;
  const releases = (await visit.perform(listReleases, { limit: 50 })).items;
  const open = (await visit.perform(listEmergencies, {})).items.filter(({ state }) => state === 'asked' || state === 'agreed' || state === 'open');
  const mine = requests.filter(({ isMine }) => isMine);
  const forMe = requests.filter(({ mayDecide }) => mayDecide);
  const others = requests.filter((one) => !one.isMine && !one.mayDecide);
  return {
    title: 'Disclosures',
    status: problem ? problem.kind.status : 200,
    scripts: ['times'],
    body: html`<h1>Disclosures</h1>
${problemBox(problem)}
${open.map((one) => html`<p class="note">Self-service for many (${one.tags.join(', ')}) is ${one.state} until ${clock(one.until, now)}. <a href="/disclosures/emergency/${one.id}">Look at it</a></p>`)}
<h2>For you to decide</h2>
${forMe.length === 0 ? html`<p>Nothing waits for you.</p>` : requestTable('For you to decide', forMe, now)}
${mine.length > 0 && html`<h2>What you asked</h2>${requestTable('What you asked', mine, now)}`}
${reviews.length > 0 && html`<h2>To look at afterwards</h2><ul class="plain">${reviews.map((one) => reviewEntry(visit, one))}</ul>`}
${
  (releases.length > 0 || visit.may('release.assist')) &&
  html`<h2>Codes of the desk</h2>
${
  releases.length === 0
    ? html`<p>There are none.</p>`
    : table(
        'Codes of the desk',
        ['Mac', 'For', 'Made by', 'State', 'Typed', 'Shown', 'Refused'],
        releases.map((one) => releaseRow(one, now)),
      )
}
${visit.may('release.assist') && html`<h3>Make a code</h3>${makeForm(visit)}`}`
}
${others.length > 0 && html`<h2>Of others</h2>${requestTable('Of others', others, now)}`}
<p class="ways">${visit.may('key.disclose') && html`<a href="/disclosures/brought">A key that others brought</a> `}<a href="/disclosures/emergency">Self-service for many</a></p>`,
  };
}

async function requestPage(visit: ConsoleVisit, problem: Problem | null = null): Promise<Page> {
  const { request: one, evidence } = await visit.perform(getDisclosure, { id: visit.params['id'] });
  const now = visit.at;
  const here = `/disclosures/${one.id}`;
  const from = visit.form['from'] ?? visit.query['from'] ?? '';
  const fields = from === '' ? html`` : html`<input type="hidden" name="from" value="${from}">`;
  return {
    title: `Request for ${one.device.serial}`,
    status: problem ? problem.kind.status : 200,
    scripts: ['times'],
    body: html`<h1>${one.requester} asks for the key of ${one.device.serial}</h1>
${problemBox(problem)}
<blockquote>${one.reason}</blockquote>
<dl class="facts">${one.ticket !== null && html`<dt>Ticket</dt><dd>${one.ticket}</dd>`}<dt>Key</dt><dd>${one.history ? 'one that was replaced' : 'the present one'}${one.recordId !== null && html` <code class="small">${one.recordId}</code>`}</dd>
<dt>State</dt><dd><strong>${states[one.state]}</strong>${one.state === 'waiting' ? html`, until ${clock(one.expiresAt, now)}` : one.state === 'approved' && one.grantedUntil !== null ? html`: it may be shown until ${clock(one.grantedUntil, now)}` : null}</dd>
<dt>Agreed</dt><dd>${one.votes.filter(({ vote }) => vote === 'yes').length} of ${one.quorum}</dd><dt>Asked</dt><dd>${when(one.createdAt, now)}</dd></dl>
${one.votes.length > 0 && html`<ul>${one.votes.map((vote) => html`<li>${vote.name} ${vote.vote === 'yes' ? 'agreed' : 'declined'} ${when(vote.at, now)}: ${vote.words}</li>`)}</ul>`}
${
  one.mayDecide &&
  html`<h2>Decide</h2><p>Make sure, at a number that you know, that the person is who they say. Nobody decides on what they ask themselves.</p>
${wordsForm(visit, `${here}/approve`, 'Agree', { hint: 'How you know that it is right. It is kept, and read.', fields, id: 'yes' })}
${wordsForm(visit, `${here}/decline`, 'Decline', { hint: 'What they can do instead.', fields, id: 'no', kind: 'second' })}`
}
${one.isMine && one.state === 'approved' && html`<p><a class="button" href="${keyPagePath(one.device.id)}${one.recordId !== null && one.history ? html`?record=${one.recordId}` : null}">To the key</a></p>`}
${one.isMine && (one.state === 'waiting' || one.state === 'approved') && html`<form method="post" action="${here}/withdraw">${visit.token(`${here}/withdraw`)}<button class="second">Take it back</button></form>`}
${evidenceParts(evidence, now)}
<p class="ways"><a href="/fleet/${one.device.id}">The Mac</a> <a href="/disclosures">Disclosures</a></p>`,
  };
}

export function addDisclosuresPage(admins: ConsoleSite): void {
  admins.page('/disclosures', 'signed-in', (visit) => listPage(visit));
  admins.page('/disclosures/:id', 'signed-in', (visit) => requestPage(visit));
  const decide = async (visit: ConsoleVisit, done: Promise<unknown>): Promise<Answer> => {
    const answer = await orProblem(done);
    return answer instanceof Problem ? requestPage(visit, answer) : { to: `/disclosures/${visit.params['id']}` };
  };
  const voted = ({ params, form }: ConsoleVisit) => ({ id: params['id'], words: form['words'], ...(form['from'] === undefined ? {} : { from: form['from'] }) });
  admins.act('/disclosures/:id/approve', { permission: 'request.decide', fresh: true }, (visit) =>
    decide(visit, visit.perform(approveDisclosure, voted(visit))),
  );
  admins.act('/disclosures/:id/decline', 'request.decide', (visit) => decide(visit, visit.perform(declineDisclosure, voted(visit))));
  admins.act('/disclosures/:id/withdraw', 'signed-in', (visit) => decide(visit, visit.perform(withdrawDisclosure, { id: visit.params['id'] })));
  admins.act('/disclosures/reviews/:id', 'review.decide', async (visit) => {
    const { state, words } = visit.form;
    const done = await orProblem(visit.perform(decideReview, { id: visit.params['id'], state, words }));
    return done instanceof Problem ? listPage(visit, done) : { to: '/disclosures' };
  });
}
