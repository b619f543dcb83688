import type { RecoveryKey } from '../../protocol/recovery-key.ts';
import type { Tables } from '../tables.ts';

export const connectorNames = ['intune', 'jamf', 'fleet'] as const;
export type ConnectorName = (typeof connectorNames)[number];

/** A Mac as a product lists it. Listing shows no key. */
export interface Listed {
  /** As the product calls it. */
  id: string;
  serial: string;
  /** When the product heard of it last, milliseconds; null where it does not say. */
  heardAt: number | null;
  /** Why reading its key would tell nothing, by the product's own word; null where it may. */
  useless: string | null;
}

/** An entry of which no Mac can be made: what it calls itself, for whoever looks for it there, and why. */
export interface Unusable {
  id: string | null;
  serial: string | null;
  because: string;
}

export interface Page {
  macs: Listed[];
  unusable: Unusable[];
  /** Where the next page is; null after the last. */
  next: string | null;
  /** Of a page of machines of every kind, which may have no Mac: what stands on it. The same twice is a list that repeats itself. */
  mark?: string;
}

type Answer = NonNullable<Tables['connector_mac']['answer']>;

export type KeyRead =
  | { answer: 'key'; key: RecoveryKey; madeAt: number | null; note: string | null }
  /** `shape`: the reply is not as it is documented. Never holds what was read. */
  | { answer: Exclude<Answer, 'key'>; because: string; shape?: boolean };

export type Asked =
  | { kind: 'asked' }
  /** The product said no, or has no such call. */
  | { kind: 'refused'; because: string }
  /** It has not come to the product, or that wants to be asked later. */
  | { kind: 'not-sent'; because: string }
  /** No answer, or none that says it: it may have been done. */
  | { kind: 'unsure'; because: string };

/** One product's API, as much of it as is asked here. What cannot go on throws `Pause` or `End`; what failed once, a Problem. */
export interface KeySource {
  name: ConnectorName;
  page(position: string | null): Promise<Page>;
  /** One view, which the product notes in its own audit. */
  key(id: string): Promise<KeyRead>;
  /** Has the product fetch what it knows of the Mac anew. Null where no such call is documented. */
  refresh: ((id: string) => Promise<Asked>) | null;
  /** Has the product replace the key. Null where there is no such call, or the settings do not allow it. */
  rotate: ((id: string) => Promise<Asked>) | null;
}

/** The run stays open and goes on where it is, after `seconds`; null: the longer the more often it failed. */
export class Pause extends Error {
  readonly seconds: number | null;
  /** What was asked may have been done all the same. */
  readonly unsure: boolean;
  constructor(because: string, seconds: number | null, unsure = false) {
    super(because);
    this.seconds = seconds;
    this.unsure = unsure;
  }
}

/** The run is over: only a person can help. What was read is stored. */
export class End extends Error {}
