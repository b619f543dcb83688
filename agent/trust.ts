// Whom the agent takes for its backend: the public roots that the runtime brings, the certificates of the settings, and
// the Mac's own store only where a setting says so. Nothing ever falls back to less.
import { X509Certificate } from 'node:crypto';
import type { Socket } from 'node:net';
import { connect, rootCertificates } from 'node:tls';
import { Problem } from '../protocol/problems.ts';

/** Reading the system's store takes seconds, on Macs with a network filter most of a minute (nodejs/node#63313). */
const storeSeconds = 20;

export async function trustedRoots(trust: 'bundled' | 'system', settings: readonly string[]): Promise<{ roots: string[]; incomplete: boolean }> {
  const bundled = [...rootCertificates, ...settings];
  if (trust === 'bundled') return { roots: bundled, incomplete: false };
  const system = await readSystemStore(storeSeconds);
  return { roots: [...bundled, ...(system ?? [])], incomplete: system === null };
}

/** In a thread of its own: the call does not come back before it is done, and then the run would be over its time. */
export async function readSystemStore(
  seconds: number,
  code = "require('node:worker_threads').parentPort.postMessage(require('node:tls').getCACertificates('system'))",
): Promise<string[] | null> {
  const { Worker } = await import('node:worker_threads');
  return new Promise((resolve) => {
    const worker = new Worker(code, { eval: true });
    const done = (found: string[] | null) => {
      clearTimeout(timer);
      worker.unref();
      void worker.terminate();
      resolve(found);
    };
    const timer = setTimeout(() => done(null), seconds * 1000);
    worker.on('message', (found: string[]) => done(found));
    worker.on('error', () => done(null));
    worker.on('exit', () => done(null));
  });
}

/** What OpenSSL and Node say when the chain leads to nobody who is trusted. */
const unknownIssuer = new Set([
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'CERT_UNTRUSTED',
  'CERT_SIGNATURE_FAILURE',
]);
const wrongCertificate: Record<string, string> = {
  CERT_HAS_EXPIRED: 'it has expired, or the clock of this Mac is wrong',
  CERT_NOT_YET_VALID: 'it is not valid yet, or the clock of this Mac is wrong',
  ERR_TLS_CERT_ALTNAME_INVALID: 'it is for another name',
  CERT_REVOKED: 'it was revoked',
  INVALID_PURPOSE: 'it is not for servers',
  INVALID_CA: 'one of its issuers is no CA',
  PATH_LENGTH_EXCEEDED: 'its chain is too long',
  CA_MD_TOO_WEAK: 'its signature is too weak',
  EE_KEY_TOO_SMALL: 'its key is too small',
};

/** Products that open TLS and sign anew; their names stand in the issuer that they present. */
const inspectors =
  /zscaler|netskope|palo alto|fortinet|fortigate|blue ?coat|symantec web|umbrella|websense|forcepoint|sophos|kaspersky|bitdefender|eset|avast|check ?point|mcafee|skyhigh|barracuda|sonicwall|watchguard|untangle|iboss|cato networks|menlo|cloudflare gateway|burp|mitmproxy|charles proxy|fiddler|little ?snitch/i;

export const isTrustFailure = (code: string | undefined): boolean => code !== undefined && (unknownIssuer.has(code) || code in wrongCertificate);

/**
 * The problem behind a refused certificate. `presented` is what the other side showed, looked at once more on a
 * connection of its own; `expected` are the certificates of the settings.
 */
export function trustProblem(code: string, presented: readonly X509Certificate[], expected: readonly string[], incomplete: boolean): Problem {
  const [leaf] = presented;
  const wrong = wrongCertificate[code];
  if (wrong) return new Problem('SERVER_NOT_TRUSTED', wrong);
  if (!leaf) return new Problem('SERVER_NOT_TRUSTED', 'it was not shown a second time');
  const last = presented.at(-1) ?? leaf;
  const issuers = [leaf.issuer, last.issuer];
  const named = `issued by ${oneLine(leaf.issuer)}`;
  const names = expected.flatMap((pem) => subjectOf(pem));
  // A CA of the right name and with another key is our own, gone stale in the settings; one that signed itself is a server not set up yet.
  const ours = leaf.issuer === leaf.subject || issuers.some((issuer) => names.includes(issuer));
  if (!ours && (names.length > 0 || issuers.some((issuer) => inspectors.test(issuer)))) return new Problem('TLS_INTERCEPTED', named);
  return new Problem('SERVER_NOT_TRUSTED', incomplete ? `${named}; the trust store of this Mac could not be read in ${storeSeconds} s` : named);
}

const oneLine = (name: string): string =>
  name
    .replace(/\s*\n\s*/g, ', ')
    .replace(/[^\x20-\x7E\u00A0-\uFFFD]/g, '?')
    .slice(0, 200);

function subjectOf(pem: string): string[] {
  try {
    return [new X509Certificate(pem).subject];
  } catch {
    return [];
  }
}

/**
 * What the other side shows: a handshake that presents no certificate of ours, checks nothing, and over which not one
 * byte is sent. Only to name the issuer; it decides nothing.
 */
export function lookAtCertificates(socket: Socket, servername: string | undefined, seconds: number): Promise<X509Certificate[]> {
  return new Promise((resolve) => {
    const looking = connect({ socket, ...(servername ? { servername } : {}), rejectUnauthorized: false, minVersion: 'TLSv1.2' });
    const done = (found: X509Certificate[]) => {
      clearTimeout(timer);
      looking.destroy();
      resolve(found);
    };
    const timer = setTimeout(() => done([]), seconds * 1000);
    looking.on('error', () => done([]));
    looking.on('close', () => done([]));
    looking.on('secureConnect', () => {
      const found: X509Certificate[] = [];
      for (let one = looking.getPeerX509Certificate(); one && found.length < 10; one = one.issuerCertificate) found.push(one);
      done(found);
    });
  });
}
