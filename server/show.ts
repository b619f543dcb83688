import { Problem } from '../protocol/problems.ts';
import type { Backend } from './backend.ts';
import { broughtBeside } from './brought/disclose.ts';
import { isKnownMac } from './brought/serial.ts';
import { isBroughtSource, sourceNames } from './brought/sources.ts';
import { type CommandResult, when } from './command.ts';
import { whichMac } from './mac-commands.ts';
import { sayAnswer, sayOrigin } from './status-command.ts';
import { broughtFor } from './store/brought.ts';
import { macById } from './store/macs.ts';

interface Showing {
  mac: string;
  reason: string;
  actor: string;
  refused: readonly string[];
  /** The account of the person it is for: whose return ends the hold. */
  person?: string;
  volume?: string;
}

/** A Mac with two systems has two keys, and which one it started from last is not always the one that asks. */
async function otherVolumes(backend: Backend, macId: string, asked: string | undefined): Promise<string[]> {
  const { keys, volume: present } = await backend.custody.macReport(macId);
  const usable = keys.filter(({ state, verified }) => verified && (state === 'held' || state === 'candidate')).map(({ volume }) => volume);
  return [...new Set(usable)].filter((volume) => volume !== (asked?.toUpperCase() ?? present));
}

/**
 * Shows a recovery key at the server's own machine: a disclosure like any other, by a person with a reason, audited before
 * it is shown, and followed by a replacement. The only place of the backend where a key becomes text.
 */
export async function show(backend: Backend, options: Showing): Promise<CommandResult> {
  const { db } = backend.store;
  const serial = options.mac.trim().toUpperCase();
  // Whoever enrols with a serial number that is not proved could put a key of its own before the true one.
  if (options.volume === undefined && (await broughtBeside(db, serial)) === 'first') {
    const shown = await showBrought(backend, options, serial).catch((error: unknown) => {
      if (error instanceof Problem && error.code === 'KEY_UNKNOWN') return null;
      throw error;
    });
    if (shown) return shown;
  }
  try {
    return await showRecord(backend, options);
  } catch (error) {
    // No Mac of this name, or none of its keys: others may have brought one.
    const isNone = error instanceof Problem && (error.code === 'MAC_UNKNOWN' || error.code === 'KEY_UNKNOWN');
    if (!isNone || options.volume !== undefined) throw error;
    const named = error.code === 'MAC_UNKNOWN' ? serial : (await whichMac(backend, options.mac)).serial;
    if ((await broughtFor(db, named)).length === 0) throw error;
    return showBrought(backend, options, named);
  }
}

async function showBrought(backend: Backend, { actor, reason, refused }: Showing, serial: string): Promise<CommandResult> {
  const shown = await backend.custody.discloseBrought({ serial, actor, reason, refused });
  const madeAt = shown.madeAt === null ? null : when(shown.madeAt);
  const source = isBroughtSource(shown.source) ? sourceNames[shown.source] : shown.source;
  const key = shown.key.reveal();
  const warnings = [
    `this key came from ${source} on ${when(shown.broughtAt)}${madeAt === null ? '' : `, which says that it was made on ${madeAt}`}; it was never proved on the Mac`,
    shown.dueAt === null
      ? 'this was written into the audit; its replacement is owed once the Mac has said true to it'
      : `this was written into the audit; only the MDM can replace this key: have that done until ${when(shown.dueAt)}`,
    ...shown.claimers.map(
      (id) =>
        `a Mac that only claims this serial number (its enrolment is not confirmed, or not active) has keys of its own: they are shown for its id alone, ${id}`,
    ),
    ...(shown.others > 0 ? [`${shown.others} more key(s) were brought for it: if this one is refused, ask again with --refused ${shown.keyId}`] : []),
  ];
  const { keyId, others } = shown;
  return {
    json: {
      serial,
      macId: null,
      recordId: null,
      broughtKeyId: keyId,
      recoveryKey: key,
      source: shown.source,
      madeAt,
      provedAt: null,
      others,
      replaceUntil: shown.dueAt === null ? null : when(shown.dueAt),
      claimers: shown.claimers,
    },
    text: key,
    warnings,
  };
}

async function showRecord(backend: Backend, options: Showing): Promise<CommandResult> {
  const { custody } = backend;
  const { person, volume, actor, reason, refused } = options;
  const mac = await whichMac(backend, options.mac);
  const others = await otherVolumes(backend, mac.id, volume);
  const shown = await custody.disclose({ macId: mac.id, actor, reason, refused, ...(person ? { person } : {}), ...(volume ? { volume } : {}) });
  const { because, keys, task } = await custody.macReport(mac.id);
  const shownKey = keys.find((one) => one.recordId === shown.recordId);
  const row = await macById(backend.store.db, mac.id);
  const isClaimed = row !== undefined && !(await isKnownMac(backend.store.db, row));
  const isBroughtAside = !volume && (await broughtBeside(backend.store.db, mac.serial)) === 'after';
  const key = shown.key.reveal();
  const warnings = [
    'this was written into the audit; the key will be replaced when its person is back in, or when the hold has ended',
    ...(shownKey ? [`of this key${sayOrigin(shownKey)}: ${sayAnswer(shownKey)}`] : []),
    ...(task ? [`only the MDM can replace this key: have that done until ${task.dueAt} (task ${task.id})`] : []),
    ...(isClaimed ? ['this Mac only claims this serial number: its certificate does not prove it, and no enrolment of it is confirmed and active'] : []),
    ...(shown.rotationOpen ? ['this Mac is just replacing its key: if this one is refused, look again in a minute'] : []),
    ...(shown.custody === 'held' ? [] : [`custody is ${shown.custody}: ${because}`]),
    ...(shown.others > 0 ? [`there are ${shown.others} more key(s) for this Mac: if this one is refused, ask again with --refused ${shown.recordId}`] : []),
    ...(shown.others === 0 && isBroughtAside ? [`others brought another key for it: if this one is refused, ask again with --refused ${shown.recordId}`] : []),
    ...(others.length > 0 ? [`other volumes of this Mac have keys of their own; for one of them add --volume ${others.join(' or ')}`] : []),
  ];
  return {
    json: {
      serial: mac.serial,
      macId: mac.id,
      recordId: shown.recordId,
      recoveryKey: key,
      custody: shown.custody,
      provedAt: shownKey?.provedAt ?? null,
      lastAnswer: shownKey?.lastAnswer ?? null,
      rotationOpen: shown.rotationOpen,
      others: shown.others,
    },
    text: key,
    warnings,
  };
}
