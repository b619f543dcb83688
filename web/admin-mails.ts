import { createHmac, timingSafeEqual } from 'node:crypto';
import type { AlarmCode } from '../server/alarms.ts';
import { peopleWhoMay, whoDecides } from '../server/approvals/who-decides.ts';
import { sameName, whose } from '../server/assignments.ts';
import type { Backend } from '../server/backend.ts';
import { isSent } from '../server/fleet/alarm-care.ts';
import type { Tx } from '../server/parts.ts';
import { type Alarm, openFleetAlarms } from '../server/store/alarms.ts';
import { claimsOf } from '../server/store/assignments.ts';
import { adminViewsOf, type DisclosureRequest } from '../server/store/disclosure-requests.ts';
import type { Emergency } from '../server/store/emergencies.ts';
import { peopleNamed, personById } from '../server/store/people.ts';
import { readMemory, writeMemory } from '../server/store/upkeep.ts';
import { queueMail, usableAddress } from './mail-queue.ts';

type Ground = Pick<Backend, 'secrets' | 'settings'>;
type Db = Backend['store']['db'];

const hour = 60 * 60 * 1000;
const linkLength = 22;

/**
 * What stands in the link of a mail: that it was sent to this person about this request. It opens a page on which they sign in,
 * and decides nothing; it only tells by which way somebody came.
 */
const seal = (secret: Uint8Array, requestId: string, personId: string): string =>
  createHmac('sha256', secret).update(`decide\0${requestId}\0${personId}`).digest('base64url').slice(0, linkLength);

export const isOfMail = (secret: Uint8Array, requestId: string, personId: string, given: string | undefined): boolean => {
  const [a, b] = [Buffer.from(seal(secret, requestId, personId)), Buffer.from(given ?? '')];
  return a.length === b.length && timingSafeEqual(a, b);
};

/** Everybody who may decide and has an address. Without one they see it in the console. */
export async function tellApprovers({ secrets, settings }: Ground, tx: Tx, at: number, request: DisclosureRequest): Promise<number> {
  const { console: site } = settings;
  if (!site) return 0;
  let told = 0;
  for (const person of await whoDecides(tx, at, request)) {
    if (usableAddress(person.email) === null) continue;
    const link = `${site.url}/disclosures/${request.id}?from=${seal(secrets.nonce, request.id, person.id)}`;
    const details = { macId: request.mac_id, personName: request.requester, untilAt: request.expires_at, words: request.reason, link };
    await queueMail(tx, { kind: 'disclosure-asked', personId: person.id, episodeId: null, details, at });
    told += 1;
  }
  return told;
}

export async function tellRequester({ settings }: Ground, tx: Tx, at: number, request: DisclosureRequest, said: { by: string; words: string }): Promise<void> {
  const person = await personById(tx, request.person_id);
  if (!settings.console || usableAddress(person?.email) === null) return;
  const until = request.state === 'approved' && request.granted_until !== null ? { untilAt: request.granted_until } : {};
  const details = { macId: request.mac_id, personName: said.by, words: said.words, link: `${settings.console.url}/disclosures/${request.id}`, ...until };
  await queueMail(tx, { kind: 'disclosure-decided', personId: request.person_id, episodeId: null, details, at });
}

/**
 * The person whose Mac it is for certain hears that somebody was shown its key: once for each time, and not again while the
 * same admin goes on.
 */
export async function tellOwner(tx: Tx, at: number, view: { macId: string; disclosureId: string; by: string; personId: string | null }): Promise<void> {
  const { macId, disclosureId, by, personId } = view;
  const owner = whose(await claimsOf(tx, macId));
  if (owner.kind !== 'one') return;
  if (personId !== null && (await adminViewsOf(tx, macId, personId, at - hour)).some((one) => one.disclosure_id !== disclosureId)) return;
  for (const person of await peopleNamed(tx, sameName(owner.userName))) {
    if (person.disabled_at !== null || person.id === personId || usableAddress(person.email) === null) continue;
    await queueMail(tx, { kind: 'key-shown-desk', personId: person.id, episodeId: null, details: { macId, disclosureId, personName: by, shownAt: at }, at });
  }
}

/** Whose Mac it was until an admin said otherwise. */
export async function tellFormer(tx: Tx, at: number, { macId, userName, by }: { macId: string; userName: string; by: string }): Promise<void> {
  for (const person of await peopleNamed(tx, sameName(userName))) {
    if (person.disabled_at !== null || usableAddress(person.email) === null) continue;
    await queueMail(tx, { kind: 'mac-not-yours', personId: person.id, episodeId: null, details: { macId, personName: by, saidAt: at }, at });
  }
}

const reminders = ['EMERGENCY_ACCOUNTS', 'EMERGENCY_TEST_DUE'] as const satisfies readonly AlarmCode[];
/** What is said of them changes with each account; nobody reads a mail about it every day. */
const betweenReminders = 7 * 24 * hour;

/**
 * The owners hear of emergency accounts that are missing or were not tried for a month: once for each time that the backend
 * says so anew, at most once a week. Of what is muted nobody hears.
 */
export async function remindOfEmergencyAccounts({ store, clock, settings }: Pick<Backend, 'store' | 'clock' | 'settings'>): Promise<void> {
  const { console: site } = settings;
  if (!site) return;
  const markOf = (code: AlarmCode): string => `mailed:${code}`;
  const isNew = async (db: Db, { code, id }: Alarm, at: number): Promise<boolean> => {
    const [mailed, when] = ((await readMemory(db, markOf(code as AlarmCode))) ?? '').split(' ');
    return mailed !== id && at - Number(when ?? 0) >= betweenReminders;
  };
  const wanted = async (db: Db, at: number): Promise<Alarm[]> => {
    const found: Alarm[] = [];
    for (const alarm of await openFleetAlarms(db))
      if (reminders.some((code) => code === alarm.code) && (await isNew(db, alarm, at)) && (await isSent(db, alarm, at))) found.push(alarm);
    return found;
  };
  if ((await wanted(store.db, clock.now())).length === 0) return;
  await store.write(async (tx) => {
    const at = await clock.persist(tx);
    for (const alarm of await wanted(tx, at)) {
      await writeMemory(tx, markOf(alarm.code as AlarmCode), `${alarm.id} ${at}`);
      const details = { macId: null, lines: alarm.detail.replace(/T[\d:.]+Z/g, '').split('; '), link: `${site.url}/alarms/${alarm.id}` };
      for (const owner of await peopleWhoMay(tx, at, 'people.edit', [], ({ email }) => usableAddress(email) !== null))
        await queueMail(tx, { kind: 'emergency-accounts', personId: owner.id, episodeId: null, details, at });
    }
  });
}

/** One mail at its end to each of the two who opened it: what came of it. */
export async function tellEmergency(
  { settings }: Ground,
  tx: Tx,
  at: number,
  row: Emergency,
  counts: { views: number; macs: number; people: number },
): Promise<void> {
  const link = settings.console ? { link: `${settings.console.url}/disclosures/emergency/${row.id}` } : {};
  const lines = [`Keys shown: ${counts.views}`, `Macs: ${counts.macs}`, `People: ${counts.people}`];
  for (const personId of new Set([row.asked_by_person, row.agreed_by_person])) {
    const person = personId === null ? null : await personById(tx, personId);
    if (!person || usableAddress(person.email) === null) continue;
    const details = { macId: null, personName: row.asked_by, words: row.reason, lines, ...link };
    await queueMail(tx, { kind: 'emergency-told', personId: person.id, episodeId: null, details, at });
  }
}
