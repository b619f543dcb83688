import { describe, expect, test } from '@jest/globals';
import { freshJournal } from '../agent/journal.ts';
import { debtOfUse, lookAtSession, type SessionSeen } from '../agent/session.ts';

const seen = (uptimeSeconds: number, more: Partial<SessionSeen> = {}): SessionSeen => ({
  boot: 'b1',
  uptimeSeconds,
  consoleUser: 'ada',
  secureToken: 'yes',
  darkWake: 'no',
  ...more,
});
const settle = 600;

describe('a settled session', () => {
  test('is a secure-token user who was seen for the settle time of uptime', () => {
    const first = lookAtSession(null, seen(60), settle);
    expect(first).toMatchObject({ settledUser: null, session: { firstRunUptime: 60, user: { name: 'ada', since: 60 } } });
    expect(lookAtSession(first.session, seen(659), settle).settledUser).toBeNull();
    expect(lookAtSession(first.session, seen(660), settle).settledUser).toBe('ada');
  });

  test.each<[string, Partial<SessionSeen>]>([
    ['nobody at the console', { consoleUser: null }],
    ['root', { consoleUser: 'root' }],
    ['the login window', { consoleUser: 'loginwindow' }],
    ['Setup Assistant', { consoleUser: '_mbsetupuser' }],
    ['a user without a secure token', { secureToken: 'no' }],
    ['a user of whose secure token nothing is known', { secureToken: 'unknown' }],
    ['another user', { consoleUser: 'bob' }],
  ])('begins anew after %s', (_name, more) => {
    const first = lookAtSession(null, seen(60), settle);
    const second = lookAtSession(first.session, seen(700, more), settle);
    expect(second.settledUser).toBeNull();
    expect(lookAtSession(second.session, seen(800), settle).settledUser).toBeNull();
  });

  test('ends with the boot session', () => {
    const first = lookAtSession(null, seen(60), settle);
    const next = lookAtSession(first.session, seen(5000, { boot: 'b2' }), settle);
    expect(next).toMatchObject({ settledUser: null, session: { boot: 'b2', firstRunUptime: 5000 } });
  });

  test('is neither seen nor forgotten in dark wake', () => {
    const first = lookAtSession(null, seen(60), settle);
    const dark = lookAtSession(first.session, seen(700, { darkWake: 'yes', consoleUser: null }), settle);
    expect(dark.settledUser).toBeNull();
    expect(lookAtSession(dark.session, seen(701), settle).settledUser).toBe('ada');
  });
});

describe('the debt of a used key', () => {
  const journal = freshJournal({ hardwareUuid: 'h', serial: 's' }, 'v');
  const { session } = lookAtSession(null, seen(60), settle);
  test.each<[string, 'yes' | 'no' | 'unknown', 'recovery' | 'user' | 'unknown', number]>([
    ['usingrecoverykey is true', 'yes', 'unknown', 1],
    ['the recovery user unlocked the disk', 'unknown', 'recovery', 1],
    ['neither is so', 'no', 'user', 0],
    ['macOS does not say: that is a hint of nothing', 'unknown', 'unknown', 0],
  ])('%s', (_name, usingRecoveryKey, unlockedBy, debts) => {
    expect(debtOfUse(journal, session, { usingRecoveryKey, unlockedBy }).debts).toHaveLength(debts);
  });
  test('is made once per boot session, because macOS goes on saying so', () => {
    const first = debtOfUse(journal, session, { usingRecoveryKey: 'yes', unlockedBy: 'unknown' });
    const second = debtOfUse({ ...journal, debts: first.debts }, first.session, { usingRecoveryKey: 'yes', unlockedBy: 'unknown' });
    expect(second.debts).toHaveLength(1);
  });
});
