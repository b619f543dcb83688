import { isProblemCode, problems } from '../protocol/problems.ts';
import { backendChecks } from './doctor-backend-checks.ts';
import { jobChecks } from './doctor-job-checks.ts';
import { type Check, cannotTell, failing, ok, on, warning } from './doctor-judging.ts';
import { packageChecks } from './doctor-package-checks.ts';
import { day, relative } from './sentences.ts';

/** What is to be seen on this Mac itself. */

const minute = 60 * 1000;
const mebibyte = 1024 * 1024;
/** Replacing a key needs as much (gate 4); below the other the day is near. */
const leastFree = 64 * mebibyte;
const littleFree = 512 * mebibyte;
/** A rotation's output lies there for seconds, in the worst case as long as a slow change takes. */
const longestOutput = 15 * minute;
/** Proofs come once a month where somebody logs in; three of them missed are no chance any more. */
const oldProof = 92 * day;
const mode = (bits: number): string => bits.toString(8).padStart(4, '0');
const someMiB = (bytes: number): string => `${Math.floor(bytes / mebibyte)} MiB are free`;

const macChecks: readonly Check[] = [
  {
    name: 'filevault-on',
    looksAt: 'whether the disk is encrypted',
    fix: 'an MDM admin turns FileVault on by its profile',
    judge: ({ fileVault: { state, percent, words, waitingFor } }) => {
      if (state === 'on') return waitingFor ? warning(`on, and waits for ${waitingFor}`, 'somebody restarts this Mac') : ok('on');
      if (state === 'unknown') return cannotTell(words ? `macOS said “${words}”` : 'macOS did not say');
      return state === 'off'
        ? failing('off')
        : warning(`${state}${percent === undefined ? '' : `, ${percent} %`}`, 'nothing: no key is replaced until it has ended');
    },
  },
  {
    name: 'personal-key',
    looksAt: 'whether the disk has a personal recovery key',
    fix: 'a FileVault user of this Mac makes one, or an MDM admin has the MDM make one',
    judge: (it) =>
      on(it.personalKey, (answer) => (answer === 'yes' ? ok('there is one') : answer === 'no' ? failing('there is none') : cannotTell('macOS did not say'))),
  },
  {
    name: 'institutional-key',
    looksAt: "Apple's older institutional recovery key",
    fix: 'an MDM admin decides whether it is still wanted',
    judge: (it) => on(it.institutionalKey, (there) => ok(there ? 'there is one too; it is only reported, not managed' : 'there is none')),
  },
  {
    name: 'custody',
    looksAt: 'whether the key of this Mac is in safe keeping',
    fix: 'an operator runs `sparekey-server status SERIAL` and does what is named there; `sparekey status` has the reason',
    judge: ({ status }) => {
      if (status === null) return cannotTell('the job has not left its status yet');
      if (status.custody === null) return cannotTell('the backend has not said anything yet');
      const { state, because } = status.custody;
      const says = `${state}: ${because}`;
      if (state === 'held') return ok(says);
      if (state === 'foreign') return status.escrow.owner === 'mdm' ? ok(says) : warning(says);
      return state === 'doubtful' ? warning(says) : failing(says);
    },
  },
  {
    name: 'last-proof',
    looksAt: 'when macOS last said that the held key opens this Mac',
    fix: 'a FileVault user of this Mac stays logged in for an hour with the backend in reach: the agent proves the key by itself',
    judge: ({ status, now }) => {
      if (status === null) return cannotTell('the job has not left its status yet');
      const held = status.keys?.find((key) => key.state === 'held');
      if (!held) return cannotTell('the backend holds no key that could be proved');
      if (held.last?.answer === 'false') {
        const fix = 'nothing yet: the agent asks macOS again, and has the key replaced where it may; an operator looks at it: `sparekey-server status SERIAL`';
        return failing(`macOS said false to the held key ${relative(Date.parse(held.last.at), now)}`, fix);
      }
      if (held.provedAt === null) return warning('it was never proved');
      const says = `proved ${relative(Date.parse(held.provedAt), now)}`;
      return now - Date.parse(held.provedAt) > oldProof ? warning(says) : ok(says);
    },
  },
  {
    name: 'escrow-payload',
    looksAt: 'to whom macOS seals new keys',
    fix: 'an MDM admin sees to it that exactly one escrow payload is installed, and that `escrowOwner` says whose it is',
    judge: (it) =>
      on(it.escrowPayload, (payload) => {
        const settings = typeof it.settings === 'object' && 'value' in it.settings ? it.settings.value.settings : null;
        if (payload === 'unknown') return cannotTell('macOS does not show whose escrow payload is installed');
        if (payload === 'several') return failing('there is more than one escrow payload: macOS takes only one');
        if (payload === 'none') return failing('no escrow payload is installed: a new key goes nowhere');
        if (payload === 'ours')
          return settings?.escrowOwner === 'mdm' ? warning("it is ours, and the settings say that it is the MDM's") : ok('to our escrow certificate');
        return settings?.escrowOwner === 'mdm'
          ? ok("to the MDM's certificate, as the settings say")
          : warning("to somebody else's certificate: Sparekey only watches");
      }),
  },
  {
    name: 'escrow-file',
    looksAt: "whose macOS's own escrow file is",
    fix: problems.ESCROW_FILE_FOREIGN.fix,
    judge: (it) =>
      on(it.escrowFile, (found) => {
        if (found === 'none') return ok('there is none; macOS makes one with the next key');
        if (found === 'unreadable') return warning('it is not a complete envelope', problems.ESCROW_FILE_UNREADABLE.fix);
        return found === 'ours' ? ok('it is sealed to our escrow certificate') : warning('it is sealed for somebody else');
      }),
  },
  {
    name: 'plain-key-files',
    looksAt: 'files in which a recovery key may lie in plain text',
    fix: 'an admin has the key of this Mac replaced, then removes the named files; whoever read them has the key',
    judge: (it) => on(it.plainKeyFiles, (files) => (files.length > 0 ? warning(files.join(', ')) : ok('none where macOS leaves them'))),
  },
  {
    name: 'left-over-outputs',
    looksAt: 'output files of replacements, which may hold a key in plain text',
    fix: 'run `sudo sparekey check-in` with the backend in reach; remove none by hand: it may be the only copy of a key',
    judge: (it) =>
      on(it.leftOvers, ({ count, oldest }) => {
        if (count === 0) return ok('none');
        const says = `${count} ${count === 1 ? 'file' : 'files'}, the oldest ${Math.round(oldest / minute)} minutes old`;
        return oldest > longestOutput ? failing(says) : ok(`${says}: a replacement is under way`);
      }),
  },
  {
    name: 'state-folder',
    looksAt: 'owner and modes of what the agent keeps',
    fix: problems.JOURNAL_NOT_OURS.fix,
    judge: (it) =>
      on(it.stateFolder, (entries) => {
        if (entries.length === 0) return cannotTell('the job has not made it yet');
        const wrong = entries.filter((one) => one.uid !== it.owner || (one.mode & 0o077) !== 0);
        return wrong.length > 0
          ? failing(wrong.map((one) => `${one.path} belongs to uid ${one.uid} and has mode ${mode(one.mode)}`).join('; '))
          : ok('its owner alone can read and write it');
      }),
  },
  {
    name: 'excluded-from-backups',
    looksAt: 'whether Time Machine leaves the state folder alone',
    fix: 'run `sudo tmutil addexclusion -p /var/db/io.sparekey.agent`',
    judge: (it) =>
      on(it.excludedFromBackups, (excluded) => (excluded ? ok('it is left out') : warning('it is copied: a key could be in a backup for seconds'))),
  },
  {
    name: 'journal',
    looksAt: 'whether the journal can be read',
    fix: problems.JOURNAL_UNREADABLE.fix,
    judge: (it) =>
      on(it.journal, (found) => {
        if (found === 'none') return cannotTell('the job has not written it yet');
        if (found === 'unreadable') return warning('it cannot be read');
        return found.version === found.knows
          ? ok(`version ${found.version}`)
          : failing(`its version is ${found.version}, and this agent knows ${found.knows}`, problems.JOURNAL_TOO_NEW.fix);
      }),
  },
  {
    name: 'failed-requests',
    looksAt: 'requests that could not be carried out',
    fix: 'an admin looks into the folder `failed` of /var/db/io.sparekey.agent, and asks again',
    judge: (it) => on(it.failedRequests, (count) => (count > 0 ? warning(`${count} set aside`) : ok('none'))),
  },
  {
    name: 'free-space',
    looksAt: 'room on the disk',
    fix: 'somebody frees disk space on this Mac',
    judge: (it) =>
      on(it.freeBytes, (bytes) =>
        bytes < leastFree ? failing(`${someMiB(bytes)}: too little to replace a key`) : bytes < littleFree ? warning(someMiB(bytes)) : ok(someMiB(bytes)),
      ),
  },
  {
    name: 'capability',
    looksAt: 'whether the key itself authorizes its change on this build of macOS',
    fix: problems.UNLOCK_REFUSED.fix,
    judge: (it) => {
      if (it.status === null) return cannotTell('the job has not left its status yet');
      const build = it.status.macosBuild;
      if (it.status.capability === 'refused') return failing(`macOS refused it on ${build}`);
      return ok(it.status.capability === 'works' ? `it does on ${build}` : `not tried yet on ${build}`);
    },
  },
  {
    name: 'adoption',
    looksAt: 'whether anybody has the key of this Mac, and what stands in the way',
    fix: problems.ADOPTION_NEEDED.fix,
    judge: (it) => {
      if (it.status === null) return cannotTell('the job has not left its status yet');
      const { adoption } = it.status;
      if (!adoption) return ok('nobody has to be asked for a password');
      const kind = isProblemCode(adoption.code) ? problems[adoption.code] : problems.ADOPTION_NEEDED;
      return failing(`${kind.title}${adoption.detail ? `: ${adoption.detail}` : ''} (${adoption.code}, since ${adoption.since})`, kind.fix);
    },
  },
  {
    name: 'other-rotators',
    looksAt: 'other software that can replace recovery keys',
    fix: 'an admin sees to it that only one of them replaces keys, and that `rotator` names it',
    judge: ({ status, rotators: { byThemselves, byOrder } }) => {
      const ordered = byOrder.length > 0 ? `${byOrder.join(', ')} can when an admin orders it` : null;
      const changed = status?.changedByOthers?.times.length ?? 0;
      if (changed > 0) {
        const found = [...byThemselves, ...byOrder].join(', ') || 'nothing that is known';
        const says = `somebody else changed the key ${changed} ${changed === 1 ? 'time' : 'times'} in 14 days; found on this disk: ${found}`;
        const { payload, owner, rotator } = status?.escrow ?? {};
        if (rotator === 'mdm' || (payload === 'foreign' && owner !== 'mdm')) return ok(`${says}; keys are replaced by somebody else here`);
        return changed > 1 ? failing(says) : warning(says);
      }
      if (byThemselves.length > 0) return warning([`${byThemselves.join(', ')} can by itself`, ordered].filter((one) => one !== null).join('; '));
      return ok(ordered ?? 'none of those that are known');
    },
  },
];

/** In the order in which one would look. */
export const checks: readonly Check[] = [...packageChecks, ...backendChecks, ...jobChecks, ...macChecks];
