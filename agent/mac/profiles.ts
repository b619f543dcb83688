import type { Disk, Runner } from '../world.ts';
import { asDictionary, parsePlist, readPlistFile } from './plist.ts';

const escrowType = 'com.apple.security.FDERecoveryKeyEscrow';
const certificateType = 'com.apple.security.pkcs1';
/** Managed preferences of the escrow payload: they have its `Location`, not its certificate, and may outlive it. A hint. */
const hintFile = '/Library/Managed Preferences/com.apple.security.FDERecoveryKeyEscrow.plist';

export interface EscrowPayload {
  payload: 'ours' | 'foreign' | 'none' | 'several' | 'unknown';
  /** What macOS shows to the user as the place of the key. */
  location: string | null;
}

/**
 * Whose escrow payload is installed: the certificate that it names, in the same profile, is ours or is not. Where the
 * list of profiles cannot be read, or does not show that certificate, the answer is `unknown`.
 */
export async function readEscrowPayload(runner: Runner, disk: Disk, ours: { certificateDer: Uint8Array } | null): Promise<EscrowPayload> {
  const ran = await runner.run({ program: '/usr/bin/profiles', args: ['-C', '-o', 'stdout-xml'], outputLimit: 8 * 1024 * 1024, timeoutSeconds: 60 });
  const listed = ran.code === 0 ? asDictionary(await parsePlist(ran.stdout)) : null;
  const hinted = await hint(runner, disk);
  if (!listed) {
    // With no profile at all there is no list, only this sentence.
    const none = ran.code === 0 && /There are no configuration profiles installed/.test(`${ran.stdout}${ran.stderr}`);
    return { payload: none && hinted === undefined ? 'none' : 'unknown', location: hinted ?? null };
  }
  const escrows = Object.values(listed).flatMap((profiles) =>
    asList(profiles).flatMap((profile) => escrowsOf(asList(asDictionary(profile)?.['ProfileItems']))),
  );
  const [only] = escrows;
  if (!only) return { payload: hinted === undefined ? 'none' : 'unknown', location: hinted ?? null };
  const location = only.location ?? hinted ?? null;
  if (escrows.length > 1) return { payload: 'several', location };
  if (!only.certificate || !ours) return { payload: 'unknown', location };
  return { payload: Buffer.from(only.certificate).equals(ours.certificateDer) ? 'ours' : 'foreign', location };
}

interface Escrow {
  location: string | null;
  certificate: Uint8Array | null;
}

function escrowsOf(items: unknown[]): Escrow[] {
  const payloads = items.map(asDictionary).filter((item) => item !== null);
  const certificates = new Map<unknown, unknown>();
  // The first of a name, should there be two.
  for (const one of payloads.toReversed()) if (one['PayloadType'] === certificateType) certificates.set(inCapitals(one['PayloadUUID']), one['PayloadContent']);
  return payloads
    .filter((item) => item['PayloadType'] === escrowType)
    .map((item) => {
      const content = asDictionary(item['PayloadContent']) ?? item;
      const named = inCapitals(content['EncryptCertPayloadUUID']);
      return {
        location: typeof content['Location'] === 'string' ? content['Location'].slice(0, 512) : null,
        certificate: named === null ? null : bytesOf(certificates.get(named)),
      };
    });
}

const asList = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);
const inCapitals = (value: unknown): string | null => (typeof value === 'string' ? value.toUpperCase() : null);

/** The certificate's DER: as data, or as data within the payload's dictionary. Which of the two macOS lists has been seen by nobody. */
function bytesOf(content: unknown): Uint8Array | null {
  if (content instanceof Uint8Array) return content;
  const inner = asDictionary(content)?.['PayloadContent'];
  return inner instanceof Uint8Array ? inner : null;
}

/** Undefined where there is no such file. */
async function hint(runner: Runner, disk: Disk): Promise<string | null | undefined> {
  if (!disk.facts(hintFile)) return undefined;
  const location = asDictionary(await readPlistFile(runner, hintFile))?.['Location'];
  return typeof location === 'string' ? location.slice(0, 512) : null;
}
