import type { InTwo } from './words.ts';

interface AccountWords {
  title: string;
  who: (name: string, userName: string) => string;
  sessions: string;
  sessionsMean: string;
  thisOne: string;
  since: string;
  from: (network: string) => string;
  end: (browser: string) => string;
  mail: (address: string) => string;
  noMail: string;
  everywhere: string;
  everywhereMeans: string;
  passkeys: string;
  passkeysMean: string;
  passkeysLast: (provider: string) => string;
  none: string;
  added: string;
  used: string;
  neverUsed: string;
  /** A passkey of the other site. */
  worksAt: (host: string) => string;
  remove: (label: string) => string;
  add: string;
  addMeans: string;
  addFailed: string;
  label: string;
  noScript: string;
  password: string;
  change: string;
  changed: string;
  notAdded: { title: string; text: string };
  lastOne: { title: string; text: string };
  changeMeans: string;
}

export const accountWords: InTwo<AccountWords> = {
  en: {
    title: 'My account',
    who: (name, userName) => `You are ${name} (${userName}).`,
    sessions: 'Where you are signed in',
    sessionsMean: 'If you do not know one of these, end it and tell the service desk.',
    end: (browser) => `End this sign-in (${browser})`,
    mail: (address) => `Mails about the keys of your Macs go to ${address}.`,
    noMail:
      'No mail address of yours is known here, so no mail comes when a key of your Mac is shown or replaced. Have the service desk add one. Until then look at “Who looked at my key”.',
    thisOne: 'this browser',
    since: 'since',
    from: (network) => `from ${network}`,
    everywhere: 'Sign out everywhere',
    everywhereMeans: 'Ends all of them, this one too.',
    passkeys: 'Passkeys',
    passkeysMean: 'A passkey on your telephone lets you in here also when the Mac that you normally confirm with is the one that is locked.',
    passkeysLast: (provider) => `They work for 30 days after your last sign-in with ${provider}.`,
    none: 'You have none.',
    added: 'added',
    used: 'last used',
    neverUsed: 'not used yet',
    worksAt: (host) => `works at ${host} only`,
    remove: (label) => `Remove “${label}”`,
    add: 'Add a passkey',
    addMeans: 'With the fingerprint, face or PIN of this device, or with a security key.',
    addFailed: 'Your device did not make a passkey. Nothing was changed.',
    label: 'Name of this passkey, such as “My telephone”',
    noScript: 'To add a passkey, switch on JavaScript for this page.',
    password: 'Password',
    change: 'Choose another password',
    changed: 'Your password is changed. You were signed out everywhere else.',
    notAdded: { title: 'The passkey was not added', text: 'Nothing was changed. Try it again. There can be ten at most.' },
    lastOne: {
      title: 'This is the last passkey of an emergency account',
      text: 'Nothing was changed: without it nobody could sign in with this account. Add another first.',
    },
    changeMeans: 'All other browsers are signed out by it.',
  },
  nl: {
    title: 'Mijn account',
    who: (name, userName) => `Je bent ${name} (${userName}).`,
    sessions: 'Waar je bent ingelogd',
    sessionsMean: 'Ken je er een niet? Beëindig die aanmelding en vertel het de servicedesk.',
    end: (browser) => `Deze aanmelding beëindigen (${browser})`,
    mail: (address) => `Mails over de sleutels van je Macs gaan naar ${address}.`,
    noMail:
      'Er is hier geen mailadres van je bekend. Je krijgt dus geen mail als een sleutel van je Mac wordt getoond of vervangen. Laat de servicedesk er een toevoegen. Kijk tot dan bij ‘Wie keek naar mijn sleutel’.',
    thisOne: 'deze browser',
    since: 'sinds',
    from: (network) => `vanaf ${network}`,
    everywhere: 'Overal uitloggen',
    everywhereMeans: 'Alles stopt, ook deze browser.',
    passkeys: 'Passkeys',
    passkeysMean: 'Met een passkey op je telefoon kom je hier ook binnen als de Mac waarmee je normaal bevestigt juist die ene is die op slot zit.',
    passkeysLast: (provider) => `Ze werken tot 30 dagen na je laatste keer inloggen met ${provider}.`,
    none: 'Je hebt er geen.',
    added: 'toegevoegd',
    used: 'laatst gebruikt',
    neverUsed: 'nog niet gebruikt',
    worksAt: (host) => `werkt alleen op ${host}`,
    remove: (label) => `‘${label}’ verwijderen`,
    add: 'Passkey toevoegen',
    addMeans: 'Met je vingerafdruk, je gezicht of de pincode van dit apparaat, of met een beveiligingssleutel.',
    addFailed: 'Je apparaat maakte geen passkey. Er is niets veranderd.',
    label: 'Naam van deze passkey, zoals ‘Mijn telefoon’',
    noScript: 'Zet JavaScript aan voor deze pagina om een passkey toe te voegen.',
    password: 'Wachtwoord',
    change: 'Ander wachtwoord kiezen',
    changed: 'Je wachtwoord is veranderd. Overal elders ben je uitgelogd.',
    notAdded: { title: 'De passkey is niet toegevoegd', text: 'Er is niets veranderd. Probeer het nog eens. Meer dan tien kan niet.' },
    lastOne: {
      title: 'Dit is de laatste passkey van een noodaccount',
      text: 'Er is niets veranderd: zonder deze passkey kan niemand met dit account inloggen. Voeg eerst een andere toe.',
    },
    changeMeans: 'Alle andere browsers worden uitgelogd.',
  },
};
