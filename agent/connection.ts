// How a connection to the backend comes about: the proxy, the time limit, the handshake, and who is believed in it.
import type { KeyObject, X509Certificate } from 'node:crypto';
import { Agent, type AgentOptions } from 'node:https';
import { connect as netConnect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { createSecureContext, type SecureContext, connect as tlsConnect } from 'node:tls';
import { Problem } from '../protocol/problems.ts';
import { chooseProxy, openTunnel, type ProxyAddress } from './proxy.ts';
import { Passing, resetAtDoorSeconds } from './retry.ts';
import type { Settings } from './settings.ts';
import { isTrustFailure, lookAtCertificates, trustedRoots, trustProblem } from './trust.ts';
import type { Runner } from './world.ts';

export interface Connections {
  origin: string;
  agent(): Promise<Agent>;
  close(): void;
}

interface Options {
  settings: Pick<Settings, 'serverUrl' | 'trustedCertificates' | 'trust' | 'proxy'>;
  identity: { certificatePem: string; privateKey: KeyObject } | null;
  runner: Runner;
}

interface Believing {
  context: SecureContext;
  /** The store of the Mac could not be read in time, so something may be missing. */
  incomplete: boolean;
}

interface Ways {
  host: string;
  port: number;
  proxy: ProxyAddress | null;
  /** Believes the certificates of the settings and nobody else; null where there are none, or they did not do. */
  few: SecureContext | null;
  all(): Promise<Believing>;
  expected: readonly string[];
  seconds: number;
}

export function openConnections({ settings, identity, runner }: Options, seconds: number): Connections {
  const url = new URL(settings.serverUrl);
  const host = url.hostname.replace(/^\[|\]$/g, '');
  let made: Promise<Agent> | null = null;
  let open: Agent | null = null;
  let all: Promise<Believing> | null = null;
  const make = async () => {
    const key = identity ? { cert: identity.certificatePem, key: identity.privateKey.export({ format: 'pem', type: 'pkcs8' }) } : {};
    const contextOf = (ca: string[]) => createSecureContext({ minVersion: 'TLSv1.2', ca, ...key });
    const own = settings.trustedCertificates;
    open = new BackendAgent({
      host,
      port: Number(url.port || 443),
      proxy: await chooseProxy(settings.proxy, host, runner),
      few: own.length > 0 ? contextOf([...own]) : null,
      all: () => {
        all ??= trustedRoots(settings.trust, own).then(({ roots, incomplete }) => ({ context: contextOf(roots), incomplete }));
        return all;
      },
      expected: own,
      seconds,
    });
    return open;
  };
  return {
    origin: url.origin,
    agent() {
      made ??= make();
      return made;
    },
    close: () => open?.destroy(),
  };
}

/** Gives HTTP a connection only when its handshake is done and the other side is believed. */
class BackendAgent extends Agent {
  readonly #ways: Ways;

  constructor(ways: Ways) {
    super({ keepAlive: true, maxSockets: 2, timeout: 60_000, servername: servernameOf(ways.host) ?? '' } satisfies AgentOptions);
    this.#ways = ways;
  }

  override createConnection(_options: unknown, done?: (error: Error | null, stream: Duplex) => void): undefined {
    const none = undefined as unknown as Duplex;
    connectToBackend(this.#ways).then(
      (socket) => done?.(null, socket),
      // The problem goes through HTTP and axios as the cause of their own error.
      (problem: Error) => done?.(new Error('not connected', { cause: problem }), none),
    );
  }
}

/**
 * The certificates of the settings are tried first and by themselves, because they mostly do and all others take long to
 * load. They are among all, so whoever is believed is the same, and what is said of a refusal is what all of them say.
 */
async function connectToBackend(ways: Ways): Promise<Duplex> {
  if (ways.few) {
    const secure = await connectWith(ways, { context: ways.few, incomplete: false }, (code) => isTrustFailure(code));
    if (secure) return secure;
    ways.few = null;
  }
  return (await connectWith(ways, await ways.all(), () => false)) as Duplex;
}

/** Null for a failure that `passes`. */
async function connectWith(ways: Ways, { context, incomplete }: Believing, passes: (code: string | undefined) => boolean): Promise<Duplex | null> {
  const socket = await openSocket(ways);
  try {
    return await handshake(socket, ways, context);
  } catch (error) {
    socket.destroy();
    if (passes((error as NodeJS.ErrnoException).code)) return null;
    throw await whyNot(error as NodeJS.ErrnoException, ways, incomplete);
  }
}

/** An address is no name. URL has made it one of two forms by then; `isIP` would compile a large pattern for each run. */
const servernameOf = (host: string): string | undefined => (host.includes(':') || /^[\d.]+$/.test(host) ? undefined : host);

async function openSocket({ host, port, proxy, seconds }: Ways): Promise<Socket> {
  if (proxy) return openTunnel(proxy, host, port, seconds);
  return new Promise((resolve, reject) => {
    const socket = netConnect({ host, port });
    const fail = (problem: Problem | Passing) => {
      clearTimeout(timer);
      socket.destroy();
      reject(problem);
    };
    const timer = setTimeout(() => fail(new Passing(new Problem('SERVER_UNREACHABLE', `no connection in ${seconds} s`))), seconds * 1000);
    socket.on('error', (error: NodeJS.ErrnoException) => {
      const problem = new Problem('SERVER_UNREACHABLE', error.code ?? 'no connection');
      // Without a network there is nothing to wait for; the next check-in comes by itself.
      fail(error.code === 'ECONNREFUSED' || error.code === 'ECONNRESET' || error.code === 'ETIMEDOUT' ? new Passing(problem) : problem);
    });
    socket.on('connect', () => {
      clearTimeout(timer);
      socket.removeAllListeners('error').removeAllListeners('connect');
      resolve(socket);
    });
  });
}

function handshake(socket: Socket, { host, seconds }: Ways, context: SecureContext): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const servername = servernameOf(host);
    const secure = tlsConnect({
      socket,
      host,
      secureContext: context,
      ...(servername ? { servername } : {}),
      ALPNProtocols: ['http/1.1'],
      rejectUnauthorized: true,
    });
    const fail = (error: Error) => {
      clearTimeout(timer);
      secure.destroy();
      reject(error);
    };
    const timer = setTimeout(() => fail(Object.assign(new Error(), { code: 'HANDSHAKE_TIMEOUT' })), seconds * 1000);
    secure.on('error', fail);
    secure.on('close', () => fail(Object.assign(new Error(), { code: 'ECONNRESET' })));
    secure.on('secureConnect', () => {
      clearTimeout(timer);
      secure.removeAllListeners('error').removeAllListeners('close').removeAllListeners('secureConnect');
      resolve(secure);
    });
  });
}

async function whyNot(error: NodeJS.ErrnoException, ways: Ways, incomplete: boolean): Promise<Problem | Passing> {
  const code = error.code ?? '';
  if (isTrustFailure(code)) {
    const presented = await openSocket(ways).then(
      (socket) => lookAtCertificates(socket, servernameOf(ways.host), ways.seconds),
      (): X509Certificate[] => [],
    );
    return trustProblem(code, presented, ways.expected, incomplete);
  }
  // What answers in plain text on this port is a sign-in page, or a wrong port.
  if (/WRONG_VERSION_NUMBER|HTTP_REQUEST|PACKET_LENGTH_TOO_LONG|BAD_RECORD_TYPE|UNEXPECTED_MESSAGE|RECORD_LAYER_FAILURE/.test(code))
    return new Problem('CAPTIVE_PORTAL', 'it answered without TLS');
  if (/UNSUPPORTED_PROTOCOL|PROTOCOL_VERSION|HANDSHAKE_FAILURE|NO_SHARED_CIPHER/.test(code))
    return new Problem('SERVER_NOT_TRUSTED', 'it speaks no TLS that is new enough');
  if (/ALERT_(?:CERTIFICATE|BAD_CERTIFICATE|UNKNOWN_CA)/.test(code))
    return new Problem(code.includes('EXPIRED') ? 'CERTIFICATE_EXPIRED' : 'CERTIFICATE_UNKNOWN', code);
  // As a backend does that has too many in line for their handshake; trying on within this run would only lengthen the line.
  if (code === 'ECONNRESET') return new Passing(new Problem('SERVER_UNREACHABLE', code, { retryAfterSeconds: resetAtDoorSeconds }));
  return new Passing(new Problem('SERVER_UNREACHABLE', code === 'HANDSHAKE_TIMEOUT' ? `no handshake in ${ways.seconds} s` : code || 'the handshake broke'));
}
