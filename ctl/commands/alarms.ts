import type { alarmGet, alarmList } from '../../console/operations/alarms.ts';
import { ago, table } from '../output.ts';
import type { Ctl, Result } from '../result.ts';
import type { ItemOf, OutOf } from '../shapes.ts';

type Alarm = ItemOf<typeof alarmList>;

/** What is open, the oldest first; or what was judged, the newest first. */
export async function listAlarms({ api, terminal, now, progress }: Ctl, input: { judged: boolean; mac?: string; most: number }): Promise<Result> {
  const { judged, mac: device, most } = input;
  const question = { method: 'GET', path: '/v1/alarms', input: { state: judged ? 'judged' : 'open', device } } as const;
  const { items, more } = await api.pages<Alarm>(question, most, (sofar) => progress(`${sofar} alarms`));
  const text = table(
    terminal,
    [
      { title: 'ALARM', of: ({ id }) => id },
      { title: 'MAC', of: ({ serial }) => serial },
      { title: 'CODE', of: ({ code }) => code },
      { title: 'SINCE', of: ({ since }) => ago(since, now()) },
      { title: judged ? 'JUDGED BY' : 'OWNER', of: ({ owner, judgedBy }) => (judged ? judgedBy : owner) },
      { title: 'WHAT', of: ({ says, mutedUntil }) => (mutedUntil === null ? says : `muted: ${says}`), gives: true },
    ],
    items,
  );
  return {
    json: { items, more },
    text: items.length > 0 ? text : `no alarm ${judged ? 'was judged' : 'is open'}`,
    ...(more ? { notes: [`there are more than ${most}: --most`] } : {}),
  };
}

export async function showAlarm({ api, now }: Ctl, id: string): Promise<Result> {
  const one = await api.ask<OutOf<typeof alarmGet>>({ method: 'GET', path: '/v1/alarms/{id}', input: { id } });
  const lines = [
    `${one.code}: ${one.says}`,
    one.detail,
    `of ${one.serial ?? 'this backend, or the fleet'}, since ${ago(one.since, now())}; ${one.owner === null ? 'nobody looks after it' : `${one.owner} looks after it`}`,
    ...(one.mutedUntil === null ? [] : [`muted until ${one.mutedUntil}: ${one.mutedBecause}`]),
    one.judgedAt === null ? `next: ${one.fix}` : `judged ${ago(one.judgedAt, now())} by ${one.judgedBy}: ${one.judgement}`,
  ];
  return { json: one, text: lines.join('\n') };
}
