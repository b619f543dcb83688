import { Problem } from '../protocol/problems.ts';
import { type PostgresPlace, placeName } from './database-url.ts';

/** PostgreSQL's five characters, of what the server itself has answered; null where it was not the server. */
function sqlState(error: unknown): string | null {
  const { code, severity } = (error ?? {}) as { code?: unknown; severity?: unknown };
  return typeof code === 'string' && severity !== undefined ? code : null;
}

/** After it PostgreSQL carries out nothing more of the transaction. */
export const isOfServer = (error: unknown): boolean => sqlState(error) !== null;

/** It ends all connections: shut down, crashed, not started yet. */
const goingDown = ['57P01', '57P02', '57P03'];

/** Of a connection, and not of a file that an act has read or written: that is no reason to do the act again. */
const isOfNetwork = ({ code, syscall, path }: NodeJS.ErrnoException): boolean =>
  path === undefined && (syscall === undefined || /^(connect|getaddrinfo|read|write)$/.test(syscall)) && !/^(ENOSPC|EDQUOT|EIO|EROFS)$/.test(code ?? '');

/** The connection is gone, and with it what was not committed. */
export function isLost(error: unknown): boolean {
  const state = sqlState(error);
  if (state !== null) return state.startsWith('08') || goingDown.includes(state) || state === '25P03';
  if (!(error instanceof Error)) return false;
  const { code } = error as NodeJS.ErrnoException;
  return (
    /^(Connection terminated|Query read timeout|timeout exceeded|Client has encountered a connection error|Client was closed|The server does not support SSL|There was an error establishing an SSL)/.test(
      error.message,
    ) ||
    (typeof code === 'string' && isOfNetwork(error) && /^(E[A-Z]+|ERR_(TLS|SSL)_.*|(DEPTH|SELF|UNABLE|CERT|ERR_OSSL).*)$/.test(code))
  );
}

/** Nobody is there now: it is being stopped or started, or another one takes its place. */
export function isAway(error: unknown): boolean {
  const state = sqlState(error);
  if (state !== null) return goingDown.includes(state);
  if (!(error instanceof Error)) return false;
  const { code, message } = error as NodeJS.ErrnoException;
  return ['ECONNREFUSED', 'ECONNRESET', 'ENOENT', 'EPIPE'].includes(code ?? '') || message.startsWith('Connection terminated unexpectedly');
}

/** By state, or by its class: not now, or not here. Anything else is a mistake of ours. */
const refusals: Record<string, string> = {
  '40001': 'the database is busy',
  '40P01': 'the database is busy',
  '55P03': 'the database is busy',
  '57014': 'the database took too long',
  '57P01': 'the database is being stopped',
  '57P03': 'the database is being started',
  '25006': 'the database cannot be written: it is a stand-by, or read-only',
  '25P03': 'the act took too long, and the database has ended it',
  '3D000': 'there is no such database',
  '42501': 'the user of the address may not do this there',
  '53100': 'the disk of the database is full',
  '55000': 'it takes no connections',
  '53300': 'it has too many connections',
  '28': 'it refuses the user or the password',
  '53': 'it has too little memory or room',
  '58': 'reading or writing its disk failed',
  XX: 'the database is damaged',
  '08': 'the connection was lost',
  '57': 'it ended the connection',
};

function wordsOf(error: unknown): string | null {
  const state = sqlState(error);
  if (state !== null) return refusals[state] ?? refusals[state.slice(0, 2)] ?? null;
  if (error instanceof Error && error.message.startsWith('SASL')) return refusals['28'] ?? null;
  if (!isLost(error)) return null;
  const { code, message } = error as NodeJS.ErrnoException;
  if (message.startsWith('timeout exceeded')) return 'all connections that this backend may have are in use (`pool=`)';
  if (/timeout/i.test(message)) return 'it does not answer in time';
  if (/SSL connections/.test(message)) return 'it does not speak TLS';
  if (code === undefined) return 'the connection was lost';
  return /^E[A-Z]+$/.test(code) ? `it cannot be reached (${code})` : `its certificate is refused (${code})`;
}

/** Never with what was asked, its values, or the address as it was given. */
export function storeProblem(error: unknown, place: PostgresPlace): unknown {
  if (error instanceof Problem) return error;
  // SQLite keeps it; here no text has it, and whoever sends it is told so.
  if (sqlState(error) === '22021') return new Problem('MESSAGE_INVALID', 'a text with the sign U+0000 cannot be stored or found');
  const words = wordsOf(error);
  return words === null ? error : new Problem('STORE_FAILED', `${placeName(place)}: ${words}`, { cause: error });
}

/** Nothing of it was stored, and it may be otherwise the next time. What is not known to be stored has no cause, and is never repeated. */
export function isSafeToRepeat(error: unknown): boolean {
  if (!(error instanceof Problem) || error.code !== 'STORE_FAILED' || error.cause === undefined) return false;
  const state = sqlState(error.cause);
  return state === '40001' || state === '40P01' || state === '53300' || isLost(error.cause);
}

/** As PostgreSQL says it of a lock that was waited for too long. */
const lockTimeout = { code: '55P03', severity: 'ERROR' };
/** An act's time was over before its turn had come within this process. */
export const busyProblem = (place: PostgresPlace): Problem =>
  new Problem('STORE_FAILED', `${placeName(place)}: ${refusals[lockTimeout.code]}`, { cause: lockTimeout });
/** Another act has what it waits for. */
export const isBusy = (error: unknown): boolean => error instanceof Problem && sqlState(error.cause) === lockTimeout.code;
