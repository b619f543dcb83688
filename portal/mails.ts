import type { PeopleSettings } from '../server/people-settings.ts';
import { adminLetter, isAdminMail } from '../web/admin-letters.ts';
import { type Html, html } from '../web/html.ts';
import type { MailKind } from '../web/mail-queue.ts';
import type { Letter, WriteLetter } from '../web/mail-sending.ts';
import { type Language, say } from '../web/words.ts';
import { deskMailWords } from './desk-mail-words.ts';
import { laterWords } from './later-words.ts';
import { lookedWords } from './looked-words.ts';
import { type MailValues, mailWords } from './mail-words.ts';

/**
 * A name that somebody else has given: one line of plain text in which no mail program finds an address to make a link of,
 * and nothing that turns the direction of what follows.
 */
export const nameInMail = (text: string): string =>
  text
    .normalize('NFC')
    .replace(/[\p{C}\p{Zl}\p{Zp}/:@\\<>"“”„«»]/gu, ' ')
    .replace(/[.․。．｡](?=\S)/gu, '. ')
    .replace(/\s+/g, ' ')
    .trim()
    .slice(0, 64);

/** The reader's zone is not known: the backend's is named. */
function moment(at: number | null | undefined, language: Language): string {
  if (at === null || at === undefined) return '–';
  return new Intl.DateTimeFormat(language === 'en' ? 'en-GB' : language, {
    weekday: 'long',
    day: 'numeric',
    month: 'long',
    year: 'numeric',
    hour: '2-digit',
    minute: '2-digit',
    timeZoneName: 'short',
  }).format(at);
}

/** Addresses of this portal, the only ones in a mail, become links; all the rest is text. */
function linked(text: string, address: string): Html {
  const parts = text.split(new RegExp(`(${address.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}(?:/macs/[0-9a-zA-Z-]+(?:/looked)?)?)`));
  return html`${parts.map((part, at) => (at % 2 === 1 ? html`<a href="${part}">${part}</a>` : part))}`;
}

const later = ([before, after]: readonly [string, string?], from: string): string => (after === undefined ? before : `${before}${from}${after}`);

/** The words of each mail, as plain text and as simple HTML that says the same. */
export function lettersOf(settings: Pick<PeopleSettings, 'url' | 'contact'>, organisation: string): WriteLetter {
  return (kind: MailKind, language: Language, details): Letter => {
    if (isAdminMail(kind)) return adminLetter(kind, details, organisation);
    const words = mailWords[language];
    const isToDesk = kind === 'not-me-desk' || kind === 'key-request';
    const serialEnd = nameInMail(details.serialEnd ?? '');
    const name = nameInMail(details.macName ?? '') || null;
    const page = `${settings.url}/macs/${encodeURIComponent(details.macId ?? '')}`;
    const values: MailValues = {
      serialEnd,
      mac: words.mac(name, serialEnd, !isToDesk),
      shown: moment(details.shownAt, language),
      replaced: moment(details.replacedAt, language),
      checked: details.checkedAt === null || details.checkedAt === undefined ? null : moment(details.checkedAt, language),
      said: moment(details.saidAt, language),
      until: moment(details.untilAt, language),
      later: details.later ? later(laterWords[language][details.later], moment(details.laterFrom, language)) : null,
      // A dash stands for a browser that nobody knows.
      browser: nameInMail(details.browser ?? '').replace(/^–$/, '') || null,
      page,
      looked: `${page}/looked`,
      notMe: say(lookedWords, language).words.notMe,
      person: nameInMail(details.personName ?? '') || '–',
      code: details.code === undefined ? null : nameInMail(details.code),
    };
    const { subject, body } = kind === 'key-shown-desk' || kind === 'mac-not-yours' ? deskMailWords[language][kind](values) : words.kinds[kind](values);
    const { contact } = settings;
    // Its page and address are the organisation's, and are no addresses of this portal: they stay on the portal's pages.
    const ways = contact ? [contact.phone, contact.hours].filter((way) => way !== undefined) : [];
    const end = [...(contact && !isToDesk ? [words.desk(contact.name, ways)] : []), words.foot(organisation, settings.url)];
    const paragraphs = [...body, ...end];
    return {
      language,
      subject,
      text: `${paragraphs.map((part) => (typeof part === 'string' ? part : part.map((line) => `- ${line}`).join('\n'))).join('\n\n')}\n`,
      html: String(
        html`<!doctype html><html lang="${language}"><head><meta charset="utf-8"><title>${subject}</title></head><body>${paragraphs.map((part) =>
          typeof part === 'string'
            ? html`<p>${linked(part, settings.url)}</p>`
            : html`<ul>${part.map((line) => html`<li>${linked(line, settings.url)}</li>`)}</ul>`,
        )}</body></html>`,
      ),
    };
  };
}
