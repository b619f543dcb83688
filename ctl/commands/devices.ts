import type { deviceList } from '../../console/operations/devices.ts';
import { ago, type Colour, type Column, table } from '../output.ts';
import type { Ctl, Result } from '../result.ts';
import type { ItemOf } from '../shapes.ts';

type Line = ItemOf<typeof deviceList>;

const colourOf: Record<string, Colour> = { lost: 'red', none: 'red', doubtful: 'amber', held: 'green' };

const columnsFor = (now: number): Column<Line>[] => [
  { title: 'SERIAL', of: ({ serial }) => serial },
  { title: 'NAME', of: ({ name }) => name, gives: true },
  { title: 'USER', of: ({ user }) => user, gives: true },
  { title: 'MACOS', of: ({ macos }) => macos },
  { title: 'CUSTODY', of: ({ custody }) => custody, colour: ({ custody }) => colourOf[custody] ?? null },
  { title: 'PROVED', of: ({ provedAt }) => ago(provedAt, now) },
  { title: 'SEEN', of: ({ lastSeenAt }) => ago(lastSeenAt, now) },
  {
    title: 'NEEDS',
    of: ({ problem, order }) => problem?.says ?? (order ? `replacement ${order.state}` : ''),
    gives: true,
    colour: ({ problem }) => (problem ? 'amber' : null),
  },
];

interface Listing {
  filter: Record<string, unknown>;
  sort?: string;
  most: number;
}

/** The fleet, as the console's list has it. */
export async function listDevices(ctl: Ctl, { filter, sort, most }: Listing): Promise<Result> {
  const { api, terminal, now } = ctl;
  const input = { ...filter, ...(sort === undefined ? {} : { sort }) };
  const { items, more } = await api.pages<Line>({ method: 'GET', path: '/v1/devices', input }, most, (sofar) => ctl.progress(`${sofar} Macs …`));
  const text = items.length > 0 ? table(terminal, columnsFor(now()), items) : 'no Mac is like that';
  return { json: { items, more }, text, notes: more ? [`there are more: --most ${most * 2}, or a filter (\`sparekeyctl devices --help\`)`] : [] };
}

export async function countDevices({ api }: Ctl, filter: Record<string, unknown>): Promise<Result> {
  const { count } = await api.ask<{ count: number }>({ method: 'GET', path: '/v1/devices/count', input: filter });
  return { json: { count }, text: String(count) };
}
