/** Identifiers that begin with the name: all up to 2022, with few exceptions. */
const families: readonly [RegExp, string][] = [
  [/^MacBookPro\d/, 'MacBook Pro'],
  [/^MacBookAir\d/, 'MacBook Air'],
  [/^MacBook\d/, 'MacBook'],
  [/^iMacPro\d/, 'iMac Pro'],
  [/^iMac\d/, 'iMac'],
  [/^Macmini\d/, 'Mac mini'],
  [/^MacPro\d/, 'Mac Pro'],
  [/^(VirtualMac|VMware|Parallels)/, 'virtual Mac'],
];

/** Since 2022 all are `MacN,M`. Source: Apple's “Identify your Mac” pages of each product; a number that is not here is a Mac. */
const newer: Record<string, readonly string[]> = {
  'MacBook Air': ['14,2', '14,15', '15,12', '15,13', '16,12', '16,13'],
  'MacBook Pro': [
    ...['14,5', '14,6', '14,7', '14,9', '14,10'],
    ...['15,3', '15,6', '15,7', '15,8', '15,9', '15,10', '15,11'],
    ...['16,1', '16,5', '16,6', '16,7', '16,8', '17,2'],
  ],
  'Mac mini': ['14,3', '14,12', '16,10', '16,11'],
  'Mac Pro': ['14,8'],
  'Mac Studio': ['13,1', '13,2', '14,13', '14,14', '15,14', '16,9'],
  iMac: ['15,4', '15,5', '16,2', '16,3'],
};
const names = new Map<string, string>(Object.entries(newer).flatMap(([name, numbers]) => numbers.map((number) => [`Mac${number}`, name] as const)));

/** The name on the box, such as “MacBook Pro”; null for an identifier that nobody here knows. */
export const modelName = (identifier: string | null): string | null =>
  identifier === null ? null : (names.get(identifier) ?? families.find(([begins]) => begins.test(identifier))?.[1] ?? null);
