import type { UserMailKind } from '../web/mail-queue.ts';
import type { InAll } from '../web/words.ts';

/** What the words are made with: times and names as they are written in that language. */
export interface MailValues {
  /** Last signs of the serial number. */
  serialEnd: string;
  /** The Mac's name in quotation marks, and the last signs of its serial number. */
  mac: string;
  shown: string;
  replaced: string;
  /** Null: macOS has not said it yet. */
  checked: string | null;
  said: string;
  until: string;
  /** Why the replacement comes later than when the Mac is next online; null where it does not. */
  later: string | null;
  browser: string | null;
  /** This Mac's page, and the one on which it says who looked at its key. */
  page: string;
  looked: string;
  /** What stands on the button there, in the language of that page. */
  notMe: string;
  person: string;
  code: string | null;
}

export interface MailText {
  subject: string;
  /** Paragraphs; one that is a list is a list of lines. */
  body: readonly (string | readonly string[])[];
}

interface MailWords {
  mac(name: string | null, serialEnd: string, own: boolean): string;
  /** Those of what the desk does are in desk-mail-words.ts. */
  kinds: Record<Exclude<UserMailKind, 'key-shown-desk' | 'mac-not-yours'>, (values: MailValues) => MailText>;
  /** How somebody reaches the desk. */
  desk(name: string, ways: readonly string[]): string;
  foot(organisation: string, address: string): string;
}

const en: MailWords = {
  mac: (name, end, own) => (name === null ? `${own ? 'your Mac' : 'the Mac'} (serial number ending in ${end})` : `“${name}” (serial number ending in ${end})`),
  kinds: {
    'key-shown': ({ serialEnd, mac, shown, browser, looked, notMe, later }) => ({
      subject: `Your Mac’s recovery key was shown (…${serialEnd})`,
      body: [
        `Your Mac’s recovery key was shown on ${shown}${browser ? ` (${browser})` : ''}. It is the key of ${mac}.`,
        `Was it you? Then there is nothing to do. The Mac replaces its key once you are back in, and a second mail says when that is done.${later ? ` ${later}` : ''}`,
        `Was it not you? Open ${looked}, sign in, and press “${notMe}”. Whoever saw the key is signed out, and the Mac replaces it as soon as it can.`,
      ],
    }),
    'key-replaced': ({ serialEnd, mac, shown, replaced, checked }) => ({
      subject: `Your Mac has a new recovery key (…${serialEnd})`,
      body: [
        `The recovery key of ${mac} was replaced. The one that was shown no longer opens it; if you wrote it down, throw the note away.`,
        [`Shown: ${shown}`, `Replaced: ${replaced}`, checked === null ? 'Checked: not yet; the Mac does that by itself' : `Checked on the Mac: ${checked}`],
        'There is nothing for you to do.',
      ],
    }),
    'nothing-heard': ({ serialEnd, mac, shown, page }) => ({
      subject: `Your Mac has not been heard of for a day (…${serialEnd})`,
      body: [
        `The recovery key of ${mac} was last shown on ${shown}. In the 24 hours since then the Mac has not been online.`,
        'Until it is, it cannot replace its key, and the one that was shown still opens it.',
        'Are you back in? Connect the Mac to a network and stay logged in for a quarter of an hour. The rest happens by itself.',
        `Still locked out, or was it not you? Open ${page}.`,
      ],
    }),
    'not-me': ({ serialEnd, mac, said, page, code, later }) => ({
      subject: `You said: this was not me (…${serialEnd})`,
      body: [
        `On ${said} you said that it was not you who looked at the recovery key of ${mac}.`,
        `You have been signed out everywhere. ${later ?? 'The Mac replaces its key as soon as it is online and somebody is logged in.'} Until then the key that was seen still opens it: keep the Mac with you, switched on and connected to a network.`,
        `Whoever looked was signed in as you. Change your work password on another device now${code === null ? '' : `, and call the service desk: read out ${code}`}.`,
        `How far it has come: ${page}`,
      ],
    }),
    'not-me-desk': ({ serialEnd, mac, said, shown, person, code, later }) => ({
      subject: `Incident: a recovery key was seen by somebody else (…${serialEnd})`,
      body: [
        `${person} says that it was not them who looked at the recovery key of ${mac}.`,
        [`Said: ${said}`, `Key last shown: ${shown}`, ...(code === null ? [] : [`Code that the person reads out: ${code}`])],
        `All their sign-ins have been ended. No hold stands any more, and the Mac has the order to replace its key. ${later ?? 'It does so when it is next online and somebody is logged in.'}`,
        'Call the person on a number that you know. Somebody may have their password: have it changed, and look at the sign-ins of that account. If the Mac is missing, say so with `sparekey-server standing`.',
      ],
    }),
    'key-request': ({ serialEnd, mac, person, until, code }) => ({
      subject: `Somebody asks for a recovery key (…${serialEnd})`,
      body: [
        `${person} is locked out and asks for the recovery key of ${mac}. Nobody has answered yet.`,
        [`Code that the person reads out: ${code}`, `Answer until: ${until}`],
        'Make sure who it is before you agree: call the person on a number that you know. What they wrote is in `sparekey-server requests`.',
        `Decide with \`sparekey-server approve ${code}\` or \`sparekey-server refuse ${code}\`, each with a reason.`,
      ],
    }),
  },
  desk: (name, ways) => `Questions: ${name}${ways.length > 0 ? `, ${ways.join(', ')}` : ''}.`,
  foot: (organisation, address) =>
    `${organisation} sends this mail by itself. There is no key in it, nobody asks you for one by mail, and it links to nothing but ${address}.`,
};

const nl: MailWords = {
  mac: (name, end, own) => (name === null ? `${own ? 'je Mac' : 'de Mac'} (serienummer eindigt op ${end})` : `‘${name}’ (serienummer eindigt op ${end})`),
  kinds: {
    'key-shown': ({ serialEnd, mac, shown, browser, looked, notMe, later }) => ({
      subject: `De herstelsleutel van je Mac is getoond (…${serialEnd})`,
      body: [
        `De herstelsleutel van je Mac is getoond op ${shown}${browser ? ` (${browser})` : ''}. Het gaat om ${mac}.`,
        `Was jij dat? Dan hoef je niets te doen. Als je weer in je Mac zit, vervangt hij zijn sleutel. Je krijgt een tweede mail als dat klaar is.${later ? ` ${later}` : ''}`,
        `Was jij dat niet? Open ${looked}, log in en druk op ‘${notMe}’. Wie de sleutel zag, wordt uitgelogd, en de Mac vervangt hem zodra dat kan.`,
      ],
    }),
    'key-replaced': ({ serialEnd, mac, shown, replaced, checked }) => ({
      subject: `Je Mac heeft een nieuwe herstelsleutel (…${serialEnd})`,
      body: [
        `De herstelsleutel van ${mac} is vervangen. De sleutel die je zag, werkt niet meer. Heb je hem opgeschreven? Gooi het briefje weg.`,
        [
          `Getoond: ${shown}`,
          `Vervangen: ${replaced}`,
          checked === null ? 'Gecontroleerd: nog niet; dat doet de Mac zelf' : `Gecontroleerd op de Mac: ${checked}`,
        ],
        'Je hoeft niets te doen.',
      ],
    }),
    'nothing-heard': ({ serialEnd, mac, shown, page }) => ({
      subject: `We horen al een dag niets van je Mac (…${serialEnd})`,
      body: [
        `De herstelsleutel van ${mac} is het laatst getoond op ${shown}. In de 24 uur daarna was de Mac niet online.`,
        'Zolang dat zo is, kan hij zijn sleutel niet vervangen. De sleutel die is getoond, werkt dus nog.',
        'Zit je er weer in? Verbind de Mac met een netwerk en blijf een kwartier ingelogd. De rest gaat vanzelf.',
        `Kom je er nog niet in, of was jij het niet? Open ${page}.`,
      ],
    }),
    'not-me': ({ serialEnd, mac, said, page, code, later }) => ({
      subject: `Je hebt gezegd: dit was ik niet (…${serialEnd})`,
      body: [
        `Op ${said} heb je gezegd dat jij het niet was die de herstelsleutel van ${mac} bekeek.`,
        `Je bent overal uitgelogd. ${later ?? 'De Mac vervangt zijn sleutel zodra hij online is en iemand is ingelogd.'} Tot dan werkt de sleutel die is gezien nog. Houd de Mac bij je, aan en verbonden met een netwerk.`,
        `Wie heeft gekeken, was ingelogd als jij. Wijzig nu je werkwachtwoord op een ander apparaat${code === null ? '' : ` en bel de servicedesk: lees ${code} voor`}.`,
        `Hoe ver het is: ${page}`,
      ],
    }),
    'not-me-desk': ({ serialEnd, mac, said, shown, person, code, later }) => ({
      subject: `Incident: iemand anders heeft een herstelsleutel gezien (…${serialEnd})`,
      body: [
        `${person} zegt de herstelsleutel van ${mac} niet zelf te hebben bekeken.`,
        [`Gezegd: ${said}`, `Sleutel het laatst getoond: ${shown}`, ...(code === null ? [] : [`Code die deze persoon voorleest: ${code}`])],
        `Alle aanmeldingen van deze persoon zijn beëindigd. De wachttijd is voorbij en de Mac heeft opdracht zijn sleutel te vervangen. ${later ?? 'Dat doet hij zodra hij online is en iemand is ingelogd.'}`,
        'Bel deze persoon op een nummer dat je kent. Misschien heeft iemand het wachtwoord: laat het wijzigen en bekijk de aanmeldingen van dat account. Is de Mac weg, leg dat dan vast met `sparekey-server standing`.',
      ],
    }),
    'key-request': ({ serialEnd, mac, person, until, code }) => ({
      subject: `Iemand vraagt om een herstelsleutel (…${serialEnd})`,
      body: [
        `${person} komt er niet in en vraagt om de herstelsleutel van ${mac}. Er is nog geen antwoord.`,
        [`Code die deze persoon voorleest: ${code}`, `Antwoord voor: ${until}`],
        'Ga na wie het is voordat je akkoord gaat: bel op een nummer dat je kent. Wat deze persoon schreef, staat in `sparekey-server requests`.',
        `Beslis met \`sparekey-server approve ${code}\` of \`sparekey-server refuse ${code}\`, elk met een reden.`,
      ],
    }),
  },
  desk: (name, ways) => `Vragen: ${name}${ways.length > 0 ? `, ${ways.join(', ')}` : ''}.`,
  foot: (organisation, address) =>
    `${organisation} verstuurt deze mail automatisch. Er staat geen sleutel in, niemand vraagt je er per mail om, en de enige links gaan naar ${address}.`,
};

const de: MailWords = {
  mac: (name, end, own) => (name === null ? `${own ? 'Ihr Mac' : 'ohne Namen'} (Seriennummer endet auf ${end})` : `„${name}“ (Seriennummer endet auf ${end})`),
  kinds: {
    'key-shown': ({ serialEnd, mac, shown, browser, looked, notMe, later }) => ({
      subject: `Der Wiederherstellungsschlüssel Ihres Mac wurde angezeigt (…${serialEnd})`,
      body: [
        `Der Wiederherstellungsschlüssel Ihres Mac wurde angezeigt: ${shown}${browser ? ` (${browser})` : ''}. Es ist ${mac}.`,
        `Waren Sie das? Dann müssen Sie nichts tun. Der Mac ersetzt seinen Schlüssel, sobald Sie wieder angemeldet sind; eine zweite E-Mail sagt Ihnen, wann das geschehen ist.${later ? ` ${later}` : ''}`,
        `Waren Sie das nicht? Öffnen Sie ${looked}, melden Sie sich an und drücken Sie „${notMe}“. Wer den Schlüssel gesehen hat, wird abgemeldet, und der Mac ersetzt ihn, sobald er es kann.`,
      ],
    }),
    'key-replaced': ({ serialEnd, mac, shown, replaced, checked }) => ({
      subject: `Ihr Mac hat einen neuen Wiederherstellungsschlüssel (…${serialEnd})`,
      body: [
        `Der Wiederherstellungsschlüssel wurde ersetzt. Es geht um diesen Mac: ${mac}. Der angezeigte Schlüssel gilt nicht mehr. Falls Sie ihn notiert haben, werfen Sie die Notiz weg.`,
        [`Angezeigt: ${shown}`, `Ersetzt: ${replaced}`, checked === null ? 'Geprüft: noch nicht; das macht der Mac selbst' : `Auf dem Mac geprüft: ${checked}`],
        'Sie müssen nichts tun.',
      ],
    }),
    'nothing-heard': ({ serialEnd, mac, shown, page }) => ({
      subject: `Ihr Mac hat sich seit einem Tag nicht gemeldet (…${serialEnd})`,
      body: [
        `Der Wiederherstellungsschlüssel wurde zuletzt angezeigt: ${shown}. Es geht um diesen Mac: ${mac}. In den 24 Stunden seither war er nicht online.`,
        'Bis dahin kann er seinen Schlüssel nicht ersetzen, und der angezeigte Schlüssel gilt noch.',
        'Sind Sie wieder angemeldet? Verbinden Sie den Mac mit einem Netzwerk und bleiben Sie eine Viertelstunde angemeldet. Der Rest geschieht von selbst.',
        `Kommen Sie noch nicht hinein, oder waren Sie das nicht? Öffnen Sie ${page}.`,
      ],
    }),
    'not-me': ({ serialEnd, mac, said, page, code, later }) => ({
      subject: `Sie haben gesagt: Das war ich nicht (…${serialEnd})`,
      body: [
        `Sie haben gesagt, dass nicht Sie den Wiederherstellungsschlüssel angesehen haben: ${said}. Es geht um diesen Mac: ${mac}.`,
        `Sie wurden überall abgemeldet. ${later ?? 'Der Mac ersetzt seinen Schlüssel, sobald er online und jemand angemeldet ist.'} Bis dahin gilt der gesehene Schlüssel noch: Behalten Sie den Mac bei sich, eingeschaltet und mit einem Netzwerk verbunden.`,
        `Wer ihn angesehen hat, war in Ihrem Namen angemeldet. Ändern Sie jetzt auf einem anderen Gerät Ihr Passwort für die Arbeit${code === null ? '' : ` und rufen Sie den Servicedesk an: Lesen Sie ${code} vor`}.`,
        `Wie weit es ist: ${page}`,
      ],
    }),
    'not-me-desk': ({ serialEnd, mac, said, shown, person, code, later }) => ({
      subject: `Vorfall: Jemand anders hat einen Wiederherstellungsschlüssel gesehen (…${serialEnd})`,
      body: [
        `${person} sagt, den Wiederherstellungsschlüssel nicht selbst angesehen zu haben. Es geht um diesen Mac: ${mac}.`,
        [`Gesagt: ${said}`, `Schlüssel zuletzt angezeigt: ${shown}`, ...(code === null ? [] : [`Code, den diese Person vorliest: ${code}`])],
        `Alle Anmeldungen dieser Person wurden beendet. Es gilt keine Wartezeit mehr, und der Mac hat den Auftrag, seinen Schlüssel zu ersetzen. ${later ?? 'Das tut er, sobald er online und jemand angemeldet ist.'}`,
        'Rufen Sie diese Person unter einer Nummer an, die Sie kennen. Vielleicht hat jemand ihr Passwort: Lassen Sie es ändern und sehen Sie die Anmeldungen des Accounts durch. Fehlt der Mac, halten Sie es mit `sparekey-server standing` fest.',
      ],
    }),
    'key-request': ({ serialEnd, mac, person, until, code }) => ({
      subject: `Jemand bittet um einen Wiederherstellungsschlüssel (…${serialEnd})`,
      body: [
        `${person} kommt nicht hinein und bittet um den Wiederherstellungsschlüssel. Es geht um diesen Mac: ${mac}. Noch hat niemand geantwortet.`,
        [`Code, den diese Person vorliest: ${code}`, `Antwort bis: ${until}`],
        'Vergewissern Sie sich, wer es ist, bevor Sie zustimmen: Rufen Sie unter einer Nummer an, die Sie kennen. Was die Person geschrieben hat, steht in `sparekey-server requests`.',
        `Entscheiden Sie mit \`sparekey-server approve ${code}\` oder \`sparekey-server refuse ${code}\`, jeweils mit einem Grund.`,
      ],
    }),
  },
  desk: (name, ways) => `Fragen: ${name}${ways.length > 0 ? `, ${ways.join(', ')}` : ''}.`,
  foot: (organisation, address) =>
    `${organisation} verschickt diese E-Mail automatisch. Sie enthält keinen Schlüssel, niemand fragt Sie per E-Mail danach, und ihre Links führen nur zu ${address}.`,
};

const fr: MailWords = {
  mac: (name, end, own) =>
    name === null ? `${own ? 'votre Mac' : 'un Mac sans nom'} (numéro de série finissant par ${end})` : `« ${name} » (numéro de série finissant par ${end})`,
  kinds: {
    'key-shown': ({ serialEnd, mac, shown, browser, looked, notMe, later }) => ({
      subject: `La clé de secours de votre Mac a été affichée (…${serialEnd})`,
      body: [
        `La clé de secours de votre Mac a été affichée le ${shown}${browser ? ` (${browser})` : ''}. Il s’agit de ${mac}.`,
        `C’était vous ? Alors vous n’avez rien à faire. Le Mac remplace sa clé dès que vous y avez de nouveau accès ; un second e-mail vous dira quand c’est fait.${later ? ` ${later}` : ''}`,
        `Ce n’était pas vous ? Ouvrez ${looked}, connectez-vous et appuyez sur « ${notMe} ». La personne qui a vu la clé est déconnectée, et le Mac la remplace dès qu’il le peut.`,
      ],
    }),
    'key-replaced': ({ serialEnd, mac, shown, replaced, checked }) => ({
      subject: `Votre Mac a une nouvelle clé de secours (…${serialEnd})`,
      body: [
        `La clé de secours a été remplacée. Il s’agit de ${mac}. Celle qui a été affichée ne l’ouvre plus ; si vous l’avez notée, jetez le papier.`,
        [
          `Affichée : ${shown}`,
          `Remplacée : ${replaced}`,
          checked === null ? 'Vérifiée : pas encore ; le Mac le fait de lui-même' : `Vérifiée sur le Mac : ${checked}`,
        ],
        'Vous n’avez rien à faire.',
      ],
    }),
    'nothing-heard': ({ serialEnd, mac, shown, page }) => ({
      subject: `Votre Mac ne s’est pas manifesté depuis un jour (…${serialEnd})`,
      body: [
        `La clé de secours a été affichée pour la dernière fois le ${shown}. Il s’agit de ${mac}. Depuis, en 24 heures, il n’a pas été en ligne.`,
        'Tant qu’il ne l’est pas, il ne peut pas remplacer sa clé, et celle qui a été affichée l’ouvre encore.',
        'Vous y avez de nouveau accès ? Connectez le Mac à un réseau et laissez votre session ouverte un quart d’heure. Le reste se fait tout seul.',
        `Toujours bloqué, ou ce n’était pas vous ? Ouvrez ${page}.`,
      ],
    }),
    'not-me': ({ serialEnd, mac, said, page, code, later }) => ({
      subject: `Vous avez dit : ce n’était pas moi (…${serialEnd})`,
      body: [
        `Le ${said}, vous avez dit que ce n’est pas vous qui avez consulté la clé de secours. Il s’agit de ${mac}.`,
        `Vous avez été déconnecté partout. ${later ?? 'Le Mac remplace sa clé dès qu’il est en ligne et que quelqu’un y a ouvert une session.'} D’ici là, la clé qui a été vue l’ouvre encore : gardez le Mac avec vous, allumé et connecté à un réseau.`,
        `La personne qui l’a consultée était connectée en votre nom. Changez maintenant votre mot de passe professionnel sur un autre appareil${code === null ? '' : ` et appelez l’assistance : lisez-lui ${code}`}.`,
        `Où cela en est : ${page}`,
      ],
    }),
    'not-me-desk': ({ serialEnd, mac, said, shown, person, code, later }) => ({
      subject: `Incident : une clé de secours a été vue par quelqu’un d’autre (…${serialEnd})`,
      body: [
        `${person} dit ne pas avoir consulté la clé de secours. Il s’agit de ${mac}.`,
        [`Dit : ${said}`, `Clé affichée en dernier : ${shown}`, ...(code === null ? [] : [`Code que cette personne lit : ${code}`])],
        `Toutes ses connexions ont été fermées. Plus aucun délai ne court, et le Mac a l’ordre de remplacer sa clé. ${later ?? 'Il le fera dès qu’il sera en ligne et que quelqu’un y aura ouvert une session.'}`,
        'Appelez cette personne à un numéro que vous connaissez. Quelqu’un a peut-être son mot de passe : faites-le changer et examinez les connexions de ce compte. Si le Mac a disparu, notez-le avec `sparekey-server standing`.',
      ],
    }),
    'key-request': ({ serialEnd, mac, person, until, code }) => ({
      subject: `Quelqu’un demande une clé de secours (…${serialEnd})`,
      body: [
        `${person} n’a plus accès à son Mac et demande la clé de secours. Il s’agit de ${mac}. Personne n’a encore répondu.`,
        [`Code que cette personne lit : ${code}`, `Réponse avant : ${until}`],
        'Assurez-vous de son identité avant d’accepter : appelez à un numéro que vous connaissez. Ce que cette personne a écrit se trouve dans `sparekey-server requests`.',
        `Décidez avec \`sparekey-server approve ${code}\` ou \`sparekey-server refuse ${code}\`, chaque fois avec une raison.`,
      ],
    }),
  },
  desk: (name, ways) => `Questions : ${name}${ways.length > 0 ? `, ${ways.join(', ')}` : ''}.`,
  foot: (organisation, address) =>
    `${organisation} envoie cet e-mail automatiquement. Il ne contient aucune clé, personne ne vous en demande par e-mail, et ses liens ne mènent qu’à ${address}.`,
};

export const mailWords: InAll<MailWords> = { en, nl, de, fr };
