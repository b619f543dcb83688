import { Problem } from '../protocol/problems.ts';
import { filterFromUrl } from '../server/fleet/filter.ts';
import type { Tx } from '../server/parts.ts';
import { spendForm } from '../web/form-token.ts';
import { type Html, html } from '../web/html.ts';
import type { Page } from '../web/visit.ts';
import { fromTheWall, usualZone } from './local-time.ts';
import { perform } from './operation.ts';
import { planRotations, startRotations } from './operations/rotations.ts';
import { orProblem, problemBox } from './people-parts.ts';
import { quietFields, quietFrom } from './quiet-fields.ts';
import { macs, replaceKeys, sayFilter } from './rotations-parts.ts';
import type { ConsoleSite, ConsoleVisit } from './visit.ts';

type Plan = Awaited<ReturnType<typeof planRotations.run>>;
type Form = Readonly<Record<string, string>>;

/** Fields that are passed on from the preview to the start. */
const passedOn = /^(macs|filter|from|zone|perHour|withoutLogin|overrideHold|serials|notSeenDays|reason|quiet-\d{1,2}-(from|to|mon|tue|wed|thu|fri|sat|sun))$/;

const lines = (text: string | undefined): string[] =>
  (text ?? '')
    .split(/[\s,;]+/)
    .map((word) => word.trim())
    .filter((word) => word !== '');

/** What the operation takes; what is wrong with it is said there. */
function wishFrom(form: Form): Record<string, unknown> {
  const named = lines(form['macs']);
  const filter = Object.fromEntries(Object.entries(filterFromUrl(new URLSearchParams(form['filter']))).filter(([, value]) => value !== undefined));
  const chosen = named.length > 0 ? { kind: 'macs', macs: named } : Object.keys(filter).length > 0 ? { kind: 'filter', filter } : { kind: 'all' };
  const from = (form['from'] ?? '') === '' ? null : fromTheWall(form['zone'] ?? '', form['from'] ?? '');
  if (from === null && (form['from'] ?? '') !== '') throw new Problem('MESSAGE_INVALID', 'from: a time and a time zone that there is');
  const perHour = Number(form['perHour']);
  const days = Number(form['notSeenDays']);
  return {
    chosen,
    ...(from === null ? {} : { from: new Date(from).toISOString() }),
    ...((form['perHour'] ?? '') === '' ? {} : { perHour }),
    quietHours: quietFrom(form),
    withoutLogin: form['withoutLogin'] === '1',
    overrideHold: form['overrideHold'] === '1',
    notSeenDays: (form['notSeenDays'] ?? '') === '' ? null : days,
  };
}

/** Starts a replacement of many keys: the form, what would happen, and the button that does it. */
export function addRotationsStartPages({ site, page, act }: ConsoleSite): void {
  const sayChosen = (form: Form): string => {
    const named = lines(form['macs']);
    return named.length > 0 ? `${macs(named.length)}, by name` : sayFilter(filterFromUrl(new URLSearchParams(form['filter'])));
  };

  function fields(visit: ConsoleVisit, form: Form, problem: Problem | null): Page {
    const path = '/rotations/plan';
    const checked = (name: string): Html | null => (form[name] === '1' ? html` checked` : null);
    return {
      title: 'Replace keys of many Macs',
      status: problem ? problem.kind.status : 200,
      body: html`<h1>Replace the keys of many Macs</h1>
${problemBox(problem)}
<form method="post" action="${path}">${visit.token(path)}<input type="hidden" name="filter" value="${form['filter']}">
<h2>Which Macs</h2>
<p>${(form['macs'] ?? '') === '' ? sayChosen(form) : null} <a href="/fleet?${form['filter']}">Choose others in the fleet</a></p>
<label for="macs">Or these, by serial number</label><p class="hint" id="macs-hint">One to a line, at most 1000. Empty: the ones above.</p><textarea id="macs" name="macs" rows="4" maxlength="70000" spellcheck="false" aria-describedby="macs-hint">${form['macs']}</textarea>
<label for="notSeenDays">Leave out Macs that were not heard of for so many days</label><input id="notSeenDays" name="notSeenDays" type="number" min="1" max="3650" value="${form['notSeenDays']}">
<h2>When</h2>
<label for="from">Not before</label><p class="hint" id="from-hint">Empty: now.</p><input id="from" name="from" type="datetime-local" aria-describedby="from-hint" value="${form['from']}">
<label for="perHour">Macs in an hour, at most</label><input id="perHour" name="perHour" type="number" min="1" max="10000" value="${form['perHour']}">
${quietFields(form, usualZone())}
<p><label><input type="checkbox" name="withoutLogin" value="1"${checked('withoutLogin')}> Nobody logs in on these Macs: an hour of uptime is enough</label></p>
${
  visit.may('rotation.override')
    ? html`<details${form['overrideHold'] === '1' ? html` open` : null}><summary>Keys that were shown a short time ago</summary>
<p><label><input type="checkbox" name="overrideHold" value="1"${checked('overrideHold')}> Replace these too, though somebody may be typing them</label></p>
<label for="serials">Type the serial number of every Mac that this is for</label><textarea id="serials" name="serials" rows="2" maxlength="70000" spellcheck="false">${form['serials']}</textarea></details>`
    : null
}
<label for="reason">Reason</label><p class="hint" id="reason-hint">The people of these Macs and the auditors can read it.</p><input id="reason" name="reason" required maxlength="500" autocomplete="off" aria-describedby="reason-hint" value="${form['reason']}">
<button>See what would happen</button></form>`,
    };
  }

  function preview(visit: ConsoleVisit, plan: Plan): Page {
    const path = '/rotations/start';
    const { form } = visit;
    const hidden = Object.entries(form).filter(([name]) => passedOn.test(name));
    const fields = hidden.map(([name, value]) => html`<input type="hidden" name="${name}" value="${value}">`);
    return {
      title: 'Replace keys of many Macs',
      body: html`<h1>${plan.count === 0 ? 'No key would be replaced' : `${replaceKeys(plan.count)}?`}</h1>
<p>${sayChosen(form)}: ${macs(plan.matching)}.</p>
${plan.count === 0 ? null : html`<p><strong>${plan.words}.</strong> You can stop it at any time.</p>`}
${plan.leftOut.length === 0 ? null : html`<h2>Left out</h2><ul>${plan.leftOut.map(({ says, count }) => html`<li>${macs(count)}: ${says}</li>`)}</ul>`}
${plan.notes.length === 0 ? null : html`<ul>${plan.notes.map((note) => html`<li>${note}</li>`)}</ul>`}
${plan.count === 0 ? null : html`<form method="post" action="${path}">${visit.token(path, true)}${fields}<input type="hidden" name="confirmCount" value="${plan.count}"><input type="hidden" name="planDigest" value="${plan.planDigest}"><button>${replaceKeys(plan.count)}</button></form>`}
<form method="post" action="/rotations/edit">${visit.token('/rotations/edit')}${fields}<button class="second">Change it</button></form>
<p class="ways"><a href="/rotations">Leave it</a></p>`,
    };
  }

  page('/rotations/new', 'rotation.order', async (visit) => {
    const params = new URL(visit.path, 'https://console').searchParams;
    const named = params.getAll('mac').join('\n');
    params.delete('mac');
    // What is none of a filter is said before anything is filled in.
    filterFromUrl(params);
    return fields(visit, { filter: params.toString(), macs: named, notSeenDays: '30' }, null);
  });
  act('/rotations/edit', 'rotation.order', async (visit) => fields(visit, visit.form, null));
  act('/rotations/plan', 'rotation.order', async (visit) => {
    const plan = await orProblem((async () => visit.perform(planRotations, wishFrom(visit.form)))());
    return plan instanceof Problem ? fields(visit, visit.form, plan) : preview(visit, plan);
  });
  act('/rotations/start', 'rotation.order', async (visit) => {
    const { reason, confirmCount, planDigest, serials } = visit.form;
    const more = { reason, confirmCount: Number(confirmCount), planDigest, serials: lines(serials) };
    const { backend, log } = site.ground;
    const acting = { admin: visit.admin, backend, log, at: visit.at, requestId: visit.requestId };
    // Pressed twice it is one.
    const before = (tx: Tx, at: number): Promise<void> => spendForm(tx, visit, at);
    const done = await orProblem((async () => perform(startRotations, { ...acting, before }, { ...wishFrom(visit.form), ...more }))());
    if (!(done instanceof Problem)) return { to: `/rotations/${done.id}` };
    return done.code === 'FORM_SPENT' ? { to: '/rotations' } : fields(visit, visit.form, done);
  });
}
