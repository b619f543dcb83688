import { readdirSync, readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { z } from 'zod';
import { readPkcs12 } from '../agent/pkcs12.ts';
import { settingsTable } from '../agent/settings-table.ts';
import { readTicket } from '../protocol/enrolment.ts';
import { Problem } from '../protocol/problems.ts';
import { unfitText } from './characters.ts';
import { type MdmName, mdmNames, mdms, variableNames } from './mdms.ts';

const address = z.url({ protocol: /^https$/ });
/** The path of a PEM or DER file, relative to the settings file; or the PEM itself. */
const certificatePath = z.string().min(1);
const rsaSize = z.union([z.literal(2048), z.literal(4096)]).default(2048);

/** One of the ways by which a Mac proves who it is when it enrols. */
const identity = z
  .strictObject({
    scep: z
      .strictObject({
        url: z.url(),
        name: z.string().optional(),
        challenge: z.string().optional(),
        /** A file whose first line is the challenge, for whoever keeps the settings where others read them. */
        challengeFile: z.string().min(1).optional(),
        /** SHA-256 or SHA-1 of the CA certificate, hex. */
        caFingerprint: z
          .string()
          .regex(/^(([0-9A-Fa-f]{2}:?){20}|([0-9A-Fa-f]{2}:?){32})$/)
          .optional(),
        commonName: z.string().optional(),
        keySize: rsaSize,
      })
      .optional(),
    // Neither bound to the hardware nor attested: macOS keeps such a key where no program of a third party can use it.
    acme: z.strictObject({ directoryUrl: address, clientIdentifier: z.string().optional(), commonName: z.string().optional(), keySize: rsaSize }).optional(),
    /** A folder with SERIAL.p12 and SERIAL.password for each Mac. */
    pkcs12: z.strictObject({ folder: z.string().min(1) }).optional(),
    /** A file whose first line is what `sparekey-server ticket new` printed. */
    ticket: z.strictObject({ file: z.string().min(1) }).optional(),
  })
  .refine((ways) => Object.keys(ways).length === 1, 'takes one of scep, acme, pkcs12, ticket');

/** What one organisation decides once; every profile is made from it. */
const profileSettings = z.strictObject({
  organisation: z.string().min(1).max(100),
  /** Reverse DNS, the organisation's own: a profile with the same identifier replaces the older one. */
  identifier: z.string().regex(/^[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$/),
  /** Where the Macs reach the backend. */
  serverUrl: address,
  /** The one that new recovery keys are sealed to. */
  escrowCertificate: certificatePath,
  /** CAs of the backend's TLS certificate, where it is not of a public CA. Several, so that a CA can be changed without a gap. */
  trustedCertificates: z.array(certificatePath).default([]),
  /** Who sends the profiles, and so fills in their variables. */
  mdm: z.enum(mdmNames).optional(),
  /** Where people get their key. */
  portal: address.optional(),
  /** Who helps, in the words that macOS shows: a telephone number or a page. */
  support: z.string().min(1).max(200).optional(),
  /** What macOS shows to somebody who seems to have forgotten the password. Left out: address of the portal and serial number. */
  deviceKey: z.string().min(1).max(200).optional(),
  fileVault: z
    .strictObject({
      /** Switches FileVault on at the next login. Without it the profile only escrows. */
      enable: z.boolean().default(true),
      /** How often somebody may put it off at login; 0: not at all. */
      bypassAttempts: z.int().min(-1).max(9999).default(0),
      /** Setup Assistant switches it on; automated device enrolment only. */
      inSetupAssistant: z.boolean().default(false),
      /** Users cannot switch it off. */
      keepOn: z.boolean().default(true),
    })
    .prefault({}),
  /** The team that signs the package: ten characters, of the organisation or its vendor. */
  teamIdentifier: z
    .string()
    .regex(/^[A-Z0-9]{10}$/, 'must have ten characters, A to Z and 0 to 9')
    // Who has Node as its publishers sign it; a rule for that team would hold for every Node on the Mac.
    .refine((team) => team !== 'HX7739G8FX', 'is the team of the Node.js Foundation; it must be the one that signs your package')
    .optional(),
  /** Whose Mac it is: the MDM's variable for the user name at sign-in to the portal. */
  assignedTo: z.string().min(1).max(256).optional(),
  /** Further settings of the agent, by the names in docs/settings.md. */
  agent: z.record(z.string(), z.unknown()).default({}),
  identity: identity.optional(),
});
type ProfileSettings = z.infer<typeof profileSettings>;

/** The identity of one Mac, in a file with a password. */
export interface Pkcs12Identity {
  serial: string;
  bytes: Buffer;
  password: string;
}

export interface LoadedSettings extends Omit<ProfileSettings, 'mdm'> {
  mdm: MdmName | null;
  escrowCertificateDer: Buffer;
  trustedCertificatesPem: string[];
  enrolmentTicket: string | null;
  pkcs12Identities: Pkcs12Identity[];
}

export interface LoadOptions {
  /** A file with the backend's own values, for what the settings file does not say. */
  backend?: string | undefined;
  /** Ranks above the settings file. */
  mdm?: MdmName | undefined;
  /** The one Mac for which the set is made, where no MDM fills in its serial number. */
  serial?: string | undefined;
}

const invalid = (detail: string) => new Problem('PROFILE_SETTINGS_INVALID', detail);

function readBytes(path: string, called: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw invalid(`${called} cannot be read (${(error as NodeJS.ErrnoException).code})`);
  }
}

/** One certificate, from a file or from the text itself. */
function derOf(given: string, folder: string): Buffer {
  const inline = given.startsWith('-----BEGIN ');
  const name = inline ? 'a certificate in the settings' : given;
  const bytes = inline ? Buffer.from(given) : readBytes(resolve(folder, given), name);
  const text = bytes.toString('latin1');
  if (text.includes('PRIVATE KEY')) throw invalid(`${name} holds a private key; a profile is read by everybody`);
  const found = [...text.matchAll(/-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----/g)];
  if (found.length > 1) throw invalid(`${name} holds ${found.length} certificates; name one file for each`);
  return found[0] === undefined ? bytes : Buffer.from(found[0][1] ?? '', 'base64');
}

const pemOf = (der: Buffer): string => `-----BEGIN CERTIFICATE-----\n${der.toString('base64').replace(/(.{64})(?!$)/g, '$1\n')}\n-----END CERTIFICATE-----\n`;

/** In the subject of the certificate in profiles/examples/escrow.pem. */
const ofExamples = 'Example escrow: nobody has its private key';

const elsewhere: Record<string, string> = {
  serverUrl: 'is set at the top of the file',
  escrowCertificate: 'is set at the top of the file',
  trustedCertificates: 'is set at the top of the file',
  assignedTo: 'is set at the top of the file',
};

/** What the agent itself would say of its settings: a profile that it refuses is not made. */
function agentMistakes({ agent, identity: ways }: ProfileSettings): string[] {
  const table: Record<string, { read(value: unknown): object }> = settingsTable;
  const wrong = Object.entries(agent).flatMap(([name, value]) => {
    if (!Object.hasOwn(table, name)) return [`agent.${name}: is not a setting of the agent`];
    if (elsewhere[name] !== undefined) return [`agent.${name}: ${elsewhere[name]}`];
    const reading = table[name]?.read(value) ?? {};
    return 'wrong' in reading ? [`agent.${name}: ${reading.wrong}`] : [];
  });
  const named = 'identityIssuer' in agent || 'identitySubject' in agent;
  if (ways?.ticket !== undefined && named) wrong.push('identity.ticket: agent.identityIssuer and identitySubject rank above it; leave one of the two ways out');
  if (ways?.scep?.challenge !== undefined && ways.scep.challengeFile !== undefined) wrong.push('identity.scep.challengeFile: challenge says it as well');
  if (ways?.ticket !== undefined && 'enrolmentTicket' in agent) wrong.push('identity.ticket: agent.enrolmentTicket says it as well');
  return ways !== undefined && ways.ticket === undefined && !named
    ? [...wrong, 'agent.identityIssuer: is missing; by it the agent finds the identity that the profile brings']
    : wrong;
}

function readJson(file: string): object {
  try {
    return Object(JSON.parse(readFileSync(file, 'utf8')));
  } catch (error) {
    throw invalid(`${file} is not readable JSON (${error instanceof Error ? error.message : error})`);
  }
}

/** The part of what `sparekey-server profile-values --json` prints that a profile is made from. */
const backendValues = z.object({ serverUrl: z.string(), organisation: z.string(), escrowCertificate: z.string(), trustedCertificates: z.array(z.string()) });

const placeholder = new RegExp(`\\{(${variableNames.join('|')})\\}`, 'g');

/** Puts the MDM's own variables where the settings say `{serialNumber}`, `{email}` or `{userName}`; collects what nobody fills. */
function filler(mdm: MdmName | null, serial: string | undefined, mistakes: string[]): (name: string, text: string) => string {
  return (name, text) =>
    text.replace(placeholder, (whole, variable: (typeof variableNames)[number]) => {
      if (variable === 'serialNumber' && serial !== undefined) return serial;
      const found = mdm === null ? null : mdms[mdm].variables[variable];
      if (found !== null) return found;
      const instead = variable === 'serialNumber' ? ', or --serial for one Mac' : '';
      mistakes.push(
        mdm === null ? `${name}: ${whole} needs --mdm${instead}` : `${name}: ${whole} is filled in by nobody with ${mdms[mdm].called}; leave it out${instead}`,
      );
      return whole;
    });
}

/** Address of the portal and serial number, where somebody can fill that in; otherwise macOS shows the serial number by itself. */
function ownDeviceKey({ portal }: ProfileSettings, mdm: MdmName | null, serial: string | undefined): string | undefined {
  if (portal === undefined || (serial === undefined && (mdm === null || mdms[mdm].variables.serialNumber === null))) return undefined;
  return `${new URL(portal).host}, serial number {serialNumber}`;
}

function withVariables(given: ProfileSettings, mdm: MdmName | null, serial: string | undefined): { settings: ProfileSettings; mistakes: string[] } {
  const mistakes: string[] = [];
  const fill = filler(mdm, serial, mistakes);
  // Without a word about the MDM it is what Apple's own Profile Manager fills in.
  const nameOfMac = mdm === null && serial === undefined ? '%SerialNumber%' : '{serialNumber}';
  const deviceKey = given.deviceKey ?? ownDeviceKey(given, mdm, serial);
  const { scep, acme } = given.identity ?? {};
  const named = <Way extends { commonName?: string | undefined }>(way: Way, name: string): Way => ({
    ...way,
    commonName: fill(`identity.${name}.commonName`, way.commonName ?? nameOfMac),
  });
  const settings: ProfileSettings = {
    ...given,
    ...(deviceKey === undefined ? {} : { deviceKey: fill('deviceKey', deviceKey) }),
    ...(given.assignedTo === undefined ? {} : { assignedTo: fill('assignedTo', given.assignedTo) }),
    ...(scep === undefined ? {} : { identity: { scep: named(scep, 'scep') } }),
    ...(acme === undefined
      ? {}
      : { identity: { acme: { ...named(acme, 'acme'), clientIdentifier: fill('identity.acme.clientIdentifier', acme.clientIdentifier ?? nameOfMac) } } }),
  };
  return { settings, mistakes };
}

/** The settings file and what it names; all mistakes of the file at once. */
export function loadSettings(file: string, { backend, mdm: chosen, serial }: LoadOptions = {}): LoadedSettings {
  const values = backend === undefined ? { data: {} } : backendValues.safeParse(readJson(backend));
  if (values.data === undefined) throw invalid(`${backend} is not what profile-values --json prints`);
  const checked = profileSettings.safeParse({ ...values.data, ...readJson(file) });
  if (!checked.success) throw invalid(`${file}: ${checked.error.issues.map(({ path, message }) => `${path.join('.') || 'the file'}: ${message}`).join('; ')}`);
  const mdm = chosen ?? checked.data.mdm ?? null;
  const { settings, mistakes } = withVariables(checked.data, mdm, serial);
  const all = [...agentMistakes(settings), ...mistakes];
  if (all.length > 0) throw invalid(`${file}: ${all.join('; ')}`);
  const folder = dirname(file);
  const escrowCertificateDer = derOf(settings.escrowCertificate, folder);
  // What is sealed to the certificate of profiles/examples is lost.
  if (escrowCertificateDer.includes(ofExamples) && !new URL(settings.serverUrl).hostname.endsWith('.example.org'))
    throw invalid(`${settings.escrowCertificate} is the certificate of the examples, whose private key nobody has; take the one of your backend`);
  const { scep, pkcs12, ticket } = settings.identity ?? {};
  const loaded: LoadedSettings = {
    ...settings,
    ...(scep?.challengeFile === undefined
      ? {}
      : { identity: { scep: { ...scep, challenge: firstLine(resolve(folder, scep.challengeFile), scep.challengeFile) } } }),
    mdm,
    escrowCertificateDer,
    trustedCertificatesPem: settings.trustedCertificates.map((given) => pemOf(derOf(given, folder))),
    enrolmentTicket: ticket === undefined ? null : ticketIn(resolve(folder, ticket.file), ticket.file),
    pkcs12Identities: pkcs12 === undefined ? [] : identitiesIn(resolve(folder, pkcs12.folder), pkcs12.folder),
  };
  const unfit = unfitText(loaded);
  if (unfit !== null) throw invalid(`${file}: ${unfit} holds a character that cannot be seen, and that no profile can hold; write it anew`);
  return loaded;
}

function firstLine(path: string, called: string): string {
  const line = readBytes(path, called).toString('utf8').split('\n', 1)[0]?.trim() ?? '';
  if (line === '') throw invalid(`${called}: the first line is empty`);
  return line;
}

function ticketIn(path: string, called: string): string {
  const line = firstLine(path, called);
  if (readTicket(line) === null) throw invalid(`${called}: the first line is not a ticket as \`sparekey-server ticket new\` printed it`);
  return line;
}

/** Each is opened once: a Mac whose profile has the wrong password would refuse it. */
function identitiesIn(path: string, called: string): Pkcs12Identity[] {
  let names: string[];
  try {
    names = readdirSync(path).filter((name) => /^[A-Za-z0-9]+\.p12$/.test(name));
  } catch (error) {
    throw invalid(`${called} cannot be read (${(error as NodeJS.ErrnoException).code})`);
  }
  if (names.length === 0) throw invalid(`${called} has no file SERIAL.p12`);
  return names.sort().map((name) => {
    const serial = name.slice(0, -'.p12'.length);
    const bytes = readBytes(resolve(path, name), `${called}/${name}`);
    const password =
      readBytes(resolve(path, `${serial}.password`), `${called}/${serial}.password`)
        .toString('utf8')
        .split('\n', 1)[0] ?? '';
    try {
      readPkcs12(bytes, password);
    } catch {
      throw invalid(`${called}/${name} does not open with the first line of ${serial}.password`);
    }
    return { serial, bytes, password };
  });
}
