import { minutes, type SignInWords } from './sign-in-trouble.ts';
import { french, german } from './sign-in-words-de-fr.ts';
import type { InAll } from './words.ts';

export const signInWords: InAll<SignInWords> = {
  en: {
    title: 'Sign in',
    lead: 'Use your work account. After that you see your Macs, and can get the recovery key of a Mac that you are locked out of.',
    again: {
      title: 'Sign in once more',
      lead: (most) => `A recovery key opens a whole Mac, so we ask who you are right before it is shown. This sign-in then counts for ${most} minutes.`,
    },
    ended: 'You were signed out, because some time has passed. Nothing is lost: sign in and go on where you were.',
    signedOut: 'You are signed out.',
    with: (provider) => `Sign in with ${provider}`,
    passkey: 'Sign in with a passkey',
    passkeyMeans: 'With the fingerprint, face or PIN of this device, or with a security key.',
    passkeyFailed: 'Your device did not give a passkey. Try it again, or sign in another way.',
    or: 'Or with an account of this site',
    userName: 'User name',
    password: 'Password',
    show: 'Not the password of your Mac, unless they are the same.',
    signIn: 'Sign in',
    setUp: 'I have a one-time code',
    cannot: 'I cannot sign in',
    wait: (seconds) => ({
      title: seconds < 60 ? `Wait ${seconds} seconds` : `Wait ${minutes(seconds)} ${minutes(seconds) === 1 ? 'minute' : 'minutes'}`,
      text: 'There were too many failed sign-ins. After that you can try again. You can sign in at once in another way, such as a passkey.',
    }),
    trouble: {
      wrong: {
        title: 'User name and password do not belong together',
        text: 'Check Caps Lock and the spelling of both. A new password comes from the service desk.',
      },
      off: { title: 'This account is switched off', text: 'It opens nothing here. Call the service desk if that is wrong.' },
      emptied: { title: 'Something was left empty', text: 'Fill in your user name and your password.' },
      otherPerson: {
        title: 'That was somebody else',
        text: 'You are signed in here as another person than the one who has just signed in. Sign in as the same person, or sign out first.',
      },
      flowOld: {
        title: 'This sign-in is no longer good',
        text: 'It was used before, took too long, or was begun in another browser. Begin again here.',
      },
      denied: {
        title: 'The sign-in was refused or broken off',
        text: 'Your organisation’s sign-in page sent you back without signing you in. Try again, or choose another way.',
      },
      down: { title: 'Your organisation’s sign-in page does not answer', text: 'It is not your doing. Try again in a minute, or sign in another way.' },
      loginRequired: {
        title: 'Your organisation wants something more of you',
        text: 'Its sign-in page did not finish. Try again and follow all of its steps.',
      },
      notFresh: {
        title: 'That was not a new sign-in',
        text: 'Your organisation’s sign-in page let you through without asking. Sign out there first, then try again, or use a passkey.',
      },
      nameless: {
        title: 'We do not know which user name is yours',
        text: 'Your organisation’s sign-in page gave no user name that we may rely on. Call the service desk: its admins can correct that.',
      },
      refused: {
        title: 'The answer of the sign-in page cannot be accepted',
        text: 'It was not valid, so you are not signed in. Try again. If it happens again, call the service desk.',
      },
      passkeyRefused: { title: 'This passkey was not accepted', text: 'You are not signed in. Try it again, or sign in another way.' },
      passkeyUnknown: { title: 'We do not know this passkey', text: 'It may have been removed. Sign in another way.' },
      passkeyOld: {
        title: 'This passkey has to be confirmed first',
        text: 'You have not signed in with your organisation for 30 days. Do that once, then the passkey works again.',
      },
    },
    cannotTitle: 'I cannot sign in',
    cannotLead: 'The service desk can help you without a sign-in. They make sure that it is you before they do anything.',
    cannotFirst: {
      title: 'Two things to try first',
      steps: [
        'Does the second step of your sign-in need the Mac that you are locked out of? Choose another way on that page, such as a code by telephone.',
        'Does the page go round in circles? Open it in Safari or Chrome itself, not inside another app.',
      ],
    },
    tooOften: 'There is no code for you now: this was opened too often from your network. Call all the same and say what you see.',
    back: 'Back to sign-in',
  },
  nl: {
    title: 'Inloggen',
    lead: 'Gebruik je werkaccount. Daarna zie je je Macs en kun je de herstelsleutel opvragen van een Mac waar je niet meer in komt.',
    again: {
      title: 'Log nog een keer in',
      lead: (most) => `Met een herstelsleutel kom je in de hele Mac. Daarom vragen we vlak ervoor wie je bent. Dat geldt dan ${most} minuten.`,
    },
    ended: 'Je bent uitgelogd omdat er tijd voorbij is. Er is niets kwijt: log in en ga verder waar je was.',
    signedOut: 'Je bent uitgelogd.',
    with: (provider) => `Inloggen met ${provider}`,
    passkey: 'Inloggen met een passkey',
    passkeyMeans: 'Met je vingerafdruk, je gezicht of de pincode van dit apparaat, of met een beveiligingssleutel.',
    passkeyFailed: 'Je apparaat gaf geen passkey. Probeer het nog eens of log anders in.',
    or: 'Of met een account van deze site',
    userName: 'Gebruikersnaam',
    password: 'Wachtwoord',
    show: 'Niet het wachtwoord van je Mac, tenzij het hetzelfde is.',
    signIn: 'Inloggen',
    setUp: 'Ik heb een eenmalige code',
    cannot: 'Ik kan niet inloggen',
    wait: (seconds) => ({
      title: seconds < 60 ? `Wacht ${seconds} seconden` : `Wacht ${minutes(seconds)} ${minutes(seconds) === 1 ? 'minuut' : 'minuten'}`,
      text: 'Er is te vaak verkeerd ingelogd. Daarna kun je het weer proberen. Op een andere manier, zoals met een passkey, kan het meteen.',
    }),
    trouble: {
      wrong: {
        title: 'Gebruikersnaam en wachtwoord horen niet bij elkaar',
        text: 'Kijk naar Caps Lock en naar de spelling van allebei. Een nieuw wachtwoord krijg je via de servicedesk.',
      },
      off: { title: 'Dit account staat uit', text: 'Je kunt er hier niets mee. Bel de servicedesk als dat niet klopt.' },
      emptied: { title: 'Er is iets leeg gebleven', text: 'Vul je gebruikersnaam en je wachtwoord in.' },
      otherPerson: {
        title: 'Dat was iemand anders',
        text: 'Je bent hier ingelogd als een ander dan wie net inlogde. Log in als dezelfde persoon, of log eerst uit.',
      },
      flowOld: {
        title: 'Deze poging geldt niet meer',
        text: 'Hij was al gebruikt, duurde te lang of begon in een andere browser. Begin hier opnieuw.',
      },
      denied: {
        title: 'Het inloggen is geweigerd of afgebroken',
        text: 'De inlogpagina van je organisatie stuurde je terug zonder je in te loggen. Probeer het opnieuw of kies een andere manier.',
      },
      down: { title: 'De inlogpagina van je organisatie antwoordt niet', text: 'Het ligt niet aan jou. Probeer het over een minuut opnieuw of log anders in.' },
      loginRequired: { title: 'Je organisatie wil nog iets van je', text: 'De inlogpagina was niet klaar. Probeer het opnieuw en volg alle stappen.' },
      notFresh: {
        title: 'Je hebt niet opnieuw ingelogd',
        text: 'De inlogpagina van je organisatie liet je door zonder iets te vragen. Log daar eerst uit en probeer het dan opnieuw, of gebruik een passkey.',
      },
      nameless: {
        title: 'We weten niet welke gebruikersnaam van jou is',
        text: 'De inlogpagina van je organisatie gaf geen gebruikersnaam waar we op kunnen vertrouwen. Bel de servicedesk: de beheerders kunnen dat verhelpen.',
      },
      refused: {
        title: 'Het antwoord van de inlogpagina klopt niet',
        text: 'Het was niet geldig, dus je bent niet ingelogd. Probeer het opnieuw. Gebeurt het weer? Bel dan de servicedesk.',
      },
      passkeyRefused: { title: 'Deze passkey is niet geaccepteerd', text: 'Je bent niet ingelogd. Probeer het nog eens of log anders in.' },
      passkeyUnknown: { title: 'We kennen deze passkey niet', text: 'Misschien is hij verwijderd. Log anders in.' },
      passkeyOld: {
        title: 'Deze passkey moet eerst bevestigd worden',
        text: 'Je hebt 30 dagen niet ingelogd via je organisatie. Doe dat één keer, dan werkt de passkey weer.',
      },
    },
    cannotTitle: 'Ik kan niet inloggen',
    cannotLead: 'De servicedesk kan je helpen zonder dat je inlogt. Ze controleren eerst of jij het bent.',
    cannotFirst: {
      title: 'Probeer eerst deze twee dingen',
      steps: [
        'Heb je voor de tweede stap de Mac nodig waar je niet in komt? Kies op die pagina een andere manier, zoals een code op je telefoon.',
        'Blijft de pagina rondjes draaien? Open hem in Safari of Chrome zelf, niet binnen een andere app.',
      ],
    },
    tooOften: 'Er is nu geen code voor je: deze pagina is te vaak geopend vanaf jouw netwerk. Bel toch, en zeg wat je ziet.',
    back: 'Terug naar inloggen',
  },
  de: german,
  fr: french,
};
