import { needs } from '../server/fleet/needs.ts';
import { type Html, html } from '../web/html.ts';
import type { FleetAddress } from './fleet-address.ts';
import { modeWords } from './fleet-parts.ts';

/* The form above the list: a GET, whose fields are the address. */

const custody = {
  held: 'held: a key is here',
  doubtful: 'doubtful: it is not known which key opens it',
  lost: 'lost: no key here opens it',
  none: 'none: no key is here',
  foreign: 'foreign: its keys go to somebody else',
};
const order = { waiting: 'ordered', owed: 'owed for another reason', replacing: 'being replaced', none: 'none' };
const fileVault = { on: 'on', off: 'off', encrypting: 'encrypting', decrypting: 'decrypting', unknown: 'unknown' };
const state = { 'in-use': 'in use', lost: 'lost', retired: 'retired' };
const problem = Object.fromEntries(Object.entries(needs).map(([kind, { says }]) => [kind, says]));
const mode = Object.fromEntries(Object.entries(modeWords).map(([name, says]) => [name, `${name}: ${says}`]));

/** Names of the address that the form has fields for. */
const inForm = ['q', 'custody', 'problem', 'order', 'mode', 'fileVault', 'state', 'macos', 'tag', 'silentDays', 'unprovedDays', 'keyOlderThanDays'];

/** One of them, or the several that the address names already. */
function choice(address: FleetAddress, name: string, words: string, options: Readonly<Record<string, string>>): Html {
  const given = address.kept.getAll(name);
  const several = given.length > 1 ? html`<option value="${given.join(',')}" selected>${given.join(' or ')}</option>` : null;
  return html`<div><label for="f-${name}">${words}</label><select id="f-${name}" name="${name}"><option value="">any</option>${several}${Object.entries(
    options,
  ).map(
    ([value, says]) => html`<option value="${value}"${given.length === 1 && given[0] === value ? html` selected` : null}>${says}</option>`,
  )}</select></div>`;
}

const days = (address: FleetAddress, name: string, words: string): Html =>
  html`<div><label for="f-${name}">${words}</label><input id="f-${name}" name="${name}" type="number" min="1" max="9999" value="${address.kept.get(name)}"></div>`;

export function filterForm(address: FleetAddress, tags: readonly { tag: string; count: number }[]): Html {
  const { kept, sort } = address;
  const [tag, ...more] = kept.getAll('tag');
  const others = [...kept].filter(([name]) => !inForm.includes(name));
  const isMore = ['mode', 'fileVault', 'state', 'macos', 'tag', 'silentDays', 'unprovedDays', 'keyOlderThanDays'].some((name) => kept.has(name));
  const known = tags.some((one) => one.tag === tag) || tag === undefined;
  return html`<form method="get" action="/fleet" class="filters" role="search" aria-label="Macs">
<div class="fields"><div class="find"><label for="f-q">Serial number, name, user, model</label><input id="f-q" name="q" type="search" maxlength="200" autocomplete="off" spellcheck="false" value="${kept.get('q')}" data-search></div>
${choice(address, 'custody', 'Custody', custody)}${choice(address, 'problem', 'Problem', problem)}${choice(address, 'order', 'Open order', order)}<p class="row"><button>Show these Macs</button>${kept.size === 0 ? null : html`<a href="/fleet">Clear the filters</a>`}</p></div>
<details${isMore ? html` open` : null}><summary>More filters</summary><div class="fields">
${choice(address, 'mode', 'Mode', mode)}${choice(address, 'fileVault', 'FileVault', fileVault)}${choice(address, 'state', 'State', state)}
<div><label for="f-macos">macOS</label><input id="f-macos" name="macos" maxlength="11" pattern="[0-9.]*" autocomplete="off" placeholder="26.1" value="${kept.get('macos')}"></div>
<div><label for="f-tag">Tag</label><select id="f-tag" name="tag"><option value="">any</option>${known ? null : html`<option value="${tag}" selected>${tag}</option>`}${tags.map(
    (one) => html`<option value="${one.tag}"${one.tag === tag ? html` selected` : null}>${one.tag} (${one.count})</option>`,
  )}</select></div>
${days(address, 'silentDays', 'Not heard of for days')}${days(address, 'unprovedDays', 'Not proved for days')}${days(address, 'keyOlderThanDays', 'Key older than days')}
</div></details>
${more.map((one) => html`<input type="hidden" name="tag" value="${one}">`)}${others.map(([name, value]) => html`<input type="hidden" name="${name}" value="${value}">`)}${sort === 'name' ? null : html`<input type="hidden" name="sort" value="${sort}">`}
${others.length + more.length === 0 ? null : html`<p class="soft">Also: ${[...others, ...more.map((one) => ['tag', one] as const)].map(([name, value]) => `${name} ${value}`).join(', ')}.</p>`}</form>`;
}
