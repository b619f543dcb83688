import { createHmac, timingSafeEqual } from 'node:crypto';
import { whoDecides } from '../server/approvals/who-decides.ts';
import { sameName, whose } from '../server/assignments.ts';
import type { Backend } from '../server/backend.ts';
import type { Tx } from '../server/parts.ts';
import { claimsOf } from '../server/store/assignments.ts';
import { adminViewsOf, type DisclosureRequest } from '../server/store/disclosure-requests.ts';
import type { Emergency } from '../server/store/emergencies.ts';
import { peopleNamed, personById } from '../server/store/people.ts';
import { queueMail, usableAddress } from './mail-queue.ts';

type Ground = Pick<Backend, 'secrets' | 'settings'>;

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
