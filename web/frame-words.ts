import type { InAll } from './words.ts';

/** What stands around every page, and the pages that say what went wrong. */
interface FrameWords {
  skip: string;
  language: string;
  home: string;
  account: string;
  signOut: string;
  signIn: string;
  signedInAs: (name: string) => string;
  forHelp: string;
  privacy: string;
  forAdmins: string;
  goOn: string;
  readOut: string;
  noPrint: string;
  errors: Record<
    'notFound' | 'formOld' | 'noCookies' | 'unreadable' | 'formSpent' | 'elsewhere' | 'tooMany' | 'notUnderstood' | 'later' | 'broken',
    { title: string; text: string }
  >;
}

export const frameWords: InAll<FrameWords> = {
  en: {
    skip: 'Skip to the content',
    language: 'Language',
    home: 'My Macs',
    account: 'My account',
    signOut: 'Sign out',
    signIn: 'Sign in',
    signedInAs: (name) => `Signed in as ${name}`,
    forHelp: 'Help',
    privacy: 'Privacy',
    forAdmins: 'For IT professionals',
    goOn: 'Go on',
    readOut: 'If you call the service desk, read out this code:',
    noPrint: 'This page is not printed.',
    errors: {
      notFound: {
        title: 'There is no such page here',
        text: 'The address is wrong, or what was here is not yours to see. Start from your Macs.',
      },
      formOld: {
        title: 'This page was open for too long',
        text: 'Nothing was changed. Open the page again and do it there.',
      },
      noCookies: {
        title: 'Your browser keeps nothing for this site',
        text: 'Signing in needs a cookie, and your browser sent none. Allow cookies for this site. If you came here from within another app, open the address in your browser instead.',
      },
      unreadable: {
        title: 'Your browser sent something we cannot read',
        text: 'Often it is old cookies. Delete the cookies of this site in your browser, then open the address again.',
      },
      formSpent: {
        title: 'This was sent before',
        text: 'It was done once, and nothing was done twice. Open the page again to see what has become of it.',
      },
      elsewhere: {
        title: 'This came from another site',
        text: 'Nothing was changed. Open the page here and do it there.',
      },
      tooMany: {
        title: 'That was too often in a short time',
        text: 'Nothing was changed. Wait a minute, then try again.',
      },
      notUnderstood: {
        title: 'Your browser sent something we cannot read',
        text: 'Nothing was changed. Open the page again and do it there.',
      },
      later: {
        title: 'This does not work at the moment',
        text: 'Nothing was changed. Try again in a minute. If it stays like this, call the service desk.',
      },
      broken: {
        title: 'Something went wrong on our side',
        text: 'It was not your doing. Try again. If it happens again, call the service desk.',
      },
    },
  },
  nl: {
    skip: 'Naar de inhoud',
    language: 'Taal',
    home: 'Mijn Macs',
    account: 'Mijn account',
    signOut: 'Uitloggen',
    signIn: 'Inloggen',
    signedInAs: (name) => `Ingelogd als ${name}`,
    forHelp: 'Hulp',
    privacy: 'Privacy',
    forAdmins: 'Voor IT-beheerders',
    goOn: 'Verder',
    readOut: 'Bel je de servicedesk? Lees dan deze code voor:',
    noPrint: 'Deze pagina wordt niet afgedrukt.',
    errors: {
      notFound: {
        title: 'Deze pagina is er niet',
        text: 'Het adres klopt niet, of wat hier stond is niet voor jou. Begin bij je Macs.',
      },
      formOld: {
        title: 'Deze pagina stond te lang open',
        text: 'Er is niets veranderd. Open de pagina opnieuw en doe het daar.',
      },
      noCookies: {
        title: 'Je browser bewaart niets voor deze site',
        text: 'Inloggen kan niet zonder cookie, en je browser stuurde er geen. Sta cookies toe voor deze site. Kom je hier vanuit een andere app? Open het adres dan in je browser.',
      },
      unreadable: {
        title: 'Je browser stuurde iets wat wij niet kunnen lezen',
        text: 'Vaak zijn het oude cookies. Wis de cookies van deze site in je browser en open het adres opnieuw.',
      },
      formSpent: {
        title: 'Dit was al verstuurd',
        text: 'Het is één keer gedaan, niet twee keer. Open de pagina opnieuw om te zien hoe het ervoor staat.',
      },
      elsewhere: {
        title: 'Dit kwam van een andere site',
        text: 'Er is niets veranderd. Open de pagina hier en doe het daar.',
      },
      tooMany: {
        title: 'Dat was te vaak in korte tijd',
        text: 'Er is niets veranderd. Wacht een minuut en probeer het dan opnieuw.',
      },
      notUnderstood: {
        title: 'Je browser stuurde iets wat wij niet kunnen lezen',
        text: 'Er is niets veranderd. Open de pagina opnieuw en doe het daar.',
      },
      later: {
        title: 'Dit werkt op dit moment niet',
        text: 'Er is niets veranderd. Probeer het over een minuut opnieuw. Blijft het zo? Bel dan de servicedesk.',
      },
      broken: {
        title: 'Er ging iets mis bij ons',
        text: 'Het lag niet aan jou. Probeer het opnieuw. Gebeurt het weer? Bel dan de servicedesk.',
      },
    },
  },
  de: {
    skip: 'Zum Inhalt',
    language: 'Sprache',
    home: 'Meine Macs',
    account: 'Mein Konto',
    signOut: 'Abmelden',
    signIn: 'Anmelden',
    signedInAs: (name) => `Angemeldet als ${name}`,
    forHelp: 'Hilfe',
    privacy: 'Datenschutz',
    forAdmins: 'Für IT-Fachleute',
    goOn: 'Weiter',
    readOut: 'Wenn Sie den Servicedesk anrufen, lesen Sie diesen Code vor:',
    noPrint: 'Diese Seite wird nicht gedruckt.',
    errors: {
      notFound: {
        title: 'Diese Seite gibt es hier nicht',
        text: 'Die Adresse stimmt nicht, oder was hier war, ist nicht für Sie bestimmt. Beginnen Sie bei Ihren Macs.',
      },
      formOld: {
        title: 'Diese Seite war zu lange geöffnet',
        text: 'Es wurde nichts geändert. Öffnen Sie die Seite erneut und versuchen Sie es dort.',
      },
      noCookies: {
        title: 'Ihr Browser merkt sich nichts für diese Website',
        text: 'Zum Anmelden ist ein Cookie nötig, und Ihr Browser hat keines gesendet. Erlauben Sie Cookies für diese Website. Wenn Sie aus einer anderen App hierher gekommen sind, öffnen Sie die Adresse in Ihrem Browser.',
      },
      unreadable: {
        title: 'Ihr Browser hat etwas gesendet, das wir nicht lesen können',
        text: 'Oft sind es alte Cookies. Löschen Sie in Ihrem Browser die Cookies dieser Website und öffnen Sie die Adresse erneut.',
      },
      formSpent: {
        title: 'Das wurde bereits gesendet',
        text: 'Es wurde einmal ausgeführt, nicht zweimal. Öffnen Sie die Seite erneut, um den Stand zu sehen.',
      },
      elsewhere: {
        title: 'Das kam von einer anderen Website',
        text: 'Es wurde nichts geändert. Öffnen Sie die Seite hier und versuchen Sie es dort.',
      },
      tooMany: {
        title: 'Das war zu oft in kurzer Zeit',
        text: 'Es wurde nichts geändert. Warten Sie eine Minute und versuchen Sie es dann erneut.',
      },
      notUnderstood: {
        title: 'Ihr Browser hat etwas gesendet, das wir nicht lesen können',
        text: 'Es wurde nichts geändert. Öffnen Sie die Seite erneut und versuchen Sie es dort.',
      },
      later: {
        title: 'Das geht im Moment nicht',
        text: 'Es wurde nichts geändert. Versuchen Sie es in einer Minute erneut. Bleibt es so, rufen Sie den Servicedesk an.',
      },
      broken: {
        title: 'Bei uns ist etwas schiefgegangen',
        text: 'Es lag nicht an Ihnen. Versuchen Sie es erneut. Geschieht es wieder, rufen Sie den Servicedesk an.',
      },
    },
  },
  fr: {
    skip: 'Aller au contenu',
    language: 'Langue',
    home: 'Mes Mac',
    account: 'Mon compte',
    signOut: 'Se déconnecter',
    signIn: 'Se connecter',
    signedInAs: (name) => `Connecté en tant que ${name}`,
    forHelp: 'Aide',
    privacy: 'Confidentialité',
    forAdmins: 'Pour les informaticiens',
    goOn: 'Continuer',
    readOut: 'Si vous appelez le support, lisez ce code :',
    noPrint: 'Cette page ne s’imprime pas.',
    errors: {
      notFound: {
        title: 'Cette page n’existe pas ici',
        text: 'L’adresse est fausse, ou ce qui s’y trouvait ne vous est pas destiné. Repartez de la liste de vos Mac.',
      },
      formOld: {
        title: 'Cette page est restée ouverte trop longtemps',
        text: 'Rien n’a été modifié. Ouvrez de nouveau la page et recommencez.',
      },
      noCookies: {
        title: 'Votre navigateur ne retient rien pour ce site',
        text: 'La connexion exige un cookie, et votre navigateur n’en a envoyé aucun. Autorisez les cookies pour ce site. Si vous venez d’une autre app, ouvrez l’adresse dans votre navigateur.',
      },
      unreadable: {
        title: 'Votre navigateur a envoyé quelque chose d’illisible',
        text: 'Souvent, ce sont d’anciens cookies. Effacez les cookies de ce site dans votre navigateur, puis ouvrez de nouveau l’adresse.',
      },
      formSpent: {
        title: 'Ceci a déjà été envoyé',
        text: 'C’est fait une fois, et une seule. Ouvrez de nouveau la page pour voir où en sont les choses.',
      },
      elsewhere: {
        title: 'Ceci venait d’un autre site',
        text: 'Rien n’a été modifié. Ouvrez la page ici et recommencez.',
      },
      tooMany: {
        title: 'Trop de demandes en peu de temps',
        text: 'Rien n’a été modifié. Attendez une minute, puis réessayez.',
      },
      notUnderstood: {
        title: 'Votre navigateur a envoyé quelque chose d’illisible',
        text: 'Rien n’a été modifié. Ouvrez de nouveau la page et recommencez.',
      },
      later: {
        title: 'Cela ne fonctionne pas pour le moment',
        text: 'Rien n’a été modifié. Réessayez dans une minute. Si cela persiste, appelez le support.',
      },
      broken: {
        title: 'Un problème est survenu de notre côté',
        text: 'Vous n’y êtes pour rien. Réessayez. Si cela se reproduit, appelez le support.',
      },
    },
  },
};
