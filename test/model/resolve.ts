// After an interruption: which key is valid is found out by asking macOS, one key at a time, the likeliest first. The
// row is named at each branch; what is not known stays for the next run.
import type * as backend from './backend.ts';
import { keep } from './journal.ts';
import {
  type Answered,
  askKey,
  askNewKey,
  askOldKey,
  askRecord,
  forgetOldItems,
  freshRotationId,
  hasStrayItem,
  itemKey,
  items,
  keepOnly,
  noteValid,
  removeRefutedItems,
} from './keys.ts';
import * as mac from './mac.ts';
import { concludeUnproved, deliverNewKey, endUnchanged, finish, keepNewKey, type Outcome, removeOutput, withReceipt } from './rotation.ts';
import { deliver, effect, known, lookNow, noteProof, noteReceipt, type Run, type Steps, sealed, write } from './run.ts';
import { type Kept, minute, type OpenRotation } from './state.ts';

const isKeyOf = (rotation: OpenRotation, one: Kept): boolean => one.rotation === rotation.id && one.envelope.source === 'rotation';

/** `nothing` where there is nothing to resolve. Without a reply only what needs no backend is done. */
export function* resolve(run: Run, reply: backend.Reply | null): Steps<Outcome> {
  const rotation = run.journal.rotation ?? (yield* findLeftOver(run, reply));
  if (!rotation) return 'nothing';
  if (rotation.state === 'intended') return yield* endUnchanged(run, rotation); // R1
  if (rotation.state === 'sealed') return reply ? yield* resolveSealed(run, reply, rotation) : 'later'; // R10
  if (run.world.state.mac.change && !run.rules.has('R0: a change that runs is waited for')) return 'later'; // R0
  const output = run.world.state.mac.files.outputs[rotation.id];
  if (output != null) return yield* resolveWithOutput(run, reply, rotation, output);
  return reply ? yield* resolveWithoutOutput(run, reply, rotation) : 'later';
}

/** The key of the open rotation is proved and delivered, and only the receipt is to come. */
export const awaitsReceipt = (run: Run): boolean => {
  const { rotation, outbox } = run.journal;
  return rotation?.state === 'sealed' && outbox.some((one) => isKeyOf(rotation, one) && one.validated === 'true' && one.record !== null);
};

/** R11: an output file or an item that no journal knows, or a rotation that only the backend remembers. */
function* findLeftOver(run: Run, reply: backend.Reply | null): Steps<OpenRotation | null> {
  const left = yield* leftOutput(run);
  const id = left ?? reply?.rotation ?? ((yield* hasStrayItem(run)) ? freshRotationId(run) : null);
  if (id === null) return null;
  const { current } = run.journal;
  const rotation: OpenRotation = {
    id,
    because: 'interrupted',
    state: 'changing',
    boot: run.boot,
    authority: 'grant',
    oldItem: null,
    oldRecord: reply?.held?.id ?? null,
    enrolment: null,
    fileBefore: current?.envelope.source === 'escrow-file' ? current.envelope.id : null,
    changingAt: run.world.state.now,
    looks: {},
    refuted: [],
    refusedIsDelivered: false,
  };
  yield* write(run, { rotation }, 'journal found');
  return rotation;
}

function* leftOutput(run: Run): Steps<string | null> {
  const { current } = run.journal;
  for (const id of Object.keys(run.world.state.mac.files.outputs)) {
    const isDone = current?.rotation === id && current.held && current.validated === 'true';
    if (!isDone) return id;
    yield* removeOutput(run, id);
  }
  return null;
}

function* stayUnresolved(run: Run): Steps<Outcome> {
  const { rotation } = run.journal;
  if (rotation && rotation.state !== 'unresolved') yield* write(run, { rotation: { ...rotation, state: 'unresolved' } }, 'journal unresolved');
  return 'later';
}

// ——— with a key in the output file

function* resolveWithOutput(run: Run, reply: backend.Reply | null, rotation: OpenRotation, key: number): Steps<Outcome> {
  if (!run.rules.has('8: the output is synced')) yield* effect(run, 'sync out', (s) => mac.syncOutput(s, rotation.id)); // 8
  const answer = yield* askKey(run, rotation, 'new', key);
  const open = run.journal.rotation ?? rotation;
  if (answer === 'true') return yield* keepNewKey(run, open, key, 'true'); // R2
  if (answer === 'unknown') return yield* keepNewKey(run, open, key, 'unknown'); // R3
  if (!reply) return 'later';
  yield* deliverRefused(run, rotation, key);
  if (answer === 'refuted') return yield* resolveWithoutOutput(run, reply, rotation);
  if ((yield* askOldKey(run, reply, rotation)) === 'true') return yield* endUnchanged(run, rotation); // R4
  return yield* stayUnresolved(run); // R5
}

/** A refused key is delivered all the same: nothing is lost if macOS was wrong. */
function* deliverRefused(run: Run, rotation: OpenRotation, key: number): Steps<void> {
  if (run.journal.rotation?.refusedIsDelivered) return;
  const waiting = run.journal.outbox.find((one) => isKeyOf(rotation, one));
  const kept = waiting ?? keep(sealed(run, key), { validated: 'false', rotation: rotation.id });
  if (!waiting) yield* write(run, { outbox: [...run.journal.outbox, kept] }, 'journal placed');
  const receipt = yield* deliver(run, kept, rotation.id);
  const { outbox, previous, rotation: open } = run.journal;
  yield* write(
    run,
    {
      outbox: outbox.filter((one) => one.envelope.id !== kept.envelope.id),
      previous: [...previous, withReceipt(kept, receipt)],
      rotation: open && { ...open, refusedIsDelivered: true },
    },
    'journal placed',
  );
}

// ——— a sealed key (R10)

function* resolveSealed(run: Run, reply: backend.Reply, rotation: OpenRotation): Steps<Outcome> {
  const { outbox, current } = run.journal;
  const kept = outbox.find((one) => isKeyOf(rotation, one)) ?? (current && isKeyOf(rotation, current) ? current : null);
  if (!kept) return yield* resolveLikeChanging(run, reply, rotation);
  if (kept.validated === 'true') return yield* deliverNewKey(run, rotation, kept, true);
  const receipt = yield* deliver(run, kept, rotation.id);
  const delivered = withReceipt(kept, receipt);
  const without = (): readonly Kept[] => run.journal.outbox.filter((one) => one.envelope.id !== kept.envelope.id);
  if (receipt.state === 'held' && reply.rotation !== rotation.id) return yield* finished(run, rotation, delivered);
  if (kept.record !== receipt.record) yield* write(run, { outbox: [...without(), delivered] }, 'journal placed');
  const answer = yield* askNewKey(run, rotation, receipt.record);
  if (answer === 'true') {
    const answered = run.world.state.now;
    yield* noteProof(run, kept.envelope.id, null, 'true', answered);
    yield* write(run, { outbox: [...without(), { ...delivered, validated: 'true', answered }] }, 'journal placed');
    return 'later';
  }
  if (answer === 'nobody') return yield* concludeUnproved(run, rotation, delivered);
  if (answer === 'unknown') return 'later'; // R3
  if (answer === 'refuted') {
    yield* write(run, { outbox: without(), previous: [...run.journal.previous, { ...delivered, validated: 'false' }] }, 'journal placed');
    return yield* resolveLikeChanging(run, reply, rotation);
  }
  if ((yield* askOldKey(run, reply, rotation)) === 'true') return yield* endUnchanged(run, rotation); // R4
  return 'later';
}

function* finished(run: Run, rotation: OpenRotation, kept: Kept): Steps<Outcome> {
  yield* finish(run, rotation, kept);
  yield* forgetOldItems(run, rotation.id, kept.envelope.id);
  yield* removeOutput(run, rotation.id);
  return 'done';
}

function* resolveLikeChanging(run: Run, reply: backend.Reply, rotation: OpenRotation): Steps<Outcome> {
  yield* write(run, { rotation: { ...(run.journal.rotation ?? rotation), state: 'unresolved' } }, 'journal unresolved');
  return yield* resolveWithoutOutput(run, reply, run.journal.rotation ?? rotation);
}

// ——— without a key in the output file

/** E: macOS's escrow file differs from the one before the change, and is ours. */
function witness(run: Run, rotation: OpenRotation): Kept | null {
  const { escrowSeen, outbox, current, previous } = run.journal;
  if (!escrowSeen?.ours || escrowSeen.id === rotation.fileBefore) return null;
  return [...outbox, ...(current ? [current] : []), ...previous].find((one) => one.envelope.id === escrowSeen.id) ?? null;
}

function* resolveWithoutOutput(run: Run, reply: backend.Reply, rotation: OpenRotation): Steps<Outcome> {
  const hasOld = rotation.authority !== 'password' && (rotation.oldItem !== null || rotation.oldRecord !== null || reply.held !== null);
  const byItem = (yield* askItems(run, reply, rotation, 'likely')) ?? (hasOld ? null : yield* askItems(run, reply, rotation, 'stray'));
  if (byItem) return byItem;
  const file = witness(run, rotation);
  const byFile = file && (yield* askWitness(run, reply, rotation, file)); // R8, R12
  if (byFile && byFile !== 'no-witness') return byFile;
  const open = run.journal.rotation ?? rotation;
  const wait = run.rules.has('E: the escrow file is waited for') ? 0 : minute;
  const settling = open.boot === run.boot && open.changingAt !== null && run.world.state.now - open.changingAt < wait;
  if (rotation.authority === 'password') {
    if ((file && byFile !== 'no-witness') || settling) return yield* stayUnresolved(run);
    return yield* endNotKnown(run, rotation); // R12
  }
  const old: Answered = yield* askOldKey(run, reply, rotation);
  if (old === 'true') return yield* endUnchanged(run, rotation); // R6
  if (old === 'false') return yield* stayUnresolved(run); // a second look follows
  const byStray = hasOld ? yield* askItems(run, reply, rotation, 'stray') : null;
  if (byStray) return byStray;
  if (old === 'nobody') return yield* endNotGiven(run, rotation);
  if (old !== 'refuted') return yield* stayUnresolved(run); // R7
  if (settling) return yield* stayUnresolved(run);
  return yield* askRecords(run, reply, rotation); // R9
}

/** R11: each item is asked about, the rotation's own and the kept one first, stray ones after the old key; one that answers `true` counts as O. */
function* askItems(run: Run, reply: backend.Reply, rotation: OpenRotation, which: 'likely' | 'stray'): Steps<Outcome | null> {
  const likely = new Set([`item ${rotation.id}`, ...(run.journal.keptItem ? [run.journal.keptItem.name] : [])]);
  const asked = which === 'likely' ? [...likely].filter((one) => items(run).includes(one)) : items(run).filter((one) => !likely.has(one));
  for (const name of asked.filter((one) => one !== rotation.oldItem)) {
    const key = itemKey(run, name);
    if (key === undefined || (yield* askKey(run, rotation, name, key)) !== 'true') continue;
    const { keptItem } = run.journal;
    const record = keptItem?.name === name ? known(reply).find((one) => one.envelopes.includes(keptItem.envelope)) : undefined;
    if (!record) return yield* keepNewKey(run, run.journal.rotation ?? rotation, key, 'true');
    yield* noteValid(run, reply, record.id, key);
    return yield* endUnchanged(run, rotation); // R6
  }
  return null;
}

function* askWitness(run: Run, reply: backend.Reply, rotation: OpenRotation, file: Kept): Steps<Outcome | 'no-witness' | null> {
  if (run.journal.rotation?.refuted.includes('witness')) return 'no-witness';
  const tied: Kept = { ...file, rotation: rotation.id };
  const receipt = yield* deliver(run, tied, rotation.id);
  if (receipt.record === (rotation.oldRecord ?? (rotation.authority === 'password' ? null : reply.held?.id))) {
    // The file is of the old key: no witness of a change.
    yield* noteReceipt(run, file, receipt);
    return 'no-witness';
  }
  const { answer, key } = yield* askRecord(run, rotation, 'witness', receipt.record);
  if (answer === 'true' && key !== null) {
    yield* noteProof(run, file.envelope.id, null, 'true');
    yield* finish(run, rotation, withReceipt(tied, receipt, 'true'));
    yield* keepOnly(run, key, `item ${rotation.id}`, file.envelope.id);
    if (run.custody === 'server') yield* forgetOldItems(run, rotation.id, file.envelope.id);
    yield* removeOutput(run, rotation.id);
    return 'done';
  }
  yield* noteReceipt(run, tied, receipt);
  return answer === 'refuted' || answer === 'nobody' ? 'no-witness' : null;
}

/** R9: every living record is asked about before the key is called lost. */
function* askRecords(run: Run, reply: backend.Reply, rotation: OpenRotation): Steps<Outcome> {
  const records = known(reply);
  for (const record of records.filter((one) => one.id !== rotation.oldRecord)) {
    const { answer, key } = yield* askRecord(run, rotation, nameOf(run, rotation, record), record.id);
    if (answer === 'true' && key !== null) {
      yield* noteValid(run, reply, record.id, key);
      return yield* endUnchanged(run, rotation);
    }
    if (answer === 'nobody') return yield* endNotGiven(run, rotation);
    if (answer !== 'refuted') return yield* stayUnresolved(run);
  }
  if (hasUnaskedItem(run)) return yield* stayUnresolved(run);
  yield* removeOutput(run, rotation.id);
  yield* removeRefutedItems(run, run.journal.rotation?.refuted ?? []);
  const ids = new Set([...records.map((one) => one.id), ...(rotation.oldRecord ? [rotation.oldRecord] : [])]);
  yield* write(
    run,
    {
      rotation: null,
      exhausted: !run.rules.has('R9: exhausted is said'),
      doubts: [...ids].map((record) => ({ record, first: lookNow(run), refuted: true })),
      endings: [...run.journal.endings, { rotation: rotation.id, as: run.rules.has('R9: exhausted is said') ? 'not-changed' : 'exhausted' }],
    },
    'journal ended',
  );
  return 'not-changed';
}

function hasUnaskedItem(run: Run): boolean {
  const { refuted = [], oldItem = null } = run.journal.rotation ?? {};
  return !items(run).every((name) => name === oldItem || refuted.includes(name));
}

/** The backend gives no key for it; what lies in the keychain has its second look first. */
function* endNotGiven(run: Run, rotation: OpenRotation): Steps<Outcome> {
  if (hasUnaskedItem(run)) return yield* stayUnresolved(run);
  yield* removeRefutedItems(run, run.journal.rotation?.refuted ?? []);
  return yield* endNotKnown(run, rotation);
}

function nameOf(run: Run, rotation: OpenRotation, record: backend.Named): string {
  const { outbox, previous, escrowSeen } = run.journal;
  if (escrowSeen && record.envelopes.includes(escrowSeen.id)) return 'witness';
  return [...outbox, ...previous].some((one) => isKeyOf(rotation, one) && record.envelopes.includes(one.envelope.id)) ? 'new' : record.id;
}

function* endNotKnown(run: Run, rotation: OpenRotation): Steps<Outcome> {
  yield* removeOutput(run, rotation.id);
  const notKnown = run.rules.has('0017: not known is doubtful') ? null : rotation.id;
  yield* write(run, { rotation: null, notKnown, endings: [...run.journal.endings, { rotation: rotation.id, as: 'not-known' }] }, 'journal ended');
  return 'not-changed';
}
