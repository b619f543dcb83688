import { createPrivateKey, createPublicKey, generateKeyPair, generateKeyPairSync, type KeyObject, randomBytes, X509Certificate } from 'node:crypto';
import { existsSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { isIPv6 } from 'node:net';
import { basename, dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { openEnvelope, sealKey } from '../protocol/envelope.ts';
import { Problem } from '../protocol/problems.ts';
import { RecoveryKey } from '../protocol/recovery-key.ts';
import { audit } from './audit.ts';
import { makeAuditKey } from './auditing/audit-key.ts';
import { keepSettings } from './auditing/settings-history.ts';
import { checkDeviceCa, checkTlsIdentity, serverCertificateDays } from './authorities.ts';
import { issueServerCertificate, makeCa, makeEscrowCertificate, pem, readPem } from './certificates.ts';
import { openClock } from './clock.ts';
import { checkConsole } from './console-check.ts';
import { type CertificateAndKey, databaseOf, folderPaths } from './data-folder.ts';
import { openDatabase } from './database.ts';
import { decryptPrivateKey, encryptPrivateKey } from './encrypted-key.ts';
import { writeEscrowKey } from './escrow-keys.ts';
import { checkPeople } from './people-check.ts';
import { makePrivateFolder, refuseExisting, syncFolder, writePrivate } from './private-files.ts';
import { makeServerSecrets } from './server-secrets.ts';
import { checkSettings } from './settings.ts';
import { firstAuditEntry } from './store/upkeep.ts';

export interface InitOptions {
  dir: string;
  names: readonly string[];
  organisation: string;
  devicesPort: number;
  passphrase: string;
  /** Where the offline copy of the escrow key goes; null where the operator does without. */
  copy: string | null;
  deviceCaFiles: readonly string[];
  ownTls: CertificateAndKey | null;
  /** The site for people: its address, and the port to listen at. */
  portal?: { url: string; port: number } | null;
  /** The site for admins, on this machine alone until the settings say where it listens. */
  console?: { url: string; port: number } | null;
  admin: string;
  /** Shorter keys than 3072 bits are for tests only. */
  escrowKeyBits?: number;
  /** For tests only: one that is there already, and encrypted in less time. */
  escrowKey?: EscrowKey;
  /** Puts an empty database there instead of having one made: for tests only, too. */
  putDatabase?: (file: string) => Promise<void>;
  say: (progress: string) => void;
}

export interface InitResult {
  dir: string;
  serverUrl: string;
  organisation: string;
  admin: string;
  escrowCertificate: string;
  escrowValidUntil: string;
  copy: string | null;
  copyOnSameDisk: boolean;
  deviceCas: number;
  next: string[];
}

interface EscrowKey {
  privateKey: KeyObject;
  /** PEM. */
  encrypted: string;
}

const caYears = 20;

function originOf(name: string, port: number): string {
  return new URL(`https://${isIPv6(name) ? `[${name}]` : name}:${port}`).origin;
}

/** Makes a data folder, all of it or nothing: it is put together under another name and renamed when it is whole. */
export async function initialise(options: InitOptions): Promise<InitResult> {
  const dir = resolve(options.dir);
  refuseExisting(dir);
  if (!existsSync(dirname(dir))) throw new Problem('USAGE', `${dirname(dir)} does not exist`);
  const copy = options.copy === null ? null : resolve(options.copy);
  if (copy !== null && existsSync(copy)) throw new Problem('DATA_FOLDER_EXISTS', `${copy} exists already; the offline copy replaces no file`);
  if (copy !== null && !copy.startsWith(`${dir}/`) && !existsSync(dirname(copy))) throw new Problem('USAGE', `${dirname(copy)} does not exist`);
  if (copy?.startsWith(`${dir}/`)) throw new Problem('USAGE', 'the offline copy would lie in the data folder, and be lost with it');

  const making = join(dirname(dir), `.${basename(dir)}.making-${randomBytes(4).toString('hex')}`);
  makePrivateFolder(making);
  let copyWritten = false;
  try {
    const { escrow, serverUrl, deviceCas } = await fill(making, options);
    if (copy !== null) {
      options.say(`making the offline copy ${copy}, and opening it once`);
      writePrivate(copy, offlineCopy(options.organisation, escrow));
      copyWritten = true;
      proveOpens(readFileSync(copy, 'utf8'), options.passphrase);
    }
    renameSync(making, dir);
    syncFolder(dirname(dir));
    return {
      dir,
      serverUrl,
      organisation: options.organisation,
      admin: options.admin,
      escrowCertificate: escrow.digest,
      escrowValidUntil: new X509Certificate(escrow.certificate).validToDate.toISOString(),
      copy,
      copyOnSameDisk: copy !== null && statSync(copy).dev === statSync(dir).dev,
      deviceCas,
      next: nextSteps(dir, deviceCas, copy === null, options.portal?.url ?? null, options.console?.url ?? null),
    };
  } catch (error) {
    rmSync(making, { recursive: true, force: true });
    if (copyWritten && copy !== null) rmSync(copy, { force: true });
    throw error;
  }
}

interface EscrowPair {
  digest: string;
  certificate: Buffer;
  encryptedKey: string;
}

async function fill(dir: string, options: InitOptions): Promise<{ escrow: EscrowPair; serverUrl: string; deviceCas: number }> {
  const paths = folderPaths(dir);
  const at = new Date();
  const { organisation, names } = options;
  const [name] = names;
  if (name === undefined) throw new Problem('USAGE', 'a name is needed');
  for (const folder of [paths.escrow, dirname(paths.agentCa.key), dirname(paths.tls.key), dirname(paths.tlsCa.key), paths.deviceCas]) makePrivateFolder(folder);
  const serverUrl = originOf(name, options.devicesPort);
  const settings = {
    serverUrl,
    otherUrls: names.slice(1).map((other) => originOf(other, options.devicesPort)),
    organisation,
    listen: { port: options.devicesPort },
    tls: { ownCertificate: options.ownTls === null },
    // What an operator fills in stands there with its default.
    ...(options.portal
      ? {
          people: {
            url: options.portal.url,
            listen: { port: options.portal.port },
            tls: null,
            signIn: { localAccounts: true, providers: [] },
            selfService: { everybody: 'on' },
            contact: null,
            mail: null,
          },
        }
      : {}),
    ...(options.console
      ? { console: { url: options.console.url, listen: { host: '127.0.0.1', port: options.console.port }, tls: null, networks: null, metricsTokenFile: null } }
      : {}),
  };
  const checked = checkSettings(settings);
  if (checked.console) checkConsole(checked.console, checked);
  if (checked.people) checkPeople(checked.people, checked);
  const deviceCas = options.deviceCaFiles.flatMap((file, index) => {
    const content = readGiven(file);
    const found = checkDeviceCa(content, file);
    writePrivate(join(paths.deviceCas, `${index + 1}.pem`), found.map((der) => pem('CERTIFICATE', der)).join(''));
    return found;
  });

  options.say('making the escrow key pair');
  const { privateKey, encrypted } = options.escrowKey ?? (await makeEscrowKey(options.escrowKeyBits ?? 3072, options.passphrase));
  const certificate = makeEscrowCertificate({ commonName: `${organisation.slice(0, 40)} recovery key escrow`, privateKey, years: caYears, at });
  const digest = writeEscrowKey(paths.escrow, encrypted, certificate);

  options.say('making the agent CA, the TLS certificate and the secrets of the server');
  const agentCa = makeCa({ commonName: `${organisation.slice(0, 40)} Sparekey agents`, years: caYears, at });
  writePair(paths.agentCa, agentCa.certificateDer, agentCa.privateKey);
  if (options.ownTls) {
    const [chain, key] = [readGiven(options.ownTls.certificate), readGiven(options.ownTls.key)];
    checkTlsIdentity(chain, key, options.ownTls);
    writePrivate(paths.tls.certificate, chain);
    writePrivate(paths.tls.key, createPrivateKey(key).export({ type: 'pkcs8', format: 'pem' }));
  } else {
    const tlsCa = makeCa({ commonName: `${organisation.slice(0, 40)} Sparekey TLS`, years: caYears, at });
    writePair(paths.tlsCa, tlsCa.certificateDer, tlsCa.privateKey);
    const tls = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const publicKeyDer = tls.publicKey.export({ type: 'spki', format: 'der' });
    // Until the sites have certificates that browsers know, they use this one.
    const sites = [options.portal, options.console].flatMap((site) => (site ? [new URL(site.url).hostname.replace(/^\[|\]$/g, '')] : []));
    const hosts = [...new Set([...names, ...sites])];
    const der = issueServerCertificate({ ca: tlsCa.certificateDer, caKey: tlsCa.privateKey, names: hosts, publicKeyDer, at, days: serverCertificateDays });
    writePrivate(paths.tls.certificate, pem('CERTIFICATE', der) + pem('CERTIFICATE', tlsCa.certificateDer));
    writePrivate(paths.tls.key, tls.privateKey.export({ type: 'pkcs8', format: 'pem' }));
  }
  makeServerSecrets(paths.secrets);
  writePrivate(paths.settings, `${JSON.stringify(settings, null, 2)}\n`);

  options.say('making the database');
  await options.putDatabase?.(paths.database);
  const store = await openDatabase(databaseOf(paths));
  try {
    // PostgreSQL: one that another backend has filled belongs to that one's folder.
    if (await firstAuditEntry(store.db)) throw new Problem('USAGE', 'the database that SPAREKEY_DATABASE_URL names is another backend’s; name an empty one');
    const clock = await openClock(store);
    await store.write(async (tx) => {
      const details = {
        admin: options.admin,
        serverUrl,
        organisation,
        escrowCertificate: digest,
        deviceCas: deviceCas.length,
        offlineCopy: options.copy !== null,
        auditKey: makeAuditKey(paths, clock.now()).keyId,
      };
      await audit(tx, { at: await clock.persist(tx), actor: options.admin, act: 'server.made', details });
      await keepSettings(tx, paths);
      await audit(tx, { at: await clock.persist(tx), actor: options.admin, act: 'admin.named', details: { admin: options.admin, first: true } });
    });
  } finally {
    await store.close();
  }
  return { escrow: { digest, certificate, encryptedKey: encrypted }, serverUrl, deviceCas: deviceCas.length };
}

const makeKeyPair = promisify(generateKeyPair);
async function makeEscrowKey(bits: number, passphrase: string): Promise<EscrowKey> {
  if (bits < 2048) throw new Problem('USAGE', 'an escrow key has at least 2048 bits');
  const { privateKey } = await makeKeyPair('rsa', { modulusLength: bits });
  return { privateKey, encrypted: encryptPrivateKey(privateKey, passphrase) };
}

function writePair(files: CertificateAndKey, der: Buffer, key: KeyObject): void {
  writePrivate(files.certificate, pem('CERTIFICATE', der));
  writePrivate(files.key, key.export({ type: 'pkcs8', format: 'pem' }));
}

export function readGiven(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new Problem('USAGE', `${file} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown'})`);
  }
}

/** One text file that opens every envelope without this software: instructions, the encrypted key, its certificate. */
function offlineCopy(organisation: string, escrow: EscrowPair): string {
  return `Sparekey: offline copy of the escrow key of ${organisation}
Certificate ${escrow.digest} (SHA-256), made ${new Date().toISOString().slice(0, 10)}

Whoever has this file AND its passphrase can open every FileVault recovery key that was
ever sealed to this certificate. Keep them apart, both offline. Without it, and without
the data folder of the backend, no sealed recovery key can ever be opened again.

To open one envelope (a file ENVELOPE, in DER) with OpenSSL 3.0 or newer:

    openssl cms -decrypt -inform DER -in ENVELOPE -inkey THIS-FILE -recip THIS-FILE

It asks for the passphrase and prints the recovery key. Only an exit status of 0 counts.
LibreSSL, which macOS has as /usr/bin/openssl, cannot open envelopes made by the agent.

${escrow.encryptedKey}
${pem('CERTIFICATE', escrow.certificate)}`;
}

/** Opens a trial envelope with the copy as it lies on the disk, by its passphrase: what was not tried is no copy. */
export function proveOpens(copy: string, passphrase: string): void {
  const key = decryptPrivateKey(/-----BEGIN ENCRYPTED[\s\S]+?-----END ENCRYPTED PRIVATE KEY-----\n/.exec(copy)?.[0] ?? '', passphrase);
  const [certificate] = readPem(/-----BEGIN CERTIFICATE-----[\s\S]+-----END CERTIFICATE-----\n/.exec(copy)?.[0] ?? '');
  const trial = RecoveryKey.parse('TRYA-TRYB-TRYC-TRYD-TRYE-TRYF');
  if (!certificate || !trial || !createPublicKey(key).equals(new X509Certificate(certificate).publicKey))
    throw new Problem('BACKUP_INVALID', 'the offline copy does not hold a key and its certificate');
  const opened = openEnvelope(sealKey(trial, certificate), key, certificate);
  if (opened === 'unreadable' || !opened.equals(trial)) throw new Problem('BACKUP_INVALID', 'the offline copy does not open an envelope');
}

function nextSteps(dir: string, deviceCas: number, withoutCopy: boolean, portal: string | null, admins: string | null): string[] {
  const at = `--dir ${/^[\w./-]+$/.test(dir) ? dir : `'${dir.replaceAll("'", `'\\''`)}'`}`;
  return [
    ...(withoutCopy ? [`sparekey-server backup FILE ${at}    # there is no offline copy: make a backup today`] : []),
    ...(portal === null
      ? []
      : [
          `${join(dir, 'settings.json')}    # people.tls, people.contact, people.signIn: see docs/portal.md`,
          `sparekey-server settings check ${at}`,
          `sparekey-server account add emergency-1 --emergency ${at}    # and emergency-2: set up at ${portal}/set-up`,
        ]),
    ...(admins === null
      ? []
      : [
          `sparekey-server account add NAME ${at}    # an admin, who signs in at ${admins}`,
          `sparekey-server role give NAME owner --reason "the first owner" ${at}`,
        ]),
    `sparekey-server serve ${at}`,
    `sparekey-server profile-values ${at}    # what the settings profile for the Macs needs`,
    ...(deviceCas === 0 ? [`sparekey-server ticket new --serial SERIAL ${at}    # no device CA: Macs enrol by ticket`] : []),
    `sparekey-server backup FILE ${at}    # daily, and try one with verify-backup`,
    `sparekey-server status ${at}`,
  ];
}
