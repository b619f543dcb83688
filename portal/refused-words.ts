import type { InAll } from '../web/words.ts';

/** *It was refused*: what to check, the second try, another key, and the service desk. */
export interface RefusedWords {
  title: string;
  first: string;
  wait: string;
  layout: (name: string | null) => string;
  lookAlikes: string;
  asShown: string;
  caps: string;
  twice: string;
  tryAgain: string;
  tryAgainWhat: string;
  tried: string;
  triedWhat: string;
  another: string;
  toDesk: string;
  stop: string;
  stopWhat: string;
  whatWasTried: (keys: number, refusals: number) => string;
  desk: string;
  notShown: string;
  toKey: string;
}

const count = (number: number, one: string, many: string): string => (number === 1 ? one : `${number} ${many}`);

export const refusedWords: InAll<RefusedWords> = {
  en: {
    title: 'The key was refused',
    first: 'Most often a single sign is wrong. Each wrong try makes the Mac wait longer, so check these first:',
    wait: 'Does the Mac show a time to wait? Wait until it is over. Before that it refuses the right key too.',
    layout: (name) =>
      name === null
        ? 'Which keyboard layout is shown at the top right of the Mac’s screen? Choose the one of your keyboard.'
        : `Is the layout “${name}” shown at the top right of the Mac’s screen? The hints beside the key are for that one.`,
    lookAlikes: 'Letter O or digit 0, S or 5, B or 8? The page of the key says which of them this key has.',
    asShown: 'Six groups, a hyphen after each but the last, no spaces, all letters as capitals.',
    caps: 'Did one key not respond, or respond twice? Count the dots: there are 29.',
    twice: 'Delete all of it and type it once more, slowly.',
    tryAgain: 'Show the key again and try once more',
    tryAgainWhat: 'We note that it was refused. Your Mac’s key is checked because of it.',
    tried: 'Refused a second time?',
    triedWhat: 'There may be another key: the one before this, or one that has just come. Showing it is recorded as a further view.',
    another: 'Show another key of this Mac',
    toDesk: 'To the service desk',
    stop: 'Stop trying now',
    stopWhat: 'We have no further key that is worth a try. More wrong tries make the Mac wait for hours.',
    whatWasTried: (keys, refusals) =>
      `You were shown ${count(keys, 'one key', 'different keys')}, and said ${count(refusals, 'once', 'times')} that it was refused.`,
    desk: 'The service desk sees the same on their screen, and can find other ways in. Call them and read out the code.',
    notShown: 'No key of this Mac was shown to you in the last hours, so there is nothing to check here.',
    toKey: 'To the key of this Mac',
  },
  nl: {
    title: 'De sleutel is geweigerd',
    first: 'Meestal is er maar één teken fout. Na elke foute poging moet je langer wachten, dus kijk eerst dit na:',
    wait: 'Laat de Mac een wachttijd zien? Wacht tot die voorbij is. Tot dan weigert hij ook de goede sleutel.',
    layout: (name) =>
      name === null
        ? 'Welke toetsenbordindeling zie je rechtsboven op het scherm van de Mac? Kies de indeling van jouw toetsenbord.'
        : `Staat rechtsboven op het scherm van de Mac de indeling ‘${name}’? De tips bij de sleutel horen bij die indeling.`,
    lookAlikes: 'Letter O of cijfer 0, S of 5, B of 8? Op de pagina van de sleutel staat welke er in deze sleutel zitten.',
    asShown: 'Zes groepen, na elke groep een streepje behalve na de laatste, geen spaties, alle letters als hoofdletter.',
    caps: 'Deed een toets het niet, of dubbel? Tel de stippen: het zijn er 29.',
    twice: 'Wis alles en typ de sleutel nog een keer, rustig.',
    tryAgain: 'Toon de sleutel opnieuw, ik probeer het nog een keer',
    tryAgainWhat: 'We leggen vast dat hij is geweigerd. Daarom wordt de sleutel van je Mac gecontroleerd.',
    tried: 'Voor de tweede keer geweigerd?',
    triedWhat: 'Misschien is er een andere sleutel: die van hiervoor, of een die net is binnengekomen. Ook dat wordt vastgelegd.',
    another: 'Toon een andere sleutel van deze Mac',
    toDesk: 'Naar de servicedesk',
    stop: 'Stop nu met proberen',
    stopWhat: 'We hebben geen sleutel meer die het proberen waard is. Na nog meer foute pogingen moet je uren wachten.',
    whatWasTried: (keys, refusals) =>
      `Je hebt ${count(keys, 'één sleutel', 'verschillende sleutels')} gezien, en ${count(refusals, 'één keer', 'keer')} gezegd dat die werd geweigerd.`,
    desk: 'De servicedesk ziet hetzelfde op het scherm en weet andere manieren om binnen te komen. Bel en lees de code voor.',
    notShown: 'Je hebt de laatste uren geen sleutel van deze Mac gezien. Er is hier dus niets na te kijken.',
    toKey: 'Naar de sleutel van deze Mac',
  },
  de: {
    title: 'Der Schlüssel wurde abgelehnt',
    first: 'Meist ist nur ein einziges Zeichen falsch. Nach jedem Fehlversuch lässt der Mac Sie länger warten. Prüfen Sie deshalb zuerst:',
    wait: 'Zeigt der Mac eine Wartezeit an? Warten Sie, bis sie vorbei ist. Vorher lehnt er auch den richtigen Schlüssel ab.',
    layout: (name) =>
      name === null
        ? 'Welche Tastaturbelegung wird oben rechts auf dem Bildschirm des Mac angezeigt? Wählen Sie die Ihrer Tastatur.'
        : `Wird oben rechts auf dem Bildschirm des Mac die Tastaturbelegung „${name}“ angezeigt? Die Hinweise beim Schlüssel gelten für diese.`,
    lookAlikes: 'Buchstabe O oder Ziffer 0, S oder 5, B oder 8? Auf der Seite des Schlüssels steht, welche davon er enthält.',
    asShown: 'Sechs Gruppen, nach jeder außer der letzten ein Bindestrich, keine Leerzeichen, alle Buchstaben groß.',
    caps: 'Hat eine Taste nicht oder doppelt reagiert? Zählen Sie die Punkte: Es sind 29.',
    twice: 'Löschen Sie alles und tippen Sie den Schlüssel noch einmal, langsam.',
    tryAgain: 'Schlüssel noch einmal anzeigen und einmal versuchen',
    tryAgainWhat: 'Wir halten fest, dass er abgelehnt wurde. Der Schlüssel Ihres Mac wird deshalb geprüft.',
    tried: 'Zum zweiten Mal abgelehnt?',
    triedWhat: 'Vielleicht gibt es einen anderen Schlüssel: den vorherigen oder einen, der gerade eingetroffen ist. Auch das wird aufgezeichnet.',
    another: 'Anderen Schlüssel dieses Mac anzeigen',
    toDesk: 'Zum Servicedesk',
    stop: 'Versuchen Sie es jetzt nicht weiter',
    stopWhat: 'Wir haben keinen weiteren Schlüssel, der einen Versuch wert ist. Nach weiteren Fehlversuchen lässt der Mac Sie stundenlang warten.',
    whatWasTried: (keys, refusals) =>
      `Ihnen wurden ${count(keys, 'ein Schlüssel', 'verschiedene Schlüssel')} angezeigt, und Sie haben ${count(refusals, 'einmal', 'Mal')} gemeldet, dass er abgelehnt wurde.`.replace(
        'wurden ein',
        'wurde ein',
      ),
    desk: 'Der Servicedesk sieht dasselbe auf seinem Bildschirm und kennt weitere Wege. Rufen Sie an und lesen Sie den Code vor.',
    notShown: 'Ihnen wurde in den letzten Stunden kein Schlüssel dieses Mac angezeigt. Hier gibt es also nichts zu prüfen.',
    toKey: 'Zum Schlüssel dieses Mac',
  },
  fr: {
    title: 'La clé a été refusée',
    first: 'Le plus souvent, un seul signe est faux. Après chaque erreur, le Mac fait attendre plus longtemps. Vérifiez donc d’abord :',
    wait: 'Le Mac affiche-t-il un délai d’attente ? Attendez qu’il soit passé. Avant, il refuse même la bonne clé.',
    layout: (name) =>
      name === null
        ? 'Quelle disposition de clavier est affichée en haut à droite de l’écran du Mac ? Choisissez celle de votre clavier.'
        : `La disposition « ${name} » est-elle affichée en haut à droite de l’écran du Mac ? Les conseils à côté de la clé valent pour celle-là.`,
    lookAlikes: 'Lettre O ou chiffre 0, S ou 5, B ou 8 ? La page de la clé indique lesquels elle contient.',
    asShown: 'Six groupes, un trait d’union après chacun sauf le dernier, pas d’espaces, toutes les lettres en majuscules.',
    caps: 'Une touche n’a pas répondu, ou deux fois ? Comptez les points : il y en a 29.',
    twice: 'Effacez tout et saisissez la clé encore une fois, lentement.',
    tryAgain: 'Afficher de nouveau la clé et essayer encore une fois',
    tryAgainWhat: 'Nous notons qu’elle a été refusée. La clé de votre Mac sera vérifiée pour cette raison.',
    tried: 'Refusée une deuxième fois ?',
    triedWhat: 'Il y a peut-être une autre clé : la précédente, ou une qui vient d’arriver. Cet affichage est enregistré lui aussi.',
    another: 'Afficher une autre clé de ce Mac',
    toDesk: 'Vers l’assistance',
    stop: 'N’essayez plus maintenant',
    stopWhat: 'Nous n’avons plus de clé qui vaille un essai. Après d’autres erreurs, le Mac fait attendre des heures.',
    whatWasTried: (keys, refusals) =>
      `${keys === 1 ? 'Une clé vous a été affichée' : `${keys} clés différentes vous ont été affichées`}, et vous avez signalé ${refusals} fois un refus.`,
    desk: 'L’assistance voit la même chose sur son écran et connaît d’autres moyens d’entrer. Appelez-la et lisez-lui le code.',
    notShown: 'Aucune clé de ce Mac ne vous a été affichée ces dernières heures. Il n’y a donc rien à vérifier ici.',
    toKey: 'Vers la clé de ce Mac',
  },
};
