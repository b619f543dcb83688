// What model and product have to agree on at the end of a course, in words that both can say.
import { type Custody, custody } from './backend.ts';
import { journalOf } from './invariants.ts';
import { held, type State } from './state.ts';

/** Which of the Mac's keys: the one that opens it, one that did, or one that never did. */
export type Which = 'current' | 'former' | 'other';

export interface Abstract {
  custody: Custody;
  /** State and key of every record, sorted. */
  records: string[];
  /** How each rotation ended, in the order of their beginnings. */
  rotations: string[];
  openDebts: number;
  rotationInJournal: boolean;
  outbox: number;
  /** Whether the journal's present key opens the Mac. */
  currentIs: Which | 'none';
  exhausted: boolean;
  outputs: number;
  items: string[];
  wrongKeys: number;
  heldIs: Which | 'none';
  /** Changes by somebody else, as the journal counts them. */
  foreignChanges: number;
}

export function abstractOf(s: State): Abstract {
  const journal = journalOf(s);
  const which = (key: number | undefined): Which | 'none' => (key === undefined ? 'none' : key === s.mac.key ? 'current' : 'former');
  return {
    custody: custody(s),
    records: s.server.records.map((one) => `${one.state} ${which(one.key)}`).toSorted(),
    rotations: s.server.rotations.map((one) => one.state),
    openDebts: s.server.debts.filter((one) => one.closedBy === null).length,
    rotationInJournal: journal.rotation !== null,
    outbox: journal.outbox.length,
    currentIs: which(journal.current?.envelope.key),
    exhausted: journal.exhausted,
    outputs: Object.keys(s.mac.files.outputs).length,
    items: Object.values(s.mac.files.items).map(which).toSorted(),
    wrongKeys: s.mac.wrong.length,
    heldIs: which(held(s.server)?.key),
    foreignChanges: journal.foreignChanges.length,
  };
}

/** Null where they agree. */
export const difference = (model: Abstract, product: Abstract): string[] =>
  (Object.keys(model) as (keyof Abstract)[])
    .filter((name) => JSON.stringify(model[name]) !== JSON.stringify(product[name]))
    .map((name) => `${name}: the model says ${JSON.stringify(model[name])}, the product ${JSON.stringify(product[name])}`);
