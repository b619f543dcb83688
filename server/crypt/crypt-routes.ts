import { createHash, timingSafeEqual } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Problem } from '../../protocol/problems.ts';
import { type SerialPattern, serialInCertificate } from '../certificate-names.ts';
import { when } from '../command.ts';
import type { DeviceIdentity } from '../device-identity.ts';
import type { HttpApp } from '../http.ts';
import { networkOf, type Rate, tokenBuckets } from '../limits.ts';
import type { Log } from '../log.ts';
import type { Store } from '../parts.ts';
import type { CryptCustody, CryptTrust } from './crypt.ts';
import { readSent } from './form.ts';

/** A form of Crypt has 200. Bytes. */
const mostForm = 16 * 1024;

/** `refused` and `strangers` are per address, where a whole office may stand; `serial` is per serial number, for which one client asks once an hour, and every two minutes after a failure. */
const rates = {
  refused: { perMinute: 120, burst: 120 },
  strangers: { perMinute: 300, burst: 600 },
  serial: { perMinute: 1, burst: 10 },
} as const satisfies Record<string, Rate>;

export interface CryptParts {
  http: HttpApp;
  crypt: CryptCustody;
  identity: Pick<DeviceIdentity, 'deviceCertificate'>;
  store: Store;
  serialPattern: SerialPattern;
  /** How clients show that they are ours; the header where there is one, its name in small letters. */
  demands: 'certificate' | 'header' | 'none';
  header: { name: string; value: Buffer } | null;
  log: Log;
  /** Told of each header that says who a Mac is and may not. */
  onHeaderRefused?: ((address: string, why: string) => void) | undefined;
}

/** Who asks: a device certificate that names a serial number speaks for that one only. */
interface Client {
  trust: CryptTrust;
  serial: string | null;
}

const digest = (bytes: string | Buffer): Buffer => createHash('sha256').update(bytes).digest();

/**
 * The addresses of Crypt-Server, for clients that stay as they are. They look at the status alone, and some demand 200
 * exactly. Both addresses exist without their slash too: a redirection would come back as a GET.
 */
export function addCrypt(parts: CryptParts): void {
  const { http, crypt, identity, store, serialPattern, demands, header, log } = parts;
  const buckets = { refused: tokenBuckets(rates.refused), strangers: tokenBuckets(rates.strangers), serial: tokenBuckets(rates.serial) };
  const clients = new WeakMap<FastifyRequest, Client>();

  const spend = (name: keyof typeof buckets, key: string): void => {
    const wait = buckets[name].take(key);
    if (wait !== null) throw new Problem('TOO_MANY_REQUESTS', undefined, { retryAfterSeconds: wait });
  };
  const hasHeader = ({ headers }: FastifyRequest): boolean => {
    const given = header ? headers[header.name] : undefined;
    return header !== null && typeof given === 'string' && timingSafeEqual(digest(given), digest(header.value));
  };

  /** By its certificate, and where the settings say so by less. One that is ours and names no serial number is no better than the header. */
  async function clientOf(request: FastifyRequest): Promise<Client> {
    try {
      const presented = await identity.deviceCertificate(store.db, http.peers.presentedBy(request.raw));
      if (presented) {
        const serial = serialInCertificate(presented.leaf, serialPattern);
        return { trust: serial === null ? 'header' : 'device', serial };
      }
    } catch (error) {
      // Somebody says by a header who a Mac is, and may not: that is no Mac without a certificate.
      if (error instanceof Problem && error.code === 'CLIENT_HEADER_REFUSED') parts.onHeaderRefused?.(http.peers.peerOf(request.raw), error.detail ?? '');
      if (!(error instanceof Problem) || demands === 'certificate' || ['STORE_FAILED', 'CLIENT_HEADER_REFUSED'].includes(error.code)) throw error;
    }
    if (demands !== 'certificate' && hasHeader(request)) return { trust: 'header', serial: null };
    if (demands === 'none') return { trust: 'none', serial: null };
    throw new Problem('CRYPT_REFUSED', demands === 'certificate' ? 'it has presented no certificate' : 'its header is missing or another');
  }

  /** Before a byte of the body is read. Whoever is nobody may not ask without end either. */
  async function guard(request: FastifyRequest): Promise<void> {
    try {
      const client = await clientOf(request);
      clients.set(request, client);
      if (client.trust !== 'device') spend('strangers', networkOf(http.addressOf(request)));
    } catch (error) {
      if (error instanceof Problem && error.code !== 'STORE_FAILED' && error.code !== 'TOO_MANY_REQUESTS') spend('refused', networkOf(http.addressOf(request)));
      throw error;
    }
    if (Number(request.headers['content-length'] ?? 0) > mostForm) throw new Problem('BODY_TOO_LARGE', `more than ${mostForm} bytes`);
  }

  /** Rates come after the word of the certificate: nobody spends what is another Mac's. */
  function speaksFor(request: FastifyRequest, serial: string): CryptTrust {
    const client = clients.get(request);
    if (!client) throw new Problem('SERVER_BUG');
    if (client.serial !== null && client.serial !== serial) {
      spend('refused', networkOf(http.addressOf(request)));
      throw new Problem('CRYPT_REFUSED', 'its certificate names another serial number');
    }
    spend('serial', `${client.trust} ${client.trust === 'device' ? '' : networkOf(http.addressOf(request))} ${serial}`);
    return client.trust;
  }

  async function checkIn(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
    try {
      const sent = readSent(request.headers['content-type'], body);
      if (typeof sent === 'string') throw new Problem('CRYPT_INVALID', sent);
      const { serial, username, key } = sent;
      const trust = speaksFor(request, serial);
      const { fate, because, rotationRequired } = await crypt.take({ serial, key, trust });
      if (fate !== 'known') log.info('crypt-key', { requestId: request.id, serial: serial.replace(/[^\w-]/g, '?').slice(0, 64), trust, fate, because });
      if (fate === 'refused') throw new Problem('CRYPT_INVALID', because);
      if (fate === 'full') throw new Problem('CRYPT_FULL', undefined, { retryAfterSeconds: 3600 });
      return reply.code(200).send({ serial, username, rotation_required: rotationRequired });
    } finally {
      body.fill(0);
    }
  }

  async function verify(request: FastifyRequest<{ Params: { serial: string; type: string } }>, reply: FastifyReply): Promise<FastifyReply> {
    const serial = request.params.serial.toUpperCase();
    speaksFor(request, serial);
    const found = await crypt.verify(serial);
    if (!found) throw new Problem('NOT_FOUND', 'no Mac and no key with this serial number is known here');
    const at = request.params.type === 'recovery_key' ? found.escrowedAt : null;
    return reply.code(200).send(at === null ? { escrowed: false } : { escrowed: true, date_escrowed: when(at) });
  }

  const refuse = (allow: string) => async (_request: FastifyRequest, reply: FastifyReply) => {
    reply.header('allow', allow);
    throw new Problem('METHOD_NOT_ALLOWED', `only ${allow}`);
  };
  const others = (method: string) => ['DELETE', 'GET', 'HEAD', 'OPTIONS', 'PATCH', 'POST', 'PUT'].filter((other) => other !== method);

  http.app.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit: mostForm }, (_request, body, done) => done(null, body));
    for (const end of ['', '/']) {
      scope.post(`/checkin${end}`, { bodyLimit: mostForm, onRequest: guard }, checkIn);
      scope.route({ method: others('POST'), url: `/checkin${end}`, onRequest: refuse('POST'), handler: refuse('POST') });
      scope.get<{ Params: { serial: string; type: string } }>(`/verify/:serial/:type${end}`, { onRequest: guard }, verify);
      scope.route({ method: others('GET'), url: `/verify/:serial/:type${end}`, onRequest: refuse('GET'), handler: refuse('GET') });
    }
  });
}
