import { readBoot, readComputerName, readMachine, readMacos, readVolume } from './mac/system.ts';
import { paths } from './paths.ts';
import type { Disk, Runner } from './world.ts';

/** What cannot change within one boot session, or hardly does: the name. */
export interface Standing {
  boot: string;
  uptimeSeconds: number;
  serial: string;
  hardwareUuid: string;
  model?: string;
  chip?: string;
  name?: string;
  volume: string;
  macosVersion: string;
  macosBuild: string;
  /** No run of this boot session has been here before. */
  isFirst?: boolean;
}

export type Booted = Awaited<ReturnType<typeof readBoot>>;

const mostBytes = 4096;

/**
 * Asks macOS once per boot session what this machine is, and remembers it in /var/run, which macOS empties at each boot.
 * The boot session itself is asked by every run, for its lock: `booted`, or null where macOS did not say it then; a note of
 * another one counts for nothing.
 */
export async function readStanding(runner: Runner, disk: Disk, now: number, booted: Booted | null): Promise<Standing> {
  const { boot, uptimeSeconds } = booted ?? (await readBoot(runner, now));
  const noted = readNote(disk);
  if (noted?.boot === boot) return { ...noted, uptimeSeconds, isFirst: false };
  const [machine, macos, volume, name] = await Promise.all([readMachine(runner), readMacos(runner), readVolume(runner), readComputerName(runner)]);
  const standing: Standing = {
    boot,
    uptimeSeconds,
    ...machine,
    ...(name === null ? {} : { name }),
    volume: volume.id,
    macosVersion: macos.version,
    macosBuild: macos.build,
    isFirst: true,
  };
  try {
    disk.makeFolder('/var/run', 0o755);
    disk.replace(paths.boot, JSON.stringify(standing), 0o600);
  } catch {
    // Only a saving of time: the next run asks again.
  }
  return standing;
}

function readNote(disk: Disk): Standing | null {
  try {
    const facts = disk.facts(paths.boot);
    // A note that others could have written says nothing about this machine.
    if (!facts?.regular || facts.mode & 0o077 || facts.uid !== (process.geteuid?.() ?? 0)) return null;
    const bytes = disk.read(paths.boot, mostBytes);
    const it = bytes ? (JSON.parse(bytes.toString('utf8')) as Partial<Standing>) : null;
    const whole =
      it && [it.boot, it.serial, it.hardwareUuid, it.volume, it.macosVersion, it.macosBuild].every((value) => typeof value === 'string' && value.length > 0);
    return whole ? (it as Standing) : null;
  } catch {
    return null;
  }
}
