import { Problem } from '../protocol/problems.ts';
import { type Html, html } from '../web/html.ts';
import { ago } from '../web/times.ts';
import type { Page } from '../web/visit.ts';
import { cancelRotations, getRotations, listRotations, pauseRotations, resumeRotations, rotationDevices } from './operations/rotations.ts';
import { orProblem, problemBox } from './people-parts.ts';
import { sayQuiet } from './quiet-fields.ts';
import { macs, progress, stateWords, whichMacs } from './rotations-parts.ts';
import type { ConsoleSite, ConsoleVisit } from './visit.ts';

type Campaign = Awaited<ReturnType<typeof getRotations.run>>;
type Line = Awaited<ReturnType<typeof rotationDevices.run>>['items'][number];

const rowStates = { '': 'All', ordered: 'Ordered', failed: 'Failed', left: 'Left out', done: 'Replaced', waiting: 'Waiting' } as const;
const lineWords: Record<Line['state'], string> = {
  waiting: 'waiting for its wave',
  'not-fetched': 'ordered',
  fetched: 'fetched',
  replacing: 'being replaced',
  done: 'replaced',
  failed: 'failed',
  left: 'left out',
};
const refreshSeconds = 15;
/** For an hour: a page that was forgotten does not keep its person signed in. */
const mostRefreshes = 240;

/** Replacements of many keys: what there is, and how far each has come. */
export function addRotationsPages({ page, act }: ConsoleSite): void {
  const when = (visit: ConsoleVisit, time: string | null): Html | string => (time === null ? '–' : ago(Date.parse(time), visit.at, 'en'));

  page('/rotations', 'fleet.read', async (visit) => {
    const { cursor } = visit.query;
    const { items, next } = await visit.perform(listRotations, cursor === undefined ? {} : { cursor });
    return {
      title: 'Rotations',
      scripts: ['times'],
      body: html`<h1>Replacements of many keys</h1>
${visit.may('rotation.order') ? html`<p class="ways"><a class="button" href="/rotations/new">Replace keys of many Macs</a></p>` : null}
${items.length === 0 ? html`<p>None was started yet. A key that was shown or used is replaced by itself; here are the replacements that somebody started for many Macs at once.</p>` : table(visit, items)}
${next === null ? null : html`<p class="ways"><a href="/rotations?cursor=${next}">Older ones</a></p>`}`,
    };
  });

  const table = (visit: ConsoleVisit, items: readonly Campaign[]): Html => html`<div class="scroll" tabindex="0" role="region" aria-label="Replacements"><table>
<thead><tr><th scope="col">Reason</th><th scope="col">State</th><th scope="col" class="number">Macs</th><th scope="col" class="number">Replaced</th><th scope="col" class="number">Failed</th><th scope="col" class="number">Left out</th><th scope="col">By</th><th scope="col">Since</th></tr></thead><tbody>
${items.map((one) => html`<tr><th scope="row"><a href="/rotations/${one.id}">${one.reason}</a></th><td>${stateWords[one.state]}</td><td class="number">${one.counts.total}</td><td class="number">${one.counts.done}</td><td class="number">${one.counts.failed}</td><td class="number">${one.counts.left}</td><td>${one.by}</td><td>${when(visit, one.createdAt)}</td></tr>`)}</tbody></table></div>`;

  /** The state in a sentence with its reason, and what comes next. */
  function stateOf(visit: ConsoleVisit, one: Campaign): Html {
    if (one.state === 'paused') return html`It stands still since ${when(visit, one.stateAt)}: ${one.stateBecause} (${one.stateBy}).`;
    if (one.state === 'cancelled') return html`${one.stateBy} ended it ${when(visit, one.stateAt)}: ${one.stateBecause}.`;
    if (one.state === 'done') return html`It was done ${when(visit, one.stateAt)}.`;
    if (!one.gathered) return html`Its Macs are being written down.`;
    if (one.counts.waiting === 0) return html`All are ordered; it is done when each of these Macs has replaced its key, or its order has come to an end.`;
    return html`The next order is due ${when(visit, one.nextAt)}, the last ${when(visit, one.lastAt)}.`;
  }

  async function detail(visit: ConsoleVisit, problem: Problem | null = null): Promise<Page> {
    const id = visit.params['id'] ?? '';
    const one = await visit.perform(getRotations, { id });
    const { cursor, state, change } = visit.query;
    const wanted = state !== undefined && Object.hasOwn(rowStates, state) && state !== '' ? { state } : {};
    const { items, next } = await visit.perform(rotationDevices, { id, ...wanted, ...(cursor === undefined ? {} : { cursor }) });
    const isOpen = one.endedAt === null;
    const refreshed = Math.max(0, Number.parseInt(visit.query['looked'] ?? '0', 10) || 0) + 1;
    // Whoever types a reason would lose it.
    const isStill = change === '1' || problem !== null || cursor !== undefined || refreshed > mostRefreshes;
    const stateQuery = state ? `state=${state}&` : '';
    return {
      title: one.reason,
      status: problem ? problem.kind.status : 200,
      scripts: ['times'],
      ...(isOpen && !isStill ? { refresh: { seconds: refreshSeconds, to: `/rotations/${id}?${stateQuery}looked=${refreshed}` } } : {}),
      body: html`<h1>${one.reason}</h1>
${problemBox(problem)}
<p>${stateOf(visit, one)}</p>
${isOpen && refreshed > mostRefreshes ? html`<p class="note">This page has stood open for an hour and is not kept up any more. <a href="/rotations/${id}${state ? `?state=${state}` : ''}">Look again</a></p>` : null}
<div class="beside"><div>${progress(one)}
${one.reasons.length === 0 ? null : html`<h2>Why not</h2><ul>${one.reasons.map(({ state: of, says, count }) => html`<li>${macs(count)} ${of === 'failed' ? 'failed' : 'left out'}: ${says}</li>`)}</ul>`}</div>
<dl class="facts"><dt>For</dt><dd>${whichMacs(one)}</dd><dt>Started by</dt><dd>${one.by}, ${when(visit, one.createdAt)}</dd><dt>Rate</dt><dd>${one.perHour} in an hour, ${sayQuiet(one.quietHours)}</dd>
<dt>Holds</dt><dd>${one.overrideHold ? 'ended, by name' : 'respected'}</dd>${one.withoutLogin ? html`<dt>Login</dt><dd>not waited for</dd>` : null}</dl></div>
${isOpen && visit.may('rotation.order') ? ways(visit, one, change === '1' || problem !== null) : null}
<h2>Macs</h2>
<ul class="links">${Object.entries(rowStates).map(([name, words]) => html`<li><a href="/rotations/${id}${name === '' ? '' : `?state=${name}`}"${(state ?? '') === name ? html` aria-current="true"` : null}>${words}</a></li>`)}</ul>
${items.length === 0 ? html`<p>None of its Macs is so far.</p>` : lines(visit, items)}
${next === null ? null : html`<p class="ways"><a href="/rotations/${id}?${stateQuery}cursor=${next}">More</a></p>`}`,
    };
  }

  const lines = (visit: ConsoleVisit, items: readonly Line[]): Html => html`<div class="scroll" tabindex="0" role="region" aria-label="Macs"><table>
<thead><tr><th scope="col">Mac</th><th scope="col">How far</th><th scope="col">Since</th><th scope="col">What it waits for, or why not</th><th scope="col">Last seen</th></tr></thead><tbody>
${items.map((one) => html`<tr><th scope="row"><a href="/fleet/${one.macId}">${one.serial}</a></th><td>${lineWords[one.state]}</td><td>${when(visit, one.orderedAt ?? one.since)}</td><td>${one.needsHelp ? html`<strong>needs help:</strong> ` : null}${one.because}</td><td>${when(visit, one.lastSeenAt)}</td></tr>`)}</tbody></table></div>`;

  function ways(visit: ConsoleVisit, one: Campaign, isChanging: boolean): Html {
    if (!isChanging)
      return html`<p class="ways"><a href="/rotations/${one.id}?change=1">${one.state === 'paused' ? 'Go on with it, or end it' : 'Stop it, or end it'}</a></p>`;
    const form = (what: string, words: string, hint: string): Html => {
      const path = `/rotations/${one.id}/${what}`;
      return html`<form method="post" action="${path}">${visit.token(path)}<label for="${what}-reason">Reason</label><p class="hint" id="${what}-hint">${hint}</p><input id="${what}-reason" name="reason" required maxlength="500" autocomplete="off" aria-describedby="${what}-hint"><button class="second">${words}</button></form>`;
    };
    return html`<section><h2>Stop it, or end it</h2>
${one.state === 'paused' ? form('resume', 'Go on with it', 'From then on you answer for it.') : null}
${one.state === 'planned' || one.state === 'running' ? form('pause', 'Stop for now', 'Nothing more is ordered; what is ordered already goes on.') : null}
${one.state === 'cancelled' ? null : html`<p class="ways"><a href="/rotations/${one.id}/cancel">End it for good</a></p>`}<p class="ways"><a href="/rotations/${one.id}">Leave it as it is</a></p></section>`;
  }

  page('/rotations/:id', 'fleet.read', (visit) => detail(visit));
  for (const [what, made] of [
    ['pause', pauseRotations],
    ['resume', resumeRotations],
  ] as const)
    act(`/rotations/:id/${what}`, 'rotation.order', async (visit) => {
      const done = await orProblem(visit.perform(made, { id: visit.params['id'], reason: visit.form['reason'] }));
      return done instanceof Problem ? detail(visit, done) : { to: `/rotations/${done.id}` };
    });

  async function ending(visit: ConsoleVisit, problem: Problem | null = null): Promise<Page> {
    const one = await visit.perform(getRotations, { id: visit.params['id'] });
    const path = `/rotations/${one.id}/cancel`;
    const open = one.counts.notFetched + one.counts.fetched;
    return {
      title: 'End a replacement of many keys',
      status: problem ? problem.kind.status : 200,
      body: html`<h1>End “${one.reason}”?</h1>
${problemBox(problem)}
<p>Waiting for their wave, and keeping their keys: ${macs(one.counts.waiting)}. Replaced already, which is not undone: ${macs(one.counts.done)}.</p>
<form method="post" action="${path}">${visit.token(path)}
<fieldset><legend>Orders that wait for their Mac: ${open}</legend>
<p><label><input type="radio" name="orders" value="withdraw" checked> Take them back</label></p><p><label><input type="radio" name="orders" value="keep"> Leave them: these Macs replace their keys</label></p></fieldset>
<label for="reason">Reason</label><input id="reason" name="reason" required maxlength="500" autocomplete="off" value="${visit.form['reason']}">
<button class="danger">End it for ${macs(one.counts.waiting + open)}</button></form>
<p class="ways"><a href="/rotations/${one.id}">Leave it</a></p>`,
    };
  }
  page('/rotations/:id/cancel', 'rotation.order', (visit) => ending(visit));
  act('/rotations/:id/cancel', 'rotation.order', async (visit) => {
    const { reason, orders } = visit.form;
    const done = await orProblem(visit.perform(cancelRotations, { id: visit.params['id'], reason, orders: orders === 'keep' ? 'keep' : 'withdraw' }));
    return done instanceof Problem ? ending(visit, done) : { to: `/rotations/${done.id}` };
  });
}
