import { createHash, generateKeyPairSync, type KeyObject, randomUUID } from 'node:crypto';
import { makeCsr } from '../protocol/csr.ts';
import { enrolmentStatement, readTicket, ticketProof } from '../protocol/enrolment.ts';
import { sealKey } from '../protocol/envelope.ts';
import type { CheckInRequest, DeliveryRequest } from '../protocol/messages.ts';
import { RecoveryKey } from '../protocol/recovery-key.ts';
import { issueDeviceCertificate, makeCa, pem } from '../server/certificates.ts';
import { calmFacts } from './calm-facts.ts';
import { signTo } from './sign-statement.ts';
import type { Client, Identity } from './tls-client.ts';

// What a Mac says to a backend, message by message, without an agent. Knows nothing of jest: the sweep of the backend uses it too.

const somewhen = new Date();
/** A CA such as an MDM's, from which profile identities come. */
export const deviceCa = makeCa({ commonName: 'Device CA', years: 5, at: somewhen });
export const foreignCa = makeCa({ commonName: 'Somebody else', years: 5, at: somewhen });

interface DeviceIdentityFiles extends Identity {
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

let counter = 0;
function newSerial(): string {
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

/** A backend, as a Mac reaches it. */
export interface Reached {
  client: Client;
  url: string;
}

interface EnrolWith {
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

export async function enrol(given: Reached, mac: TestMac, how: EnrolWith) {
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

export const factsOf = ({ serial, hardwareUuid, volume, boot }: TestMac, more: Partial<CheckInRequest['facts']> = {}): CheckInRequest['facts'] =>
  calmFacts({ serial, hardwareUuid, volume, boot }, more);

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

/** An envelope of a key for an escrow certificate (DER), and its delivery. */
export function sealedDelivery(certificate: Uint8Array, mac: TestMac, more: Partial<DeliveryRequest> & { key?: string } = {}) {
  const { key = newKeyText(), ...fields } = more;
  const parsed = RecoveryKey.parse(key);
  if (!parsed) throw new TypeError('no key');
  const envelope = sealKey(parsed, certificate);
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
