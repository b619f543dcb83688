/*
 * The variables that an MDM fills in before it sends a profile, and what else of an MDM decides how profiles have to be. Each
 * with the document that says so, and its date. A variable that nobody fills reaches the Mac as it is written.
 */

export const mdmNames = ['jamf', 'intune', 'kandji', 'mosyle', 'fleet', 'nanomdm', 'none'] as const;
export type MdmName = (typeof mdmNames)[number];
export const variableNames = ['serialNumber', 'email', 'userName'] as const;
type VariableName = (typeof variableNames)[number];

export interface Mdm {
  /** As people know it. */
  called: string;
  /** Null: this MDM has none of that meaning. */
  variables: Record<VariableName, string | null>;
  /** What a person has to know before the profiles are uploaded. */
  remarks: readonly string[];
}

export const mdms: Record<MdmName, Mdm> = {
  /*
   * Jamf Pro documentation, Computer Configuration Profiles, "Payload Variables", last updated 31 July 2025
   * (learn.jamf.com). Case counts. That it changes what is uploaded unsigned: microsoft/mdatp-xplat, pull request 62, November 2022.
   */
  jamf: {
    called: 'Jamf Pro',
    variables: { serialNumber: '$SERIALNUMBER', email: '$EMAIL', userName: '$USERNAME' },
    remarks: [
      'Jamf Pro may change an unsigned profile that is uploaded, its identifiers among it; sign (--sign) what holds no variable, and compare with `profiles inspect`',
    ],
  },
  /*
   * Microsoft Learn, Use custom settings for macOS devices, 14 April 2020: {{serialnumber}} and others are filled in in custom profiles,
   * nothing is checked, and case counts. The list of names: Add app configuration policies for managed iOS/iPadOS devices, "Tokens used in
   * the property list" (MicrosoftDocs/memdocs, pull request 3530, 2023 to May 2024).
   */
  intune: {
    called: 'Microsoft Intune',
    variables: { serialNumber: '{{serialnumber}}', email: '{{mail}}', userName: '{{userprincipalname}}' },
    remarks: [
      'Intune checks no variable, and sends a wrong one as it is written; look on one Mac whether they are filled in (`sparekey doctor`) before the others get the profile',
    ],
  },
  /* Kandji (Iru), Global Variables: github.com/kandji-inc/support, "Global Variables.mobileconfig", updated 24 April 2025. */
  kandji: {
    called: 'Kandji (Iru)',
    variables: { serialNumber: '$SERIAL_NUMBER', email: '$EMAIL', userName: '$USERNAME' },
    remarks: [],
  },
  /*
   * No document that can be read without an account names them (looked for in November 2026). As Apple's Profile Manager and Jamf School
   * ("Payload Variables", docs.jamf.com) write theirs, and Mosyle's console with them.
   */
  mosyle: {
    called: 'Mosyle',
    variables: { serialNumber: '%SerialNumber%', email: '%Email%', userName: '%UserID%' },
    remarks: ["Mosyle's list of variables is in its console only: compare %SerialNumber%, %Email% and %UserID% with it before the profiles are uploaded"],
  },
  /*
   * fleetdm/fleet: FLEET_VAR_HOST_HARDWARE_SERIAL and FLEET_VAR_HOST_END_USER_IDP_USERNAME in profiles of Apple devices
   * (server/fleet and docs, 2026); issue 28636 (opened 29 April 2025): %SerialNumber% of other products is not filled in. FileVault
   * payloads are refused unless the server runs with FLEET_MDM_ENABLE_CUSTOM_DISK_ENCRYPTION (Custom disk encryption profiles, 29 August
   * 2026); before that with FLEET_MDM_ENABLE_CUSTOM_OS_UPDATES_AND_FILEVAULT (experimental, issue 33316, September 2025).
   */
  fleet: {
    called: 'Fleet',
    variables: {
      serialNumber: '$FLEET_VAR_HOST_HARDWARE_SERIAL',
      email: '$FLEET_VAR_HOST_END_USER_IDP_USERNAME',
      userName: '$FLEET_VAR_HOST_END_USER_IDP_USERNAME',
    },
    remarks: [
      'Fleet refuses profiles with FileVault payloads unless its server runs with FLEET_MDM_ENABLE_CUSTOM_DISK_ENCRYPTION=true (older servers: docs/deploy/fleet.md); its own escrow has to be off for these Macs',
      'a profile with a variable of a person stays pending in Fleet while it knows nobody for that Mac',
    ],
  },
  /* micromdm/nanomdm, README and docs: commands are passed on as they are; there are no variables. */
  nanomdm: {
    called: 'NanoMDM',
    variables: { serialNumber: null, email: null, userName: null },
    remarks: ['NanoMDM fills in nothing: with --serial SERIAL the set is made for one Mac'],
  },
  /** By hand, without any MDM: only what opens that way. */
  none: {
    called: 'no MDM',
    variables: { serialNumber: null, email: null, userName: null },
    remarks: ['without an MDM there is no profile that switches FileVault on, and none that keeps the job on in Login Items'],
  },
};

/** Every way in which somebody writes a variable: `$NAME`, `${name}`, `{{name}}`, `{Name}`, `%Name%`. */
const anyVariable = /\$\{?[A-Za-z_][A-Za-z_0-9]*\}?|\{\{[A-Za-z_.]+\}\}|\{[A-Za-z]+\}|%[A-Za-z]+%/g;
export const variablesIn = (text: string): string[] => text.match(anyVariable) ?? [];

/** Variables in a text that only other MDMs know. */
export function strangersIn(text: string, mdm: MdmName): string[] {
  const own = Object.values(mdms[mdm].variables);
  const others = new Set(Object.values(mdms).flatMap(({ variables }) => Object.values(variables)));
  return variablesIn(text).filter((each) => others.has(each) && !own.includes(each));
}
