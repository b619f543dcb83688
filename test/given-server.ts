import { createHash, generateKeyPairSync, type KeyObject, randomUUID } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll } from '@jest/globals';
import { makeCsr } from '../protocol/csr.ts';
import { enrolmentStatement, readTicket, ticketProof } from '../protocol/enrolment.ts';
import { sealKey } from '../protocol/envelope.ts';
import type { CheckInRequest, DeliveryRequest } from '../protocol/messages.ts';
import { RecoveryKey } from '../protocol/recovery-key.ts';
import { issueDeviceCertificate, makeCa, pem } from '../server/certificates.ts';
import { folderPaths } from '../server/data-folder.ts';
import { initialise } from '../server/init.ts';
import type { Rate, RateName } from '../server/limits.ts';
import { silentLog } from '../server/log.ts';
import { type Serving, serve } from '../server/serve.ts';
import { scratch } from './scratch.ts';
import { signTo } from './sign-statement.ts';
import { type Client, clientOf, type Identity } from './tls-client.ts';

export const passphrase = 'correct horse battery staple';
const running: Serving[] = [];
afterAll(async () => {
  for (const serving of running.splice(0)) await serving.stop();
});

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === 'object' && address ? address.port : 0;
}

export const somewhen = new Date();
/** A CA such as an MDM's, from which profile identities come. */
export const deviceCa = makeCa({ commonName: 'Device CA', years: 5, at: somewhen });
export const foreignCa = makeCa({ commonName: 'Somebody else', years: 5, at: somewhen });

export interface DeviceIdentityFiles extends Identity {
  der: Buffer;
  privateKey: KeyObject;
}

export function deviceIdentity(
  subject: { CN: string; serialNumber?: string },
  options: { ca?: typeof deviceCa; at?: Date; days?: number; pair?: { publicKey: KeyObject; privateKey: KeyObject } } = {},
): DeviceIdentityFiles {
  const { ca = deviceCa, at = somewhen, days = 365, pair = generateKeyPairSync('ec', { namedCurve: 'P-256' }) } = options;
  const publicKeyDer = pair.publicKey.export({ type: 'spki', format: 'der' });
  const der = issueDeviceCertificate({ ca: ca.certificateDer, caKey: ca.privateKey, publicKeyDer, subject, days, at });
  return { der, privateKey: pair.privateKey, cert: pem('CERTIFICATE', der), key: pair.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() };
}

export interface GivenServer {
  serving: Serving;
  client: Client;
  dir: string;
  url: string;
  ca: string;
  restart(): Promise<void>;
}

/** A backend as `init` makes it and `serve` runs it, with RSA-2048 for speed. */
export async function givenServer(
  options: { deviceCas?: boolean | string; settings?: object; rates?: Partial<Record<RateName, Rate>> } = {},
): Promise<GivenServer> {
  const folder = scratch('sparekey-server');
  const dir = join(folder, 'data');
  const port = await freePort();
  const caFile = join(folder, 'device-ca.pem');
  writeFileSync(caFile, typeof options.deviceCas === 'string' ? options.deviceCas : pem('CERTIFICATE', deviceCa.certificateDer));
  await initialise({
    dir,
    names: ['127.0.0.1', 'localhost'],
    organisation: 'Example',
    devicesPort: port,
    passphrase,
    copy: null,
    deviceCaFiles: (options.deviceCas ?? true) ? [caFile] : [],
    ownTls: null,
    admin: 'ada',
    escrowKeyBits: 2048,
    say: () => {},
  });
  const paths = folderPaths(dir);
  const settings = JSON.parse(readFileSync(paths.settings, 'utf8'));
  writeFileSync(paths.settings, JSON.stringify({ ...settings, listen: { port, host: '127.0.0.1' }, ...options.settings }));
  const start = async () => {
    const serving = await serve({ dir, passphrase, log: silentLog, ...(options.rates ? { rates: options.rates } : {}) });
    running.push(serving);
    return serving;
  };
  const ca = readFileSync(paths.tlsCa.certificate, 'utf8');
  const given: GivenServer = {
    serving: await start(),
    client: clientOf(port, ca),
    dir,
    url: `https://127.0.0.1:${port}`,
    ca,
    async restart() {
      await given.serving.stop();
      given.serving = await start();
    },
  };
  return given;
}

let counter = 0;
export function newSerial(): string {
  counter += 1;
  return `C02T${String(counter).padStart(8, '0')}`;
}
export const newUuid = (): string => randomUUID().toUpperCase();

/** A Mac as the backend sees it: what it says of itself, and the keys that it speaks with. */
export interface TestMac {
  serial: string;
  hardwareUuid: string;
  volume: string;
  boot: string;
}
export const newMac = (more: Partial<TestMac> = {}): TestMac => ({ serial: newSerial(), hardwareUuid: newUuid(), volume: newUuid(), boot: newUuid(), ...more });

export interface EnrolWith {
  profile?: DeviceIdentityFiles;
  ticket?: string;
  tls?: DeviceIdentityFiles;
  pair?: { publicKey: KeyObject; privateKey: KeyObject };
  continues?: { enrolmentId: string; privateKey: KeyObject };
  /** To bend the statement, or what is sent. */
  nonce?: string;
  server?: string;
  csr?: Buffer;
  signed?: (statement: string) => string;
  bend?: (request: Record<string, unknown>) => unknown;
}

export const newPair = () => generateKeyPairSync('ec', { namedCurve: 'P-256' });

export async function enrol(given: GivenServer, mac: TestMac, how: EnrolWith) {
  const pair = how.pair ?? newPair();
  const csr = how.csr ?? makeCsr(pair.privateKey);
  const nonce = how.nonce ?? ((await given.client.ask('/v1/nonce', { body: {} })).body.nonce as string);
  const statement = enrolmentStatement({
    server: how.server ?? given.url,
    nonce,
    csrDigest: createHash('sha256').update(csr).digest('hex'),
    serial: mac.serial,
    hardwareUuid: mac.hardwareUuid,
    continues: how.continues?.enrolmentId ?? null,
  });
  const ticket = how.ticket === undefined ? null : readTicket(how.ticket);
  const proof = ticket
    ? { kind: 'ticket', ticketId: ticket.id, mac: ticketProof(ticket.secret, statement) }
    : how.tls
      ? { kind: 'tls' }
      : { kind: 'profile', signedData: how.signed?.(statement) ?? (how.profile ? signTo(statement, how.profile) : '') };
  const continuation = how.continues
    ? { continuation: { enrolmentId: how.continues.enrolmentId, signature: signTo.key(statement, how.continues.privateKey) } }
    : {};
  const request = { csr: csr.toString('base64'), statement, proof, ...continuation };
  const answer = await given.client.ask('/v1/enroll', { body: how.bend ? how.bend(request) : request, identity: how.tls });
  const identity: Identity = { cert: answer.body?.certificate ?? '', key: pair.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() };
  return { answer, identity, pair, enrolmentId: answer.body?.enrolmentId as string, request };
}

export function factsOf(mac: TestMac, more: Partial<CheckInRequest['facts']> = {}): CheckInRequest['facts'] {
  return {
    agentVersion: '0.1.0',
    runtimeVersion: process.version,
    runtimeSigned: true,
    serial: mac.serial,
    hardwareUuid: mac.hardwareUuid,
    volume: mac.volume,
    macosVersion: '26.1',
    macosBuild: '25B78',
    fileVault: { state: 'on', hasRecoveryKey: 'yes' },
    usingRecoveryKey: 'no',
    unlockedBy: 'user',
    boot: mac.boot,
    uptimeSeconds: 3600,
    firstRunUptimeSeconds: 60,
    consoleUser: 'ada',
    consoleUserHasSecureToken: 'yes',
    settledUser: 'ada',
    secureTokenUsers: 1,
    passwordChangedAt: null,
    darkWake: 'no',
    power: { source: 'mains', percent: null },
    escrow: { payload: 'ours', location: null, file: null },
    settings: { managed: true, unmanagedSince: null, digest: '0'.repeat(64) },
    custodyMode: 'server',
    escrowOwner: 'auto',
    rotator: 'sparekey',
    capability: 'unknown',
    identityWay: 'profile',
    keyboardLayout: null,
    language: null,
    ...more,
  };
}

export const checkInBody = (mac: TestMac, more: Partial<CheckInRequest> = {}): CheckInRequest => ({
  facts: factsOf(mac),
  offers: [],
  debts: [],
  proofs: [],
  endings: [],
  rotation: null,
  exhausted: false,
  problems: [],
  ...more,
});

/** An envelope of a new key for the backend's own certificate, and its delivery. */
export function delivery(given: GivenServer, mac: TestMac, more: Partial<DeliveryRequest> & { key?: string } = {}) {
  const { key = newKeyText(), ...fields } = more;
  const certificate = given.serving.backend.escrowKeys.certificates[0];
  const parsed = RecoveryKey.parse(key);
  if (!certificate || !parsed) throw new TypeError('no certificate, or no key');
  const envelope = sealKey(parsed, certificate.der);
  const request: DeliveryRequest = {
    envelope: envelope.toString('base64'),
    source: 'escrow-file',
    hardwareUuid: mac.hardwareUuid,
    volume: mac.volume,
    madeAt: new Date().toISOString(),
    validated: 'unknown',
    rotationId: null,
    ...fields,
  };
  return { id: createHash('sha256').update(envelope).digest('hex'), request, key, envelope };
}

const letters = 'ABCDEFGHJKLMNPQRTUVWXYZ2346789';
export function newKeyText(): string {
  const bytes = createHash('sha256').update(randomUUID()).digest();
  const signs = Array.from(bytes.subarray(0, 24), (byte) => letters[byte % letters.length]).join('');
  return signs.match(/.{4}/g)?.join('-') ?? '';
}
