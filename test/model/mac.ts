// macOS and the disk: what fdesetup, mdmclient, other people and a power cut do. Every function gives the state after it.
import { type Envelope, type Files, type Journal, type Key, type Mac, minute, type State, type Validation } from './state.ts';

const withMac = (s: State, change: Partial<Mac>): State => ({ ...s, mac: { ...s.mac, ...change } });

/** `durable: false`: the bytes are in the system's memory until somebody syncs them. */
function withFiles(s: State, change: (files: Files) => Files, durable = true): State {
  const { files, durable: onDisk } = s.mac;
  return withMac(s, { files: change(files), durable: durable ? change(onDisk) : onDisk });
}

/** Temp, fsync, rename, fsync of the folder: whole and durable, or not at all. */
export const writeJournal = (s: State, journal: Journal): State => withFiles(s, (files) => ({ ...files, journal }));
export const createOutput = (s: State, rotation: string): State => withFiles(s, (files) => ({ ...files, outputs: { ...files.outputs, [rotation]: null } }));
export const syncOutput = (s: State, rotation: string): State =>
  withMac(s, { durable: { ...s.mac.durable, outputs: { ...s.mac.durable.outputs, [rotation]: s.mac.files.outputs[rotation] ?? null } } });
export const removeOutput = (s: State, rotation: string): State =>
  withFiles(s, (files) => ({ ...files, outputs: Object.fromEntries(Object.entries(files.outputs).filter(([id]) => id !== rotation)) }));
export const writeItem = (s: State, name: string, key: Key): State => withFiles(s, (files) => ({ ...files, items: { ...files.items, [name]: key } }));
export const removeItem = (s: State, name: string): State =>
  withFiles(s, (files) => ({ ...files, items: Object.fromEntries(Object.entries(files.items).filter(([one]) => one !== name)) }));

/** macOS says whether a key opens the disk, and counts those that do not. */
export function validate(s: State, key: Key): readonly [State, Validation] {
  if (s.mac.silent) return [s, 'unknown'];
  if (s.mac.lies) return [withMac(s, { lies: false }), 'false'];
  if (key === s.mac.key) return [s, 'true'];
  return [withMac(s, { wrong: [...s.mac.wrong, s.now] }), 'false'];
}

// ——— fdesetup changerecovery: a process of its own, step by step

/** It checks its authority first; wrong, it ends with nothing changed. */
export function startChange(s: State, rotation: string, authority: Key): readonly [State, boolean] {
  if (authority !== s.mac.key) return [withMac(s, { wrong: [...s.mac.wrong, s.now] }), false];
  return [withMac(s, { change: { rotation, next: 'key', pausedUntil: 0 } }), true];
}

/** From here on the old key is dead. */
const makeKey = (s: State): State => withMac(s, { key: s.mac.keysMade, keysMade: s.mac.keysMade + 1 });
const tellMdmclient = (s: State): State => {
  const { payload, file } = s.configuration;
  if (payload === 'none' || file === 'never') return s;
  return settleFile(withMac(s, { fileDue: { key: s.mac.key, at: s.now + (file === 'late' ? 2 * minute : 0) } }));
};

/** mdmclient's file, when its time has come. macOS is taken to write it durably. */
function settleFile(s: State): State {
  const due = s.mac.fileDue;
  return due && due.at <= s.now ? putEscrowFile(withMac(s, { fileDue: null }), due.key, s.configuration.payload === 'ours') : s;
}

export function putEscrowFile(s: State, key: Key, ours: boolean): State {
  const file: Envelope = { id: `file-${s.made}`, key, source: 'escrow-file', ours, madeAt: s.now };
  return withFiles({ ...s, made: s.made + 1 }, (files) => ({ ...files, escrowFile: file }));
}

/** One step of the change that runs; its output is not durable until somebody syncs it. */
export function stepChange(s: State): State {
  const { change } = s.mac;
  if (!change) return s;
  if (change.next === 'key') return makeKey(withMac(s, { change: { ...change, next: 'file' } }));
  if (change.next === 'file') return tellMdmclient(withMac(s, { change: { ...change, next: 'output' } }));
  return withFiles(
    withMac(s, { change: null }),
    (files) => (change.rotation in files.outputs ? { ...files, outputs: { ...files.outputs, [change.rotation]: s.mac.key } } : files),
    false,
  );
}

// ——— what happens to the Mac

/** An MDM, another agent or a person makes a new key; whoever's payload it is, macOS seals it to that one. */
export function changeByOther(s: State, file: 'ours' | 'foreign' | 'none'): State {
  const key = s.mac.keysMade;
  // mdmclient has one key to seal: the newest.
  const made = withMac(s, { key, keysMade: key + 1, fileDue: null });
  return file === 'none' ? made : putEscrowFile(made, key, file === 'ours');
}

/** What was not synced is gone, unless it `survived`; mdmclient's word with it. A user unlocks the Mac again. */
export function cutPower(s: State, survived: boolean): State {
  const files = survived ? s.mac.files : s.mac.durable;
  return boot(withMac(s, { files, durable: files, change: null, fileDue: null }));
}
const boot = (s: State): State => withMac(s, { boot: s.mac.boot + 1, bootedAt: s.now, typingUntil: null });

export const loseJournal = (s: State, as: 'damaged' | null): State => withFiles(s, (files) => ({ ...files, journal: as }));
/** As many wrong keys as are safe in a day were tried already. */
export function spendBudget(s: State): State {
  const { journal } = s.mac.files;
  if (journal === null || journal === 'damaged') return s;
  const spent = [1, 2].map((one) => ({ id: -one, at: s.now, settled: true, unsure: false }));
  return writeJournal(s, { ...journal, refusals: spent });
}

/** Whatever takes its time at the Mac takes it. */
export function pass(s: State, seconds: number): State {
  let later: State = { ...s, now: s.now + seconds };
  while (later.mac.change && later.mac.change.pausedUntil <= later.now) later = stepChange(later);
  return settleFile(later);
}
