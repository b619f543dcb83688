import { inspect } from 'node:util';

/** Bytes of UTF-8. Longer ones are taken by no dialog of macOS. */
const mostPasswordBytes = 1024;

/** Bytes that are no UTF-8, lines, and characters that no property list can hold: fdesetup would read another password than was typed. */
const noPassword = /[^\t\x20-\uD7FF\uE000-\uFFFC\u{10000}-\u{10FFFF}]/u;

/**
 * A user's password on its way to fdesetup. It cannot be printed, logged or encoded by accident; its bytes can be wiped, but
 * JavaScript copies the text that fdesetup is given as it likes.
 */
export class Password {
  readonly #bytes: Buffer;

  private constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /** Takes the bytes over: whoever gives them has no more use for them. Null for what is empty, too long, not UTF-8 or more than one line. */
  static take(bytes: Buffer): Password | null {
    const kept = Buffer.from(bytes);
    bytes.fill(0);
    const text = new TextDecoder('utf-8', { ignoreBOM: true });
    const fits = kept.length > 0 && kept.length <= mostPasswordBytes;
    if (fits && !noPassword.test(text.decode(kept))) return new Password(kept);
    kept.fill(0);
    return null;
  }

  reveal(): string {
    return this.#bytes.toString('utf8');
  }

  wipe(): void {
    this.#bytes.fill(0);
  }

  toString(): string {
    return '[password]';
  }

  toJSON(): string {
    return '[password]';
  }

  [inspect.custom](): string {
    return '[password]';
  }
}
