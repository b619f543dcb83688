import { X509Certificate } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { BlockList, isIPv4 } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { Problem } from '../protocol/problems.ts';
import { readPem } from './certificates.ts';
import { type Presented, presentedOn, sha256 } from './device-identity.ts';
import { forwardedAddress, plainAddress, readNetwork } from './networks.ts';
import type { ProxySettings } from './tls-settings.ts';

/**
 * A proxy that ends TLS before us says in a header which client certificate it was shown. That word counts from configured
 * addresses only, and only for what TLS itself would have told: which certificate. Whether it is good is judged here, by the
 * same function as for a connection of the Mac's own.
 */
const headersOf = {
  /** RFC 9440. */
  rfc9440: { leaf: 'client-cert', chain: 'client-cert-chain' },
  /** `proxy_set_header X-SSL-Client-Cert $ssl_client_escaped_cert;` */
  nginx: { leaf: 'x-ssl-client-cert', chain: null },
  /** An AWS load balancer in pass-through mode: the whole chain in one. */
  alb: { leaf: 'x-amzn-mtls-clientcert', chain: null },
  /** The same in verify mode: the leaf alone. */
  'alb-leaf': { leaf: 'x-amzn-mtls-clientcert-leaf', chain: null },
} as const satisfies Record<NonNullable<ProxySettings['clientCertificate']>, { leaf: string; chain: string | null }>;
type CertificateHeader = keyof typeof headersOf;

/** Every header by which somebody could try to be another Mac, also those of proxies that are not ours. */
const identityHeaders: readonly string[] = [
  ...Object.values(headersOf).flatMap(({ leaf, chain }) => [leaf, ...(chain ? [chain] : [])]),
  'x-client-cert',
  'x-client-certificate',
  'x-forwarded-client-cert',
  'x-forwarded-tls-client-cert',
  'x-arr-clientcert',
];

/** Characters. A chain of four with RSA-4096 keys has some 11,000 where all is escaped. */
const mostCharacters = 24 * 1024;
const mostOthers = 8;
/** What a proxy adds to a list of addresses; beyond it nobody needs to look. */
const mostHops = 32;

/** The peers of a listener: which of them are our proxies, and who asks through them. */
export interface Peers {
  isProxy(address: string | undefined): boolean;
  /** Whose request it is, for limits: the last hop that is none of our proxies. */
  addressOf(request: IncomingMessage): string;
  /** Who is at the other end of the connection. */
  peerOf(request: IncomingMessage): string;
  /** The client certificate of a request, from its connection or from our proxy; `CLIENT_HEADER_REFUSED` where a header may not say so. */
  presentedBy(request: IncomingMessage): Presented | null;
}

export function createPeers(proxy: ProxySettings | null): Peers {
  const ours = new BlockList();
  for (const text of proxy?.addresses ?? []) {
    const network = readNetwork(text);
    if (network) ours.addSubnet(network.address, network.bits, network.family);
  }
  const isOurs = (address: string): boolean => ours.check(address, isIPv4(address) ? 'ipv4' : 'ipv6');
  const isProxy = (given: string | undefined): boolean => {
    const address = plainAddress(given ?? '');
    return address !== null && isOurs(address);
  };

  return {
    isProxy,
    peerOf: (request) => plainAddress(request.socket.remoteAddress ?? '') ?? 'unknown',
    addressOf(request) {
      const peer = request.socket.remoteAddress ?? '';
      let last = plainAddress(peer) ?? peer;
      if (!isProxy(peer)) return last;
      // Several lines are one list, in their order (RFC 9110, 5.3).
      const hops = (request.headersDistinct['x-forwarded-for'] ?? []).join(',').split(',').slice(-mostHops);
      for (const text of hops.reverse()) {
        const hop = forwardedAddress(text);
        // What is no address was written by whoever is beyond it.
        if (hop === null) return last;
        last = hop;
        if (!isOurs(hop)) return hop;
      }
      return last;
    },
    presentedBy(request) {
      const found = identityHeaders.filter((name) => request.headersDistinct[name] !== undefined);
      const form = proxy?.clientCertificate ?? null;
      if (!isProxy(request.socket.remoteAddress)) {
        if (found.length > 0) throw new Problem('CLIENT_HEADER_REFUSED', `${found.join(', ')} from an address that is none of the proxies`);
        return 'getPeerX509Certificate' in request.socket ? presentedOn(request.socket as TLSSocket) : null;
      }
      const { leaf, chain } = form === null ? { leaf: null, chain: null } : headersOf[form];
      const others = found.filter((name) => name !== leaf && name !== chain);
      // Somebody behind the proxy wrote it, and the proxy let it through.
      if (others.length > 0) throw new Problem('CLIENT_HEADER_REFUSED', `the proxy passes on ${others.join(', ')}, which is not what \`proxy\` names`);
      if (leaf === null || form === null) return null;
      return readHeaders(form, oneOf(request, leaf), chain === null ? null : oneOf(request, chain));
    },
  };
}

/** A header that occurs once, in one line of plain characters. Null where it is not there, or empty: no certificate was shown. */
function oneOf(request: IncomingMessage, name: string): string | null {
  const values = request.headersDistinct[name];
  if (values === undefined) return null;
  const [value = '', ...more] = values;
  if (more.length > 0) throw new Problem('CLIENT_HEADER_REFUSED', `${name} occurs twice`);
  if (value.length > mostCharacters) throw new Problem('CLIENT_HEADER_REFUSED', `${name} is too long`);
  // A folded line comes out of the parser with a tab or spaces in it; none of the three forms has either.
  if (!/^[\x20-\x7e]*$/.test(value)) throw new Problem('CLIENT_HEADER_REFUSED', `${name} holds something else than plain characters`);
  return value === '' ? null : value;
}

function readHeaders(form: CertificateHeader, leaf: string | null, chain: string | null): Presented | null {
  const { leaf: name, chain: chainName } = headersOf[form];
  if (leaf === null) {
    if (chain !== null) throw new Problem('CLIENT_HEADER_REFUSED', `${chainName} without ${name}`);
    return null;
  }
  if (form === 'rfc9440') {
    const others = chain === null ? [] : chain.split(',').map((item) => byteSequence(item.trim(), chainName ?? ''));
    return presented(name, [byteSequence(leaf, name), ...others]);
  }
  const certificates = escapedPem(leaf, name);
  if (form !== 'alb' && certificates.length > 1) throw new Problem('CLIENT_HEADER_REFUSED', `${name} holds more than one certificate`);
  return presented(name, certificates);
}

/** `:base64:`, a byte sequence of RFC 8941; one certificate, and nothing behind it. */
function byteSequence(text: string, name: string): Buffer {
  const inside = /^:([A-Za-z0-9+/]+={0,2}):$/.exec(text)?.[1];
  const bytes = Buffer.from(inside ?? '', 'base64');
  if (inside === undefined || bytes.toString('base64') !== inside) throw new Problem('CLIENT_HEADER_REFUSED', `${name} is no byte sequence of one certificate`);
  return bytes;
}

/** PEM, escaped as in an address; `+`, `=` and `/` may stand for themselves. */
function escapedPem(text: string, name: string): Buffer[] {
  const refused = () => new Problem('CLIENT_HEADER_REFUSED', `${name} is no certificate in escaped PEM`);
  if (!/^(?:[A-Za-z0-9\-._~+=/]|%[0-9A-Fa-f]{2})+$/.test(text)) throw refused();
  let pem: string;
  try {
    pem = decodeURIComponent(text);
  } catch {
    throw refused();
  }
  if (!/^(?:-----BEGIN CERTIFICATE-----\r?\n(?:[A-Za-z0-9+/=]{1,76}\r?\n)+-----END CERTIFICATE-----(?:\r?\n)*)+$/.test(pem)) throw refused();
  return readPem(pem);
}

function presented(name: string, [der, ...others]: Buffer[]): Presented {
  try {
    const leaf = new X509Certificate(der ?? Buffer.alloc(0));
    // Bytes behind the certificate would give one certificate many digests.
    if (!der || !leaf.raw.equals(der) || others.length > mostOthers) throw new TypeError('not one certificate');
    return { leaf, digest: sha256(leaf.raw), others };
  } catch {
    throw new Problem('CLIENT_HEADER_REFUSED', `${name} is no certificate that can be read`);
  }
}
