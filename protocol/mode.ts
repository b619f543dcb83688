import type { Facts } from './messages.ts';

/*
 * How a Mac lives beside an MDM that escrows too: two settings and what was found decide it. The Mac says it of itself, and
 * the backend of each Mac, in the same words.
 */

/**
 * M0 observe · M1 our payload, we replace · M2 the MDM's payload, we replace · M3 the MDM's payload, it replaces · M4 our payload,
 * the MDM replaces, and macOS seals to us. M5 has no agent, so none says it.
 */
export type Mode = 'M0' | 'M1' | 'M2' | 'M3' | 'M4';
type ModeFacts = Pick<Facts, 'rotator' | 'escrowOwner' | 'escrow' | 'settings'>;

/** Whose Mac it is to rotate: exactly one escrow payload, as the settings say, and the last escrow file sealed to it. */
export function notOurs(facts: ModeFacts): string | null {
  const { payload, file } = facts.escrow;
  if (facts.rotator === 'mdm') return 'the settings say that the MDM replaces the keys';
  if (!facts.settings.managed) return 'the settings are not managed any more';
  if (payload === 'several') return 'there is more than one escrow payload';
  if (payload === 'unknown') return 'it is not known whose escrow payload is installed';
  if (payload === 'none') return 'no escrow payload is installed, so new keys would go nowhere';
  if (payload === 'foreign')
    return facts.escrowOwner === 'mdm' ? (file?.ours ? 'the last escrow file is not sealed for the MDM' : null) : 'the escrow payload is somebody else’s';
  if (facts.escrowOwner === 'mdm') return 'the settings say that the MDM owns escrow, and the payload is ours';
  if (file && !file.ours) return 'the last escrow file is sealed for somebody else';
  return null;
}

/** Whatever is in doubt is M0: observing harms nobody. */
export function modeOf({ rotator, escrowOwner, escrow }: Pick<ModeFacts, 'rotator' | 'escrowOwner' | 'escrow'>): Mode {
  if (escrow.payload === 'ours') return escrowOwner === 'mdm' ? 'M0' : rotator === 'mdm' ? 'M4' : 'M1';
  if (escrow.payload !== 'foreign' || escrowOwner === 'sparekey') return 'M0';
  if (rotator === 'mdm') return 'M3';
  return escrowOwner === 'mdm' ? 'M2' : 'M0';
}

const foundWords: Record<Facts['escrow']['payload'], string> = {
  ours: 'the escrow payload is Sparekey’s',
  foreign: 'the escrow payload is somebody else’s',
  none: 'there is no escrow payload',
  several: 'there is more than one escrow payload',
  unknown: 'it is not known whose escrow payload is installed',
};

/** One sentence: the mode, what was found, what the settings chose, and what follows. */
export function sayMode(facts: ModeFacts): string {
  const chosen = `escrowOwner is ${facts.escrowOwner}, rotator is ${facts.rotator}`;
  const why = notOurs(facts);
  const follows = why === null ? 'replaced here when they are owed' : `observed and not replaced here, because ${why}`;
  return `${modeOf(facts)}: ${foundWords[facts.escrow.payload]}; ${chosen}; so keys are ${follows}`;
}
