import type { Facts } from '../protocol/messages.ts';
import { lastFacts } from '../server/custody-state.ts';
import type { Mac } from '../server/store/macs.ts';
import { modelName } from './models.ts';

/** What a page needs of a Mac whose key is typed there. What the Mac has not said is null. */
export interface MacToType {
  macId: string;
  /** The last four signs, as *About This Mac* and the case show them. */
  serialEnd: string;
  name: string | null;
  /** “MacBook Pro”, where the identifier is known. */
  modelName: string | null;
  isAppleSilicon: boolean | null;
  macosVersion: string | null;
  keyboardLayout: string | null;
  /** Language of the Mac, such as `nl-NL`. */
  macLanguage: string | null;
}

const appleSilicon = (chip: string | undefined, model: string | undefined): boolean | null =>
  chip !== undefined ? chip.startsWith('Apple') : model !== undefined && /^Mac1[3-9],|^Mac[2-9]\d,/.test(model) ? true : null;

export function macToType(mac: Mac, facts: Facts | null = lastFacts(mac)): MacToType {
  return {
    macId: mac.id,
    serialEnd: mac.serial.slice(-4),
    name: facts?.name ?? null,
    modelName: modelName(facts?.model ?? null),
    isAppleSilicon: appleSilicon(facts?.chip, facts?.model),
    macosVersion: facts?.macosVersion ?? null,
    keyboardLayout: facts?.keyboardLayout ?? null,
    macLanguage: facts?.language ?? null,
  };
}
