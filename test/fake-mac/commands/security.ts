// security. From Apple's open-source SecurityTool: the lists of find-identity, the hashes of find-certificate, the options
// of `cms -S`, "is ambiguous", "could not find signing identity", exit = OSStatus & 0xFF. Modelled: which words `cms`
// prints when the private key's ACL does not list /usr/bin/security (the text is SecBase.h's -25308, the exit its 36).
import { createHash, X509Certificate } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { attribute, pemToDer, subjectKeyId } from '../certificates.ts';
import { xmlPlist } from '../property-list.ts';
import { type Digest, digests, makeSignedData } from '../signed-data.ts';
import { emptyKeychain, type Identity, type Keychain, systemKeychain } from '../state.ts';
import { type Asked, complains, hasNo, inTheRoot, type Outcome, onTheMac, type Steps, says } from './outcome.ts';

const program = '/usr/bin/security';
const hash = (name: 'sha1' | 'sha256', pem: string): string => createHash(name).update(pemToDer(pem)).digest('hex').toUpperCase();

/** Options with values from the list `valued`, flags, and what is left. */
const readOptions = (args: readonly string[], valued: string): { values: Map<string, string>; flags: Set<string>; rest: string[] } => {
  const values = new Map<string, string>();
  const flags = new Set<string>();
  const rest: string[] = [];
  for (let at = 0; at < args.length; at += 1) {
    const arg = args[at] ?? '';
    if (!arg.startsWith('-')) rest.push(arg);
    else if (valued.includes(arg.slice(1, 2))) values.set(arg, args[++at] ?? '');
    else flags.add(arg);
  }
  return { values, flags, rest };
};

const noKeychain = (what: string): Outcome => complains(50, `security: ${what}: The specified keychain could not be found.`);
/** The named keychain, or the one that a daemon's search list has. */
const keychainOf = ({ root, state }: Asked, path: string | undefined): Keychain | null =>
  path === undefined ? (state.keychains[systemKeychain] ?? emptyKeychain()) : (state.keychains[onTheMac(root, path)] ?? null);

const findIdentity = (asked: Asked, args: readonly string[]): Outcome => {
  const { values, flags, rest } = readOptions(args, 'p');
  const keychain = keychainOf(asked, rest[0]);
  if (values.get('-p') !== 'ssl-client') return hasNo(program, ['find-identity', ...args]);
  if (!keychain) return noKeychain('SecKeychainFindIdentity');
  // A private CA is never trusted by macOS here, so no identity is valid: what `-v` hides.
  const line = ({ certificate, label }: Identity, at: number): string => {
    const late = Date.parse(new X509Certificate(certificate).validTo) < asked.now;
    return `${String(at + 1).padStart(3)}) ${hash('sha1', certificate)} "${label}" (${late ? 'CSSMERR_TP_CERT_EXPIRED' : 'CSSMERR_TP_NOT_TRUSTED'})\n`;
  };
  const all = keychain.identities.map(line).join('');
  if (flags.has('-v')) return says('     0 valid identities found\n');
  const count = `     ${keychain.identities.length} identities found\n`;
  return says(`\nPolicy: SSL (client)\n  Matching identities\n${all}${count}\n  Valid identities only\n     0 valid identities found\n`);
};

const findCertificate = (asked: Asked, args: readonly string[]): Outcome => {
  const { values, flags, rest } = readOptions(args, 'ce');
  const keychain = keychainOf(asked, rest[0]);
  if (!keychain) return noKeychain('SecKeychainSearchCopyNext');
  const wanted = values.get('-c');
  const all = [...keychain.identities.map(({ certificate }) => certificate), ...keychain.certificates];
  const matching = all.filter((pem) => wanted === undefined || (attribute(new X509Certificate(pem).subject, 'CN') ?? '').includes(wanted));
  const found = flags.has('-a') ? matching : matching.slice(0, 1);
  if (!found.length)
    return flags.has('-a') ? says('') : complains(44, 'security: SecKeychainSearchCopyNext: The specified item could not be found in the keychain.');
  const hashes = (pem: string): string => (flags.has('-Z') ? `SHA-256 hash: ${hash('sha256', pem)}\nSHA-1 hash: ${hash('sha1', pem)}\n` : '');
  const attributes = (pem: string): string =>
    `keychain: "${systemKeychain}"\nversion: 512\nclass: 0x80001000 \nattributes:\n    "alis"<blob>="${attribute(new X509Certificate(pem).subject, 'CN') ?? ''}"\n`;
  return says(found.map((pem) => `${hashes(pem)}${flags.has('-p') ? pem : attributes(pem)}`).join(''));
};

/** Certificate usages as numbers of SECCertUsage. A certificate made for TLS clients alone is no e-mail signer's (4). */
const usable = (certificate: string, usage: number): boolean => {
  const purposes = new X509Certificate(certificate).keyUsage as string[] | undefined;
  const only = purposes?.length ? purposes : null;
  return usage === 0 ? only === null || only.includes('1.3.6.1.5.5.7.3.2') : usage === 4 ? only === null || only.includes('1.3.6.1.5.5.7.3.4') : true;
};

function* sign(asked: Asked, args: readonly string[], stdin: Buffer): Steps {
  const { values, flags } = readOptions(args, 'NZiokHu');
  if (!flags.has('-S')) return hasNo(program, ['cms', ...args]);
  const keychain = keychainOf(asked, values.get('-k'));
  if (!keychain) return noKeychain('SecKeychainOpen');
  const nick = values.get('-N');
  const skid = values.get('-Z')?.toUpperCase();
  if (nick === undefined && skid === undefined) return complains(2, 'security: you need to specify -N or -Z for a signing identity');
  const matching = keychain.identities.filter(({ certificate }) =>
    nick !== undefined
      ? (attribute(new X509Certificate(certificate).subject, 'CN') ?? '').toLowerCase().includes(nick.toLowerCase())
      : subjectKeyId(pemToDer(certificate)).toUpperCase() === skid,
  );
  const fitting = matching.filter(({ certificate }) => usable(certificate, Number(values.get('-u') ?? '4')));
  if (fitting.length > 1) return complains(1, `security: "${nick ?? skid}" is ambiguous, matches more than one certificate`);
  const [identity] = fitting;
  if (!identity) return complains(1, `security: could not find signing identity for ${nick !== undefined ? `name: "${nick}"` : `subjectKeyID: "${skid}"`}`);
  if (asked.state.darkWake) return complains(24, 'security: failed to add signer information: In dark wake, no UI possible');
  if (identity.access === 'asks') yield Number.POSITIVE_INFINITY;
  if (identity.access !== 'allowed' || keychain.mode === 'locked')
    return complains(36, 'security: failed to add signer information: User interaction is not allowed.');
  const digest = (values.get('-H') ?? 'SHA1') as Digest;
  if (!Object.hasOwn(digests, digest)) return complains(2, `security: unknown hash algorithm "${digest}"`);
  const from = values.get('-i');
  const to = values.get('-o');
  let content: Buffer;
  try {
    content = from === undefined ? stdin : readFileSync(inTheRoot(asked.root, from));
  } catch {
    return complains(2, `security: unable to open "${from}" for reading`);
  }
  const issuers = keychain.certificates.filter((pem) => new X509Certificate(identity.certificate).checkIssued(new X509Certificate(pem)));
  const made = makeSignedData({
    content,
    chain: [pemToDer(identity.certificate), ...issuers.map(pemToDer)],
    key: identity.key,
    digest,
    signingTime: flags.has('-G') ? asked.now : null,
    detached: flags.has('-T'),
  });
  if (to === undefined) return says(made);
  writeFileSync(inTheRoot(asked.root, to), made);
  return says('');
}

const findPassword = (asked: Asked, args: readonly string[]): Outcome => {
  const { values, flags, rest } = readOptions(args, 'sa');
  const keychain = keychainOf(asked, rest[0]);
  const item = keychain?.items.find(({ service, account }) => service === values.get('-s') && account === (values.get('-a') ?? account));
  if (!item) return complains(44, 'security: SecKeychainSearchCopyNext: The specified item could not be found in the keychain.');
  return flags.has('-w') ? says(`${item.password}\n`) : hasNo(program, ['find-generic-password', ...args]);
};

/** Reading a right: its property list on stdout, `YES (0)` on stderr (Escrow Buddy's scripts read it so). This Mac knows one right, and no writing. */
const authorizationdb = ({ state }: Asked, args: readonly string[]): Outcome => {
  const [verb, right] = args;
  if (verb !== 'read' || right !== 'system.login.console') return hasNo(program, ['authorizationdb', ...args]);
  const list = { class: 'evaluate-mechanisms', comment: 'Login mechanism based rule.', mechanisms: state.loginMechanisms, shared: true, tries: 10000 };
  return { code: 0, stdout: xmlPlist(list), stderr: 'YES (0)\n' };
};

export const security = (asked: Asked, args: readonly string[], stdin: Buffer): Outcome | Steps => {
  const [verb, ...rest] = args;
  if (verb === 'find-identity') return findIdentity(asked, rest);
  if (verb === 'find-certificate') return findCertificate(asked, rest);
  if (verb === 'find-generic-password') return findPassword(asked, rest);
  if (verb === 'authorizationdb') return authorizationdb(asked, rest);
  if (verb === 'cms') return sign(asked, rest, stdin);
  return hasNo(program, args);
};
