// What can happen to a Mac and its backend at any moment, and how a Mac of each kind begins.
import * as mac from './mac.ts';
import { type Configuration, day, freshJournal, held, minute, openDebts, type Server, type State } from './state.ts';

export const eventKinds = [
  'kill',
  'power cut, what was not synced survives',
  'power cut, what was not synced is gone',
  'kill, and the journal is gone',
  'kill, and the journal is damaged',
  'kill, and the budget of wrong keys is spent',
  'key changed by somebody else, file for us',
  'key changed by somebody else, file for them',
  'key changed by somebody else, no file',
  'escrow file of an older key',
  'macOS does not say',
  'macOS says false once',
  'fdesetup dies',
  'kill, and fdesetup takes its time',
  'backend restored',
  'answer lost',
  'network away',
] as const;
export type EventKind = (typeof eventKinds)[number];

/** These end the run at which they come. */
export const endsRun = (kind: EventKind): boolean => kind.startsWith('kill') || kind.startsWith('power cut');

/** Where an event makes a difference: a request can only be lost where one is made. */
export function mayComeAt(kind: EventKind, tick: string): boolean {
  if (kind === 'answer lost' || kind === 'network away' || kind === 'backend restored') return tick.startsWith('ask ');
  if (kind === 'macOS does not say' || kind === 'macOS says false once') return tick === 'validate';
  if (kind === 'fdesetup dies') return tick.startsWith('mac ');
  if (kind === 'kill, and fdesetup takes its time') return tick === 'mac key' || tick === 'mac output';
  // fdesetup is not to be divided by what is not about it; a dead agent leaves it as it is.
  return tick.startsWith('mac ') ? kind.startsWith('power cut') : true;
}

/** The backend as it was when the course began: a stand-by that was behind, or a backup. */
export const happen = (s: State, kind: EventKind, backup: Server): State => {
  const atMac = (change: Partial<State['mac']>): State => ({ ...s, mac: { ...s.mac, ...change } });
  switch (kind) {
    case 'kill':
      return s;
    case 'power cut, what was not synced survives':
      return mac.cutPower(s, true);
    case 'power cut, what was not synced is gone':
      return mac.cutPower(s, false);
    case 'kill, and the journal is gone':
      return mac.loseJournal(s, null);
    case 'kill, and the journal is damaged':
      return mac.loseJournal(s, 'damaged');
    case 'kill, and the budget of wrong keys is spent':
      return mac.spendBudget(s);
    case 'key changed by somebody else, file for us':
      return mac.changeByOther(s, 'ours');
    case 'key changed by somebody else, file for them':
      return mac.changeByOther(s, 'foreign');
    case 'key changed by somebody else, no file':
      return mac.changeByOther(s, 'none');
    case 'escrow file of an older key':
      return mac.putEscrowFile(s, 0, true);
    case 'macOS does not say':
      return atMac({ silent: true });
    case 'macOS says false once':
      return atMac({ lies: true });
    case 'fdesetup dies':
      return atMac({ change: null });
    case 'kill, and fdesetup takes its time':
      return atMac({ change: s.mac.change && { ...s.mac.change, pausedUntil: s.now + 5 * minute } });
    case 'backend restored':
      return { ...s, server: backup };
    case 'answer lost':
      return atMac({ loseAnswer: true });
    case 'network away':
      return atMac({ offline: true });
  }
};

/** Faults that last pass at last. */
export const endFaults = (s: State): State => ({ ...s, mac: { ...s.mac, silent: false, lies: false, offline: false, loseAnswer: false } });

const emptyServer: Server = {
  records: [],
  rotations: [],
  debts: [],
  orders: [],
  grants: [],
  proofsTaken: [],
  notTrue: [],
  enrolments: [],
  exhaustedAt: null,
  agentRotation: null,
  lastSeen: null,
  lastFile: null,
  fileChangedAt: null,
  episode: [],
};

/** A Mac that was just set up with our payload: macOS has sealed its first key to us. */
export function newMac(configuration: Configuration, without: ReadonlySet<string> = new Set()): State {
  const files = { journal: freshJournal, outputs: {}, escrowFile: null, items: {} };
  const state: State = {
    now: day,
    made: 0,
    mac: {
      key: 0,
      keysMade: 1,
      boot: 1,
      bootedAt: day,
      change: null,
      fileDue: null,
      files,
      durable: files,
      silent: false,
      lies: false,
      offline: false,
      loseAnswer: false,
      wrong: [],
      typingUntil: null,
    },
    server: emptyServer,
    configuration,
    without,
  };
  return mac.putEscrowFile(
    {
      ...state,
      made: 1,
      server: { ...emptyServer, enrolments: [{ id: 0, madeAt: day }] },
      mac: { ...state.mac, files: { ...files, journal: { ...freshJournal, enrolment: 0 } }, durable: { ...files, journal: { ...freshJournal, enrolment: 0 } } },
    },
    0,
    true,
  );
}

/** Why the key is to be replaced: an admin ordered it, or somebody was shown it and may be typing it. */
export function oweRotation(s: State): State {
  const { because } = s.configuration;
  const id = `debt-${s.made}`;
  const debts = [...s.server.debts, { id, because, record: held(s.server)?.id ?? null, openedAt: s.now, closedBy: null }];
  const shown = because === 'disclosed';
  return {
    ...s,
    made: s.made + 1,
    server: { ...s.server, debts, episode: shown ? [s.now] : [] },
    mac: { ...s.mac, typingUntil: shown ? s.now + 20 * minute : null },
  };
}

/** The payload becomes somebody else's: their file of the present key takes the place of ours. */
export const becomeForeign = (s: State): State => mac.putEscrowFile({ ...s, configuration: { ...s.configuration, payload: 'foreign' } }, s.mac.key, false);

export const isOwed = (s: State): boolean => openDebts(s.server).length > 0;
