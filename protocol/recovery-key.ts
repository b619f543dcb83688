import { createHmac, timingSafeEqual } from 'node:crypto';
import { inspect } from 'node:util';

/** Six groups of four. Old keys use all of A–Z and 0–9; keys made today use 32 of them (no I, S, 0, 1). */
const form = /^[A-Z0-9]{4}(?:-[A-Z0-9]{4}){5}$/;
const embedded = /(?<![A-Z0-9-])[A-Z0-9]{4}(?:-[A-Z0-9]{4}){5}(?![A-Z0-9-])/;
/** As people write one into other words: in small letters too, and with the dashes that a word processor makes of hyphens. */
const written = /(?<![A-Z0-9])[A-Z0-9]{4}(?:[\u002D\u058A\u2010-\u2015\u2212\uFE58\uFE63\uFF0D][A-Z0-9]{4}){5}(?![A-Z0-9])/giu;
const anyDash = /[\u002D\u058A\u2010-\u2015\u2212\uFE58\uFE63\uFF0D]/g;

/**
 * A FileVault personal recovery key. A type and not a string, so that it cannot be printed, logged or JSON-encoded by
 * accident: only `reveal()` gives the text, and a test names the files that may call it.
 */
export class RecoveryKey {
  #text: string;

  private constructor(text: string) {
    this.#text = text;
  }

  /** The key that `text` is, exactly as macOS writes it (one trailing newline allowed), or null. */
  static parse(text: string): RecoveryKey | null {
    const trimmed = text.replace(/\r?\n$/, '');
    return form.test(trimmed) ? new RecoveryKey(trimmed) : null;
  }

  /** The key that a person typed: lower case, spaces, other dashes or no dashes at all are accepted. Null if it is none. */
  static normalise(typed: string): RecoveryKey | null {
    const plain = typed.toUpperCase().replace(anyDash, '').replace(/\s/g, '');
    if (!/^[A-Z0-9]{24}$/.test(plain)) return null;
    return RecoveryKey.parse(plain.match(/.{4}/g)?.join('-') ?? '');
  }

  /** A key-shaped text inside other text, such as a truncated plist. It counts as a key only after macOS said `true` to it. */
  static findIn(text: string): RecoveryKey | null {
    const found = embedded.exec(text);
    return found ? RecoveryKey.parse(found[0]) : null;
  }

  /** The text with `[recovery key]` in the place of each key that somebody has put into it. Without one it is the same. */
  static cutFrom(text: string): string {
    return text.replace(written, '[recovery key]');
  }

  /** The key in plain. Allowed in a few named files only. */
  reveal(): string {
    return this.#text;
  }

  equals(other: RecoveryKey): boolean {
    const mine = Buffer.from(this.#text);
    const theirs = Buffer.from(other.#text);
    return mine.length === theirs.length && timingSafeEqual(mine, theirs);
  }

  /** HMAC-SHA-256 of the key under `secret`, lower-case hex: says "the same key" without saying which. */
  fingerprint(secret: Uint8Array): string {
    return createHmac('sha256', secret).update(this.#text).digest('hex');
  }

  toString(): string {
    return '[recovery key]';
  }

  toJSON(): string {
    return '[recovery key]';
  }

  [inspect.custom](): string {
    return '[recovery key]';
  }
}
