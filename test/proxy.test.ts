import { X509Certificate } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import { Agent } from 'node:https';
import { connect } from 'node:tls';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { protocolHeader } from '../protocol/messages.ts';
import { pem } from '../server/certificates.ts';
import { folderPaths } from '../server/data-folder.ts';
import { silentLog } from '../server/log.ts';
import { revoke } from '../server/mac-commands.ts';
import { readNetwork } from '../server/networks.ts';
import { createStrangerAlarm } from '../server/operator-alarms.ts';
import { createPeers } from '../server/proxy.ts';
import { checkDataFolder } from '../server/serve-check.ts';
import { checkSettings } from '../server/settings.ts';
import { proxySettings } from '../server/tls-settings.ts';
import { checkInBody, delivery, deviceCa, deviceIdentity, enrol, foreignCa, type GivenServer, givenServer, newMac } from './given-server.ts';
import { clientOf, type Identity } from './tls-client.ts';

const escaped = (text: string): string => encodeURIComponent(text);
/** As an AWS load balancer writes it: `+`, `=` and `/` stand for themselves. */
const albEscaped = (text: string): string => escaped(text).replaceAll('%2B', '+').replaceAll('%3D', '=').replaceAll('%2F', '/');
const sequenceOf = (der: Uint8Array): string => `:${Buffer.from(der).toString('base64')}:`;
const derOf = (text: string): Buffer => new X509Certificate(text).raw;

type Form = 'rfc9440' | 'nginx' | 'alb' | 'alb-leaf';
const headerOf: Record<Form, (cert: string) => Record<string, string>> = {
  rfc9440: (cert) => ({ 'Client-Cert': sequenceOf(derOf(cert)) }),
  nginx: (cert) => ({ 'X-SSL-Client-Cert': escaped(cert) }),
  alb: (cert) => ({ 'X-Amzn-Mtls-Clientcert': albEscaped(cert) }),
  'alb-leaf': (cert) => ({ 'X-Amzn-Mtls-Clientcert-Leaf': albEscaped(cert) }),
};

/** A backend whose proxy is on this machine; clients of 127.0.0.2 are none of it. */
const proxied = (clientCertificate: Form | null, more: object = {}): Promise<GivenServer> =>
  givenServer({
    settings: { proxy: { addresses: ['127.0.0.1', '192.0.2.0/24'], clientCertificate, ...more } },
    rates: { refused: { perMinute: 1000, burst: 1000 }, ...('plain' in more ? { nonce: { perMinute: 1, burst: 2 } } : {}) },
  });
const alarms = async (given: GivenServer) => (await given.serving.backend.custody.fleet()).alarms.filter(({ code }) => code === 'CLIENT_HEADER_REFUSED');
/** One act is written after another: whatever there was to write about requests that have ended is there. */
const written = (given: GivenServer) => given.serving.backend.store.write(async () => undefined);

let nginx: GivenServer;
let mac: { identity: Identity; body: ReturnType<typeof checkInBody>; enrolmentId: string };
beforeAll(async () => {
  nginx = await proxied('nginx');
  const one = newMac();
  const enrolled = await enrol(nginx, one, { profile: deviceIdentity({ CN: 'A Mac', serialNumber: one.serial }) });
  mac = { identity: enrolled.identity, body: checkInBody(one), enrolmentId: enrolled.enrolmentId };
});
const leafOf = (chain: string): string => /-----BEGIN[\s\S]+?-----END CERTIFICATE-----\n/.exec(chain)?.[0] ?? '';
const says = (headers: Record<string, string>, more: object = {}) => nginx.client.ask('/v1/check-in', { body: mac.body, headers, ...more });
const codeWith = async (headers: Record<string, string>): Promise<string> => (await says(headers)).body.code ?? 'none';

describe('from anywhere else', () => {
  test('a header that says who a Mac is is refused on every address, and is one alarm and an entry in the audit', async () => {
    const given = nginx;
    const stranger = new Agent({ localAddress: '127.0.0.2' });
    const one = newMac();
    const { identity } = await enrol(given, one, { profile: deviceIdentity({ CN: 'A Mac', serialNumber: one.serial }) });
    const headers = { 'x-ssl-client-cert': escaped(leafOf(identity.cert)) };
    for (const path of ['/v1/check-in', '/v1/nonce', '/v1/enroll', '/v1/rotations', '/v1/grants'])
      expect((await given.client.ask(path, { headers, body: {}, agent: stranger })).body.code).toBe('CLIENT_HEADER_REFUSED');
    // Its own certificate does not mend it; without the header it is a Mac as any other.
    expect((await given.client.ask('/v1/check-in', { headers, identity, body: checkInBody(one), agent: stranger })).body.code).toBe('CLIENT_HEADER_REFUSED');
    stranger.destroy();
    const direct = new Agent({ localAddress: '127.0.0.2' });
    expect((await given.client.ask('/v1/check-in', { identity, body: checkInBody(one), agent: direct })).status).toBe(200);
    direct.destroy();
    await written(given);
    expect(await alarms(given)).toMatchObject([{ detail: '127.0.0.2: x-ssl-client-cert from an address that is none of the proxies' }]);
    const entries = await given.serving.backend.store.db.selectFrom('audit').select('details').where('act', '=', 'alarm.raised').orderBy('seq').execute();
    expect(entries.filter(({ details }) => details.includes('127.0.0.2'))).toHaveLength(1);
    // Judged, it is said again the next day and not in the next minute.
    const [alarm] = await alarms(given);
    await given.serving.backend.custody.judgeAlarm({ alarmId: alarm?.id ?? '', actor: 'ada', judgement: 'a scanner' });
    const { store, clock } = given.serving.backend;
    for (const [hours, count] of [
      [1, 0],
      [25, 1],
    ] as const) {
      const later = { ...clock, persist: async () => clock.now() + hours * 3_600_000 };
      createStrangerAlarm({ store, clock: later, log: silentLog })('127.0.0.2', 'x-ssl-client-cert from an address that is none of the proxies');
      await written(given);
      expect(await alarms(given)).toHaveLength(count);
    }
  });

  test('it is refused too where no proxy is in the settings, and where the proxy is for people only', async () => {
    for (const proxy of [null, proxySettings.parse({ addresses: ['192.0.2.1'] })])
      expect(() => createPeers(proxy).presentedBy(fake('192.0.2.1', { 'client-cert': ['x'] }))).toThrow(
        expect.objectContaining({ code: 'CLIENT_HEADER_REFUSED' }),
      );
  });

  test('without TLS nobody but the proxy is let in, and the proxy’s Macs are', async () => {
    const given = await proxied('nginx', { plain: true });
    const one = newMac();
    const cert = escaped(deviceIdentity({ CN: 'A Mac', serialNumber: one.serial }).cert);
    const checkIn = (localAddress: string, headers: Record<string, string>) =>
      askPlainly(given, '/v1/check-in', { localAddress, headers, body: checkInBody(one) });
    expect(await checkIn('127.0.0.1', { 'x-ssl-client-cert': cert })).toBe(200);
    expect(await checkIn('127.0.0.1', {})).toBe(401);
    expect(await checkIn('127.0.0.2', { 'x-ssl-client-cert': cert })).toBe('ECONNRESET');
    await expect(clientOf(given.client.port, given.ca).ask('/v1/nonce', { body: {} })).rejects.toThrow();
    await written(given);
    expect(await alarms(given)).toMatchObject([{ detail: '127.0.0.2: it connects, and is none of the proxies' }]);
    // One Mac that asks without end is slowed down, and the others behind the proxy are not.
    const nonce = (address: string) => askPlainly(given, '/v1/nonce', { headers: { 'x-forwarded-for': address }, body: {} });
    expect([await nonce('198.51.100.1'), await nonce('198.51.100.1'), await nonce('198.51.100.1'), await nonce('198.51.100.2')]).toEqual([200, 200, 429, 200]);
  });
});

describe('a proxy that ends TLS', () => {
  test.each<Form>(['rfc9440', 'nginx'])(
    'says by %s which certificate a Mac showed: it enrols, checks in, delivers, and is that Mac and no other',
    async (form) => {
      const given = form === 'nginx' ? nginx : await proxied(form);
      const one = newMac();
      const tls = deviceIdentity({ CN: 'A Mac', serialNumber: one.serial });
      // The proof `tls` of an enrolment: the word of the proxy, judged as a connection would be.
      const client = {
        ...given.client,
        ask: (path: string, asking: object = {}) =>
          given.client.ask(path, { ...asking, identity: undefined, headers: path === '/v1/enroll' ? headerOf[form](tls.cert) : {} }),
      };
      const { answer, identity, enrolmentId } = await enrol({ client, url: given.url }, one, { tls });
      expect([answer.status, answer.body.serialProved]).toEqual([200, true]);
      const headers = headerOf[form](leafOf(identity.cert));
      const checkedIn = await given.client.ask('/v1/check-in', { headers, body: checkInBody(one) });
      expect([checkedIn.status, checkedIn.body.enrolmentId]).toEqual([200, enrolmentId]);
      const sent = delivery(given, one);
      expect((await given.client.ask(`/v1/keys/${sent.id}`, { method: 'PUT', headers, body: sent.request })).body.state).toBe('held');
    },
  );

  test('that is an AWS load balancer says it in its own way, with the chain or without', () => {
    const cert = leafOf(mac.identity.cert);
    const ca = pem('CERTIFICATE', deviceCa.certificateDer);
    const read = (form: Form, headers: Record<string, string>) =>
      createPeers(proxySettings.parse({ addresses: ['192.0.2.1'], clientCertificate: form })).presentedBy(
        fake('192.0.2.1', Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), [value]]))),
      );
    for (const form of ['alb', 'alb-leaf'] as const) expect(read(form, headerOf[form](cert))?.leaf.raw.equals(derOf(cert))).toBe(true);
    expect(read('alb', headerOf.alb(cert + ca))?.others).toEqual([deviceCa.certificateDer]);
    expect(() => read('alb-leaf', headerOf['alb-leaf'](cert + ca))).toThrow(expect.objectContaining({ code: 'CLIENT_HEADER_REFUSED' }));
    // The other of the two was not meant.
    expect(() => read('alb', headerOf['alb-leaf'](cert))).toThrow(expect.objectContaining({ code: 'CLIENT_HEADER_REFUSED' }));
  });

  test('is not believed about a certificate: of a foreign CA, ended, not begun, not for clients, revoked, unknown', async () => {
    const at = (days: number) => new Date(Date.now() + days * 86_400_000);
    const subject = { CN: 'A Mac', serialNumber: newMac().serial };
    const revoked = newMac();
    const { identity, enrolmentId } = await enrol(nginx, revoked, { profile: deviceIdentity({ CN: 'A Mac', serialNumber: revoked.serial }) });
    await revoke(nginx.serving.backend, { target: enrolmentId, reason: 'stolen', actor: 'ada', keepCertificate: false });
    const server = new X509Certificate(nginx.ca);
    for (const [cert, code] of [
      [deviceIdentity(subject, { ca: foreignCa }).cert, 'CERTIFICATE_UNKNOWN'],
      [deviceIdentity(subject, { at: at(-400), days: 30 }).cert, 'CERTIFICATE_EXPIRED'],
      [deviceIdentity(subject, { at: at(2) }).cert, 'CERTIFICATE_UNKNOWN'],
      [server.toString(), 'CERTIFICATE_UNKNOWN'],
      [leafOf(identity.cert), 'ENROLMENT_REVOKED'],
    ] as const)
      expect(await codeWith({ 'x-ssl-client-cert': escaped(cert) })).toBe(code);
    // And no header is no certificate, whatever the connection of the proxy itself shows.
    expect(await codeWith({})).toBe('CERTIFICATE_MISSING');
    expect((await says({}, { identity: mac.identity })).body.code).toBe('CERTIFICATE_MISSING');
  });

  test('what is not exactly one header with one certificate is refused', async () => {
    const good = escaped(leafOf(mac.identity.cert));
    const der = derOf(mac.identity.cert);
    expect(await codeWith({ 'x-ssl-client-cert': good })).toBe('none');
    const refused = async (headers: Record<string, string>): Promise<void> =>
      expect([headers, await codeWith(headers)]).toEqual([headers, 'CLIENT_HEADER_REFUSED']);
    await refused({ 'x-ssl-client-cert': good + good });
    await refused({ 'x-ssl-client-cert': escaped(mac.identity.cert + mac.identity.cert) });
    await refused({ 'x-ssl-client-cert': `${good},${good}` });
    await refused({ 'x-ssl-client-cert': good.slice(0, -40) });
    await refused({ 'x-ssl-client-cert': `${good}%` });
    await refused({ 'x-ssl-client-cert': der.toString('base64') });
    await refused({ 'x-ssl-client-cert': sequenceOf(der) });
    await refused({ 'x-ssl-client-cert': leafOf(mac.identity.cert).replaceAll('\n', ' ') });
    await refused({ 'x-ssl-client-cert': escaped(pem('CERTIFICATE', Buffer.concat([der, Buffer.from([0])]))) });
    await refused({ 'x-ssl-client-cert': escaped(pem('CERTIFICATE', Buffer.alloc(200))) });
    await refused({ 'x-ssl-client-cert': 'A'.repeat(25 * 1024) });
    // Another header beside it: the proxy lets through what a client wrote.
    await refused({ 'x-ssl-client-cert': good, 'client-cert': sequenceOf(der) });
    await refused({ 'x-amzn-mtls-clientcert': good });
    await refused({ 'x-forwarded-client-cert': 'Hash=00' });
    // Twice, and folded over two lines, as the bytes come.
    for (const lines of [
      `x-ssl-client-cert: ${good}\r\nX-SSL-Client-Cert: ${good}\r\n`,
      `x-ssl-client-cert: ${good.slice(0, 100)}\r\n\t${good.slice(100)}\r\n`,
    ])
      expect(await rawCode(nginx, lines)).toMatch(/CLIENT_HEADER_REFUSED|MESSAGE_INVALID/);
  });

  test('by RFC 9440: what is no byte sequence, a chain without a certificate, and two of them are refused', () => {
    const peers = createPeers(proxySettings.parse({ addresses: ['192.0.2.1'], clientCertificate: 'rfc9440' }));
    const der = derOf(mac.identity.cert);
    const read = (headers: Record<string, string[]>) => peers.presentedBy(fake('::ffff:192.0.2.1', headers));
    expect(read({ 'client-cert': [sequenceOf(der)] })?.leaf.raw.equals(der)).toBe(true);
    expect(read({ 'client-cert': [sequenceOf(der)], 'client-cert-chain': [`${sequenceOf(deviceCa.certificateDer)},${sequenceOf(der)}`] })?.others).toHaveLength(
      2,
    );
    expect(read({ 'client-cert': [''] })).toBeNull();
    const many = Array.from({ length: 9 }, () => sequenceOf(der)).join(', ');
    for (const headers of [
      { 'client-cert': [der.toString('base64')] },
      { 'client-cert': [`${sequenceOf(der)};a=1`] },
      { 'client-cert': [`${sequenceOf(der)}, ${sequenceOf(der)}`] },
      { 'client-cert': [sequenceOf(der), sequenceOf(der)] },
      { 'client-cert': [`:${Buffer.from(pem('CERTIFICATE', der)).toString('base64')}:`] },
      { 'client-cert': [`:${der.toString('base64url')}:`] },
      { 'client-cert': [sequenceOf(der)], 'client-cert-chain': [many] },
      { 'client-cert': [sequenceOf(der)], 'client-cert-chain': ['', ''] },
      { 'client-cert-chain': [sequenceOf(der)] },
    ])
      expect(() => read(headers as unknown as Record<string, string[]>)).toThrow(expect.objectContaining({ code: 'CLIENT_HEADER_REFUSED' }));
  });
});

describe('whose request it is, for limits', () => {
  const peers = createPeers(proxySettings.parse({ addresses: ['10.0.0.0/8', '2001:db8::/32', '192.0.2.7'] }));
  test.each<[string, string, string[] | null, string]>([
    ['nobody in between', '203.0.113.9', null, '203.0.113.9'],
    ['a header from anybody', '203.0.113.9', ['198.51.100.1'], '203.0.113.9'],
    ['one proxy', '10.1.2.3', ['198.51.100.1'], '198.51.100.1'],
    ['an address of IPv4 that came as IPv6', '::ffff:10.1.2.3', ['198.51.100.1'], '198.51.100.1'],
    ['the same in hex', '::ffff:c000:207', ['::ffff:198.51.100.1'], '198.51.100.1'],
    ['what the client wrote itself comes first and does not count', '10.1.2.3', ['127.0.0.1, 198.51.100.1'], '198.51.100.1'],
    ['two proxies of ours', '10.1.2.3', ['198.51.100.1, 2001:db8::5'], '198.51.100.1'],
    ['two lines', '10.1.2.3', ['198.51.100.1', '10.9.9.9'], '198.51.100.1'],
    ['a port behind it', '10.1.2.3', ['198.51.100.1:4711'], '198.51.100.1'],
    ['IPv6 in brackets', '10.1.2.3', ['[2001:d00::1]:4711'], '2001:d00::1'],
    ['what is no address', '10.1.2.3', ['198.51.100.1, <script>'], '10.1.2.3'],
    ['behind what is no address', '10.1.2.3', ['unknown, 10.4.4.4'], '10.4.4.4'],
    ['nobody but proxies', '10.1.2.3', ['10.4.4.4'], '10.4.4.4'],
    ['no header', '10.1.2.3', null, '10.1.2.3'],
  ])('%s', (_, from, list, expected) => {
    expect(peers.addressOf(fake(from, list === null ? {} : { 'x-forwarded-for': list }))).toBe(expected);
  });

  test('without TLS each listener has one address', () => {
    const file = folderPaths(nginx.dir).settings;
    const before = readFileSync(file, 'utf8');
    const wrong = (proxy: object, host: string | null): string => {
      const settings = JSON.parse(before);
      writeFileSync(file, JSON.stringify({ ...settings, listen: { ...settings.listen, host }, proxy: { plain: true, ...proxy } }));
      try {
        checkDataFolder(nginx.dir, true);
        return '';
      } catch (error) {
        return (error as Error).message;
      } finally {
        writeFileSync(file, before);
      }
    };
    expect(wrong({ addresses: ['127.0.0.1'] }, '127.0.0.1')).toBe('');
    expect(wrong({ addresses: ['127.0.0.1'] }, null)).toContain('listen.host: must be one address');
  });

  test('proxies that are everybody are refused: in one network or in two halves', () => {
    const file = folderPaths(nginx.dir).settings;
    const before = readFileSync(file, 'utf8');
    const refused = (addresses: string[], proxy: object): boolean => {
      const settings = JSON.parse(before);
      writeFileSync(file, JSON.stringify({ ...settings, listen: { ...settings.listen, host: '127.0.0.1' }, proxy: { addresses, ...proxy } }));
      try {
        checkDataFolder(nginx.dir, true);
        return false;
      } catch (error) {
        return (error as Error).message.includes('is everybody');
      } finally {
        writeFileSync(file, before);
      }
    };
    const everybody = [
      ['0.0.0.0/0'],
      ['::/0'],
      ['10.0.0.1', '0.0.0.0/1', '128.0.0.0/1'],
      ['10.0.0.0/7'],
      ['2000::/3'],
      ['::/1'],
      ['::/16'],
      ['::/80'],
      ['8000::/1'],
    ];
    for (const addresses of everybody)
      expect([addresses, refused(addresses, { plain: true }), refused(addresses, { clientCertificate: 'nginx' })]).toEqual([addresses, true, true]);
    for (const addresses of [['10.0.0.0/8'], ['fd00::/16', '::1'], ['::/96'], ['fc00::/18']])
      expect([addresses, refused(addresses, { clientCertificate: 'alb' })]).toEqual([addresses, false]);
    // A proxy before the site for people alone says for whom limits count.
    expect(refused(['0.0.0.0/0'], {})).toBe(true);
  });

  test('networks are read in one way', () => {
    for (const good of ['10.0.0.0/8', '192.0.2.7', '2001:db8::/32', '::1', '::ffff:192.0.2.7']) expect([good, readNetwork(good)]).not.toEqual([good, null]);
    for (const bad of ['10.0.0.0/33', '10.0.0/8', 'proxy.example.org', '10.0.0.0/8/8', '10.0.0.0/08', '::ffff:10.0.0.0/104', 'fe80::1%eth0', '', '/8'])
      expect([bad, readNetwork(bad)]).toEqual([bad, null]);
    const settings = { serverUrl: 'https://keys.example.org', listen: { port: 443 } };
    // Nobody is confirmed by what a proxy says.
    const confirms = (proxy: object | null) => checkSettings({ ...settings, proxy }).keys.confirmProvedSerials;
    expect([confirms(null), confirms({ addresses: ['::1'] }), confirms({ addresses: ['::1'], clientCertificate: 'alb' })]).toEqual([true, true, false]);
    expect(() => checkSettings({ ...settings, proxy: { addresses: [] } })).toThrow(/proxy\.addresses/);
    expect(() => checkSettings({ ...settings, proxy: { addresses: ['anywhere'] } })).toThrow(/proxy\.addresses\.0: is no address or network/);
  });
});

/** A request as Node reads it, from this peer. */
function fake(remoteAddress: string, headersDistinct: Record<string, string[]>): IncomingMessage {
  return { socket: { remoteAddress }, headersDistinct } as unknown as IncomingMessage;
}

/** The status, or why there was none. */
function askPlainly(
  { client }: GivenServer,
  path: string,
  asking: { localAddress?: string; headers: Record<string, string>; body: object },
): Promise<number | string> {
  const { localAddress = '127.0.0.1', headers, body } = asking;
  return new Promise((resolve) => {
    const sent = request({
      host: '127.0.0.1',
      port: client.port,
      path,
      method: 'POST',
      localAddress,
      headers: { [protocolHeader]: '1', 'content-type': 'application/json', ...headers },
    });
    sent.on('response', (answer) => {
      answer.resume();
      resolve(answer.statusCode ?? 0);
    });
    sent.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'unknown'));
    sent.end(JSON.stringify(body));
  });
}

/** The code that bytes are answered with that no HTTP client would send. */
function rawCode(given: GivenServer, lines: string): Promise<string> {
  const body = JSON.stringify(mac.body);
  const head = `POST /v1/check-in HTTP/1.1\r\nhost: a\r\n${protocolHeader}: 1\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close`;
  return new Promise((resolve, reject) => {
    let text = '';
    const socket = connect({ host: '127.0.0.1', port: given.client.port, ca: given.ca }, () => socket.write(`${head}\r\n${lines}\r\n${body}`));
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('utf8');
    });
    socket.on('error', reject);
    socket.on('close', () => resolve(/"code":"([A-Z_]+)"/.exec(text)?.[1] ?? text.slice(0, 100)));
  });
}
