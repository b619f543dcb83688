import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { realDisk } from '../agent/disk.ts';
import { examine, type Finding } from '../agent/doctor.ts';
import type { JobSaw } from '../agent/doctor-job.ts';
import { gatherValues } from '../agent/doctor-values.ts';
import { paths } from '../agent/paths.ts';
import { nothingToDo } from '../agent/quiet.ts';
import type { Disk } from '../agent/world.ts';
import { revoke } from '../server/mac-commands.ts';
import { systemKeychain } from './fake-mac/state.ts';
import { given, operator } from './given.ts';
import { agrees, codes, type Given, owing } from './given-parts.ts';

/* What only the job can tell, asked by doctor through the queue; and what launchd does to the job. */

let asked = 0;
/** Doctor asks, launchd runs the job. */
async function look(it: Given, more: Parameters<Given['checkIn']>[0] = {}): Promise<JobSaw> {
  it.request('look', `look-${++asked}`);
  await it.checkIn(more);
  const saw = it.status().jobSaw;
  if (!saw) throw new Error('the job saw nothing');
  return saw;
}
const signs = { state: 'yes', why: null };

async function find(it: Given, notLooked: string | null = null): Promise<(name: string) => Finding | undefined> {
  const disk = realDisk(it.mac.root);
  const found = examine(await gatherValues({ root: it.mac.root, disk, runner: it.mac.runner, asRoot: true, now: it.mac.now, version: '0.1.0', notLooked }));
  return (name) => found.find((one) => one.name === name);
}

const refusing = (it: Given, path: string, code: string): { disk: Disk } => {
  const disk = realDisk(it.mac.root);
  const refuse = <T extends unknown[], R>(act: (path: string, ...rest: T) => R) => {
    return (asked: string, ...rest: T): R => {
      if (asked === path) throw Object.assign(new Error(code), { code });
      return act(asked, ...rest);
    };
  };
  return { disk: { ...disk, read: refuse(disk.read) } };
};

describe('a look by the job', () => {
  test('tells that keychain and identity work and that the backend takes this Mac, and leaves nothing behind', async () => {
    const it = await given();
    await it.checkIn();
    const items = () => it.mac.state.keychains[systemKeychain]?.items.map(({ account }) => account).sort();
    const before = items();
    expect(await look(it)).toEqual({
      at: new Date(it.mac.now).toISOString(),
      keychain: 'works',
      identity: { way: 'profile', own: signs, profile: signs },
      accepted: 'yes',
      refused: [],
    });
    expect(items()).toEqual(before);
    const of = await find(it);
    for (const name of ['keychain', 'identity-usable', 'identity-accepted', 'privacy-protection']) expect(of(name)?.verdict).toBe('ok');
  });

  test('acts on nothing: a replacement that is due stays due, and how the last run ended is not hidden', async () => {
    const it = await owing();
    it.mac.setCommandQuirk('fdesetup status', 'hang');
    await it.checkIn();
    it.mac.setCommandQuirk('fdesetup status', null);
    const { at, lastRun, problems } = it.status();
    it.pass(60);
    expect((await look(it)).accepted).toBe('yes');
    expect(it.mac.recoveryKey).toBe(it.before);
    expect(it.journal().rotation).toBeNull();
    expect(it.status()).toMatchObject({ at, lastRun, problems });
    // The next run of launchd's does what was due.
    expect(await it.checkIn()).toBe(0);
    expect(it.mac.recoveryKey).not.toBe(it.before);
    // What was seen stays, and doctor says how old it is.
    it.pass(3 * 3600);
    const of = await find(it, 'to ask the job needs sudo');
    expect(of('keychain')).toMatchObject({ verdict: 'ok', says: 'it can, seen by the job 3 hours ago (to ask the job needs sudo)' });
  });

  test('a keychain that fails, and a profile’s identity that `security` may not use, are told with their fix', async () => {
    const it = await given();
    await it.checkIn();
    it.mac.change((state) => {
      const keychain = state.keychains[systemKeychain];
      for (const identity of keychain?.identities ?? []) identity.access = 'denied';
    });
    expect((await look(it)).identity).toEqual({
      way: 'profile',
      own: signs,
      profile: { state: 'no', why: expect.stringContaining('AllowAllAppsAccess') },
    });
    expect((await find(it))('identity-usable')).toMatchObject({ verdict: 'warning', fix: expect.stringContaining('AllowAllAppsAccess') });

    it.mac.change((state) => {
      for (const identity of state.keychains[systemKeychain]?.identities ?? []) identity.access = 'asks';
    });
    // A dialog that nobody sees is waited for until the time limit of `security`, and no longer.
    expect((await look(it)).identity?.profile).toEqual({ state: 'no', why: expect.stringContaining('no answer in 10 s') });

    it.mac.setKeychain('failing');
    const saw = await look(it);
    expect(saw).toMatchObject({ keychain: 'fails', identity: { own: { state: 'no' } }, accepted: 'KEYCHAIN_LOCKED' });
    const of = await find(it);
    expect([of('keychain')?.verdict, of('identity-usable')?.verdict]).toEqual(['warning', 'failing']);
  });

  test('a backend that is not reached, and one that does not know this Mac any more, are two things', async () => {
    const it = await given();
    await it.checkIn();
    it.network.cut();
    expect((await look(it)).accepted).toBe('SERVER_UNREACHABLE');
    expect((await find(it))('identity-accepted')?.verdict).toBe('warning');
    it.network.mend();
    await revoke(it.backend, { target: await it.macId(), reason: 'stolen', actor: operator, keepCertificate: false });
    expect((await look(it)).accepted).toMatch(/_REVOKED$/);
    expect((await find(it))('identity-accepted')?.verdict).toBe('failing');
  });

  test('what macOS’s privacy protection refuses (EPERM) is told from ownership (EACCES) and from what is not there', async () => {
    const it = await given();
    await it.checkIn();
    expect((await look(it, refusing(it, paths.escrowFile, 'EPERM'))).refused).toEqual([{ path: paths.escrowFile, code: 'EPERM' }]);
    expect((await find(it))('privacy-protection')).toMatchObject({
      verdict: 'failing',
      says: expect.stringContaining('EPERM'),
      fix: expect.stringContaining('privacy.mobileconfig'),
    });
    expect((await look(it, refusing(it, paths.escrowFile, 'EACCES'))).refused).toEqual([{ path: paths.escrowFile, code: 'EACCES' }]);
    expect((await find(it))('privacy-protection')?.says).not.toContain('privacy protection');
    realDisk(it.mac.root).remove(paths.escrowFile);
    expect((await look(it)).refused).toEqual([]);
  });

  test('an escrow file that the job may not read is told by every run, until it may', async () => {
    const it = await given();
    expect(await it.checkIn(refusing(it, paths.escrowFile, 'EPERM'))).toBe(0);
    expect(it.status().problems).toEqual([{ code: 'ESCROW_FILE_REFUSED', detail: 'EPERM' }]);
    expect((await it.custodyOf()).state).toBe('none');
    await it.checkIn();
    expect(codes(it)).toEqual([]);
    await agrees(it);
  });

  test('in dark wake nothing is tried, and nothing is said to be broken', async () => {
    const it = await given();
    await it.checkIn();
    it.mac.setDarkWake(true);
    expect(await look(it)).toMatchObject({ keychain: 'asleep', identity: { own: { state: 'not tried' } }, accepted: 'asleep' });
    const of = await find(it);
    for (const name of ['keychain', 'identity-usable', 'identity-accepted']) expect(of(name)?.verdict).toBe('cannot tell');
  });

  test('a Mac that has not enrolled, for want of an identity, says so', async () => {
    const it = await given({ identity: null });
    await it.checkIn();
    expect(await look(it)).toMatchObject({ identity: { own: { state: 'not there' }, profile: { state: 'not there' } }, accepted: 'IDENTITY_MISSING' });
    expect((await find(it))('identity-usable')).toMatchObject({ verdict: 'failing', fix: expect.stringContaining('identity') });
  });
});

describe('what a look must not mistake', () => {
  test('a journal of a newer agent is not *has not enrolled*', async () => {
    const it = await given();
    await it.checkIn();
    const file = it.mac.path(paths.journal);
    writeFileSync(file, JSON.stringify({ ...it.journal(), version: 99 }), { mode: 0o600 });
    const saw = await look(it);
    expect(saw.identity?.own).toEqual({ state: 'not tried', why: 'the journal cannot be used' });
    expect((await find(it))('identity-usable')?.verdict).toBe('cannot tell');
  });

  test('a Mac whose settings went with their profile, and with them the ticket, still has the identity that it enrolled', async () => {
    const ticket = Buffer.alloc(32, 9);
    const it = await given({ identity: null, without: ['identityIssuer'], settings: { enrolmentTicket: `none.${ticket.toString('base64url')}` } });
    await it.checkIn();
    expect((await look(it)).identity).toMatchObject({ way: 'ticket', own: { state: 'not there' }, profile: null });
    const enrolled = await given();
    await enrolled.checkIn();
    enrolled.mac.removeSettings();
    // As the last good settings of a Mac with a ticket are: without any way to enrol.
    const kept = enrolled.mac.path(paths.lastGoodSettings);
    const last = JSON.parse(readFileSync(kept, 'utf8')) as { values: Record<string, unknown> };
    delete last.values['identityIssuer'];
    writeFileSync(kept, JSON.stringify(last), { mode: 0o600 });
    expect(await look(enrolled)).toMatchObject({ identity: { way: 'profile', own: signs, profile: null }, accepted: 'yes' });
  });

  test('a replacement that is open is brought to its end first, as by every run', async () => {
    const it = await owing();
    await it.checkInAndDie({ name: /fdesetup ended/, when: 'after' });
    expect(it.journal().rotation).not.toBeNull();
    await look(it);
    expect(it.journal().rotation).toBeNull();
    await agrees(it);
  });
});

describe('the job itself', () => {
  test('disabled by launchctl, and switched off in Login Items, are found before it has fallen silent', async () => {
    const it = await given();
    await it.checkIn();
    it.mac.change((state) => {
      state.jobs['io.sparekey.agent'] = { path: paths.job, enabled: true, loaded: true, runs: 3, lastExit: 0, pid: null, supervisor: null };
    });
    const of = await find(it);
    expect(['job-loaded', 'job-enabled', 'login-item'].map((name) => of(name)?.verdict)).toEqual(['ok', 'ok', 'ok']);
    it.mac.change((state) => {
      Object.assign(state.jobs['io.sparekey.agent'] ?? {}, { enabled: false, disallowed: true });
    });
    const after = await find(it);
    expect(['job-loaded', 'job-enabled', 'login-item'].map((name) => after(name)?.verdict)).toEqual(['ok', 'failing', 'failing']);
  });
});

/* What launchd does to a job in daily life: it starts it too often, not at all for weeks, in the dark, and twice. */

describe('a respawn storm', () => {
  test('whatever lies in the queue folder is out of it after one run, so that launchd has no reason to start another', async () => {
    const it = await given();
    await it.checkIn();
    const queue = it.mac.path('/var/db/io.sparekey.agent/queue');
    writeFileSync(join(queue, 'garbage.json'), '{');
    writeFileSync(join(queue, '.DS_Store'), '');
    writeFileSync(join(queue, 'name with spaces.json'), '{}');
    writeFileSync(join(queue, '.half-written.new'), '{}');
    mkdirSync(join(queue, 'folder'));
    symlinkSync('/etc/passwd', join(queue, 'link.json'));
    for (let at = 0; at < 4; at++) it.request('check-in', `many-${at}`);
    expect(await it.checkIn()).toBe(0);
    expect(readdirSync(queue)).toEqual([]);
    expect(readdirSync(it.mac.path('/var/db/io.sparekey.agent/taken'))).toEqual([]);
  });

  test('a run that a watched path woke for nothing ends without a command, and one for a new escrow file does not', async () => {
    const it = await given();
    await it.settle();
    await it.checkIn();
    await it.checkIn();
    expect(nothingToDo(it.mac.root, '0.1.0', it.mac.now + 1000)).toBe(true);
    const escrowFile = it.mac.path('/var/db/FileVaultPRK.dat');
    utimesSync(escrowFile, 1, 1);
    expect(nothingToDo(it.mac.root, '0.1.0', it.mac.now + 1000)).toBe(false);
  });
});

describe('sleep', () => {
  test('in dark wake a run ends quietly: no error is counted, nothing is asked for later than the next wake-up, and the status says so', async () => {
    const it = await given();
    await it.checkIn();
    it.mac.setDarkWake(true);
    expect(await it.checkIn()).toBe(0);
    expect(it.status().lastRun).toEqual({ did: 'asleep', code: null });
    expect(existsSync(it.mac.path('/var/run/io.sparekey.agent.quiet'))).toBe(false);
    it.mac.setDarkWake(false);
    expect(await it.checkIn()).toBe(0);
    expect(it.status().lastRun.did).not.toBe('asleep');
  });

  test('intervals that were slept through are made up for by one run, which asks the backend at once', async () => {
    const it = await given();
    await it.checkIn();
    const before = it.status().lastAnswerAt;
    it.pass(20 * 24 * 3600);
    expect(nothingToDo(it.mac.root, '0.1.0', it.mac.now)).toBe(false);
    expect(await it.checkIn()).toBe(0);
    expect(Date.parse(it.status().lastAnswerAt ?? '') - Date.parse(before ?? '')).toBeGreaterThan(19 * 24 * 3600 * 1000);
    await agrees(it);
  });
});
