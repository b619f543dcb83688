import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, connect, createServer as createNetServer, type Server as NetServer, type Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { afterAll, describe, expect, test } from '@jest/globals';
import { readSystemProxy } from '../agent/proxy.ts';
import { readRetryAfter } from '../agent/retry.ts';
import { openServer, type ServerOptions } from '../agent/server.ts';
import { readSystemStore, trustedRoots } from '../agent/trust.ts';
import type { DeliveryRequest, Receipt } from '../protocol/messages.ts';
import { Problem } from '../protocol/problems.ts';
import { issueClientCertificate, issueServerCertificate, makeCa, pem } from '../server/certificates.ts';
import { answering } from './answering-runner.ts';
import { checkInBody, newMac } from './device-calls.ts';

const at = new Date();
const spki = (key: KeyObject) => key.export({ format: 'der', type: 'spki' });
const pkcs8 = (key: KeyObject) => key.export({ format: 'pem', type: 'pkcs8' }).toString();
const newCa = (commonName: string) => {
  const { certificateDer, privateKey } = makeCa({ commonName, years: 5, at });
  return { ca: certificateDer, caKey: privateKey, pem: pem('CERTIFICATE', certificateDer) };
};
const ca = newCa('Example Sparekey CA');
const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const serverTls = (by = ca, names = ['localhost', '127.0.0.1'], days = 30, from = at) => ({
  key: pkcs8(pair.privateKey),
  cert: pem('CERTIFICATE', issueServerCertificate({ ca: by.ca, caKey: by.caKey, publicKeyDer: spki(pair.publicKey), names, at: from, days })),
});
const clientPair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const identity = {
  certificatePem: pem(
    'CERTIFICATE',
    issueClientCertificate({ ca: ca.ca, caKey: ca.caKey, publicKeyDer: spki(clientPair.publicKey), commonName: 'enrolment-1', at, days: 400 }),
  ),
  privateKey: clientPair.privateKey,
};

const open: { close(): void }[] = [];
afterAll(() => {
  for (const each of open.splice(0)) each.close();
});

async function listen(server: NetServer): Promise<number> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => {});
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  open.push({
    close: () => {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  });
  return (server.address() as AddressInfo).port;
}

type Handler = (request: IncomingMessage & { text: string }, response: ServerResponse, tries: number) => void;

/** A backend of one handler, by real TLS on loopback. */
async function given(handler: Handler, tls: Record<string, unknown> = serverTls()) {
  const asked: { url: string; method: string; text: string; headers: IncomingMessage['headers']; subject: string | undefined }[] = [];
  const server = createTlsServer({ requestCert: true, rejectUnauthorized: false, ca: ca.pem, ...tls }, (request, response) => {
    let text = '';
    request.on('data', (chunk) => {
      text += chunk;
    });
    request.on('end', () => {
      asked.push({
        url: request.url ?? '',
        method: request.method ?? '',
        text,
        headers: request.headers,
        subject: (request.socket as TLSSocket).getPeerX509Certificate()?.subject,
      });
      handler(Object.assign(request, { text }), response, asked.length);
    });
  });
  server.on('tlsClientError', () => {});
  return { port: await listen(server), asked };
}

const waits: number[] = [];
function client(port: number, more: Partial<Omit<ServerOptions, 'settings'>> & { settings?: Partial<ServerOptions['settings']> } = {}) {
  waits.length = 0;
  const server = openServer({
    runner: answering({}),
    identity,
    connectSeconds: 60,
    totalSeconds: 60,
    agentVersion: '0.1.0',
    retries: { wait: async (milliseconds) => void waits.push(milliseconds), random: () => 0.5 },
    ...more,
    settings: { serverUrl: `https://127.0.0.1:${port}`, trustedCertificates: [ca.pem], trust: 'bundled', proxy: 'none', ...more.settings },
  });
  open.push(server);
  return server;
}

const json = (response: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}) =>
  response.writeHead(status, { 'content-type': status < 300 ? 'application/json' : 'application/problem+json', ...headers }).end(JSON.stringify(body));
const nonce = { nonce: 'abc', expiresInSeconds: 300 };
const problemOf = async (act: Promise<unknown>): Promise<Problem> => {
  const caught = await act.then(
    () => null,
    (error: unknown) => error,
  );
  if (!(caught instanceof Problem)) throw new Error(`no Problem: ${caught}`);
  return caught;
};

const envelopeId = 'a'.repeat(64);
const delivery: DeliveryRequest = {
  envelope: 'AAAA',
  source: 'escrow-file',
  hardwareUuid: '4AD8C7A4-0000-4000-8000-000000000001',
  volume: '4AD8C7A4-0000-4000-8000-000000000002',
  madeAt: '2026-11-22T12:00:00Z',
  validated: 'unknown',
  rotationId: null,
};
const receipt: Receipt = {
  envelopeId,
  recordId: 'k1',
  receivedAt: '2026-11-22T12:00:00Z',
  recipient: 'b'.repeat(64),
  readable: 'yes',
  state: 'held',
  held: { recordId: 'k1', envelopeIds: [envelopeId], state: 'held' },
  requestId: 'r1',
};

describe('asking the backend', () => {
  test('a delivery goes by mutual TLS, as JSON of this protocol version, and gives its receipt', async () => {
    const { port, asked } = await given((_request, response) => json(response, 201, receipt));
    expect(await client(port).deliver(envelopeId, delivery)).toEqual(receipt);
    expect(asked).toHaveLength(1);
    expect(asked[0]).toMatchObject({
      method: 'PUT',
      url: `/v1/keys/${envelopeId}`,
      subject: 'CN=enrolment-1',
      headers: { 'content-type': 'application/json', 'sparekey-protocol': '1', 'user-agent': 'sparekey/0.1.0' },
    });
    expect(JSON.parse(asked[0]?.text ?? '')).toEqual(delivery);
  });

  test('before it has enrolled it presents nothing', async () => {
    const { port, asked } = await given((_request, response) => json(response, 200, nonce));
    expect(await client(port, { identity: null }).nonce()).toBe('abc');
    expect(asked[0]?.subject).toBeUndefined();
  });

  test('one run uses one connection', async () => {
    const ports = new Set<number>();
    const { port } = await given((request, response) => {
      ports.add(request.socket.remotePort ?? 0);
      json(response, 200, nonce);
    });
    const server = client(port);
    for (let time = 0; time < 3; time += 1) await server.nonce();
    expect(ports.size).toBe(1);
  });

  test('a receipt for another envelope is none', async () => {
    const { port } = await given((_request, response) => json(response, 200, { ...receipt, envelopeId: 'c'.repeat(64) }));
    expect(await problemOf(client(port).deliver(envelopeId, delivery))).toMatchObject({ code: 'REPLY_UNREADABLE' });
  });

  test.each<[string, (response: ServerResponse) => unknown]>([
    ['another form', (response) => json(response, 200, { nonce: 7 })],
    ['JSON that breaks off', (response) => response.writeHead(200, { 'content-type': 'application/json' }).end('{"nonce":"a')],
    ['plain text', (response) => response.writeHead(200, { 'content-type': 'text/plain' }).end('ok')],
    ['a problem without a known code', (response) => json(response, 400, { code: 'NEVER_HEARD_OF', title: 'x' })],
    ['a refusal without a problem', (response) => response.writeHead(404).end()],
    ['1 MiB', (response) => response.writeHead(200, { 'content-type': 'application/json' }).end(`"${'x'.repeat(1024 * 1024)}"`)],
    ['something that is not HTTP', (response) => response.socket?.end('SSH-2.0-OpenSSH\r\n')],
  ])('%s is not understood', async (_name, answer) => {
    const { port, asked } = await given((_request, response) => answer(response));
    expect(await problemOf(client(port).nonce())).toMatchObject({ code: 'REPLY_UNREADABLE' });
    expect(asked).toHaveLength(1);
  });

  test('what a newer backend adds to its answer is passed over', async () => {
    const { port } = await given((_request, response) => json(response, 200, { ...nonce, more: true }));
    expect(await client(port).nonce()).toBe('abc');
  });

  test('a backend of the first day refuses a check-in that has later facts, and is told the rest; what it refuses else stays refused', async () => {
    const later = { foreignChanges: { times: ['2026-11-22T12:00:00Z'], suspects: ['Jamf'] } };
    const reply = {
      serverTime: '2026-11-22T12:00:00Z',
      macId: 'm1',
      enrolmentId: 'e1',
      custody: 'held',
      because: 'x',
      wanted: [],
      held: null,
      candidates: [],
      confirmed: { debts: [], proofs: [], endings: [] },
      debts: [],
      hold: null,
      proofOrders: [],
      recipients: [],
      rotation: null,
      grantNonce: 'n',
      alarms: [],
      buildWorks: false,
      nextCheckInSeconds: 60,
    };
    const { port, asked } = await given(({ text }, response) =>
      /foreignChanges|waitingFor|adoption|strange/.test(text) ? json(response, 400, { code: 'MESSAGE_INVALID', title: 'x' }) : json(response, 200, reply),
    );
    const request = checkInBody(newMac());
    const facts = { ...request.facts, ...later, fileVault: { ...request.facts.fileVault, waitingFor: 'restart' as const } };
    expect(await client(port).checkIn({ ...request, facts })).toMatchObject({ macId: 'm1' });
    expect([asked.length, JSON.parse(asked[1]?.text ?? '')]).toEqual([2, request]);
    const strange = { ...request, exhausted: 'strange' as never };
    expect(await problemOf(client(port).checkIn(strange))).toMatchObject({ code: 'MESSAGE_INVALID' });
    expect(asked).toHaveLength(3);
  });

  test('a problem of the backend arrives as that problem, and is not repeated', async () => {
    const { port, asked } = await given((_request, response) =>
      json(response, 409, { code: 'ROTATION_WAIT', title: 'x', detail: 'until 12:00', requestId: 'r' }),
    );
    expect(await problemOf(client(port).grant({} as never))).toMatchObject({ code: 'ROTATION_WAIT', detail: 'until 12:00' });
    expect(asked).toHaveLength(1);
  });
});

describe('trying again', () => {
  test('after 503 with Retry-After, as long as it says and a little more, with the same bytes', async () => {
    const { port, asked } = await given((_request, response, tries) =>
      tries < 3 ? json(response, 503, { code: 'STORE_FAILED', title: 'x' }, { 'retry-after': '7' }) : json(response, 200, receipt),
    );
    expect(await client(port).deliver(envelopeId, delivery)).toEqual(receipt);
    expect(new Set(asked.map(({ text }) => text)).size).toBe(1);
    expect(waits).toEqual([7500, 8000]);
  });

  test('three times and no more; then the problem says when', async () => {
    const { port, asked } = await given((_request, response) => json(response, 429, { code: 'TOO_MANY_REQUESTS', title: 'x' }, { 'retry-after': '60' }));
    expect(await problemOf(client(port).nonce())).toMatchObject({ code: 'TOO_MANY_REQUESTS', retryAfterSeconds: 60 });
    expect(asked).toHaveLength(3);
  });

  test('not within this run where the wait would be longer than a minute', async () => {
    const { port, asked } = await given((_request, response) => json(response, 503, { code: 'SERVER_STOPPING', title: 'x' }, { 'retry-after': '61' }));
    expect(await problemOf(client(port).nonce())).toMatchObject({ code: 'SERVER_STOPPING', retryAfterSeconds: 61 });
    expect(asked).toHaveLength(1);
  });

  test('a date is reckoned by the backend’s clock, not by the Mac’s', () => {
    expect(readRetryAfter('Sun, 22 Nov 2020 12:00:30 GMT', 'Sun, 22 Nov 2020 12:00:00 GMT')).toBe(30);
    expect(readRetryAfter('Sun, 22 Nov 2020 11:00:00 GMT', 'Sun, 22 Nov 2020 12:00:00 GMT')).toBe(0);
    expect(readRetryAfter('5', undefined)).toBe(5);
    expect(readRetryAfter('soon', undefined)).toBeUndefined();
    expect(readRetryAfter(undefined, undefined)).toBeUndefined();
  });

  test('a connection that breaks is tried again', async () => {
    const { port } = await given((request, response, tries) => (tries === 1 ? request.socket.destroy() : json(response, 200, nonce)));
    expect(await client(port).nonce()).toBe('abc');
  });
});

describe('a backend that cannot be reached', () => {
  test('nobody listens: tried three times', async () => {
    const server = createNetServer();
    const port = await listen(server);
    await new Promise((resolve) => server.close(resolve));
    expect(await problemOf(client(port).nonce())).toMatchObject({ code: 'SERVER_UNREACHABLE', detail: 'ECONNREFUSED' });
    expect(waits).toHaveLength(2);
  });

  test('no such name (no network): not tried again', async () => {
    expect(await problemOf(client(1, { settings: { serverUrl: 'https://nowhere.invalid' } }).nonce())).toMatchObject({ code: 'SERVER_UNREACHABLE' });
    expect(waits).toHaveLength(0);
  });

  test('it takes the connection and says nothing: the handshake has its time', async () => {
    const port = await listen(createNetServer(() => {}));
    expect(await problemOf(client(port, { connectSeconds: 0.2, retries: { tries: 1 } }).nonce())).toMatchObject({
      code: 'SERVER_UNREACHABLE',
      detail: 'no handshake in 0.2 s',
    });
  });

  test('it never ends its answer: the whole try has its time', async () => {
    const { port } = await given((_request, response) => response.writeHead(200, { 'content-type': 'application/json' }).write('{'));
    expect(await problemOf(client(port, { totalSeconds: 0.3, retries: { tries: 1 } }).nonce())).toMatchObject({
      code: 'SERVER_UNREACHABLE',
      detail: 'no answer in 0.3 s',
    });
  });

  test('a gateway in its place says 502 in HTML', async () => {
    const { port } = await given((_request, response) => response.writeHead(502, { 'content-type': 'text/html' }).end('<html>Bad Gateway</html>'));
    expect(await problemOf(client(port).nonce())).toMatchObject({ code: 'SERVER_UNREACHABLE', detail: 'something in its place answered 502' });
  });
});

describe('whom it believes', () => {
  const answer: Handler = (_request, response) => json(response, 200, nonce);
  const refusal = async (tls: Record<string, unknown>, settings: Partial<ServerOptions['settings']> = {}) => {
    const { port, asked } = await given(answer, tls);
    const problem = await problemOf(client(port, { settings: { serverUrl: `https://127.0.0.1:${port}`, ...settings } }).nonce());
    expect(asked).toHaveLength(0);
    expect(waits).toHaveLength(0);
    return problem;
  };

  test('a CA that the settings do not have: not trusted', async () => {
    expect(await refusal(serverTls(), { trustedCertificates: [] })).toMatchObject({ code: 'SERVER_NOT_TRUSTED', detail: 'issued by CN=Example Sparekey CA' });
  });

  test('our CA made anew under its old name: not trusted', async () => {
    expect(await refusal(serverTls(newCa('Example Sparekey CA')))).toMatchObject({ code: 'SERVER_NOT_TRUSTED' });
  });

  test('another issuer than the one in the settings: intercepted, and it is named', async () => {
    expect(await refusal(serverTls(newCa('Blue Coat Example Inspection CA')))).toMatchObject({
      code: 'TLS_INTERCEPTED',
      detail: 'issued by CN=Blue Coat Example Inspection CA',
    });
    expect(await refusal(serverTls(newCa('Somebody else')))).toMatchObject({ code: 'TLS_INTERCEPTED', detail: 'issued by CN=Somebody else' });
  });

  test('a product known for it is recognised without a CA in the settings', async () => {
    expect(await refusal(serverTls(newCa('Zscaler Intermediate Root CA')), { trustedCertificates: [] })).toMatchObject({
      code: 'TLS_INTERCEPTED',
      detail: 'issued by CN=Zscaler Intermediate Root CA',
    });
  });

  test.each<[string, Record<string, unknown>, string]>([
    ['expired', serverTls(ca, ['127.0.0.1'], 1, new Date(at.getTime() - 3 * 86_400_000)), 'it has expired'],
    ['not valid yet', serverTls(ca, ['127.0.0.1'], 9, new Date(at.getTime() + 3 * 86_400_000)), 'it is not valid yet'],
    ['for another name', serverTls(ca, ['other.example.org']), 'it is for another name'],
  ])('a certificate of our CA that is %s: not trusted, and why', async (_name, tls, words) => {
    expect(await refusal(tls)).toMatchObject({ code: 'SERVER_NOT_TRUSTED', detail: expect.stringContaining(words) });
  });

  test('TLS that is too old: not trusted', async () => {
    expect(await refusal({ ...serverTls(), minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' })).toMatchObject({
      code: 'SERVER_NOT_TRUSTED',
      detail: 'it speaks no TLS that is new enough',
    });
  });

  test('TLS 1.2 is enough', async () => {
    const { port } = await given(answer, { ...serverTls(), maxVersion: 'TLSv1.2' });
    expect(await client(port).nonce()).toBe('abc');
  });

  test('a backend by address instead of name', async () => {
    const { port } = await given(answer);
    expect(await client(port, { settings: { serverUrl: `https://127.0.0.1:${port}` } }).nonce()).toBe('abc');
  });

  test('a listener that ends the handshake because of our certificate says so', async () => {
    const { port } = await given(answer, { ...serverTls(), rejectUnauthorized: true, ca: newCa('Another').pem });
    const problem = await problemOf(client(port, { retries: { tries: 1 } }).nonce());
    expect(['CERTIFICATE_UNKNOWN', 'SERVER_UNREACHABLE']).toContain(problem.code);
  });

  test('the store of the system is read only where a setting says so, and not for longer than its time', async () => {
    const bundled = await trustedRoots('bundled', [ca.pem]);
    expect(bundled.incomplete).toBe(false);
    expect(bundled.roots.at(-1)).toBe(ca.pem);
    expect(bundled.roots.length).toBeGreaterThan(100);
    expect((await trustedRoots('system', [ca.pem])).roots).toEqual(expect.arrayContaining([ca.pem]));
    // Without its time it would hang.
    expect(await readSystemStore(0.2, 'for (;;) {}')).toBeNull();
    expect(await readSystemStore(60, 'throw new Error()')).toBeNull();
  });
});

describe('what stands between', () => {
  test.each<[string, (response: ServerResponse) => unknown, string]>([
    ['a redirect', (response) => response.writeHead(302, { location: 'http://login.hotel.example/?mac=1' }).end(), 'it led to login.hotel.example'],
    ['a page', (response) => response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end('<html>Welcome'), 'a page (200)'],
    ['a page that refuses', (response) => response.writeHead(403, { 'content-type': 'text/html' }).end('<html>'), 'a page (403)'],
    ['a redirect into nothing', (response) => response.writeHead(307, { location: '::' }).end(), 'it led to elsewhere'],
  ])('a captive portal: %s; it is not followed', async (_name, answer, detail) => {
    const { port, asked } = await given((_request, response) => answer(response));
    expect(await problemOf(client(port).nonce())).toMatchObject({ code: 'CAPTIVE_PORTAL', detail });
    expect(asked).toHaveLength(1);
  });

  test('a captive portal that speaks no TLS', async () => {
    const port = await listen(
      createNetServer((socket) => socket.on('data', () => socket.end('HTTP/1.1 302 Found\r\nLocation: http://login.example/\r\n\r\n'))),
    );
    expect(await problemOf(client(port).nonce())).toMatchObject({ code: 'CAPTIVE_PORTAL', detail: 'it answered without TLS' });
  });

  /** A proxy on loopback that leads every CONNECT to `to`, or answers with `status`. */
  async function proxy(to: number, status = 200) {
    const asked: string[] = [];
    const server = createHttpServer();
    server.on('connect', (request, socket: Socket) => {
      asked.push(request.url ?? '');
      if (status !== 200) return void socket.end(`HTTP/1.1 ${status} No\r\nProxy-Authenticate: Basic\r\n\r\n`);
      const upstream = connect(to, '127.0.0.1', () => {
        socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
        upstream.pipe(socket).pipe(upstream);
      });
      upstream.on('error', () => socket.destroy());
      socket.on('error', () => upstream.destroy());
    });
    return { port: await listen(server), asked };
  }

  test('a proxy by URL: a tunnel, in which TLS goes to the backend itself', async () => {
    const { port, asked } = await given((_request, response) => json(response, 200, nonce));
    const through = await proxy(port);
    expect(await client(port, { settings: { proxy: `http://127.0.0.1:${through.port}` } }).nonce()).toBe('abc');
    expect(through.asked).toEqual([`127.0.0.1:${port}`]);
    expect(asked[0]?.subject).toBe('CN=enrolment-1');
  });

  test('a proxy that inspects is not believed either', async () => {
    const { port } = await given(() => {}, serverTls(newCa('Netskope CA')));
    const through = await proxy(port);
    expect(await problemOf(client(port, { settings: { proxy: `http://127.0.0.1:${through.port}` } }).nonce())).toMatchObject({
      code: 'TLS_INTERCEPTED',
      detail: 'issued by CN=Netskope CA',
    });
  });

  test('one that demands a sign-in, one that refuses, one that is gone, one that talks for ever', async () => {
    const through = async (port: number, connectSeconds = 60) =>
      problemOf(client(9, { connectSeconds, retries: { tries: 1 }, settings: { proxy: `http://127.0.0.1:${port}` } }).nonce());
    expect(await through((await proxy(9, 407)).port)).toMatchObject({ code: 'PROXY_REFUSED' });
    expect(await through((await proxy(9, 403)).port)).toMatchObject({ code: 'SERVER_UNREACHABLE', detail: expect.stringContaining('answered 403') });
    expect(await through(await listen(createNetServer((socket) => socket.destroy())))).toMatchObject({ code: 'SERVER_UNREACHABLE' });
    expect(await through(await listen(createNetServer(() => {})), 0.3)).toMatchObject({
      code: 'SERVER_UNREACHABLE',
      detail: expect.stringContaining('did not answer'),
    });
    expect(await through(await listen(createNetServer((socket) => void socket.write('x'.repeat(100_000)))))).toMatchObject({
      code: 'SERVER_UNREACHABLE',
      detail: expect.stringContaining('something else'),
    });
  });

  test('the environment’s proxy variables are not asked', async () => {
    const { port } = await given((_request, response) => json(response, 200, nonce));
    process.env['HTTPS_PROXY'] = 'http://127.0.0.1:9';
    try {
      expect(await client(port).nonce()).toBe('abc');
    } finally {
      delete process.env['HTTPS_PROXY'];
    }
  });

  const scutil = (lines: string) => `<dictionary> {\n${lines}}\n`;
  const fixed = '  HTTPSEnable : 1\n  HTTPSPort : 3128\n  HTTPSProxy : proxy.example.org\n';
  test('the fixed entries of the network settings, with their exceptions', () => {
    const exceptions = '  ExceptionsList : <array> {\n    0 : *.local\n    1 : 169.254/16\n    2 : *.example.net\n  }\n  ExcludeSimpleHostnames : 1\n';
    expect(readSystemProxy(scutil(exceptions + fixed), 'keys.example.org')).toEqual({ host: 'proxy.example.org', port: 3128 });
    expect(readSystemProxy(scutil(exceptions + fixed), 'keys.example.net')).toBeNull();
    expect(readSystemProxy(scutil(exceptions + fixed), 'keys')).toBeNull();
    expect(readSystemProxy(scutil('  HTTPSEnable : 0\n  HTTPSProxy : old.example.org\n'), 'keys.example.org')).toBeNull();
    expect(readSystemProxy(scutil(''), 'keys.example.org')).toBeNull();
  });

  test('a script (PAC) or automatic discovery is not run, and named', async () => {
    const runner = answering({
      '/usr/sbin/scutil --proxy': { out: scutil('  ProxyAutoConfigEnable : 1\n  ProxyAutoConfigURLString : http://wpad.example.org/proxy.pac\n') },
    });
    expect(await problemOf(client(9, { runner, settings: { proxy: 'system' } }).nonce())).toMatchObject({
      code: 'PROXY_UNSUPPORTED',
      detail: 'http://wpad.example.org/proxy.pac',
    });
    expect(() => readSystemProxy(scutil('  ProxyAutoDiscoveryEnable : 1\n'), 'x')).toThrow(Problem);
  });

  test('network settings that cannot be asked', async () => {
    expect(await problemOf(client(9, { settings: { proxy: 'system' } }).nonce())).toMatchObject({ code: 'MACOS_UNEXPECTED' });
  });

  test('`system` without a proxy goes straight to the backend', async () => {
    const { port } = await given((_request, response) => json(response, 200, nonce));
    const runner = answering({ '/usr/sbin/scutil --proxy': { out: scutil('  HTTPSEnable : 0\n') } });
    expect(await client(port, { runner, settings: { proxy: 'system' } }).nonce()).toBe('abc');
  });
});
