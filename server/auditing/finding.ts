import type { AuditRow } from '../audit.ts';

/** What was done to the audit. `from` and `to` are the numbers of records that it is about. */
export interface Finding {
  kind: 'changed' | 'removed' | 'inserted' | 'moved' | 'rewritten' | 'cut-off' | 'restarted' | 'checkpoint' | 'file';
  from: number;
  to: number;
  /** The act of the record, as it stands there now. */
  act: string | null;
  says: string;
}

/** A record whose contents and hash do not fit each other. */
export interface Broken {
  row: AuditRow;
  finding: Finding;
}

/** Numbers that nobody has, as far as was read. */
export interface Gap {
  from: number;
  to: number;
  finding: Finding;
  /** The hashes on both sides of it: what the missing record had to name, and how the next one names it. */
  before: string;
  after: string;
}
