// One line per setting: the table that docs/settings.md repeats, and that a test compares with it.
import { X509Certificate } from 'node:crypto';
import { type EnrolmentTicket, readTicket } from '../protocol/enrolment.ts';
import type { LogLevel } from './log.ts';
import { describe, filePath, name, oneOf, type Setting, wholeNumber, words } from './setting-kinds.ts';

export interface Settings {
  /** Origin of the backend, as `serverAddress` writes it. */
  serverUrl: string;
  /** DER: where new keys are sealed to. */
  escrowCertificate: Buffer;
  /** PEM, beside the public roots that the runtime brings. */
  trustedCertificates: string[];
  trust: 'bundled' | 'system';
  identityCertificateFile: string | null;
  identityKeyFile: string | null;
  identityPkcs12File: string | null;
  identityPkcs12PasswordFile: string | null;
  identityIssuer: string | null;
  identitySubject: string | null;
  /** Its secret is not enumerable: it is in no dump and in no JSON. */
  enrolmentTicket: EnrolmentTicket | null;
  checkInMinutes: number;
  /** Whether the job stays for orders where the backend keeps its answers for a while. */
  waitForOrders: boolean;
  custody: 'auto' | 'server' | 'keychain';
  escrowOwner: 'auto' | 'sparekey' | 'mdm';
  rotator: 'sparekey' | 'mdm';
  settleSeconds: number;
  /** Null: the backend's own. */
  holdDeadlineHours: number | null;
  quietAfterDays: number;
  /** `none`, `system`, or the URL of a proxy. */
  proxy: string;
  logLevel: LogLevel;
  pilot: boolean;
  /** Whether a user may be asked for a password in a dialog, where nobody has this Mac's key. */
  adoptByPrompt: boolean;
  /** Who asks, why, and where somebody who is asked finds out whether that is so; without all three nobody is asked. */
  organisation: string | null;
  adoptWords: string | null;
  adoptContact: string | null;
  /** Whose Mac it is. Null: nobody is named; false: it cannot be said, because a variable was left unfilled. */
  assignedTo: string | null | false;
}

/** Null also for one with a key of a kind that nothing here knows. */
function certificateOf(value: unknown): X509Certificate | null {
  try {
    const certificate = typeof value === 'string' || value instanceof Uint8Array ? new X509Certificate(value) : null;
    return certificate?.publicKey ? certificate : null;
  } catch {
    return null;
  }
}

const serverUrl: Setting<string> = {
  unit: 'URL',
  range: 'https, no path',
  default: 'none',
  meaning: 'the backend',
  essential: true,
  initial: undefined,
  read(value) {
    const url = typeof value === 'string' ? URL.parse(value) : null;
    if (!url) return { wrong: `is ${describe(value)}; it must be an address such as https://keys.example.org` };
    if (url.protocol !== 'https:') return { wrong: `begins with ${url.protocol}//; it must begin with https://, there is no other way` };
    if (url.username || url.password || url.pathname !== '/' || url.search || url.hash)
      return { wrong: 'has more than a host and a port; it must be an address such as https://keys.example.org:8443' };
    return { value: url.origin };
  },
};

const escrowCertificate: Setting<Buffer> = {
  unit: 'certificate',
  range: 'RSA, 2048 bits or more',
  default: 'none',
  meaning: 'new keys are sealed to it: data (DER) or text (PEM), the same as in the escrow payload',
  essential: true,
  initial: undefined,
  read(value) {
    const certificate = certificateOf(value);
    if (!certificate) return { wrong: 'is not a certificate; it must be data (DER) or text (PEM)' };
    const { asymmetricKeyType: type, asymmetricKeyDetails: key } = certificate.publicKey;
    if (type !== 'rsa') return { wrong: `has a key of the kind ${type}; it must be RSA` };
    if ((key?.modulusLength ?? 0) < 2048) return { wrong: `has a key of ${key?.modulusLength} bits; it must have 2048 or more` };
    return { value: certificate.raw };
  },
};

const trustedCertificates: Setting<string[]> = {
  unit: 'list of certificates',
  range: '0–20',
  default: 'empty',
  meaning: 'CAs of the backend, beside the public ones that the runtime brings; a list, so that a CA changes without a gap',
  initial: [],
  read(value) {
    if (!Array.isArray(value)) return { wrong: `is ${describe(value)}; it must be a list of certificates` };
    const read = value.slice(0, 20).map(certificateOf);
    const bad = read.flatMap((one, at) => (one ? [] : [at + 1]));
    const good = read.flatMap((one) => (one ? [one.toString()] : []));
    if (value.length > 20) return { wrong: `has ${value.length} entries; it may have 20`, value: good };
    return bad.length > 0
      ? { wrong: `has entries that are no certificates (number ${bad.join(', ')}); each must be data (DER) or text (PEM)`, value: good }
      : { value: good };
  },
};

const enrolmentTicket: Setting<EnrolmentTicket | null> = {
  unit: 'ticket',
  range: 'id.secret',
  default: 'none',
  meaning: 'lets a Mac without a device certificate enrol; weaker: every local user can read it',
  secret: true,
  initial: null,
  read(value) {
    const ticket = typeof value === 'string' ? readTicket(value) : null;
    if (!ticket) return { wrong: 'is not a ticket; it must be written as `sparekey-server ticket new` printed it' };
    return { value: Object.defineProperty({ id: ticket.id } as EnrolmentTicket, 'secret', { value: ticket.secret, enumerable: false }) };
  },
};

const proxy: Setting<string> = {
  unit: 'word or URL',
  range: 'none, system, http://host:port',
  default: 'none',
  meaning: 'the way to the backend; `system` takes the fixed entries of the network settings, never a script (PAC)',
  initial: 'none',
  read(value) {
    if (value === 'none' || value === 'system') return { value };
    const url = typeof value === 'string' ? URL.parse(value) : null;
    if (url?.protocol !== 'http:' || url.pathname !== '/' || url.search || url.hash)
      return { wrong: `is ${describe(value)}; it must be none, system, or a URL such as http://proxy.example.org:8080` };
    // The managed settings can be read by every local user.
    if (url.username || url.password) return { wrong: 'has a name or a password in it; a proxy that demands a sign-in cannot be used' };
    return { value: url.origin };
  },
};

const pilot: Setting<boolean> = {
  unit: 'yes or no',
  range: 'true, false',
  default: 'true',
  meaning:
    'this Mac may be the first of its build of macOS to try whether the key itself authorizes its change; false: it waits until another Mac of the fleet has seen it',
  initial: true,
  careful: false,
  read: (value) => (typeof value === 'boolean' ? { value } : { wrong: `is ${describe(value)}; it must be true or false` }),
};

/** As MDMs write what they fill in: `$EMAIL`, `${email}`, `{{mail}}`, `{EmailAddress}`, `%Email%`. No user name has these signs. */
const unfilled = /\$[A-Za-z_{]|[{}]|^%.*%$/;

const assignedTo: Setting<string | null | false> = {
  unit: 'text',
  range: '1–256 characters',
  default: 'none',
  meaning:
    'the user name, at sign-in to the portal, of the person whose Mac it is: a variable that the MDM fills, such as `$EMAIL`; what an admin or a list says ranks higher',
  ofThisMac: true,
  initial: null,
  read(value) {
    if (typeof value !== 'string' || value.length > 256 || /\p{Cc}/u.test(value))
      return { value: false, but: `is ${describe(value)}; it must be a text of at most 256 characters, and nobody is named by it` };
    // A variable of nobody is filled with nothing.
    if (value.trim() === '') return { value: null };
    return unfilled.test(value)
      ? { value: false, but: `is ${describe(value)}, a variable that the MDM has not filled; nobody is named by it` }
      : { value: value.trim() };
  },
};

export const settingsTable: { [Name in keyof Settings]: Setting<Settings[Name]> } = {
  serverUrl,
  escrowCertificate,
  trustedCertificates,
  trust: oneOf(['bundled', 'system'], 'bundled', "`system` adds this Mac's own trust store, whose reading can take many seconds"),
  identityCertificateFile: filePath('client certificate, PEM, its CAs behind it'),
  identityKeyFile: filePath('private key of that certificate, PEM'),
  identityPkcs12File: filePath('client certificate and private key in one file, PKCS #12'),
  identityPkcs12PasswordFile: filePath('file whose first line is the password of the PKCS #12 file'),
  identityIssuer: name("issuer of the profile's identity in the System keychain: common name, or a part of the whole name"),
  identitySubject: name("subject of the profile's identity in the System keychain: common name, or a part of the whole name"),
  enrolmentTicket,
  checkInMinutes: wholeNumber('minutes', 5, 1440, 60, 'between two check-ins'),
  waitForOrders: {
    unit: 'yes or no',
    range: 'true, false',
    default: 'false',
    meaning: 'the job stays connected, so that an order comes within a second and not with the next check-in; needs `keys.waitSeconds` of the backend',
    initial: false,
    read: (value) => (typeof value === 'boolean' ? { value } : { wrong: `is ${describe(value)}; it must be true or false` }),
  },
  custody: oneOf(
    ['auto', 'server', 'keychain'],
    'auto',
    'where the current key is kept besides: on this Mac too (`keychain`), nowhere (`server`), or as the escrow payload demands',
    'server',
  ),
  escrowOwner: oneOf(['auto', 'sparekey', 'mdm'], 'auto', 'whose escrow payload seals new keys; under a foreign one `auto` observes and reports'),
  rotator: oneOf(['sparekey', 'mdm'], 'sparekey', 'who alone replaces keys', 'mdm'),
  settleSeconds: wholeNumber('seconds', 1, 7200, 600, 'a session must last before its user counts as back in', {
    number: 300,
    but: 'is under 300 seconds: a key could be replaced while the sign-in with it is still going on',
  }),
  holdDeadlineHours: {
    ...wholeNumber('hours', 1, 168, 24, 'after the first disclosure the key is replaced even if nobody has signed in'),
    default: 'the backend’s',
    initial: null,
  },
  quietAfterDays: wholeNumber('days', 1, 365, 30, 'without managed settings the agent then asks the backend no more, until they are back'),
  proxy,
  logLevel: oneOf(['error', 'warn', 'info', 'debug'], 'info', 'how much goes into the log'),
  pilot,
  adoptByPrompt: {
    unit: 'yes or no',
    range: 'true, false',
    default: 'false',
    meaning: 'where nobody has the key of this Mac, its user is asked for the password in a dialog, once a week at most; needs the next three',
    initial: false,
    read: (value) => (typeof value === 'boolean' ? { value } : { wrong: `is ${describe(value)}; it must be true or false` }),
  },
  organisation: words(64, 'who asks for a password, as its people know it'),
  adoptWords: words(600, 'why a password is asked for, in the words of the organisation and the language of its people'),
  adoptContact: words(200, 'where somebody who is asked finds out whether it is genuine: a page or a telephone number'),
  assignedTo,
};
