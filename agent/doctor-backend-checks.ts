import { BlockList, isIPv6 } from 'node:net';
import { problems } from '../protocol/problems.ts';
import { type Check, cannotTell, failing, ok, on, warning } from './doctor-judging.ts';
import { day, relative, wordsOfDays } from './sentences.ts';
import type { SettingsProblem } from './settings.ts';

/** What comes from elsewhere: the settings, the package, the backend. */

const minute = 60 * 1000;
/** Gate 1: with fewer days nothing is replaced. Renewal comes at two thirds of the lifetime, so 30 days are late already. */
const leastCertificateDays = 7;
const fewCertificateDays = 30;
const quietDays = 3;
const silentDays = 30;
/** Certificates are judged by this clock; nothing else is. */
const wrongClock = 5 * minute;
const hopelessClock = day;
const shortestSettle = 300;

const notPublic = new BlockList();
for (const [net, bits] of [
  ['10.0.0.0', 8],
  ['172.16.0.0', 12],
  ['192.168.0.0', 16],
  ['100.64.0.0', 10],
  ['169.254.0.0', 16],
  ['127.0.0.0', 8],
] as const)
  notPublic.addSubnet(net, bits);
for (const [net, bits] of [
  ['fc00::', 7],
  ['fe80::', 10],
  ['::1', 128],
] as const)
  notPublic.addSubnet(net, bits, 'ipv6');
const isPrivate = (address: string): boolean => notPublic.check(address, isIPv6(address) ? 'ipv6' : 'ipv4');

const list = (found: readonly Pick<SettingsProblem, 'name' | 'says'>[]): string => found.map(({ name, says }) => `${name} ${says}`).join('; ');

export const backendChecks: readonly Check[] = [
  {
    name: 'settings-managed',
    looksAt: 'whether a profile brings the settings',
    fix: problems.SETTINGS_MISSING.fix,
    judge: (it) =>
      on(it.settings, ({ state, unmanagedSince }) => {
        if (state === 'managed') return ok('a profile brings the settings');
        if (state === 'missing') return failing('there are no managed settings');
        return failing(`the profile is gone since ${unmanagedSince ?? 'an unknown time'}; the last good settings are in use, and nothing is replaced`);
      }),
  },
  {
    name: 'settings-valid',
    looksAt: 'mistakes in the settings',
    fix: problems.SETTINGS_INVALID.fix,
    judge: (it) =>
      on(it.settings, (read) => {
        const wrong = read.problems.filter(({ kind }) => kind === 'wrong');
        if (wrong.length > 0) return failing(list(wrong));
        return read.state === 'missing' ? cannotTell('there are no settings to judge') : ok('no mistake in them');
      }),
  },
  {
    name: 'settings-known',
    looksAt: 'settings that are unknown, unmanaged or without effect',
    fix: 'an MDM admin takes the named settings out of the profile, or spells them as docs/settings.md does',
    judge: (it) =>
      on(it.settings, (read) => {
        const said = read.problems.filter(({ kind, name }) => kind === 'warning' && name !== 'settleSeconds');
        if (said.length > 0) return warning(list(said));
        return ok(read.state === 'missing' ? 'there are none' : 'each of them has an effect');
      }),
  },
  {
    name: 'settle-time',
    looksAt: 'how long a session must last before a key may be replaced',
    fix: `an MDM admin sets settleSeconds to ${shortestSettle} or more; 600 is the default`,
    judge: (it) =>
      on(it.settings, ({ settings }) => {
        if (settings === null) return cannotTell('there are no settings that can be used');
        const says = `a session must last ${settings.settleSeconds} seconds`;
        return settings.settleSeconds < shortestSettle ? warning(`${says}: a key could be replaced while the sign-in with it is still going on`) : ok(says);
      }),
  },
  {
    name: 'server-name',
    looksAt: "whether the backend's name leads to an address that is reachable from anywhere",
    fix: 'an operator gives the backend a name and an address on the internet: a VPN is not up at the login window, and not on the phone of somebody who is locked out',
    judge: (it) =>
      on(it.addresses, ({ host, addresses }) => {
        const own = addresses.filter(isPrivate);
        return own.length > 0 ? warning(`${host} is ${own.join(', ')}: reachable only from inside this network`) : ok(`${host} is ${addresses.join(', ')}`);
      }),
  },
  {
    name: 'server-reachable',
    looksAt: 'whether the backend answers, and is believed',
    fix: problems.SERVER_UNREACHABLE.fix,
    judge: (it) =>
      on(it.server, ({ url, problem }) =>
        problem ? failing(`${problem.says} (${problem.code})`, problem.fix) : ok(`${url} answers, and its certificate is trusted`),
      ),
  },
  {
    name: 'clock',
    looksAt: "this Mac's clock beside the backend's",
    fix: 'an MDM admin turns on setting the time automatically',
    judge: (it) =>
      on(it.server, ({ ahead }) => {
        if (ahead === null) return cannotTell('the backend gave no time');
        const by = `${Math.round(Math.abs(ahead) / 1000)} s ${ahead < 0 ? 'behind' : 'ahead of'} the backend`;
        if (Math.abs(ahead) <= wrongClock) return ok(by);
        return Math.abs(ahead) > hopelessClock ? failing(`${by}: certificates seem to have expired, or not to be valid yet`) : warning(by);
      }),
  },
  {
    name: 'identity',
    looksAt: 'by what the backend knows this Mac',
    fix: problems.IDENTITY_MISSING.fix,
    judge: (it) => {
      if (it.status === null) return cannotTell('the job has not left its status yet');
      const { identity } = it.status;
      if (identity === null) return failing('this Mac has not enrolled yet');
      const days = (Date.parse(identity.notAfter) - it.now) / day;
      const says = `its certificate is valid ${wordsOfDays(Date.parse(identity.notAfter), it.now)}`;
      const fix =
        identity.way === 'files'
          ? problems.IDENTITY_FILE_INVALID.fix
          : 'nothing, where the backend is reached: the agent renews it; otherwise see server-reachable';
      if (!Number.isFinite(days)) return cannotTell('the end of its certificate is not known');
      if (days < leastCertificateDays) return failing(`${says}, so no key is replaced`, fix);
      return days < fewCertificateDays ? warning(says, fix) : ok(`${says}${identity.way === 'ticket' ? '; enrolled by a ticket, the weakest way' : ''}`);
    },
  },
  {
    name: 'last-answer',
    looksAt: 'when the backend last answered',
    fix: 'see server-reachable and job-loaded; where both are in order, run `sudo sparekey check-in`',
    judge: (it) => {
      if (it.status === null) return cannotTell('the job has not left its status yet');
      if (it.status.lastAnswerAt === null) return failing('it has never answered this Mac');
      const at = Date.parse(it.status.lastAnswerAt);
      const says = relative(at, it.now);
      if (it.now - at > silentDays * day) return failing(`${says}: nothing is replaced before a proof`);
      return it.now - at > quietDays * day ? warning(says) : ok(says);
    },
  },
];
