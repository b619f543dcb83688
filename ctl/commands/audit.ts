import type { auditSearch, auditState } from '../../console/operations/audit.ts';
import { ago, plain, table } from '../output.ts';
import type { Ctl, Result } from '../result.ts';
import type { ItemOf, OutOf } from '../shapes.ts';

type Entry = ItemOf<typeof auditSearch>;

/** The record of who did what, newest first. */
export async function search(ctl: Ctl, filter: Record<string, unknown>, most: number): Promise<Result> {
  const { api, terminal, now } = ctl;
  const { items, more } = await api.pages<Entry>({ method: 'GET', path: '/v1/audit', input: filter }, most, (sofar) => ctl.progress(`${sofar} records …`));
  const text = table(
    terminal,
    [
      { title: 'NO', of: ({ seq }) => seq },
      { title: 'WHEN', of: ({ at }) => (terminal.isTerminal ? ago(at, now()) : at) },
      { title: 'BY', of: ({ actor }) => actor, gives: true },
      { title: 'ACT', of: ({ act }) => act },
      { title: 'MAC', of: ({ serial, macId }) => serial ?? macId },
      { title: 'DETAILS', of: ({ details }) => sayDetails(details), gives: true },
    ],
    items,
  );
  return { json: { items, more }, text: items.length > 0 ? text : 'no record is like that', notes: more ? [`there are more: --most ${most * 2}`] : [] };
}

/** The reason first: it is what people look for. */
function sayDetails(details: Record<string, unknown>): string {
  const { reason, ...rest } = details;
  const others = Object.entries(rest).filter(([, value]) => value !== null && typeof value !== 'object');
  return [...(typeof reason === 'string' ? [`“${reason}”`] : []), ...others.map(([name, value]) => `${name} ${String(value)}`)].join(', ');
}

/** Whether its newest part is as it was written. The whole: `sparekey-server audit verify`. */
export async function state({ api, now }: Ctl): Promise<Result> {
  const said = await api.ask<OutOf<typeof auditState>>({ method: 'GET', path: '/v1/audit/state' });
  const { ok, looked, checkpoint, findings } = said;
  const span = `${looked.records === null ? 'the records' : `${looked.records} records`}${looked.since === null ? '' : `, since ${looked.since}`}`;
  const lines = [
    ok ? `nothing was changed: ${span}` : `THE AUDIT WAS CHANGED: ${span}`,
    ...findings.map(({ says }) => `  ${plain(says)}`),
    ...(checkpoint
      ? [`the last checkpoint is ${checkpoint.number}, of ${ago(checkpoint.at, now())}`]
      : looked.records === null
        ? []
        : ['there is no checkpoint yet']),
  ];
  return { json: said, text: lines.join('\n'), ...(ok ? {} : { exit: 77 as const }) };
}
