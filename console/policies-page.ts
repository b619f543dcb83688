import { Problem } from '../protocol/problems.ts';
import { tokenField } from '../web/form-token.ts';
import { type Html, html } from '../web/html.ts';
import { ago, dateOf } from '../web/times.ts';
import type { Page } from '../web/visit.ts';
import { dryRunPolicy, endPolicy, listPolicies, policyHistory, putPolicy } from './operations/policies.ts';
import { agreeToPolicy, declinePolicy, listProposals } from './operations/weaker-disclosure.ts';
import { orProblem, problemBox, scopeWords } from './people-parts.ts';
import { draftFrom, formOf, policyFields, sayRules } from './policy-form.ts';
import type { ConsoleSite, ConsoleVisit } from './visit.ts';
import { proposals } from './weaker-parts.ts';

type Form = Readonly<Record<string, string>>;
type DryRun = Awaited<ReturnType<typeof dryRunPolicy.run>>;

const another = 'new';

/** Policies: what holds for which Macs; each change is shown as what it would do before it is made. */
export function addPoliciesPages({ page, act }: ConsoleSite): void {
  page('/policies', 'policy.read', async (visit) => {
    return overview(visit, null);
  });

  async function overview(visit: ConsoleVisit, problem: Problem | null): Promise<Page> {
    const { items, builtIn } = await visit.perform(listPolicies, {});
    const waiting = await visit.perform(listProposals, { open: true });
    return {
      title: 'Policies',
      status: problem ? problem.kind.status : 200,
      scripts: ['times'],
      body: html`<h1>Policies</h1>
${problemBox(problem)}${visit.query['waits'] !== undefined && html`<p class="note" role="status">It waits for a second person below; nothing has changed.</p>`}
${proposals(visit, waiting.items)}
<p>Of those that are for a Mac and say something of a matter, the first in this list counts.</p>
<div class="scroll" tabindex="0" role="region" aria-label="Policies"><table><thead><tr><th scope="col" class="number">Rank</th><th scope="col">Name</th><th scope="col">For</th><th scope="col">Says</th><th scope="col">Changed</th></tr></thead><tbody>
${items.map((one) => html`<tr><td class="number">${one.rank}</td><th scope="row">${visit.may('policy.edit') ? html`<a href="/policies/${one.id}">${one.name}</a>` : one.name}</th><td>${scopeWords(one.tags)}</td><td>${sayRules(one.rules)}</td><td>${ago(Date.parse(one.changedAt), visit.at, 'en')} by ${one.changedBy}</td></tr>`)}
<tr><td class="number">–</td><th scope="row">Built in</th><td>all Macs</td><td>${sayRules(builtIn)}</td><td>–</td></tr></tbody></table></div>
<p class="ways">${visit.may('policy.edit') ? html`<a class="button" href="/policies/${another}">Make a policy</a> ` : null}<a href="/policies/history">How they stood before</a></p>`,
    };
  }

  act('/policies/proposals/:id', { permission: 'policy.agree', fresh: true }, async (visit) => {
    const { as, words } = visit.form;
    const done = await orProblem(visit.perform(as === 'agree' ? agreeToPolicy : declinePolicy, { id: visit.params['id'] ?? '', words }));
    return done instanceof Problem ? overview(visit, done) : { to: '/policies' };
  });

  function edit(visit: ConsoleVisit, id: string, form: Form, problem: Problem | null): Page {
    const path = `/policies/${id}/preview`;
    const title = id === another ? 'Make a policy' : `Change the policy ${form['name'] ?? ''}`;
    return {
      title,
      status: problem ? problem.kind.status : 200,
      body: html`<h1>${title}</h1>
${problemBox(problem)}
<form method="post" action="${path}">${visit.token(path)}<input type="hidden" name="version" value="${form['version']}">${policyFields(form)}<button>See what it would do</button></form>
<p class="ways">${id === another ? null : html`<a href="/policies/${id}/end">End this policy</a> `}<a href="/policies">Leave it</a></p>`,
    };
  }

  const asDraft = (id: string, form: Form) => ({ id: id === another ? null : id, ...draftFrom(form) });

  function preview(visit: ConsoleVisit, id: string, run: DryRun): Page {
    const { form } = visit;
    const fields = Object.entries(form)
      .filter(([name]) => name !== tokenField)
      .map(([name, value]) => html`<input type="hidden" name="${name}" value="${value}">`);
    const path = `/policies/${id}/save`;
    const back = `/policies/${id}/edit`;
    return {
      title: `What ${form['name'] ?? ''} would do`,
      scripts: ['times'],
      body: html`<h1>What “${form['name']}” would do</h1>
<p><strong>${run.words}.</strong> ${run.presentCount === 0 ? 'By the policies as they are, no key is replaced by its age in that time.' : `By the policies as they are it is ${run.presentCount}, of all Macs.`}</p>
${run.count === 0 ? null : dates(visit, run)}
<form method="post" action="${path}">${visit.token(path)}${fields}<button>Save the policy ${form['name']}</button></form>
<form method="post" action="${back}">${visit.token(back)}${fields}<button class="second">Change it</button></form>
<p class="ways"><a href="/policies">Leave it</a></p>`,
    };
  }

  const dates = (visit: ConsoleVisit, { days, first, count }: DryRun): Html => html`<h2>By day</h2>
<div class="scroll" tabindex="0" role="region" aria-label="By day"><table><thead><tr><th scope="col">Day</th><th scope="col" class="number">Would be replaced</th><th scope="col" class="number">As it is</th></tr></thead><tbody>
${days.filter((day) => day.count > 0 || day.present > 0).map((day) => html`<tr><th scope="row">${dateOf(Date.parse(day.from), 'en')}</th><td class="number">${day.count}</td><td class="number">${day.present}</td></tr>`)}</tbody></table></div>
<h2>The first${count > first.length ? ` ${first.length}` : null}</h2>
<div class="scroll" tabindex="0" role="region" aria-label="The first"><table><thead><tr><th scope="col">Mac</th><th scope="col">When</th><th scope="col">Key here since</th></tr></thead><tbody>
${first.map((one) => html`<tr><th scope="row"><a href="/fleet/${one.macId}">${one.serial}</a></th><td>${ago(Date.parse(one.at), visit.at, 'en')}</td><td>${dateOf(Date.parse(one.keySince), 'en')}</td></tr>`)}</tbody></table></div>`;

  page('/policies/history', 'policy.read', async (visit) => {
    const { cursor } = visit.query;
    const { items, next } = await visit.perform(policyHistory, cursor === undefined ? {} : { cursor });
    return {
      title: 'How the policies stood',
      scripts: ['times'],
      body: html`<h1>How the policies stood</h1>
${items.length === 0 ? html`<p>There was none yet.</p>` : null}
<ol class="plain">${items.map((one) => html`<li>${ago(Date.parse(one.at), visit.at, 'en')}, ${one.actor}: <strong>${one.name}</strong>, version ${one.version}, ${one.rules === null ? 'ended' : html`rank ${one.rank}, ${scopeWords(one.tags)}: ${sayRules(one.rules)}`}. Reason: ${one.reason}.</li>`)}</ol>
${next === null ? null : html`<p class="ways"><a href="/policies/history?cursor=${next}">Older ones</a></p>`}
<p class="ways"><a href="/policies">Policies</a></p>`,
    };
  });

  async function presentForm(visit: ConsoleVisit, id: string): Promise<Form> {
    const { items, builtIn } = await visit.perform(listPolicies, {});
    const rank = Math.min(9999, Math.max(0, ...items.map((one) => one.rank)) + 10);
    if (id === another) return { ...formOf({ name: '', rank, tags: null, rules: {}, version: 0 }, builtIn as Parameters<typeof formOf>[1]), version: '' };
    const found = items.find((one) => one.id === id);
    if (!found) throw new Problem('NOT_FOUND', 'no such policy');
    return formOf(found, builtIn as Parameters<typeof formOf>[1]);
  }

  const edits = { permission: 'policy.edit', fresh: true } as const;
  const idOf = (visit: ConsoleVisit): string => visit.params['id'] ?? '';
  page('/policies/:id', edits, async (visit) => edit(visit, idOf(visit), await presentForm(visit, idOf(visit)), null));
  act('/policies/:id/edit', edits, async (visit) => edit(visit, idOf(visit), visit.form, null));
  act('/policies/:id/preview', edits, async (visit) => {
    const run = await orProblem(visit.perform(dryRunPolicy, asDraft(idOf(visit), visit.form)));
    return run instanceof Problem ? edit(visit, idOf(visit), visit.form, run) : preview(visit, idOf(visit), run);
  });
  act('/policies/:id/save', edits, async (visit) => {
    const { name, version, reason } = visit.form;
    const change = { id: idOf(visit), version: version ? Number(version) : null, name, ...draftFrom(visit.form), reason };
    const done = await orProblem(visit.perform(putPolicy, change));
    return done instanceof Problem ? edit(visit, idOf(visit), visit.form, done) : { to: done.proposal === null ? '/policies' : '/policies?waits=1' };
  });

  async function ending(visit: ConsoleVisit, problem: Problem | null): Promise<Page> {
    const form = await presentForm(visit, idOf(visit));
    const path = `/policies/${idOf(visit)}/end`;
    return {
      title: `End the policy ${form['name'] ?? ''}`,
      status: problem ? problem.kind.status : 200,
      body: html`<h1>End the policy ${form['name']}?</h1>
${problemBox(problem)}
<p>For ${form['tags'] === '' ? 'all Macs' : `Macs tagged ${form['tags']}`} the next policy counts then, or the built-in rules. What it has ordered already goes on.</p>
<form method="post" action="${path}">${visit.token(path)}<label for="reason">Reason</label><input id="reason" name="reason" required maxlength="500" autocomplete="off" value="${visit.form['reason']}"><button class="danger">End the policy ${form['name']}</button></form>
<p class="ways"><a href="/policies">Leave it</a></p>`,
    };
  }
  page('/policies/:id/end', edits, (visit) => ending(visit, null));
  act('/policies/:id/end', edits, async (visit) => {
    const done = await orProblem(visit.perform(endPolicy, { id: idOf(visit), reason: visit.form['reason'] }));
    return done instanceof Problem ? ending(visit, done) : { to: done.proposal === null ? '/policies' : '/policies?waits=1' };
  });
}
