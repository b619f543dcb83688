/** What became of an event, and why: a closed list, and the log has one for each event that comes. */
type Fate = 'taken' | 'repeated' | 'ignored' | 'dropped';

const reasons = {
  // ——— taken
  heard: 'taken',
  enrolled: 'taken',
  'checked-out': 'taken',
  'serial-told': 'taken',
  'no-key': 'taken',
  'same-envelope': 'taken',
  'same-key': 'taken',
  'older-key': 'taken',
  'sealed-to-somebody-else': 'taken',
  'key-waiting': 'taken',
  'key-aside': 'taken',
  'key-offered': 'taken',
  'key-known': 'taken',
  'key-refused': 'taken',
  'key-replaced': 'taken',
  'no-key-returned': 'taken',
  'not-now': 'taken',
  'command-failed': 'taken',
  // ——— the same again
  'seen-before': 'repeated',
  'answered-before': 'repeated',
  // ——— passed over
  'unknown-topic': 'ignored',
  'unknown-status': 'ignored',
  'nothing-for-us': 'ignored',
  'no-device': 'ignored',
  'of-a-user': 'ignored',
  'not-base64': 'ignored',
  'not-a-property-list': 'ignored',
  'another-device': 'ignored',
  'another-command': 'ignored',
  'out-of-order': 'ignored',
  'not-our-command': 'ignored',
  'rotated-by-others': 'ignored',
  'serial-unknown': 'ignored',
  'not-an-envelope': 'ignored',
  'block-seen-before': 'ignored',
  'of-another-mac': 'ignored',
  unreadable: 'ignored',
  'too-many-unreadable': 'ignored',
  // ——— not even looked at
  secret: 'dropped',
} as const satisfies Record<string, Fate>;
export type Because = keyof typeof reasons;

export interface Taken {
  fate: Fate;
  because: Because;
}
export const taken = (because: Because): Taken => ({ fate: reasons[because], because });
