import { createHash, generateKeyPairSync, randomBytes, sign } from 'node:crypto';

/*
 * An authenticator as WebAuthn describes one: an EC key, CBOR by hand, a count. What it signs can be bent, so that a test sees
 * what is refused.
 */

const sha256 = (bytes: Buffer | string): Buffer => createHash('sha256').update(bytes).digest();

/** CBOR, as far as a passkey needs it. */
function cbor(value: number | string | Buffer | Map<number | string, unknown>): Buffer {
  const head = (major: number, length: number): Buffer =>
    length < 24
      ? Buffer.from([(major << 5) | length])
      : length < 256
        ? Buffer.from([(major << 5) | 24, length])
        : Buffer.from([(major << 5) | 25, length >> 8, length & 255]);
  if (typeof value === 'number') return value < 0 ? head(1, -1 - value) : head(0, value);
  if (typeof value === 'string') return Buffer.concat([head(3, Buffer.byteLength(value)), Buffer.from(value)]);
  if (Buffer.isBuffer(value)) return Buffer.concat([head(2, value.length), value]);
  return Buffer.concat([head(5, value.size), ...[...value].flatMap(([name, part]) => [cbor(name), cbor(part as number)])]);
}

interface Bent {
  origin?: string;
  rpId?: string;
  challenge?: string;
  /** The person has not been verified. */
  unverified?: boolean;
  counter?: number;
  userHandle?: string;
  /** A signature over something else. */
  wrongSignature?: boolean;
  type?: string;
}

export function makeAuthenticator(site: string) {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const { x = '', y = '' } = publicKey.export({ format: 'jwk' }) as { x?: string; y?: string };
  const id = randomBytes(32);
  let counter = 0;
  let userHandle = '';

  function parts(given: { challenge: string }, type: string, bent: Bent) {
    const rpId = bent.rpId ?? new URL(site).hostname;
    const said = { type: bent.type ?? type, challenge: bent.challenge ?? given.challenge, origin: bent.origin ?? site, crossOrigin: false };
    const count = Buffer.alloc(4);
    counter += 1;
    count.writeUInt32BE(bent.counter ?? counter);
    return { client: Buffer.from(JSON.stringify(said)), rpHash: sha256(rpId), count, flags: bent.unverified ? 0x01 : 0x05 };
  }
  const credential = (response: Record<string, unknown>): string =>
    JSON.stringify({ id: id.toString('base64url'), rawId: id.toString('base64url'), type: 'public-key', clientExtensionResults: {}, response });

  return {
    id: id.toString('base64url'),
    /** What `navigator.credentials.create` would give. */
    create(options: { challenge: string; user: { id: string } }, bent: Bent = {}): string {
      const { client, rpHash, count, flags } = parts(options, 'webauthn.create', bent);
      userHandle = options.user.id;
      const key = cbor(
        new Map<number, unknown>([
          [1, 2],
          [3, -7],
          [-1, 1],
          [-2, Buffer.from(x, 'base64url')],
          [-3, Buffer.from(y, 'base64url')],
        ]),
      );
      const data = Buffer.concat([rpHash, Buffer.from([flags | 0x40]), count, Buffer.alloc(16), Buffer.from([0, id.length]), id, key]);
      const attestation = cbor(
        new Map<string, unknown>([
          ['fmt', 'none'],
          ['attStmt', new Map()],
          ['authData', data],
        ]),
      );
      return credential({ clientDataJSON: client.toString('base64url'), attestationObject: attestation.toString('base64url'), transports: ['internal'] });
    },
    /** What `navigator.credentials.get` would give. */
    get(options: { challenge: string }, bent: Bent = {}): string {
      const { client, rpHash, count, flags } = parts(options, 'webauthn.get', bent);
      const data = Buffer.concat([rpHash, Buffer.from([flags]), count]);
      const signature = sign('sha256', Buffer.concat([data, sha256(bent.wrongSignature ? 'something else' : client)]), privateKey);
      return credential({
        clientDataJSON: client.toString('base64url'),
        authenticatorData: data.toString('base64url'),
        signature: signature.toString('base64url'),
        userHandle: bent.userHandle ?? userHandle,
      });
    },
  };
}
