import type { InAll } from '../web/words.ts';

/** The page of the key, before it is shown and after, and instead of it. */
export interface KeyWords {
  title: (mac: string) => string;
  get: string;
  getWhat: string;
  reason: string;
  reasonOptional: string;
  reasonMissing: string;
  signInAgain: string;
  signInAgainWhat: (minutes: number) => string;
  signInFirst: string;
  before: string;
  gone: string;
  goneWhat: string;
  again: string;
  againWhat: (minutes: number) => string;
  moreTime: string;
  moreTimeWhat: string;
  fiveMore: string;
  fiveMoreWhat: string;
  moreTimeUsedUp: string;
  cleared: string;
  notCleared: string;
  refused: string;
  steps: string;
  notOpened: string;
  notOpenedWhat: string;
  noKey: string;
  noKeyWhat: string;
  limit: string;
  limitOfPerson: (views: number) => string;
  limitOfNetwork: (views: number) => string;
  ended: string;
  toMac: string;
}

const amount = (language: string) => (count: number, unit: 'minute' | 'second') =>
  new Intl.NumberFormat(language, { style: 'unit', unit, unitDisplay: 'long' }).format(count);

/** macOS's own terms: recovery key, herstelsleutel, Wiederherstellungsschlüssel, clé de secours. */
export const keyWords: InAll<KeyWords> = {
  en: {
    title: (mac) => `Recovery key of ${mac}`,
    get: 'Get recovery key',
    getWhat: 'The key is shown for five minutes. You and your IT department can see that it was shown. Once you are back in, the Mac replaces it.',
    reason: 'Why do you need it?',
    reasonOptional: 'You may leave this empty.',
    reasonMissing: 'Write in a few words why you need the key. Your organisation asks for a reason.',
    signInAgain: 'Sign in again',
    signInAgainWhat: (minutes) => `Your last sign-in is more than ${minutes} minutes ago. For a key, sign in once more; you come back to this page.`,
    signInFirst: 'For a key you will be asked to sign in once more.',
    before: 'First bring the Mac to the field for the key: then the five minutes are enough.',
    gone: 'The key is hidden again.',
    goneWhat: 'It is shown for five minutes at a time, and it is in no other place: not in the address, not in the history of this browser.',
    again: 'Show the key again',
    againWhat: (minutes) => `This is recorded as a further view. For ${amount('en')(minutes, 'minute')} you do not have to sign in again.`,
    moreTime: 'I need more time',
    moreTimeWhat: 'Shows the key for another five minutes from now. From then on the next five minutes are one tap away, for up to an hour.',
    fiveMore: 'Five more minutes',
    fiveMoreWhat: 'You go on where you are.',
    moreTimeUsedUp:
      'The key was shown for an hour without a break. Sign in again to see it once more, or call the service desk: they can stay with you while you type.',
    cleared: 'The clipboard is empty again.',
    notCleared: 'The key may still be in the clipboard. Copy something else.',
    refused: 'It was refused',
    steps: 'What to press on your Mac',
    notOpened: 'The key could not be opened',
    notOpenedWhat: 'It was shown to nobody, and that is recorded. Trying again in a few minutes may help; the service desk can say more.',
    noKey: 'We have no key to show for this Mac',
    noKeyWhat: 'Its keys have changed since this page was opened. Look at the page of the Mac, or call the service desk.',
    limit: 'No further key is shown for now',
    limitOfPerson: (views) =>
      `You were shown a key ${views} times within a day. That is as often as your organisation allows; your IT department has been told. Call the service desk.`,
    limitOfNetwork: (views) =>
      `From your network keys were shown ${views} times within an hour. That is as often as your organisation allows; your IT department has been told. Try from another network, or call the service desk.`,
    ended: 'The time to go on with it is over. Show it again to go on.',
    toMac: 'Back to this Mac',
  },
  nl: {
    title: (mac) => `Herstelsleutel van ${mac}`,
    get: 'Herstelsleutel tonen',
    getWhat: 'Je ziet de sleutel vijf minuten. Jij en je IT-afdeling kunnen zien dat hij is getoond. Ben je weer binnen, dan vervangt de Mac hem.',
    reason: 'Waarvoor heb je de sleutel nodig?',
    reasonOptional: 'Dit mag leeg blijven.',
    reasonMissing: 'Schrijf in een paar woorden waarvoor je de sleutel nodig hebt. Je organisatie vraagt om een reden.',
    signInAgain: 'Opnieuw inloggen',
    signInAgainWhat: (minutes) =>
      `Je bent meer dan ${minutes} minuten geleden ingelogd. Voor een sleutel log je nog een keer in. Daarna kom je terug op deze pagina.`,
    signInFirst: 'Voor een sleutel log je zo nog een keer in.',
    before: 'Zorg eerst dat je Mac om de sleutel vraagt. Dan heb je aan vijf minuten genoeg.',
    gone: 'De sleutel is weer verborgen.',
    goneWhat: 'Hij is telkens vijf minuten te zien en staat nergens anders: niet in het adres en niet in de geschiedenis van deze browser.',
    again: 'Sleutel opnieuw tonen',
    againWhat: (minutes) => `Ook dit wordt vastgelegd. De komende ${amount('nl')(minutes, 'minute')} hoef je niet opnieuw in te loggen.`,
    moreTime: 'Ik heb meer tijd nodig',
    moreTimeWhat: 'Je ziet de sleutel vanaf nu nog vijf minuten. Daarna is één tik genoeg voor de volgende vijf minuten, tot een uur lang.',
    fiveMore: 'Nog vijf minuten',
    fiveMoreWhat: 'Je gaat verder waar je was.',
    moreTimeUsedUp:
      'De sleutel is een uur achter elkaar getoond. Log opnieuw in om hem nog eens te zien. Of bel de servicedesk: die kan erbij blijven terwijl je typt.',
    cleared: 'Het klembord is weer leeg.',
    notCleared: 'Misschien staat de sleutel nog op het klembord. Kopieer iets anders.',
    refused: 'De sleutel is geweigerd',
    steps: 'Wat je op je Mac indrukt',
    notOpened: 'De sleutel kon niet worden geopend',
    notOpenedWhat: 'Niemand heeft hem gezien, en dat is vastgelegd. Over een paar minuten lukt het misschien wel. De servicedesk weet meer.',
    noKey: 'We kunnen van deze Mac geen sleutel tonen',
    noKeyWhat: 'De sleutels zijn veranderd sinds je deze pagina opende. Kijk op de pagina van de Mac, of bel de servicedesk.',
    limit: 'Nu wordt geen sleutel meer getoond',
    limitOfPerson: (views) =>
      `Je hebt binnen een dag ${views} keer een sleutel gezien. Vaker staat je organisatie niet toe; je IT-afdeling weet ervan. Bel de servicedesk.`,
    limitOfNetwork: (views) =>
      `Vanaf jouw netwerk zijn binnen een uur ${views} keer sleutels getoond. Vaker staat je organisatie niet toe; je IT-afdeling weet ervan. Probeer het via een ander netwerk, of bel de servicedesk.`,
    ended: 'De tijd om verder te gaan is voorbij. Toon de sleutel opnieuw om verder te gaan.',
    toMac: 'Terug naar deze Mac',
  },
  de: {
    title: (mac) => `Wiederherstellungsschlüssel von ${mac}`,
    get: 'Wiederherstellungsschlüssel anzeigen',
    getWhat:
      'Der Schlüssel wird fünf Minuten lang angezeigt. Sie und Ihre IT-Abteilung können sehen, dass er angezeigt wurde. Sobald Sie wieder angemeldet sind, ersetzt ihn der Mac.',
    reason: 'Wofür brauchen Sie ihn?',
    reasonOptional: 'Sie können dieses Feld leer lassen.',
    reasonMissing: 'Schreiben Sie in wenigen Worten, wofür Sie den Schlüssel brauchen. Ihre Organisation verlangt einen Grund.',
    signInAgain: 'Erneut anmelden',
    signInAgainWhat: (minutes) =>
      `Ihre letzte Anmeldung liegt mehr als ${minutes} Minuten zurück. Für einen Schlüssel melden Sie sich noch einmal an und kommen dann auf diese Seite zurück.`,
    signInFirst: 'Für einen Schlüssel melden Sie sich gleich noch einmal an.',
    before: 'Bringen Sie den Mac zuerst bis zum Feld für den Schlüssel: Dann reichen die fünf Minuten.',
    gone: 'Der Schlüssel ist wieder verborgen.',
    goneWhat: 'Er wird jeweils fünf Minuten angezeigt und steht sonst nirgends: weder in der Adresse noch im Verlauf dieses Browsers.',
    again: 'Schlüssel noch einmal anzeigen',
    againWhat: (minutes) => `Auch das wird aufgezeichnet. In den nächsten ${amount('de')(minutes, 'minute')} müssen Sie sich nicht neu anmelden.`,
    moreTime: 'Ich brauche mehr Zeit',
    moreTimeWhat: 'Zeigt den Schlüssel ab jetzt weitere fünf Minuten. Danach genügt für die nächsten fünf Minuten ein Tippen, bis zu einer Stunde lang.',
    fiveMore: 'Fünf Minuten mehr',
    fiveMoreWhat: 'Sie machen dort weiter, wo Sie sind.',
    moreTimeUsedUp:
      'Der Schlüssel wurde eine Stunde lang ohne Pause angezeigt. Melden Sie sich erneut an, um ihn noch einmal zu sehen, oder rufen Sie den Servicedesk an: Er kann Sie beim Tippen begleiten.',
    cleared: 'Die Zwischenablage ist wieder leer.',
    notCleared: 'Der Schlüssel ist vielleicht noch in der Zwischenablage. Kopieren Sie etwas anderes.',
    refused: 'Er wurde abgelehnt',
    steps: 'Was Sie auf Ihrem Mac drücken',
    notOpened: 'Der Schlüssel konnte nicht geöffnet werden',
    notOpenedWhat: 'Niemand hat ihn gesehen, und das ist aufgezeichnet. In einigen Minuten gelingt es vielleicht; der Servicedesk kann mehr sagen.',
    noKey: 'Wir können für diesen Mac keinen Schlüssel anzeigen',
    noKeyWhat:
      'Seine Schlüssel haben sich geändert, seit Sie diese Seite geöffnet haben. Sehen Sie auf der Seite des Mac nach, oder rufen Sie den Servicedesk an.',
    limit: 'Zurzeit wird kein weiterer Schlüssel angezeigt',
    limitOfPerson: (views) =>
      `Ihnen wurde innerhalb eines Tages ${views}-mal ein Schlüssel angezeigt. Öfter erlaubt es Ihre Organisation nicht; Ihre IT-Abteilung weiß davon. Rufen Sie den Servicedesk an.`,
    limitOfNetwork: (views) =>
      `Aus Ihrem Netzwerk wurden innerhalb einer Stunde ${views}-mal Schlüssel angezeigt. Öfter erlaubt es Ihre Organisation nicht; Ihre IT-Abteilung weiß davon. Versuchen Sie es aus einem anderen Netzwerk, oder rufen Sie den Servicedesk an.`,
    ended: 'Die Zeit zum Weitermachen ist vorbei. Zeigen Sie den Schlüssel noch einmal an.',
    toMac: 'Zurück zu diesem Mac',
  },
  fr: {
    title: (mac) => `Clé de secours de ${mac}`,
    get: 'Afficher la clé de secours',
    getWhat:
      'La clé s’affiche pendant cinq minutes. Vous et votre service informatique pouvez voir qu’elle a été affichée. Dès que vous avez de nouveau accès au Mac, il la remplace.',
    reason: 'Pourquoi en avez-vous besoin ?',
    reasonOptional: 'Vous pouvez laisser ce champ vide.',
    reasonMissing: 'Écrivez en quelques mots pourquoi vous avez besoin de la clé. Votre organisation demande un motif.',
    signInAgain: 'Se reconnecter',
    signInAgainWhat: (minutes) =>
      `Votre dernière connexion date de plus de ${minutes} minutes. Pour une clé, connectez-vous encore une fois : vous reviendrez sur cette page.`,
    signInFirst: 'Pour une clé, une nouvelle connexion vous sera demandée.',
    before: 'Amenez d’abord le Mac jusqu’au champ de la clé : cinq minutes suffisent alors.',
    gone: 'La clé est de nouveau masquée.',
    goneWhat: 'Elle s’affiche cinq minutes à la fois et n’est nulle part ailleurs : ni dans l’adresse, ni dans l’historique de ce navigateur.',
    again: 'Afficher de nouveau la clé',
    againWhat: (minutes) => `Cet affichage est enregistré lui aussi. Pendant ${amount('fr')(minutes, 'minute')}, vous n’avez pas à vous reconnecter.`,
    moreTime: 'J’ai besoin de plus de temps',
    moreTimeWhat:
      'Affiche la clé cinq minutes de plus à partir de maintenant. Ensuite, une seule touche suffit pour les cinq minutes suivantes, pendant une heure au plus.',
    fiveMore: 'Cinq minutes de plus',
    fiveMoreWhat: 'Vous continuez où vous en êtes.',
    moreTimeUsedUp:
      'La clé est restée affichée une heure sans interruption. Reconnectez-vous pour la revoir, ou appelez l’assistance : elle peut rester avec vous pendant la saisie.',
    cleared: 'Le presse-papiers est de nouveau vide.',
    notCleared: 'La clé est peut-être encore dans le presse-papiers. Copiez autre chose.',
    refused: 'Elle a été refusée',
    steps: 'Ce qu’il faut faire sur votre Mac',
    notOpened: 'La clé n’a pas pu être ouverte',
    notOpenedWhat: 'Personne ne l’a vue, et cela est enregistré. Un nouvel essai dans quelques minutes peut réussir ; l’assistance pourra vous en dire plus.',
    noKey: 'Nous n’avons pas de clé à afficher pour ce Mac',
    noKeyWhat: 'Ses clés ont changé depuis que vous avez ouvert cette page. Consultez la page du Mac, ou appelez l’assistance.',
    limit: 'Aucune autre clé n’est affichée pour le moment',
    limitOfPerson: (views) =>
      `Une clé vous a été affichée ${views} fois en une journée. Votre organisation n’en permet pas davantage ; votre service informatique est prévenu. Appelez l’assistance.`,
    limitOfNetwork: (views) =>
      `Depuis votre réseau, des clés ont été affichées ${views} fois en une heure. Votre organisation n’en permet pas davantage ; votre service informatique est prévenu. Essayez depuis un autre réseau, ou appelez l’assistance.`,
    ended: 'Le délai pour continuer est passé. Affichez de nouveau la clé.',
    toMac: 'Retour à ce Mac',
  },
};
