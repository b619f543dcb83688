import { z } from 'zod';
import { readNetwork } from './networks.ts';
import { httpsOrigin, whole } from './people-settings.ts';

const file = z.string().startsWith('/', 'is not an absolute path').max(1024);

/** `console` of settings.json: the admins' site and the admin API, on a listener of their own. Null: there is none. */
export const consoleSettings = z.strictObject({
  /** The address as admins type it. */
  url: httpsOrigin('https://console.example.org'),
  /** This machine alone, unless it says another address: nobody but admins has business here. Host null: every address. */
  listen: z.strictObject({ host: z.string().max(253).nullable().default('127.0.0.1'), port: whole(1, 65_535) }),
  /** PEM files of a certificate that browsers know; null: the certificate of the Macs' listener. */
  tls: z.strictObject({ certificate: file, key: file }).nullable().default(null),
  /** From where it may be asked at all, such as 10.0.0.0/8; null: from anywhere that reaches it. */
  networks: z
    .array(z.string().refine((text) => readNetwork(text) !== null, 'is no address or network such as 10.0.0.0/24'))
    .min(1)
    .max(64)
    .nullable()
    .default(null),
  /** A file in which only the token is by which `/metrics` is read; null: whoever is in `networks` reads it, and where those are left out nobody. */
  metricsTokenFile: file.nullable().default(null),
});
export type ConsoleSettings = z.infer<typeof consoleSettings>;
