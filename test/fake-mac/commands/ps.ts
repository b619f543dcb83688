// ps -axww -o pid=,uid=,args=: a few of macOS's own processes, the job while it runs, and every fdesetup that changes a key.
import type { MacState } from '../state.ts';
import { alive } from '../state-file.ts';
import { type Asked, hasNo, type Outcome, says } from './outcome.ts';

export const ps = (asked: Asked, args: readonly string[]): Outcome => {
  const { state } = asked;
  if (args.join(' ') !== '-axww -o pid=,uid=,args=') return hasNo('/bin/ps', args);
  const isThere = ({ pid, door }: MacState['running'][number]): boolean => door === 'process' || alive(pid);
  const running = state.running.filter(isThere);
  // One that was killed could not take itself off the list.
  if (running.length < state.running.length)
    asked.change((next) => {
      next.running = next.running.filter(isThere);
    });
  const rows: [number, string][] = [
    [1, '/sbin/launchd'],
    [124, '/usr/libexec/opendirectoryd'],
    [276, '/usr/libexec/mdmclient daemon'],
    [391, '/System/Library/CoreServices/loginwindow.app/Contents/MacOS/loginwindow console'],
    ...Object.entries(state.jobs)
      .filter(([, { pid }]) => pid !== null && alive(pid))
      .map(([label, { pid }]): [number, string] => [pid ?? 0, `/Library/Sparekey/bin/sparekey check-in (${label})`]),
    ...running.map(({ pid, command }): [number, string] => [pid, command]),
  ];
  return says(rows.map(([pid, command]) => `${String(pid).padStart(5)} ${'0'.padStart(5)} ${command}\n`).join(''));
};
