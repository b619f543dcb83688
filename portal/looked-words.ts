import { type Html, html } from '../web/html.ts';
import type { InAll } from '../web/words.ts';

interface LookedWords {
  title: string;
  intro: string;
  nobody: string;
  /** To whom no mail can be sent. */
  noMail: string;
  you: string;
  yourMac: string;
  purposes: Record<'rotate' | 'resolve' | 'prove', string>;
  views: Record<'first' | 'again' | 'more-time' | 'other-key', string>;
  why: string;
  noReason: string;
  notShown: string;
  notMe: string;
  saidNotMe: string;
  older: string;
  back: string;
  confirm: {
    title: (mac: string) => string;
    /** `name` is null where it was with this person’s own account. */
    what: (shown: Html, name: string | null) => Html;
    willHappen: string;
    steps: Record<'signedOut' | 'soon' | 'waitsForNobody' | 'alarm' | 'noMore', string>;
    sure: string;
    button: (mac: string) => string;
    stop: string;
  };
  done: {
    title: string;
    ordered: string;
    keepIt: string;
    replaced: string;
    signedOut: string;
    desk: string;
    noMore: string;
    password: string;
    now: string;
    signIn: string;
  };
}

const en: LookedWords = {
  title: 'Who looked at my key',
  intro: 'Each time that a key of this Mac was shown, newest first.',
  nobody: 'Nobody has looked at a key of this Mac.',
  noMail:
    'No mail address of yours is known here, so no mail comes when a key is shown or replaced. Look here instead, and have the service desk add your address.',
  you: 'You',
  yourMac: 'Your Mac itself',
  purposes: {
    prove: 'to check its key',
    rotate: 'to replace its key',
    resolve: 'to finish a replacement that was interrupted',
  },
  views: {
    first: 'On this site, to get in.',
    again: 'On this site, once more.',
    'more-time': 'On this site, for more time.',
    'other-key': 'On this site, another key after one was refused.',
  },
  why: 'Why',
  noReason: 'No reason given.',
  notShown: 'It could not be opened, so nobody saw it.',
  notMe: 'This was not me',
  saidNotMe: 'You said that this was not you.',
  older: 'Older ones',
  back: 'Back to this Mac',
  confirm: {
    title: (mac) => `Did somebody else look at the key of ${mac}?`,
    what: (shown, name) => html`It is about the view of ${shown}, ${name === null ? 'with your account' : `by ${name}`}.`,
    willHappen: 'If it was not you, this will happen:',
    steps: {
      signedOut: 'You are signed out everywhere, on this device too. So is whoever used your account.',
      soon: 'The Mac replaces its key as soon as it is online and somebody is logged in.',
      waitsForNobody: 'It waits for nobody who may still be typing the old one.',
      alarm: 'An alarm goes to your IT department at once.',
      noMore: 'Until they have looked at it, no key of this Mac is shown here.',
    },
    sure: 'If you are locked out now and looked yourself, do not do this: your key would be replaced while you type it.',
    button: (mac) => `Replace the key of ${mac} and sign me out everywhere`,
    stop: 'It was me after all',
  },
  done: {
    title: 'It is done',
    ordered: 'The Mac replaces its key as soon as it is online and somebody is logged in.',
    keepIt: 'Until then keep it with you.',
    replaced: 'The key that was shown had been replaced already. It opens nothing any more.',
    signedOut: 'You are signed out everywhere, and so is whoever used your account.',
    desk: 'An alarm has gone to your IT department.',
    noMore: 'No key of this Mac is shown here until they have looked at it.',
    password: 'Somebody may know your password. Change it now, on a device that you trust.',
    now: 'Call now, also outside hours if you can reach somebody:',
    signIn: 'Sign in again',
  },
};

const nl: LookedWords = {
  title: 'Wie keek naar mijn sleutel',
  intro: 'Elke keer dat een sleutel van deze Mac is getoond, de nieuwste bovenaan.',
  nobody: 'Niemand heeft een sleutel van deze Mac bekeken.',
  noMail:
    'Er is hier geen mailadres van je bekend. Je krijgt dus geen mail als een sleutel wordt getoond of vervangen. Kijk hier, en laat de servicedesk je adres toevoegen.',
  you: 'Jij',
  yourMac: 'Je Mac zelf',
  purposes: {
    prove: 'om zijn sleutel te controleren',
    rotate: 'om zijn sleutel te vervangen',
    resolve: 'om een onderbroken vervanging af te maken',
  },
  views: {
    first: 'Op deze site, om erin te komen.',
    again: 'Op deze site, nog een keer.',
    'more-time': 'Op deze site, voor meer tijd.',
    'other-key': 'Op deze site, een andere sleutel nadat er een was geweigerd.',
  },
  why: 'Waarom',
  noReason: 'Geen reden opgegeven.',
  notShown: 'Hij kon niet worden geopend, dus niemand heeft hem gezien.',
  notMe: 'Dit was ik niet',
  saidNotMe: 'Je hebt gezegd dat jij dit niet was.',
  older: 'Oudere',
  back: 'Terug naar deze Mac',
  confirm: {
    title: (mac) => `Heeft iemand anders de sleutel van ${mac} bekeken?`,
    what: (shown, name) => html`Het gaat om de keer van ${shown}, ${name === null ? 'met jouw account' : `door ${name}`}.`,
    willHappen: 'Was jij het niet, dan gebeurt dit:',
    steps: {
      signedOut: 'Je wordt overal uitgelogd, ook op dit apparaat. Wie jouw account gebruikte ook.',
      soon: 'De Mac vervangt zijn sleutel zodra hij online is en iemand is ingelogd.',
      waitsForNobody: 'Hij wacht niet op wie de oude misschien nog intypt.',
      alarm: 'Er gaat meteen een alarm naar je IT-afdeling.',
      noMore: 'Tot zij ernaar hebben gekeken, wordt hier geen sleutel van deze Mac getoond.',
    },
    sure: 'Kom je er nu niet in en heb je zelf gekeken? Doe dit dan niet: je sleutel zou worden vervangen terwijl je hem intypt.',
    button: (mac) => `Vervang de sleutel van ${mac} en log mij overal uit`,
    stop: 'Ik was het toch zelf',
  },
  done: {
    title: 'Het is gebeurd',
    ordered: 'De Mac vervangt zijn sleutel zodra hij online is en iemand is ingelogd.',
    keepIt: 'Houd hem tot die tijd bij je.',
    replaced: 'De sleutel die is getoond was al vervangen. Daar opent niemand meer iets mee.',
    signedOut: 'Je bent overal uitgelogd, en wie jouw account gebruikte ook.',
    desk: 'Er is alarm geslagen bij je IT-afdeling.',
    noMore: 'Hier wordt geen sleutel van deze Mac getoond tot zij ernaar hebben gekeken.',
    password: 'Misschien kent iemand je wachtwoord. Verander het nu, op een apparaat dat je vertrouwt.',
    now: 'Bel nu, ook buiten de openingstijden als je iemand kunt bereiken:',
    signIn: 'Log opnieuw in',
  },
};

const de: LookedWords = {
  title: 'Wer meinen Schlüssel angesehen hat',
  intro: 'Jedes Mal, dass ein Schlüssel dieses Mac angezeigt wurde, das neueste zuerst.',
  nobody: 'Niemand hat einen Schlüssel dieses Mac angesehen.',
  noMail:
    'Hier ist keine E-Mail-Adresse von Ihnen bekannt, daher kommt keine E-Mail, wenn ein Schlüssel angezeigt oder ersetzt wird. Sehen Sie hier nach, und lassen Sie Ihre Adresse vom Servicedesk eintragen.',
  you: 'Sie',
  yourMac: 'Ihr Mac selbst',
  purposes: {
    prove: 'um seinen Schlüssel zu prüfen',
    rotate: 'um seinen Schlüssel zu ersetzen',
    resolve: 'um ein unterbrochenes Ersetzen abzuschließen',
  },
  views: {
    first: 'Auf dieser Website, um wieder hineinzukommen.',
    again: 'Auf dieser Website, noch einmal.',
    'more-time': 'Auf dieser Website, für mehr Zeit.',
    'other-key': 'Auf dieser Website, ein anderer Schlüssel, nachdem einer abgelehnt wurde.',
  },
  why: 'Grund',
  noReason: 'Kein Grund angegeben.',
  notShown: 'Er konnte nicht geöffnet werden, also hat ihn niemand gesehen.',
  notMe: 'Das war ich nicht',
  saidNotMe: 'Sie haben gesagt, dass Sie das nicht waren.',
  older: 'Ältere',
  back: 'Zurück zu diesem Mac',
  confirm: {
    title: (mac) => `Hat jemand anders den Schlüssel von ${mac} angesehen?`,
    what: (shown, name) => html`Es geht um dieses Mal: ${shown}, ${name === null ? 'mit Ihrem Konto' : `durch ${name}`}.`,
    willHappen: 'Wenn Sie es nicht waren, geschieht Folgendes:',
    steps: {
      signedOut: 'Sie werden überall abgemeldet, auch auf diesem Gerät. Wer Ihr Konto benutzt hat, ebenso.',
      soon: 'Der Mac ersetzt seinen Schlüssel, sobald er online ist und jemand angemeldet ist.',
      waitsForNobody: 'Er wartet auf niemanden, der den alten vielleicht noch eintippt.',
      alarm: 'Ihre IT-Abteilung wird sofort alarmiert.',
      noMore: 'Bis sie es sich angesehen hat, wird hier kein Schlüssel dieses Mac angezeigt.',
    },
    sure: 'Wenn Sie gerade ausgesperrt sind und selbst nachgesehen haben, tun Sie das nicht: Ihr Schlüssel würde ersetzt, während Sie ihn eintippen.',
    button: (mac) => `Schlüssel von ${mac} ersetzen und mich überall abmelden`,
    stop: 'Ich war es doch selbst',
  },
  done: {
    title: 'Es ist geschehen',
    ordered: 'Der Mac ersetzt seinen Schlüssel, sobald er online ist und jemand angemeldet ist.',
    keepIt: 'Behalten Sie ihn bis dahin bei sich.',
    replaced: 'Der angezeigte Schlüssel war schon ersetzt. Er öffnet nichts mehr.',
    signedOut: 'Sie sind überall abgemeldet, und wer Ihr Konto benutzt hat, ebenso.',
    desk: 'Ihre IT-Abteilung ist alarmiert.',
    noMore: 'Hier wird kein Schlüssel dieses Mac angezeigt, bis sie es sich angesehen hat.',
    password: 'Vielleicht kennt jemand Ihr Passwort. Ändern Sie es jetzt, auf einem Gerät, dem Sie vertrauen.',
    now: 'Rufen Sie jetzt an, auch außerhalb der Zeiten, wenn Sie jemanden erreichen:',
    signIn: 'Erneut anmelden',
  },
};

const fr: LookedWords = {
  title: 'Qui a consulté ma clé',
  intro: 'Chaque fois qu’une clé de ce Mac a été affichée, la plus récente d’abord.',
  nobody: 'Personne n’a consulté de clé de ce Mac.',
  noMail:
    'Aucune adresse e-mail de votre part n’est connue ici : aucun e-mail n’arrive quand une clé est affichée ou remplacée. Regardez ici, et faites ajouter votre adresse par l’assistance.',
  you: 'Vous',
  yourMac: 'Votre Mac lui-même',
  purposes: {
    prove: 'pour vérifier sa clé',
    rotate: 'pour remplacer sa clé',
    resolve: 'pour terminer un remplacement interrompu',
  },
  views: {
    first: 'Sur ce site, pour retrouver l’accès.',
    again: 'Sur ce site, encore une fois.',
    'more-time': 'Sur ce site, pour avoir plus de temps.',
    'other-key': 'Sur ce site, une autre clé après un refus.',
  },
  why: 'Motif',
  noReason: 'Aucun motif indiqué.',
  notShown: 'Elle n’a pas pu être ouverte : personne ne l’a vue.',
  notMe: 'Ce n’était pas moi',
  saidNotMe: 'Vous avez dit que ce n’était pas vous.',
  older: 'Plus anciennes',
  back: 'Retour à ce Mac',
  confirm: {
    title: (mac) => `Quelqu’un d’autre a-t-il consulté la clé de ${mac} ?`,
    what: (shown, name) => html`Il s’agit de cette fois : ${shown}, ${name === null ? 'avec votre compte' : `par ${name}`}.`,
    willHappen: 'Si ce n’était pas vous, voici ce qui se passe :',
    steps: {
      signedOut: 'Vous êtes déconnecté partout, sur cet appareil aussi. La personne qui a utilisé votre compte l’est également.',
      soon: 'Le Mac remplace sa clé dès qu’il est en ligne et que quelqu’un y a ouvert une session.',
      waitsForNobody: 'Il n’attend pas la personne qui saisirait encore l’ancienne.',
      alarm: 'Votre service informatique est alerté aussitôt.',
      noMore: 'Tant qu’il n’a pas vérifié, aucune clé de ce Mac n’est affichée ici.',
    },
    sure: 'Si vous êtes bloqué en ce moment et avez consulté la clé vous-même, ne le faites pas : votre clé serait remplacée pendant que vous la saisissez.',
    button: (mac) => `Remplacer la clé de ${mac} et me déconnecter partout`,
    stop: 'Finalement, c’était moi',
  },
  done: {
    title: 'C’est fait',
    ordered: 'Le Mac remplace sa clé dès qu’il est en ligne et que quelqu’un y a ouvert une session.',
    keepIt: 'D’ici là, gardez-le avec vous.',
    replaced: 'La clé qui a été affichée avait déjà été remplacée. Elle n’ouvre plus rien.',
    signedOut: 'Vous êtes déconnecté partout, et la personne qui a utilisé votre compte aussi.',
    desk: 'Votre service informatique est alerté.',
    noMore: 'Aucune clé de ce Mac n’est affichée ici tant qu’il n’a pas vérifié.',
    password: 'Quelqu’un connaît peut-être votre mot de passe. Changez-le maintenant, sur un appareil de confiance.',
    now: 'Appelez maintenant, même en dehors des horaires si vous joignez quelqu’un :',
    signIn: 'Se reconnecter',
  },
};

/** In all four, as the mails are that name its button. */
export const lookedWords: InAll<LookedWords> = { en, nl, de, fr };
