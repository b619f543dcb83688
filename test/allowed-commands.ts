/*
 * C4: what the agent may ask of a Mac, whole. Questions, the change of the key, and four acts of its own: it starts its own
 * job, keeps the Mac awake, keeps its folder out of backups, and signs with an identity that was given to it. Nothing here
 * removes a profile, writes to the authorization database, or stops a program; whatever is not here fails the test that ran it.
 */

const uuid = '[0-9A-F-]{36}';
const allowed: readonly RegExp[] = [
  /^\/usr\/bin\/fdesetup (?:status|haspersonalrecoverykey|hasinstitutionalrecoverykey|usingrecoverykey|showdeferralinfo|list|isactive|version)(?: -extended| -verbose)?$/,
  /^\/usr\/bin\/fdesetup validaterecovery -inputplist$/,
  /^\/usr\/bin\/fdesetup changerecovery -personal (?:-outputplist -inputplist|-inputplist -outputplist)$/,
  /^\/usr\/bin\/security (?:find-identity|find-certificate) /,
  /^\/usr\/bin\/security find-generic-password /,
  /^\/usr\/bin\/security cms -S /,
  /^\/usr\/bin\/security authorizationdb read system\.login\.console$/,
  /^\/usr\/bin\/profiles (?:-C -o stdout-xml|status -type (?:enrollment|bootstraptoken))$/,
  /^\/usr\/bin\/plutil -convert xml1 -o - \//,
  /^\/usr\/bin\/stat -f %Su \/dev\/console$/,
  /^\/usr\/bin\/sw_vers -(?:productVersion|buildVersion)$/,
  /^\/usr\/bin\/pmset -g (?:batt|systemstate)$/,
  /^\/usr\/bin\/dscl \. -(?:read|list) \/(?:Users|Groups)\b/,
  /^\/usr\/bin\/dscl \. -search \/Users GeneratedUID [0-9A-Fa-f-]{36}$/,
  /^\/usr\/bin\/caffeinate -i -s -w \d+$/,
  /^\/usr\/bin\/tmutil addexclusion -p \/var\/db\/io\.sparekey\.agent$/,
  /^\/usr\/bin\/tmutil isexcluded \/var\/db\/io\.sparekey\.agent$/,
  /^\/usr\/sbin\/(?:ioreg -|sysctl -n |diskutil info -plist \/$|scutil (?:--proxy|--get ComputerName)$|sysadminctl -secureTokenStatus )/,
  new RegExp(`^/usr/sbin/diskutil apfs listUsers (?:/|${uuid})(?: -plist)?$`),
  /^\/bin\/ps -axww -o pid=,uid=,args=$/,
  /^\/bin\/launchctl (?:kickstart|print) system\/io\.sparekey\.agent$/,
  /^\/bin\/launchctl print-disabled system$/,
  /^\/usr\/bin\/sfltool dumpbtm$/,
  // A question to whoever sits there, in their own session; it changes nothing.
  /^\/bin\/launchctl asuser \d+ (?:\/usr\/bin\/osascript -|\/usr\/local\/bin\/dialog )/,
];

/** Those that no agent of ours has any business with. */
export const notAllowed = (lines: readonly string[]): string[] => [...new Set(lines.filter((line) => !allowed.some((one) => one.test(line))))];
