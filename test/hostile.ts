import fc from 'fast-check';

/*
 * What the tests of hostile input share: inputs made to hurt, and what counts as calm. A parser may give a value, a `Problem`,
 * or an error of its own that says what is wrong; never one of the language's (a property of undefined, a full stack, a bad
 * index), and never after more than a second.
 */

/** `SPAREKEY_RUNS=50` makes each property try fifty times as many inputs; a failure prints its seed. */
const times = Math.max(1, Number(process.env['SPAREKEY_RUNS'] ?? '1') || 1);
export const runs = (few: number): { numRuns: number } => ({ numRuns: Math.ceil(few / 2) * times });
/** Milliseconds for a property with that many inputs. */
export const patience = 300_000 * times;

/** Milliseconds of processor time, so that a busy machine makes no difference. */
const most = 1000;

/** The names of errors that nobody threw on purpose, and how V8 words those of the others. */
const accidental = ['RangeError', 'ReferenceError', 'SyntaxError', 'EvalError', 'URIError', 'AggregateError'];
const worded =
  /^Cannot |^Invalid |is not (?:a function|iterable|an object|defined|a constructor)|undefined|Maximum call stack|circular structure|argument must be|out of range|heap/i;

/** Why this error is nobody's answer, or null where it is one. */
function accidentIn(error: unknown): string | null {
  const { name = '', message = '', code, stack = '' } = (error ?? {}) as { name?: string; message?: string; code?: string; stack?: string };
  if (name === 'Problem') return code === 'SERVER_BUG' ? message : null;
  // OpenSSL's refusals: its callers have words for them.
  if (code?.startsWith('ERR_OSSL') || code?.startsWith('ERR_CRYPTO')) return null;
  const accident = accidental.includes(name) || code !== undefined || worded.test(message) || message === '';
  return accident ? `${name} ${code ?? ''} ${message}\n${stack.split('\n').slice(1, 5).join('\n')}` : null;
}

export type Calm<T> = { value: T } | { refused: string };

const refusalOf = (error: unknown, what: string): { refused: string } => {
  const accident = accidentIn(error);
  if (accident) throw new Error(`${what}: ${accident}`);
  return { refused: String((error as { code?: string }).code ?? (error as Error).message) };
};

/** The processor's time is the whole process's: where another thread collects garbage meanwhile, it is measured again. */
const mostTimes = 3;

function isInTime(before: NodeJS.CpuUsage, what: string, time: number): boolean {
  const { user, system } = process.cpuUsage(before);
  const took = (user + system) / 1000;
  if (took > most && time === mostTimes) throw new Error(`${what} took ${Math.round(took)} ms of the processor`);
  return took <= most;
}

/** What became of it; throws where the parser did not stay calm. */
export function calmly<T>(act: () => T, what = 'it'): Calm<T> {
  for (let time = 1; ; time += 1) {
    const before = process.cpuUsage();
    let calm: Calm<T>;
    try {
      calm = { value: act() };
    } catch (error) {
      calm = refusalOf(error, what);
    }
    if (isInTime(before, what, time)) return calm;
  }
}

export async function calmlyLater<T>(act: () => Promise<T>, what = 'it'): Promise<Calm<T>> {
  for (let time = 1; ; time += 1) {
    const before = process.cpuUsage();
    let calm: Calm<T>;
    try {
      calm = { value: await act() };
    } catch (error) {
      calm = refusalOf(error, what);
    }
    if (isInTime(before, what, time)) return calm;
  }
}

// ——— bytes

const edit = fc.record({
  how: fc.constantFrom('flip', 'cut', 'insert', 'repeat', 'drop', 'length', 'swap', 'zero'),
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  size: fc.integer({ min: 1, max: 64 }),
  bytes: fc.uint8Array({ minLength: 1, maxLength: 12 }),
});
type Edit = typeof edit extends fc.Arbitrary<infer T> ? T : never;

/** As lengths are written in BER: indefinite, absurd, and one more or less. */
const lengths = ['80', '81ff', '82ffff', '84ffffffff', '887fffffffffffffff', '88ffffffffffffffff', '8480000000', 'ff', '00', '7f'].map((hex) =>
  Buffer.from(hex, 'hex'),
);

function applied(bytes: Buffer, { how, at, size, bytes: more }: Edit): Buffer {
  const place = Math.min(bytes.length, Math.floor(at * bytes.length));
  const [before, block, after] = [bytes.subarray(0, place), bytes.subarray(place, place + size), bytes.subarray(place + size)];
  if (how === 'cut') return before;
  if (how === 'drop') return Buffer.concat([before, after]);
  if (how === 'insert') return Buffer.concat([before, more, block, after]);
  if (how === 'repeat') return Buffer.concat([before, block, block, after]);
  if (how === 'swap') return Buffer.concat([after, block, before]);
  if (how === 'zero') return Buffer.concat([before, Buffer.alloc(block.length), after]);
  if (how === 'length') return Buffer.concat([before, lengths[size % lengths.length] ?? Buffer.alloc(0), bytes.subarray(place + 1)]);
  const flipped = Buffer.from(bytes);
  if (flipped.length > 0) flipped.writeUInt8(flipped.readUInt8(place % flipped.length) ^ (1 << (size % 8)), place % flipped.length);
  return flipped;
}

/** Something valid with a few bits, blocks and lengths changed. */
export const bent = (...valid: readonly Uint8Array[]): fc.Arbitrary<Buffer> =>
  fc
    .tuple(fc.constantFrom(...valid), fc.array(edit, { minLength: 1, maxLength: 4 }))
    .map(([bytes, edits]) => edits.reduce<Buffer>((sum, one) => applied(sum, one), Buffer.from(bytes)));

const nested = (hex: string, bytes: number): Buffer => Buffer.from(hex.repeat(Math.floor((bytes * 2) / hex.length)), 'hex');
const headed = (hex: string, bytes: Buffer): Buffer => Buffer.concat([Buffer.from(hex, 'hex'), bytes]);
const definite = (tag: string, depth: number): Buffer => {
  let inner = Buffer.alloc(0);
  for (let at = 0; at < depth; at += 1) {
    const length = inner.length < 128 ? Buffer.from([inner.length]) : Buffer.from([0x82, inner.length >> 8, inner.length & 0xff]);
    inner = Buffer.concat([Buffer.from(tag, 'hex'), length, inner]);
  }
  return inner;
};

/** BER made to hurt, in `bytes` each: nesting, lengths that no file has, lengths without end, huge numbers and identifiers. */
export const berBombs = (bytes: number): Buffer[] => [
  ...['30', '31', '24', 'a0', 'bf1f', '2c', '23', '3f'].flatMap((tag) => [nested(`${tag}80`, bytes), nested(tag, bytes), definite(tag.slice(0, 2), 2000)]),
  ...['8480000000', '84ffffffff', '887fffffffffffffff', '88ffffffffffffffff', 'fe', 'ff', '8200', '850000000001'].flatMap((length) =>
    ['30', '04', '02', '06', '03', '17'].map((tag) => headed(`${tag}${length}`, Buffer.alloc(64, 0x30))),
  ),
  headed('0282ff00', Buffer.alloc(bytes - 4, 0x7f)),
  ...['02', '06', '0d', '03', '04', '0c', '17', '18', '1e'].map((tag) =>
    headed(`${tag}82${(bytes - 4).toString(16).padStart(4, '0')}`, Buffer.alloc(bytes - 4, 0x81)),
  ),
  headed(`3082${(bytes - 4).toString(16).padStart(4, '0')}`, nested('0500', bytes - 4)),
  headed(`3082${(bytes - 4).toString(16).padStart(4, '0')}`, nested('0600', bytes - 4)),
  headed('1f', Buffer.alloc(bytes - 1, 0xff)),
  headed('3080', nested('0500', bytes - 2)),
  headed('30803080', Buffer.alloc(4)),
  nested('0000', bytes),
];

// ——— text and JSON

/** Words that hurt somebody, somewhere. */
export const nasty = [
  '__proto__',
  'constructor',
  'toString',
  'hasOwnProperty',
  '\0',
  '\uD800',
  '\uFEFF',
  '\r\n',
  '\u2028',
  '%s%n',
  '1e308',
  '9007199254740993',
  '12345678901234567890',
  '-0',
  'NaN',
  '99999999999999999999999999999999999999999',
  '../../../etc/passwd',
  '\u001b[2J',
  '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>',
  '&b;',
  ']]>',
  '<![CDATA[',
  '<!--',
  'x'.repeat(5000),
];

const textEdit = fc.record({
  how: fc.constantFrom('drop', 'put', 'repeat', 'cut', 'char'),
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  size: fc.integer({ min: 1, max: 40 }),
  word: fc.oneof(fc.constantFrom(...nasty), fc.string({ unit: 'binary', maxLength: 8 })),
});
export const bentText = (...valid: readonly string[]): fc.Arbitrary<string> =>
  fc.tuple(fc.constantFrom(...valid), fc.array(textEdit, { minLength: 1, maxLength: 4 })).map(([text, edits]) =>
    edits.reduce((sum, { how, at, size, word }) => {
      const place = Math.floor(at * sum.length);
      const [before, block, after] = [sum.slice(0, place), sum.slice(place, place + size), sum.slice(place + size)];
      if (how === 'cut') return before;
      if (how === 'drop') return before + after;
      if (how === 'repeat') return before + block + block + after;
      return how === 'put' ? before + word + block + after : before + word + after;
    }, text),
  );
export const anyText = (most: number): fc.Arbitrary<string> =>
  fc.oneof(
    fc.string({ unit: 'binary', maxLength: most }),
    fc.array(fc.constantFrom(...nasty), { maxLength: 6 }).map((words) => words.join(' ')),
  );

const deep = (depth: number): unknown => JSON.parse(`${'['.repeat(depth)}${']'.repeat(depth)}`);
const nastyValues: unknown[] = [
  null,
  true,
  0,
  -1,
  1.5,
  2 ** 53 + 2,
  1e308,
  [],
  {},
  [null],
  [[]],
  '',
  'x'.repeat(100_000),
  '\uD800',
  '2026-13-45T99:99:99Z',
  '+275760-09-13T00:00:00.001Z',
  deep(2000),
  JSON.parse('{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}}}'),
  ...nasty.slice(0, 4),
];

type Place = (string | number)[];
const placesIn = (value: unknown, at: Place = []): Place[] => [
  at,
  ...(typeof value === 'object' && value !== null && at.length < 12
    ? Object.entries(value).flatMap(([name, inner]) => placesIn(inner, [...at, Array.isArray(value) ? Number(name) : name]))
    : []),
];

/** A copy with what stands at `place` replaced, taken out, or doubled. */
function changed(value: unknown, place: Place, how: 'put' | 'drop' | 'add', what: unknown): unknown {
  const [head, ...rest] = place;
  if (head === undefined) return how === 'put' ? what : value;
  const copy = (Array.isArray(value) ? [...value] : { ...(value as object) }) as Record<string | number, unknown>;
  if (rest.length > 0) copy[head] = changed(copy[head], rest, how, what);
  else if (how === 'put') copy[head] = what;
  else if (how === 'drop') delete copy[head];
  else if (Array.isArray(copy)) copy.push(...(copy as unknown[]), what);
  else Object.defineProperty(copy, '__proto__', { value: what, enumerable: true, configurable: true, writable: true });
  return copy;
}

/** A valid value with a few of its parts exchanged for nasty ones, left out, or added. */
export const bentJson = (valid: unknown): fc.Arbitrary<unknown> => {
  const one = fc.tuple(fc.nat(), fc.constantFrom('put', 'put', 'put', 'drop', 'add'), fc.constantFrom(...nastyValues));
  return fc.array(one, { minLength: 1, maxLength: 3 }).map((edits) =>
    edits.reduce((sum: unknown, [which, how, what]) => {
      const places = placesIn(sum).slice(0, 5000);
      return changed(sum, places[which % places.length] ?? [], how, what);
    }, valid),
  );
};

/** What nothing that was read may have done to every object there is. */
export const isPolluted = (): boolean => 'polluted' in {};
