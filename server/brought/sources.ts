/** Where a key that others had came from. */
export const broughtSources = ['csv', 'intune', 'jamf', 'fleet', 'kandji', 'zentral', 'crypt-server', 'mdm-cms', 'crypt', 'nanomdm', 'micromdm'] as const;
export type BroughtSource = (typeof broughtSources)[number];

/** As people call it. */
export const sourceNames: Record<BroughtSource, string> = {
  csv: 'a file',
  intune: 'Intune',
  jamf: 'Jamf Pro',
  fleet: 'Fleet',
  kandji: 'Kandji',
  zentral: 'Zentral',
  'crypt-server': 'Crypt-Server',
  'mdm-cms': 'an MDM',
  crypt: 'Crypt',
  nanomdm: 'NanoMDM',
  micromdm: 'MicroMDM',
};

export const isBroughtSource = (text: string): text is BroughtSource => (broughtSources as readonly string[]).includes(text);

/**
 * By whose word a key is one of this Mac's: an admin's who brought a file or let a connector read; an MDM's, by its HMAC; a
 * Mac's, by a client certificate that proves its serial number; that of whoever knows a header which all Macs have; nobody's.
 */
export type BroughtTrust = 'admin' | 'mdm' | 'device' | 'header' | 'none';

/** These may be anybody's: never shown, and no doubt about another key, until the Mac itself has said `true` to them. */
export const isUnverified = (trust: BroughtTrust): boolean => trust === 'header' || trust === 'none';

/** The source of a record that was made of a brought key. */
export const recordSource = (source: string): string => `brought-${source}`;
export const isBroughtRecord = (source: string): boolean => source.startsWith('brought-');
/** Null for what is no record of a brought key. */
export const sourceOfRecord = (source: string): BroughtSource | null => {
  const name = source.replace(/^brought-/, '');
  return isBroughtRecord(source) && isBroughtSource(name) ? name : null;
};

/** A product that its person may know by name; null for what has none. */
export const productOf = (source: BroughtSource): string | null => (source === 'csv' || source === 'mdm-cms' ? null : sourceNames[source]);

/** Whose copy of a key grows old when we replace it (C6). */
export const mdmSources: readonly BroughtSource[] = ['intune', 'jamf', 'fleet', 'kandji', 'zentral', 'mdm-cms', 'nanomdm', 'micromdm'];
