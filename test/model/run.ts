// One run of the agent, as a sequence of effects. Each `yield` names the effect that comes next: that is a tick, at which
// anything may happen. What a run knows beyond the journal dies with it.
import * as backend from './backend.ts';
import { countForeignChange, everyEnvelope, isCounted, isSecondLook, mayTry, others, withCurrent, withEscrowFile, withSureTime } from './journal.ts';
import * as mac from './mac.ts';
import { freshJournal, type Journal, type Kept, type Key, type Look, minute, type State, type Validation } from './state.ts';

/** The one thing that changes: which state is the present one. */
export interface World {
  state: State;
}
/** The name of the effect that comes next. */
export type Tick = string;
export type Steps<T> = Generator<Tick, T, void>;

/** The backend was not reached, or its answer was lost. */
export class Offline extends Error {}

export interface Run {
  readonly world: World;
  /** Names this run: two looks that refute come from two. */
  readonly id: number;
  readonly rules: ReadonlySet<string>;
  readonly boot: number;
  readonly settled: boolean;
  readonly sessionStart: number;
  journal: Journal;
  enrolment: number;
  custody: 'server' | 'keychain';
  /** macOS's escrow file, as this run looked at it last. */
  file: Journal['escrowSeen'];
  /** The key was replaced in this run. */
  rotated: boolean;
  reply: backend.Reply | null;
  /** Keys that macOS refused in this run: the answer would be the same. */
  readonly refused: Key[];
}

const now = (run: Run): number => run.world.state.now;
const present = (run: Run): State => run.world.state;

export function* write(run: Run, change: Partial<Journal>, at: Tick): Steps<void> {
  const before = run.journal;
  run.journal = { ...before, ...change };
  // What says the same as before is no tick.
  if (at === 'journal placed' && says(before) === says(run.journal)) return;
  const after = run.journal;
  run.journal = before;
  yield at;
  run.journal = after;
  run.world.state = mac.writeJournal(present(run), run.journal);
}

const says = (journal: Journal): string =>
  JSON.stringify([
    [journal.current, ...journal.previous, ...journal.outbox].map((one) => one && [one.envelope.id, one.validated, one.record, one.held]),
    journal.rotation?.refusedIsDelivered,
    journal.foreignChanges,
  ]);

/** An effect on the disk or the keychain. */
export function* effect(run: Run, at: Tick, act: (s: State) => State): Steps<void> {
  yield at;
  run.world.state = act(present(run));
}

/** A request takes a second; it arrives or not, and so does its answer. */
export function* ask<T>(run: Run, what: 'checkIn' | 'begin' | 'deliver' | 'grant', act: (s: State) => readonly [State['server'], T]): Steps<T> {
  yield `ask ${what}`;
  run.world.state = mac.pass(present(run), 1);
  if (present(run).mac.offline) throw new Offline(what);
  const [server, answer] = act(present(run));
  const { mac: atMac } = present(run);
  run.world.state = { ...present(run), server, mac: { ...atMac, loseAnswer: false } };
  if (atMac.loseAnswer) throw new Offline(what);
  return answer;
}

// ——— time and budget

/** Server time as the Mac can reckon it: by uptime since the last answer of this boot session, else not later than that answer. */
export const reckoned = (run: Run): number => {
  const { clock } = run.journal;
  return clock === null || clock.boot === run.boot ? now(run) : clock.at;
};
const unsure = (run: Run): boolean => run.journal.clock?.boot !== run.boot;
export const lookNow = (run: Run): Look => ({ at: reckoned(run), run: run.id, unsure: unsure(run) });
export const isSecond = (run: Run, first: Look): boolean => isSecondLook(first, run.id, reckoned(run)) || run.rules.has('K8: one false refutes nothing');
export const mayTryNow = (run: Run): boolean => run.rules.has('the budget of wrong keys') || mayTry(run.journal, reckoned(run), run.settled);

export const nextId = (run: Run): number => {
  const { made } = present(run);
  run.world.state = { ...present(run), made: made + 1 };
  return made;
};

export function* spendTry(run: Run, more: Partial<Journal>, at: Tick): Steps<number> {
  const id = nextId(run);
  const at0 = reckoned(run);
  yield* write(run, { ...more, refusals: [...run.journal.refusals, { id, at: at0, settled: run.settled, unsure: unsure(run) }] }, at);
  return id;
}
export const giveBack = (journal: Journal, id: number): Pick<Journal, 'refusals'> => ({ refusals: journal.refusals.filter((one) => one.id !== id) });

/** Gate 3: counted before macOS sees it, given back by a `true`. */
export function* tryKey(run: Run, key: Key): Steps<Validation | 'no-budget'> {
  if (run.refused.includes(key)) return 'false';
  if (!mayTryNow(run)) return 'no-budget';
  const id = yield* spendTry(run, {}, 'journal try');
  yield 'validate';
  const [state, answer] = mac.validate(present(run), key);
  run.world.state = state;
  if (answer === 'false') run.refused.push(key);
  if (answer === 'true') yield* write(run, { ...giveBack(run.journal, id), lastProof: reckoned(run), exhausted: false, notKnown: null }, 'journal true');
  return answer;
}

// ——— what is said to the backend

export const known = (reply: backend.Reply): readonly backend.Named[] => [...(reply.held ? [reply.held] : []), ...reply.candidates];

export function* noteProof(run: Run, envelope: string, order: string | null, answer: Validation, at: number = now(run)): Steps<void> {
  const { current, proofs } = run.journal;
  const given = { id: nextId(run), envelope, order, answer, settled: run.settled, at, boot: run.boot };
  const proved = current && answer === 'true' && current.envelope.id === envelope ? withCurrent(run.journal, { ...current, validated: answer }) : {};
  yield* write(run, { proofs: [...proofs, given], ...proved }, 'journal proof');
}

const keptIds = (journal: Journal): string[] => everyEnvelope(journal).map((one) => one.envelope.id);
/** macOS's file as it lies there, delivered long ago and kept no longer. */
const forgottenFile = (journal: Journal): string[] =>
  journal.escrowSeen?.ours && !keptIds(journal).includes(journal.escrowSeen.id) ? [journal.escrowSeen.id] : [];

export function* checkIn(run: Run): Steps<backend.Reply> {
  const report = (): backend.Report => ({
    enrolment: run.enrolment,
    journal: run.journal,
    offers: [...keptIds(run.journal), ...forgottenFile(run.journal)],
    file: run.file,
    settled: run.settled,
    sessionStart: run.sessionStart,
  });
  const send = (s: State): readonly [State['server'], backend.Reply] => backend.checkIn(s, report());
  let reply: backend.Reply;
  try {
    reply = yield* ask(run, 'checkIn', send);
  } catch (cause) {
    if (!(cause instanceof backend.Refused) || cause.code !== 'CERTIFICATE_UNKNOWN') throw cause;
    enrol(run);
    reply = yield* ask(run, 'checkIn', send);
  }
  run.reply = reply;
  const { journal } = run;
  const ids = known(reply).map((record) => record.id);
  const sure = withSureTime(journal, reply.at);
  // No answer has reached this journal yet: the one before it is gone, and the backend remembers the tries that it knows of, among
  // them what this check-in told, and those that a damaged one was taken for.
  const told = journal.proofs.filter((proof) => proof.answer !== 'true').length;
  const lost = sure.refusals.filter((one) => one.id < 0).length;
  const remembered = reply.tries.slice(lost).map((at, one) => ({ id: -one - 3, at, settled: true, unsure: false }));
  const refusals = journal.clock === null ? [...sure.refusals.slice(told), ...remembered] : sure.refusals;
  const current = journal.current && { ...journal.current, held: reply.held?.envelopes.includes(journal.current.envelope.id) ?? false };
  yield* write(
    run,
    {
      ...sure,
      refusals,
      doubts: sure.doubts.filter((doubt) => ids.includes(doubt.record) || doubt.record.startsWith('item ')),
      clock: { at: reply.at, boot: run.boot },
      // A restored backend has forgotten it: it is read, and delivered, anew.
      ...(forgottenFile(journal).some((id) => reply.wanted.includes(id)) ? { escrowSeen: null, ownFileDue: true } : {}),
      proofs: [],
      endings: [],
      ...(current ? withCurrent(journal, current) : {}),
    },
    'journal reply',
  );
  return reply;
}

/** A certificate for a key that only this journal points to; once, and again where the backend does not know it. */
function enrol(run: Run): void {
  if (present(run).mac.offline) throw new Offline('enrol');
  const id = nextId(run);
  const { server } = present(run);
  run.world.state = { ...present(run), server: { ...server, enrolments: [...server.enrolments, { id, madeAt: now(run) }] } };
  run.enrolment = id;
  run.journal = { ...run.journal, enrolment: id };
  run.world.state = mac.writeJournal(present(run), run.journal);
}

// ——— delivery

export function* deliver(run: Run, kept: Kept, rotation: string | null = kept.rotation): Steps<backend.Receipt> {
  const { envelope, validated } = kept;
  return yield* ask(run, 'deliver', (s) => backend.deliver(s, { enrolment: run.enrolment, envelope, validated, rotation }));
}

/** macOS's `true` was for the moment at which an earlier run sealed it. */
export const asOfOld = (kept: Kept): Kept => (kept.validated === 'true' ? { ...kept, validated: 'unknown' } : kept);

const isOfOpenRotation = (journal: Journal, kept: Kept): boolean =>
  journal.rotation !== null && kept.rotation === journal.rotation.id && kept.envelope.source === 'rotation';

/** What is wanted is delivered; nothing else decides it. */
export function* deliverWanted(run: Run, reply: backend.Reply): Steps<boolean> {
  let delivered = false;
  for (const kept of run.rules.has('what is wanted is delivered') ? run.journal.outbox : everyEnvelope(run.journal)) {
    if (!reply.wanted.includes(kept.envelope.id) || isOfOpenRotation(run.journal, kept)) continue;
    yield* noteReceipt(run, kept, yield* deliver(run, asOfOld(kept)));
    delivered = true;
  }
  for (const kept of run.journal.outbox.filter((one) => !reply.wanted.includes(one.envelope.id))) {
    if (isOfOpenRotation(run.journal, kept)) continue;
    // Its receipt was lost, or the journal was.
    const record = known(reply).find((one) => one.envelopes.includes(kept.envelope.id));
    if (record) yield* place(run, { ...kept, record: record.id, held: record.state === 'held' }, false);
    else yield* write(run, { outbox: others(run.journal.outbox, kept.envelope.id) }, 'journal placed');
  }
  return delivered;
}

export const noteReceipt = (run: Run, kept: Kept, receipt: backend.Receipt): Steps<void> =>
  place(run, { ...kept, record: receipt.record, held: receipt.state === 'held' }, receipt.state === 'superseded');

function* place(run: Run, kept: Kept, isOld: boolean): Steps<void> {
  const { journal } = run;
  const { id } = kept.envelope;
  const outbox = others(journal.outbox, id);
  const { current } = journal;
  const is = (one: Kept): boolean => one.envelope.id === id;
  if (current && is(current)) yield* write(run, { ...withCurrent(journal, kept), outbox }, 'journal placed');
  else if (journal.previous.some(is)) yield* write(run, { previous: journal.previous.map((one) => (is(one) ? kept : one)), outbox }, 'journal placed');
  else if (current?.record && current.record === kept.record) {
    // A second witness of the current key needs no place of its own.
    const both: Kept = { ...current, held: kept.held, validated: kept.validated === 'true' ? 'true' : current.validated };
    yield* write(run, withCurrent({ ...journal, outbox }, both), 'journal placed');
  } else if (isOld || (kept.validated === 'false' && current)) {
    const previous = [...journal.previous, kept];
    yield* write(run, current ? withCurrent({ ...journal, previous, outbox }, current) : { previous, outbox }, 'journal placed');
  } else {
    // Its key was refused before this file came: one change, which was counted then.
    const isTold = journal.refusalFile === id && isCounted(journal);
    const byOther = current !== null && kept.envelope.source === 'escrow-file' && kept.rotation === null && !isTold;
    const counted = byOther ? countForeignChange(journal, reckoned(run)) : {};
    yield* write(run, { ...withCurrent({ ...journal, outbox }, kept), ...counted }, 'journal placed');
  }
}

// ——— the beginning of a run

/** Opens the journal, reads macOS's escrow file, and sees who is logged in. */
export function* openRun(world: World, id: number): Steps<Run> {
  const s = world.state;
  const found = s.mac.files.journal;
  // How many keys were tried today stood in it: for a day none is.
  const spent = [-1, -2].map((one) => ({ id: one, at: s.now, settled: true, unsure: true }));
  const journal: Journal = found === 'damaged' ? { ...freshJournal, refusals: spent } : (found ?? freshJournal);
  const session = journal.session?.boot === s.mac.boot ? journal.session : { boot: s.mac.boot, since: s.now };
  const run: Run = {
    world,
    id,
    rules: s.without,
    boot: s.mac.boot,
    settled: session.since !== null && s.now - session.since >= 10 * minute,
    sessionStart: session.since ?? s.now,
    journal,
    // Its key is in the keychain: with it, it is the same enrolment.
    enrolment: journal.enrolment ?? s.server.enrolments[0]?.id ?? 0,
    custody: s.configuration.custody,
    file: null,
    rotated: false,
    reply: null,
    refused: [],
  };
  yield* noticeEscrowFile(run);
  if (session !== journal.session) yield* write(run, { session }, 'journal session');
  return run;
}

export function* noticeEscrowFile(run: Run): Steps<void> {
  const change = withEscrowFile(run.journal, present(run).mac.files.escrowFile, reckoned(run));
  if (change) yield* write(run, change, 'journal escrow-seen');
  run.file = run.journal.escrowSeen;
}

export const sealed = (run: Run, key: Key): Kept['envelope'] => ({ id: `sealed-${nextId(run)}`, key, source: 'rotation', ours: true, madeAt: now(run) });
