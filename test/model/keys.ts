// One key at a time: the keychain's items, and what macOS says of the keys of an open rotation (K8).
import * as backend from './backend.ts';
import * as mac from './mac.ts';
import { ask, effect, isSecond, known, lookNow, mayTryNow, nextId, noteProof, Offline, type Run, type Steps, tryKey, write } from './run.ts';
import type { Key, OpenRotation, Purpose } from './state.ts';

// ——— items

/** In the order of their writing. The keychain keeps none, so drive.ts gives the product this one. */
export const items = (run: Run): readonly string[] => Object.keys(run.world.state.mac.files.items);
export const itemKey = (run: Run, name: string): Key | undefined => run.world.state.mac.files.items[name];

/** Write-once: what stood under the name is of a dead key, and goes first. */
export function* putItem(run: Run, name: string, key: Key): Steps<void> {
  const before = itemKey(run, name);
  if (before === key) return;
  if (before !== undefined) yield* effect(run, 'item remove', (s) => mac.removeItem(s, name));
  yield* effect(run, 'item write', (s) => mac.writeItem(s, name, key));
}

/** The key has just answered `true`: with custody `keychain` its item is the only one from now on. */
export function* keepOnly(run: Run, key: Key, name: string, envelope: string): Steps<void> {
  if (run.custody !== 'keychain') return;
  yield* putItem(run, name, key);
  yield* keepOnlyItem(run, name, envelope);
}
function* keepOnlyItem(run: Run, name: string, envelope: string): Steps<void> {
  const { keptItem } = run.journal;
  if (keptItem?.name !== name || keptItem.envelope !== envelope) yield* write(run, { keptItem: { name, envelope } }, 'journal kept-item');
  yield* removeItems(run, (one) => one !== name);
}
function* removeItems(run: Run, which: (name: string) => boolean): Steps<void> {
  for (const name of items(run).filter(which)) yield* effect(run, 'item remove', (s) => mac.removeItem(s, name));
}
/** Step 15. */
export function* forgetOldItems(run: Run, rotation: string, envelope: string): Steps<void> {
  const name = `item ${rotation}`;
  if (run.custody === 'keychain') {
    if (itemKey(run, name) !== undefined) yield* keepOnlyItem(run, name, envelope);
    return;
  }
  yield* removeItems(run, () => true);
  if (run.journal.keptItem) yield* write(run, { keptItem: null }, 'journal kept-item');
}
export function* removeRefutedItems(run: Run, refuted: readonly string[]): Steps<void> {
  const gone = refuted.filter((name) => name.startsWith('item '));
  yield* removeItems(run, (name) => gone.includes(name));
  if (gone.includes(run.journal.keptItem?.name ?? '')) yield* write(run, { keptItem: null }, 'journal kept-item');
}

/** An item that no finished rotation accounts for. Where the kept key answers `true`, the others are dead. */
export function* hasStrayItem(run: Run): Steps<boolean> {
  if (run.custody !== 'keychain') return false;
  const all = items(run);
  const { keptItem, current } = run.journal;
  const isEarlier = isOfEarlierKey(run);
  if (all.length === 0 || (all.every((name) => name === keptItem?.name) && !isEarlier)) return false;
  const kept = itemToKeep(run);
  const key = kept ? itemKey(run, kept.name) : undefined;
  if (key === undefined || !kept || !run.settled) return run.settled;
  const answer = yield* tryKey(run, key);
  const isDead = isEarlier && kept.name === keptItem?.name;
  if (answer === 'true') yield* keepOnlyItem(run, kept.name, isDead && current ? current.envelope.id : kept.envelope);
  if (answer === 'false' && isDead && all.length === 1) {
    yield* effect(run, 'item remove', (s) => mac.removeItem(s, kept.name));
    yield* write(run, { keptItem: null }, 'journal kept-item');
    return false;
  }
  return answer === 'false';
}
/** The kept item is of the key before the one that the last rotation made. */
function isOfEarlierKey(run: Run): boolean {
  const { keptItem, current } = run.journal;
  if (!keptItem || !current?.held || current.validated !== 'true' || current.rotation === null) return false;
  return keptItem.envelope !== current.envelope.id && keptItem.name !== `item ${current.rotation}`;
}
/** The journal's; but where step 14 was the last, that rotation's item is there, and the journal does not point to it yet. */
function itemToKeep(run: Run): { name: string; envelope: string } | null {
  const { keptItem, current } = run.journal;
  const done = current?.held && current.validated === 'true' ? current.rotation : null;
  const ofCurrent = current && done ? { name: `item ${done}`, envelope: current.envelope.id } : null;
  return [ofCurrent, keptItem].find((one) => one && itemKey(run, one.name) !== undefined) ?? null;
}

// ——— answers

export type Answered = 'true' | 'unknown' | 'false' | 'refuted' | 'nobody';
const openOne = (run: Run, otherwise: OpenRotation): OpenRotation => run.journal.rotation ?? otherwise;

/** `false` counts only in a settled session, and refutes only the second time. */
export function* askKey(run: Run, rotation: OpenRotation, name: string, key: Key): Steps<Answered> {
  const before = openOne(run, rotation);
  if (before.refuted.includes(name)) return 'refuted';
  const first = before.looks[name];
  if (first && !isSecond(run, first)) return 'false';
  const answer = yield* tryKey(run, key);
  if (answer === 'true') return 'true';
  const open = run.journal.rotation;
  if (answer !== 'false' || !run.settled || !open) return first ? 'false' : 'unknown';
  if (first || run.rules.has('K8: one false refutes nothing')) {
    yield* write(run, { rotation: { ...open, refuted: [...open.refuted, name] } }, 'journal look');
    return 'refuted';
  }
  yield* write(run, { rotation: { ...open, looks: { ...open.looks, [name]: lookNow(run) } } }, 'journal look');
  return 'false';
}

export function* askGrant(run: Run, it: { purpose: Purpose; forId: string; record: string }): Steps<Key> {
  return yield* ask(run, 'grant', (s) => backend.grant(s, { ...it, enrolment: run.enrolment }));
}

/** The key of a record, given for this rotation. `nobody`: it is not given, now or later. */
export function* askRecord(run: Run, rotation: OpenRotation, name: string, record: string): Steps<{ answer: Answered; key: Key | null }> {
  const open = openOne(run, rotation);
  if (open.refuted.includes(name)) return { answer: 'refuted', key: null };
  const isOurs = open.enrolment === null || open.enrolment === run.enrolment;
  if (run.reply?.rotation !== open.id || !isOurs) return { answer: 'nobody', key: null };
  const first = open.looks[name];
  const notNow: { answer: Answered; key: null } = { answer: first ? 'false' : 'unknown', key: null };
  if (!mayTryNow(run) || (first && !isSecond(run, first))) return notNow;
  let key: Key;
  try {
    key = yield* askGrant(run, { purpose: 'resolve', forId: open.id, record });
  } catch (cause) {
    if (cause instanceof Offline) return notNow;
    if (!(cause instanceof backend.Refused)) throw cause;
    return cause.code === 'GRANT_REFUSED' && open.enrolment === null ? { answer: 'nobody', key: null } : notNow;
  }
  return { answer: yield* askKey(run, open, name, key), key };
}

/** macOS said `true` to a known key: the backend hears of it, and with custody `keychain` it is kept. */
export function* noteValid(run: Run, reply: backend.Reply, record: string, key: Key): Steps<void> {
  yield* noteAccepted(run, record);
  const named = known(reply).find((one) => one.id === record)?.envelopes ?? [];
  const envelope = named.find((one) => one === run.journal.current?.envelope.id) ?? named[0];
  if (envelope === undefined) return;
  yield* noteProof(run, envelope, null, 'true');
  yield* keepOnly(run, key, `item ${envelope}`, envelope);
}

export function* askOldKey(run: Run, reply: backend.Reply, rotation: OpenRotation): Steps<Answered> {
  if (openOne(run, rotation).refuted.includes('old')) return 'refuted';
  const kept = rotation.oldItem === null ? undefined : itemKey(run, rotation.oldItem);
  if (kept !== undefined) {
    const answer = yield* askKey(run, rotation, 'old', kept);
    if (answer === 'true' && rotation.oldRecord) yield* noteValid(run, reply, rotation.oldRecord, kept);
    return answer;
  }
  const record = rotation.oldRecord ?? reply.held?.id;
  if (!record) return 'unknown';
  const { answer, key } = yield* askRecord(run, rotation, 'old', record);
  if (answer === 'true' && key !== null) yield* noteValid(run, reply, record, key);
  return answer;
}

export function* askNewKey(run: Run, rotation: OpenRotation, record: string): Steps<Answered> {
  const output = run.world.state.mac.files.outputs[rotation.id];
  if (output != null) return yield* askKey(run, rotation, 'new', output);
  const item = run.custody === 'keychain' ? itemKey(run, `item ${rotation.id}`) : undefined;
  if (item !== undefined) return yield* askKey(run, rotation, 'new', item);
  return (yield* askRecord(run, rotation, 'new', record)).answer;
}

// ——— without a rotation: R13

export function* noteAccepted(run: Run, record: string): Steps<void> {
  const { doubts } = run.journal;
  if (doubts.some((one) => one.record === record)) yield* write(run, { doubts: doubts.filter((one) => one.record !== record) }, 'journal look');
}
export function* noteRefused(run: Run, record: string): Steps<void> {
  if (!run.settled) return;
  const { doubts } = run.journal;
  const before = doubts.find((one) => one.record === record);
  if (before && (before.refuted || !isSecond(run, before.first))) return;
  const doubt = before ? { ...before, refuted: true } : { record, first: lookNow(run), refuted: false };
  yield* write(run, { doubts: [...doubts.filter((one) => one !== before), doubt] }, 'journal look');
}
export const isRefuted = (run: Run, record: string): boolean => run.journal.doubts.some((one) => one.record === record && one.refuted);

/** R9 without a rotation: each living record is refuted, and the key that this Mac keeps is one of them. */
export function* noteExhausted(run: Run, reply: backend.Reply): Steps<void> {
  const { journal } = run;
  const records = known(reply);
  if (journal.rotation || journal.outbox.length > 0 || records.length === 0) return;
  const itemIsKnown = journal.keptItem === null || records.some((one) => one.envelopes.includes(journal.keptItem?.envelope ?? ''));
  const exhausted = itemIsKnown && records.every((one) => isRefuted(run, one.id));
  if (exhausted !== journal.exhausted) yield* write(run, { exhausted }, 'journal exhausted');
}

export const freshRotationId = (run: Run): string => `rotation-${nextId(run)}`;
