// Lines as assess.sh prints them: a Mac of a fleet under Some MDM's payload, and whatever a test says is otherwise.

export const foreignRecipient = { issuer: 'commonName=Some MDM FileVault Escrow, organizationName=Some MDM', serial: '6B9ACBC5359A3824' };
export const otherRecipient = { issuer: 'commonName=MDM of before', serial: '1122334455' };
export const foreignPayload = {
  location: 'Some MDM keeps the recovery key of this Mac.',
  profile: 'com.some-mdm.filevault',
  payload: 'com.some-mdm.filevault.escrow',
  organisation: 'Some MDM',
  certificate: 'aa'.repeat(32),
  recipient: foreignRecipient,
};
export const ourDigest = 'bb'.repeat(32);
export const ourPayload = {
  location: 'Example IT',
  profile: 'org.example.filevault',
  payload: 'org.example.filevault.escrow',
  organisation: 'Example IT',
  certificate: ourDigest,
  recipient: { issuer: 'commonName=Example recovery key escrow', serial: '0A0B' },
};

/** All fields of the present form. */
export const lineFields = (over: Record<string, unknown> = {}): Record<string, unknown> => ({
  sparekeyAssess: 1,
  at: '2026-11-22T12:00:00Z',
  root: true,
  serial: 'C02XK1ZJJGH5',
  hardwareUuid: '6B661141-7503-404C-BF51-08EE55698C2D',
  model: 'Mac14,7',
  chip: 'Apple M2',
  processor: 'apple',
  t2: false,
  macos: '26.6.2',
  build: '25G42',
  fileVault: 'on',
  deferred: false,
  personalKey: 'yes',
  institutionalKey: 'no',
  payloads: [foreignPayload],
  payloadHint: foreignPayload.location,
  escrowFile: { bytes: 469, ageDays: 12, sha256: 'cc'.repeat(32), recipients: [foreignRecipient] },
  bootstrapToken: { supported: 'yes', escrowed: 'yes' },
  mdm: { enrolled: 'yes', userApproved: 'yes', dep: 'yes', server: 'mdm.example.com' },
  users: 2,
  secureTokenUsers: 1,
  recoveryLock: 'no',
  rotators: { byThemselves: [], byOrder: [] },
  sparekey: { installed: false, version: null, settings: false },
  problems: [],
  ...over,
});
export const censusLine = (over: Record<string, unknown> = {}): string => JSON.stringify(lineFields(over));

const older = { macos: '15.7.1', build: '24G309' };
/** The kinds of Macs that a fleet has, and how many of a hundred are of each. */
const kinds: readonly [number, Record<string, unknown>][] = [
  [30, {}],
  [28, { ...older, rotators: { byThemselves: [], byOrder: ['Jamf'] } }],
  [10, { macos: '14.8', build: '23J126', chip: 'Intel(R) Core(TM) i7', processor: 'intel', t2: true, recoveryLock: 'yes' }],
  [6, { ...older, payloads: [], payloadHint: null, escrowFile: null }],
  [5, { payloads: [ourPayload], payloadHint: 'Example IT', escrowFile: { bytes: 460, ageDays: 1, sha256: null, recipients: [ourPayload.recipient] } }],
  [4, { rotators: { byThemselves: ['Escrow Buddy'], byOrder: ['Jamf', 'Munki'] } }],
  [4, { escrowFile: { bytes: 469, ageDays: 400, sha256: null, recipients: [otherRecipient] } }],
  [3, { ...older, escrowFile: null }],
  [3, { fileVault: 'off', personalKey: 'unknown', escrowFile: null, deferred: true }],
  [2, { bootstrapToken: { supported: 'yes', escrowed: 'no' }, escrowFile: { bytes: 469, ageDays: 200, sha256: null, recipients: [foreignRecipient] } }],
  [2, { macos: '12.7.6', build: '21H1320', chip: 'Intel(R) Core(TM) i5', processor: 'intel' }],
  [1, { payloads: [foreignPayload, ourPayload] }],
  [1, { secureTokenUsers: 0 }],
  [1, { root: false, payloads: null, personalKey: 'unknown', secureTokenUsers: null, escrowFile: null }],
];

/** A Mac of a made-up fleet, always the same at the same place. */
export function fleetLine(at: number): string {
  const place = (at * 37) % 100;
  let below = 0;
  const [, kind] = kinds.find(([share]) => {
    below += share;
    return place < below;
  }) ?? [0, {}];
  const serial = `FLEET${String(at).padStart(6, '0')}`;
  return censusLine({
    serial,
    hardwareUuid: `${String(at).padStart(8, '0')}-7503-404C-BF51-08EE55698C2D`,
    at: `2026-11-${String(1 + (at % 22)).padStart(2, '0')}T12:00:00Z`,
    ...kind,
  });
}
