import { minutes, type SignInWords } from './sign-in-trouble.ts';

export const german: SignInWords = {
  title: 'Anmelden',
  lead: 'Verwenden Sie Ihr Arbeitskonto. Danach sehen Sie Ihre Macs und können den Wiederherstellungsschlüssel eines Mac abrufen, aus dem Sie ausgesperrt sind.',
  again: {
    title: 'Melden Sie sich noch einmal an',
    lead: (most) => `Ein Wiederherstellungsschlüssel öffnet den ganzen Mac. Deshalb fragen wir unmittelbar davor, wer Sie sind. Das gilt dann ${most} Minuten.`,
  },
  ended: 'Sie wurden abgemeldet, weil einige Zeit vergangen ist. Nichts ist verloren: Melden Sie sich an und machen Sie dort weiter.',
  signedOut: 'Sie sind abgemeldet.',
  with: (provider) => `Mit ${provider} anmelden`,
  passkey: 'Mit einem Passkey anmelden',
  passkeyMeans: 'Mit Fingerabdruck, Gesicht oder Code dieses Geräts oder mit einem Sicherheitsschlüssel.',
  passkeyFailed: 'Ihr Gerät hat keinen Passkey geliefert. Versuchen Sie es erneut oder melden Sie sich anders an.',
  or: 'Oder mit einem Konto dieser Website',
  userName: 'Benutzername',
  password: 'Passwort',
  show: 'Nicht das Passwort Ihres Mac, außer es ist dasselbe.',
  signIn: 'Anmelden',
  setUp: 'Ich habe einen Einmalcode',
  cannot: 'Ich kann mich nicht anmelden',
  wait: (seconds) => ({
    title: seconds < 60 ? `Warten Sie ${seconds} Sekunden` : `Warten Sie ${minutes(seconds)} ${minutes(seconds) === 1 ? 'Minute' : 'Minuten'}`,
    text: 'Es gab zu viele fehlgeschlagene Anmeldungen. Danach können Sie es erneut versuchen. Auf einem anderen Weg, etwa mit einem Passkey, geht es sofort.',
  }),
  trouble: {
    wrong: {
      title: 'Benutzername und Passwort gehören nicht zusammen',
      text: 'Prüfen Sie die Feststelltaste und die Schreibweise von beidem. Ein neues Passwort erhalten Sie über den Servicedesk.',
    },
    off: { title: 'Dieses Konto ist abgeschaltet', text: 'Es öffnet hier nichts. Rufen Sie den Servicedesk an, wenn das falsch ist.' },
    emptied: { title: 'Etwas ist leer geblieben', text: 'Geben Sie Ihren Benutzernamen und Ihr Passwort ein.' },
    otherPerson: {
      title: 'Das war jemand anderes',
      text: 'Sie sind hier als eine andere Person angemeldet als die, die sich gerade angemeldet hat. Melden Sie sich als dieselbe Person an oder melden Sie sich zuerst ab.',
    },
    flowOld: {
      title: 'Diese Anmeldung gilt nicht mehr',
      text: 'Sie wurde bereits verwendet, hat zu lange gedauert oder wurde in einem anderen Browser begonnen. Beginnen Sie hier von vorn.',
    },
    denied: {
      title: 'Die Anmeldung wurde abgelehnt oder abgebrochen',
      text: 'Die Anmeldeseite Ihrer Organisation hat Sie ohne Anmeldung zurückgeschickt. Versuchen Sie es erneut oder wählen Sie einen anderen Weg.',
    },
    down: {
      title: 'Die Anmeldeseite Ihrer Organisation antwortet nicht',
      text: 'Es liegt nicht an Ihnen. Versuchen Sie es in einer Minute erneut oder melden Sie sich anders an.',
    },
    loginRequired: {
      title: 'Ihre Organisation verlangt noch etwas von Ihnen',
      text: 'Die Anmeldeseite war nicht fertig. Versuchen Sie es erneut und folgen Sie allen Schritten.',
    },
    notFresh: {
      title: 'Das war keine neue Anmeldung',
      text: 'Die Anmeldeseite Ihrer Organisation hat Sie ohne Frage durchgelassen. Melden Sie sich dort zuerst ab und versuchen Sie es erneut, oder verwenden Sie einen Passkey.',
    },
    nameless: {
      title: 'Wir wissen nicht, welcher Benutzername Ihrer ist',
      text: 'Die Anmeldeseite Ihrer Organisation hat keinen Benutzernamen genannt, auf den wir uns verlassen können. Rufen Sie den Servicedesk an: Die Admins können das beheben.',
    },
    refused: {
      title: 'Die Antwort der Anmeldeseite wird nicht angenommen',
      text: 'Sie war nicht gültig, daher sind Sie nicht angemeldet. Versuchen Sie es erneut. Geschieht es wieder, rufen Sie den Servicedesk an.',
    },
    passkeyRefused: {
      title: 'Dieser Passkey wurde nicht angenommen',
      text: 'Sie sind nicht angemeldet. Versuchen Sie es erneut oder melden Sie sich anders an.',
    },
    passkeyUnknown: { title: 'Wir kennen diesen Passkey nicht', text: 'Vielleicht wurde er entfernt. Melden Sie sich anders an.' },
    passkeyOld: {
      title: 'Dieser Passkey muss erst bestätigt werden',
      text: 'Sie haben sich seit 30 Tagen nicht über Ihre Organisation angemeldet. Tun Sie das einmal, dann gilt der Passkey wieder.',
    },
  },
  cannotTitle: 'Ich kann mich nicht anmelden',
  cannotLead: 'Der Servicedesk kann Ihnen ohne Anmeldung helfen. Dort wird zuerst geprüft, dass Sie es sind.',
  cannotFirst: {
    title: 'Versuchen Sie zuerst zwei Dinge',
    steps: [
      'Brauchen Sie für den zweiten Schritt den Mac, aus dem Sie ausgesperrt sind? Wählen Sie auf dieser Seite einen anderen Weg, etwa einen Code per Telefon.',
      'Dreht sich die Seite im Kreis? Öffnen Sie sie direkt in Safari oder Chrome, nicht in einer anderen App.',
    ],
  },
  tooOften: 'Es gibt jetzt keinen Code für Sie: Die Seite wurde aus Ihrem Netz zu oft geöffnet. Rufen Sie trotzdem an und sagen Sie, was Sie sehen.',
  back: 'Zurück zur Anmeldung',
};

export const french: SignInWords = {
  title: 'Se connecter',
  lead: 'Utilisez votre compte professionnel. Vous verrez ensuite vos Mac et pourrez obtenir la clé de secours d’un Mac qui vous est fermé.',
  again: {
    title: 'Connectez-vous une fois de plus',
    lead: (most) => `Une clé de secours ouvre le Mac tout entier. Nous vérifions donc juste avant qui vous êtes. Cela vaut ensuite pour ${most} minutes.`,
  },
  ended: 'Vous avez été déconnecté, car du temps a passé. Rien n’est perdu : connectez-vous et reprenez où vous en étiez.',
  signedOut: 'Vous êtes déconnecté.',
  with: (provider) => `Se connecter avec ${provider}`,
  passkey: 'Se connecter avec une clé d’identification',
  passkeyMeans: 'Avec l’empreinte, le visage ou le code de cet appareil, ou avec une clé de sécurité.',
  passkeyFailed: 'Votre appareil n’a pas donné de clé d’identification. Réessayez, ou connectez-vous autrement.',
  or: 'Ou avec un compte de ce site',
  userName: 'Nom d’utilisateur',
  password: 'Mot de passe',
  show: 'Pas le mot de passe de votre Mac, sauf s’ils sont identiques.',
  signIn: 'Se connecter',
  setUp: 'J’ai un code à usage unique',
  cannot: 'Je n’arrive pas à me connecter',
  wait: (seconds) => ({
    title: seconds < 60 ? `Attendez ${seconds} secondes` : `Attendez ${minutes(seconds)} ${minutes(seconds) === 1 ? 'minute' : 'minutes'}`,
    text: 'Il y a eu trop de connexions manquées. Vous pourrez ensuite réessayer. Par une autre voie, par exemple une clé d’identification, c’est possible tout de suite.',
  }),
  trouble: {
    wrong: {
      title: 'Le nom d’utilisateur et le mot de passe ne vont pas ensemble',
      text: 'Vérifiez le verrouillage des majuscules et l’orthographe des deux. Le support peut vous donner un nouveau mot de passe.',
    },
    off: { title: 'Ce compte est désactivé', text: 'Il n’ouvre rien ici. Appelez le support si c’est une erreur.' },
    emptied: { title: 'Un champ est resté vide', text: 'Indiquez votre nom d’utilisateur et votre mot de passe.' },
    otherPerson: {
      title: 'C’était quelqu’un d’autre',
      text: 'La personne qui vient de se connecter n’est pas celle qui est connectée ici. Connectez-vous avec la même identité, ou déconnectez-vous d’abord.',
    },
    flowOld: {
      title: 'Cette connexion n’est plus valable',
      text: 'Elle a déjà servi, a pris trop de temps ou a commencé dans un autre navigateur. Recommencez ici.',
    },
    denied: {
      title: 'La connexion a été refusée ou interrompue',
      text: 'La page de connexion de votre organisation vous a renvoyé sans vous connecter. Réessayez, ou choisissez une autre voie.',
    },
    down: {
      title: 'La page de connexion de votre organisation ne répond pas',
      text: 'Vous n’y êtes pour rien. Réessayez dans une minute, ou connectez-vous autrement.',
    },
    loginRequired: {
      title: 'Votre organisation demande encore quelque chose',
      text: 'Sa page de connexion n’a pas terminé. Réessayez et suivez toutes ses étapes.',
    },
    notFresh: {
      title: 'Ce n’était pas une nouvelle connexion',
      text: 'La page de connexion de votre organisation vous a laissé passer sans rien demander. Déconnectez-vous d’abord là-bas puis réessayez, ou utilisez une clé d’identification.',
    },
    nameless: {
      title: 'Nous ne savons pas quel est votre nom d’utilisateur',
      text: 'La page de connexion de votre organisation n’a donné aucun nom fiable. Appelez le support : les administrateurs peuvent corriger cela.',
    },
    refused: {
      title: 'La réponse de la page de connexion n’est pas acceptée',
      text: 'Elle n’était pas valable, vous n’êtes donc pas connecté. Réessayez. Si cela se reproduit, appelez le support.',
    },
    passkeyRefused: { title: 'Cette clé d’identification n’a pas été acceptée', text: 'Vous n’êtes pas connecté. Réessayez, ou connectez-vous autrement.' },
    passkeyUnknown: { title: 'Nous ne connaissons pas cette clé d’identification', text: 'Elle a peut-être été supprimée. Connectez-vous autrement.' },
    passkeyOld: {
      title: 'Cette clé d’identification doit d’abord être confirmée',
      text: 'Vous ne vous êtes pas connecté par votre organisation depuis 30 jours. Faites-le une fois, et la clé fonctionnera de nouveau.',
    },
  },
  cannotTitle: 'Je n’arrive pas à me connecter',
  cannotLead: 'Le support peut vous aider sans connexion. Il s’assure d’abord que c’est bien vous.',
  cannotFirst: {
    title: 'Deux choses à essayer d’abord',
    steps: [
      'La deuxième étape de votre connexion demande le Mac qui vous est fermé ? Choisissez une autre voie sur cette page, par exemple un code par téléphone.',
      'La page tourne en rond ? Ouvrez-la directement dans Safari ou Chrome, pas dans une autre app.',
    ],
  },
  tooOften:
    'Il n’y a pas de code pour vous maintenant : cette page a été ouverte trop souvent depuis votre réseau. Appelez quand même et dites ce que vous voyez.',
  back: 'Retour à la connexion',
};
