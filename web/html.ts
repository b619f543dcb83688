/** Text that may stand in a page as it is: made by `html` and `unescaped` alone, so that whatever else comes in is escaped. */
export class Html {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  toString(): string {
    return this.#text;
  }
}

type Part = Html | string | number | null | undefined | false | readonly Part[];

export type { Part };

const signs: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
const escaped = (text: string): string => text.replace(/[&<>"']/g, (sign) => signs[sign] ?? sign);

function written(part: Part): string {
  if (part === null || part === undefined || part === false) return '';
  if (part instanceof Html) return part.toString();
  if (Array.isArray(part)) return part.map(written).join('');
  return escaped(String(part));
}

/** `html`…`: values are escaped, also in attributes, which are always written with quotes. Nothing and false are left out. */
export const html = (texts: TemplateStringsArray, ...parts: readonly Part[]): Html =>
  new Html(texts.reduce((whole, text, at) => whole + written(parts[at - 1]) + text));

/** Markup that this project itself has written, such as a picture. Never anything that came in. */
export const unescaped = (markup: string): Html => new Html(markup);
