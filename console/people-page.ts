import { Problem } from '../protocol/problems.ts';
import { type Role, roles } from '../server/permissions.ts';
import { type Html, html } from '../web/html.ts';
import { ago, dateOf } from '../web/times.ts';
import type { Page } from '../web/visit.ts';
import { peopleList, peopleReview, roleGiven, rolesList, rolesTable, roleTaken } from './operations/people.ts';
import { orProblem, problemBox, scopeWords, tagsFrom } from './people-parts.ts';
import type { ConsoleSite, ConsoleVisit } from './visit.ts';

type Person = Awaited<ReturnType<typeof peopleList.run>>['items'][number];
type RoleListed = Awaited<ReturnType<typeof rolesList.run>>['items'][number];

const roleNames = Object.keys(roles) as Role[];

function waysOf({ ways, provider, emergency }: Person): string {
  const passkeys = ways.passkeys === 0 ? [] : [ways.passkeys === 1 ? 'a passkey' : `${ways.passkeys} passkeys`];
  const all = [...(ways.provider ? [provider] : []), ...(ways.password ? ['a password'] : []), ...passkeys];
  return `${all.length === 0 ? 'in no way yet' : all.join(', ')}${emergency ? ' (emergency account)' : ''}`;
}

/** People and what they may: who has which role, and the forms that give and take them. */
export function addPeoplePage({ page, act }: ConsoleSite): void {
  const since = (visit: ConsoleVisit, time: string | null) => (time === null ? 'never' : ago(Date.parse(time), visit.at, 'en'));

  async function list(visit: ConsoleVisit, problem: Problem | null = null): Promise<Page> {
    const { q = '', cursor, everybody } = visit.query;
    const asked = { ...(q.trim() === '' ? {} : { q }), ...(cursor === undefined ? {} : { cursor }), everybody: everybody === '1' };
    const { items, next } = await visit.perform(peopleList, asked);
    const groups = (await visit.perform(rolesList, {})).items.filter(({ subject }) => subject.kind === 'group');
    const more = new URLSearchParams({ ...(q === '' ? {} : { q }), ...(everybody === '1' ? { everybody } : {}), cursor: next ?? '' }).toString();
    return {
      title: problem ? `${problem.kind.title} – People` : 'People',
      status: problem ? problem.kind.status : 200,
      scripts: ['times'],
      body: html`<h1>People</h1>
${problemBox(problem)}
<form method="get" action="/people" role="search" aria-label="People"><label for="q">Name or address</label><input id="q" name="q" type="search" maxlength="100" value="${q}">
<label class="choice"><input type="checkbox" name="everybody" value="1"${everybody === '1' ? html` checked` : null}> Those too who have no role</label><button class="second">Find</button></form>
${items.length === 0 ? html`<p>${q === '' ? 'Nobody has a role.' : 'Nobody who has a role is called like that. Whoever has signed in once is found with “Those too who have no role”.'}</p>` : peopleTable(visit, items)}
${next === null ? null : html`<p class="ways"><a href="/people?${more}">More</a></p>`}
<h2>Groups</h2>
${groups.length === 0 ? html`<p>No group has a role. With a role for a group of your sign-in provider, people come and go there, and not here.</p>` : groupTable(visit, groups)}
<ul class="links"><li><a href="/people/review">Access review</a></li><li><a href="/people/table">Who may do what</a></li><li><a href="/people/tokens">Tokens of everybody</a></li></ul>
${visit.may('people.edit') ? giveForm(visit) : null}`,
    };
  }

  const roleCell = (visit: ConsoleVisit, id: string, words: string): Html =>
    html`${words}${visit.may('people.edit') ? html` <a href="/people/roles/${id}">Take away</a>` : null}`;

  const peopleTable = (visit: ConsoleVisit, items: readonly Person[]): Html => html`<div class="scroll" tabindex="0" role="region" aria-label="People"><table>
<thead><tr><th scope="col">Name</th><th scope="col">Roles</th><th scope="col">Signs in with</th><th scope="col">At the console</th><th scope="col">By token</th></tr></thead><tbody>
${items.map(
  (
    one,
  ) => html`<tr><th scope="row">${one.displayName} <span class="soft">${one.userName}</span>${one.state === 'disabled' ? html` <strong>disabled</strong>` : null}</th>
<td>${one.roles.length === 0 ? 'none' : html`<ul>${one.roles.map(({ id, role, tags, group }) => html`<li>${group === null ? roleCell(visit, id, `${role}, ${scopeWords(tags)}`) : `${role}, ${scopeWords(tags)}, by the group ${group}`}</li>`)}</ul>`}</td>
<td>${waysOf(one)}</td><td>${since(visit, one.lastAtConsoleAt)}</td><td>${since(visit, one.lastTokenUseAt)}</td></tr>`,
)}</tbody></table></div>`;

  const groupTable = (
    visit: ConsoleVisit,
    items: readonly RoleListed[],
  ): Html => html`<div class="scroll" tabindex="0" role="region" aria-label="Groups"><table>
<thead><tr><th scope="col">Group</th><th scope="col">Role</th><th scope="col">Since</th><th scope="col">Given by</th><th scope="col">Reason</th></tr></thead><tbody>
${items.map((one) => html`<tr><th scope="row">${one.subject.name}</th><td>${roleCell(visit, one.id, `${one.role}, ${scopeWords(one.tags)}`)}</td><td>${dateOf(Date.parse(one.since), 'en')}</td><td>${one.by}</td><td>${one.reason}</td></tr>`)}</tbody></table></div>`;

  const giveForm = (visit: ConsoleVisit): Html => html`<h2>Give a role</h2>
<form method="post" action="/people/give">${visit.token('/people/give')}
<label for="name">To</label><p class="hint" id="name-hint">The user name of somebody who has an account or has signed in once, or the name of a group as the provider writes it (provider:name where there are several providers).</p><input id="name" name="name" required maxlength="300" autocomplete="off" autocapitalize="none" spellcheck="false" aria-describedby="name-hint" value="${visit.form['name']}">
<label class="choice"><input type="checkbox" name="group" value="1"${visit.form['group'] ? html` checked` : null}> It is a group</label>
<label for="role">Role</label><select id="role" name="role">${roleNames.map((role) => html`<option value="${role}"${visit.form['role'] === role ? html` selected` : null}>${role}: ${roles[role].says}</option>`)}</select>
<label for="tags">Only for Macs with one of these tags</label><p class="hint" id="tags-hint">Separated by commas. Empty: for all Macs.</p><input id="tags" name="tags" maxlength="1000" autocomplete="off" aria-describedby="tags-hint" value="${visit.form['tags']}">
<label for="reason">Reason</label><input id="reason" name="reason" required maxlength="500" autocomplete="off" value="${visit.form['reason']}">
<button>Give the role</button></form>`;

  page('/people', 'people.read', (visit) => list(visit));

  act('/people/give', { permission: 'people.edit', fresh: true }, async (visit) => {
    const { name, group, role, tags, reason } = visit.form;
    const subject = group === '1' ? { group: name } : { person: name };
    const done = await orProblem(visit.perform(roleGiven, { ...subject, role, tags: tagsFrom(tags), reason }));
    return done instanceof Problem ? list(visit, done) : { to: '/people' };
  });

  async function take(visit: ConsoleVisit, problem: Problem | null = null): Promise<Page> {
    const id = visit.params['role'] ?? '';
    const one = (await visit.perform(rolesList, {})).items.find((each) => each.id === id);
    if (!one) throw new Problem('NOT_FOUND');
    const of = one.subject.kind === 'group' ? `the group ${one.subject.name}` : one.subject.name;
    const path = `/people/roles/${id}`;
    return {
      title: `Take the role ${one.role} from ${of}`,
      status: problem ? problem.kind.status : 200,
      scripts: ['times'],
      body: html`<h1>Take the role ${one.role} from ${of}?</h1>
${problemBox(problem)}
<p>It was given for ${scopeWords(one.tags)} ${ago(Date.parse(one.since), visit.at, 'en')} by ${one.by}: ${one.reason}.</p>
<p>It holds from the next click of theirs on; tokens that they made with it may less at once.</p>
<form method="post" action="${path}">${visit.token(path)}<label for="reason">Reason</label><input id="reason" name="reason" required maxlength="500" autocomplete="off" value="${visit.form['reason']}"><button class="danger">Take the role ${one.role} from ${of}</button></form>
<p class="ways"><a href="/people">Leave it</a></p>`,
    };
  }
  page('/people/roles/:role', { permission: 'people.edit', fresh: true }, (visit) => take(visit));
  act('/people/roles/:role', { permission: 'people.edit', fresh: true }, async (visit) => {
    const done = await orProblem(visit.perform(roleTaken, { id: visit.params['role'], reason: visit.form['reason'] }));
    return done instanceof Problem ? take(visit, done) : { to: '/people' };
  });

  page('/people/review', 'people.read', async (visit) => {
    const { roles: given, tokens } = await visit.perform(peopleReview, {});
    return {
      title: 'Access review',
      scripts: ['times'],
      body: html`<h1>Access review</h1>
<p>Who may what, since when, and whether they use it. Take away what nobody needs any more. As JSON: <a href="/v1/people/review">/v1/people/review</a>.</p>
${given.length === 0 ? html`<p>Nobody has a role.</p>` : null}
${given.map(
  (one) => html`<section><h2>${one.role}, ${scopeWords(one.tags)}: ${one.subject.kind === 'group' ? `group ${one.subject.name}` : one.subject.name}</h2>
<p>Since ${dateOf(Date.parse(one.since), 'en')}, given by ${one.by}: ${one.reason}. ${one.count === 0 ? html`<strong>Nobody has it by this.</strong>` : one.count === 1 ? 'One person has it.' : `${one.count} people have it.`}</p>
${one.people.length === 0 ? null : html`<ul>${one.people.map((each) => html`<li>${each.displayName} <span class="soft">${each.userName}</span>, used ${since(visit, each.lastUsedAt)}, signed in ${since(visit, each.lastSignedInAt)}</li>`)}</ul>`}</section>`,
)}
<h2>Tokens</h2>
${tokens.length === 0 ? html`<p>There are none.</p>` : html`<ul>${tokens.map((one) => html`<li>${one.name} of ${one.maker} (${one.kind}), used ${since(visit, one.lastUsedAt)}, good until ${dateOf(Date.parse(one.expiresAt), 'en')}${one.powerless ? ', may nothing now' : null}</li>`)}</ul>`}
<p class="ways"><a href="/people">People</a></p>`,
    };
  });

  page('/people/table', 'signed-in', async (visit) => {
    const { permissions, roles: columns } = await visit.perform(rolesTable, {});
    return {
      title: 'Who may do what',
      body: html`<h1>Who may do what</h1>
<p>Each role is for all Macs, or for those with certain tags. Several roles add up.</p>
<div class="scroll" tabindex="0" role="region" aria-label="Who may do what"><table><thead><tr><th scope="col">Who may</th>${columns.map(({ role }) => html`<th scope="col">${role}</th>`)}</tr></thead><tbody>
${permissions.map(({ permission, says }) => html`<tr><th scope="row">${says}</th>${columns.map(({ may }) => html`<td>${may.includes(permission) ? 'yes' : html`<span class="soft">–</span>`}</td>`)}</tr>`)}</tbody></table></div>`,
    };
  });
}
