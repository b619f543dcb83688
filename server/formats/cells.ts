import { RecoveryKey } from '../../protocol/recovery-key.ts';
import { type ExportEntry, type RawEntry, type Trouble, troubled } from './entry.ts';
import { sealedOf } from './envelopes.ts';

/**
 * How `0`, `1`, `I` and `S` in a key are read. Keys that macOS makes today have none of them, older ones may. What a machine
 * exported is as it says; where people typed, a 0 may be an O.
 */
export type Signs = 'as-written' | 'as-today' | 'ask';

const fault = (because: string, fate: Trouble['fate'] = 'refused'): Trouble => ({ fate, because });

/** A spreadsheet's protection against its own cleverness: `'text` and `="text"` are the text. */
const unprotected = (cell: string): string => {
  const text = cell.trim();
  const whole = /^="([^"]*)"$/.exec(text);
  return (whole?.[1] ?? text.replace(/^'/, '')).trim();
};

const looksLikeKey = (text: string): boolean => RecoveryKey.normalise(text) !== null || RecoveryKey.findIn(text.toUpperCase()) !== null;

/** In capitals, as Macs say it. */
export function readSerial(cell: string): string | Trouble {
  const text = unprotected(cell).toUpperCase();
  if (text === '') return fault('the serial number is missing');
  if (looksLikeKey(text)) return fault('a recovery key is where the serial number should be: look at the columns');
  if (/^\d(?:[.,]\d+)?E\+\d+$/.test(text)) return fault('a spreadsheet has made a figure of the serial number: export it as text');
  if (/^[=+@-]/.test(text)) return fault('where the serial number should be is a formula');
  // Apple’s have 10 to 12 letters and digits; those of virtual machines are longer.
  return /^[A-Z0-9][A-Z0-9-]{5,63}$/.test(text) ? text : fault('that is no serial number');
}

const noKey = /^(?:|-+|–|—|n\/?a|none|null|nil|no|no key|not (?:available|escrowed|set)|unavailable|undefined|false|\(?(?:empty|none)\)?)$/i;
/** With words, or another key, around it; what touches it otherwise may be a sign too many. */
const anyKey = /(?<![^\s:;,|/("'[])[A-Z0-9]{4}(?:-[A-Z0-9]{4}){5}(?![^\s:;,|/.)"'\]])/g;
const notToday = /[01IS]/;

export type ReadKey = { key: RecoveryKey; note: string | null } | { sealed: Buffer } | Trouble;

/** What is certain is put right: case, spaces, dashes, protection. What is not is told, and not guessed. */
export function readKey(cell: string, signs: Signs): ReadKey {
  const text = unprotected(cell);
  if (noKey.test(text)) return fault('no key is there for this Mac', 'no-key');
  if (text.includes('\0')) return fault('a zero byte is in the key');
  if (/^[=+@]/.test(text)) return fault('where the key should be is a formula');
  const several = new Set(text.toUpperCase().match(anyKey));
  if (several.size > 1) return fault(`${several.size} keys are in one cell, and it is not said which is the newest: give each a line with its date`);
  const [only] = several;
  const sealed = only === undefined ? sealedOf(text) : null;
  if (sealed !== null) return 'because' in sealed ? sealed : { sealed: sealed.bytes };
  // A key with text around it, such as `Recovery key: …`, or the same one twice.
  return certain(only ?? text, signs);
}

function certain(text: string, signs: Signs): ReadKey {
  if (/[*•●]/.test(text)) return fault('the key is masked in this export: export it with the keys shown');
  // Fernet, as Crypt-Server keeps its secrets.
  if (/^gAAAA[\w-]{40,}=*$/.test(text)) return fault('it is still encrypted by the program that kept it: have that program export it in plain');
  const plain = signs === 'as-today' ? asToday(text) : text;
  const key = RecoveryKey.normalise(plain);
  if (!key) {
    const length = text.toUpperCase().replace(/[^A-Z0-9]/g, '').length;
    return fault(
      length === 24 ? 'that is no recovery key: it has signs that no key has' : `that is no recovery key: ${length} letters and digits instead of 24`,
    );
  }
  if (plain !== text && plain !== text.toUpperCase()) return { key, note: '0 was read as O, and S as 5, as you said' };
  // The key itself is not looked at again: what was typed is.
  if (!notToday.test(plain.toUpperCase())) return { key, note: null };
  const why = 'its key has a 0, 1, I or S, which keys that macOS makes today do not have';
  if (signs === 'ask') return fault(`${why}: look at where it came from, and say --signs as-written or --signs as-today (0 is O, S is 5)`, 'unsure');
  if (signs === 'as-today') return fault(`${why}: a 1 or I cannot be read as another sign for certain`, 'unsure');
  return { key, note: `${why}: taken as it is written` };
}

const asToday = (text: string): string => text.toUpperCase().replaceAll('0', 'O').replaceAll('S', '5');

/** Milliseconds; null where none is given; `unsure` where it can be read in two ways or in none. */
export function readDate(cell: string): number | null | 'unsure' {
  const text = unprotected(cell);
  if (noKey.test(text)) return null;
  // Seconds or milliseconds since 1970.
  if (/^\d{10}$/.test(text)) return Number(text) * 1000;
  if (/^\d{13}$/.test(text)) return Number(text);
  const iso = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d)?)(\.\d+)?\s*(Z|UTC|[+-]\d\d:?\d\d)?)?$/i.exec(text);
  if (!iso) return 'unsure';
  const [, day = '', time = '00:00:00', fraction = '', zone = 'Z'] = iso;
  const offset = /^[+-]\d{4}$/.test(zone) ? `${zone.slice(0, 3)}:${zone.slice(3)}` : zone;
  const at = Date.parse(`${day}T${time.length === 5 ? `${time}:00` : time}${fraction.slice(0, 4)}${/^(?:utc|z)$/i.test(offset) ? 'Z' : offset}`);
  return Number.isNaN(at) ? 'unsure' : at;
}

/** Crypt-Server keeps more than recovery keys. */
const otherKinds: readonly (readonly [RegExp, string])[] = [
  [/^(?:password|passcode)$/i, 'a password'],
  [/^(?:unlock[ _-]?)?pin$/i, 'an unlock PIN'],
  [/^institutional(?:[ _-]?recovery[ _-]?key)?$/i, 'an institutional key'],
];

/** Looks into one line. */
export function entryOf(raw: RawEntry, signs: Signs): ExportEntry {
  const { line } = raw;
  if ([raw.serial, raw.key, raw.institutional].every((cell) => cell.trim() === '')) return troubled(line, 'empty', 'it has neither a serial number nor a key');
  const serial = readSerial(raw.serial);
  const named = typeof serial === 'string' ? serial : null;
  const kind = unprotected(raw.kind);
  const other = otherKinds.find(([form]) => form.test(kind));
  if (other) return troubled(line, 'other-secret', `it is ${other[1]}, no personal recovery key`, named);
  const read = readKey(raw.key, signs);
  if ('because' in read) {
    const institutional = read.fate === 'no-key' && !noKey.test(unprotected(raw.institutional));
    if (institutional) return troubled(line, 'other-secret', 'it has an institutional key only, which is not kept here', named);
    if (read.fate === 'no-key' || named !== null) return troubled(line, read.fate, read.because, named);
  }
  if (typeof serial !== 'string') return troubled(line, serial.fate, serial.because);
  if ('because' in read) return troubled(line, read.fate, read.because, serial);
  const madeAt = readDate(raw.date);
  const notes = [
    ...('note' in read && read.note !== null ? [read.note] : []),
    ...(madeAt === 'unsure' ? ['its date was not understood and does not count'] : []),
    ...(raw.status.trim().toUpperCase() === 'INVALID' ? ['its source calls this key invalid'] : []),
  ];
  return {
    line,
    serial,
    key: 'key' in read ? read.key : null,
    sealed: 'sealed' in read ? read.sealed : null,
    madeAt: madeAt === 'unsure' ? null : madeAt,
    trouble: null,
    note: notes.length > 0 ? notes.join('; ') : null,
  };
}
