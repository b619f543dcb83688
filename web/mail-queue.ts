import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { raise } from '../server/alarms.ts';
import { audit } from '../server/audit.ts';
import { lastFacts } from '../server/custody-state.ts';
import { silentLog } from '../server/log.ts';
import type { Tx } from '../server/parts.ts';
import { macById } from '../server/store/macs.ts';
import { addressee, insertMail, mailOfEpisode } from '../server/store/mails.ts';
import { chooseLanguage, type Language } from './words.ts';

/** Every mail about a Mac to its person, or to their desk. The words are the portal's. */
export const mailKinds = ['key-shown', 'key-shown-desk', 'mac-not-yours', 'key-replaced', 'nothing-heard', 'not-me', 'not-me-desk', 'key-request'] as const;
/** Those to admins; in English, as the console is. The words are in web/admin-letters.ts. */
export const adminMailKinds = ['disclosure-asked', 'disclosure-decided', 'emergency-told', 'emergency-accounts'] as const;
export type UserMailKind = (typeof mailKinds)[number];
export type AdminMailKind = (typeof adminMailKinds)[number];
export type MailKind = UserMailKind | AdminMailKind;

/** What a mail's words are made with. Never a key; times are milliseconds of the server. */
export const mailDetails = z.object({
  /** Null where it is about many. */
  macId: z.string().nullable(),
  /** Of the Mac, as it was when this happened; filled in here. */
  macName: z.string().nullable().optional(),
  serialEnd: z.string().optional(),
  /** The browser in a few words of ours, such as *Safari, iPhone*. */
  browser: z.string().optional(),
  shownAt: z.number().optional(),
  replacedAt: z.number().optional(),
  checkedAt: z.number().nullable().optional(),
  saidAt: z.number().optional(),
  /** When a request ends that nobody answers. */
  untilAt: z.number().optional(),
  /** Why the replacement comes later than when the Mac is next online, where that is known. */
  later: z.enum(['grant', 'mdm', 'service-desk', 'other-volume']).nullable().optional(),
  laterFrom: z.number().nullable().optional(),
  /** Who said that it was not them, or asks for a key, for the service desk. */
  personName: z.string().optional(),
  /** The episode's or the request's, to be read out on the telephone. */
  code: z.string().optional(),
  /** A view by the desk, or with its help: nobody is told of one that opened no key. */
  disclosureId: z.string().optional(),
  /** To admins: what it is about in the words of whoever wrote them, whole lines of ours, and a page of the console. */
  words: z.string().optional(),
  lines: z.array(z.string()).optional(),
  link: z.string().optional(),
});
export type MailDetails = z.infer<typeof mailDetails>;

export interface MailWanted {
  kind: MailKind;
  /** To one person, in their language … */
  personId?: string;
  /** … or to an address of the organisation. */
  address?: string | undefined;
  /** At most one mail of a kind is sent for an episode, however often it is asked for. */
  episodeId: string | null;
  details: MailDetails;
  at: number;
  /** Where the person has chosen none: that of the page on which it happened. Of an address: the one of the settings. */
  language?: Language | undefined;
}

/** A key can turn out not to have been shown, if its envelope does not open: that takes five seconds at most. */
const settleMilliseconds = 15_000;

/** One address and nothing else: what a provider says of somebody is not ours. */
const oneAddress = z.email().max(256);
export const usableAddress = (text: string | null | undefined): string | null => oneAddress.safeParse(text).data ?? null;

/**
 * Puts a mail into the queue, in the transaction of the act that it tells of: if the act does not happen, nobody hears of
 * it. Somebody without an address gets none, and an alarm says so.
 */
export async function queueMail(tx: Tx, wanted: MailWanted): Promise<void> {
  const { kind, personId, episodeId, details, at } = wanted;
  if (episodeId !== null && (await mailOfEpisode(tx, episodeId, kind))) return;
  const person = personId === undefined ? undefined : await addressee(tx, personId);
  const address = usableAddress(personId === undefined ? wanted.address : person?.email);
  if (address === null) {
    await audit(tx, { at, actor: 'server', act: 'mail.no-address', macId: details.macId, details: { kind, personId: personId ?? null, episodeId } });
    await raise({ log: silentLog }, tx, at, details.macId, 'NO_MAIL_ADDRESS', personId === undefined ? kind : `${kind}, person ${personId}`);
    return;
  }
  const language = chooseLanguage(person?.language ?? wanted.language, undefined);
  const mac = details.macId === null ? undefined : await macById(tx, details.macId);
  const said: MailDetails = { ...details, macName: (mac && lastFacts(mac)?.name) ?? null, serialEnd: mac?.serial.slice(-4) ?? '' };
  await insertMail(tx, {
    id: randomUUID(),
    kind,
    address,
    language,
    details: JSON.stringify(mailDetails.parse(said)),
    episode_id: episodeId,
    created_at: at,
    next_try_at: kind === 'key-shown' || kind === 'key-shown-desk' ? at + settleMilliseconds : at,
    tries: 0,
    sent_at: null,
    given_up_at: null,
    last_error: null,
  });
}
