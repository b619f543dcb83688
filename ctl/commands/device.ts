import type { deviceGet, deviceTimeline } from '../../console/operations/devices.ts';
import { ago, type Column, coloured, plain, table } from '../output.ts';
import type { Ctl, Result } from '../result.ts';
import type { ItemOf, OutOf } from '../shapes.ts';

type Detail = OutOf<typeof deviceGet>;
type Entry = ItemOf<typeof deviceTimeline>;

const block = (title: string, text: string): string => (text === '' ? '' : `\n\n${title}\n${text.replace(/^/gm, '  ')}`);

function factsOf({ device, facts, hardwareUuid, standing, users }: Detail): [string, string | null][] {
  return [
    ['serial number', device.serialProved ? device.serial : `${device.serial} (claimed, not proved)`],
    [
      'user',
      users
        .filter(({ endedAt }) => endedAt === null)
        .map(({ userName, source }) => `${userName} (${source})`)
        .join(', ') || null,
    ],
    ['model', [device.model, device.chip].filter((part) => part !== null).join(', ') || null],
    ['macOS', device.macos === null ? null : `${device.macos}${facts ? ` (${facts.macosBuild})` : ''}`],
    ['FileVault', device.fileVault],
    ['mode', facts?.mode ?? device.mode],
    ['agent', facts && `${facts.agentVersion}, runtime ${facts.runtimeVersion}${facts.labOnly ? ', lab only' : ''}`],
    ['standing', `${standing.state}, ${standing.ownership}`],
    ['tags', device.tags.join(', ') || null],
    ['hardware', hardwareUuid],
    ['id', device.id],
  ];
}

/** One Mac: what is so and why, what to do, and what it stands on. */
export async function showDevice({ api, terminal, now }: Ctl, mac: string): Promise<Result> {
  const said = await api.ask<Detail>({ method: 'GET', path: '/v1/devices/{id}', input: { id: mac } });
  const { device, state, needs, keys, orders, hold, debts } = said;
  const facts = factsOf(said).filter((line): line is [string, string] => line[1] !== null);
  const width = Math.max(...facts.map(([name]) => name.length));
  const keyColumns: Column<Detail['keys'][number]>[] = [
    { title: 'RECORD', of: ({ recordId }) => recordId },
    { title: 'STATE', of: ({ state: is, verified }) => (verified ? is : `${is}, unverified`) },
    { title: 'HERE SINCE', of: ({ receivedAt }) => ago(receivedAt, now()) },
    { title: 'PROVED', of: ({ provedAt }) => ago(provedAt, now()) },
    { title: 'SHOWN', of: ({ disclosedAt }) => ago(disclosedAt, now()) },
    { title: 'WHY', of: ({ because }) => because, gives: true },
  ];
  const text = [
    `${coloured(terminal, 'bold', plain(`${device.name} (${device.serial})`))}: ${plain(state.says)}`,
    state.next === null ? '' : `\nnext: ${plain(state.next)}`,
    block('needs a person', needs.map(({ says, next, since }) => `${plain(says)}, since ${ago(since, now())}: ${plain(next)}`).join('\n')),
    hold ? block('hold', `nothing is replaced until ${hold.until}: ${plain(hold.because)}`) : '',
    block('a new key is owed', debts.map(({ because, since }) => `${because}, since ${ago(since, now())}`).join('\n')),
    block(
      'orders',
      orders.map(({ id, state: is, reason, actor, createdAt }) => `${is}, by ${plain(actor)} ${ago(createdAt, now())}: ${plain(reason)} (${id})`).join('\n'),
    ),
    block('keys', keys.length > 0 ? table(terminal, keyColumns, keys) : 'none'),
    block('facts', facts.map(([name, value]) => `${name.padEnd(width)}  ${plain(value)}`).join('\n')),
  ].join('');
  return { json: said, text };
}

/** What happened to one Mac, newest first. */
export async function showTimeline(ctl: Ctl, mac: string, most: number): Promise<Result> {
  const { api, terminal, now } = ctl;
  const question = { method: 'GET', path: '/v1/devices/{id}/timeline', input: { id: mac } } as const;
  const { items, more } = await api.pages<Entry>(question, most, (sofar) => ctl.progress(`${sofar} entries …`));
  const columns: Column<Entry>[] = [
    { title: 'WHEN', of: ({ at }) => (terminal.isTerminal ? ago(at, now()) : at) },
    { title: 'BY', of: ({ actor }) => actor, gives: true },
    { title: 'WHAT', of: ({ says }) => says },
  ];
  const text = items.length > 0 ? table(terminal, columns, items) : 'nothing has happened to this Mac yet';
  return { json: { items, more }, text, notes: more ? [`there is more: --most ${most * 2}`] : [] };
}
