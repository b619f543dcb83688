import { Problem } from '../protocol/problems.ts';
import type { DeviceLine } from '../server/fleet/list.ts';
import { type Html, html } from '../web/html.ts';
import type { Answer, Page } from '../web/visit.ts';
import { type FleetAddress, forOthers, queryOf, readAddress, tidied, toAddress } from './fleet-address.ts';
import { type ColumnName, columnNames, columnOf, columnsCookie, shownColumns } from './fleet-columns.ts';
import { filterForm } from './fleet-filters.ts';
import { macsInWords } from './fleet-parts.ts';
import { deviceCount, deviceList } from './operations/devices.ts';
import { tagList } from './operations/tags.ts';
import { orProblem, problemBox } from './people-parts.ts';
import type { ConsoleSite, ConsoleVisit } from './visit.ts';

const yearSeconds = 365 * 24 * 60 * 60;
/** Rows of one page; a form of a site takes 64 fields at most. */
const rows = 50;

/** What is pressed: `console-keys.ts` does it, and shows this. Without scripts there is nothing to show. */
const keyboard = html`<dialog id="keys" aria-labelledby="keys-head"><h2 id="keys-head">Keyboard</h2>
<dl class="facts"><dt><kbd>/</kbd></dt><dd>search</dd><dt><kbd>j</kbd> <kbd>k</kbd></dt><dd>next row, row before</dd><dt><kbd>x</kbd></dt><dd>choose the row</dd><dt><kbd>Enter</kbd></dt><dd>open the Mac</dd><dt><kbd>?</kbd></dt><dd>this list</dd><dt><kbd>Esc</kbd></dt><dd>close it</dd></dl>
<form method="dialog"><button class="second">Close</button></form></dialog>`;

function heads(address: FleetAddress, shown: readonly ColumnName[]): Html {
  return html`${shown.map((name) => {
    const { head, sort, isNumber } = columnOf(name);
    const now = address.sort === sort ? 'ascending' : address.sort === `-${sort}` ? 'descending' : null;
    const to = toAddress({ kept: address.kept, sort: (now === 'ascending' ? `-${sort}` : sort) as FleetAddress['sort'] });
    return html`<th scope="col"${isNumber ? html` class="number"` : null}${now && html` aria-sort="${now}"`}><a href="${to}">${head}${now && html`<span aria-hidden="true"> ${now === 'ascending' ? '▲' : '▼'}</span>`}</a></th>`;
  })}`;
}

const row = (mac: DeviceLine, shown: readonly ColumnName[], now: number, mayChoose: boolean): Html => html`<tr data-row>
${mayChoose ? html`<td class="pick"><label><input type="checkbox" form="chosen" name="mac-${mac.id}" value="${mac.serial}"><span class="hidden-words">Choose ${mac.name}, ${mac.serial}</span></label></td>` : null}${shown.map(
  (name) => {
    const { cell, isNumber } = columnOf(name);
    const inside = cell(mac, now);
    return name === 'name' ? html`<th scope="row">${inside}</th>` : html`<td${isNumber ? html` class="number"` : null}>${inside}</td>`;
  },
)}</tr>`;

function columnsForm(visit: ConsoleVisit, address: FleetAddress, shown: readonly ColumnName[]): Html {
  return html`<details class="columns"><summary>Columns</summary><form method="post" action="/fleet/columns">${visit.token('/fleet/columns')}<input type="hidden" name="back" value="${tidied(new URLSearchParams([...address.kept, ['sort', address.sort]])).toString()}">
<fieldset><legend>Shown in this browser</legend>${columnNames
    .filter((name) => name !== 'name')
    .map(
      (name) =>
        html`<label><input type="checkbox" name="column-${name}" value="1"${shown.includes(name) ? html` checked` : null}> ${columnOf(name).head}</label>`,
    )}</fieldset><button class="second">Show these columns</button></form></details>`;
}

/** None at all, or none of this kind: what to do now. */
const empty = (address: FleetAddress): Html =>
  address.kept.size === 0
    ? html`<h2>There is no Mac yet</h2><p>Nothing is kept before a Mac has enrolled. Make an enrolment ticket on the server with <code>sparekey-server ticket</code>, and give the agent and its profile to one Mac first.</p><p>A Mac is in this list within a minute after its first check-in. Whoever has a role for certain tags sees the Macs that have them.</p>`
    : html`<h2>No Mac is like that</h2><p>Nothing that you may see fits all of these filters.</p><p><a class="button second" href="/fleet">Clear the filters</a></p>`;

async function list(visit: ConsoleVisit): Promise<Answer> {
  const given = queryOf(visit.path);
  const clean = tidied(given);
  // A form sends empty fields too: what stays in the address is what is meant.
  if (clean.toString() !== given.toString()) return { to: clean.size === 0 ? '/fleet' : `/fleet?${clean}` };
  const address = await orProblem((async () => readAddress(given, visit.at))());
  if (address instanceof Problem) return refused(address);
  const { filter, sort, cursor } = address;
  const found = await orProblem(visit.perform(deviceList, { ...filter, sort, ...(cursor === null ? {} : { cursor }), limit: rows }));
  if (found instanceof Problem) return refused(found);
  const { count } = await visit.perform(deviceCount, filter);
  const { items: tags } = await visit.perform(tagList, {});
  const shown = shownColumns(visit.cookies[columnsCookie]);
  const mayChoose = visit.may('rotation.order') || visit.may('device.edit');
  const { items, next } = found;
  const words = forOthers(address);
  return {
    title: 'Fleet',
    scripts: ['times', 'console-keys', ...(mayChoose ? ['console-selection'] : [])],
    body: html`<h1>Fleet</h1>
${filterForm(address, tags)}
<div class="row over-table"><p role="status"><strong>${macsInWords(count)}</strong></p>${count === 0 ? null : html`<a href="/v1/devices.csv${words === '' ? '' : `?${words}`}" download>As CSV</a>${columnsForm(visit, address, shown)}<button type="button" class="quiet" data-keys hidden>Keyboard (?)</button>`}</div>
${
  items.length === 0
    ? empty(address)
    : html`<div class="scroll fleet" tabindex="0" role="region" aria-label="Macs"><table><thead><tr>${mayChoose ? html`<th scope="col" class="pick"><span class="hidden-words">Choose</span></th>` : null}${heads(address, shown)}</tr></thead><tbody>
${items.map((mac) => row(mac, shown, visit.at, mayChoose))}</tbody></table></div>
${mayChoose ? chooseForm(visit, words, count) : null}
<nav class="row paging" aria-label="Pages">${cursor === null ? null : html`<a href="${toAddress(address)}">Back to the beginning</a>`}${next === null ? null : html`<a class="button second" rel="next" href="${toAddress(address, next)}">Next</a>`}</nav>`
}
${keyboard}`,
  };
}

/** For the chosen rows; or all that the filter means, of which most stand on other pages. */
const chooseForm = (visit: ConsoleVisit, words: string, count: number): Html =>
  html`<form method="post" action="/fleet/chosen" id="chosen" class="row choose">${visit.token('/fleet/chosen')}<input type="hidden" name="others" value="">
<p data-chosen aria-live="polite" class="hidden-words"></p><button>Go on with the chosen Macs</button><button type="button" class="quiet" data-forget hidden>Choose none</button><a href="/fleet/chosen${words === '' ? '' : `?${words}`}">All ${macsInWords(count)} of this list</a></form>`;

const refused = (problem: Problem): Page => ({
  title: `${problem.kind.title} – Fleet`,
  status: problem.kind.status,
  body: html`<h1>Fleet</h1>${problemBox(problem)}<p><a class="button second" href="/fleet">Clear the filters</a></p>`,
});

export function addFleetPage({ page, act }: ConsoleSite): void {
  page('/fleet', 'fleet.read', list);
  act('/fleet/columns', 'fleet.read', async ({ form }) => {
    const wanted = columnNames.filter((name) => form[`column-${name}`] === '1');
    const back = tidied(new URLSearchParams(form['back'] ?? ''));
    const isAll = wanted.length === columnNames.length - 1;
    return {
      to: back.size === 0 ? '/fleet' : `/fleet?${back}`,
      cookies: [{ name: columnsCookie, value: isAll ? null : ['name', ...wanted].join('.'), maxAgeSeconds: yearSeconds }],
    };
  });
}
