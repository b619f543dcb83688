// What this Mac is and how it stands: one question, one command. Where macOS gives no answer, the answer is `unknown`.
import type { Answer } from '../../protocol/messages.ts';
import { Problem } from '../../protocol/problems.ts';
import type { Disk, Ran, Runner } from '../world.ts';
import { asDictionary, parsePlist, readPlistFile } from './plist.ts';

const uuid = /^[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$/;
const textOf = (ran: Ran): string => (ran.code === 0 ? ran.stdout.toString('utf8') : '');

/** What cannot be done without: no run goes on where macOS does not say it. */
function needed(what: string, ran: Ran, value: string | undefined): string {
  if (value) return value;
  throw ran.failed === 'timeout' ? new Problem('MACOS_SILENT', what) : new Problem('MACOS_UNEXPECTED', `${what} (${ran.failed ?? `exit ${ran.code}`})`);
}

export interface Machine {
  serial: string;
  hardwareUuid: string;
  model?: string;
  chip?: string;
}

export async function readMachine(runner: Runner): Promise<Machine> {
  const [registry, brand] = await Promise.all([
    runner.run({ program: '/usr/sbin/ioreg', args: ['-rd1', '-c', 'IOPlatformExpertDevice'] }),
    runner.run({ program: '/usr/sbin/sysctl', args: ['-n', 'machdep.cpu.brand_string'] }),
  ]);
  const text = textOf(registry);
  const property = (name: string) => new RegExp(`"${name}" = <?"([^"\\n]{1,64})"`).exec(text)?.[1];
  const model = property('model');
  const chip = textOf(brand).trim().slice(0, 64);
  const hardwareUuid = property('IOPlatformUUID') ?? '';
  return {
    serial: needed('the serial number', registry, property('IOPlatformSerialNumber')),
    hardwareUuid: needed('the hardware UUID', registry, uuid.test(hardwareUuid) ? hardwareUuid.toUpperCase() : ''),
    ...(model ? { model } : {}),
    ...(chip ? { chip } : {}),
  };
}

/** As its user named it in System Settings; null where it has none, or macOS does not say. */
export async function readComputerName(runner: Runner): Promise<string | null> {
  const text = textOf(await runner.run({ program: '/usr/sbin/scutil', args: ['--get', 'ComputerName'] }));
  return text.replace(/\p{C}/gu, '').trim().slice(0, 256) || null;
}

export async function readMacos(runner: Runner): Promise<{ version: string; build: string }> {
  const ask = (option: string) => runner.run({ program: '/usr/bin/sw_vers', args: [option] });
  const [version, build] = await Promise.all([ask('-productVersion'), ask('-buildVersion')]);
  const word = (ran: Ran) => /^[\w.()]{1,32}$/.exec(textOf(ran).trim())?.[0];
  return { version: needed('the version of macOS', version, word(version)), build: needed('the build of macOS', build, word(build)) };
}

/** The boot session, and the seconds since its start by `now` (milliseconds of this Mac's clock; macOS moves the start with its clock). */
export async function readBoot(runner: Runner, now: number): Promise<{ boot: string; uptimeSeconds: number }> {
  const ask = (name: string) => runner.run({ program: '/usr/sbin/sysctl', args: ['-n', name] });
  const [session, since] = await Promise.all([ask('kern.bootsessionuuid'), ask('kern.boottime')]);
  const boot = textOf(session).trim();
  const started = /\bsec = (\d{1,12}), usec = (\d{1,6})\b/.exec(textOf(since));
  const seconds = Number(needed('the time of the last start', since, started?.[1])) + Number(started?.[2] ?? 0) / 1e6;
  return { boot: needed('the boot session', session, uuid.test(boot) ? boot.toUpperCase() : ''), uptimeSeconds: Math.max(0, now / 1000 - seconds) };
}

/** The volume that macOS started from: its APFS volume group, or where there is none (an older layout) the volume's own UUID, and which of the two it is. */
export async function readVolume(runner: Runner): Promise<{ id: string; is: 'volume-group' | 'volume' }> {
  const ran = await runner.run({ program: '/usr/sbin/diskutil', args: ['info', '-plist', '/'], timeoutSeconds: 60 });
  const info = ran.code === 0 ? asDictionary(await parsePlist(ran.stdout)) : null;
  const read = (name: string): string | null => {
    const value = info?.[name];
    return typeof value === 'string' && uuid.test(value) ? value.toUpperCase() : null;
  };
  const group = read('APFSVolumeGroupID');
  if (group) return { id: group, is: 'volume-group' };
  return { id: needed('the volume', ran, read('VolumeUUID') ?? undefined), is: 'volume' };
}

/** The crypto user of the personal recovery key: the same UUID on every Mac. */
const recoveryUser = 'EBC6C064-0000-11AA-AA11-00306543ECAC';
/** Neither a person nor the recovery key: MDM bootstrap token, iCloud recovery user and external key. */
const otherUnlockers = new Set([
  '2457711A-523C-4604-B75A-F48A571D5036',
  '64C0C6EB-0000-11AA-AA11-00306543ECAC',
  'EC1C2AD9-B618-4ED6-BD8D-50F361C27507',
  'C064EBC6-0000-11AA-AA11-00306543ECAC',
  '2FA31400-BAFF-4DE7-AE2A-C3AA6E1FD340',
]);

/** Who unlocked the disk, where the I/O registry has it: seen on Intel (EFI), by nobody on Apple silicon. */
export async function unlockedBy(runner: Runner): Promise<'recovery' | 'user' | 'unknown'> {
  const text = textOf(await runner.run({ program: '/usr/sbin/ioreg', args: ['-rd1', '-p', 'IODeviceTree', '-n', 'chosen'] }));
  // The property of the password-reset flow, which only a recovery key begins.
  if (/"efilogin-reset-ident" = /.test(text)) return 'recovery';
  const raw = /"efilogin-unlock-ident" = <?"?([0-9A-Fa-f-]{32,128})"?>?/.exec(text)?.[1] ?? '';
  const identity = (uuid.test(raw) ? raw : Buffer.from(raw, 'hex').toString('latin1').replace(/\0+$/, '')).toUpperCase();
  if (!uuid.test(identity) || otherUnlockers.has(identity)) return 'unknown';
  return identity === recoveryUser ? 'recovery' : 'user';
}

export async function readPower(runner: Runner): Promise<{ source: 'mains' | 'battery' | 'unknown'; percent: number | null }> {
  const text = textOf(await runner.run({ program: '/usr/bin/pmset', args: ['-g', 'batt'] }));
  const from = /Now drawing from '(AC|Battery|UPS) Power'/.exec(text)?.[1];
  const percent = /-InternalBattery[^\n]{0,200}?\s(\d{1,3})%/.exec(text)?.[1];
  return {
    source: from === undefined ? 'unknown' : from === 'AC' ? 'mains' : 'battery',
    percent: percent === undefined ? null : Math.min(100, Number(percent)),
  };
}

/** Dark wake: the processor runs, the screen does not. The words are modelled from documents. */
export async function darkWake(runner: Runner): Promise<Answer> {
  const text = textOf(await runner.run({ program: '/usr/bin/pmset', args: ['-g', 'systemstate'] }));
  const capabilities = /Current System Capabilities are:([^\n]*)/.exec(text)?.[1]?.trim().split(/\s+/) ?? [];
  if (!capabilities.includes('CPU')) return 'unknown';
  return capabilities.includes('Graphics') ? 'no' : 'yes';
}

/** The language of the system and the keyboard layout of the login window: what a locked-out person will see and type on. */
export async function readLanguageAndLayout(runner: Runner, disk: Disk): Promise<{ language: string | null; layout: string | null }> {
  const read = async (path: string) => (disk.facts(path) ? asDictionary(await readPlistFile(runner, path)) : null);
  const [global, input] = await Promise.all([read('/Library/Preferences/.GlobalPreferences.plist'), read('/Library/Preferences/com.apple.HIToolbox.plist')]);
  const languages = global?.['AppleLanguages'];
  const language = Array.isArray(languages) ? languages[0] : null;
  return { language: short(language, 64), layout: layoutOf(input) };
}

function layoutOf(input: Record<string, unknown> | null): string | null {
  const current = short(input?.['AppleCurrentKeyboardLayoutInputSourceID'], 128);
  if (current) return current.replace(/^com\.apple\.keylayout\./, '');
  for (const list of ['AppleSelectedInputSources', 'AppleEnabledInputSources']) {
    const sources = input?.[list];
    const named = Array.isArray(sources) ? sources.map((one) => short(asDictionary(one)?.['KeyboardLayout Name'], 128)).find((name) => name) : null;
    if (named) return named;
  }
  return null;
}

const short = (value: unknown, most: number): string | null => (typeof value === 'string' && value.length > 0 && value.length <= most ? value : null);

/** Keeps the Mac from sleeping until this process has ended. False where that cannot be had; nothing depends on it alone. */
export async function keepAwake(runner: Runner): Promise<boolean> {
  try {
    await runner.start({ program: '/usr/bin/caffeinate', args: ['-i', '-s', '-w', String(process.pid)], stdoutFile: '/dev/null', stderrFile: '/dev/null' });
    return true;
  } catch {
    return false;
  }
}

/** Keeps `path` out of Time Machine for good, wherever the folder is moved to (a fixed path, `-p`). */
export async function excludeFromBackups(runner: Runner, path: string): Promise<boolean> {
  return (await runner.run({ program: '/usr/bin/tmutil', args: ['addexclusion', '-p', path] })).code === 0;
}

/** Processes of macOS that are there only while an update or an installation is being made ready. From documents; seen on no Mac of ours. */
const updaters = /(?:UpdateBrainService|\/startosinstall|osinstallersetupd|\/osinstallersetupplaind|InstallAssistant)(?:\s|$|\.)/;
/** Where the next system lies once it is ready, until the restart. */
const preparedUpdate = '/System/Volumes/Update/Prepared';

/** Every process with its arguments, one a line. */
export const argumentsOfAll = async (runner: Runner): Promise<string> =>
  textOf(await runner.run({ program: '/bin/ps', args: ['-axww', '-o', 'pid=,uid=,args='], outputLimit: 8 * 1024 * 1024 }));

/** Whether an update of macOS is being prepared. `no` means: none of the known signs is there. */
export async function updateBeingPrepared(runner: Runner, disk: Disk): Promise<Answer> {
  try {
    if (disk.facts(preparedUpdate)) return 'yes';
  } catch {
    // Not readable says nothing.
  }
  const text = await argumentsOfAll(runner);
  if (text.trim() === '') return 'unknown';
  return text.split('\n').some((line) => updaters.test(line)) ? 'yes' : 'no';
}
