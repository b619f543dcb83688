// The one property list that is read while a key hangs on it. No parser has to be loaded for it at that moment, and it
// takes less than a parser would: one flat dictionary, Apple's tags, XML's own five entities.

const token = /<\?xml[^>]{0,200}\?>|<!DOCTYPE plist[^>[\]]{0,300}>|<!--[\s\S]{0,2000}?-->|<(\/?)([a-z]+)((?:\s+version="[0-9.]+")?)\s*(\/?)>|([^<]+)/y;
const values = new Set(['string', 'date', 'integer', 'real', 'data']);
const names: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

/**
 * The text of `RecoveryKey` in a whole `<plist><dict>…</dict></plist>` that may have other text before it (prompts), and
 * in which that name occurs once. Null for anything else.
 */
export function readKeyPlist(text: string): string | null {
  const begin = text.search(/<\?xml|<plist/);
  if (begin < 0) return null;
  const open: string[] = [];
  const found: string[] = [];
  let name: string | null = null;
  let value = '';
  let ended = false;
  token.lastIndex = begin;
  while (token.lastIndex < text.length) {
    const match = token.exec(text);
    if (!match) return null;
    const [, closes, tag, , empty, words] = match;
    if (words !== undefined) {
      if (open.length > 0 && (open.at(-1) === 'key' || values.has(open.at(-1) ?? ''))) value += words;
      else if (words.trim() !== '') return null;
    } else if (tag !== undefined) {
      if (ended || open.length > 16) return null;
      if (closes) {
        if (open.pop() !== tag) return null;
        const top = open.length === 2 && open[1] === 'dict';
        if (top && tag === 'key') name = plainText(value);
        else if (top) {
          if (name === 'RecoveryKey') found.push(tag === 'string' ? plainText(value) : '');
          name = null;
        }
        ended = open.length === 0;
      } else if (!empty) {
        if (open.length === 0 ? tag !== 'plist' : tag === 'plist') return null;
        open.push(tag);
        value = '';
      } else if (open.length === 2) {
        if (name === 'RecoveryKey') found.push('');
        name = null;
      }
    }
  }
  return ended && found.length === 1 ? (found[0] ?? null) : null;
}

const plainText = (xml: string): string => xml.replace(/&(amp|lt|gt|quot|apos);/g, (_, which: string) => names[which] ?? '');
