import { randomUUID } from 'node:crypto';
import { Problem } from '../protocol/problems.ts';
import { afterAct } from './after-act.ts';
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
  /** The identity itself is in question: the Mac's custody is in doubt while it is open. */
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
  MERGED_SPEAKS: identity('two records were joined as one Mac, and both machines are in use'),
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
  REVIEW_OVERDUE: telling('an admin took a key by break glass, and nobody has looked at it in time'),
  RELEASES_UNUSUAL: telling('codes of the desk were guessed at: many wrong ones came in one hour'),
  VIEWS_UNUSUAL: telling('keys were asked for more often than the settings allow'),
  GRANTS_STOPPED: telling('so many Macs asked for their keys in one hour that no more are given'),
  MDM_TWO_MACHINES: tellingOfOthers(
    'the MDM says of another machine that it has this serial number; keys that it brings count only once the Mac itself has proved them',
  ),
  MDM_SERIAL_CHANGED: tellingOfOthers(
    'a device of the MDM says another serial number than before; what it brings is nobody’s in particular until this was judged',
  ),
  MDM_KEY_NOT_RETURNED: tellingOfOthers('the MDM replaced the key of this Mac, and the new key has not come'),
  MDM_ROTATED_BY_OTHERS: tellingOfOthers('somebody else had the key of this Mac replaced through the MDM'),
  MDM_COMMAND_SILENT: tellingOfOthers('the MDM was asked to replace the key of this Mac, and no answer has come'),
  MDM_COMMAND_NOT_SENT: tellingOfOthers(
    'the MDM is to replace a key, and again and again the command could not be sent: `sparekey-server mdm commands` says why',
  ),
  MDM_EVENTS_LATE: telling('the events of the MDM are refused one after another because of their time: compare the clocks of both machines'),
  MDM_TASK_OVERDUE: tellingOfOthers(
    'a key was shown that only the MDM can replace, and nobody has had it replaced in time: do that at the MDM, then `sparekey-server tasks close`',
  ),
  RING_STUCK: telling('this Mac stands still on its way to our escrow payload: `sparekey-server ring status` names the next step, `ring drop` takes it out'),
  CAMPAIGN_PAUSED: telling('a campaign stands still: who started it may order no replacement any more, so somebody else goes on with it, or ends it'),
  MDM_CONNECTOR_STILL: tellingOfOthers(
    'keys are not read any more out of another product: `sparekey-server connectors` says what stands in the way, `connectors run NAME` tries it at once; take it out of the settings where it is not wanted any more',
  ),
  CERTIFICATE_ENDS: telling('certificates of this backend end soon, or have ended: see who renews each, and why that did not happen'),
  CERTIFICATE_REFUSED: telling(
    'a new certificate of a listener is not used: it cannot be, or it is of another CA that Macs do not trust yet; the one before stays in use',
  ),
  ACME_FAILS: telling('the CA gives no certificate for the names of this backend; the one in use goes on until it ends'),
  BACKEND_BUSY: telling('this backend is asked for more than it can: for minutes it has told quiet Macs to come later; keys and reports of used ones go first'),
  CLOCKS_DIFFER: telling(
    'the clock of a backend is not that of the database: holds and dates of all Macs follow the one that is ahead; set it by network time',
  ),
  CLIENT_HEADER_REFUSED: telling('a header that says who a Mac is came from where it may not: somebody tries, or a proxy is set up wrongly'),
  BACKUP_LATE: telling('there is no new backup: everything since the last one would be lost with this machine'),
  DRILL_LATE: telling('nobody has tried for a long time whether a key can be opened from a backup alone: run `sparekey-server verify-backup`'),
  BACKUP_FAILS: telling('the last backup could not be made; the older ones are still there'),
  AUDIT_CHANGED: telling(
    'the audit was changed behind the back of the backend, and is not signed any more: `sparekey-server audit verify` says which records; keep a copy of the data folder',
  ),
  WEBHOOK_FAILS: telling('records of the audit could not be sent to a webhook for a day; they wait, and none is left out'),
  DRILL_FAILED: telling('the last backup that was tried does not open: until one does, no older one is removed'),
  EMERGENCY_ACCOUNTS: telling(
    'fewer than two emergency accounts could open the console on the day when nobody else can sign in: make them with `sparekey-server account add --emergency`, give them a role, and set up their passkeys at the console',
  ),
  EMERGENCY_TEST_DUE: telling('an emergency account has not shown for a month that it works: sign in with it at the console, and put its passkey back'),
  MAIL_FAILED: telling('a mail could not be sent for a day, or its address was refused, and it was given up'),
  NO_MAIL_ADDRESS: telling('somebody was shown the key of this Mac, or a desk should hear of it, and no mail address is known'),
} as const satisfies Record<string, AlarmKind>;
export type AlarmCode = keyof typeof alarms;

const kindOf = (code: string): AlarmKind | undefined => (Object.hasOwn(alarms, code) ? alarms[code as AlarmCode] : undefined);

/** What it is about, for whoever has to judge it. */
export const sayAlarm = (code: string): string => kindOf(code)?.says ?? 'of another version of this backend';

export const stops = (alarm: Pick<Alarm, 'code'>): boolean => kindOf(alarm.code)?.stops ?? true;
export const stopsTheMac = (open: readonly Alarm[]): Alarm | undefined => open.find(stops);
export const stopsSelfService = (open: readonly Pick<Alarm, 'code'>[]): boolean => open.some((alarm) => kindOf(alarm.code)?.stopsSelfService ?? true);
export const isOfIdentity = (alarm: Alarm): boolean => kindOf(alarm.code)?.identity ?? true;

/** Raises an alarm once: not while it is open, and not again with the same words after it was judged. */
export async function raise(parts: Pick<CustodyParts, 'log'>, tx: Tx, at: number, macId: string | null, code: AlarmCode, detail: string): Promise<void> {
  if (await alarmLike(tx, macId, code, detail, macId === null && kindOf(code)?.ofOthers === true)) return;
  await putAlarm(parts, tx, at, macId, code, detail);
}

/** Raises an alarm of which its caller knows that it is a new one. */
export async function putAlarm(parts: Pick<CustodyParts, 'log'>, tx: Tx, at: number, macId: string | null, code: AlarmCode, detail: string): Promise<void> {
  const id = randomUUID();
  await insertAlarm(tx, { id, mac_id: macId, code, detail, opened_at: at, judged_at: null, judged_by: null, judgement: null });
  await audit(tx, { at, actor: 'server', act: 'alarm.raised', macId, details: { alarmId: id, code, detail } });
  afterAct(tx, () => parts.log.warn('alarm-raised', { macId, code, detail }));
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
  /** More of the same transaction, before anything of it is written: what it throws refuses the act. */
  before?: (tx: Tx, at: number) => Promise<void>;
}

export async function judgeAlarm(parts: CustodyParts, { alarmId, actor, judgement, before }: Judgement): Promise<void> {
  if (judgement.trim() === '') throw new Problem('REASON_MISSING');
  await parts.act(async (tx, at) => {
    await before?.(tx, at);
    const alarm = await alarmById(tx, alarmId);
    if (!alarm) throw new Problem('NOT_FOUND', `there is no alarm ${alarmId}`);
    if (alarm.judged_at !== null) return;
    await judge(tx, alarmId, actor, judgement, at);
    await audit(tx, { at, actor, act: 'alarm.judged', macId: alarm.mac_id, details: { alarmId, code: alarm.code, judgement } });
    afterAct(tx, () => parts.log.info('alarm-judged', { macId: alarm.mac_id, code: alarm.code }));
    if (alarm.code === ('UNREADABLE_DELIVERIES' satisfies AlarmCode) && alarm.mac_id !== null) {
      await updateMac(tx, alarm.mac_id, { unreadable_since: at, unreadable_count: 0 });
      await releaseUnopened(parts.secrets, tx, alarm.mac_id, at);
    }
  });
}
