import { createHmac } from 'node:crypto';

/** The address as both sides write it: origin only, no trailing slash, lower-case host. */
export const serverAddress = (url: string): string => new URL(url).origin;

export interface EnrolmentClaims {
  /** The backend's own address, as `serverAddress` gives it. */
  server: string;
  nonce: string;
  /** SHA-256 of the DER of the CSR, lower-case hex. */
  csrDigest: string;
  serial: string;
  hardwareUuid: string;
  /** The enrolment that goes on with a new key, or null. */
  continues: string | null;
}

/**
 * The text that an enrolment proves: UTF-8, LF, exactly these lines. Both sides build it, and the backend
 * compares its own with the one it was sent.
 */
export function enrolmentStatement(claims: EnrolmentClaims): string {
  const lines = [
    'sparekey enrolment 1',
    `server: ${claims.server}`,
    `nonce: ${claims.nonce}`,
    `csr: ${claims.csrDigest}`,
    `serial: ${claims.serial}`,
    `hardware: ${claims.hardwareUuid}`,
    `continues: ${claims.continues ?? 'none'}`,
  ];
  if (lines.some((line) => /[\r\n\0]/.test(line))) throw new TypeError('an enrolment claim has a line break');
  return `${lines.join('\n')}\n`;
}

/** The claims in a statement, or null where it has another form. */
export function readEnrolmentStatement(statement: string): EnrolmentClaims | null {
  const match = /^sparekey enrolment 1\nserver: (.+)\nnonce: (.+)\ncsr: ([0-9a-f]{64})\nserial: (.+)\nhardware: (.+)\ncontinues: (.+)\n$/.exec(statement);
  if (!match) return null;
  const [, server = '', nonce = '', csrDigest = '', serial = '', hardwareUuid = '', continues = ''] = match;
  return { server, nonce, csrDigest, serial, hardwareUuid, continues: continues === 'none' ? null : continues };
}

/** An enrolment ticket as it stands in the managed settings: `<id>.<secret>`, the secret 32 bytes in base64url. */
export interface EnrolmentTicket {
  id: string;
  secret: Buffer;
}

export const writeTicket = (ticket: EnrolmentTicket): string => `${ticket.id}.${ticket.secret.toString('base64url')}`;

/** The ticket that `text` is, or null. */
export function readTicket(text: string): EnrolmentTicket | null {
  const match = /^([A-Za-z0-9_-]{1,64})\.([A-Za-z0-9_-]{43})$/.exec(text.trim());
  return match?.[1] && match[2] ? { id: match[1], secret: Buffer.from(match[2], 'base64url') } : null;
}

/** The proof by ticket: HMAC-SHA-256 of the statement, base64. The ticket itself is never sent. */
export const ticketProof = (secret: Uint8Array, statement: string): string => createHmac('sha256', secret).update(statement, 'utf8').digest('base64');
