import { randomUUID } from 'node:crypto';
import { Problem } from '../protocol/problems.ts';
import { audit } from './audit.ts';
import type { CustodyParts } from './custody-parts.ts';
import type { Tx } from './parts.ts';
import { type Alarm, alarmById, alarmLike, insertAlarm, judge, openAlarmsOf, openFleetAlarms } from './store/alarms.ts';
import { updateMac } from './store/macs.ts';
import { releaseUnopened } from './unopened.ts';

interface AlarmKind {
  /** One sentence for whoever has to judge it. */
  says: string;
  /** Rotations and grants of the Mac wait until it has been judged. */
  stops: boolean;
  /** Its person is shown no key until it has been judged. */
  stopsSelfService: boolean;
  /** One of rules 6.8: the Mac's custody is in doubt while it is open. */
  identity: boolean;
  /** It may be about a Mac that is known by its serial number only: without a Mac of ours, each of its words is an alarm of its own. */
  ofOthers?: boolean;
}

const identity = (says: string): AlarmKind => ({ says, stops: true, stopsSelfService: true, identity: true });
const stopping = (says: string): AlarmKind => ({ says, stops: true, stopsSelfService: true, identity: false });
const telling = (says: string): AlarmKind => ({ says, stops: false, stopsSelfService: false, identity: false });
const tellingOfOthers = (says: string): AlarmKind => ({ ...telling(says), ofOthers: true });
/** Somebody has got at the account: the key is replaced all the sooner, and the next one is not shown to whoever signs in. */
const closing = (says: string): AlarmKind => ({ says, stops: false, stopsSelfService: true, identity: false });

/** Every alarm that there is. */
const alarms = {
  IDENTITY_MOVED: identity('the identity of this Mac was used on other hardware'),
  IDENTITY_CLONED: identity('two machines use the identity of this Mac in turn'),
  TWO_ENROLMENTS: identity('two enrolments of this Mac are in use at once'),
  SERIAL_CONFLICT: identity('more than one Mac says it has this serial number or this hardware'),
  ROW_TAMPERED: stopping('a stored key was changed behind the back of the backend'),
  ENVELOPE_REUSED: tellingOfOthers('the sealed block of one envelope came again in another'),
  UNREADABLE_DELIVERIES: telling('this Mac delivered several envelopes that cannot be read; its further ones are kept unopened'),
  WITNESS_DIFFERS: telling('two envelopes that were taken for one key hold two'),
  SUPERSEDED_PROVED: telling('a key that had been superseded opens this Mac'),
  DESTROYED_PROVED: telling('a key that retention has destroyed is said to open this Mac'),
  TWO_ROTATORS: telling('somebody else changed the key of this Mac twice in 14 days, so nothing is replaced on it'),
  ROTATION_SILENT: telling('a rotation was begun and nothing of it has come'),
  GRANT_NOT_CLOSED: telling('this Mac was given its key and neither replaced nor proved it'),
  NOT_ME: closing('the person of this Mac says that somebody else was shown its key'),
  KEY_REFUSED: telling('a person said twice that the held key of this Mac was refused'),
  VIEWS_UNUSUAL: telling('keys were asked for more often than the settings allow'),
  GRANTS_STOPPED: telling('so many Macs asked for their keys in one hour that no more are given'),
  MDM_TWO_MACHINES: tellingOfOthers(
    'the MDM says of another machine that it has this serial number; keys that it brings count only once the Mac itself has proved them',
  ),
  MDM_KEY_NOT_RETURNED: tellingOfOthers('the MDM replaced the key of this Mac, and the new key has not come'),
  MDM_ROTATED_BY_OTHERS: tellingOfOthers('somebody else had the key of this Mac replaced through the MDM'),
  MDM_COMMAND_SILENT: tellingOfOthers('the MDM was asked to replace the key of this Mac, and no answer has come'),
  MDM_TASK_OVERDUE: tellingOfOthers('a key was shown that only the MDM can replace, and nobody has had it replaced in time'),
  MAIL_FAILED: telling('a mail could not be sent for a day, or its address was refused, and it was given up'),
  NO_MAIL_ADDRESS: telling('somebody was shown the key of this Mac, or a desk should hear of it, and no mail address is known'),
} as const satisfies Record<string, AlarmKind>;
export type AlarmCode = keyof typeof alarms;

const kindOf = (code: string): AlarmKind | undefined => (Object.hasOwn(alarms, code) ? alarms[code as AlarmCode] : undefined);

export const stops = (alarm: Alarm): boolean => kindOf(alarm.code)?.stops ?? true;
export const stopsTheMac = (open: readonly Alarm[]): Alarm | undefined => open.find(stops);
export const stopsSelfService = (open: readonly Alarm[]): boolean => open.some((alarm) => kindOf(alarm.code)?.stopsSelfService ?? true);
export const isOfIdentity = (alarm: Alarm): boolean => kindOf(alarm.code)?.identity ?? true;

/** Raises an alarm once: not while it is open, and not again with the same words after it was judged. */
export async function raise(parts: Pick<CustodyParts, 'log'>, tx: Tx, at: number, macId: string | null, code: AlarmCode, detail: string): Promise<void> {
  if (await alarmLike(tx, macId, code, detail, macId === null && kindOf(code)?.ofOthers === true)) return;
  const id = randomUUID();
  await insertAlarm(tx, { id, mac_id: macId, code, detail, opened_at: at, judged_at: null, judged_by: null, judgement: null });
  await audit(tx, { at, actor: 'server', act: 'alarm.raised', macId, details: { alarmId: id, code, detail } });
  parts.log.warn('alarm-raised', { macId, code, detail });
}

/** What an alarm warned of in these words has come to its good end by itself. */
export async function settle(tx: Tx, at: number, macId: string | null, code: AlarmCode, detail: string, judgement: string): Promise<void> {
  for (const alarm of macId === null ? await openFleetAlarms(tx) : await openAlarmsOf(tx, macId)) {
    if (alarm.code !== code || alarm.detail !== detail) continue;
    await judge(tx, alarm.id, 'server', judgement, at);
    await audit(tx, { at, actor: 'server', act: 'alarm.settled', macId, details: { alarmId: alarm.id, code, judgement } });
  }
}

export interface Judgement {
  alarmId: string;
  actor: string;
  /** In the admin's words. */
  judgement: string;
}

export async function judgeAlarm(parts: CustodyParts, { alarmId, actor, judgement }: Judgement): Promise<void> {
  if (judgement.trim() === '') throw new Problem('REASON_MISSING');
  await parts.act(async (tx, at) => {
    const alarm = await alarmById(tx, alarmId);
    if (!alarm) throw new Problem('NOT_FOUND', `there is no alarm ${alarmId}`);
    if (alarm.judged_at !== null) return;
    await judge(tx, alarmId, actor, judgement, at);
    await audit(tx, { at, actor, act: 'alarm.judged', macId: alarm.mac_id, details: { alarmId, code: alarm.code, judgement } });
    parts.log.info('alarm-judged', { macId: alarm.mac_id, code: alarm.code });
    if (alarm.code === ('UNREADABLE_DELIVERIES' satisfies AlarmCode) && alarm.mac_id !== null) {
      await updateMac(tx, alarm.mac_id, { unreadable_since: at, unreadable_count: 0 });
      await releaseUnopened(parts.secrets, tx, alarm.mac_id, at);
    }
  });
}
