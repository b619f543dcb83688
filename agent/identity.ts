// By which certificate the backend knows this Mac: brought as files, or an own P-256 key for which the backend's agent CA
// gives a certificate, once a ticket or the profile's identity has proved who asks.
import { createHash, createPrivateKey, type KeyObject, sign, X509Certificate } from 'node:crypto';
import { enrolmentStatement, serverAddress, ticketProof } from '../protocol/enrolment.ts';
import { Problem } from '../protocol/problems.ts';
import { readIdentityFiles } from './identity-files.ts';
import { type KeyPlace, makeKey, readKey } from './identity-keys.ts';
import { findIdentities, type IdentityMatch, inOrder, type KeychainIdentity, signWithIdentity } from './mac/keychain-identity.ts';
import type { EnrolReply, EnrolRequest, Server } from './server.ts';
import type { Settings } from './settings.ts';
import type { Disk, Runner, Secrets } from './world.ts';

/** What the journal keeps of an enrolment. The private key is elsewhere: in a keychain item, or in a file where the keychain fails. */
export interface JournalIdentity extends KeyPlace {
  enrolmentId: string;
  way: 'profile' | 'ticket';
  /** The client certificate, then its CA. */
  certificatePem: string;
  /** ISO 8601, the backend's word. */
  notAfter: string;
  /** ISO 8601, the Mac's own clock. */
  enrolledAt: string;
  hardwareUuid: string;
  /** SHA-256 of the profile's certificate (DER) that proved it, or null. */
  profileCertificateDigest: string | null;
}

export interface Identity {
  way: 'files' | 'profile' | 'ticket';
  /** Null for a certificate of files: the backend knows it by the certificate alone. */
  enrolmentId: string | null;
  certificatePem: string;
  privateKey: KeyObject;
  notAfter: Date;
  /** Base64: ECDSA or RSA PKCS #1 v1.5, with SHA-256. */
  sign(text: string): string;
}

export interface LoadOptions {
  settings: Settings;
  disk: Disk;
  secrets: Secrets;
  journalIdentity: JournalIdentity | null;
  hardwareUuid: string;
}

/** The identity that this Mac has, or null: then it enrols. */
export async function loadIdentity({ settings, disk, secrets, journalIdentity, hardwareUuid }: LoadOptions): Promise<Identity | null> {
  if (hasFiles(settings)) {
    const { certificatePem, privateKey } = await readIdentityFiles(settings, disk);
    return identityOf('files', null, certificatePem, privateKey);
  }
  if (!journalIdentity) return null;
  if (journalIdentity.hardwareUuid !== hardwareUuid) throw new Problem('MOVED_FROM_OTHER_MAC', `its identity is of ${journalIdentity.hardwareUuid}`);
  const pem = await readKey(disk, secrets, journalIdentity);
  if (pem === null) return null;
  try {
    return identityOf(journalIdentity.way, journalIdentity.enrolmentId, journalIdentity.certificatePem, createPrivateKey(pem));
  } catch {
    // Not the key of this certificate, or no key: an identity that nobody can use. A new enrolment mends it.
    return null;
  }
}

const hasFiles = (settings: Settings): boolean => Boolean(settings.identityPkcs12File || settings.identityCertificateFile || settings.identityKeyFile);

/** How this Mac would enrol, by its settings; null where they bring no way. */
export function wayOf(settings: Settings): Identity['way'] | null {
  if (hasFiles(settings)) return 'files';
  if (settings.identityIssuer || settings.identitySubject) return 'profile';
  return settings.enrolmentTicket ? 'ticket' : null;
}

function identityOf(way: Identity['way'], enrolmentId: string | null, certificatePem: string, privateKey: KeyObject): Identity {
  const certificate = new X509Certificate(certificatePem);
  if (!certificate.checkPrivateKey(privateKey)) throw new Error('the private key is not that of the certificate');
  return {
    way,
    enrolmentId,
    certificatePem,
    privateKey,
    notAfter: certificate.validToDate,
    sign: (text) => sign('sha256', Buffer.from(text), privateKey).toString('base64'),
  };
}

// ——— enrolment

export interface EnrolOptions {
  settings: Settings;
  runner: Runner;
  disk: Disk;
  secrets: Secrets;
  /** With the identity there is, or with none. */
  server: Pick<Server, 'nonce' | 'enrol'>;
  machine: { serial: string; hardwareUuid: string };
  /** The enrolment that goes on with a new key. Its certificate may have expired. */
  continues: { enrolmentId: string; identity: Identity } | null;
  /** The present journal identity: its key stays until the new one is in use. */
  present: JournalIdentity | null;
  now: number;
}

export interface Enrolled {
  journal: JournalIdentity;
  identity: Identity;
  reply: EnrolReply;
}

/**
 * A new key, proved and certified. Nothing of the present identity is changed: a caller that goes on with an enrolment
 * checks in with the new key, puts it into the journal, and only then forgets the old one (`forgetOtherKeys`).
 */
export async function enrol(options: EnrolOptions): Promise<Enrolled> {
  const { settings, server, machine, continues, now } = options;
  const way = wayOf(settings);
  if (way === null) throw new Problem('IDENTITY_MISSING', 'the settings name no identity and no ticket');
  if (way === 'files') throw new Problem('IDENTITY_FILE_INVALID', 'an identity of files does not enrol');
  const key = await makeKey(options.disk, options.secrets, machine.hardwareUuid, options.present);
  const { makeCsr } = await import('../protocol/csr.ts');
  const csr = makeCsr(key.privateKey);
  const ask = async (): Promise<{ reply: EnrolReply; profileDigest: string | null }> => {
    const statement = enrolmentStatement({
      server: serverAddress(settings.serverUrl),
      nonce: await server.nonce(),
      csrDigest: createHash('sha256').update(csr).digest('hex'),
      serial: machine.serial,
      hardwareUuid: machine.hardwareUuid,
      continues: continues?.enrolmentId ?? null,
    });
    const { proof, profileDigest } = await prove(options, way, statement);
    const continuation = continues ? { continuation: { enrolmentId: continues.enrolmentId, signature: continues.identity.sign(statement) } } : {};
    return { reply: await server.enrol({ csr: csr.toString('base64'), statement, proof, ...continuation }), profileDigest };
  };
  // The nonce of a call whose answer was lost is spent; the same key with another one gives the same enrolment.
  const { reply, profileDigest } = await ask().catch((error: unknown) => {
    if (error instanceof Problem && error.code === 'NONCE_REFUSED') return ask();
    throw error;
  });
  const journal: JournalIdentity = {
    enrolmentId: reply.enrolmentId,
    way,
    certificatePem: reply.certificate,
    keyAccount: key.keyAccount,
    keyFile: key.keyFile,
    notAfter: reply.notAfter,
    enrolledAt: new Date(now).toISOString(),
    hardwareUuid: machine.hardwareUuid,
    profileCertificateDigest: profileDigest,
  };
  try {
    return { journal, reply, identity: identityOf(way, reply.enrolmentId, reply.certificate, key.privateKey) };
  } catch {
    throw new Problem('REPLY_UNREADABLE', 'the certificate that the backend gave is not of the key that asked for it');
  }
}

async function prove(
  options: EnrolOptions,
  way: 'profile' | 'ticket',
  statement: string,
): Promise<{ proof: EnrolRequest['proof']; profileDigest: string | null }> {
  const ticket = options.settings.enrolmentTicket;
  if (way === 'ticket' && ticket) return { proof: { kind: 'ticket', ticketId: ticket.id, mac: ticketProof(ticket.secret, statement) }, profileDigest: null };
  const { identity, signedData } = await signWithProfile(options.runner, matchOf(options.settings), options.now, statement);
  return { proof: { kind: 'profile', signedData: signedData.toString('base64') }, profileDigest: identity.digest };
}

const matchOf = (settings: Settings): IdentityMatch => ({
  ...(settings.identityIssuer ? { issuer: settings.identityIssuer } : {}),
  ...(settings.identitySubject ? { subject: settings.identitySubject } : {}),
});

/** The best identity that in truth signs; the first failure is told where none does. */
async function signWithProfile(
  runner: Runner,
  match: IdentityMatch,
  now: number,
  statement: string,
): Promise<{ identity: KeychainIdentity; signedData: Buffer }> {
  const found = await findIdentities(runner, match);
  const candidates = inOrder(found, now).slice(0, 3);
  const named = [match.issuer && `issuer “${match.issuer}”`, match.subject && `subject “${match.subject}”`].filter(Boolean).join(', ');
  if (candidates.length === 0)
    throw new Problem('IDENTITY_MISSING', `${found.length === 0 ? 'none' : 'none that is valid now'} in the System keychain with ${named}`);
  let first: unknown;
  for (const identity of candidates) {
    try {
      return { identity, signedData: await signWithIdentity(runner, identity, statement) };
    } catch (error) {
      first ??= error;
    }
  }
  throw first;
}

/** What is signed to see whether a key can be used: no statement, so of no use to whoever gets it. */
export const trialText = 'sparekey: a trial signature';

/** Throws where the profile's identity would not sign now. */
export async function trySigning(runner: Runner, settings: Settings, now: number): Promise<void> {
  await signWithProfile(runner, matchOf(settings), now, trialText);
}

/** SHA-256 of the profile's certificate that would prove this Mac now, or null. */
export async function presentProfileDigest(runner: Runner, settings: Settings, now: number): Promise<string | null> {
  return inOrder(await findIdentities(runner, matchOf(settings)), now)[0]?.digest ?? null;
}

// ——— renewal

/** Whether the certificate is to be renewed: at 2/3 of its lifetime, or when the profile's certificate is another one now. */
export function renewalDue(identity: Identity, journalIdentity: JournalIdentity, now: number, profileDigest?: string | null): boolean {
  const certificate = new X509Certificate(identity.certificatePem);
  const [from, to] = [certificate.validFromDate.getTime(), certificate.validToDate.getTime()];
  if (now >= from + ((to - from) * 2) / 3) return true;
  return journalIdentity.way === 'profile' && typeof profileDigest === 'string' && profileDigest !== journalIdentity.profileCertificateDigest;
}
