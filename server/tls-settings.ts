import { z } from 'zod';
import { readNetwork } from './networks.ts';

const file = z.string().startsWith('/', 'is not an absolute path').max(1024);

/** A CA that gives certificates by ACME, for which everybody who connects to our names at port 443 has to come to this backend. */
const acmeSettings = z.strictObject({
  /** Let’s Encrypt where it is left out. */
  directory: z
    .url({ protocol: /^https$/, error: 'is not an https address' })
    .max(1024)
    .default('https://acme-v02.api.letsencrypt.org/directory'),
  /** Whom the CA writes to. */
  email: z.email('is not an e-mail address').max(256),
  /** That the operator has read the CA’s terms and agrees to them. */
  termsAgreed: z.literal(true, 'has to be true: read the terms of the CA first'),
  /** For CAs that know their customers: what the CA has given out. The file holds the key (base64url) and nothing else. */
  external: z
    .strictObject({ keyId: z.string().min(1).max(512), keyFile: file })
    .nullable()
    .default(null),
  /** PEM, where its own certificate is of a CA that this machine does not know: a CA of the organisation. */
  trustedCertificatesFile: file.nullable().default(null),
  proxy: z
    .url({ protocol: /^http$/, error: 'is not an http address' })
    .max(1024)
    .nullable()
    .default(null),
});

/** `tls` of settings.json: the certificate of the Macs' listener, and what it speaks. */
export const tlsSettings = z.strictObject({
  /** 1.2 only for the sake of a device in between that cannot do better. */
  oldest: z.enum(['1.2', '1.3']).default('1.3'),
  /** False where the certificate is the organisation's own: then it is never renewed here. */
  ownCertificate: z.boolean().default(true),
  /** PEM files that certbot, lego or somebody else keeps new. They are read again when they change. Null: `tls/` of the data folder. */
  files: z.strictObject({ certificate: file, key: file }).nullable().default(null),
  /** Null: nobody is asked for a certificate. */
  acme: acmeSettings.nullable().default(null),
});

/** `proxy` of settings.json: what ends TLS in front of this backend. Null: nothing does. */
export const proxySettings = z.strictObject({
  /** Where its connections come from. Headers from anywhere else count for nothing. */
  addresses: z
    .array(z.string().refine((text) => readNetwork(text) !== null, 'is no address or network such as 10.0.0.0/24'))
    .min(1)
    .max(64),
  /** How it says which client certificate a Mac showed; null: it stands before the site for people only. */
  clientCertificate: z.enum(['rfc9440', 'nginx', 'alb', 'alb-leaf']).nullable().default(null),
  /** Without TLS from it to us. Then nobody else is let in, and the listeners have an address of their own. */
  plain: z.boolean().default(false),
});
export type ProxySettings = z.infer<typeof proxySettings>;

/** `backup` of settings.json: when somebody is told that there is none, or that none was tried. Days; null: never. */
export const backupSettings = z.strictObject({
  warnAfterDays: z.int().min(1).max(365).nullable().default(3),
  drillEveryDays: z.int().min(1).max(730).nullable().default(92),
});
