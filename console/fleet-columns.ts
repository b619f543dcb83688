import type { DeviceLine } from '../server/fleet/list.ts';
import { type Html, html } from '../web/html.ts';
import { age, custodyWords, devicePath, middle, modeWords, orderWords, sentence } from './fleet-parts.ts';

/** One column of the list. */
interface Column {
  head: string;
  /** By which the list is sorted. */
  sort: string;
  isNumber?: true;
  cell(mac: DeviceLine, now: number): Html | string | null;
}

const nothing = html`<span class="soft">–</span>`;

const columns = {
  name: { head: 'Name', sort: 'name', cell: (mac) => html`<a href="${devicePath(mac.id)}">${middle(mac.name, 30)}</a>` },
  serial: {
    head: 'Serial number',
    sort: 'serial',
    cell: ({ serial, serialProved }) =>
      html`<code>${middle(serial, 14)}</code>${serialProved ? null : html` <span class="soft" title="The Mac says so; no certificate proves it.">claimed</span>`}`,
  },
  user: { head: 'User', sort: 'user', cell: ({ user }) => (user === null ? nothing : middle(user, 22)) },
  macos: { head: 'macOS', sort: 'macos', isNumber: true, cell: ({ macos }) => macos ?? nothing },
  mode: { head: 'Mode', sort: 'mode', cell: ({ mode }) => (mode === null ? nothing : html`<span title="${modeWords[mode]}">${mode}</span>`) },
  fileVault: { head: 'FileVault', sort: 'fileVault', cell: ({ fileVault }) => fileVault ?? nothing },
  custody: {
    head: 'Custody',
    sort: 'custody',
    cell: ({ custody, custodyBecause, unopened }) =>
      html`<span class="${custodyWords[custody].class}" title="${sentence(custodyBecause)}">${custodyWords[custody].says}${unopened && custody === 'held' ? ', unopened' : null}</span>`,
  },
  key: {
    head: 'Key age',
    sort: 'keySince',
    isNumber: true,
    cell: ({ keySince }, now) => (keySince === null ? nothing : age(keySince, now)),
  },
  seen: { head: 'Last check-in', sort: 'seen', isNumber: true, cell: ({ lastSeenAt }, now) => (lastSeenAt === null ? 'never' : age(lastSeenAt, now)) },
  proved: { head: 'Last proved', sort: 'proved', isNumber: true, cell: ({ provedAt }, now) => (provedAt === null ? 'never' : age(provedAt, now)) },
  order: {
    head: 'Open order',
    sort: 'order',
    cell: ({ order }, now) => (order === null ? nothing : html`${orderWords[order.state]} ${age(order.since, now)}`),
  },
  problem: {
    head: 'Problem',
    sort: 'problem',
    cell: ({ problem }, now) =>
      problem === null
        ? nothing
        : html`<span title="${sentence(problem.says)}"><strong>${problem.kind.replace('-', ' ')}</strong></span> ${age(problem.since, now)}`,
  },
} as const satisfies Record<string, Column>;

export type ColumnName = keyof typeof columns;
export const columnNames = Object.keys(columns) as ColumnName[];
export const columnOf = (name: ColumnName): Column => columns[name];

/** Which of them somebody looks at, in a cookie: `__Host-fleet-columns`. Without the name nobody knows which Mac it is. */
export const columnsCookie = 'fleet-columns';

export function shownColumns(cookie: string | undefined): ColumnName[] {
  if (cookie === undefined) return columnNames;
  const wanted = cookie.split('.');
  return columnNames.filter((name) => name === 'name' || wanted.includes(name));
}
