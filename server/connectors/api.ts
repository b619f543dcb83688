import { z } from 'zod';
import { Problem } from '../../protocol/problems.ts';
import { readKey, type readSerial } from '../formats/cells.ts';
import { type Answer, type Later, type Outbound, type Question, Unreached } from '../outbound.ts';
import { type Asked, End, type KeyRead, Pause, type Unusable } from './source.ts';

/** How a product is asked, whichever it is: with a token, in its own time, and by what its replies are known. */
export interface Api {
  ask(question: Omit<Question, 'auth'>): Promise<Answer>;
}

export interface Token {
  /** Throws `Pause` where none is given. */
  get(): Promise<string>;
  /** It was not taken: the next one is a fresh one. */
  forget(): void;
  /** False for what is not asked for but set, so that a second try would be the same one. */
  renews: boolean;
}

/** Seconds: until somebody has looked after a refusal. */
const whileRefused = 3600;

const patience = (asked: string, { seconds, told, unsure }: Later): Pause =>
  new Pause(`${asked} asks for patience${told ? `: ${seconds} s` : ''}`, told ? seconds : null, unsure);

export function createApi(product: string, outbound: Outbound, token: Token): Api {
  /** Whatever goes wrong before there is one: nothing of the question has been sent. */
  const tokenNow = (): Promise<string> =>
    token.get().catch((error: unknown) => {
      throw error instanceof Problem && error.code === 'NEIGHBOUR_FAILED' ? new Unreached(error.code, error.detail) : error;
    });
  async function once(question: Omit<Question, 'auth'>): Promise<Answer> {
    const answer = await outbound.ask({ ...question, auth: { bearer: await tokenNow() } });
    if (answer.kind === 'later') throw patience(product, answer);
    return answer;
  }
  return {
    async ask(question) {
      let answer = await once(question);
      if (answer.status === 401 && token.renews) {
        // It was good for an hour, and the hour is over.
        token.forget();
        answer = await once(question);
      }
      if (answer.status === 401) throw new Pause(`${product} does not take the token (401)`, whileRefused);
      if (answer.status >= 500) throw new Problem('NEIGHBOUR_FAILED', `${product} answered ${answer.status}`);
      return answer;
    },
  };
}

/** As RFC 6749 5.1 has it; a token without a time is asked for again in five minutes. */
const tokenReply = z.object({ access_token: z.string().min(1).max(65_536), expires_in: z.coerce.number().positive().max(31_536_000).default(300) });
/** RFC 6749 5.2. Anything else may be what we sent. */
const refusal = z.object({
  error: z.enum(['invalid_request', 'invalid_client', 'invalid_grant', 'unauthorized_client', 'unsupported_grant_type', 'invalid_scope']),
});

export interface ClientCredentials {
  product: string;
  outbound: Outbound;
  path: string;
  /** Read anew for each token: a new secret needs no restart. */
  form: () => Record<string, string>;
  /** Milliseconds, monotonic. */
  uptime: () => number;
}

/** RFC 6749 4.4: a client's own token, kept in memory until a minute before its end. */
export function clientToken({ product, outbound, path, form, uptime }: ClientCredentials): Token {
  let kept: { token: string; until: number } | null = null;
  return {
    renews: true,
    forget: () => {
      kept = null;
    },
    async get() {
      if (kept && uptime() < kept.until) return kept.token;
      const body = new URLSearchParams({ ...form(), grant_type: 'client_credentials' });
      const answer = await outbound.ask({ method: 'POST', path, body });
      // Whether a token was made says nothing about what it is for.
      if (answer.kind === 'later') throw patience(`before it gives a token ${product}`, { ...answer, unsure: false });
      if (answer.status >= 500) throw new Problem('NEIGHBOUR_FAILED', `${product} answered ${answer.status} instead of a token`);
      const read = answer.status === 200 ? tokenReply.safeParse(answer.body) : null;
      if (!read?.success) throw new Pause(`${product} gives no token: ${whyNoToken(answer)}`, whileRefused);
      const { access_token: token, expires_in: seconds } = read.data;
      kept = { token, until: uptime() + Math.max(seconds - 60, seconds / 2) * 1000 };
      return token;
    },
  };
}

/** Of what it says only what is known to be no secret. */
function whyNoToken({ status, body }: Answer): string {
  const code = refusal.safeParse(body).data?.error;
  const entra = /\bAADSTS\d{4,8}\b/.exec(JSON.stringify(body ?? ''))?.[0];
  return [`status ${status}`, code, entra].filter((one) => one !== undefined).join(', ');
}

/** A list that is not as it is documented is no list: an empty one would say that all Macs are gone. */
export function listReply<T>(product: string, answer: Answer, shape: z.ZodType<T>): T {
  if (answer.status === 403) throw new End(`${product} does not let this client list the Macs (403): a right is missing`);
  if (answer.status !== 200) throw new End(`${product} answered the question for its Macs with ${answer.status}`);
  const read = shape.safeParse(answer.body);
  if (!read.success) throw new End(`${product}'s list has another shape than the documented one (at ${placeOf(read.error)})`);
  return read.data;
}

const placeOf = (error: z.ZodError): string => error.issues[0]?.path.join('.') || 'its beginning';

/** What came of reading one key. `pick` gives the text of the key, or null where there is none. */
export function keyReply<T>(product: string, answer: Answer, shape: z.ZodType<T>, pick: (reply: T) => PickedKey): KeyRead {
  const { status, body } = answer;
  if (status === 403) return { answer: 'forbidden', because: `${product} does not let this client read this key (403)` };
  if (status === 404) return { answer: 'none', because: `${product} has no key of it (404)` };
  if (status !== 200) return { answer: 'unreadable', because: `${product} answered ${status}`, shape: true };
  const read = shape.safeParse(body);
  if (!read.success)
    return { answer: 'unreadable', because: `${product}'s reply has another shape than the documented one (at ${placeOf(read.error)})`, shape: true };
  const picked = pick(read.data);
  if (picked.isAnothers) return { answer: 'unreadable', because: `${product} answered for another Mac than the one that was asked for`, shape: true };
  const key = readKey(picked.text ?? '', 'as-written');
  if ('key' in key) return { answer: 'key', key: key.key, madeAt: picked.madeAt, note: key.note };
  if ('sealed' in key) return { answer: 'unreadable', because: `${product} gives it out sealed` };
  return key.fate === 'no-key' ? { answer: 'none', because: `${product} has no key of it` } : { answer: 'unreadable', because: key.because };
}

export interface PickedKey {
  text: string | null;
  madeAt: number | null;
  isAnothers: boolean;
}

/** What came of a wish. Their replies to one are JSON or nothing: a page in their place is of something in between. */
export function asked(product: string, { status, body }: Answer): Asked {
  if (status < 200 || status >= 300) return { kind: 'refused', because: `${product} answered ${status}${status === 403 ? ': a right is missing' : ''}` };
  return body === '' || typeof body !== 'string'
    ? { kind: 'asked' }
    : { kind: 'unsure', because: `${product} answered ${status} with something that is no JSON` };
}

/** Of a reply that is not as it is documented. */
export const partOf = (entry: unknown, name: string): unknown =>
  typeof entry === 'object' && entry !== null && Object.hasOwn(entry, name) ? (entry as Record<string, unknown>)[name] : undefined;

const noShape = 'the entry is not as it is documented';

/** How an entry is found by a person, whatever it has in these places. `serial` is what was read of it, where it could be. */
export function unusable(id: unknown, said: unknown, serial: ReturnType<typeof readSerial> | null): Unusable {
  const named = (value: unknown): string | null =>
    typeof value === 'string' || typeof value === 'number'
      ? String(value)
          .replace(/[\p{C}\s]+/gu, ' ')
          .trim()
          .slice(0, 64) || null
      : null;
  return { id: named(id), serial: named(said), because: serial !== null && typeof serial !== 'string' ? serial.because : noShape };
}

/** Milliseconds of a time in ISO 8601; the year 1 and the like mean *never*. */
export function timeOf(text: unknown): number | null {
  const at = typeof text === 'string' ? Date.parse(text) : Number.NaN;
  return at > 0 ? at : null;
}

/** An id goes into a path: nothing that would be another path. */
const idForm = /^[A-Za-z0-9][A-Za-z0-9-]{0,63}$/;
export const isId = (id: string): boolean => idForm.test(id);
