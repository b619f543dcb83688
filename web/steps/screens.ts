/** Whether the Mac has Apple silicon, as it reported; `unknown` gets what is true of both. */
export type Chip = 'apple' | 'intel' | 'unknown';
/** Versions whose screens differ, or were described apart. Any other is `unknown`. */
export type Macos = '14' | '15' | '26' | 'unknown';

export const macosOf = (version: string | null): Macos => {
  const [major = ''] = (version ?? '').split('.');
  return major === '14' || major === '15' || major === '26' ? major : 'unknown';
};
export const chipOf = (isAppleSilicon: boolean | null): Chip => (isAppleSilicon === null ? 'unknown' : isAppleSilicon ? 'apple' : 'intel');

export interface Screen {
  /** The same for everybody, whatever is left out: the service desk says “picture 3” too. Never used again for another. */
  number: number;
  /** `key`: the recovery key is for it. `wrong-lock`: another secret is. `try-first`: something to do before anybody is called. */
  leads: 'key' | 'wrong-lock' | 'try-first';
  /** Chips that can show it; an unknown chip may show any. */
  chips: readonly Chip[];
}

const both = ['apple', 'intel', 'unknown'] as const;

const screens = {
  'password-field': { number: 1, leads: 'key', chips: both },
  'reset-options': { number: 2, leads: 'key', chips: ['apple', 'unknown'] },
  'key-field': { number: 3, leads: 'key', chips: both },
  'login-window': { number: 4, leads: 'key', chips: both },
  'lock-screen': { number: 5, leads: 'key', chips: both },
  pin: { number: 6, leads: 'wrong-lock', chips: both },
  'activation-lock': { number: 7, leads: 'wrong-lock', chips: both },
  'recovery-lock': { number: 8, leads: 'wrong-lock', chips: ['apple', 'unknown'] },
  firmware: { number: 9, leads: 'wrong-lock', chips: ['intel', 'unknown'] },
  globe: { number: 10, leads: 'try-first', chips: both },
  folder: { number: 11, leads: 'try-first', chips: both },
  other: { number: 12, leads: 'try-first', chips: both },
} as const satisfies Record<string, Screen>;
export type ScreenId = keyof typeof screens;

export const screenIds = Object.keys(screens) as readonly ScreenId[];
export const screenOf = (id: ScreenId): Screen => screens[id];
export const isScreen = (text: string): text is ScreenId => Object.hasOwn(screens, text);

/** In the order of their numbers, those that a Mac with this chip can show. */
export const screensOf = (chip: Chip): readonly ScreenId[] => screenIds.filter((id) => screenOf(id).chips.includes(chip));
