import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { rootCertificates } from 'node:tls';
import { Problem } from '../protocol/problems.ts';

/** Where a PostgreSQL database is, and how to get to it. */
export interface PostgresPlace {
  /** A name or an address; a folder (`/run/postgresql`) for the socket in it. */
  host: string;
  port: number;
  database: string;
  user: string;
  /** Never in words of ours: `placeName` is what is said. */
  password: string;
  /** Null: by a socket of this machine, or to itself. */
  tls: { ca: string[]; cert?: Buffer; key?: Buffer } | null;
  /** Connections that one backend has open at most. */
  connections: number;
  /** Milliseconds for one statement. */
  statementMilliseconds: number;
  connectMilliseconds: number;
}

export const isPostgres = (where: string): boolean => /^postgres(ql)?:/i.test(where);

/** For people: without the user, the password and whatever else is in the address. */
export const placeName = ({ host, port, database }: Pick<PostgresPlace, 'host' | 'port' | 'database'>): string =>
  `postgresql://${host.startsWith('/') ? '' : `${host.includes(':') ? `[${host}]` : host}:${port}`}/${database}`;

const wrong = (what: string): Problem => new Problem('SERVER_SETTINGS_INVALID', `SPAREKEY_DATABASE_URL: ${what}`);

const known = ['host', 'sslmode', 'sslrootcert', 'sslcert', 'sslkey', 'connect_timeout', 'statement_timeout', 'pool', 'application_name'];

function number(given: URLSearchParams, name: string, least: number, most: number, usual: number): number {
  const text = given.get(name);
  const value = text === null ? usual : Number(text);
  if (!Number.isInteger(value) || value < least || value > most) throw wrong(`${name} is a whole number from ${least} to ${most}`);
  return value;
}

function fileOf(given: URLSearchParams, name: string): Buffer | undefined {
  const path = given.get(name);
  if (path === null) return undefined;
  try {
    return readFileSync(path);
  } catch (error) {
    throw wrong(`${name}: ${path} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown'})`);
  }
}

const isThisMachine = (host: string): boolean => host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));

/** As with libpq, but that nothing is sent in clear over a network, nor to somebody whose certificate was not checked. */
function tlsOf(host: string, given: URLSearchParams): PostgresPlace['tls'] {
  const mode = given.get('sslmode') ?? (host.startsWith('/') ? 'disable' : 'verify-full');
  if (mode === 'disable') {
    if (host.startsWith('/') || isThisMachine(host)) return null;
    throw wrong('sslmode=disable is for a database on this machine; over a network it is verify-full');
  }
  if (mode !== 'verify-full') throw wrong('sslmode is verify-full (sslrootcert=FILE names a CA that the public ones do not know), or disable on this machine');
  const ca = given.get('sslrootcert') === 'system' ? undefined : fileOf(given, 'sslrootcert');
  const [cert, key] = [fileOf(given, 'sslcert'), fileOf(given, 'sslkey')];
  return { ca: ca ? [ca.toString('latin1')] : [...rootCertificates], ...(cert ? { cert } : {}), ...(key ? { key } : {}) };
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw wrong('a % in a name or a password is written %25');
  }
}

/** `postgresql://user:password@host:port/database?sslrootcert=/file`. What is wrong is said without what was given. */
export function readPlace(address: string): PostgresPlace {
  let url: URL;
  try {
    url = new URL(address.trim());
  } catch {
    throw wrong('is no address such as postgresql://sparekey@db.example.org/sparekey');
  }
  if (!isPostgres(url.protocol)) throw wrong('does not begin with postgresql://');
  const given = url.searchParams;
  const strange = [...given.keys()].filter((name) => !known.includes(name));
  if (strange.length > 0) throw wrong(`${strange.map((name) => JSON.stringify(name)).join(', ')}: there is no such parameter; there are ${known.join(', ')}`);
  const host = decoded(url.hostname.replace(/^\[|\]$/g, '')) || given.get('host') || '';
  const database = decoded(url.pathname.slice(1));
  const user = decoded(url.username);
  if (host === '') throw wrong('names no host');
  if (database === '') throw wrong('names no database');
  if (user === '') throw wrong('names no user');
  return {
    host,
    port: url.port === '' ? 5432 : Number(url.port),
    database,
    user,
    password: decoded(url.password),
    tls: tlsOf(host, given),
    connections: number(given, 'pool', 2, 200, 10),
    statementMilliseconds: number(given, 'statement_timeout', 1000, 600_000, 30_000),
    connectMilliseconds: number(given, 'connect_timeout', 1, 60, 5) * 1000,
  };
}
