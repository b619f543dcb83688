// caffeinate -i -s -w PID, modelled from its manual page: it is silent and ends with the process that it watches.
import { alive } from '../state-file.ts';
import { type Asked, hasNo, type Outcome, type Steps, says } from './outcome.ts';

function* watch(pid: number): Steps {
  while (alive(pid)) yield 0.2;
  return says('');
}

export const caffeinate = (asked: Asked, args: readonly string[]): Outcome | Steps => {
  const pid = /^-i -s -w (\d+)$/.exec(args.join(' '))?.[1];
  if (pid === undefined) return hasNo('/usr/bin/caffeinate', args);
  // In process nobody sleeps, and the process that is watched is the test itself.
  return asked.door === 'folder' ? watch(Number(pid)) : says('');
};
