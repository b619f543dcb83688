// Every program that this fake Mac has, by its absolute path.
import { caffeinate } from './caffeinate.ts';
import { diskutil } from './diskutil.ts';
import { dscl } from './dscl.ts';
import { fdesetup } from './fdesetup.ts';
import { ioreg } from './ioreg.ts';
import { launchctl } from './launchctl.ts';
import { type Asked, hasNo, type MacCommand, type Outcome, type Steps, says } from './outcome.ts';
import { plutil } from './plutil.ts';
import { pmset } from './pmset.ts';
import { profiles } from './profiles.ts';
import { ps } from './ps.ts';
import { scutil } from './scutil.ts';
import { security } from './security.ts';
import { sfltool } from './sfltool.ts';
import { stat } from './stat.ts';
import { swVers } from './sw-vers.ts';
import { sysadminctl } from './sysadminctl.ts';
import { sysctl } from './sysctl.ts';
import { tmutil } from './tmutil.ts';

export const programs: Readonly<Record<string, MacCommand>> = {
  '/usr/bin/fdesetup': fdesetup,
  '/usr/bin/security': security,
  '/usr/bin/profiles': profiles,
  '/usr/bin/plutil': plutil,
  '/usr/bin/sw_vers': swVers,
  '/usr/sbin/ioreg': ioreg,
  '/usr/sbin/diskutil': diskutil,
  '/usr/sbin/sysadminctl': sysadminctl,
  '/usr/bin/stat': stat,
  '/bin/launchctl': launchctl,
  '/usr/sbin/sysctl': sysctl,
  '/usr/bin/pmset': pmset,
  '/usr/bin/dscl': dscl,
  '/bin/ps': ps,
  '/usr/bin/caffeinate': caffeinate,
  '/usr/bin/tmutil': tmutil,
  '/usr/bin/sfltool': sfltool,
  '/usr/sbin/scutil': scutil,
};

function* never(): Steps {
  yield Number.POSITIVE_INFINITY;
  return says('');
}

/** The longest quirk that the command line begins with: `fdesetup` is every fdesetup, `fdesetup status` only that. */
export const quirkOf = (commands: Record<string, string>, program: string, args: readonly string[]): string | undefined => {
  const line = [program.split('/').at(-1), ...args].join(' ');
  const names = Object.keys(commands).filter((name) => line === name || line.startsWith(`${name} `));
  return commands[names.sort((a, b) => b.length - a.length)[0] ?? ''];
};

const spoilt = (quirk: string): Outcome | Steps => {
  const [kind, ...rest] = quirk.split(':');
  const text = rest.join(':');
  if (kind === 'hang') return never();
  if (kind === 'crash') return { code: 0, stdout: '', stderr: '', instead: 'killed' };
  if (kind === 'empty') return says('');
  if (kind === 'garbage') return says(Buffer.from([0xff, 0x00, 0x1b, 0x5b, ...Buffer.from('{%$ <plist>\n')]));
  if (kind === 'flood') return says('x'.repeat(4 * 1024 * 1024));
  if (kind === 'answer') return says(text);
  return { code: Number(text || '1'), stdout: '', stderr: 'Error: an error occurred.\n' };
};

/** What `program` does: as the command itself has it, or as a quirk spoils it. */
export const ask = (asked: Asked, program: string, args: readonly string[], stdin: Buffer): Outcome | Steps => {
  const quirk = quirkOf(asked.state.quirks.commands, program, args);
  if (quirk !== undefined) return spoilt(quirk);
  const command = programs[program];
  return command ? command(asked, args, stdin) : hasNo(program, args);
};

export const isSteps = (found: Outcome | Steps): found is Steps => 'next' in found;
