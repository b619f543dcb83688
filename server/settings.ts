import { existsSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { mostWaitSeconds } from '../protocol/messages.ts';
import { Problem } from '../protocol/problems.ts';
import { webhookSettings } from './auditing/webhook-settings.ts';
import { coexistenceSettings } from './coexistence-settings.ts';
import { consoleSettings } from './console-settings.ts';
import { isPostgres } from './database-url.ts';
import { connectionLimits } from './limits.ts';
import { httpsOrigin, peopleSettings, whole } from './people-settings.ts';
import { readPrivate } from './private-files.ts';
import { backupSettings, proxySettings, tlsSettings } from './tls-settings.ts';

const origin = httpsOrigin('https://keys.example.org:8443');
const hostName = z.string().regex(/^[a-z0-9.:-]{1,253}$/, 'is not a host name in lower case');
const pattern = z.string().refine((text) => {
  try {
    return new RegExp(`${text}|`).exec('')?.length === 2;
  } catch {
    return false;
  }
}, 'is not a regular expression with exactly one group');

/** `settings.json` in the data folder. Every value but the address has a default that is safe; there is no cleartext mode. */
const settings = z.strictObject({
  /** The address as the Macs have it in their settings, and as the enrolment statement names it. */
  serverUrl: origin,
  /** Further addresses under which the same Macs' listener is reached. */
  otherUrls: z.array(origin).max(16).default([]),
  organisation: z.string().min(1).max(128).default('This organisation'),
  /** Host null: every address of the machine. */
  listen: z.strictObject({ host: hostName.nullable().default(null), port: whole(1, 65_535) }),
  tls: tlsSettings.prefault({}),
  /** What ends TLS in front of this backend. */
  proxy: proxySettings.nullable().default(null),
  backup: backupSettings.prefault({}),
  /** Where a certificate of a device CA says the serial number: a field, and a pattern whose one group is the serial. */
  serialPattern: z
    .strictObject({ in: z.enum(['serialNumber', 'commonName', 'alternativeName']), pattern })
    .nullable()
    .default(null),
  /** Tickets are off as soon as there is a device CA; this says both. */
  ticketsBesideDeviceCas: z.boolean().default(false),
  keys: z
    .strictObject({
      /** Hours after the first disclosure of an episode until the hold ends by itself. */
      holdDeadlineHours: whole(1, 168).default(24),
      checkInMinutes: whole(1, 1440).default(15),
      /** Over so many seconds the Macs spread their check-ins: each waits for its own place in them. */
      spreadSeconds: whole(0, 600).default(60),
      /** For how long an answer may be kept until there is something new for the Mac, where it asks for that. 0: never. */
      waitSeconds: whole(0, mostWaitSeconds).default(0),
      retainSupersededDays: whole(1, 3650).default(90),
      orderExpiresDays: whole(1, 365).default(30),
      grants: z.enum(['automatic', 'ordered-only', 'never']).default('automatic'),
      /** In the whole fleet; beyond it all grants but `resolve` stop, with an alarm. */
      grantsPerHour: whole(1, 100_000).default(200),
      confirmProvedSerials: z.boolean().default(true),
      proveEveryDays: whole(1, 365).default(30),
    })
    .prefault({}),
  limits: z
    .strictObject({
      connections: whole(10, 100_000).default(connectionLimits.connections),
      connectionsPerAddress: whole(1, 100_000).default(connectionLimits.connectionsPerAddress),
      headerSeconds: whole(1, 120).default(connectionLimits.headerSeconds),
      requestSeconds: whole(1, 300).default(connectionLimits.requestSeconds),
      handshakes: whole(10, 100_000).default(connectionLimits.handshakes),
      checkIns: whole(4, 10_000).default(connectionLimits.checkIns),
      waiters: whole(0, 100_000).default(connectionLimits.waiters),
    })
    .prefault({}),
  /** The site for users, and how people sign in to both sites. */
  people: peopleSettings.nullable().default(null),
  /** The site for admins, and their API. */
  console: consoleSettings.nullable().default(null),
  /** What other systems may say to this backend, and what it asks of them. */
  coexistence: coexistenceSettings.nullable().default(null),
  /** Who is told of what is recorded in the audit. */
  webhooks: z
    .array(webhookSettings)
    .max(8)
    .refine((hooks) => new Set(hooks.map(({ name }) => name)).size === hooks.length, 'has two of one name')
    .default([]),
  /** Days after which records of the audit are taken out into a signed file. Null: never. */
  auditRetainDays: whole(400, 36_500).nullable().default(null),
  logLevel: z.enum(['error', 'warn', 'info']).default('info'),
});
export type ServerSettings = z.infer<typeof settings>;

/** The listeners, in the order of their sockets. */
const socketNames = ['macs', 'people', 'neighbours', 'console'] as const;
export type SocketName = (typeof socketNames)[number];

/** One line per mistake: where it is and what is wrong, never the value. */
function mistakes(error: z.ZodError): string[] {
  return error.issues.flatMap((issue) => {
    const where = issue.path.join('.') || 'the file';
    if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => `${[...issue.path, key].join('.')}: there is no such setting`);
    if (issue.code === 'invalid_value') return [`${where}: is not one of ${issue.values.map(String).join(', ')}`];
    if (issue.code === 'too_small' || issue.code === 'too_big')
      return [`${where}: is out of range (${issue.code === 'too_small' ? `least ${issue.minimum}` : `most ${issue.maximum}`})`];
    if (issue.code === 'invalid_type') return [`${where}: is missing or no ${issue.expected}`];
    return [`${where}: ${issue.code === 'custom' || issue.code === 'invalid_format' ? issue.message : 'is wrong'}`];
  });
}

export function checkSettings(given: unknown): ServerSettings {
  const read = settings.safeParse(given);
  if (!read.success) throw new Problem('SERVER_SETTINGS_INVALID', mistakes(read.error).join('; '));
  const { data } = read;
  // What a proxy says of a certificate is no proof that a Mac has its key: a person confirms who is given a key of before.
  return Object.freeze(data.proxy?.clientCertificate ? { ...data, keys: { ...data.keys, confirmProvedSerials: false } } : data);
}

/** Reads the settings once; all mistakes are listed together. */
export const readSettings = (path: string): ServerSettings => checkSettings(readJson(path));

function readJson(path: string): unknown {
  const text = readPrivate(path).toString('utf8');
  try {
    return JSON.parse(text);
  } catch (error) {
    const at = /line \d+ column \d+/.exec(error instanceof Error ? error.message : '');
    throw new Problem('SERVER_SETTINGS_INVALID', `${path} is not JSON${at ? `: ${at[0]}` : ''}`);
  }
}

/** In place of what is needed and wrong, so that the rest can be looked at. */
const standIns: Record<string, unknown> = {
  serverUrl: 'https://macs.invalid',
  listen: { port: 1 },
  'people.url': 'https://people.invalid',
  'people.listen': { port: 2 },
  'console.url': 'https://console.invalid',
  'console.listen': { port: 3 },
};

/**
 * Settings of which whatever is wrong is left out: the files that the rest names can then be looked at in the same go.
 * `wrong` are the settings that were left out. Null where too little is left.
 */
export function readableSettings(path: string): { rest: ServerSettings; wrong: string[] } | null {
  const wrong = new Set<string>();
  let rest: unknown;
  try {
    rest = readJson(path);
  } catch {
    return null; // `readSettings` says so.
  }
  for (let round = 0; round < 32; round += 1) {
    const read = settings.safeParse(rest);
    if (read.success) return { rest: read.data, wrong: [...wrong] };
    for (const issue of read.error.issues) {
      const paths = issue.code === 'unrecognized_keys' ? issue.keys.map((key) => [...issue.path, key]) : [issue.path];
      for (const one of paths) {
        wrong.add(one.join('.'));
        if (!leaveOut(rest, one.map(String))) return null;
      }
    }
  }
  return null;
}

/** What is not there and needed takes with it what needs it. Of a list the later entries go too: those that stay keep their numbers. */
function leaveOut(within: unknown, path: readonly string[]): boolean {
  const [last] = path.slice(-1);
  const above = path.slice(0, -1).reduce<unknown>((at, key) => (at as Record<string, unknown> | undefined)?.[key], within);
  if (last === undefined || typeof above !== 'object' || above === null) return last !== undefined && leaveOut(within, path.slice(0, -1));
  const standIn = standIns[path.join('.')];
  if (standIn !== undefined) (above as Record<string, unknown>)[last] = standIn;
  else if (Array.isArray(above)) above.length = Math.min(above.length, Number(last));
  else if (last in above) delete (above as Record<string, unknown>)[last];
  else return leaveOut(within, path.slice(0, -1));
  return true;
}

/** The release of this backend, from package.json beside its folder. */
export function serverVersion(): string {
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string };
  return version;
}

/**
 * The address of the PostgreSQL database: from the environment, else from the file `database-url` of the data folder. An absolute
 * path in place of it is a private file that holds it, for passwords have no place in the environment. Null: it is a file in the data folder.
 */
export function databaseAddress(dir: string, environment: NodeJS.ProcessEnv = process.env): string | null {
  const own = join(dir, 'database-url');
  const given = environment['SPAREKEY_DATABASE_URL']?.trim() || (existsSync(own) ? own : null);
  const address = given?.startsWith('/') ? readPrivate(given).toString('utf8').trim() : given;
  if (address !== null && address !== undefined && !isPostgres(address))
    throw new Problem(
      'SERVER_SETTINGS_INVALID',
      'SPAREKEY_DATABASE_URL: does not begin with postgresql://, nor is it the absolute path of a file with such an address',
    );
  return address ?? null;
}

/** Whether there is an address, be it good or not: what is wrong with its file is said with what is wrong with the others. */
export const isDatabaseAddressed = (dir: string): boolean => Boolean(process.env['SPAREKEY_DATABASE_URL']?.trim()) || existsSync(join(dir, 'database-url'));

/** Where the data folder is when no command says so: an installed release knows its own. Null in a clone. */
export const usualDataFolder = (): string | null => process.env['SPAREKEY_DIR'] || null;

/**
 * Listening sockets that systemd has opened for us (sd_listen_fds): by the name in `FileDescriptorName=`, else `macs`,
 * `people`, `neighbours`, `console` in that order. Empty where they were meant for another process, such as the one that started us. One
 * that nobody takes is refused: whoever connects there would wait for ever.
 */
export function activatedSockets(environment: NodeJS.ProcessEnv = process.env, pid: number = process.pid): Partial<Record<SocketName, number>> {
  const count = Number(environment['LISTEN_FDS'] ?? 0);
  if (environment['LISTEN_PID'] !== String(pid) || !Number.isInteger(count) || count < 1) return {};
  const names = (environment['LISTEN_FDNAMES'] ?? '').split(':');
  const found: Partial<Record<SocketName, number>> = {};
  const nobodys: string[] = [];
  for (let at = 0; at < count; at += 1) {
    const given = names[at] ?? '';
    // Without a name of its own a socket is called by its unit: `sparekey.socket`.
    const isUnnamed = given === '' || given === 'unknown' || given.endsWith('.socket');
    const name = isUnnamed ? socketNames[at] : socketNames.find((one) => one === given);
    if (name !== undefined && found[name] === undefined) found[name] = 3 + at;
    else nobodys.push(`descriptor ${3 + at} (${isUnnamed ? 'without a name' : JSON.stringify(given)})`);
  }
  if (nobodys.length > 0) throw new Problem('SERVER_SETTINGS_INVALID', socketsWithout(nobodys.join(', ')));
  return found;
}

/** For a mistake in the socket units. */
const socketsWithout = (which: string): string =>
  `systemd opened a socket that no listener takes: ${which}; each of \`macs\`, \`people\`, \`neighbours\` and \`console\` takes one, and where people share the port of the Macs only \`macs\`: one ListenStream= for each, with its FileDescriptorName=`;

/** Refuses a socket of a listener that the settings do not have: `taken` has something for each that there is beside that of the Macs. */
export function refuseIdleSockets(sockets: Partial<Record<SocketName, number>>, taken: Record<Exclude<SocketName, 'macs'>, unknown>): void {
  for (const [name, listener] of Object.entries(taken) as [SocketName, unknown][])
    if (!listener && sockets[name] !== undefined) throw new Problem('SERVER_SETTINGS_INVALID', socketsWithout(`${name} (descriptor ${sockets[name]})`));
}

/** Where something large and secret lies for a while: where `TMPDIR` says, else beside the data, where there is room and nobody else may look. */
export const roomyFolder = (dir: string | null): string => (dir === null || process.env['TMPDIR'] ? tmpdir() : dir);

/** Who runs a command, for the audit: the person behind sudo where there is one. In a container a user may be a number without a name. */
export function operatorName(nameOfUser: () => string, environment: NodeJS.ProcessEnv = process.env): string {
  if (environment['SUDO_USER']) return environment['SUDO_USER'];
  try {
    return nameOfUser();
  } catch {
    return `uid-${process.getuid?.() ?? 'unknown'}`;
  }
}
