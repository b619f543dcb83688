import { z } from 'zod';

export const whole = (least: number, most: number) => z.int().min(least).max(most);
const words = (most: number) => z.string().trim().min(1).max(most);
const file = z.string().startsWith('/', 'is not an absolute path').max(1024);

/** An address without a path, as everybody writes it. */
export const httpsOrigin = (example: string) =>
  z.string().refine((text) => {
    try {
      const url = new URL(text);
      return url.protocol === 'https:' && url.origin === text;
    } catch {
      return false;
    }
  }, `is not an https origin such as ${example}`);
const origin = httpsOrigin('https://key.example.org');
const webPage = z.url({ protocol: /^https$/, error: 'is not an https address' }).max(1024);
/** A provider on the same machine may be reached without TLS: try-outs and tests. */
const issuer = z.string().refine((text) => {
  try {
    const url = new URL(text);
    return url.protocol === 'https:' || (url.protocol === 'http:' && ['127.0.0.1', '[::1]'].includes(url.hostname));
  } catch {
    return false;
  }
}, 'is not an https address');

/** What belongs to a tenant of anybody's: in it whoever runs one could be whom they like. */
const anyTenant = /^https:\/\/login\.microsoftonline\.com\/(common|organizations|consumers)(\/|$)/i;

/** Whom somebody calls whom the portal cannot help. */
const contact = z.strictObject({
  name: words(128),
  phone: words(64).optional(),
  email: z.email('is not an e-mail address').max(256).optional(),
  page: webPage.optional(),
  /** As people say it, such as “Mon–Fri 8:00–18:00”. */
  hours: words(256).optional(),
  /** Of the mails to its address; English where it is left out. */
  language: z.enum(['en', 'nl', 'de', 'fr']).optional(),
});
export type Contact = z.infer<typeof contact>;

const selfServiceSwitch = z.enum(['off', 'on', 'with-approval']);
export type SelfServiceSwitch = z.infer<typeof selfServiceSwitch>;

const provider = z.strictObject({
  /** Part of an address, and of who somebody is: never changed once it is in use. */
  id: z
    .string()
    .regex(/^[a-z][a-z0-9-]{0,31}$/, 'is not a short name of small letters, digits and dashes')
    .refine((id) => id !== 'local', 'is taken'),
  /** On the button. */
  name: words(64),
  issuer: issuer.refine((text) => !anyTenant.test(text), 'is for people of every tenant: it has to name yours'),
  clientId: words(256),
  /** A file in which only the secret is; null for a public client. */
  clientSecretFile: file.nullable().default(null),
  scopes: z.array(words(64)).max(16).default(['openid', 'profile', 'email']),
  /** Which claim is the user name that assignments use. */
  userNameClaim: z.enum(['email', 'preferred_username', 'upn', 'sub']).default('email'),
  groupsClaim: words(64).default('groups'),
  /** PEM, where its certificate is of a CA that this machine does not know. */
  trustedCertificatesFile: file.nullable().default(null),
});
export type Provider = z.infer<typeof provider>;

/** What belongs to one group of people. Of the groups to which somebody belongs, the first in the list that says something of it counts. */
const group = z.strictObject({
  group: words(256),
  selfService: selfServiceSwitch.optional(),
  contact: contact.optional(),
});

/** `people` of settings.json: the sites for people, on a listener of their own. Null: there are none. */
export const peopleSettings = z.strictObject({
  /** The address as people type it. */
  url: origin,
  listen: z.strictObject({ host: z.string().max(253).nullable().default(null), port: whole(1, 65_535) }),
  /** PEM files of a certificate that browsers know; null: the certificate of the Macs' listener. */
  tls: z.strictObject({ certificate: file, key: file }).nullable().default(null),
  brand: z
    .strictObject({
      /** `#rrggbb`; corrected where it cannot be read on its background. */
      accent: z
        .string()
        .regex(/^#[0-9a-fA-F]{6}$/, 'is not a colour such as #0a5c8a')
        .nullable()
        .default(null),
      /** SVG, PNG or WebP, at most 16 KB. */
      logoFile: file.nullable().default(null),
      privacyPage: webPage.nullable().default(null),
      /** For IT professionals. */
      adminPage: webPage.nullable().default(null),
    })
    .prefault({}),
  signIn: z
    .strictObject({
      /** Sign-in by password and passkey of accounts made here. Emergency accounts work in any case, by passkey. */
      localAccounts: z.boolean().default(true),
      providers: z.array(provider).max(8).default([]),
      // The least: a sign-in outlives the hour in which somebody who types slowly gets five more minutes (WCAG 2.2.1).
      sessionHours: whole(2, 24).default(8),
      idleMinutes: whole(10, 240).default(30),
      /** How recent a sign-in has to be for a key, and how long an episode lasts. */
      freshMinutes: whole(5, 60).default(15),
    })
    .prefault({}),
  selfService: z
    .strictObject({
      everybody: selfServiceSwitch.default('on'),
      groups: z.array(group).max(64).default([]),
      reason: z.enum(['none', 'optional', 'required']).default('optional'),
      /** A Mac with a local admin that the organisation manages: the service desk may help without a key. */
      managedLocalAdmin: z.enum(['show', 'refuse']).default('show'),
      approvalHours: whole(1, 72).default(4),
      /** Views of keys by one person in 24 hours, and from one address in an hour; beyond it an alarm. */
      viewsPerPerson: whole(5, 500).default(40),
      viewsPerAddress: whole(5, 5000).default(100),
    })
    .prefault({}),
  /** How accounts on the Macs relate to the work account: which words people get afterwards. */
  macAccounts: z.enum(['local', 'mobile', 'platform-sso', 'smart-card']).default('local'),
  contact: contact.nullable().default(null),
  mail: z
    .strictObject({
      from: z.email('is not an e-mail address').max(256),
      /** Null: mails are written as .eml files into `mail/` of the data folder. */
      smtp: z
        .strictObject({
          host: words(253),
          port: whole(1, 65_535).default(587),
          security: z.enum(['tls', 'starttls', 'none']).default('starttls'),
          user: words(256).nullable().default(null),
          passwordFile: file.nullable().default(null),
          trustedCertificatesFile: file.nullable().default(null),
        })
        .refine((smtp) => smtp.security !== 'none' || ['127.0.0.1', '::1', 'localhost'].includes(smtp.host), 'security "none" is for this machine only')
        .nullable()
        .default(null),
    })
    .nullable()
    .default(null),
});
export type PeopleSettings = z.infer<typeof peopleSettings>;
