import type { InAll } from './words.ts';

/** The page of the key while it is shown. */
export interface KeyShownWords {
  shown: string;
  shownWhat: string;
  remains: (amount: string) => string;
  amount: (count: number, unit: 'minute' | 'second') => string;
  group: (number: number) => string;
  digits: (digits: string) => string;
  noDigits: string;
  digit: string;
  asShown: string;
  oneByOne: string;
  all: string;
  next: string;
  back: string;
  read: string;
  stop: string;
  headphones: string;
  copy: string;
  copied: string;
  notCopied: string;
  hide: string;
  layout: (name: string) => string;
  layoutUnknown: string;
  otherKeys: (family: string) => string;
  lookAlikes: string;
  onTheMac: string;
  rotationOpen: string;
  doubtful: string;
  /** By the name of a product, such as Intune, or null. */
  unprovedFrom(product: string | null): string;
  otherKey: string;
  changedKey: string;
}

const amount = (language: string) => (count: number, unit: 'minute' | 'second') =>
  new Intl.NumberFormat(language, { style: 'unit', unit, unitDisplay: 'long' }).format(count);

export const keyShownWords: InAll<KeyShownWords> = {
  en: {
    shown: 'Type this key on your Mac',
    shownWhat: 'Shown for five minutes. Then it disappears from this page.',
    remains: (time) => `${time} left`,
    amount: amount('en'),
    group: (number) => `Group ${number} of 6`,
    digits: (digits) => `Digits: ${digits}`,
    noDigits: 'Letters only',
    digit: 'digit',
    asShown: 'Type capitals, and a hyphen between two groups. The Mac shows dots instead of what you type.',
    oneByOne: 'One group at a time',
    all: 'All six groups',
    next: 'Next group',
    back: 'Back',
    read: 'Read it aloud',
    stop: 'Stop reading',
    headphones: 'Others can hear it: put on headphones.',
    copy: 'Copy',
    copied: 'Copied. It is taken out of the clipboard when the key is hidden.',
    notCopied: 'This browser does not let us copy it.',
    hide: 'Hide now',
    layout: (name) => `The keys as they are on your Mac’s login window, with the layout “${name}”:`,
    layoutUnknown: 'We do not know the keyboard layout of your Mac’s login window. It is shown at the top right there.',
    otherKeys: (family) => `If the keys in front of you show ${family}:`,
    lookAlikes: 'Signs that look alike in this key',
    onTheMac: 'On your Mac',
    rotationOpen: 'Your Mac has begun to replace its key. If it has already done so, this one is refused: wait a minute, then choose “It was refused”.',
    doubtful: 'We are not sure that this is the key your Mac has now. If it is refused, choose “It was refused”: there may be another one.',
    unprovedFrom: (product) =>
      `This key came from ${product ?? 'the device management of your organisation'}, and has not been checked on this Mac yet. If it is refused, choose “It was refused”: there may be another one.`,
    otherKey: 'This is another key of the same Mac. Begin again with group 1.',
    changedKey: 'Your Mac has a new key since you last looked. This is the new one: begin again with group 1.',
  },
  nl: {
    shown: 'Typ deze sleutel op je Mac',
    shownWhat: 'Je ziet hem vijf minuten. Daarna verdwijnt hij van deze pagina.',
    remains: (time) => `Nog ${time}`,
    amount: amount('nl'),
    group: (number) => `Groep ${number} van 6`,
    digits: (digits) => `Cijfers: ${digits}`,
    noDigits: 'Alleen letters',
    digit: 'cijfer',
    asShown: 'Typ hoofdletters, en een streepje tussen twee groepen. De Mac laat stippen zien in plaats van wat je typt.',
    oneByOne: 'Groep voor groep',
    all: 'Alle zes groepen',
    next: 'Volgende groep',
    back: 'Terug',
    read: 'Lees voor',
    stop: 'Stop met voorlezen',
    headphones: 'Anderen kunnen meeluisteren: zet een koptelefoon op.',
    copy: 'Kopieer',
    copied: 'Gekopieerd. Als de sleutel weer verborgen is, halen we hem van het klembord.',
    notCopied: 'Deze browser staat kopiëren niet toe.',
    hide: 'Verberg nu',
    layout: (name) => `De toetsen zoals ze in het inlogvenster van je Mac zijn, met de indeling ‘${name}’:`,
    layoutUnknown: 'We weten niet welke toetsenbordindeling het inlogvenster van je Mac heeft. Je ziet het daar rechtsboven.',
    otherKeys: (family) => `Staat er ${family} op de toetsen voor je? Dan:`,
    lookAlikes: 'Tekens die in deze sleutel op elkaar lijken',
    onTheMac: 'Op je Mac',
    rotationOpen:
      'Je Mac is begonnen zijn sleutel te vervangen. Is dat al klaar, dan wordt deze geweigerd. Wacht dan een minuut en kies ‘De sleutel is geweigerd’.',
    doubtful: 'We weten niet zeker of je Mac nu deze sleutel heeft. Wordt hij geweigerd, kies dan ‘De sleutel is geweigerd’: misschien is er nog een.',
    unprovedFrom: (product) =>
      `Deze sleutel komt uit ${product ?? 'het apparaatbeheer van je organisatie'} en is nog niet op deze Mac gecontroleerd. Wordt hij geweigerd, kies dan ‘De sleutel is geweigerd’: misschien is er nog een.`,
    otherKey: 'Dit is een andere sleutel van dezelfde Mac. Begin opnieuw bij groep 1.',
    changedKey: 'Je Mac heeft een nieuwe sleutel sinds je de vorige keer keek. Dit is de nieuwe: begin opnieuw bij groep 1.',
  },
  de: {
    shown: 'Geben Sie diesen Schlüssel auf Ihrem Mac ein',
    shownWhat: 'Er wird fünf Minuten lang angezeigt. Danach verschwindet er von dieser Seite.',
    remains: (time) => `Noch ${time}`,
    amount: amount('de'),
    group: (number) => `Gruppe ${number} von 6`,
    digits: (digits) => `Ziffern: ${digits}`,
    noDigits: 'Nur Buchstaben',
    digit: 'Ziffer',
    asShown: 'Geben Sie Großbuchstaben ein, und zwischen zwei Gruppen einen Bindestrich. Der Mac zeigt Punkte statt der Zeichen.',
    oneByOne: 'Gruppe für Gruppe',
    all: 'Alle sechs Gruppen',
    next: 'Nächste Gruppe',
    back: 'Zurück',
    read: 'Vorlesen',
    stop: 'Vorlesen beenden',
    headphones: 'Andere können mithören: Setzen Sie Kopfhörer auf.',
    copy: 'Kopieren',
    copied: 'Kopiert. Wenn der Schlüssel wieder verborgen ist, wird er aus der Zwischenablage entfernt.',
    notCopied: 'Dieser Browser lässt das Kopieren nicht zu.',
    hide: 'Jetzt verbergen',
    layout: (name) => `Die Tasten, wie sie im Anmeldefenster Ihres Mac gelten, mit der Tastaturbelegung „${name}“:`,
    layoutUnknown: 'Wir kennen die Tastaturbelegung im Anmeldefenster Ihres Mac nicht. Sie wird dort oben rechts angezeigt.',
    otherKeys: (family) => `Wenn auf den Tasten vor Ihnen ${family} steht:`,
    lookAlikes: 'Ähnliche Zeichen in diesem Schlüssel',
    onTheMac: 'Auf Ihrem Mac',
    rotationOpen:
      'Ihr Mac hat begonnen, seinen Schlüssel zu ersetzen. Ist das schon geschehen, wird dieser abgelehnt: Warten Sie eine Minute und wählen Sie dann „Er wurde abgelehnt“.',
    doubtful:
      'Wir sind nicht sicher, ob Ihr Mac jetzt diesen Schlüssel hat. Wird er abgelehnt, wählen Sie „Er wurde abgelehnt“: Vielleicht gibt es noch einen.',
    unprovedFrom: (product) =>
      `Dieser Schlüssel kam aus ${product ?? 'der Geräteverwaltung Ihrer Organisation'} und wurde auf diesem Mac noch nicht geprüft. Wird er abgelehnt, wählen Sie „Er wurde abgelehnt“: Vielleicht gibt es noch einen.`,
    otherKey: 'Dies ist ein anderer Schlüssel desselben Mac. Beginnen Sie wieder bei Gruppe 1.',
    changedKey: 'Ihr Mac hat seit dem letzten Anzeigen einen neuen Schlüssel. Dies ist der neue: Beginnen Sie wieder bei Gruppe 1.',
  },
  fr: {
    shown: 'Saisissez cette clé sur votre Mac',
    shownWhat: 'Elle s’affiche pendant cinq minutes, puis disparaît de cette page.',
    remains: (time) => `Encore ${time}`,
    amount: amount('fr'),
    group: (number) => `Groupe ${number} sur 6`,
    digits: (digits) => `Chiffres : ${digits}`,
    noDigits: 'Lettres uniquement',
    digit: 'chiffre',
    asShown: 'Saisissez des majuscules, et un trait d’union entre deux groupes. Le Mac affiche des points à la place des signes.',
    oneByOne: 'Un groupe à la fois',
    all: 'Les six groupes',
    next: 'Groupe suivant',
    back: 'Retour',
    read: 'Lire à haute voix',
    stop: 'Arrêter la lecture',
    headphones: 'D’autres peuvent l’entendre : mettez un casque.',
    copy: 'Copier',
    copied: 'Copiée. Elle sera retirée du presse-papiers quand la clé sera masquée.',
    notCopied: 'Ce navigateur ne permet pas de la copier.',
    hide: 'Masquer maintenant',
    layout: (name) => `Les touches telles qu’elles sont dans la fenêtre de connexion de votre Mac, avec la disposition « ${name} » :`,
    layoutUnknown: 'Nous ne connaissons pas la disposition du clavier dans la fenêtre de connexion de votre Mac. Elle y est affichée en haut à droite.',
    otherKeys: (family) => `Si les touches devant vous sont marquées ${family} :`,
    lookAlikes: 'Signes qui se ressemblent dans cette clé',
    onTheMac: 'Sur votre Mac',
    rotationOpen:
      'Votre Mac a commencé à remplacer sa clé. Si c’est déjà fait, celle-ci sera refusée : attendez une minute, puis choisissez « Elle a été refusée ».',
    doubtful:
      'Nous ne sommes pas sûrs que votre Mac ait cette clé en ce moment. Si elle est refusée, choisissez « Elle a été refusée » : il y en a peut-être une autre.',
    unprovedFrom: (product) =>
      `Cette clé nous a été transmise par ${product ?? 'la gestion des appareils de votre organisation'} et n’a pas encore été vérifiée sur ce Mac. Si elle est refusée, choisissez « Elle a été refusée » : il y en a peut-être une autre.`,
    otherKey: 'Voici une autre clé du même Mac. Recommencez au groupe 1.',
    changedKey: 'Votre Mac a une nouvelle clé depuis le dernier affichage. La voici : recommencez au groupe 1.',
  },
};
