import { Problem } from '../protocol/problems.ts';
import { tokenDays } from '../server/admins/tokens.ts';
import { type Role, roles } from '../server/permissions.ts';
import { type Html, html } from '../web/html.ts';
import { ago, dateOf } from '../web/times.ts';
import type { Page } from '../web/visit.ts';
import { everybodysTokens, newToken, ownTokens, tokenEnded } from './operations/tokens.ts';
import { orProblem, problemBox, scopeWords, tagsFrom } from './people-parts.ts';
import type { ConsoleSite, ConsoleVisit } from './visit.ts';

type Listed = Awaited<ReturnType<typeof ownTokens.run>>['items'][number];

/** A table of tokens, each with the button that ends it. */
function tokenTable(visit: ConsoleVisit, items: readonly Listed[], given: { back: string; makers: boolean; may: boolean }): Html {
  const { back, makers, may } = given;
  const at = (time: string | null, otherwise: string) => (time === null ? otherwise : ago(Date.parse(time), visit.at, 'en'));
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Tokens"><table><thead><tr><th scope="col">Name</th>${makers ? html`<th scope="col">Of</th>` : null}<th scope="col">Kind</th><th scope="col">May</th><th scope="col">Last used</th><th scope="col">Good until</th><th scope="col">End</th></tr></thead><tbody>
${items.map(
  (one) => html`<tr><th scope="row">${one.name}</th>${makers ? html`<td>${one.maker}</td>` : null}<td>${one.kind}</td>
<td>${one.powerless ? html`<strong>nothing now</strong> ` : null}${one.roles === null ? 'all that its person may, but make tokens' : one.roles.map(({ role, tags }) => `${role}, ${scopeWords(tags)}`).join('; ')}</td>
<td>${at(one.lastUsedAt, 'never')}${one.lastNetwork === null ? null : `, from ${one.lastNetwork}`}</td><td>${dateOf(Date.parse(one.expiresAt), 'en')}</td>
<td>${may ? html`<form method="post" action="/tokens/end">${visit.token('/tokens/end')}<input type="hidden" name="id" value="${one.id}"><input type="hidden" name="back" value="${back}"><button class="quiet">End ${one.name}</button></form>` : null}</td></tr>`,
)}</tbody></table></div>`;
}

/** Tokens: one's own, and those of everybody for whoever may see them. */
export function addTokensPage({ page, act }: ConsoleSite): void {
  async function own(visit: ConsoleVisit, problem: Problem | null = null): Promise<Page> {
    const { items } = await visit.perform(ownTokens, {});
    const { form } = visit;
    return {
      title: problem ? `${problem.kind.title} – Tokens` : 'Tokens',
      status: problem ? problem.kind.status : 200,
      scripts: ['times'],
      body: html`<h1>Your tokens</h1>
${problemBox(problem)}
<p>With a token a script does by the <a href="/docs">API</a> what you may do, and never more: what is taken from you is taken from it at once.</p>
${items.length === 0 ? html`<p>You have none. <code>sparekeyctl login</code> makes one by itself; for a script, make one below.</p>` : tokenTable(visit, items, { back: '/tokens', makers: false, may: true })}
${visit.may('people.read') ? html`<p class="ways"><a href="/people/tokens">Tokens of everybody</a></p>` : null}
<h2>Make a token</h2>
<form method="post" action="/tokens/make">${visit.token('/tokens/make')}
<label for="name">Name</label><p class="hint" id="name-hint">What it is for, as the audit will name it.</p><input id="name" name="name" required maxlength="64" autocomplete="off" aria-describedby="name-hint" value="${form['name']}">
<fieldset><legend>It may what these roles may, as far as you have them</legend>${(Object.keys(roles) as Role[]).map(
        (role) =>
          html`<label class="choice"><input type="checkbox" name="role-${role}" value="1"${form[`role-${role}`] ? html` checked` : null}> ${role}: ${roles[role].says}</label>`,
      )}</fieldset>
<label for="tags">Only for Macs with one of these tags</label><p class="hint" id="tags-hint">Separated by commas. Empty: for all Macs that you have the role for.</p><input id="tags" name="tags" maxlength="1000" autocomplete="off" aria-describedby="tags-hint" value="${form['tags']}">
<label class="choice"><input type="checkbox" name="service" value="1"${form['service'] ? html` checked` : null}> It is for a program, not for me: it is shown no key unless a policy says so</label>
<label for="days">Days</label><p class="hint" id="days-hint">${tokenDays.personal.most} at most, ${tokenDays.service.most} for a program. Empty: ${tokenDays.personal.usual}, or ${tokenDays.service.usual}.</p><input id="days" name="days" inputmode="numeric" pattern="[0-9]{1,3}" maxlength="3" autocomplete="off" aria-describedby="days-hint" value="${form['days']}">
<button>Make the token</button></form>`,
    };
  }

  page('/tokens', 'token.own', (visit) => own(visit));

  act('/tokens/make', { permission: 'token.own', fresh: true }, async (visit) => {
    const { name, tags, service, days = '' } = visit.form;
    const wanted = (Object.keys(roles) as Role[]).filter((role) => visit.form[`role-${role}`] === '1');
    const given = {
      name,
      roles: wanted.map((role) => ({ role, tags: tagsFrom(tags) })),
      service: service === '1',
      ...(days.trim() === '' ? {} : { days: Number(days) }),
    };
    if (wanted.length === 0) return own(visit, new Problem('ROLE_INVALID', 'choose at least one role'));
    const made = await orProblem(visit.perform(newToken, given));
    if (made instanceof Problem) return own(visit, made);
    return {
      title: 'A new token',
      scripts: ['times'],
      body: html`<h1>The token ${name}</h1>
<p><strong>It is shown this once.</strong> Put it where the script finds it and nobody else does; whoever has it may what it may.</p>
<pre class="scroll" tabindex="0"><code>${made.token}</code></pre>
<p>Good until ${dateOf(Date.parse(made.expiresAt), 'en')}.</p>
<p class="ways"><a href="/tokens">Your tokens</a></p>`,
    };
  });

  act('/tokens/end', 'signed-in', async (visit) => {
    const { id = '', back } = visit.form;
    const done = await orProblem(visit.perform(tokenEnded, { id }));
    if (done instanceof Problem) return own(visit, done);
    return { to: back === '/people/tokens' ? back : '/tokens' };
  });

  page('/people/tokens', 'people.read', async (visit) => {
    const { cursor } = visit.query;
    const { items, next } = await visit.perform(everybodysTokens, { ...(cursor === undefined ? {} : { cursor }) });
    return {
      title: 'Tokens of everybody',
      scripts: ['times'],
      body: html`<h1>Tokens of everybody</h1>
${items.length === 0 ? html`<p>Nobody has one.</p>` : tokenTable(visit, items, { back: '/people/tokens', makers: true, may: visit.may('people.edit') })}
${next === null ? null : html`<p class="ways"><a href="/people/tokens?cursor=${next}">More</a></p>`}
<p class="ways"><a href="/people">People</a></p>`,
    };
  });
}
