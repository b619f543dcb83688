// What must hold, at every tick and at the end of a course. Each has the name under which a weakened rule breaks it.
import { custody } from './backend.ts';
import { everyEnvelope } from './journal.ts';
import { day, freshJournal, held, isLiving, type Journal, type Key, minute, openRotation, type State } from './state.ts';

const invariants = {
  'nothing is lost': 'somebody has the key that opens the disk, unless a rule names the window',
  'lost is said': 'where nobody has the key, custody is not `held`, on neither side',
  'held is true': '`held` is a key that opens the disk, or one that was changed by somebody else without a sign',
  'found again': 'what somebody has, is in custody at the end',
  'one rotation': 'at most one rotation is open',
  'nothing is left over': 'no output file, no item of a dead key, no open rotation, no envelope without a receipt',
  'debts close by another key': 'what is owed for one key is paid by another',
  'the budget of wrong keys': 'at most two wrong keys a day, and five a week',
  'nobody types a dying key': 'no key is replaced while somebody who was shown it may be typing it',
  'one change counts once': 'a change by somebody else is counted once, however often it shows',
  'the server knows first': 'the backend knows of a rotation before the key is changed',
} as const;
export type Invariant = keyof typeof invariants;
export interface Broken {
  readonly invariant: Invariant;
  readonly at: string;
}

/** What the course has seen: by these the rules name the windows in which a key can be lost. */
export interface Witnessed {
  /** Keys in whose change the power went, or fdesetup, before the output was synced. */
  cut: Set<Key>;
  /** Keys that somebody else made. */
  byOther: Set<Key>;
  /** Those of them that no file of ours tells. */
  unseen: Set<Key>;
  restored: boolean;
  /** Keys that the Mac had when its journal was lost. */
  forgotten: Set<Key>;
  stale: boolean;
  /** Changes by somebody else, and files that look like one. */
  changes: number;
}

export const journalOf = (s: State): Journal => {
  const { journal } = s.mac.files;
  return journal === null || journal === 'damaged' ? freshJournal : journal;
};

/** Who could still give the key that opens the disk. */
export function keepersOf(s: State, key = s.mac.key): readonly string[] {
  const { files, change, fileDue } = s.mac;
  const keepers: string[] = [];
  if (s.server.records.some((record) => record.key === key)) keepers.push('backend');
  if (Object.values(files.outputs).includes(key)) keepers.push('output');
  if (everyEnvelope(journalOf(s)).some(({ envelope }) => envelope.key === key && envelope.ours)) keepers.push('journal');
  if (files.escrowFile?.key === key && files.escrowFile.ours) keepers.push('escrow file');
  if (Object.values(files.items).includes(key)) keepers.push('keychain');
  if (change && change.next !== 'key') keepers.push('fdesetup');
  if (fileDue?.key === key && s.configuration.payload === 'ours') keepers.push('mdmclient');
  return keepers;
}

/** The windows that the rules name. */
const isNamed = (s: State, seen: Witnessed): boolean =>
  seen.cut.has(s.mac.key) ||
  seen.unseen.has(s.mac.key) ||
  (seen.forgotten.has(s.mac.key) && s.mac.files.escrowFile?.key !== s.mac.key) ||
  (seen.restored && seen.forgotten.size > 0);

const mostWithin = (times: readonly number[], span: number): number =>
  Math.max(0, ...times.map((from) => times.filter((at) => at >= from && at < from + span).length));

export function atTick(s: State, at: string, seen: Witnessed, broken: Broken[]): void {
  const fail = (invariant: Invariant): void => void broken.push({ invariant, at });
  if (keepersOf(s).length === 0 && !isNamed(s, seen)) fail('nothing is lost');
  if (s.server.rotations.filter((rotation) => rotation.state === 'begun').length > 1) fail('one rotation');
  if (seen.forgotten.size === 0 && (mostWithin(s.mac.wrong, day) > 2 || mostWithin(s.mac.wrong, 7 * day) > 5)) fail('the budget of wrong keys');
  if (s.mac.change && s.mac.typingUntil !== null && s.now < s.mac.typingUntil) fail('nobody types a dying key');
  if (at === 'change' && !openRotation(s.server)) fail('the server knows first');
  const record = held(s.server);
  const open = openRotation(s.server);
  // A restored backend does not know the later key until it is delivered again.
  const isBehind = seen.restored && !s.server.records.some((one) => one.key === s.mac.key);
  // decisions/0017: what is not known stood in the journal that was lost.
  const isForgotten = seen.cut.has(s.mac.key) && seen.forgotten.has(s.mac.key) && s.configuration.authority === 'password';
  const isExplained = isForgotten || isBehind || seen.byOther.has(s.mac.key) || (open && s.now - open.begunAt <= 5 * minute) || s.mac.change !== null;
  if (custody(s) === 'held' && record && record.key !== s.mac.key && !isExplained) fail('held is true');
  for (const debt of s.server.debts) {
    const owedFor = s.server.records.find((one) => one.id === debt.record);
    if (owedFor && debt.closedBy === `key ${owedFor.key}`) fail('debts close by another key');
  }
}

export function atEnd(s: State, seen: Witnessed, broken: Broken[]): void {
  const fail = (invariant: Invariant): void => void broken.push({ invariant, at: 'the end' });
  const journal = journalOf(s);
  const says = custody(s);
  const record = held(s.server);
  const isLost = keepersOf(s).length === 0;
  if (isLost && says === 'held' && !seen.unseen.has(s.mac.key)) fail('lost is said');
  if (says === 'held' && record?.key !== s.mac.key && !seen.unseen.has(s.mac.key)) fail('held is true');
  const known = s.server.records.find((one) => one.key === s.mac.key);
  if (!isLost && !seen.unseen.has(s.mac.key) && !(known && isLiving(known))) fail('found again');
  if (!isLost && !seen.byOther.has(s.mac.key) && says !== 'held') fail('found again');
  if (journal.foreignChanges.length > seen.changes && !(seen.restored && seen.forgotten.size > 0)) fail('one change counts once');
  if (journal.rotation || openRotation(s.server) || Object.keys(s.mac.files.outputs).length > 0 || journal.outbox.length > 0) fail('nothing is left over');
  if (!isLost && !seen.byOther.has(s.mac.key) && Object.values(s.mac.files.items).some((key) => key !== s.mac.key)) fail('nothing is left over');
}
