// macOS's own escrow file, /var/db/FileVaultPRK.dat: CMS EnvelopedData in BER with indefinite lengths, one recipient named
// by issuer and serial, RSA PKCS #1 v1.5, content key for DES-EDE3-CBC (modelled: nobody has published one in full. Blobs
// seen as base64 begin `MIAG` = 30 80 06; the recipient form and the cipher are those of Apple's open-source encoder; the
// lengths 453 and 460 are from mdmclient's log). Structure equal to
// `openssl cms -encrypt -binary -stream -des3 -outform DER`.
import { constants, createCipheriv, publicEncrypt, randomBytes, X509Certificate } from 'node:crypto';
import { partsOf } from './certificates.ts';
import { integer, nothing, octets, oid, sequence, setOf, streamed } from './der.ts';

export const escrowCiphers = {
  'des-ede3-cbc': { oid: '1.2.840.113549.3.7', keyBytes: 24, ivBytes: 8 },
  'aes-128-cbc': { oid: '2.16.840.1.101.3.4.1.2', keyBytes: 16, ivBytes: 16 },
  'aes-256-cbc': { oid: '2.16.840.1.101.3.4.1.42', keyBytes: 32, ivBytes: 16 },
} as const;
export type EscrowCipher = keyof typeof escrowCiphers;

/** Seals `text` (the key with its dashes, no line end) for one recipient's certificate (DER), as mdmclient does. */
export const makeEscrowFile = (text: string, certificate: Buffer, cipher: EscrowCipher = 'des-ede3-cbc'): Buffer => {
  const { oid: cipherOid, keyBytes, ivBytes } = escrowCiphers[cipher];
  const key = randomBytes(keyBytes);
  const iv = randomBytes(ivBytes);
  const sealing = createCipheriv(cipher, key, iv);
  // A streaming encoder writes the content in the pieces in which the cipher gives it back.
  const sealed = [sealing.update(text), sealing.final()].filter((piece) => piece.length > 0);
  const encryptedKey = publicEncrypt({ key: new X509Certificate(certificate).publicKey, padding: constants.RSA_PKCS1_PADDING }, key);
  const { issuer, serial } = partsOf(certificate);
  const recipient = sequence(integer(0), sequence(issuer, serial), sequence(oid('1.2.840.113549.1.1.1'), nothing()), octets(encryptedKey));
  return streamed(
    0x30,
    oid('1.2.840.113549.1.7.3'),
    streamed(
      0xa0,
      streamed(
        0x30,
        integer(0),
        setOf(recipient),
        streamed(0x30, oid('1.2.840.113549.1.7.1'), sequence(oid(cipherOid), octets(iv)), streamed(0xa0, ...sealed.map(octets))),
      ),
    ),
  );
};
