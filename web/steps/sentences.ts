import { type Html, html } from '../html.ts';
import type { Language } from '../words.ts';
import { type QuoteId, quoted, quotes } from './quotes.ts';
import type { Sentence } from './steps.ts';

const isQuote = (name: string): name is QuoteId => Object.hasOwn(quotes, name);

/** The quotes that stand in a sentence. Throws for a name that is none: a mistake of this project. */
export function quotesIn(text: string): readonly QuoteId[] {
  return [...text.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => {
    if (!isQuote(name)) throw new Error(`no quote is named ${name}`);
    return name;
  });
}

/** A sentence in the page's language, with the Mac's own words in the Mac's. */
export function written<L extends Language>(sentence: Pick<Sentence<L>, 'text'>, mac: Language | null, page: L): Html {
  const text = sentence.text[page];
  const ids = quotesIn(text);
  return html`${text.split(/\{\w+\}/).map((part, at) => {
    const id = ids[at];
    return html`${part}${id === undefined ? null : quoted(id, mac, page)}`;
  })}`;
}
