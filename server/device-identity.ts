import { hash, X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { Problem } from '../protocol/problems.ts';
import { acceptEnrolment, keyDigest } from './accept-enrolment.ts';
import { commonNameOf, revocationDigest, type SerialPattern, serialInCertificate, subjectOf } from './certificate-names.ts';
import { pem, verifyChain } from './certificates.ts';
import type { ServerClock } from './clock.ts';
import type { Log } from './log.ts';
import type { Caller, Store, Tx } from './parts.ts';
import {
  addCertificate,
  type CertificateRow,
  certificateByDigest,
  changeEnrolment,
  enrolmentByKey,
  enrolmentsOf,
  identityByDigest,
  isCertificateRevoked,
  type KnownIdentity,
  macsWithSubject,
  markFirstUse,
  openRotationOf,
} from './store/enrolments.ts';
import { countEnvelopesOf } from './store/keys.ts';
import { macsWithSerial } from './store/macs.ts';

/** The client certificate of a connection, as it was presented; nothing about it is believed yet. */
export interface Presented {
  leaf: X509Certificate;
  /** SHA-256 of its DER. */
  digest: string;
  /** What came with it, DER. */
  others: Buffer[];
}

/** A certificate of a device CA that no enrolment is known for: a check-in, which names the hardware, makes one. */
export interface Newcomer {
  presented: Presented;
  requestId: string;
  protocol: number;
}

export interface DeviceIdentityParts {
  store: Store;
  clock: ServerClock;
  agentCa: Buffer;
  deviceCas: readonly Buffer[];
  serialPattern: SerialPattern;
  confirmProvedSerials: boolean;
  log: Log;
}

const mostOthers = 8;
/** The new key, macOS's file and what is sealed again after an interruption are a handful. */
const mostOfRotation = 64;
/** Chains remembered for connections that were resumed: TLS then has the leaf only. */
const mostRemembered = 10_000;
const mostRevocationNames = 50_000;

export const sha256 = (bytes: Uint8Array): string => hash('sha256', bytes, 'hex');
const publicKeyOf = (certificate: X509Certificate): Buffer => certificate.publicKey.export({ type: 'spki', format: 'der' });

/** By connection. TLS 1.3 has no renegotiation: whoever it was at its handshake it is until its end. */
const presentedBefore = new WeakMap<TLSSocket, Presented>();

/** The client certificate of this connection, or null. */
export function presentedOn(socket: TLSSocket): Presented | null {
  const before = presentedBefore.get(socket);
  if (before) return before;
  const leaf = socket.getPeerX509Certificate?.();
  if (!leaf) return null;
  const others: Buffer[] = [];
  for (let next = leaf.issuerCertificate; next && others.length < mostOthers; next = next.issuerCertificate) others.push(next.raw);
  const presented = { leaf, digest: sha256(leaf.raw), others };
  if (socket.getProtocol() === 'TLSv1.3') presentedBefore.set(socket, presented);
  return presented;
}

/** Who is this Mac? By its certificate alone, at every request. */
export function createDeviceIdentity(parts: DeviceIdentityParts) {
  const { store, clock, log } = parts;
  const remembered = new Map<string, Buffer[]>();

  const othersOf = (presented: Presented): Buffer[] => (presented.others.length > 0 ? presented.others : (remembered.get(presented.digest) ?? []));

  /** Only of a certificate that was found good: what anybody presents would fill the memory, and push out what is needed. */
  function remember({ digest, others }: Presented): void {
    if (others.length === 0) return;
    if (remembered.size >= mostRemembered) remembered.clear();
    remembered.set(digest, others);
  }

  /** Whose certificate it is, or the refusal. An expired one is of its CA all the same. */
  function issuerOf(presented: Presented): 'agent' | 'device' {
    const at = new Date(clock.now());
    const leaf = presented.leaf.raw;
    const faults: string[] = [];
    for (const whose of ['agent', 'device'] as const) {
      const anchors = whose === 'agent' ? [parts.agentCa] : parts.deviceCas;
      const answer = verifyChain({ leaf, leafDigest: presented.digest, others: othersOf(presented), anchors, at, usage: 'clientAuth' });
      if (!answer.ok) {
        faults.push(answer.because);
        continue;
      }
      remember(presented);
      return whose;
    }
    const fault = faults.find((because) => because !== 'unknown-ca');
    if (fault === 'expired') throw new Problem('CERTIFICATE_EXPIRED');
    throw new Problem(
      'CERTIFICATE_UNKNOWN',
      fault === 'not-yet' ? 'it is not valid yet' : fault === undefined ? undefined : `it may not be used so (${fault})`,
    );
  }

  /** A valid, unrevoked certificate of a device CA: the proof `tls` of an enrolment. Null where there is none. */
  async function deviceCertificate(tx: Tx | Store['db'], presented: Presented | null): Promise<Presented | null> {
    if (!presented || issuerOf(presented) !== 'device') return null;
    if (await isCertificateRevoked(tx, revocationDigest(presented.leaf))) throw new Problem('CERTIFICATE_REVOKED');
    return { ...presented, others: othersOf(presented) };
  }

  async function refuseRevokedProfile(enrolment: KnownIdentity['enrolment']): Promise<void> {
    if (enrolment.profile_certificate === null) return;
    if (await isCertificateRevoked(store.db, revocationNameOf(enrolment.profile_certificate)))
      throw new Problem('CERTIFICATE_REVOKED', 'the profile certificate of the enrolment');
  }

  async function standingOf(known: KnownIdentity, mayBeLate: boolean): Promise<Caller['standing']> {
    const { enrolment, mac } = known;
    if (enrolment.status === 'revoked') {
      const open = mayBeLate ? await openRotationOf(store.db, mac.id, enrolment.id) : null;
      if (open && open.begunAt <= (enrolment.status_at ?? 0)) return 'revoked-late';
      throw new Problem('ENROLMENT_REVOKED');
    }
    if (enrolment.status === 'replaced' || known.certificate.status === 'replaced') throw new Problem('CERTIFICATE_REPLACED');
    if (enrolment.replaced_after !== null && enrolment.replaced_after <= clock.now()) throw new Problem('CERTIFICATE_REPLACED', 'the Mac was set up again');
    return 'active';
  }

  const callerOf = (known: KnownIdentity, leaf: X509Certificate, standing: Caller['standing'], asked: { requestId: string; protocol: number }): Caller => ({
    macId: known.mac.id,
    serial: known.mac.serial,
    serialProved: known.mac.serial_proved === 1,
    hardwareUuid: known.enrolment.hardware_uuid,
    enrolmentId: known.enrolment.id,
    way: known.enrolment.way,
    standing,
    confirmed: known.enrolment.confirmed === 1,
    // Of the certificate that was presented: while a renewal is under way the enrolment has two. Grants alone ask for it.
    get publicKey() {
      return publicKeyOf(leaf);
    },
    profileNotAfter: known.enrolment.profile_not_after,
    ...asked,
  });

  /** A device certificate that is new, but whose key is not: the enrolment has one certificate more. */
  async function adoptByKey(presented: Presented): Promise<KnownIdentity | null> {
    const publicKeyDigest = keyDigest(publicKeyOf(presented.leaf));
    const found = await enrolmentByKey(store.db, publicKeyDigest);
    if (!found?.current || found.enrolment.way !== 'direct') return null;
    if (found.enrolment.profile_certificate === null || !sameName(presented.leaf, found.enrolment.profile_certificate)) return null;
    await store.write(async (tx) => {
      const at = await clock.persist(tx);
      if ((await certificateByDigest(tx, presented.digest)) !== null) return;
      await addCertificate(tx, certificateRow(presented, found.enrolment.id, at));
    });
    return identityByDigest(store.db, presented.digest);
  }

  /** From its first use on, a certificate's key is the enrolment's, and the certificates before it are `replaced`. */
  async function useFirst(tx: Tx, certificate: CertificateRow, at: number): Promise<void> {
    const publicKey = publicKeyOf(new X509Certificate(Buffer.from(certificate.der)));
    await markFirstUse(tx, certificate, at);
    await changeEnrolment(tx, certificate.enrolment_id, { public_key: publicKey, public_key_digest: keyDigest(publicKey) });
  }

  async function noteFirstUse(digest: string): Promise<void> {
    await store.write(async (tx) => {
      const known = await certificateByDigest(tx, digest);
      if (known && known.certificate.first_used_at === null) await useFirst(tx, known.certificate, await clock.persist(tx));
    });
  }

  return {
    deviceCertificate,

    /** The guard of every request but `nonce` and `enroll`. `mayBeLate`: a delivery, which a revoked enrolment may end its rotation with. */
    async identify(presented: Presented | null, asked: { requestId: string; protocol: number; mayBeLate: boolean }): Promise<Caller | Newcomer> {
      if (!presented) throw new Problem('CERTIFICATE_MISSING');
      const { requestId, protocol } = asked;
      const whose = issuerOf(presented);
      let known = await identityByDigest(store.db, presented.digest);
      // Our own certificates say whose they are: a row that was moved to another enrolment gives nobody its Mac.
      if (known && whose === 'agent' && !isNamed(presented.leaf, known.enrolment.id))
        throw new Problem('CERTIFICATE_UNKNOWN', 'it names another enrolment than the one on record');
      let standing = known ? await standingOf(known, asked.mayBeLate) : null;
      // Revoking an enrolment revokes its profile certificate too: neither keeps it from ending a rotation that it began.
      if (standing !== 'revoked-late' && whose === 'device' && (await isCertificateRevoked(store.db, revocationDigest(presented.leaf))))
        throw new Problem('CERTIFICATE_REVOKED');
      if (!known && whose === 'device') known = await adoptByKey(presented);
      if (!known) {
        if (whose === 'device') return { presented: { ...presented, others: othersOf(presented) }, requestId, protocol };
        throw new Problem('CERTIFICATE_UNKNOWN', 'this backend has not issued it, or was restored from a backup of before');
      }
      standing ??= await standingOf(known, asked.mayBeLate);
      if (standing === 'active') await refuseRevokedProfile(known.enrolment);
      if (known.certificate.first_used_at === null) await noteFirstUse(presented.digest);
      return callerOf(known, presented.leaf, standing, { requestId, protocol });
    },

    /** The first check-in with a certificate of a device CA used directly. The hardware is the Mac's claim, the serial the certificate's word. */
    async welcome(newcomer: Newcomer, claimed: { serial: string; hardwareUuid: string }): Promise<Caller> {
      const { leaf, digest, others } = newcomer.presented;
      const inside = serialInCertificate(leaf, parts.serialPattern);
      // As in a statement of enrolment: it is stored for ever, and shown to people.
      if (!/^[\x21-\x7e]{1,64}$/.test(claimed.serial)) throw new Problem('MESSAGE_INVALID', 'the serial number has another form');
      if (inside !== null && inside !== claimed.serial.toUpperCase()) throw new Problem('IDENTITY_MOVED', 'the certificate names another serial number');
      const serial = inside ?? claimed.serial.toUpperCase();
      const accepted = await store.write(async (tx) => {
        const at = await clock.persist(tx);
        const before = await earlier(tx, leaf, { serial, proved: inside !== null, hardwareUuid: claimed.hardwareUuid });
        const done = await acceptEnrolment(tx, {
          at,
          way: 'direct',
          publicKey: publicKeyOf(leaf),
          serial,
          serialProved: inside !== null,
          subject: inside === null ? subjectOf(leaf) : null,
          hardwareUuid: claimed.hardwareUuid,
          statement: `sparekey direct enrolment 1\ncertificate: ${digest}\nserial: ${serial}\nhardware: ${claimed.hardwareUuid}\n`,
          proof: Buffer.from([leaf.raw, ...others].map((der) => pem('CERTIFICATE', der)).join('')),
          profile: { der: leaf.raw, notAfter: leaf.validToDate.getTime() },
          ticketId: null,
          continues: before,
          // The chain is what continues it: no signature by the key before.
          continuation: before === null ? null : { enrolmentId: before, signature: '' },
          confirmProvedSerials: parts.confirmProvedSerials,
        });
        if ((await certificateByDigest(tx, digest)) === null) await addCertificate(tx, certificateRow(newcomer.presented, done.enrolmentId, at));
        const known = await certificateByDigest(tx, digest);
        if (known) await useFirst(tx, known.certificate, at);
        return done;
      });
      log.info('enrolled', { ...accepted, alarms: accepted.alarms.join(' '), way: 'direct', requestId: newcomer.requestId });
      const known = await certificateByDigest(store.db, digest);
      if (!known) throw new Problem('CERTIFICATE_UNKNOWN');
      return callerOf(known, leaf, await standingOf(known, false), newcomer);
    },

    /** Whether a delivery ends a rotation that this caller began: it is never shed. One that has brought so many envelopes brings no key any more. */
    async endsRotation(caller: Caller, rotationId: string | null): Promise<boolean> {
      if (rotationId === null || (await openRotationOf(store.db, caller.macId, caller.enrolmentId))?.id !== rotationId) return false;
      return (await countEnvelopesOf(store.db, caller.macId, rotationId)) < mostOfRotation;
    },
  };

  /** The active direct enrolment that a certificate of the same issuer and subject, on the same hardware, goes on with. */
  async function earlier(tx: Tx, leaf: X509Certificate, who: { serial: string; proved: boolean; hardwareUuid: string }): Promise<string | null> {
    const macs = who.proved ? (await macsWithSerial(tx, who.serial)).filter((mac) => mac.serial_proved === 1) : await macsWithSubject(tx, subjectOf(leaf));
    for (const mac of macs) {
      const same = (await enrolmentsOf(tx, mac.id)).find(
        (enrolment) =>
          enrolment.way === 'direct' &&
          enrolment.status === 'active' &&
          enrolment.hardware_uuid.toLowerCase() === who.hardwareUuid.toLowerCase() &&
          enrolment.profile_certificate !== null &&
          sameName(leaf, enrolment.profile_certificate),
      );
      if (same) return same.id;
    }
    return null;
  }
}
export type DeviceIdentity = ReturnType<typeof createDeviceIdentity>;

/** The short way first: our own certificates have this name and nothing else. */
const isNamed = (leaf: X509Certificate, id: string): boolean => leaf.subject === `CN=${id}` || commonNameOf(leaf) === id;

/** How a certificate is named where it is revoked, by the digest of its DER: what it says, and not whether it was. */
const revocationNames = new Map<string, string>();
function revocationNameOf(der: Uint8Array): string {
  const digest = sha256(der);
  const known = revocationNames.get(digest) ?? revocationDigest(new X509Certificate(Buffer.from(der)));
  if (revocationNames.size >= mostRevocationNames) revocationNames.clear();
  revocationNames.set(digest, known);
  return known;
}

const sameName = (leaf: X509Certificate, other: Uint8Array): boolean => subjectOf(leaf) === subjectOf(new X509Certificate(Buffer.from(other)));

const certificateRow = (presented: Presented, enrolmentId: string, at: number) => ({
  digest: presented.digest,
  enrolment_id: enrolmentId,
  der: presented.leaf.raw,
  issued_at: at,
  not_after: presented.leaf.validToDate.getTime(),
});
