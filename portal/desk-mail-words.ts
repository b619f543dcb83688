import type { InAll } from '../web/words.ts';
import type { MailText, MailValues } from './mail-words.ts';

/**
 * To the person of a Mac whose key somebody of the desk was shown, or somebody with a code of the desk; and to whose Mac it was
 * until somebody of the desk said otherwise.
 */
export const deskMailWords: InAll<Record<'key-shown-desk' | 'mac-not-yours', (values: MailValues) => MailText>> = {
  en: {
    'key-shown-desk': ({ serialEnd, mac, shown, person, looked, later }) => ({
      subject: `The desk was shown your Mac’s recovery key (…${serialEnd})`,
      body: [
        `On ${shown} the recovery key of ${mac} was shown, by or with the help of ${person}.`,
        `Did you ask for that? Then there is nothing to do. The Mac replaces its key once you are back in.${later ? ` ${later}` : ''}`,
        `Do you know nothing of it? Call the service desk at a number that you know. Why it was shown stands on ${looked}.`,
      ],
    }),
    'mac-not-yours': ({ serialEnd, mac, said, person }) => ({
      subject: `A Mac was entered as no longer yours (…${serialEnd})`,
      body: [
        `On ${said} ${person} entered that ${mac} is no longer yours. Whoever it was given to can be shown its recovery key.`,
        'Have you given it back? Then there is nothing to do.',
        'Do you still use it, or do you know nothing of this? Call the service desk at a number that you know.',
      ],
    }),
  },
  nl: {
    'key-shown-desk': ({ serialEnd, mac, shown, person, looked, later }) => ({
      subject: `De servicedesk zag je herstelsleutel (…${serialEnd})`,
      body: [
        `Op ${shown} is de herstelsleutel van ${mac} getoond, door of met hulp van ${person}.`,
        `Heb je daarom gevraagd? Dan hoef je niets te doen. De Mac vervangt zijn sleutel zodra je weer binnen bent.${later ? ` ${later}` : ''}`,
        `Weet je hier niets van? Bel de servicedesk op een nummer dat je kent. Waarom hij is getoond, staat op ${looked}.`,
      ],
    }),
    'mac-not-yours': ({ serialEnd, mac, said, person }) => ({
      subject: `Een Mac staat niet meer op jouw naam (…${serialEnd})`,
      body: [
        `Op ${said} heeft ${person} vastgelegd dat ${mac} niet meer van jou is. Wie hem nu heeft, kan zijn herstelsleutel zien.`,
        'Heb je de Mac ingeleverd? Dan hoef je niets te doen.',
        'Gebruik je hem nog, of weet je hier niets van? Bel de servicedesk op een nummer dat je kent.',
      ],
    }),
  },
  de: {
    'key-shown-desk': ({ serialEnd, mac, shown, person, looked, later }) => ({
      subject: `Der Servicedesk hat Ihren Wiederherstellungsschlüssel gesehen (…${serialEnd})`,
      body: [
        `Am ${shown} wurde der Wiederherstellungsschlüssel angezeigt, von oder mit Hilfe von ${person}. Es geht um ${mac}.`,
        `Haben Sie darum gebeten? Dann ist nichts zu tun. Der Mac ersetzt seinen Schlüssel, sobald Sie wieder angemeldet sind.${later ? ` ${later}` : ''}`,
        `Wissen Sie nichts davon? Rufen Sie den Servicedesk unter einer Nummer an, die Sie kennen. Warum er angezeigt wurde, steht auf ${looked}.`,
      ],
    }),
    'mac-not-yours': ({ serialEnd, mac, said, person }) => ({
      subject: `Ein Mac ist nicht mehr auf Sie eingetragen (…${serialEnd})`,
      body: [
        `${person} hat eingetragen, dass dieser Mac nicht mehr Ihrer ist: ${mac}. Eingetragen: ${said}. Wer ihn jetzt hat, kann seinen Wiederherstellungsschlüssel sehen.`,
        'Haben Sie ihn zurückgegeben? Dann ist nichts zu tun.',
        'Verwenden Sie ihn noch, oder wissen Sie nichts davon? Rufen Sie den Servicedesk unter einer Nummer an, die Sie kennen.',
      ],
    }),
  },
  fr: {
    'key-shown-desk': ({ serialEnd, mac, shown, person, looked, later }) => ({
      subject: `L’assistance a vu la clé de secours de votre Mac (…${serialEnd})`,
      body: [
        `La clé de secours a été affichée le ${shown}, par ${person} ou avec son aide. Il s’agit de ${mac}.`,
        `L’aviez-vous demandé ? Alors vous n’avez rien à faire. Le Mac remplace sa clé dès que votre session est de nouveau ouverte.${later ? ` ${later}` : ''}`,
        `Vous n’en savez rien ? Appelez l’assistance à un numéro que vous connaissez. La raison est indiquée sur ${looked}.`,
      ],
    }),
    'mac-not-yours': ({ serialEnd, mac, said, person }) => ({
      subject: `Un Mac n’est plus enregistré à votre nom (…${serialEnd})`,
      body: [
        `Le ${said}, ${person} a enregistré que ce Mac n’est plus le vôtre : ${mac}. La personne qui l’a désormais peut voir sa clé de secours.`,
        'Vous l’avez rendu ? Alors vous n’avez rien à faire.',
        'Vous l’utilisez encore, ou vous n’en savez rien ? Appelez l’assistance à un numéro que vous connaissez.',
      ],
    }),
  },
};
