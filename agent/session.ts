import { randomUUID } from 'node:crypto';
import type { Answer } from '../protocol/messages.ts';
import type { Journal, JournalDebt } from './journal.ts';

/*
 * The boot session and its user, by uptime alone: no clock of the Mac is involved. The job lies on the encrypted volume, so
 * its first run in a boot session is after the unlock.
 */

const noUsers = new Set(['root', 'loginwindow', '_mbsetupuser']);

export interface SessionSeen {
  boot: string;
  uptimeSeconds: number;
  consoleUser: string | null;
  secureToken: Answer;
  darkWake: Answer;
}

type Session = NonNullable<Journal['session']>;

/** The session after this look at it, and its user if it is settled: the same secure-token user at the console, seen for the settle time. */
export function lookAtSession(before: Journal['session'], seen: SessionSeen, settleSeconds: number): { session: Session; settledUser: string | null } {
  const base: Session =
    before?.boot === seen.boot ? before : { boot: seen.boot, firstRunUptime: seen.uptimeSeconds, usedSeen: false, usedChanged: false, user: null };
  const name = seen.consoleUser !== null && !noUsers.has(seen.consoleUser) && seen.secureToken === 'yes' ? seen.consoleUser : null;
  // In dark wake nothing is seen of anybody, so nothing is added and nothing is taken away.
  if (seen.darkWake === 'yes') return { session: base, settledUser: null };
  const user = name === null ? null : base.user?.name === name ? base.user : { name, since: seen.uptimeSeconds };
  const settledUser = user && seen.uptimeSeconds - user.since >= settleSeconds ? user.name : null;
  return { session: { ...base, user }, settledUser };
}

/** `used` is seen once per boot session: macOS goes on saying so until the next boot. */
export function debtOfUse(
  journal: Readonly<Journal>,
  session: Session,
  seen: { usingRecoveryKey: Answer; unlockedBy: 'recovery' | 'user' | 'unknown' },
): { session: Session; debts: JournalDebt[] } {
  const used = seen.usingRecoveryKey === 'yes' || seen.unlockedBy === 'recovery';
  if (!used || session.usedSeen) return { session, debts: journal.debts };
  const debt: JournalDebt = { id: randomUUID(), because: 'used', envelopeId: journal.current?.envelopeId ?? null, boot: session.boot, confirmed: false };
  return { session: { ...session, usedSeen: true }, debts: [...journal.debts, debt].slice(-16) };
}
