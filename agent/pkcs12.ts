// PKCS #12 as MDMs and CAs hand it out: Node's TLS reads such a file, but gives neither certificate nor key out of it, and
// the agent signs with the key. The few structures are read by hand (the CMS library is the protocol's); every primitive
// is node:crypto's. Forms that nobody has to use any more (RC2, indefinite lengths) are refused in words.
import { createDecipheriv, createHash, createPrivateKey, type KeyObject, pbkdf2Sync, X509Certificate } from 'node:crypto';

interface Der {
  tag: number;
  content: Buffer;
  whole: Buffer;
}

/** Content of the object identifiers, hex. */
const oid = {
  data: '2a864886f70d010701',
  encryptedData: '2a864886f70d010706',
  keyBag: '2a864886f70d010c0a0101',
  shroudedKeyBag: '2a864886f70d010c0a0102',
  certBag: '2a864886f70d010c0a0103',
  x509: '2a864886f70d01091601',
  pbes2: '2a864886f70d01050d',
  pbkdf2: '2a864886f70d01050c',
  oldPbe: '2a864886f70d010c01',
  pbeSha1TripleDes: '2a864886f70d010c0103',
};
const ciphers: Record<string, { name: string; keyBytes: number }> = {
  '60864801650304012a': { name: 'aes-256-cbc', keyBytes: 32 },
  '608648016503040116': { name: 'aes-192-cbc', keyBytes: 24 },
  '608648016503040102': { name: 'aes-128-cbc', keyBytes: 16 },
};
const digests: Record<string, string> = {
  '2a864886f70d0207': 'sha1',
  '2a864886f70d0209': 'sha256',
  '2a864886f70d020a': 'sha384',
  '2a864886f70d020b': 'sha512',
};
const mostBytes = 128 * 1024;
/** Rounds of stretching the password, over the whole file: half a second. OpenSSL writes 2,048 for each of two parts, NSS 600,000. */
const mostRounds = 1_300_000;
/** SHA-384 and SHA-512 take longer; the old way is done here and not by OpenSSL, and three times. */
const costs = { usual: 1, long: 3, old: 50 };
const mostBags = 100;

/** The private key and its certificate, its CAs behind it. Throws an Error that says what is wrong. */
export function readPkcs12(file: Buffer, password: string): { certificatePem: string; privateKey: KeyObject } {
  if (file.length > mostBytes) throw new Error('it is too large');
  const keys: KeyObject[] = [];
  const certificates: X509Certificate[] = [];
  const [, authSafe] = children(one(file, 0x30));
  const spend = budget();
  const safe = contentOf(child(authSafe, 0), child(authSafe, 1), password, spend);
  for (const info of children(one(safe, 0x30))) {
    const bags = contentOf(child(info, 0), child(info, 1), password, spend);
    for (const bag of children(one(bags, 0x30))) {
      if (keys.length + certificates.length >= mostBags) throw new Error('it holds more than an identity');
      const kind = hex(child(bag, 0));
      const value = child(child(bag, 1), 0);
      if (kind === oid.keyBag) keys.push(createPrivateKey({ key: value.whole, format: 'der', type: 'pkcs8' }));
      else if (kind === oid.shroudedKeyBag) keys.push(openKey(value, password, spend));
      else if (kind === oid.certBag && hex(child(value, 0)) === oid.x509) certificates.push(new X509Certificate(child(child(value, 1), 0).content));
    }
  }
  for (const privateKey of keys) {
    const own = certificates.find((certificate) => certificate.checkPrivateKey(privateKey));
    if (own) return { privateKey, certificatePem: [own, ...certificates.filter((other) => other !== own)].map(String).join('') };
  }
  throw new Error(keys.length === 0 ? 'there is no private key in it' : 'there is no certificate of its private key in it');
}

/** Says how many rounds are to come, before the first of them is done. */
type Spend = (rounds: number) => void;

function budget(): Spend {
  let left = mostRounds;
  return (rounds) => {
    left -= rounds;
    if (left < 0) throw beyondMeasure();
  };
}

const beyondMeasure = () => new Error('its password is stretched beyond measure');

/** OpenSSL decrypts it, for as long as the file says: so what it says is looked at first. */
function openKey(value: Der, password: string, spend: Spend): KeyObject {
  const algorithm = child(value, 0);
  const kind = hex(child(algorithm, 0));
  if (kind === oid.pbes2) {
    const stretching = child(child(algorithm, 1), 0);
    if (hex(child(stretching, 0)) !== oid.pbkdf2) throw new Error('its private key is encrypted in a way that is not read');
    readStretching(child(stretching, 1), spend);
  } else if (kind.startsWith(oid.oldPbe)) spend(count(child(child(algorithm, 1), 1)) * costs.old);
  else throw new Error('its private key is encrypted in a way that is not read');
  try {
    return createPrivateKey({ key: value.whole, format: 'der', type: 'pkcs8', passphrase: password });
  } catch {
    throw new Error('its password is another, or its private key is encrypted in a way that is not read');
  }
}

/** The octets of a ContentInfo, decrypted where they have to be. */
function contentOf(type: Der, wrapped: Der, password: string, spend: Spend): Buffer {
  const inner = child(wrapped, 0);
  if (hex(type) === oid.data) return inner.content;
  if (hex(type) !== oid.encryptedData) throw new Error('it is protected in a way that is not read');
  const info = child(inner, 1);
  const [, algorithm, encrypted] = children(info);
  if (!algorithm || encrypted?.tag !== 0x80) throw new Error('its certificates lie in it in a way that is not read');
  return decrypt(algorithm, encrypted.content, password, spend);
}

function decrypt(algorithm: Der, bytes: Buffer, password: string, spend: Spend): Buffer {
  const kind = hex(child(algorithm, 0));
  const parameters = child(algorithm, 1);
  let decipher: ReturnType<typeof createDecipheriv>;
  if (kind === oid.pbes2) {
    const [cipherId, iv] = children(child(parameters, 1));
    const cipher = ciphers[cipherId ? hex(cipherId) : ''];
    if (!cipher || iv?.content.length !== 16) throw new Error('its certificates are encrypted in a way that is not read');
    const { salt, rounds, digest } = readStretching(child(child(parameters, 0), 1), spend);
    decipher = createDecipheriv(cipher.name, pbkdf2Sync(password, salt, rounds, cipher.keyBytes, digest), iv.content);
  } else if (kind === oid.pbeSha1TripleDes) {
    const [salt, rounds] = [child(parameters, 0).content, count(child(parameters, 1))];
    spend(rounds * costs.old);
    decipher = createDecipheriv('des-ede3-cbc', derive(password, salt, rounds, 1, 24), derive(password, salt, rounds, 2, 8));
  } else {
    throw new Error('its certificates are encrypted in an old way (RC2): write it anew with AES');
  }
  try {
    return Buffer.concat([decipher.update(bytes), decipher.final()]);
  } catch {
    throw new Error('its password is another');
  }
}

/** Parameters of PBKDF2 (RFC 8018): salt, rounds, the length of the key or nothing, and a digest that is SHA-1 where none is named. */
function readStretching(parameters: Der, spend: Spend): { salt: Buffer; rounds: number; digest: string } {
  const [salt, counted, ...rest] = children(parameters);
  const prf = rest.find((each) => each.tag === 0x30);
  const digest = prf ? digests[hex(child(prf, 0))] : 'sha1';
  if (!digest || !salt || !counted) throw new Error('its password is stretched in a way that is not read');
  const rounds = count(counted);
  spend(rounds * (/384|512/.test(digest) ? costs.long : costs.usual));
  return { salt: salt.content, rounds, digest };
}

function count(rounds: Der): number {
  const { length } = rounds.content;
  const number = length >= 1 && length <= 4 ? rounds.content.readUIntBE(0, length) : 0;
  if (rounds.tag !== 2 || number < 1 || number > mostRounds) throw beyondMeasure();
  return number;
}

/** RFC 7292, appendix B.2, with SHA-1: blocks of 64 bytes, digests of 20. `purpose` 1 is a key, 2 an initialisation vector. */
function derive(password: string, salt: Buffer, rounds: number, purpose: number, length: number): Buffer {
  const text = Buffer.from(`${password}\0`, 'utf16le').swap16();
  const fill = (bytes: Buffer) => Buffer.alloc(64 * Math.ceil(bytes.length / 64), bytes);
  const blocks = Buffer.concat([fill(salt), fill(text)]);
  const out: Buffer[] = [];
  for (let made = 0; made < length; made += 20) {
    let digest = createHash('sha1').update(Buffer.alloc(64, purpose)).update(blocks).digest();
    for (let round = 1; round < rounds; round += 1) digest = createHash('sha1').update(digest).digest();
    out.push(digest);
    const add = BigInt(`0x${Buffer.alloc(64, digest).toString('hex')}`) + 1n;
    for (let at = 0; at < blocks.length; at += 64) {
      const sum = (BigInt(`0x${blocks.subarray(at, at + 64).toString('hex')}`) + add) & ((1n << 512n) - 1n);
      blocks.write(sum.toString(16).padStart(128, '0'), at, 'hex');
    }
  }
  return Buffer.concat(out).subarray(0, length);
}

const notPkcs12 = () => new Error('it is not PKCS #12, or not in DER');

function read(bytes: Buffer, at: number): { der: Der; end: number } {
  const tag = bytes[at];
  const first = bytes[at + 1];
  if (tag === undefined || first === undefined || first === 0x80 || first > 0x84) throw notPkcs12();
  const size = first < 0x80 ? 0 : first & 0x7f;
  if (at + 2 + size > bytes.length) throw notPkcs12();
  const length = size === 0 ? first : bytes.readUIntBE(at + 2, size);
  const from = at + 2 + size;
  const end = from + length;
  if (end > bytes.length) throw notPkcs12();
  return { der: { tag, content: bytes.subarray(from, end), whole: bytes.subarray(at, end) }, end };
}

function one(bytes: Buffer, tag: number): Der {
  const { der } = read(bytes, 0);
  if (der.tag !== tag) throw notPkcs12();
  return der;
}

function children({ content }: Der): Der[] {
  const found: Der[] = [];
  for (let at = 0; at < content.length; ) {
    const { der, end } = read(content, at);
    found.push(der);
    at = end;
  }
  return found;
}

function child(parent: Der | undefined, index: number): Der {
  const found = parent && children(parent)[index];
  if (!found) throw notPkcs12();
  return found;
}

const hex = (der: Der): string => der.content.toString('hex');
