import type { RecoveryKey } from '../../protocol/recovery-key.ts';

/**
 * Why nothing was taken from a line. The last three are nothing to worry about; of the others a person has to know.
 *
 * - `refused`: something is wrong with the line, as it says
 * - `unsure`: what is meant is not certain, and nobody guesses
 * - `foreign`: sealed for somebody else, who alone can open it
 * - `no-key`: the Mac is listed, and no key of it
 * - `other-secret`: a password, a PIN, an institutional key: not what is kept here
 * - `empty`: nothing is in the line
 */
export type NotTaken = 'refused' | 'unsure' | 'foreign' | 'no-key' | 'other-secret' | 'empty';

export interface Trouble {
  fate: NotTaken;
  /** Never what the cell held: it may be a key in the wrong column. */
  because: string;
}

/** One line of an export, one object of a reply, one file of a folder. */
export interface ExportEntry {
  /** As an editor counts them; of what has no lines, the how manieth it is. */
  line: number;
  serial: string | null;
  key: RecoveryKey | null;
  /** CMS, where the key is sealed. */
  sealed: Buffer | null;
  /** When its source says that it was escrowed, milliseconds: a claim. */
  madeAt: number | null;
  trouble: Trouble | null;
  /** What was read otherwise than it is written. */
  note: string | null;
}

export const troubled = (line: number, fate: NotTaken, because: string, serial: string | null = null): ExportEntry => ({
  line,
  serial,
  key: null,
  sealed: null,
  madeAt: null,
  trouble: { fate, because },
  note: null,
});

/** What a line is made of before it is looked into. */
export interface RawEntry {
  line: number;
  serial: string;
  key: string;
  date: string;
  /** What kind of secret it says to be, such as Crypt-Server's `secret_type`. */
  kind: string;
  /** In a column for institutional keys. */
  institutional: string;
  /** What its source says of the key, such as Jamf Pro's `INVALID`. */
  status: string;
}
