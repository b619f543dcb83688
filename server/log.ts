import { askingNow } from './auditing/asking.ts';

/** Everything that the backend ever says in its log. A closed list, so that whoever watches it can rely on it. */
const events = [
  'server-started',
  'sites-started',
  'server-stopping',
  'server-stopped',
  'request',
  'request-refused',
  'request-failed',
  'connection-refused',
  'enrolled',
  'enrolment-refused',
  'enrolment-ended',
  'check-in',
  'rotation-begun',
  'rotation-ended',
  'mdm-copy-old',
  'ring-started',
  'campaign-started',
  'campaign-wave',
  'campaign-ended',
  'campaign-failed',
  'rotations-automatic',
  'key-stored',
  'key-quarantined',
  'key-disclosed',
  'keys-brought',
  'signed-in',
  'sign-in-refused',
  'provider-failed',
  'provider-groups-missing',
  'grant-given',
  'grant-refused',
  'alarm-raised',
  'alarm-judged',
  'fleet-filling',
  'timers-ran',
  'timers-failed',
  'mail-sent',
  'mail-not-sent',
  'certificate-expiring',
  'certificate-taken',
  'certificate-refused',
  'certificate-brought',
  'certificate-not-brought',
  'acme-looked',
  'neighbours-started',
  'mdm-event',
  'mdm-command',
  'crypt-key',
  'connector-ran',
  'connector-stopped',
  'connector-asked',
  'neighbour-failed',
  'neighbour-waits',
  'webhook-sent',
  'webhook-not-sent',
  'opener-failed',
  'store-failed',
  'database-waiting',
] as const;
type LogEvent = (typeof events)[number];

/** Ids, reasons and counts. Never a body, a key or the output of a command. */
type LogDetails = Readonly<Record<string, string | number | boolean | null | undefined>>;

export interface Log {
  info(event: LogEvent, details?: LogDetails): void;
  warn(event: LogEvent, details?: LogDetails): void;
  error(event: LogEvent, details?: LogDetails): void;
}

export type LogLevel = 'error' | 'warn' | 'info';

/** Where winston's transports look for what they write. */
const lineOf = Symbol.for('message');

/** One JSON line per event, on standard error: standard output belongs to the results of commands. */
export async function openLog(level: LogLevel): Promise<Log> {
  // Loaded by `serve` alone: a command has no log and starts the quicker.
  const { createLogger, format, transports } = await import('winston');
  // In its own words: each request has a line, and to sort it, as winston's own JSON does, costs as much as all the rest of it.
  const line = format((info) => {
    info[lineOf] = JSON.stringify(info);
    return info;
  });
  const logger = createLogger({
    level,
    format: format.combine(format.timestamp(), line()),
    transports: [new transports.Console({ stderrLevels: ['error', 'warn', 'info'] })],
  });
  const write =
    (at: LogLevel) =>
    (event: LogEvent, details: LogDetails = {}) => {
      const { requestId } = askingNow();
      logger.log({ ...(requestId == null ? {} : { requestId }), ...details, level: at, message: event, event });
    };
  return { info: write('info'), warn: write('warn'), error: write('error') };
}

export const silentLog: Log = { info: () => {}, warn: () => {}, error: () => {} };
