// Who else on this Mac can replace its recovery key. Asked only after somebody did, and by doctor; it looks and changes nothing (C4).
import { asDictionary, parsePlist } from './mac/plist.ts';
import type { Disk, Runner } from './world.ts';

export interface Suspects {
  /** Names of what replaces keys by itself. */
  byThemselves: string[];
  /** Names of what replaces them when its admin says so, or has a script that does. */
  byOrder: string[];
}

const plugins = '/Library/Security/SecurityAgentPlugins';

/** Authorization plug-ins that run at each login, with the name that they have in the authorization database. */
const loginPlugins: Record<string, { paths: string[]; mechanism: string }> = {
  // macadmins/escrow-buddy: its package's postinstall and AuthDBSetup.sh.
  'Escrow Buddy': { paths: [`${plugins}/Escrow Buddy.bundle`], mechanism: 'Escrow Buddy:' },
  // grahamgilbert/crypt: its package, and `checkin` under /Library/Crypt.
  Crypt: { paths: [`${plugins}/Crypt.bundle`, '/Library/Crypt'], mechanism: 'Crypt:' },
};

const agents: Record<string, string[]> = {
  // Jamf Pro's own documentation names the binary.
  Jamf: ['/usr/local/jamf/bin/jamf'],
  // Microsoft's documentation of the agent for macOS.
  Intune: ['/Library/Intune/Microsoft Intune Agent.app'],
  // Kandji, now Iru: the folder of its agent.
  Kandji: ['/Library/Kandji'],
  // fleetdm/fleet: orbit's package; fleetd is what it runs.
  Fleet: ['/opt/orbit'],
  // As several inventories of MDM agents name them; seen by nobody of ours.
  Mosyle: ['/Library/Application Support/Mosyle'],
  Addigy: ['/Library/Addigy'],
  'Workspace ONE': ['/Library/Application Support/AirWatch'],
  // Munki replaces no key; a package or a script that it brings can.
  Munki: ['/usr/local/munki'],
};

/** What lies on the disk: a handful of looks, no process. */
function suspectsOnDisk(disk: Disk): Suspects {
  const there = (paths: readonly string[]): boolean =>
    paths.some((path) => {
      try {
        return disk.facts(path) !== null;
      } catch {
        return false;
      }
    });
  const found = (table: Record<string, readonly string[]>): string[] => Object.keys(table).filter((name) => there(table[name] ?? []));
  return { byThemselves: found(Object.fromEntries(Object.entries(loginPlugins).map(([name, { paths }]) => [name, paths]))), byOrder: found(agents) };
}

/** The same, and which of them macOS asks at each login: a plug-in may be called from a place that nobody looked at. */
export async function findSuspects(runner: Runner, disk: Disk): Promise<Suspects> {
  const { byThemselves, byOrder } = suspectsOnDisk(disk);
  const mechanisms = await loginMechanisms(runner);
  const called = Object.entries(loginPlugins).flatMap(([name, { mechanism }]) => (mechanisms.some((one) => one.startsWith(mechanism)) ? [name] : []));
  return { byThemselves: [...new Set([...byThemselves, ...called])], byOrder };
}

/** What the authorization database calls at each login. Nothing where macOS does not say: then the disk has to do. */
async function loginMechanisms(runner: Runner): Promise<string[]> {
  try {
    const ran = await runner.run({ program: '/usr/bin/security', args: ['authorizationdb', 'read', 'system.login.console'], outputLimit: 256 * 1024 });
    const right = ran.code === 0 ? asDictionary(await parsePlist(ran.stdout)) : null;
    const list = right?.['mechanisms'];
    return Array.isArray(list) ? list.filter((one) => typeof one === 'string') : [];
  } catch {
    return [];
  }
}

/** The likeliest first. */
export const namesOf = ({ byThemselves, byOrder }: Suspects): string[] => [...byThemselves, ...byOrder];
