import { Problem } from '../protocol/problems.ts';
import { type Html, html } from '../web/html.ts';
import type { Answer, Page } from '../web/visit.ts';
import { auditExport, auditSearch, auditState } from './operations/audit.ts';
import { reportEvidence } from './operations/reports.ts';
import { orProblem, problemBox } from './people-parts.ts';
import type { ConsoleSite, ConsoleVisit } from './visit.ts';

type Found = Awaited<ReturnType<typeof auditSearch.run>>;
type State = Awaited<ReturnType<typeof auditState.run>>;

const fields = [
  { name: 'device', label: 'Mac', hint: 'Serial number', most: 64 },
  { name: 'actor', label: 'Who', hint: 'A user name, mac, or server', most: 200 },
  { name: 'act', label: 'Act', hint: 'Or how it begins: key., rotation.', most: 100 },
  { name: 'text', label: 'Words', hint: 'In the details, such as the reason', most: 200 },
] as const;
const names = [...fields.map(({ name }) => name), 'from', 'to'] as const;

/** What stands in the address, or in the hidden fields of a form; a day is from its beginning, and up to its end. */
function askedIn(given: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(names.flatMap((name) => (given[name]?.trim() ? [[name, given[name]?.trim() ?? '']] : [])));
}
const dayAfter = (day: string): string => new Date(Date.parse(day) + 24 * 60 * 60 * 1000).toISOString();
const isDay = (text: string): boolean => /^\d{4}-\d\d-\d\d$/.test(text) && !Number.isNaN(Date.parse(text));
function inputOf({ from, to, ...rest }: Record<string, string>): Record<string, string> {
  return {
    ...rest,
    ...(from === undefined ? {} : { from: isDay(from) ? new Date(from).toISOString() : from }),
    ...(to === undefined ? {} : { to: isDay(to) ? dayAfter(to) : to }),
  };
}

const utc = (time: string): Html => html`<time datetime="${time}">${time.slice(0, 19).replace('T', ' ')}</time>`;

/** Whether the record is whole, for whoever relies on it. */
function verdictBox(state: State): Html {
  const { ok, checkpoint, sealedTo, keyId, findings, looked } = state;
  const since = looked.since === null ? 'from the first record on' : html`from the checkpoint of ${utc(looked.since)} on`;
  const sealed =
    checkpoint === null
      ? looked.records === null
        ? 'What a checkpoint signs is told to whoever reads all of the audit.'
        : 'No checkpoint has been made yet.'
      : html`Checkpoint ${checkpoint.number} of ${utc(checkpoint.at)} signs everything up to record ${sealedTo}.`;
  if (ok) return html`<p class="verdict"><strong>Nothing was changed</strong>, ${since}. ${sealed} <span class="soft">Key ${keyId.slice(0, 16)}…</span></p>`;
  return html`<div class="error" role="alert"><h2>The audit is not as it was written</h2>
<p>Keep a copy of the data folder, and find out who changed the database. <code>sparekey-server audit verify</code> looks at all of it.</p>
${findings.length === 0 ? null : html`<ul>${findings.slice(0, 20).map(({ kind, from, to, act, says }) => html`<li>${kind}: record ${from === to ? from : `${from} to ${to}`}${act === null ? null : ` (${act})`}: ${says}</li>`)}</ul>`}</div>`;
}

const reasonOf = (details: Record<string, unknown>): string => {
  const said = details['reason'] ?? details['judgement'] ?? details['because'];
  return typeof said === 'string' ? said : '';
};

function recordsTable({ items }: Found, link: (more: Record<string, string>) => string): Html {
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Records"><table>
<thead><tr><th scope="col">Record</th><th scope="col">Time (UTC)</th><th scope="col">Who</th><th scope="col">Act</th><th scope="col">Mac</th><th scope="col">Why</th><th scope="col">Details</th></tr></thead><tbody>
${items.map(
  ({
    seq,
    at,
    actor,
    act,
    serial,
    details,
    network,
    requestId,
    tokenId,
    hash,
  }) => html`<tr><th scope="row">${seq}</th><td class="once">${utc(at)}</td><td class="once"><a href="${link({ actor })}">${actor}</a></td><td><a href="${link({ act })}">${act}</a></td>
<td>${serial === null ? '' : html`<a href="${link({ device: serial })}">${serial}</a>`}</td><td>${reasonOf(details)}</td>
<td><details><summary>Details<span class="hidden-words"> of record ${seq}</span></summary><pre>${JSON.stringify({ ...details, ...(network === null ? {} : { network }), ...(requestId === null ? {} : { requestId }), ...(tokenId === null ? {} : { tokenId }), hash }, null, 2)}</pre></details></td></tr>`,
)}</tbody></table></div>`;
}

/** Who did what: searched, taken out, and packed for an auditor. */
export function addAuditPage({ page, act }: ConsoleSite): void {
  async function list(visit: ConsoleVisit, given: Readonly<Record<string, string | undefined>>, trouble: Problem | null = null): Promise<Page> {
    const asked = askedIn(given);
    const { cursor } = visit.query;
    const found = await orProblem(visit.perform(auditSearch, { ...inputOf(asked), ...(cursor === undefined ? {} : { cursor }) }));
    const problem = trouble ?? (found instanceof Problem ? found : null);
    const state = await visit.perform(auditState, {});
    const link = (more: Record<string, string>) => `/audit?${new URLSearchParams({ ...asked, ...more })}`;
    const hidden = Object.entries(asked).map(([name, value]) => html`<input type="hidden" name="${name}" value="${value}">`);
    return {
      title: problem ? `${problem.kind.title} – Audit` : 'Audit',
      status: problem ? problem.kind.status : 200,
      body: html`<h1>Audit</h1>
${problemBox(problem)}
${verdictBox(state)}
<form method="get" action="/audit" class="filters" role="search" aria-label="Audit"><div class="grid">
${fields.map(({ name, label, hint, most }) => html`<div><label for="${name}">${label}</label><p class="hint" id="${name}-hint">${hint}</p><input id="${name}" name="${name}" maxlength="${most}" autocomplete="off" autocapitalize="none" spellcheck="false" aria-describedby="${name}-hint" value="${asked[name]}"></div>`)}
<div><label for="from">From</label><p class="hint" id="from-hint">Day, UTC</p><input id="from" name="from" type="date" aria-describedby="from-hint" value="${asked['from']}"></div>
<div><label for="to">To</label><p class="hint" id="to-hint">Day, with it</p><input id="to" name="to" type="date" aria-describedby="to-hint" value="${asked['to']}"></div>
<div class="row"><button>Search</button>${Object.keys(asked).length > 0 && html`<a href="/audit">All records</a>`}</div></div></form>
${found instanceof Problem ? null : found.items.length === 0 ? html`<p>${found.next === null ? 'There is no such record. Leave out a word, or take an earlier day.' : 'None among the newest of these; there may be older ones.'}</p>` : recordsTable(found, link)}
${found instanceof Problem || found.next === null ? null : html`<p class="ways"><a href="${link({ cursor: found.next })}">Older records</a></p>`}
${found instanceof Problem || found.older.length === 0 ? null : html`<p>Older records were taken out of the database, into the folder <code>audit-archive</code> of the data folder:</p><ul>${found.older.map(({ from, to, until, file }) => html`<li>Records ${from} to ${to}, until ${utc(until)}: <code>${file}</code></li>`)}</ul>`}
<h2>Take it out</h2>
<form method="post" action="/audit/export">${visit.token('/audit/export')}${hidden}<p>${Object.keys(asked).length === 0 ? 'All records' : 'What was searched for'}, as JSON Lines, signed. That it was taken out is recorded.</p><button class="second">Export these records</button></form>
${visit.may('report.make') ? packForm(visit, given) : null}`,
    };
  }

  const packForm = (visit: ConsoleVisit, given: Readonly<Record<string, string | undefined>>): Html => html`<h2>Evidence for an auditor</h2>
<p>A signed ZIP of a period: all Macs and a sample of them, who was shown which key and why, how soon keys were replaced, who may what, how the settings changed, and the audit. Its README says how each is checked without Sparekey.</p>
<form method="post" action="/audit/evidence">${visit.token('/audit/evidence')}<div class="grid">
<div><label for="pack-from">From</label><p class="hint">With this day</p><input id="pack-from" name="packFrom" type="date" required value="${given['packFrom']}"></div>
<div><label for="pack-to">To</label><p class="hint" id="pack-to-hint">With this day</p><input id="pack-to" name="packTo" type="date" required aria-describedby="pack-to-hint" value="${given['packTo']}"></div>
<div><label for="seed">Seed of the sample</label><p class="hint" id="seed-hint">An auditor names one that nobody here could know. Empty: by chance.</p><input id="seed" name="seed" maxlength="64" autocomplete="off" aria-describedby="seed-hint" value="${given['seed']}"></div></div>
<button class="second">Make the pack</button></form>`;

  page('/audit', 'audit.read', (visit) => list(visit, visit.query));

  act('/audit/export', 'audit.read', async (visit): Promise<Answer> => {
    const made = await orProblem(visit.perform(auditExport, inputOf(askedIn(visit.form))));
    if (made instanceof Problem) return list(visit, visit.form, made);
    return { file: { name: made.fileName, type: 'application/x-ndjson; charset=utf-8', content: made.content } };
  });

  act('/audit/evidence', 'report.make', async (visit): Promise<Answer> => {
    const { packFrom = '', packTo = '', seed = '' } = visit.form;
    const period = { from: isDay(packFrom) ? new Date(packFrom).toISOString() : packFrom, to: isDay(packTo) ? dayAfter(packTo) : packTo };
    const made = await orProblem(visit.perform(reportEvidence, { ...period, ...(seed.trim() === '' ? {} : { seed: seed.trim() }) }));
    if (made instanceof Problem) return visit.may('audit.read') ? list(visit, visit.form, made) : Promise.reject(made);
    return { file: { name: made.fileName, type: 'application/zip', content: made.content } };
  });
}
