// The model's words: what there is at the Mac, on its disk, and at the backend. All of it is plain data that nobody changes;
// whatever happens makes a new one. Times are seconds of the backend's time.

export const minute = 60;
export const hour = 60 * minute;
export const day = 24 * hour;

/** A recovery key, by the order in which this Mac had them: 0 is the first. */
export type Key = number;
export type Validation = 'true' | 'false' | 'unknown';

/** A sealed key. Two of one key are two witnesses. */
export interface Envelope {
  readonly id: string;
  readonly key: Key;
  readonly source: 'rotation' | 'escrow-file';
  /** Somebody else's escrow payload sealed it: nobody of ours can open it. */
  readonly ours: boolean;
  readonly madeAt: number;
}

// ——— the agent's journal

/** An envelope in the journal. */
export interface Kept {
  readonly envelope: Envelope;
  readonly validated: Validation;
  readonly rotation: string | null;
  readonly answered: number | null;
  readonly record: string | null;
  readonly held: boolean;
}

export interface Look {
  readonly at: number;
  readonly run: number;
  readonly unsure: boolean;
}

export interface OpenRotation {
  readonly id: string;
  readonly because: string;
  readonly state: 'intended' | 'changing' | 'sealed' | 'unresolved';
  readonly boot: number;
  readonly authority: Authority;
  readonly oldItem: string | null;
  readonly oldRecord: string | null;
  readonly enrolment: number | null;
  readonly fileBefore: string | null;
  readonly changingAt: number | null;
  readonly looks: Readonly<Record<string, Look>>;
  readonly refuted: readonly string[];
  readonly refusedIsDelivered: boolean;
}

export interface Journal {
  readonly current: Kept | null;
  readonly previous: readonly Kept[];
  readonly outbox: readonly Kept[];
  readonly rotation: OpenRotation | null;
  readonly refusals: readonly { readonly id: number; readonly at: number; readonly settled: boolean; readonly unsure: boolean }[];
  readonly doubts: readonly { readonly record: string; readonly first: Look; readonly refuted: boolean }[];
  readonly keptItem: { readonly name: string; readonly envelope: string } | null;
  readonly session: { readonly boot: number; readonly since: number | null } | null;
  readonly enrolment: number | null;
  readonly proofs: readonly Proof[];
  readonly endings: readonly { readonly rotation: string; readonly as: 'not-changed' | 'not-known' | 'exhausted' }[];
  readonly lastProof: number | null;
  readonly proofRefused: boolean;
  readonly clock: { readonly at: number; readonly boot: number } | null;
  readonly escrowSeen: { readonly id: string; readonly ours: boolean } | null;
  readonly ownFileDue: boolean;
  readonly foreignChanges: readonly number[];
  /** The file of a change that was counted by a refusal. */
  readonly refusalFile: string | null;
  /** When the key was changed, and how often in a row that failed. */
  readonly changes: readonly number[];
  readonly failed: { readonly at: number; readonly times: number } | null;
  readonly notKnown: string | null;
  readonly exhausted: boolean;
}

interface Proof {
  readonly id: number;
  readonly envelope: string;
  readonly order: string | null;
  readonly answer: Validation;
  readonly settled: boolean;
  readonly at: number;
  readonly boot: number;
}

export const freshJournal: Journal = {
  current: null,
  previous: [],
  outbox: [],
  rotation: null,
  refusals: [],
  doubts: [],
  keptItem: null,
  session: null,
  enrolment: null,
  proofs: [],
  endings: [],
  lastProof: null,
  proofRefused: false,
  clock: null,
  escrowSeen: null,
  ownFileDue: false,
  foreignChanges: [],
  refusalFile: null,
  changes: [],
  failed: null,
  notKnown: null,
  exhausted: false,
};

// ——— the Mac

/** What lies on its disk. Of each thing there are two: as it is read now, and as it is found after a power cut. */
export interface Files {
  readonly journal: Journal | 'damaged' | null;
  /** fdesetup's output by rotation: the key in it, or null while there is none. */
  readonly outputs: Readonly<Record<string, Key | null>>;
  readonly escrowFile: Envelope | null;
  /** Keychain items by name; the keychain is durable with each write. */
  readonly items: Readonly<Record<string, Key>>;
}

export interface Mac {
  /** The one key that opens the disk. */
  readonly key: Key;
  readonly keysMade: number;
  readonly boot: number;
  readonly bootedAt: number;
  /** fdesetup at work: its next step, and the rotation whose files it writes. */
  readonly change: { readonly rotation: string; readonly next: 'key' | 'file' | 'output'; readonly pausedUntil: number } | null;
  /** mdmclient will write its escrow file then. */
  readonly fileDue: { readonly key: Key; readonly at: number } | null;
  readonly files: Files;
  readonly durable: Files;
  /** Faults of now. */
  readonly silent: boolean;
  /** The next answer is `false`, whatever the key: dark wake, no session. */
  readonly lies: boolean;
  readonly offline: boolean;
  readonly loseAnswer: boolean;
  /** When wrong keys were tried: the Secure Enclave counts them. */
  readonly wrong: readonly number[];
  /** A person is typing the key that they were shown, until then. */
  readonly typingUntil: number | null;
}

// ——— the backend

export interface KeyRecord {
  readonly id: string;
  readonly key: Key;
  readonly state: 'candidate' | 'held' | 'superseded';
  readonly source: Envelope['source'];
  readonly rotation: string | null;
  readonly enrolment: number;
  readonly receivedAt: number;
  readonly stateAt: number;
  readonly provedAt: number | null;
  readonly firstFalse: { readonly at: number; readonly run: string } | null;
  readonly refutedAt: number | null;
  readonly envelopes: readonly { readonly id: string; readonly rotation: string | null; readonly enrolment: number }[];
  /** Enrolments whose word was `true`. */
  readonly provedBy: readonly number[];
}

export interface Rotation {
  readonly id: string;
  readonly enrolment: number;
  readonly begunAt: number;
  readonly state: 'begun' | 'done' | 'not-changed' | 'not-known' | 'exhausted';
  readonly endedAt: number | null;
}

export interface Debt {
  readonly id: string;
  readonly because: string;
  readonly record: string | null;
  readonly openedAt: number;
  /** What closed it: another key's record, or the answer to a proof. */
  readonly closedBy: string | null;
}

export interface Server {
  readonly records: readonly KeyRecord[];
  readonly rotations: readonly Rotation[];
  readonly debts: readonly Debt[];
  readonly orders: readonly { readonly id: string; readonly record: string; readonly at: number; readonly ended: boolean }[];
  readonly grants: readonly { readonly id: string; readonly purpose: Purpose; readonly forId: string; readonly record: string; readonly at: number }[];
  readonly proofsTaken: readonly string[];
  /** When macOS did not say `true`. */
  readonly notTrue: readonly number[];
  readonly enrolments: readonly { readonly id: number; readonly madeAt: number }[];
  readonly exhaustedAt: number | null;
  readonly agentRotation: { readonly id: string; readonly state: string } | null;
  readonly lastSeen: number | null;
  readonly lastFile: { readonly id: string; readonly ours: boolean } | null;
  readonly fileChangedAt: number | null;
  /** Disclosures whose hold has not ended. */
  readonly episode: readonly number[];
}

export type Purpose = 'rotate' | 'resolve' | 'prove';
export type Authority = 'grant' | 'keychain' | 'password';

/** What kind of Mac it is. */
export interface Configuration {
  readonly custody: 'server' | 'keychain';
  readonly payload: 'ours' | 'foreign' | 'none';
  readonly authority: Authority;
  /** When macOS writes its escrow file of a new key: before fdesetup is done, two minutes later, or not at all. */
  readonly file: 'prompt' | 'late' | 'never';
  readonly because: 'ordered' | 'disclosed';
}

export interface State {
  readonly now: number;
  /** Counts everything that is made, for ids. */
  readonly made: number;
  readonly mac: Mac;
  readonly server: Server;
  readonly configuration: Configuration;
  /** Rules that this course does without; see weakened.ts. */
  readonly without: ReadonlySet<string>;
}

export const held = (server: Server): KeyRecord | undefined => server.records.find((record) => record.state === 'held');
export const isLiving = (record: KeyRecord): boolean => record.state !== 'superseded';
export const openRotation = (server: Server): Rotation | undefined => server.rotations.find((rotation) => rotation.state === 'begun');
export const openDebts = (server: Server): readonly Debt[] => server.debts.filter((debt) => debt.closedBy === null);
