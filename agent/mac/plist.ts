import type { Runner } from '../world.ts';

/** Property lists that we read are small; whatever is larger is not one of them. */
const mostBytes = 8 * 1024 * 1024;
const deepest = 64;
/** A list of a hundred large profiles has a tenth of it; far more would take a parser seconds, and hundreds of megabytes. */
const mostElements = 40_000;
/** The five of XML itself, and characters by number. Any other entity would need a document type of its own. */
const entity = /&(?!(?:amp|lt|gt|quot|apos|#[0-9]{1,7}|#x[0-9A-Fa-f]{1,6});)/;
/** What no text may hold: XML 1.0 has no way to write it. */
const noText = /[\p{Cc}--[\t\n\r\u007F-\u009F]]|[\uFFFE\uFFFF]|\]\]>/v;

/**
 * An XML property list as values, or null where it is none. A parser sees only what `isHarmless` lets through: it would
 * make values of broken XML, quote it on standard error, and take minutes for what was made to take long.
 */
export async function parsePlist(text: string | Uint8Array): Promise<unknown | null> {
  if (text.length > mostBytes) return null;
  const xml = (typeof text === 'string' ? text : Buffer.from(text).toString('utf8')).replace(/^\uFEFF?\s*/, '');
  if (!isHarmless(xml)) return null;
  try {
    const { parse } = await import('plist');
    // The parser would complain of characters that could not be read, on standard error.
    return (parse(xml.replaceAll('\uFFFD', '?')) as unknown) ?? null;
  } catch {
    return null;
  }
}

const tag = /<(\/?)(plist|dict|array|key|string|integer|real|true|false|date|data)(?:\s{1,8}version="[0-9.]{1,8}")?\s{0,8}(\/?)>/y;
/** As XML has it: of any other the parser would complain on standard error. */
const declaration =
  /^<\?xml\s{1,8}version=(?:"1\.[01]"|'1\.[01]')(?:\s{1,8}encoding=(?:"[A-Za-z][\w.-]{0,40}"|'[A-Za-z][\w.-]{0,40}'))?(?:\s{1,8}standalone=(?:"(?:yes|no)"|'(?:yes|no)'))?\s{0,8}\?>/;
const documentType = /<!DOCTYPE plist(?: PUBLIC "[^<>"]{0,100}"| SYSTEM)? "[^<>"]{0,200}">|<!DOCTYPE plist>/y;

/** Apple's elements and nothing else, each closed in its order, in one root, within bounds. One pass, whatever it holds. */
function isHarmless(xml: string): boolean {
  if (!xml.startsWith('<') || entity.test(xml) || noText.test(xml)) return false;
  const open: string[] = [];
  let elements = 0;
  let types = 0;
  let at = declaration.exec(xml)?.[0].length ?? 0;
  for (;;) {
    const next = xml.indexOf('<', at);
    // Outside of the root there are only blanks.
    if (open.length === 0 && /\S/.test(next < 0 ? xml.slice(at) : xml.slice(at, next))) return false;
    if (next < 0) return open.length === 0 && elements > 0;
    at = next;
    if (xml.startsWith('<!--', at)) {
      const end = xml.indexOf('--', at + 4);
      if (end < 0 || xml[end + 2] !== '>') return false;
      at = end + 3;
      continue;
    }
    documentType.lastIndex = at;
    if (types === 0 && elements === 0 && documentType.test(xml)) {
      types = 1;
      at = documentType.lastIndex;
      continue;
    }
    tag.lastIndex = at;
    const [whole, closes, name = '', isEmpty] = tag.exec(xml) ?? [];
    if (whole === undefined || (closes && isEmpty)) return false;
    at = tag.lastIndex;
    if (closes) {
      if (open.pop() !== name) return false;
    } else {
      if ((open.length === 0) !== (name === 'plist') || (open.length === 0 && elements > 0) || open.length > deepest) return false;
      elements += 1;
      if (elements > mostElements) return false;
      if (!isEmpty) open.push(name);
    }
  }
}

/** The property list in a file, binary or XML: /usr/bin/plutil makes it XML first. Null where there is none or it cannot be read. */
export async function readPlistFile(runner: Runner, path: string): Promise<unknown | null> {
  const ran = await runner.run({ program: '/usr/bin/plutil', args: ['-convert', 'xml1', '-o', '-', path], outputLimit: mostBytes, timeoutSeconds: 15 });
  return ran.code === 0 ? parsePlist(ran.stdout) : null;
}

/** A dictionary of a property list, or null where the value is something else. */
export function asDictionary(value: unknown): Record<string, unknown> | null {
  const plain = typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array) && !(value instanceof Date);
  return plain ? (value as Record<string, unknown>) : null;
}
