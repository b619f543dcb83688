import { type Html, html } from '../web/html.ts';
import type { InAll } from '../web/words.ts';
import type { KeyState } from './key-state.ts';
import { macWords } from './mac-words.ts';

type Said = (state: KeyState, time: (at: number) => Html) => Html;

const de: Said = (state, time) => {
  switch (state.is) {
    case 'checked':
      return html`Der Schlüssel wurde auf diesem Mac geprüft, ${time(state.at)}.`;
    case 'checked-long-ago':
      return html`Wir haben einen Schlüssel. Zuletzt geprüft: ${time(state.at)}.`;
    case 'not-checked':
      return html`Wir haben einen Schlüssel. Er wurde auf diesem Mac noch nicht geprüft.`;
    case 'unopened':
      return html`Wir haben einen versiegelten Schlüssel, den noch niemand geöffnet hat.`;
    case 'refuted':
      return html`Wir haben einen Schlüssel, aber der Mac hat zweimal gemeldet, dass er nicht passt.`;
    case 'doubtful':
      return html`Wir haben einen Schlüssel und sind nicht sicher, ob es der richtige ist.`;
    case 'replacing':
      return html`Dieser Mac ersetzt gerade seinen Schlüssel. Warten Sie eine Minute.`;
    case 'replacing-long':
      return html`Dieser Mac hat ${time(state.since)} begonnen, seinen Schlüssel zu ersetzen, und ist noch nicht fertig. Es kann der alte oder der neue gelten.`;
    default:
      return html`Wir haben keinen Schlüssel dieses Mac.`;
  }
};

const fr: Said = (state, time) => {
  switch (state.is) {
    case 'checked':
      return html`La clé a été vérifiée sur ce Mac ${time(state.at)}.`;
    case 'checked-long-ago':
      return html`Nous avons une clé. Dernière vérification : ${time(state.at)}.`;
    case 'not-checked':
      return html`Nous avons une clé. Elle n’a pas encore été vérifiée sur ce Mac.`;
    case 'unopened':
      return html`Nous avons une clé scellée que personne n’a encore ouverte.`;
    case 'refuted':
      return html`Nous avons une clé, mais le Mac a signalé deux fois qu’elle ne convient pas.`;
    case 'doubtful':
      return html`Nous avons une clé, sans être certains que ce soit la bonne.`;
    case 'replacing':
      return html`Ce Mac est en train de remplacer sa clé. Attendez une minute.`;
    case 'replacing-long':
      return html`Ce Mac a commencé à remplacer sa clé ${time(state.since)} et n’a pas terminé. L’ancienne ou la nouvelle peut être la bonne.`;
    default:
      return html`Nous n’avons pas de clé de ce Mac.`;
  }
};

/** What is known of the key, in the four languages of its page. */
export const keyStateWords: InAll<Said> = { en: macWords.en.key, nl: macWords.nl.key, de, fr };
