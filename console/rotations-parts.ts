import type { CampaignSummary } from '../server/campaigns/read.ts';
import { type Html, html } from '../web/html.ts';

type Campaign = CampaignSummary;

export const macs = (count: number): string => (count === 1 ? '1 Mac' : `${count} Macs`);
/** What is done to them, as a button names it. */
export const replaceKeys = (count: number): string => (count === 1 ? 'Replace the key of 1 Mac' : `Replace the keys of ${count} Macs`);

const fieldWords: Record<string, string> = {
  q: 'found by',
  custody: 'custody',
  mode: 'mode',
  fileVault: 'FileVault',
  macos: 'macOS',
  macosBefore: 'macOS before',
  model: 'model',
  chip: 'chip',
  user: 'user',
  tag: 'tag',
  state: 'state',
  ownership: 'owned by',
  problem: 'problem',
  order: 'order',
  hold: 'hold',
  disclosed: 'key shown and not replaced',
  unopened: 'unopened',
  seenBefore: 'last seen before',
  seenAfter: 'last seen after',
  provedBefore: 'last proved before',
  provedAfter: 'last proved after',
  keyOlderThanDays: 'days of the key, more than',
  enrolledAfter: 'enrolled after',
};

/** A filter as words. */
export function sayFilter(filter: Readonly<Record<string, unknown>>): string {
  const said = Object.entries(filter)
    .filter(([, value]) => value !== undefined && value !== '')
    .map(
      ([name, value]) =>
        `${fieldWords[name] ?? name} ${Array.isArray(value) ? value.join(' or ') : value === true ? 'yes' : value === false ? 'no' : String(value)}`,
    );
  return said.length === 0 ? 'all Macs' : `Macs with ${said.join(', ')}`;
}

export const stateWords: Record<Campaign['state'], string> = {
  planned: 'not begun',
  running: 'under way',
  paused: 'stands still',
  done: 'done',
  cancelled: 'ended before its time',
};

export const whichMacs = ({ filter, counts }: Pick<Campaign, 'filter' | 'counts'>): string =>
  filter === null ? `${macs(counts.total)}, named one by one` : sayFilter(filter);

/** How far it has come, each with its meaning; those that there are none of are left out. */
export function progress({ counts }: Pick<Campaign, 'counts'>): Html {
  const rows: [string, number, string][] = [
    ['Replaced', counts.done, 'another key is in custody'],
    ['Being replaced', counts.replacing, 'the Mac has begun'],
    ['Fetched', counts.fetched, 'the Mac was heard of since it was ordered, and waits for its moment'],
    ['Ordered', counts.notFetched, 'the Mac has not been heard of since'],
    ['Waiting', counts.waiting, 'for their wave'],
    ['Failed', counts.failed, 'see why below'],
    ['Left out', counts.left, 'see why below'],
  ];
  return html`<table><caption>${macs(counts.total)}</caption><thead><tr><th scope="col">How far</th><th scope="col" class="number">Macs</th><th scope="col">Meaning</th></tr></thead><tbody>
${rows.filter(([, count]) => count > 0).map(([name, count, says]) => html`<tr><th scope="row">${name}</th><td class="number">${count}</td><td>${says}</td></tr>`)}</tbody></table>`;
}
