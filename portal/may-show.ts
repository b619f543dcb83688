import type { CustodyState, Facts } from '../protocol/messages.ts';
import type { KeyRequest } from '../server/key-requests.ts';
import type { Standing } from '../server/mac-standing.ts';
import type { PeopleSettings, SelfServiceSwitch } from '../server/people-settings.ts';

/** Why somebody may not be shown a key; each is said in its own words on the pages. */
export const reasonsNot = [
  /** Somebody else's, nobody's, or no Mac at all: always the same answer. */
  'not-yours',
  /** Two people are named for it by the same authority: nobody's until an admin decides. */
  'two-claims',
  'retired',
  'lost',
  /** It belongs to its user: the organisation has no say in it. */
  'personal',
  /** Self-service is off for everybody, or for the group of this person. */
  'off',
  /** The service desk gets in by a local admin of its own, and policy has it so. */
  'managed-local-admin',
  /** An open alarm stops self-service until an admin has judged it: one that puts the Mac's identity in question, or *this was not me*. */
  'alarm',
  /** It has enrolled and never checked in: nothing is known of it. */
  'not-checked-in',
  /** Only the Mac's profile names this person, and its enrolment has to be confirmed before it speaks for keys of before. */
  'not-confirmed',
  /** Nothing is locked: the password of the account is another matter. */
  'file-vault-off',
  /** Its user turned FileVault on, and nobody else was given the key. */
  'encrypted-by-user',
  /** Encrypted by the organisation, and no key of it is here. */
  'no-key',
  /** The Mac says that no known key opens it any more. */
  'key-lost',
] as const;
export type BecauseNot = (typeof reasonsNot)[number];

export type Decision = { may: 'show' } | { may: 'ask-first'; request: KeyRequest | null } | { may: 'not'; because: BecauseNot };

/** The switch as it counts while an emergency is open for this Mac or this person: two admins have opened self-service for many. */
export const inEmergency = (open: boolean, is: SelfServiceSwitch): SelfServiceSwitch => (open ? 'on' : is);

/** By whom the disk was encrypted, as far as the Mac's facts tell. */
export type EncryptedBy = 'organisation' | 'person' | 'unknown' | 'nobody';

export interface ShowFacts {
  /** Whose Mac it is, as seen by whoever asks. */
  assigned: 'you' | 'not-you' | 'two-claims';
  standing: Pick<Standing, 'ownership' | 'state' | 'localAdmin'>;
  selfService: SelfServiceSwitch;
  managedLocalAdmin: PeopleSettings['selfService']['managedLocalAdmin'];
  stoppedByAlarm: boolean;
  checkedIn: boolean;
  /** See `isTrusted` of server/assignments.ts. */
  trusted: boolean;
  fileVault: Facts['fileVault']['state'];
  encryptedBy: EncryptedBy;
  custody: CustodyState;
  /** With approval: what this person asked for last. */
  request: KeyRequest | null;
}

/** May this person be shown the key of this Mac now? The first reason against it counts; the order tells nobody more than is theirs to know. */
export function decide(facts: ShowFacts): Decision {
  const because = reasonAgainst(facts);
  if (because !== null) return { may: 'not', because };
  if (facts.selfService === 'with-approval' && facts.request?.state !== 'approved') return { may: 'ask-first', request: facts.request };
  return { may: 'show' };
}

/**
 * Whether somebody who is being shown a key may have more time. An approval is asked for before a key is seen; whoever sees it
 * already is not stopped in the middle of typing because its hours have ended (WCAG 2.2.1). The chain of views is bounded by
 * itself; to be shown the key *again* they ask again. Any other reason against it counts at once.
 */
export const mayGoOn = (decision: Decision): boolean => decision.may === 'show' || (decision.may === 'ask-first' && decision.request?.goesOn === true);

function reasonAgainst(facts: ShowFacts): BecauseNot | null {
  const { assigned, standing, custody } = facts;
  if (assigned === 'not-you') return 'not-yours';
  if (assigned === 'two-claims') return 'two-claims';
  if (standing.state === 'retired') return 'retired';
  if (standing.state === 'lost') return 'lost';
  if (standing.ownership === 'personal') return 'personal';
  if (facts.selfService === 'off') return 'off';
  if (standing.localAdmin && facts.managedLocalAdmin === 'refuse') return 'managed-local-admin';
  if (facts.stoppedByAlarm) return 'alarm';
  if (!facts.checkedIn) return 'not-checked-in';
  if (!facts.trusted) return 'not-confirmed';
  if (facts.fileVault === 'off') return 'file-vault-off';
  // In doubt a key is offered: one of those that are here may be the right one.
  if (custody === 'held' || custody === 'doubtful') return null;
  if (custody === 'lost') return 'key-lost';
  return facts.encryptedBy === 'person' ? 'encrypted-by-user' : 'no-key';
}

const strictest: readonly SelfServiceSwitch[] = ['off', 'with-approval', 'on'];

/**
 * The switch that counts for somebody of these groups: of the first group in the settings that has one, else everybody's.
 * Null, where a provider could not say which groups they are in: the strictest that there is. Else whoever makes groups enough,
 * which many providers let everybody do, would leave the one for which self-service is off.
 */
export function selfServiceFor({ selfService }: Pick<PeopleSettings, 'selfService'>, groups: readonly string[] | null): SelfServiceSwitch {
  const switches = selfService.groups.flatMap((one) => (one.selfService === undefined ? [] : [{ group: one.group, is: one.selfService }]));
  if (groups !== null) return switches.find(({ group }) => groups.includes(group))?.is ?? selfService.everybody;
  return strictest.find((is) => is === selfService.everybody || switches.some((one) => one.is === is)) ?? 'off';
}

/** Whoever turned FileVault on: with an escrow payload, or asked for by a profile, the organisation; without either its user. */
export function encryptedBy(facts: Facts | null, hasKeys: boolean): EncryptedBy {
  if (!facts) return 'unknown';
  const { fileVault, escrow } = facts;
  if (fileVault.state === 'off') return 'nobody';
  if (hasKeys) return 'organisation';
  if (fileVault.state === 'unknown' || escrow.payload === 'unknown') return 'unknown';
  return escrow.payload !== 'none' || escrow.file !== null || fileVault.deferredFor !== undefined ? 'organisation' : 'person';
}
