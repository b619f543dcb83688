import type { InAll } from '../web/words.ts';

/** Where somebody types the code that the service desk has made for them, and what is their own on the page of the key there. */
export interface ReleaseWords {
  title: string;
  lead: string;
  code: string;
  codeHint: string;
  goOn: string;
  wrong: string;
  tooOften: string;
  over: string;
  overWhat: string;
  toCode: string;
  forMac: (mac: string, serialEnd: string) => string;
  notThis: string;
  before: string;
  done: string;
  doneWhat: string;
  isDone: string;
  isDoneWhat: string;
  desk: string;
  notShown: string;
  /** On *I cannot sign in*. */
  link: string;
}

export const releaseWords: InAll<ReleaseWords> = {
  en: {
    title: 'A code of the service desk',
    lead: 'Whoever you are speaking with at the service desk has made a code for you. It is good for ten minutes, once, and for one Mac.',
    code: 'Code',
    codeHint: 'Twelve letters and digits. Capitals and hyphens do not matter.',
    goOn: 'Go on',
    wrong: 'This code is not good. Have it read out once more; after ten minutes, or once it was used, the service desk makes another one.',
    tooOften: 'That was tried too often from here. Wait for a few minutes, and stay on the telephone.',
    over: 'This is over',
    overWhat: 'The code was for one hour in this browser, or the service desk has ended it. Ask for another one.',
    toCode: 'I have a new code',
    forMac: (mac, end) => `The key of ${mac}, serial number ending in ${end}`,
    notThis: 'Is that not the Mac in front of you? Do not go on, and tell the service desk.',
    before: 'First bring the Mac to the field for the recovery key. The service desk tells you how.',
    done: 'I am in',
    doneWhat: 'Ends this code. Your Mac replaces its key by itself.',
    isDone: 'Good: you are in',
    isDoneWhat: 'Connect the Mac to a network and stay logged in for a quarter of an hour. It replaces its key by itself.',
    desk: 'Tell the service desk that the key was refused: they see it on their screen.',
    notShown: 'No key was shown here yet.',
    link: 'I have a code of the service desk',
  },
  nl: {
    title: 'Een code van de servicedesk',
    lead: 'Degene die je aan de lijn hebt bij de servicedesk heeft een code voor je gemaakt. Die is tien minuten geldig, één keer, voor één Mac.',
    code: 'Code',
    codeHint: 'Twaalf letters en cijfers. Hoofdletters en streepjes maken niet uit.',
    goOn: 'Verder',
    wrong: 'Deze code is niet geldig. Laat hem nog eens voorlezen; na tien minuten, of als hij is gebruikt, maakt de servicedesk een nieuwe.',
    tooOften: 'Dat is hier te vaak geprobeerd. Wacht een paar minuten en blijf aan de lijn.',
    over: 'Dit is voorbij',
    overWhat: 'De code gold een uur in deze browser, of de servicedesk heeft hem ingetrokken. Vraag om een nieuwe.',
    toCode: 'Ik heb een nieuwe code',
    forMac: (mac, end) => `De sleutel van ${mac}, serienummer eindigend op ${end}`,
    notThis: 'Is dat niet de Mac die voor je staat? Ga dan niet verder en zeg het de servicedesk.',
    before: 'Breng de Mac eerst bij het veld voor de herstelsleutel. De servicedesk vertelt je hoe.',
    done: 'Ik ben binnen',
    doneWhat: 'Beëindigt deze code. Je Mac vervangt zijn sleutel vanzelf.',
    isDone: 'Mooi: je bent binnen',
    isDoneWhat: 'Verbind de Mac met een netwerk en blijf een kwartier ingelogd. Hij vervangt zijn sleutel vanzelf.',
    desk: 'Zeg de servicedesk dat de sleutel is geweigerd: ze zien het op hun scherm.',
    notShown: 'Hier is nog geen sleutel getoond.',
    link: 'Ik heb een code van de servicedesk',
  },
  de: {
    title: 'Ein Code des Servicedesks',
    lead: 'Ihr Gegenüber beim Servicedesk hat einen Code für Sie gemacht. Er gilt zehn Minuten, einmal, für einen Mac.',
    code: 'Code',
    codeHint: 'Zwölf Buchstaben und Ziffern. Großschreibung und Bindestriche sind gleichgültig.',
    goOn: 'Weiter',
    wrong: 'Dieser Code gilt nicht. Lassen Sie ihn noch einmal vorlesen; nach zehn Minuten, oder wenn er benutzt wurde, macht der Servicedesk einen neuen.',
    tooOften: 'Das wurde von hier zu oft versucht. Warten Sie einige Minuten, und bleiben Sie am Telefon.',
    over: 'Das ist vorbei',
    overWhat: 'Der Code galt eine Stunde in diesem Browser, oder der Servicedesk hat ihn beendet. Bitten Sie um einen neuen.',
    toCode: 'Ich habe einen neuen Code',
    forMac: (mac, end) => `Der Schlüssel von ${mac}, Seriennummer endet auf ${end}`,
    notThis: 'Ist das nicht der Mac vor Ihnen? Gehen Sie nicht weiter, und sagen Sie es dem Servicedesk.',
    before: 'Bringen Sie den Mac zuerst zum Feld für den Wiederherstellungsschlüssel. Der Servicedesk sagt Ihnen, wie.',
    done: 'Ich bin angemeldet',
    doneWhat: 'Beendet diesen Code. Ihr Mac ersetzt seinen Schlüssel von selbst.',
    isDone: 'Gut: Sie sind angemeldet',
    isDoneWhat: 'Verbinden Sie den Mac mit einem Netzwerk, und bleiben Sie eine Viertelstunde angemeldet. Er ersetzt seinen Schlüssel von selbst.',
    desk: 'Sagen Sie dem Servicedesk, dass der Schlüssel abgelehnt wurde: Dort sieht man es am Bildschirm.',
    notShown: 'Hier wurde noch kein Schlüssel angezeigt.',
    link: 'Ich habe einen Code des Servicedesks',
  },
  fr: {
    title: 'Un code de l’assistance',
    lead: 'La personne de l’assistance à qui vous parlez a créé un code pour vous. Il est valable dix minutes, une seule fois, pour un seul Mac.',
    code: 'Code',
    codeHint: 'Douze lettres et chiffres. Les majuscules et les traits d’union n’importent pas.',
    goOn: 'Continuer',
    wrong: 'Ce code n’est pas valable. Faites-le relire ; après dix minutes, ou s’il a servi, l’assistance en crée un autre.',
    tooOften: 'Trop d’essais ont été faits d’ici. Attendez quelques minutes et restez au téléphone.',
    over: 'C’est terminé',
    overWhat: 'Le code était valable une heure dans ce navigateur, ou l’assistance y a mis fin. Demandez-en un autre.',
    toCode: 'J’ai un nouveau code',
    forMac: (mac, end) => `La clé de ${mac}, numéro de série se terminant par ${end}`,
    notThis: 'Ce n’est pas le Mac devant vous ? N’allez pas plus loin et dites-le à l’assistance.',
    before: 'Amenez d’abord le Mac au champ de la clé de secours. L’assistance vous explique comment.',
    done: 'J’ai de nouveau accès',
    doneWhat: 'Met fin à ce code. Votre Mac remplace sa clé de lui-même.',
    isDone: 'Bien : vous avez de nouveau accès',
    isDoneWhat: 'Connectez le Mac à un réseau et laissez votre session ouverte un quart d’heure. Il remplace sa clé de lui-même.',
    desk: 'Dites à l’assistance que la clé a été refusée : elle le voit à l’écran.',
    notShown: 'Aucune clé n’a encore été affichée ici.',
    link: 'J’ai un code de l’assistance',
  },
};
