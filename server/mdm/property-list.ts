/**
 * XML property lists as MDM has them. What comes in was written by a Mac, hence by anybody: Apple's elements and nothing
 * else, each closed in its order, no entity but XML's own five and characters by number, within bounds, in one pass.
 */
export type PropertyList = string | number | boolean | Date | Buffer | readonly PropertyList[] | PropertyDictionary;
export interface PropertyDictionary extends ReadonlyMap<string, PropertyList> {}

/** Every answer that is read here has a tenth of it; a list of all programs on a Mac is not read. */
const mostElements = 20_000;
const deepest = 24;

const tag = /<(\/?)(plist|dict|array|key|string|integer|real|true|false|date|data)(?:\s{1,8}version="[0-9.]{1,8}")?\s{0,8}(\/?)>/y;
const declaration = /^<\?xml version=[^<>?]{0,200}\?>/;
/** Without a subset of its own: that is where entities would be made. */
const documentType = /<!DOCTYPE plist(?: PUBLIC "[^<>"]{0,100}"| SYSTEM)?(?: "[^<>"]{0,200}")?>/y;
const blank = /\s*/y;
const entities: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };
/** What XML 1.0 has no way to write. */
const noText = /[\p{Cc}--[\t\n\r\u007F-\u009F]]|[\uFFFE\uFFFF]/v;

class NotOne extends Error {}
const refuse = (): never => {
  throw new NotOne();
};

type Open =
  | { kind: 'plist'; value: PropertyList | undefined }
  | { kind: 'array'; list: PropertyList[] }
  | { kind: 'dict'; map: Map<string, PropertyList>; key: string | null };

/** Null where it is none. */
export function readPropertyList(bytes: Uint8Array): PropertyList | null {
  try {
    return read(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    if (error instanceof NotOne || error instanceof TypeError) return null;
    throw error;
  }
}

function read(xml: string): PropertyList {
  let at = 0;
  let elements = 0;
  const stack: Open[] = [];
  const step = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const found = pattern.exec(xml);
    if (found) at = pattern.lastIndex;
    return found;
  };
  const skip = (): void => {
    for (;;) {
      step(blank);
      if (!xml.startsWith('<!--', at)) return;
      const end = xml.indexOf('--', at + 4);
      if (end < 0 || xml[end + 2] !== '>') refuse();
      at = end + 3;
    }
  };
  const put = (value: PropertyList): void => {
    const above = stack.at(-1);
    if (!above) refuse();
    else if (above.kind === 'array') above.list.push(value);
    else if (above.kind === 'plist') {
      if (above.value !== undefined) refuse();
      above.value = value;
    } else {
      // A key that comes twice would be one thing to us and another to somebody else.
      if (above.key === null || above.map.has(above.key)) refuse();
      else above.map.set(above.key, value);
      above.key = null;
    }
  };

  step(blank);
  at += declaration.exec(xml.slice(at, at + 256))?.[0].length ?? 0;
  skip();
  step(documentType);
  for (;;) {
    skip();
    const [, closes, name, empty] = step(tag) ?? refuse();
    const above = stack.at(-1);
    if (closes) {
      const done = stack.pop();
      if (empty || !done || done.kind !== name) return refuse();
      if (done.kind === 'plist') {
        skip();
        return at === xml.length && stack.length === 0 && done.value !== undefined ? done.value : refuse();
      }
      if (done.kind === 'dict' && done.key !== null) refuse();
      put(done.kind === 'dict' ? done.map : done.list);
      continue;
    }
    elements += 1;
    if (elements > mostElements || (name === 'plist') !== (above === undefined)) refuse();
    if (name === 'plist' || name === 'dict' || name === 'array') {
      if (stack.length >= deepest) refuse();
      const opened: Open =
        name === 'plist' ? { kind: name, value: undefined } : name === 'dict' ? { kind: name, map: new Map(), key: null } : { kind: name, list: [] };
      if (!empty) stack.push(opened);
      else if (opened.kind === 'plist') refuse();
      else put(opened.kind === 'dict' ? opened.map : opened.list);
      continue;
    }
    const text = empty ? '' : textOf(name ?? '');
    if (name === 'key') {
      if (above?.kind !== 'dict' || above.key !== null) refuse();
      else above.key = text;
    } else put(leafOf(name ?? '', text));
  }

  /** Up to the end of the element, which has no element in it. */
  function textOf(name: string): string {
    const end = xml.indexOf('<', at);
    const close = `</${name}>`;
    if (end < 0 || !xml.startsWith(close, end)) refuse();
    const raw = xml.slice(at, end);
    at = end + close.length;
    if (noText.test(raw)) refuse();
    if (!raw.includes('&')) return raw;
    return raw.replace(/&([^;&]{0,10})(;?)/g, (_, body: string, semicolon: string) => {
      const known = Object.hasOwn(entities, body) ? entities[body] : undefined;
      const code = /^#[0-9]{1,7}$/.test(body) ? Number(body.slice(1)) : /^#x[0-9A-Fa-f]{1,6}$/.test(body) ? Number.parseInt(body.slice(2), 16) : -1;
      if (semicolon === '' || (known === undefined && (code < 9 || code > 0x10ffff))) refuse();
      return known ?? String.fromCodePoint(code);
    });
  }
}

function leafOf(name: string, text: string): PropertyList {
  if (name === 'string') return text;
  if (name === 'true' || name === 'false') return text.trim() === '' ? name === 'true' : refuse();
  if (name === 'data') {
    const plain = text.replace(/\s/g, '');
    return bytesOfBase64(plain) ?? refuse();
  }
  if (name === 'date') {
    const time = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(text.trim()) ? Date.parse(text.trim()) : Number.NaN;
    return Number.isNaN(time) ? refuse() : new Date(time);
  }
  return /^\s*[-+]?\d{1,20}(?:\.\d{1,20})?(?:[eE][-+]?\d{1,3})?\s*$/.test(text) ? Number(text) : refuse();
}

/** Null where it is no base64 in its one form: Node itself passes over whatever it does not know. */
export function bytesOfBase64(text: string): Buffer | null {
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes : null;
}

export const dictionaryOf = (value: PropertyList | undefined | null): PropertyDictionary | null => (value instanceof Map ? value : null);
export const textIn = (dictionary: PropertyDictionary, key: string): string | null => {
  const value = dictionary.get(key);
  return typeof value === 'string' ? value : null;
};

type Written = string | Uint8Array | readonly Written[] | { readonly [key: string]: Written };

/** A property list with a dictionary, as MDM commands are. */
export const writePropertyList = (value: { readonly [key: string]: Written }): string =>
  `<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">\n<plist version="1.0">\n${written(value)}\n</plist>\n`;

function written(value: Written): string {
  if (typeof value === 'string') return `<string>${escaped(value)}</string>`;
  if (value instanceof Uint8Array) return `<data>${Buffer.from(value).toString('base64')}</data>`;
  if (isList(value)) return `<array>${value.map(written).join('')}</array>`;
  return `<dict>${Object.entries(value)
    .map(([key, part]) => `<key>${escaped(key)}</key>${written(part)}`)
    .join('')}</dict>`;
}

const isList = (value: Written): value is readonly Written[] => Array.isArray(value);
const escaped = (text: string): string => text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
