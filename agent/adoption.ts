import type { CheckInReply } from '../protocol/messages.ts';
import { notOurs } from '../protocol/mode.ts';
import type { ProblemCode } from '../protocol/problems.ts';
import { type AdoptionNote, nextTryAt, nobodyHasTheKey, triesLeft, withAdoption, writeAdoption } from './adoption-note.ts';
import { type Situation, whyNotByPassword } from './decide.ts';
import { type Account, accountsWithToken, readAccount } from './mac/accounts.ts';
import type { Run } from './run-of-agent.ts';

/*
 * Whether a password is wanted on this Mac, and what stands in the way: always one named thing with one next step, the first
 * that has to be mended. Nobody is asked for a password with which the job could not go on.
 */

export interface Obstacle {
  code: ProblemCode;
  detail: string | null;
}

/** FileVault itself, before anybody's password means anything. */
function ofFileVault(run: Run): Obstacle | null {
  const { state, percent, deferredFor, waitingFor } = run.facts.fileVault;
  if (state === 'off' && deferredFor !== undefined) return { code: 'FILEVAULT_WAITS_FOR_LOGOUT', detail: `waiting for ${deferredFor} to log out` };
  if (waitingFor === 'power') return { code: 'POWER_NEEDED', detail: 'FileVault goes on when the Mac is connected to power' };
  if (waitingFor === 'restart') return { code: 'FILEVAULT_BUSY', detail: 'it waits for a restart' };
  if (state === 'off') return { code: 'FILEVAULT_OFF', detail: null };
  if (state === 'on') return null;
  if (state === 'unknown') return { code: 'ADOPTION_NOT_NOW', detail: 'macOS does not say how FileVault stands' };
  return { code: 'FILEVAULT_BUSY', detail: `${state}${percent === undefined ? '' : `, ${percent} percent`}` };
}

/** Whose password it is to be; null where nobody is named and nobody is there to be asked. */
async function chooseUser(run: Run, named: string | null): Promise<Obstacle | Account | null> {
  const { runner, disk } = run;
  const owners = await accountsWithToken(runner, disk);
  if (owners?.length === 0) return { code: 'NOBODY_HAS_TOKEN', detail: null };
  const visible = owners?.filter((one) => !one.isHidden) ?? [];
  const atScreen = run.facts.consoleUser === '_mbsetupuser' ? null : run.facts.consoleUser;
  const name = named ?? atScreen ?? (visible.length === 1 ? (visible[0]?.name ?? null) : null);
  const hiddenOnly: Obstacle | null =
    owners && visible.length === 0
      ? {
          code: 'ONLY_ADMIN_HAS_TOKEN',
          detail: owners
            .map((one) => one.name)
            .join(', ')
            .slice(0, 200),
        }
      : null;
  if (name === null) return hiddenOnly;
  const account = await readAccount(runner, disk, name);
  if (!account) return { code: 'USER_UNKNOWN', detail: name.slice(0, 100) };
  if (account.token === 'no') return hiddenOnly ?? { code: 'USER_WITHOUT_TOKEN', detail: name };
  if (account.token === 'unknown') return { code: 'ADOPTION_NOT_NOW', detail: `macOS does not say whether ${name} has a secure token` };
  return account.isSmartCardOnly ? { code: 'SMART_CARD_ONLY', detail: name } : account;
}

const isAccount = (found: Obstacle | Account | null): found is Account => found !== null && 'token' in found;

export const triesSpent = (note: AdoptionNote): Obstacle => ({
  code: 'PASSWORD_TRIES_SPENT',
  detail: `the next one not before ${new Date(nextTryAt(note)).toISOString()}`,
});

/** Whose password may be asked for now, or the first thing that stands in the way. */
export async function mayAsk(run: Run, reply: CheckInReply, it: Situation, note: AdoptionNote, named: string | null, now: number): Promise<Account | Obstacle> {
  const foreign = notOurs(run.facts);
  if (foreign !== null) return { code: 'ADOPTION_NOT_OURS', detail: foreign };
  const fileVault = ofFileVault(run);
  if (fileVault) return fileVault;
  const user = await chooseUser(run, named);
  if (user === null) return { code: 'NOBODY_LOGGED_IN', detail: 'or name a user with --user' };
  if (!isAccount(user)) return user;
  if (triesLeft(note, now) === 0) return triesSpent(note);
  const { power, other } = whyNotByPassword(it, reply);
  if (power !== null) return { code: 'POWER_NEEDED', detail: power };
  return other === null ? user : { code: 'ADOPTION_NOT_NOW', detail: other };
}

/** The organisation's own words for the dialog; null where it is off, or where they are not all there. */
export function promptWords({ settings }: Run): { organisation: string; words: string; contact: string } | null {
  const { adoptByPrompt, organisation, adoptWords: words, adoptContact: contact } = settings;
  return adoptByPrompt && organisation && words && contact ? { organisation, words, contact } : null;
}

/** What is told of a Mac whose key nobody has, without anybody being asked; null where there is nothing to tell. */
async function stateOf(run: Run, reply: CheckInReply, it: Situation, note: AdoptionNote, now: number): Promise<Obstacle | null> {
  if (!nobodyHasTheKey(run, reply)) return null;
  const { rotator, escrow } = run.facts;
  // Somebody else's Mac to look after: custody says so already.
  if (rotator === 'mdm' || escrow.payload === 'foreign') return null;
  const found = await mayAsk(run, reply, it, note, null, now);
  if (!isAccount(found) && found.code !== 'ADOPTION_NOT_NOW' && found.code !== 'NOBODY_LOGGED_IN') return found;
  // Whoever comes may adopt; only the dialog needs somebody at the screen.
  const { consoleUser } = run.facts;
  const isEmpty = consoleUser === null || consoleUser === '_mbsetupuser';
  if (isEmpty && promptWords(run) !== null) return { code: 'NOBODY_LOGGED_IN', detail: null };
  return { code: 'ADOPTION_NEEDED', detail: isAccount(found) ? found.name : null };
}

/** Keeps the state for the backend and for everybody on the Mac. Says whether it is another one. */
export async function noteState(run: Run, reply: CheckInReply, it: Situation, note: AdoptionNote, now: number): Promise<boolean> {
  const found = await stateOf(run, reply, it, note, now);
  const { state } = note;
  const same = state === null ? found === null : state.code === found?.code && state.detail === found.detail;
  // Another detail of the same state began when the state did.
  const next = found && { ...found, since: state?.code === found.code ? state.since : now };
  if (!same) writeAdoption(run.disk, { ...note, state: next });
  run.facts = withAdoption(run.facts, next);
  return !same;
}
