import { hash, type KeyObject, X509Certificate } from 'node:crypto';
import { Fields, inside } from '../protocol/asn1.ts';
import { algorithmOf, allowsUse, type Certificate, caDepthOf, extension, purposesOf, readCertificate } from '../protocol/certificate.ts';

/** Whether a certificate comes from a CA that we trust, at a given time: RFC 5280, as much of it as device CAs use. */
type ChainAnswer =
  | { ok: true /** DER, from the leaf to the anchor. */; chain: Buffer[] }
  | { ok: false; because: 'expired' | 'unknown-ca' | 'usage' | 'weak' | 'not-yet' };
type Fault = Extract<ChainAnswer, { ok: false }>['because'];

/** Certificates above the leaf, the anchor counted. */
const mostIssuers = 4;
/** What a peer sends beside its leaf; more are not looked at. */
const mostOthers = 10;
/** Signatures checked for one answer: cross-signed CAs could otherwise be arranged so that the ways multiply. */
const mostSteps = 50;

const clientAuth = '1.3.6.1.5.5.7.3.2';
const anyPurpose = '2.5.29.37.0';
const rsaPss = '1.2.840.113549.1.1.10';
const goodHashes = ['2.16.840.1.101.3.4.2.1', '2.16.840.1.101.3.4.2.2', '2.16.840.1.101.3.4.2.3'];
/** RSA and ECDSA with SHA-256, 384, 512. */
const goodSignatures = [
  '1.2.840.113549.1.1.11',
  '1.2.840.113549.1.1.12',
  '1.2.840.113549.1.1.13',
  '1.2.840.10045.4.3.2',
  '1.2.840.10045.4.3.3',
  '1.2.840.10045.4.3.4',
];
/** A critical extension that nobody here understands makes a certificate unusable (RFC 5280, 4.2). */
const certificatePolicies = '2.5.29.32';
const understood: string[] = [extension.basicConstraints, extension.keyUsage, extension.extendedKeyUsage, extension.subjectAltName, certificatePolicies];

interface Link {
  certificate: Certificate;
  x509: X509Certificate;
}

interface ChainAsked {
  leaf: Uint8Array;
  /** SHA-256 of the leaf, by whoever has it already. */
  leafDigest?: string;
  others: readonly Uint8Array[];
  anchors: readonly Uint8Array[];
  at: Date;
  usage: 'clientAuth';
}

/**
 * What a chain says and who signed it is so for ever; when it is asked is not, and is looked at each time. Whoever is accepted
 * comes again within the hour, so that is kept, a few hundred bytes of each. Whether a certificate was revoked is nothing of this.
 */
const mostKept = 50_000;
const kept = new Map<string, { above: Buffer[]; notBefore: Date; notAfter: Date }>();

export function verifyChain(options: ChainAsked): ChainAnswer {
  const name = nameOf(options);
  const known = kept.get(name);
  if (known && options.at >= known.notBefore && options.at <= known.notAfter) return { ok: true, chain: [Buffer.from(options.leaf), ...known.above] };
  const answer = findChain(options);
  if (answer.ok) {
    const certificates = answer.chain.flatMap((der) => link(der)?.certificate ?? []);
    if (kept.size >= mostKept) kept.clear();
    kept.set(name, {
      above: answer.chain.slice(1),
      notBefore: new Date(Math.max(...certificates.map(({ notBefore }) => notBefore.getTime()))),
      notAfter: new Date(Math.min(...certificates.map(({ notAfter }) => notAfter.getTime()))),
    });
  }
  return answer;
}

const digestOf = (der: Uint8Array): string => hash('sha256', der, 'base64');

/** Each by its digest, and where those that are trusted end. They are few, and as they were at the start: read once. */
function nameOf({ leaf, leafDigest = hash('sha256', leaf, 'hex'), anchors, others }: ChainAsked): string {
  const trusted = anchors.map((der) => {
    const known = anchorDigests.get(der) ?? digestOf(der);
    anchorDigests.set(der, known);
    return known;
  });
  return `${leafDigest} ${trusted.join()} ${others.map(digestOf).join()}`;
}
const anchorDigests = new WeakMap<Uint8Array, string>();

function findChain(options: ChainAsked): ChainAnswer {
  const leaf = link(options.leaf);
  if (!leaf) return { ok: false, because: 'unknown-ca' };
  const anchors = options.anchors.map(link).filter((each) => each !== null);
  const others = options.others
    .slice(0, mostOthers)
    .map(link)
    .filter((each) => each !== null);
  const faults: Fault[] = [];
  for (const chain of waysUp(leaf, others, anchors)) {
    const fault = faultOf(chain, options.at);
    if (!fault) return { ok: true, chain: chain.map(({ certificate }) => certificate.der) };
    faults.push(fault);
  }
  return { ok: false, because: faults[0] ?? 'unknown-ca' };
}

/** The same few certificates come with every request, and reading one costs more than checking it. About 20 KB each. */
const mostRead = 1000;
const alreadyRead = new Map<string, Link | null>();

function link(der: Uint8Array): Link | null {
  const digest = hash('sha256', der, 'base64');
  const known = alreadyRead.get(digest);
  if (known !== undefined) return known;
  const read = readLink(der);
  if (alreadyRead.size >= mostRead) alreadyRead.clear();
  alreadyRead.set(digest, read);
  return read;
}

function readLink(der: Uint8Array): Link | null {
  try {
    const certificate = readCertificate(der);
    const x509 = new X509Certificate(certificate.der);
    // Reading the key now: one of a kind that OpenSSL does not know makes it no certificate for us.
    return x509.publicKey ? { certificate, x509 } : null;
  } catch {
    return null;
  }
}

/** Every chain from the leaf to an anchor whose names and signatures fit, the direct ones first. */
function* waysUp(leaf: Link, others: Link[], anchors: Link[]): Generator<Link[]> {
  const waiting: Link[][] = [[leaf]];
  let steps = 0;
  for (let chain = waiting.shift(); chain; chain = waiting.shift()) {
    const last = chain[chain.length - 1];
    if (!last || chain.length > mostIssuers) continue;
    for (const candidate of [...anchors, ...others]) {
      if (chain.includes(candidate) || !candidate.certificate.subject.equals(last.certificate.issuer)) continue;
      steps += 1;
      if (steps > mostSteps) return;
      if (!signedBy(last, candidate)) continue;
      if (anchors.includes(candidate)) yield [...chain, candidate];
      else waiting.push([...chain, candidate]);
    }
  }
}

function signedBy(child: Link, issuer: Link): boolean {
  // What is signed too weakly ends as `weak`; its signature proves nothing either way.
  if (!signedWell(child.certificate)) return true;
  try {
    return child.x509.verify(issuer.x509.publicKey);
  } catch {
    return false;
  }
}

function faultOf(chain: Link[], at: Date): Fault | null {
  const leaf = chain[0]?.certificate;
  try {
    for (const [place, { certificate, x509 }] of chain.entries()) {
      const isAnchor = place === chain.length - 1;
      // An anchor is trusted as it is: nobody asks who signed it, and how.
      if (!isAnchor && !signedWell(certificate)) return 'weak';
      if (!strong(x509.publicKey)) return 'weak';
      if (place > 0 && !mayIssue(certificate, place - 1)) return 'usage';
      if (!servesClients(certificate)) return 'usage';
      for (const [id, { critical }] of certificate.extensions) if (critical && !understood.includes(id)) return 'usage';
    }
    if (!leaf || !purposesOf(leaf) || !allowsUse(leaf, 'digitalSignature')) return 'usage';
  } catch {
    return 'usage';
  }
  if (chain.some(({ certificate }) => at < certificate.notBefore)) return 'not-yet';
  return chain.some(({ certificate }) => at > certificate.notAfter) ? 'expired' : null;
}

/** A CA, and not more CAs below it than it allows. */
function mayIssue(certificate: Certificate, casBelow: number): boolean {
  const depth = caDepthOf(certificate);
  return depth !== null && casBelow <= depth && allowsUse(certificate, 'keyCertSign');
}

/** Whether its purposes, where it has any, allow TLS clients. A CA with purposes hands on none but those. */
function servesClients(certificate: Certificate): boolean {
  const purposes = purposesOf(certificate);
  return purposes === null || purposes.includes(clientAuth) || purposes.includes(anyPurpose);
}

function strong(key: KeyObject): boolean {
  const details = key.asymmetricKeyDetails;
  if (key.asymmetricKeyType === 'rsa') return (details?.modulusLength ?? 0) >= 2048;
  return key.asymmetricKeyType === 'ec' && ['prime256v1', 'secp384r1'].includes(details?.namedCurve ?? '');
}

function signedWell(certificate: Certificate): boolean {
  const { oid, parameters } = certificate.signatureAlgorithm;
  if (goodSignatures.includes(oid)) return true;
  if (oid !== rsaPss || !parameters) return false;
  const hash = new Fields(parameters, 'sequence').optional('[0]');
  return hash !== undefined && goodHashes.includes(algorithmOf(inside(hash)).oid);
}
