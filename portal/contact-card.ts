import type { Contact, PeopleSettings } from '../server/people-settings.ts';
import { type Html, html } from '../web/html.ts';
import type { Person } from '../web/visit.ts';
import { type Language, say } from '../web/words.ts';
import { contactCardWords } from './contact-card-words.ts';

type ContactSettings = Pick<PeopleSettings, 'contact' | 'selfService'>;

/** Whom this person calls: of the first group of the settings that they are in and that names somebody, else the organisation's. */
export function contactOf(settings: ContactSettings, person: Pick<Person, 'groups'> | null): Contact | null {
  const group = settings.selfService.groups.find((one) => one.contact !== undefined && person?.groups?.includes(one.group));
  return group?.contact ?? settings.contact;
}

export interface ReadOut {
  /** The last signs of the serial number, as the Mac shows it. */
  serialEnd?: string;
  /** By which the service desk finds what somebody met (web/help-codes.ts). */
  code?: string;
}

/** Whom to call, when, and what to read out. It stands wherever the portal itself cannot go on. */
export function contactCard(settings: ContactSettings, person: Pick<Person, 'groups'> | null, { serialEnd, code }: ReadOut, language: Language): Html {
  const { words } = say(contactCardWords, language);
  const contact = contactOf(settings, person);
  const line = (name: string, value: Html | string | undefined) => (value === undefined ? null : html`<dt>${name}</dt><dd>${value}</dd>`);
  return html`<section class="note contact" aria-labelledby="contact-${code ?? 'desk'}">
    <h2 id="contact-${code ?? 'desk'}">${contact ? words.call(contact.name) : words.nobody}</h2>
    ${
      contact &&
      html`<dl class="facts">
      ${line(words.phone, contact.phone === undefined ? undefined : html`<a href="tel:${contact.phone.replace(/(?!^\+)[^0-9]/g, '')}">${contact.phone}</a>`)}
      ${line(words.hours, contact.hours)}
      ${line(words.email, contact.email === undefined ? undefined : html`<a href="mailto:${contact.email}">${contact.email}</a>`)}
      ${line(words.page, contact.page === undefined ? undefined : html`<a href="${contact.page}" rel="noreferrer">${shortAddress(contact.page)}</a>`)}
    </dl>`
    }
    ${
      (serialEnd ?? code) !== undefined &&
      html`<p>${words.readOut}</p>
    <dl class="facts">
      ${line(words.serial, serialEnd === undefined ? undefined : html`<code>${serialEnd}</code>`)}
      ${line(words.code, code === undefined ? undefined : html`<code>${code}</code>`)}
    </dl>`
    }
    ${code === undefined ? null : html`<p class="soft small">${words.codeMeans}</p>`}
  </section>`;
}

const shortAddress = (address: string): string => address.replace(/^https:\/\//, '').replace(/\/$/, '');
