import { connect, type TLSSocket } from 'node:tls';
import { beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { checkInBody, delivery, deviceIdentity, enrol, type GivenServer, givenServer, newMac, type TestMac } from './given-server.ts';
import { bent, bentJson, bentText, berBombs, isPolluted, patience, runs } from './hostile.ts';
import type { Identity } from './tls-client.ts';

/*
 * The real listener of the Macs, over real TLS, asked by somebody who knows HTTP well and means harm: always an answer of
 * ours, never a bug, and the next request finds the backend as it was.
 */

const plenty = { perMinute: 60_000, burst: 10_000 };
let given: GivenServer;
let mac: TestMac;
let identity: Identity;
beforeAll(async () => {
  given = await givenServer({
    rates: { nonce: plenty, enroll: plenty, refused: plenty, 'check-in': plenty, rotations: plenty, grants: plenty, keys: plenty },
  });
  mac = newMac();
  ({ identity } = await enrol(given, mac, { profile: deviceIdentity({ CN: 'A Mac', serialNumber: mac.serial }) }));
  expect((await given.client.ask('/v1/check-in', { identity, body: checkInBody(mac) })).status).toBe(200);
});
const stillThere = async (): Promise<void> => {
  expect((await given.client.ask('/v1/nonce', { body: {} })).status).toBe(200);
  expect(isPolluted()).toBe(false);
};
/** An answer of ours that puts the blame where it is. */
const isCalm = (answer: { status: number; text: string }, sent: unknown): void => {
  if (answer.status >= 500) throw new Error(`${answer.status} ${answer.text} to ${String(JSON.stringify(sent)).slice(0, 300)}`);
};

describe('bytes that are almost HTTP', () => {
  const open = (): Promise<TLSSocket> =>
    new Promise((resolve, reject) => {
      const socket: TLSSocket = connect({ host: '127.0.0.1', port: given.client.port, ca: given.ca }, () => resolve(socket));
      socket.on('error', reject);
    });
  /** Everything that comes back to these bytes until the other side closes, or a while has passed. */
  const say = async (...chunks: (string | Buffer)[]): Promise<string> => {
    const socket = await open();
    return new Promise((resolve) => {
      let text = '';
      const timer = setTimeout(() => socket.destroy(), 60_000);
      socket.on('data', (chunk: Buffer) => {
        text += chunk.toString('latin1');
      });
      socket.on('error', () => undefined);
      socket.on('close', () => {
        clearTimeout(timer);
        resolve(text);
      });
      for (const chunk of chunks) socket.write(chunk);
      socket.end();
    });
  };
  const head = (...more: string[]): string =>
    ['POST /v1/nonce HTTP/1.1', 'host: x', 'sparekey-protocol: 1', 'content-type: application/json', ...more, '', ''].join('\r\n');
  const smuggled = 'GET /smuggled HTTP/1.1\r\nhost: x\r\nsparekey-protocol: 1\r\n\r\n';

  test.each([
    ['two lengths', [head('content-length: 2', 'content-length: 40'), `{}${smuggled}`]],
    ['two equal lengths in one', [head('content-length: 2, 2'), '{}']],
    ['a length and chunks', [head('content-length: 2', 'transfer-encoding: chunked'), `0\r\n\r\n${smuggled}`]],
    ['chunks, said twice', [head('transfer-encoding: chunked', 'transfer-encoding: identity'), `0\r\n\r\n${smuggled}`]],
    ['chunks that are not the last coding', [head('transfer-encoding: chunked, gzip'), '0\r\n\r\n']],
    ['a length below nothing', [head('content-length: -1'), '{}']],
    ['a length beyond all numbers', [head(`content-length: ${'9'.repeat(40)}`), '{}']],
    ['a length in hex', [head('content-length: 0x2'), '{}']],
    ['a chunk of absurd size', [head('transfer-encoding: chunked'), 'ffffffffffffffffff\r\n{}\r\n0\r\n\r\n']],
    ['a chunk size that is none', [head('transfer-encoding: chunked'), 'zz\r\n{}\r\n0\r\n\r\n']],
    ['an endless chunk extension', [head('transfer-encoding: chunked'), `2;${'a'.repeat(70_000)}\r\n{}\r\n0\r\n\r\n`]],
    ['a flood of headers', [`POST /v1/nonce HTTP/1.1\r\n${'a: b\r\n'.repeat(5000)}\r\n`]],
    ['one endless header', [`POST /v1/nonce HTTP/1.1\r\nx: ${'a'.repeat(100_000)}`]],
    ['an endless address', [`POST /${'a'.repeat(100_000)} HTTP/1.1\r\nhost: x\r\n\r\n`]],
    ['a header with NUL', [head('x: a\0b', 'content-length: 2'), '{}']],
    ['a header over two lines', [head('x: a\r\n b', 'content-length: 2'), '{}']],
    ['a bare line feed', ['POST /v1/nonce HTTP/1.1\nhost: x\n\n']],
    ['HTTP/2 without asking', ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n']],
    ['HTTP/9', ['POST /v1/nonce HTTP/9.9\r\nhost: x\r\n\r\n']],
    ['no TLS within TLS', [Buffer.from('16030100050100000100', 'hex')]],
  ] as [string, (string | Buffer)[]][])('%s: refused in words or cut off, and nothing is smuggled behind it', async (_name, chunks) => {
    const answer = await say(...chunks);
    for (const status of [...answer.matchAll(/^HTTP\/1\.1 (\d{3})/gm)].map(([, code]) => Number(code)))
      expect([answer.slice(0, 200), status < 500]).toEqual([answer.slice(0, 200), true]);
    // What stood in the body was no request of its own.
    expect(answer).not.toContain('NOT_FOUND');
    expect((answer.match(/^HTTP\/1\.1 /gm) ?? []).length).toBeLessThanOrEqual(1);
    await stillThere();
  });

  test('trailers, upgrades and expectations change nothing', async () => {
    expect(await say(head('transfer-encoding: chunked'), '2\r\n{}\r\n0\r\nsparekey-protocol: 9\r\nx: y\r\n\r\n')).toMatch(/^HTTP\/1\.1 200/);
    expect(await say(head('content-length: 2', 'expect: 100-continue'), '{}')).toMatch(/HTTP\/1\.1 200/);
    expect(await say(head('content-length: 2', 'connection: upgrade', 'upgrade: websocket'), '{}')).not.toMatch(/^HTTP\/1\.1 101/);
    // Who says by a header that it is a Mac is told so.
    expect(await say(head('content-length: 2', 'x-client-cert: MIIB'), '{}')).toMatch(/^HTTP\/1\.1 403[\s\S]*CLIENT_HEADER_REFUSED/);
    for (const more of ['x-forwarded-for: 10.0.0.1', 'forwarded: for=10.0.0.1', 'x-http-method-override: DELETE'])
      expect(await say(head('content-length: 2', more), '{}')).toMatch(/^HTTP\/1\.1 200/);
  });

  test(
    'bent requests: an answer of ours, or the connection ends',
    async () => {
      const whole = Buffer.from(`${head('content-length: 2')}{}`);
      await fc.assert(
        fc.asyncProperty(bent(whole), async (bytes) => {
          expect(await say(bytes)).not.toMatch(/^HTTP\/1\.1 5/m);
        }),
        runs(60),
      );
      await stillThere();
    },
    patience,
  );
});

describe('bodies', () => {
  test('nesting without end, in JSON of the largest size, is refused', async () => {
    for (const body of [
      '['.repeat(60_000),
      `${'['.repeat(30_000)}${']'.repeat(30_000)}`,
      `${'{"a":'.repeat(10_000)}1${'}'.repeat(10_000)}`,
      `{"a":${'9'.repeat(60_000)}}`,
      '{"facts":{"facts":'.repeat(3000),
    ])
      for (const path of ['/v1/check-in', '/v1/enroll', '/v1/rotations', '/v1/grants']) {
        const answer = await given.client.ask(path, { identity, body });
        expect([path, answer.status]).toEqual([path, 400]);
        expect(answer.text.length).toBeLessThan(2000);
      }
    await stillThere();
  });

  test(
    'bent messages to every route: a problem, or the right answer; never a bug',
    async () => {
      const { id, request } = delivery(given, mac);
      const boot = { hardwareUuid: mac.hardwareUuid, volume: mac.volume, boot: mac.boot };
      const grant = {
        purpose: 'prove',
        recordId: 'r',
        forId: 'o',
        boot: mac.boot,
        publicKey: { x: 'A', y: 'B' },
        grantNonce: 'n',
        enrolmentId: 'e',
        signature: 'AAAA',
      };
      const begin = { id: 'rotation', because: 'ordered', debtIds: [], ...boot, recipient: '0'.repeat(64), escrowPayload: 'ours', grant: null };
      const enrolment = { csr: 'AAAA', statement: 'sparekey enrolment 1\n', proof: { kind: 'profile', signedData: 'AAAA' } };
      const routes = fc.oneof(
        bentJson(checkInBody(mac)).map((body) => ['POST', '/v1/check-in', body] as const),
        bentJson(request).map((body) => ['PUT', `/v1/keys/${id}`, body] as const),
        bentJson(grant).map((body) => ['POST', '/v1/grants', body] as const),
        bentJson(begin).map((body) => ['POST', '/v1/rotations', body] as const),
        bentJson(enrolment).map((body) => ['POST', '/v1/enroll', body] as const),
        bentText(JSON.stringify(checkInBody(mac))).map((body) => ['POST', '/v1/check-in', body] as const),
      );
      await fc.assert(
        fc.asyncProperty(routes, async ([method, path, body]) => {
          isCalm(await given.client.ask(path, { method, identity, body: body === undefined ? '' : body === null ? 'null' : body }), body);
        }),
        runs(80),
      );
      await stillThere();
    },
    patience,
  );

  test(
    'bent envelopes are stored, refused or set aside; the key that was held stays the one',
    async () => {
      const good = delivery(given, mac);
      const first = await given.client.ask(`/v1/keys/${good.id}`, { method: 'PUT', identity, body: good.request });
      expect(first.status).toBe(201);
      // What was bent before may have been good enough to be held.
      const held = first.body.held.envelopeIds[0];
      expect(held).toMatch(/^[0-9a-f]{64}$/);
      const { createHash } = await import('node:crypto');
      const deliver = async (bytes: Buffer) => {
        const id = createHash('sha256').update(bytes).digest('hex');
        const answer = await given.client.ask(`/v1/keys/${id}`, { method: 'PUT', identity, body: { ...good.request, envelope: bytes.toString('base64') } });
        isCalm(answer, bytes.toString('hex'));
        if (answer.status < 300 && !bytes.equals(good.envelope)) expect(answer.body.held.envelopeIds).toContain(held);
      };
      await fc.assert(fc.asyncProperty(bent(good.envelope), deliver), runs(10));
      for (const bomb of berBombs(8 * 1024).filter((_, at) => at % 25 === 0)) await deliver(bomb);
      await stillThere();
    },
    patience,
  );

  test(
    'bent enrolments: refused by name',
    async () => {
      const other = newMac();
      const profile = deviceIdentity({ CN: 'B Mac', serialNumber: other.serial });
      const { request } = await enrol(given, other, { profile });
      const fields = request as { csr: string; statement: string; proof: { signedData: string } };
      await fc.assert(
        fc.asyncProperty(
          bent(Buffer.from(fields.csr, 'base64')),
          bent(Buffer.from(fields.proof.signedData, 'base64')),
          bentText(fields.statement),
          fc.nat(2),
          async (csr, signedData, statement, which) => {
            const body = {
              csr: which === 0 ? csr.toString('base64') : fields.csr,
              statement: which === 1 ? statement : fields.statement,
              proof: { kind: 'profile', signedData: which === 2 ? signedData.toString('base64') : fields.proof.signedData },
            };
            const answer = await given.client.ask('/v1/enroll', { body });
            isCalm(answer, body);
            // The nonce was spent by the one that was good.
            expect(answer.status).toBeGreaterThanOrEqual(400);
          },
        ),
        runs(60),
      );
      await stillThere();
    },
    patience,
  );
});
