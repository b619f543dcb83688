import { html } from './html.ts';
import { type AdminMailKind, adminMailKinds, type MailDetails, type MailKind } from './mail-queue.ts';
import type { Letter } from './mail-sending.ts';

/* Mails to admins. English, as the console is; the only link is to a page of the console, where they sign in. */

export const isAdminMail = (kind: MailKind): kind is AdminMailKind => (adminMailKinds as readonly string[]).includes(kind);

/** What somebody has written, as one line of plain text in which no mail program finds an address to make a link of. */
const plain = (text: string, most: number): string =>
  text
    .normalize('NFC')
    .replace(/[\p{C}\p{Zl}\p{Zp}/:@\\<>]/gu, ' ')
    .replace(/[.․。．｡](?=\S)/gu, '. ')
    .replace(/\s+/g, ' ')
    .trim()
    .slice(0, most);

const moment = (at: number): string =>
  new Intl.DateTimeFormat('en-GB', { weekday: 'long', day: 'numeric', month: 'long', hour: '2-digit', minute: '2-digit', timeZoneName: 'short' }).format(at);

interface Text {
  subject: string;
  before: string;
  after: string;
}

function textOf(kind: AdminMailKind, details: MailDetails): Text {
  const who = plain(details.personName ?? '', 120) || 'Somebody';
  const mac = `the Mac with the serial number ending in ${plain(details.serialEnd ?? '', 12)}`;
  if (kind === 'disclosure-asked')
    return {
      subject: `A recovery key is asked for (…${plain(details.serialEnd ?? '', 12)})`,
      before: `${who} asks to be shown the recovery key of ${mac}. It is shown to nobody before others have agreed${details.untilAt === undefined ? '' : `, and the request ends ${moment(details.untilAt)}`}.`,
      after: 'You sign in there, see what is known of the Mac, and agree or decline with a word why. Nothing is decided by opening this mail or its link.',
    };
  if (kind === 'disclosure-decided')
    return {
      subject: `Your request for a recovery key (…${plain(details.serialEnd ?? '', 12)})`,
      before: `Your request for the recovery key of ${mac} was decided by ${who}.`,
      after: details.untilAt === undefined ? 'Ask again if something has changed.' : `You may be shown it until ${moment(details.untilAt)}.`,
    };
  if (kind === 'emergency-accounts')
    return {
      subject: 'The emergency accounts of the console want looking after',
      before: 'They are for the day on which nobody else can sign in. What is so now:',
      after:
        'Sign in with each account once a month, at the console, and put its passkey back into the safe: that is the whole test, and it ends this reminder until the next month. How they are made is in the documentation of the console, under “Emergency accounts”.',
    };
  return {
    subject: 'Self-service for many has ended',
    before: `What ${who} asked for and somebody else agreed to is over.`,
    after: 'Every key that was shown is owed a replacement. Have them replaced in waves: the page has that prepared.',
  };
}

/** Plain text, and simple HTML that says the same. */
export function adminLetter(kind: AdminMailKind, details: MailDetails, organisation: string): Letter {
  const { subject, before, after } = textOf(kind, details);
  const words = plain(details.words ?? '', 500);
  const lines = (details.lines ?? []).map((line) => plain(line, 200));
  const { link } = details;
  const foot = `${organisation} sends this mail automatically. It holds no key, and nobody asks you for one by mail.`;
  const parts = [before, ...(words === '' ? [] : [`“${words}”`]), ...(lines.length > 0 ? [lines.map((line) => `- ${line}`).join('\n')] : [])];
  return {
    language: 'en',
    subject,
    text: `${[...parts, ...(link === undefined ? [] : [link]), after, foot].join('\n\n')}\n`,
    html: String(
      html`<!doctype html><html lang="en"><head><meta charset="utf-8"><title>${subject}</title></head><body><p>${before}</p>${words === '' ? null : html`<p>“${words}”</p>`}${
        lines.length > 0 && html`<ul>${lines.map((line) => html`<li>${line}</li>`)}</ul>`
      }${link !== undefined && html`<p><a href="${link}">${link}</a></p>`}<p>${after}</p><p>${foot}</p></body></html>`,
    ),
  };
}
