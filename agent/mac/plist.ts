import type { Runner } from '../world.ts';

/** Property lists that we read are small; whatever is larger is not one of them. */
const mostBytes = 8 * 1024 * 1024;
const deepest = 64;
/** The five of XML itself, and characters by number. Any other entity would need a document type of its own. */
const entity = /&(?!(?:amp|lt|gt|quot|apos|#[0-9]{1,7}|#x[0-9A-Fa-f]{1,6});)/;

/** An XML property list as values, or null where it is none. Entities of its own and bottomless nesting are refused before a parser sees them. */
export async function parsePlist(text: string | Uint8Array): Promise<unknown | null> {
  if (text.length > mostBytes) return null;
  const xml = (typeof text === 'string' ? text : Buffer.from(text).toString('utf8')).replace(/^\uFEFF?\s*/, '');
  if (!/^<(?:\?xml|!DOCTYPE plist|plist)/.test(xml) || !isHarmless(xml)) return null;
  try {
    const { parse } = await import('plist');
    return (parse(xml) as unknown) ?? null;
  } catch {
    return null;
  }
}

function isHarmless(xml: string): boolean {
  if (/<!ENTITY|<!ELEMENT|<!ATTLIST|<!DOCTYPE[^>]*\[/i.test(xml) || entity.test(xml)) return false;
  if (!/<\/plist>\s*$/.test(xml) && !/<plist[^>]*\/>\s*$/.test(xml)) return false;
  let depth = 0;
  for (const [, closes] of xml.matchAll(/<(\/?)(?:dict|array)(?=[\s>])/g)) {
    depth += closes ? -1 : 1;
    if (depth > deepest || depth < 0) return false;
  }
  return depth === 0;
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
