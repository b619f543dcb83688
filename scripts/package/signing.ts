import { createPublicKey, X509Certificate } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { z } from 'zod';
import { readPkcs12 } from '../../agent/pkcs12.ts';
import { PackageFailed } from './failure.ts';

/*
 * The file that `--sign` names: two certificates, one for programs and one for packages, and how Apple is asked to notarize.
 * Passwords are in files of their own; nothing secret is ever in an argument that `ps` could show.
 */

const identity = z.strictObject({ p12: z.string().min(1), passwordFile: z.string().min(1) });
const fileSchema = z.discriminatedUnion('with', [
  z.strictObject({
    with: z.literal('apple'),
    application: z.string().min(1),
    installer: z.string().min(1),
    keychain: z.string().min(1).optional(),
    notarize: z.union([
      z.strictObject({ key: z.string().min(1), keyId: z.string().min(1), issuer: z.string().min(1) }),
      z.strictObject({ keychainProfile: z.string().min(1) }),
      z.literal(false),
    ]),
  }),
  z.strictObject({
    with: z.literal('rcodesign'),
    application: identity,
    installer: identity,
    notarize: z.union([z.strictObject({ apiKeyFile: z.string().min(1) }), z.literal(false)]),
  }),
]);

export type Signing = z.infer<typeof fileSchema> & {
  /** Null: it could not be seen beforehand; both signatures have to agree in the end. */
  team: string | null;
};

const fix = 'an admin corrects the file that --sign names; its form is in docs/deploy/package.md';

export function readSigning(file: string, now: Date, warn: (says: string) => void): Signing {
  let given: unknown;
  try {
    given = JSON.parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    throw new PackageFailed(`${file} cannot be read: ${cause instanceof Error ? cause.message : cause}`, fix, 78);
  }
  const checked = fileSchema.safeParse(given);
  if (!checked.success)
    throw new PackageFailed(`${file}: ${checked.error.issues.map(({ path, message }) => `${path.join('.') || 'it'}: ${message}`).join('; ')}`, fix, 78);
  const here = (path: string): string => resolve(dirname(file), path);
  const it = checked.data;
  if (it.with === 'apple') {
    const teams = [teamOfName(it.application, 'Application', file), teamOfName(it.installer, 'Installer', file)];
    if (teams[0] !== teams[1]) throw mixed(file, teams);
    const { notarize } = it;
    const key = notarize !== false && 'key' in notarize ? { ...notarize, key: here(notarize.key) } : notarize;
    if (key !== false && 'key' in key) needFile(key.key);
    return { ...it, notarize: key, team: teams[0] ?? null };
  }
  const absolute = {
    ...it,
    application: { p12: here(it.application.p12), passwordFile: here(it.application.passwordFile) },
    installer: { p12: here(it.installer.p12), passwordFile: here(it.installer.passwordFile) },
    notarize: it.notarize === false ? it.notarize : { apiKeyFile: here(it.notarize.apiKeyFile) },
  };
  if (absolute.notarize !== false) needFile(absolute.notarize.apiKeyFile);
  const teams = [teamOfFile(absolute.application, 'Application', now, warn), teamOfFile(absolute.installer, 'Installer', now, warn)];
  if (teams[0] && teams[1] && teams[0] !== teams[1]) throw mixed(file, teams);
  return { ...absolute, team: teams[0] ?? teams[1] ?? null };
}

const mixed = (file: string, teams: readonly (string | null)[]): PackageFailed =>
  new PackageFailed(`${file}: the two certificates are of two teams, ${teams.join(' and ')}`, fix, 78);

function needFile(path: string): void {
  if (!existsSync(path)) throw new PackageFailed(`${path} is not there`, fix, 78);
}

type Use = 'Application' | 'Installer';

/** By a name, never by `-`: ad hoc, the keychain would know each version of the agent as another program. */
function teamOfName(name: string, use: Use, file: string): string {
  const team = new RegExp(`^Developer ID ${use}: .+ \\(([A-Z0-9]{10})\\)$`).exec(name)?.[1];
  if (team !== undefined) return team;
  throw new PackageFailed(`${file}: ${name} is not the name of a certificate "Developer ID ${use}: ORGANISATION (TEAM)"`, fix, 78);
}

/** Null where the file cannot be looked into; then rcodesign has the word. */
function teamOfFile({ p12, passwordFile }: { p12: string; passwordFile: string }, use: Use, now: Date, warn: (says: string) => void): string | null {
  needFile(p12);
  needFile(passwordFile);
  let pem: string;
  try {
    pem = readPkcs12(readFileSync(p12), readFileSync(passwordFile, 'utf8').replace(/\r?\n$/, '')).certificatePem;
  } catch (cause) {
    warn(`${p12} could not be looked into beforehand (${cause instanceof Error ? cause.message : cause})`);
    return null;
  }
  const chain = (pem.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g) ?? []).map((one) => new X509Certificate(one));
  const leaf = chain[0];
  const said = leaf?.subject ?? '';
  if (!leaf || !said.split('\n').some((line) => line.startsWith(`CN=Developer ID ${use}: `)))
    throw new PackageFailed(`${p12} is for ${said.replaceAll('\n', ', ') || 'nobody'}, not a certificate "Developer ID ${use}"`, fix, 78);
  if (leaf.validToDate < now) throw new PackageFailed(`${p12}: its certificate ended on ${leaf.validTo}`, 'an admin has Apple make a new one', 78);
  // Without it, Apple answers only after the upload: "not signed with a valid Developer ID certificate".
  const above = chain
    .slice(1)
    .some((one) => one.subject === leaf.issuer && leaf.verify(createPublicKey(one.publicKey.export({ type: 'spki', format: 'pem' }))));
  if (!above)
    throw new PackageFailed(
      `${p12} holds its certificate without the one of Apple that signed it`,
      'an admin exports it again with its chain (the intermediate "Developer ID Certification Authority")',
      78,
    );
  return /^OU=([A-Z0-9]{10})$/m.exec(said)?.[1] ?? null;
}
