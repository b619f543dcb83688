import type { Validation } from '../protocol/messages.ts';

export interface NewKey {
  /** `rotation`, `escrow-file`, `agent`; otherwise by whom it was brought. */
  source: string;
  /** The delivery names the Mac's open rotation. */
  ofOpenRotation: boolean;
  validated: Validation;
  /** Delivered by an enrolment of the Mac itself. */
  byTheMac: boolean;
  /** The volume has a held key. */
  anotherHeld: boolean;
}

export type NewKeyRule = 'K3' | 'K4' | 'K5' | 'K6';

/** K3 to K6, for a key that the volume does not have yet: the first that fits. K0 to K2 have been asked before. */
export function ruleForNewKey(key: NewKey): NewKeyRule {
  if (key.source === 'rotation' && key.ofOpenRotation) return key.validated === 'true' ? 'K3' : 'K4';
  if (key.byTheMac && (key.source === 'agent' || key.source === 'escrow-file') && !key.anotherHeld) return 'K5';
  return 'K6';
}

export const ruleWords: Record<NewKeyRule, string> = {
  K3: 'K3: the new key of a rotation, and macOS said true to it',
  K4: 'K4: the new key of a rotation, and macOS did not say true to it',
  K5: 'K5: the first key of this volume; a proof is due',
  K6: 'K6: another key than those that are here; a proof is due',
};
