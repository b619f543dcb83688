import { createHash, createPublicKey, type KeyObject, verify, X509Certificate } from 'node:crypto';
import type { z } from 'zod';
import { readCsr } from '../protocol/csr.ts';
import { type EnrolmentClaims, enrolmentStatement, readEnrolmentStatement } from '../protocol/enrolment.ts';
import type { enrolReply, enrolRequest, nonceReply } from '../protocol/messages.ts';
import { Problem } from '../protocol/problems.ts';
import { acceptEnrolment, keyDigest, type Proved } from './accept-enrolment.ts';
import { revocationDigest, serialInCertificate, subjectOf } from './certificate-names.ts';
import { issueClientCertificate, pem, verifyChain } from './certificates.ts';
import type { ServerClock } from './clock.ts';
import { type DeviceIdentity, type Presented, sha256 } from './device-identity.ts';
import type { Log } from './log.ts';
import { makeNonce, nonceSeconds, readNonce } from './nonce.ts';
import type { ServerSecrets, Store, Tx } from './parts.ts';
import type { ServerSettings } from './settings.ts';
import { readSignedStatement } from './signed-statement.ts';
import { addCertificate, enrolmentById, enrolmentByKey, isCertificateRevoked, keysInUse, spendNonce } from './store/enrolments.ts';
import { tidySerial, useTicket } from './tickets.ts';

type EnrolRequest = z.infer<typeof enrolRequest>;
type EnrolReply = z.infer<typeof enrolReply>;
type NonceReply = z.infer<typeof nonceReply>;

/** Longer than a year, so that a Mac that was away for a season comes back with a good one. */
const certificateDays = 400;
const day = 24 * 60 * 60 * 1000;

export interface EnrolmentParts {
  store: Store;
  clock: ServerClock;
  secrets: ServerSecrets;
  settings: ServerSettings;
  agentCa: { der: Buffer; key: KeyObject };
  deviceCas: readonly Buffer[];
  identity: DeviceIdentity;
  log: Log;
}

/** What a proof shows: who, and how well. */
type Shown = Pick<Proved, 'way' | 'serial' | 'serialProved' | 'subject' | 'proof' | 'profile' | 'ticketId'>;

/** Makes enrolments. Everything of one is stored in one transaction, the spent nonce included. */
export function createEnrolment(parts: EnrolmentParts) {
  const { store, clock, secrets, settings, deviceCas, log } = parts;
  const addresses = [settings.serverUrl, ...settings.otherUrls];
  const ticketsOn = deviceCas.length === 0 || settings.ticketsBesideDeviceCas;

  /** The statement is the one that the server itself would have made from its own address, the nonce, the CSR and the claims. */
  function checkStatement(statement: string, csrDer: Buffer): EnrolmentClaims {
    const claims = readEnrolmentStatement(statement);
    if (!claims) throw new Problem('STATEMENT_REFUSED', 'it has another form');
    const server = addresses.find((address) => address === claims.server);
    if (!server) throw new Problem('STATEMENT_REFUSED', `it is for another address than ${settings.serverUrl}`);
    const csrDigest = createHash('sha256').update(csrDer).digest('hex');
    if (enrolmentStatement({ ...claims, server, csrDigest }) !== statement) throw new Problem('STATEMENT_REFUSED', 'it is for another certificate request');
    if (!/^[\x21-\x7e]{1,64}$/.test(claims.serial) || !/^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$/.test(claims.hardwareUuid))
      throw new Problem('STATEMENT_REFUSED', 'serial number or hardware UUID have another form');
    return claims;
  }

  /** A certificate of a device CA, its chain and use checked: who it names, and whether that fits what is claimed. */
  function shownBy(leaf: X509Certificate, claims: EnrolmentClaims): Pick<Shown, 'serial' | 'serialProved' | 'subject' | 'profile' | 'ticketId'> {
    const inside = serialInCertificate(leaf, settings.serialPattern);
    const claimed = tidySerial(claims.serial);
    if (inside !== null && inside !== claimed) throw new Problem('PROOF_REFUSED', 'the certificate names another serial number than this Mac has');
    return {
      serial: claimed,
      serialProved: inside !== null,
      subject: inside === null ? subjectOf(leaf) : null,
      profile: { der: leaf.raw, notAfter: leaf.validToDate.getTime() },
      ticketId: null,
    };
  }

  async function byProfile(tx: Tx, signedData: string, claims: EnrolmentClaims, statement: string, at: number): Promise<Shown> {
    const cms = Buffer.from(signedData, 'base64');
    let signed: ReturnType<typeof readSignedStatement>;
    try {
      signed = readSignedStatement(cms);
    } catch (error) {
      throw new Problem('PROOF_REFUSED', error instanceof Error ? error.message : undefined);
    }
    if (!signed.content.equals(Buffer.from(statement, 'utf8'))) throw new Problem('PROOF_REFUSED', 'another statement was signed');
    const answer = verifyChain({ leaf: signed.signer, others: signed.certificates, anchors: deviceCas, at: new Date(at), usage: 'clientAuth' });
    if (!answer.ok) throw new Problem('PROOF_REFUSED', `the certificate of the profile: ${answer.because}`);
    const leaf = new X509Certificate(signed.signer);
    if (await isCertificateRevoked(tx, revocationDigest(leaf))) throw new Problem('CERTIFICATE_REVOKED');
    return { way: 'profile', proof: cms, ...shownBy(leaf, claims) };
  }

  async function byTls(tx: Tx, presented: Presented | null, claims: EnrolmentClaims): Promise<Shown> {
    const device = await parts.identity.deviceCertificate(tx, presented).catch((error: unknown) => {
      if (error instanceof Problem && error.code !== 'CERTIFICATE_REVOKED' && error.code !== 'STORE_FAILED')
        throw new Problem('PROOF_REFUSED', 'the client certificate of this connection is not a valid one of a device CA');
      throw error;
    });
    if (!device) throw new Problem('PROOF_REFUSED', 'the client certificate of this connection is none of a device CA');
    const chain = [device.leaf.raw, ...device.others].map((der) => pem('CERTIFICATE', der)).join('');
    return { way: 'tls', proof: Buffer.from(chain), ...shownBy(device.leaf, claims) };
  }

  /** The continuation, if the signature is by a key that the named enrolment still uses; otherwise a new enrolment is made. */
  async function checkContinuation(tx: Tx, request: EnrolRequest, claims: EnrolmentClaims): Promise<Proved['continuation']> {
    const { continuation } = request;
    if (!continuation || claims.continues !== continuation.enrolmentId) return null;
    const of = await enrolmentById(tx, continuation.enrolmentId);
    if (!of) return null;
    const signature = Buffer.from(continuation.signature, 'base64');
    const signedBy = (key: Buffer) => {
      try {
        return verify('sha256', Buffer.from(request.statement, 'utf8'), createPublicKey({ key, format: 'der', type: 'spki' }), signature);
      } catch {
        return false;
      }
    };
    return (await keysInUse(tx, of.enrolment)).some(signedBy) ? continuation : null;
  }

  async function show(
    tx: Tx,
    request: EnrolRequest,
    claims: EnrolmentClaims,
    presented: Presented | null,
    continuation: Proved['continuation'],
    at: number,
  ): Promise<Shown> {
    const { proof, statement } = request;
    const csrDer = Buffer.from(request.csr, 'base64');
    if (proof.kind === 'profile') return byProfile(tx, proof.signedData, claims, statement, at);
    if (proof.kind === 'tls') return byTls(tx, presented, claims);
    // Its continuation, or the same key again: the reply to the first may have been lost on its way.
    const before = continuation ? await enrolmentById(tx, continuation.enrolmentId) : await enrolmentByKey(tx, keyDigest(asked(csrDer).publicKeyDer));
    const sameMac =
      before !== null &&
      before.enrolment.serial === tidySerial(claims.serial) &&
      before.enrolment.hardware_uuid.toLowerCase() === claims.hardwareUuid.toLowerCase();
    const continues = before && before.enrolment.status === 'active' && sameMac ? { ticketId: before.enrolment.ticket_id } : null;
    if (!ticketsOn && !continues) throw new Problem('TICKET_REFUSED', 'tickets are off, because device CAs are configured');
    const serial = tidySerial(claims.serial);
    await useTicket(tx, secrets, { ticketId: proof.ticketId, mac: proof.mac, statement, serial, hardwareUuid: claims.hardwareUuid, continues, at });
    return {
      way: 'ticket',
      serial,
      serialProved: false,
      subject: null,
      proof: Buffer.from(JSON.stringify({ ticketId: proof.ticketId, mac: proof.mac })),
      profile: null,
      ticketId: proof.ticketId,
    };
  }

  return {
    nonce: (): NonceReply => ({ nonce: makeNonce(secrets.nonce, 'enrol', clock.now()), expiresInSeconds: nonceSeconds }),

    async enrol(request: EnrolRequest, presented: Presented | null, requestId: string): Promise<EnrolReply> {
      const csrDer = Buffer.from(request.csr, 'base64');
      const claims = readEnrolmentStatement(request.statement);
      const expires = claims ? readNonce(secrets.nonce, 'enrol', claims.nonce, clock.now()) : null;
      if (claims && expires === null) throw new Problem('NONCE_REFUSED');
      const checked = checkStatement(request.statement, csrDer);
      const done = await store.write(async (tx) => {
        const at = await clock.persist(tx);
        if (!(await spendNonce(tx, sha256(Buffer.from(checked.nonce)), expires ?? at))) throw new Problem('NONCE_REFUSED', 'it was used before');
        const continuation = await checkContinuation(tx, request, checked);
        const shown = await show(tx, request, checked, presented, continuation, at);
        const { publicKeyDer } = asked(csrDer);
        const accepted = await acceptEnrolment(tx, {
          at,
          publicKey: publicKeyDer,
          hardwareUuid: checked.hardwareUuid,
          statement: request.statement,
          continues: checked.continues,
          continuation,
          confirmProvedSerials: settings.keys.confirmProvedSerials,
          ...shown,
        });
        const der = issueClientCertificate({
          ca: parts.agentCa.der,
          caKey: parts.agentCa.key,
          publicKeyDer,
          commonName: accepted.enrolmentId,
          at: new Date(at),
          days: certificateDays,
        });
        const notAfter = new X509Certificate(der).validToDate.getTime();
        await addCertificate(tx, { digest: sha256(der), enrolment_id: accepted.enrolmentId, der, issued_at: at, not_after: notAfter });
        return { ...accepted, der, notAfter, way: shown.way };
      });
      const { der, notAfter, alarms, ...ids } = done;
      log.info('enrolled', { ...ids, requestId, alarms: alarms.join(' '), daysValid: Math.round((notAfter - clock.now()) / day) });
      return {
        enrolmentId: done.enrolmentId,
        certificate: pem('CERTIFICATE', der) + pem('CERTIFICATE', parts.agentCa.der),
        notAfter: new Date(notAfter).toISOString(),
        serialProved: done.serialProved,
        confirmed: done.confirmed,
      };
    },
  };
}
export type Enrolment = ReturnType<typeof createEnrolment>;

function asked(csrDer: Buffer): { publicKeyDer: Buffer } {
  try {
    return readCsr(csrDer);
  } catch (error) {
    throw new Problem('CSR_REFUSED', error instanceof TypeError ? error.message : 'it is no certificate request');
  }
}
