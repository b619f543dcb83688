import { z } from 'zod';

const file = z.string().startsWith('/', 'is not an absolute path').max(1024);
const address = z
  .string()
  .max(2048)
  .refine((text) => {
    const url = URL.parse(text);
    const isLocal = url?.protocol === 'http:' && ['127.0.0.1', '[::1]'].includes(url.hostname);
    return url !== null && (url.protocol === 'https:' || isLocal) && url.username === '' && url.password === '' && url.hash === '';
  }, 'is no https address without an account in it (http only on this very machine)');

/** One entry of `webhooks` in settings.json: who is told of what is recorded. */
export const webhookSettings = z.strictObject({
  /** By which it is known in the database: another name is another hook, which begins anew. */
  name: z.string().regex(/^[a-z0-9][a-z0-9-]{0,39}$/, 'is no name in lower-case letters, digits and dashes'),
  url: address,
  /** A file in which only the key of the HMAC is, 32 characters at least. */
  secretFile: file,
  /** `audit`: every record, and the checkpoints. `alarms`: what is raised, settled and judged. Else how an act begins, such as `key.`. */
  events: z
    .array(z.string().regex(/^(audit|alarms|[a-z][a-z-]*\.[a-z.-]*)$/, 'is not audit, alarms, or the beginning of an act with its dot'))
    .min(1)
    .max(32)
    .default(['audit']),
  /** Where a new hook begins: with what comes from now on, or with the first record that there is. */
  begins: z.enum(['now', 'at-the-first']).default('now'),
  trustedCertificatesFile: file.nullable().default(null),
  /** Where it is reached through a proxy only. */
  proxy: z
    .string()
    .refine((text) => {
      const url = URL.parse(text);
      return url?.protocol === 'http:' && url.origin === text.replace(/:80$/, '');
    }, 'is no address of a proxy such as http://proxy.example.org:3128 (no account, no path)')
    .nullable()
    .default(null),
});
export type WebhookSettings = z.infer<typeof webhookSettings>;
