import { isProblemCode, problems } from '../protocol/problems.ts';
import type { JobSaw, Signs } from './doctor-job.ts';
import { type Check, cannotTell, failing, type Judgement, ok, on, warning } from './doctor-judging.ts';
import type { Values } from './doctor-values.ts';
import { day, relative } from './sentences.ts';

/** The job: whether it lives, and what only it can tell. */

const hour = 60 * 60 * 1000;
/** With the job at work the status is never older than the longest time between two check-ins, one day, and what the Mac slept. */
const lateRun = 26 * hour;
const silentRun = 3 * day;
/** What the job saw longer ago than this is said, and judged no more. */
const oldSight = 7 * day;

const fixOf = (code: string): string => (isProblemCode(code) ? problems[code].fix : problems.AGENT_BUG.fix);
const loginItemFix =
  'an MDM admin manages the login item by LabelPrefix and TeamIdentifier, so that nobody can turn it off; here: allow Sparekey in System Settings, General, Login Items';

/** Judges what the job saw, and says when, where that was not just now. */
function onSaw(it: Values, judge: (saw: JobSaw) => Judgement): Judgement {
  const saw = it.status?.jobSaw;
  const why = it.notLooked === null ? '' : ` (${it.notLooked})`;
  if (!saw) return cannotTell(`the job has not been asked yet${why}: run \`sudo sparekey doctor\``);
  const at = Date.parse(saw.at);
  const when = it.notLooked === null ? '' : `, seen by the job ${relative(at, it.now)}${why}`;
  const judged = judge(saw);
  const isOld = it.notLooked !== null && !(it.now - at <= oldSight);
  return { ...judged, verdict: isOld ? 'cannot tell' : judged.verdict, says: `${judged.says}${when}` };
}

const because = ({ why }: Signs): string => (why === null ? '' : `: ${why}`);

export const jobChecks: readonly Check[] = [
  {
    name: 'job-loaded',
    looksAt: 'whether launchd knows the job',
    fix: problems.JOB_NOT_LOADED.fix,
    judge: (it) =>
      on(it.job, ({ loaded, file, lastExit, runs }) => {
        if (loaded) return ok(`loaded${runs ? `, started ${runs} ${runs === 1 ? 'time' : 'times'}` : ''}${lastExit ? `, last exit ${lastExit}` : ''}`);
        return file
          ? failing('its file is there and it is not loaded: turned off in Login Items, or by launchctl', `${loginItemFix}, then restart`)
          : failing('it is not installed', 'install the package again');
      }),
  },
  {
    name: 'job-enabled',
    looksAt: 'whether somebody switched the job off by launchctl',
    fix: 'an admin runs `sudo launchctl enable system/io.sparekey.agent`, then restarts this Mac or installs the package again',
    judge: (it) =>
      on(it.job, ({ disabled }) =>
        disabled === null ? cannotTell('launchctl does not say') : disabled ? failing('it is disabled, and does not start') : ok('it is not disabled'),
      ),
  },
  {
    name: 'login-item',
    looksAt: 'whether the job is allowed in Login Items',
    fix: loginItemFix,
    judge: (it) =>
      on(it.loginItem, (state) => {
        if (state === 'switched off') return failing('somebody switched it off: it does not start again after the next restart');
        return state === 'allowed' ? ok('it is allowed') : cannotTell('macOS has no such background item yet');
      }),
  },
  {
    name: 'last-run',
    looksAt: 'how the last run of the job ended',
    fix: problems.AGENT_BUG.fix,
    judge: (it) => {
      if (it.status === null) return cannotTell('the job has not left its status yet');
      const { did, code } = it.status.lastRun;
      if (code === null) return ok(did);
      const exit = isProblemCode(code) ? problems[code].exit : 70;
      return exit === 69 || exit === 75 ? warning(`${did} (${code})`, fixOf(code)) : failing(`${did} (${code})`, fixOf(code));
    },
  },
  {
    name: 'last-run-age',
    looksAt: 'whether the job still runs',
    fix: 'see job-loaded, job-enabled and login-item; where all are in order, an admin restarts this Mac',
    judge: (it) => {
      if (it.status === null) return cannotTell('the job has not left its status yet');
      const at = Date.parse(it.status.at);
      const says = `it ran ${relative(at, it.now)}`;
      if (!Number.isFinite(at)) return cannotTell('its status has no time');
      if (it.now - at > silentRun) return failing(says);
      return it.now - at > lateRun ? warning(`${says}: late, unless this Mac was asleep until now`) : ok(says);
    },
  },
  {
    name: 'keychain',
    looksAt: 'whether the job can write to the System keychain, read it back and remove it again',
    fix: problems.KEYCHAIN_LOCKED.fix,
    judge: (it) =>
      onSaw(it, ({ keychain }) => {
        if (keychain === 'asleep') return cannotTell('in dark wake the keychain answers nobody');
        if (keychain === 'works') return ok('it can');
        return it.status?.custodyMode.mode === 'keychain'
          ? failing('it cannot, and this Mac is to keep a copy of its key there')
          : warning('it cannot: the identity’s key lies in a file that root alone can read, and no key of this Mac is lost by it');
      }),
  },
  {
    name: 'identity-usable',
    looksAt: 'whether the private keys by which this Mac proves itself can sign',
    fix: problems.IDENTITY_NOT_USABLE.fix,
    judge: (it) =>
      onSaw(it, ({ identity }) => {
        if (identity === null) return failing('the settings name no identity, no files and no ticket', problems.IDENTITY_MISSING.fix);
        const { own, profile } = identity;
        if (own.state === 'not tried') return cannotTell(`it was not asked to sign${because(own)}`);
        if (own.state !== 'yes') {
          const why = own.state === 'not there' ? `there is none${because(own)}` : `it does not sign${because(own)}`;
          return failing(`${why}${profile && profile.state !== 'yes' ? `; and the profile’s identity${because(profile)}` : ''}`, fixOfIdentity(profile ?? own));
        }
        if (profile && profile.state !== 'yes')
          return warning(`this Mac’s own signs; the profile’s, which it needs to enrol anew, does not${because(profile)}`, fixOfIdentity(profile));
        return ok(profile ? 'this Mac’s own and the profile’s sign' : 'it signs');
      }),
  },
  {
    name: 'identity-accepted',
    looksAt: 'whether the backend takes this Mac for the one that it is',
    fix: problems.CERTIFICATE_UNKNOWN.fix,
    judge: (it) =>
      onSaw(it, ({ accepted }) => {
        if (accepted === 'yes') return ok('it does');
        if (accepted === 'asleep' || !isProblemCode(accepted)) return cannotTell('the backend was not asked');
        const { title, exit, fix } = problems[accepted];
        return exit === 69 || exit === 75 ? warning(`not reached: ${title} (${accepted})`, fix) : failing(`${title} (${accepted})`, fix);
      }),
  },
  {
    name: 'privacy-protection',
    looksAt: 'whether macOS lets the job read what it needs',
    fix: 'an MDM admin installs the profile `only-if-needed/privacy.mobileconfig`, which gives the signed agent full disk access',
    judge: (it) =>
      onSaw(it, ({ refused }) => {
        const [denied, others] = [refused.filter(({ code }) => code === 'EPERM'), refused.filter(({ code }) => code !== 'EPERM')];
        if (denied.length > 0) return failing(`macOS's privacy protection refuses ${denied.map(({ path }) => path).join(', ')} (EPERM)`);
        return others.length > 0
          ? failing(
              `${others.map(({ path, code }) => `${path} (${code})`).join(', ')} cannot be read, and not for privacy's sake`,
              problems.JOURNAL_NOT_OURS.fix,
            )
          : ok('nothing that is there is refused');
      }),
  },
];

const fixOfIdentity = ({ why }: Signs): string => {
  const code = /\(([A-Z_]+)\)$/.exec(why ?? '')?.[1];
  return code && isProblemCode(code) ? problems[code].fix : problems.IDENTITY_NOT_USABLE.fix;
};
