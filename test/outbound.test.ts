import { generateKeyPairSync } from 'node:crypto';
import { createServer as createPlain, type IncomingMessage } from 'node:http';
import { createServer, type Server } from 'node:https';
import { connect, createServer as createTcp, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { afterAll, beforeAll, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { issueServerCertificate, makeCa, pem } from '../server/certificates.ts';
import { coexistenceSettings } from '../server/coexistence-settings.ts';
import { createOutbound, type OutboundOptions, Unreached } from '../server/outbound.ts';

/* The one door by which this backend asks other systems: what it believes, how long it waits, and what it never says. */

interface Line {
  event: string;
  [more: string]: unknown;
}
const lines: Line[] = [];
const write = (event: string, details = {}): void => void lines.push({ event, ...details });
const log = { info: write, warn: write, error: write } as OutboundOptions['log'];

const at = new Date(Date.now() - 3_600_000);
const ca = makeCa({ commonName: 'CA of a neighbour', years: 2, at });
const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const certificateFor = (name: string) =>
  issueServerCertificate({
    ca: ca.certificateDer,
    caKey: ca.privateKey,
    publicKeyDer: pair.publicKey.export({ type: 'spki', format: 'der' }),
    names: [name],
    at,
    days: 30,
  });
const trusted = [pem('CERTIFICATE', ca.certificateDer)];

/** What the neighbour answers, and what it was asked. */
const answers: { status: number; headers?: Record<string, string>; body?: string | Buffer; hang?: boolean; cut?: boolean }[] = [];
const asked: { method: string; path: string; headers: Record<string, unknown>; body: string }[] = [];
const servers: Server[] = [];

let limit = new AbortController();
/** The time for an answer, which is over when a question has come that gets none: the same on however slow a machine. */
function limitEndsWithTheQuestion(): void {
  limit = new AbortController();
  jest.spyOn(AbortSignal, 'timeout').mockReturnValue(limit.signal);
}

async function listen(name: string): Promise<string> {
  const server = createServer(
    { key: pair.privateKey.export({ type: 'pkcs8', format: 'pem' }), cert: pem('CERTIFICATE', certificateFor(name)) },
    (request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        asked.push({ method: request.method ?? '', path: request.url ?? '', headers: request.headers, body: Buffer.concat(chunks).toString('utf8') });
        const { status, headers = {}, body = '{}', hang, cut } = answers.shift() ?? { status: 200 };
        if (cut) return void request.socket.destroy();
        if (hang) limit.abort(new DOMException('over', 'TimeoutError'));
        else response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(body);
      });
    },
  );
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  return `https://127.0.0.1:${typeof address === 'object' && address ? address.port : 0}`;
}
let origin: string;
beforeAll(async () => {
  origin = await listen('127.0.0.1');
});
afterAll(async () => {
  for (const server of servers) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

const waits: number[] = [];
beforeEach(() => {
  for (const kept of [waits, answers, asked, lines]) kept.length = 0;
});
/** Waits are noted, and over at once. */
const open = (more: Partial<OutboundOptions> = {}) => {
  let now = 0;
  return createOutbound({
    origin,
    trusted,
    log,
    totalSeconds: 60,
    chance: () => 1,
    uptime: () => now,
    wait: async (milliseconds) => {
      waits.push(milliseconds);
      now += milliseconds;
    },
    ...more,
  });
};

describe('a question', () => {
  test('goes as JSON, as a form or as it is, with its authentication, and the answer is what JSON says', async () => {
    const outbound = open();
    answers.push(
      { status: 200, headers: { 'X-Next': 'page 2' }, body: '{"a":[1]}' },
      { status: 404, headers: { 'content-type': 'text/plain' }, body: 'none' },
      { status: 201, body: '{broken' },
    );
    expect(await outbound.ask({ method: 'POST', path: '/a?b=c', body: { x: 1 }, auth: { bearer: 'token' } })).toMatchObject({
      kind: 'answer',
      status: 200,
      headers: { 'x-next': 'page 2' },
      body: { a: [1] },
    });
    expect(await outbound.ask({ method: 'POST', path: '/t', body: new URLSearchParams({ q: 'a b' }), auth: { user: 'u', password: 'p' } })).toMatchObject({
      status: 404,
      body: 'none',
    });
    expect(await outbound.ask({ method: 'PUT', path: '/raw', body: Buffer.from('bytes'), headers: { 'content-type': 'application/xml' } })).toMatchObject({
      status: 201,
      body: '{broken',
    });
    expect(asked.splice(0).map(({ path, body, headers }) => [path, body, headers['content-type'], headers['authorization']])).toEqual([
      ['/a?b=c', '{"x":1}', 'application/json', 'Bearer token'],
      ['/t', 'q=a+b', 'application/x-www-form-urlencoded', `Basic ${Buffer.from('u:p').toString('base64')}`],
      ['/raw', 'bytes', 'application/xml', undefined],
    ]);
    outbound.close();
  });

  test('that is answered 429 waits as it is told, and is asked again; what is longer than the bound is said', async () => {
    const outbound = open();
    answers.push({ status: 429, headers: { 'retry-after': '7' } }, { status: 429 }, { status: 429 }, { status: 200 });
    expect(await outbound.ask({ method: 'POST', path: '/' })).toMatchObject({ kind: 'answer', status: 200 });
    expect(waits.filter((one) => one >= 1000)).toEqual([7000, 5000, 10_000]);
    answers.push({ status: 429, headers: { 'retry-after': '3600' } });
    expect(await outbound.ask({ method: 'GET', path: '/' })).toEqual({ kind: 'later', seconds: 3600, told: true, unsure: false });
    const date = new Date('2026-11-22T10:00:00Z').toUTCString();
    answers.push({ status: 503, headers: { 'retry-after': new Date('2026-11-22T10:05:00Z').toUTCString(), date } });
    expect(await outbound.ask({ method: 'GET', path: '/' })).toEqual({ kind: 'later', seconds: 300, told: true, unsure: false });
    outbound.close();
  });

  test('that may have been acted on is not said twice after 503', async () => {
    const outbound = open();
    answers.push({ status: 503, headers: { 'retry-after': '1' } });
    expect(await outbound.ask({ method: 'POST', path: '/rotate' })).toEqual({ kind: 'later', seconds: 1, told: true, unsure: true });
    expect(asked).toHaveLength(1);
    answers.push({ status: 503, headers: { 'retry-after': '1' } }, { status: 200 });
    expect(await outbound.ask({ method: 'GET', path: '/' })).toMatchObject({ status: 200 });
    outbound.close();
  });

  test('that is answered 429 or 503 without a time waits twice as long each time, by chance down to half of it, also from one question to the next', async () => {
    let chance = 1;
    const outbound = open({ chance: () => chance });
    const later = async (count: number, method: 'GET' | 'POST' = 'GET') => {
      answers.push(...Array.from({ length: count }, () => ({ status: 429 + (method === 'POST' ? 74 : 0) })));
      return outbound.ask({ method, path: '/' });
    };
    expect(await later(4)).toEqual({ kind: 'later', seconds: 40, told: false, unsure: false });
    expect(waits.filter((one) => one >= 1000)).toEqual([5000, 10_000, 20_000]);
    expect(await later(1, 'POST')).toEqual({ kind: 'later', seconds: 80, told: false, unsure: true });
    chance = 0;
    expect(await later(1)).toMatchObject({ seconds: 80 });
    for (let more = 0; more < 10; more += 1) await later(1);
    chance = 1;
    expect(await later(1)).toMatchObject({ seconds: 3600 });
    answers.push({ status: 200 });
    await outbound.ask({ method: 'GET', path: '/' });
    expect(await later(1, 'POST')).toMatchObject({ seconds: 5 });
    outbound.close();
  });

  test.each([
    ['a year', '31536000', 86_400],
    ['a figure without end', '9'.repeat(40), 86_400],
    ['a date in ten years', 'Sat, 22 Nov 2036 10:00:00 GMT', 86_400],
    ['no time at all', '0', 1],
    ['a date that is over', 'Sun, 22 Nov 2020 10:00:00 GMT', 1],
  ])('a `Retry-After` of %s counts for a day at most, and for a second at least', async (_, retryAfter, seconds) => {
    const outbound = open();
    answers.push({ status: 503, headers: { 'retry-after': retryAfter, date: 'Sun, 22 Nov 2026 10:00:00 GMT' } });
    expect(await outbound.ask({ method: 'POST', path: '/' })).toEqual({ kind: 'later', seconds, told: true, unsure: true });
    outbound.close();
  });

  test('keeps the rate that was agreed', async () => {
    const outbound = open({ ratePerMinute: 60 });
    for (let i = 0; i < 4; i += 1) await outbound.ask({ method: 'GET', path: '/' });
    expect(waits).toEqual([1000, 1000, 1000]);
    outbound.close();
  });
});

describe('through a proxy', () => {
  /** What it was asked for; `answer` in place of a tunnel. */
  async function proxyThat(answer: string | null) {
    const seen: string[] = [];
    const sockets: Duplex[] = [];
    const proxy = createPlain((request) => void seen.push(`${request.method} ${request.url}`));
    proxy.on('connect', (request: IncomingMessage, socket: Duplex) => {
      seen.push(`${request.method} ${request.url} ${JSON.stringify(Object.keys(request.headers))}`);
      sockets.push(socket);
      socket.on('error', () => undefined);
      if (answer !== null) return void socket.end(answer);
      const { hostname, port } = new URL(`https://${request.url}`);
      const there = connect({ host: hostname, port: Number(port) }, () => {
        socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
        socket.pipe(there).pipe(socket);
      });
      sockets.push(there);
      there.on('error', () => undefined);
    });
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    const address = proxy.address();
    const close = async (): Promise<void> => {
      for (const socket of sockets) socket.destroy();
      proxy.closeAllConnections();
      await new Promise((resolve) => proxy.close(resolve));
    };
    return { url: `http://127.0.0.1:${typeof address === 'object' && address ? address.port : 0}`, seen, close };
  }

  test('it is asked for the name of the other side alone, and sees neither address nor secret; who is believed stays the same', async () => {
    const proxy = await proxyThat(null);
    const outbound = open({ proxy: proxy.url });
    answers.push({ status: 200, body: '{"a":1}' }, { status: 200 });
    const question = { method: 'GET', path: '/secret/path', auth: { bearer: 'CCCC' } } as const;
    expect(await outbound.ask(question)).toMatchObject({ status: 200, body: { a: 1 } });
    await outbound.ask(question);
    // One connection for both.
    expect(proxy.seen).toEqual([`CONNECT ${origin.replace('https://', '')} ["host","connection"]`]);
    outbound.close();
    const strict = open({ proxy: proxy.url, trusted: [] });
    await expect(strict.ask(question)).rejects.toMatchObject({ code: 'NEIGHBOUR_FAILED', detail: expect.stringContaining('not trusted') });
    strict.close();
    await proxy.close();
  });

  test.each([
    ['refuses', 'HTTP/1.1 403 Forbidden\r\n\r\n', /the proxy 127\.0\.0\.1:\d+ answered 403/],
    ['wants an account', 'HTTP/1.1 407 Proxy Authentication Required\r\n\r\n', /wants an account \(407\)/],
    ['is none', 'SSH-2.0-OpenSSH_9.9\r\n', /the proxy .* does not answer \(HPE_/],
  ])('one that %s: nothing of the question has left', async (_, answer, words) => {
    const proxy = await proxyThat(answer);
    const outbound = open({ proxy: proxy.url });
    const error = await outbound.ask({ method: 'PUT', path: '/', body: 'BBBB' }).catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(Unreached);
    expect(error).toMatchObject({ code: 'NEIGHBOUR_FAILED', detail: expect.stringMatching(words) });
    outbound.close();
    await proxy.close();
  });

  test('one where nobody listens: nothing goes out beside it', async () => {
    const outbound = open({ proxy: 'http://127.0.0.1:1' });
    const error = await outbound.ask({ method: 'GET', path: '/' }).catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(Unreached);
    expect(error).toMatchObject({ detail: expect.stringMatching(/the proxy 127\.0\.0\.1:1 does not answer \(ECONNREFUSED\)/) });
    expect(asked).toEqual([]);
    outbound.close();
  });

  test('its address is a setting of the connector, without an account or a path', () => {
    const read = (proxy: unknown) => coexistenceSettings.safeParse({ connectors: { fleet: { url: 'https://fleet.example.org', tokenFile: '/token', proxy } } });
    for (const good of [null, 'http://proxy.example.org:3128', 'http://proxy.example.org', 'http://proxy.example.org:80', 'http://[::1]:3128'])
      expect(read(good).success).toBe(true);
    for (const bad of [
      'https://proxy.example.org:3128',
      'http://ada:secret@proxy.example.org:3128',
      'http://proxy.example.org:3128/',
      'proxy.example.org:3128',
      7,
    ])
      expect(read(bad).success).toBe(false);
  });
});

describe('what goes wrong', () => {
  const failing = async (more: Partial<OutboundOptions>, answer: (typeof answers)[number] = { status: 200 }, method: 'GET' | 'PUT' = 'PUT') => {
    if (answer.hang) limitEndsWithTheQuestion();
    const outbound = open(more);
    answers.length = 0;
    answers.push(answer);
    const error = await outbound.ask({ method, path: '/secret/path?key=AAAA', body: 'BBBB', auth: { bearer: 'CCCC' } }).then(
      () => null,
      (cause: unknown) => cause,
    );
    outbound.close();
    answers.length = 0;
    return error as { code: string; detail: string; message: string; cause?: unknown } | null;
  };

  test.each([
    ['nobody listens', { origin: 'https://127.0.0.1:1' }, undefined, /ECONNREFUSED/, true],
    ['a certificate of a CA that nobody believes', { trusted: [] }, undefined, /its certificate is not trusted/, true],
    ['no answer in time', { totalSeconds: 0.2 }, { status: 200, hang: true }, /no answer in 0\.2 s/, false],
    ['a connection that breaks', {}, { status: 200, cut: true }, /ECONNRESET|broke/, false],
    ['a redirect', {}, { status: 301, headers: { location: 'https://elsewhere.example.org/x' } }, /it led to elsewhere\.example\.org/, false],
    ['more than 8 MiB', {}, { status: 200, body: Buffer.alloc(8 * 1024 * 1024 + 1, 0x20) }, /more than 8388608 bytes/, false],
  ])('%s is NEIGHBOUR_FAILED, in words without a secret', async (_, more, answer, words, unreached) => {
    const error = await failing(more, answer);
    expect(error).toMatchObject({ code: 'NEIGHBOUR_FAILED', detail: expect.stringMatching(words) });
    expect(error instanceof Unreached).toBe(unreached);
    const said = JSON.stringify([error?.message, error?.cause, lines]);
    expect(said).not.toMatch(/AAAA|BBBB|CCCC|Q0NDQw/);
    expect(lines.map(({ event }) => event)).toEqual(['neighbour-failed']);
  });

  test('a connection that comes to no TLS in time has carried nothing: it was not reached', async () => {
    const heard: Socket[] = [];
    const deaf = createTcp((socket) => void heard.push(socket));
    await new Promise<void>((resolve) => deaf.listen(0, '127.0.0.1', resolve));
    const address = deaf.address();
    const error = await failing({ origin: `https://127.0.0.1:${typeof address === 'object' && address ? address.port : 0}`, totalSeconds: 0.2 });
    expect(error).toMatchObject({ code: 'NEIGHBOUR_FAILED', detail: expect.stringContaining('no answer in 0.2 s') });
    expect(error).toBeInstanceOf(Unreached);
    for (const socket of heard) socket.destroy();
    await new Promise((resolve) => deaf.close(resolve));
    // On one that was kept open it is gone with the first byte.
    limitEndsWithTheQuestion();
    const outbound = createOutbound({ origin, trusted, log, totalSeconds: 0.2 });
    answers.push({ status: 200 }, { status: 200, hang: true });
    await outbound.ask({ method: 'PUT', path: '/a' });
    const second = await outbound.ask({ method: 'PUT', path: '/b' }).catch((thrown: unknown) => thrown);
    outbound.close();
    expect(second).toMatchObject({ code: 'NEIGHBOUR_FAILED', detail: expect.stringContaining('no answer in 0.2 s') });
    expect(AbortSignal.timeout).toHaveBeenLastCalledWith(200);
    expect(second).not.toBeInstanceOf(Unreached);
  });

  test('a certificate for another name is not believed', async () => {
    const other = await listen('elsewhere.example.org');
    expect(await failing({ origin: other })).toMatchObject({ code: 'NEIGHBOUR_FAILED', detail: expect.stringContaining('not trusted') });
  });

  test('a connection that was kept open and is dead by now is no failure of a question that changes nothing', async () => {
    const outbound = open();
    answers.push({ status: 200 }, { status: 200, cut: true }, { status: 200 });
    expect(await outbound.ask({ method: 'GET', path: '/' })).toMatchObject({ status: 200 });
    expect(await outbound.ask({ method: 'GET', path: '/' })).toMatchObject({ status: 200 });
    outbound.close();
  });

  test('what waits when the backend stops ends at once', async () => {
    const outbound = createOutbound({ origin, trusted, log, ratePerMinute: 1, totalSeconds: 60 });
    await outbound.ask({ method: 'GET', path: '/' });
    const waiting = outbound.ask({ method: 'GET', path: '/' });
    outbound.close();
    await expect(waiting).rejects.toMatchObject({ code: 'NEIGHBOUR_FAILED', detail: expect.stringContaining('the backend stops') });
  });

  test.each(['http://mdm.example.org', 'https://mdm.example.org/path', 'ftp://x', 'nothing'])('%s is no address', (address) => {
    expect(() => open({ origin: address })).toThrow('no https origin');
  });

  test('without TLS only this very machine is asked', async () => {
    const plain = createPlain((_request, response) => void response.end('plain'));
    await new Promise<void>((resolve) => plain.listen(0, '127.0.0.1', resolve));
    const address = plain.address();
    const outbound = open({ origin: `http://127.0.0.1:${typeof address === 'object' && address ? address.port : 0}` });
    expect(await outbound.ask({ method: 'GET', path: '/' })).toMatchObject({ status: 200, body: 'plain' });
    outbound.close();
    plain.closeAllConnections();
    await new Promise((resolve) => plain.close(resolve));
  });
});
