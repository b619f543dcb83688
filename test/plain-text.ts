import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** base64 of `bytes` wherever they begin in a longer text: without the ends, which depend on what stands beside them. */
const inBase64 = (bytes: Buffer): string[] =>
  [0, 1, 2].map((offset) => {
    const encoded = Buffer.concat([Buffer.alloc(offset), bytes]).toString('base64');
    return encoded.slice(offset === 0 ? 0 : 4, -4);
  });

/** Every form in which a key could lie about. */
export function formsOf(key: string): Buffer[] {
  const plain = [key, key.replaceAll('-', ''), key.replaceAll('-', ' ')];
  const texts = plain.flatMap((text) => [text, text.toLowerCase()]);
  const escaped = [key.replaceAll('-', '%2D'), key.replaceAll('-', '%2d'), key.replaceAll('-', '\\u002d'), key.replaceAll('-', '\\u002D')];
  const hexes = texts.flatMap((text) => {
    const hex = Buffer.from(text).toString('hex');
    return [hex, hex.toUpperCase(), hex.replace(/../g, '%$&'), hex.replace(/../g, '\\u00$&')];
  });
  const wide = texts.flatMap((text) => [Buffer.from(text, 'utf16le'), Buffer.from(text, 'utf16le').swap16()]);
  const coded = [...texts.map((text) => Buffer.from(text)), ...wide].flatMap(inBase64);
  const urlSafe = coded.map((text) => text.replaceAll('+', '-').replaceAll('/', '_'));
  return [...texts, ...escaped, ...hexes, ...coded, ...urlSafe].map((text) => Buffer.from(text)).concat(wide);
}

/** What `read` says, or null where the file or folder is gone: other tests work in the temporary folder too. */
function unlessGone<T>(read: () => T): T | null {
  try {
    return read();
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw cause;
  }
}

/** Every file under `folder`; none where there is no such folder. */
export const filesUnder = (folder: string): string[] =>
  (unlessGone(() => readdirSync(folder, { withFileTypes: true })) ?? []).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return filesUnder(path);
    const size = entry.isFile() ? unlessGone(() => statSync(path).size) : null;
    return size !== null && size < 64 * 1024 * 1024 ? [path] : [];
  });

/** The files in which one of the keys lies in any form, and how often. */
export function findKeys(keys: Iterable<string>, files: readonly string[]): { file: string; forms: number }[] {
  // By their first four bytes, so that a database is read once and not once for each of thousands of forms; nearly every place
  // is ruled out by three of them, without asking the map.
  const byStart = new Map<number, Map<string, Buffer>>();
  const begins = new Uint8Array(1 << 24);
  for (const form of [...keys].flatMap(formsOf)) {
    const start = form.readUInt32BE(0);
    byStart.set(start, (byStart.get(start) ?? new Map()).set(form.toString('latin1'), form));
    begins[start >>> 8] = 1;
  }
  return files.flatMap((file) => {
    const bytes = unlessGone(() => readFileSync(file)) ?? Buffer.alloc(0);
    const found = new Set<string>();
    let three = 0;
    for (let at = 0; at < bytes.length; at += 1) {
      three = ((three << 8) | (bytes[at] ?? 0)) & 0xffffff;
      const start = at - 2;
      if (begins[three] === 0 || start < 0 || start + 4 > bytes.length) continue;
      for (const [name, form] of byStart.get(bytes.readUInt32BE(start)) ?? []) if (form.equals(bytes.subarray(start, start + form.length))) found.add(name);
    }
    return found.size > 0 ? [{ file, forms: found.size }] : [];
  });
}
