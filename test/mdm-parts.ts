import { createHmac, generateKeyPairSync, randomUUID, X509Certificate } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { join } from 'node:path';
import { afterAll } from '@jest/globals';
import { build, parse } from 'plist';
import { RecoveryKey } from '../protocol/recovery-key.ts';
import { issueServerCertificate, makeCa, pem } from '../server/certificates.ts';
import { folderPaths } from '../server/data-folder.ts';
import { initialise } from '../server/init.ts';
import { type Log, silentLog } from '../server/log.ts';
import { createNanoMdm } from '../server/mdm/nanomdm.ts';
import type { MdmSettings } from '../server/mdm/take-event.ts';
import { createOutbound } from '../server/outbound.ts';
import { type Serving, serve } from '../server/serve.ts';
import { checkInBody, deviceCa, deviceIdentity, enrol, factsOf, newMac, sealedDelivery, type TestMac } from './device-calls.ts';
import { makeEscrowFile } from './fake-mac/escrow-file.ts';
import { escrowKeyFor } from './made-backend.ts';
import { putNewDatabase } from './new-database.ts';
import { freePort } from './ports.ts';
import { scratch } from './scratch.ts';
import { newKey } from './server-parts.ts';
import { type Answer, type Client, clientOf } from './tls-client.ts';

/*
 * A backend with its listener for other systems, and a NanoMDM beside it: its enqueue API over HTTPS with Basic
 * authentication, a queue for each Mac, and webhook events signed as it signs them. Macs answer when they are told to.
 */

const hmacKey = 'a key of a webhook, long enough';
const apiKey = 'the API key of NanoMDM';
const passphrase = 'correct horse battery staple';
export const everything: MdmSettings & { windowMinutes: number } = { server: 'nanomdm', canAsk: true, canRotate: true, everyHours: 24, windowMinutes: 15 };

type Plist = Parameters<typeof build>[0];

/** A Mac as its MDM knows it. It holds a key, and macOS's escrow file is sealed to whom the payload names. */
export class ManagedMac {
  readonly udid = randomUUID().toUpperCase();
  readonly serial: string;
  key: RecoveryKey = newKey();
  /** Every key that it ever had. */
  readonly keys: RecoveryKey[] = [];
  /** DER of the certificate in the escrow payload, and the file that is sealed to it. */
  recipient: Buffer;
  file: Buffer;
  /** What `RotateFileVaultKey` comes to. */
  rotation: 'works' | 'no-key-in-answer' | 'garbled' | { code: number; words: string } = 'works';
  /** Whether it answers NotNow. */
  busy = false;
  readonly queue: { uuid: string; plist: string }[] = [];
  pushes = 0;

  constructor(recipient: Buffer, more: { serial?: string; udid?: string } = {}) {
    this.serial = more.serial ?? `C02M${randomUUID().slice(0, 8).toUpperCase()}`;
    if (more.udid) this.udid = more.udid;
    this.recipient = recipient;
    this.file = this.seal();
  }
  seal = (): Buffer => makeEscrowFile(this.key.reveal(), this.recipient);
  /** macOS makes another key, and seals it for the payload. */
  replaceKey(): RecoveryKey {
    this.keys.push(this.key);
    this.key = newKey();
    this.file = this.seal();
    return this.key;
  }
}

export interface Event {
  topic: string;
  created_at: string;
  [more: string]: unknown;
}

const closing: (() => Promise<void>)[] = [];
afterAll(async () => {
  for (const close of closing.splice(0)) await close();
});

/** `server`: MicroMDM sends its webhooks as its own program does, and is asked nothing. */
export async function givenMdm(more: { log?: Log; server?: 'nanomdm' | 'micromdm' } = {}) {
  const folder = scratch('mdm');
  const dir = join(folder, 'data');
  const [port, neighbours] = [await freePort(), await freePort()];
  const caFile = join(folder, 'device-ca.pem');
  writeFileSync(caFile, pem('CERTIFICATE', deviceCa.certificateDer));
  await initialise({
    dir,
    names: ['127.0.0.1', 'localhost'],
    organisation: 'Example',
    devicesPort: port,
    passphrase,
    copy: null,
    deviceCaFiles: [caFile],
    ownTls: null,
    admin: 'ada',
    escrowKey: escrowKeyFor(passphrase),
    putDatabase: putNewDatabase,
    say: () => {},
  });
  const time = { now: Date.now() };
  const nano = await fakeNanoMdm();
  const files = { hmac: join(folder, 'hmac'), api: join(folder, 'api'), trusted: join(folder, 'nano.pem') };
  writeFileSync(files.hmac, `${hmacKey}\n`, { mode: 0o600 });
  writeFileSync(files.api, `${apiKey}\n`, { mode: 0o600 });
  writeFileSync(files.trusted, nano.ca);
  const paths = folderPaths(dir);
  const coexistence = {
    listen: { host: '127.0.0.1', port: neighbours },
    webhook: { hmacKeyFile: files.hmac, server: more.server ?? 'nanomdm' },
    nanomdm: more.server === 'micromdm' ? null : { url: nano.url, apiKeyFile: files.api, trustedCertificatesFile: files.trusted, rotate: true },
  };
  const settings = JSON.parse(readFileSync(paths.settings, 'utf8'));
  const serialPattern = { in: 'serialNumber', pattern: '^(.*)$' };
  writeFileSync(paths.settings, JSON.stringify({ ...settings, listen: { port, host: '127.0.0.1' }, serialPattern, coexistence }));
  const much = { perMinute: 1e6, burst: 1e6 };
  const rates = { nonce: much, enroll: much, refused: much, 'check-in': much, rotations: much, keys: much, grants: much };
  const start = (): Promise<Serving> => serve({ dir, passphrase, log: more.log ?? silentLog, wallNow: () => time.now, rates });
  const ca = readFileSync(paths.tlsCa.certificate, 'utf8');
  let serving = await start();
  const outbound = createOutbound({ origin: nano.url, trusted: [nano.ca], log: silentLog, ratePerMinute: 1e6 });
  const api = createNanoMdm(outbound, apiKey);
  closing.push(async () => {
    await serving.stop();
    outbound.close();
    await nano.close();
  });
  const webhook = clientOf(neighbours, ca);
  const devices = clientOf(port, ca);
  const url = `https://127.0.0.1:${port}`;
  const escrow = (): Buffer => serving.backend.escrowKeys.certificates[0]?.der ?? Buffer.alloc(0);

  const it = {
    dir,
    folder,
    nano,
    files,
    api,
    outbound,
    webhook,
    devices,
    settings: coexistence,
    get backend() {
      return serving.backend;
    },
    get db() {
      return serving.backend.store.db;
    },
    get mdm() {
      return serving.backend.custody.mdm;
    },
    pass(milliseconds: number) {
      time.now += milliseconds;
    },
    now: () => time.now,
    async restart() {
      await serving.stop();
      serving = await start();
    },
    newMac(wish: { serial?: string; udid?: string; recipient?: Buffer } = {}): ManagedMac {
      const mac = new ManagedMac(wish.recipient ?? escrow(), wish);
      nano.macs.set(mac.udid, mac);
      return mac;
    },
    /** Signed as NanoMDM signs. */
    post: (event: Event | Buffer, headers?: Record<string, string>): Promise<Answer> => post(webhook, event, headers),
    event(topic: string, inner: object): Event {
      const name = topic === 'mdm.Connect' ? 'acknowledge_event' : 'checkin_event';
      return { topic, created_at: new Date(time.now).toISOString(), event_id: randomUUID(), [name]: inner };
    },
    authenticate: (mac: ManagedMac, bend: object = {}) =>
      it.post(
        it.event('mdm.Authenticate', {
          ...about(mac),
          raw_payload: encode({ MessageType: 'Authenticate', UDID: mac.udid, SerialNumber: mac.serial, ...bend }),
        }),
      ),
    answer: (mac: ManagedMac, uuid: string, content: object, status = 'Acknowledged', outer: object = {}) =>
      it.post(
        it.event('mdm.Connect', {
          ...about(mac),
          status,
          command_uuid: uuid,
          raw_payload: encode({ CommandUUID: uuid, Status: status, UDID: mac.udid, ...content }),
          ...outer,
        }),
      ),
    /** The Mac comes to its MDM for nothing. */
    idle: (mac: ManagedMac) => it.post(it.event('mdm.Connect', { ...about(mac), status: 'Idle' })),
    securityInfo: (mac: ManagedMac, uuid: string = randomUUID().toUpperCase(), more: object = {}) =>
      it.answer(mac, uuid, { SecurityInfo: securityOf(mac), ...more }),
    /** What the sweep and the sender do when their time comes. */
    async send(settings: Partial<typeof everything> = {}): Promise<void> {
      await it.mdm.sweep({ ...everything, ...settings });
      await it.mdm.rotateDue({ ...everything, ...settings });
      await it.mdm.sendDue(api);
    },
    /** The Mac comes to its MDM and carries out what lies there. */
    async fetch(mac: ManagedMac): Promise<string[]> {
      const done: string[] = [];
      while (mac.queue.length > 0) {
        const [first] = mac.queue;
        if (!first) break;
        const { Command: command } = parse(first.plist) as { Command: Record<string, unknown> };
        const type = String(command['RequestType']);
        if (mac.busy) {
          await it.answer(mac, first.uuid, {}, 'NotNow');
          return [...done, 'NotNow'];
        }
        mac.queue.shift();
        done.push(type);
        if (type === 'SecurityInfo') await it.securityInfo(mac, first.uuid);
        else if (type === 'DeviceInformation') await it.answer(mac, first.uuid, { QueryResponses: { SerialNumber: mac.serial, UDID: mac.udid } });
        else await rotate(mac, first.uuid, command);
      }
      return done;
    },
    /** What became of the last events, as they are logged. */
    keyOf: async (mac: ManagedMac): Promise<string | undefined> => {
      const row = await serving.backend.store.db.selectFrom('mdm_device').select('security').where('id', '=', mac.udid).executeTakeFirst();
      return row?.security ? (JSON.parse(row.security).key?.answer as string | undefined) : undefined;
    },
    brought: (mac: ManagedMac) =>
      serving.backend.store.db.selectFrom('brought_key').selectAll().where('serial', '=', mac.serial).orderBy('brought_at').execute(),
    commands: (mac: ManagedMac) =>
      serving.backend.store.db.selectFrom('mdm_command').selectAll().where('device_id', '=', mac.udid).orderBy('created_at').execute(),
    alarms: async () =>
      (await serving.backend.store.db.selectFrom('alarm').selectAll().where('judged_at', 'is', null).orderBy('opened_at').execute()).map(({ code }) => code),
    acts: async (act: string) =>
      (await serving.backend.store.db.selectFrom('audit').selectAll().where('act', '=', act).orderBy('seq').execute()).map((row) => JSON.parse(row.details)),
    /** A Mac of the MDM alone, whose key is here. */
    async known(): Promise<ManagedMac> {
      const mac = it.newMac();
      await it.authenticate(mac);
      await it.send();
      await it.fetch(mac);
      return mac;
    },
    rotate: (mac: ManagedMac, wish: { device?: string; reason?: string; overrideHold?: boolean; actor?: string } = {}) =>
      it.mdm.rotate({ device: mac.serial, actor: 'ada', reason: 'left in a taxi', ...wish }),
    rotationOf: async (mac: ManagedMac) => (await it.commands(mac)).findLast(({ kind }) => kind === 'rotate'),
    openAlarms: async (detail: string) =>
      (await serving.backend.store.db.selectFrom('alarm').select(['code', 'detail']).where('judged_at', 'is', null).execute())
        .filter((one) => one.detail.includes(detail))
        .map(({ code }) => code),
    /** The Mac's own agent, by the messages that it sends. */
    async agentOf(mac: ManagedMac) {
      const self: TestMac = newMac({ serial: mac.serial, hardwareUuid: mac.udid });
      const reached = { client: devices, url };
      const profile = deviceIdentity({ CN: 'A Mac', serialNumber: mac.serial });
      const { identity } = await enrol(reached, self, { profile });
      const checkIn = (facts: Parameters<typeof factsOf>[1] = {}, more: object = {}) =>
        devices.ask('/v1/check-in', { identity, body: checkInBody(self, { facts: factsOf(self, facts), ...more }) });
      const deliver = async (bytes: Buffer, source: 'escrow-file' | 'agent' = 'escrow-file') => {
        const { createHash } = await import('node:crypto');
        const { request } = sealedDelivery(escrow(), self, { source });
        const id = createHash('sha256').update(bytes).digest('hex');
        return devices.ask(`/v1/keys/${id}`, { method: 'PUT', identity, body: { ...request, envelope: bytes.toString('base64') } });
      };
      /** Begins with whatever it owes. */
      const begin = async (facts: Parameters<typeof factsOf>[1] = {}, id: string = randomUUID()): Promise<Answer> => {
        const { debts, recipients } = (await checkIn(facts)).body;
        const { hardwareUuid, volume, boot } = self;
        const debtIds = debts.map((debt: { id: string }) => debt.id);
        const body = { id, because: 'ordered', debtIds, hardwareUuid, volume, boot, recipient: recipients[0], escrowPayload: 'ours', grant: null };
        return devices.ask('/v1/rotations', { identity, body });
      };
      return { self, identity, checkIn, deliver, begin };
    },
  };

  async function rotate(mac: ManagedMac, uuid: string, command: Record<string, unknown>): Promise<void> {
    const { rotation } = mac;
    const password = (command['FileVaultUnlock'] as { Password: string }).Password;
    const wrong = { code: 12_021, words: 'The password is incorrect.' };
    const refused = typeof rotation === 'object' ? rotation : RecoveryKey.parse(password)?.equals(mac.key) ? null : wrong;
    if (refused) {
      const chain = [{ ErrorCode: refused.code, ErrorDomain: 'MCMDMErrorDomain', LocalizedDescription: refused.words, USEnglishDescription: refused.words }];
      await it.answer(mac, uuid, { ErrorChain: chain }, 'Error');
      return;
    }
    const fresh = mac.replaceKey();
    const certificate = Buffer.from(command['ReplyEncryptionCertificate'] as Uint8Array);
    const sealed = makeEscrowFile(rotation === 'garbled' ? 'not a recovery key' : fresh.reveal(), certificate);
    await it.answer(mac, uuid, { RotateResult: rotation === 'no-key-in-answer' ? {} : { EncryptedNewRecoveryKey: sealed } });
  }
  return it;
}
export type GivenMdm = Awaited<ReturnType<typeof givenMdm>>;

const about = (mac: ManagedMac) => ({ udid: mac.udid, ids: { id: mac.udid, type: 'Device' } });
export const encode = (content: object): string => Buffer.from(build(content as Plist)).toString('base64');

export const securityOf = (mac: ManagedMac) => ({
  FDE_Enabled: true,
  FDE_HasPersonalRecoveryKey: true,
  FDE_HasInstitutionalRecoveryKey: false,
  FDE_PersonalRecoveryKeyCMS: mac.file,
  FDE_PersonalRecoveryKeyDeviceKey: mac.serial,
});

export const signatureOf = (body: Uint8Array, key = hmacKey): string => createHmac('sha256', key).update(body).digest('base64');

function post(client: Client, event: Event | Buffer, headers?: Record<string, string>): Promise<Answer> {
  const body = Buffer.isBuffer(event) ? event : Buffer.from(JSON.stringify(event));
  return client.ask('/v1/mdm/webhook', { version: null, body, headers: headers ?? { 'x-hmac-signature': signatureOf(body) } });
}

/** NanoMDM's API, as its openapi.yaml has it. */
async function fakeNanoMdm() {
  const at = new Date(Date.now() - 3_600_000);
  const ca = makeCa({ commonName: 'CA of the MDM', years: 2, at });
  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const publicKeyDer = pair.publicKey.export({ type: 'spki', format: 'der' });
  const certificate = issueServerCertificate({ ca: ca.certificateDer, caKey: ca.privateKey, publicKeyDer, names: ['127.0.0.1'], at, days: 90 });
  const macs = new Map<string, ManagedMac>();
  const nano = {
    url: '',
    ca: pem('CERTIFICATE', ca.certificateDer),
    certificate: new X509Certificate(certificate),
    macs,
    /** How the next request about this Mac is answered instead. */
    next: [] as { of: ManagedMac; status: number; body?: unknown; headers?: Record<string, string> }[],
    asked: [] as { method: string; path: string; body: string }[],
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  const server = createServer({ key: pair.privateKey.export({ type: 'pkcs8', format: 'pem' }), cert: pem('CERTIFICATE', certificate) }, (request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = Buffer.concat(chunks).toString('utf8');
      const path = request.url ?? '';
      nano.asked.push({ method: request.method ?? '', path, body });
      const say = (status: number, content: unknown, headers: Record<string, string> = {}) =>
        response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(typeof content === 'string' ? content : JSON.stringify(content));
      const [instead] = nano.next.splice(0, nano.next.findIndex(({ of }) => path.endsWith(of.udid)) + 1).slice(-1);
      if (instead) return void say(instead.status, instead.body ?? {}, instead.headers);
      if (request.headers.authorization !== `Basic ${Buffer.from(`nanomdm:${apiKey}`).toString('base64')}`) return void say(401, 'Unauthorized');
      const [, what, id = ''] = /^\/v1\/(enqueue|push)\/([^/?]+)$/.exec(path) ?? [];
      const mac = macs.get(decodeURIComponent(id));
      if (request.method !== 'PUT' || !what) return void say(404, 'not found');
      if (!mac) return void say(500, { status: { [decodeURIComponent(id)]: { command_error: 'no such enrollment' } }, command_error: 'all failed' });
      mac.pushes += 1;
      const pushed = { [mac.udid]: { push_result: randomUUID() } };
      if (what === 'push') return void say(200, { status: pushed });
      const { CommandUUID: uuid, Command: command } = parse(body) as { CommandUUID: string; Command: { RequestType: string } };
      mac.queue.push({ uuid, plist: body });
      say(200, { status: pushed, command_uuid: uuid, request_type: command.RequestType });
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  nano.url = `https://127.0.0.1:${typeof address === 'object' && address ? address.port : 0}`;
  return nano;
}
