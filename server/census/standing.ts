// Whose the escrow payload of a Mac is, and what its macOS can do: what every judgement stands on.
import type { CensusMac } from './line.ts';

export type Owner = 'ours' | 'foreign' | 'none' | 'several' | 'unknown';

/** Whose a payload is: by the digest of its certificate, where ours is known. */
export interface Ours {
  /** SHA-256 of our escrow certificates, lower-case hex. */
  digests: ReadonlySet<string>;
  /** Whether the MDM is one that can be a second witness: NanoMDM or MicroMDM. */
  witness: boolean;
}

export const majorOf = (macos: string | null): number | null => {
  const major = Number(/^(\d{1,3})(?:\.|$)/.exec(macos ?? '')?.[1]);
  return Number.isInteger(major) && major > 0 ? major : null;
};
/** What the agent is made for: of older ones hardly an answer has been seen. */
export const oldestMacos = 13;
/** From here on macOS makes a key by itself when an escrow payload comes, where a Bootstrap Token is escrowed. */
export const makesKeyItself = 26;

export function ownerOf({ payloads }: CensusMac, ours: Ours): Owner {
  if (payloads === null) return 'unknown';
  const [only, ...more] = payloads;
  if (!only) return 'none';
  if (more.length > 0) return 'several';
  return only.certificate !== null && ours.digests.has(only.certificate.toLowerCase()) ? 'ours' : 'foreign';
}
