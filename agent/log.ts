import { closeSync, constants, mkdirSync, openSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Writable } from 'node:stream';
import { RecoveryKey } from '../protocol/recovery-key.ts';

export type LogLevel = 'error' | 'warn' | 'info' | 'debug';

/** Every event there is, with its level. A line is an event, ids and reasons; no body, no output of a command, no key. */
export const events = {
  'run-began': 'debug',
  'run-ended': 'info',
  'run-failed': 'error',
  'nothing-to-do': 'debug',
  asleep: 'debug',
  offline: 'info',
  'checked-in': 'info',
  'server-refused': 'warn',
  'settings-wrong': 'warn',
  'settings-vanished': 'warn',
  'settings-back': 'info',
  enrolled: 'info',
  renewed: 'info',
  'enrolment-failed': 'error',
  'identity-set-aside': 'warn',
  'moved-from-other-mac': 'warn',
  'journal-set-aside': 'warn',
  'journal-not-written': 'error',
  'keychain-failed': 'warn',
  'escrow-file-seen': 'info',
  'escrow-file-foreign': 'warn',
  'escrow-file-unreadable': 'warn',
  'escrow-file-refused': 'warn',
  delivered: 'info',
  'delivery-failed': 'warn',
  'key-tried': 'info',
  'key-proved': 'info',
  'key-changed-by-other': 'warn',
  'suspects-found': 'warn',
  'debt-seen': 'info',
  'rotation-waits': 'info',
  'rotation-intended': 'info',
  'rotation-begun': 'info',
  'rotation-done': 'info',
  'rotation-not-changed': 'warn',
  'rotation-unresolved': 'error',
  'rotation-found': 'warn',
  exhausted: 'error',
  'rotation-resolved': 'info',
  'change-failed': 'error',
  'change-stuck': 'error',
  'needs-help': 'warn',
  'password-asked': 'info',
  'password-answered': 'info',
  'password-wrong': 'warn',
  'not-excluded-from-backups': 'warn',
  'request-taken': 'info',
  'request-refused': 'warn',
  stopping: 'info',
} as const satisfies Record<string, LogLevel>;

type LogEvent = keyof typeof events;
/** Ids, closed words, numbers. */
export type LogFields = Record<string, string | number | boolean | null | undefined>;

export interface Log {
  (event: LogEvent, fields?: LogFields): void;
  /** Resolves when every line is written. */
  close(): Promise<void>;
}

const rank: Record<LogLevel, number> = { error: 0, warn: 1, info: 2, debug: 3 };

/** JSON lines in `file` under `root`. winston is loaded by the first line that is written; a log that cannot be written stops nothing. */
export function openLog(root: string, level: LogLevel, common: LogFields = {}, file = '/Library/Logs/Sparekey/agent.log'): Log {
  let opened: Promise<Opened | null> | null = null;
  let ready: Opened | null = null;
  const waiting: Line[] = [];
  const write = (line: Line) => ready?.logger.log(line);
  const log = (event: LogEvent, fields: LogFields = {}) => {
    const its = events[event];
    if (rank[its] > rank[level]) return;
    const line: Line = { level: its, message: event, event, time: new Date().toISOString(), ...clean({ ...common, ...fields }) };
    if (ready) return void write(line);
    waiting.push(line);
    opened ??= open(join(root, file), level).then((made) => {
      ready = made;
      for (const one of waiting.splice(0)) write(one);
      return made;
    });
  };
  const close = async () => {
    const made = await opened;
    opened = null;
    ready = null;
    if (made) await made.close();
  };
  return Object.assign(log, { close });
}

interface Line {
  level: LogLevel;
  message: string;
  event: LogEvent;
  time: string;
  [field: string]: unknown;
}
interface Opened {
  logger: { log(line: Line): unknown };
  close(): Promise<void>;
}

/** Text is short, one line, and holds neither a key nor a PEM block, whatever a caller gave. */
function clean(fields: LogFields): LogFields {
  return Object.fromEntries(
    Object.entries(fields).flatMap(([name, value]) => (value === undefined ? [] : [[name, typeof value === 'string' ? cleanText(value) : value]])),
  );
}

export function cleanText(text: string): string {
  if (RecoveryKey.findIn(text.toUpperCase()) || /(?<![A-Z0-9])[A-Z0-9]{24}(?![A-Z0-9])/.test(text)) return '[recovery key]';
  return text.includes('PRIVATE KEY') ? '[private key]' : text.replace(/\s+/g, ' ').slice(0, 300);
}

async function open(path: string, level: LogLevel): Promise<Opened | null> {
  try {
    const { default: winston } = await import('winston');
    const { Writable: Stream } = await import('node:stream');
    mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
    const fd = openSync(path, constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW, 0o640);
    // Written at once and not by a stream of winston's: what was logged is there even when the process ends in the next instant.
    const stream: Writable = new Stream({
      write(chunk: Buffer, _encoding, done) {
        try {
          writeSync(fd, chunk);
        } catch {
          // A full disk costs log lines, never a run.
        }
        done();
      },
    });
    const only = winston.format((line) => ({ ...line, message: undefined }));
    const logger = winston.createLogger({
      level,
      format: winston.format.combine(only(), winston.format.json({ deterministic: false })),
      transports: [new winston.transports.Stream({ stream, eol: '\n' })],
      exitOnError: false,
    });
    return {
      logger: logger as unknown as Opened['logger'],
      close: () =>
        new Promise((resolve) => {
          logger.on('finish', () =>
            stream.end(() => {
              closeSync(fd);
              resolve();
            }),
          );
          logger.end();
        }),
    };
  } catch {
    return null;
  }
}
