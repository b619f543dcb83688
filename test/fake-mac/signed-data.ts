// What `security cms -S` writes: CMS SignedData with the content inside and the chain that the keychain knows. With a
// signing time (-G) there are signed attributes, without it the signature is over the content itself (Apple's open-source
// SecurityTool and libsecurity_smime; no capture exists).
import { createHash, createPrivateKey, sign } from 'node:crypto';
import { partsOf } from './certificates.ts';
import { element, integer, nothing, octets, oid, sequence, setOf, tagged, time } from './der.ts';

export const digests = {
  SHA1: { oid: '1.3.14.3.2.26', name: 'sha1', rsa: '1.2.840.113549.1.1.5', ec: '1.2.840.10045.4.1' },
  SHA256: { oid: '2.16.840.1.101.3.4.2.1', name: 'sha256', rsa: '1.2.840.113549.1.1.11', ec: '1.2.840.10045.4.3.2' },
  SHA384: { oid: '2.16.840.1.101.3.4.2.2', name: 'sha384', rsa: '1.2.840.113549.1.1.12', ec: '1.2.840.10045.4.3.3' },
  SHA512: { oid: '2.16.840.1.101.3.4.2.3', name: 'sha512', rsa: '1.2.840.113549.1.1.13', ec: '1.2.840.10045.4.3.4' },
} as const;
export type Digest = keyof typeof digests;

interface Signing {
  content: Buffer;
  /** DER, the signer's first. */
  chain: [Buffer, ...Buffer[]];
  /** PKCS #8 PEM. */
  key: string;
  digest: Digest;
  /** Milliseconds, or null for a signature without signed attributes. */
  signingTime: number | null;
  /** Without its content: what `-T` asks for. */
  detached?: boolean;
}

export const makeSignedData = ({ content, chain, key, digest, signingTime, detached = false }: Signing): Buffer => {
  const privateKey = createPrivateKey(key);
  const hash = digests[digest];
  const digestAlgorithm = sequence(oid(hash.oid), nothing());
  const attribute = (id: string, value: Buffer): Buffer => sequence(oid(id), setOf(value));
  const data = oid('1.2.840.113549.1.7.1');
  const attributes =
    signingTime === null
      ? null
      : setOf(
          attribute('1.2.840.113549.1.9.3', data),
          attribute('1.2.840.113549.1.9.5', time(signingTime)),
          attribute('1.2.840.113549.1.9.4', octets(createHash(hash.name).update(content).digest())),
        );
  const signature = sign(hash.name, attributes ?? content, privateKey);
  const isRsa = privateKey.asymmetricKeyType === 'rsa';
  const { issuer, serial } = partsOf(chain[0]);
  const signer = sequence(
    integer(1),
    sequence(issuer, serial),
    digestAlgorithm,
    // In the message the attributes carry [0]; what is signed carries SET OF.
    ...(attributes ? [Buffer.concat([Buffer.from([0xa0]), attributes.subarray(1)])] : []),
    isRsa ? sequence(oid('1.2.840.113549.1.1.1'), nothing()) : sequence(oid(hash.ec)),
    octets(signature),
  );
  return sequence(
    oid('1.2.840.113549.1.7.2'),
    tagged(
      0,
      sequence(integer(1), setOf(digestAlgorithm), sequence(data, ...(detached ? [] : [tagged(0, octets(content))])), element(0xa0, ...chain), setOf(signer)),
    ),
  );
};
