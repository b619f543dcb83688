import { label, paths } from './paths.ts';
import type { Disk, Ran, Runner } from './world.ts';

/*
 * How launchd and Login Items have the job. Anybody may ask launchctl for both; what Login Items says only root may ask
 * (`sfltool` would bring up a dialog otherwise), and its output is for people: what is not recognised is not told.
 */

export interface JobSeen {
  loaded: boolean;
  lastExit: string | null;
  /** How often launchd started it since it was loaded; null where it does not say. */
  runs: number | null;
  file: boolean;
  /** Switched off by `launchctl disable`; null where launchctl does not say. */
  disabled: boolean | null;
}

/** `not listed`: macOS has no such background item, as before the first start after an installation. */
export type LoginItem = 'allowed' | 'switched off' | 'not listed';

export class CannotTell extends Error {}

export const whyNot = ({ code, failed }: Ran): CannotTell =>
  new CannotTell(
    failed === 'timeout'
      ? 'the command did not answer in time'
      : failed === 'not-found'
        ? 'the command is not there'
        : `the command ended with ${failed ?? code}`,
  );

const launchctl = (runner: Runner, ...args: string[]): Promise<Ran> => runner.run({ program: '/bin/launchctl', args });

/** 113 is launchctl's exit status for a service that launchd does not know. */
export async function seeJob(runner: Runner, disk: Disk): Promise<JobSeen> {
  const [ran, list] = await Promise.all([launchctl(runner, 'print', `system/${label}`), launchctl(runner, 'print-disabled', 'system')]);
  if (ran.code !== 0 && ran.code !== 113) throw whyNot(ran);
  const text = ran.stdout.toString('utf8');
  return {
    loaded: ran.code === 0,
    lastExit: /^\s*last exit code = ([^\n]{1,60})$/m.exec(text)?.[1]?.trim() ?? null,
    runs: Number(/^\s*runs = (\d{1,9})$/m.exec(text)?.[1] ?? Number.NaN) || null,
    file: disk.facts(paths.job) !== null,
    disabled: list.code === 0 ? isDisabled(list.stdout.toString('utf8')) : null,
  };
}

/** One line for each service that was ever switched on or off: `"label" => disabled`, in older versions `=> true`. */
function isDisabled(list: string): boolean {
  const word = new RegExp(`^\\s*"${label.replaceAll('.', '\\.')}" => (\\w+)\\s*$`, 'm').exec(list)?.[1];
  return word === 'disabled' || word === 'true';
}

/** The record of a daemon: its `Identifier` ends with the label, its `Disposition` is `[enabled, disallowed, …]` where it was switched off. */
export async function seeLoginItem(runner: Runner): Promise<LoginItem> {
  const ran = await runner.run({ program: '/usr/bin/sfltool', args: ['dumpbtm'], outputLimit: 8 * 1024 * 1024, timeoutSeconds: 20 });
  if (ran.code !== 0) throw whyNot(ran);
  const text = ran.stdout.toString('utf8');
  if (!/^\s*Records for UID /m.test(text)) throw new CannotTell('the list of background items has another form than is known');
  const ours = text
    .split(/^\s*#\d+:\s*$/m)
    .filter((record) => new RegExp(`^\\s*Identifier: (?:\\d+\\.)?${label.replaceAll('.', '\\.')}\\s*$`, 'm').test(record));
  if (ours.length === 0) return 'not listed';
  const words = ours.map((record) => /^\s*Disposition: \[([^\]\n]*)\]/m.exec(record)?.[1]?.split(/,\s*/) ?? []);
  if (words.some((one) => one.includes('disallowed'))) return 'switched off';
  if (words.some((one) => one.includes('allowed'))) return 'allowed';
  throw new CannotTell('the list of background items does not say whether it is allowed');
}
