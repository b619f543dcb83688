import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { z } from 'zod';
import { settingsTable } from '../agent/settings-table.ts';
import { Problem } from '../protocol/problems.ts';

const address = z.url({ protocol: /^https$/ });
/** The path of a PEM or DER file, relative to the settings file; or the PEM itself. */
const certificatePath = z.string().min(1);

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
  /** Where people get their key. */
  portal: address.optional(),
  /** Who helps, in the words that macOS shows: a telephone number or a page. */
  support: z.string().min(1).max(200).optional(),
  /** What macOS shows beside the place of the key, where an MDM can fill in a variable; left out, macOS shows the serial number. */
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
  /** Whose Mac it is: the MDM's variable for the user name at sign-in to the portal, such as `$EMAIL`. */
  assignedTo: z.string().min(1).max(256).optional(),
  /** Further settings of the agent, by the names in docs/settings.md. */
  agent: z.record(z.string(), z.unknown()).default({}),
  identity: z
    .strictObject({
      scep: z.strictObject({
        url: z.url(),
        name: z.string().optional(),
        challenge: z.string().optional(),
        /** SHA-256 or SHA-1 of the CA certificate, hex. */
        caFingerprint: z
          .string()
          .regex(/^([0-9A-Fa-f]{2}:?){20,32}$/)
          .optional(),
        /** `$SERIALNUMBER` and the like are replaced by the MDM. */
        commonName: z.string().default('%SerialNumber%'),
        keySize: z.union([z.literal(2048), z.literal(4096)]).default(2048),
      }),
    })
    .optional(),
});
type ProfileSettings = z.infer<typeof profileSettings>;

export interface LoadedSettings extends ProfileSettings {
  escrowCertificateDer: Buffer;
  trustedCertificatesPem: string[];
}

/** One certificate, from a file or from the text itself. */
function derOf(given: string, folder: string): Buffer {
  const inline = given.startsWith('-----BEGIN ');
  const name = inline ? 'a certificate in the settings' : given;
  let bytes = Buffer.from(given);
  try {
    if (!inline) bytes = readFileSync(resolve(folder, given));
  } catch (error) {
    throw new Problem('SERVER_SETTINGS_INVALID', `${name} cannot be read (${(error as NodeJS.ErrnoException).code})`);
  }
  const text = bytes.toString('latin1');
  if (text.includes('PRIVATE KEY')) throw new Problem('SERVER_SETTINGS_INVALID', `${name} holds a private key; a profile is read by everybody`);
  const found = [...text.matchAll(/-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----/g)];
  if (found.length > 1) throw new Problem('SERVER_SETTINGS_INVALID', `${name} holds ${found.length} certificates; name one file for each`);
  return found[0] === undefined ? bytes : Buffer.from(found[0][1] ?? '', 'base64');
}

const pemOf = (der: Buffer): string => `-----BEGIN CERTIFICATE-----\n${der.toString('base64').replace(/(.{64})(?!$)/g, '$1\n')}\n-----END CERTIFICATE-----\n`;

/** What the agent itself would say of its settings: a profile that it refuses is not made. */
function agentMistakes({ agent, identity }: ProfileSettings): string[] {
  const table: Record<string, { read(value: unknown): object }> = settingsTable;
  const wrong = Object.entries(agent).flatMap(([name, value]) => {
    if (!Object.hasOwn(table, name)) return [`agent.${name}: is not a setting of the agent`];
    if (['serverUrl', 'escrowCertificate', 'trustedCertificates', 'assignedTo'].includes(name)) return [`agent.${name}: is set at the top of the file`];
    const reading = table[name]?.read(value) ?? {};
    return 'wrong' in reading ? [`agent.${name}: ${reading.wrong}`] : [];
  });
  const found = 'identityIssuer' in agent || 'identitySubject' in agent;
  return identity !== undefined && !found ? [...wrong, 'agent.identityIssuer: is missing; by it the agent finds the identity that the profile brings'] : wrong;
}

function readJson(file: string): object {
  try {
    return Object(JSON.parse(readFileSync(file, 'utf8')));
  } catch (error) {
    throw new Problem('SERVER_SETTINGS_INVALID', `${file} is not readable JSON (${error instanceof Error ? error.message : error})`);
  }
}

/** The part of what `sparekey-server profile-values --json` prints that a profile is made from. */
const backendValues = z.object({ serverUrl: z.string(), organisation: z.string(), escrowCertificate: z.string(), trustedCertificates: z.array(z.string()) });

/**
 * The settings file and the certificates it names; all mistakes of the file at once. `backend` is a file with the
 * backend's own values, for what the settings file does not say.
 */
export function loadSettings(file: string, backend?: string): LoadedSettings {
  const values = backend === undefined ? { data: {} } : backendValues.safeParse(readJson(backend));
  if (values.data === undefined) throw new Problem('SERVER_SETTINGS_INVALID', `${backend} is not what profile-values --json prints`);
  const checked = profileSettings.safeParse({ ...values.data, ...readJson(file) });
  const mistakes = checked.success
    ? agentMistakes(checked.data)
    : checked.error.issues.map(({ path, message }) => `${path.join('.') || 'the file'}: ${message}`);
  if (!checked.success || mistakes.length > 0) throw new Problem('SERVER_SETTINGS_INVALID', `${file}: ${mistakes.join('; ')}`);
  const folder = dirname(file);
  return {
    ...checked.data,
    escrowCertificateDer: derOf(checked.data.escrowCertificate, folder),
    trustedCertificatesPem: checked.data.trustedCertificates.map((given) => pemOf(derOf(given, folder))),
  };
}
