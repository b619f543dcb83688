// launchctl. Seen on real Macs: `print` of an idle job, 113 with its two lines, 3 of bootout, 5 of bootstrap. Modelled:
// the lines of a running job in `print`, that kickstart of a running job does nothing and exits 0, that enable is silent.
import { existsSync, readFileSync } from 'node:fs';
import { readJob } from '../job.ts';
import { alive } from '../state-file.ts';
import { asUser } from './as-user.ts';
import { type Asked, complains, hasNo, inTheRoot, type Outcome, onTheMac, type Steps, says } from './outcome.ts';

const notFound = (label: string): Outcome => complains(113, 'Bad request.', `Could not find service "${label}" in domain for system`);

const print = ({ root, state }: Asked, label: string): Outcome => {
  const job = state.jobs[label];
  if (!job?.loaded) return notFound(label);
  const running = job.pid !== null && alive(job.pid);
  const plist = existsSync(inTheRoot(root, job.path)) ? readJob(readFileSync(inTheRoot(root, job.path))) : null;
  return says(
    [
      `system/${label} = {`,
      `\tactive count = ${running ? 1 : 0}`,
      `\tpath = ${job.path}`,
      '\ttype = LaunchDaemon',
      `\tstate = ${running ? 'running' : 'not running'}`,
      ...(running ? [`\tpid = ${job.pid}`] : []),
      `\truns = ${job.runs}`,
      `\tlast exit code = ${job.lastExit === null ? '(never exited)' : job.lastExit}`,
      ...(plist?.startInterval ? [`\trun interval = ${plist.startInterval} seconds`] : []),
      '}',
      '',
    ].join('\n'),
  );
};

const bootstrap = (asked: Asked, path: string): Outcome => {
  const failed = complains(5, 'Bootstrap failed: 5: Input/output error');
  if (!existsSync(inTheRoot(asked.root, path))) return failed;
  const plist = readJob(readFileSync(inTheRoot(asked.root, path)));
  const known = plist && asked.state.jobs[plist.label];
  if (!plist || known?.loaded || known?.enabled === false) return failed;
  asked.change((state) => {
    state.jobs[plist.label] = { path: onTheMac(asked.root, path), enabled: true, loaded: true, runs: 0, lastExit: null, pid: null, supervisor: null };
  });
  if (plist.runAtLoad) asked.launchd.start(plist.label);
  return says('');
};

/** As launchctl lists them: a service that was ever switched on or off. */
const printDisabled = ({ state }: Asked): Outcome =>
  says(
    [
      '',
      '\tdisabled services = {',
      '\t\t"com.apple.ftpd" => disabled',
      ...Object.entries(state.jobs).flatMap(([label, { enabled }]) => (enabled ? [] : [`\t\t"${label}" => disabled`])),
      '\t}',
      '',
    ].join('\n'),
  );

export const launchctl = (asked: Asked, args: readonly string[], stdin: Buffer): Outcome | Steps => {
  const [verb, ...rest] = args;
  if (verb === 'asuser') return asUser(asked, rest, stdin);
  if (verb === 'print-disabled' && rest.join(' ') === 'system') return printDisabled(asked);
  const options = rest.filter((arg) => arg.startsWith('-'));
  const [target = '', last = '', ...more] = rest.filter((arg) => !arg.startsWith('-'));
  const label = /^system\/(.+)$/.exec(target)?.[1] ?? '';
  const job = asked.state.jobs[label];
  if (verb === 'bootstrap' && target === 'system' && last !== '' && !more.length) return bootstrap(asked, last);
  if (verb === 'kill' && job) return asked.launchd.signal(last.replace('system/', ''), target as NodeJS.Signals) ? says('') : says('', 3);
  if (label === '') return hasNo('/bin/launchctl', args);
  switch (verb) {
    case 'print':
      return print(asked, label);
    case 'kickstart':
      if (!job?.loaded) return notFound(label);
      if (options.includes('-k')) asked.launchd.signal(label, 'SIGKILL');
      asked.launchd.start(label);
      return says('');
    case 'bootout':
      if (!job?.loaded) return complains(3, 'Boot-out failed: 3: No such process');
      asked.launchd.signal(label, 'SIGTERM');
      asked.change((state) => {
        const known = state.jobs[label];
        if (known) known.loaded = false;
      });
      return says('');
    case 'enable':
    case 'disable':
      asked.change((state) => {
        const known = state.jobs[label];
        if (known) known.enabled = verb === 'enable';
      });
      return says('');
    default:
      return hasNo('/bin/launchctl', args);
  }
};
