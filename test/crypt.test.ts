import { X509Certificate } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { Agent } from 'node:https';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import type { RecoveryKey } from '../protocol/recovery-key.ts';
import { readAuthority, readTlsIdentity } from '../server/authorities.ts';
import { type Backend, openBackend } from '../server/backend.ts';
import { revocationDigest } from '../server/certificate-names.ts';
import { pem } from '../server/certificates.ts';
import { coexistenceSettings } from '../server/coexistence-settings.ts';
import { folderPaths } from '../server/data-folder.ts';
import { createDeviceIdentity } from '../server/device-identity.ts';
import type { Log } from '../server/log.ts';
import { mountNeighbours } from '../server/neighbours.ts';
import { createPeers } from '../server/proxy.ts';
import { settingsCheck } from '../server/settings-command.ts';
import { status } from '../server/status-command.ts';
import { deviceCa, deviceIdentity, foreignCa } from './device-calls.ts';
import { makeDataFolder, passphrase } from './made-backend.ts';
import { freePort } from './ports.ts';
import { scratch } from './scratch.ts';
import { newKey } from './server-parts.ts';
import { type Answer, type Asking, type Client, clientOf } from './tls-client.ts';

/*
 * Crypt's clients as they are: what Crypt 5 and 6 put into curl, against the listener for other systems, once for each
 * way in which a client can show who it is. All of them write into one backend.
 */

const secret = 'a header that all clients have, 4711';
const headers = { 'x-crypt-token': secret };
const day = 24 * 3600 * 1000;
const time = { now: Date.now() };
const logged: string[] = [];
const hear = (event: string, details: object = {}): void => void logged.push(JSON.stringify({ event, ...details }));
const log: Log = { info: hear, warn: hear, error: hear };

let backend: Backend;
let ca: string;
const ways = {} as Record<'certificate' | 'header' | 'none', Client>;
const refusedHeaders: string[] = [];
/** However long it takes to ask so often, no time passes in which more were allowed. */
const standStill = () => jest.spyOn(performance, 'now').mockReturnValue(performance.now());
const stops: (() => Promise<void>)[] = [];

beforeAll(async () => {
  const folder = scratch('crypt');
  const dir = join(folder, 'data');
  const files = { ca: join(folder, 'ca.pem'), header: join(folder, 'header') };
  writeFileSync(files.ca, pem('CERTIFICATE', deviceCa.certificateDer));
  writeFileSync(files.header, `${secret}\n`, { mode: 0o600 });
  await makeDataFolder(dir, 8443, { deviceCaFiles: [files.ca] });
  const paths = folderPaths(dir);
  ca = readFileSync(paths.tlsCa.certificate, 'utf8');
  backend = await openBackend({ dir, passphrase, log, wallNow: () => time.now });
  const { store, clock, settings } = backend;
  const deviceCas = [deviceCa.certificateDer];
  const agentCa = readAuthority(paths.agentCa).der;
  const { serialPattern } = settings;
  const identity = createDeviceIdentity({ store, clock, agentCa, deviceCas, serialPattern, confirmProvedSerials: true, log });
  for (const way of ['certificate', 'header', 'none'] as const) {
    const crypt = { identity: way, header: { name: 'X-Crypt-Token', valueFile: files.header }, acceptAnybody: way === 'none' };
    const wanted = coexistenceSettings.parse({ listen: { host: '127.0.0.1', port: await freePort() }, crypt });
    const tls = { ...readTlsIdentity(paths.tls), oldest: '1.2' as const };
    const neighbours = mountNeighbours({
      backend,
      settings: wanted,
      tls,
      deviceCas,
      identity,
      limits: {},
      peers: createPeers(null),
      onHeaderRefused: (_, why) => refusedHeaders.push(why),
      fd: null,
      log,
      every: () => undefined,
    });
    ways[way] = clientOf(await neighbours.listen(), ca);
    stops.push(async () => neighbours.http?.stop(0));
  }
});
afterAll(async () => {
  await Promise.all(stops.map((stop) => stop()));
  await backend.close();
});

let count = 0;
const newSerial = (): string => {
  count += 1;
  return `C02CRYPT${String(count).padStart(4, '0')}`;
};
const posted: string[] = [];
const text = (key: RecoveryKey): string => {
  posted.push(key.reveal());
  return key.reveal();
};
/** In the order of Go's `url.Values`, and with the line end that scutil leaves at the end of the Mac's name. */
const formOf = (serial: string, key: string, more: Record<string, string> = {}): string =>
  String(new URLSearchParams({ macname: "Ada's MacBook Pro\n", recovery_password: key, serial, username: 'ada', ...more }));
const form = 'application/x-www-form-urlencoded';
const ask = (client: Client, path: string, body: string | Buffer, more: Asking = {}): Promise<Answer> =>
  client.ask(path, { version: null, body, ...more, headers: { 'content-type': form, 'user-agent': 'curl/8.7.1', accept: '*/*', ...more.headers } });
const post = (serial: string, key: string, more: Asking = {}): Promise<Answer> =>
  ask(ways.header, '/checkin/', formOf(serial, key), { ...more, headers: { ...headers, ...more.headers } });
/** The first that comes back for these bytes. */
async function raw(request: string): Promise<string> {
  const socket = connect({ host: '127.0.0.1', port: ways.header.port, ca, ALPNProtocols: ['http/1.1'] }, () => socket.write(request));
  const said = await new Promise<string>((resolve, reject) => {
    socket.on('data', (data) => resolve(data.toString('utf8')));
    socket.on('error', reject);
  });
  socket.destroy();
  return said;
}
const look = (client: Client, path: string, more: Asking = {}): Promise<Answer> => client.ask(path, { version: null, method: 'GET', ...more });
const kept = (serial: string) => backend.store.db.selectFrom('brought_key').selectAll().where('serial', '=', serial).orderBy('brought_at').execute();
const audited = async (serial: string): Promise<number> =>
  (await backend.store.db.selectFrom('audit').select('seq').where('details', 'like', `%${serial}%`).execute()).length;

describe('what Crypt 5 and 6 send', () => {
  test('byte for byte, with the line end in the name of the Mac: 200, the three fields, and rotation_required a boolean', async () => {
    const [serial, key] = [newSerial(), text(newKey())];
    const body = `macname=Ada%E2%80%99s+MacBook+Pro%0A&recovery_password=${key}&serial=${serial}&username=ada`;
    const request = [
      'POST /checkin/ HTTP/1.1',
      `Host: 127.0.0.1:${ways.header.port}`,
      'User-Agent: curl/8.7.1',
      'Accept: */*',
      `X-Crypt-Token: ${secret}`,
      `Content-Length: ${body.length}`,
      `Content-Type: ${form}`,
      '',
      body,
    ].join('\r\n');
    const said = await raw(request);
    expect(said).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(said).toMatch(/\r\ncontent-type: application\/json/i);
    expect(said.split('\r\n\r\n')[1]).toBe(`{"serial":"${serial}","username":"ada","rotation_required":false}`);
    expect(await kept(serial)).toMatchObject([{ source: 'crypt', trust: 'header', state: 'waiting', brought_by: 'crypt', made_at: null }]);
  });

  test('an empty user, no name at all, a name with signs of every kind', async () => {
    for (const more of [{ username: '' }, { macname: '' }, { macname: 'a&serial=X&b=%00\u{1F34E}\u0000' }, { secret_type: 'recovery_key' }]) {
      const serial = newSerial();
      const answer = await ask(ways.header, '/checkin/', formOf(serial, text(newKey()), more), { headers });
      expect([answer.status, answer.body]).toEqual([200, { serial, username: more.username ?? 'ada', rotation_required: false }]);
      expect(await kept(serial)).toHaveLength(1);
    }
    const serial = newSerial();
    expect((await ask(ways.header, '/checkin/', `serial=${serial}&recovery_password=${text(newKey())}`, { headers })).body).toMatchObject({ username: '' });
  });

  test('the same key every hour: 200 each time, one row, and nothing more in the audit', async () => {
    const [serial, key] = [newSerial(), text(newKey())];
    await post(serial, key);
    const [row, entries] = [await kept(serial), await audited(serial)];
    for (let hour = 0; hour < 4; hour += 1) {
      time.now += 3_600_000;
      expect((await post(serial, key)).status).toBe(200);
    }
    expect(await kept(serial)).toEqual(row);
    expect(await audited(serial)).toBe(entries);
  });

  test('without the slash at the end it is the same, and no redirection that would come back as a GET', async () => {
    const serial = newSerial();
    expect((await ask(ways.header, '/checkin', formOf(serial, text(newKey())), { headers })).status).toBe(200);
    expect((await look(ways.header, `/verify/${serial}/recovery_key`, { headers })).body.escrowed).toBe(true);
  });

  test('a form in parts, quoted boundary or not', async () => {
    for (const [boundary, named] of [
      ['------------------------8f5c2ad0b1', '------------------------8f5c2ad0b1'],
      ['a b', '"a b"'],
    ]) {
      const serial = newSerial();
      const part = (name: string, value: string) => `--${boundary}\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`;
      const body = `${part('serial', serial)}${part('recovery_password', text(newKey()))}${part('username', 'Åda')}${part('macname', 'x\n')}--${boundary}--\r\n`;
      const answer = await ask(ways.header, '/checkin/', Buffer.from(body), {
        headers: { ...headers, 'content-type': `multipart/form-data; boundary=${named}` },
      });
      expect(answer.body).toEqual({ serial, username: 'Åda', rotation_required: false });
    }
  });

  test('forms of a key: lower case, spaces, other dashes, none, a line end; all are one key', async () => {
    const [serial, key] = [newSerial(), text(newKey())];
    for (const written of [key, key.toLowerCase(), key.replaceAll('-', ' '), key.replaceAll('-', '–'), key.replaceAll('-', ''), ` ${key}\r\n`])
      expect((await post(serial, written)).status).toBe(200);
    expect(await kept(serial)).toHaveLength(1);
  });
});

describe('what is not kept is a 4xx with a reason, in which nothing that was sent stands', () => {
  const key = 'ABCD-EFGH-JKLM-NPQR-TUVW-XYZ2';
  const wrong: [string, string, RegExp][] = [
    ['no serial number', `recovery_password=${key}`, /serial is missing/],
    ['an empty key', 'serial=C02CRYPTX001&recovery_password=', /recovery_password is missing/],
    ['a key that is none', 'serial=C02CRYPTX001&recovery_password=hunter2-hunter2', /no recovery key of FileVault/],
    ['a key with a sign too many', `serial=C02CRYPTX001&recovery_password=${key}A`, /no recovery key/],
    ['two keys', `serial=C02CRYPTX001&recovery_password=${key}&recovery_password=${key}`, /twice/],
    ['two serial numbers', `serial=C02CRYPTX001&serial=C02CRYPTX002&recovery_password=${key}`, /serial is there twice/],
    ['a password', `serial=C02CRYPTX001&recovery_password=${key}&secret_type=password`, /only recovery keys/],
    ['an unlock PIN', `serial=C02CRYPTX001&recovery_password=123456&secret_type=unlock_pin`, /only recovery keys/],
    ['a serial number that is none', `serial=../../etc&recovery_password=${key}`, /no serial number/],
    ['a very long one', `serial=${'C'.repeat(80)}&recovery_password=${key}`, /no serial number/],
    ['a very long user', `serial=C02CRYPTX001&username=${'a'.repeat(300)}&recovery_password=${key}`, /more than 256/],
    ['many fields', `${'a=b&'.repeat(30)}serial=C02CRYPTX001&recovery_password=${key}`, /more than 20/],
    ['nothing', '', /serial is missing/],
    ['JSON under a false name', `{"serial":"C02CRYPTX001","recovery_password":"${key}"}`, /serial is missing/],
  ];
  test.each(wrong)('%s', async (_name, body, says) => {
    const answer = await ask(ways.header, '/checkin/', body, { headers });
    expect([answer.status, answer.body.code]).toEqual([400, 'CRYPT_INVALID']);
    expect(answer.body.detail).toMatch(says);
    expect(answer.text).not.toMatch(/ABCD|hunter2|123456/);
    expect(await kept('C02CRYPTX001')).toEqual([]);
  });

  test.each([
    ['JSON', 'application/json', '{}'],
    ['no form', 'text/plain', 'serial=C02CRYPTX001'],
    ['parts without a boundary', 'multipart/form-data', 'x'],
    ['parts that are cut off', 'multipart/form-data; boundary=b', '--b\r\nContent-Disposition: form-data; name="serial"\r\n\r\nC02CRYPTX001'],
    ['a part that is a file', 'multipart/form-data; boundary=b', '--b\r\nContent-Disposition: form-data; name="serial"; filename="x"\r\n\r\nC02\r\n--b--\r\n'],
    ['a form in UTF-16', form, Buffer.from(`serial=C02CRYPTX001&recovery_password=${key}`, 'utf16le')],
    ['a form that is packed', form, Buffer.from('1f8b0800000000000003', 'hex')],
  ])('%s', async (_name, type, body) => {
    const answer = await ask(ways.header, '/checkin/', body, { headers: { ...headers, 'content-type': type } });
    expect([answer.status, answer.body.code]).toEqual([400, 'CRYPT_INVALID']);
  });

  test('a GET, as curl makes one of a redirection: 405, and which method is meant', async () => {
    for (const path of ['/checkin/', '/checkin']) {
      const answer = await look(ways.header, path, { headers });
      expect([answer.status, answer.headers['allow'], answer.body.code]).toEqual([405, 'POST', 'METHOD_NOT_ALLOWED']);
    }
  });

  test('a body that is huge is cut off, announced or not', async () => {
    expect((await ask(ways.header, '/checkin/', 'a'.repeat(20_000), { headers })).body.code).toBe('BODY_TOO_LARGE');
    const head = ['POST /checkin/ HTTP/1.1', 'Host: x', `X-Crypt-Token: ${secret}`, `Content-Type: ${form}`, 'Transfer-Encoding: chunked', '', ''];
    expect(await raw(`${head.join('\r\n')}${`1000\r\n${'a'.repeat(4096)}\r\n`.repeat(6)}`)).toMatch(/^HTTP\/1\.1 413 /);
  });

  test('no key and no secret is in any log line, whether the key is kept, refused, wrong, or its client nobody', async () => {
    const [serial, good] = [newSerial(), text(newKey())];
    const body = formOf(serial, good);
    const from = logged.length;
    await post(serial, good);
    await ask(ways.header, '/checkin/', formOf(serial, `${good}A`), { headers });
    await ask(ways.header, '/checkin/', `${body}&secret_type=password`, { headers });
    await ask(ways.header, '/checkin/', body, { headers: { 'x-crypt-token': `${secret}x` } });
    await ask(ways.certificate, '/checkin/', body, { headers });
    await look(ways.header, `/verify/${serial}/${secret.replaceAll(' ', '')}/`, { headers });
    expect(logged.slice(from).filter((line) => line.includes(serial) || /CRYPT_(INVALID|REFUSED)/.test(line)).length).toBeGreaterThanOrEqual(5);
    // Of all tests that ran before as well.
    const lines = logged.join('\n');
    expect([...posted, key, secret, 'hunter2', good.replaceAll('-', '')].filter((one) => lines.includes(one))).toEqual([]);
  });
});

describe('verify', () => {
  test('of a key that is here: when it came; of an unknown serial number 404; of another kind of secret: false', async () => {
    const serial = newSerial();
    const path = `/verify/${serial}/recovery_key/`;
    expect([(await look(ways.header, path, { headers })).status]).toEqual([404]);
    await post(serial, text(newKey()));
    const answer = await look(ways.header, path, { headers });
    expect(answer.body).toEqual({ escrowed: true, date_escrowed: new Date(time.now).toISOString().replace(/\.\d+Z$/, 'Z') });
    expect((await look(ways.header, `/verify/${serial.toLowerCase()}/recovery_key/`, { headers })).body.escrowed).toBe(true);
    expect((await look(ways.header, `/verify/${serial}/password/`, { headers })).body).toEqual({ escrowed: false });
    expect((await ask(ways.header, path, '', { headers })).status).toBe(405);
  });

  test('asks who it is, as the check-in does', async () => {
    const serial = newSerial();
    await post(serial, text(newKey()));
    const path = `/verify/${serial}/recovery_key/`;
    expect((await look(ways.header, path)).body.code).toBe('CRYPT_REFUSED');
    expect((await look(ways.certificate, path, { headers })).body.code).toBe('CRYPT_REFUSED');
    expect((await look(ways.none, path)).body.escrowed).toBe(true);
    const other = deviceIdentity({ CN: 'Another Mac', serialNumber: newSerial() });
    expect((await look(ways.certificate, path, { identity: other })).body.code).toBe('CRYPT_REFUSED');
  });
});

describe('who it is', () => {
  test('a certificate of a device CA that names this serial number: exactly 200, and the key is the Mac’s own word', async () => {
    const serial = newSerial();
    const identity = deviceIdentity({ CN: 'A Mac', serialNumber: serial });
    for (const way of ['certificate', 'header', 'none'] as const) {
      const answer = await ask(ways[way], '/checkin/', formOf(serial, text(newKey())), { identity });
      expect(answer.status).toBe(200);
    }
    expect(await kept(serial)).toMatchObject([{ trust: 'device', made_at: expect.any(Number) }, { trust: 'device' }, { trust: 'device' }]);
  });

  test('one that names another is refused, whatever else is shown; the key of the other Mac stays what it is', async () => {
    const serial = newSerial();
    const identity = deviceIdentity({ CN: 'Another Mac', serialNumber: newSerial() });
    for (const way of ['certificate', 'header', 'none'] as const) {
      const answer = await ask(ways[way], '/checkin/', formOf(serial, text(newKey())), { identity, headers });
      expect([answer.status, answer.body.code, answer.body.detail]).toEqual([403, 'CRYPT_REFUSED', 'its certificate names another serial number']);
    }
    expect(await kept(serial)).toEqual([]);
  });

  test('one that names no serial number shows that it is one of ours, and no more', async () => {
    const serial = newSerial();
    const identity = deviceIdentity({ CN: 'Shared by all Macs' });
    expect((await ask(ways.certificate, '/checkin/', formOf(serial, text(newKey())), { identity })).status).toBe(200);
    expect(await kept(serial)).toMatchObject([{ trust: 'header' }]);
  });

  test('by certificate alone: none, one of somebody else, one that has ended, one that was revoked, and the right header are refused', async () => {
    const serial = newSerial();
    const subject = { CN: 'A Mac', serialNumber: serial };
    const refused = async (more: Asking): Promise<unknown> => (await ask(ways.certificate, '/checkin/', formOf(serial, text(newKey())), more)).body.code;
    expect(await refused({})).toBe('CRYPT_REFUSED');
    expect(await refused({ headers })).toBe('CRYPT_REFUSED');
    expect(await refused({ identity: deviceIdentity(subject, { ca: foreignCa }) })).toBe('CERTIFICATE_UNKNOWN');
    expect(await refused({ identity: deviceIdentity(subject, { at: new Date(time.now - 40 * day), days: 10 }) })).toBe('CERTIFICATE_EXPIRED');
    const revoked = deviceIdentity(subject);
    const digest = revocationDigest(new X509Certificate(revoked.der));
    await backend.store.write((tx) => tx.insertInto('revoked_certificate').values({ digest, revoked_at: time.now, because: 'stolen' }).execute());
    expect(await refused({ identity: revoked })).toBe('CERTIFICATE_REVOKED');
    expect(await kept(serial)).toEqual([]);
  });

  test('by header: every byte of it, once; a certificate that is good for nothing does no harm beside it', async () => {
    const serial = newSerial();
    const answered = async (given: Record<string, string>, more: Asking = {}): Promise<number> =>
      (await ask(ways.header, '/checkin/', formOf(serial, text(newKey())), { ...more, headers: given })).status;
    for (const value of ['', secret.slice(1), `${secret} `.repeat(2), secret.toUpperCase(), `${secret}\u00e9`])
      expect(await answered({ 'x-crypt-token': value })).toBe(403);
    expect(await answered({})).toBe(403);
    expect(await answered({ 'X-CRYPT-TOKEN': secret }, { identity: deviceIdentity({ CN: 'x' }, { ca: foreignCa }) })).toBe(200);
  });

  test('by nothing: the key is kept and counts for nothing; the right header, and later the certificate, make it weigh more', async () => {
    const [serial, key] = [newSerial(), text(newKey())];
    expect((await ask(ways.none, '/checkin/', formOf(serial, key))).status).toBe(200);
    expect(await kept(serial)).toMatchObject([{ trust: 'none' }]);
    await expect(backend.custody.discloseBrought({ serial, actor: 'olga', reason: 'x' })).rejects.toMatchObject({ code: 'KEY_UNKNOWN' });
    await ask(ways.none, '/checkin/', formOf(serial, key), { headers });
    expect(await kept(serial)).toMatchObject([{ trust: 'header' }]);
    await ask(ways.none, '/checkin/', formOf(serial, key), { identity: deviceIdentity({ CN: 'A Mac', serialNumber: serial }) });
    // And never less again.
    await ask(ways.none, '/checkin/', formOf(serial, key));
    expect(await kept(serial)).toMatchObject([{ trust: 'device' }]);
  });
});

test('rotation_required: false while somebody may be typing the key that was shown, then true until there is another; of another key never', async () => {
  const [serial, key] = [newSerial(), text(newKey())];
  const identity = deviceIdentity({ CN: 'A Mac', serialNumber: serial });
  const required = async (sent: string): Promise<unknown> =>
    (await ask(ways.certificate, '/checkin/', formOf(serial, sent), { identity })).body.rotation_required;
  expect(await required(key)).toBe(false);
  await backend.custody.discloseBrought({ serial, actor: 'olga', reason: 'locked out' });
  expect(await required(key)).toBe(false);
  const hold = backend.settings.keys.holdDeadlineHours * 3_600_000;
  time.now += hold - 60_000;
  expect(await required(key)).toBe(false);
  // Looking once more puts it off for as long as somebody types, not for the whole time again.
  await backend.custody.discloseBrought({ serial, actor: 'olga', reason: 'once more' });
  time.now += 21 * 60_000;
  expect(await required(key)).toBe(true);
  const another = text(newKey());
  expect(await required(another)).toBe(false);
  const task = await backend.store.db.selectFrom('mdm_task').selectAll().where('serial', '=', serial).executeTakeFirst();
  expect(task).toMatchObject({ closed_by: 'server', closed_because: expect.stringMatching(/another key/) });
});

describe('a stranger', () => {
  test('posts false keys for somebody else’s Mac: three are kept, none is shown, the rest is refused without a trace in the audit', async () => {
    const serial = newSerial();
    const answers: number[] = [];
    for (let post = 0; post < 8; post += 1) answers.push((await ask(ways.none, '/checkin/', formOf(serial, text(newKey())))).status);
    expect(answers).toEqual([200, 200, 200, 400, 400, 400, 400, 400]);
    expect(await kept(serial)).toHaveLength(3);
    expect(await audited(serial)).toBe(3);
    // The Mac itself is heard all the same, and its key is the one that is shown.
    const own = newKey();
    await ask(ways.certificate, '/checkin/', formOf(serial, text(own)), { identity: deviceIdentity({ CN: 'A Mac', serialNumber: serial }) });
    const shown = await backend.custody.discloseBrought({ serial, actor: 'olga', reason: 'locked out' });
    expect(shown.key.equals(own)).toBe(true);
    expect(shown.others).toBe(0);
  });

  test('asks for one serial number again and again: 429 with a time, and another address, or the Mac itself, is not hindered', async () => {
    const serial = newSerial();
    const answers: Answer[] = [];
    standStill();
    for (let asked = 0; asked < 11; asked += 1) answers.push(await look(ways.none, `/verify/${serial}/recovery_key/`));
    expect(answers.map(({ status }) => status)).toEqual([...Array(10).fill(404), 429]);
    expect(Number(answers[10]?.headers['retry-after'])).toBeGreaterThan(0);
    const identity = deviceIdentity({ CN: 'A Mac', serialNumber: serial });
    expect((await ask(ways.none, '/checkin/', formOf(serial, text(newKey())), { identity })).status).toBe(200);
  });

  test('is nobody, and asks all the same: after 120 refusals it is 429, and a Mac of the same address that shows who it is is heard', async () => {
    const serial = newSerial();
    const path = `/verify/${serial}/recovery_key/`;
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const answers: number[] = [];
    standStill();
    for (let asked = 0; asked < 125; asked += 1) answers.push((await look(ways.certificate, path, { agent })).status);
    agent.destroy();
    expect(answers[0]).toBe(403);
    expect(answers.at(-1)).toBe(429);
    const identity = deviceIdentity({ CN: 'A Mac', serialNumber: serial });
    expect((await ask(ways.certificate, '/checkin/', formOf(serial, text(newKey())), { identity })).status).toBe(200);
  });

  test('makes up serial numbers: at 50,000 keys of unknown Macs the next is refused, and a Mac that shows who it is is not', async () => {
    const first = newSerial();
    await ask(ways.none, '/checkin/', formOf(first, text(newKey())));
    const [row] = await kept(first);
    if (!row) throw new Error('there is no row to copy');
    const rows = (from: number) =>
      Array.from({ length: 500 }, (_, at) => ({
        ...row,
        bytes: null,
        id: `made-up-${from + at}`,
        serial: `MADEUP${from + at}`,
        fingerprint: null,
        state: 'waiting' as const,
        trust: 'none' as const,
      }));
    await backend.store.write(async (tx) => {
      for (let from = 0; from < 50_000; from += 500) await tx.insertInto('brought_key').values(rows(from)).execute();
    });
    // A count is good for a minute: another backend on the same data counts anew.
    const other = await openBackend({ dir: backend.paths.dir, passphrase: null, wallNow: () => time.now });
    try {
      const serial = newSerial();
      expect(await other.custody.crypt.take({ serial, key: newKey(), trust: 'none' })).toMatchObject({ fate: 'full', rotationRequired: false });
      expect(await kept(serial)).toEqual([]);
      expect(await other.custody.crypt.take({ serial, key: newKey(), trust: 'device' })).toMatchObject({ fate: 'waiting' });
    } finally {
      await other.close();
      await backend.store.write((tx) => tx.deleteFrom('brought_key').where('id', 'like', 'made-up-%').execute());
    }
  });
});

test('a header that says who a Mac is, from anybody but our proxy, is refused and told in each of the ways, and not passed over for a lesser one', async () => {
  for (const way of ['certificate', 'header', 'none'] as const) {
    refusedHeaders.length = 0;
    const more = { headers: { ...headers, 'x-ssl-client-cert': 'whoever' } };
    const answer = await ask(ways[way], '/checkin/', formOf(newSerial(), text(newKey())), more);
    expect([way, answer.status, refusedHeaders]).toEqual([way, 403, [expect.stringContaining('x-ssl-client-cert')]]);
  }
});

describe('the settings', () => {
  const written = async (crypt: object, listen: object | null = { port: 9443 }) => {
    const { dir, settings } = backend.paths;
    const before = JSON.parse(readFileSync(settings, 'utf8'));
    writeFileSync(settings, JSON.stringify({ ...before, coexistence: { listen, crypt } }));
    return settingsCheck({ dir, sealed: false });
  };

  test('`none` is said in red by `settings check` and `status`, with what it means, for as long as it stands', async () => {
    const { json, text, red } = await written({ identity: 'none', acceptAnybody: true });
    expect(red).toEqual([expect.stringMatching(/^coexistence\.crypt\.identity is "none": whoever reaches port 9443 may bring a key for any serial number/)]);
    expect(json).toMatchObject({ ok: true, warnings: red });
    expect(text).toMatch(/^no mistakes/);
    const { dir } = backend.paths;
    const other = await openBackend({ dir, passphrase: null, wallNow: () => time.now });
    try {
      const seen = await status(other, null);
      // And what this made-up backend is warned of besides: nobody made an offline copy.
      const all = [...(red ?? []), expect.stringContaining('no offline copy')];
      expect([seen.red, (seen.json as { warnings: string[] }).warnings]).toEqual([all, all]);
    } finally {
      await other.close();
    }
    const quiet = await written({ identity: 'certificate' });
    expect([quiet.red, (quiet.json as { warnings?: string[] }).warnings]).toEqual([[], undefined]);
    expect((await written({ identity: 'header', header: { name: 'X-Token', valueFile: join(dir, '..', 'header') } })).text).toMatch(/one secret for all Macs/);
  });

  test('mistakes are named all at once; nobody gets to `none` by leaving something out', async () => {
    const mistakes = async (crypt: object, listen?: null): Promise<string[]> => ((await written(crypt, listen)).json as { mistakes: string[] }).mistakes;
    expect(await mistakes({ identity: 'none' }, null)).toEqual([
      'coexistence.crypt: needs coexistence.listen: no client could reach it',
      'coexistence.crypt.acceptAnybody: must be true where no client has to show who it is',
    ]);
    expect(await mistakes({ identity: 'header', acceptAnybody: true })).toEqual([
      'coexistence.crypt.header: is needed where clients are known by a header',
      'coexistence.crypt.acceptAnybody: is for `identity` "none" alone',
    ]);
    const short = join(backend.paths.dir, '..', 'short');
    writeFileSync(short, 'too short\n', { mode: 0o644 });
    expect(await mistakes({ identity: 'header', header: { name: 'X Token', valueFile: short } })).toEqual([
      'coexistence.crypt.header.name: is no name of a header such as X-Crypt-Token',
      expect.stringMatching(/^coexistence\.crypt\.header\.valueFile: others can read .*short/),
    ]);
    for (const name of ['Host', 'content-type', 'User-Agent'])
      expect(await mistakes({ identity: 'header', header: { name, valueFile: join(backend.paths.dir, '..', 'header') } })).toEqual([
        expect.stringMatching(/is no name of a header/),
      ]);
    await written({});
  });
});
