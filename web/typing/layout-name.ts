import { macLanguageOf } from '../steps/quotes.ts';
import type { Language } from '../words.ts';
import type { Layout } from './layouts.ts';

/** What the input menu at the top right of this Mac shows for its layout, in the Mac's language; where that is not known, which layout it is, in the page's. */
export function layoutName(layout: Layout, macLanguage: string | null, page: Language): { text: string; language: Language; isOnScreen: boolean } {
  const language = macLanguageOf(macLanguage) ?? 'en';
  const shown = layout.shown[language];
  return shown === null ? { text: layout.called[page], language: page, isOnScreen: false } : { text: shown, language, isOnScreen: true };
}
