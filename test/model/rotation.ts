// The order of writes: replaces a key without losing it. The numbers are the protocol's.
import * as backend from './backend.ts';
import { countForeignChange, isCounted, keep, withCurrent } from './journal.ts';
import { forgetOldItems, freshRotationId, isRefuted, itemKey, items, noteAccepted, noteRefused, putItem, removeRefutedItems } from './keys.ts';
import * as mac from './mac.ts';
import {
  ask,
  asOfOld,
  deliver,
  effect,
  giveBack,
  isSecond,
  known,
  lookNow,
  noteProof,
  Offline,
  type Run,
  reckoned,
  type Steps,
  sealed,
  spendTry,
  tryKey,
  write,
} from './run.ts';
import type { Authority, Kept, Key, OpenRotation, State, Validation } from './state.ts';

export type Outcome = 'done' | 'not-changed' | 'later' | 'nothing';
const outputOf = (run: Run, rotation: string): Key | null => run.world.state.mac.files.outputs[rotation] ?? null;

interface Chosen {
  by: Authority;
  key: Key | null;
  item: string | null;
  record: string | null;
}

/** Gate 6: a key in the keychain that answers `true`; else a grant for the likeliest record. */
function* chooseAuthority(run: Run, reply: backend.Reply): Steps<Chosen | null> {
  const { configuration } = run.world.state;
  if (configuration.authority === 'password') return { by: 'password', key: null, item: null, record: reply.held?.id ?? null };
  if (run.custody === 'keychain') {
    const kept = run.journal.keptItem?.name;
    for (const name of [...items(run).filter((one) => one === kept), ...items(run).filter((one) => one !== kept)].slice(0, 2)) {
      const key = itemKey(run, name);
      const doubt = run.journal.doubts.find((one) => one.record === name);
      if (key === undefined || (doubt && !isSecond(run, doubt.first))) continue;
      const answer = yield* tryKey(run, key);
      if (answer === 'true') {
        yield* noteAccepted(run, name);
        const record =
          run.journal.keptItem?.name === name ? known(reply).find((one) => one.envelopes.includes(run.journal.keptItem?.envelope ?? '')) : undefined;
        return { by: 'keychain', key, item: name, record: record?.id ?? null };
      }
      if (answer === 'false') yield* noteRefused(run, name);
      if (isRefuted(run, name)) yield* removeRefutedItems(run, [name]);
    }
  }
  const newest = run.journal.escrowSeen?.id;
  const records = known(reply).filter((one) => !isRefuted(run, one.id));
  const record = records.find((one) => newest !== undefined && one.envelopes.includes(newest)) ?? records[0];
  return record ? { by: 'grant', key: null, item: null, record: record.id } : null;
}

export function* rotate(run: Run, reply: backend.Reply, because: string): Steps<Outcome> {
  const authority = yield* chooseAuthority(run, reply);
  if (!authority) return 'nothing';
  const rotation: OpenRotation = {
    id: freshRotationId(run),
    because,
    state: 'intended',
    boot: run.boot,
    authority: authority.by,
    oldItem: authority.item,
    oldRecord: authority.record,
    enrolment: run.enrolment,
    fileBefore: run.journal.escrowSeen?.id ?? null,
    changingAt: null,
    looks: {},
    refuted: [],
    refusedIsDelivered: false,
  };
  const { id } = rotation;
  if (!run.rules.has('1: the intent is journaled')) yield* write(run, { rotation }, 'journal intended'); // 1
  let old: Key | null = authority.key;
  try {
    if (!run.rules.has('2: begin is asked')) {
      const grantFor = authority.by === 'grant' ? (authority.record ?? '') : null;
      const begin = (s: State): readonly [State['server'], Key | null] => [
        backend.begin(s, { id, enrolment: run.enrolment, grantFor }),
        s.server.records.find((one) => one.id === grantFor)?.key ?? null,
      ];
      old = (yield* ask(run, 'begin', begin)) ?? old; // 2
    }
  } catch (cause) {
    if (cause instanceof backend.Refused || cause instanceof Offline) return yield* endUnchanged(run, rotation);
    throw cause;
  }
  if (authority.by === 'password') old = run.world.state.mac.key;
  else {
    if (old === null) return yield* endUnchanged(run, rotation);
    const valid = run.rules.has('3: the old key answers true first') ? 'true' : yield* tryKey(run, old); // 3
    if (valid !== 'true') {
      if (valid === 'false') yield* noteOldRefused(run, reply, rotation.oldRecord);
      return yield* endUnchanged(run, rotation);
    }
  }
  if (old === null) return yield* endUnchanged(run, rotation);
  const begun = run.custody === 'keychain' && authority.by === 'grant' ? { ...rotation, oldItem: `item before-${id}` } : rotation;
  if (begun.oldItem !== rotation.oldItem) {
    const name = begun.oldItem ?? '';
    const kept = old;
    yield* effect(run, 'item write', (s) => mac.writeItem(s, name, kept)); // 4
    yield* write(run, { rotation: begun }, 'journal old-item');
  }
  return yield* change(run, begun, old);
}

function* change(run: Run, rotation: OpenRotation, old: Key): Steps<Outcome> {
  const { id } = rotation;
  yield* effect(run, 'create out', (s) => mac.createOutput(s, id)); // 5
  const changing: OpenRotation = { ...rotation, state: 'changing', changingAt: run.world.state.now };
  const tried = yield* spendTry(
    run,
    { ...(run.rules.has('1: the intent is journaled') ? {} : { rotation: changing, ownFileDue: true }), changes: [...run.journal.changes, reckoned(run)] },
    'journal changing',
  ); // 6
  yield 'change';
  const [started, fits] = mac.startChange(run.world.state, id, old); // 7
  run.world.state = started;
  for (const step of ['mac key', 'mac file', 'mac output']) if (run.world.state.mac.change) yield* effect(run, step, mac.stepChange);
  if (!run.rules.has('8: the output is synced')) yield* effect(run, 'sync out', (s) => mac.syncOutput(s, id)); // 8
  const output = outputOf(run, id);
  if (run.rules.has('12: the output stays until the key is sealed')) yield* removeOutput(run, id);
  if (output === null) {
    if (fits) {
      yield* noteFailure(run);
      return 'later';
    }
    if ((yield* tryKey(run, old)) !== 'true') {
      yield* noteFailure(run);
      return 'later';
    }
    return yield* endUnchanged(run, changing);
  }
  yield* write(run, giveBack(run.journal, tried), 'journal true');
  return yield* keepNewKey(run, changing, output);
}

/** What gives no key is not tried again at once. */
const noteFailure = (run: Run): Steps<void> => write(run, { failed: { at: reckoned(run), times: (run.journal.failed?.times ?? 0) + 1 } }, 'journal failed');

/** R1: nothing was changed; the backend hears of it at the next check-in. */
export function* endUnchanged(run: Run, rotation: OpenRotation): Steps<Outcome> {
  yield* removeOutput(run, rotation.id);
  if (run.custody === 'keychain' && rotation.authority === 'grant') {
    const name = `item before-${rotation.id}`;
    if (itemKey(run, name) !== undefined) yield* effect(run, 'item remove', (s) => mac.removeItem(s, name));
  }
  yield* removeRefutedItems(run, run.journal.rotation?.refuted ?? []);
  const isIts = (one: Kept): boolean => one.rotation === rotation.id && one.envelope.source === 'rotation';
  const { outbox, previous, endings } = run.journal;
  yield* write(
    run,
    {
      rotation: null,
      outbox: outbox.filter((one) => !isIts(one)),
      previous: [...previous, ...outbox.filter(isIts)],
      ownFileDue: false,
      endings: [...endings, { rotation: rotation.id, as: 'not-changed' }],
    },
    'journal ended',
  );
  return 'not-changed';
}

export function* removeOutput(run: Run, rotation: string): Steps<void> {
  if (rotation in run.world.state.mac.files.outputs) yield* effect(run, 'remove out', (s) => mac.removeOutput(s, rotation));
}

/** Step 3, R13: the backend hears that its key was refused. */
function* noteOldRefused(run: Run, reply: backend.Reply, id: string | null): Steps<void> {
  const record = known(reply).find((one) => one.id === id);
  const envelope = record?.envelopes[0];
  if (!record || envelope === undefined) return;
  yield* noteProof(run, envelope, null, 'false');
  yield* noteRefused(run, record.id);
  if (record.id === reply.held?.id) yield* noteForeignChange(run, record.id);
}

/** C2: the held key is refuted and no rotation of ours is open: somebody else changed it. */
export function* noteForeignChange(run: Run, record: string): Steps<void> {
  const { rotation, previous, notKnown } = run.journal;
  if (notKnown !== null || previous.some((one) => one.record === record)) return;
  if (!isRefuted(run, record) || (rotation && rotation.state !== 'intended') || isCounted(run.journal)) return;
  yield* write(run, { ...countForeignChange(run.journal, reckoned(run)), refusalFile: 'awaited' }, 'journal foreign');
}

/** Steps 9 to 15, from the moment at which the new key is in our hands; also R2 and R3. */
export function* keepNewKey(run: Run, rotation: OpenRotation, key: Key, told?: Validation): Steps<Outcome> {
  const name = `item ${rotation.id}`;
  if (run.custody === 'keychain') {
    if (told === 'true') yield* putItem(run, name, key);
    else if (itemKey(run, name) === undefined) yield* effect(run, 'item write', (s) => mac.writeItem(s, name, key)); // 9
  }
  const now = (): number => run.world.state.now;
  const first = keep(sealed(run, key), { validated: told ?? 'unknown', rotation: rotation.id, answered: told === 'true' ? now() : null });
  const outboxWith = (one: Kept): readonly Kept[] => [
    ...run.journal.outbox.filter((other) => other.rotation !== rotation.id || other.envelope.source !== 'rotation'),
    one,
  ];
  const isSealed: OpenRotation = { ...rotation, state: 'sealed' };
  yield* write(run, { rotation: isSealed, outbox: outboxWith(first) }, 'journal sealed'); // 10
  const asked = told ?? (yield* tryKey(run, key)); // 11
  const answer: Validation = asked === 'no-budget' ? 'unknown' : asked;
  const checked: Kept = { ...first, validated: answer, answered: answer === 'true' ? now() : null };
  if (answer !== first.validated) {
    const looks = answer === 'false' && run.settled ? { ...rotation.looks, new: lookNow(run) } : rotation.looks;
    yield* write(run, { outbox: outboxWith(checked), rotation: { ...isSealed, looks } }, 'journal placed');
  }
  const onMac = run.custody === 'keychain' && itemKey(run, name) === key;
  const isSafe = onMac || (answer === 'true' && run.world.state.configuration.payload === 'ours');
  if (isSafe) yield* removeOutput(run, rotation.id); // 12
  return yield* deliverNewKey(run, run.journal.rotation ?? isSealed, checked); // 13
}

export const withReceipt = (kept: Kept, receipt: backend.Receipt, validated: Validation = kept.validated): Kept => ({
  ...kept,
  validated,
  record: receipt.record,
  held: receipt.state === 'held',
});

/** Steps 13 to 15. */
export function* deliverNewKey(run: Run, rotation: OpenRotation, kept: Kept, isOld = false): Steps<Outcome> {
  const receipt = yield* deliver(run, isOld ? asOfOld(kept) : kept, rotation.id);
  const delivered = withReceipt(kept, receipt);
  if (receipt.state === 'held' && kept.validated === 'true') {
    yield* finish(run, rotation, delivered);
    yield* forgetOldItems(run, rotation.id, delivered.envelope.id);
    yield* removeOutput(run, rotation.id);
    return 'done';
  }
  const isTold = kept.record !== null && !run.journal.proofs.some((one) => one.envelope === kept.envelope.id);
  if (kept.validated === 'true' && isTold) return yield* concludeUnproved(run, rotation, delivered);
  if (kept.validated === 'true') yield* noteProof(run, kept.envelope.id, null, 'true', kept.answered ?? undefined);
  const outbox = [...run.journal.outbox.filter((one) => one.envelope.id !== kept.envelope.id), delivered];
  yield* write(run, { rotation, outbox }, 'journal placed');
  return 'later';
}

/** Nothing more can be found out by this rotation; the backend's proofs decide. */
export function* concludeUnproved(run: Run, rotation: OpenRotation, kept: Kept): Steps<Outcome> {
  const endings = [...run.journal.endings, { rotation: rotation.id, as: 'not-known' as const }];
  yield* write(run, { ...withCurrent(run.journal, kept), rotation: null, endings }, 'journal ended');
  return 'not-changed';
}

/** Step 14: one write. */
export function* finish(run: Run, _rotation: OpenRotation, kept: Kept): Steps<void> {
  const forgetful = run.rules.has('the envelope stays after its receipt');
  yield* write(
    run,
    {
      ...(forgetful ? { current: null, previous: [], outbox: [] } : withCurrent(run.journal, kept)),
      rotation: null,
      doubts: [],
      failed: null,
      exhausted: false,
    },
    'journal ended',
  );
}
