import { Problem } from '../protocol/problems.ts';
import { type Html, html } from '../web/html.ts';
import type { Page } from '../web/visit.ts';
import { acts, facts, keys, openWork, people, tags, timeline, volumes } from './device-parts.ts';
import { devicePath, inWords, sentence, since } from './fleet-parts.ts';
import { deviceGet, deviceTimeline } from './operations/devices.ts';
import { tagAdd, tagRemove } from './operations/tags.ts';
import { agreeToTags } from './operations/weaker-disclosure.ts';
import { orProblem, problemBox } from './people-parts.ts';
import type { ConsoleSite, ConsoleVisit } from './visit.ts';
import { rulesKept } from './weaker-parts.ts';

type Detail = Awaited<ReturnType<typeof deviceGet.run>>;

/** The state above says these already. */
const saidAbove: readonly string[] = ['lost', 'doubtful', 'foreign', 'no-key', 'alarm'];

/** What needs a person besides, and alarms, each with what to do. */
function troubles(visit: ConsoleVisit, { needs, alarms, state }: Detail): Html | null {
  const more = needs.filter(({ kind }) => !saidAbove.includes(kind));
  if (more.length + alarms.length === 0) return null;
  return html`<section class="deadline" aria-label="What needs a person"><ul class="plain">${more.map(
    ({ says, detail, next, since: at }) =>
      html`<li><strong>${sentence(says)}</strong> ${inWords(sentence(detail))} It began ${since(at, visit.at)}. ${state.next === sentence(next) ? null : inWords(sentence(next))}</li>`,
  )}${alarms.map(
    (alarm) =>
      html`<li><strong>${sentence(alarm.says)}</strong> ${inWords(sentence(alarm.detail))} ${sentence(alarm.fix)} ${alarm.owner === null ? 'Nobody looks after it.' : html`<bdi>${alarm.owner}</bdi> looks after it.`} <a href="/alarms/${alarm.id}">The alarm</a></li>`,
  )}</ul></section>`;
}

/** One Mac: what is so and why, what happened, what is known. */
async function devicePage(visit: ConsoleVisit, problem: Problem | null = null): Promise<Page> {
  const id = visit.params['id'] ?? '';
  const detail = await visit.perform(deviceGet, { id });
  const { device, state, merged, disclosures } = detail;
  const { cursor } = visit.query;
  const { items, next } = await visit.perform(deviceTimeline, { id: device.id, ...(cursor === undefined ? {} : { cursor }) });
  const path = devicePath(device.id);
  const done = visit.query['done'];
  return {
    title: `${device.name} ${device.serial}`,
    status: problem ? problem.kind.status : 200,
    scripts: ['times'],
    body: html`<h1><bdi>${device.name}</bdi></h1>
<p class="soft"><code><bdi>${device.serial}</bdi></code>${device.user === null ? null : html` · <bdi>${device.user}</bdi>`}${device.model === null ? null : html` · ${device.model}`} · last check-in ${since(device.lastSeenAt, visit.at)}</p>
${problemBox(problem)}${done !== undefined && doneWords[done] && html`<p class="note" role="status">${doneWords[done]}</p>`}
<p class="lead">${inWords(state.says)}</p>
${state.next && html`<p><strong>Next:</strong> ${inWords(state.next)}</p>`}
${troubles(visit, detail)}
${rulesKept(visit, detail)}
${acts(visit, detail)}
<div class="beside"><section aria-label="What happened"><h2>What happened</h2>
${items.length === 0 ? html`<p>Nothing yet.</p>` : timeline(items)}
<nav class="row paging" aria-label="Pages of what happened">${cursor === undefined ? null : html`<a href="${path}">Back to the newest</a>`}${next === null ? null : html`<a class="button second" href="${path}?cursor=${next}">Older</a>`}</nav></section>
<aside aria-label="What is known">${openWork(visit, detail)}${facts(detail, visit.at)}${people(visit, detail)}${tags(visit, detail)}${keys(visit, detail)}
${disclosures.length === 0 ? null : html`<h2>Shown to</h2><ul class="plain">${disclosures.slice(0, 10).map((one) => html`<li><bdi>${one.actor}</bdi>, ${since(one.at, visit.at)}${one.shown ? null : ' (it did not open)'}: ${one.reason}</li>`)}</ul>`}
${volumes(detail)}${merged.length === 0 ? null : html`<h2>Older records</h2><ul class="plain">${merged.map((one) => html`<li><code>${one.serial}</code>, enrolled ${since(one.enrolledAt, visit.at)}${visit.may('device.merge') ? html` <a href="${path}/part?other=${one.id}">Take the join back</a>` : null}</li>`)}</ul>`}</aside></div>`,
  };
}

const doneWords: Readonly<Record<string, string>> = {
  ordered: 'Ordered. The Mac replaces its key when it is next online.',
  waits: 'An order waited for this Mac already; it stays as it is.',
  asked: 'The Mac is asked at its next check-in whether its keys open it.',
  withdrawn: 'The order is taken back.',
  ended: 'The hold has ended; what is owed is replaced.',
  'no-hold': 'There was no hold.',
  standing: 'It is written down.',
  user: 'It is written down whose Mac it is.',
  nobody: 'It is nobody’s now.',
  joined: 'Both records are one Mac now.',
  agreed: 'Agreed: the rules of now hold alone.',
  parted: 'The older record is listed by itself again.',
};

export function addDevicePage({ page, act }: ConsoleSite): void {
  page('/fleet/:id', 'fleet.read', (visit) => devicePage(visit));
  act('/fleet/:id/tags', 'device.edit', async (visit) => {
    const { add, remove } = visit.form;
    const id = visit.params['id'] ?? '';
    const done = await orProblem(
      remove ? visit.perform(tagRemove, { devices: [id], tags: [remove] }) : visit.perform(tagAdd, { devices: [id], tags: [add ?? ''] }),
    );
    return done instanceof Problem ? devicePage(visit, done) : { to: devicePath(id) };
  });
  act('/fleet/:id/rules', { permission: 'policy.agree', fresh: true }, async (visit) => {
    const id = visit.params['id'] ?? '';
    const done = await orProblem(visit.perform(agreeToTags, { id, words: visit.form['words'] }));
    return done instanceof Problem ? devicePage(visit, done) : { to: `${devicePath(id)}?done=agreed` };
  });
}
