import { createHash, createHmac, createPublicKey, type KeyObject, sign } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { Problem } from '../../protocol/problems.ts';
import type { Answer, Outbound } from '../outbound.ts';

/** An ACME server (RFC 8555), as far as a TLS certificate by `tls-alpn-01` (RFC 8737) needs it. */
export interface AcmeClient {
  /** Brings the certificate for a request; `show` puts what the CA wants to see where it looks for it, until `hide`. PEM, the leaf first. */
  certificate(order: { names: readonly string[]; request: Buffer; show(name: string, digest: Buffer): void; hide(name: string): void }): Promise<string>;
}

interface AcmeOptions {
  outbound: Outbound;
  /** The address of its directory. */
  directory: string;
  /** P-256: the account is known by it. */
  accountKey: KeyObject;
  email: string;
  /** Where the CA gives accounts to its customers only. */
  external: { keyId: string; key: Buffer } | null;
  signal: AbortSignal;
  /** Milliseconds between two looks, where the CA does not say. */
  pause?: number;
}

/** A CA answers within seconds; a few take minutes. Looks, at `pause` or as the CA says. */
const mostLooks = 60;
const mostPauseSeconds = 30;
const mostNames = 32;

const url = z.url({ protocol: /^https?$/ }).max(2048);
const directoryForm = z.object({ newNonce: url, newAccount: url, newOrder: url });
const problemForm = z.object({ type: z.string().max(256), detail: z.string().max(2048).optional() });
const challengeForm = z.object({ type: z.string(), url, token: z.string().max(512).optional(), error: problemForm.optional() });
const authorizationForm = z.object({
  status: z.string(),
  identifier: z.object({ type: z.string(), value: z.string().max(255) }),
  challenges: z.array(challengeForm).max(32),
});
const orderForm = z.object({
  status: z.enum(['pending', 'ready', 'processing', 'valid', 'invalid']),
  authorizations: z.array(url).max(mostNames),
  finalize: url,
  certificate: url.optional(),
  error: problemForm.optional(),
});

const base64url = (value: Uint8Array | string): string => Buffer.from(value).toString('base64url');
const json = (value: unknown): string => base64url(JSON.stringify(value));

const failed = (because: string): Problem => new Problem('ACME_FAILED', because);

/** What it says, for a log: its own words, without line ends and other signs. */
function sayProblem(body: unknown, status: number): string {
  const read = problemForm.safeParse(body);
  const words = read.success ? `${read.data.type.replace('urn:ietf:params:acme:error:', '')}${read.data.detail ? `: ${read.data.detail}` : ''}` : '';
  return `${status} ${words}`
    .replace(/[^\p{L}\p{N}\p{P}\p{S} ]+/gu, ' ')
    .trim()
    .slice(0, 300);
}

function shaped<T>(form: z.ZodType<T>, body: unknown, what: string): T {
  const read = form.safeParse(body);
  if (!read.success) throw failed(`the CA’s ${what} has another form than RFC 8555 says`);
  return read.data;
}

export function createAcmeClient({ outbound, directory, accountKey, email, external, signal, pause = 2000 }: AcmeOptions): AcmeClient {
  const home = new URL(directory);
  const publicKey = createPublicKey(accountKey).export({ format: 'jwk' });
  const jwk = { crv: publicKey.crv, kty: publicKey.kty, x: publicKey.x, y: publicKey.y };
  /** RFC 7638: the members in this order. */
  const thumbprint = createHash('sha256').update(JSON.stringify(jwk)).digest('base64url');
  let nonce: string | null = null;

  /** Everything that it names lies with itself: nobody is sent anywhere else. */
  function pathOf(address: string): string {
    const at = new URL(address, home);
    if (at.origin !== home.origin) throw failed(`the CA at ${home.host} sends us to ${at.host}`);
    return `${at.pathname}${at.search}`;
  }

  /** What is signed names the whole address, also where the CA gives less of it. */
  const wholeOf = (address: string): string => new URL(address, home).href;

  async function asked(method: 'GET' | 'POST', address: string, body?: string, accept?: string): Promise<Answer> {
    const headers = { ...(body === undefined ? {} : { 'content-type': 'application/jose+json' }), ...(accept ? { accept } : {}) };
    const answer = await outbound.ask({ method, path: pathOf(address), headers, ...(body === undefined ? {} : { body }) });
    if (answer.kind === 'later') throw new Problem('ACME_FAILED', `the CA asks us to come back in ${answer.seconds} s`, { retryAfterSeconds: answer.seconds });
    nonce = answer.headers['replay-nonce'] ?? null;
    return answer;
  }

  const places = askedOnce(async () => {
    const answer = await asked('GET', directory);
    if (answer.status !== 200) throw failed(`its directory: ${sayProblem(answer.body, answer.status)}`);
    return shaped(directoryForm, answer.body, 'directory');
  });

  function signed(protectedHeader: Record<string, unknown>, payload: unknown, key: KeyObject | Buffer): string {
    const head = json(protectedHeader);
    // POST-as-GET has no content at all.
    const content = payload === null ? '' : json(payload);
    const text = Buffer.from(`${head}.${content}`);
    const signature = Buffer.isBuffer(key) ? createHmac('sha256', key).update(text).digest() : sign('sha256', text, { key, dsaEncoding: 'ieee-p1363' });
    return JSON.stringify({ protected: head, payload: content, signature: base64url(signature) });
  }

  /** `payload` null: only reads. A nonce that was spent or forgotten is no failure: the CA gives another with its refusal. */
  async function post(address: string, payload: unknown, kid: string | null, accept?: string): Promise<Answer> {
    for (let tried = 1; ; tried += 1) {
      if (nonce === null) await asked('GET', (await places()).newNonce);
      if (nonce === null) throw failed('the CA gives no nonce');
      const head = { alg: 'ES256', nonce, url: address, ...(kid === null ? { jwk } : { kid }) };
      const answer = await asked('POST', address, signed(head, payload, accountKey), accept);
      const isNonce = answer.status === 400 && problemForm.safeParse(answer.body).data?.type === 'urn:ietf:params:acme:error:badNonce';
      if (!isNonce || tried >= 10) return answer;
    }
  }

  /** The same key has the same account, however often it is asked for. */
  async function account(): Promise<string> {
    const { newAccount } = await places();
    // A CA may take its binding once only: whoever has an account is asked for none.
    const known = external ? await post(newAccount, { onlyReturnExisting: true }, null) : null;
    if (known?.status === 200 && known.headers['location'] !== undefined) return wholeOf(known.headers['location']);
    const bound = external && {
      externalAccountBinding: JSON.parse(signed({ alg: 'HS256', kid: external.keyId, url: newAccount }, jwk, external.key)) as unknown,
    };
    const answer = await post(newAccount, { termsOfServiceAgreed: true, contact: [`mailto:${email}`], ...bound }, null);
    const kid = answer.headers['location'];
    if ((answer.status !== 200 && answer.status !== 201) || kid === undefined) throw failed(`the account: ${sayProblem(answer.body, answer.status)}`);
    return wholeOf(kid);
  }

  /** Reads until it is no longer on its way. */
  async function settled<T>(address: string, kid: string, form: z.ZodType<T>, what: string, isOpen: (read: T) => boolean): Promise<T> {
    for (let looks = 0; looks < mostLooks; looks += 1) {
      const answer = await post(address, null, kid);
      if (answer.status !== 200) throw failed(`${what}: ${sayProblem(answer.body, answer.status)}`);
      const read = shaped(form, answer.body, what);
      if (!isOpen(read)) return read;
      const told = Number(answer.headers['retry-after']);
      await sleep(told > 0 ? Math.min(told, mostPauseSeconds) * 1000 : pause, undefined, { signal });
    }
    throw failed(`${what}: the CA has not decided in time`);
  }

  async function prove(address: string, kid: string, order: Parameters<AcmeClient['certificate']>[0]): Promise<void> {
    const first = await settled(address, kid, authorizationForm, 'authorization', () => false);
    if (first.status === 'valid') return;
    const name = first.identifier.value.toLowerCase();
    if (!order.names.includes(name)) throw failed('the CA asks about a name that was not asked for');
    const challenge = first.challenges.find(({ type }) => type === 'tls-alpn-01');
    if (challenge?.token === undefined) throw failed(`${name}: the CA offers no tls-alpn-01, which is the only way that needs nothing but port 443`);
    order.show(name, createHash('sha256').update(`${challenge.token}.${thumbprint}`).digest());
    try {
      const begun = await post(challenge.url, {}, kid);
      if (begun.status !== 200) throw failed(`${name}: ${sayProblem(begun.body, begun.status)}`);
      const judged = await settled(address, kid, authorizationForm, 'authorization', ({ status }) => status === 'pending' || status === 'processing');
      if (judged.status === 'valid') return;
      const error = judged.challenges.find(({ type }) => type === 'tls-alpn-01')?.error;
      throw failed(`the CA did not find ${name} here at port 443 (${error ? sayProblem(error, 403) : judged.status})`);
    } finally {
      order.hide(name);
    }
  }

  return {
    async certificate(order) {
      const kid = await account();
      const { newOrder } = await places();
      const made = await post(newOrder, { identifiers: order.names.map((value) => ({ type: 'dns', value })) }, kid);
      const location = made.headers['location'];
      if (made.status !== 201 || location === undefined) throw failed(`the order: ${sayProblem(made.body, made.status)}`);
      const orderUrl = wholeOf(location);
      for (const address of shaped(orderForm, made.body, 'order').authorizations) await prove(address, kid, order);
      const ready = await settled(orderUrl, kid, orderForm, 'order', ({ status }) => status === 'pending');
      if (ready.status === 'ready') {
        const sent = await post(ready.finalize, { csr: base64url(order.request) }, kid);
        if (sent.status !== 200) throw failed(`the request: ${sayProblem(sent.body, sent.status)}`);
      }
      const done = await settled(orderUrl, kid, orderForm, 'order', ({ status }) => status === 'processing' || status === 'ready');
      if (done.status !== 'valid' || done.certificate === undefined)
        throw failed(`the order ended ${done.status}${done.error ? ` (${sayProblem(done.error, 403)})` : ''}`);
      const brought = await post(done.certificate, null, kid, 'application/pem-certificate-chain');
      if (brought.status !== 200 || typeof brought.body !== 'string') throw failed(`the certificate: ${sayProblem(brought.body, brought.status)}`);
      return brought.body;
    },
  };
}

/** Asked for once, and again only where it failed. */
function askedOnce<T>(ask: () => Promise<T>): () => Promise<T> {
  let answer: Promise<T> | null = null;
  return () => {
    answer ??= ask().catch((error: unknown) => {
      answer = null;
      throw error;
    });
    return answer;
  };
}
