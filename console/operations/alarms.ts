import { z } from 'zod';
import { Problem } from '../../protocol/problems.ts';
import { fixOf } from '../../server/alarm-fixes.ts';
import { sayAlarm, stops, stopsSelfService } from '../../server/alarms.ts';
import { isoTime } from '../../server/custody-parts.ts';
import { alarmSeen, assignAlarm, learningUntil, muteAlarm, unmuteAlarm } from '../../server/fleet/alarm-care.ts';
import { macInScope } from '../../server/fleet/in-scope.ts';
import { type AlarmLine, alarmLineOf, listAlarms } from '../../server/store/alarm-care.ts';
import { makeCursor, pageInput, pageOf, readCursor } from '../cursor.ts';
import { type AnyOperation, operation } from '../operation.ts';

const time = z.iso.datetime().nullable();
const alarmLine = z.strictObject({
  id: z.string(),
  code: z.string(),
  says: z.string().describe('what it is about'),
  fix: z.string().describe('what a person does about it'),
  detail: z.string(),
  macId: z.string().nullable().describe('null: it is about the fleet or this backend as a whole'),
  serial: z.string().nullable(),
  since: z.iso.datetime(),
  owner: z.string().nullable().describe('who looks after it'),
  mutedUntil: time.describe('until then nobody is told of it'),
  mutedBecause: z.string().nullable(),
  judgedAt: time,
  judgedBy: z.string().nullable(),
  judgement: z.string().nullable(),
});
const sayLine = (row: AlarmLine, at: number): z.infer<typeof alarmLine> => {
  const isMuted = row.muted_until !== null && row.muted_until > at;
  return {
    id: row.id,
    code: row.code,
    says: sayAlarm(row.code),
    fix: fixOf(row.code),
    detail: row.detail,
    macId: row.mac_id,
    serial: row.serial,
    since: isoTime(row.opened_at),
    owner: row.owner,
    mutedUntil: isMuted && row.muted_until !== null ? isoTime(row.muted_until) : null,
    mutedBecause: isMuted ? row.muted_because : null,
    judgedAt: row.judged_at === null ? null : isoTime(row.judged_at),
    judgedBy: row.judged_by,
    judgement: row.judgement,
  };
};
const cursorOf = z.strictObject({ at: z.number(), id: z.string().max(64) });
const alarmId = z.string().min(1).max(64);
const reason = z.string().trim().min(1).max(500).describe('it goes into the audit');
const nothing = z.strictObject({});

export const alarmList = operation({
  name: 'alarms.list',
  method: 'GET',
  path: '/v1/alarms',
  says: 'Lists alarms: the open ones oldest first, the judged ones newest first.',
  permission: 'fleet.read',
  input: z.strictObject({
    state: z.enum(['open', 'judged']).default('open'),
    code: z.array(z.string().max(64)).max(50).optional(),
    device: z.string().max(128).optional().describe('of one Mac, by id or serial number'),
    owner: z.string().max(256).optional(),
    muted: z.boolean().optional().describe('true: only those of which nobody is told now; false: only the others'),
    ...pageInput,
  }),
  output: pageOf(alarmLine).extend({
    learningUntil: time.describe('until then alarms are listed and sent to nobody: the fleet is being learned'),
  }),
  async run({ backend, at, scope }, { state, code, device, owner, muted, cursor, limit }) {
    const { db } = backend.store;
    const macIds = device === undefined ? null : (await macInScope(db, scope, device)).ids;
    const rows = await listAlarms(db, {
      scope,
      open: state === 'open',
      codes: code ?? null,
      macIds,
      owner: owner ?? null,
      muted: muted ?? null,
      now: at,
      after: readCursor(cursorOf, cursor),
      limit: limit + 1,
    });
    const page = rows.slice(0, limit);
    const last = page.at(-1);
    const learning = await learningUntil(db);
    return {
      items: page.map((row) => sayLine(row, at)),
      next: rows.length > limit && last ? makeCursor({ at: last.opened_at, id: last.id }) : null,
      learningUntil: learning !== null && learning > at ? isoTime(learning) : null,
    };
  },
});

export const alarmGet = operation({
  name: 'alarms.get',
  method: 'GET',
  path: '/v1/alarms/{id}',
  says: 'One alarm, open or judged.',
  permission: 'fleet.read',
  input: z.strictObject({ id: alarmId }),
  output: alarmLine,
  async run({ backend, at, scope }, { id }) {
    const row = await alarmLineOf(backend.store.db, id, scope);
    if (!row) throw new Problem('NOT_FOUND', `there is no alarm ${id}`);
    return sayLine(row, at);
  },
});

export const alarmJudge = operation({
  name: 'alarms.judge',
  method: 'POST',
  path: '/v1/alarms/{id}/judge',
  says: 'Says what an alarm was, and closes it.',
  permission: 'alarm.judge',
  input: z.strictObject({ id: alarmId, judgement: z.string().trim().min(1).max(1000).describe('in the words of whoever looked; it goes into the audit') }),
  output: nothing,
  async run({ backend, scope, admin, before }, { id, judgement }) {
    const alarm = await alarmSeen(backend.store.db, id, scope);
    // From then on its keys are given, or shown, again.
    if (admin.service && (stops(alarm) || stopsSelfService([alarm])))
      throw new Problem('NOT_ALLOWED', 'what stops a Mac is judged by people, and not by a token that stands for a program');
    await backend.custody.judgeAlarm({ alarmId: id, actor: admin.name, judgement, ...(before ? { before } : {}) });
    return {};
  },
});

export const alarmAssign = operation({
  name: 'alarms.assign',
  method: 'POST',
  path: '/v1/alarms/{id}/assign',
  says: 'Says who looks after an alarm.',
  permission: 'alarm.judge',
  input: z.strictObject({ id: alarmId, owner: z.string().trim().min(1).max(256).nullable().describe('a user name; null: nobody any more') }),
  output: nothing,
  async run({ backend, scope, admin, before }, { id, owner }) {
    await assignAlarm(backend, { alarmId: id, scope, actor: admin.name, owner, before });
    return {};
  },
});

export const alarmMute = operation({
  name: 'alarms.mute',
  method: 'POST',
  path: '/v1/alarms/{id}/mute',
  says: 'Has nobody told of an alarm until a time; what it stops stays stopped.',
  permission: 'alarm.judge',
  input: z.strictObject({ id: alarmId, until: z.iso.datetime().describe('at most a year from now'), reason }),
  output: nothing,
  async run({ backend, scope, admin, before }, { id, until, reason: because }) {
    await muteAlarm(backend, { alarmId: id, scope, actor: admin.name, until: Date.parse(until), reason: because, before });
    return {};
  },
});

export const alarmUnmute = operation({
  name: 'alarms.unmute',
  method: 'POST',
  path: '/v1/alarms/{id}/unmute',
  says: 'Has people told of an alarm again.',
  permission: 'alarm.judge',
  input: z.strictObject({ id: alarmId }),
  output: nothing,
  async run({ backend, scope, admin, before }, { id }) {
    await unmuteAlarm(backend, { alarmId: id, scope, actor: admin.name, before });
    return {};
  },
});

export const alarmsOperations: readonly AnyOperation[] = [alarmList, alarmGet, alarmJudge, alarmAssign, alarmMute, alarmUnmute];
