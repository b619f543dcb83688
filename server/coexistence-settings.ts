import { z } from 'zod';
import { httpsOrigin, whole } from './people-settings.ts';

const words = (most: number) => z.string().trim().min(1).max(most);
const file = z.string().startsWith('/', 'is not an absolute path').max(1024);
const origin = httpsOrigin('https://mdm.example.org');

const proxyAddress = z.string().refine((text) => {
  const url = URL.parse(text);
  return url?.protocol === 'http:' && url.origin === text.replace(/:80$/, '');
}, 'is no address of a proxy such as http://proxy.example.org:3128 (no account, no path)');

/** Each source of keys has a rate of its own, below what it allows: a stopped MDM is worse than a slow reading. */
const reading = {
  everyHours: whole(1, 720).default(24),
  requestsPerMinute: whole(1, 600).default(60),
  /** PEM, where its certificate is of a CA that this machine does not know. */
  trustedCertificatesFile: file.nullable().default(null),
  /** Where the product is reached through a proxy only. It sees the name of the product and nothing else. */
  proxy: proxyAddress.nullable().default(null),
} as const;

/** `coexistence` of settings.json: what other systems may say to this backend, and what it asks of them. Null: nothing. */
export const coexistenceSettings = z.strictObject({
  /** A listener of its own: an MDM server and Crypt clients need not reach what is for our agents. Null: nobody calls us. */
  listen: z
    .strictObject({ host: z.string().max(253).nullable().default(null), port: whole(1, 65_535) })
    .nullable()
    .default(null),
  /** `POST /v1/mdm/webhook` of NanoMDM or MicroMDM. */
  webhook: z
    .strictObject({
      server: z.enum(['nanomdm', 'micromdm']).default('nanomdm'),
      /** A file in which only the key of the HMAC is. */
      hmacKeyFile: file,
      /** An event that is older is refused. */
      windowMinutes: whole(1, 1440).default(15),
    })
    .nullable()
    .default(null),
  /** NanoMDM's own API: to ask for SecurityInfo, and to have keys replaced where no agent can. */
  nanomdm: z
    .strictObject({
      url: origin,
      apiKeyFile: file,
      /** Whether RotateFileVaultKey may be sent: the command holds the present key, and lies in NanoMDM's database until it is fetched. */
      rotate: z.boolean().default(false),
      securityInfoEveryHours: whole(1, 720).default(24),
      trustedCertificatesFile: file.nullable().default(null),
    })
    .nullable()
    .default(null),
  /** Crypt's clients, unchanged. */
  crypt: z
    .strictObject({
      /** How a client shows that it is one of ours. `none`: anybody who reaches the address may say anything about any Mac. */
      identity: z.enum(['certificate', 'header', 'none']).default('certificate'),
      header: z
        .strictObject({ name: words(64), valueFile: file })
        .nullable()
        .default(null),
      /** Needed for `none`, so that nobody gets there by leaving something out. */
      acceptAnybody: z.boolean().default(false),
    })
    .nullable()
    .default(null),
  connectors: z
    .strictObject({
      intune: z
        .strictObject({
          tenant: words(128),
          clientId: words(128),
          clientSecretFile: file,
          /** Of national clouds, and of tests. */
          signInUrl: origin.default('https://login.microsoftonline.com'),
          graphUrl: origin.default('https://graph.microsoft.com'),
          /** Whether rotateFileVaultKey may be called. */
          rotate: z.boolean().default(false),
          ...reading,
        })
        .nullable()
        .default(null),
      jamf: z
        .strictObject({ url: origin, clientId: words(128), clientSecretFile: file, ...reading })
        .nullable()
        .default(null),
      fleet: z
        .strictObject({ url: origin, tokenFile: file, ...reading })
        .nullable()
        .default(null),
    })
    .prefault({}),
  /** Days that a person has to have a shown key replaced where only the MDM can. */
  taskDays: whole(1, 90).default(3),
  /** Days that a Mac of a ring may stay `waiting` or `proving` before that is an alarm. */
  ringDays: whole(1, 90).default(3),
  /** Days after which a key that came with no more than a header, or with nothing, and that no Mac has proved, goes. */
  strangerDays: whole(1, 3650).default(180),
});
export type CoexistenceSettings = z.infer<typeof coexistenceSettings>;
